"""Mail: each person is told once of each act on their access, never of their own, never late."""

from __future__ import annotations

import re
import socket
import threading
import time
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update

from govern import clock, errors
from govern.access import asking, clients, grants, requests, suspensions
from govern.access.modes import Mode
from govern.access.suspensions import notices
from govern.audit import follower
from govern.cli.followers import Followers
from govern.db import Database
from govern.identity import preferences
from govern.identity.subjects import Subject
from govern.principal import Kind, Principal
from govern.signals import mail
from govern.signals.mail import following, sending
from govern.signals.mail.tables import MailAct, MailDelivery
from tests.factory import OPERATOR, T0, person
from tests.support.mailbox import Mailbox, certificate, mailbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from govern.config import Settings
    from tests.factory import World

START = T0 + timedelta(days=400)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
FROM = "access@govern.example"


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as found:
        yield found


@pytest.fixture
def settings(settings: Settings, box: Mailbox) -> Settings:
    url = f"smtp://127.0.0.1:{box.port}"
    return replace(settings, smtp_url=url, mail_from=FROM, public_url="https://govern.example")


def states(world: World) -> dict[str, tuple[str, int]]:
    """How each person's last mail stands, by state and attempts."""
    with world.store.reading() as session:
        rows = session.execute(
            select(Subject.email, MailDelivery.state, MailDelivery.attempts)
            .join(MailDelivery, MailDelivery.subject_id == Subject.id)
            .join(MailAct, MailAct.id == MailDelivery.act_id)
            .order_by(MailAct.at)
        )
        return {email: (state, attempts) for email, state, attempts in rows}


def round_(world: World, at: Any) -> int:
    """One round of mail at an instant."""
    with clock.at(at):
        return mail.work(world.store)


def held(world: World, *codes: str, people: int = 1) -> list[Subject]:
    """People who hold grants on some projects of ASTER since before all acts of a test."""
    with clock.at(START):
        aster = world.client("ASTER")
        projects = [world.project(code, client=aster) for code in codes]
        found = [world.subject() for _ in range(people)]
        for each in found:
            for project in projects:
                world.grant(each, project, until=START + timedelta(days=60))
    # What was given is told before a test begins to look.
    round_(world, START + 5 * MINUTE)
    return found


def text(message: Any) -> str:
    """What a mail says, its lines ended as ours are."""
    return str(message.get_content()).replace("\r\n", "\n")


def clear(box: Mailbox) -> None:
    box.mails.clear()
    box.envelopes.clear()


# --- what is told to whom ----------------------------------------------------------------------


def test_one_mail_a_person_tells_of_a_pause_in_words_that_help_and_no_more(
    world: World, box: Mailbox
) -> None:
    one, other = held(world, "Heron", "Kingfisher", people=2)
    clear(box)
    with clock.at(START + HOUR):
        world.project("Cinnabar", client=world.client("BOREAL"))
        world.suspend(
            "client:ASTER", "client:BOREAL", note="We are looking.\nIt may take long.",
            internal_reason="a leak", ordered_by="Dana at Aster",
            hours_until=START + 2 * HOUR,
        )  # fmt: skip
        world.write_particulars()
    assert round_(world, START + HOUR) == 2
    assert round_(world, START + HOUR) == 0
    (told,) = box.to(one.email)
    assert box.envelopes == [(FROM, each) for each in sorted(p.email for p in (one, other))]
    assert told["From"] == f"govern <{FROM}>"
    assert told["Auto-Submitted"] == "auto-generated"
    assert re.fullmatch(r"<[0-9a-f]{32}@govern\.example>", told["Message-ID"])
    assert told["Date"]
    body = text(told)
    for words in (
        f"Since {START + HOUR:%Y-%m-%d %H:%M} UTC work is paused.",
        "Heron", "Kingfisher",
        "This is not about you",
        f"Hours worked before {START + 2 * HOUR:%Y-%m-%d %H:%M} UTC count",
        "What we know:\n\n  We are looking.\n  It may take long.",
        "https://govern.example/status",
    ):  # fmt: skip
        assert words in body, body
    for secret in ("ASTER", "BOREAL", "Aster", "Cinnabar", "leak", "Dana", other.email):
        assert secret not in body + told["Subject"]
    assert "Heron" not in told["Subject"]


