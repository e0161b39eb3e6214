"""Which factors are demanded of whom: seen in numbers and names before one is set, and after."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from flask import Blueprint, flash, redirect, render_template, request
from flask_babel import gettext as _

from govern import errors
from govern.access import demands
from govern.access.demands import Factor
from govern.identity import roles
from govern.web import guard, problems
from govern.web.pages import acting, base, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from typing import Any

    from flask.typing import ResponseReturnValue
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.demands import Coming, Demand, FactorDemand, Numbers, Over
    from govern.db import Session
    from govern.principal import Principal

blueprint = Blueprint("demands", __name__)


# --- what other pages show ---------------------------------------------------------------------


def announced(found: Iterable[Coming]) -> list[SimpleNamespace]:
    """Demands that are yet to begin, of those that not everybody meets yet."""
    return [
        SimpleNamespace(
            url=f"/demands/{one.id}", name=one.name, factor=one.factor.value,
            starts_at=one.starts_at, unmet=one.numbers.unmet, at_least=one.numbers.at_least,
        )
        for one in found
        if one.numbers.unmet or one.numbers.at_least
    ]  # fmt: skip


def covering(session: OrmSession, ids: list[str], *, by: Principal) -> list[SimpleNamespace]:
    """The demands of some clients and projects, by their ids."""
    return _lines(session, demands.listed(session, covering=ids, by=by), by=by)


def _lines(session: OrmSession, found: list[Demand], *, by: Principal) -> list[SimpleNamespace]:
    numbers = demands.measured(session, found, most=demands.COUNTED, by=by)
    return [_line(one, numbers[one.row.id]) for one in found]


def _line(one: Demand, numbers: Numbers) -> SimpleNamespace:
    return SimpleNamespace(
        url=f"/demands/{one.row.id}",
        kind=one.over.kind.value,
        name=one.over.name,
        factor=one.factor.value,
        starts_at=one.row.starts_at or one.row.recorded_at,
        begun=one.begun,
        people=numbers.people,
        unmet=numbers.unmet,
        at_least=numbers.at_least,
    )


# --- all of them -------------------------------------------------------------------------------


@blueprint.get("/demands")
def index() -> ResponseReturnValue:
    """What is demanded, and how many do not meet it."""
    by = guard.principal()
    with guard.database().reading() as session:
        lines = _lines(session, demands.listed(session, by=by), by=by)
    return render_template(
        "admin/demands.html", demands=lines, may_set=base.may_anywhere("demand:set")
    )


# --- a new one ---------------------------------------------------------------------------------


@blueprint.get("/demands/new")
def new() -> ResponseReturnValue:
    """What a demand would ask of whom: numbers and names first, and then the form to set it."""
    if not base.may_anywhere("demand:set"):
        raise errors.Forbidden(_("Your role does not cover it."))
    return _new_page({})


def _new_page(wrong: Mapping[str, str]) -> str:
    by = guard.principal()
    given = request.form if request.method == "POST" else request.args
    form = {name: given.get(name, "").strip() for name in ("over", "factor", "starts", "reason")}
    wrong = dict(wrong)
    shown: dict[str, Any] = {}
    if form["over"] and form["factor"]:
        try:
            over, factor, starts = _asked(form, by=by)
            shown = _shown(over, factor, by=by) | {"starts_at": starts}
        except (errors.Invalid, errors.Unknown) as error:
            wrong.setdefault(error.field or "over", problems.in_words(error))
    return render_template(
        "admin/demand_new.html",
        roles=roles.ASSIGNABLE,
        form=form,
        errors=wrong,
        shown=shown,
        code_needed=acting.code_needed(),
    )


def _asked(form: Mapping[str, str], *, by: Principal) -> tuple[Over, Factor, datetime | None]:
    with guard.database().reading() as session:
        over = demands.over(session, form["over"], by=by)
    return over, _factor(form["factor"]), base.instant("starts", given=form)


def _factor(value: str) -> Factor:
    try:
        return Factor(value)
    except ValueError:
        raise errors.Invalid(_("Which factor?"), field="factor") from None


def _shown(over: Over, factor: Factor, *, by: Principal) -> dict[str, Any]:
    """Whom it is, or would be, asked of: numbers, and a page of who does not meet it."""
    with guard.database().reading() as session:
        numbers = demands.numbers(session, over, factor, by=by)
        page = demands.unmet(session, over, factor, after=request.args.get("after", ""), by=by)
    return {
        "over": over,
        "factor": factor.value,
        "numbers": numbers,
        "rows": page.rows,
        "next_url": base.next_url(page.after),
        "first_url": base.first_url(),
    }


@blueprint.post("/demands")
def impose() -> ResponseReturnValue:
    """Set it: in force at once, or from the instant that is announced."""

    def work(session: Session, by: Principal) -> FactorDemand:
        over = demands.over(session, base.typed("over"), by=by)
        return demands.impose(
            session, over, _factor(base.typed("factor")), starts=base.instant("starts"),
            reason=words.reason(), by=by,
        )  # fmt: skip

    def done(row: FactorDemand) -> ResponseReturnValue:
        told = _("It is demanded from that time on.") if row.starts_at else _("It is in force.")
        flash(told, "success")
        return redirect(f"/demands/{row.id}", 303)

    return acting.act(
        work, done=done, again=_new_page, title=_("Demand a factor"), cancel="/demands"
    )


# --- one ---------------------------------------------------------------------------------------


@blueprint.get("/demands/<demand_id>")
def show(demand_id: str) -> ResponseReturnValue:
    """One demand: who does not meet it, and its end."""
    return _page(demand_id, {})


def _page(demand_id: str, wrong: Mapping[str, str]) -> str:
    by = guard.principal()
    with guard.database().reading() as session:
        row = demands.find(session, demand_id, by=by)
        over = demands.over(session, f"{row.kind}:{row.target_id}", by=by)
        begun = demands.begun(session, row)
    return render_template(
        "admin/demand.html",
        id=row.id,
        shown=_shown(over, Factor(row.factor), by=by),
        set_at=row.recorded_at,
        starts_at=row.starts_at,
        begun=begun,
        ended_at=row.ended_at,
        may_end=row.ended_at is None and base.may("demand:set", row.client_id),
        form=request.form,
        errors=wrong,
        code_needed=acting.code_needed(),
    )


@blueprint.post("/demands/<demand_id>/end")
def end(demand_id: str) -> ResponseReturnValue:
    """Demand it no longer."""

    def work(session: Session, by: Principal) -> None:
        row = demands.find(session, demand_id, by=by)
        demands.end(session, row, reason=words.reason(), by=by)

    def done(_nothing: None) -> ResponseReturnValue:
        flash(_("It is demanded no longer."), "success")
        return redirect(f"/demands/{demand_id}", 303)

    return acting.act(
        work,
        done=done,
        again=lambda wrong: _page(demand_id, wrong),
        title=_("End a demand"),
        cancel=f"/demands/{demand_id}",
    )
