"""What a provider signed, verified: ID tokens (OpenID Connect Core §3.1.3.7) and logout tokens.

Nothing in a token chooses how it is checked: the algorithm is one of our list, the key one of the
provider's own set, and `jku`, `x5u` and `jwk` in a header are never looked at (RFC 8725 §3.1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry
from joserfc.jwt import JWTClaimsRegistry

from govern import clock
from govern.identity.federation import wire
from govern.identity.federation.tables import Assurance

if TYPE_CHECKING:
    from joserfc.jwk import Key

    from govern.identity.federation.tables import IdentityProvider

# Asymmetric alone: with HS256 our own client secret would sign (RFC 8725 §2.1).
_KINDS = {
    "RS256": "RSA", "RS384": "RSA", "RS512": "RSA", "PS256": "RSA", "PS384": "RSA", "PS512": "RSA",
    "ES256": "EC", "ES384": "EC", "ES512": "EC", "EdDSA": "OKP", "Ed25519": "OKP",
}  # fmt: skip
LEEWAY = timedelta(seconds=60)  # by which clocks may differ
_LONGEST = 16 * 1024
_OLDEST = timedelta(minutes=10)
# How long a sign-in at the provider counts as one here; it is asked for none older.
RECENT = timedelta(hours=1)
_SUB = re.compile(r"[\x20-\x7e]{1,255}")
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
# RFC 8176 §2: those that say how many factors there were, or which, of which none is a key's.
_PLAIN_METHODS = ("pwd", "pin", "otp", "sms", "mca", "kba", "tel")


class BadToken(Exception):
    """A token that proves nothing; its text says why, for the record, and holds nothing of it."""


@dataclass(frozen=True, kw_only=True)
class Proved:
    """What an ID token proves: who it is to the provider, and how far we may believe it.

    `factor_at` is None unless the provider proved a second factor, and recently.
    """

    sub: str
    sid: str | None
    email: str | None
    amr: tuple[str, ...]
    factor_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Logout:
    """What a logout token asks for: the end of one session, or of all of a `sub`."""

    sub: str | None
    sid: str | None
    jti: str
    expires_at: datetime


def verify_id_token(provider: IdentityProvider, token: str, *, nonce: str) -> Proved:
    """Verify an ID token that came from the token endpoint for this sign-in; else `BadToken`."""
    claims = _signed(provider, token, types=("", "jwt"))
    now = clock.utcnow()
    _registered(provider, claims, now, nonce={"essential": True, "value": nonce})
    if not isinstance(claims["nonce"], str):
        raise BadToken("nonce")
    sub = _sub(claims.get("sub"))
    issued_at = _instant(claims["iat"], "iat")
    if now - issued_at > _OLDEST:
        raise BadToken("iat")
    if claims.get("azp", provider.client_id) != provider.client_id:
        raise BadToken("azp")
    auth_time = _instant(claims["auth_time"], "auth_time") if "auth_time" in claims else None
    if auth_time is not None and auth_time > now + LEEWAY:
        raise BadToken("auth_time")
    sid = claims.get("sid")
    email = claims.get("email") if claims.get("email_verified") is True else None
    amr, factor_at = _assured(provider, claims, auth_time, now)
    return Proved(
        sub=sub,
        sid=_sub(sid) if sid is not None else None,
        email=email if isinstance(email, str) else None,
        amr=amr,
        factor_at=factor_at,
    )


def verify_logout_token(provider: IdentityProvider, token: str) -> Logout:
    """Verify a logout token (OpenID Connect Back-Channel Logout 1.0 §2.6); else `BadToken`.

    That its `jti` is new is the caller's to see to.
    """
    claims = _signed(provider, token, types=("logout+jwt",))
    now = clock.utcnow()
    _registered(provider, claims, now, jti={"essential": True})
    happened = claims.get("events")
    if not isinstance(happened, dict) or not isinstance(happened.get(LOGOUT_EVENT), dict):
        raise BadToken("events")
    if "nonce" in claims:
        raise BadToken("nonce")  # what has one is an ID token, and shows that anyone signed in
    sub, sid = claims.get("sub"), claims.get("sid")
    if sub is None and sid is None:
        raise BadToken("sub")
    expires_at = _instant(claims["exp"], "exp")
    if expires_at - now > timedelta(hours=1) or now - _instant(claims["iat"], "iat") > _OLDEST:
        raise BadToken("iat")
    return Logout(
        sub=_sub(sub) if sub is not None else None,
        sid=_sub(sid) if sid is not None else None,
        jti=_sub(claims["jti"]),
        expires_at=expires_at + LEEWAY,
    )


def _signed(provider: IdentityProvider, token: str, *, types: tuple[str, ...]) -> dict[str, Any]:
    """The claims of what one of the provider's keys signed, as one of these `typ`s."""
    if len(token) > _LONGEST or not token.isascii():
        raise BadToken("size")
    try:
        header = jws.extract_compact(token.encode()).headers()
        algorithm = header.get("alg")
        if algorithm not in _KINDS:
            raise BadToken("alg")
        if str(header.get("typ") or "").lower() not in types:
            raise BadToken("typ")
        key = _key(provider, algorithm, header.get("kid"))
        return dict(jwt.decode(token, key, algorithms=[algorithm]).claims)
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        raise BadToken("signature") from None


