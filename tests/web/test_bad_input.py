"""Bad input in every form: the field is named, what was typed is kept, and nothing is half-done.

The forms are those of the URL map, each on its page as it is shown; a new one fails until it has a
row below, or a reason why it has no field to fill.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyotp
import pytest
from sqlalchemy import select

from govern.audit import EventType
from govern.audit.signer import Signer
from govern.identity import activation, resets
from govern.identity.resets import PasswordReset
from govern.principal import SYSTEM
from tests.support import forms
from tests.web import rehearsing
from tests.web.test_matrix import WRITTEN, address, filled, routes
from tests.web.test_surface import everything

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask
    from werkzeug.test import TestResponse

    from tests.conftest import Beginning
    from tests.factory import World
    from tests.support.forms import Control, Form
    from tests.web.rehearsing import Cast
    from tests.web.visitor import Visitor


@dataclass(frozen=True)
class Row:
    """On which page a form is, who fills it, and what is right where the matrix has no body."""

    page: str
    who: str = "admin"
    right: dict[str, str] = field(default_factory=dict)


_SUSPENSION = Row("/suspensions/{plain}")
_PERSON = Row("/people/{subject}")
_ACCOUNT = Row("/account", "contractor")
_NEW = {"password": "a better horse battery staple"}
_NEW["password_again"] = _NEW["password"]

ROWS = {
    "/account/apps": Row("/account/apps/new", "contractor", {"name": "Work phone"}),
    "/account/authenticators/<authenticator_id>/rename": _ACCOUNT,
    "/account/language": _ACCOUNT,
    "/account/password": _ACCOUNT,
    "/account/time-zone": _ACCOUNT,
    "/activate/<token>": Row("/activate/{activation}", "anonymous", _NEW),
    "/clients/<code>/end": Row("/clients/{name}/end"),
    "/clients/<code>/hold": Row("/clients/{name}/records"),
    "/clients/<code>/retention": Row("/clients/{name}/records"),
    "/demands": Row("/demands/new?over=project:{open}&factor=second_factor"),
    "/demands/<demand_id>/end": Row("/demands/{demand}"),
    "/grants/<grant_id>/revoke": Row("/projects/{open}"),
    "/integrations": Row("/integrations"),
    "/integrations/<integration_id>/registration": Row("/integrations/{integration}"),
    "/integrations/<integration_id>/rotate": Row("/integrations/{integration}"),
    "/lists/<list_name>/act": Row("/lists/grants/act?act=revoke&project={open}"),
    "/lists/<list_name>/filters": Row("/lists/grants?status=held"),
    "/log/export": Row("/log/export", "auditor"),
    "/pause": Row("/pause"),
    "/people/<subject_id>/erase": _PERSON,
    "/people/<subject_id>/offboard": _PERSON,
    "/people/<subject_id>/organisation": _PERSON,
    "/people/<subject_id>/recovery": _PERSON,
    "/people/<subject_id>/roles": _PERSON,
    "/people/<subject_id>/roles/<role_id>/withdraw": Row("/people/{chief}"),
    "/projects/<code>/end": Row("/projects/{open}/end"),
    "/projects/<code>/grants": Row("/projects/{open}"),
    "/providers": Row("/providers"),
    "/providers/<provider_id>/end": Row("/providers/{provider_id}"),
    "/providers/<provider_id>/links": Row("/providers/{provider_id}"),
    "/providers/<provider_id>/links/<link_id>/end": Row("/providers/{provider_id}"),
    "/questions/<question_id>/messages": Row("/questions/{question}"),
    "/questions/mine": Row("/questions/mine", "contractor"),
    "/request-policies": Row("/request-policies?over=project:{open}"),
    "/requests/mine": Row("/requests/mine", "contractor"),
    "/requests/new": Row("/requests/new"),
    "/requests/<request_id>": Row("/requests/{request}", "approver"),
    "/reset/<token>": Row("/reset/{reset}", "anonymous", _NEW),
    "/sign-in": Row("/sign-in", "anonymous"),
    "/sign-in/code": Row("/sign-in/code", "half_way"),
    "/step-up": Row("/step-up"),
    "/suspensions": Row("/pause/preview?target=project:{open}"),
    "/suspensions/<suspension_id>/lift": Row("/suspensions/{plain}/lift"),
    "/suspensions/<suspension_id>/mode": _SUSPENSION,
    "/suspensions/<suspension_id>/narrow": _SUSPENSION,
    "/suspensions/<suspension_id>/notice": _SUSPENSION,
    "/suspensions/<suspension_id>/release": _SUSPENSION,
    "/suspensions/<suspension_id>/resume": Row("/suspensions/{lasting}/resume"),
    "/suspensions/<suspension_id>/review": _SUSPENSION,
}

_BUTTON = "a button alone"
_FILE = "a file alone; tests/web/test_rosters.py and test_logs.py bring bad ones"
NOTHING_TO_FILL = {
    **dict.fromkeys(
        (
            "/account/authenticators/<authenticator_id>/remove", "/account/recovery-codes",
            "/account/recovery-codes/remove", "/account/recovery/cancel",
            "/account/sessions/<session_id>/end", "/account/sessions/end-others",
            "/account/tools/<token_id>/take-back",
            "/integrations/<integration_id>/resume", "/integrations/<integration_id>/revoke",
            "/integrations/<integration_id>/suspend", "/notices/<notice_id>/acknowledge",
            "/people/<subject_id>/activation-link", "/people/<subject_id>/recovery/cancel",
            "/people/<subject_id>/sessions/<session_id>/end", "/people/<subject_id>/sessions/end",
            "/people/export", "/projects/<code>/export", "/lists/<list_name>/export",
            "/lists/<list_name>/filters/<filter_id>/drop", "/log/exports/<export_id>/file",
            "/recover/cancel/<token>", "/sign-in/link/<token>", "/sign-out",
            "/requests/mine/<request_id>/withdraw",
            "/suspensions/<suspension_id>/take-back",
        ),
        _BUTTON,
    ),
    "/account/passkeys": "its name beside what the browser makes; test_authenticators.py has both",
    "/clients/<code>/hold/release": "the same field as /clients/<code>/hold",
    "/drills": "the second button of the form of /suspensions",
    "/forgot": "every address is answered alike",
    "/log/verify": _FILE,
    "/oauth/authorize": "a choice of two buttons",
    "/recover/<token>": "the steps of /activate/<token>",
    "/roster": "a file that was judged; what is confirmed has no text",
    "/roster/preview": _FILE,
    "/roster/rejected": _FILE,
    "/sign-in/log-out/<provider>": "called by providers",
    "/sign-in/passkey": "the browser's own dialogue",
}  # fmt: skip

# Fields that take any text, or none; and those whose error may name no field.
FREE = {
    ("/suspensions", "ordered_by"): "a list that helps; who asked is text",
    ("/pause", "target"): "the preview to which it leads judges it; tests/web/test_pause.py",
    ("/log/export", "log"): "a list; what one may not know of is answered as what is not there",
    ("/log/export", "actor"): "an opaque id of anybody, also of nobody",
    ("/lists/<list_name>/filters", "shared"): "a box that is ticked, whatever it is called",
    ("/log/export", "when"): "a choice of two; whatever is not later is now",
    ("/questions/mine", "project"): "a list; what one may not know of is as what is not there",
    ("/providers", "assures"): "a list; without a choice it assures nothing",
    ("/step-up", "code"): "without one nothing is asked for",
}
# A wrong proof is counted and recorded as such: these entries, and nothing else.
PROOFS = {"email", "password", "current", "code", "recovery_code"}
PROVING = {"/account/password", "/reset/<token>", "/sign-in", "/sign-in/code"}
COUNTED = {EventType.SIGN_IN_FAILED, EventType.FACTOR_GUESSED_AT}
UNNAMED = {
    ("/sign-in", "email"): "which of the two is wrong is nobody's to know",
    ("/sign-in", "password"): "which of the two is wrong is nobody's to know",
}
_CARRIED = {"csrf_token", "username", "next", "step", "step_up"}
LONG = 60_000


def linked(world: World, cast: Cast) -> Cast:
    """The matrix's world, and two people with links."""
    invited, forgetful = world.subject(), world.subject()
    cast = replace(cast, a=dict(cast.a))
    cast.a["activation"] = world.do(lambda s: activation.issue(s, invited, by=SYSTEM))
    world.activate(forgetful)
    world.do(lambda s: resets.ask(s, forgetful.email))
    with world.store.reading() as session:
        row = session.execute(
            select(PasswordReset).where(PasswordReset.subject_id == forgetful.id)
        ).scalar_one()
        cast.a["reset"] = resets.token_of(session, row) or ""
    return cast


