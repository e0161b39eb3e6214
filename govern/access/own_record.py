"""A person's whole record, to take away: what the logs and the tables say of them.

It tells what concerns them and nobody else: who acted is *you*, *someone else* or *govern*; why a
suspension was opened, what others wrote for each other, clients' names and places in a log are left
out, and the file says so. Each entry has its leaf's hash, by which an auditor finds and proves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select

from govern import clock, errors
from govern.access.clients import Dataset, Project
from govern.access.entitlements import Entitlement
from govern.access.grants import Grant
from govern.audit import leaf, reading
from govern.audit.decisions import Access
from govern.audit.events import SENTENCES, EventType
from govern.audit.log import Entry, Value
from govern.identity.preferences import Preference
from govern.identity.roles import RoleAssignment
from govern.identity.sessions import WebSession
from govern.identity.subjects import Membership, Organisation, Subject
from govern.principal import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database
    from govern.principal import Principal

MOST_DECISIONS = 10_000
LEFT_OUT = (
    "who else acted, and from which session",
    "what you did to others as a colleague",
    "why a suspension was opened, and what others wrote for one another about it",
    "the names of clients, and how long their logs are",
    "passwords, codes, seeds and keys, of which no one is told",
)
# What others typed for each other; of what is about a person, all else is theirs to read.
_OTHERS = frozenset({"actor", "reason", "internal_reason", "ordered_by", "incident"})
# What an entry says beside its type that tells of the person's own affairs.
_OWN_DATA = frozenset({
    "entitlement", "starts_at", "ends_at", "kind", "factor", "role", "until", "outcome", "grants",
    "country",
})  # fmt: skip


def read(database: Database, *, by: Principal) -> dict[str, Any]:
    """Everything about the caller; leaves its row in the access log first."""
    if by.kind is not Kind.SUBJECT:
        raise errors.Forbidden("Only a person has a record of their own.")
    reading.note(database, "own_record", subject=by.id, by=by)
    with database.reading() as session:
        held = _held(session, by.id)
        codes = _codes(held)
        found = {
            "made_at": clock.text(clock.now(session)),
            "left_out": list(LEFT_OUT),
            "you": _you(session, by.id),
            "grants": _grants(held),
            "sessions": _sessions(session, by.id),
            "log": _entries(session, by.id, codes),
        }
    with database.access_reading() as session:
        found["decisions"] = _decisions(session, by.id, codes)
    return found


def _held(session: OrmSession, subject_id: str) -> Sequence[Any]:
    """The person's grants, with the codes of their project and dataset, and what they let do."""
    return session.execute(
        select(Grant, Project.code, Dataset.code, Entitlement.name)
        .join(Project, Project.id == Grant.project_id)
        .join(Entitlement, Entitlement.id == Grant.entitlement_id)
        .outerjoin(Dataset, Dataset.id == Grant.dataset_id)
        .where(Grant.subject_id == subject_id)
        .order_by(Grant.id)
    ).all()


def _codes(held: Sequence[Any]) -> dict[str, str]:
    """The projects and datasets that the person holds or held: no other code is told."""
    found = {row.project_id: project for row, project, _, _ in held}
    return found | {row.dataset_id: dataset for row, _, dataset, _ in held if dataset}


def _you(session: OrmSession, subject_id: str) -> dict[str, Any]:
    mine: Any = session.execute(
        select(Subject, Preference)
        .outerjoin(Preference, Preference.subject_id == Subject.id)
        .where(Subject.id == subject_id)
    ).one()
    me, preference = mine  # none where they set nothing
    firms = session.execute(
        select(Organisation.name, Membership.recorded_at, Membership.ended_at)
        .join(Organisation, Organisation.id == Membership.organisation_id)
        .where(Membership.subject_id == subject_id)
        .order_by(Membership.recorded_at)
    )
    roles = session.execute(
        select(RoleAssignment).where(RoleAssignment.subject_id == subject_id)
    ).scalars()
    return {
        "id": me.id, "external_id": me.external_id, "email": me.email, "name": me.full_name,
        "kind": me.kind, "country": me.country, "expertise": me.expertise,
        "known_since": clock.text(me.recorded_at),
        "time_zone": preference.time_zone if preference else "",
        "language": me.language or "",
        "organisations": [
            {"name": name, "since": clock.text(since), "until": _text(until)}
            for name, since, until in firms
        ],
        "roles": [
            {"role": row.role, "since": clock.text(row.recorded_at), "until": _text(row.ended_at)}
            for row in roles
        ],
    }  # fmt: skip


