"""One way for every list: narrowed by named filters, ordered, and paged by the key of its last row.

An order is a column that is never null, then the list's own key, so that no row comes twice and
none is passed over. What a row shows and what an export holds are the same columns, there
behind the row's id.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, literal, or_, select, tuple_

from govern import clock, errors, permissions
from govern.access.clients import Client, Project
from govern.access.holdings import PAGE, Page
from govern.access.holdings.known import employed, last_of, matching, sought
from govern.audit import decisions, leaf
from govern.audit.decisions import AccessKind
from govern.clock import Utc
from govern.db import listed as among
from govern.db import planned_once, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database
    from govern.principal import Principal

# What a filter asks of a row, given what was typed and the clients that the caller may know of
# (None: all): of others it tells as little as of what is not there.
Condition = Callable[[str, frozenset[str] | None], "ColumnElement[bool]"]
# Rows read at once by an export.
_AT_ONCE = 1000
LOOKED_AT = 1_000  # rows that a page goes through to find some


@dataclass(frozen=True)
class Sought:
    """A condition that `paged` asks otherwise, and tells whether an index finds few rows by it.

    Of very many a page is sooner full by looking at each row from its first on.
    """

    condition: Condition
    paged: Callable[[OrmSession, str, frozenset[str] | None], tuple[ColumnElement[bool], bool]]

    def __call__(self, value: str, clients: frozenset[str] | None) -> ColumnElement[bool]:
        """The condition of all rows, wherever they are."""
        return self.condition(value, clients)


# The conditions of rows that are of people, and of people of a firm.
of_whom = Sought(lambda typed, _: matching(typed), lambda session, typed, _: sought(session, typed))
of_firm = Sought(
    lambda name, _: employed(None, name)[0], lambda session, name, _: employed(session, name)
)


def id_of(table: type[Client | Project], code: str) -> Any:
    """The id behind a code, which the database looks up."""
    return select(table.id).where(table.code == code).correlate(None).scalar_subquery()


def of_code(column: Any, table: type[Client | Project]) -> Sought:
    """Those of a client or project by its code.

    A page looks its id up first: a database that knows it knows how few rows there are of it. Of
    what the caller may not know of there are none, and none are looked at.
    """
    owner: Any = Client.id if table is Client else Project.client_id

    def paged(
        session: OrmSession, code: str, clients: frozenset[str] | None
    ) -> tuple[ColumnElement[bool], bool]:
        known = select(table.id).where(table.code == code)
        if clients is not None:
            known = known.where(owner.in_(clients))
        return column == (session.scalar(known) or ""), False

    return Sought(lambda code, _: column == id_of(table, code), paged)


# Where a page ends: the value of the order, and the key.
Place = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Walk:
    """What rows a page walks to: visible to who sees some clients, and `wanted`.

    From behind a place (None: from the first) in the list's order or `backwards`, in so many steps
    at most.
    """

    clients: frozenset[str]
    wanted: Sequence[ColumnElement[bool]]
    after: Place | None
    most: int
    backwards: bool


@dataclass(frozen=True, kw_only=True)
class List:
    """A list of one sort of thing, as far as `permission` reaches.

    `query` joins what the columns, filters and orders name; `columns` are what a row shows.
    `visible` narrows it to what belongs to some clients (None: all or nothing is seen). The first
    of `sorts` is the usual order. A filter named in `choices` takes one of these words. What is
    `hidden` among the columns is there for addresses alone. `finish` fills in what no column says.
    `found_by` are the filters that an index finds rows by, on the key's own table, as `visible` is
    too: narrowed by others, a page looks at so many rows. None: at any number. `walk` finds in so
    many steps what is visible, where no index does: keys, and where it ended, None at the end.
    `is_long` where to plan its statement takes longer than to run it.
    """

    name: str
    permission: str
    key: Any
    columns: dict[str, Any]
    query: Callable[[Sequence[Any]], Select[Any]]
    sorts: dict[str, Any]
    filters: dict[str, Condition] = field(default_factory=dict)
    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    visible: Callable[[frozenset[str]], ColumnElement[bool]] | None = None
    hidden: tuple[str, ...] = ()
    found_by: frozenset[str] | None = None
    walk: Callable[[OrmSession, Walk], tuple[list[str], Place | None]] | None = None
    is_long: bool = False
    finish: Callable[[OrmSession, list[dict[str, Any]], Principal], None] | None = None

    @property
    def shown(self) -> tuple[str, ...]:
        """The columns that a reader sees."""
        return tuple(name for name in self.columns if name not in self.hidden)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a list is narrowed to, by the names of its filters, and its order: `-` for backwards."""

    filters: dict[str, str] = field(default_factory=dict)
    sort: str = ""

    @classmethod
    def of(cls, listed: List, values: Mapping[str, str]) -> Asked:
        """What an address or a form says of a list; what the list does not know is left out."""
        filters = {
            name: value.strip()
            for name in listed.filters
            if (value := values.get(name, "")).strip()
        }
        sort = values.get("sort", "")
        return cls(filters=filters, sort=sort if sort.removeprefix("-") in listed.sorts else "")

    @classmethod
    def exactly(cls, listed: List, filters: Mapping[str, str]) -> Asked:
        """What a program says of a list; a filter that the list does not know is refused.

        Left out, it would widen what is then done to all of the list.
        """
        for name, value in filters.items():
            if name not in listed.filters:
                known = ", ".join(listed.filters)
                raise errors.Invalid(
                    f"{listed.name} are not narrowed by “{name}”, but by {known}.", field="filters"
                )
            if not value.strip():
                raise errors.Invalid(f"Say what {name} is to be.", field="filters")
            _refuse_senseless(listed, name, value.strip(), field="filters")
        return cls.of(listed, filters)


