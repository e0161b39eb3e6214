"""What a provider tells us over the wire: its metadata, its keys, and a token for a code.

Every address lies at the issuer's own origin (see `outbound`). Metadata and keys are kept for some
minutes in this process; a key that is not among them is asked for once more, not too often.
What speaks HTTP is imported when it is used: a command at the machine needs none of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from govern import errors, origins
from govern.identity.federation import providers

if TYPE_CHECKING:
    from govern.config import Settings
    from govern.identity.federation.tables import IdentityProvider

_KEPT = 300  # seconds
_NOT_BEFORE = 10  # seconds between two questions for an unknown key
_DOWN = "Your provider cannot be reached now. Try again in a while."


@dataclass
class _Known:
    metadata: dict[str, Any]
    at: float
    keys: list[dict[str, Any]] = field(default_factory=list)
    keys_at: float = 0


_known: dict[tuple[str, bool], _Known] = {}


def metadata(issuer: str, *, inside: bool) -> dict[str, Any]:
    """The provider's own description (OpenID Connect Discovery §4), checked; else `Unavailable`."""
    return _look(issuer, inside=inside).metadata


def keys(provider: IdentityProvider, *, lacking: bool = False) -> list[dict[str, Any]]:
    """The provider's keys (RFC 7517); asked for anew if one is `lacking`."""
    known = _look(provider.issuer, inside=provider.inside)
    age = time.monotonic() - known.keys_at
    if not known.keys_at or age > _KEPT or (lacking and age > _NOT_BEFORE):
        found = _get(provider.issuer, known.metadata["jwks_uri"], inside=provider.inside)
        listed = found.get("keys")
        if not isinstance(listed, list):
            raise errors.Unavailable(_DOWN)
        known.keys = [key for key in listed if isinstance(key, dict)]
        known.keys_at = time.monotonic()
    return known.keys


def address(
    provider: IdentityProvider, *, redirect_uri: str, state: str, nonce: str, verifier: str,
    **more: str,
) -> str:  # fmt: skip
    """Where a browser asks the provider for a code (RFC 6749 §4.1.1, RFC 7636)."""
    from authlib.integrations.requests_client import OAuth2Session  # noqa: PLC0415 - see the head

    place = _look(provider.issuer, inside=provider.inside).metadata["authorization_endpoint"]
    with OAuth2Session(
        provider.client_id, scope="openid email", redirect_uri=redirect_uri,
        code_challenge_method="S256",
    ) as client:  # fmt: skip
        url, _ = client.create_authorization_url(
            place, state=state, nonce=nonce, code_verifier=verifier, **more
        )
    return str(url)


def exchange(
    settings: Settings, provider: IdentityProvider, *, code: str, verifier: str, redirect_uri: str
) -> str | None:
    """The ID token for a code, not yet verified; None when the provider refuses."""
    import requests  # noqa: PLC0415 - see the head
    from authlib.common.errors import AuthlibBaseError  # noqa: PLC0415 - see the head
    from authlib.integrations.requests_client import OAuth2Session  # noqa: PLC0415 - see the head

    from govern import outbound  # noqa: PLC0415 - see the head

    described = _look(provider.issuer, inside=provider.inside).metadata
    methods = described.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    basic = "client_secret_basic" in methods or "client_secret_post" not in methods
    with OAuth2Session(
        provider.client_id, providers.secret(settings, provider), redirect_uri=redirect_uri,
        token_endpoint_auth_method="client_secret_basic" if basic else "client_secret_post",
    ) as client:  # fmt: skip
        outbound.confine(client, _origin(provider.issuer), inside=provider.inside)
        try:
            found = client.fetch_token(
                described["token_endpoint"], grant_type="authorization_code", code=code,
                code_verifier=verifier,
            )  # fmt: skip
        except AuthlibBaseError:
            return None
        except (requests.RequestException, ValueError):
            raise errors.Unavailable(_DOWN) from None
    token = found.get("id_token")
    return token if isinstance(token, str) else None


def _look(issuer: str, *, inside: bool) -> _Known:
    known = _known.get((issuer, inside))
    if known is None or time.monotonic() - known.at > _KEPT:
        found = _get(
            issuer, f"{issuer.rstrip('/')}/.well-known/openid-configuration", inside=inside
        )
        base = _origin(issuer)
        # A document that names another issuer may be another's (Discovery §4.3).
        sound = found.get("issuer") == issuer and all(
            isinstance(found.get(name), str) and found[name].startswith(f"{base}/")
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
        )
        if not sound:
            raise errors.Unavailable("The provider does not describe itself as it should.")
        if len(_known) > 100:  # noqa: PLR2004 - providers come and go; nobody has so many
            _known.clear()
        known = _known[issuer, inside] = _Known(found, time.monotonic())
    return known


def _get(issuer: str, url: str, *, inside: bool) -> dict[str, Any]:
    import requests  # noqa: PLC0415 - see the head

    from govern import outbound  # noqa: PLC0415 - see the head

    with requests.Session() as client:
        outbound.confine(client, _origin(issuer), inside=inside)
        try:
            answer = client.get(url, headers={"Accept": "application/json"})
            found = answer.json() if answer.status_code == requests.codes.ok else None
        except (requests.RequestException, ValueError, RecursionError):
            found = None
    if not isinstance(found, dict):
        raise errors.Unavailable(_DOWN)
    return found


def _origin(issuer: str) -> str:
    return origins.of(issuer, field="issuer")
