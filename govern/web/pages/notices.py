"""What one was told, unchanged: every notice with how it reached one, and the dates in a calendar.

Reachable while suspended, and about whoever is signed in: no address names a person.
"""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import Blueprint, make_response, render_template
from flask_babel import gettext as _

from govern import clock
from govern.access import standing, told
from govern.audit import EventType
from govern.signals import mail
from govern.web import guard, ics

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from flask.typing import ResponseReturnValue

    from govern.access import suspensions
    from govern.signals.mail import Delivery

blueprint = Blueprint("notices", __name__)

# The entries of one commit are this close together.
_SAME_COMMIT = timedelta(milliseconds=1)
_SAYING = {EventType.NOTICE_POSTED, EventType.SUSPENSION_OPENED}


@blueprint.get("/notices")
@guard.while_suspended
def show() -> ResponseReturnValue:
    """Every notice that one was given, the latest suspension first."""
    by = guard.principal()
    with guard.database().reading() as session:
        found = _found()
        mails = mail.deliveries(session, by.id, (one.suspension_id for one in found))
    return render_template(
        "contractor/notices.html",
        by_mail=bool(guard.database().settings.smtp_url),
        told=[
            SimpleNamespace(
                id=one.suspension_id, places=one.places, since=one.since, until=one.until,
                versions=[
                    SimpleNamespace(words=version, mail=_mail(one, version, mails))
                    for version in one.versions
                ],
            )
            for one in found
        ],
    )  # fmt: skip


@blueprint.get("/notices.ics")
@guard.while_suspended
def dates() -> ResponseReturnValue:
    """What one must not miss, as a calendar file."""
    settings = guard.database().settings
    file = ics.render(
        _dates(_found(), settings.public_url), name=_("My projects"), made_at=clock.utcnow()
    )
    response = make_response(file)
    response.headers["Content-Type"] = ics.MEDIA_TYPE
    response.headers["Content-Disposition"] = 'attachment; filename="my-projects.ics"'
    return response


def _found() -> list[told.Told]:
    by = guard.principal()
    with guard.database().reading() as session:
        held = {
            (hold.suspension_id, one.project)
            for one in standing.of(session, by.id)
            for hold in (*one.holds, *one.parts)
        }
        return told.history(session, by.id, now=held)


def _mail(
    one: told.Told, version: suspensions.notices.Version, mails: Iterable[Delivery]
) -> Delivery | None:
    """The mail that told of a version: its own, or that of the suspension which it opened with."""
    return next(
        (
            each
            for each in mails
            if each.suspension_id == one.suspension_id
            and each.type in _SAYING
            and abs(each.at - version.posted_at) < _SAME_COMMIT
        ),
        None,
    )


# --- the calendar ------------------------------------------------------------------------------


def _dates(found: Iterable[told.Told], url: str) -> Iterator[ics.Date]:
    """The dates of what is still open; of each suspension those that its newest notice says."""
    host = urlsplit(url).hostname
    for one in found:
        if one.until is not None:
            continue
        newest = one.versions[0]
        where = ", ".join(one.places) or _("Your own access")
        dated: tuple[tuple[str, datetime | None, str], ...] = (
            ("hours", one.hours_until, _("%(where)s: hours count until now", where=where)),
            ("submit", newest.submit_by, _("%(where)s: hand in your hours by now", where=where)),
            ("update", newest.next_update_by, _("%(where)s: an update is due", where=where)),
        )
        for kind, at, title in dated:
            if at is not None:
                yield ics.Date(
                    uid=f"{kind}-{one.suspension_id}@{host}", at=at, title=title,
                    words=_("How things stand now is on your own page."), url=f"{url}/status",
                    revision=newest.number,
                )  # fmt: skip
