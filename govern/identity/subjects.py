"""Subjects: the people and services who may hold access, from registration to the day they leave.

A subject is never deleted: offboarding closes the row's window, and whoever comes back is a new
subject who starts with no grant. Which organisation someone belongs to is kept by interval, since
an organisation can be suspended and "who had access then" asks for the organisation of then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import Index, select
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors, permissions
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.clock import Utc
from govern.db import (
    Audited,
    Base,
    Code,
    Id,
    insert_if_absent,
    new_id,
    references,
    text_column,
)
from govern.identity import countries, words
from govern.identity.typed import code, text

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

_EMAIL = re.compile(r"[^@\s,;<>()\[\]\"']+@[^@\s,;<>()\[\]\"'.]+(\.[^@\s,;<>()\[\]\"'.]+)+")
DIRECT = "direct"  # the organisation of who works through no firm


class SubjectKind(StrEnum):
    """What sort of subject."""

    ANNOTATOR = "annotator"
    EXPERT = "expert"
    STAFF = "staff"
    SERVICE = "service"


class Organisation(Base):
    """A firm through which people work; `direct` is the house itself."""

    __tablename__ = "organisation"

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(text_column(200), unique=True)


class Subject(Audited, Base):
    """One who may hold access. `created_by` is whom a second person must not be.

    Of whom was erased (`access.erasing`) id and kind are left, in the place of their particulars.
    """

    __tablename__ = "subject"
    __table_args__ = (
        Index(
            "ix_subject_ended_at",
            "ended_at",  # who left until some instant, among many who did not
            sqlite_where=sql("ended_at IS NOT NULL"),
            postgresql_where=sql("ended_at IS NOT NULL"),
        ),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    external_id: Mapped[Code] = mapped_column(unique=True)
    email: Mapped[str] = mapped_column(text_column(254), unique=True)
    full_name: Mapped[str] = mapped_column(text_column(200))
    kind: Mapped[Code]
    country: Mapped[str] = mapped_column(text_column(2))
    expertise: Mapped[str] = mapped_column(text_column(200))
    created_by: Mapped[str] = mapped_column(text_column(200))
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())
    erased_at: Mapped[datetime | None] = mapped_column(Utc())
    # What they like to read (`govern.languages`); None is whatever their browser asks for.
    language: Mapped[str | None] = mapped_column(text_column(8))


class Membership(Audited, Base):
    """That a subject belongs to an organisation, from one entry of the log to another."""

    __tablename__ = "membership"
    __table_args__ = (
        Index("ix_membership_organisation", "organisation_id", "subject_id"),
        Index("ix_membership_subject", "subject_id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    subject_id: Mapped[Id] = mapped_column(references("subject.id"))
    organisation_id: Mapped[Id] = mapped_column(references("organisation.id"))
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


# --- values as people type them ----------------------------------------------------------------


def external_id_of(value: str, *, field: str = "external_id") -> str:
    """The company's own id of a person: whatever holds an “@” is read as an address."""
    value = code(value, field=field)
    if "@" in value:
        raise errors.Invalid(
            f"{field} holds an “@”: it would be taken for an e-mail address.", field=field
        )
    return value


def email_address(value: str, *, field: str = "email") -> str:
    """An address, in lower case: addresses compare without case."""
    value = text(value, field=field, length=254).lower()
    if not _EMAIL.fullmatch(value):
        raise errors.Invalid(f"“{value}” is not an e-mail address.", field=field)
    return value


def country_code(value: str, *, field: str = "country") -> str:
    """An ISO 3166-1 alpha-2 code."""
    value = text(value, field=field)
    if value not in countries.CODES:
        raise errors.Invalid(f"“{value}” is not a country code of ISO 3166-1.", field=field)
    return value


def kind_of(value: str, *, field: str = "kind") -> SubjectKind:
    """One of the four kinds."""
    value = text(value, field=field)
    try:
        return SubjectKind(value)
    except ValueError:
        raise errors.Invalid(
            f"“{value}” is none of {', '.join(SubjectKind)}.", field=field
        ) from None


@dataclass(frozen=True, kw_only=True)
class Particulars:
    """What is known of a person, checked."""

    external_id: str
    email: str
    full_name: str
    kind: SubjectKind
    organisation: str
    country: str
    expertise: str

    @classmethod
    def checked(
        cls,
        *,
        external_id: str,
        email: str,
        full_name: str,
        kind: str,
        organisation: str = DIRECT,
        country: str,
        expertise: str = "",
    ) -> Particulars:
        """Read what was typed; `Invalid` names the leftmost field at fault."""
        return cls(
            external_id=external_id_of(external_id),
            email=email_address(email),
            full_name=text(full_name, field="full_name"),
            kind=kind_of(kind),
            organisation=text(organisation, field="organisation"),
            country=country_code(country),
            expertise=text(expertise, field="expertise", required=False),
        )

    def private(self) -> dict[str, str | None]:
        """The personal values that a record commits to."""
        return {
            "external_id": self.external_id,
            "email": self.email,
            "full_name": self.full_name,
            "country": self.country,
            "expertise": self.expertise,
        }


