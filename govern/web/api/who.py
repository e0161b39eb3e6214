"""Who: whose grants let them do something to a client's projects, a project or a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from govern import clock, errors, permissions
from govern.access import entitlements, evaluation, exposure, places
from govern.audit import reading
from govern.web import guard
from govern.web.api.routes import Routes
from govern.web.api.shapes import Code, Instant, Page, Paging, Reference, Told

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from govern.principal import Principal

routes = Routes("who")


class Interval(Told):
    """A time, without the instant at which it ends."""

    starts_at: Instant
    ends_at: Instant


class Reach(Told):
    """One grant that permits it."""

    grant: str
    subject: str
    external_id: str
    full_name: str
    project: str
    entitlement: str
    starts_at: Instant
    ends_at: Instant
    dataset: str | None = Field(default=None, description="Of a range: the one it is over.")
    intervals: list[Interval] | None = Field(
        default=None, description="Of a range: when it permitted it, without the pauses."
    )


class Who(Paging):
    """What is asked: `action` on the thing of this type and code or id; `at` or `from` and `to`."""

    type: Literal["client", "project", "dataset"]
    code: Reference
    action: Code = "read"
    at: Instant | None = Field(default=None, description="An instant of the past; else now.")
    begin: Instant | None = Field(
        default=None, alias="from", description="Who could at any moment from this instant on."
    )
    to: Instant | None = Field(default=None, description="And before this instant; else until now.")


@routes.get("/who", Page[Reach], query=Who)
def find(session: Session, *, asked: Who, by: Principal) -> Page[Reach]:
    """Who can, could at an instant, or could at any moment of a range.

    A page looks at so many grants at most: it may hold few and go on.
    """
    permissions.require_some(by, "grant:read")
    if asked.type == "client":
        client = places.find_client(session, asked.code, by=by)
        code = client.code
    elif asked.type == "project":
        project, client = places.find_project(session, asked.code, by=by)
        code = project.code
    else:
        dataset, _project, client = places.find_dataset(session, asked.code, by=by)
        code = dataset.code
    range_ = _range(session, asked)
    detail = {"kind": asked.type} | (
        {"at": clock.text(asked.at or clock.now(session))}
        if range_ is None
        else {"from": clock.text(range_[0]), "to": clock.text(range_[1])}
    )
    reading.note(guard.database(), "who", client=client.id, detail=detail, by=by)
    meant = entitlements.meanings(session, asked.at if range_ is None else range_[1])
    wanted: dict[str, Any] = {
        "after": asked.after,
        "limit": asked.limit,
        "looked_at": exposure.LOOKED_AT,
        "action": asked.action,
        "by": by,
    }
    if range_ is None:
        found: Any = evaluation.search(session, kind=asked.type, code=code, at=asked.at, **wanted)
        items = [_reach(row, meant) for row in found.rows]
    else:
        begin, end = range_
        found = exposure.reach(session, asked.type, code, begin=begin, end=end, **wanted)
        items = [
            _reach(row, meant, dataset=row.dataset,
                   intervals=[Interval(starts_at=a, ends_at=b) for a, b in row.intervals])
            for row in found.rows
        ]  # fmt: skip
    return Page[Reach](items=items, next=found.after)


def _range(session: Session, asked: Who) -> exposure.Interval | None:
    """The range that is asked about, as far as it has happened, if it is one."""
    if asked.begin is None:
        if asked.to is not None:
            raise errors.Invalid("to: the end of a range needs its beginning, from.", field="to")
        return None
    if asked.at is not None:
        raise errors.Invalid("at: ask about an instant or about a range.", field="at")
    return exposure.within(session, asked.begin, asked.to or clock.now(session))


def _reach(row: Any, meant: dict[str, tuple[str, tuple[str, ...]]], **more: Any) -> Reach:
    return Reach(
        grant=row.grant_id, subject=row.subject_id, external_id=row.external_id,
        full_name=row.full_name, project=row.project,
        entitlement=meant[row.entitlement_id][0], starts_at=row.starts_at, ends_at=row.ends_at,
        **more,
    )  # fmt: skip
