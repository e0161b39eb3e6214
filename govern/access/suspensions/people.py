"""Lists of people: thousands named at once, and suspended as one thing.

A list is taken whole: names that are nobody's are told by line, and nothing is made before someone
said to leave them out. It never changes afterwards, so whoever was previewed is who is suspended,
and one target, one digest in the log and one line on a page stand for all of them.
"""

from __future__ import annotations

import csv
import hashlib
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from sqlalchemy import delete, func, not_, select, union_all

from govern import clock, errors, permissions
from govern.access.requests import signature
from govern.access.suspension_tables import (
    PeopleList,
    PeopleListItem,
    Scope,
    SuspensionTarget,
)
from govern.access.suspensions.targets import Target
from govern.db import insert_many, listed, new_id
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Table
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

MOST = 200_000  # names in one list
ALONE = 50  # so few are targets of their own: each is shown by name and can be taken out again
_UNUSED_FOR = timedelta(days=1)
_BETWEEN = re.compile(r"[\s,;]+")
_LONGEST = 254
_HEADINGS = ("external_id", "email")


@dataclass(frozen=True)
class Name:
    """One name as it was given, and the first line on which it stands, from 1."""

    line: int
    given: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """Who is meant by some names: opaque and external ids, and the names that are nobody's."""

    people: list[tuple[str, str]] = field(default_factory=list)
    unknown: list[Name] = field(default_factory=list)


def read(given: str | bytes) -> list[Name]:
    """The names in a text (UTF-8), each once: a line or more of them, or a CSV with a header.

    Commas, semicolons, spaces and blank lines may stand between names. A header names a column
    `external_id` or `email`, of which the former is taken.
    """
    try:
        text = given.decode() if isinstance(given, bytes) else given
    except UnicodeDecodeError:
        raise errors.Invalid("The list is no text in UTF-8.", field="people") from None
    lines = text.removeprefix("\ufeff").splitlines()
    first = next((place for place, line in enumerate(lines) if line.strip()), 0)
    heading = [cell.strip(' "').lower() for cell in lines[first].split(",")] if lines else []
    column = next((heading.index(name) for name in _HEADINGS if name in heading), None)
    found: dict[str, int] = {}
    if column is None:
        for number, line in enumerate(lines, 1):
            for name in _BETWEEN.split(line):
                found.setdefault(name.strip('"'), number)
    else:
        reader = csv.reader(f"{line}\n" for line in lines[first + 1 :])
        try:
            for cells in reader:
                if len(cells) > column:
                    found.setdefault(cells[column].strip(), first + 1 + reader.line_num)
        except csv.Error as error:
            place = first + 1 + reader.line_num
            raise errors.Invalid(f"Line {place}: {error}.", field="people") from None
    found.pop("", None)
    return [Name(line, name) for name, line in found.items()]


def look_up(session: OrmSession, names: Iterable[Name]) -> Found:
    """Who is meant, by external id or e-mail address, in one statement however many they are."""
    names = list(names)
    _refuse_longer(len(names))
    sound = [
        name.given for name in names if len(name.given) <= _LONGEST and name.given.isprintable()
    ]
    ids = listed(session, sound)
    mails = listed(session, [name for name in sound if "@" in name])
    rows = session.execute(
        union_all(
            select(ids.c.value, Subject.id, Subject.external_id).join_from(
                ids, Subject, Subject.external_id == ids.c.value
            ),
            select(mails.c.value, Subject.id, Subject.external_id).join_from(
                mails, Subject, Subject.email == func.lower(mails.c.value)
            ),
        )
    )
    known = {given: (subject_id, external_id) for given, subject_id, external_id in rows}
    return Found(
        people=sorted({known[name.given] for name in names if name.given in known}),
        unknown=[name for name in names if name.given not in known],
    )


def _refuse_longer(number: int) -> None:
    if number > MOST:
        raise errors.Invalid(
            f"That is a list of {number:,} names; one holds at most {MOST:,}. Suspend their "
            "project, client or firm instead, or give the list in parts.",
            field="people",
        )


def take(
    session: Session, names: list[Name], *, leave_out_unknown: bool = False, by: Principal
) -> PeopleList:
    """Keep a list of people to be suspended; `UnknownPeople` tells of names that are nobody's.

    What nobody suspended within a day is forgotten.
    """
    permissions.require(by, "suspension:open")
    return keep(session, _known(session, names, leave_out_unknown=leave_out_unknown), by=by)


