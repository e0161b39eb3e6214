"""`/logs/`: whoever may read a log can copy it file by file, and proves from the copy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from govern.audit import log
from govern.audit.decisions import Access
from govern.audit.signer import Signer
from govern.audit.verify import keys
from govern.tlog import merkle, note, tiles
from tests.audit.test_export import fill
from tests.web.api.caller import Caller
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from werkzeug.test import TestResponse

    from govern.db import Database
    from tests.factory import World

    Get = Callable[[str], TestResponse]

SIZE = 256 + 40


def getter(app: Flask, caller: Caller, name: str) -> Get:
    client = app.test_client()
    return lambda path: client.get(f"/logs/{name}/{path}", auth=caller.credentials)


def copied(get: Get, vkey: str) -> list[bytes]:
    """A mirror's work: every entry, checked by the tiles against the signed root."""
    signed = get("checkpoint").data
    head = keys.open_checkpoint(signed, [note.Verifier.parse(vkey)])
    store = {
        (level, index, width): get(tiles.path(level, index, width)).data
        for level, index, width in [
            *((level, index, tiles.WIDTH) for level, index in tiles.full_tiles(0, head.size)),
            *tiles.partial_tiles(head.size),
        ]
    }
    entries: list[bytes] = []
    for index in range(-(-head.size // tiles.WIDTH)):
        width = min(tiles.WIDTH, head.size - index * tiles.WIDTH)
        answer = get(tiles.entries_path(index, width))
        assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
        body, found = answer.data, []
        while body:
            length = int.from_bytes(body[:2], "big")
            found.append(body[2 : 2 + length])
            body = body[2 + length :]
        assert b"".join(map(merkle.leaf_hash, found)) == store[0, index, width]
        entries += found
    tree = merkle.Range.empty().extend_leaves(map(merkle.leaf_hash, entries))
    assert (head.size, head.root) == (len(entries), tree.root())
    for (level, index, width), hashes in store.items():
        reader = tiles.Hashes(
            lambda *_: None, lambda begin, end: [merkle.leaf_hash(e) for e in entries[begin:end]]
        )
        assert hashes == reader.tile(level, index, width)
    return entries


def test_a_log_is_copied_file_by_file_and_proves_itself(
    world: World, app: Flask, store: Database
) -> None:
    aster = world.client("ASTER")
    get = getter(app, Caller.of(world, app, "audit.read", client=aster), "ASTER")
    fill(store, aster.id, SIZE)
    signer = Signer(store.settings)
    signer.sign(store)
    with store.reading() as session:
        stored = list(log.leaf_hashes(session, aster.id, 0, 10**6))
    assert [*map(merkle.leaf_hash, copied(get, signer.key))] == stored

    fill(store, aster.id, 1)  # not signed yet, so not served yet
    past = tiles.path(0, 1, len(stored) - 256 + 1)
    assert get(past).status_code == 404
    signer.sign(store)
    assert get(past).status_code == 200
    assert len(copied(get, signer.key)) == len(stored) + 1


def test_a_log_is_served_to_its_readers_alone_and_each_reading_is_recorded(
    world: World, app: Flask, store: Database
) -> None:
    aster, birch = world.client("ASTER"), world.client("BIRCH")
    Signer(store.settings).sign(store)
    theirs = Caller.of(world, app, "audit.read", client=aster)
    asked = {"ASTER": 200, "BIRCH": 404, "house": 403, "NOBODY": 404}
    for name, status in asked.items():
        answer = getter(app, theirs, name)("checkpoint")
        assert (name, answer.status_code) == (name, status)
        assert birch.id.encode() not in answer.data
    ours = Caller.of(world, app, "audit.read")
    assert {getter(app, ours, name)("checkpoint").status_code for name in ("house", "BIRCH")} == {
        200
    }
    assert getter(app, Caller.of(world, app, "decision"), "ASTER")("checkpoint").status_code == 403
    nobody = app.test_client().get("/logs/ASTER/checkpoint")
    assert nobody.status_code in {303, 401}
    with store.access_reading() as session:
        rows = session.query(Access.client_id).where(Access.action == "log.file").all()
    assert sorted(client or "" for (client,) in rows) == sorted(["", aster.id, birch.id])


def test_an_auditor_may_read_it_in_a_browser_too(world: World, app: Flask, store: Database) -> None:
    world.client("ASTER")
    Signer(store.settings).sign(store)
    auditor = world.staff("auditor")
    world.activate(auditor)
    visitor = Visitor.of(app).sign_in(world, auditor)
    assert visitor.get("/logs/ASTER/checkpoint").text.startswith(store.settings.origin)


@pytest.mark.parametrize("path", ["tile/0/001", "tile/9/000", "..%2fcheckpoint", "tile/0/000.p/0"])
@pytest.mark.web_alone
def test_what_is_no_file_of_a_log_is_not_there(
    path: str, world: World, app: Flask, store: Database
) -> None:
    world.client("ASTER")
    Signer(store.settings).sign(store)
    get = getter(app, Caller.of(world, app, "audit.read"), "ASTER")
    assert get(path).status_code == 404
