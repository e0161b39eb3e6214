"""What is one's own beside projects and sign-in: one's time zone, language and whole record."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flask import Blueprint, make_response
from flask_babel import gettext as _

from govern import clock
from govern.access import own_record
from govern.identity import preferences
from govern.web import guard
from govern.web.pages import acting, base, contractor

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

blueprint = Blueprint("own_record", __name__)


@blueprint.post("/account/time-zone")
def set_time_zone() -> ResponseReturnValue:
    """Choose the time zone of one's own pages."""
    return acting.act(
        lambda session, by: preferences.set_time_zone(
            session, base.typed("time_zone"), seen=base.seen(), by=by
        ),
        done=lambda _none: contractor.done(_("Your time zone is set.")),
        again=contractor.account_page,
        title=_("Set my time zone"),
        cancel="/account",
    )


@blueprint.post("/account/language")
def set_language() -> ResponseReturnValue:
    """Choose the language of the pages, which speak it from the next on."""
    return acting.act(
        lambda session, by: preferences.set_language(
            session, base.typed("language"), seen=base.seen(), by=by
        ),
        done=lambda _none: _spoken(),
        again=contractor.account_page,
        title=_("Choose my language"),
        cancel="/account",
    )


def _spoken() -> ResponseReturnValue:
    guard.become(guard.token())  # looked up anew, so that what follows is said in it
    base.speak_anew()
    return contractor.done(_("The pages speak your language now."))


@blueprint.get("/account/record")
def take() -> ResponseReturnValue:
    """Everything that is recorded of oneself, as JSON; the reading is recorded too."""
    found = own_record.read(guard.database(), by=guard.principal())
    response = make_response(json.dumps(found, ensure_ascii=False, indent=1))
    response.headers["Content-Type"] = "application/json; charset=utf-8"
    name = f"govern-record-{clock.utcnow():%Y%m%dT%H%M%SZ}.json"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
