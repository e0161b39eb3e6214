"""What goes out and does not get through is told to whoever may see to it, and leads to why."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import update

from govern import clock
from govern.audit import streams, witnessing
from govern.audit.streams import LogStreamState
from govern.audit.witnessing import Following
from govern.signals.mail import MailAct, MailDelivery, State
from govern.signals.mail.sending import NO_NEWS
from govern.tlog.cosignature import Witness
from tests.factory import OPERATOR
from tests.web.desks import desk, told

if TYPE_CHECKING:
    from flask import Flask

    from govern.audit.witnessing import LogWitness
    from govern.db import Session
    from govern.identity.subjects import Subject
    from tests.factory import World

KEYS = [str(Witness(name, bytes(32))) for name in ("one.example", "two.example")]


def gave_up(world: World, who: Subject, act: str, error: str, *, days: int = 0) -> None:
    """A mail that was given up some days ago."""

    def work(session: Session) -> None:
        at = clock.now(session) - timedelta(days=days, minutes=1)
        session.add(
            MailAct(
                id=act, type="suspension.opened", suspension_id=None, actor="operator", at=at,
                cursor="", finished_at=at,
            )
        )  # fmt: skip
        session.flush()
        session.add(
            MailDelivery(
                act_id=act, subject_id=who.id, state=State.GIVEN_UP, attempts=1, next_try_at=None,
                ended_at=at, error=error,
            )
        )  # fmt: skip

    world.do(work)


def test_streams_witnesses_and_mails_that_fail_are_counted_first_and_shown_with_why(
    world: World, app: Flask
) -> None:
    aster, boreal = world.client("ASTER"), world.client("BOREAL")
    admin, of_a, of_b = (
        desk(app, world),
        desk(app, world, client=aster),
        desk(app, world, client=boreal),
    )
    nothing = told(admin.get("/outgoing").text)
    for words in ("No stream", "No witness", "Every mail got through"):
        assert words in nothing

    for url, client in (
        ("https://siem.example/x?token=s3cret", None),
        ("https://a.example", aster.id),
    ):
        world.do(lambda s, url=url, client=client: streams.add(  # type: ignore[misc]  # bound by default
            s, url, client=client, by=OPERATOR))  # fmt: skip
    world.do(
        lambda s: s.execute(update(LogStreamState).values(failures=3, error="it answered 503"))
    )
    rows: list[LogWitness] = [
        world.do(lambda s, key=key, client=client: witnessing.add(
            s, "https://w.example", key, client=client, by=OPERATOR))  # type: ignore[misc]  # bound by default
        for key, client in zip(KEYS, (None, aster.id), strict=True)
    ]  # fmt: skip
    with clock.at(clock.utcnow() - timedelta(minutes=20)):
        for row, refuses in zip(rows, (False, True), strict=True):
            each = Following(witness=row, log=aster.id, cosigned=0, signed=1, seen_at=None)
            witnessing.failed(world.store, each, "it answered 404", refuses=refuses)
    ada, ben, old = (world.subject(name) for name in ("Adaeze", "Benedikt", "Cosima"))
    gave_up(world, ada, "act-1", "550 5.1.1")
    gave_up(world, ben, "act-2", NO_NEWS)
    gave_up(world, old, "act-3", "550 5.1.1", days=8)

    page = admin.get("/")
    for words in (
        "1 witness saw another history of our logs", "1 witness has not answered for a while",
        "2 streams of the log do not get through",
        "1 mail of the last 7 days did not get through",
    ):  # fmt: skip
        assert words in told(page.text), words
    assert page.text.count('href="/outgoing"') == 4
    words = told(of_a.get("/").text)
    assert "1 witness saw another history" in words
    assert "1 stream of the log" in words
    assert "has not answered" not in words
    assert "mail of the last" not in words
    assert 'href="/outgoing"' not in of_b.get("/").text
    shown = admin.get("/outgoing")
    words = told(shown.text)
    for one in ("siem.example", "it answered 503", "one.example", "Refuses", ada.full_name, "550"):
        assert one in words, one
    assert "s3cret" not in shown.text
    for one in (ben, old):
        assert one.full_name not in words
    words = told(of_a.get("/outgoing").text)
    assert "a.example" in words
    for one in ("siem.example", "one.example", ada.full_name, "Mails"):
        assert one not in words, one
    assert "No witness" in told(of_b.get("/outgoing").text)
    assert desk(app, world, None).get("/outgoing").status_code == 403
