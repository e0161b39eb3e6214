"""How many people a pause touched; and grants by what is rare of them, so that few are read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

_RARE = (
    ("ix_access_grant_dataset", ["dataset_id", "id"], "dataset_id IS NOT NULL"),
    ("ix_access_grant_revoked", ["project_id", "ended_at"], "ended_at IS NOT NULL"),
    ("ix_access_grant_later", ["project_id", "starts_at"], "starts_at > recorded_at"),
)


def upgrade() -> None:
    """Go forward."""
    op.add_column("particulars", sa.Column("people", sa.BigInteger()))
    op.create_index("ix_particulars_suspension", "particulars", ["suspension_id", "as_at"])
    op.create_index("ix_access_grant_ends_there", "access_grant", ["project_id", "ends_at", "id"])
    for name, columns, which in _RARE:
        op.create_index(
            name, "access_grant", columns,
            sqlite_where=sa.text(which), postgresql_where=sa.text(which),
        )  # fmt: skip


def downgrade() -> None:
    """Go back."""
    for name, _, _ in _RARE:
        op.drop_index(name, table_name="access_grant")
    op.drop_index("ix_access_grant_ends_there", table_name="access_grant")
    op.drop_index("ix_particulars_suspension", table_name="particulars")
    op.drop_column("particulars", "people")
