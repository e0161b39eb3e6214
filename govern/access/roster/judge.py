"""Judging a roster: every row is told accepted, unchanged or rejected, before one is written."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import literal, select

from govern import clock, errors
from govern.access.clients import Client, Dataset, Project
from govern.access.entitlements import Entitlement
from govern.access.grants import Grant
from govern.access.modes import Mode
from govern.access.suspension_tables import (
    PeopleListItem,
    Scope,
    SuspensionMode,
    SuspensionTarget,
)
from govern.db import listed, new_id
from govern.identity import subjects, typed
from govern.identity.subjects import Membership, Organisation, Particulars, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy.orm import Session as OrmSession


COLUMNS = (
    "external_id",
    "email",
    "full_name",
    "kind",
    "organisation",
    "country",
    "expertise",
    "client",
    "project",
    "dataset",
    "entitlement",
    "starts_at",
    "ends_at",
)

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


class Key(NamedTuple):
    """What makes two grants the same."""

    subject: str
    entitlement: str
    project: str
    dataset: str | None
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row that could be read, its words made ids."""

    line: int
    person: Particulars
    client: str
    project: str
    dataset: str | None
    entitlement: str
    starts_at: datetime
    ends_at: datetime

    def key(self, subject_id: str) -> Key:
        """What makes its grant the same as another."""
        return Key(
            subject_id, self.entitlement, self.project, self.dataset, self.starts_at, self.ends_at
        )


