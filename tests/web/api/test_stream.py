"""Following the logs by cursor: every signed entry once, in order, and a gap would show."""

from __future__ import annotations

import io
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from govern.audit import export, streaming
from govern.audit.export import Filter
from govern.audit.signer import Signer
from tests.factory import OPERATOR
from tests.web.api.caller import Caller

if TYPE_CHECKING:
    from flask import Flask

    from tests.factory import World


def sign(world: World) -> None:
    Signer(world.store.settings).sign(world.store)


def exported(world: World) -> dict[str, list[str]]:
    """The entries' lines of an export of everything, by the ids of their logs."""
    out = io.BytesIO()
    export.run(world.store, out, form="jsonl", where=Filter(), by=OPERATOR)
    found: dict[str, list[str]] = {}
    for line in out.getvalue().decode().splitlines(keepends=True):
        if line.startswith('{"log":'):
            mine = found.setdefault(json.loads(line)["log"], [])
        elif line.startswith('{"seq":'):
            mine.append(line)
    return found


def follow(caller: Caller, after: str, *, limit: int) -> tuple[dict[str, list[str]], str]:
    """All that is new behind a cursor, by log; each run is looked at for a gap."""
    found: dict[str, list[str]] = {}
    while True:
        answer = caller.get(f"/log/stream?after={after}&limit={limit}").json
        assert answer is not None
        after = answer["next"]
        if not answer["runs"]:
            return found, after
        for run in answer["runs"]:
            mine = found.setdefault(run["id"], [])
            mine += run["lines"]
            told = [json.loads(line)["seq"] for line in run["lines"]]
            assert told == list(range(run["begin"], run["end"]))
            assert run["end"] <= run["size"]
            assert f"\n{run['size']}\n" in run["checkpoint"]


def test_a_follower_is_told_each_signed_entry_once_with_the_bytes_of_the_export(
    world: World, app: Flask
) -> None:
    aster, boreal = world.client("ASTER"), world.client("BOREAL")
    for client in (aster, boreal):
        world.grant(world.subject(), world.project(f"{client.code}-one", client=client))
    everything = Caller.of(world, app, "audit.read")
    limited = Caller.of(world, app, "audit.read", client=aster)
    sign(world)
    whole = exported(world)
    told, after = follow(everything, "", limit=3)
    assert told == whole
    mine, mine_after = follow(limited, "", limit=50)
    assert mine == {aster.id: whole[aster.id]}

    world.suspend("client:ASTER")
    world.write_particulars()
    assert follow(everything, after, limit=50) == ({}, after)  # what is not signed is not told
    sign(world)
    more = exported(world)
    assert follow(everything, after, limit=50)[0] == {
        aster.id: more[aster.id][len(mine[aster.id]) :]
    }
    assert follow(limited, mine_after, limit=2)[0] == follow(everything, after, limit=50)[0]

    stolen = streaming.cursor({boreal.id: 0})
    assert set(follow(limited, stolen, limit=50)[0]) == {aster.id}
    for wrong in ("x", streaming.cursor({aster.id: 10_000}), streaming.cursor({aster.id: -1})):
        assert limited.get(f"/log/stream?after={wrong}").status_code == 422
    assert Caller.of(world, app, "api").get("/log/stream").status_code == 403
    reads = everything.get("/log/access?kind=read&limit=200").json
    assert reads is not None
    assert {"log.stream"} < {row["action"] for row in reads["items"]}


def test_who_waits_is_told_at_once_holds_no_transaction_and_leaves_room(
    world: World, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    aster = world.client("ASTER")
    caller = Caller.of(world, app, "audit.read", client=aster)
    sign(world)
    _, after = follow(caller, "", limit=50)
    monkeypatch.setattr(streaming, "_room", threading.BoundedSemaphore(1))
    resting, told = threading.Event(), list[Any]()

    def sleep(_: float) -> None:
        resting.set()
        threading.Event().wait(0.01)

    monkeypatch.setattr(streaming.time, "sleep", sleep)
    asking = threading.Thread(
        target=lambda: told.append(caller.get(f"/log/stream?after={after}&wait=25").json)
    )
    asking.start()
    assert resting.wait(20)
    busy = caller.get(f"/log/stream?after={after}&wait=1")
    assert (busy.status_code, busy.json["code"]) == (503, "busy")  # type: ignore[index]  # JSON
    assert int(busy.headers["Retry-After"]) > 0
    assert caller.get(f"/log/stream?after={after}").status_code == 200
    world.project(client=aster)
    sign(world)
    asking.join(20)
    (answer,) = told
    (run,) = answer["runs"]
    assert json.loads(run["lines"][0])["entry"]["type"] == "project.created"
    assert caller.get(f"/log/stream?after={answer['next']}&wait=1").json["runs"] == []  # type: ignore[index]  # JSON