@pytest.fixture
def beginning() -> Beginning:
    return rehearsing.beginning


def wrong_values(control: Control) -> Iterator[str]:
    """What nobody should send in a control of its kind."""
    if control.kind in {"select", "radio", "checkbox"}:
        yield "no-such-option"
    elif control.kind == "datetime-local":
        yield "2026-13-45T99:99"
    elif control.kind == "password":
        yield "short"
    elif control.name.endswith("code") and control.kind == "text":
        yield "no code"
    elif control.attributes.get("inputmode") == "numeric":
        yield from ("many", "-1", "9" * 40)
    else:
        yield "x" * (int(control.attributes.get("maxlength") or LONG) + 1)
        yield "bell\x07bell"
    if "required" in control.attributes:
        yield ""


def is_kept(control: Control) -> bool:
    """Whether its value has to be there still when the form comes back."""
    secret = control.kind in {"password", "hidden", "file"} or control.name.endswith("code")
    return not secret and control.name not in _CARRIED


def chosen(form: Form, name: str) -> list[str]:
    return [each.value for each in form.named(name) if each.chosen]


def faults(
    answer: TestResponse, path: str, control: Control, sent: dict[str, Any], *, named: bool
) -> Iterator[str]:
    """What is wrong with the answer to a form whose one field was filled badly."""
    if not 400 <= answer.status_code < 500:
        yield f"is answered {answer.status_code}"
        return
    again = [form for form in forms.to(answer.text, path) if form.named(control.name)]
    if not again:
        yield f"is answered {answer.status_code} without the form"
        return
    form = again[0]
    if named:
        yield from unnamed(answer.text, form, control)
    for each in form.controls:
        if is_kept(each) and each.name in sent and each.name != control.name:
            wanted = sent[each.name] if isinstance(sent[each.name], list) else [sent[each.name]]
            if chosen(form, each.name) != wanted:
                yield f"{each.name} is not kept: {chosen(form, each.name)}, not {wanted}"
    own = form.named(control.name)
    typed = is_kept(control) and own[0].kind not in {"select", "radio", "checkbox"}
    if typed and own[0].value != sent[control.name]:
        yield f"is itself not kept: {own[0].value[:80]!r}"


