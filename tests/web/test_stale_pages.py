"""A page opened before somebody else's change never overwrites it, and its form comes back filled.

Every form of the URL map that changes what stands already is tried: the page is opened, somebody
else acts, and then the form of the old page is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from govern import clock
from govern.access import questions, suspensions
from govern.access.clients import Project
from govern.access.grants import Grant
from govern.access.modes import Mode
from govern.access.suspensions import Suspension, notices
from govern.audit import holding, retention
from govern.identity import account, integrations, preferences, subjects
from govern.identity.integrations import Integration, Registration
from govern.identity.subjects import Subject
from tests.factory import OPERATOR, SECOND, person
from tests.support import forms
from tests.web import rehearsing
from tests.web.desks import told
from tests.web.test_bad_input import where
from tests.web.test_matrix import filled, routes
from tests.web.test_surface import everything

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from govern.db import Session
    from tests.conftest import Beginning
    from tests.factory import World
    from tests.web.rehearsing import Cast, Things

    Change = Callable[[World, Things], Any]

_SAW = "its page is of one thing that ends once"
_NEW = "it makes something new"
_OWN = "one's own session, and nothing that stays"
_TYPED = "the number typed is that of what ends now"
OTHERS = {
    **dict.fromkeys(
        (
            "/account/apps", "/account/passkeys", "/account/recovery-codes", "/demands", "/drills",
            "/integrations", "/people/<subject_id>/activation-link",
            "/people/<subject_id>/recovery", "/people/<subject_id>/roles",
            "/projects/<code>/grants", "/providers", "/providers/<provider_id>/links",
            "/questions/mine", "/requests/mine", "/requests/new", "/suspensions",
            "/clients/<code>/hold",
            "/suspensions/<suspension_id>/release", "/suspensions/<suspension_id>/narrow",
        ),
        _NEW,
    ),
    **dict.fromkeys(
        (
            "/account/authenticators/<authenticator_id>/remove", "/account/recovery-codes/remove",
            "/account/recovery/cancel", "/account/sessions/<session_id>/end",
            "/account/sessions/end-others", "/account/tools/<token_id>/take-back",
            "/demands/<demand_id>/end", "/grants/<grant_id>/revoke",
            "/integrations/<integration_id>/revoke", "/integrations/<integration_id>/suspend",
            "/notices/<notice_id>/acknowledge", "/people/<subject_id>/erase",
            "/people/<subject_id>/recovery/cancel", "/people/<subject_id>/roles/<role_id>/withdraw",
            "/people/<subject_id>/sessions/<session_id>/end", "/people/<subject_id>/sessions/end",
            "/providers/<provider_id>/end", "/providers/<provider_id>/links/<link_id>/end",
            "/lists/<list_name>/filters/<filter_id>/drop",
            "/requests/mine/<request_id>/withdraw", "/suspensions/<suspension_id>/take-back",
        ),
        _SAW,
    ),
    **dict.fromkeys(
        ("/clients/<code>/end", "/people/<subject_id>/offboard", "/projects/<code>/end"), _TYPED
    ),
    **dict.fromkeys(
        (
            "/activate/<token>", "/forgot", "/lists/<list_name>/export",
            "/log/exports/<export_id>/file",
            "/log/export", "/log/verify", "/oauth/authorize",
            "/pause", "/people/export", "/projects/<code>/export", "/recover/<token>",
            "/recover/cancel/<token>", "/reset/<token>", "/roster/preview", "/roster/rejected",
            "/sign-in", "/sign-in/code", "/sign-in/link/<token>", "/sign-in/log-out/<provider>",
            "/sign-in/passkey", "/sign-out", "/step-up",
        ),
        _OWN,
    ),
    "/lists/<list_name>/filters": "one's own, kept under the name that one gives",
    "/lists/<list_name>/act": "the list shown is compared; tests/web/test_all_lists.py",
    "/request-policies": "what its page saw is compared; tests/web/test_asking.py",
    "/account/password": "the present password is asked for",
    "/requests/<request_id>": "what was asked for stays as it is; tests/web/test_lift.py has lists",
    "/roster": "the file's judgement is compared; tests/web/test_rosters.py",
}  # fmt: skip


@dataclass(frozen=True)
class Edit:
    """A page, what is typed into its form, what somebody else does meanwhile, and both as shown."""

    page: str
    typed: dict[str, str]
    change: Change
    now: str
    who: str = "admin"
    choose: str = ""  # a value of the form that is meant, where a page has several


@pytest.fixture
def beginning() -> Beginning:
    return rehearsing.beginning


def on(world: World, kind: Any, id: str, work: Callable[[Session, Any], Any]) -> Any:
    """Do something to one row, in a transaction."""
    return world.do(lambda s: work(s, s.get_one(kind, id)))


def _mode(world: World, things: Things) -> None:
    on(world, Suspension, things["reviewed"], lambda s, row: suspensions.change_mode(
        s, row, Mode.READ_ONLY, by=OPERATOR
    ))  # fmt: skip


def _notice(world: World, things: Things) -> None:
    theirs = notices.Words(known="What a colleague knows")
    on(world, Suspension, things["plain"], lambda s, row: notices.post(
        s, row, theirs, by=OPERATOR
    ))  # fmt: skip


def _review(world: World, things: Things) -> None:
    later = clock.utcnow().replace(year=2035, month=5, day=17)
    on(world, Suspension, things["plain"], lambda s, row: suspensions.amend(
        s, row, review_by=later, by=OPERATOR
    ))  # fmt: skip


def _schedule(world: World, things: Things) -> None:
    """The resume is called off, and set for another time."""
    at = clock.utcnow() + timedelta(hours=21)

    def again(s: Session, row: Suspension) -> Any:
        return suspensions.ask_lift(s, row, number=1, at=at, by=OPERATOR)

    on(world, Suspension, things["lasting"], lambda s, row: suspensions.cancel(s, row, by=OPERATOR))
    world.approve(on(world, Suspension, things["lasting"], again), by=SECOND)


def _list(world: World, things: Things) -> None:
    """Nobody would come back any more."""
    with world.store.reading() as session:
        held = select(Grant).join(Project, Project.id == Grant.project_id)
        grant = session.execute(held.where(Project.code == things["spare"])).scalar_one()
    world.revoke(grant)


def _answer(world: World, things: Things) -> None:
    with world.store.reading() as session:
        colleague = session.get_one(Subject, things["colleague"])
    world.do(lambda s: questions.write(
        s, things["question"], "A colleague's answer", seen=1, by=person(colleague)
    ))  # fmt: skip


def _hold(world: World, things: Things) -> None:
    world.do(lambda s: holding.release(s, things["client"], reason="settled", by=OPERATOR))
    world.do(lambda s: holding.place(s, things["client"], reason="another", by=OPERATOR))


def _days(world: World, things: Things) -> None:
    world.do(lambda s: retention.keep(s, things["client"], 4321, reason="theirs", by=OPERATOR))


def _registration(world: World, things: Things) -> None:
    theirs = Registration(redirect_uris=("https://theirs.example/back",))
    on(world, Integration, things["integration"], lambda s, row: integrations.change(
        s, row, theirs, by=OPERATOR
    ))  # fmt: skip


def _secret(world: World, things: Things) -> None:
    on(world, Integration, things["integration"], lambda s, row: integrations.rotate(
        s, row, by=OPERATOR
    ))  # fmt: skip


def _stopped_again(world: World, things: Things) -> None:
    for act in (integrations.resume, integrations.suspend):
        on(world, Integration, things["halted"], lambda s, row, act=act: act(s, row, by=OPERATOR))


def _moved(world: World, things: Things) -> None:
    def move(s: Session, row: Subject) -> None:
        firm = subjects.organisation_named(s, "ASTER Staffing")
        suspensions.move(s, row, firm, reason="theirs", by=OPERATOR)

    on(world, Subject, things["subject"], move)


def _own(work: Callable[[Session, Any, Things], Any]) -> Change:
    """The same person does something in another window."""

    def change(world: World, things: Things) -> None:
        with world.store.reading() as session:
            me = session.get_one(Subject, things["subject"])
        world.do(lambda s: work(s, person(me), things))

    return change


def _renamed(s: Session, by: Any, _things: Things) -> None:
    app = next(each for each in account.factors(s, by=by) if each.kind == "totp")
    account.rename(s, app.id, name="Blue phone", by=by)


EDITS = {
    "/suspensions/<suspension_id>/mode": Edit(
        "/suspensions/{reviewed}", {"mode": "paused"}, _mode, "Read-only"
    ),
    "/suspensions/<suspension_id>/notice": Edit(
        "/suspensions/{plain}", {"known": "What I know"}, _notice, "What a colleague knows"
    ),
    "/suspensions/<suspension_id>/review": Edit(
        "/suspensions/{plain}", {"review_at": "2036-01-01T00:00"}, _review, "2035-05-17"
    ),
    "/suspensions/<suspension_id>/lift": Edit(
        "/suspensions/{plain}/lift", {"number": "1", "reason": "over"}, _list, "to 0 people"
    ),
    "/suspensions/<suspension_id>/resume": Edit(
        "/suspensions/{lasting}/resume", {}, _schedule, "Another time was set", choose="cancel"
    ),
    "/questions/<question_id>/messages": Edit(
        "/questions/{question}", {"text": "My answer"}, _answer, "A colleague's answer"
    ),
    "/clients/<code>/hold/release": Edit(
        "/clients/{name}/records", {"reason": "settled"}, _hold, "another hold"
    ),
    "/clients/<code>/retention": Edit(
        "/clients/{name}/records", {"days": "2555", "reason": "mine"}, _days, "4,321 days"
    ),
    "/integrations/<integration_id>/registration": Edit(
        "/integrations/{integration}", {"redirect_uris": "https://mine.example/back"},
        _registration, "https://theirs.example/back",
    ),
    "/integrations/<integration_id>/rotate": Edit(
        "/integrations/{integration}", {"overlap": "168"}, _secret, "another secret"
    ),
    "/integrations/<integration_id>/resume": Edit(
        "/integrations/{halted}", {}, _stopped_again, "look at it as it is now"
    ),
    "/people/<subject_id>/organisation": Edit(
        "/people/{subject}", {"organisation": "Elsewhere", "reason": "mine"}, _moved,
        "they are with ASTER Staffing now",
    ),
    "/account/authenticators/<authenticator_id>/rename": Edit(
        "/account", {"name": "Red phone"}, _own(_renamed), "“Blue phone”", "contractor"
    ),
    "/account/time-zone": Edit(
        "/account", {"time_zone": "Europe/Berlin"},
        _own(lambda s, by, _: preferences.set_time_zone(s, "Asia/Tokyo", by=by)),
        "It was set to Asia/Tokyo meanwhile", "contractor",
    ),
    "/account/language": Edit(
        "/account", {"language": "es"},
        _own(lambda s, by, _: preferences.set_language(s, "en", by=by)),
        "It was set to English meanwhile", "contractor",
    ),
}  # fmt: skip


def test_no_form_of_an_old_page_overwrites_what_somebody_changed_meanwhile(
    world: World, app: Flask, begun: Cast
) -> None:
    asked = {rule.rule for name, rule, _ in routes(app, programs=False) if name[:4] == "POST"}
    assert asked == EDITS.keys() | OTHERS.keys(), "a new form: does it change what stands already?"
    things = {**begun.a, "colleague": begun.people["admin"]}
    things["reviewed"] = world.suspend(
        f"project:{things['open']}", mode=Mode.UNDER_REVIEW
    ).id  # fmt: skip
    halted, _ = world.integration("halted")
    things["halted"] = halted.id
    on(world, Integration, halted.id, lambda s, row: integrations.suspend(s, row, by=OPERATOR))
    world.do(lambda s: holding.place(s, things["client"], reason="letter", by=OPERATOR))
    seats = rehearsing.seats(app, world, begun, "admin", "contractor")
    for rule, edit in EDITS.items():
        seat = seats[edit.who]
        page = seat.get(filled(edit.page, things)).text
        path, standing = where(page, "", rule)
        form = next(form for form in standing if edit.choose in str(form.sent()))
        edit.change(world, things)
        before = everything(world)
        sent: dict[str, Any] = {**form.sent(), **edit.typed, "csrf_token": seat.csrf}
        answer = seat.client.post(path, data=sent)
        assert answer.status_code == 409, (rule, told(answer.text))
        assert edit.now in told(answer.text), (rule, told(answer.text))
        kept = [one for again in forms.to(answer.text, path) for one in again.controls]
        for name, value in edit.typed.items():
            assert value in {one.value for one in kept if one.name == name and one.chosen}, (
                rule, name, unescape(answer.text),
            )  # fmt: skip
        after = everything(world)
        changed = {name for name in after if after[name] != before[name]}
        assert changed <= {"web_session"}, rule  # whose page was seen just now
