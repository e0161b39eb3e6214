"""A world in few words: a test names what matters to it, and the rest is made up."""

from __future__ import annotations

import io
import json
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import select

from govern import clock
from govern.access import (
    clients,
    demands,
    entitlements,
    evaluation,
    grants,
    requests,
    roster,
    suspensions,
)
from govern.access.clients import Dataset
from govern.access.evaluation import Question
from govern.access.modes import Mode
from govern.access.suspensions import Reason, drilling
from govern.audit.log import Entry
from govern.identity import activation, authenticators, integrations, roles, subjects
from govern.principal import SYSTEM, Kind, Principal, RoleHeld, operator

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.access.clients import Client, Project
    from govern.access.grants import Grant
    from govern.access.requests import Request
    from govern.access.roster import Outcome
    from govern.access.suspension_tables import Drill, PeopleList
    from govern.access.suspensions import Suspension
    from govern.db import Database, Session
    from govern.identity.integrations import Integration
    from govern.identity.subjects import Subject

T0 = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
OPERATOR = operator("tester")
PASSWORD = "correct horse battery staple"

_numbers = count(1)


def person(subject: Subject, role: str = "admin", client: str | None = None) -> Principal:
    """Someone signed in just now, with a fresh second factor."""
    return Principal(
        kind=Kind.SUBJECT,
        id=subject.id,
        roles=(RoleHeld(role, client),),
        amr=("pwd", "otp", "mfa"),
        factor_at=clock.utcnow(),
    )


@dataclass
class _Within:
    """A transaction that has begun, in the place of a database."""

    session: Session

    def transaction(self, work: Callable[[Session], Any]) -> Any:
        return work(self.session)


