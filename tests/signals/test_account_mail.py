"""Mail about one's own account: a recovery is told of at once, its link a day later."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from govern import clock, errors
from govern.access import recovering
from govern.audit import exporting, exports
from govern.audit.export import Filter
from govern.audit.signer import Signer
from govern.identity import (
    account,
    activation,
    authenticators,
    passkeys,
    recovery,
    resets,
    sessions,
    throttle,
)
from govern.identity.passkeys import Answer
from govern.signals import mail
from govern.signals.mail import following
from tests.factory import OPERATOR, PASSWORD, SECOND, T0, person
from tests.support.authenticator import Device
from tests.support.mailbox import Mailbox, mailbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from govern.config import Settings
    from govern.db import Session
    from govern.identity.subjects import Subject
    from govern.principal import Principal
    from tests.factory import World

START = T0 + timedelta(days=400)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as found:
        yield found


@pytest.fixture
def settings(settings: Settings, box: Mailbox) -> Settings:
    return replace(
        settings, smtp_url=f"smtp://127.0.0.1:{box.port}", mail_from="access@govern.example",
        public_url="https://govern.example",
    )  # fmt: skip


def round_(world: World, at: Any) -> int:
    with clock.at(at):
        return mail.work(world.store)


def recovered(world: World, subject: Subject) -> None:
    request = world.do(lambda s: recovering.ask(s, s.merge(subject), reason="lost", by=OPERATOR))
    world.approve(request, by=SECOND)


def activated(world: World, subject: Subject) -> list[str]:
    """An account in use, so long that what made it is no news."""
    with clock.at(START - following.TOO_LATE - MINUTE):
        return world.activate(subject)


def everything(box: Mailbox) -> str:
    return "\n".join(str(each.get_content()) for each in box.mails)


def test_a_recovery_is_told_of_at_once_its_link_a_day_later_and_its_use_afterwards(
    world: World, box: Mailbox
) -> None:
    subject = world.subject()
    activated(world, subject)
    with clock.at(START):
        recovered(world, subject)
    assert round_(world, START + MINUTE) == 1
    (notice,) = box.to(subject.email)
    body = str(notice.get_content())
    assert notice["Subject"] == "Your account is being recovered"
    assert "From 2027-12-27 09:00 UTC until 2027-12-28 09:00 UTC" in body
    cancel = re.search(r"https://govern\.example/recover/cancel/(\S+)", body)
    assert cancel is not None
    assert not re.search(r"/recover/(?!cancel/)", body), "not the link itself"
    assert round_(world, START + recovery.COOLING - MINUTE) == 0
    assert round_(world, START + recovery.COOLING + MINUTE) == 1
    link = re.search(r"/recover/(?!cancel/)(\S+)", str(box.to(subject.email)[1].get_content()))
    assert link is not None
    with clock.at(START + recovery.COOLING + 2 * MINUTE):
        seed = world.seeds[subject.id] = authenticators.new_seed()
        hashed = activation.hash_password("another long enough phrase")
        code = world.code(subject)
        world.do(
            lambda s: recovery.complete(s, link[1], password_hash=hashed, seed=seed, code=code)
        )
    assert round_(world, START + recovery.COOLING + 3 * MINUTE) == 1
    assert box.to(subject.email)[2]["Subject"] == "Your account was recovered"


def test_who_asked_for_an_export_is_told_once_that_it_is_ready_or_failed_and_of_no_client(
    world: World, box: Mailbox, settings: Settings
) -> None:
    auditor = world.staff("auditor")
    world.client("ASTER")
    activated(world, auditor)

    def made(at: datetime) -> None:
        with clock.at(at):
            Signer(settings).sign(world.store)
            world.do(
                lambda s: exports.ask(
                    s, form="jsonl", where=Filter(), by=person(auditor, "auditor")
                )
            )
            exporting.work(world.store)

    made(START)
    assert [round_(world, START + minutes * MINUTE) for minutes in (1, 2)] == [1, 0]
    (ready,) = box.to(auditor.email)
    body = str(ready.get_content())
    assert ready["Subject"] == "Your export is ready"
    assert "2027-12-26 09:00 UTC is ready. Its file stays until 2028-01-02 09:00 UTC" in " ".join(
        body.split()
    )
    assert "https://govern.example/log/exports" in body
    settings.exports_dir.rename(settings.exports_dir.with_name("away"))
    settings.exports_dir.write_bytes(b"")  # where no folder can be
    made(START + 3 * MINUTE)
    for minutes in range(4, 10):
        with clock.at(START + minutes * MINUTE):
            exporting.work(world.store)
    assert round_(world, START + 10 * MINUTE) == 1
    failed = box.to(auditor.email)[1]
    assert failed["Subject"] == "Your export could not be made"
    assert "ASTER" not in everything(box)


def test_one_that_is_called_off_sends_no_link(world: World, box: Mailbox) -> None:
    subject = world.subject()
    activated(world, subject)
    with clock.at(START):
        recovered(world, subject)
    round_(world, START + MINUTE)
    found = re.search(r"/cancel/(\S+)", str(box.to(subject.email)[0].get_content()))
    assert found is not None
    with clock.at(START + 2 * MINUTE):
        world.do(lambda s: recovery.cancel_by_link(s, found[1]))
    assert round_(world, START + 3 * MINUTE) == 1
    assert round_(world, START + recovery.COOLING + MINUTE) == 0
    assert [each["Subject"] for each in box.to(subject.email)] == [
        "Your account is being recovered", "The recovery of your account was called off",
    ]  # fmt: skip


def test_a_link_for_a_forgotten_password_goes_to_known_addresses_alone(
    world: World, box: Mailbox
) -> None:
    subject = world.subject()
    codes = activated(world, subject)
    with clock.at(START):
        world.do(lambda s: resets.ask(s, "nobody@people.example"))
        world.do(lambda s: resets.ask(s, subject.email))
    assert round_(world, START + MINUTE) == 1
    (told,) = box.to(subject.email)
    link = re.search(r"https://govern\.example/reset/(\S+)", str(told.get_content()))
    assert link is not None
    with clock.at(START + 2 * MINUTE):
        hashed = activation.hash_password("another long enough phrase")
        with pytest.raises(errors.SignInFailed):
            world.do(lambda s: resets.complete(s, link[1], password_hash=hashed, code="000000"))
        world.do(lambda s: resets.complete(s, link[1], password_hash=hashed, code=codes[0]))
    assert round_(world, START + 3 * MINUTE) == 2
    assert {str(each["Subject"]) for each in box.to(subject.email)[1:]} == {
        "Your password was changed", "How you sign in has changed",
    }  # fmt: skip
    assert "A recovery code was used." in everything(box)


# --- factors -----------------------------------------------------------------------------------


@pytest.mark.asvs("6.3.7")
def test_each_change_of_ones_factors_is_told_to_oneself_in_one_mail_and_without_secrets(
    world: World, box: Mailbox
) -> None:
    subject, stranger = world.subject(), world.subject()
    activated(world, stranger)
    with clock.at(START):
        codes = world.activate(subject)
    secrets = [*codes, world.seeds[subject.id], PASSWORD, "another long enough phrase"]
    told = [
        "A password was set.", "An authenticator app was added.", "New recovery codes were made",
    ]  # fmt: skip

    def do(minute: int, expected: str, work: Callable[[Session, Principal], Any]) -> Any:
        told.append(expected)
        with clock.at(START + minute * MINUTE):
            by = replace(person(subject), roles=())
            return world.do(lambda s: work(s, by))

    def sign_in(session: Session, _by: Principal) -> None:
        sessions.show_factor(session, half, codes[0])

    with clock.at(START + MINUTE):
        half = sessions.begin(world.store, subject.email, PASSWORD)
    do(1, "A recovery code was used.", sign_in)
    seed = world.seeds[subject.id] = authenticators.new_seed()
    secrets.append(seed)

    def add_app(session: Session, by: Principal) -> None:
        account.add_totp(session, seed=seed, code=world.code(subject), name="Spare", by=by)

    def remove_app(session: Session, by: Principal) -> None:
        account.remove(session, authenticators.enrolled(session, by.id)[0].id, by=by)

    def add_passkey(session: Session, by: Principal) -> None:
        device = Device("https://govern.example")
        asked = account.ask_for_passkey(session, browser="b", by=by)
        answer = Answer(device.make(asked), asked.sealed, "b")
        account.add_passkey(session, answer, name="Key", by=by)

    def remove_passkey(session: Session, by: Principal) -> None:
        account.remove(session, passkeys.in_use(session, by.id)[0].id, by=by)

    do(2, "An authenticator app was added.", add_app)
    do(3, "An authenticator app was removed.", remove_app)
    do(4, "A passkey was added.", add_passkey)
    do(5, "A passkey was removed.", remove_passkey)
    secrets += do(
        6, "New recovery codes were made", lambda s, by: account.renew_recovery_codes(s, by=by)
    )
    do(7, "Your recovery codes were ended.", lambda s, by: account.remove_recovery_codes(s, by=by))
    with clock.at(START + 8 * MINUTE):
        proved = account.prove_password(world.store, PASSWORD, by=person(subject))
        hashed = activation.hash_password("another long enough phrase")
    do(
        8, "A password was set.",
        lambda s, by: account.change_password(s, proved=proved, chosen_hash=hashed, by=by),
    )  # fmt: skip
    assert round_(world, START + 9 * MINUTE) == 9
    mails = box.to(subject.email)
    assert {str(each["Subject"]) for each in mails} == {"How you sign in has changed"}
    assert len(mails) == len(box.mails), "and to nobody else"
    body = everything(box)
    for sentence in set(told):
        assert body.count(sentence) == told.count(sentence), sentence
    assert "https://govern.example/account" in body
    for secret in secrets:
        assert secret not in body
    assert round_(world, START + 10 * MINUTE) == 0


@pytest.mark.asvs("6.3.5")
def test_who_is_guessed_at_or_signed_in_from_a_browser_that_is_not_known_hears_of_it(
    world: World, box: Mailbox
) -> None:
    subject = world.subject()
    activated(world, subject)

    def signed_in(at: datetime, browser: str) -> None:
        with clock.at(at):
            device = "Firefox on Linux"
            half = sessions.begin(world.store, subject.email, PASSWORD, device=device)
            code = world.code(subject)
            world.do(lambda s: sessions.show_factor(s, half, code, browser=browser))

    signed_in(START, "")
    assert round_(world, START + MINUTE / 2) == 1
    (told,) = box.to(subject.email)
    assert told["Subject"] == "A sign-in with a new browser"
    assert "It says that it is Firefox on Linux." in told.get_content()
    with clock.at(START):
        known = world.do(lambda s: throttle.know(s, subject.id))
    signed_in(START + MINUTE, known)
    assert round_(world, START + MINUTE * 1.5) == 0
    wrong = throttle.FREE_TRIES
    with clock.at(START + 2 * MINUTE):
        half = sessions.begin(world.store, subject.email, PASSWORD)
        for _ in range(wrong):
            with pytest.raises(errors.SignInFailed):
                world.do(lambda s: sessions.show_factor(s, half, "000000"))
    assert round_(world, START + MINUTE * 2.5) == 1
    assert box.mails[-1]["Subject"] == "Wrong codes for your account"
    for number, factor in enumerate(("password", "present_password", "totp", "recovery"), 3):
        counted = throttle.counter(factor, subject.id, subject_id=subject.id)
        row = throttle.Throttle(key=counted.key, failures=throttle.MOST - 1, blocked_until=None)
        with clock.at(START + number * MINUTE):
            world.do(lambda s, row=row: s.merge(row))
            world.do(lambda s, counted=counted: throttle.failed(s, counted))
        assert round_(world, START + (number + 0.5) * MINUTE) == 1
        assert box.mails[-1]["Subject"] == "A way to sign in was stopped"
        assert "a hundred times in a row" in str(box.mails[-1].get_content())
