"""Tiles: their arithmetic and names by the specification, their hashes by the tree's definition."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from govern.tlog import merkle, tiles
from govern.tlog.errors import ProofError, TileError
from govern.tlog.merkle import Range
from tests.tlog import reference

SIZE = 70_000
LEAVES = [merkle.leaf_hash(b"%d" % at) for at in range(SIZE)]


def leaf_hashes(begin: int, end: int) -> list[bytes]:
    assert end <= SIZE
    return LEAVES[begin:end]


def stored(size: int) -> dict[tuple[int, int], bytes]:
    """Store each tile when it becomes full, as a log does."""
    store: dict[tuple[int, int], bytes] = {}
    hashes = tiles.Hashes(lambda level, index: store.get((level, index)), leaf_hashes)
    for level, index in tiles.full_tiles(0, size):
        store[level, index] = hashes.tile(level, index)
    return store


STORE = stored(SIZE)


def read(level: int, index: int) -> bytes | None:
    return STORE.get((level, index))


HASHES = tiles.Hashes(read, leaf_hashes)


def subtree(level: int, index: int) -> bytes:
    """Hash a subtree without tiles."""
    grown = Range.empty().extend_leaves(LEAVES[index << level : (index + 1) << level])
    return grown.root()


def test_the_size_that_the_specification_counts_out_has_its_tiles() -> None:
    full = list(tiles.full_tiles(0, 70_000))
    assert full == [*((0, index) for index in range(273)), (1, 0)]
    assert list(tiles.partial_tiles(70_000)) == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]
    assert list(tiles.full_tiles(0, 256)) == [(0, 0)]
    assert list(tiles.partial_tiles(256)) == [(1, 0, 1)]
    assert not [*tiles.partial_tiles(0), *tiles.full_tiles(0, 0)]


@given(st.integers(0, 1_000_000), st.integers(0, 300_000))
def test_a_growing_log_fills_each_tile_once_and_those_below_first(old: int, more: int) -> None:
    before = list(tiles.full_tiles(0, old))
    grown = list(tiles.full_tiles(old, old + more))
    assert sorted([*before, *grown]) == sorted(tiles.full_tiles(0, old + more))
    assert len({*before, *grown}) == len(before) + len(grown)
    assert grown == sorted(grown)
    for level, index in grown:
        assert old < (index + 1) << 8 * (level + 1) <= old + more


@given(st.integers(0, 2**40))
def test_partial_tiles_are_as_wide_as_the_specification_says(size: int) -> None:
    assert list(tiles.partial_tiles(size)) == [
        (level, size // 256 ** (level + 1), size // 256**level % 256)
        for level in range(6)
        if size // 256**level % 256
    ]


@given(st.integers(0, 40), st.integers(0, 2**40))
def test_every_subtree_has_its_place_within_one_tile(level: int, index: int) -> None:
    tile_level, tile_index, first, count = tiles.tile_of(level, index)
    assert 0 <= first < first + count <= tiles.WIDTH
    leaves = 256**tile_level
    assert (tile_index * 256 + first) * leaves == index << level
    assert count * leaves == 1 << level


@pytest.mark.parametrize(
    ("args", "name"),
    [
        ((0, 0), "tile/0/000"),
        ((0, 999), "tile/0/999"),
        ((0, 1000), "tile/0/x001/000"),
        ((3, 1234067), "tile/3/x001/x234/067"),
        ((63, 1234067, 8), "tile/63/x001/x234/067.p/8"),
        ((0, 273, 112), "tile/0/273.p/112"),
        ((1, 0, 255), "tile/1/000.p/255"),
        ((1, 0, 256), "tile/1/000"),
        ((0, 10**12), "tile/0/x001/x000/x000/x000/000"),
    ],
)
def test_tiles_are_named_as_the_specification_names_them(args: tuple[int, ...], name: str) -> None:
    assert tiles.path(*args) == name


def test_bundles_of_entries_are_numbered_like_tiles() -> None:
    assert tiles.entries_path(1234067) == "tile/entries/x001/x234/067"
    assert tiles.entries_path(67, 3) == "tile/entries/067.p/3"


@pytest.mark.parametrize("args", [(-1, 0), (64, 0), (0, -1), (0, 0, 0), (0, 0, 257), (0, 0, -1)])
def test_no_name_is_given_to_a_tile_that_cannot_be(args: tuple[int, ...]) -> None:
    with pytest.raises(TileError):
        tiles.path(*args)


def test_a_log_does_not_shrink() -> None:
    for sizes in ((2, 1), (-1, 1)):
        with pytest.raises(TileError):
            list(tiles.full_tiles(*sizes))


def test_a_full_tile_is_the_leaves_or_the_roots_of_the_tiles_below() -> None:
    assert {len(tile) for tile in STORE.values()} == {tiles.TILE_SIZE} == {8192}
    assert STORE[0, 7] == b"".join(LEAVES[7 * 256 : 8 * 256])
    assert STORE[1, 0] == b"".join(subtree(8, index) for index in range(256))
    assert HASHES.tile(1, 1, 17) == b"".join(subtree(8, 256 + index) for index in range(17))
    assert HASHES.tile(2, 0, 1) == subtree(16, 0)


@settings(deadline=None)
@given(st.data())
def test_any_subtree_is_found_in_the_tiles_or_at_the_edge(data: st.DataObject) -> None:
    level = data.draw(st.integers(0, 16))
    index = data.draw(st.integers(0, (SIZE >> level) - 1))
    expected = subtree(level, index)
    assert HASHES.subtree(level, index) == expected
    untiled = tiles.Hashes(lambda _level, _index: None, leaf_hashes)
    assert untiled.subtree(level, index) == expected


def test_a_stored_tile_is_read_once_and_no_leaf_beside_it() -> None:
    reads: list[tuple[int, int]] = []
    leaves: list[tuple[int, int]] = []

    def reading(level: int, index: int) -> bytes | None:
        reads.append((level, index))
        return read(level, index)

    def leafing(begin: int, end: int) -> list[bytes]:
        leaves.append((begin, end))
        return leaf_hashes(begin, end)

    merkle.inclusion_proof(300, 65_536, tiles.Hashes(reading, leafing).fetch)
    assert sorted(reads) == [(0, 1), (1, 0)]
    assert not leaves


def test_as_much_of_a_partial_tile_as_is_stored_is_used() -> None:
    reads: list[tuple[int, int]] = []

    def reading(level: int, index: int) -> bytes | None:
        reads.append((level, index))
        return HASHES.tile(1, 1, 16) if (level, index) == (1, 1) else read(level, index)

    hashes = tiles.Hashes(reading, leaf_hashes)
    assert hashes.subtree(12, 16) == subtree(12, 16)
    assert reads == [(1, 1)]
    assert hashes.subtree(8, 272) == subtree(8, 272)
    assert reads == [(1, 1), (1, 1), (0, 272)]


def test_tiles_that_are_stored_half_way_only_are_completed_from_the_leaves() -> None:
    halves = tiles.Hashes(
        lambda level, index: STORE.get((level, index), b"")[: 128 * 32], leaf_hashes
    )
    assert halves.subtree(16, 0) == subtree(16, 0)
    assert halves.subtree(9, 100) == subtree(9, 100)


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_proofs_made_from_tiles_verify(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, SIZE))
    index = data.draw(st.integers(0, size - 1))
    full = Range.empty().extend_leaves(LEAVES[:size])
    proof = merkle.inclusion_proof(index, size, HASHES.fetch)
    merkle.verify_inclusion(LEAVES[index], index, size, proof, full.root())
    old = Range.empty().extend_leaves(LEAVES[:index])
    proof = merkle.consistency_proof(index, size, HASHES.fetch)
    merkle.verify_consistency(index, old.root(), size, full.root(), proof)


def test_a_damaged_tile_gives_a_proof_that_fails() -> None:
    root = Range.empty().extend_leaves(LEAVES).root()
    damaged = bytearray(STORE[0, 1])
    damaged[0] ^= 1
    hashes = tiles.Hashes(
        lambda level, index: bytes(damaged) if (level, index) == (0, 1) else read(level, index),
        leaf_hashes,
    )
    proof = merkle.inclusion_proof(257, SIZE, hashes.fetch)
    with pytest.raises(ProofError):
        merkle.verify_inclusion(LEAVES[257], 257, SIZE, proof, root)


def test_hashes_of_a_tile_are_folded_as_the_tree_is_defined() -> None:
    entries = [b"%d" % at for at in range(8, 16)]
    assert tiles.hash_in_tile(STORE[0, 0], 8, 8) == reference.mth(entries)
    assert tiles.hash_in_tile(STORE[0, 0], 9, 1) == LEAVES[9]


@pytest.mark.parametrize(
    ("tile", "first", "count"),
    [
        (b"", 0, 1),
        (bytes(31), 0, 1),
        (bytes(33), 0, 1),
        (bytes(64), 2, 1),
        (bytes(64), 1, 2),
        (bytes(64), -1, 1),
        (bytes(64), 0, 0),
        (bytes(257 * 32), 0, 1),
    ],
)
def test_a_tile_that_does_not_hold_the_hashes_is_refused(
    tile: bytes, first: int, count: int
) -> None:
    with pytest.raises(TileError):
        tiles.hash_in_tile(tile, first, count)


def test_missing_leaves_are_noticed() -> None:
    hashes = tiles.Hashes(
        lambda _level, _index: None,
        lambda begin, end: leaf_hashes(begin, end)[: (end - begin) // 2],
    )
    with pytest.raises(TileError, match="leaves 0 to 4 are wanted, 2 were given"):
        hashes.subtree(2, 0)


@given(st.integers(0, 63), st.integers(0, 10**15), st.integers(1, 256))
def test_a_tiles_name_says_which_tile_it_is(level: int, index: int, width: int) -> None:
    assert tiles.parse_path(tiles.path(level, index, width)) == (level, index, width)
    assert tiles.parse_path(tiles.entries_path(index, width)) == (None, index, width)


@pytest.mark.parametrize(
    "name",
    [
        "", "tile", "tile/0", "tile/0/1", "tile/0/0001", "tile/0/x000/001", "tile/00/001",
        "tile/0/001.p/0", "tile/0/001.p/256", "tile/0/001.p/01", "tile/64/000", "tile/-1/000",
        "tile/0/000/", "/tile/0/000", "tile/entries/x001", "tile/8/0/000", "checkpoint",
        "tile/0/١٢٣", "tile/0/000\n",
    ],
)  # fmt: skip
def test_nothing_else_is_a_tiles_name(name: str) -> None:
    with pytest.raises(TileError):
        tiles.parse_path(name)
