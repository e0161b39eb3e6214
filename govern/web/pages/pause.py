"""Pausing in three steps: choose the scope, see the numbers and say why, watch it take effect."""

from __future__ import annotations

import re
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from flask import Blueprint, flash, redirect, render_template, request
from flask_babel import gettext as _
from flask_babel import ngettext

from govern import clock, errors, permissions
from govern.access import overview, suspensions
from govern.access.modes import Mode
from govern.access.suspensions import Reason
from govern.identity import subjects
from govern.web import guard, problems
from govern.web.pages import acting, base

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from flask.typing import ResponseReturnValue
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.suspensions import Suspension
    from govern.db import Session
    from govern.principal import Principal

blueprint = Blueprint("pause", __name__)

BETWEEN = re.compile(r"[\s,;]+")
_MOST_TYPED = 16 * 1024 * 1024  # a list of 200,000 long addresses
# What an operation calls a field, and what the form does.
_FIELDS = {
    "people": "subject",
    "ordered_by": "ordered_how",
    "review_by": "review_at",
    "scope": "target",
    "reason": "reason_code",
}
_KINDS = {
    "annotator": lambda: _("Annotators"),
    "expert": lambda: _("Experts"),
    "staff": lambda: _("Staff"),
    "service": lambda: _("Services"),
}


@blueprint.get("/pause")
def scope() -> ResponseReturnValue:
    """Step 1: what to stop."""
    return _scope_page({})


@blueprint.url_value_preprocessor
def room_for_a_list(endpoint: str | None, _values: dict[str, Any] | None) -> None:
    """Whoever looks at the form afterwards may find a long list of people in it."""
    if endpoint == "pause.choose":
        request.max_content_length = request.max_form_memory_size = _MOST_TYPED


@blueprint.post("/pause")
def choose() -> ResponseReturnValue:
    """Step 1, sent: on to the numbers, when everyone named is known.

    A long list is kept in the database and goes on as one target: neither an address nor a form
    could carry 100,000 names from page to page.
    """
    file = request.files.get("list")
    sent = file.read() if file is not None else b""
    typed = request.form.get("subject", "")
    nobodys: list[tuple[int, str]] = []

    def work(session: Session, by: Principal) -> list[suspensions.Target]:
        names = suspensions.people.read(sent or typed)
        if sent and typed.strip():
            raise errors.Invalid(_("Type the names or give a file, not both."), field="people")
        if not names:
            suspensions.reading.chosen(session, [], by=by)  # who may not pause is told so
            return []
        try:
            return suspensions.people.targets(
                session, names, leave_out_unknown="leave_out" in request.form, by=by
            )
        except errors.UnknownPeople as error:
            nobodys[:] = error.names
            raise

    def again(wrong: dict[str, str]) -> ResponseReturnValue:
        told = {_FIELDS.get(name, name): sentence for name, sentence in wrong.items()}
        return _scope_page(told, typed=_readable(sent) or typed, nobodys=len(nobodys))

    return acting.act(work, done=chosen, again=again, title=_("Pause"), cancel="/pause")


def chosen(people: list[suspensions.Target]) -> ResponseReturnValue:
    """On to the numbers of pausing what a form names, and some people."""
    query = [("target", one) for one in request.form.getlist("target")]
    query += [
        ("subject", one.code) if one.kind == "subject" else ("target", f"{one.kind}:{one.code}")
        for one in people
    ]
    return redirect(f"/pause/preview?{urlencode(query)}", 303)


def _readable(sent: bytes) -> str:
    """A file's text, to be corrected on the page: a browser does not send a file again."""
    try:
        return sent.decode("utf-8-sig")
    except UnicodeDecodeError:
        return ""