def conditions(listed: List, asked: Asked, *, by: Principal) -> list[ColumnElement[bool]]:
    """What is asked of each row: that the caller may see it first; `Forbidden` who may see none."""
    by_index, others, _ = _conditions(None, listed, asked, by)
    return [*by_index, *others]


def _conditions(
    paged: OrmSession | None, listed: List, asked: Asked, by: Principal
) -> tuple[list[ColumnElement[bool]], list[ColumnElement[bool]], bool]:
    """The same in two: what an index finds rows by, and the rest; and whether that finds few."""
    clients = permissions.require_some(by, listed.permission)
    by_index: list[ColumnElement[bool]] = []
    others: list[ColumnElement[bool]] = []
    if clients is not None:
        if listed.visible is None:
            permissions.require(by, listed.permission)
        else:
            by_index.append(listed.visible(clients))
    few = False
    for name, value in asked.filters.items():
        _refuse_senseless(listed, name, value, field=name)
        test = listed.filters[name]
        if paged is not None and isinstance(test, Sought):
            condition, found = test.paged(paged, value, clients)
            few = few or found
        else:
            condition = test(value, clients)
        (by_index if name in (listed.found_by or ()) else others).append(condition)
    return by_index, others, few


def _refuse_senseless(listed: List, name: str, value: str, *, field: str) -> None:
    if value not in listed.choices.get(name, (value,)):
        raise errors.Invalid(f"“{value}” is nothing to filter by here.", field=field)
    if not value.isprintable():
        raise errors.Invalid("That holds characters that nothing holds.", field=field)


