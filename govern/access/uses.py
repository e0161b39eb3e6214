"""Uses: what the access log tells of people, projects and integrations, by the names they go by.

A filter in people's words becomes one in opaque ids, and the ids that rows hold become names again,
each only as far as the reader may know it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from govern import errors, permissions
from govern.access import names
from govern.access.clients import Dataset
from govern.audit.log import Entry
from govern.audit.searching import Where
from govern.db import listed
from govern.identity import integrations

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy.orm import Session

    from govern.audit.decisions import AccessKind
    from govern.audit.searching import Row
    from govern.principal import Principal


def where(
    session: Session,
    *,
    subject: str = "",
    project: str = "",
    integration: str = "",
    permit: bool | None = None,
    kind: AccessKind | None = None,
    begin: datetime | None = None,
    end: datetime | None = None,
    by: Principal,
) -> Where:
    """Read a filter; `Unknown` at its field for what is not there, or not the reader's to know.

    A project stands for its datasets too. An integration goes by its name or id.
    """
    return Where(
        person=names.person_told_of(session, subject, by=by) if subject else None,
        resources=_resources(session, project, by=by) if project else None,
        principal=_integration(session, integration, by=by) if integration else None,
        permit=permit,
        kind=kind,
        begin=begin,
        end=end,
    )


def called(session: Session, rows: Iterable[Row], *, by: Principal) -> dict[str, str]:
    """The names behind the ids of some rows; what the reader may not know stays its id.

    A client's reader knows the people of whom that client's log tells, and its own integrations;
    the code of the client itself is told whatever the rows are.
    """
    ids: set[str] = set()
    for row in rows:
        ids |= {row.principal, row.subject_id or "", row.client_id or "", row.resource_id or ""}
    clients = permissions.scope(by, "log:read")
    systems = integrations.names(session, [one for one in ids if one.startswith("int_")], by=by)
    known = ids if clients is None else _known(session, ids, clients) | clients
    return names.of(session, known) | systems


def _known(session: Session, ids: set[str], clients: frozenset[str]) -> set[str]:
    people = listed(session, sorted(one for one in ids if one.startswith("sub_")))
    told = (
        select(Entry.seq)
        .where(Entry.subject_id == people.c.value, Entry.log_id.in_(clients))
        .correlate(people)
        .exists()
    )
    known = set(session.execute(select(people.c.value).where(told)).scalars())
    return known | {one for one in ids if not one.startswith("sub_")}


def _resources(session: Session, project: str, *, by: Principal) -> tuple[str, ...]:
    """The ids that a project's rows name: its own, and those of its datasets."""
    found = names.project_told_of(session, project, by=by)
    inner = select(Dataset.id).where(Dataset.project_id == found)
    return (found, *session.execute(inner).scalars())


def _integration(session: Session, reference: str, *, by: Principal) -> str:
    try:
        found = integrations.find(session, reference).id
    except errors.Unknown:
        found = ""
    if found not in integrations.names(session, [found] if found else [], by=by):
        raise errors.Unknown(f"There is no integration “{reference}”.", field="integration")
    return found
