"""Check a token without asking: its signature, whom it is for, and its place in a status list.

A JWT access token (RFC 9068) of govern names its place in a signed list (Token Status List, draft
20), which is fetched at most once in its `ttl`. So a pause is seen `ttl` (30) seconds after its
commit at the latest, with a few seconds for clocks that disagree. When the list or the keys cannot
be had in time, every token is refused.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeGuard, TypeVar

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from govern.client.statuses import SUSPENDED, VALID, StatusList
from govern.client.transport import MOST_BYTES, Transport, Unanswered, base, origin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

ALGORITHMS = ("RS256", "ES256")
KEYS_FOR = 300  # seconds for which the published keys are kept
AGAIN = 10  # seconds before a key that is not known makes us look again
PATIENCE = 1  # seconds after a failure in which nobody else tries
CLOCKS = 5  # seconds by which two clocks may disagree
DEFAULT_TTL = 30
LONGEST_TOKEN = 8192
MOST_LISTS = 256
_OK = 200
_LEAST_RSA = 2048

_log = logging.getLogger(__name__)

# The library's own limit is too low for a long status list.
_registry = jws.JWSRegistry(algorithms=list(ALGORITHMS))
_registry.max_payload_length = MOST_BYTES


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Whether a token is good; it is true when it is. `claims` are empty unless it is.

    `reason` is `valid`, or a stable code of what is wrong: `malformed`, `type`, `algorithm`,
    `signature`, `issuer`, `audience`, `expired`, `not_yet_valid`, `claims`, `status_missing`,
    `suspended`, `invalid`, or `unavailable` where keys or status could not be had.
    """

    valid: bool
    reason: str
    claims: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether the token is good."""
        return self.valid

    @property
    def subject(self) -> str:
        """Whose it is: a person's external id, or the id of an integration; empty when not good."""
        return str(self.claims.get("sub", ""))

    def allows(self, action: str, resource: str) -> bool:
        """Whether it is good for an action on `project:CODE`, or on the `dataset:CODE` it names.

        A token for a whole project does not say which datasets are the project's: ask with the
        project that you serve.
        """
        kind, _, code = resource.partition(":")
        details = self.claims.get("authorization_details", ())
        return any(code and _permits(detail, action, kind, code) for detail in details)


class _Bad(Exception):
    """The token is not good; the message is the reason's code."""


