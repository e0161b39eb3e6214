"""The table of acts over lists, and how far each has come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index
from sqlalchemy.orm import Mapped, mapped_column

from govern.clock import Utc
from govern.db import Base, Code, Id, references, text_column


@dataclass(frozen=True, kw_only=True)
class Act:
    """Something done to each row of a list: by whom, and what else must be said (`takes`).

    What is not `ordered` here is seen in the same numbers, and then goes on as one act elsewhere.
    """

    name: str
    list: str
    permission: str
    takes: tuple[str, ...] = ()
    ordered: bool = True


# A few who hold it over one client act on that client's rows; an act on a person takes all.
ACTS: dict[str, Act] = {
    one.name: one
    for one in (
        Act(name="revoke", list="grants", permission="grant:revoke"),
        Act(name="change_end", list="grants", permission="grant:issue", takes=("until",)),
        Act(
            name="grant", list="people", permission="grant:issue",
            takes=("project", "entitlement", "until"),
        ),
        Act(name="end_sessions", list="people", permission="subject:write"),
        Act(name="offboard", list="people", permission="subject:offboard"),
        # A suspension over the list of them, with a preview of its own (`suspended_as`).
        Act(name="suspend", list="people", permission="suspension:open", ordered=False),
    )
}  # fmt: skip


def acts_on(name: str) -> list[Act]:
    """What can be done to all rows of a list."""
    return [act for act in ACTS.values() if act.list == name]


class BulkAct(Base):
    """One act over a list, by whom and why; `recorded_at` is None until it is ordered.

    `cursor` is the last row done, `done` and `passed` count those done, and those that had changed
    meanwhile. `digest` is over the ids of all rows, sorted, one a line.
    """

    __tablename__ = "bulk_act"
    __table_args__ = (Index("ix_bulk_act_open", "finished_at", "recorded_at"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    act: Mapped[Code]
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    reason: Mapped[str]
    number: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str] = mapped_column(text_column(64))
    ordered_by: Mapped[str] = mapped_column(text_column(200))
    session_id: Mapped[Id | None]
    made_at: Mapped[datetime] = mapped_column(Utc())
    recorded_at: Mapped[datetime | None] = mapped_column(Utc())
    cursor: Mapped[Id] = mapped_column(default="")
    done: Mapped[int] = mapped_column(BigInteger, default=0)
    passed: Mapped[int] = mapped_column(BigInteger, default=0)
    finished_at: Mapped[datetime | None] = mapped_column(Utc())


class BulkItem(Base):
    """One row that an act over a list is done to."""

    __tablename__ = "bulk_item"

    bulk_id: Mapped[Id] = mapped_column(references("bulk_act.id"), primary_key=True)
    item_id: Mapped[Id] = mapped_column(primary_key=True)
