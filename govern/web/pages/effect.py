"""How fast a suspension took effect, and who heard of it: a picture, and the same as a table."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from flask import Blueprint, Response, render_template, request
from flask_babel import gettext as _

from govern import errors, languages
from govern.access import suspensions
from govern.access.evaluation import REASONS
from govern.access.suspensions import Heard
from govern.audit import reading
from govern.audit.signer import Signer
from govern.web import guard, receipts
from govern.web.api.effect import TimeToEffect as Told
from govern.web.pages import base, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from flask.typing import ResponseReturnValue

    from govern.access.suspensions import Answer, Asker, Receipt, TimeToEffect

blueprint = Blueprint("effect", __name__)

_STEPS = (
    ("10 ms", 10), ("1 s", 1_000), ("1 min", 60_000), ("1 h", 3_600_000), ("1 d", 86_400_000),
    ("30 d", 30 * 86_400_000),
)  # fmt: skip
_LEFT, _RIGHT = 3.0, 97.0  # per cent of the width, so that no mark is cut
_APART = 15.0  # per cent between two words of the axis: they fit on a phone


@dataclass(frozen=True)
class Mark:
    """One instant on a row: where it is, in per cent of the width, and its shape."""

    x: float
    shape: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the picture; from `silent` on nothing was heard (None: no such stretch)."""

    label: str
    told: str
    look: str = ""
    marks: list[Mark] = field(default_factory=list)
    silent: float | None = None


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Everything on one axis, whose zero is the commit; milliseconds and days both show."""

    zero: float
    ticks: list[tuple[float, str]]
    rows: list[Row]


@blueprint.get("/suspensions/<suspension_id>/effect")
def show(suspension_id: str) -> ResponseReturnValue:
    """The page, with a picture."""
    seen, clients = _measured(suspension_id)
    standing = seen.found.standing
    row = standing.suspension
    return render_template(
        "pause/effect.html",
        s={
            "id": row.id,
            "title": words.scope(standing.names),
            "mode": standing.mode.value,
            "is_open": standing.is_open,
        },
        ordered_at=row.ordered_at,
        committed_at=row.recorded_at,
        milliseconds=seen.milliseconds,
        effect=seen.effect,
        progress=standing.progress,
        lifted_at=row.ended_at,
        seen_at=seen.seen_at,
        whole=seen.hearing.whole,
        counts=[(each.value, seen.hearing.count(each)) for each in Heard],
        askers=[
            {
                "name": asker.name,
                "state": asker.heard.value,
                "since": asker.since,
                "late": apart(asker.since - row.recorded_at) if asker.since else "",
                "before": _answer(asker.before),
                "after": _answer(asker.after),
            }
            for asker in seen.hearing.askers
        ],
        picture=picture(seen),
        clients=clients,
        readable=base.may_anywhere("log:read"),
    )


@blueprint.get("/suspensions/<suspension_id>/effect.json")
def as_json(suspension_id: str) -> ResponseReturnValue:
    """The same as the API tells it."""
    told = Told(**_measured(suspension_id)[0].told())
    return Response(told.model_dump_json(indent=2), content_type="application/json")


@blueprint.get("/suspensions/<suspension_id>/receipt")
def receipt(suspension_id: str) -> ResponseReturnValue:
    """What a client is handed: a page to print, and the very file that proves itself."""
    by = guard.principal()
    database = guard.database()
    language = request.args.get("language", "")
    if language and language not in languages.NAMES:
        raise errors.Invalid("Choose one of the languages of the list.", field="language")
    client = request.args.get("client", "")
    try:
        found = _receipt(suspension_id, client)
    except errors.Unavailable:
        if not database.settings.followers:
            raise
        Signer(database.settings).sign(database)  # of a pause that began within a second
        found = _receipt(suspension_id, client)
    reading.note(
        database, "receipt", client=found.opened.log, detail={"suspension": suspension_id}, by=by
    )
    name = f"receipt-{found.client}-{suspension_id}.html" if "save" in request.args else ""
    return receipts.answer(suspensions.receipt_file.document(found, language), save_as=name)


def _receipt(suspension_id: str, client: str) -> Receipt:
    with guard.database().reading() as session:
        return suspensions.receipt(session, suspension_id, client=client, by=guard.principal())


def _measured(suspension_id: str) -> tuple[TimeToEffect, list[tuple[str, str]]]:
    by = guard.principal()
    with guard.database().reading() as session:
        seen = suspensions.time_to_effect(session, suspension_id, by=by)
        readable = base.may_anywhere("log:read")
        clients = sorted(seen.found.concerned.values()) if readable else []
    suspensions.reading.note(guard.database(), "suspension.effect", seen.found, by=by)
    return seen, clients


def _answer(answer: Answer | None) -> dict[str, object] | None:
    if answer is None:
        return None
    reason = REASONS.get(answer.reason, "")
    return {"at": answer.at, "permit": answer.permit, "reason": reason or answer.reason}


def apart(distance: timedelta) -> str:
    """How far two instants lie apart, in the unit that says most."""
    milliseconds = abs(distance.total_seconds()) * 1000
    for unit, size in (
        (_("d"), 86_400_000), (_("h"), 3_600_000), (_("min"), 60_000), (_("s"), 1_000),
    ):  # fmt: skip
        if milliseconds >= size:
            return f"{milliseconds / size:.1f} {unit}"
    return f"{milliseconds:.1f} {_('ms')}"


def picture(seen: TimeToEffect) -> Picture:
    """Put every instant on one axis: to both sides of the commit by the logarithm of its distance.

    So the milliseconds in which it took effect and the days that a tool was silent both show.
    """
    row, hearing = seen.found.standing.suspension, seen.hearing
    zero, end = row.recorded_at, row.ended_at or seen.seen_at
    known = [row.ordered_at, end, *_instants(seen)]
    spans = [_span(at, zero) for at in known]
    left, right = -min([-1.0, *spans]), max([1.0, *spans])

    def x(at: datetime) -> float:
        return _placed(_span(at, zero), left, right)

    ticks = [(_placed(0, left, right), _("in force"))]
    for sign in (1, -1):
        for label, milliseconds in _STEPS:
            span = sign * math.log10(1 + milliseconds)
            at = _placed(span, left, right)
            near = min(abs(at - other) for other, _label in ticks)
            if -left <= span <= right and near >= _APART and at <= _RIGHT - 5:
                ticks.append((at, f"{'+' if sign > 0 else '−'}{label}"))  # noqa: RUF001 - a minus
    rows = [
        Row(label=label, told=_told(at, zero), marks=[Mark(x(at), shape)] if at else [])
        for label, at, shape in (
            (_("Ordered"), row.ordered_at, "order"),
            (_("Last permit"), seen.effect.last_permit_at, "permit"),
            (_("First refusal"), seen.effect.first_deny_at, "deny"),
            (_("Every grant recorded"), seen.found.standing.progress.finished_at, "record"),
        )
    ]
    rows += [_row(asker, x) for asker in hearing.askers]
    return Picture(zero=_placed(0, left, right), ticks=ticks, rows=rows)


def _instants(seen: TimeToEffect) -> Iterable[datetime]:
    moments = [
        seen.effect.last_permit_at, seen.effect.first_deny_at,
        seen.found.standing.progress.finished_at,
    ]  # fmt: skip
    for asker in seen.hearing.askers:
        moments += [asker.since, *(each.at for each in (asker.before, asker.after) if each)]
    return [at for at in moments if at is not None]


def _span(at: datetime, zero: datetime) -> float:
    milliseconds = (at - zero).total_seconds() * 1000
    return math.copysign(math.log10(1 + abs(milliseconds)), milliseconds)


def _placed(span: float, left: float, right: float) -> float:
    return round(_LEFT + (_RIGHT - _LEFT) * (span + left) / (left + right), 2)


def _told(at: datetime | None, zero: datetime) -> str:
    if at is None:
        return str(_("not seen yet"))
    sentence = _("%(time)s before") if at < zero else _("%(time)s after")
    return str(sentence) % {"time": apart(at - zero)}


def _row(asker: Asker, place: Callable[[datetime], float]) -> Row:
    marks = []
    if asker.before is not None:
        marks.append(Mark(place(asker.before.at), "permit" if asker.before.permit else "deny"))
    if asker.since is not None:
        marks.append(
            Mark(place(asker.since), "false" if asker.heard is Heard.FAILED else "deny")
        )  # fmt: skip
    if asker.after is not None and (asker.since is None or asker.after.at > asker.since):
        marks.append(Mark(place(asker.after.at), "permit" if asker.after.permit else "deny"))
    state = {
        Heard.CONFIRMED: _("confirmed"), Heard.FAILED: _("failed"), Heard.UNKNOWN: _("unknown"),
    }  # fmt: skip
    silent = None
    if asker.heard is Heard.UNKNOWN:
        silent = max((mark.x for mark in marks), default=0.0)
    return Row(
        label=asker.name, told=state[asker.heard], look=asker.heard.value, marks=marks,
        silent=silent,
    )  # fmt: skip
