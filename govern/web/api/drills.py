"""Drills: a pause rehearsed on the real data and rolled back, kept as evidence of its speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from govern.access import suspensions
from govern.access.idempotency import Done
from govern.access.modes import Mode
from govern.web import guard
from govern.web.api.routes import CREATED, Routes
from govern.web.api.shapes import Instant, Page, Paging, Told
from govern.web.api.suspensions import Targets

if TYPE_CHECKING:
    from govern.db import Session
    from govern.principal import Principal

routes = Routes("drills")


class Drill(Told):
    """One drill, of one client's things (or of people: `house`)."""

    id: str
    at: Instant
    log: str = Field(description="The client's code, or `house`.")
    covers: list[str]
    mode: Mode
    milliseconds: float = Field(description="From the start of the act to its commit.")
    rate: int | None = Field(description="Entries a second, measured on the first 250.")
    grants: int
    people: int
    digest: str


class NewDrill(Targets):
    """What to rehearse."""

    mode: Mode


@routes.get("/drills", Page[Drill], query=Paging)
def find(session: Session, *, asked: Paging, by: Principal) -> Page[Drill]:
    """Drills, the newest first."""
    rows, after = suspensions.drilling.page(session, after=asked.after, limit=asked.limit, by=by)
    return Page[Drill](items=[_drill(row) for row in rows], next=after)


@routes.get("/drills/<drill>", Drill)
def show(session: Session, drill: str, *, by: Principal) -> Drill:
    """One drill."""
    return _drill(suspensions.drilling.find(session, drill, by=by))


def rehearsed(*, asked: NewDrill, by: Principal) -> suspensions.drilling.Rehearsal:
    """Do it all, and roll it back."""
    with guard.database().reading() as session:
        parts = suspensions.reading.chosen(session, asked.targets, by=by, field="targets")
    targets = [part.target for part in parts]
    return suspensions.drilling.rehearse(guard.database(), targets, mode=asked.mode, by=by)


@routes.post("/drills", {CREATED: Drill}, body=NewDrill, before=rehearsed)
def hold(
    session: Session,
    *,
    asked: NewDrill,  # noqa: ARG001 - `ready` is what was made of it
    ready: suspensions.drilling.Rehearsal,
    by: Principal,
) -> Done:
    """Rehearse a pause, of which nothing stays but its numbers; one for each client concerned."""
    rows = suspensions.drilling.keep(session, ready, by=by)
    return Done(CREATED, f"/drills/{rows[0].id}")


def _drill(row: suspensions.drilling.Shown) -> Drill:
    return Drill(
        id=row.id, at=row.at, log=row.log, covers=list(row.covers), mode=Mode(row.mode),
        milliseconds=row.milliseconds, rate=row.rate, grants=row.grants, people=row.people,
        digest=row.digest,
    )  # fmt: skip