@dataclass(kw_only=True)
class Person:
    """Someone of the file as they will be: known already, or new with the id they will get."""

    id: str
    particulars: Particulars
    known: bool
    ended: bool = False
    changed: set[str] = field(default_factory=set)


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one row does beyond what is there: a person comes, is changed (`was`), or is granted."""

    what: str  # new, changed or granted
    row: Row
    was: Particulars | None = None


@dataclass(frozen=True)
class Holds:
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


def records(stream: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
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


class Judge:
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
            for row in (
                *session.execute(select(Client).where(Client.ended_at.is_not(None))).scalars(),
                *session.execute(select(Project).where(Project.ended_at.is_not(None))).scalars(),
            )
        }
        self.organisations = {
            row.name: row.id for row in session.execute(select(Organisation)).scalars()
        }
        self.holds = holds(session)
        self.people: dict[str, Person] = {}
        self.addresses: dict[str, str] = {}
        self.keys: set[Key] = set()
        self.effects: list[Effect] = []

    def file(self, stream: IO[bytes]) -> tuple[list[Row], Outcome]:
        """Judge every row; rows that will be written come back beside what is told of all."""
        outcome = Outcome()
        parsed: list[Row] = []
        faults: list[Rejected] = []
        for line, cells in records(stream):
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

    def _parse(self, line: int, cells: list[str]) -> Row:
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
        if typed.clean(cell["dataset"]):
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
        return Row(
            line=line,
            person=person,
            client=client,
            project=project.id,
            dataset=dataset.id if dataset else None,
            entitlement=entitlement,
            starts_at=starts_at,
            ends_at=ends_at,
        )

    @staticmethod
    def _code(known: dict[str, Any], cell: dict[str, str], column: str) -> Any:
        value = typed.text(cell[column], field=column)
        if value not in known:
            raise errors.Unknown(f"There is no {column} “{value}”.", field=column)
        return known[value]

    def _look_up(self, rows: list[Row]) -> None:
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
            external_id=subject.external_id,
            email=subject.email,
            full_name=subject.full_name,
            kind=subjects.SubjectKind(subject.kind),
            organisation=organisation,
            country=subject.country,
            expertise=subject.expertise,
        )
        self.people[subject.external_id] = Person(
            id=subject.id, particulars=particulars, known=True, ended=subject.ended_at is not None
        )
        self.addresses[subject.email] = subject.external_id

    def _judge(self, row: Row) -> bool:
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
        changed = set() if person is None else differences(person.particulars, given)
        if "organisation" in changed and person is not None:
            self._refuse_escape(person)
        subject_id = person.id if person is not None else ""
        known_grant = person is not None and row.key(subject_id) in self.keys
        if not known_grant:
            refusal = self.holds.refusal(self.targets(row, subject_id))
            if refusal is not None:
                raise errors.Held(f"{refusal[1]}.", field=refusal[0])
        if person is None:
            person = Person(id=new_id("sub"), particulars=given, known=False)
            self.people[given.external_id] = person
            self.addresses[given.email] = given.external_id
            self.effects.append(Effect(what="new", row=row))
        if changed:
            self.effects.append(Effect(what="changed", row=row, was=person.particulars))
            person.particulars = given
            person.changed |= changed
        self.keys.add(row.key(person.id))
        if not known_grant:
            self.effects.append(Effect(what="granted", row=row))
        return not known_grant or bool(changed)

    def _refuse_escape(self, person: Person) -> None:
        """Moving someone out of a held organisation takes two people, and is not for a file."""
        present = self.organisations[person.particulars.organisation]
        if (Scope.ORGANISATION, present) in self.holds.over:
            raise errors.NeedsSecondPerson(
                f"{person.particulars.organisation} is suspended: moving its people out takes two.",
                field="organisation",
            )

    def targets(self, row: Row, subject_id: str) -> list[tuple[str, str | None, str]]:
        """What could hold a new grant, and the column to blame, from left to right."""
        organisation = self.organisations.get(row.person.organisation)
        return [
            (Scope.SUBJECT, subject_id, "external_id"),
            (Scope.ORGANISATION, organisation, "organisation"),
            (Scope.CLIENT, row.client, "project"),
            (Scope.PROJECT, row.project, "project"),
            (Scope.DATASET, row.dataset, "dataset"),
        ]


def differences(old: Particulars, new: Particulars) -> set[str]:
    """The particulars that a row changes; an address never is one."""
    names = ("full_name", "kind", "organisation", "country", "expertise")
    return {name for name in names if getattr(old, name) != getattr(new, name)}


def holds(session: OrmSession, among: Sequence[str] | None = None) -> Holds:
    """Everything that is suspended now; of those in lists, some people alone, where told."""
    open_ones = (SuspensionTarget.ended_at.is_(None), SuspensionMode.ended_at.is_(None))
    by_suspension = SuspensionMode.suspension_id == SuspensionTarget.suspension_id
    named = (
        select(literal(Scope.SUBJECT.value), PeopleListItem.subject_id, SuspensionMode.mode)
        .join(SuspensionTarget, SuspensionTarget.target_id == PeopleListItem.list_id)
        .join(SuspensionMode, by_suspension)
        .where(SuspensionTarget.kind == Scope.PEOPLE, *open_ones)
    )
    if among is not None:
        given = listed(session, among)
        named = named.join(given, given.c.value == PeopleListItem.subject_id)
    rows = session.execute(
        select(SuspensionTarget.kind, SuspensionTarget.target_id, SuspensionMode.mode)
        .join(SuspensionMode, by_suspension)
        .where(*open_ones)
        .union_all(named)
    )
    over: dict[tuple[str, str], str] = {}
    for kind, target, mode in rows:
        over[kind, target] = min(mode, over.get((kind, target), mode))  # strictest sorts first
    return Holds(over)


def existing(session: OrmSession, subject_ids: Sequence[str]) -> set[Key]:
    """Every grant that some people ever had, revoked ones too."""
    given = listed(session, subject_ids)
    rows = session.execute(
        select(
            Grant.subject_id,
            Grant.entitlement_id,
            Grant.project_id,
            Grant.dataset_id,
            Grant.starts_at,
            Grant.ends_at,
        ).join(given, given.c.value == Grant.subject_id)
    )
    return {Key(*row) for row in rows}
