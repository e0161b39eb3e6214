"""The API: what the pages do, for programs; one file for each room, all on `routes`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint

from govern.web.api import (
    acts,
    clients,
    datasets,
    drills,
    effect,
    exports,
    grants,
    histories,
    keeping,
    lifting,
    log,
    openapi,
    people_lists,
    projects,
    proving,
    requests,
    routes,
    subjects,
    suspensions,
    who,
)

if TYPE_CHECKING:
    from flask import Flask

    from govern.web.api.routes import Operation

PLACES = (
    clients, keeping, projects, datasets, subjects, grants, suspensions, effect, people_lists,
    acts, drills, lifting, requests, log, exports, proving, who, histories,
)  # fmt: skip
OPERATIONS: list[Operation] = [item for place in PLACES for item in place.routes.operations]

blueprint = Blueprint("api", __name__)
routes.serve(blueprint, OPERATIONS)
openapi.serve(blueprint, OPERATIONS)


def install(app: Flask) -> None:
    """Put the API into the application."""
    app.register_blueprint(blueprint)
    # Credentials come with each request, not from a browser's memory: nobody can borrow them.
    app.extensions["csrf"].exempt(blueprint)
