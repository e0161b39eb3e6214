"""Single sign-on, against a provider that signs what we want: what counts, and what does not."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from sqlalchemy import select

from govern import clock, errors, outbound
from govern.access import offboarding
from govern.audit.log import HOUSE
from govern.identity import federation, sessions
from govern.identity.federation import Assurance, IdentityLink, IdentityProvider, flow, wire
from govern.identity.sessions import WebSession
from tests.factory import OPERATOR, SECOND, World, person
from tests.support import issuer as made
from tests.support.issuer import CLIENT_ID, CLIENT_SECRET, Issuer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from govern.identity.subjects import Subject


@pytest.fixture(scope="module")
def running() -> Iterator[Issuer]:
    with made.running() as issuer:
        yield issuer


@pytest.fixture
def issuer(running: Issuer) -> Issuer:
    wire._known.clear()
    running.metadata.clear()
    running.answers.clear()
    running.asked.clear()
    return running


@dataclass
class Desk:
    """A world with a provider in use, to which Ada is linked."""

    world: World
    issuer: Issuer
    provider: IdentityProvider
    ada: Subject
    link: IdentityLink

    def come(
        self, token: Callable[[dict[str, str]], str] | None = None, **changes: Any
    ) -> sessions.Caller:
        """A whole sign-in; who is in then."""
        departure = federation.depart(self.world.store, self.provider.id, next="/account")
        answer = self.issuer.answer(departure.address, token, **changes)
        return self.back(departure, answer)

    def back(self, departure: federation.Departure, answer: dict[str, str]) -> sessions.Caller:
        arrival = federation.arrive(
            self.world.store, self.provider.id, transaction=departure.transaction, answer=answer
        )
        assert arrival.next == "/account"
        with self.world.store.reading() as session:
            found = sessions.resume(session, arrival.token)
        assert found is not None
        return found

    def refused(self, token: Callable[[dict[str, str]], str] | None = None, **changes: Any) -> str:
        """Why the record says that a sign-in was refused; nobody else is told."""
        with pytest.raises(errors.SignInFailed) as refusal:
            self.come(token, **changes)
        assert refusal.value.message == flow._REFUSED
        return str(self.world.entries(HOUSE, "sign_in.failed")[-1]["data"]["why"])

    def live(self) -> int:
        with self.world.store.reading() as session:
            query = select(WebSession).where(WebSession.ended_at.is_(None))
            return len(session.execute(query).scalars().all())

    def assure(self, assures: Assurance, **values: str) -> None:
        """Take the provider in anew, as one that may assure something."""
        self.world.do(lambda s: federation.end(s, self.provider.id, by=OPERATOR))
        self.provider = provider(self.world, self.issuer, assures=assures, **values)
        self.link = self.world.do(
            lambda s: federation.link(s, self.ada, self.provider.id, sub="ada-at-home", by=OPERATOR)
        )


def provider(world: World, issuer: Issuer, **more: Any) -> IdentityProvider:
    row: IdentityProvider = world.do(
        lambda s: federation.create(
            s, "Company account", issuer=issuer.url, client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET, **{"inside": True, "by": OPERATOR} | more,
        )
    )  # fmt: skip
    return row


@pytest.fixture
def desk(world: World, issuer: Issuer) -> Desk:
    row = provider(world, issuer)
    ada = world.subject("ada")
    link = world.do(lambda s: federation.link(s, ada, row.id, sub="ada-at-home", by=OPERATOR))
    return Desk(world, issuer, row, ada, link)


# --- what counts -------------------------------------------------------------------------------


@pytest.mark.asvs("6.8.1")
def test_who_is_linked_is_in_by_sub_alone_and_our_own_second_factor_is_still_asked_for(
    desk: Desk,
) -> None:
    world = desk.world
    world.activate(desk.ada)
    grace = world.subject("grace")
    departure = federation.depart(world.store, desk.provider.id, next="/account")
    asked = parse_qs(urlsplit(departure.address).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["redirect_uri"] == [
        f"{world.store.settings.public_url}/sign-in/from/{desk.provider.id}"
    ]
    assert {"state", "nonce", "code_challenge"} <= set(asked)
    answer = desk.issuer.answer(
        departure.address, email=grace.email, email_verified=True, amr=["hwk", "mfa"], acr="gold"
    )
    found = desk.back(departure, answer)
    assert found.subject.id == desk.ada.id, "the address says nothing once there is a link"
    assert found.half_way, "nothing that the provider says of factors counts unless it may"
    assert found.principal.roles == ()

    later = clock.utcnow() + timedelta(seconds=30)
    arrival = federation.depart(world.store, desk.provider.id, next="")
    token = federation.arrive(
        world.store, desk.provider.id, transaction=arrival.transaction,
        answer=desk.issuer.answer(arrival.address),
    ).token  # fmt: skip
    with clock.at(later):
        code = world.code(desk.ada, at=later)
        token = world.do(lambda s: sessions.show_factor(s, token, code))
        with world.store.reading() as session:
            whole = sessions.resume(session, token)
    assert whole is not None
    assert not whole.half_way
    assert whole.principal.amr == ("fed", "otp", "mfa")
    (opened,) = world.entries(HOUSE, "session.opened")
    assert opened["refs"]["link"] == desk.link.id
    assert opened["data"]["amr"] == ["fed", "otp", "mfa"]


@pytest.mark.asvs("6.8.4")
def test_a_provider_proves_what_it_may_assure_if_its_token_does_and_recently(desk: Desk) -> None:
    desk.assure(Assurance.MFA, acr_values=("gold",), amr_values=("mfa",))
    now = clock.utcnow()
    for proof in ({"amr": ["pwd", "otp", "mfa"]}, {"acr": "gold"}):
        whole = desk.come(**proof)
        assert not whole.half_way
        assert whole.principal.amr[-1] == "mfa"
        assert abs(whole.principal.factor_at - now) < timedelta(seconds=10)
    # It may not assure a phishing-resistant one, whatever its token says.
    assert "hwk" not in desk.come(amr=["hwk", "mfa"], acr="gold").principal.amr

    earlier = int((now - timedelta(minutes=50)).timestamp())
    aged = desk.come(acr="gold", auth_time=earlier)
    assert aged.principal.factor_at.timestamp() == earlier, "the factor is as old as it is"
    ahead = desk.come(acr="gold", auth_time=int(now.timestamp()) + 40)
    assert ahead.principal.factor_at <= clock.utcnow(), "never later than now"

    for short in (
        {}, {"amr": ["pwd"]}, {"acr": "silver"}, {"amr": "mfa"}, {"acr": ["gold"]},
        {"acr": "gold", "auth_time": None},
        {"acr": "gold", "auth_time": int((now - timedelta(minutes=61)).timestamp())},
    ):  # fmt: skip
        assert desk.come(**short).half_way, short

    desk.assure(Assurance.PHISHING_RESISTANT, acr_values=("phr",))
    assert desk.come(acr="phr").principal.amr == ("fed", "hwk", "mfa")


def test_the_browser_that_is_asked_for_assurance_carries_the_question(desk: Desk) -> None:
    desk.assure(Assurance.MFA, acr_values=("gold", "platinum"))
    departure = federation.depart(desk.world.store, desk.provider.id, next="")
    asked = parse_qs(urlsplit(departure.address).query)
    assert asked["max_age"] == ["3600"]
    assert asked["acr_values"] == ["gold platinum"]


# --- what does not -----------------------------------------------------------------------------


@pytest.mark.asvs("6.8.2")
def test_no_token_that_is_not_the_providers_own_for_this_sign_in_lets_anyone_in(
    desk: Desk,
) -> None:
    issuer = desk.issuer
    now = int(clock.utcnow().timestamp())
    stranger = ECKey.generate_key("P-256", auto_kid=True)
    public = json.dumps(issuer.key.as_dict(private=False)).encode()

    def signed_by(key: Any, algorithm: str = "ES256", **header: Any) -> Callable[..., str]:
        def token(asked: dict[str, str]) -> str:
            claims = issuer.claims(nonce=asked["nonce"])
            head = {"alg": algorithm, "kid": issuer.key.kid, **header}
            return jwt.encode(head, claims, key, algorithms=[algorithm])

        return token

    def unsigned(asked: dict[str, str]) -> str:
        parts = ({"alg": "none"}, issuer.claims(nonce=asked["nonce"]))
        texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
        return b".".join([*texts, b""]).decode()

    def changed(asked: dict[str, str]) -> str:
        whole = issuer.sign(issuer.claims(nonce=asked["nonce"])).split(".")
        other = issuer.sign(issuer.claims(nonce=asked["nonce"], sub="grace")).split(".")
        return ".".join([whole[0], other[1], whole[2]])

    signatures = {
        "none": (unsigned, "token:alg"),
        "HS256 by our secret": (
            signed_by(OctKey.import_key(CLIENT_SECRET), "HS256"), "token:alg"),
        "HS256 by the public key": (signed_by(OctKey.import_key(public), "HS256"), "token:alg"),
        "another's key under its name": (signed_by(stranger), "token:signature"),
        "another's key": (signed_by(stranger, kid=stranger.kid), "token:key"),
        "a key that it brings along": (
            signed_by(stranger, jwk=stranger.as_dict(private=False)), "token:signature"),
        "a key from elsewhere": (
            signed_by(stranger, jku=f"{issuer.url}/others"), "token:signature"),
        "another kind of key": (
            signed_by(RSAKey.generate_key(2048), "RS256"), "token:key"),
        "changed": (changed, "token:signature"),
        "a logout token": (
            lambda asked: issuer.logout_token(nonce=asked["nonce"]), "token:typ"),
        "no token": (lambda _: "eyJ", "token:signature"),
    }  # fmt: skip
    for name, (token, why) in signatures.items():
        assert desk.refused(token) == why, name
    assert "/others" not in issuer.asked

    claims: list[tuple[dict[str, Any], str]] = [
        ({"nonce": "another"}, "nonce"), ({"nonce": None}, "nonce"),
        ({"iss": "https://elsewhere.example"}, "iss"), ({"iss": None}, "iss"),
        ({"iss": f"{issuer.url}/"}, "iss"),
        ({"aud": "another"}, "aud"), ({"aud": None}, "aud"),
        ({"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID}, "aud"),
        ({"azp": "another"}, "azp"),
        ({"exp": now - 90}, "exp"), ({"exp": None}, "exp"), ({"exp": "soon"}, "exp"),
        ({"iat": now + 90}, "iat"), ({"iat": None}, "iat"), ({"iat": now - 700}, "iat"),
        ({"auth_time": now + 90}, "auth_time"), ({"auth_time": "now"}, "auth_time"),
        ({"auth_time": True}, "auth_time"),
        ({"sub": None}, "sub"), ({"sub": 7}, "sub"), ({"sub": "x" * 256}, "sub"),
        ({"sub": ""}, "sub"), ({"sid": 7}, "sub"), ({"nbf": now + 90}, "nbf"),
    ]  # fmt: skip
    for changes, why in claims:
        assert desk.refused(**changes) == f"token:{why}", changes
    assert desk.live() == 0


def test_an_answer_counts_once_in_the_browser_that_left_and_for_ten_minutes(desk: Desk) -> None:
    store, provider_id = desk.world.store, desk.provider.id
    departure = federation.depart(store, provider_id, next="/account")
    answer = desk.issuer.answer(departure.address)
    other = federation.depart(store, provider_id, next="/account")

    def fails(transaction: str, given: dict[str, str], at: str = provider_id) -> str:
        with pytest.raises(errors.SignInFailed) as refusal:
            federation.arrive(store, at, transaction=transaction, answer=given)
        assert refusal.value.message == flow._REFUSED
        entries = desk.world.entries(HOUSE, "sign_in.failed")
        return str(entries[-1]["data"]["why"]) if entries else ""

    # Whoever is not the browser that left leaves no trace but in the access log.
    assert fails(other.transaction, answer) == ""
    assert fails("", answer) == ""
    assert fails(departure.transaction[:-4] + "AAAA", answer) == ""
    assert fails(departure.transaction, answer | {"state": "x"}) == ""
    assert fails(departure.transaction, answer, "idp_another") == ""
    with clock.at(clock.utcnow() + timedelta(minutes=10, seconds=1)):
        assert fails(departure.transaction, answer) == ""

    desk.back(departure, answer)
    again = desk.issuer.answer(departure.address)
    assert fails(departure.transaction, answer) == "replayed"
    assert fails(departure.transaction, again) == "replayed"

    # RFC 9207: another provider's answer, and none where this one names itself.
    for wrong, why in (
        ({"iss": "https://elsewhere.example"}, "token:response_iss"),
        ({"iss": ""}, "token:response_iss"),
        ({"error": "access_denied"}, "token:no_code"),
        ({"code": ""}, "token:no_code"),
        ({"code": "guessed"}, "token:refused"),
    ):
        left = federation.depart(store, provider_id, next="")
        assert fails(left.transaction, desk.issuer.answer(left.address) | wrong) == why
    left = federation.depart(store, provider_id, next="")
    answer = desk.issuer.answer(left.address)
    del answer["iss"]
    assert fails(left.transaction, answer) == "token:response_iss"

    # A verifier that is not the one of this browser's question: the provider refuses it.
    left = federation.depart(store, provider_id, next="")
    kept = flow._unsealed(store, left.transaction)
    assert kept is not None
    forged = kept | {"verifier": "x" * 43}
    transaction = flow.sealing.seal_form(store.settings, forged, place=flow._PLACE)
    assert fails(transaction, desk.issuer.answer(left.address)) == "token:refused"
    assert desk.live() == 1


def test_unknown_unlinked_offboarded_and_of_an_ended_provider_are_answered_alike(
    desk: Desk,
) -> None:
    world = desk.world
    assert desk.refused(sub="nobody") == "unlinked"
    assert desk.refused(sub="ADA-AT-HOME") == "unlinked", "a sub compares letter by letter"
    grace = world.subject("grace")
    assert desk.refused(sub="x", email=grace.email, email_verified=True) == "unlinked"

    desk.come()
    assert desk.live() == 1
    world.do(lambda s: federation.unlink(s, desk.link.id, by=OPERATOR))
    assert desk.live() == 0, "a session ends with the link by which it came"
    assert desk.refused() == "unlinked"

    world.do(lambda s: federation.link(s, grace, desk.provider.id, sub="grace", by=OPERATOR))
    desk.come(sub="grace")
    world.do(
        lambda s: offboarding.offboard(
            s, s.get_one(type(grace), grace.id), reason="left", by=OPERATOR)
    )  # fmt: skip
    assert desk.live() == 0
    assert desk.refused(sub="grace") == "unlinked"

    departure = federation.depart(world.store, desk.provider.id, next="")
    answer = desk.issuer.answer(departure.address)
    world.do(lambda s: federation.end(s, desk.provider.id, by=OPERATOR))
    with pytest.raises(errors.SignInFailed, match="not completed") as refusal:
        desk.back(departure, answer)
    assert refusal.value.message == flow._REFUSED
    with pytest.raises(errors.SignInFailed) as refusal:
        desk.come()
    assert refusal.value.message == flow._REFUSED
    assert world.store.settings.smtp_url == ""
    assert world.entries(HOUSE, "identity.offered") == [], "without mail only an admin links"
    log = json.dumps(world.entries(HOUSE))
    assert "ada-at-home" not in log
    assert CLIENT_SECRET not in log


# --- providers and links -----------------------------------------------------------------------


def test_a_providers_end_ends_its_links_and_the_sessions_that_came_by_it(desk: Desk) -> None:
    desk.come()
    desk.come()
    desk.world.do(lambda s: federation.end(s, desk.provider.id, by=OPERATOR))
    assert desk.live() == 0
    with desk.world.store.reading() as session:
        assert federation.of_subject(session, desk.ada.id, by=OPERATOR) == []
        assert federation.offered(session) == []
        with pytest.raises(errors.Forbidden):
            federation.listing(session, by=person(desk.ada, role=""))
    # The same issuer may come back, and begins with nobody.
    desk.provider = provider(desk.world, desk.issuer)
    assert desk.refused() == "unlinked"


def test_the_client_secret_lies_sealed_and_bound_to_its_row(desk: Desk) -> None:
    assert CLIENT_SECRET.encode() not in desk.provider.secret
    other = IdentityProvider(id="idp_other", secret=desk.provider.secret)
    settings = desk.world.store.settings
    with pytest.raises(errors.Unavailable):
        federation.providers.secret(settings, other)


def test_who_links_an_account_is_one_of_its_makers_and_never_its_own_person(desk: Desk) -> None:
    from govern.access import requests

    world = desk.world
    boss = world.staff()
    grace = world.subject("grace")
    by = person(boss)
    world.do(lambda s: federation.link(s, grace, desk.provider.id, sub="grace", by=by))
    with world.store.reading() as session:
        assert boss.id in requests.making(session, [grace.id], by=OPERATOR).of(grace.id)
    with pytest.raises(errors.SamePerson):
        world.do(lambda s: federation.link(s, boss, desk.provider.id, sub="boss", by=by))
    with pytest.raises(errors.AlreadyExists):
        world.do(lambda s: federation.link(s, boss, desk.provider.id, sub="grace", by=SECOND))
    with pytest.raises(errors.Forbidden):
        world.do(
            lambda s: federation.link(s, boss, desk.provider.id, sub="b", by=person(grace, ""))
        )


@pytest.mark.parametrize("change", [
    {"issuer": "http://id.example.com"}, {"issuer": "https://id.example.com/?x=1"},
    {"issuer": "https://u:p@id.example.com"}, {"issuer": "ftp://id.example.com"},
    {"issuer": "https://"}, {"issuer": "https://id.example.com:99999"},
    {"issuer": "http://127.0.0.1:1", "inside": False}, {"issuer": "https://a.example\\@b"},
    {"client_secret": "short"}, {"client_id": ""}, {"name": " "},
    {"assures": Assurance.MFA}, {"amr_values": ("mfa",)},
    {"assures": Assurance.MFA, "acr_values": ("two words",)},
])  # fmt: skip
@pytest.mark.web_alone
def test_a_provider_that_makes_no_sense_is_refused(change: dict[str, Any], world: World) -> None:
    sound = {"issuer": "https://id.example.com", "client_id": "x", "client_secret": "y" * 16}
    with pytest.raises(errors.Invalid):
        world.do(
            lambda s: federation.create(
                s, **{"name": "Company", "by": OPERATOR} | sound | change)
        )  # fmt: skip


# --- being sent away ---------------------------------------------------------------------------


@pytest.mark.asvs("7.6.1")
def test_a_logout_token_ends_the_sessions_that_it_names_and_counts_once(desk: Desk) -> None:
    store, issuer = desk.world.store, desk.issuer

    def out(token: str) -> int:
        return federation.log_out(store, desk.provider.id, token)

    for sid in ("one", "two", "three"):
        desk.come(sid=sid)
    assert out(issuer.logout_token(sub="grace")) == 0
    assert out(issuer.logout_token(sub=None, sid="one")) == 1
    assert out(issuer.logout_token(sid="one")) == 0, "it had ended"
    token = issuer.logout_token(sid="two")
    assert out(token) == 1
    desk.come(sid="two")
    with pytest.raises(errors.Invalid, match="used before"):
        out(token)
    assert out(issuer.logout_token()) == 2, "without a sid, all of the person's"
    assert desk.live() == 0

    desk.come(sid="one")
    now = int(clock.utcnow().timestamp())
    events = {made.LOGOUT: {}}
    for wrong in (
        {"header": {"typ": "JWT"}}, {"header": {"typ": ""}}, {"nonce": "x"}, {"events": None},
        {"events": {"other": {}}}, {"events": {made.LOGOUT: 1}}, {"events": list(events)},
        {"jti": None}, {"aud": "another"}, {"iss": "https://elsewhere.example"},
        {"exp": now - 90}, {"exp": None}, {"exp": now + 7200}, {"iat": now - 700},
        {"iat": None}, {"sub": None},
    ):  # fmt: skip
        with pytest.raises(errors.Invalid):
            out(issuer.logout_token(**wrong))
    with pytest.raises(errors.Invalid):
        out(issuer.sign(issuer.claims(nonce="x")))
    assert desk.live() == 1
    assert out(issuer.logout_token()) == 1


# --- what we ask -------------------------------------------------------------------------------


@pytest.mark.web_alone
def test_metadata_that_leads_elsewhere_or_names_another_is_not_believed(desk: Desk) -> None:
    issuer, path = desk.issuer, "/.well-known/openid-configuration"
    json_type = {"Content-Type": "application/json"}
    sound = json.dumps(issuer.describe()).encode()
    for wrong in (
        {"issuer": "https://elsewhere.example"},
        {"token_endpoint": "http://127.0.0.1:1/token"},
        {"jwks_uri": f"{issuer.url}.elsewhere.example/jwks"},
        {"authorization_endpoint": None},
    ):
        wire._known.clear()
        issuer.metadata = wrong
        with pytest.raises(errors.Unavailable):
            desk.come()
    issuer.metadata = {}
    for answer in (
        (302, {"Location": f"{issuer.url}/elsewhere"}, b""),
        (200, json_type, b"[" * 100_000),
        (200, json_type, sound + b" " * 600_000),
        (500, json_type, sound),
        (200, json_type, b"[]"),
    ):
        wire._known.clear()
        issuer.answers[path] = answer
        with pytest.raises(errors.Unavailable):
            desk.come()
    assert "/elsewhere" not in issuer.asked
    issuer.answers.clear()
    desk.come()


@pytest.mark.web_alone
def test_a_new_key_is_asked_for_when_a_token_names_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.come()
    old = desk.issuer.key
    desk.issuer.key = ECKey.generate_key("P-256", auto_kid=True)
    assert desk.refused() == "token:key", "not more often than every ten seconds"
    monkeypatch.setattr(wire, "_NOT_BEFORE", -1)
    desk.come()
    desk.issuer.key = old


@pytest.mark.parametrize(("address", "public"), [
    ("93.184.216.34", True), ("2606:2800:220:1::1", True),
    ("127.0.0.1", False), ("10.0.0.1", False), ("172.16.0.1", False), ("192.168.1.1", False),
    ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False),
    ("255.255.255.255", False), ("::1", False), ("::", False), ("fe80::1%eth0", False),
    ("fd00::1", False), ("::ffff:127.0.0.1", False), ("::ffff:93.184.216.34", True),
    ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False),
])  # fmt: skip
def test_what_is_an_address_of_the_public_internet(address: str, public: bool) -> None:
    assert outbound.is_public(address) is public


def test_a_session_speaks_to_its_origin_alone_and_never_inside_unless_it_may(
    issuer: Issuer,
) -> None:
    import requests

    def reach(base: str, url: str, *, inside: bool) -> int:
        with requests.Session() as client:
            outbound.confine(client, base, inside=inside)
            return client.get(url).status_code

    assert reach(issuer.url, f"{issuer.url}/jwks", inside=True) == 200
    for url in ("http://127.0.0.1:1/", f"{issuer.url}0/", f"{issuer.url}@elsewhere.example/",
                f"{issuer.url}.elsewhere.example/", "file:///etc/hostname"):  # fmt: skip
        with pytest.raises(requests.RequestException):
            reach(issuer.url, url, inside=True)
    issuer.asked.clear()
    port = urlsplit(issuer.url).port
    for base in (issuer.url, f"https://localhost:{port}", f"https://127.0.0.1:{port}",
                 f"https://[::ffff:127.0.0.1]:{port}", f"https://2130706433:{port}"):  # fmt: skip
        with pytest.raises(requests.RequestException, match=r"inside|another origin"):
            reach(base, f"{base}/jwks", inside=False)
    assert issuer.asked == []
