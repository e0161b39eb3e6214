"""Wrong secrets of integrations: counted for each client id, and never in a right one's way.

The secret is looked at first, so whoever has it passes whatever strangers tried. A wrong one is
counted in the database and on record, and after a few in a row is answered unread for a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from govern.identity import throttle
from govern.identity.integrations.credentials import check_secret
from govern.identity.integrations.tables import Integration

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database, Session
    from govern.identity.throttle import Counter

FACTOR = "client_secret"


def wrong(database: Database, client_id: str, secret: str) -> None:
    """Count a secret by which nobody was found; `TooManyAttempts` while none is counted.

    An id that nobody has is counted like any other, so that the answers tell no difference. Who
    showed the right secret of an integration that is suspended has guessed nothing, nor has who
    showed none.
    """
    if not client_id or not secret:
        return
    counted = counter(client_id)
    with database.reading() as session:
        if _right(session, client_id, secret):
            return
        throttle.allow(session, counted, lock=False)

    def count(session: Session) -> None:
        throttle.failed(session, counted)

    database.transaction(count)


def counter(client_id: str) -> Counter:
    """What wrong secrets of this id count against."""
    return throttle.counter(FACTOR, client_id, subject_id=None)


def _right(session: OrmSession, client_id: str, secret: str) -> bool:
    row = session.get(Integration, client_id) if client_id.isprintable() else None
    return row is not None and row.ended_at is None and check_secret(session, row, secret)
