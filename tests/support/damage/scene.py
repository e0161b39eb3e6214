"""A world that holds a bit of everything, and whoever owns its databases, who stops at nothing.

What the owner does is put back at once, table by table, so one world serves for every damage.
"""

from __future__ import annotations

import io
import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, create_engine, event, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from govern import clock
from govern.access import deriving, evidence
from govern.audit import export, fsck, leaf, triggers
from govern.audit.export import Filter
from govern.audit.log import Checkpoint, Entry, Tile
from govern.audit.sealing import AccessSeal
from govern.audit.signer import Signer
from govern.db import AccessBase, Base
from govern.tlog import checkpoint, merkle, note
from tests.factory import OPERATOR, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import Engine, Table
    from sqlalchemy.orm import Session

    from govern.db import Database

# Entries of the client's log: in a tile that is full, signed but in none yet, not signed yet.
EARLY, BEHIND = 6, -4
# What the logs themselves are; all other tables are held against them.
RECORD = frozenset({
    "log", "log_entry", "log_value", "log_tile", "log_checkpoint", "access_row", "access_seal",
    "access_expiry", "access_horizon",
})  # fmt: skip
_OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


@dataclass
class Owner:
    """Whoever owns the databases: no trigger and no foreign key is in the way.

    `known` are values that statements name as `:name`.
    """

    store: Database
    known: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings = self.store.settings
        self._engines = {"main": _engine(settings.url)}
        self._engines["access"] = (
            self._engines["main"]
            if settings.access_url == settings.url
            else _engine(settings.access_url)
        )
        self._tables = {
            name: (self._engines[part], table)
            for part, base in (("main", Base), ("access", AccessBase))
            for name, table in base.metadata.tables.items()
        }
        for part, engine in self._engines.items():
            with engine.begin() as connection:
                for each in triggers.undo(engine.dialect.name, part):
                    connection.exec_driver_sql(each)
        for name, (engine, _) in self._tables.items():
            with engine.begin() as connection:
                connection.exec_driver_sql(f"CREATE TABLE kept_{name} AS SELECT * FROM {name}")

    def table(self, name: str) -> Table:
        """A table by its name, of whichever database."""
        return self._tables[name][1]

    @contextmanager
    def at(self, table: str) -> Iterator[Connection]:
        """A connection to the database of a table; what is done commits."""
        with self._tables[table][0].begin() as connection:
            yield connection

    def do(self, *statements: str) -> set[str]:
        """Carry out statements; returns the tables that they changed."""
        touched = set()
        for statement in statements:
            (name,) = re.findall(r"^(?:UPDATE|DELETE FROM|INSERT INTO) (\w+)", statement)
            wanted = set(re.findall(r":(\w+)", statement))
            with self.at(name) as connection:
                done = connection.execute(
                    text(statement), {each: self.known[each] for each in wanted}
                ).rowcount
            assert done > 0, statement
            touched.add(name)
        return touched

    def done(self, table: str, statements: list[Any]) -> AbstractContextManager[None] | None:
        """Do this to a table; None where the database itself refuses. The context puts it back."""
        try:
            with self.at(table) as connection:
                for each in statements:
                    connection.execute(each)
        except DBAPIError:
            return None

        @contextmanager
        def stands() -> Iterator[None]:
            try:
                yield
            finally:
                self.put_back({table})

        return stands()

    def put_back(self, tables: set[str]) -> None:
        """As it was before."""
        for name in tables:
            with self.at(name) as connection:
                connection.exec_driver_sql(f"DELETE FROM {name}")
                connection.exec_driver_sql(f"INSERT INTO {name} SELECT * FROM kept_{name}")

    def close(self) -> None:
        """Leave."""
        for engine in self._engines.values():
            engine.dispose()


def _engine(url: str) -> Engine:
    engine = create_engine(url, poolclass=StaticPool)
    off = "SET session_replication_role = replica"
    if engine.dialect.name == "sqlite":
        off = "PRAGMA foreign_keys = OFF"

    @event.listens_for(engine, "connect")
    def without_keys(connection: Any, _: Any) -> None:
        connection.cursor().execute(off)
        connection.commit()

    return engine


