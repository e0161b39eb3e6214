"""Demands: which factor a role, a client or a project asks of people, and from when."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "factor_demand",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("kind", text_column(80), nullable=False),
        sa.Column("target_id", text_column(32), nullable=False),
        sa.Column("client_id", text_column(32), nullable=True),
        sa.Column("factor", text_column(80), nullable=False),
        sa.Column("starts_at", Utc(), nullable=True),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_factor_demand")),
    )
    op.create_index("ix_factor_demand_target", "factor_demand", ["target_id", "factor"])


def downgrade() -> None:
    """Go back; nothing is demanded any more."""
    op.drop_index("ix_factor_demand_target", "factor_demand")
    op.drop_table("factor_demand")
