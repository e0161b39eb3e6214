"""The check of the access log: every run that the house's log seals is derived anew from its rows.

A row that is missing, changed or added is named by its writer and number. Rows may be missing only
where the log itself records that they expired; rows that no entry seals yet are not proven. The
memory that it takes grows with the number of writers, never with that of rows.
"""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from govern import clock, errors
from govern.audit import leaf
from govern.audit.decisions import Access
from govern.audit.events import EventType
from govern.audit.expiry import AccessExpiry, AccessHorizon
from govern.audit.fsck.report import MOST_NAMED, Damage
from govern.audit.log import HOUSE, Entry
from govern.audit.sealing import MARK, AccessSeal, AccessSealing, Hashing, chunks, writers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy.orm import Session

    from govern.db import Database

_WRITERS = 500
_WRITER = re.compile(r"wri_[0-9a-v]{24}")


@dataclass(frozen=True, kw_only=True)
class _Sealed:
    """One run as its entry has it."""

    writer: str
    first: int
    count: int
    root: bytes
    until: datetime
    seq: int
    at: datetime

    @property
    def end(self) -> int:
        return self.first + self.count

    @property
    def words(self) -> str:
        return _rows(self.first, self.end, self.writer)


class AccessCheck:
    """One pass over all seals, and one over what is not sealed."""

    def __init__(self, database: Database, session: Session) -> None:
        self._database = database
        self._session = session
        # Up to where each writer is sealed.
        self._ends: dict[str, int] = {}
        self._horizons: list[tuple[datetime, datetime, datetime]] = []
        self._seals = 0
        self.damage: list[Damage] = []
        self.not_proven: list[str] = []
        self.found = 0
        self.rows = 0

    def run(self) -> None:
        """Check all of it, against one snapshot of the access log."""
        with self._database.access_reading() as access:
            access.execute(select(Access.writer).limit(1)).all()  # the snapshot begins here
            # Read after it: whatever is gone from it was recorded as expired before.
            with self._database.reading() as later:
                self._read_horizons(later)
            self._check_horizons(access)
            for run in self._sealed():
                self._check(access, run)
            self._check_seals()
            self._check_unsealed(access)

    def _name(
        self,
        kind: str,
        message: str,
        *,
        seq: int | None = None,
        writer: str | None = None,
        number: int | None = None,
    ) -> None:
        self.found += 1
        if len(self.damage) < MOST_NAMED:
            log = HOUSE if seq is not None else None
            self.damage.append(
                Damage(kind=kind, message=message, log=log, seq=seq, writer=writer, number=number)
            )

    # --- what the house's log says ---

    def _entries(
        self, session: Session, kind: EventType
    ) -> Iterator[tuple[int, datetime, dict[str, Any]]]:
        rows = session.execute(
            select(Entry.seq, Entry.at, Entry.leaf)
            .where(Entry.log_id == HOUSE, Entry.type == kind)
            .order_by(Entry.seq)
            .execution_options(yield_per=500)
        )
        for seq, at, body in rows:
            yield seq, at, (leaf.parse(body) or {}).get("data", {})

    def _read_horizons(self, session: Session) -> None:
        for seq, at, data in self._entries(session, EventType.ACCESS_EXPIRED):
            try:
                before = clock.parse(data["before"], field="before")
                sealed_by = clock.parse(data["sealed_by"], field="sealed_by")
            except (errors.Invalid, KeyError, TypeError, AttributeError):
                self._name("seal", f"Entry {seq} of the house names no horizon.", seq=seq)
            else:
                self._horizons.append((at, before, sealed_by))

    def _sealed(self) -> Iterator[_Sealed]:
        for seq, at, data in self._entries(self._session, EventType.ACCESS_SEALED):
            try:
                runs = [_sealed(seq, at, run) for run in data["runs"]]
            except (errors.Invalid, KeyError, TypeError, ValueError, AttributeError):
                self._name("seal", f"Entry {seq} of the house names no runs of rows.", seq=seq)
            else:
                yield from runs

    def _has_expired(self, run: _Sealed) -> bool:
        return any(
            run.until < before and run.at <= sealed_by for _, before, sealed_by in self._horizons
        )

    def _check_horizons(self, access: Session) -> None:
        """What may be removed, by either database, is what the log says."""
        recorded = {before for _, before, _ in self._horizons}
        for before in access.execute(select(AccessExpiry.before)).scalars():
            if before not in recorded:
                self._name("horizon", f"Rows before {clock.text(before)} may be removed, and the "
                           "log records no such expiry.")  # fmt: skip
        known = select(AccessHorizon.recorded_at, AccessHorizon.before, AccessHorizon.sealed_by)
        for row in self._session.execute(known):
            if (row.recorded_at, row.before, row.sealed_by) not in self._horizons:
                self._name("horizon", f"The expiry before {clock.text(row.before)} is not as the "
                           "log records it.")  # fmt: skip

    # --- one run ---

    def _check(self, access: Session, run: _Sealed) -> None:
        end = self._ends.get(run.writer, 0)
        if run.first != end:
            words = "passed over" if run.first > end else "sealed twice"
            between = _rows(min(end, run.first), max(end, run.first), run.writer)
            self._name("gap", f"{between}: {words} by entry {run.seq} of the house.",
                       seq=run.seq, writer=run.writer, number=min(end, run.first))  # fmt: skip
        self._ends[run.writer] = max(end, run.end)
        seal = self._session.execute(
            select(AccessSeal.size, AccessSeal.salt, AccessSeal.marks, AccessSeal.until,
                   AccessSeal.recorded_at)
            .where(AccessSeal.writer == run.writer, AccessSeal.first == run.first)
        ).one_or_none()  # fmt: skip
        expired = self._has_expired(run)
        if seal is None and expired:
            self._check_gone(access, run)
            return
        if seal is None:
            self._name("seal", f"{run.words}: their seal's salt is gone.",
                       seq=run.seq, writer=run.writer, number=run.first)  # fmt: skip
        else:
            self._seals += 1
            if (seal.size, seal.until, seal.recorded_at) != (run.count, run.until, run.at):
                self._name("seal", f"{run.words}: their seal is not that of entry {run.seq}.",
                           seq=run.seq, writer=run.writer, number=run.first)  # fmt: skip
        self._derive(access, run, seal, expired=expired)

    def _check_gone(self, access: Session, run: _Sealed) -> None:
        """Of a run that has expired, and whose salt is erased, nothing may be there."""
        found = access.execute(
            select(func.min(Access.number)).where(
                Access.writer == run.writer, Access.number >= run.first, Access.number < run.end
            )
        ).scalar_one()
        if found is not None:
            self._name("added", f"Row {found} of {run.writer} stands where all had expired.",
                       writer=run.writer, number=found)  # fmt: skip

    def _derive(self, access: Session, run: _Sealed, seal: Any, *, expired: bool) -> None:
        """Hash the rows that are there; where none is missing, their root is the one sealed."""
        tree = Hashing(seal.salt if seal is not None else b"")
        missing, differing = _compared(access, run, tree, seal.marks if seal is not None else b"")
        if missing and expired:
            return  # they are being removed
        for begin, end in missing:
            self._name("missing", f"{_rows(begin, end, run.writer)}: missing.",
                       writer=run.writer, number=begin)  # fmt: skip
        if seal is None:
            return
        whole = not missing and tree.root() == run.root
        for number in differing:
            words = (
                "is as it was sealed, but its mark is not" if whole else "is not what was sealed"
            )
            self._name("seal" if whole else "row", f"Row {number} of {run.writer} {words}.",
                       writer=run.writer, number=number)  # fmt: skip
        if whole:
            self.rows += run.count
        elif not missing and not differing:
            self._name("root", f"{run.words}: one or more are not what entry {run.seq} of the "
                       "house sealed.", seq=run.seq, writer=run.writer,
                       number=run.first)  # fmt: skip

    # --- what no entry speaks of ---

    def _check_seals(self) -> None:
        count = self._session.execute(select(func.count()).select_from(AccessSeal)).scalar_one()
        if count > self._seals:
            self._name("seal", f"{count - self._seals} seals are of no entry of the house's log.")

    def _check_unsealed(self, access: Session) -> None:
        done = self._session.execute(select(AccessSealing.done)).scalar_one_or_none() or ""
        last = ""
        while page := writers(access, after=last, limit=_WRITERS):
            for writer, number in page:
                self._check_tail(access, writer, number, over=writer <= done)
            last = page[-1][0]

    def _check_tail(self, access: Session, writer: str, last: int, *, over: bool) -> None:
        """The rows of a writer behind its last seal; `over`: all that it wrote was to be sealed."""
        first = access.execute(
            select(func.min(Access.number)).where(Access.writer == writer)
        ).scalar_one()
        if first < 0:
            self._name("added", f"Row {first} of {writer}: no writer begins below 0.",
                       writer=writer, number=first)  # fmt: skip
        end = place = self._ends.get(writer, 0)
        if last < end:
            return
        if over:
            self._name("added", f"{_rows(end, last + 1, writer)}: behind the last seal of a writer "
                       "that was done.", writer=writer, number=end)  # fmt: skip
            return
        for rows in chunks(access, writer, end, last + 1):
            for row in rows:
                if row["number"] > place:
                    self._name("gap", f"{_rows(place, row['number'], writer)}: missing.",
                               writer=writer, number=place)  # fmt: skip
                place = row["number"] + 1
        if len(self.not_proven) < MOST_NAMED:
            self.not_proven.append(f"{_rows(end, last + 1, writer)}: not sealed yet.")