def targets(
    session: Session, names: list[Name], *, leave_out_unknown: bool = False, by: Principal
) -> list[Target]:
    """What suspends those named: each of a few by themselves, more as one list."""
    permissions.require(by, "suspension:open")
    return as_targets(session, _known(session, names, leave_out_unknown=leave_out_unknown), by=by)


def as_targets(session: Session, found: Found, *, by: Principal) -> list[Target]:
    """What suspends those found: see `targets`."""
    permissions.require(by, "suspension:open")
    if len(found.people) <= ALONE:
        return [Target(Scope.SUBJECT, id_, code, None) for id_, code in found.people]
    kept = keep(session, found, by=by)
    return [Target(Scope.PEOPLE, kept.id, kept.id, None)]


def _known(session: Session, names: list[Name], *, leave_out_unknown: bool) -> Found:
    if not names:
        raise errors.Invalid("The list names nobody.", field="people")
    found = look_up(session, names)
    if found.unknown and not leave_out_unknown:
        raise errors.UnknownPeople(
            [(name.line, name.given) for name in found.unknown], of=len(names)
        )
    if not found.people:
        raise errors.Invalid("The list names nobody who is known.", field="people")
    return found


def keep(session: Session, found: Found, *, by: Principal) -> PeopleList:
    """Keep those found as one list: see `take`."""
    permissions.require(by, "suspension:open")
    if not found.people:
        raise errors.Invalid("The list names nobody.", field="people")
    _refuse_longer(len(found.people))
    _forget_unused(session)
    ids = [subject_id for subject_id, _ in found.people]
    row = PeopleList(
        id=new_id("ppl"),
        number=len(ids),
        left_out=len(found.unknown),
        digest=digest(ids),
        made_by=signature(by),
        made_at=clock.now(session),
    )
    session.add(row)
    session.flush()
    insert_many(session, cast("Table", PeopleListItem.__table__), [(id_, row.id) for id_ in ids])
    return row


def digest(subject_ids: Iterable[str]) -> str:
    """What the log holds of a list: SHA-256 over its people's opaque ids, sorted, one a line."""
    return hashlib.sha256("".join(f"{id_}\n" for id_ in sorted(subject_ids)).encode()).hexdigest()


def find(session: OrmSession, list_id: str, *, by: Principal) -> PeopleList:
    """A list by its id; `Unknown` where there is none or the caller may not know of all people."""
    row = session.get(PeopleList, list_id)
    if row is None or permissions.scope(by, "suspension:read") is not None:
        raise errors.Unknown(f"There is no list of people {list_id}.", field="people")
    return row


def members(
    session: OrmSession, kept: PeopleList, *, after: str = "", limit: int = 50
) -> tuple[list[Subject], str | None]:
    """One page of a list's people, by opaque id, and where the next begins."""
    rows = list(
        session.execute(
            select(Subject)
            .join(PeopleListItem, PeopleListItem.subject_id == Subject.id)
            .where(PeopleListItem.list_id == kept.id, PeopleListItem.subject_id > after)
            .order_by(PeopleListItem.subject_id)
            .limit(limit + 1)
        ).scalars()
    )
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


def hold_lists(session: OrmSession, ids: list[str]) -> dict[str, PeopleList]:
    """The lists of these ids, none of which is forgotten before the commit."""
    if not ids:
        return {}
    among = select(listed(session, ids).c.value)
    query = select(PeopleList).where(PeopleList.id.in_(among)).with_for_update(read=True)
    found = {row.id: row for row in session.execute(query).scalars()}
    if len(found) < len(set(ids)):
        raise errors.Invalid("The list was forgotten meanwhile: give it again.", field="scope")
    return found


def _forget_unused(session: Session) -> None:
    """Forget old lists that nothing was laid over; one that is being suspended now is locked."""
    before = clock.now(session) - _UNUSED_FOR
    used = select(SuspensionTarget.id).where(SuspensionTarget.target_id == PeopleList.id).exists()
    unused = select(PeopleList.id).where(not_(used))
    locked = unused.where(PeopleList.made_at < before).with_for_update(skip_locked=True)
    held = list(session.execute(locked).scalars())
    # One that was suspended since that statement began may be among them: asked once more, now that
    # nobody lays anything over them.
    old = list(
        session.execute(
            unused.where(PeopleList.id.in_(select(listed(session, held).c.value)))
        ).scalars()
    )
    if old:
        for table, column in (
            (PeopleListItem, PeopleListItem.list_id),
            (PeopleList, PeopleList.id),
        ):
            session.execute(
                delete(table).where(column.in_(select(listed(session, old).c.value))),
                execution_options={"synchronize_session": False},
            )