def test_a_mail_speaks_the_language_and_tells_the_time_of_who_reads_it(
    world: World, box: Mailbox
) -> None:
    german, spanish, neither = held(world, "Heron", people=3)
    for someone, language, zone in ((german, "de", "Europe/Berlin"), (spanish, "es", "")):
        with clock.at(START + 10 * MINUTE):
            me = person(someone)
            world.do(partial(preferences.set_language, language=language, by=me))
            world.do(partial(preferences.set_time_zone, name=zone, by=me))
    clear(box)
    at = START + timedelta(days=20, minutes=30)
    with clock.at(at):
        world.suspend("project:Heron", note="We are looking.")
    round_(world, at)
    (told,) = box.to(german.email)
    assert (told["Subject"], told["Content-Language"]) == ("Ihr Zugang hat sich geändert", "de")
    assert "Seit 15.01.2028, 10:30 GMT+01:00 ruht die Arbeit." in text(told)
    assert "We are looking." in text(told), "what an admin wrote is theirs"
    (told,) = box.to(spanish.email)
    assert "Desde el 15 ene 2028, 09:30 UTC el trabajo está en pausa." in text(told)
    (told,) = box.to(neither.email)
    assert f"Since {at:%Y-%m-%d %H:%M} UTC work is paused." in text(told)


def test_each_act_is_told_to_whom_it_concerns_and_never_to_who_did_it(
    world: World, box: Mailbox
) -> None:
    """A pause, a notice, a weaker mode, a release and a lift, each told once and at its time."""
    kept, released = held(world, "Kingfisher", people=2)
    admin = world.staff()
    with clock.at(START + MINUTE):
        world.grant(admin, world.project("Heron"), until=START + timedelta(days=60))
    round_(world, START + 10 * MINUTE)
    clear(box)

    def subjects(who: Subject) -> list[str]:
        found = [str(one["Subject"]) for one in box.to(who.email)]
        clear(box)
        return found

    at = START + HOUR
    with clock.at(at):
        row = world.suspend("project:Kingfisher", "project:Heron", by=person(admin))
    round_(world, at)
    assert len(box.mails) == 2
    assert box.to(admin.email) == []
    assert subjects(kept) == ["A change to your access"]
    with clock.at(at + MINUTE):
        words = notices.Words(known="Soon.", next_update_by=at + HOUR, contact="Zoë Ng")
        world.do(lambda s: notices.post(s, s.merge(row), words, by=OPERATOR))
    round_(world, at + MINUTE)
    assert "Next update by: " in text(box.to(admin.email)[0])
    assert "Whom to ask: Zoë Ng" in text(box.to(kept.email)[0])
    assert subjects(kept) == ["News about your suspended access"]
    with clock.at(at + 2 * MINUTE):
        request = world.do(
            lambda s: suspensions.ask_release(s, s.merge(row), [released], by=OPERATOR)
        )
        world.approve(request, by=person(world.staff()))
    round_(world, at + 2 * MINUTE)
    assert len(box.mails) == 1
    assert "It no longer holds you on:\n  Kingfisher" in text(box.mails[0])
    assert subjects(released) == ["Your access is given back"]
    with clock.at(at + 3 * MINUTE):
        request = world.do(
            lambda s: suspensions.change_mode(s, s.merge(row), Mode.READ_ONLY, by=OPERATOR)
        )
        world.approve(request, by=person(world.staff()))
    round_(world, at + 3 * MINUTE)
    assert {one["To"] for one in box.mails} == {kept.email, admin.email}
    assert "read-only" in text(box.to(kept.email)[0])
    clear(box)
    with clock.at(at + 4 * MINUTE):
        world.lift(row)
    round_(world, at + 4 * MINUTE)
    assert {one["To"] for one in box.mails} == {kept.email, admin.email}
    assert subjects(kept) == ["Your access is given back"]
    assert all(state == ("sent", 1) for state in states(world).values())