def unnamed(page: str, form: Form, control: Control) -> Iterator[str]:
    texts = forms.read(page)[1]
    own = form.named(control.name)
    if not any(each.described for each in own):
        yield f"is not named; the page says: {said(page)}"
        return
    if own[0].kind not in {"radio", "checkbox"} and own[0].attributes.get("aria-invalid") != "true":
        yield f"is not marked invalid; the page says: {said(page)}"
    for name in own[0].described.split():
        if not texts.get(name, "").strip():
            yield f"is described by {name}, which is not there"


def said(page: str) -> str:
    """The head of a page's complaints."""
    found = re.search(r'role="alert".*?</(?:ul|div)>', page, re.DOTALL)
    return re.sub(r"<[^>]+>|\s+", " ", found[0] if found else "nothing")[:300]


@pytest.mark.web_alone
@pytest.mark.timeout(180)
def test_every_form_names_the_field_at_fault_keeps_what_was_typed_and_does_nothing(
    world: World, app: Flask, begun: Cast
) -> None:
    asked = {rule.rule for name, rule, _ in routes(app, programs=False) if name[:4] == "POST"}
    assert asked == ROWS.keys() | NOTHING_TO_FILL.keys(), "a new form needs a row, or a reason"
    cast = linked(world, begun)
    seats = rehearsing.seats(app, world, cast)
    Signer(world.store.settings).sign(world.store)  # as the page of exports does
    before = everything(world)
    with rehearsing.nothing_is_committed(world.store):
        tried, found = fill_all(app, seats, cast, proofs=False)
    after = everything(world)
    assert not found, "\n".join(found)
    assert tried > 150
    assert {name for name in after if after[name] != before[name]} <= {
        "web_session"
    }  # seen just now

    size = len(world.entries("house"))
    tried, found = fill_all(app, seats, cast, proofs=True)
    assert not found, "\n".join(found)
    assert tried > len(PROVING)
    assert {entry["type"] for entry in world.entries("house")[size:]} <= COUNTED