def _scope_page(wrong: Mapping[str, str], *, typed: str = "", nobodys: int = 0) -> str:
    by = guard.principal()
    permissions.require_some(by, "suspension:open")
    query = request.args.get("q", "").strip()
    chosen = list(dict.fromkeys(request.values.getlist("target")))
    with guard.database().reading() as session:
        standings = suspensions.reading.open_ones(session, over=[overview.OVER_PLACES], by=by)
        lines = overview.tree(session, standings, query=query, by=by)
        overview.add_datasets(session, lines, standings)
        firms = overview.organisations(session, by=by)
        lists = _lists(session, chosen, by=by)
    shown = {value for value, _words in lists} | {f"organisation:{name}" for name, _people in firms}
    for client in lines:
        client.open = bool(query) or len(lines) == 1  # type: ignore[attr-defined]  # for the page
        shown.add(f"client:{client.code}")
        for project in client.projects:
            own = {f"dataset:{item.code}" for item in project.datasets}
            shown |= {f"project:{project.code}", *own}
            project.open = bool(own & set(chosen))  # type: ignore[attr-defined]  # for the page
            if project.open or f"project:{project.code}" in chosen:  # type: ignore[attr-defined]  # for the page
                client.open = True  # type: ignore[attr-defined]  # for the page
    return render_template(
        "pause/scope.html",
        filter={"q": query},
        chosen=chosen,
        kept=[target for target in chosen if target not in shown],
        form={"subject": typed or "\n".join(request.args.getlist("subject"))},
        lists=lists,
        nobodys=nobodys,
        clients=lines,
        organisations=[
            SimpleNamespace(
                code=name,
                name=_("direct: through no firm") if name == subjects.DIRECT else name,
                people=min(people, overview.PEOPLE_COUNTED),
                more=people > overview.PEOPLE_COUNTED,
            )
            for name, people in firms
        ],
        errors=wrong,
    )


def _lists(session: OrmSession, chosen: list[str], *, by: Principal) -> list[tuple[str, str]]:
    """The lists of people among what was chosen, in words; without any that was forgotten."""
    found = []
    for value in chosen:
        if value.startswith("people:"):
            with suppress(errors.Invalid):
                part = suspensions.reading.chosen(session, [value], by=by)[0]
                found.append((value, _("A list of %(people)s", people=part.name)))
    return found


@blueprint.get("/pause/preview")
def preview() -> ResponseReturnValue:
    """Step 2: what it would do, and why it is done."""
    targets, people = request.args.getlist("target"), request.args.getlist("subject")
    try:
        with guard.database().reading() as session:
            parts = _parts(session, targets, people, by=guard.principal())
            return _preview_page(session, parts, {})
    except errors.Invalid as error:
        return acting.refusal(error, _scope_page({error.field or "": problems.in_words(error)}))


def _parts(
    session: OrmSession, targets: list[str], people: list[str], *, by: Principal
) -> list[suspensions.Part]:
    named = [name for typed in people for name in BETWEEN.split(typed) if name]
    if not targets and not named:
        # Who may not pause is told that, before what they left out.
        suspensions.reading.chosen(session, [], by=by)
        raise errors.Invalid(_("Choose at least one thing to stop."), field="target")
    people_ = [f"subject:{name}" for name in named]
    try:
        return suspensions.reading.chosen(session, [*targets, *people_], by=by, field="target")
    except errors.Invalid:
        # Which of the two fields it was: that one's own reading says so.
        suspensions.reading.chosen(session, targets, by=by, field="target")
        suspensions.reading.chosen(session, people_, by=by, field="subject")
        raise


