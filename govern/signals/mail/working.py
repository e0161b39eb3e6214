"""One round of mail: follow the logs, then send what is due."""

from __future__ import annotations

from typing import TYPE_CHECKING

from govern.signals.mail.following import follow
from govern.signals.mail.sending import send

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.db import Database


def work(database: Database, *, progress: Callable[[int], None] | None = None) -> int:
    """Do one round; returns how many mails were sent. `progress` may raise to stop."""
    follow(database, progress=progress)
    if not database.settings.smtp_url:
        return 0
    return send(database, progress=progress)