class Scene:
    """The world, its owner, and what an auditor took away of it."""

    def __init__(self, world: World) -> None:
        self.world, self.store = world, world.store
        self.signer = Signer(self.store.settings)
        self.key = self.signer.key
        # What a statement names as `:name`, and a finding as `{name}`.
        self.known = _known(self.store)
        # Taken before all else: that it was taken is a row of the access log.
        self.pack = self.written(self._pack)
        self.owner = Owner(self.store, self.known)

    def fsck(self, *tables: str) -> tuple[fsck.Damage, ...]:
        """What `govern log fsck` finds; of tables that are named, by that part of it alone."""
        if not tables:
            return deriving.check(self.store, self.signer).damage
        if RECORD.isdisjoint(tables):
            return tuple(deriving.differences(self.store))
        return fsck.run(self.store, self.signer).damage

    @contextmanager
    def damaged(self, *statements: str) -> Iterator[set[str]]:
        """The database with a damage of some tables, which is undone afterwards."""
        touched = self.owner.do(*statements)
        try:
            yield touched
        finally:
            self.owner.put_back(touched)

    @contextmanager
    def memory(self) -> Iterator[None]:
        """What the signer keeps, put back afterwards."""
        folder = self.store.settings.signer_dir
        aside = folder.with_name("aside")
        shutil.copytree(folder, aside)
        try:
            yield
        finally:
            shutil.rmtree(folder)
            aside.rename(folder)

    @cached_property
    def export(self) -> bytes:
        """The client's whole log, as it is exported."""
        return self.written(lambda out: self._export("jsonl", out))

    @cached_property
    def table(self) -> bytes:
        """The same for a spreadsheet, of some entries alone."""
        return self.written(lambda out: self._export("csv", out, types=("grant.revoked",)))

    @cached_property
    def kept(self) -> bytes:
        """The newest head of the client's log, as an auditor keeps it."""
        with self.store.reading() as session:
            rows = session.execute(
                select(Checkpoint.note)
                .where(Checkpoint.log_id == self.known["log"])
                .order_by(Checkpoint.size.desc())
            ).scalars()
            return rows.first().encode()  # type: ignore[union-attr]  # there is one

    @cached_property
    def later(self) -> bytes:
        """A head of a longer log, truly signed, as if the log had been cut since."""
        return _head(self.known, self.known["signed"] + 2, self.signer)

    def written(self, write: Callable[[io.BytesIO], object]) -> bytes:
        """What is written to a file."""
        out = io.BytesIO()
        write(out)
        return out.getvalue()

    def _export(self, form: str, out: io.BytesIO, **filtered: Any) -> None:
        with self.store.reading() as session:
            export.write(
                session, out, form=form, logs=[self.known["log"]], where=Filter(**filtered)
            )

    def _pack(self, out: io.BytesIO) -> None:
        now = clock.utcnow()
        day = timedelta(days=1)
        evidence.write(self.store, out, "ASTER", begin=now - day, end=now + day, by=OPERATOR)


def _head(known: dict[str, Any], size: int, key: Signer | Ed25519PrivateKey) -> bytes:
    """A head of the client's log that may never have been."""
    head = checkpoint.Checkpoint(known["origin"], size, bytes(32))
    signer = key._signer(head.origin) if isinstance(key, Signer) else note.Signer(head.origin, key)
    return checkpoint.sign(head, signer)


def _known(store: Database) -> dict[str, Any]:
    """Ids, places and bytes that damages name."""
    with store.reading() as session:

        def one(statement: str) -> Any:
            return session.execute(text(statement)).scalar_one()

        known = {name: one(statement) for name, statement in _ONES.items()}
        return known | _places(session, known) | _seals(session, known)