class Tokens:
    """Checks tokens of one govern (`issuer`, its public URL) that are meant for `audience`.

    Make one and keep it: it keeps keys and lists, and may be shared among threads. `timeout` is the
    time that a fetch has, in seconds.
    """

    def __init__(self, issuer: str, audience: str, *, timeout: float = 2.0) -> None:
        if not audience:
            raise ValueError("audience: the resource that this service is, as its tokens name it")
        self._issuer = base(issuer)
        self._origin = origin(issuer)
        self._audience = audience
        self._transport = Transport(timeout)
        self._keys = _Kept(self._fetch_keys)
        self._lists: dict[str, _Kept[StatusList]] = {}
        self._lock = threading.Lock()

    def check(self, token: str) -> Checked:
        """Whether a token is good now, and what it says."""
        if not isinstance(token, str):
            raise TypeError("token: a string")
        try:
            claims = self._claims(token)
            self._look_up(claims)
        except _Bad as bad:
            return Checked(valid=False, reason=str(bad))
        except Unanswered as error:
            _log.warning("a token cannot be checked: %s", error)
            return Checked(valid=False, reason="unavailable")
        return Checked(valid=True, reason="valid", claims=claims)

    # --- the token itself

    def _claims(self, token: str) -> dict[str, Any]:
        """What a token says, once all of RFC 9068 §4 holds."""
        claims = self._verified(token, types=("at+jwt", "application/at+jwt"))
        now = _now()
        if claims.get("iss") != self._issuer:
            raise _Bad("issuer")
        audience = claims.get("aud")
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            raise _Bad("audience")
        if not _is_number(claims.get("exp")) or not _is_number(claims.get("iat")):
            raise _Bad("claims")
        if claims["exp"] <= now:
            raise _Bad("expired")
        begins = claims.get("nbf", claims["iat"])
        if not _is_number(begins) or max(begins, claims["iat"]) > now + CLOCKS:
            raise _Bad("not_yet_valid")
        named = all(
            isinstance(claims.get(name), str) and claims[name]
            for name in ("sub", "client_id", "jti")
        )
        details = claims.get("authorization_details", [])
        # A token bound to a key or certificate is nobody's who only shows it.
        if not named or "cnf" in claims or not _are_objects(details):
            raise _Bad("claims")
        return claims

    def _verified(self, token: str, *, types: tuple[str, ...]) -> dict[str, Any]:
        """The claims under a signature of the issuer's; a key that the token names is not used."""
        if len(token) > LONGEST_TOKEN and "at+jwt" in types:
            raise _Bad("malformed")
        try:
            header = jws.extract_compact(token.encode("ascii"), registry=_registry).headers()
        except (JoseError, ValueError, RecursionError):
            raise _Bad("malformed") from None
        if str(header.get("typ", "")).lower() not in types:
            raise _Bad("type")
        if header.get("alg") not in ALGORITHMS:
            raise _Bad("algorithm")
        key = self._key(header.get("kid"))
        if key is None:
            raise _Bad("signature")
        try:
            body = jws.deserialize_compact(
                token, key, algorithms=[header["alg"]], registry=_registry
            ).payload
        except (JoseError, ValueError):
            raise _Bad("signature") from None
        try:
            claims = json.loads(body or b"")
        except (ValueError, RecursionError):
            raise _Bad("malformed") from None
        if not isinstance(claims, dict):
            raise _Bad("malformed")
        return claims

    # --- keys

    def _key(self, name: object) -> RSAKey | ECKey | None:
        if not isinstance(name, str):
            return None
        found = self._keys.get().get(name)
        # A key newer than what we keep: look again, but not for each forged name.
        return found or self._keys.get(newer=AGAIN).get(name)

    def _fetch_keys(self) -> tuple[dict[str, RSAKey | ECKey], float]:
        """The issuer's keys, found through its metadata (RFC 8414 §3), by their names."""
        scheme, _, rest = self._issuer.partition("://")
        host, _, path = rest.partition("/")
        place = f"{scheme}://{host}/.well-known/oauth-authorization-server"
        metadata = self._json(f"{place}/{path}" if path else place)
        if metadata.get("issuer") != self._issuer:
            raise Unanswered("the metadata is another issuer's")
        listed = self._json(str(metadata.get("jwks_uri", ""))).get("keys")
        if not isinstance(listed, list):
            raise Unanswered("no keys are published")
        keys = {}
        for item in listed:
            key = _key_of(item)
            if key is not None:
                keys[str(item["kid"])] = key
        return keys, _age() + KEYS_FOR

    def _json(self, url: str) -> dict[str, Any]:
        body = self._fetch(url, "application/json")
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Unanswered("a document is no JSON object")
        return found

    def _fetch(self, url: str, media_type: str) -> bytes:
        """A document, over HTTPS or from the issuer itself."""
        try:
            place = origin(url)
        except ValueError:
            raise Unanswered("a document's address is none") from None
        if place[0] != "https" and place != self._origin:
            raise Unanswered("a document would come in the clear")
        answer = self._transport.send("GET", url, headers={"Accept": media_type})
        if answer.status != _OK or answer.media_type != media_type:
            raise Unanswered(f"{answer.status} {answer.media_type} at {url}")
        return answer.body

    # --- the status list

    def _look_up(self, claims: dict[str, Any]) -> None:
        """Refuse a token whose place in its list does not say that it is good (§8.3)."""
        status = claims.get("status")
        place = status.get("status_list") if isinstance(status, dict) else None
        index = place.get("idx") if isinstance(place, dict) else None
        uri = place.get("uri") if isinstance(place, dict) else None
        if not isinstance(index, int) or isinstance(index, bool) or not isinstance(uri, str):
            raise _Bad("status_missing")
        value = self._list(uri).get().value(index)
        if value != VALID:
            raise _Bad("suspended" if value == SUSPENDED else "invalid")

    def _list(self, uri: str) -> _Kept[StatusList]:
        with self._lock:
            found = self._lists.get(uri)
            if found is None:
                while len(self._lists) >= MOST_LISTS:
                    del self._lists[next(iter(self._lists))]
                found = self._lists[uri] = _Kept(self._reader(uri))
            return found

    def _reader(self, uri: str) -> Callable[[], tuple[StatusList, float]]:
        """How to fetch a list: never an older one than was seen before."""
        newest = float("-inf")

        def fetch() -> tuple[StatusList, float]:
            nonlocal newest
            found, issued, until = self._fetch_list(uri)
            if issued < newest:
                raise Unanswered("a status list older than the one before")
            newest = issued
            return found, until

        return fetch

    def _fetch_list(self, uri: str) -> tuple[StatusList, float, float]:
        """A list, when it was issued, and until when (as `_age` counts) it may be kept."""
        body = self._fetch(uri, "application/statuslist+jwt")
        try:
            claims = self._verified(
                body.decode("ascii"), types=("statuslist+jwt", "application/statuslist+jwt")
            )
        except (_Bad, UnicodeDecodeError):
            raise Unanswered("the status list is not one of the issuer's") from None
        now = _now()
        issued, ttl = claims.get("iat"), claims.get("ttl", DEFAULT_TTL)
        ends = claims.get("exp", float("inf"))
        if claims.get("sub") != uri or claims.get("iss", self._issuer) != self._issuer:
            raise Unanswered("the status list is another one")
        if not _is_number(issued) or not _is_number(ttl) or not _is_number(ends) or ttl <= 0:
            raise Unanswered("the status list does not say how long it counts")
        # An intermediary may have kept it for a while: it is as old as it says.
        left = min(ttl, ends - now, issued + ttl + CLOCKS - now)
        if left <= 0 or issued > now + CLOCKS:
            raise Unanswered("the status list is stale")
        return StatusList.read(claims.get("status_list")), issued, _age() + left


