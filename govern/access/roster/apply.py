"""Applying a roster by chunks, each judged again under its log's head."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import or_, select, text

from govern import clock, errors
from govern.access import suspensions
from govern.access.clients import Client, Project
from govern.access.entitlements import Entitlement
from govern.access.grants import Grant
from govern.access.roster.judge import Judge, Outcome, Person, Rejected, Row, existing, holds
from govern.audit import EventType
from govern.audit.heads import lock
from govern.audit.log import HOUSE
from govern.audit.record import Line, append_many, record
from govern.db import insert_many, listed, new_id
from govern.identity import subjects, words
from govern.identity.subjects import Membership, Organisation, Subject
from govern.identity.words import SubjectWord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Select, Table

    from govern.db import Database, Session
    from govern.principal import Principal

CHUNK = 100  # grants: holds a client's head for some 20 ms
_CHUNK_OF_PEOPLE = 200  # holds the house's head for some 40 ms


def apply(
    database: Database,
    judge: Judge,
    rows: list[Row],
    outcome: Outcome,
    *,
    by: Principal,
    progress: Callable[[int], None] | None,
) -> None:
    """Write what was accepted; rows that are held by now are told rejected instead."""
    wanted = {row.person.external_id for row in rows}
    people = [judge.people[external_id] for external_id in sorted(wanted)]
    new = [person for person in people if not person.known]
    names = sorted({person.particulars.organisation for person in new})
    organisations = database.transaction(partial(_organisations, names=names))
    for chunk in _chunks(new, _CHUNK_OF_PEOPLE):
        database.transaction(partial(_register, people=chunk, organisations=organisations, by=by))
    database.transaction(_analyze)
    for person in people:
        if person.known and person.changed:
            database.transaction(partial(_change, person=person, by=by))
    by_client: dict[str, list[Row]] = {}
    for row in rows:
        by_client.setdefault(row.client, []).append(row)
    late: list[Rejected] = []
    for client, theirs in sorted(by_client.items()):
        for part in _chunks(theirs):
            late += database.transaction(
                partial(_grant, judge=judge, client=client, rows=part, by=by)
            )
            if progress is not None:
                progress(len(part))
    for fault in late:
        outcome.accepted.remove(fault.line)
    outcome.rejected = sorted([*outcome.rejected, *late], key=lambda fault: fault.line)
    if rows:
        database.transaction(partial(_record_import, outcome=outcome, by=by))


def _analyze(session: Session) -> None:
    """Tell PostgreSQL that its tables grew: taken for empty, each chunk would scan them whole."""
    if not session.database.is_postgresql:
        return
    for table in ("subject", "subject_word", "membership", "organisation", "access_grant"):
        session.execute(text(f"ANALYZE {table}"))


def _chunks(items: list[Any], size: int = CHUNK) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _organisations(session: Session, names: list[str]) -> dict[str, str]:
    """The ids of organisations by name; they are never removed, so one look serves every chunk."""
    return {name: subjects.ensure_organisation(session, name).id for name in names}


def _register(
    session: Session, people: list[Person], organisations: dict[str, str], *, by: Principal
) -> None:
    first = append_many(
        session,
        HOUSE,
        [
            Line(
                type=EventType.SUBJECT_REGISTERED,
                refs={
                    "subject": person.id,
                    "organisation": organisations[person.particulars.organisation],
                },
                data={"kind": person.particulars.kind},
                private={
                    name: value for name, value in person.particulars.private().items() if value
                },
                about=person.id,
            )
            for person in people
        ],
        by=by,
    )
    made_by = by.name or by.id
    subject_rows, membership_rows, word_rows = [], [], []
    for offset, person in enumerate(people):
        at, given = first + offset * clock.TICK, person.particulars
        subject_rows.append(
            (
                person.id,
                given.external_id,
                given.email,
                given.full_name,
                given.kind.value,
                given.country,
                given.expertise,
                made_by,
                at,
                None,
                None,
                None,
            )
        )
        membership_rows.append(
            (new_id("mem"), person.id, organisations[given.organisation], at, None)
        )
        word_rows += [(person.id, word) for word in words.beginnings(given.full_name)]
    insert_many(session, cast("Table", Subject.__table__), subject_rows)
    insert_many(session, cast("Table", Membership.__table__), membership_rows)
    insert_many(session, cast("Table", SubjectWord.__table__), word_rows)


def _change(session: Session, person: Person, *, by: Principal) -> None:
    """Take over changed particulars; the move of an organisation goes the way of every move."""
    subject = session.get_one(Subject, person.id)
    given = person.particulars
    if "organisation" in person.changed:
        organisation = subjects.ensure_organisation(session, given.organisation)
        if suspensions.move(session, subject, organisation, by=by) is not None:
            raise errors.Stale("An organisation was suspended during the import; run it again.")
    if person.changed - {"organisation"}:
        subjects.change(
            session,
            subject,
            full_name=given.full_name,
            kind=given.kind,
            country=given.country,
            expertise=given.expertise,
            by=by,
        )


def _grant(
    session: Session, judge: Judge, client: str, rows: list[Row], *, by: Principal
) -> list[Rejected]:
    """Issue one chunk's grants under the client's head; what is held by now is refused."""
    lock(session, [client])
    ids = sorted({judge.people[row.person.external_id].id for row in rows})
    given = listed(session, ids)
    here = set(
        session.execute(
            select(Subject.id)
            .join(given, given.c.value == Subject.id)
            .join(Membership, Membership.subject_id == Subject.id)
            .join(Organisation, Organisation.id == Membership.organisation_id)
            .where(Subject.ended_at.is_(None), Membership.ended_at.is_(None))
            .order_by(given.c.value)
            # Neither is offboarded or suspended until the commit: see `suspensions.open`.
            .with_for_update(read=True, of=[Subject, Organisation])
        ).scalars()
    )
    now_held, had = holds(session, ids), existing(session, ids)
    ended = set(session.execute(_ended(client)).scalars())
    late: list[Rejected] = []
    fresh: list[tuple[Row, str]] = []
    for row in rows:
        subject_id = judge.people[row.person.external_id].id
        key = row.key(subject_id)
        if key in had:
            continue
        refusal = now_held.refusal(judge.targets(row, subject_id))
        if subject_id not in here:
            refusal = ("external_id", "they left during the import")
        if row.project in ended:
            refusal = ("project", "the project ended during the import")
        if refusal is not None:
            late.append(Rejected(row.line, refusal[0], f"{refusal[1]}."))
            continue
        had.add(key)
        fresh.append((row, subject_id))
    _issue(session, client, fresh, by=by)
    return late


def _ended(client: str) -> Select[str]:
    """The projects of a client that have ended, by themselves or with it."""
    return (
        select(Project.id)
        .join(Client, Client.id == Project.client_id)
        .where(
            Project.client_id == client,
            or_(Project.ended_at.is_not(None), Client.ended_at.is_not(None)),
        )
    )


def _issue(session: Session, client: str, fresh: list[tuple[Row, str]], *, by: Principal) -> None:
    if not fresh:
        return
    names = {row.id: row.name for row in session.execute(select(Entitlement)).scalars()}
    made = [(new_id("grt"), row, subject_id) for row, subject_id in fresh]
    first = append_many(
        session,
        client,
        [
            Line(
                type=EventType.GRANT_ISSUED,
                refs={
                    "grant": grant_id,
                    "subject": subject_id,
                    "client": client,
                    "project": row.project,
                    "entitlement": row.entitlement,
                }
                | ({"dataset": row.dataset} if row.dataset else {}),
                data={
                    "entitlement": names[row.entitlement],
                    "starts_at": clock.text(row.starts_at),
                    "ends_at": clock.text(row.ends_at),
                },
                private={"reason": "roster import"},
                about=subject_id,
            )
            for grant_id, row, subject_id in made
        ],
        by=by,
    )
    insert_many(
        session,
        cast("Table", Grant.__table__),
        [
            (
                grant_id,
                subject_id,
                row.entitlement,
                client,
                row.project,
                row.dataset,
                row.starts_at,
                row.ends_at,
                first + offset * clock.TICK,
                None,
            )
            for offset, (grant_id, row, subject_id) in enumerate(made)
        ],
    )


def _record_import(session: Session, outcome: Outcome, *, by: Principal) -> None:
    record(
        session,
        EventType.ROSTER_IMPORTED,
        logs=[HOUSE],
        by=by,
        data={
            "accepted": len(outcome.accepted),
            "unchanged": len(outcome.unchanged),
            "rejected": len(outcome.rejected),
        },
    )