@dataclass
class World:
    """One database, and short ways to fill it. Every method is a transaction of its own."""

    store: Database
    seeds: dict[str, str] = field(default_factory=dict)

    def do(self, work: Callable[[Session], Any]) -> Any:
        """Run one unit of work."""
        return self.store.transaction(work)

    def at_once(self, fill: Callable[[World], None]) -> None:
        """Fill it in one transaction: `fill` is given a world of which it may make, and not ask."""

        def work(session: Session) -> None:
            fill(replace(self, store=cast("Database", _Within(session))))

        self.do(work)

    def client(self, code: str = "ASTER") -> Client:
        """A client with its log."""
        return self.do(
            lambda s: clients.create_client(s, code, name=f"{code.title()} Labs", by=OPERATOR)
        )

    def project(self, code: str = "Kingfisher", *, client: Client | None = None) -> Project:
        """A project, of a client of its own unless told."""
        owner = client or self.client(f"C{next(_numbers)}")
        return self.do(
            lambda s: clients.create_project(
                s, owner, code, contact="ops@aster.example", by=OPERATOR
            )
        )

    def dataset(
        self, project: Project, code: str = "kingfisher-audio", *, type: str | None = None
    ) -> Dataset:
        """A dataset of a project."""
        return self.do(lambda s: clients.create_dataset(s, project, code, type=type, by=OPERATOR))

    def entitlement(self, name: str = "annotator", *actions: str) -> Any:
        """An entitlement with its actions."""
        wanted = actions or ("read", "annotate", "log_hours")
        return self.do(lambda s: entitlements.define(s, name, actions=wanted, by=OPERATOR))

    def subject(
        self,
        external_id: str | None = None,
        *,
        organisation: str = "direct",
        kind: str = "annotator",
        full_name: str = "",
    ) -> Subject:
        """A person."""
        external_id = external_id or f"P{next(_numbers):05}"
        particulars = subjects.Particulars.checked(
            external_id=external_id,
            email=f"{external_id}@people.example",
            full_name=full_name or f"Person {external_id}",
            kind=kind,
            organisation=organisation,
            country="KE",
        )
        return self.do(lambda s: subjects.register(s, particulars, by=SYSTEM))

    def grant(
        self,
        subject: Subject,
        project: Project,
        *,
        entitlement: Any = None,
        dataset: Dataset | None = None,
        starts: datetime | None = None,
        until: datetime | None = None,
    ) -> Grant:
        """A grant for thirty days unless told."""
        bundle = entitlement or self.entitlement()
        return self.do(
            lambda s: grants.issue(
                s,
                subject,
                project,
                bundle,
                dataset=dataset,
                starts=starts,
                until=until or clock.now(s) + timedelta(days=30),
                reason="work",
                by=OPERATOR,
            )
        )

    def suspend(
        self, *references: str, mode: Mode = Mode.PAUSED, by: Principal = OPERATOR, **more: Any
    ) -> Suspension:
        """A suspension over `TYPE:CODE`s."""
        return self.do(
            lambda s: suspensions.open(
                s,
                [suspensions.target(s, reference) for reference in references],
                mode=mode,
                reason=more.pop("reason", Reason.CLIENT_REQUEST),
                by=by,
                **more,
            )
        )

    def drill(self, *references: str) -> list[Drill]:
        """A pause that is rehearsed and kept."""
        with self.store.reading() as session:
            targets = [suspensions.target(session, reference) for reference in references]
        found = drilling.rehearse(self.store, targets, mode=Mode.PAUSED, by=OPERATOR)
        kept: list[Drill] = self.do(lambda s: drilling.keep(s, found, by=OPERATOR))
        return kept

    def staff(
        self, role: str = "admin", *, client: Client | None = None, name: str | None = None
    ) -> Subject:
        """A colleague with a role, whom no test person made."""
        subject = self.subject(name, kind="staff")
        self.do(
            lambda s: roles.assign(
                s, subject, role, client=client.id if client else None, reason="staff", by=SYSTEM
            )
        )
        return subject

    def activate(self, subject: Subject) -> list[str]:
        """Password and authenticator app for someone; their seed is kept in `seeds`."""
        token = self.do(lambda s: activation.issue(s, subject, by=SYSTEM))
        seed = self.seeds[subject.id] = authenticators.new_seed()
        code = self.code(subject)
        hashed = activation.hash_password(PASSWORD)
        _, codes = self.do(
            lambda s: activation.complete(s, token, password_hash=hashed, seed=seed, code=code)
        )
        return codes

    def enrol(self, subject: Subject) -> None:
        """An authenticator app for someone, in place of the one before; no password."""
        seed = self.seeds[subject.id] = authenticators.new_seed()
        code = self.code(subject)
        self.do(lambda s: authenticators.enrol(s, subject, seed=seed, code=code, by=OPERATOR))

    def demand(
        self,
        reference: str,
        factor: demands.Factor = demands.Factor.SECOND_FACTOR,
        *,
        starts: datetime | None = None,
    ) -> demands.FactorDemand:
        """A demand of `role:NAME`, `client:CODE` or `project:CODE`."""
        return self.do(
            lambda s: demands.impose(
                s, demands.over(s, reference, by=OPERATOR), factor,
                starts=starts, reason="contract", by=OPERATOR,
            )
        )  # fmt: skip

    def code(self, subject: Subject, *, at: datetime | None = None) -> str:
        """What someone's authenticator app shows."""
        import pyotp

        return pyotp.TOTP(self.seeds[subject.id]).at(at or clock.utcnow())

    def integration(
        self, name: str = "tool", *, scopes: tuple[str, ...] = ("decision",), **more: Any
    ) -> tuple[Integration, str]:
        """A system with credentials: its row and its secret."""
        made: tuple[Integration, str] = self.do(
            lambda s: integrations.create(s, name, scopes=scopes, **{"by": OPERATOR} | more)
        )
        return made

    # --- asking and reading

    def ask(
        self, subject: Subject, resource: Project | Dataset, action: str = "read", **more: Any
    ) -> evaluation.Decision:
        """A recorded decision."""
        kind = "dataset" if isinstance(resource, Dataset) else "project"
        question = Question(
            subject=subject.external_id, action=action, kind=kind, code=resource.code, **more
        )
        return evaluation.decide(self.store, question, by=OPERATOR)

    def permits(self, subject: Subject, resource: Project | Dataset, action: str = "read") -> bool:
        """Whether someone may do something now."""
        return self.ask(subject, resource, action).permit

    def entries(self, log_id: str, *types: str) -> list[dict[str, Any]]:
        """The leaves of a log in order, of some types alone when told."""
        with self.store.reading() as session:
            rows = session.execute(
                select(Entry.leaf).where(Entry.log_id == log_id).order_by(Entry.seq)
            ).scalars()
            leaves = [json.loads(leaf) for leaf in rows]
        return [leaf for leaf in leaves if not types or leaf["type"] in types]

    def revoke(self, grant: Grant) -> None:
        """The end of a grant."""
        self.do(
            lambda s: grants.revoke(s, s.get_one(type(grant), grant.id), reason="end", by=OPERATOR)
        )

    # --- acts of two

    def narrow(self, suspension: Suspension, *references: str) -> None:
        """Take parts out of a suspension, by two people."""

        def ask(session: Session) -> Request:
            row = session.merge(suspension)
            out = [suspensions.target(session, reference) for reference in references]
            return suspensions.ask_narrow(session, row, out, by=OPERATOR)

        self.approve(self.do(ask), by=SECOND)

    def ask_lift(self, suspension: Suspension, *, by: Principal) -> Request:
        """A request to lift, with the number that its list shows now."""

        def work(session: Session) -> Request:
            row = session.get_one(type(suspension), suspension.id)
            number = suspensions.returning(session, grants.Supposing(suspension=row.id))
            return suspensions.ask_lift(session, row, number=number, by=by)

        return self.do(work)

    def approve(self, request: Request, *, by: Principal) -> Request:
        """The second person's approval, who types the number that the list showed."""
        return self.do(lambda s: requests.approve(s, request.id, number=request.number, by=by))

    def people_list(self, *people: Subject) -> PeopleList:
        """A list of people, to be suspended as one."""
        names = [
            suspensions.people.Name(line, person.external_id)
            for line, person in enumerate(people, 1)
        ]
        return self.do(lambda s: suspensions.people.take(s, names, by=OPERATOR))

    def lift(self, suspension: Suspension) -> None:
        """A lift by two people at the machine."""
        request = self.ask_lift(suspension, by=OPERATOR)
        self.approve(request, by=SECOND)

    def write_particulars(self) -> int:
        """All outstanding entries of suspensions, one a grant; and how many people these are."""
        written = suspensions.particulars.write(self.store)
        suspensions.tallying.tally(self.store)
        return written

    # --- many at a time

    def load(self, *rows: str, **more: Any) -> Outcome:
        """Import lines of a roster (without the header)."""
        return roster.load(self.store, roster_file(*rows), by=OPERATOR, **more)

    def crowd(self, project: Project, client: Client, size: int) -> None:
        """Many people with a grant each for one project."""
        self.entitlement()
        start = next(_numbers)
        outcome = self.load(
            *(row(f"C{start}-{i:05}", client=client.code, project=project.code)
              for i in range(size))
        )  # fmt: skip
        assert outcome.applied