class _Kept(Generic[T]):
    """Something fetched, kept until it must be fetched anew; of those who want it, one fetches."""

    def __init__(self, fetch: Callable[[], tuple[T, float]]) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._found: tuple[T, float] | None = None
        self._fetched = self._failed = float("-inf")

    def get(self, *, newer: float | None = None) -> T:
        """What is kept; with `newer`, fetched anew if it is older than so many seconds."""
        with self._lock:
            now = _age()
            found = self._found
            if found is not None and now < found[1]:
                if newer is None or now - self._fetched < newer:
                    return found[0]
                try:
                    return self._renew(now)
                except Unanswered:
                    return found[0]
            return self._renew(now)

    def _renew(self, now: float) -> T:
        if now - self._failed < PATIENCE:
            raise Unanswered("it failed a moment ago")
        self._fetched = now
        try:
            self._found = self._fetch()
        except Unanswered:
            self._failed = _age()
            raise
        return self._found[0]


def _key_of(item: object) -> RSAKey | ECKey | None:
    """A published key that may sign for us: RSA of 2,048 bits at least, or P-256."""
    if not isinstance(item, dict) or not isinstance(item.get("kid"), str):
        return None
    if item.get("use", "sig") != "sig":
        return None
    public: dict[str, Any] = {
        name: item[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in item
    }
    try:
        if item.get("kty") == "RSA":
            key = RSAKey.import_key(public)
            return key if key.raw_value.key_size >= _LEAST_RSA else None
        if item.get("kty") == "EC" and item.get("crv") == "P-256":
            return ECKey.import_key(public)
    except (JoseError, ValueError, TypeError, KeyError):
        pass
    return None


def _permits(detail: dict[str, Any], action: str, kind: str, code: str) -> bool:
    """Whether one of a token's details (RFC 9396) permits an action there."""
    actions, dataset = detail.get("actions"), detail.get("dataset")
    if detail.get("type") != "project_access" or not isinstance(actions, list):
        return False
    if kind == "project":
        return detail.get("identifier") == code and dataset is None and action in actions
    return kind == "dataset" and dataset == code and action in actions


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # noqa: PLR0124 - NaN


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _now() -> float:
    """Seconds since 1970, to compare with what others wrote."""
    return time.time()


def _age() -> float:
    """Seconds, which nobody sets back: for how long something was kept."""
    return time.monotonic()
