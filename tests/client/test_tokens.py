"""Tokens are checked offline as RFC 9068 and the status list's draft say, and fail closed."""

from __future__ import annotations

import base64
import json
import random
import time
import warnings
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from govern.client import Tokens, tokens
from govern.client.statuses import StatusList
from tests.client.answering import Handler, Served, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# One key is too small on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:Key size")

AUDIENCE = "https://labels.example"
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
STRANGER = RSAKey.generate_key(2048, {"kid": "rsa"})
with warnings.catch_warnings(action="ignore"):
    WEAK = RSAKey.generate_key(1024, {"kid": "weak"})
EC_STRANGER = ECKey.generate_key("P-256", {"kid": "ec"})
P384 = ECKey.generate_key("P-384", {"kid": "p384"})
# Statuses by index, two bits each, from the least significant bit: 0, 1, 2, 3, 0, 2, 0, 1.
PACKED = bytes([0b11_10_01_00, 0b01_00_10_00])
VALID, INVALID, SUSPENDED, STRANGE = 0, 1, 2, 3


def signed(claims: Any, *, type: str, key: Any = RSA, **header: Any) -> str:
    algorithm = {"RSA": "RS256", "EC": "ES256", "oct": "HS256"}[key.key_type]
    whole = {"alg": algorithm, "typ": type, "kid": key.kid, **header}
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    names = ["HS256", "RS256", "RS512", "PS256", "ES256", "ES384"]
    made: str = jws.serialize_compact(whole, body, key, algorithms=names)
    return made


def critical(body: str) -> str:
    """A token under a right signature whose header demands what nobody here understands."""
    header = {"alg": "RS256", "typ": "at+jwt", "kid": "rsa", "crit": ["exp"], "exp": 1}
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    made = f"{head}.{body}"
    signature = RSA.private_key.sign(made.encode(), PKCS1v15(), SHA256())
    return f"{made}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def packed(raw: bytes) -> str:
    return base64.urlsafe_b64encode(zlib.compress(raw, 9)).rstrip(b"=").decode()


@dataclass
class Issuer:
    """A govern as seen from outside: metadata, keys, and one status list."""

    served: Served
    keys: list[Any] = field(default_factory=lambda: [RSA, EC, WEAK, P384])
    metadata: dict[str, Any] = field(default_factory=dict)
    list: dict[str, Any] = field(default_factory=dict)
    list_header: dict[str, Any] = field(default_factory=dict)
    instead: Callable[[Handler], None] | None = None

    @property
    def url(self) -> str:
        return self.served.url

    @property
    def uri(self) -> str:
        return f"{self.url}/status-lists/0"

    def answer(self, handler: Handler) -> None:
        if self.instead is not None and handler.path.startswith("/status-lists"):
            self.instead(handler)
        elif handler.path == "/.well-known/oauth-authorization-server":
            jwks = {"issuer": self.url, "jwks_uri": f"{self.url}/oauth/jwks"}
            handler.tell(jwks | self.metadata)
        elif handler.path == "/oauth/jwks":
            handler.tell({"keys": [key.as_dict(private=False) for key in self.keys]})
        elif handler.path == "/status-lists/0":
            handler.tell(self.status_list().encode(), type="application/statuslist+jwt")
        else:
            handler.tell({}, 404)

    def status_list(self) -> str:
        now = int(tokens._now())
        claims = {
            "sub": self.uri, "iat": now, "exp": now + 300, "ttl": 30,
            "status_list": {"bits": 2, "lst": packed(PACKED)},
        }  # fmt: skip
        header = {"type": "statuslist+jwt"} | self.list_header
        return signed(without_nothing(claims | self.list), **header)

    def token(self, index: Any = VALID, *, header: Any = None, **more: Any) -> str:
        now = int(tokens._now())
        claims = {
            "iss": self.url, "aud": AUDIENCE, "sub": "P00001", "client_id": "int_1",
            "iat": now, "exp": now + 300, "jti": "tok_1",
            "status": {"status_list": {"idx": index, "uri": self.uri}},
        }  # fmt: skip
        return signed(without_nothing(claims | more), **({"type": "at+jwt"} | (header or {})))


def without_nothing(claims: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in claims.items() if value is not ...}


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with serving(Handler.tell) as served:
        found = Issuer(served)
        served.answer = found.answer
        yield found


@pytest.fixture
def checker(issuer: Issuer) -> Tokens:
    return Tokens(issuer.url, AUDIENCE)


@dataclass
class Clock:
    """Both clocks of the check, moved by hand."""

    passed: float = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found, start = Clock(), time.time()
    monkeypatch.setattr(tokens, "_now", lambda: start + found.passed)
    monkeypatch.setattr(tokens, "_age", lambda: 1000.0 + found.passed)
    return found


