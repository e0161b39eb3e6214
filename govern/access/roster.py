"""The roster: people and their grants from a CSV file, judged whole before a row is written.

Rows are told accepted, unchanged or rejected, with the leftmost column at fault. Without
`skip_rejected` a file with a rejected row changes nothing. What is accepted goes in by chunks that
hold no log's head for long; each is judged again under the lock, so that a pause which comes
during an import stops it there, and running the same file again takes up where it was left.
An import revokes nothing, never changes an address, and never lets anyone out of a suspension.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from sqlalchemy import exc as sa_exc
from sqlalchemy import select

from govern import clock, errors, permissions
from govern.access import suspensions
from govern.access.clients import Client, Dataset, Project
from govern.access.entitlements import Entitlement
from govern.access.grants import Grant
from govern.access.modes import Mode
from govern.access.suspension_tables import Scope, SuspensionMode, SuspensionTarget
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import Line, append_many, lock, record
from govern.db import insert_many, listed, new_id
from govern.identity import subjects
from govern.identity.subjects import Membership, Organisation, Particulars, Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy import Table
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database, Session
    from govern.principal import Principal

COLUMNS = (
    "external_id", "email", "full_name", "kind", "organisation", "country", "expertise",
    "client", "project", "dataset", "entitlement", "starts_at", "ends_at",
)  # fmt: skip
CHUNK = 500
_LOOKUP = 10_000


@dataclass(frozen=True)
class Rejected:
    """A row that cannot be taken: its first physical line, the column at fault, and why."""

    line: int
    column: str | None
    reason: str


@dataclass(kw_only=True)
class Outcome:
    """What became of a file; `applied` is whether anything was written."""

    accepted: list[int] = field(default_factory=list)
    unchanged: list[int] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    applied: bool = False


class _Key(NamedTuple):
    """What makes two grants the same."""

    subject: str
    entitlement: str
    project: str
    dataset: str | None
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, kw_only=True)
class _Row:
    line: int
    person: Particulars
    client: str
    project: str
    dataset: str | None
    entitlement: str
    starts_at: datetime
    ends_at: datetime

    def key(self, subject_id: str) -> _Key:
        return _Key(subject_id, self.entitlement, self.project, self.dataset, self.starts_at,
                    self.ends_at)  # fmt: skip


@dataclass(kw_only=True)
class _Person:
    """Someone of the file as they will be: known already, or new with the id they will get."""

    id: str
    particulars: Particulars
    known: bool
    ended: bool = False
    changed: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Holds:
    """What is suspended, and how: (scope, target) → the strictest mode."""

    over: dict[tuple[str, str], str]

    def refusal(self, targets: Iterable[tuple[str, str | None, str]]) -> tuple[str, str] | None:
        """The column and words for the first of (scope, target, column) that is held."""
        for scope, target, column in targets:
            mode = self.over.get((scope, target or ""))
            if mode == Mode.UNDER_REVIEW:
                return column, f"the {scope} is under review: a new grant takes a second approver"
            if mode is not None:
                return column, f"the {scope} is suspended ({mode}): no new grants"
        return None


def load(
    database: Database,
    stream: IO[bytes],
    *,
    dry_run: bool = False,
    skip_rejected: bool = False,
    by: Principal,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Judge a file whole, then take in what is new.

    `Invalid` when it is no roster at all. With `dry_run`, or with a rejected row and no
    `skip_rejected`, nothing is written and `applied` stays false.
    """
    permissions.require(by, "roster:import")
    with database.reading() as session:
        judge = _Judge(session)
        rows, outcome = judge.file(stream)
    if dry_run or (outcome.rejected and not skip_rejected):
        return outcome
    try:
        _apply(database, judge, rows, outcome, by=by, progress=progress)
    except sa_exc.IntegrityError as error:
        raise errors.Stale(
            "Someone else changed the same people meanwhile. Run the same file again: what is "
            "written already stays, and will be found unchanged."
        ) from error
    outcome.applied = True
    return outcome


# --- judging -----------------------------------------------------------------------------------


