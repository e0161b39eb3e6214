"""Each thing that begins and ends is held against the entries that made and ended it.

Grants, suspensions with their modes and targets, lists of people, roles, demands, the apps and
passkeys that meet these, and erasures; what stands from one entry to another is in `spanning`, and
what people wrote, read and chose in `people`. Logs are streamed; what is kept in memory grows with
the number of suspensions, roles, demands and erasures, and, only once damage shows, with a client's
grants or the authenticators of all.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, text

from govern import clock
from govern.access import asking, concerning, suspensions
from govern.access.clients import Client
from govern.access.demand_table import FactorDemand
from govern.access.deriving import counted, people, spanning
from govern.access.grants import Grant
from govern.access.suspension_tables import (
    PeopleList,
    PeopleListItem,
    Suspension,
    SuspensionMode,
    SuspensionTarget,
)
from govern.audit import EventType, fsck, leaf
from govern.audit.log import ERASURES, HOUSE, Entry
from govern.db import listed
from govern.identity.authenticators import Totp
from govern.identity.passkeys import Passkey
from govern.identity.roles import RoleAssignment
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from sqlalchemy.orm import Session

    from govern.audit.signer import Signer
    from govern.db import Database

_BATCH = 4096
_GRANTS = (EventType.GRANT_ISSUED, EventType.GRANT_REVOKED)
_OTHERS = (
    EventType.SUSPENSION_OPENED, EventType.SUSPENSION_MODE_CHANGED, EventType.SUSPENSION_LIFTED,
    EventType.ROLE_ASSIGNED, EventType.ROLE_WITHDRAWN, EventType.DEMAND_SET, EventType.DEMAND_ENDED,
    EventType.SUBJECT_OFFBOARDED,
)  # fmt: skip
# The entries that begin and end a thing, the name of its reference, and its table.
_THINGS: dict[str, tuple[str, Any]] = {
    "suspension": ("Suspension", Suspension),
    "role": ("Role", RoleAssignment),
    "demand": ("Demand", FactorDemand),
}
_ENDS = {EventType.SUSPENSION_LIFTED, EventType.ROLE_WITHDRAWN, EventType.DEMAND_ENDED}


def check(
    database: Database, signer: Signer, progress: Callable[[int], None] | None = None
) -> fsck.Report:
    """Check every log, and the present state against what they say: all that `log fsck` does."""
    report = fsck.run(database, signer, progress=progress)
    differing = differences(database)
    return replace(
        report, ok=report.ok and not differing, damage=(*report.damage, *differing)
    )  # fmt: skip


def differences(database: Database) -> list[fsck.Damage]:
    """Each thing of the tables that is not as the logs made it."""
    found = _Found()
    with database.reading() as session:
        for log_id in session.execute(select(Client.id).order_by(Client.id)).scalars().all():
            _grants(session, log_id, found)
        _things(session, found)
        for part in (spanning, counted, people, asking, concerning):
            for words in part.differences(session):
                found.name(words)
        _lists(session, found)
        _authenticators(session, found)
        _erasures(session, found)
    return found.damage


class _Found:
    def __init__(self) -> None:
        self.damage: list[fsck.Damage] = []

    def name(self, message: str, log: str | None = None) -> None:
        if len(self.damage) < fsck.MOST_NAMED:
            self.damage.append(fsck.Damage(kind="state", message=message, log=log))


def _entries(
    session: Session, types: tuple[EventType, ...], log_id: str | None = None
) -> Iterator[list[tuple[str, str, dict[str, Any]]]]:
    """Batches of (log, instant, fields) of the entries of some types, in order."""
    wanted = select(Entry.log_id, Entry.leaf).where(Entry.type.in_(types))
    if log_id is not None:
        wanted = wanted.where(Entry.log_id == log_id)
    rows = session.execute(
        wanted.order_by(Entry.log_id, Entry.seq).execution_options(yield_per=_BATCH)
    )
    for batch in rows.partitions():
        parsed = [(log, leaf.parse(body)) for log, body in batch]
        # What an entry is says its leaf; a column that says otherwise is named where logs are.
        yield [
            (log, str(fields["time"]), fields)
            for log, fields in parsed
            if fields and fields.get("type") in types
        ]


# --- grants


def _grants(session: Session, log_id: str, found: _Found) -> None:
    issued = revoked = 0
    for batch in _entries(session, _GRANTS, log_id):
        given = listed(session, sorted({one["refs"]["grant"] for _, _, one in batch}))
        rows = session.execute(select(Grant).join(given, given.c.value == Grant.id)).scalars()
        held = {row.id: row for row in rows}
        for _, time, fields in batch:
            row = held.get(fields["refs"]["grant"])
            if fields["type"] == EventType.GRANT_ISSUED:
                issued += 1
                _issued(row, time, fields, found)
            else:
                revoked += 1
                if row is not None and (row.ended_at is None or clock.text(row.ended_at) != time):
                    found.name(f"Grant {row.id} was revoked at {time}; its row says otherwise.",
                               log_id)  # fmt: skip
        session.expunge_all()
    own = select(func.count(), func.count(Grant.ended_at)).where(Grant.client_id == log_id)
    if tuple(session.execute(own).one()) != (issued, revoked):
        _unheard_of(session, log_id, found)


def _issued(row: Grant | None, time: str, fields: dict[str, Any], found: _Found) -> None:
    refs, data = fields["refs"], fields["data"]
    if row is None:
        found.name(f"Grant {refs['grant']} was issued, and has no row.", fields["log"])
        return
    told = (
        refs["subject"], refs["project"], refs["entitlement"], refs.get("dataset"), fields["log"],
        data["starts_at"], data["ends_at"], time,
    )  # fmt: skip
    is_now = (
        row.subject_id, row.project_id, row.entitlement_id, row.dataset_id, row.client_id,
        clock.text(row.starts_at), clock.text(row.ends_at), clock.text(row.recorded_at),
    )  # fmt: skip
    if told != is_now:
        found.name(f"The row of grant {row.id} is not what was issued.", fields["log"])


def _unheard_of(session: Session, log_id: str, found: _Found) -> None:
    """Name the grants that no entry issued, and those that none ended."""
    made: set[str] = set()
    ended: set[str] = set()
    for batch in _entries(session, _GRANTS, log_id):
        for _, _, fields in batch:
            chosen = made if fields["type"] == EventType.GRANT_ISSUED else ended
            chosen.add(fields["refs"]["grant"])
    rows = session.execute(
        select(Grant.id, Grant.ended_at)
        .where(Grant.client_id == log_id)
        .execution_options(yield_per=_BATCH)
    )
    for grant, ended_at in rows:
        if grant not in made:
            found.name(f"Grant {grant} has a row, and no entry issued it.", log_id)
        if ended_at is not None and grant not in ended:
            found.name(f"Grant {grant} is ended by its row, and by no entry.", log_id)


# --- suspensions, roles, demands


def _things(session: Session, found: _Found) -> None:
    made: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {kind: {} for kind in _THINGS}
    ended: dict[str, dict[str, str]] = {kind: {} for kind in _THINGS}
    modes: dict[str, set[tuple[str, str]]] = {}
    covered: dict[str, set[tuple[str, str]]] = {}
    for batch in _entries(session, _OTHERS):
        for _, time, fields in batch:
            kind = fields["type"].partition(".")[0]
            name, data = str(fields["refs"].get(kind)), fields.get("data", {})
            if fields["type"] == EventType.SUBJECT_OFFBOARDED:
                left = ended["role"]
                who = str(fields["refs"]["subject"])
                left[who] = min(time, left.get(who, time))
            elif fields["type"] in _ENDS:
                ended[kind][name] = min(time, ended[kind].get(name, time))
            elif fields["type"] != EventType.SUSPENSION_MODE_CHANGED:
                first = made[kind].setdefault(name, (time, data))
                made[kind][name] = min(first, (time, data), key=lambda each: each[0])
            if kind == "suspension" and "mode" in data:
                modes.setdefault(name, set()).add((str(data["mode"]), time))
            for each in data.get("targets", ()):
                covered.setdefault(name, set()).add((each["kind"], each["id"]))
    for kind, (word, table) in _THINGS.items():
        rows = session.execute(select(table)).scalars()
        _compare(rows, (kind, word), made[kind], ended[kind], found)
    _parts(session, modes, covered, found)


def _compare(
    rows: Iterable[Any],
    named: tuple[str, str],
    made: dict[str, tuple[str, dict[str, Any]]],
    ended: dict[str, str],
    found: _Found,
) -> None:
    kind, word = named
    for row in rows:
        told = made.pop(row.id, None)
        if told is None:
            found.name(f"{word} {row.id} has a row, and no entry made it.")
            continue
        time, data = told
        if clock.text(row.recorded_at) != time or any(
            data.get(each) != getattr(row, each)
            for each in {"suspension": ("reason",), "role": ("role",), "demand": ("factor",)}[kind]
        ):
            found.name(f"The row of {kind} {row.id} is not what was recorded.")
        now = clock.text(row.ended_at) if row.ended_at is not None else None
        # Who leaves for good holds no role any more, and has one entry for them all.
        then = ended.get(row.id) or ended.get(getattr(row, "subject_id", ""))
        if now != then:
            found.name(f"{word} {row.id} ended by its row: {now or 'never'}; by the log: "
                       f"{then or 'never'}.")  # fmt: skip
    for name in made:
        found.name(f"{word} {name} was recorded, and has no row.")


def _parts(
    session: Session,
    modes: dict[str, set[tuple[str, str]]],
    covered: dict[str, set[tuple[str, str]]],
    found: _Found,
) -> None:
    """Modes by their instants, and targets, as the entries of all logs tell them together."""
    held: dict[str, set[str]] = {}
    for row in session.execute(select(SuspensionMode)).scalars():
        held.setdefault(row.suspension_id, set()).add(row.mode)
        if row.mode not in {mode for mode, _ in modes.get(row.suspension_id, ())}:
            found.name(f"The mode {row.mode} of {row.suspension_id} is in no entry.")
    for name, told in modes.items():
        for mode in sorted({mode for mode, _ in told} - held.get(name, set())):
            found.name(f"The mode {mode} of {name} was recorded, and has no row.")
    targets: dict[str, set[tuple[str, str]]] = {}
    for item in session.execute(select(SuspensionTarget)).scalars():
        targets.setdefault(item.suspension_id, set()).add((item.kind, item.target_id))
    for name in sorted({*targets, *covered}):
        if targets.get(name, set()) != covered.get(name, set()):
            found.name(f"What {name} covers by its rows is not what its entries say.")


def _lists(session: Session, found: _Found) -> None:
    of_none = select(PeopleListItem.list_id).where(
        PeopleListItem.list_id.not_in(select(PeopleList.id))
    )
    for name in session.execute(of_none.distinct()).scalars():
        found.name(f"People stand on the list {name}, which there is not.")
    for each in session.execute(select(PeopleList)).scalars():
        people = session.execute(
            select(PeopleListItem.subject_id).where(PeopleListItem.list_id == each.id)
        ).scalars().all()  # fmt: skip
        if (len(people), suspensions.people.digest(people)) != (each.number, each.digest):
            found.name(f"The people of the list {each.id} are not those of its digest.")
    for batch in _entries(session, (EventType.SUSPENSION_OPENED,)):
        for _, _, fields in batch:
            for target in fields["data"].get("targets", ()):
                if "digest" not in target:
                    continue
                row = session.get(PeopleList, target["id"])
                if row is None or (row.number, row.digest) != (target["count"], target["digest"]):
                    found.name(f"The list {target['id']} is not the one that the log names.",
                               fields["log"])  # fmt: skip


# --- authenticators

_ENROLLED: dict[str, tuple[EventType, Any]] = {
    "app": (EventType.TOTP_ENROLLED, Totp),
    "passkey": (EventType.PASSKEY_ENROLLED, Passkey),
}


def _authenticators(session: Session, found: _Found) -> None:
    for word, (enrolled, table) in _ENROLLED.items():
        made = ended = 0
        types = (enrolled, EventType.AUTHENTICATOR_REMOVED, EventType.SUBJECT_OFFBOARDED)
        for batch in _entries(session, types, HOUSE):
            rows, own = _rows_of(session, table, batch)
            for _, time, fields in batch:
                row = rows.get(fields["refs"].get("authenticator", ""))
                if fields["type"] == enrolled:
                    made += 1
                    _enrolled(row, word, time, fields, found)
                elif fields["type"] == EventType.SUBJECT_OFFBOARDED:
                    ended += own[fields["refs"]["subject"]].count(time)
                elif fields["data"]["kind"] == table.__tablename__:
                    ended += 1
                    if row is not None and _ended(row) != time:
                        found.name(f"The {word} {row.id} was removed at {time}; its row says "
                                   "otherwise.")  # fmt: skip
            session.expunge_all()
        counts = select(func.count(), func.count(table.ended_at))
        if tuple(session.execute(counts).one()) != (made, ended):
            _unheard_of_authenticators(session, word, found)


def _rows_of(
    session: Session, table: Any, batch: list[tuple[str, str, dict[str, Any]]]
) -> tuple[dict[str, Any], dict[str, list[str | None]]]:
    """The authenticators that a batch names, and when those of who left ended, by person."""
    named, left = set(), set()
    for _, _, fields in batch:
        if fields["type"] == EventType.SUBJECT_OFFBOARDED:
            left.add(fields["refs"]["subject"])
        else:
            named.add(fields["refs"]["authenticator"])
    given, gone = listed(session, sorted(named)), listed(session, sorted(left))
    rows = session.execute(select(table).join(given, given.c.value == table.id)).scalars()
    own: dict[str, list[str | None]] = defaultdict(list)
    theirs = select(table).join(gone, gone.c.value == table.subject_id)
    for row in session.execute(theirs).scalars():
        own[row.subject_id].append(_ended(row))
    return {row.id: row for row in rows}, own


def _unheard_of_authenticators(session: Session, word: str, found: _Found) -> None:
    """Name those that no entry enrolled, and those that end by their row alone, or by an entry."""
    enrolled, table = _ENROLLED[word]
    made: set[str] = set()
    ended: set[str] = set()
    for batch in _entries(
        session, (enrolled, EventType.AUTHENTICATOR_REMOVED, EventType.SUBJECT_OFFBOARDED), HOUSE
    ):
        for _, _, fields in batch:
            refs = fields["refs"]
            if fields["type"] == enrolled:
                made.add(refs["authenticator"])
            else:
                ended.add(refs.get("authenticator") or refs["subject"])
    rows = select(table.id, table.subject_id, table.ended_at).execution_options(yield_per=_BATCH)
    for name, person, ended_at in session.execute(rows):
        if name not in made:
            found.name(f"The {word} {name} has a row, and no entry enrolled it.")
        if (ended_at is not None) != bool({name, person} & ended):
            found.name(f"The {word} {name} ended by its row: {ended_at or 'never'}; its entries "
                       "say otherwise.")  # fmt: skip


def _enrolled(row: Any, word: str, time: str, fields: dict[str, Any], found: _Found) -> None:
    refs = fields["refs"]
    if row is None:
        found.name(f"The {word} {refs['authenticator']} was enrolled, and has no row.")
        return
    told = (refs["subject"], time, fields.get("data", {}).get("recognised", False))
    is_now = (row.subject_id, clock.text(row.recorded_at), getattr(row, "recognised", False))
    if told != is_now:
        found.name(f"The row of the {word} {row.id} is not what was enrolled.")


def _ended(row: Any) -> str | None:
    return clock.text(row.ended_at) if row.ended_at is not None else None


# --- erasures


def _erasures(session: Session, found: _Found) -> None:
    """Who was erased by the log is erased by their row, and nobody else."""
    query = select(Entry.subject_id, func.max(Entry.at)).where(
        Entry.log_id == HOUSE, text(ERASURES)
    )
    told = {str(subject): at for subject, at in session.execute(query.group_by(Entry.subject_id))}
    given = listed(session, sorted(told))
    either = Subject.erased_at.is_not(None) | Subject.id.in_(select(given.c.value))
    for row in session.execute(select(Subject).where(either)).scalars():
        now, then = row.erased_at, told.pop(row.id, None)
        if now != then:
            found.name(f"Subject {row.id} was erased by their row: {_when(now)}; by the log: "
                       f"{_when(then)}.")  # fmt: skip
        elif {row.external_id, row.email} != {row.id}:
            found.name(f"Subject {row.id} was erased, and their row still says who they are.")
    for name in told:
        found.name(f"Subject {name} was erased, and has no row.")


def _when(at: datetime | None) -> str:
    return clock.text(at) if at is not None else "never"