def lists(issuer: Issuer) -> int:
    return sum(path.startswith("/status-lists") for path in issuer.served.paths)


# --- the token ---------------------------------------------------------------------------------


@pytest.mark.asvs("10.3.2", "10.3.3")
def test_a_good_token_says_whose_it_is_and_what_it_permits(issuer: Issuer, checker: Tokens) -> None:
    details = [
        {"type": "project_access", "identifier": "Kingfisher", "actions": ["read", "annotate"],
         "locations": [AUDIENCE]},
        {"type": "project_access", "identifier": "Osprey", "dataset": "os-audio",
         "actions": ["read"]},
        {"type": "project_access", "identifier": "Puffin", "actions": "read"},
        {"type": "another", "identifier": "Heron", "actions": ["read"]},
    ]  # fmt: skip
    found = checker.check(issuer.token(authorization_details=details, aud=["x", AUDIENCE]))
    assert (found.valid, bool(found), found.reason) == (True, True, "valid")
    assert (found.subject, found.claims["jti"]) == ("P00001", "tok_1")
    for action, resource, expected in (
        ("read", "project:Kingfisher", True), ("annotate", "project:Kingfisher", True),
        ("export", "project:Kingfisher", False), ("read", "project:Osprey", False),
        ("read", "dataset:os-audio", True), ("annotate", "dataset:os-audio", False),
        ("read", "project:Heron", False), ("rea", "project:Puffin", False),
        ("read", "project:", False), ("read", "dataset:", False),
        ("read", "Kingfisher", False), ("read", "type:project_access", False),
    ):  # fmt: skip
        assert found.allows(action, resource) is expected, (action, resource)
    assert not checker.check("nonsense").allows("read", "project:Kingfisher")
    plain = checker.check(issuer.token(header={"key": EC}))
    assert plain.valid
    assert not plain.allows("read", "project:Kingfisher")
    assert checker.check(issuer.token(header={"type": "application/at+jwt"})).valid


def now() -> int:
    return int(time.time())


def faults() -> list[tuple[dict[str, Any], str]]:
    """Claims at fault, as of now: a long run may import this file minutes before it asks."""
    return [
        ({"iss": "https://other.example"}, "issuer"), ({"iss": ...}, "issuer"),
        ({"aud": "https://other.example"}, "audience"), ({"aud": ...}, "audience"),
        ({"aud": ["https://other.example"]}, "audience"), ({"aud": {AUDIENCE: 1}}, "audience"),
        ({"exp": now() - 1}, "expired"), ({"exp": ...}, "claims"), ({"exp": "2999"}, "claims"),
        ({"exp": True}, "claims"), ({"iat": ...}, "claims"), ({"exp": float("nan")}, "claims"),
        ({"iat": now() + 600, "exp": now() + 900}, "not_yet_valid"),
        ({"nbf": now() + 600}, "not_yet_valid"), ({"nbf": "soon"}, "not_yet_valid"),
        ({"sub": ...}, "claims"), ({"sub": ""}, "claims"), ({"sub": 5}, "claims"),
        ({"client_id": ...}, "claims"), ({"jti": ...}, "claims"),
        ({"cnf": {"jkt": "x"}}, "claims"), ({"authorization_details": {}}, "claims"),
        ({"authorization_details": ["read"]}, "claims"),
        ({"status": ...}, "status_missing"), ({"status": []}, "status_missing"),
        ({"status": {"status_list": {"idx": 0}}}, "status_missing"),
        ({"status": {"status_list": {"idx": "0", "uri": "https://x.example"}}}, "status_missing"),
        ({"status": {"status_list": {"idx": True, "uri": "https://x.example"}}}, "status_missing"),
        ({"status": {"status_list": {"idx": 0.0, "uri": "https://x.example"}}}, "status_missing"),
    ]  # fmt: skip


@pytest.mark.asvs("9.2.1", "9.2.3", "10.3.1")
def test_a_token_with_a_claim_at_fault_is_refused(issuer: Issuer, checker: Tokens) -> None:
    for wrong, reason in faults():
        found = checker.check(issuer.token(**wrong))
        assert (found.valid, found.reason) == (False, reason), wrong
        assert found.claims == {}
        assert found.subject == ""


