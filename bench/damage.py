"""`bench damage`: a thousand damages at random are found, and what nobody touched never fails.

Drawn are rows and columns of both databases, and bytes and lines of exports and packs; what
nothing proves is never drawn (tests/support/damage/chance.py lists it, with the reasons).
"""

from __future__ import annotations

import io
import random
import sys
import time
from typing import TYPE_CHECKING

from bench.figures import Figure, store
from govern.audit import verify
from tests.factory import World
from tests.support.damage import chance, files
from tests.support.damage import store as named
from tests.support.damage.filling import fill
from tests.support.damage.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS, EXPORTS, PACKS, UNTOUCHED = 600, 300, 100, 50
SEED = 6


def run(kind: str) -> Iterator[Figure]:
    """Damage, look, put back: in each kind of store and file, by name and then at random."""
    with store(kind) as database:
        world = World(database)
        fill(world)
        scene = Scene(world)
        try:
            yield from _damaged(kind, scene)
        finally:
            scene.owner.close()


def _damaged(kind: str, scene: Scene) -> Iterator[Figure]:
    draw = random.Random(SEED)
    start = time.perf_counter()
    unnamed = sum(not _named(scene, each) for each in named.KINDS)
    yield _figure(kind, "kinds of damage of a store not named", unnamed, len(named.KINDS))
    unseen = sum(_unseen_row(scene, draw) for _ in range(ROWS))
    yield _figure(kind, "random damages of a store not found", unseen, ROWS)
    unseen = sum(_unseen_line(scene, draw, number) for number in range(EXPORTS))
    yield _figure(kind, "random damages of an export not found", unseen, EXPORTS)
    unseen = sum(_packed(scene, chance.pack_changed(scene.pack, draw)[1]).ok for _ in range(PACKS))
    yield _figure(kind, "random damages of a pack not found", unseen, PACKS)
    failed = sum(_fails(scene) for _ in range(UNTOUCHED))
    yield _figure(kind, "untouched stores and files that fail", failed, UNTOUCHED * 4)
    took = time.perf_counter() - start
    yield Figure(bench="damage", name="in all", database=kind, value=took, unit="s")


def _figure(kind: str, name: str, value: int, n: int) -> Figure:
    return Figure(bench="damage", name=name, database=kind, value=value, unit="damages", n=n)


def _named(scene: Scene, kind: named.Kind) -> bool:
    words = kind.words.format(**scene.known)
    with scene.damaged(*kind.statements) as tables:
        found = scene.fsck(*tables)
    known = any(each.kind == kind.finds and words in each.message for each in found)
    if not known:
        _say(f"{kind.name}: {found}")
    return known


def _say(unseen: str) -> None:
    """Which damage it was, for whoever is to close the gap: the figures stay as they are."""
    print("not found:", unseen, file=sys.stderr, flush=True)


def _unseen_row(scene: Scene, draw: random.Random) -> bool:
    table, words, done = chance.damaged(scene, draw)
    with done:
        found = scene.fsck(table)
    if not found:
        _say(f"{table}: {words}")
    return not found


def _unseen_line(scene: Scene, draw: random.Random, number: int) -> bool:
    if number % 3 == 0:
        # Whoever holds the key, too, proves nothing by lines that the log has not.
        broken = files.closed(scene, lambda rows: chance.rows_changed(rows, draw))
    else:
        broken = chance.bytes_changed(scene.export if number % 3 == 1 else scene.table, draw)
    return files.verified(scene, broken).ok


def _packed(scene: Scene, file: bytes) -> verify.PackReport:
    return verify.check_pack(io.BytesIO(file), keys=[scene.key])


def _fails(scene: Scene) -> int:
    """How many of the four fail: the store, its export in two forms, the pack."""
    exports = [files.verified(scene, each) for each in (scene.export, scene.table)]
    checked = [each.ok for each in (*exports, _packed(scene, scene.pack))]
    return (not checked[0]) + (not checked[1]) + (not checked[2]) + bool(scene.fsck())
