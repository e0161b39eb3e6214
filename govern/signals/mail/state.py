"""How mail stands, for those who answer for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, select

from govern import clock, permissions
from govern.db import listed
from govern.identity.subjects import Subject
from govern.signals.mail.sending import NO_NEWS, SERVER
from govern.signals.mail.tables import MailAct, MailDelivery, MailServer, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from govern.principal import Principal

# What failed longer ago is history: the page of the act itself tells of it.
_LATELY = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """The mail server takes no mail: since when, what is wrong, and how many wait to be told."""

    since: datetime
    error: str
    waiting: int


@dataclass(frozen=True, kw_only=True)
class Told:
    """How many mails about a suspension are sent, are on their way, and were given up."""

    sent: int = 0
    waiting: int = 0
    given_up: int = 0


def trouble(session: Session) -> Trouble | None:
    """What is wrong with the mail server; None while it takes mail, or there is none."""
    if not session.database.settings.smtp_url:  # type: ignore[attr-defined]  # ours has it
        return None
    waiting = select(func.count()).where(MailDelivery.next_try_at.is_not(None)).scalar_subquery()
    row = session.execute(
        select(MailServer.failing_since, MailServer.error, waiting).where(
            MailServer.id == SERVER, MailServer.failing_since.is_not(None)
        )
    ).one_or_none()
    return Trouble(since=row[0], error=row[1], waiting=row[2]) if row is not None else None


def told(session: Session, suspension_id: str) -> Told | None:
    """How far people were told of what was done to a suspension; None where nobody was to be."""
    rows = dict(
        session.execute(
            select(MailDelivery.state, func.count())
            .join(MailAct, MailAct.id == MailDelivery.act_id)
            .where(MailAct.suspension_id == suspension_id)
            .group_by(MailDelivery.state)
        ).all()
    )
    if not rows:
        return None
    return Told(
        sent=rows.get(State.SENT, 0),
        waiting=rows.get(State.WAITING, 0) + rows.get(State.FAILED, 0),
        given_up=rows.get(State.GIVEN_UP, 0),
    )


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One mail to one person about an act on a suspension; `ended_at` is when it left, or died."""

    suspension_id: str
    type: str
    at: datetime
    state: State
    ended_at: datetime | None


def deliveries(session: Session, subject_id: str, suspension_ids: Iterable[str]) -> list[Delivery]:
    """How each mail to a person about some suspensions stands."""
    among = listed(session, sorted(set(suspension_ids)))
    rows = session.execute(
        select(MailAct.suspension_id, MailAct.type, MailAct.at, MailDelivery.state,
               MailDelivery.ended_at)
        .join(among, among.c.value == MailAct.suspension_id)
        .join(
            MailDelivery,
            and_(MailDelivery.act_id == MailAct.id, MailDelivery.subject_id == subject_id),
        )
        .order_by(MailAct.at)
    )  # fmt: skip
    return [
        Delivery(
            suspension_id=row[0] or "", type=row[1], at=row[2], state=State(row[3]), ended_at=row[4]
        )
        for row in rows
    ]


# --- what failed for good ----------------------------------------------------------------------


@cache
def lost() -> Select[Any]:
    """Mails of the last week that were given up though there was something to tell."""
    return select(MailDelivery.subject_id).where(
        MailDelivery.state == State.GIVEN_UP,
        MailDelivery.ended_at > clock.before(clock.instant(), _LATELY),
        MailDelivery.error != NO_NEWS,
    )


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A person who was to be told of an act, and why no mail got through."""

    subject_id: str
    name: str
    type: str
    suspension_id: str | None
    ended_at: datetime | None
    error: str


def lost_ones(session: Session, *, limit: int, by: Principal) -> list[Lost]:
    """The last mails that were given up, newest first."""
    permissions.require(by, "subject:read")
    rows = session.execute(
        lost()
        .with_only_columns(
            Subject.id, Subject.full_name, MailAct.type, MailAct.suspension_id,
            MailDelivery.ended_at, MailDelivery.error,
        )
        .join(Subject, Subject.id == MailDelivery.subject_id)
        .join(MailAct, MailAct.id == MailDelivery.act_id)
        .order_by(MailDelivery.ended_at.desc())
        .limit(limit)
    )  # fmt: skip
    return [
        Lost(
            subject_id=row[0], name=row[1], type=row[2], suspension_id=row[3], ended_at=row[4],
            error=row[5],
        )
        for row in rows
    ]  # fmt: skip
