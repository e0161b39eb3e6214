"""Making a pack: one client, one period, everything in it from one snapshot, nothing kept behind.

The access log has its row before the first byte is written, or there is no pack. Readings are asked
as whoever holds their own roles over this client alone: no other client can be in it.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from govern import clock, config, permissions, replica
from govern.access import exposure, places
from govern.access.evidence import answers, page, words
from govern.access.evidence.archive import Archive
from govern.audit import decisions, export, leaf, lines, single
from govern.audit.decisions import AccessKind
from govern.audit.export import Filter
from govern.audit.signer import Signer
from govern.audit.verify import pack, tally
from govern.audit.verify.governing import TYPES, Governing
from govern.permissions import NEEDS_FRESH, ROLES
from govern.principal import RoleHeld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    from govern.access.clients import Client
    from govern.access.evidence.archive import Part
    from govern.db import Database, Session
    from govern.principal import Principal

# Rows of an answer that the page shows; its file holds them all.
SHOWN = 100


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What was written."""

    client: str
    begin: datetime
    end: datetime
    entries: int
    files: tuple[str, ...]


def write(
    database: Database,
    out: BinaryIO,
    client: str,
    *,
    begin: datetime,
    end: datetime,
    progress: Callable[[int], None] | None = None,
    by: Principal,
) -> Summary:
    """Write the evidence of a client's code or id and `begin <= t < end` to `out`, as a zip file.

    Takes `log:export` with a fresh factor. `RecordFailed` when it cannot be recorded first;
    `Unavailable` where this node has no key to sign with, or nothing is signed yet.
    """
    with database.reading() as session:
        now = clock.now(session)
        found = places.find_client(session, client, by=by)
        permissions.require(by, "log:export", client=found.id, now=now)
        begin, end = exposure.within(session, begin, end, now=now)
    near = replace(
        by, roles=tuple(RoleHeld(each.role, found.id) for each in by.roles
                        if each.client in {None, found.id})
    )  # fmt: skip
    signer = Signer(database.settings)
    config.secret(database.settings.signer_dir / "log.key")  # only who signs can make one
    detail = {"form": "evidence", "filter": {"from": clock.text(begin), "to": clock.text(end)}}
    # Of a period that reaches to now this is the last thing, on a clock of milliseconds too.
    taken = now - clock.TICK if end == now else now
    decisions.write(database, [{
        "at": taken, "kind": AccessKind.EXPORT, "principal": by.id, "session_id": by.session,
        "client_id": found.id, "subject_id": None, "resource_id": None,
        "detail": json.dumps(detail | {"logs": [found.id]}, sort_keys=True),
    }])  # fmt: skip
    archive = Archive(out, at=now)
    with replica.reading(database) as session:
        made = _Pack(database, session, archive, found, begin, end, near)
        report = made.fill(signer.key, progress)
    manifest = leaf.canonical({
        "govern": pack.FORMAT, "client": found.id, "made_at": clock.text(now),
        "from": clock.text(begin), "to": clock.text(end), "files": archive.files,
    })  # fmt: skip
    files = tuple(archive.files)
    archive.put(pack.MANIFEST, manifest)
    signed = signer.vouch(pack.signed_text(manifest), name=pack.signing_name(signer.name))
    archive.put(pack.SIGNED, (signed or "").encode())
    archive.close()
    return Summary(
        client=found.code, begin=begin, end=end, entries=report["log"]["entries"], files=files
    )


class _Passing:
    """A part to which an export is written, and whose entries are looked at as they pass."""

    def __init__(self, part: Part, look: Callable[[dict[str, Any]], None]) -> None:
        self._part, self._look = part, look

    def write(self, data: bytes) -> int:
        for line in data.splitlines(keepends=True):  # an export is written by whole lines
            parts = lines.ENTRY.fullmatch(line)
            fields = leaf.parse(parts[4]) if parts else None
            if fields is not None:
                self._look(fields)
        return self._part.write(data)


