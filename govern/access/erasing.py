"""Erasure: what is personal of someone who has left goes for good, and every proof stays whole.

Gone are the person's particulars, what their authenticators, sessions and links hold, what was
written about them alone, filters kept to find them, and the values and salts beside the log's
entries that refer to them. What stays is opaque: their id, instants, grants, and who acted. One
`subject.erased` entry in each log that had values of theirs accounts for what is missing there; the
entries themselves never change.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import LargeBinary, and_, func, select, text, update
from sqlalchemy import cast as as_type
from sqlalchemy.orm import aliased

from govern import clock, errors, permissions
from govern.access import names, offboarding
from govern.access.bulk import BulkAct
from govern.access.grants import Grant
from govern.access.lists import SavedFilter
from govern.access.requests import Request
from govern.access.suspension_tables import (
    Scope,
    Suspension,
    SuspensionNotice,
    SuspensionTarget,
)
from govern.audit import EventType, holding, log
from govern.audit.log import HOUSE, Entry, Value
from govern.audit.record import RECORDED, record
from govern.audit.redactions import WHO_ACTED
from govern.db import Again, Base
from govern.identity import resets, throttle, words
from govern.identity.federation import IdentityLink
from govern.identity.roles import RoleAssignment
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Column, Select, Table
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

# What stands for a name that was erased, on every page and in every answer.
NAME = "erased"


@dataclass(frozen=True)
class Erased:
    """How many values beside the logs were emptied, and how many rows of our own."""

    values: int
    rows: int


def erase(session: Session, subject: Subject, *, reason: str, by: Principal) -> Erased:
    """Erase what is personal of a person, who leaves with it if they have not left before.

    `Conflict` while they hold a grant that is not over, or a legal hold covers them;
    `AlreadyEnded` when nothing is left to erase. `reason` stays on record, so it should name
    nobody.
    """
    permissions.require(by, "subject:erase", now=clock.now(session))
    if not reason.strip():
        raise errors.Invalid("reason: say why", field="reason")
    if by.id == subject.id:
        raise errors.SamePerson("Nobody erases themselves.")
    _refuse_grants(session, subject)
    _refuse_held(session, subject)
    if subject.ended_at is None:
        offboarding.offboard(session, subject, reason="", by=by)  # nothing new to erase
    seen, alone = subject.erased_at, _alone(session, subject)
    values = _values(session, subject, alone)
    if seen is not None and not values:
        raise errors.AlreadyEnded(f"They were erased on {clock.text(seen)}.", field="subject")

    def recheck(session: OrmSession) -> None:
        _refuse_held(session, subject)
        now = select(Subject.erased_at).where(Subject.id == subject.id).with_for_update()
        if session.execute(now).scalar_one() != seen or _values(session, subject, alone):
            raise Again
        words.keep(session, subject.id, NAME)

    rows = _empty_rows(session, subject) + _empty_texts(session, subject)
    written = [*_written_about(session, subject, alone)]
    links = session.execute(
        select(IdentityLink).where(
            IdentityLink.subject_id == subject.id, IdentityLink.ended_at.is_(None)
        )
    ).scalars().all()  # fmt: skip
    resets.forget(session, subject.email)
    for name in (subject.email, subject.id):
        throttle.replaced(session, "password", name)
    if values:
        names_of = ("log_id", "seq", "name")
        emptied: dict[str, Any] = {"salt": None, "value": None}
        session.execute(
            update(Value), [dict(zip(names_of, each, strict=True)) | emptied for each in values]
        )
    subject.external_id = subject.email = subject.id
    subject.full_name, subject.country, subject.expertise = NAME, "", ""
    subject.language = None
    logs = sorted({HOUSE, *(log_id for log_id, _, _ in values)})
    named = _named_in(session, alone, logs)
    record(
        session,
        EventType.SUBJECT_ERASED,
        logs=logs,
        by=by,
        refs={"subject": subject.id},
        own={
            log_id: {"values": sum(each[0] == log_id for each in values)}
            | ({"suspensions": named[log_id]} if named.get(log_id) else {})
            | ({"rows": rows + len(written)} if log_id == HOUSE else {})
            for log_id in logs
        },
        private={"reason": reason},
        covers=written,
        stamps=[(subject, "erased_at"), *((link, "ended_at") for link in links)],
        recheck=recheck,
    )
    return Erased(values=len(values), rows=rows + len(written))


# --- what stands in its way


def _refuse_grants(session: OrmSession, subject: Subject) -> None:
    active = select(func.count(Grant.id)).where(
        Grant.subject_id == subject.id, Grant.ended_at.is_(None), Grant.ends_at > clock.instant()
    )
    count = session.execute(active).scalar_one()
    if count:
        raise errors.Conflict(
            f"They hold {count} grant{'' if count == 1 else 's'}: offboard them first."
        )


def _refuse_held(session: OrmSession, subject: Subject) -> None:
    """A hold covers whom the client's log tells of, and whoever had a role over the client."""
    for hold in holding.standing(session):
        told = select(Entry.seq).where(
            Entry.log_id == hold.client_id, Entry.subject_id == subject.id
        )
        role = select(RoleAssignment.id).where(
            RoleAssignment.subject_id == subject.id,
            func.coalesce(RoleAssignment.client_id, hold.client_id) == hold.client_id,
        )
        if any(session.execute(query.limit(1)).first() for query in (told, role)):
            code = names.of(session, [hold.client_id]).get(hold.client_id, hold.client_id)
            raise errors.Conflict(f"{code} is under legal hold, and its records tell of them.")


