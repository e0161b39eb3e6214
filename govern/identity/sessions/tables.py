"""The table of sessions, their limits, and what they say of how someone came."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from govern.clock import Utc
from govern.db import PERSONAL, Audited, Base, Id, references, text_column

# (absolute, idle): SP 800-63B-4 §2.2.3; those with a role are held shorter.
LIMITS = {
    True: (timedelta(hours=12), timedelta(minutes=15)),
    False: (timedelta(hours=24), timedelta(hours=1)),
}
LONGEST = max(absolute for absolute, _ in LIMITS.values())
HALF_WAY = timedelta(minutes=10)
MOST = 5


class WebSession(Audited, Base):
    """A browser's session; its rows are also the history of second factors shown.

    `device` is a word or two such as "Firefox on Linux", forgotten when the session is ended.
    `link_id` is by which link to a provider it came, if by one, and `provider_sid` what the
    provider calls its own session, by which it can end ours.
    """

    __tablename__ = "web_session"
    __table_args__ = (
        Index("ix_web_session_subject", "subject_id", "factor_at"),
        Index("ix_web_session_link", "link_id", "provider_sid"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(text_column(64), unique=True)
    subject_id: Mapped[Id] = mapped_column(references("subject.id"))
    amr: Mapped[str] = mapped_column(text_column(40))
    device: Mapped[str | None] = mapped_column(text_column(40), info=PERSONAL)
    factor_at: Mapped[datetime | None] = mapped_column(Utc())
    signed_in_at: Mapped[datetime] = mapped_column(Utc())
    expires_at: Mapped[datetime] = mapped_column(Utc())
    seen_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())
    link_id: Mapped[Id | None] = mapped_column(references("identity_link.id"))
    provider_sid: Mapped[str | None] = mapped_column(text_column(255), info=PERSONAL)


@dataclass(frozen=True)
class CameBy:
    """By which link to an identity provider someone came, and its name for its own session."""

    link_id: str
    provider_sid: str | None


def hash_of(token: str) -> str:
    """By which a token is kept and found; never the token itself."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
