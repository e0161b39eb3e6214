"""Histories as JSON has them: the same members wherever they are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from govern import clock
from govern.access import names

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy.orm import Session as OrmSession

    from govern.access.histories.asking import Acts, Changes, Person, Record
    from govern.access.timeline import Timeline
    from govern.audit.reading import Shown


def entries(session: OrmSession, rows: Iterable[Shown]) -> list[dict[str, Any]]:
    """Entries, each with its client's code (or `house`) for its log."""
    told = list(rows)
    codes = names.of(session, {row.log for row in told})
    return [
        {
            "log": codes.get(row.log, row.log), "seq": row.seq, "at": clock.text(row.at),
            "type": row.type, "actor": row.actor, "refs": row.refs, "data": row.data,
            "values": row.values, "leaf": row.leaf,
        }
        for row in told
    ]  # fmt: skip


def grants(found: Timeline) -> list[dict[str, Any]]:
    """Grants with their times, in which they permitted it, and what stood over them."""
    return [
        {
            "grant": bar.grant.grant_id,
            "subject": bar.grant.subject_id,
            "external_id": bar.grant.external_id,
            "full_name": bar.grant.full_name,
            "project": bar.grant.project,
            "dataset": bar.grant.dataset,
            "starts_at": clock.text(bar.begin),
            "ends_at": clock.text(bar.end),
            "intervals": [
                {"starts_at": clock.text(first), "ends_at": clock.text(last)}
                for first, last in bar.grant.intervals
            ],
            "pauses": [
                {
                    "suspension": band.suspension_id, "mode": band.mode.value,
                    "starts_at": clock.text(band.begin), "ends_at": clock.text(band.end),
                    "released": band.gap,
                }
                for band in bar.bands
            ],
        }
        for bar in found.bars
    ]  # fmt: skip


def person(session: OrmSession, found: Person) -> dict[str, Any]:
    """One person's history."""
    decided = found.decided
    return {
        "subject": found.subject.id,
        "external_id": found.subject.external_id,
        "full_name": found.subject.full_name,
        "grants": grants(found.grants) if found.grants else [],
        "more_grants": bool(found.grants and found.grants.after),
        "decisions": {
            "permitted": decided.permits, "refused": decided.denials, "whole": decided.whole,
            "first": _text(decided.first), "last": _text(decided.last),
        },
        "entries": entries(session, found.page.entries),
        "next": found.page.after,
    }  # fmt: skip


def acts(session: OrmSession, found: Acts) -> dict[str, Any]:
    """What one actor did."""
    return {
        "actor": found.actor, "name": found.name,
        "entries": entries(session, found.page.entries), "next": found.page.after,
    }  # fmt: skip


def record(session: OrmSession, found: Record) -> dict[str, Any]:
    """Everything about one suspension."""
    about = found.found
    row, resume = about.standing.suspension, about.resume
    return {
        "id": row.id,
        "state": "open" if about.standing.is_open else "lifted",
        "covers": [
            {
                "type": part.kind.value, "code": part.code,
                "starts_at": clock.text(part.recorded_at), "ends_at": _text(part.ended_at),
            }
            for part in about.standing.parts
        ],
        "modes": [
            {"mode": each.mode, "starts_at": clock.text(each.recorded_at),
             "ends_at": _text(each.ended_at)}
            for each in about.modes
        ],
        "opened_at": clock.text(row.recorded_at),
        "opened_by": about.opened_by,
        "lifted_at": _text(row.ended_at),
        "reason": row.reason,
        "released": [
            {"type": each.kind.value, "code": each.code, "at": clock.text(each.at)}
            for each in found.releases
        ],
        "notices": [
            {"number": each.number, "posted_at": clock.text(each.posted_at), "known": each.known,
             "not_known": each.not_known, "next_update_by": _text(each.next_update_by)}
            for each in found.notices
        ],
        "resume": None if resume is None else {
            "at": clock.text(resume.at), "outcome": resume.outcome or "waiting",
            "confirmed_at": _text(resume.confirmed_at),
        },
        "effect": found.measured.told(),
        "receipts": [
            {"client": code, "path": f"/suspensions/{row.id}/receipt?client={code}"}
            for code, _name in found.clients
        ],
        "entries": entries(session, found.entries),
    }  # fmt: skip


def changes(session: OrmSession, found: Changes) -> dict[str, Any]:
    """What was written since some place."""
    codes = names.of(session, found.sizes)
    return {
        "logs": [
            {"log": codes.get(each, each), "begin": found.begins[each], "size": size}
            for each, size in sorted(found.sizes.items())
        ],
        "number": found.number,
        "continues": found.kept,
        "types": found.types,
        "entries": entries(session, found.page.entries),
        "next": found.page.after,
    }


def _text(at: datetime | None) -> str | None:
    return clock.text(at) if at is not None else None
