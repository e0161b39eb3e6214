"""Receipts: what a client is handed after a pause, as one file that proves itself.

A receipt is of one client: what of it was stopped, by whose order, since when and how many were
concerned, with the entry of that client's log and its proof. Of anybody else's things it holds
nothing: where an act concerned others too, what is told of all at once is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import and_, distinct, func, select, text

from govern import clock, errors, permissions
from govern.access import grants
from govern.access.clients import Project
from govern.access.grants import Grant, Moment
from govern.access.suspension_tables import Particulars, Scope
from govern.access.suspensions import reading
from govern.access.suspensions.effect import Effect, effect
from govern.access.suspensions.previewing import digest_of
from govern.access.suspensions.targets import affected
from govern.audit import EventType, inclusion, leaf
from govern.audit.log import ACTS, Entry, Value
from govern.db import Inquiry, listed, together
from govern.identity.subjects import Subject
from govern.languages import DEFAULT

if TYPE_CHECKING:
    from typing import Any

    from govern.access.suspension_tables import Suspension
    from govern.access.suspensions.parts import Part
    from govern.access.suspensions.reading import Found
    from govern.audit.inclusion import Proved
    from govern.db import Session
    from govern.principal import Principal

_ADDRESS = re.compile(r"""[^\s<>(),;:"']+@[^\s<>(),;:"']+""")


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """All that a client's receipt says.

    `mode` and `reason` are those of the opening. `digest` names the set of grants, once each has
    its entry (`recorded_at`). `order` opens the entry's commitment to who asked: salt and value;
    None where nobody was named, or where the act concerned others too. `language` is that of the
    client's contact, if all contacts who have one have the same.
    """

    suspension: Suspension
    client: str
    client_name: str
    covers: tuple[tuple[Scope, str, str], ...]
    mode: str
    reason: str
    alone: bool
    order: tuple[str, str] | None
    grants: int
    people: int
    digest: str | None
    recorded_at: datetime | None
    effect: Effect
    opened: Proved
    recorded: Proved | None
    made_at: datetime
    language: str = DEFAULT

    @property
    def milliseconds(self) -> float:
        """From the order to the commit."""
        row = self.suspension
        return max((row.recorded_at - row.ordered_at).total_seconds() * 1000, 0.0)


def receipt(
    session: Session, suspension_id: str, *, client: str = "", by: Principal
) -> Receipt:  # fmt: skip
    """The receipt of one client, by its code, which need not be told where there is only one.

    Takes the right to read that client's suspensions and its log. `Unknown` where it was not
    concerned, `Unavailable` while the entry is not signed yet.
    """
    found = reading.find(session, suspension_id, by=by)
    places, named = found.places, found.concerned
    chosen = [one for one, (code, _) in named.items() if client in {"", code}]
    if len(chosen) > 1:
        names = ", ".join(sorted(code for code, _ in named.values()))
        raise errors.Invalid(f"It concerned several clients; choose one: {names}.", field="client")
    if not chosen:
        raise errors.Unknown("There is no such receipt.", field="client")
    (owner,) = chosen
    for permission in ("suspension:read", "log:read"):
        permissions.require(by, permission, client=owner)
    parts = [part for part in found.standing.parts if part.client in {owner, None}]
    alone = found.whole and all(part.client == owner for part in found.standing.parts)
    seq = places[owner]
    row = found.standing.suspension
    task, contacts = together(session, _task(row, owner), _contacts(owner, parts))
    closing, order = _entries(session, row, owner, seq)
    both = [closing] if closing is not None and task and task.finished_at else []
    # Where the latter is a moment too new, the opening's own proof is what a receipt is for.
    opened, *rest = inclusion.prove(session, owner, seq, *both, by=by)
    recorded = rest[0] if rest else None
    said = (leaf.parse(opened.leaf) or {}).get("data", {})
    if task is not None and task.finished_at and task.people is not None:
        count, people = task.written, task.people
        (language,) = together(session, _language(session, contacts))
    else:
        (count, people), language = together(
            session, _numbers(row, owner), _language(session, contacts)
        )
    return Receipt(
        suspension=row,
        client=named[owner][0],
        client_name=named[owner][1],
        covers=tuple((part.kind, part.code, part.name) for part in parts),
        mode=said.get("mode", ""),
        reason=said.get("reason", ""),
        alone=alone,
        order=order if alone else None,
        grants=count,
        people=people,
        digest=digest_of({owner: task.digest}) if task and recorded else None,
        recorded_at=task.finished_at if task and recorded else None,
        effect=_seen(session, found, parts) if alone else Effect(),
        opened=opened,
        recorded=recorded,
        made_at=clock.utcnow(),
        language=language,
    )


def _contacts(owner: str, parts: list[Part]) -> Inquiry[set[str]]:
    """The addresses of the projects of a client that were covered, else of all of them."""
    covered = {part.target_id for part in parts if part.kind is Scope.PROJECT}
    query = select(Project.id, Project.contact).where(Project.client_id == owner)
    return Inquiry(
        query,
        lambda rows: {
            found.lower()
            for id_, contact in rows
            if not covered or id_ in covered
            for found in _ADDRESS.findall(contact)
        },
    )


def _language(session: Session, contacts: set[str]) -> Inquiry[str]:
    """What they read who are known here and chose a language, where it is one."""
    among = listed(session, sorted(contacts))
    query = (
        select(Subject.language)
        .join(among, among.c.value == Subject.email)
        .where(Subject.language.is_not(None))
        .distinct()
    )
    return Inquiry(query, lambda rows: str(rows[0][0]) if len(rows) == 1 else DEFAULT)


@dataclass(frozen=True)
class _Task:
    """How far the particulars of an opening are; `people` once these are counted."""

    finished_at: datetime | None
    digest: str
    written: int
    people: int | None


def _task(row: Suspension, owner: str) -> Inquiry[_Task | None]:
    query = select(
        Particulars.finished_at, Particulars.digest, Particulars.written, Particulars.people
    ).where(
        Particulars.suspension_id == row.id,
        Particulars.log_id == owner,
        Particulars.as_at == row.recorded_at,
    )
    return Inquiry(query, lambda rows: _Task(*rows[0]) if rows else None)


def _entries(
    session: Session, row: Suspension, owner: str, opened: int
) -> tuple[int | None, tuple[str, str] | None]:
    """Where the entry stands that closes the opening's particulars; and the opening's order.

    That is the salt of who asked for it, and what it was.
    """
    rows = session.execute(
        select(Entry.seq, Entry.type, Entry.leaf, Value.salt, Value.value)
        .outerjoin(
            Value,
            and_(Value.log_id == Entry.log_id, Value.seq == Entry.seq, Value.name == "ordered_by"),
        )
        .where(
            Entry.suspension_id == row.id,
            text(ACTS),
            Entry.type.in_([EventType.SUSPENSION_OPENED, EventType.SUSPENSION_RECORDED]),
            Entry.log_id == owner,
        )
        .order_by(Entry.at)
    ).all()
    order = next((each for each in rows if each.seq == opened and each.salt is not None), None)
    closing = next((each for each in rows if each.type == EventType.SUSPENSION_RECORDED), None)
    if closing is not None and (leaf.parse(closing.leaf) or {})["data"]["position"] != opened:
        closing = None
    return (
        closing.seq if closing is not None else None,
        (str(order.salt), str(order.value)) if order is not None else None,
    )


def _numbers(row: Suspension, owner: str) -> Inquiry[tuple[int, int]]:
    """Grants and people of one client that the opening touched, by the rule at its instant."""
    at = Moment.past(row.recorded_at)
    query = grants.facts(
        func.count(Grant.id), func.count(distinct(Grant.subject_id)), moment=at
    ).where(Grant.client_id == owner, grants.all_of(grants.standing(at)), affected(row.id, at))
    return Inquiry(query, lambda rows: (rows[0][0], rows[0][1]))


def _seen(session: Session, found: Found, parts: list[Part]) -> Effect:
    found.standing.parts = parts
    return effect(session, found)


def facts(told: Receipt) -> dict[str, Any]:
    """What it says, as JSON has it."""
    row = told.suspension
    return {
        "id": row.id,
        "client": told.client,
        "covers": [{"type": kind, "code": code, "name": name} for kind, code, name in told.covers],
        "mode": told.mode,
        "reason": told.reason,
        "ordered_by": told.order[1] if told.order else "",
        "ordered_at": clock.text(row.ordered_at),
        "committed_at": clock.text(row.recorded_at),
        "lifted_at": clock.text(row.ended_at) if row.ended_at else None,
        "milliseconds": told.milliseconds,
        "grants": told.grants,
        "people": told.people,
        "digest": told.digest,
        "entry": told.opened.seq,
    }