# --- finding -----------------------------------------------------------------------------------


def lookup(session: OrmSession, reference: str) -> Subject | None:
    """The subject with this external id or e-mail address, offboarded ones too."""
    by_address = "@" in reference
    wanted = address(reference) if by_address else reference.strip()
    column = Subject.email if by_address else Subject.external_id
    return session.execute(select(Subject).where(column == wanted)).scalar_one_or_none()


def address(typed: str) -> str:
    """An e-mail address as it is kept."""
    return typed.strip().lower()


def find(session: OrmSession, reference: str) -> Subject:
    """The subject with this external id, e-mail address or opaque id, or `Unknown`."""
    subject = session.get(Subject, reference) or lookup(session, reference)
    if subject is None:
        raise errors.Unknown(f"Nobody is known as “{reference}”.", field="subject")
    return subject


def organisation_named(session: OrmSession, name: str) -> Organisation:
    """The organisation of this name; `Unknown` if there is none."""
    found = session.execute(
        select(Organisation).where(Organisation.name == name)
    ).scalar_one_or_none()
    if found is None:
        raise errors.Unknown(f"There is no organisation “{name}”.", field="organisation")
    return found


def ensure_organisation(session: OrmSession, name: str) -> Organisation:
    """The organisation of this name, made if need be."""
    query = select(Organisation).where(Organisation.name == name)
    found = session.execute(query).scalar_one_or_none()
    if found is None:
        insert_if_absent(session, Organisation, id=new_id("org"), name=name)
        found = session.execute(query).scalar_one()
    return found


def organisation_of(session: OrmSession, subject: Subject) -> Organisation:
    """The organisation that a subject belongs to now."""
    return session.execute(
        select(Organisation)
        .join(Membership, Membership.organisation_id == Organisation.id)
        .where(Membership.subject_id == subject.id, Membership.ended_at.is_(None))
    ).scalar_one()


# --- operations --------------------------------------------------------------------------------


def register(session: Session, particulars: Particulars, *, by: Principal) -> Subject:
    """Make a person or service known; `AlreadyExists` names the field that is taken."""
    permissions.require(by, "subject:write")

    def free(session: OrmSession) -> None:
        for column, value in (
            (Subject.external_id, particulars.external_id),
            (Subject.email, particulars.email),
        ):
            if session.execute(select(Subject.id).where(column == value)).first():
                raise errors.AlreadyExists(
                    f"“{value}” belongs to someone already.", field=column.key
                )

    def ready(session: OrmSession) -> None:
        free(session)
        words.keep(session, subject.id, subject.full_name)

    free(session)
    organisation = ensure_organisation(session, particulars.organisation)
    subject = Subject(
        id=new_id("sub"),
        external_id=particulars.external_id,
        email=particulars.email,
        full_name=particulars.full_name,
        kind=particulars.kind,
        country=particulars.country,
        expertise=particulars.expertise,
        created_by=by.name or by.id,
    )
    membership = Membership(
        id=new_id("mem"), subject_id=subject.id, organisation_id=organisation.id
    )
    session.add_all([subject, membership])
    record(
        session,
        EventType.SUBJECT_REGISTERED,
        logs=[HOUSE],
        by=by,
        refs={"subject": subject.id, "organisation": organisation.id},
        data={"kind": particulars.kind},
        private=particulars.private(),
        about=subject.id,
        stamps=[(subject, "recorded_at"), (membership, "recorded_at")],
        recheck=ready,
    )
    return subject


def change(
    session: Session,
    subject: Subject,
    *,
    full_name: str | None = None,
    kind: str | None = None,
    country: str | None = None,
    expertise: str | None = None,
    by: Principal,
) -> None:
    """Change particulars of a person; address and organisation have ways of their own."""
    permissions.require(by, "subject:write")
    _still_here(subject)
    wanted = {
        "full_name": None if full_name is None else text(full_name, field="full_name"),
        "kind": None if kind is None else kind_of(kind),
        "country": None if country is None else country_code(country),
        "expertise": None
        if expertise is None
        else text(expertise, field="expertise", required=False),
    }
    changed = {
        name: value
        for name, value in wanted.items()
        if value is not None and value != getattr(subject, name)
    }
    if not changed:
        return
    for name, value in changed.items():
        setattr(subject, name, value)

    def still_theirs(session: OrmSession) -> None:
        # Whoever was erased meanwhile must not be named anew.
        left = select(Subject.ended_at).where(Subject.id == subject.id)
        if session.execute(left).scalar_one() is not None:
            raise errors.Stale("This person left just now.")
        if "full_name" in changed:
            words.keep(session, subject.id, subject.full_name)

    record(
        session,
        EventType.SUBJECT_CHANGED,
        logs=[HOUSE],
        by=by,
        refs={"subject": subject.id},
        data={"fields": sorted(changed)},
        private=dict(changed),
        about=subject.id,
        covers=[subject],
        recheck=still_theirs,
    )


def _still_here(subject: Subject) -> None:
    if subject.ended_at is not None:
        raise errors.AlreadyEnded(
            f"{subject.full_name} left on {clock.text(subject.ended_at)}.", field="subject"
        )