@pytest.mark.asvs("9.1.1", "9.1.2", "9.2.2")
def test_a_token_signed_or_typed_otherwise_is_refused(issuer: Issuer, checker: Tokens) -> None:
    good = issuer.token()
    head, body, signature = good.split(".")
    none = (
        base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt","kid":"rsa"}').decode().rstrip("=")
    )
    shared = OctKey.generate_key(256, {"kid": "rsa"})
    other = issuer.token(sub="P00002").split(".")[1]
    cases = [
        (issuer.token(header={"key": STRANGER}), "signature"),
        (issuer.token(header={"key": EC_STRANGER, "jwk": EC_STRANGER.as_dict(private=False)}),
         "signature"),
        (critical(body), "signature"),
        (issuer.token(header={"kid": "unknown"}), "signature"),
        (issuer.token(header={"kid": "ec"}), "signature"),
        (issuer.token(header={"key": WEAK}), "signature"),
        (issuer.token(header={"key": shared}), "algorithm"),
        (issuer.token(header={"alg": "PS256"}), "algorithm"),
        (issuer.token(header={"alg": "RS512"}), "algorithm"),
        (issuer.token(header={"key": P384, "alg": "ES384"}), "algorithm"),
        (issuer.token(header={"type": "JWT"}), "type"),
        (issuer.token(header={"type": "statuslist+jwt"}), "type"),
        (f"{none}.{body}.", "algorithm"),
        (f"{head}.{other}.{signature}", "signature"),
        (f"{head}.{body}.{signature[:-4]}AAAA", "signature"),
        (signed(b"[]", type="at+jwt"), "malformed"), (signed(b"{", type="at+jwt"), "malformed"),
        (signed(b"[" * 5000, type="at+jwt"), "malformed"),
        ("", "malformed"), ("a.b.c", "malformed"), (f"{head}.{body}", "malformed"),
        (good + ".x", "malformed"), ("ä.b.c", "malformed"), ("x" * 10_000, "malformed"),
        (issuer.token(padding="x" * 8192), "malformed"),
    ]  # fmt: skip
    for token, reason in cases:
        found = checker.check(token)
        assert (found.valid, found.reason) == (False, reason), token[:80]
    assert checker.check(good).valid
    with pytest.raises(TypeError):
        checker.check(None)  # type: ignore[arg-type]  # what a caller might do


# --- keys --------------------------------------------------------------------------------------


def test_a_new_key_is_found_at_once_and_forged_names_do_not_make_us_ask_each_time(
    issuer: Issuer, checker: Tokens, clock: Clock
) -> None:
    issuer.keys = [RSA]
    assert checker.check(issuer.token()).valid
    issuer.keys = [RSA, EC]
    clock.passed += 11
    assert checker.check(issuer.token(header={"key": EC})).valid
    before = len(issuer.served.paths)
    for number in range(20):
        assert not checker.check(issuer.token(header={"kid": f"forged{number}"}))
    assert len(issuer.served.paths) == before
    # A key that is published no more is not believed for long.
    issuer.keys = [RSA]
    clock.passed += 301
    assert checker.check(issuer.token(header={"key": EC})).reason == "signature"
    assert checker.check(issuer.token()).valid


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.example"},
        {"jwks_uri": "http://keys.example/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": 5},
    ],
)
@pytest.mark.asvs("9.1.3")
def test_keys_come_from_the_issuer_itself_and_not_in_the_clear(
    issuer: Issuer, checker: Tokens, metadata: dict[str, Any]
) -> None:
    issuer.metadata = metadata
    assert checker.check(issuer.token()).reason == "unavailable"


# --- the status list ---------------------------------------------------------------------------


def test_only_valid_is_good_and_a_place_outside_the_list_is_none(
    issuer: Issuer, checker: Tokens
) -> None:
    expected = ["valid", "invalid", "suspended", "invalid", "valid", "suspended", "valid",
                "invalid", "invalid"]  # fmt: skip
    for index, reason in enumerate(expected):
        assert checker.check(issuer.token(index)).reason == reason, index
    issuer.list = {"status_list": {"bits": 2, "lst": packed(random.Random(1).randbytes(500_000))}}
    assert Tokens(issuer.url, AUDIENCE).check(issuer.token(2_000_000)).reason == "invalid"
    for index in (-1, 10**9, 10**30):
        assert checker.check(issuer.token(index)).reason == "invalid"


def test_the_draft_s_own_lists_are_read() -> None:
    one = StatusList.read({"bits": 1, "lst": "eNrbuRgAAhcBXQ"})
    assert [one.value(index) for index in range(16)] == [
        1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1,
    ]  # fmt: skip
    two = StatusList.read({"bits": 2, "lst": "eNo76fITAAPfAgc"})
    assert [two.value(index) for index in range(12)] == [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]


