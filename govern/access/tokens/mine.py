"""What one gave to tools, as whoever gave it sees it, and taking it back before its time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from govern import clock, errors
from govern.access.clients import Dataset, Project
from govern.access.tokens import checking
from govern.access.tokens.tables import Token
from govern.identity.integrations import Integration

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database
    from govern.principal import Principal


@dataclass(frozen=True, kw_only=True)
class Given:
    """A token, or the code for one, that a tool got of its user: which tool, for what, how long."""

    id: str
    tool: str
    project: str
    dataset: str | None
    since: datetime
    until: datetime


def mine(session: OrmSession, *, by: Principal) -> list[Given]:
    """What tools have of the caller that was not taken back and has not run out, newest first."""
    rows = session.execute(
        select(
            Token.id, Integration.name, Project.code, Dataset.code, Token.issued_at,
            Token.expires_at,
        )
        .join(Integration, Integration.id == Token.integration_id)
        .join(Project, Project.id == Token.project_id)
        .outerjoin(Dataset, Dataset.id == Token.dataset_id)
        .where(
            Token.subject_id == by.id,
            Token.revoked_at.is_(None),
            Token.expires_at > clock.instant(),
        )
        .order_by(Token.issued_at.desc(), Token.id)
    )  # fmt: skip
    return [
        Given(id=row[0], tool=row[1], project=row[2], dataset=row[3], since=row[4], until=row[5])
        for row in rows
    ]


def take_back(database: Database, token_id: str, *, by: Principal) -> None:
    """Make a token that the caller gave worth nothing from now on, and put that on record.

    `Unknown` for another's, and for one that is over: there is nothing left to take.
    """
    with database.reading() as session:
        if token_id not in {one.id for one in mine(session, by=by)}:
            raise errors.Unknown("This tool has no access of yours any more.")
    checking.end(database, token_id, by=by)