def _preview_page(
    session: OrmSession, parts: list[suspensions.Part], wrong: Mapping[str, str]
) -> str:
    targets = [part.target for part in parts]
    found = suspensions.preview(session, targets, by=guard.principal())
    projects = found.wholes
    things = [part for part in parts if part.kind != "subject"]
    people = [part for part in parts if part.kind == "subject"]
    query = [("target", f"{part.kind}:{part.code}") for part in things]
    query += [("subject", part.code) for part in people]
    wholes = []
    for dataset, project in projects.items():
        gone = next(part.code for part in parts if part.target_id == dataset)
        others = [pair for pair in query if pair != ("target", f"dataset:{gone}")]
        url = f"/pause/preview?{urlencode([('target', f'project:{project.code}'), *others])}"
        wholes.append(SimpleNamespace(code=project.code, url=url))
    contacts = sorted({share.names[3] for share in found.projects if share.names[3]})
    return render_template(
        "pause/preview.html",
        targets=[
            SimpleNamespace(
                type=part.kind.value,
                code=part.code,
                name=part.name,
                value=f"{part.kind}:{part.code}",
            )
            for part in things
        ],
        subjects=[SimpleNamespace(value=part.code, name=part.name) for part in people],
        counts=SimpleNamespace(
            grants=found.grants,
            people=found.people,
            projects=len(found.projects),
            datasets=found.datasets,
            last_project=found.losing_last_project,
            held_already=found.already_held,
            sessions=found.sessions,
            tokens=found.tokens,
            requests=found.requests,
        ),
        by_client=[(share.names[0], share.people, share.grants) for share in found.clients],
        by_country=[(share.names[0], share.people, share.grants) for share in found.countries],
        by_project=[
            SimpleNamespace(
                project=share.names[0],
                client=share.names[2],
                people=share.people,
                grants=share.grants,
                held_already=share.already_held,
            )
            for share in found.projects
        ],
        by_kind=[(_KINDS[share.names[0]](), share.people, share.grants) for share in found.kinds],
        wholes=wholes,
        losing=[
            SimpleNamespace(
                name=person.name,
                external_id=person.external_id,
                url=f"/people/{person.subject_id}",
            )
            for person in found.losing
        ],
        digest=found.digest,
        as_of=found.as_of,
        computed_at=clock.utcnow(),
        modes=[mode.value for mode in reversed(Mode)],
        reason_codes=[reason.value for reason in Reason],
        contacts=[(contact, contact) for contact in contacts],
        form=request.form,
        errors=wrong,
        code_needed=acting.code_needed(),
        change_url=f"/pause?{urlencode(query)}",
        drill=suspensions.drilling.latest(session, targets, by=guard.principal()),
    )


@blueprint.post("/suspensions")
def stop() -> ResponseReturnValue:
    """Step 3: stop it. A set that moved since the preview is told of, and delays nothing."""
    targets, people = request.form.getlist("target"), request.form.getlist("subject")

    def work(session: Session, by: Principal) -> Suspension:
        named = [part.target for part in _parts(session, targets, people, by=by)]
        asked = _asked()
        there = suspensions.opened_from(session, named, asked, by=by)
        return there or suspensions.open(session, named, by=by, **asked)

    def done(row: Suspension) -> ResponseReturnValue:
        flash(_("It is in force: every decision from now on refuses."), "success")
        return redirect(f"/suspensions/{row.id}?opened=1", 303)

    def again(wrong: dict[str, str]) -> ResponseReturnValue:
        by = guard.principal()
        told = {_FIELDS.get(name, name): sentence for name, sentence in wrong.items()}
        try:
            with guard.database().reading() as session:
                parts = _parts(session, targets, people, by=by)
                return _preview_page(session, parts, told)
        except errors.Invalid:
            return _scope_page(told)

    number = len(targets) + len(people)
    return acting.act(
        work,
        done=done,
        again=again,
        title=ngettext("Stop %(num)s thing now", "Stop %(num)s things now", number),
        cancel="/pause",
    )


def _asked() -> dict[str, Any]:
    """The form of step 2, read: only mode and reason must be there."""
    try:
        mode = Mode(base.typed("mode"))
    except ValueError:
        raise errors.Invalid(_("Say how much stops."), field="mode") from None
    try:
        reason = Reason(base.typed("reason_code"))
    except ValueError:
        raise errors.Invalid(_("Choose a reason."), field="reason_code") from None
    who = ", ".join(filter(None, (base.typed("ordered_by"), base.typed("ordered_how"))))
    return {
        "mode": mode,
        "reason": reason,
        "note": base.typed("note"),
        "internal_reason": base.typed("internal_reason"),
        "ordered_by": who,
        "incident": base.typed("incident"),
        "hours_until": base.instant("hours_until"),
        "review_by": base.instant("review_at"),
        "preview_digest": _digest(),
    }


def _digest() -> str | None:
    """The digest of the preview, where it is one: it can be wrong, and delays nothing."""
    value = base.typed("digest")
    return value if re.fullmatch(r"[0-9a-f]{64}", value) else None
