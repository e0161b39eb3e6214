"""Lists of people: named once, by the thousand, and then previewed and suspended as one target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from govern import errors
from govern.access import bulk, lists, places, suspensions
from govern.access.idempotency import Done
from govern.access.lists import LISTS
from govern.web.api.routes import CREATED, Routes
from govern.web.api.shapes import Asked, Filters, Instant, Page, Paging, Reference, Told

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

_MOST_BYTES = 16 * 1024 * 1024

routes = Routes("people_lists")


class PeopleList(Told):
    """A list of people. It never changes; what nobody suspended within a day is forgotten."""

    id: str
    target: str = Field(description="What suspends them: one of the `targets` of a suspension.")
    people: int
    left_out: int = Field(description="Names that are nobody's, left out as was asked.")
    digest: str = Field(description="SHA-256 over the opaque ids, sorted, one a line.")
    made_at: Instant


class NewPeopleList(Asked):
    """People by external id or e-mail address; a name that is nobody's is told by its place.

    Or, instead of names, all whom the list of people holds as it is narrowed now.
    """

    names: list[Reference] | None = Field(
        default=None, min_length=1, max_length=suspensions.people.MOST
    )
    filters: Filters | None = Field(
        default=None, description="As those of the page that lists people; none names everybody."
    )
    leave_out_unknown: bool = Field(
        default=False, description="Go on without names that are nobody's, instead of refusing."
    )


class Member(Told):
    """One person of a list."""

    subject: str
    external_id: str
    full_name: str


@routes.post("/people-lists", {CREATED: PeopleList}, body=NewPeopleList, most_bytes=_MOST_BYTES)
def take(session: Session, *, asked: NewPeopleList, by: Principal) -> Done:
    """Name many people, to suspend them as one."""
    if (asked.names is None) == (asked.filters is None):
        raise errors.Invalid("Give names or filters: one of both.", field="names")
    if asked.filters is not None:
        narrowed = lists.Asked.exactly(LISTS["people"], asked.filters)
        found = bulk.suspended_as(session, narrowed, by=by)
        places.refuse_unknown(session, narrowed.filters, by=by)
        return Done(CREATED, f"/people-lists/{suspensions.people.keep(session, found, by=by).id}")
    # A name that comes again is one person all the same.
    first = {name.strip(): line for line, name in reversed([*enumerate(asked.names or (), 1)])}
    names = [suspensions.people.Name(line, name) for name, line in reversed(first.items()) if name]
    row = suspensions.people.take(session, names, leave_out_unknown=asked.leave_out_unknown, by=by)
    return Done(CREATED, f"/people-lists/{row.id}")


@routes.get("/people-lists/<people_list>", PeopleList)
def show(session: OrmSession, people_list: str, *, by: Principal) -> PeopleList:
    """One list."""
    row = suspensions.people.find(session, people_list, by=by)
    return PeopleList(
        id=row.id, target=f"people:{row.id}", people=row.number, left_out=row.left_out,
        digest=row.digest, made_at=row.made_at,
    )  # fmt: skip


@routes.get("/people-lists/<people_list>/people", Page[Member], query=Paging)
def members(session: OrmSession, people_list: str, *, asked: Paging, by: Principal) -> Page[Member]:
    """The people of one list."""
    row = suspensions.people.find(session, people_list, by=by)
    rows, after = suspensions.people.members(session, row, after=asked.after, limit=asked.limit)
    items = [
        Member(subject=one.id, external_id=one.external_id, full_name=one.full_name) for one in rows
    ]
    return Page[Member](items=items, next=after)