def test_whom_another_suspension_still_holds_is_not_told_of_coming_back(
    world: World, box: Mailbox
) -> None:
    aster = world.client("ASTER")
    project = world.project("Kingfisher", client=aster)
    world.dataset(project, "audio")
    who, idle = world.subject(), world.subject()
    with clock.at(START):
        world.grant(who, project, until=START + timedelta(days=60))
    round_(world, START + 5 * MINUTE)
    clear(box)
    with clock.at(START + HOUR):
        first = world.suspend("project:Kingfisher")
        several = world.people_list(who, idle)
        own = world.suspend(f"people:{several.id}", f"subject:{idle.external_id}", reason="conduct")
        world.suspend("dataset:audio", mode=Mode.READ_ONLY)
    round_(world, START + HOUR)
    bodies = [text(one) for one in box.to(who.email)]
    assert [body.partition("UTC ")[2].partition(".")[0] for body in bodies] == [
        "work is paused",
        "your own access is paused",
        "work is read-only: you may look, but change and download nothing",
    ]
    assert ["not about you" in body for body in bodies] == [True, False, True]
    assert len(box.to(idle.email)) == 1
    clear(box)
    with clock.at(START + 2 * HOUR):
        world.lift(first)
    round_(world, START + 2 * HOUR)
    assert box.mails == []
    with clock.at(START + 3 * HOUR):
        world.lift(own)
    round_(world, START + 3 * HOUR)
    assert sorted(str(one["To"]) for one in box.mails) == sorted([who.email, idle.email])


def test_what_happens_to_grants_within_two_minutes_is_one_mail(world: World, box: Mailbox) -> None:
    begins = following.window_of(START + HOUR)
    aster = world.client("ASTER")
    projects = [world.project(code, client=aster) for code in ("Heron", "Kingfisher")]
    who, robot = world.subject(), world.subject(kind="service")
    with clock.at(begins):
        rows = [world.grant(who, each, until=START + 9 * HOUR) for each in projects]
        world.grant(robot, projects[0], until=START + 9 * HOUR)
    with clock.at(begins + MINUTE):
        world.do(lambda s: grants.revoke(s, s.merge(rows[0]), reason="conduct", by=OPERATOR))
    assert round_(world, begins + MINUTE) == 0
    assert round_(world, begins + 3 * MINUTE) == 1
    body = text(box.mails[0])
    assert body.index("given access to") < body.index("Kingfisher (annotator), from")
    assert "ended to:\n\n  Heron (annotator), on" in body
    assert "conduct" not in body
    assert states(world).keys() == {who.email}
    with clock.at(begins + 5 * MINUTE):
        world.do(lambda s: grants.revoke(s, s.merge(rows[1]), reason="x", by=person(who, "admin")))
    assert round_(world, begins + 10 * MINUTE) == 0


def test_what_became_of_a_request_is_told_to_who_asked_and_whom_it_is_for(
    world: World, box: Mailbox
) -> None:
    begins = following.window_of(START + HOUR)
    who, lead = held(world, "Heron", people=2)
    clear(box)
    bundle = world.entitlement("reviewer", "review")
    ann = world.staff(name="ann")

    def ask(by: Principal) -> Any:
        return world.do(
            lambda s: asking.ask(
                s, who, clients.project(s, "Heron"), bundle, until=begins + 90 * HOUR,
                reason="more", by=by,
            )
        )  # fmt: skip

    with clock.at(begins):
        policy: Any = {
            "roles": ["admin"], "leads": [lead.external_id], "needed": 1, "days": 9,
            "pausing": asking.Pausing.WAITS, "reason": "x", "by": OPERATOR,
        }  # fmt: skip
        world.do(lambda s: asking.set_(s, asking.over(s, "project:Heron", by=OPERATOR), **policy))
        row = ask(Principal(kind=Kind.SUBJECT, id=lead.id))
        world.do(lambda s: requests.withdraw(s, row.id, reason="conduct", by=person(ann)))
    assert round_(world, begins + 4 * MINUTE) == 2
    for each in (who, lead):
        (mail_,) = (one for one in box.mails if one["To"] == each.email)
        of = "" if each is who else f" for {who.external_id}"
        assert f"\n  Heron{of}: turned down\n" in text(mail_)
        assert "/requests/mine" in text(mail_)
        assert "conduct" not in text(mail_)
        assert who.full_name not in text(mail_)
    clear(box)
    with clock.at(begins + 5 * MINUTE):
        row = ask(Principal(kind=Kind.SUBJECT, id=who.id))
        world.do(lambda s: asking.take_back(s, row.id, by=Principal(kind=Kind.SUBJECT, id=who.id)))
    assert round_(world, begins + 10 * MINUTE) == 0, "nobody is told of what they did"


