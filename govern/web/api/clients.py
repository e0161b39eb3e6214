"""Clients: the organisations whose projects they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from govern.access import clients, ending, places
from govern.access.idempotency import Done
from govern.web.api.routes import CREATED, OK, Routes
from govern.web.api.shapes import (
    Asked,
    Code,
    Ending,
    Instant,
    Line,
    Page,
    Paging,
    State,
    Told,
    Words,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.places import Place
    from govern.db import Session
    from govern.principal import Principal

routes = Routes("clients")


class Client(Told):
    """A client, and how it stands."""

    id: str
    code: str
    name: str
    state: State
    since: Instant | None = Field(description="Since when it stands so; null for ever.")
    recorded_at: Instant


class NewClient(Asked):
    """A client to take in."""

    code: Code
    name: Line


class Clients(Paging):
    """Which clients."""

    q: Words = Field(default="", description="A part of code or name.")


def _told(place: Place) -> Client:
    row = place.client
    return Client(
        id=row.id, code=row.code, name=row.name, state=place.state, since=place.since,
        recorded_at=row.recorded_at,
    )  # fmt: skip


@routes.get("/clients", Page[Client], query=Clients)
def find(session: OrmSession, *, asked: Clients, by: Principal) -> Page[Client]:
    """Clients by code."""
    found = places.clients(session, query=asked.q, after=asked.after, limit=asked.limit, by=by)
    return Page[Client](items=[_told(row) for row in found.rows], next=found.after)


@routes.post("/clients", {CREATED: Client}, body=NewClient)
def create(session: Session, *, asked: NewClient, by: Principal) -> Done:
    """Take in a client, and begin its log."""
    row = clients.create_client(session, asked.code, name=asked.name, by=by)
    return Done(CREATED, f"/clients/{row.id}")


@routes.get("/clients/<client>", Client)
def show(session: OrmSession, client: str, *, by: Principal) -> Client:
    """One client, by code or id."""
    row = places.find_client(session, client, by=by)
    return _told(places.standing(session, [(row,)], by=by)[0])


@routes.post("/clients/<client>/end", {OK: Client}, body=Ending)
def end(session: Session, client: str, *, asked: Ending, by: Principal) -> Done:
    """End a client, with all its projects, for good: nothing brings it back."""
    row = places.find_client(session, client, by=by)
    ending.end(session, row, number=asked.number, reason=asked.reason, by=by)
    return Done(OK, f"/clients/{row.id}")
