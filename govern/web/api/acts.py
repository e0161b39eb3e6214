"""Acts over a whole list: seen in numbers, and ordered for exactly those who were seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from govern import clock, errors
from govern.access import bulk, entitlements, lists, places
from govern.access.idempotency import Done
from govern.access.lists import LISTS
from govern.web import guard
from govern.web.api.routes import CREATED, Routes
from govern.web.api.shapes import (
    Asked,
    Code,
    Count,
    Digest,
    Filters,
    Instant,
    Reference,
    Told,
    Why,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

routes = Routes("acts")


class Chosen(Asked):
    """An act, and the list that it is done to all of, as it is narrowed."""

    list: Literal["grants", "people"]
    act: Literal["revoke", "change_end", "grant", "end_sessions", "offboard", "suspend"] = Field(
        description="Grants are revoked or given another end (change_end); people are given a "
        "grant, signed out, offboarded or suspended, for which POST /people-lists makes a target."
    )
    filters: Filters = Field(default_factory=dict, description="As those of the list's page.")


class NewAct(Chosen):
    """What was previewed, to be done now."""

    digest: Digest = Field(description="Of the set that was previewed: no other is touched.")
    number: Count = Field(description="Of the grants or people that it is done to: the brake.")
    reason: Why
    project: Reference | None = Field(default=None, description="Of an act that gives a grant.")
    entitlement: Code | None = Field(default=None, description="Of an act that gives a grant.")
    until: Instant | None = Field(default=None, description="Of an act that gives an end.")


class Share(Told):
    """How much of what an act touches is of one project."""

    client: str
    project: str
    grants: Count
    people: Count


class ActPreview(Told):
    """What an act would be done to."""

    number: Count = Field(description="Grants or people, whichever the list holds.")
    people: Count
    grants: Count
    digest: str = Field(description="SHA-256 over the opaque ids, sorted, one a line.")
    projects: list[Share]


class Act(Told):
    """An act over a list, and how far it has come."""

    id: str
    list: str
    act: str
    state: Literal["ordered", "done"]
    number: Count
    done: Count
    passed: Count = Field(description="Of these, passed over: they had changed meanwhile.")
    digest: str
    details: dict[str, str | None]
    ordered_at: Instant | None
    finished_at: Instant | None


def _chosen(asked: Chosen) -> tuple[bulk.Act, lists.Asked]:
    act = bulk.named(asked.act, asked.list)
    return act, lists.Asked.exactly(LISTS[asked.list], asked.filters)


@routes.ask("/acts/preview", ActPreview, body=Chosen)
def preview(session: OrmSession, *, asked: Chosen, by: Principal) -> ActPreview:
    """What an act over a list would be done to; changes nothing."""
    act, narrowed = _chosen(asked)
    found = bulk.preview(session, act, narrowed, by=by)
    places.refuse_unknown(session, narrowed.filters, by=by)
    return ActPreview(
        number=found.number, people=found.people, grants=found.grants, digest=found.digest,
        projects=[
            Share(client=client, project=project, grants=grants, people=people)
            for client, project, grants, people in found.places
        ],
    )  # fmt: skip


def _taken(*, asked: NewAct, by: Principal) -> str | errors.Conflict:
    """What was shown, taken down; or why not, for whoever has not been answered under their key.

    After an act its set is another one: sent again it must be answered as it was at first.
    """
    act, narrowed = _chosen(asked)
    try:
        return bulk.take_down(guard.database(), act, narrowed, digest=asked.digest, by=by)
    except errors.Conflict as error:
        return error


@routes.post("/acts", {CREATED: Act}, body=NewAct, before=_taken)
def order(session: Session, *, asked: NewAct, ready: str | errors.Conflict, by: Principal) -> Done:
    """Have an act done to exactly those who were previewed, one after the other.

    A conflict (409) where the list is not what it was, or the number is not its own.
    """
    places.refuse_unknown(session, asked.filters, by=by)
    details = _details(session, asked, by=by)
    if isinstance(ready, errors.Conflict):
        raise ready
    row = bulk.order(
        session, ready, number=asked.number, details=details, reason=asked.reason, by=by
    )
    return Done(CREATED, f"/acts/{row.id}")


def _details(session: OrmSession, asked: NewAct, *, by: Principal) -> dict[str, str | None]:
    project = places.find_project(session, asked.project, by=by)[0] if asked.project else None
    entitlement = entitlements.named(session, asked.entitlement) if asked.entitlement else None
    return {
        "project": project.code if project else None,
        "entitlement": entitlement.name if entitlement else None,
        "until": clock.text(asked.until) if asked.until else None,
    }


@routes.get("/acts/<bulk_act>", Act)
def show(session: OrmSession, bulk_act: str, *, by: Principal) -> Act:
    """How far an act over a list has come."""
    row = bulk.find(session, bulk_act, by=by)
    details: dict[str, Any] = row.details
    return Act(
        id=row.id, list=bulk.ACTS[row.act].list, act=row.act,
        state="done" if row.finished_at else "ordered", number=row.number, done=row.done,
        passed=row.passed, digest=row.digest, details=details, ordered_at=row.recorded_at,
        finished_at=row.finished_at,
    )  # fmt: skip
