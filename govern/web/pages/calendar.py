"""The calendar of what ends: a month at a glance, and one day in full."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING

from flask import Blueprint, render_template, request
from flask_babel import format_date
from flask_babel import gettext as _

from govern import clock, errors
from govern.access import ends, holdings
from govern.web import guard
from govern.web.pages import base, words

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from govern.access.ends import Day, End

blueprint = Blueprint("calendar", __name__)

_YEARS = range(1970, 2200)


@blueprint.get("/calendar")
def show() -> ResponseReturnValue:
    """A month (`month=2026-11`, this one unless told), and the grants of one `day` of it."""
    by = guard.principal()
    day = _date(request.args.get("day", ""), "day")
    first = (day or _date(request.args.get("month", ""), "month") or clock.utcnow().date()).replace(
        day=1
    )
    with guard.database().reading() as session:
        days = ends.month(session, first, day=day, by=by)
        found = None
        if day is not None:
            window = (ends.begin(day), ends.begin(day) + timedelta(days=1))
            found = holdings.search(
                session, ends=window, sort="ends", after=request.args.get("after", ""), by=by
            )
    before, after = first - timedelta(days=1), first + timedelta(days=31)
    return render_template(
        "admin/calendar.html",
        month=format_date(first, "LLLL yyyy"),
        weeks=_weeks(first, days),
        weekdays=[format_date(date(2024, 1, number), "EEE") for number in range(1, 8)],
        listed=[
            _line(each)
            for each in days
            if (each.number or each.more_others) and (day is None or each.day == day)
        ],
        list_from=day or first,
        list_to=day or first.replace(day=monthrange(first.year, first.month)[1]),
        today=clock.utcnow().date(),
        day=day,
        day_words=format_date(day, "full") if day else None,
        rows=found.rows if found else None,
        next_url=base.next_url(found.after) if found else None,
        first_url=base.first_url(),
        before_url=f"/calendar?month={before:%Y-%m}",
        after_url=f"/calendar?month={after:%Y-%m}",
        month_url=f"/calendar?month={first:%Y-%m}",
    )


def _date(value: str, field: str) -> date | None:
    """A day, or a month by its first day; None where nothing was asked for."""
    value = value.strip()
    if not value:
        return None
    try:
        found = date.fromisoformat(value if field == "day" else f"{value}-01")
    except ValueError:
        found = None
    if found is None or found.year not in _YEARS:
        raise errors.Invalid(_("“%(value)s” is no day or month such as 2026-11.", value=value))
    return found


def _weeks(first: date, days: list[Day]) -> list[list[Day | None]]:
    """The days in rows of seven, Monday first; None before the first and after the last."""
    cells: list[Day | None] = [*[None] * first.weekday(), *days]
    cells += [None] * (-len(cells) % 7)
    return [cells[place : place + 7] for place in range(0, len(cells), 7)]


def _line(day: Day) -> SimpleNamespace:
    return SimpleNamespace(
        day=day.day, words=format_date(day.day, "EEEE d MMMM"), grants=day.grants, more=day.more,
        ends=[_end(one) for one in day.ends], unnamed=day.others - len(day.ends),
        more_others=day.more_others,
    )  # fmt: skip


def _end(one: End) -> SimpleNamespace:
    if one.what is ends.What.ROLE:
        return SimpleNamespace(
            at=one.at, url=f"/people/{one.id}",
            text=_("Role %(role)s of %(name)s ends", role=one.role, name=one.names[0]),
        )  # fmt: skip
    title = words.scope(one.names)
    told = {
        ends.What.REVIEW: _("Review due: %(title)s", title=title),
        ends.What.UPDATE: _("Update promised to contractors: %(title)s", title=title),
        ends.What.SUBMIT: _("Last day to hand in hours: %(title)s", title=title),
        ends.What.RESUME: _("Set to end: %(title)s", title=title),
    }
    return SimpleNamespace(at=one.at, url=f"/suspensions/{one.id}", text=told[one.what])
