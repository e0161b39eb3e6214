"""Who can: the grants that permit an action somewhere, now or at an instant, by the one rule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, String, bindparam, literal, null, select

from govern import errors, permissions
from govern.access import grants
from govern.access.clients import Client, Dataset, Project
from govern.access.grants import Grant, Moment
from govern.access.modes import Effect, effect_of
from govern.clock import Utc
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal


@dataclass(frozen=True, kw_only=True)
class Reach:
    """One line of a list of who can: a grant in force and whose it is."""

    grant_id: str
    subject_id: str
    external_id: str
    email: str
    full_name: str
    project: str
    entitlement_id: str
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, kw_only=True)
class Found:
    """A page of a list of who can; `after` is behind which grant it goes on, None at its end."""

    rows: list[Reach]
    after: str | None


def search(
    session: OrmSession,
    *,
    action: str,
    kind: str,
    code: str,
    at: datetime | None = None,
    after: str = "",
    limit: int = 1000,
    looked_at: int | None = None,
    by: Principal,
) -> Found:
    """Whose grants permit an action on a client's projects, a project or a dataset; keyset by id.

    For a client it is every grant of its projects that permits the action there. No more than
    `looked_at` grants are looked at, where told: the page ends there, full or not. What is paused
    whole is not looked through: there are only those whom the pause let out.
    """
    table: Any = {"client": Client, "project": Project, "dataset": Dataset}.get(kind)
    if table is None:
        raise errors.Invalid("Ask about client:, project: or dataset:.", field="resource")
    row = _known(session, table, code)
    project = session.get_one(Project, row.project_id) if kind == "dataset" else row
    client = row.id if kind == "client" else project.client_id
    permissions.require(by, "grant:read", client=client)
    if at is not None and row.recorded_at > at:
        return Found(rows=[], after=None)
    effect, past = effect_of(action), at is not None
    given: dict[str, Any] = {
        "client": client, "project": project.id, "dataset": row.id, "action": action, "at": at,
        "after": after, "most": looked_at, "limit": limit + 1,
    }  # fmt: skip
    before = _before(kind, effect, past=past, bounded=looked_at is not None)
    given["held"], last = session.execute(before, given).one()
    held = given["held"] is not None
    # An id begins with a letter.
    given["until"] = last if last is not None and not held else "~"
    rows = session.execute(_listing(kind, effect, past=past, held=held), given).all()
    names = list(Reach.__dataclass_fields__)
    found = [Reach(**dict(zip(names, each, strict=True))) for each in rows[:limit]]
    if len(rows) > limit:
        return Found(rows=found, after=found[-1].grant_id)
    return Found(rows=found, after=None if held else last)


def _given(name: str) -> ColumnElement[str]:
    return bindparam(name, type_=String())


def _moment(*, past: bool) -> Moment:
    return Moment(at=bindparam("at", type_=Utc()) if past else None)


def _over(kind: str, effect: Effect) -> ColumnElement[bool]:
    if kind == "client":
        return Grant.client_id == _given("client")
    dataset = _given("dataset") if kind == "dataset" else None
    return grants.covering(project=_given("project"), dataset=dataset, effect=effect)


@cache
def _before(kind: str, effect: Effect, *, past: bool, bounded: bool) -> Select[Any]:
    """What holds all of it, if anything, and the last grant that is looked at, if more follow."""
    last: ColumnElement[Any] = null()
    if bounded:
        most = bindparam("most", type_=Integer())
        last = grants.last_of(_over(kind, effect), _given("after"), most).scalar_subquery()
    held = grants.blanket(
        effect, _moment(past=past), client=_given("client"),
        project=None if kind == "client" else _given("project"),
        dataset=_given("dataset") if kind == "dataset" else None,
    )  # fmt: skip
    return select(held.scalar_subquery(), last)


@cache
def _listing(kind: str, effect: Effect, *, past: bool, held: bool) -> Select[Any]:
    """The one statement of a kind of list: built once, asked ever after."""
    moment = _moment(past=past)
    dataset = _given("dataset") if kind == "dataset" else None
    over = _over(kind, effect)
    if held:
        over &= Grant.subject_id.in_(grants.let_out(_given("held"), moment, after=literal("")))
    return (
        grants.facts(
            Grant.id,
            Subject.id,
            Subject.external_id,
            Subject.email,
            Subject.full_name,
            Project.code,
            Grant.entitlement_id,
            Grant.starts_at,
            Grant.ends_at,
            moment=moment,
        )
        .where(
            over,
            Grant.id > _given("after"),
            Grant.id <= _given("until"),
            grants.all_of(grants.rule(_given("action"), effect, moment, dataset=dataset)),
        )
        .order_by(Grant.id)
        .limit(bindparam("limit", type_=Integer()))
    )


def _known(session: OrmSession, table: Any, code: str) -> Any:
    row = session.execute(select(table).where(table.code == code)).scalar_one_or_none()
    if row is None:
        raise errors.Unknown(f"There is no {table.__tablename__} “{code}”.", field="resource")
    return row