def _key(provider: IdentityProvider, algorithm: str, kid: Any) -> Key:
    """The provider's key of this name for this algorithm; without a name, its only one."""
    for lacking in (False, True):
        fitting = [
            key
            for key in wire.keys(provider, lacking=lacking)
            if key.get("kty") == _KINDS[algorithm]
            and key.get("use", "sig") == "sig"
            and key.get("alg", algorithm) == algorithm
            and (kid is None or key.get("kid") == kid)
        ]
        if len(fitting) == 1:
            return JWKRegistry.import_key(fitting[0])
    raise BadToken("key")


def _registered(
    provider: IdentityProvider, claims: dict[str, Any], now: datetime, **more: Any
) -> None:
    """Check `iss`, `aud`, `exp` and `iat`, which every token has, and what else is told."""
    # Another audience beside us would be one that could use the token in our place.
    if claims.get("aud") not in (provider.client_id, [provider.client_id]):
        raise BadToken("aud")
    registry = JWTClaimsRegistry(
        now=int(now.timestamp()), leeway=int(LEEWAY.total_seconds()),
        iss={"essential": True, "value": provider.issuer},
        exp={"essential": True}, iat={"essential": True}, **more,
    )  # fmt: skip
    try:
        registry.validate(claims)
    except JoseError as error:
        raise BadToken(getattr(error, "claim", "") or error.error) from None


def _sub(value: Any) -> str:
    if not isinstance(value, str) or not _SUB.fullmatch(value):
        raise BadToken("sub")
    return value


def _instant(value: Any, name: str) -> datetime:
    """A NumericDate (RFC 7519 §2)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadToken(name)
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise BadToken(name) from None


def _assured(
    provider: IdentityProvider, claims: dict[str, Any], auth_time: datetime | None, now: datetime
) -> tuple[tuple[str, ...], datetime | None]:
    """How the person signed in there, and when, as far as the provider's word goes here.

    Only what the provider may assure is taken from its token: of one that may assure a second
    factor, nothing in `amr` makes a phishing-resistant one.
    """
    given = claims.get("amr")
    methods = (
        {each for each in given if isinstance(each, str)} if isinstance(given, list) else set()
    )
    plain = tuple(method for method in _PLAIN_METHODS if method in methods)[:3]
    proved = claims.get("acr") in provider.acr_values.split() or bool(
        methods & set(provider.amr_values.split())
    )
    recent = auth_time is not None and now - auth_time <= RECENT
    if provider.assures == Assurance.NONE or not proved or not recent or auth_time is None:
        return ("fed",), None
    strong = (PHISHING_RESISTANT,) if provider.assures == Assurance.PHISHING_RESISTANT else ()
    return ("fed", *plain, *strong, "mfa"), min(auth_time, now)


# RFC 8176 §2: a key proved to be held in hardware; of a provider, that it says so and may.
PHISHING_RESISTANT = "hwk"
