"""Searching the access log: who asked what about whom, and what they were told, newest first.

Every question goes backwards along an index, a page at a time, and nothing is counted. Where few
rows fit, a page ends after so many looked at, and says how far it came. Whoever may read some
clients alone is told of those clients' rows alone, and a cursor is sealed, since it names the
number of a row. Every search is a row itself before it is
answered.
"""

from __future__ import annotations

import itertools
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from sqlalchemy import and_, literal, or_, select, true, tuple_, union_all

from govern import clock, errors, permissions
from govern.audit import decisions, reading
from govern.audit.decisions import Access, AccessKind
from govern.clock import Utc
from govern.db import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.config import Settings
    from govern.db import Database
    from govern.principal import Principal

# Rows looked at in one go, and seconds after which a page ends where it has come to.
_STRETCH = 20_000
_PATIENCE = 1.5
_MOST_LOOKS = 400  # SQLite puts no more than 500 together
_SEALED_FOR = b"a place in the access log"
_COLUMNS = tuple(column.name for column in Access.__table__.columns)
_ORDER = (Access.at.desc(), Access.writer.desc(), Access.number.desc())

Place = tuple["datetime", str, int]


@dataclass(frozen=True, kw_only=True)
class Where:
    """Which rows to show, by opaque ids; what is not set lets all pass. `end` itself is left out.

    `mine` are the reader's own rows, which one may see wherever they are. A person's rows are those
    about them, and those of what they did themselves. `resources` are projects and datasets;
    `principal` is who asked.
    """

    person: str | None = None
    resources: tuple[str, ...] | None = None
    principal: str | None = None
    mine: bool = False
    permit: bool | None = None
    kind: AccessKind | None = None
    begin: datetime | None = None
    end: datetime | None = None

    def words(self) -> dict[str, Any]:
        """The same for the row that the search leaves; the person is in a column of its own."""
        asked = {
            "resources": list(self.resources[:10]) if self.resources is not None else None,
            "principal": self.principal,
            "mine": self.mine or None,
            "permit": self.permit,
            "kind": self.kind,
            "from": clock.text(self.begin) if self.begin else None,
            "to": clock.text(self.end) if self.end else None,
        }
        return {name: value for name, value in asked.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the access log; `detail` is what a read or a refusal says of itself."""

    writer: str
    number: int
    at: datetime
    kind: str
    principal: str
    session_id: str | None
    subject_id: str | None
    client_id: str | None
    resource_id: str | None
    action: str | None
    permit: bool | None
    reason: str | None
    as_of: int | None
    house_as_of: int | None
    worked_at: datetime | None
    detail: dict[str, Any]

    @property
    def mark(self) -> str:
        """Its writer and number, as `log fsck` names it: for those alone who may read all."""
        return f"{self.writer}-{self.number}"

    @property
    def place(self) -> tuple[datetime, str, int]:
        """Where it stands in time; writer and number part what is of one instant."""
        return (self.at, self.writer, self.number)


@dataclass(frozen=True, kw_only=True)
class Page:
    """Rows, newest first, and the cursor of the next page (None: that is all).

    `until` is set when the page ended for want of time: so far back it has searched.
    """

    rows: list[Row]
    after: str | None
    until: datetime | None = None


def search(
    database: Database,
    where: Where,
    *,
    after: str = "",
    limit: int = 50,
    stretches: int | None = None,
    snapshot: Callable[[], AbstractContextManager[OrmSession]] | None = None,
    by: Principal,
) -> Page:
    """The newest rows that fit, behind the cursor `after`; leaves a READ row first.

    `stretches` is how many a page goes back at most, whatever its time. `snapshot` is where to
    search, if not in the access log's own database. `RecordFailed` when the row cannot be written,
    `Forbidden` for whoever may read no log.
    """
    clients = permissions.require_some(by, "log:read")
    settings = database.settings
    place = _place(settings, after)
    note_for = next(iter(clients)) if clients and len(clients) == 1 else None
    if where.mine:
        where, clients = replace(where, principal=by.id), None
    reading.note(
        database, "access", subject=where.person,
        client=note_for, detail={"filter": where.words()}, by=by,
    )  # fmt: skip
    times = [Access.at >= where.begin] if where.begin is not None else []
    times += [Access.at < where.end] if where.end is not None else []
    with (snapshot or database.access_reading)() as session:
        ways = [and_(way, *times) for way in _ways(where, clients)]
        conditions = _conditions(session, where, clients)
        rows, ended, until = _page(session, ways, conditions, place, limit, stretches=stretches)
    return Page(rows=rows, after=_cursor(settings, ended) if ended else None, until=until)


def _ways(where: Where, clients: frozenset[str] | None) -> list[ColumnElement[bool]]:
    """Conditions that together hold for every row in question, each with an index of its own.

    None holds for a row that another holds for. Clients come before integrations: how far a search
    comes in its time must tell nothing of how much others ask.
    """
    if where.mine:
        return [Access.principal == where.principal]
    if where.person is not None:
        about = Access.subject_id == where.person
        others = or_(Access.subject_id.is_(None), Access.subject_id != where.person)
        return [about, and_(Access.principal == where.person, others)]
    if where.resources is not None:
        return [Access.resource_id == each for each in where.resources]
    if clients is not None:
        return [Access.client_id == each for each in sorted(clients)]
    return [Access.principal == where.principal] if where.principal is not None else [true()]


def _conditions(
    session: OrmSession, where: Where, clients: frozenset[str] | None
) -> list[ColumnElement[bool]]:
    """What a row must be besides; what `_ways` holds already does no harm."""
    found: list[ColumnElement[bool]] = []
    if where.mine and where.person is not None:
        found.append(or_(Access.subject_id == where.person, Access.principal == where.person))
    if where.resources is not None and (where.mine or where.person is not None):
        among = select(listed(session, where.resources).c.value)
        found.append(Access.resource_id.in_(among))
    if clients is not None and (where.person is not None or where.resources is not None):
        found.append(Access.client_id.in_(select(listed(session, sorted(clients)).c.value)))
    if where.principal is not None:
        found.append(Access.principal == where.principal)
    if where.permit is not None:
        found.append(Access.permit.is_(where.permit))
    if where.kind is not None:
        found.append(Access.kind == where.kind)
    return found


def _page(
    session: OrmSession,
    ways: Sequence[ColumnElement[bool]],
    conditions: Sequence[ColumnElement[bool]],
    place: Place | None,
    limit: int,
    *,
    stretches: int | None,
) -> tuple[list[Row], Place | None, datetime | None]:
    """Go back stretch by stretch, until the page is full, all is seen, or the time is over.

    Returns the rows, the place where the next page begins, and how far back a page that its time
    ended has searched.
    """
    found: list[Row] = []
    ends = time.monotonic() + _PATIENCE
    for number in itertools.count(1):
        lower = _lower(session, ways, place)
        within = [*conditions, *_behind(place), *([Access.at >= lower] if lower else [])]
        found += newest(session, ways, within, limit + 1 - len(found))
        if len(found) > limit:
            return found[:limit], found[limit - 1].place, None
        if lower is None:
            return found, None, None
        place = (lower, "", 0)  # what is of that very instant was looked at
        if number == stretches or time.monotonic() > ends:
            break
    return found, place, lower


def _lower(
    session: OrmSession, ways: Sequence[ColumnElement[bool]], place: Place | None
) -> datetime | None:
    """The instant down to which the next stretch goes; None: to the end."""
    count = _STRETCH // max(len(ways), 1)
    looks = [
        select(
            select(Access.at)
            .where(way, *_behind(place))
            # By the instant alone, which the way's own index holds.
            .order_by(Access.at.desc())
            .offset(count)
            .limit(1)
            .subquery()
        )
        for way in ways
    ]
    found = [row[0] for part in _parted(looks) for row in session.execute(part)]
    return max((at for at in found if at is not None), default=None)


def _parted(looks: Sequence[Any]) -> Iterator[Any]:
    """Looks put together: all, but for more than a database takes in one statement."""
    for begin in range(0, len(looks), _MOST_LOOKS):
        yield union_all(*looks[begin : begin + _MOST_LOOKS])


def newest(
    session: OrmSession,
    ways: Sequence[ColumnElement[bool]],
    conditions: Sequence[ColumnElement[bool]],
    limit: int,
) -> list[Row]:
    """The newest rows of several ways together, in one statement: each is read to its own limit."""
    query: Select[Any] = select(*Access.__table__.columns).where(*conditions)
    looks = [select(query.where(way).order_by(*_ORDER).limit(limit).subquery()) for way in ways]
    rows = [_row(values) for part in _parted(looks) for values in session.execute(part)]
    return sorted(rows, key=lambda row: row.place, reverse=True)[:limit]


def _behind(place: Place | None) -> list[ColumnElement[bool]]:
    if place is None:
        return []
    at, writer, number = place
    given = tuple_(literal(at, Utc()), literal(writer), literal(number))
    # The first says the same to an index that holds no more than the instant.
    return [Access.at <= at, tuple_(Access.at, Access.writer, Access.number) < given]


def _row(values: Any) -> Row:
    fields = dict(zip(_COLUMNS, values, strict=True))
    try:
        detail = json.loads(fields["detail"] or "{}")
    except ValueError:
        detail = {}
    return Row(**{**fields, "detail": detail if isinstance(detail, dict) else {}})


def _cursor(settings: Settings, place: Place) -> str:
    """A place, sealed: the same place has one cursor, so a page read again is the same."""
    text = f"{clock.micros(place[0])}.{place[1]}.{place[2]}".encode()
    sealed = AESSIV(decisions.cursor_key(settings)).encrypt(text, [_SEALED_FOR])
    return urlsafe_b64encode(sealed).decode().rstrip("=")


def _place(settings: Settings, after: str) -> Place | None:
    if not after:
        return None
    try:
        sealed = urlsafe_b64decode(after.encode("ascii") + b"==")
        text = AESSIV(decisions.cursor_key(settings)).decrypt(sealed, [_SEALED_FOR]).decode()
    except (ValueError, InvalidTag):
        raise errors.Invalid("after: this is no place in the access log", field="after") from None
    at, writer, number = text.split(".")
    return clock.from_micros(int(at)), writer, int(number)
