"""Whatever is done to a store, an export or a pack is found, and named by the word promised."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING, Any

import pytest

from govern import errors
from govern.audit import verify
from tests.support.damage import chance, files, store
from tests.support.damage.files import verified
from tests.support.damage.filling import fill
from tests.support.damage.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.factory import World

SEED = 20261121


@pytest.fixture
def beginning() -> Callable[[World], None]:
    return fill


@pytest.fixture
def scene(world: World) -> Iterator[Scene]:
    made = Scene(world)
    yield made
    made.owner.close()


def said(found: Iterable[Any], kind: str, words: str) -> bool:
    return any(each.kind == kind and words in each.message for each in found)


def test_each_damage_of_a_store_is_found_and_named(scene: Scene) -> None:
    assert scene.fsck() == ()
    unnamed = []
    for kind in store.KINDS:
        with scene.damaged(*kind.statements) as tables:
            found = scene.fsck(*tables)
        if not said(found, kind.finds, kind.words.format(**scene.known)):
            unnamed.append((kind.name, found))
    assert unnamed == []
    assert scene.fsck() == ()


def test_damage_drawn_at_random_is_found(scene: Scene) -> None:
    draw = random.Random(SEED)
    unseen = []
    for _ in range(25):
        table, words, done = chance.damaged(scene, draw)
        with done:
            if not scene.fsck(table):
                unseen.append((table, words))
    assert unseen == []
    assert scene.fsck() == ()


def test_a_rewritten_log_is_not_signed_and_one_undone_after_it_was_signed_is_found(
    scene: Scene,
) -> None:
    """A row rewritten before it is signed is signed so; who undoes that rewrites what is signed."""
    rewrite = (
        "UPDATE log_entry SET leaf = :other_{0}, hash = :hash_other_{0} " + f"{store.OF} :{{0}}"
    )
    with (
        scene.damaged(rewrite.format("behind")),
        pytest.raises(errors.LogDamaged, match="rewritten"),
    ):
        scene.signer.sign(scene.store)
    assert scene.fsck() == ()
    with scene.memory():
        scene.owner.do(rewrite.format("last"))
        scene.signer.sign(scene.store)
        assert not any(each.kind == "root" for each in scene.fsck())
        scene.owner.put_back({"log_entry"})
        found = scene.fsck()
        words = f"Of entries {scene.known['signed']} to {scene.known['last']} one or more"
        assert said(found, "root", words), found
        assert said(found, "root", "not what was signed")
    found = scene.fsck()
    assert said(found, "tail", "") or said(found, "root", ""), "the heads stay"


@pytest.mark.web_alone
def test_what_an_auditor_took_away_tells_what_was_done_to_it(scene: Scene, tmp_path: Path) -> None:
    assert verified(scene, scene.export, scene.kept).ok
    assert verified(scene, scene.table).ok
    unnamed: list[Any] = []
    for kind in files.EXPORTS:
        kept = [getattr(scene, kind.kept)] if kind.kept else []
        found = verified(scene, kind.make(scene), *kept)
        if not said(found.damage, kind.finds, kind.words):
            unnamed.append((kind.name, found.damage))
    assert unnamed == []

    alone = files.Alone(tmp_path)
    status, printed = alone(scene, scene.pack, scene.kept)
    assert (status, "damage:" in printed) == (0, False), printed
    for kind in files.PACKS:
        kept = [getattr(scene, kind.kept)] if kind.kept else []
        status, printed = alone(scene, kind.make(scene), *kept)
        named = [line for line in printed.splitlines() if line.startswith("damage:")]
        if status != 1 or not any(kind.finds in one and kind.words in one for one in named):
            unnamed.append((kind.name, named))
    assert unnamed == []


@pytest.mark.web_alone
def test_files_damaged_at_random_tell_it(scene: Scene) -> None:
    draw = random.Random(SEED)
    for _ in range(10):
        for whole in (scene.export, scene.table):
            assert not verified(scene, chance.bytes_changed(whole, draw)).ok
        signed = files.closed(scene, lambda rows: chance.rows_changed(rows, draw))
        assert not verified(scene, signed).ok
        for _ in range(5):
            name, broken = chance.pack_changed(scene.pack, draw)
            assert not packed(scene, broken).ok, name
        # A zip file has bytes of its own, which say nothing of what is in it.
        at = draw.randrange(len(scene.pack))
        turned = scene.pack[:at] + bytes([scene.pack[at] ^ 1 << draw.randrange(8)])
        turned += scene.pack[at + 1 :]
        assert not packed(scene, turned).ok or files.opened(turned) == files.opened(scene.pack)


def packed(scene: Scene, file: bytes) -> Any:
    return verify.check_pack(io.BytesIO(file), keys=[scene.key])


def test_there_are_more_kinds_than_forty_and_each_has_a_name_of_its_own() -> None:
    names = [kind.name for kind in (*store.KINDS, *files.EXPORTS, *files.PACKS)]
    assert len(names) >= 100
    for kinds in (store.KINDS, files.EXPORTS, files.PACKS):
        assert len({kind.name for kind in kinds}) == len(kinds)
