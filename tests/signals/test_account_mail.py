"""Mail about one's own account: a recovery is told of at once, its link a day later."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from govern import clock, errors
from govern.access import recovering
from govern.identity import activation, authenticators, recovery, resets
from govern.signals import mail
from tests.factory import OPERATOR, SECOND, T0
from tests.support.mailbox import Mailbox, mailbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from govern.config import Settings
    from govern.identity.subjects import Subject
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


def test_a_recovery_is_told_of_at_once_its_link_a_day_later_and_its_use_afterwards(
    world: World, box: Mailbox
) -> None:
    subject = world.subject()
    with clock.at(START):
        world.activate(subject)
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


def test_one_that_is_called_off_sends_no_link(world: World, box: Mailbox) -> None:
    subject = world.subject()
    with clock.at(START):
        world.activate(subject)
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
    with clock.at(START):
        codes = world.activate(subject)
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
    assert round_(world, START + 3 * MINUTE) == 1
    assert box.to(subject.email)[1]["Subject"] == "Your password was changed"
