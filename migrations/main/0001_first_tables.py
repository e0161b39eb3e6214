"""The first tables, the house's log, and the triggers that keep every log as it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.audit import triggers
from govern.clock import Utc
from govern.db import text_column

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "client",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("code", text_column(80), nullable=False),
        sa.Column("name", text_column(200), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_client")),
        sa.UniqueConstraint("code", name=op.f("uq_client_code")),
    )
    op.create_table(
        "entitlement",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("name", text_column(80), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entitlement")),
        sa.UniqueConstraint("name", name=op.f("uq_entitlement_name")),
    )
    op.create_table(
        "integration",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("name", text_column(200), nullable=False),
        sa.Column("scope", text_column(200), nullable=False),
        sa.Column("client_id", text_column(32), nullable=True),
        sa.Column("secret_hash", text_column(64), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_integration")),
        sa.UniqueConstraint("name", name=op.f("uq_integration_name")),
    )
    op.create_table(
        "log",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("origin", text_column(200), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("last_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log")),
        sa.UniqueConstraint("origin", name=op.f("uq_log_origin")),
    )
    op.create_table(
        "log_checkpoint",
        sa.Column("log_id", text_column(32), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("signed_at", Utc(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("log_id", "size", name=op.f("pk_log_checkpoint")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "log_tile",
        sa.Column("log_id", text_column(32), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("log_id", "level", "number", name=op.f("pk_log_tile")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "log_value",
        sa.Column("log_id", text_column(32), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("name", text_column(80), nullable=False),
        sa.Column("about", text_column(32), nullable=True),
        sa.Column("salt", text_column(32), nullable=True),
        sa.Column("value", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("log_id", "seq", "name", name=op.f("pk_log_value")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("log_value", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_log_value_about"), ["about"], unique=False)

    op.create_table(
        "organisation",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("name", text_column(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organisation")),
        sa.UniqueConstraint("name", name=op.f("uq_organisation_name")),
    )
    op.create_table(
        "subject",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("external_id", text_column(80), nullable=False),
        sa.Column("email", text_column(254), nullable=False),
        sa.Column("full_name", text_column(200), nullable=False),
        sa.Column("kind", text_column(80), nullable=False),
        sa.Column("country", text_column(2), nullable=False),
        sa.Column("expertise", text_column(200), nullable=False),
        sa.Column("created_by", text_column(200), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subject")),
        sa.UniqueConstraint("email", name=op.f("uq_subject_email")),
        sa.UniqueConstraint("external_id", name=op.f("uq_subject_external_id")),
    )
    op.create_table(
        "suspension",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("reason", text_column(80), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("internal_reason", sa.String(), nullable=False),
        sa.Column("ordered_by", sa.String(), nullable=False),
        sa.Column("incident", sa.String(), nullable=False),
        sa.Column("hours_until", Utc(), nullable=True),
        sa.Column("review_by", Utc(), nullable=False),
        sa.Column("opened_by", text_column(200), nullable=False),
        sa.Column("preview_digest", text_column(64), nullable=True),
        sa.Column("ordered_at", Utc(), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suspension")),
    )
    op.create_table(
        "throttle",
        sa.Column("key", text_column(100), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("blocked_until", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_throttle")),
    )
    op.create_table(
        "activation",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("token_hash", text_column(64), nullable=False),
        sa.Column("subject_id", text_column(32), nullable=False),
        sa.Column("issued_by", text_column(200), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["subject.id"],
            name=op.f("fk_activation_subject_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activation")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_activation_token_hash")),
    )
    with op.batch_alter_table("activation", schema=None) as batch_op:
        batch_op.create_index("ix_activation_subject", ["subject_id"], unique=False)

    op.create_table(
        "entitlement_action",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("entitlement_id", text_column(32), nullable=False),
        sa.Column("action", text_column(80), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["entitlement_id"],
            ["entitlement.id"],
            name=op.f("fk_entitlement_action_entitlement_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entitlement_action")),
    )
    with op.batch_alter_table("entitlement_action", schema=None) as batch_op:
        batch_op.create_index(
            "ix_entitlement_action_entitlement", ["entitlement_id", "action"], unique=False
        )

    op.create_table(
        "log_entry",
        sa.Column("log_id", text_column(32), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.Column("type", text_column(40), nullable=False),
        sa.Column("actor", text_column(32), nullable=False),
        sa.Column("subject_id", text_column(32), nullable=True),
        sa.Column("project_id", text_column(32), nullable=True),
        sa.Column("suspension_id", text_column(32), nullable=True),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["log_id"],
            ["log.id"],
            name=op.f("fk_log_entry_log_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("log_id", "seq", name=op.f("pk_log_entry")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("log_entry", schema=None) as batch_op:
        batch_op.create_index("ix_log_entry_subject", ["subject_id", "log_id", "seq"], unique=False)
        acts = sa.text(
            "suspension_id IS NOT NULL AND "
            "type NOT IN ('grant.suspended', 'grant.review_required', 'grant.resumed')"
        )
        batch_op.create_index(
            "ix_log_entry_suspension",
            ["suspension_id", "at"],
            unique=False,
            sqlite_where=acts,
            postgresql_where=acts,
        )

    op.create_table(
        "membership",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("subject_id", text_column(32), nullable=False),
        sa.Column("organisation_id", text_column(32), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["organisation_id"],
            ["organisation.id"],
            name=op.f("fk_membership_organisation_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["subject.id"],
            name=op.f("fk_membership_subject_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_membership")),
    )
    with op.batch_alter_table("membership", schema=None) as batch_op:
        batch_op.create_index(
            "ix_membership_organisation", ["organisation_id", "subject_id"], unique=False
        )
        batch_op.create_index("ix_membership_subject", ["subject_id"], unique=False)

    op.create_table(
        "particulars",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("suspension_id", text_column(32), nullable=False),
        sa.Column("log_id", text_column(32), nullable=False),
        sa.Column("event", text_column(80), nullable=False),
        sa.Column("mode", text_column(80), nullable=True),
        sa.Column("as_at", Utc(), nullable=False),
        sa.Column("cursor", text_column(32), nullable=False),
        sa.Column("written", sa.BigInteger(), nullable=False),
        sa.Column("digest", text_column(64), nullable=False),
        sa.Column("finished_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["suspension_id"],
            ["suspension.id"],
            name=op.f("fk_particulars_suspension_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_particulars")),
    )
    with op.batch_alter_table("particulars", schema=None) as batch_op:
        batch_op.create_index("ix_particulars_open", ["finished_at", "suspension_id"], unique=False)

    op.create_table(
        "password",
        sa.Column("subject_id", text_column(32), nullable=False),
        sa.Column("hash", text_column(200), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["subject.id"],
            name=op.f("fk_password_subject_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("subject_id", name=op.f("pk_password")),
    )
    op.create_table(
        "project",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("client_id", text_column(32), nullable=False),
        sa.Column("code", text_column(80), nullable=False),
        sa.Column("contact", text_column(200), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["client.id"],
            name=op.f("fk_project_client_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project")),
        sa.UniqueConstraint("code", name=op.f("uq_project_code")),
    )
    with op.batch_alter_table("project", schema=None) as batch_op:
        batch_op.create_index("ix_project_client", ["client_id", "code"], unique=False)

    op.create_table(
        "recovery_code",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("subject_id", text_column(32), nullable=False),
        sa.Column("handle", text_column(4), nullable=False),
        sa.Column("hash", text_column(200), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["subject.id"],
            name=op.f("fk_recovery_code_subject_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery_code")),
    )
    with op.batch_alter_table("recovery_code", schema=None) as batch_op:
        batch_op.create_index("ix_recovery_code_subject", ["subject_id", "handle"], unique=False)

    op.create_table(
        "request",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("kind", text_column(80), nullable=False),
        sa.Column("client_id", text_column(32), nullable=True),
        sa.Column("suspension_id", text_column(32), nullable=True),
        sa.Column("subject_id", text_column(32), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("asked_by", text_column(200), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("decided_by", text_column(200), nullable=True),
        sa.Column("outcome", text_column(80), nullable=True),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["subject.id"],
            name=op.f("fk_request_subject_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["suspension_id"],
            ["suspension.id"],
            name=op.f("fk_request_suspension_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request")),
    )
    with op.batch_alter_table("request", schema=None) as batch_op:
        batch_op.create_index("ix_request_open", ["ended_at", "recorded_at"], unique=False)

    op.create_table(
        "role_assignment",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("subject_id", text_column(32), nullable=False),
        sa.Column("role", text_column(80), nullable=False),
        sa.Column("client_id", text_column(32), nullable=True),
        sa.Column("ends_at", Utc(), nullable=True),
        sa.Column("assigned_by", text_column(200), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["subject.id"],
            name=op.f("fk_role_assignment_subject_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_role_assignment")),
    )
    with op.batch_alter_table("role_assignment", schema=None) as batch_op:
        batch_op.create_index("ix_role_assignment_subject", ["subject_id"], unique=False)

    op.create_table(
        "suspension_mode",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("suspension_id", text_column(32), nullable=False),
        sa.Column("mode", text_column(80), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["suspension_id"],
            ["suspension.id"],
            name=op.f("fk_suspension_mode_suspension_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suspension_mode")),
    )
    with op.batch_alter_table("suspension_mode", schema=None) as batch_op:
        batch_op.create_index(
            "ix_suspension_mode_suspension", ["suspension_id", "ended_at"], unique=False
        )

    op.create_table(
        "suspension_release",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("suspension_id", text_column(32), nullable=False),
        sa.Column("subject_id", text_column(32), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["subject.id"],
            name=op.f("fk_suspension_release_subject_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["suspension_id"],
            ["suspension.id"],
            name=op.f("fk_suspension_release_suspension_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suspension_release")),
    )
    with op.batch_alter_table("suspension_release", schema=None) as batch_op:
        batch_op.create_index(
            "ix_suspension_release_suspension", ["suspension_id", "subject_id"], unique=False
        )

    op.create_table(
        "suspension_target",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("suspension_id", text_column(32), nullable=False),
        sa.Column("kind", text_column(80), nullable=False),
        sa.Column("target_id", text_column(32), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["suspension_id"],
            ["suspension.id"],
            name=op.f("fk_suspension_target_suspension_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suspension_target")),
    )
    with op.batch_alter_table("suspension_target", schema=None) as batch_op:
        batch_op.create_index("ix_suspension_target_suspension", ["suspension_id"], unique=False)
        batch_op.create_index("ix_suspension_target_target", ["target_id", "kind"], unique=False)

    op.create_table(
        "totp",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("subject_id", text_column(32), nullable=False),
        sa.Column("seed", sa.LargeBinary(), nullable=False),
        sa.Column("last_step", sa.Integer(), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["subject.id"],
            name=op.f("fk_totp_subject_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_totp")),
    )
    with op.batch_alter_table("totp", schema=None) as batch_op:
        batch_op.create_index("ix_totp_subject", ["subject_id"], unique=False)

    op.create_table(
        "web_session",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("token_hash", text_column(64), nullable=False),
        sa.Column("subject_id", text_column(32), nullable=False),
        sa.Column("amr", text_column(40), nullable=False),
        sa.Column("factor_at", Utc(), nullable=True),
        sa.Column("signed_in_at", Utc(), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.Column("seen_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["subject.id"],
            name=op.f("fk_web_session_subject_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_web_session")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_web_session_token_hash")),
    )
    with op.batch_alter_table("web_session", schema=None) as batch_op:
        batch_op.create_index("ix_web_session_subject", ["subject_id", "factor_at"], unique=False)

    op.create_table(
        "dataset",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("project_id", text_column(32), nullable=False),
        sa.Column("code", text_column(80), nullable=False),
        sa.Column("sensitivity", text_column(80), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["project.id"],
            name=op.f("fk_dataset_project_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset")),
        sa.UniqueConstraint("code", name=op.f("uq_dataset_code")),
    )
    with op.batch_alter_table("dataset", schema=None) as batch_op:
        batch_op.create_index("ix_dataset_project", ["project_id", "code"], unique=False)

    op.create_table(
        "request_item",
        sa.Column("request_id", text_column(32), nullable=False),
        sa.Column("item_id", text_column(32), nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["request.id"],
            name=op.f("fk_request_item_request_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("request_id", "item_id", name=op.f("pk_request_item")),
    )
    op.create_table(
        "access_grant",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("subject_id", text_column(32), nullable=False),
        sa.Column("entitlement_id", text_column(32), nullable=False),
        sa.Column("client_id", text_column(32), nullable=False),
        sa.Column("project_id", text_column(32), nullable=False),
        sa.Column("dataset_id", text_column(32), nullable=True),
        sa.Column("starts_at", Utc(), nullable=False),
        sa.Column("ends_at", Utc(), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["client.id"],
            name=op.f("fk_access_grant_client_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["dataset.id"],
            name=op.f("fk_access_grant_dataset_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["entitlement_id"],
            ["entitlement.id"],
            name=op.f("fk_access_grant_entitlement_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["project.id"],
            name=op.f("fk_access_grant_project_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["subject.id"],
            name=op.f("fk_access_grant_subject_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_grant")),
    )
    with op.batch_alter_table("access_grant", schema=None) as batch_op:
        batch_op.create_index("ix_access_grant_client", ["client_id", "id"], unique=False)
        batch_op.create_index("ix_access_grant_project", ["project_id", "id"], unique=False)
        batch_op.create_index("ix_access_grant_subject", ["subject_id", "project_id"], unique=False)

    settings = op.get_context().config.attributes["settings"]
    op.bulk_insert(
        sa.table("log", sa.column("id"), sa.column("origin"), sa.column("size")),
        [{"id": "house", "origin": f"{settings.origin}/logs/house", "size": 0}],
    )
    for statement in triggers.ddl(op.get_bind().dialect.name, "main"):
        op.execute(sa.text(statement))


def downgrade() -> None:
    """Go back."""
    for statement in triggers.undo(op.get_bind().dialect.name, "main"):
        op.execute(sa.text(statement))
    with op.batch_alter_table("access_grant", schema=None) as batch_op:
        batch_op.drop_index("ix_access_grant_subject")
        batch_op.drop_index("ix_access_grant_project")
        batch_op.drop_index("ix_access_grant_client")

    op.drop_table("access_grant")
    op.drop_table("request_item")
    with op.batch_alter_table("dataset", schema=None) as batch_op:
        batch_op.drop_index("ix_dataset_project")

    op.drop_table("dataset")
    with op.batch_alter_table("web_session", schema=None) as batch_op:
        batch_op.drop_index("ix_web_session_subject")

    op.drop_table("web_session")
    with op.batch_alter_table("totp", schema=None) as batch_op:
        batch_op.drop_index("ix_totp_subject")

    op.drop_table("totp")
    with op.batch_alter_table("suspension_target", schema=None) as batch_op:
        batch_op.drop_index("ix_suspension_target_target")
        batch_op.drop_index("ix_suspension_target_suspension")

    op.drop_table("suspension_target")
    with op.batch_alter_table("suspension_release", schema=None) as batch_op:
        batch_op.drop_index("ix_suspension_release_suspension")

    op.drop_table("suspension_release")
    with op.batch_alter_table("suspension_mode", schema=None) as batch_op:
        batch_op.drop_index("ix_suspension_mode_suspension")

    op.drop_table("suspension_mode")
    with op.batch_alter_table("role_assignment", schema=None) as batch_op:
        batch_op.drop_index("ix_role_assignment_subject")

    op.drop_table("role_assignment")
    with op.batch_alter_table("request", schema=None) as batch_op:
        batch_op.drop_index("ix_request_open")

    op.drop_table("request")
    with op.batch_alter_table("recovery_code", schema=None) as batch_op:
        batch_op.drop_index("ix_recovery_code_subject")

    op.drop_table("recovery_code")
    with op.batch_alter_table("project", schema=None) as batch_op:
        batch_op.drop_index("ix_project_client")

    op.drop_table("project")
    op.drop_table("password")
    with op.batch_alter_table("particulars", schema=None) as batch_op:
        batch_op.drop_index("ix_particulars_open")

    op.drop_table("particulars")
    with op.batch_alter_table("membership", schema=None) as batch_op:
        batch_op.drop_index("ix_membership_subject")
        batch_op.drop_index("ix_membership_organisation")

    op.drop_table("membership")
    with op.batch_alter_table("log_entry", schema=None) as batch_op:
        batch_op.drop_index("ix_log_entry_suspension")
        batch_op.drop_index("ix_log_entry_subject")

    op.drop_table("log_entry")
    with op.batch_alter_table("entitlement_action", schema=None) as batch_op:
        batch_op.drop_index("ix_entitlement_action_entitlement")

    op.drop_table("entitlement_action")
    with op.batch_alter_table("activation", schema=None) as batch_op:
        batch_op.drop_index("ix_activation_subject")

    op.drop_table("activation")
    op.drop_table("throttle")
    op.drop_table("suspension")
    op.drop_table("subject")
    op.drop_table("organisation")
    with op.batch_alter_table("log_value", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_log_value_about"))

    op.drop_table("log_value")
    op.drop_table("log_tile")
    op.drop_table("log_checkpoint")
    op.drop_table("log")
    op.drop_table("integration")
    op.drop_table("entitlement")
    op.drop_table("client")