SECOND = operator("second")


def row(
    external_id: str = "P90001",
    *,
    email: str | None = None,
    name: str = "Zoë Ångström",
    kind: str = "annotator",
    organisation: str = "direct",
    client: str = "ASTER",
    project: str = "Kingfisher",
    dataset: str = "",
    entitlement: str = "annotator",
    starts: str = "2026-10-01T00:00:00Z",
    ends: str = "2036-10-01T00:00:00Z",
) -> str:
    """One line of a roster."""
    mail = f"{external_id.lower()}@people.example" if email is None else email
    cells = (external_id, mail, name, kind, organisation, "KE", "", client, project,
             dataset, entitlement, starts, ends)  # fmt: skip
    return ",".join(cells)


def roster_file(*rows: str, newline: str = "\n") -> io.BytesIO:
    """A roster of these lines."""
    return io.BytesIO(newline.join([",".join(roster.COLUMNS), *rows, ""]).encode())


def together(store: Database, *works: Callable[[Session], Any]) -> list[Any]:
    """Run units of work at once; gives each one's result, or the error that it ended in.

    On PostgreSQL each has read all that it reads before either commits, which is the worst case;
    SQLite lets one writer in at a time.
    """
    meeting = threading.Barrier(len(works))
    results: list[Any] = [None] * len(works)

    def run(place: int, work: Callable[[Session], Any]) -> None:
        met = False

        def unit(session: Session) -> Any:
            nonlocal met
            result = work(session)
            if store.is_postgresql and not met:
                met = True
                meeting.wait(20)
            return result

        try:
            if not store.is_postgresql:
                meeting.wait(20)
            results[place] = store.transaction(unit)
        except Exception as error:  # noqa: BLE001 - the caller looks at what it is
            results[place] = error
            if not met:
                meeting.abort()

    threads = [threading.Thread(target=run, args=item) for item in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
