"""What admins' pages call things: a suspension by its scope, a request by what it would do, an act.

Also the little that several of these pages share: reading a person or a firm as typed.
"""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from flask_babel import ngettext

from govern import errors
from govern.access import names, suspensions
from govern.access.requests import RequestKind
from govern.audit.events import SENTENCES
from govern.web.pages import base

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session as OrmSession

    from govern.access import awaiting, overview
    from govern.access.requests import Request
    from govern.access.suspensions import ScheduledResume

NAMED = 2  # parts of a scope that a title names


def scope(names: Sequence[str]) -> str:
    """A suspension's title: what it covers."""
    if not names:
        return str(_("Suspension"))
    shown = ", ".join(names[:NAMED])
    rest = len(names) - NAMED
    if rest > 0:
        more = ngettext(
            "%(shown)s and %(num)s more", "%(shown)s and %(num)s more", rest, shown=shown
        )
        return str(more)
    return shown


def suspension(
    standing: suspensions.reading.Standing, told: Sequence[suspensions.notices.Version] = ()
) -> SimpleNamespace:
    """What a list shows of a suspension; `told` are its notices, newest first."""
    row = standing.suspension
    return SimpleNamespace(
        id=row.id,
        url=f"/suspensions/{row.id}",
        title=scope(standing.names),
        mode=standing.mode.value,
        since=row.recorded_at,
        review_at=row.review_by,
        update_by=told[0].next_update_by if told else None,
        hours_until=row.hours_until,
        reason_code=row.reason,
        recorded=standing.progress.recorded,
        total=standing.progress.total,
        held_people=standing.people,
        at_least=standing.at_least,
    )


def resume(session: OrmSession, row: ScheduledResume, now: datetime) -> SimpleNamespace:
    """A resume set for a time: by whom, whether it was confirmed, and how it ended."""
    signatures = (row.asked_by, row.approved_by, row.confirmed_by or "")
    called = names.of(session, signatures)

    def name(signature: str | None) -> str:
        return called.get(signature or "", signature or "")

    begins = suspensions.confirm_from(row)
    return SimpleNamespace(
        at=row.at,
        url=f"/suspensions/{row.suspension_id}/resume",
        asked_by=name(row.asked_by),
        approved_by=name(row.approved_by),
        confirmed_by=name(row.confirmed_by),
        confirmed_at=row.confirmed_at,
        confirm_from=begins,
        may_confirm=begins <= now < row.at,
        waits=row.ended_at is None,
        missed=row.outcome if row.outcome in {"unconfirmed", "unlisted", "late"} else "",
    )


MODES = {
    "paused": lambda: _("paused"),
    "read_only": lambda: _("read-only"),
    "under_review": lambda: _("under review"),
}


def asked(request: Request, about: str) -> str:
    """A request in words, as far as its own row tells."""
    kind = RequestKind(request.kind)
    if kind is RequestKind.LIFT:
        return str(_("Lift: %(title)s", title=about))
    if kind is RequestKind.RESUME:
        return str(_("Lift at a set time: %(title)s", title=about))
    if kind is RequestKind.RELEASE:
        return str(_("Release early: %(title)s", title=about))
    if kind is RequestKind.WEAKEN:
        mode = MODES[request.details["mode"]]()
        return str(_("Make it %(mode)s: %(title)s", mode=mode, title=about))
    if kind is RequestKind.NARROW:
        return str(_("Take a part out: %(title)s", title=about))
    return str(_("A request"))


def request(waiting: awaiting.Waiting) -> str:
    """A request in words, with the names of all it speaks of."""
    row, names = waiting.request, waiting.names
    person = names.get(row.subject_id or "", "")
    if row.kind == RequestKind.MOVE:
        firm = names.get(row.details["organisation"], "")
        return str(_("Move %(name)s to %(firm)s", name=person, firm=firm))
    if row.kind == RequestKind.RECOVER:
        return str(_("Let %(name)s back in", name=person))
    if row.kind == RequestKind.GRANT:
        project = names.get(row.details["project"], "")
        dataset = names.get(row.dataset_id or "", "")
        return str(
            _(
                "Grant %(name)s %(entitlement)s on %(project)s",
                name=person,
                entitlement=names.get(row.details["entitlement"], ""),
                project=f"{project} · {dataset}" if dataset else project,
            )
        )
    return asked(row, scope(waiting.titles))


def event(recent: overview.Recent) -> str:
    """An act in one sentence, and whom or what it was about."""
    about = ", ".join(part for part in (recent.subject, recent.project) if part)
    by = "" if recent.by == "system" else _("by %(name)s", name=recent.by)
    return " · ".join(part for part in (SENTENCES[recent.type], about, by) if part)


@contextmanager
def typed(field: str, value: str) -> Iterator[str]:
    """A name that someone typed in a form: what is not there is wrong at its field."""
    if not value or not value.isprintable():
        raise errors.Invalid(_("Please fill this in."), field=field)
    try:
        yield value
    except errors.Unknown as error:
        raise errors.Invalid(error.template, field=field, **error.values) from None


def reason() -> str:
    """Why, in the form's own words; an act that ends or gives something says why."""
    value = base.typed("reason")
    if not value:
        raise errors.Invalid(_("Please say why."), field="reason")
    if len(value) > 500 or any(ord(char) < 32 for char in value):  # noqa: PLR2004 - as the form
        raise errors.Invalid(_("One line of at most 500 characters, please."), field="reason")
    return value


def at_reason(wrong: Mapping[str, str], field: str) -> dict[str, str]:
    """Errors of a page with several forms that ask for a reason: it belongs to the one sent."""
    return {field if name == "reason" else name: told for name, told in wrong.items()}


def how_signed_in(amr: str) -> str:
    """By what someone last proved who they are; as RFC 8176 has it where we have no word."""
    how = {"otp": _("authenticator app"), "rec": _("recovery code"), "pop": _("passkey")}
    return next((str(how[part]) for part in amr.split() if part in how), amr)