def fill_all(
    app: Flask, seats: dict[str, Visitor], cast: Cast, *, proofs: bool
) -> tuple[int, list[str]]:
    """Fill every form badly, one field at a time: how often, and what was wrong with an answer."""
    tried, found = 0, []
    for name, rule, _method in routes(app, programs=False):
        if name[:4] != "POST" or rule.rule not in (PROVING if proofs else ROWS):
            continue
        row = ROWS[rule.rule]
        seat = seats[row.who]
        page = seat.get(filled(row.page, cast.a))
        assert page.status_code == 200, row
        right = {**row.right, **filled(WRITTEN["bodies"].get(name, {}), cast.a)}
        if rule.rule == "/account/apps":
            right["first_code"] = first_code(page.text)
        path, standing = where(page.text, address(name, rule, cast.a), rule.rule)
        assert standing, f"{row.page} has no form for {rule.rule}"
        for form in standing:
            for control, sent in badly(rule.rule, form, right):
                if proofs != (rule.rule in PROVING and control.name in PROOFS):
                    continue
                tried += 1
                what = f"{name}: {control.name}={str(sent[control.name])[:30]!r}"
                named = (rule.rule, control.name) not in UNNAMED
                answer = send(seat, path, sent)
                if answer is None:
                    found.append(f"{what} is accepted")
                    continue
                wrong = faults(answer, path, control, sent, named=named)
                found += [f"{what} {fault}" for fault in wrong]
    return tried, found


def where(page: str, path: str, rule: str) -> tuple[str, list[Form]]:
    """A form's address, and the forms there; about whatever the page has, if not about ours."""
    standing = forms.to(page, path)
    pattern = re.sub(r"<[^>]+>", "[^/?]+", rule) + r"(\?.*)?"
    for form in forms.read(page)[0] if not standing else []:
        if form.method == "post" and re.fullmatch(pattern, form.action):
            return form.action, forms.to(page, form.action)
    return path, standing


def first_code(page: str) -> str:
    """What an app that took the page's secret shows now."""
    return pyotp.TOTP(forms.read(page)[1]["secret"].replace(" ", "")).now()


def badly(rule: str, form: Form, right: dict[str, Any]) -> Iterator[tuple[Control, dict[str, Any]]]:
    """The form filled rightly but for one field, for each field and each way to get it wrong."""
    names = {each.name for each in form.controls}
    base = {**form.sent(), **{name: value for name, value in right.items() if name in names}}
    seen = set()
    for control in form.controls:
        if control.name in seen | _CARRIED or (rule, control.name) in FREE:
            continue
        seen.add(control.name)
        if control.kind in {"hidden", "file"}:
            continue
        for value in wrong_values(control):
            twice = {"password_again": value} if control.name == "password" else {}
            yield (
                control,
                {**base, control.name: value, **{n: v for n, v in twice.items() if n in base}},
            )


def send(seat: Visitor, path: str, sent: dict[str, Any]) -> TestResponse | None:
    """The answer; None when it would have been done."""
    try:
        return seat.client.post(path, data={**sent, "csrf_token": seat.csrf})
    except rehearsing.TurnedBack:
        return None
