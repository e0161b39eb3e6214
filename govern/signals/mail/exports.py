"""What those are told who asked for an export in the background: that it is ready, or failed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import select

from govern import clock
from govern.audit import EventType
from govern.audit.exports import LogExport
from govern.audit.log import HOUSE, Entry
from govern.db import insert_if_absent
from govern.languages import later
from govern.signals.mail.tables import MailAct

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import Row

    from govern.config import Settings
    from govern.db import Session
    from govern.languages import Voice

TITLES: dict[str, str] = {
    EventType.EXPORT_READY: later("Your export is ready"),
    EventType.EXPORT_FAILED: later("Your export could not be made"),
}
TYPES = frozenset({EventType.EXPORT_READY, EventType.EXPORT_FAILED})


def act(session: Session, entry: Row[Any]) -> str:
    """The act to tell of for an entry."""
    act_id = f"{entry.type}:{entry.subject_id}:{clock.micros(entry.at)}"
    insert_if_absent(
        session, MailAct, id=act_id, type=entry.type, suspension_id=None, actor="", at=entry.at,
        cursor="", finished_at=entry.at,
    )  # fmt: skip
    return act_id


def words(session: Session, settings: Settings, act: MailAct, person: str, say: Voice) -> list[str]:
    """What they are told; nothing once it is forgotten. No client is named."""
    body = session.execute(
        select(Entry.leaf).where(
            Entry.subject_id == person, Entry.log_id == HOUSE, Entry.at == act.at,
            Entry.type == act.type,
        )
    ).scalar_one()  # fmt: skip
    row = session.get(LogExport, json.loads(body)["refs"]["export"])
    if row is None:
        return []
    asked = say.when(row.asked_at)
    if act.type == EventType.EXPORT_FAILED:
        told = say("The export that you asked for on %(asked)s could not be made:", asked=asked)
        lines = [told, "", f"  {row.error}"]
    elif row.expires_at is None:
        return []
    else:
        lines = [
            say(
                "The export that you asked for on %(asked)s is ready. Its file stays until "
                "%(until)s.",
                asked=asked,
                until=say.when(row.expires_at),
            )
        ]
    return [*lines, "", f"  {settings.public_url}/log/exports"]