def test_an_address_is_never_a_header_and_an_admins_words_are_set_in(
    world: World, box: Mailbox
) -> None:
    (who, evil) = held(world, "Kingfisher", people=2)
    wrong = "evil@x.example\r\nBcc: all@people.example"

    def poison(session: Any) -> None:
        session.execute(
            update(Subject).where(Subject.id == evil.id).values(email=wrong),
            execution_options={"govern_recorded": True},
        )

    world.do(poison)
    clear(box)
    with clock.at(START + HOUR):
        world.suspend("project:Kingfisher", note=".\r\nSubject: x\n\nFrom: y")
    assert round_(world, START + HOUR) == 1
    (told,) = box.mails
    assert (told["To"], told["Bcc"], told["Subject"]) == (
        who.email,
        None,
        "A change to your access",
    )
    assert "  .\n  Subject: x\n  \n  From: y" in text(told)
    assert states(world)[wrong] == ("given_up", 1)


# --- the server says no ------------------------------------------------------------------------


def test_a_refusal_for_now_is_tried_again_later_and_one_for_good_is_the_end(
    world: World, box: Mailbox
) -> None:
    greylisted, gone, fine = held(world, "Kingfisher", people=3)
    box.at_recipient[greylisted.email].extend(["451 4.7.1 come back", "450 busy"])
    box.at_recipient[gone.email].append(f"550 5.1.1 <{gone.email}> is not here")
    clear(box)
    at = START + HOUR
    with clock.at(at):
        world.suspend("project:Kingfisher")
    assert round_(world, at) == 1
    assert [one["To"] for one in box.mails] == [fine.email]
    assert round_(world, at) == 0
    found = states(world)
    assert (found[greylisted.email], found[gone.email]) == (("failed", 1), ("given_up", 1))
    with world.store.reading() as session:
        errors_ = set(session.execute(select(MailDelivery.error)).scalars())
    assert errors_ == {"", "451 4.7.1", "550 5.1.1"}
    first, second = sending.RETRY_AFTER[:2]
    assert round_(world, at + first - MINUTE / 2) == 0
    assert round_(world, at + first) == 0
    assert round_(world, at + first + second) == 1
    assert states(world)[greylisted.email] == ("sent", 3)
    assert len({one["Message-ID"] for one in box.mails}) == 2
    assert round_(world, at + timedelta(days=30)) == 0


def test_retries_end(world: World, box: Mailbox) -> None:
    (who,) = held(world, "Kingfisher")
    tries = len(sending.RETRY_AFTER) + 1
    box.at_recipient[who.email].extend(["451 no"] * (tries + 5))
    at = START + HOUR
    with clock.at(at):
        world.suspend("project:Kingfisher")
    for number in range(tries + 2):
        round_(world, at)
        if number < len(sending.RETRY_AFTER):
            at += sending.RETRY_AFTER[number]
    assert list(states(world).values())[-1] == ("given_up", tries)
    assert len(box.at_recipient[who.email]) == 5


