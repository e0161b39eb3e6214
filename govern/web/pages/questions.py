"""Questions of people on projects, and the answers to them: one page a thread, seen by both sides.

One's own are reachable while suspended: they are how one asks why.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from flask import Blueprint, flash, redirect, render_template, request
from flask_babel import gettext as _

from govern import errors
from govern.access import questions, standing
from govern.audit import reading
from govern.web import guard
from govern.web.pages import acting, base

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask.typing import ResponseReturnValue

    from govern.access.questions import Question
    from govern.db import Session
    from govern.principal import Principal

blueprint = Blueprint("questions", __name__)

# What a form calls one's own access, where it else has a project's code.
_OWN = "own:"


@blueprint.get("/questions")
def waiting() -> ResponseReturnValue:
    """The questions that wait for an answer, for those who may give one."""
    by = guard.principal()
    with base.showing() as session:
        found, after = questions.waiting(session, after=request.args.get("after", ""), by=by)
    return render_template(
        "admin/questions.html", questions=found, next_url=base.next_url(after),
        first_url=base.first_url(),
    )  # fmt: skip


@blueprint.get("/questions/mine")
@guard.while_suspended
def mine() -> ResponseReturnValue:
    """One's own questions, and a form to ask."""
    return _own({})


@blueprint.post("/questions/mine")
@guard.while_suspended
def ask() -> ResponseReturnValue:
    """Ask about a project that one is or was on, or about one's own access."""

    def work(session: Session, by: Principal) -> Question:
        about, suspension = base.typed("project"), base.typed("suspension") or None
        if not about:
            raise errors.Invalid(_("What is it about?"), field="project")
        code = "" if about == _OWN else about
        return questions.ask(session, code, base.typed("text"), suspension=suspension, by=by)

    return acting.act(
        work,
        done=lambda row: _sent(row.id),
        again=_own,
        title=_("Ask a question"),
        cancel="/questions/mine",
    )


@blueprint.get("/questions/<question_id>")
@guard.while_suspended
def show(question_id: str) -> ResponseReturnValue:
    """One thread, for whoever asked and those who may answer."""
    return _thread(question_id, {})


@blueprint.post("/questions/<question_id>/messages")
@guard.while_suspended
def write(question_id: str) -> ResponseReturnValue:
    """Go on with a thread: ask again, or answer."""
    return acting.act(
        lambda session, by: questions.write(
            session, question_id, base.typed("text"), seen=base.count("seen"), by=by
        ),
        done=lambda _row: _sent(question_id),
        again=lambda wrong: _thread(question_id, wrong),
        title=_("Write a message"),
        cancel=f"/questions/{question_id}",
    )


def _sent(question_id: str) -> ResponseReturnValue:
    flash(_("Sent."), "success")
    return redirect(f"/questions/{question_id}", 303)


def _own(wrong: Mapping[str, str]) -> str:
    by = guard.principal()
    with guard.database().reading() as session:
        places = dict.fromkeys(one.project for one in standing.of(session, by.id))
        threads = questions.mine(session, by=by)
    typed = request.form if request.method == "POST" else request.args
    return render_template(
        "contractor/questions.html",
        places=[*((code, code) for code in places), (_OWN, _("My own access"))],
        by_mail=bool(guard.database().settings.smtp_url),
        threads=threads,
        longest=questions.LONGEST,
        form={name: typed.get(name, "") for name in ("project", "suspension", "text")},
        errors=wrong,
    )


def _thread(question_id: str, wrong: Mapping[str, str]) -> str:
    by = guard.principal()
    with guard.database().reading() as session:
        question = questions.find(session, question_id, by=by)
        line = questions.line(session, question_id, by=by)
        messages = questions.messages(session, question)
    own = question.subject_id == by.id
    if not own:  # somebody's words, read by another
        reading.note(
            guard.database(), "question", subject=question.subject_id, client=question.client_id,
            detail={"question": question_id}, by=by,
        )  # fmt: skip
    last = messages[-1].number if messages else 0
    return render_template(
        "question.html",
        own=own,
        line=line,
        suspension_url=None
        if own or not question.suspension_id
        else f"/suspensions/{question.suspension_id}",
        person_url=f"/people/{question.subject_id}" if base.may_anywhere("subject:read") else None,
        messages=messages,
        seen=last,
        longest=questions.LONGEST,
        by_mail=bool(guard.database().settings.smtp_url),
        form=SimpleNamespace(get=request.form.get),
        errors=wrong,
    )
