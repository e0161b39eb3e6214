"""Forward-auth: what the requests to a proxy mean."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "forward_rules",
        sa.Column("integration_id", text_column(32), nullable=False),
        sa.Column("document", sa.String(), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(
            ["integration_id"],
            ["integration.id"],
            name=op.f("fk_forward_rules_integration_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("integration_id", name=op.f("pk_forward_rules")),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("forward_rules")