@pytest.mark.asvs("16.5.2")
def test_a_dead_server_costs_nobody_an_attempt_and_is_shown_until_it_lives(
    world: World, settings: Settings, box: Mailbox
) -> None:
    held(world, "Kingfisher", people=3)
    clear(box)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead = replace(settings, smtp_url=f"smtp://127.0.0.1:{nobody.getsockname()[1]}")
        store = Database(dead)
        at = START + HOUR
        with clock.at(at):
            world.suspend("project:Kingfisher")
        for later in (0, 1):
            with clock.at(at + later * MINUTE), pytest.raises(errors.Unavailable):
                mail.work(store)
        with store.reading() as session:
            found = mail.trouble(session)
        store.dispose()
    assert found is not None
    assert (found.since, found.waiting) == (at, 3)
    assert found.error == "Connection refused"
    assert set(states(world).values()) >= {("waiting", 0)}
    assert round_(world, at + 2 * MINUTE) == 3
    with world.store.reading() as session:
        assert mail.trouble(session) is None
    assert len(box.mails) == 3


def test_a_connection_that_breaks_stops_neither_the_others_nor_for_long_its_own_mail(
    world: World, box: Mailbox
) -> None:
    held(world, "Kingfisher", people=3)
    clear(box)
    at = START + HOUR
    with clock.at(at):
        world.suspend("project:Kingfisher")
    box.at_data.extend(["drop", "421 4.3.2 going down"])
    for _ in range(2):
        with clock.at(at), pytest.raises(errors.Unavailable):
            mail.work(world.store)
    assert round_(world, at) == 1
    assert round_(world, at + sending.RETRY_AFTER[0]) == 2
    assert len({one["To"] for one in box.mails}) == len(box.mails) == 3


