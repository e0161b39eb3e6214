"""The signer: keeps its key and the heads it signed last outside the database, and forgets neither.

It extends the tree from its own memory of it, so what it signs is always consistent with what it
signed before. When the database holds fewer entries than it has signed, or other ones, it refuses
(`LogDamaged`) and says so; it never signs a rewritten or shortened log.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import operator
from base64 import b64decode, b64encode
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert, select

from govern import clock, config, errors
from govern.audit import log
from govern.audit.log import Checkpoint, Entry, Tile
from govern.tlog import checkpoint, merkle, note, tiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.orm import Session

    from govern.config import Settings
    from govern.db import Database

_BATCH = 65_536
_HEADS = "heads.json"
_SEEN = "seen.json"


class Signer:
    """The one that signs the logs of an installation; a file lock keeps it the only one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._dir: Path = settings.signer_dir
        self._heads_path = self._dir / _HEADS
        self.name = settings.origin

    @cached_property
    def _seed(self) -> bytes:
        # Made when it is first asked for: a node that only looks has none.
        return config.make_secret(self._dir / "log.key")

    @property
    def key(self) -> str:
        """The verifier key (C2SP signed-note) to hand to auditors, once, by a safe way."""
        return str(self._signer(self.name).verifier)

    def _signer(self, name: str) -> note.Signer:
        return note.Signer(name, Ed25519PrivateKey.from_private_bytes(self._seed))

    def vouch(self, text: str, *, name: str) -> str | None:
        """Sign a text as a C2SP note in another name than any log's; None where there is no key.

        The key lies with one machine of an installation: others cannot vouch for anything.
        """
        if not (self._dir / "log.key").exists():
            return None
        return note.sign(text, self._signer(name)).decode()

    def heads(self) -> dict[str, merkle.Range]:
        """What was signed last of each log: the tree that every later one must continue."""
        return self._load()

    def sign(self, database: Database) -> None:
        """Sign the present head of every log that grew; at most one process at a time."""
        with self._alone():
            memory = self._load()
            with database.reading() as session:
                heads = log.signed_sizes(session)
            for log_id in memory.keys() - heads.keys():
                raise errors.LogDamaged(f"The log {log_id} is gone from the database.")
            if not memory and any(signed for _, _, signed in heads.values()):
                raise errors.LogDamaged(
                    "The logs were signed, but not by a signer with this memory, which is empty: "
                    "it may not sign another past. The followers belong on the machine that has "
                    f"{self._heads_path.name}."
                )
            for log_id, (origin, size, signed) in heads.items():
                known = memory.get(log_id)
                if known is None or not size == signed == known.end:
                    self._sign_one(database, memory, log_id, origin, size)

    def check(self, database: Database) -> None:
        """Refuse a database that holds less than was signed (a backup put back, say).

        A node beside which nobody signs keeps what it saw signed, for the next time.
        """
        known = known_sizes(self._settings)
        with database.reading() as session:
            heads = log.signed_sizes(session)
        refuse_behind(self._settings, known, {name: size for name, (_, size, _) in heads.items()})
        if not self._heads_path.exists():
            self._keep_seen({log_id: signed for log_id, (*_, signed) in heads.items() if signed})

    def watch(self, database: Database) -> None:
        """Refuse each new connection that leads to such a database.

        A node that lost its server goes on with whichever answers at that address: a replica that
        was promoted too soon, a former primary that came back, a backup put back meanwhile.
        """

        def look(connection: DBAPIConnection) -> None:
            known = known_sizes(self._settings)
            if not known:
                return
            cursor = connection.cursor()
            try:
                cursor.execute("SELECT id, size FROM log")
                sizes = dict(cursor.fetchall())
            finally:
                cursor.close()
            refuse_behind(self._settings, known, sizes)

        database.at_connect(look)

    def check_continues(self, database: Database) -> None:
        """Refuse a database that does not hold all that was signed, just as it was signed."""
        self.check(database)
        with database.reading() as session:
            for log_id, signed in self._load().items():
                if log.Tree(session, log_id).range(0, signed.end) != signed:
                    raise _rewritten(log_id, signed)

    def _sign_one(
        self,
        database: Database,
        memory: dict[str, merkle.Range],
        log_id: str,
        origin: str,
        size: int,
    ) -> None:
        known = memory.get(log_id, merkle.Range.empty())
        if size < known.end:
            raise errors.LogDamaged(
                f"The log {log_id} holds {size} entries, but {known.end} were signed."
            )
        with database.reading() as session:
            if log.Tree(session, log_id).range(0, known.end) != known:
                raise _rewritten(log_id, known)
            last = log.latest_checkpoint(session, log_id)
        if last is not None and last.size > known.end:
            # It is remembered before it is stored: so this memory was lost, or put back.
            raise errors.LogDamaged(
                f"Of {log_id} a checkpoint of {last.size} entries was signed, but this signer "
                f"remembers {known.end}: it may not sign another past."
            )
        while known.end < size:
            end = min(size, known.end + _BATCH)
            with database.reading() as session:
                leaves = list(_entry_hashes(session, log_id, known.end, end))
            self._keep_tiles(database, log_id, known.end, leaves)
            known = known.extend_leaves(leaves)
        if last is not None and last.size == size:
            return
        memory[log_id] = known
        self._save(memory)
        head = checkpoint.Checkpoint(origin, size, known.root())
        signed = checkpoint.sign(head, self._signer(origin))

        def work(session: Session) -> None:
            session.execute(
                insert(Checkpoint).values(
                    log_id=log_id, size=size, signed_at=clock.now(session), note=signed.decode()
                )
            )

        database.transaction(work)

    def _keep_tiles(
        self, database: Database, log_id: str, old: int, leaves: Sequence[bytes]
    ) -> None:
        """Store the tiles that become full when leaves of these hashes follow the first `old`."""

        def work(session: Session) -> None:
            tree = log.Tree(session, log_id)
            full = tiles.full_tiles(old, old + len(leaves))
            for level, own in itertools.groupby(full, key=operator.itemgetter(0)):
                numbers = [number for _, number in own]
                there = session.execute(
                    select(Tile.number).where(
                        Tile.log_id == log_id,
                        Tile.level == level,
                        Tile.number.between(numbers[0], numbers[-1]),
                    )
                ).scalars()
                made = [
                    {"log_id": log_id, "level": level, "number": number, "hashes":
                     _lowest(tree, number, old, leaves) if level == 0
                     else tree.hashes.tile(level, number)}
                    for number in sorted(set(numbers).difference(there))
                ]  # fmt: skip
                if made:
                    session.execute(insert(Tile), made)

        database.transaction(work)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._dir / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _load(self) -> dict[str, merkle.Range]:
        return _remembered(self._heads_path)

    def _keep_seen(self, signed: dict[str, int]) -> None:
        if signed.items() <= known_sizes(self._settings).items():
            return
        with self._alone():
            known = known_sizes(self._settings)
            for log_id, size in signed.items():
                known[log_id] = max(size, known.get(log_id, 0))
            config.keep(self._dir / _SEEN, json.dumps(known))

    def _save(self, memory: dict[str, merkle.Range]) -> None:
        config.keep(self._heads_path, written(memory))


