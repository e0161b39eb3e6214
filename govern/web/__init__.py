"""The web surface: it translates and delegates, and never decides."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from flask import Flask

from govern import config, db, paths
from govern.audit.signer import Signer
from govern.identity import sealing_keys
from govern.web import (
    api,
    authzen,
    contact,
    forward,
    guard,
    headers,
    health,
    logs,
    oauth,
    pages,
    problems,
    rates,
)

if TYPE_CHECKING:
    from govern.config import Settings


def build(settings: Settings | None = None) -> Flask:
    """Make the application; refuses a database that is behind its signed log (`LogDamaged`)."""
    settings = settings or config.from_environment()
    app = Flask("govern.web", template_folder=str(paths.TEMPLATES), static_folder="static")
    app.config.update(
        SESSION_COOKIE_NAME="__Host-form" if settings.secure else "form",
        SESSION_COOKIE_SECURE=settings.secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        # Any form; who takes more says so beside its route.
        MAX_CONTENT_LENGTH=1024 * 1024,
    )
    app.url_map.merge_slashes = False  # what is not an address of ours is not made one
    headers.install(app, settings)
    problems.install(app)
    guard.install(app)
    pages.install(app)
    app.register_blueprint(health.blueprint)
    contact.install(app)
    app.register_blueprint(logs.blueprint)
    api.install(app)
    app.register_blueprint(authzen.blueprint)
    app.register_blueprint(forward.blueprint)
    oauth.install(app)
    # Credentials come with each request, not from a browser's memory: nobody can borrow them.
    app.extensions["csrf"].exempt(authzen.blueprint)
    rates.install(app)
    answer_from(app, settings)
    return app


def answer_from(app: Flask, settings: Settings) -> None:
    """Let an application answer from the database of these settings, and from no other.

    They differ from those that it was built with in nothing but where the installation is.
    """
    database = db.Database(settings)
    signer = Signer(settings)
    signer.watch(database)
    signer.check(database)
    sealing_keys.check(database)
    app.config["SECRET_KEY"] = config.secret(settings.keys_dir / "web.key")
    app.extensions["govern"] = database
    inner = forward.folded(partial(Flask.wsgi_app, app))
    app.wsgi_app = authzen.before(inner, database)  # type: ignore[method-assign,assignment]  # Flask's own way