_ASTER = "(SELECT id FROM client WHERE code = 'ASTER')"
_GIVEN = (
    "SELECT min(id) FROM access_grant WHERE project_id = "
    "(SELECT id FROM project WHERE code = 'Kingfisher')"
)
_VALUE = f"SELECT min(seq) FROM log_value WHERE log_id = {_ASTER} AND name = 'reason'"
_ONES = {
    "log": "SELECT id FROM client WHERE code = 'ASTER'",
    "origin": f"SELECT origin FROM log WHERE id = {_ASTER}",
    "value": _VALUE,
    "value_next": f"{_VALUE} AND seq > ({_VALUE})",
    "writer": "SELECT min(writer) FROM access_seal",
    "grant": f"{_GIVEN} AND ended_at IS NULL AND dataset_id IS NULL",
    "revoked": f"{_GIVEN} AND ended_at IS NOT NULL",
    "on_data": f"{_GIVEN} AND dataset_id IS NOT NULL",
    "rook": "SELECT id FROM project WHERE code = 'Rook'",
    "rival": "SELECT id FROM client WHERE code = 'RIVAL'",
    "open": "SELECT min(id) FROM suspension WHERE ended_at IS NULL",
    "lifted": "SELECT id FROM suspension WHERE ended_at IS NOT NULL",
    "owed": "SELECT suspension_id FROM particulars WHERE finished_at IS NULL",
    "role": f"SELECT id FROM role_assignment WHERE client_id = {_ASTER}",
    "demand": "SELECT min(id) FROM factor_demand",
    "moved": "SELECT subject_id FROM membership WHERE ended_at IS NOT NULL",
    "notice": "SELECT id FROM suspension_notice",
    "annotator": "SELECT id FROM entitlement WHERE name = 'annotator'",
    "over": "SELECT id FROM project WHERE code = 'Wren'",
    "list": "SELECT id FROM people_list",
    "listed": "SELECT min(subject_id) FROM people_list_item",
    "stranger": "SELECT id FROM subject WHERE external_id = 'K0'",
    "asker": "SELECT id FROM subject WHERE external_id = 'K2'",
    "question": "SELECT id FROM question WHERE waiting_since IS NOT NULL",
    "answered": "SELECT id FROM question WHERE waiting_since IS NULL",
    "hold": "SELECT id FROM legal_hold WHERE released_at IS NULL",
    "released": "SELECT id FROM legal_hold WHERE released_at IS NOT NULL",
    "drill": "SELECT id FROM drill",
    "resume": "SELECT id FROM scheduled_resume WHERE ended_at IS NULL",
    "scheduled": "SELECT suspension_id FROM scheduled_resume WHERE ended_at IS NULL",
}  # fmt: skip


def _places(session: Session, known: dict[str, Any]) -> dict[str, Any]:
    """Entries by where they stand, and what could stand there instead."""
    log = known["log"]
    leaves = list(
        session.execute(select(Entry.leaf).where(Entry.log_id == log).order_by(Entry.seq)).scalars()
    )
    sizes = select(Checkpoint.size).where(Checkpoint.log_id == log).order_by(Checkpoint.size)
    *_, step, signed = session.execute(sizes).scalars()
    early, behind, last = EARLY, signed + BEHIND, len(leaves) - 1
    found: dict[str, Any] = {
        "early": early, "next": early + 1, "behind": behind, "last": last, "end": last + 1,
        "far": last + 1000, "step": step, "signed": signed, "final": signed - 1,
        "tail": signed - 5, "cut_leaf": leaves[early][:-1], "zeros": bytes(32),
    }  # fmt: skip
    for word, seq in (("early", early), ("next", early + 1), ("behind", behind), ("last", last)):
        other = _another(leaves[seq])
        found[f"leaf_{word}"], found[f"other_{word}"] = leaves[seq], other
        found[f"hash_{word}"] = merkle.leaf_hash(leaves[seq])
        found[f"hash_other_{word}"] = merkle.leaf_hash(other)
    tile = session.get_one(Tile, (log, 0, 0)).hashes
    at = early * merkle.HASH_SIZE
    put = found["hash_other_early"]
    return found | {
        "cut_tile": tile[:-32],
        "wrong_tile": bytes(32) + tile[32:],
        "tile_other_early": tile[:at] + put + tile[at + len(put) :],
        "foreign": _head(known, signed, _OTHER_KEY).decode(),
    }


def _seals(session: Session, known: dict[str, Any]) -> dict[str, Any]:
    """The first batch of decisions, and up to where each writer's rows are sealed."""
    seal = session.get_one(AccessSeal, (known["writer"], 0))
    ends = select(AccessSeal.writer, func.max(AccessSeal.first + AccessSeal.size))
    return {
        "batch": seal.size,
        "batch_end": seal.size - 1,
        "mark": b"\0\0\0\0",
        "marks": bytes([seal.marks[0] ^ 1]) + seal.marks[1:],
        "sealed": dict(session.execute(ends.group_by(AccessSeal.writer)).all()),
    }


def _another(body: bytes) -> bytes:
    """A leaf that says the same, with another salt."""
    fields = leaf.parse(body)
    assert fields
    return leaf.canonical(fields | {"salt": leaf.salt()})