def _lowest(tree: log.Tree, number: int, old: int, leaves: Sequence[bytes]) -> bytes:
    """A tile of leaf hashes: those at hand, or with some from before them, read again."""
    begin = number * tiles.WIDTH - old
    if begin < 0:
        return tree.hashes.tile(0, number)
    return b"".join(leaves[begin : begin + tiles.WIDTH])


def refuse_behind(settings: Settings, known: dict[str, int], sizes: dict[str, int]) -> None:
    """Refuse (`LogDamaged`) logs of these sizes when more of one is `known` to have been signed.

    That is looked at first: what is written and signed between the two looks is no damage.
    """
    for log_id, signed in known.items():
        if sizes.get(log_id, 0) < signed:
            raise errors.LogDamaged(
                f"The log {log_id} holds {sizes.get(log_id, 0)} entries, but {signed} were "
                "signed: this database is behind its signer and is not served. Bring back a copy "
                f"that holds them all ({settings.signer_dir} says how many of each log): "
                "a pause may be among those that it lacks, so nothing makes up for them."
            )


def _rewritten(log_id: str, known: merkle.Range) -> errors.LogDamaged:
    return errors.LogDamaged(f"The first {known.end} entries of {log_id} were rewritten.")


def written(memory: dict[str, merkle.Range]) -> str:
    """A memory of what was signed, as it is kept."""
    return json.dumps({
        log_id: {"size": known.end, "edge": [b64encode(h).decode() for h in known.hashes]}
        for log_id, known in memory.items()
    })  # fmt: skip


def known_sizes(settings: Settings) -> dict[str, int]:
    """How many entries of each log are known here to have been signed, by us or by another."""
    known = {
        log_id: signed.end for log_id, signed in _remembered(settings.signer_dir / _HEADS).items()
    }
    try:
        seen: dict[str, int] = json.loads((settings.signer_dir / _SEEN).read_text())
    except FileNotFoundError:
        return known
    return {log_id: max(known.get(log_id, 0), seen.get(log_id, 0)) for log_id in known | seen}


def _remembered(path: Path) -> dict[str, merkle.Range]:
    try:
        raw: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return {
        log_id: merkle.Range(0, head["size"], tuple(map(b64decode, head["edge"])))
        for log_id, head in raw.items()
    }


def _entry_hashes(session: Session, log_id: str, begin: int, end: int) -> Iterator[bytes]:
    """Leaf hashes from the entries' own bytes, never from the copies beside them."""
    rows = session.execute(
        select(Entry.seq, Entry.leaf)
        .where(Entry.log_id == log_id, Entry.seq >= begin, Entry.seq < end)
        .order_by(Entry.seq)
        .execution_options(yield_per=4096)
    )
    expected = begin
    for seq, body in rows:
        if seq != expected:
            raise errors.LogDamaged(f"Entry {expected} of {log_id} is missing.")
        expected += 1
        yield merkle.leaf_hash(body)
    if expected != end:
        raise errors.LogDamaged(f"Entry {expected} of {log_id} is missing.")
