"""What opaque ids stand for: the names and codes that an entry itself does not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, union_all

from govern.access.clients import Client, Dataset, Project
from govern.db import listed
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session


def of(session: Session, ids: Iterable[str]) -> dict[str, str]:
    """The name of each person and the code of each client, project and dataset among `ids`.

    The caller has been allowed to see the entries that these ids come from.
    """
    given = listed(session, sorted({one for one in ids if "_" in one}))
    columns = [
        (Subject.id, Subject.full_name),
        (Client.id, Client.code),
        (Project.id, Project.code),
        (Dataset.id, Dataset.code),
    ]
    found = session.execute(
        union_all(*(select(key, name).join(given, given.c.value == key) for key, name in columns))
    )
    return {row[0]: row[1] for row in found}