def page(
    session: OrmSession, listed: List, asked: Asked, *, after: str = "", limit: int = PAGE,
    looked_at: int | None = None, by: Principal,
) -> Page:  # fmt: skip
    """The rows of a list, each a dict by column, and where the next page begins.

    No more than `looked_at` rows are looked at, where told: the page ends there, full or not.
    """
    sort = asked.sort or next(iter(listed.sorts))
    order = listed.sorts[sort.removeprefix("-")]
    backwards = sort.startswith("-")
    ways = (order.desc(), listed.key.desc()) if backwards else (order, listed.key)
    by_index, others, few = _conditions(session, listed, asked, by)
    clients = permissions.require_some(by, listed.permission)
    end: tuple[Any, str] | None = None
    walked = False
    if looked_at is not None and listed.walk is not None and clients is not None:
        walked = True
        walk = Walk(
            clients=clients, wanted=others, after=_place(after) if after else None,
            most=looked_at, backwards=backwards,
        )  # fmt: skip
        seen, end = listed.walk(session, walk)
        by_index = [listed.key.in_(select(among(session, seen).c.value))]
    elif after:
        by_index.append(_behind(order, listed.key, after, backwards=backwards))
    own: list[Any] = [listed.key.label("key_"), order.label("order_")]
    if looked_at is not None and listed.found_by is not None and others and not few:
        window = select(*own).where(*by_index).order_by(*ways)
        last, further = last_of(
            session, window, looked_at, "order_", "key_", backwards=backwards
        )  # fmt: skip
        if last is None:
            return Page(rows=[], after=None)
        by_index.append(_up_to(order, listed.key, last, backwards=backwards))
        end = (last.order_, last.key_) if further else None
    wanted = listed.query([*own, *_labelled(listed)]).where(*by_index, *others)
    wanted = wanted.order_by(*ways).limit(written(session, limit + 1))
    if listed.is_long and clients is None and not asked.filters.keys() & (listed.found_by or set()):
        wanted = planned_once(wanted)  # walked from its first row on, whatever is asked
    found = session.execute(wanted).all()
    rows = [
        {"key": row[0], **dict(zip(listed.columns, row[2:], strict=True))} for row in found[:limit]
    ]
    if listed.finish is not None:
        listed.finish(session, rows, by)
    if len(found) > limit:
        end = ("" if walked else found[limit - 1][1], found[limit - 1][0])
    return Page(rows=rows, after=None if end is None else _token(*end))


def keys(listed: List, asked: Asked, *, by: Principal) -> Select[Any]:
    """The keys of all that a list holds, in their order: what an act over the list is done to."""
    wanted = listed.query([listed.key.label("key_")]).where(*conditions(listed, asked, by=by))
    return wanted.order_by(listed.key)


def export(
    database: Database, listed: List, asked: Asked, *, by: Principal
) -> Iterator[dict[str, Any]]:
    """Every row that `page` would show, in its order; leaves its row in the access log first.

    The row says which list and which filters were set, and never what was typed to find somebody.
    """
    permissions.require_some(by, listed.permission)
    permissions.require_fresh(by, now=clock.utcnow())
    told = {name: value for name, value in asked.filters.items() if name != "q"}
    detail = {
        "form": "csv", "list": listed.name, "filter": told, "searched": "q" in asked.filters,
    }  # fmt: skip
    decisions.write(database, [{
        "at": clock.utcnow(), "kind": AccessKind.EXPORT, "principal": by.id,
        "session_id": by.session, "subject_id": None, "client_id": None, "resource_id": None,
        "detail": leaf.canonical(detail).decode(),
    }])  # fmt: skip
    with database.reading() as session:
        after: str | None = ""
        while after is not None:
            found = page(session, listed, asked, after=after, limit=_AT_ONCE, by=by)
            yield from found.rows
            after = found.after


def _labelled(listed: List) -> list[Any]:
    return [column.label(name) for name, column in listed.columns.items()]


# --- keys --------------------------------------------------------------------------------------


def _behind(order: Any, key: Any, after: str, *, backwards: bool) -> ColumnElement[bool]:
    """Those behind a place of the order; the range on the order alone is for its index."""
    value, last = _place(after)
    at: Any = clock.parse(value, field="after") if isinstance(order.type, Utc) else value
    here = literal(at, order.type)
    if backwards:
        return and_(order <= here, or_(order < here, and_(order == here, key < last)))
    return and_(order >= here, or_(order > here, and_(order == here, key > last)))


def _place(after: str) -> Place:
    """What a token says."""
    try:
        value, last = json.loads(base64.urlsafe_b64decode(after.encode("ascii")))
    except (binascii.Error, ValueError, TypeError):
        raise errors.Invalid("That page is of another list.", field="after") from None
    if not (isinstance(value, str) and isinstance(last, str) and (value + last).isprintable()):
        raise errors.Invalid("That page is of another list.", field="after")
    return value, last


def _up_to(order: Any, key: Any, last: Any, *, backwards: bool) -> ColumnElement[bool]:
    """Those up to a row of the order: as a pair, for of those with one value an index ends too."""
    here, there = tuple_(order, key), tuple_(literal(last.order_, order.type), last.key_)
    return here >= there if backwards else here <= there


def _token(value: Any, key: str) -> str:
    told = clock.text(value) if isinstance(value, datetime) else value
    return base64.urlsafe_b64encode(json.dumps([told, key]).encode()).decode()
