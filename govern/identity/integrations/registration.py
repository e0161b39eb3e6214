"""What an integration is registered with for OAuth: where it is sent back to, its resources, keys.

Nothing private is kept: of a key only its public half is taken, and a private one is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OctKey, RSAKey

from govern import errors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from urllib.parse import SplitResult

MOST = 20  # of each
LONGEST = 500
SHORTEST_RSA = 2048
# Registered names of this machine alone: a native tool listens there (RFC 8252 §7.3, §8.3).
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True, kw_only=True)
class Registration:
    """As someone asks for it; `checked` before it is kept."""

    redirect_uris: Sequence[str] = ()
    resources: Sequence[str] = ()
    public_keys: dict[str, Any] | None = field(default=None)

    def checked(self) -> Registration:
        """The same, each part looked at; `Invalid` names the first that will not do."""
        return Registration(
            redirect_uris=_several(self.redirect_uris, "redirect_uri", _redirect_uri),
            resources=_several(self.resources, "resource", _resource),
            public_keys=None if self.public_keys is None else _public(self.public_keys),
        )

    def text(self) -> str:
        """The whole as one text, to commit to."""
        return json.dumps(
            {
                "redirect_uris": list(self.redirect_uris),
                "resources": list(self.resources),
                "public_keys": self.public_keys,
            },
            sort_keys=True,
        )


def _several(values: Sequence[str], name: str, check: Any) -> tuple[str, ...]:
    if len(values) > MOST:
        raise errors.Invalid(f"At most {MOST} of these.", field=name)
    for value in values:
        parts = _absolute(value, name)
        check(value, parts)
    return tuple(dict.fromkeys(values))


def _absolute(value: str, name: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises where it is no number
    except ValueError:
        parts = urlsplit("")
    plain = value.isascii() and value.isprintable() and " " not in value
    if not plain or not parts.scheme or not (parts.netloc or parts.path) or len(value) > LONGEST:
        raise errors.Invalid(f"“{value}” is no absolute URI.", field=name)
    if "#" in value:
        raise errors.Invalid(f"“{value}” has a fragment; it may have none.", field=name)
    if "@" in parts.netloc:
        raise errors.Invalid("An address may hold no name or password.", field=name)
    return parts


def _redirect_uri(value: str, parts: SplitResult) -> None:
    """HTTPS, or plain HTTP to the machine itself (RFC 9700 §2.1, RFC 8252 §7.3)."""
    own = parts.scheme == "http" and parts.hostname in _LOOPBACK
    if not own and (parts.scheme != "https" or not parts.hostname):
        raise errors.Invalid(f"“{value}” is not an https address.", field="redirect_uri")


def _resource(value: str, parts: SplitResult) -> None:
    """An absolute URI without a fragment (RFC 8707 §2)."""
    if parts.scheme in {"http", "https"} and not parts.hostname:
        raise errors.Invalid(f"“{value}” names no host.", field="resource")


_KEPT = ("kty", "crv", "n", "e", "x", "y", "kid", "alg", "use")


def _public(keys: dict[str, Any]) -> dict[str, Any]:
    """The keys' public members (RFC 7517 §5), each with its id."""
    given = keys.get("keys")
    if not isinstance(given, list) or not 0 < len(given) <= MOST:
        raise errors.Invalid('A JWK Set is {"keys": […]}, with at least one key.', field="jwks")
    try:
        found = KeySet.import_key_set({"keys": given}).keys
        sizes = [getattr(key.raw_value, "key_size", SHORTEST_RSA) for key in found]
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        found, sizes = [], []
    if len(found) != len(given):
        raise errors.Invalid("These are not all JSON Web Keys.", field="jwks")
    for key, size in zip(found, sizes, strict=True):
        if isinstance(key, OctKey) or key.is_private:
            raise errors.Invalid("Send public keys only: a private key was sent.", field="jwks")
        if key.get("use", "sig") != "sig":
            raise errors.Invalid("Send keys that sign, not keys that encrypt.", field="jwks")
        if isinstance(key, RSAKey) and size < SHORTEST_RSA:
            raise errors.Invalid(f"An RSA key has at least {SHORTEST_RSA} bits.", field="jwks")
        key.ensure_kid()
    kept = [
        {name: value for name, value in key.as_dict(private=False).items() if name in _KEPT}
        for key in found
    ]
    if len({key["kid"] for key in kept}) != len(kept):
        raise errors.Invalid("Each key has an id (kid) of its own.", field="jwks")
    return {"keys": kept}