@dataclass(frozen=True)
class _Pack:
    """One pack while it is made."""

    database: Database
    session: Session
    archive: Archive
    client: Client
    begin: datetime
    end: datetime
    by: Principal

    def fill(self, key: str, progress: Callable[[int], None] | None) -> dict[str, Any]:
        """Write every file but the manifest; returns what the report says."""
        archive, session, client = self.archive, self.session, self.client
        begin, end, by = self.begin, self.end, self.by
        archive.put("README.txt", words.readme(client, begin, end, key).encode())
        archive.put("verify.py", single.source().encode())
        shown: dict[str, list[Any]] = {}

        def rows(name: str, found: Iterable[Any]) -> int:
            shown[name] = []
            return archive.rows(f"{name}.jsonl", _seen(found, shown[name]))

        heads = rows("checkpoints", answers.heads(session, client.id, begin, end))
        counted, governing = tally.Tally(), Governing()
        for name, look, where in (
            (pack.EXPORT, counted.add, Filter(begin=begin, end=end)),
            (pack.GOVERNING, governing.add, Filter(types=TYPES)),
        ):
            with archive.part(name) as part:
                export.write(
                    session,
                    _Passing(part, look),  # type: ignore[arg-type]  # of a file, an export needs `write` alone
                    form="jsonl", logs=[client.id], where=where, progress=progress,
                )  # fmt: skip
        period = clock.text(begin), clock.text(end)
        people: set[str] = set()
        reach = tally.Reach(*period)
        readers: Counter[str] = Counter()
        report: dict[str, Any] = {
            "govern": "report/1",
            "client": {"id": client.id, "code": client.code, "name": client.name},
            "from": period[0],
            "to": period[1],
            "complete_through": clock.text(replica.as_of(session)),
            "made_by": by.name or by.id,
            "log": counted.numbers(),
            "heads": heads,
            "cosignatures": rows(
                "cosignatures", answers.cosignatures(session, client.id, begin, end)
            ),
            "grants_at_begin": rows("who-at-begin", answers.who(session, client, begin, by=by)),
            "grants_at_end": rows("who-at-end", answers.who(session, client, end, by=by)),
            "grants_that_reached": rows(
                "reach", _named(answers.reached(session, client, begin, end, by=by), people, reach)
            ),
            "people_who_reached": len(people),
            "suspensions": rows("suspensions", answers.stops(session, client, begin, end, by=by)),
            "meanings": rows(
                "entitlements", answers.meant(session, client, governing.meanings(*period))
            ),
            "roles": rows("roles", answers.called(session, governing.roles(*period))),
            "drills": rows("drills", answers.drills(session, begin, end, by=by)),
            "reads": rows("reads", _counted(answers.reads(self.database, client, begin, end),
                                            readers)),
            "decisions": list(answers.decided(self.database, client, begin, end)),
            "decisions_by_day": answers.decided_by_day(self.database, client, begin, end),
            "people_over_time": reach.numbers(),
            "grants_over_time": answers.curve(session, client, begin, end),
        }  # fmt: skip
        table = {role: sorted(held) for role, held in ROLES.items() if role != "system"}
        archive.put("permissions.json", _json({"roles": table, "fresh": sorted(NEEDS_FRESH)}))
        most = readers.most_common(SHOWN)
        called = answers.named(session, {who for who, _ in most})
        report["readers"] = [
            {"id": who, "name": called.get(who, who), "rows": count} for who, count in most
        ]
        report["bands"] = [
            {"covers": each["covers"], "scopes": each["scopes"], "mode": each["mode"],
             "from": each["committed_at"], "to": each["lifted_at"]}
            for each in shown["suspensions"]
        ]  # fmt: skip
        archive.put(pack.REPORT, _json(report))
        archive.put("report.html", page.document(report, shown, table).encode())
        return report


def _seen(rows: Iterable[Any], shown: list[Any]) -> Iterator[Any]:
    for row in rows:
        if len(shown) < SHOWN:
            shown.append(row)
        yield row


def _named(rows: Iterable[Any], people: set[str], reach: tally.Reach) -> Iterator[Any]:
    for row in rows:
        people.add(row["subject"])
        reach.add(row)
        yield row


def _counted(rows: Iterable[Any], readers: Counter[str]) -> Iterator[Any]:
    for row in rows:
        readers[row["principal"]] += 1
        yield row


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n"