LISTS: list[dict[str, Any]] = [
    {"sub": "https://other.example/0"}, {"sub": ...}, {"iss": "https://other.example"},
    {"iat": ...}, {"iat": "now"}, {"iat": 0}, {"iat": now() + 86_400}, {"exp": now() - 1},
    {"exp": "never"}, {"ttl": 0}, {"ttl": -30}, {"ttl": "30"}, {"ttl": float("inf"), "iat": ...},
    {"status_list": ...}, {"status_list": []}, {"status_list": {"bits": 2}},
    *({"status_list": {"bits": bits, "lst": packed(PACKED)}} for bits in (
        0, 3, 16, "2", True, [2], None)),
    *({"status_list": {"bits": 2, "lst": text}} for text in (
        5, "", "%%%", "ä", packed(PACKED)[:-4], base64.b64encode(PACKED).decode(),
        packed(bytes(20 * 1024 * 1024)))),
]  # fmt: skip


def test_a_list_that_is_not_as_it_should_be_makes_nothing_valid(issuer: Issuer) -> None:
    for wrong in LISTS:
        issuer.list = wrong
        found = Tokens(issuer.url, AUDIENCE).check(issuer.token())
        assert (found.valid, found.reason) == (False, "unavailable"), wrong
    issuer.list = {}
    for header in ({"type": "JWT"}, {"type": "at+jwt"}, {"key": STRANGER}, {"kid": "unknown"},
                   {"alg": "RS512"}):  # fmt: skip
        issuer.list_header = header
        assert Tokens(issuer.url, AUDIENCE).check(issuer.token()).reason == "unavailable", header
    issuer.list_header = {}
    instead: list[Callable[[Handler], None]] = [
        lambda handler: handler.tell({}, 500),
        lambda handler: handler.tell(issuer.status_list().encode(), type="application/jwt"),
        lambda handler: handler.tell(b"", 302, Location=f"{issuer.url}/elsewhere"),
        lambda handler: handler.tell("ä".encode(), type="application/statuslist+jwt"),
        lambda handler: handler.tell(issuer.token().encode(), type="application/statuslist+jwt"),
    ]
    for answer in instead:
        issuer.instead = answer
        assert Tokens(issuer.url, AUDIENCE).check(issuer.token()).reason == "unavailable"
    # An address that is neither HTTPS nor the issuer's own is not asked at all.
    issuer.instead = None
    before = lists(issuer)
    other = {"idx": 0, "uri": issuer.uri.replace("127.0.0.1", "localhost")}
    checker = Tokens(issuer.url, AUDIENCE)
    assert checker.check(issuer.token(status={"status_list": other})).reason == "unavailable"
    assert lists(issuer) == before


def test_a_list_is_kept_for_its_ttl_and_a_pause_shows_when_it_is_over(
    issuer: Issuer, checker: Tokens, clock: Clock
) -> None:
    token = issuer.token()
    for _ in range(5):
        assert checker.check(token).valid
    assert lists(issuer) == 1
    issuer.list = {"status_list": {"bits": 2, "lst": packed(bytes([SUSPENDED, 0]))}}
    clock.passed = 29
    assert checker.check(token).valid
    clock.passed = 30.5
    assert checker.check(token).reason == "suspended"
    assert lists(issuer) == 2
    # A token's own end counts whatever its list says.
    issuer.list = {}
    clock.passed = 301
    assert checker.check(token).reason == "expired"


def test_when_no_newer_list_is_to_be_had_every_token_is_refused(
    issuer: Issuer, checker: Tokens, clock: Clock
) -> None:
    token = issuer.token()
    assert checker.check(token).valid
    old = issuer.status_list()
    clock.passed = 31
    issuer.instead = lambda handler: handler.tell({}, 503)
    assert checker.check(token).reason == "unavailable"
    # While it fails, not every caller waits for it anew.
    before = lists(issuer)
    for _ in range(5):
        assert checker.check(token).reason == "unavailable"
    assert lists(issuer) == before
    # Whoever stands between may not hand out what it kept from before.
    clock.passed += 2
    issuer.instead = lambda handler: handler.tell(old.encode(), type="application/statuslist+jwt")
    clock.passed = 40
    assert checker.check(token).reason == "unavailable"
    issuer.instead = None
    clock.passed = 42
    assert checker.check(token).valid


def test_a_list_older_than_the_one_before_is_not_believed(
    issuer: Issuer, checker: Tokens, clock: Clock
) -> None:
    issuer.list = {"ttl": 5}
    clock.passed = 10
    old = issuer.status_list()
    clock.passed = 12
    token = issuer.token()
    assert checker.check(token).valid
    issuer.instead = lambda handler: handler.tell(old.encode(), type="application/statuslist+jwt")
    clock.passed = 17.5
    assert checker.check(token).reason == "unavailable"


def test_wrong_use_raises() -> None:
    for issuer, audience in (("http://govern.example", AUDIENCE), ("govern", AUDIENCE),
                             ("https://govern.example", "")):  # fmt: skip
        with pytest.raises(ValueError, match=r".+"):
            Tokens(issuer, audience)
