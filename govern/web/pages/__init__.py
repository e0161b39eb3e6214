"""The pages that people see, one file for each place; all stand on `base`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from govern.web.pages import (
    asking,
    auditor,
    auth,
    authenticators,
    base,
    bulk,
    calendar,
    clients,
    contractor,
    demanding,
    drills,
    effect,
    ending,
    finding,
    integrations,
    keeping,
    lift,
    lists,
    notices,
    outgoing,
    overview,
    own_record,
    pause,
    people,
    projects,
    providers,
    questions,
    recovery,
    reset,
    roles,
    rosters,
    single_sign_on,
    start,
    suspended,
)

if TYPE_CHECKING:
    from flask import Flask

# A file of pages holds one blueprint; its name is the first half of its endpoints.
PLACES = (
    asking, auditor, auth, authenticators, bulk, calendar, clients, contractor, demanding, drills,
    effect, ending, finding, integrations, keeping, lift, lists, notices, outgoing,
    overview, own_record, pause, people, projects, providers, questions, recovery, reset, roles,
    rosters, single_sign_on, start, suspended,
)  # fmt: skip


def install(app: Flask) -> None:
    """Put the pages into the application."""
    base.install(app)
    for place in PLACES:
        app.register_blueprint(place.blueprint)
    single_sign_on.install(app)