def _sealed(seq: int, at: datetime, run: dict[str, Any]) -> _Sealed:
    first, count = run["first"], run["count"]
    if type(first) is not int or type(count) is not int or first < 0 or count < 1:
        raise ValueError("no run")
    if not _WRITER.fullmatch(run["writer"]):
        raise ValueError("no writer")
    return _Sealed(
        writer=run["writer"], first=first, count=count, root=b64decode(run["root"]),
        until=clock.parse(run["until"], field="until"), seq=seq, at=at,
    )  # fmt: skip


def _compared(
    access: Session, run: _Sealed, tree: Hashing, kept: bytes
) -> tuple[list[tuple[int, int]], list[int]]:
    """Put the rows of a run into `tree`: those that are missing, and those that differ."""
    missing: list[tuple[int, int]] = []
    differing: list[int] = []
    place = run.first
    for rows in chunks(access, run.writer, run.first, run.end):
        marks = tree.add(rows)
        for at, row in enumerate(rows):
            number = row["number"]
            if number > place:
                missing.append((place, number))
            place = number + 1
            where = (number - run.first) * MARK
            if marks[at * MARK : at * MARK + MARK] != kept[where : where + MARK]:
                differing.append(number)
    if place < run.end:
        missing.append((place, run.end))
    return missing, differing


def _rows(begin: int, end: int, writer: str) -> str:
    """[begin, end) of a writer, in words."""
    if end == begin + 1:
        return f"Row {begin} of {writer}"
    return f"Rows {begin} to {end - 1} of {writer}"
