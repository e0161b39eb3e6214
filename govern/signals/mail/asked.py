"""What became of access that was asked for: told to who asked, and to whom it is for.

What happened within the same two minutes is one mail. It names the person's own projects and how
each request ended; why not, which somebody typed, stands on their page alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import or_, select

from govern.access import asking
from govern.access.clients import Project
from govern.access.requests import Request, RequestKind
from govern.audit import EventType
from govern.db import listed
from govern.identity.subjects import Subject
from govern.languages import later

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from typing import Any

    from sqlalchemy import Row

    from govern.config import Settings
    from govern.db import Session
    from govern.languages import Voice

REQUESTS = "requests"
TITLE = later("What became of your request for access")
TYPES = frozenset({
    EventType.REQUEST_APPROVED, EventType.REQUEST_WITHDRAWN, EventType.REQUEST_DIED,
})  # fmt: skip
_OUTCOMES = {
    "approved": later("given"), "refused": later("turned down"), "withdrawn": later("withdrawn"),
    "expired": later("nobody answered in time"), "died": later("over"),
}  # fmt: skip
_CAUSES = {
    asking.Cause.CLIENT_ENDED: later("the project ended"),
    asking.Cause.PROJECT_ENDED: later("the project ended"),
    asking.Cause.DATASET_ENDED: later("the dataset ended"),
    asking.Cause.PERSON_LEFT: later("whom it was for has left"),
    asking.Cause.ASKER_LEFT: later("who asked for it has left"),
    asking.Cause.PAUSED: later("the project was paused"),
}


def told(session: Session, entries: Sequence[Row[Any]]) -> list[tuple[datetime, str]]:
    """When, and whom, to tell of entries of these types: never who did it."""
    if not entries:
        return []
    actors = {entry.at: entry.actor for entry in entries}
    ended: Any = select(Request.ended_at, Request.asked_by, Request.subject_id).where(
        Request.kind == RequestKind.GRANT,
        Request.ended_at >= min(actors),
        Request.ended_at <= max(actors),
    )
    return [
        (at, person)
        for at, *people in session.execute(ended)
        for person in dict.fromkeys(people)
        if at in actors and person and person.startswith("sub_") and person != actors[at]
    ]


def words(
    session: Session, settings: Settings, begins: datetime, ends: datetime, voices: dict[str, Voice]
) -> dict[str, list[str]]:
    """What each of some people is told of what ended in [begins, ends)."""
    among = listed(session, sorted(voices))
    rows = session.execute(
        select(Request, Project.code, Subject.external_id)
        .join(Project, Project.id == Request.project_id)
        .join(Subject, Subject.id == Request.subject_id)
        .where(
            Request.kind == RequestKind.GRANT,
            Request.ended_at >= begins,
            Request.ended_at < ends,
            or_(
                Request.asked_by.in_(select(among.c.value)),
                Request.subject_id.in_(select(among.c.value)),
            ),
        )
        .order_by(Request.ended_at, Request.id)
    ).all()
    found: dict[str, list[str]] = {}
    for row, project, person in rows:
        how = _CAUSES.get(row.details.get("cause", "")) or _OUTCOMES[row.outcome or ""]
        for who in {row.asked_by, row.subject_id or ""} & voices.keys():
            say = voices[who]
            place = project
            if who != row.subject_id:
                place = say("%(project)s for %(person)s", project=project, person=person)
            found.setdefault(who, []).append(f"  {place}: {say(how)}")
    url, told = f"{settings.public_url}/requests/mine", {}
    for who, lines in found.items():
        say = voices[who]
        more = say("Read more on your own page: %(url)s", url=url)
        told[who] = [say("Of the access that was asked for:"), "", *lines, "", more]
    return told
