"""Health: whether the process lives, and whether it may be asked anything.

`/healthz` says only that the process answers. `/readyz` is 200 when the database answers, its
schema is this version's, and it is not behind the log's signer; whoever balances load reads that.
`warnings` names what an admin should look at, though every question is answered.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flask import Blueprint
from sqlalchemy import exc as sa_exc

from govern import errors, schema
from govern.audit.signer import Signer
from govern.signals import mail
from govern.web import guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.db import Database

blueprint = Blueprint("health", __name__)
_log = logging.getLogger(__name__)


@blueprint.get("/healthz")
@guard.public
def healthz() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok"}


@blueprint.get("/readyz")
@guard.public
def readyz() -> tuple[dict[str, object], int]:
    """Whether decisions may be asked for here; which check failed, and nothing more, is told."""
    database = guard.database()
    checks = {name: _passes(name, check, database) for name, check in CHECKS.items()}
    ready = all(checks.values())
    status, warnings = "ready" if ready else "not ready", _warnings(database) if ready else []
    return {"status": status, "checks": checks, "warnings": warnings}, 200 if ready else 503


def _warnings(database: Database) -> list[str]:
    with database.reading() as session:
        return ["mail"] if mail.trouble(session) is not None else []


def _reachable(database: Database) -> None:
    with database.reading() as session, database.access_reading() as access:
        session.connection()
        access.connection()


def _migrated(database: Database) -> None:
    with database.reading() as session, database.access_reading() as access:
        for part, source in zip(schema.PARTS, (session, access), strict=True):
            present = schema.revision(source, part)
            if present != schema.head(part):
                raise errors.Unavailable(f"the {part} schema is at {present}: `govern db upgrade`")


def _signed(database: Database) -> None:
    Signer(database.settings).check(database)


CHECKS: dict[str, Callable[[Database], None]] = {
    "database": _reachable,
    "schema": _migrated,
    "log": _signed,
}


def _passes(name: str, check: Callable[[Database], None], database: Database) -> bool:
    try:
        check(database)
    except errors.LogDamaged as error:
        # A new connection to such a database is refused, whatever it was for: `log` says so.
        _log.warning("not ready: %s: %s", name, error)
        return check is not _signed
    except (errors.GovernError, sa_exc.SQLAlchemyError, OSError) as error:
        _log.warning("not ready: %s: %s", name, error)
        return False
    return True
