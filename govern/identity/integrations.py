"""Integrations: other systems that ask; each has an id, a secret shown once, and a scope.

The secret has 256 random bits, so its SHA-256 is stored, not a slow hash: it is checked on every
question.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors, permissions
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.clock import Utc
from govern.db import Audited, Base, Id, new_id, text_column
from govern.identity import subjects
from govern.principal import Kind, Principal, RoleHeld

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session

SCOPES = ("decision",)


class Integration(Audited, Base):
    """A system with credentials; `client_id` None means it may ask about every client."""

    __tablename__ = "integration"

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(text_column(200), unique=True)
    scope: Mapped[str] = mapped_column(text_column(200))
    client_id: Mapped[Id | None]
    secret_hash: Mapped[str] = mapped_column(text_column(64))
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


def create(
    session: Session,
    name: str,
    *,
    scopes: tuple[str, ...],
    client: str | None = None,
    by: Principal,
) -> tuple[Integration, str]:
    """Give a system credentials; returns its row and the secret, which is never seen again."""
    permissions.require(by, "integration:create", now=clock.now(session))
    name = subjects.text(name, field="name")
    if not scopes or any(scope not in SCOPES for scope in scopes):
        raise errors.Invalid(f"A scope is one of: {', '.join(SCOPES)}.", field="scope")

    def free(session: OrmSession) -> None:
        if session.execute(select(Integration.id).where(Integration.name == name)).first():
            raise errors.AlreadyExists(f"There is an integration “{name}” already.", field="name")

    free(session)
    secret = secrets.token_urlsafe(32)
    row = Integration(
        id=new_id("int"),
        name=name,
        scope=" ".join(scopes),
        client_id=client,
        secret_hash=_hash(secret),
    )
    session.add(row)
    record(
        session,
        EventType.INTEGRATION_CREATED,
        logs=[HOUSE, client] if client else [HOUSE],
        by=by,
        refs={"integration": row.id, "client": client},
        data={"scope": list(scopes)},
        private={"name": name},
        stamps=[(row, "recorded_at")],
        recheck=free,
    )
    return row, secret


def authenticate(session: OrmSession, client_id: str, client_secret: str) -> Principal:
    """The principal behind an id and a secret; `Unauthenticated` otherwise."""
    row = session.execute(
        select(Integration).where(Integration.id == client_id, Integration.ended_at.is_(None))
    ).scalar_one_or_none()
    stored = row.secret_hash if row is not None else _hash("")
    if not secrets.compare_digest(stored, _hash(client_secret)) or row is None:
        raise errors.Unauthenticated("These credentials are not known.")
    return Principal(
        kind=Kind.INTEGRATION,
        id=row.id,
        roles=tuple(RoleHeld(scope, row.client_id) for scope in row.scope.split(" ")),
    )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
