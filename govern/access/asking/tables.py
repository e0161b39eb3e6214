"""The tables of asked-for access: who must approve it, and who has.

A policy stands over a project, a client or the house from one entry of a log to another; the
nearest one over a project counts. An approval is one person's, of one request.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import JSON, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from govern.clock import Utc
from govern.db import Audited, Base, Code, Id, references, text_column


class Kind(StrEnum):
    """What a policy stands over."""

    HOUSE = "house"
    CLIENT = "client"
    PROJECT = "project"


class Pausing(StrEnum):
    """What becomes of a request whose client, project or dataset is paused or read-only."""

    WAITS = "waits"
    DIES = "dies"


class Openness(StrEnum):
    """Who may know of a project and ask for it: beside those who hold or held something on it.

    `known`: nobody else; `client`: whoever holds or held anything of its client; `everybody`.
    """

    KNOWN = "known"
    CLIENT = "client"
    EVERYBODY = "everybody"


class RequestPolicy(Audited, Base):
    """One policy; `target_id` is a client's or project's id, or `house`.

    `people` and `leads` are ids of subjects; `days` is how long a request waits for an answer.
    """

    __tablename__ = "request_policy"
    __table_args__ = (
        Index(
            "ix_request_policy_open",
            "target_id",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    kind: Mapped[Code]
    target_id: Mapped[Id]
    client_id: Mapped[Id | None] = mapped_column(references("client.id"))
    roles: Mapped[list[str]] = mapped_column(JSON)
    people: Mapped[list[str]] = mapped_column(JSON)
    leads: Mapped[list[str]] = mapped_column(JSON)
    needed: Mapped[int] = mapped_column(Integer)
    pausing: Mapped[Code]
    days: Mapped[int] = mapped_column(Integer)
    open_to: Mapped[Code] = mapped_column(server_default=Openness.KNOWN.value)
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


class RequestApproval(Audited, Base):
    """That one person approved a request, and when."""

    __tablename__ = "request_approval"
    __table_args__ = (UniqueConstraint("request_id", "approved_by"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    request_id: Mapped[Id] = mapped_column(references("request.id"))
    approved_by: Mapped[str] = mapped_column(text_column(200))
    recorded_at: Mapped[datetime] = mapped_column(Utc())
