"""Releases: not of people alone, but of projects and datasets inside a scope too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.db import text_column

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_BY_SUSPENSION, _BY_SUBJECT = "ix_suspension_release_suspension", "ix_suspension_release_subject"
_BY_TARGET = "ix_suspension_release_target"
_TO_SUBJECT = "fk_suspension_release_subject_id"


def upgrade() -> None:
    """Go forward."""
    op.drop_index(_BY_SUBJECT, "suspension_release")
    with op.batch_alter_table("suspension_release", schema=None) as batch_op:
        batch_op.drop_index(_BY_SUSPENSION)
        batch_op.drop_constraint(op.f(_TO_SUBJECT), type_="foreignkey")
        batch_op.alter_column("subject_id", new_column_name="target_id")
        batch_op.add_column(
            sa.Column("kind", text_column(80), nullable=False, server_default="subject")
        )
    with op.batch_alter_table("suspension_release", schema=None) as batch_op:
        batch_op.alter_column("kind", server_default=None)
        batch_op.create_index(_BY_SUSPENSION, ["suspension_id", "target_id"], unique=False)
    op.create_index(_BY_TARGET, "suspension_release", ["target_id"])


def downgrade() -> None:
    """Go back; what was released of projects and datasets is held again."""
    op.drop_index(_BY_TARGET, "suspension_release")
    op.execute("DELETE FROM suspension_release WHERE kind <> 'subject'")
    with op.batch_alter_table("suspension_release", schema=None) as batch_op:
        batch_op.drop_index(_BY_SUSPENSION)
        batch_op.drop_column("kind")
        batch_op.alter_column("target_id", new_column_name="subject_id")
    with op.batch_alter_table("suspension_release", schema=None) as batch_op:
        batch_op.create_foreign_key(
            op.f(_TO_SUBJECT),
            "subject",
            ["subject_id"],
            ["id"],
            initially="DEFERRED",
            deferrable=True,
        )
        batch_op.create_index(_BY_SUSPENSION, ["suspension_id", "subject_id"], unique=False)
    op.create_index(_BY_SUBJECT, "suspension_release", ["subject_id"])
