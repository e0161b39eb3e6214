"""A world in few words: a test names what matters to it, and the rest is made up."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

from govern import clock
from govern.access import clients, entitlements, grants, suspensions
from govern.access.modes import Mode
from govern.access.suspensions import Reason
from govern.identity import activation, authenticators, roles, subjects
from govern.principal import SYSTEM, Kind, Principal, RoleHeld, operator

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.access.clients import Client, Dataset, Project
    from govern.access.grants import Grant
    from govern.access.suspensions import Suspension
    from govern.db import Database, Session
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
class World:
    """One database, and short ways to fill it. Every method is a transaction of its own."""

    store: Database
    seeds: dict[str, str] = field(default_factory=dict)

    def do(self, work: Callable[[Session], Any]) -> Any:
        """Run one unit of work."""
        return self.store.transaction(work)

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

    def dataset(self, project: Project, code: str = "kingfisher-audio") -> Dataset:
        """A dataset of a project."""
        return self.do(lambda s: clients.create_dataset(s, project, code, by=OPERATOR))

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
    ) -> Subject:
        """A person."""
        external_id = external_id or f"P{next(_numbers):05}"
        particulars = subjects.Particulars.checked(
            external_id=external_id,
            email=f"{external_id}@people.example",
            full_name=f"Person {external_id}",
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

    def staff(self, role: str = "admin", *, client: Client | None = None) -> Subject:
        """A colleague with a role, whom no test person made."""
        subject = self.subject(kind="staff")
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

    def code(self, subject: Subject, *, at: datetime | None = None) -> str:
        """What someone's authenticator app shows."""
        import pyotp

        return pyotp.TOTP(self.seeds[subject.id]).at(at or clock.utcnow())
