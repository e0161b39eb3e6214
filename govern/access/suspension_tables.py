"""The tables of suspensions: a suspension, its modes, targets, releases, notices, particulars."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Index, UniqueConstraint, and_, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from govern.clock import Utc
from govern.db import Audited, Base, Code, Id, references, text_column


class Scope(StrEnum):
    """What a suspension can be laid over."""

    CLIENT = "client"
    PROJECT = "project"
    DATASET = "dataset"
    SUBJECT = "subject"
    ORGANISATION = "organisation"
    PEOPLE = "people"


class Reason(StrEnum):
    """Why, from a closed list."""

    CLIENT_REQUEST = "client_request"
    SECURITY_INCIDENT = "security_incident"
    INTERNAL_REVIEW = "internal_review"
    LEGAL = "legal"
    CONDUCT = "conduct"
    OTHER = "other"


class Suspension(Audited, Base):
    """A deny overlay; `recorded_at` is its first entry's instant, `ended_at` the lift's.

    `internal_reason` is for admins and auditors; what contractors read are its notices.
    `ordered_at` is when the order reached us, for the time to effect.
    """

    __tablename__ = "suspension"

    id: Mapped[Id] = mapped_column(primary_key=True)
    reason: Mapped[Code]
    internal_reason: Mapped[str]
    ordered_by: Mapped[str]
    incident: Mapped[str]
    hours_until: Mapped[datetime | None] = mapped_column(Utc())
    review_by: Mapped[datetime] = mapped_column(Utc())
    opened_by: Mapped[str] = mapped_column(text_column(200))
    preview_digest: Mapped[str | None] = mapped_column(text_column(64))
    ordered_at: Mapped[datetime] = mapped_column(Utc())
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


class SuspensionMode(Audited, Base):
    """Which mode a suspension has, from one entry of the log to another; the lift ends the last."""

    __tablename__ = "suspension_mode"
    __table_args__ = (
        Index("ix_suspension_mode_suspension", "suspension_id", "ended_at"),
        Index("ix_suspension_mode_recorded_at", "recorded_at"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    suspension_id: Mapped[Id] = mapped_column(references("suspension.id"))
    mode: Mapped[Code]
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


class SuspensionTarget(Audited, Base):
    """One thing that a suspension covers; narrowing ends it."""

    __tablename__ = "suspension_target"
    __table_args__ = (
        Index("ix_suspension_target_target", "target_id", "kind"),
        Index("ix_suspension_target_suspension", "suspension_id"),
        Index("ix_suspension_target_recorded_at", "recorded_at"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    suspension_id: Mapped[Id] = mapped_column(references("suspension.id"))
    kind: Mapped[Code]
    target_id: Mapped[Id]
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


class PeopleList(Base):
    """Many people named at once; written once and never changed.

    `digest` is over their opaque ids, sorted, one a line: what the log holds of a list. `left_out`
    counts the names that whoever gave it agreed to leave out, for they are nobody's.
    """

    __tablename__ = "people_list"

    id: Mapped[Id] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)
    left_out: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str] = mapped_column(text_column(64))
    made_by: Mapped[str] = mapped_column(text_column(200))
    made_at: Mapped[datetime] = mapped_column(Utc())


class PeopleListItem(Base):
    """One person of a list."""

    __tablename__ = "people_list_item"
    __table_args__ = (Index("ix_people_list_item_list", "list_id", "subject_id"),)

    subject_id: Mapped[Id] = mapped_column(primary_key=True)
    list_id: Mapped[Id] = mapped_column(primary_key=True)


def listed_in(list_id: Any, subject_id: Any) -> ColumnElement[bool]:
    """That a list names a person; both may be columns of the asking statement."""
    return (
        select(PeopleListItem.list_id)
        .where(PeopleListItem.list_id == list_id, PeopleListItem.subject_id == subject_id)
        .exists()
        .correlate_except(PeopleListItem)
    )


def naming(target: Any, subject_id: Any) -> ColumnElement[bool]:
    """That a target is a person themselves, alone or in a list, not what they work on or for."""
    return or_(
        and_(target.kind == Scope.SUBJECT, target.target_id == subject_id),
        and_(target.kind == Scope.PEOPLE, listed_in(target.target_id, subject_id)),
    )


class SuspensionRelease(Audited, Base):
    """What a suspension holds no longer, though it stands for others.

    A person, or a project or dataset inside its scope, by `kind`; a part of its scope that is
    itself a target is narrowed out instead.
    """

    __tablename__ = "suspension_release"
    __table_args__ = (
        Index("ix_suspension_release_suspension", "suspension_id", "target_id"),
        Index("ix_suspension_release_target", "target_id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    suspension_id: Mapped[Id] = mapped_column(references("suspension.id"))
    kind: Mapped[Code]
    target_id: Mapped[Id]
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


class ScheduledResume(Audited, Base):
    """A lift that two agreed on for a time to come; nobody is let in unless someone confirms it.

    `shown_at` is when the list of who comes back was shown to them, `confirmed_at` when it was
    shown to whoever confirmed last. `outcome` says how it ended: resumed, lifted (before),
    cancelled, or missed: unconfirmed, unlisted (others would have come back) or late.
    """

    __tablename__ = "scheduled_resume"
    __table_args__ = (
        Index("ix_scheduled_resume_open", "ended_at", "at"),
        Index("ix_scheduled_resume_suspension", "suspension_id", "ended_at"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    suspension_id: Mapped[Id] = mapped_column(references("suspension.id"))
    at: Mapped[datetime] = mapped_column(Utc())
    shown_at: Mapped[datetime] = mapped_column(Utc())
    asked_by: Mapped[str] = mapped_column(text_column(200))
    approved_by: Mapped[str] = mapped_column(text_column(200))
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    confirmed_by: Mapped[str | None] = mapped_column(text_column(200))
    confirmed_at: Mapped[datetime | None] = mapped_column(Utc())
    outcome: Mapped[Code | None]
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


class SuspensionNotice(Audited, Base):
    """One version of what the people affected are told; nothing of it changes once it is posted.

    `next_update_by` is when they hear again at the latest, `submit_by` until when they may hand in
    hours.
    """

    __tablename__ = "suspension_notice"
    __table_args__ = (
        UniqueConstraint("suspension_id", "number", name="uq_suspension_notice_number"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    suspension_id: Mapped[Id] = mapped_column(references("suspension.id"))
    number: Mapped[int]
    known: Mapped[str]
    not_known: Mapped[str]
    contact: Mapped[str] = mapped_column(text_column(200))
    next_update_by: Mapped[datetime | None] = mapped_column(Utc())
    submit_by: Mapped[datetime | None] = mapped_column(Utc())
    posted_by: Mapped[str] = mapped_column(text_column(200))
    recorded_at: Mapped[datetime] = mapped_column(Utc())


class NoticeAcknowledgement(Audited, Base):
    """That a person says they have read one version of a notice."""

    __tablename__ = "notice_acknowledgement"

    notice_id: Mapped[Id] = mapped_column(references("suspension_notice.id"), primary_key=True)
    subject_id: Mapped[Id] = mapped_column(references("subject.id"), primary_key=True)
    recorded_at: Mapped[datetime] = mapped_column(Utc())


class Particulars(Base):
    """How far the entries of one act, one a grant, are written in one client's log.

    `as_at` is the act's instant: the set is a function of it. `cursor` is the last grant written,
    `digest` the chain over those written so far (hex). `total`, the size of the set, is counted
    once for a long one while it is written, and is empty before. `people` are those whom an opening
    touched, counted once all of its entries are there (`tallying`).
    """

    __tablename__ = "particulars"
    __table_args__ = (
        Index("ix_particulars_open", "finished_at", "suspension_id"),
        Index("ix_particulars_suspension", "suspension_id", "as_at"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    suspension_id: Mapped[Id] = mapped_column(references("suspension.id"))
    log_id: Mapped[Id]
    event: Mapped[Code]
    mode: Mapped[Code | None]
    as_at: Mapped[datetime] = mapped_column(Utc())
    cursor: Mapped[Id]
    written: Mapped[int] = mapped_column(BigInteger, default=0)
    total: Mapped[int | None] = mapped_column(BigInteger)
    people: Mapped[int | None] = mapped_column(BigInteger)
    digest: Mapped[str] = mapped_column(text_column(64))
    finished_at: Mapped[datetime | None] = mapped_column(Utc())


class Drill(Audited, Base):
    """A pause that was rehearsed and rolled back: what was measured, of one log's targets.

    `microseconds` are those of the enforcing act; `rate` is entries a second, None if there were
    none; `targets` a JSON list of kind and id; `digest` that of the grants.
    """

    __tablename__ = "drill"
    __table_args__ = (Index("ix_drill_log", "log_id", "id"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    log_id: Mapped[Id]
    mode: Mapped[Code]
    targets: Mapped[str]
    microseconds: Mapped[int] = mapped_column(BigInteger)
    rate: Mapped[int | None] = mapped_column(BigInteger)
    grants: Mapped[int] = mapped_column(BigInteger)
    people: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str] = mapped_column(text_column(64))
    held_by: Mapped[str] = mapped_column(text_column(200))
    recorded_at: Mapped[datetime] = mapped_column(Utc())
