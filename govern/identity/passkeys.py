"""Passkeys: key pairs of which we hold the public half (Web Authentication, level 3).

A passkey counts while `ended_at` is empty. A challenge is given to one browser for one purpose,
sealed, and is spent by the first use that is good: nothing is written for whoever only asks.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from govern.clock import Utc
from govern.db import Audited, Base, Id, references, text_column


class Passkey(Audited, Base):
    """A passkey of a person; `backed_up` if its owner's other devices may hold it too."""

    __tablename__ = "passkey"
    __table_args__ = (Index("ix_passkey_subject", "subject_id"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    subject_id: Mapped[Id] = mapped_column(references("subject.id"))
    credential_id: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    sign_count: Mapped[int] = mapped_column(BigInteger, default=0)
    transports: Mapped[str] = mapped_column(text_column(80), default="")
    backed_up: Mapped[bool]
    name: Mapped[str] = mapped_column(text_column(80))
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    used_at: Mapped[datetime | None] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


class SpentChallenge(Base):
    """A challenge that was used, kept until it would have run out by itself."""

    __tablename__ = "spent_challenge"
    __table_args__ = (Index("ix_spent_challenge_expires_at", "expires_at"),)

    hash: Mapped[str] = mapped_column(text_column(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(Utc())
