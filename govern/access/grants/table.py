"""The table of grants: who was given what, over which project or dataset, from when until when."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Index, select, text
from sqlalchemy.orm import Mapped, mapped_column

from govern.clock import Utc
from govern.db import Audited, Base, Id, references

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select


class Grant(Audited, Base):
    """Access given: subject × entitlement × project (or one dataset of it) × window.

    `recorded_at` and `ended_at` are the instants of the entries that issued and revoked it;
    `client_id` is the project's, which never changes.
    """

    __tablename__ = "access_grant"
    __table_args__ = (
        Index("ix_access_grant_subject", "subject_id", "project_id"),
        Index("ix_access_grant_project", "project_id", "id"),
        Index("ix_access_grant_reach", "project_id", "subject_id"),
        Index("ix_access_grant_client", "client_id", "id"),
        Index("ix_access_grant_ends", "ends_at", "id"),
        Index("ix_access_grant_ends_there", "project_id", "ends_at", "id"),
        *(
            # The few that a project's other grants would have to be read for.
            Index(
                f"ix_access_grant_{name}",
                *columns,
                sqlite_where=text(which),
                postgresql_where=text(which),
            )
            for name, columns, which in (
                ("dataset", ("dataset_id", "id"), "dataset_id IS NOT NULL"),
                ("revoked", ("project_id", "ended_at"), "ended_at IS NOT NULL"),
                ("later", ("project_id", "starts_at"), "starts_at > recorded_at"),
            )
        ),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    subject_id: Mapped[Id] = mapped_column(references("subject.id"))
    entitlement_id: Mapped[Id] = mapped_column(references("entitlement.id"))
    client_id: Mapped[Id] = mapped_column(references("client.id"))
    project_id: Mapped[Id] = mapped_column(references("project.id"))
    dataset_id: Mapped[Id | None] = mapped_column(references("dataset.id"))
    starts_at: Mapped[datetime] = mapped_column(Utc())
    ends_at: Mapped[datetime] = mapped_column(Utc())
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


def last_of(
    over: ColumnElement[bool], after: ColumnElement[str] | str, most: ColumnElement[int] | int
) -> Select[str]:
    """The last of so many grants behind one, for lists that look at no more; none if fewer are."""
    return (
        select(Grant.id).where(over, Grant.id > after).order_by(Grant.id).offset(most - 1).limit(1)
    )
