"""Health: `/healthz` lives with the process, `/readyz` with what it stands on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import text

from govern.audit.signer import Signer

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

    from govern.config import Settings
    from govern.db import Database
    from tests.factory import World


def ready(app: Flask) -> TestResponse:
    assert app.test_client().get("/healthz").json == {"status": "ok"}  # whatever else is wrong
    return app.test_client().get("/readyz")


def test_a_sound_installation_is_ready(app: Flask, world: World) -> None:
    world.client()
    answer = ready(app)
    assert answer.status_code == 200
    assert answer.json == {
        "status": "ready",
        "checks": {"database": True, "schema": True, "log": True},
        "warnings": [],
    }


def test_a_schema_of_another_version_is_not_ready(app: Flask, store: Database) -> None:
    store.transaction(lambda s: s.execute(text("UPDATE schema_main SET version_num = 'older'")))
    answer = ready(app)
    assert answer.status_code == 503
    assert answer.json["checks"] == {"database": True, "schema": False, "log": True}


def test_a_missing_access_log_is_not_ready(app: Flask, store: Database) -> None:
    store.access_transaction(lambda s: s.execute(text("DROP TABLE schema_access")))
    answer = ready(app)
    assert answer.status_code == 503
    assert answer.json["checks"]["schema"] is False


def test_a_database_behind_its_signed_log_is_not_ready(
    app: Flask, world: World, settings: Settings
) -> None:
    world.client()
    Signer(settings).sign(world.store)
    heads = settings.signer_dir / "heads.json"
    signed = json.loads(heads.read_text())
    signed["house"]["size"] += 1  # as after a backup was put back
    heads.write_text(json.dumps(signed))
    answer = ready(app)
    assert answer.status_code == 503
    assert answer.json["checks"] == {"database": True, "schema": True, "log": False}
    assert "entries" not in answer.text  # what exactly is wrong is not for everyone
