"""Requests that nothing can come of any more end by themselves, and say why.

They die when what they ask for, whom it is for or who asked is gone; when their place pauses, if
the policy lets none wait; and when nobody answered in time. Nothing hangs on how soon this is
looked at: what has ended or is held is refused by every approval.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.orm import aliased

from govern import clock
from govern.access import requests
from govern.access.asking import policies
from govern.access.asking.tables import Pausing
from govern.access.clients import Client, Dataset, Project
from govern.access.modes import Mode
from govern.access.requests import Request, RequestKind
from govern.access.suspension_tables import Scope, SuspensionMode, SuspensionTarget
from govern.audit import EventType
from govern.db import Again
from govern.identity.subjects import Subject
from govern.principal import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database, Session

_AT_ONCE = 500


class Cause(StrEnum):
    """Why a request ended by itself."""

    CLIENT_ENDED = "client_ended"
    PROJECT_ENDED = "project_ended"
    DATASET_ENDED = "dataset_ended"
    PERSON_LEFT = "person_left"
    ASKER_LEFT = "asker_left"
    PAUSED = "paused"
    UNANSWERED = "unanswered"


def tend(database: Database, *, progress: Callable[[int], None] | None = None) -> int:
    """End each request whose cause has come, in a transaction of its own; returns how many.

    What stops one keeps no other from ending: the first failure is raised after the last.
    """
    with database.reading() as session:
        due = session.execute(_due().limit(_AT_ONCE)).all()
    done, failures = 0, list[Exception]()
    for row in due:
        try:
            done += database.transaction(partial(_end, request_id=row.id))
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are due too
            failures.append(error)
        if progress is not None:
            progress(1)
    if failures:
        raise failures[0]
    return done


def _end(session: Session, request_id: str) -> int:
    query = _due().where(Request.id == request_id)
    due = session.execute(query).one_or_none()
    if due is None:
        return 0  # somebody decided it, or the policy changed

    def still_due(session: OrmSession) -> None:
        if session.execute(query).one_or_none() != due:
            raise Again

    row = session.get_one(Request, request_id)
    requests.end(
        session,
        row,
        "expired" if due.cause == Cause.UNANSWERED else "died",
        EventType.REQUEST_DIED,
        cause=due.cause,
        recheck=still_due,
        by=SYSTEM,
    )
    return 1


@cache
def _due() -> Select[Any]:
    """Requests for access with the cause of their end, where one has come, the oldest first."""
    asker = aliased(Subject)
    cause = case(
        (Client.ended_at.is_not(None), Cause.CLIENT_ENDED),
        (Project.ended_at.is_not(None), Cause.PROJECT_ENDED),
        (Dataset.ended_at.is_not(None), Cause.DATASET_ENDED),
        (Subject.ended_at.is_not(None), Cause.PERSON_LEFT),
        (asker.ended_at.is_not(None), Cause.ASKER_LEFT),
        (_paused(), Cause.PAUSED),
        (Request.expires_at <= clock.instant(), Cause.UNANSWERED),
    )
    query = (
        select(Request.id, cause.label("cause"))
        .join(Client, Client.id == Request.client_id)
        .join(Project, Project.id == Request.project_id)
        .join(Subject, Subject.id == Request.subject_id)
        .outerjoin(Dataset, Dataset.id == Request.dataset_id)
        .outerjoin(asker, asker.id == Request.asked_by)
        .where(
            Request.ended_at.is_(None), Request.kind == RequestKind.GRANT, cause.is_not(None)
        )
        .order_by(Request.recorded_at)
    )  # fmt: skip
    return policies.nearest(query)


def _paused() -> ColumnElement[bool]:
    """Its place is stopped, or was since it was asked, and the policy then said that it dies."""
    named = or_(
        and_(
            SuspensionTarget.kind == Scope.CLIENT, SuspensionTarget.target_id == Request.client_id
        ),
        and_(
            SuspensionTarget.kind == Scope.PROJECT,
            SuspensionTarget.target_id == Request.project_id,
        ),
        and_(
            SuspensionTarget.kind == Scope.DATASET,
            SuspensionTarget.target_id == Request.dataset_id,
        ),
    )
    since = [
        or_(
            each.is_(None),
            and_(
                each > Request.recorded_at,
                each > func.coalesce(*(each.recorded_at for each in policies.OVER)),
            ),
        )
        for each in (SuspensionMode.ended_at, SuspensionTarget.ended_at)
    ]
    stopped = (
        select(SuspensionMode.id)
        .join(SuspensionTarget, SuspensionTarget.suspension_id == SuspensionMode.suspension_id)
        .where(SuspensionMode.mode != Mode.UNDER_REVIEW, named, *since)
        .exists()
    )
    return and_(func.coalesce(*(each.pausing for each in policies.OVER)) == Pausing.DIES, stopped)
