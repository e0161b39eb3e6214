"""What opaque ids stand for: the names and codes that an entry itself does not hold.

And the other way round: what a reader of the logs means by a name. Whatever no log tells them of
is answered as if it were not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import literal, select, union_all

from govern import errors, permissions
from govern.access import clients
from govern.access.clients import Client, Dataset, Project
from govern.audit import reading
from govern.audit.log import HOUSE
from govern.db import listed
from govern.identity import subjects
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session

    from govern.principal import Principal


def of(session: Session, ids: Iterable[str], *, rather: Iterable[Any] = ()) -> dict[str, str]:
    """The name of each person and the code of each client, project and dataset among `ids`.

    `rather` are selects of ids and what these are to be called instead. The caller has been allowed
    to see the entries that these ids come from.
    """
    wanted = sorted({one for one in ids if "_" in one})
    if not wanted:
        return {}
    given = listed(session, wanted)
    columns = [
        (Subject.id, Subject.full_name),
        (Client.id, Client.code),
        (Project.id, Project.code),
        (Dataset.id, Dataset.code),
    ]
    questions: list[Any] = [
        select(key, name, literal(0)).join(given, given.c.value == key) for key, name in columns
    ]
    questions += [query.add_columns(literal(1)) for query in rather]
    found = session.execute(union_all(*questions)).all()
    return {row[0]: row[1] for row in sorted(found, key=lambda row: row[2])}


def log_of(session: Session, code: str, *, by: Principal) -> str:
    """The id of the log of a client's code (or of the house), if the caller may read it."""
    try:
        found = HOUSE if code == HOUSE else clients.client(session, code).id
        permissions.require(by, "log:read", client=None if found == HOUSE else found)
    except (errors.Unknown, errors.Forbidden):
        raise errors.Unknown(f"There is no log of “{code}”.", field="log") from None
    return found


def person_told_of(session: Session, reference: str, *, by: Principal) -> str:
    """The id of a person of whom some log that the caller may read tells."""
    own = session.get(Subject, reference) if reference.startswith("sub_") else None
    found = own or subjects.lookup(session, reference)
    if found is None or not reading.is_known(session, found.id, by=by):
        raise errors.Unknown(f"No log that you may read tells of “{reference}”.", field="subject")
    return found.id


def actor(session: Session, reference: str, *, by: Principal) -> str:
    """Who is meant as the one who acted: a person whom a readable log tells of, or an opaque id."""
    try:
        return person_told_of(session, reference, by=by)
    except errors.Unknown:
        return reference


def project_told_of(session: Session, code: str, *, by: Principal) -> str:
    """The id of a project whose client's log the caller may read."""
    try:
        found = clients.project(session, code)
        permissions.require(by, "log:read", client=found.client_id)
    except (errors.Unknown, errors.Forbidden):
        raise errors.Unknown(f"There is no project “{code}”.", field="project") from None
    return found.id