# --- what goes


def _alone(session: OrmSession, subject: Subject) -> list[str]:
    """The suspensions that were ever over this person, and over nothing else."""
    other = aliased(SuspensionTarget)
    more = (
        select(other.id)
        .where(other.suspension_id == SuspensionTarget.suspension_id, other.target_id != subject.id)
        .exists()
    )
    query = select(SuspensionTarget.suspension_id).where(
        SuspensionTarget.kind == Scope.SUBJECT, SuspensionTarget.target_id == subject.id, ~more
    )
    return sorted(set(session.execute(query).scalars()))


def _values(session: OrmSession, subject: Subject, alone: list[str]) -> list[tuple[str, int, str]]:
    """Where a value is not erased yet of the entries that refer to them: log, place and name."""
    found: set[tuple[str, int, str]] = set()
    for query in (
        _valued().where(Entry.subject_id == subject.id),
        *(_valued().where(Entry.suspension_id == each, text(log.ACTS)) for each in alone),
    ):
        found.update((log_id, seq, name) for log_id, seq, name in session.execute(query))
    return sorted(found)


def _valued() -> Select[str, int, str]:
    return (
        select(Value.log_id, Value.seq, Value.name)
        .join(Entry, and_(Entry.log_id == Value.log_id, Entry.seq == Value.seq))
        .where(
            Value.salt.is_not(None),
            Value.name.not_in(sorted(WHO_ACTED)),
            # Why someone was erased stays.
            Entry.type != EventType.SUBJECT_ERASED,
        )
    )


def _named_in(session: OrmSession, alone: list[str], logs: list[str]) -> dict[str, list[str]]:
    """Which of these suspensions each log tells of."""
    found: dict[str, list[str]] = {}
    for each in alone:
        query = select(Entry.log_id).where(Entry.suspension_id == each, text(log.ACTS))
        for log_id in {*session.execute(query.distinct()).scalars()} & {*logs}:
            found.setdefault(log_id, []).append(each)
    return found


def personal_columns() -> Iterator[tuple[Table, list[Column[Any]]]]:
    """Each table that is marked to hold something of a person, and which columns do."""
    for table in Base.metadata.sorted_tables:
        if marked := [column for column in table.columns if column.info.get("personal")]:
            yield table, marked


def _empty_rows(session: Session, subject: Subject) -> int:
    """Empty the marked columns of a person's rows; returns how many rows there were."""
    count = 0
    for table, columns in personal_columns():
        done = session.execute(
            update(table)
            .where(table.c.subject_id == subject.id)
            .values({column: _nothing(column) for column in columns}),
            execution_options=RECORDED,
        )
        count += int(cast("Any", done).rowcount)
    return count


def _empty_texts(session: Session, subject: Subject) -> int:
    """What others typed that tells their address, external id or whole name; how many texts.

    Filters that anybody kept to find them go, as do their own; in the reason of an act over a list
    they are called erased.
    """
    told = [re.escape(each) for each in (subject.email, subject.external_id, subject.full_name)]
    naming = re.compile(rf"(?<!\w)({'|'.join(told)})(?!\w)", re.IGNORECASE)
    kept = [
        row
        for row in session.execute(select(SavedFilter)).scalars()
        if row.owner_id == subject.id or any(map(naming.search, (row.name, *row.filters.values())))
    ]
    acts = [
        row
        for row in session.execute(select(BulkAct).where(BulkAct.reason != "")).scalars()
        if naming.search(row.reason)
    ]
    for one in kept:
        session.delete(one)
    for act in acts:
        act.reason = naming.sub(NAME, act.reason)[:500]
    return len(kept) + len(acts)


def _nothing(column: Column[Any]) -> Any:
    """What stands where something was: nothing, or the row's own id where two may not be alike."""
    if column.nullable:
        return None
    indexes = column.table.indexes
    if column.unique or any(each.unique and column.name in each.columns for each in indexes):
        return as_type(column.table.c.id, column.type)
    return b"" if isinstance(column.type, LargeBinary) else ""


def _written_about(session: Session, subject: Subject, alone: list[str]) -> Iterator[Base]:
    """Empty what was written on suspensions of them alone, and why something was asked for them."""
    for suspension_id in alone:
        row = session.get_one(Suspension, suspension_id)
        row.internal_reason = row.ordered_by = row.incident = ""
        yield row
        notices = select(SuspensionNotice).where(SuspensionNotice.suspension_id == suspension_id)
        for notice in session.execute(notices).scalars():
            notice.known = notice.not_known = notice.contact = ""
            yield notice
    asked = select(Request).where(Request.subject_id == subject.id)
    for request in session.execute(asked).scalars():
        told: dict[str, Any] = {name: "" for name in ("reason", "said") if name in request.details}
        if told:
            request.details = {**request.details, **told}
            yield request
