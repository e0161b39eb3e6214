"""Who may ask for a project that is new to them: nobody as before, unless a policy says so."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.db import text_column

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    column = sa.Column("open_to", text_column(80), nullable=False, server_default="known")
    op.add_column("request_policy", column)


def downgrade() -> None:
    """Go back."""
    op.drop_column("request_policy", "open_to")