def test_a_crash_loses_no_mail_and_doubles_at_most_the_one_under_way(
    world: World, box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the server's word and the commit: the copy bears the same Message-ID."""
    held(world, "Kingfisher", people=4)
    clear(box)
    at = START + HOUR
    with clock.at(at):
        world.suspend("project:Kingfisher")

    class Killed(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(sending, "_ended", die)
        patch.setattr(sending, "_let_go", die)  # a process that is killed lets nothing go
        with clock.at(at), pytest.raises(Killed):
            mail.work(world.store)
    assert len(box.mails) == 1
    assert round_(world, at + MINUTE) == 0  # in the hands of who is dead
    assert round_(world, at + 6 * MINUTE) == 4
    ids = [one["Message-ID"] for one in box.mails]
    assert (len(ids), len(set(ids))) == (5, 4)
    assert ids.count(ids[0]) == 2


def test_a_crash_while_people_are_noted_loses_and_doubles_nobody(
    world: World, box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(world, "Kingfisher", people=5)
    clear(box)
    monkeypatch.setattr(following, "_CHUNK", 2)
    with clock.at(START + HOUR):
        world.suspend("project:Kingfisher", "client:ASTER")

    class Stopped(Exception):
        pass

    for limit in (1, 0, 0):  # in each chunk of people once
        calls = 0

        def stop(_: int, limit: int = limit) -> None:
            nonlocal calls
            calls += 1
            if calls > limit:
                raise Stopped

        with clock.at(START + HOUR), pytest.raises(Stopped):
            mail.follow(world.store, progress=stop)
    assert round_(world, START + HOUR) == 5
    with world.store.reading() as session:
        acts = (
            session.execute(select(MailAct.id).where(MailAct.type != following.GRANTS))
            .scalars()
            .all()
        )
    assert len(acts) == 1


# --- the follower itself -----------------------------------------------------------------------


def test_without_a_server_the_cursors_move_and_nothing_piles_up(
    world: World, settings: Settings, box: Mailbox
) -> None:
    with clock.at(START):
        world.grant(world.subject(), world.project())
        world.suspend("project:Kingfisher")
        silent = Database(replace(settings, smtp_url="", mail_from=""))
        assert mail.work(silent) == 0
        with silent.reading() as session:
            assert follower.behind(session, following.FOLLOWER) == []
            assert session.execute(select(MailAct.id)).all() == []
            assert mail.trouble(session) is None
        silent.dispose()
    assert round_(world, START + HOUR) == 0
    assert box.mails == []


def test_what_happened_days_ago_is_no_news(world: World, box: Mailbox) -> None:
    held(world, "Kingfisher")
    clear(box)
    with clock.at(START + HOUR):
        world.suspend("project:Kingfisher")
        mail.follow(world.store)
    assert round_(world, START + HOUR + following.TOO_LATE + MINUTE) == 0
    with clock.at(START + timedelta(days=10)):
        world.suspend("client:ASTER")
    assert round_(world, START + timedelta(days=20)) == 0
    assert box.mails == []
    assert list(states(world).values()).count(("given_up", 1)) == 1


def test_nodes_that_work_at_once_send_each_mail_once(world: World, box: Mailbox) -> None:
    held(world, "Kingfisher", people=30)
    clear(box)
    at = START + HOUR
    with clock.at(at):
        world.suspend("project:Kingfisher")
        nodes = [Database(world.store.settings) for _ in range(3)]
        failed: list[BaseException] = []

        def node(store: Database) -> None:
            try:
                mail.work(store)
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                failed.append(error)

        threads = [threading.Thread(target=node, args=(store,)) for store in nodes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for store in nodes:
            store.dispose()
    assert failed == []
    round_(world, at)
    assert len(box.mails) == len({one["Message-ID"] for one in box.mails}) == 30


# --- the wire ----------------------------------------------------------------------------------


def test_nothing_leaves_in_the_clear_but_to_this_machine(world: World, settings: Settings) -> None:
    held(world, "Kingfisher")
    with clock.at(START + HOUR):
        world.suspend("project:Kingfisher")
    # 127.0.0.2 is this machine, but not by a name that says so.
    with mailbox(host="127.0.0.2") as other:
        url = f"smtp://user:s%3Acr%40t%2F@127.0.0.2:{other.port}"
        store = Database(replace(settings, smtp_url=url))
        with clock.at(START + HOUR), pytest.raises(errors.Unavailable, match="STARTTLS") as refusal:
            mail.work(store)
        store.dispose()
        assert (other.mails, other.signed_in) == ([], [])
    assert "cr@t" not in str(refusal.value)
    assert "cr%40t" not in repr(store.settings)


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_elsewhere_the_server_proves_who_it_is_before_it_hears_a_word(
    world: World,
    settings: Settings,
    scheme: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held(world, "Kingfisher")
    with clock.at(START + HOUR):
        world.suspend("project:Kingfisher")
    context = certificate(tmp_path, "127.0.0.2")
    how = {"smtp": "tls_context", "smtps": "ssl_context"}[scheme]
    with mailbox(host="127.0.0.2", **{how: context}) as other:
        url = f"{scheme}://127.0.0.2:{other.port}"
        for trusted in (False, True):
            if trusted:
                monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
            store = Database(replace(settings, smtp_url=url))
            with clock.at(START + HOUR):
                if trusted:
                    assert mail.work(store) == 1
                else:
                    with pytest.raises(errors.Unavailable, match="certificate"):
                        mail.work(store)
            store.dispose()
        assert other.encrypted == [True]


def test_it_signs_in_with_what_the_address_says(world: World, settings: Settings) -> None:
    held(world, "Kingfisher")
    with clock.at(START + HOUR):
        world.suspend("project:Kingfisher")
    box = Mailbox()
    more = {"authenticator": box.sign_in, "auth_require_tls": False, "auth_required": True}
    with mailbox(**more) as other:
        for password, sent in (("wrong", 0), ("s%3Acr%40t%2F", 1)):
            url = f"smtp://us%40er:{password}@127.0.0.1:{other.port}"
            store = Database(replace(settings, smtp_url=url))
            with clock.at(START + HOUR):
                if sent:
                    assert mail.work(store) == 1
                else:
                    with pytest.raises(errors.Unavailable, match="535"):
                        mail.work(store)
            store.dispose()
    assert box.signed_in[-1] == (b"us@er", b"s:cr@t/")


def test_the_followers_send_mail_by_themselves(world: World, box: Mailbox) -> None:
    (who,) = held(world, "Kingfisher")
    clear(box)
    followers = Followers(world.store)
    followers.start()
    try:
        world.suspend("project:Kingfisher")
        deadline = time.monotonic() + 30
        while not box.mails:
            assert time.monotonic() < deadline
            time.sleep(0.05)  # it goes round every two seconds: the bound above is what counts
    finally:
        followers.stop()
    assert [one["To"] for one in box.mails] == [who.email]
