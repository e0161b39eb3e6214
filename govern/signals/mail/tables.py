"""The tables of mail: acts that people are told of, each person's mail, and the server's state."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from govern.clock import Utc
from govern.db import PERSONAL, Base, Code, Id, references, text_column


class State(StrEnum):
    """How one person's mail about one act stands."""

    WAITING = "waiting"
    FAILED = "failed"
    SENT = "sent"
    GIVEN_UP = "given_up"


class MailAct(Base):
    """An act that people are told of, whose mails are noted up to the person `cursor`.

    `at` is its entry's instant; for grants, which are told of together, when their time begins.
    """

    __tablename__ = "mail_act"
    __table_args__ = (Index("ix_mail_act_open", "finished_at", "at"),)

    id: Mapped[str] = mapped_column(text_column(120), primary_key=True)
    type: Mapped[Code]
    suspension_id: Mapped[Id | None] = mapped_column(index=True)
    actor: Mapped[Id]
    at: Mapped[datetime] = mapped_column(Utc())
    cursor: Mapped[Id]
    finished_at: Mapped[datetime | None] = mapped_column(Utc())


class MailDelivery(Base):
    """One person's mail about one act; `next_try_at` is empty once it is sent or given up.

    While a process has it in hand, `next_try_at` is when another may take it over.
    """

    __tablename__ = "mail_delivery"
    __table_args__ = (
        Index(
            "ix_mail_delivery_due",
            "next_try_at",
            "act_id",
            sqlite_where=text("next_try_at IS NOT NULL"),
            postgresql_where=text("next_try_at IS NOT NULL"),
        ),
        Index(
            "ix_mail_delivery_given_up",
            "ended_at",
            sqlite_where=text("state = 'given_up'"),
            postgresql_where=text("state = 'given_up'"),
        ),
    )

    act_id: Mapped[str] = mapped_column(
        text_column(120), references("mail_act.id"), primary_key=True
    )
    subject_id: Mapped[Id] = mapped_column(references("subject.id"), primary_key=True)
    state: Mapped[Code]
    attempts: Mapped[int] = mapped_column(Integer)
    next_try_at: Mapped[datetime | None] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())
    error: Mapped[str] = mapped_column(text_column(200), info=PERSONAL)


class MailServer(Base):
    """Whether the mail server takes mail: one row, which the migration makes."""

    __tablename__ = "mail_server"

    id: Mapped[Code] = mapped_column(primary_key=True)
    failing_since: Mapped[datetime | None] = mapped_column(Utc())
    error: Mapped[str] = mapped_column(text_column(200))
