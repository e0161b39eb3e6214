"""The tables of tokens: one row a token, what it permits, the code that it is fetched with.

None of them is a record: rows go a while after they expire, and what was issued, asked and taken
back is in the access log.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from govern.clock import Utc
from govern.db import Base, Code, Id, Instant, references, text_column


class Token(Base):
    """A token, or the promise of one that is still to be fetched with its code.

    A tool's token has a subject, and is about one project or one dataset of it; an integration's
    own has a `scope` instead. `since` and `house_since` are the instants of the last entries of
    the client's log and of the house's that were known when it was given: nothing recorded later
    may have taken any of it away. It never lives beyond `until`, when a grant that it counts on
    ends, or the second factor that it was given on is twelve hours old. `list_number` and
    `list_index` are its place in a status list.
    """

    __tablename__ = "token"
    __table_args__ = (
        UniqueConstraint("list_number", "list_index", name="uq_token_place"),
        Index("ix_token_expires_at", "expires_at"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    integration_id: Mapped[Id] = mapped_column(references("integration.id"))
    audience: Mapped[str] = mapped_column(text_column(500))
    scope: Mapped[str | None] = mapped_column(text_column(200))
    subject_id: Mapped[Id | None] = mapped_column(references("subject.id"))
    client_id: Mapped[Id | None]
    project_id: Mapped[Id | None] = mapped_column(references("project.id"))
    dataset_id: Mapped[Id | None] = mapped_column(references("dataset.id"))
    since: Mapped[Instant]
    house_since: Mapped[Instant]
    until: Mapped[Instant]
    list_number: Mapped[int]
    list_index: Mapped[int]
    issued_at: Mapped[Instant]
    expires_at: Mapped[Instant]
    revoked_at: Mapped[datetime | None] = mapped_column(Utc())


class TokenAction(Base):
    """One action of a token, the grant that permits it, and the action's effect."""

    __tablename__ = "token_action"

    token_id: Mapped[Id] = mapped_column(references("token.id"), primary_key=True)
    action: Mapped[Code] = mapped_column(primary_key=True)
    effect: Mapped[Code]
    grant_id: Mapped[Id] = mapped_column(references("access_grant.id"))


class AuthorizationCode(Base):
    """What a tool fetches its token with, once: the code's SHA-256, and what it is bound to."""

    __tablename__ = "authorization_code"

    hash: Mapped[str] = mapped_column(text_column(64), primary_key=True)
    token_id: Mapped[Id] = mapped_column(references("token.id"), index=True)
    redirect_uri: Mapped[str] = mapped_column(text_column(500))
    challenge: Mapped[str] = mapped_column(text_column(128))
    expires_at: Mapped[Instant]
    used_at: Mapped[datetime | None] = mapped_column(Utc())


class UsedAssertion(Base):
    """That an integration has signed in with this assertion (RFC 7523 §3, `jti`): once only."""

    __tablename__ = "used_assertion"

    hash: Mapped[str] = mapped_column(text_column(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(Utc(), index=True)
