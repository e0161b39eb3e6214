"""Passkeys: whole sign-ins and second factors, each answer good once, for us alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import literal, select, update

from govern import clock, errors
from govern.access import grants, offboarding
from govern.access.demands import Factor
from govern.audit.log import Entry
from govern.audit.record import RECORDED
from govern.config import Settings
from govern.identity import (
    account,
    activation,
    authenticators,
    passkeys,
    resets,
    sessions,
    throttle,
)
from govern.identity.passkeys import Answer, Asked, Passkey
from govern.identity.resets import PasswordReset
from govern.identity.throttle import Throttle
from tests.factory import OPERATOR, PASSWORD, person
from tests.support.authenticator import Device, plain, text

if TYPE_CHECKING:
    from govern.identity.subjects import Subject
    from govern.principal import Principal
    from tests.factory import World

ORIGIN = "https://access.example.com"
HERE = "this browser"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, public_url=ORIGIN)


def beginning_of(world: World) -> Subject:
    me = world.subject()
    world.activate(me)
    return me


@pytest.fixture
def beginning() -> Callable[[World], object]:
    return beginning_of


@dataclass
class Person:
    """Someone activated, with what their devices do."""

    world: World
    subject: Subject

    @property
    def by(self) -> Principal:
        return replace(person(self.subject), roles=())

    def adds(self, device: Device, *, name: str = "Blue key", **lies: Any) -> None:
        with self.world.store.reading() as session:
            asked = account.ask_for_passkey(session, browser=HERE, by=self.by)
        made = Answer(device.make(asked, **lies), asked.sealed, HERE)
        self.world.do(lambda s: account.add_passkey(s, made, name=name, by=self.by))

    def device(self, **more: Any) -> Device:
        device = Device(ORIGIN, **more)
        self.adds(device)
        return device

    def asked(self) -> Asked:
        with self.world.store.reading() as session:
            asked = passkeys.ask(session, self.subject.id, browser=HERE)
        assert asked is not None
        return asked

    def half_way(self) -> str:
        return sessions.begin(self.world.store, self.subject.email, PASSWORD)

    def shows(self, token: str, device: Device, **lies: Any) -> str:
        asked = self.asked()
        answer = Answer(device.show(asked, **lies), asked.sealed, HERE)
        found: str = self.world.do(lambda s: sessions.show_passkey(s, token, answer))
        return found


@pytest.fixture
def me(world: World, begun: Subject) -> Person:
    return Person(world, begun)


def anyone(world: World) -> Asked:
    return passkeys.ask_anyone(world.store.settings, browser=HERE)


def sign_in(world: World, answer: Answer) -> str:
    found: str = world.do(lambda s: sessions.begin_with_passkey(s, answer))
    return found


def signs_in(world: World, device: Device, **lies: Any) -> str:
    asked = anyone(world)
    return sign_in(world, Answer(device.show(asked, **lies), asked.sealed, HERE))


def amr(world: World, token: str) -> tuple[str, ...]:
    with world.store.reading() as session:
        found = sessions.resume(session, token)
    assert found is not None
    assert not found.half_way
    return found.principal.amr


def types(world: World) -> list[str]:
    with world.store.reading() as session:
        return list(session.execute(select(Entry.type).order_by(Entry.at, Entry.seq)).scalars())


@pytest.mark.asvs("63B-2.2")
def test_a_passkey_alone_is_a_whole_sign_in_and_says_so(world: World, me: Person) -> None:
    device = me.device()
    assert types(world)[-1] == "passkey.enrolled"
    token = signs_in(world, device)
    assert amr(world, token) == ("pop", "mfa")
    assert types(world)[-1] == "session.opened"
    with world.store.reading() as session:
        (found,) = passkeys.in_use(session, me.subject.id)
    assert found.used_at is not None
    assert found.sign_count == device.counter


def test_a_passkey_is_a_second_factor_and_freshens_a_session(world: World, me: Person) -> None:
    device = me.device()
    full = me.shows(me.half_way(), device, recognised=False)
    assert amr(world, full) == ("pwd", "pop", "mfa")
    with clock.at(clock.utcnow() + timedelta(minutes=6)):
        fresh = me.shows(full, device, recognised=False)
        assert amr(world, fresh) == ("pwd", "pop", "mfa")
        with world.store.reading() as session:
            assert sessions.resume(session, full) is None


@pytest.mark.asvs("63B-B")
def test_a_device_that_does_not_recognise_its_owner_makes_no_passkey(
    world: World, me: Person
) -> None:
    with pytest.raises(errors.Invalid) as refused:
        me.adds(Device(ORIGIN, recognises=False))
    assert refused.value.field == "new_passkey"
    assert "PIN" in refused.value.message
    with world.store.reading() as session:
        asked = account.ask_for_passkey(session, browser=HERE, by=me.by)
        assert passkeys.in_use(session, me.subject.id) == []
    assert json.loads(asked.options)["authenticatorSelection"]["userVerification"] == "required"


@pytest.mark.asvs("63B-B", "6.5.7")
def test_alone_a_passkey_counts_only_if_its_owner_was_recognised(world: World, me: Person) -> None:
    device = me.device()
    with pytest.raises(errors.SignInFailed):
        signs_in(world, device, recognised=False)
    assert types(world)[-1] == "sign_in.failed"
    token = signs_in(world, device)
    with pytest.raises(errors.SignInFailed):
        me.shows(token, device, recognised=False)
    me.shows(token, device)


@pytest.mark.asvs("6.7.2")
def test_an_answer_is_good_once_even_beside_itself(world: World, me: Person) -> None:
    device = me.device(counts=False)  # a counter would catch it by itself
    asked = anyone(world)
    answer = Answer(device.show(asked), asked.sealed, HERE)
    sign_in(world, answer)
    with pytest.raises(errors.SignInFailed):
        sign_in(world, answer)
    again = Answer(device.show(asked), asked.sealed, HERE)
    with pytest.raises(errors.SignInFailed):
        sign_in(world, again)


LIES = {
    "another origin": {"origin": "https://access.example.com.evil.example"},
    "another port": {"origin": "https://access.example.com:8443"},
    "another host's hash": {"host": "evil.example"},
    "a registration": {"type": "webauthn.create"},
    "a counter that goes back": {"counter": 1},
}


@pytest.mark.asvs("63B-B")
def test_whatever_was_signed_for_another_place_or_purpose_is_refused(
    world: World, me: Person
) -> None:
    device = me.device()
    signs_in(world, device)
    for lies in LIES.values():
        with pytest.raises(errors.SignInFailed) as refused:
            signs_in(world, device, **lies)
        assert refused.value.message == "That did not work. Check what you typed and try again."
    with pytest.raises(errors.Invalid):
        me.adds(Device(ORIGIN), origin="http://evil.example")
    assert types(world).count("sign_in.failed") == len(LIES)
    signs_in(world, device)


@pytest.mark.asvs("6.7.2")
def test_a_question_is_for_one_browser_one_purpose_one_person_and_a_quarter_of_an_hour(
    world: World, me: Person
) -> None:
    device = me.device()
    other = beginning_of(world)
    asked, own = anyone(world), me.asked()
    for answer in [
        Answer(device.show(asked), asked.sealed, "another browser"),
        Answer(device.show(own), own.sealed, HERE),
        Answer(device.show(asked), own.sealed, HERE),
        Answer(device.show(asked), "", HERE),
    ]:
        with pytest.raises(errors.SignInFailed):
            sign_in(world, answer)
    theirs = sessions.begin(world.store, other.email, PASSWORD)
    with pytest.raises(errors.SignInFailed):
        me.shows(theirs, device)
    with clock.at(clock.utcnow() + timedelta(minutes=16)), pytest.raises(errors.SignInFailed) as no:
        sign_in(world, Answer(device.show(asked), asked.sealed, HERE))
    assert "open for too long" in no.value.message


def test_a_forged_signature_and_what_no_browser_says_are_refused(world: World, me: Person) -> None:
    device = me.device()
    asked = anyone(world)
    good = json.loads(device.show(asked))
    forged = json.loads(json.dumps(good))
    signature = bytearray(plain(good["response"]["signature"]))
    signature[-1] ^= 1
    forged["response"]["signature"] = text(bytes(signature))
    stranger = json.loads(json.dumps(good))
    stranger["response"]["userHandle"] = text(b"sub_somebody_else")
    for said in [
        json.dumps(forged),
        json.dumps(stranger),
        json.dumps({**good, "id": 5}),
        json.dumps({**good, "response": None}),
        json.dumps({**good, "response": {}}),
        json.dumps({"id": good["id"]}),
        "[]",
        "[" * 9000,
        "not json",
        "",
        "x" * 20_000,
    ]:
        with pytest.raises(errors.SignInFailed):
            sign_in(world, Answer(said, asked.sealed, HERE))
        with world.store.reading() as session:
            new = account.ask_for_passkey(session, browser=HERE, by=me.by)
        made = Answer(said, new.sealed, HERE)
        with pytest.raises(errors.Invalid):
            world.do(lambda s, made=made: account.add_passkey(s, made, name="x", by=me.by))


def test_a_removed_passkey_and_who_has_left_are_refused_alike(world: World, me: Person) -> None:
    removed, kept = me.device(), me.device()
    with world.store.reading() as session:
        first = passkeys.in_use(session, me.subject.id)[0].id
    world.do(lambda s: account.remove(s, first, by=me.by))
    told = set()
    with pytest.raises(errors.SignInFailed) as refused:
        signs_in(world, removed)
    told.add(refused.value.message)
    signs_in(world, kept)
    world.do(lambda s: offboarding.offboard(s, s.merge(me.subject), reason="left", by=OPERATOR))
    for device in (kept, Device(ORIGIN)):
        with pytest.raises(errors.SignInFailed) as refused:
            signs_in(world, device)
        told.add(refused.value.message)
    assert len(told) == 1


@pytest.mark.asvs("6.7.2")
def test_asking_for_a_sign_in_tells_nothing_of_who_is_known(world: World, me: Person) -> None:
    before = json.loads(anyone(world).options)
    me.device()
    after = json.loads(anyone(world).options)
    assert before.pop("challenge") != (challenge := after.pop("challenge"))
    assert before == after
    assert not after.get("allowCredentials")
    assert after["userVerification"] == "required"
    assert len(plain(challenge)) == 32


def test_one_passkey_is_added_once_and_a_name_is_asked_for(world: World, me: Person) -> None:
    device = me.device()
    with pytest.raises(errors.Invalid) as again:
        me.adds(device)
    assert again.value.field == "new_passkey"
    for name in ("", "  ", "x" * 81, "a\x1b[31mb"):
        with pytest.raises(errors.Invalid) as unnamed:
            me.adds(Device(ORIGIN), name=name)
        assert unnamed.value.field == "name"


@pytest.mark.asvs("6.5.6", "7.4.3")
def test_the_last_strong_one_stays_and_every_change_ends_the_other_sessions(
    world: World, me: Person
) -> None:
    elsewhere = signs_in(world, me.device())
    with world.store.reading() as session:
        app, key = authenticators.strong(session, me.subject.id)
    world.do(lambda s: account.rename(s, key.id, name="Old key", by=me.by))
    assert amr(world, elsewhere) == ("pop", "mfa")
    world.do(lambda s: account.remove(s, app.id, by=me.by))
    with world.store.reading() as session:
        assert sessions.resume(session, elsewhere) is None
        (only,) = [each for each in account.factors(session, by=me.by) if each.id]
        assert (only.name, only.kind, only.only) == ("Old key", "passkey", True)
    with pytest.raises(errors.Conflict):
        world.do(lambda s: account.remove(s, key.id, by=me.by))
    assert types(world)[-1] == "authenticator.removed"
    seed = authenticators.new_seed()
    world.seeds[me.subject.id] = seed
    code = world.code(me.subject)
    world.do(lambda s: account.add_totp(s, seed=seed, code=code, name="Phone", by=me.by))
    world.do(lambda s: account.remove(s, key.id, by=me.by))


def test_one_that_may_not_know_its_owner_counts_beside_the_password_alone(
    world: World, me: Person
) -> None:
    """Passkeys of before a device had to recognise its owner still met a demand for passkeys."""
    device = me.device()
    world.do(
        lambda s: s.execute(update(Passkey).values(recognised=False), execution_options=RECORDED)
    )
    with world.store.reading() as session:
        app, key = authenticators.held(session, me.subject.id)
        assert authenticators.strong(session, me.subject.id) == [app]
        for factor, met in ((Factor.SECOND_FACTOR, True), (Factor.PHISHING_RESISTANT, False)):
            assert (
                session.execute(select(grants.has(factor, literal(me.subject.id)))).scalar() is met
            )
    me.shows(me.half_way(), device, recognised=False)
    with pytest.raises(errors.Conflict):
        world.do(lambda s: account.remove(s, app.id, by=me.by))
    me.adds(Device(ORIGIN), name="The same device, asked anew")
    with world.store.reading() as session:
        asked = account.ask_for_passkey(session, browser=HERE, by=me.by)
        excluded = json.loads(asked.options)["excludeCredentials"]
        assert len(excluded) == 1, "the old one does not stand in the way of a new one"
    world.do(lambda s: account.remove(s, app.id, by=me.by))
    world.do(lambda s: account.remove(s, key.id, by=me.by))


def test_an_app_that_is_disabled_is_none_to_sign_in_with(world: World, me: Person) -> None:
    """It still counted, so somebody could remove the last that worked."""
    me.device()
    with world.store.reading() as session:
        app, key = authenticators.held(session, me.subject.id)
    counted = authenticators.counter(me.subject, "000000")
    world.do(lambda s: s.merge(Throttle(key=counted.key, failures=throttle.MOST)))
    with world.store.reading() as session:
        shown = {each.id: each for each in account.factors(session, by=me.by)}
    assert (shown[app.id].weak, shown[key.id].only) == (True, True)
    with pytest.raises(errors.Conflict):
        world.do(lambda s: account.remove(s, key.id, by=me.by))
    world.do(lambda s: account.remove(s, app.id, by=me.by))


@pytest.mark.asvs("6.4.3")
def test_a_forgotten_password_is_set_with_a_passkey_that_knows_its_owner_and_with_no_other(
    world: World, me: Person
) -> None:
    device, found = me.device(), me.device(recognises=True)
    with world.store.reading() as session:
        app = authenticators.enrolled(session, me.subject.id)[0]
    world.do(lambda s: account.remove(s, app.id, by=me.by))
    world.do(lambda s: account.remove_recovery_codes(s, by=me.by))
    world.do(lambda s: resets.ask(s, me.subject.email))
    token = world.do(lambda s: resets.token_of(s, s.execute(select(PasswordReset)).scalar_one()))
    hashed = activation.hash_password("another long enough phrase")

    def use(device: Device, **lies: Any) -> None:
        with world.store.reading() as session:
            asked = passkeys.ask(session, me.subject.id, browser=HERE, verified=True)
        assert asked is not None
        answer = Answer(device.show(asked, **lies), asked.sealed, lies.get("browser", HERE))
        world.do(lambda s: resets.complete(s, token, password_hash=hashed, answer=answer))

    for device_, lies in (
        (found, {"recognised": False}), (device, {"origin": "https://evil.example"}),
        (device, {"browser": "another"}), (Device(ORIGIN), {}),
    ):  # fmt: skip
        with pytest.raises(errors.SignInFailed):
            use(device_, **lies)
    with pytest.raises(errors.SignInFailed):
        world.do(lambda s: resets.complete(s, token, password_hash=hashed))
    sessions.begin(world.store, me.subject.email, PASSWORD)
    use(device)
    with pytest.raises(errors.SignInFailed):
        sessions.begin(world.store, me.subject.email, PASSWORD)
    (entry,) = world.entries("house", "password_reset.completed")
    assert entry["data"] == {"amr": ["pop"]}
    with pytest.raises(errors.Unknown):
        use(device)


@pytest.mark.asvs("7.5.1")
def test_nothing_is_added_or_removed_without_a_fresh_factor_or_by_anyone_else(
    world: World, me: Person
) -> None:
    me.device()
    with world.store.reading() as session:
        app, key = authenticators.strong(session, me.subject.id)
    stranger = replace(person(beginning_of(world)), roles=())
    for act in (account.remove, lambda s, i, by: account.rename(s, i, name="mine", by=by)):
        with pytest.raises(errors.Unknown):
            world.do(lambda s, act=act: act(s, key.id, by=stranger))
    by, nothing = me.by, Answer("", "", "")
    with clock.at(clock.utcnow() + timedelta(minutes=6)):
        for act in (
            lambda s: account.add_passkey(s, nothing, name="x", by=by),
            lambda s: account.add_totp(s, seed="A" * 32, code="000000", name="x", by=by),
            lambda s: account.remove(s, app.id, by=by),
            lambda s: account.remove_recovery_codes(s, by=by),
        ):
            with pytest.raises(errors.FreshFactorRequired):
                world.do(act)


def test_of_two_removals_at_once_one_is_refused(world: World, me: Person) -> None:
    me.device()
    with world.store.reading() as session:
        app, key = authenticators.strong(session, me.subject.id)

    # One has looked before the other commits, and commits after it; on SQLite they take turns.
    read, gone = threading.Event(), threading.Event()

    def slow(session: Any) -> None:
        account.remove(session, app.id, by=me.by)
        read.set()
        gone.wait(0.5)

    refused: list[Exception] = []

    def second() -> None:
        try:
            world.do(slow)
        except errors.GovernError as error:
            refused.append(error)

    thread = threading.Thread(target=second)
    thread.start()
    read.wait(10)
    try:
        world.do(lambda s: account.remove(s, key.id, by=me.by))
    except errors.GovernError as error:
        refused.append(error)
    gone.set()
    thread.join()
    assert len(refused) == 1
    with world.store.reading() as session:
        assert len(authenticators.strong(session, me.subject.id)) == 1


def test_where_the_address_is_a_number_no_passkey_is_asked_for(world: World, me: Person) -> None:
    for url, possible in {
        "http://127.0.0.1:8000": False,
        "http://[::1]:8000": False,
        "http://localhost:8000": True,
        "https://access.example.com": True,
    }.items():
        settings = Settings(data_dir=world.store.settings.data_dir, public_url=url)
        assert passkeys.available(settings) is possible