def _records(stream: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
    """(first physical line, cells) of each record after the header; blank lines are passed over."""
    try:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        reader = csv.reader(text, strict=True)
        header = next(reader, None)
        if header is None or tuple(cell.strip() for cell in header) != COLUMNS:
            raise errors.Invalid(f"The first line must be: {','.join(COLUMNS)}", field="header")
        line = reader.line_num + 1
        for cells in reader:
            if cells and any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except UnicodeDecodeError as error:
        raise errors.Invalid(f"The file is not UTF-8: {error.reason}.", field="file") from None
    except csv.Error as error:
        raise errors.Invalid(f"Line {reader.line_num}: {error}.", field="file") from None


class _Judge:
    """Knows what the file's words mean now, and judges its rows one after the other."""

    def __init__(self, session: OrmSession) -> None:
        self._session = session
        self.clients = {row.code: row.id for row in session.execute(select(Client)).scalars()}
        self.projects = {row.code: row for row in session.execute(select(Project)).scalars()}
        self.datasets = {row.code: row for row in session.execute(select(Dataset)).scalars()}
        self.entitlements = {
            row.name: row.id for row in session.execute(select(Entitlement)).scalars()
        }
        self.ended = {
            row.id
            for table in (Client, Project)
            for row in session.execute(select(table)).scalars()
            if row.ended_at is not None
        }
        self.organisations = {
            row.name: row.id for row in session.execute(select(Organisation)).scalars()
        }
        self.holds = holds(session)
        self.people: dict[str, _Person] = {}
        self.addresses: dict[str, str] = {}
        self.keys: set[_Key] = set()

    def file(self, stream: IO[bytes]) -> tuple[list[_Row], Outcome]:
        """Judge every row; rows that will be written come back beside what is told of all."""
        outcome = Outcome()
        parsed: list[_Row] = []
        faults: list[Rejected] = []
        for line, cells in _records(stream):
            try:
                parsed.append(self._parse(line, cells))
            except errors.GovernError as error:
                faults.append(Rejected(line, error.field, error.message))
        self._look_up(parsed)
        rows = []
        for row in parsed:
            try:
                new = self._judge(row)
            except errors.GovernError as error:
                faults.append(Rejected(row.line, error.field, error.message))
                continue
            (outcome.accepted if new else outcome.unchanged).append(row.line)
            if new:
                rows.append(row)
        outcome.rejected = sorted(faults, key=lambda fault: fault.line)
        return rows, outcome

    def _parse(self, line: int, cells: list[str]) -> _Row:
        """Read one record, columns from left to right; the first fault is raised."""
        if len(cells) != len(COLUMNS):
            raise errors.Invalid(f"{len(cells)} columns instead of {len(COLUMNS)}.")
        cell = dict(zip(COLUMNS, cells, strict=True))
        person = Particulars.checked(**{name: cell[name] for name in COLUMNS[:7]})
        client = self._code(self.clients, cell, "client")
        project = self._code(self.projects, cell, "project")
        if project.client_id != client:
            raise errors.Invalid(
                f"{project.code} is not a project of that client.", field="project"
            )
        if {client, project.id} & self.ended:
            raise errors.AlreadyEnded(f"{project.code} has ended.", field="project")
        dataset = None
        if subjects.clean(cell["dataset"]):
            dataset = self._code(self.datasets, cell, "dataset")
            if dataset.project_id != project.id:
                raise errors.Invalid(
                    f"{dataset.code} is not a dataset of {project.code}.", field="dataset"
                )
        entitlement = self._code(self.entitlements, cell, "entitlement")
        starts_at = clock.parse(cell["starts_at"], field="starts_at")
        ends_at = clock.parse(cell["ends_at"], field="ends_at")
        if ends_at <= starts_at:
            raise errors.WindowInvalid("The window ends before it starts.", field="ends_at")
        return _Row(
            line=line, person=person, client=client, project=project.id,
            dataset=dataset.id if dataset else None, entitlement=entitlement,
            starts_at=starts_at, ends_at=ends_at,
        )  # fmt: skip

    @staticmethod
    def _code(known: dict[str, Any], cell: dict[str, str], column: str) -> Any:
        value = subjects.text(cell[column], field=column)
        if value not in known:
            raise errors.Unknown(f"There is no {column} “{value}”.", field=column)
        return known[value]

    def _look_up(self, rows: list[_Row]) -> None:
        """Find who of the file is known, by id or by address, and the grants they ever had."""
        ids = sorted({row.person.external_id for row in rows})
        mails = sorted({row.person.email for row in rows})
        for column, values in ((Subject.external_id, ids), (Subject.email, mails)):
            for start in range(0, len(values), _LOOKUP):
                given = listed(self._session, values[start : start + _LOOKUP])
                found = self._session.execute(
                    select(Subject, Organisation.name)
                    .join(given, given.c.value == column)
                    .join(Membership, Membership.subject_id == Subject.id)
                    .join(Organisation, Organisation.id == Membership.organisation_id)
                    .where(Membership.ended_at.is_(None))
                )
                for subject, organisation in found:
                    self._learn(subject, organisation)
        known = sorted(person.id for person in self.people.values())
        for start in range(0, len(known), _LOOKUP):
            self.keys |= existing(self._session, known[start : start + _LOOKUP])

    def _learn(self, subject: Subject, organisation: str) -> None:
        particulars = Particulars(
            external_id=subject.external_id, email=subject.email, full_name=subject.full_name,
            kind=subjects.SubjectKind(subject.kind), organisation=organisation,
            country=subject.country, expertise=subject.expertise,
        )  # fmt: skip
        self.people[subject.external_id] = _Person(
            id=subject.id, particulars=particulars, known=True, ended=subject.ended_at is not None
        )
        self.addresses[subject.email] = subject.external_id

    def _judge(self, row: _Row) -> bool:
        """Whether a row brings anything new; raises where it may not be taken."""
        given = row.person
        owner = self.addresses.get(given.email)
        person = self.people.get(given.external_id)
        if person is not None and person.ended:
            raise errors.AlreadyEnded(
                "Who has left comes back under a new id.", field="external_id"
            )
        if owner is not None and owner != given.external_id:
            raise errors.AlreadyExists(f"{given.email} belongs to someone else.", field="email")
        if person is not None and person.particulars.email != given.email:
            raise errors.Invalid(
                "An import never changes an address: it would change who can sign in.",
                field="email",
            )
        changed = set() if person is None else _differences(person.particulars, given)
        if "organisation" in changed and person is not None:
            self._refuse_escape(person)
        subject_id = person.id if person is not None else ""
        known_grant = person is not None and row.key(subject_id) in self.keys
        if not known_grant:
            refusal = self.holds.refusal(self.targets(row, subject_id))
            if refusal is not None:
                raise errors.Held(f"{refusal[1]}.", field=refusal[0])
        if person is None:
            person = _Person(id=new_id("sub"), particulars=given, known=False)
            self.people[given.external_id] = person
            self.addresses[given.email] = given.external_id
        if changed:
            person.particulars = given
            person.changed |= changed
        self.keys.add(row.key(person.id))
        return not known_grant or bool(changed)

    def _refuse_escape(self, person: _Person) -> None:
        """Moving someone out of a held organisation takes two people, and is not for a file."""
        present = self.organisations[person.particulars.organisation]
        if (Scope.ORGANISATION, present) in self.holds.over:
            raise errors.NeedsSecondPerson(
                f"{person.particulars.organisation} is suspended: moving its people out takes two.",
                field="organisation",
            )

    def targets(self, row: _Row, subject_id: str) -> list[tuple[str, str | None, str]]:
        """What could hold a new grant, and the column to blame, from left to right."""
        organisation = self.organisations.get(row.person.organisation)
        return [
            (Scope.SUBJECT, subject_id, "external_id"),
            (Scope.ORGANISATION, organisation, "organisation"),
            (Scope.CLIENT, row.client, "project"),
            (Scope.PROJECT, row.project, "project"),
            (Scope.DATASET, row.dataset, "dataset"),
        ]


def _differences(old: Particulars, new: Particulars) -> set[str]:
    names = ("full_name", "kind", "organisation", "country", "expertise")
    return {name for name in names if getattr(old, name) != getattr(new, name)}


def holds(session: OrmSession) -> _Holds:
    """Everything that is suspended now."""
    rows = session.execute(
        select(SuspensionTarget.kind, SuspensionTarget.target_id, SuspensionMode.mode)
        .join(SuspensionMode, SuspensionMode.suspension_id == SuspensionTarget.suspension_id)
        .where(SuspensionTarget.ended_at.is_(None), SuspensionMode.ended_at.is_(None))
    )
    over: dict[tuple[str, str], str] = {}
    for kind, target, mode in rows:
        over[kind, target] = min(mode, over.get((kind, target), mode))  # strictest sorts first
    return _Holds(over)


def existing(session: OrmSession, subject_ids: Sequence[str]) -> set[_Key]:
    """Every grant that some people ever had, revoked ones too."""
    given = listed(session, subject_ids)
    rows = session.execute(
        select(Grant.subject_id, Grant.entitlement_id, Grant.project_id, Grant.dataset_id,
               Grant.starts_at, Grant.ends_at)
        .join(given, given.c.value == Grant.subject_id)
    )  # fmt: skip
    return {_Key(*row) for row in rows}


# --- applying ----------------------------------------------------------------------------------


def _apply(
    database: Database,
    judge: _Judge,
    rows: list[_Row],
    outcome: Outcome,
    *,
    by: Principal,
    progress: Callable[[int], None] | None,
) -> None:
    wanted = {row.person.external_id for row in rows}
    people = [judge.people[external_id] for external_id in sorted(wanted)]
    for chunk in _chunks([person for person in people if not person.known]):
        database.transaction(lambda session, chunk=chunk: _register(session, chunk, by=by))
    for person in people:
        if person.known and person.changed:
            database.transaction(lambda session, person=person: _change(session, person, by=by))
    by_client: dict[str, list[_Row]] = {}
    for row in rows:
        by_client.setdefault(row.client, []).append(row)
    late: list[Rejected] = []
    for client, theirs in sorted(by_client.items()):
        for part in _chunks(theirs):
            late += database.transaction(
                lambda session, part=part, client=client: _grant(
                    session, judge, client, part, by=by
                )
            )
            if progress is not None:
                progress(len(part))
    for fault in late:
        outcome.accepted.remove(fault.line)
    outcome.rejected = sorted([*outcome.rejected, *late], key=lambda fault: fault.line)
    if rows:
        database.transaction(lambda session: _record_import(session, outcome, by=by))


def _chunks(items: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def _register(session: Session, people: list[_Person], *, by: Principal) -> None:
    names = sorted({person.particulars.organisation for person in people})
    organisations = {name: subjects.ensure_organisation(session, name).id for name in names}
    first = append_many(
        session,
        HOUSE,
        [
            Line(
                type=EventType.SUBJECT_REGISTERED,
                refs={"subject": person.id,
                      "organisation": organisations[person.particulars.organisation]},
                data={"kind": person.particulars.kind},
                private={name: value for name, value in person.particulars.private().items()
                         if value},
                about=person.id,
            )
            for person in people
        ],
        by=by,
    )  # fmt: skip
    made_by = by.name or by.id
    subject_rows, membership_rows = [], []
    for offset, person in enumerate(people):
        at, given = first + offset * clock.TICK, person.particulars
        subject_rows.append((
            person.id, given.external_id, given.email, given.full_name, given.kind.value,
            given.country, given.expertise, made_by, at, None,
        ))  # fmt: skip
        membership_rows.append(
            (new_id("mem"), person.id, organisations[given.organisation], at, None)
        )
    insert_many(session, cast("Table", Subject.__table__), subject_rows)
    insert_many(session, cast("Table", Membership.__table__), membership_rows)


def _change(session: Session, person: _Person, *, by: Principal) -> None:
    """Take over changed particulars; the move of an organisation goes the way of every move."""
    subject = session.get_one(Subject, person.id)
    given = person.particulars
    if "organisation" in person.changed:
        organisation = subjects.ensure_organisation(session, given.organisation)
        if suspensions.move(session, subject, organisation, by=by) is not None:
            raise errors.Stale("An organisation was suspended during the import; run it again.")
    if person.changed - {"organisation"}:
        subjects.change(
            session, subject, full_name=given.full_name, kind=given.kind, country=given.country,
            expertise=given.expertise, by=by,
        )  # fmt: skip


def _grant(
    session: Session, judge: _Judge, client: str, rows: list[_Row], *, by: Principal
) -> list[Rejected]:
    """Issue one chunk's grants under the client's head; what is held by now is refused."""
    lock(session, [client])
    ids = sorted({judge.people[row.person.external_id].id for row in rows})
    given = listed(session, ids)
    here = set(session.execute(
        select(Subject.id)
        .where(Subject.id.in_(select(given.c.value)), Subject.ended_at.is_(None))
        .order_by(Subject.id)
        .with_for_update(read=True)
    ).scalars())  # fmt: skip
    now_held, had = holds(session), existing(session, ids)
    late: list[Rejected] = []
    fresh: list[tuple[_Row, str]] = []
    for row in rows:
        subject_id = judge.people[row.person.external_id].id
        key = row.key(subject_id)
        if key in had:
            continue
        refusal = now_held.refusal(judge.targets(row, subject_id))
        if subject_id not in here:
            refusal = ("external_id", "they left during the import")
        if refusal is not None:
            late.append(Rejected(row.line, refusal[0], f"{refusal[1]}."))
            continue
        had.add(key)
        fresh.append((row, subject_id))
    _issue(session, client, fresh, by=by)
    return late


def _issue(session: Session, client: str, fresh: list[tuple[_Row, str]], *, by: Principal) -> None:
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
                refs={"grant": grant_id, "subject": subject_id, "client": client,
                      "project": row.project, "entitlement": row.entitlement}
                | ({"dataset": row.dataset} if row.dataset else {}),
                data={"entitlement": names[row.entitlement],
                      "starts_at": clock.text(row.starts_at), "ends_at": clock.text(row.ends_at)},
                private={"reason": "roster import"},
                about=subject_id,
            )
            for grant_id, row, subject_id in made
        ],
        by=by,
    )  # fmt: skip
    insert_many(
        session,
        cast("Table", Grant.__table__),
        [
            (grant_id, subject_id, row.entitlement, client, row.project, row.dataset,
             row.starts_at, row.ends_at, first + offset * clock.TICK, None)
            for offset, (grant_id, row, subject_id) in enumerate(made)
        ],
    )  # fmt: skip


def _record_import(session: Session, outcome: Outcome, *, by: Principal) -> None:
    record(
        session,
        EventType.ROSTER_IMPORTED,
        logs=[HOUSE],
        by=by,
        data={"accepted": len(outcome.accepted), "unchanged": len(outcome.unchanged),
              "rejected": len(outcome.rejected)},
    )  # fmt: skip
