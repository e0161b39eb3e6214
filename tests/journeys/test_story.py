"""The story that govern exists for, through a real browser, a real server and both databases."""

from __future__ import annotations

import io
import sqlite3
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from govern import db
from govern.audit import fsck, verify
from govern.audit.signer import Signer
from tests.journeys import story
from tests.support import browser

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from govern.config import Settings
    from tests.journeys.story import Served

NOTE = "ASTER asked us to pause while they look into something on their side."


@pytest.mark.browser
@pytest.mark.timeout(240)
def test_pause_see_deny_prove_and_resume(settings: Settings, tmp_path: Path) -> None:
    with browser.chromium() as chromium, story.served(settings, chromium) as served:
        question = ("P00001", "read", "project", "Kingfisher")
        assert served.decide(*question)["decision"] is True

        admin = served.sign_in("admin")
        suspension = story.pause(admin, "ASTER", note=NOTE)
        denied = served.decide(*question)
        assert (denied["decision"], denied["context"]["code"]) == (False, "client_paused")
        story.until_written(admin)
        assert "3,257" in admin.inner_text("main")

        contractor = served.sign_in("contractor", size=story.PHONE)
        told = contractor.inner_text("main")
        assert "Paused" in told
        assert NOTE in told

        exported = _export(served.sign_in("auditor"), tmp_path)
        _verify(served.settings, exported)

        _lift(served, admin, suspension)
        assert served.decide(*question)["decision"] is True
        contractor.reload()
        assert "Running" in contractor.inner_text("main")
    _change_one_byte(served.settings)


def _export(auditor: Page, folder: Path) -> bytes:
    """The auditor's own download, in the form that proves itself."""
    auditor.goto("/log/export")
    auditor.check("[name=format][value=jsonl]")
    with auditor.expect_download() as waiting:
        auditor.click("form[action='/log/export'] button[type=submit]")
    saved = folder / "export.jsonl"
    waiting.value.save_as(saved)
    return saved.read_bytes()


def _verify(settings: Settings, exported: bytes) -> None:
    """Offline: sound as it is; with one byte changed, the entry is named."""
    keys = [Signer(settings).key]
    whole = verify.check(io.BytesIO(exported), keys=keys)
    assert whole.ok, whole.damage[:3]
    assert whole.rows > 7640
    damaged = bytearray(exported)
    place = damaged.index(b'"type":"grant.suspended"')
    line = exported[:place].count(b"\n") + 1
    damaged[place + 10] ^= 1
    found = verify.check(io.BytesIO(bytes(damaged)), keys=keys)
    assert not found.ok
    named = [damage for damage in found.damage if damage.line == line]
    assert named
    assert f'"seq":{named[0].seq},'.encode() in exported.splitlines()[line - 1]


def _lift(served: Served, admin: Page, suspension: str) -> None:
    """One asks, another approves; both type the number of grants that come back."""
    admin.goto(f"{suspension}/lift")
    admin.fill("[name=number]", "3257")
    admin.fill("[name=reason]", "cleared by the client")
    admin.click("form[action$='/lift'] button[type=submit]")
    admin.wait_for_load_state()
    second = served.sign_in("admin", 1)
    second.goto("/")
    second.click("a[href*='/requests/req_']")
    second.fill("[name=number]", "3,257")
    second.click("form:has([name=decision][value=approve]) button[type=submit]")
    second.wait_for_load_state()


def _change_one_byte(settings: Settings) -> None:
    """Whoever owns the database drops the triggers and changes one byte: fsck names the entry."""
    database = db.Database(settings)
    Signer(settings).sign(database)
    with database.reading() as session:
        row = session.execute(
            text(
                "SELECT log_id, seq, leaf FROM log_entry WHERE type = 'grant.suspended' "
                "ORDER BY log_id, seq LIMIT 1"
            )
        ).one()
    leaf = bytearray(row.leaf)
    leaf[20] ^= 1
    change = "UPDATE log_entry SET leaf = {} WHERE log_id = {} AND seq = {}"
    if database.is_postgresql:
        with database.writer.begin() as connection:
            connection.execute(text("ALTER TABLE log_entry DISABLE TRIGGER ALL"))
            connection.execute(
                text(change.format(":leaf", ":log", ":seq")),
                {"leaf": bytes(leaf), "log": row.log_id, "seq": row.seq},
            )
    else:
        connection = sqlite3.connect(settings.url.removeprefix("sqlite:///"))
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(change.format("?", "?", "?"), (bytes(leaf), row.log_id, row.seq))
        connection.commit()
        connection.close()
    report = fsck.run(database, Signer(settings))
    database.dispose()
    assert not report.ok
    assert (row.log_id, row.seq) in {(damage.log, damage.seq) for damage in report.damage}
