"""Alembic's environment: two histories, `main` and `access`, each with its version table."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine, pool

import govern.access
import govern.audit
import govern.identity
import govern.signals
from govern.db import AccessBase, Base

settings = context.config.attributes["settings"]
part = context.config.attributes["part"]
metadata = Base.metadata if part == "main" else AccessBase.metadata
url = settings.url if part == "main" else settings.access_url
__all__ = ["govern"]


def _ours(_: object, name: str | None, kind: str, *__: object) -> bool:
    """On PostgreSQL both histories live in one schema: look at this history's tables alone."""
    if kind == "table":
        return name in metadata.tables
    return True


engine = create_engine(url, poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=f"schema_{part}",
        include_object=_ours,
        render_as_batch=True,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