def _grants(held: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {
            "id": row.id, "project": project, "dataset": dataset, "entitlement": entitlement,
            "starts_at": clock.text(row.starts_at), "ends_at": clock.text(row.ends_at),
            "given_at": clock.text(row.recorded_at), "revoked_at": _text(row.ended_at),
        }
        for row, project, dataset, entitlement in held
    ]  # fmt: skip


def _sessions(session: OrmSession, subject_id: str) -> list[dict[str, Any]]:
    rows = session.execute(
        select(WebSession).where(WebSession.subject_id == subject_id).order_by(WebSession.id)
    ).scalars()
    return [
        {
            "id": row.id, "signed_in_at": _text(row.signed_in_at), "seen_at": _text(row.seen_at),
            "device": row.device, "with": row.amr,
        }
        for row in rows
    ]  # fmt: skip


def _entries(session: OrmSession, subject_id: str, codes: dict[str, str]) -> list[dict[str, Any]]:
    """Every entry about the person, in the order of time."""
    values: dict[tuple[str, int], dict[str, str | None]] = {}
    for value in session.execute(
        select(Value)
        .join(Entry, and_(Entry.log_id == Value.log_id, Entry.seq == Value.seq))
        .where(Value.about == subject_id, Value.name.not_in(_OTHERS))
    ).scalars():
        values.setdefault((value.log_id, value.seq), {})[value.name] = value.value
    rows = session.execute(
        select(Entry)
        .where(Entry.subject_id == subject_id)
        .order_by(Entry.at, Entry.log_id, Entry.seq)
    ).scalars()
    return [_shown(row, subject_id, codes, values.get((row.log_id, row.seq), {})) for row in rows]


def _shown(
    row: Entry, subject_id: str, codes: dict[str, str], values: dict[str, str | None]
) -> dict[str, Any]:
    said = (leaf.parse(row.leaf) or {}).get("data", {})
    by = "you" if row.actor == subject_id else "govern" if row.actor == "system" else "someone else"
    return {
        "at": clock.text(row.at), "type": row.type, "what": SENTENCES[EventType(row.type)],
        "by": by, "project": codes.get(row.project_id or ""),
        "data": {name: said[name] for name in sorted(_OWN_DATA & said.keys())},
        "values": values, "leaf": row.hash.hex(),
    }  # fmt: skip


def _decisions(session: OrmSession, subject_id: str, codes: dict[str, str]) -> dict[str, Any]:
    rows = session.execute(
        select(Access.at, Access.kind, Access.action, Access.permit, Access.reason,
               Access.resource_id, Access.principal)
        .where(Access.subject_id == subject_id)
        .order_by(Access.at.desc())
        .limit(MOST_DECISIONS + 1)
    ).all()  # fmt: skip
    return {
        "newest_first": [
            {
                "at": clock.text(row.at), "kind": row.kind, "action": row.action,
                "permit": row.permit, "reason": row.reason,
                "on": codes.get(row.resource_id or ""),
                "asked_by": "you" if row.principal == subject_id else "someone else",
            }
            for row in rows[:MOST_DECISIONS]
        ],
        "more": len(rows) > MOST_DECISIONS,
    }  # fmt: skip


def _text(at: Any) -> str | None:
    return clock.text(at) if at is not None else None
