"""The list of grants: whose, on what, until when, and how each stands now."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_

from govern import clock, errors
from govern.access import grants
from govern.access.clients import Client, Dataset, Project
from govern.access.entitlements import Entitlement
from govern.access.grants import Grant
from govern.access.holdings.given import STATUSES, stands, status_now
from govern.access.lists.engine import List, of_code, of_firm, of_whom
from govern.identity.subjects import Membership, Organisation, Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Select

_DAY = timedelta(days=1)


def _grants(columns: Sequence[Any]) -> Select[Any]:
    belongs = and_(Membership.subject_id == Subject.id, Membership.ended_at.is_(None))
    return (
        grants.facts(*columns)
        .join(Entitlement, Entitlement.id == Grant.entitlement_id)
        .outerjoin(Dataset, Dataset.id == Grant.dataset_id)
        .join(Membership, belongs)
        .join(Organisation, Organisation.id == Membership.organisation_id)
    )


def _from(value: str, _: object) -> ColumnElement[bool]:
    """Those that end on a day (of UTC) or later."""
    found: ColumnElement[bool] = Grant.ends_at >= _day(value, "ends_from")
    return found


def _to(value: str, _: object) -> ColumnElement[bool]:
    """Those that end on a day (of UTC) or before."""
    try:
        found: ColumnElement[bool] = Grant.ends_at < _day(value, "ends_to") + _DAY
    except OverflowError:
        raise errors.Invalid("That day is beyond the calendar.", field="ends_to") from None
    return found


def _day(value: str, field: str) -> datetime:
    return clock.parse(f"{value}T00:00:00Z", field=field)


GRANTS = List(
    name="grants",
    permission="grant:read",
    key=Grant.id,
    columns={
        "person": Subject.full_name, "external_id": Subject.external_id,
        "organisation": Organisation.name, "project": Project.code, "dataset": Dataset.code,
        "client": Client.code, "entitlement": Entitlement.name, "status": status_now(),
        "starts": Grant.starts_at, "ends": Grant.ends_at, "since": Grant.recorded_at,
        "ended": Grant.ended_at, "subject_id": Subject.id,
    },
    query=_grants,
    sorts={"since": Grant.id, "ends": Grant.ends_at},
    filters={
        "q": of_whom,
        "person": lambda value, _: Grant.subject_id == value,
        "client": of_code(Grant.client_id, Client),
        "project": of_code(Grant.project_id, Project),
        "organisation": of_firm,
        "entitlement": lambda value, _: Entitlement.name == value,
        "status": lambda value, _: stands(value),
        "ends_from": _from,
        "ends_to": _to,
    },
    choices={"status": STATUSES},
    visible=Grant.client_id.in_,
    hidden=("subject_id",),
    is_long=True,
    found_by=frozenset({"person", "client", "project", "ends_from", "ends_to"}),
)  # fmt: skip
