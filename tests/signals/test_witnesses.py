"""Witnesses follow what grows and refuse what was rewritten; an export carries their word."""

from __future__ import annotations

import io
import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from sqlalchemy import select

from govern import clock, errors
from govern.access import needing
from govern.access.needing import What
from govern.audit import export, log, verify, witnessing
from govern.audit.log import HOUSE, Entry
from govern.audit.signer import Signer
from govern.audit.witness import Witness
from govern.db import together
from govern.signals import witnesses
from govern.tlog.witness import Request
from govern.web.witness import application
from tests.audit.test_export import fill
from tests.audit.test_fsck import tamper
from tests.factory import OPERATOR, person

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from govern.db import Database
    from govern.web.witness import Wsgi
    from tests.factory import World


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(app: Wsgi) -> Iterator[str]:
    """A real server of it; gives its address."""
    with make_server("127.0.0.1", 0, app, handler_class=_Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def answered(app: Wsgi, body: bytes, *, path: str = "/add-checkpoint", method: str = "POST") -> str:
    told: list[str] = []
    environ = {
        "PATH_INFO": path, "REQUEST_METHOD": method, "wsgi.input": io.BytesIO(body),
        "CONTENT_LENGTH": str(len(body)),
    }  # fmt: skip
    text = b"".join(app(environ, lambda status, _: told.append(status)))
    return f"{told[0][:3]} {text.decode()}"


def needed(world: World) -> dict[What, int]:
    """How many witnesses need somebody."""
    with world.store.reading() as session:
        (found,) = together(session, needing.needs(by=OPERATOR))
    return {one.what: one.number for one in found}


def test_a_witness_follows_the_log_and_an_export_carries_its_word(
    world: World, store: Database, tmp_path: Path
) -> None:
    aster = world.client("ASTER")
    signer = Signer(store.settings)
    witness = Witness.begin(tmp_path / "witness", "witness.example/1", [signer.key])
    with served(application(witness)) as url:
        world.do(lambda s: witnessing.add(s, url, witness.key, client=aster.id, by=OPERATOR))
        signer.sign(store)
        assert witnesses.push(store) == 1
        fill(store, aster.id, 300)
        signer.sign(store)
        assert witnesses.push(store) == 1
        assert witnesses.push(store) == 0
    with store.reading() as session:
        (following,) = witnessing.following(session)
        assert following.log == aster.id  # the house's size is no client's business
        assert following.cosigned == following.signed > 300
    fill(store, aster.id, 3)
    signer.sign(store)

    file = io.BytesIO()
    export.run(store, file, form="jsonl", client=aster.id, where=export.Filter(), by=OPERATOR)
    report = verify.check(io.BytesIO(file.getvalue()), keys=[signer.key], witnesses=[witness.key])
    assert report.ok
    word = f"witness.example/1 saw the first {following.signed} entries of {aster.id}"
    assert any(each.startswith(word) for each in report.proves)
    other = Witness.begin(tmp_path / "other", "other.example", [signer.key])
    report = verify.check(io.BytesIO(file.getvalue()), keys=[signer.key], witnesses=[other.key])
    assert report.ok
    assert f"That other.example ever saw {aster.id} as it is here." in report.does_not_prove


def test_a_rewritten_history_is_refused_by_the_witness_even_when_our_own_key_signs_it(
    world: World, store: Database, tmp_path: Path
) -> None:
    aster = world.client("ASTER")
    fill(store, aster.id, 20)
    signer = Signer(store.settings)
    witness = Witness.begin(tmp_path / "witness", "witness.example/1", [signer.key])
    with served(application(witness)) as url:
        world.do(lambda s: witnessing.add(s, url, witness.key, by=OPERATOR))
        signer.sign(store)
        assert witnesses.push(store) == 2  # the house's log and the client's
        # Someone owns everything: the database, the signer's key and its memory.
        with store.reading() as session:
            leaf = session.execute(
                select(Entry.leaf).where(Entry.log_id == aster.id, Entry.seq == 5)
            ).scalar_one()
        tamper(store, "UPDATE log_entry SET leaf = :leaf WHERE log_id = :log AND seq = 5",
               leaf=leaf.replace(b"sub_", b"sub-"), log=aster.id)  # fmt: skip
        tamper(store, "DELETE FROM log_checkpoint WHERE log_id = :log", log=aster.id)
        (store.settings.signer_dir / "heads.json").unlink()
        tamper(store, "DELETE FROM log_checkpoint WHERE 1 = 1")
        fill(store, aster.id, 1)
        Signer(store.settings).sign(store)
        with pytest.raises(errors.LogDamaged, match="saw another history"):
            witnesses.push(store)
    needs = needed(world)
    assert needs[What.REFUSED] == 1
    assert What.WITNESS not in needs
    with store.reading() as session:
        behind = {each.log: each.signed - each.cosigned for each in witnessing.following(session)}
    assert behind[aster.id] == 1


def test_a_witness_answers_as_the_protocol_says(
    world: World, store: Database, tmp_path: Path
) -> None:
    aster, signer = world.client("ASTER"), Signer(store.settings)

    def asked(old: int) -> Request:
        signer.sign(store)
        with store.reading() as session:
            return witnessing.asking(session, aster.id, old)[1]

    witness = Witness.begin(tmp_path / "witness", "witness.example/1", [signer.key])
    app = application(witness)
    first = asked(0)
    fill(store, aster.id, 4)
    late = asked(0)
    assert answered(app, first.body()).startswith("200 \N{EM DASH} witness.example/1 ")
    assert answered(app, asked(1).body()).startswith("200")
    assert answered(app, late.body()) == "409 5\n"  # it grew since
    assert answered(app, asked(5).body()).startswith("200")  # cosigned anew, with a later time
    fill(store, aster.id, 4)
    good = asked(5)
    assert (
        answered(app, Request(5, (bytes(32),) * len(good.proof), good.checkpoint).body())[:3]
        == "422"
    )
    assert answered(app, Request(5, good.proof[1:], good.checkpoint).body())[:3] == "422"
    assert answered(app, Request(10, (), good.checkpoint).body())[:3] == "400"
    assert answered(app, b"old 5\n\nnothing")[:3] == "400"
    origin = good.checkpoint.split(b"\n")[0]
    foreign = good.checkpoint.replace(origin, b"elsewhere.example")
    assert answered(app, Request(5, good.proof, foreign).body())[:3] == "404"
    grown = good.checkpoint.replace(b"\n9\n", b"\n8\n")
    assert answered(app, Request(5, good.proof, grown).body())[:3] == "403"
    assert answered(app, bytes(70_000))[:3] == "413"
    assert answered(app, b"", path="/")[:3] == "404"
    assert answered(app, b"", method="GET")[:3] == "405"
    # What it saw is on the disk: one that starts anew goes on from there.
    again = application(Witness(tmp_path / "witness"))
    assert answered(again, late.body()) == "409 5\n"
    assert answered(again, good.body())[:3] == "200"


def test_only_whoever_runs_the_installation_says_who_witnesses(
    world: World, store: Database, tmp_path: Path
) -> None:
    key = Witness.begin(tmp_path / "w", "witness.example/1", [Signer(store.settings).key]).key
    admin = person(world.staff())
    with pytest.raises(errors.Forbidden):
        world.do(lambda s: witnessing.add(s, "https://w.example", key, by=admin))
    for url in ("http://w.example", "ftp://w.example", "https://", "w.example"):
        with pytest.raises(errors.Invalid):
            world.do(lambda s, url=url: witnessing.add(s, url, key, by=OPERATOR))
    with pytest.raises(errors.Invalid):
        world.do(lambda s: witnessing.add(s, "https://w.example", key[:-4], by=OPERATOR))
    row = world.do(lambda s: witnessing.add(s, "https://w.example/", key, by=OPERATOR))
    with pytest.raises(errors.AlreadyExists):
        world.do(lambda s: witnessing.add(s, "https://w.example", key, by=OPERATOR))
    world.do(lambda s: witnessing.end(s, witnessing.find(s, row.name), by=OPERATOR))
    with pytest.raises(errors.Unknown):
        world.do(lambda s: witnessing.find(s, row.name))
    told = [each["type"] for each in world.entries(HOUSE) if each["type"].startswith("witness.")]
    assert told == ["witness.added", "witness.ended"]


def test_a_witness_that_is_away_keeps_no_other_waiting_and_is_shown_behind(
    world: World, store: Database, tmp_path: Path
) -> None:
    signer = Signer(store.settings)
    away = Witness.begin(tmp_path / "away", "away.example", [signer.key])
    here = Witness.begin(tmp_path / "here", "here.example", [signer.key])
    with served(application(here)) as url:
        world.do(lambda s: witnessing.add(s, "http://127.0.0.1:9", away.key, by=OPERATOR))
        world.do(lambda s: witnessing.add(s, url, here.key, by=OPERATOR))
        signer.sign(store)
        with pytest.raises(OSError, match="9"):
            witnesses.push(store)
    assert needed(world) == {}
    with clock.at(clock.utcnow() + timedelta(minutes=16)):
        assert needed(world) == {What.WITNESS: 1}
        # Once it answers, nothing is left of it.
        with served(application(away)) as url:
            tamper(store, "UPDATE log_witness SET url = :url WHERE name = 'away.example'", url=url)
            witnesses.push(store)
        assert needed(world) == {}
    with store.reading() as session:
        told = {each.witness.name: each.cosigned for each in witnessing.following(session)}
        size = log.latest_checkpoint(session, HOUSE).size
    assert told == {"away.example": size, "here.example": size}
