"""The table of demands: which factor a role, a client or a project asks of people, and from when.

A demand counts from its entry on, or from `starts_at` where that is later, until it is ended; what
it asked at any instant can be told ever after.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from govern.clock import Utc
from govern.db import Audited, Base, Code, Id


class Factor(StrEnum):
    """What can be demanded, from less to more: whoever has the second has the first."""

    SECOND_FACTOR = "second_factor"
    PHISHING_RESISTANT = "phishing_resistant"


class Kind(StrEnum):
    """Of whom: those who hold a role, or a grant of a client or on a project."""

    ROLE = "role"
    CLIENT = "client"
    PROJECT = "project"


class FactorDemand(Audited, Base):
    """One demand; `target_id` is a client's or project's id, or the name of a role.

    `starts_at` None is from its entry on: then no clock is asked.
    """

    __tablename__ = "factor_demand"
    __table_args__ = (Index("ix_factor_demand_target", "target_id", "factor"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    kind: Mapped[Code]
    target_id: Mapped[Id]
    client_id: Mapped[Id | None]
    factor: Mapped[Code]
    starts_at: Mapped[datetime | None] = mapped_column(Utc())
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())
