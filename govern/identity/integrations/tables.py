"""The tables of integrations: a system, what it is limited to, and its secrets' hashes."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Index
from sqlalchemy.orm import Mapped, mapped_column

from govern.clock import Utc
from govern.db import Audited, Base, Code, Id, references, text_column

# Each scope is a role in `permissions.ROLES`.
SCOPES = ("decision", "introspect", "audit.read", "ssf", "scim", "api")


class LimitKind(StrEnum):
    """What an integration can be limited to."""

    CLIENT = "client"
    PROJECT = "project"


class Integration(Audited, Base):
    """A system with credentials; without limits it may ask about everything.

    `redirect_uris`, `resources` (RFC 8707) and `public_keys` (a JWK Set) are what it is registered
    with for OAuth. `suspended_at` is set while it is suspended, `resumed_at` when it last ended:
    no token of before counts again; `ended_at` is for good.
    `last_seen_at` is a note, at most one a minute, and no one's record.
    """

    __tablename__ = "integration"

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(text_column(200), unique=True)
    scope: Mapped[str] = mapped_column(text_column(200))
    redirect_uris: Mapped[list[str]] = mapped_column(JSON)
    resources: Mapped[list[str]] = mapped_column(JSON)
    public_keys: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    last_seen_at: Mapped[datetime | None] = mapped_column(Utc())
    suspended_at: Mapped[datetime | None] = mapped_column(Utc())
    resumed_at: Mapped[datetime | None] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())

    @property
    def scopes(self) -> tuple[str, ...]:
        """Its scopes, one by one."""
        return tuple(self.scope.split(" "))

    @property
    def state(self) -> str:
        """How it stands, in one word: `active`, `suspended` or `revoked`."""
        if self.ended_at is not None:
            return "revoked"
        return "active" if self.suspended_at is None else "suspended"


class IntegrationLimit(Audited, Base):
    """One client or project that an integration may know of; `client_id` says whose project."""

    __tablename__ = "integration_limit"

    integration_id: Mapped[Id] = mapped_column(references("integration.id"), primary_key=True)
    target_id: Mapped[Id] = mapped_column(primary_key=True)
    kind: Mapped[Code]
    client_id: Mapped[Id] = mapped_column(index=True)


class IntegrationSecret(Audited, Base):
    """A secret's hash; a secret that was replaced goes on until `ends_at`."""

    __tablename__ = "integration_secret"
    __table_args__ = (Index("ix_integration_secret_integration", "integration_id"),)

    hash: Mapped[str] = mapped_column(text_column(64), primary_key=True)
    integration_id: Mapped[Id] = mapped_column(references("integration.id"))
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ends_at: Mapped[datetime | None] = mapped_column(Utc())
