"""Tiles: the tree's hashes cut into immutable blocks of 256, so that a log can be served as files.

C2SP tlog-tiles v0.1.0. Invariants:

- The hash at place i of tile n, level l, is that of the perfect subtree (8 * l, 256 * n + i).
- A full tile never changes; a partial one only grows, and its hashes never change either.
- No perfect subtree straddles two tiles, so one read gives the hash of any subtree.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

from govern.tlog.errors import TileError
from govern.tlog.merkle import HASH_SIZE, Subtree, perfect_root

HEIGHT = 8
WIDTH = 1 << HEIGHT
TILE_SIZE = WIDTH * HASH_SIZE
_MAX_LEVEL = 63
_PATH = re.compile(
    r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([0-9]{1,3}))?", re.ASCII
)

# The stored bytes of the tile (level, index): all of it, as much as is stored, or None.
ReadTile = Callable[[int, int], bytes | None]
# The hashes of the leaves [begin, end).
LeafHashes = Callable[[int, int], list[bytes]]


def tile_of(level: int, index: int) -> tuple[int, int, int, int]:
    """Find a perfect subtree: (tile level, tile index, first, count).

    Its hash is the root over the `count` hashes of that tile from `first` on.
    """
    tile_level, within = divmod(level, HEIGHT)
    tile_index, first = divmod(index << within, WIDTH)
    return tile_level, tile_index, first, 1 << within


def hash_in_tile(tile: bytes, first: int, count: int) -> bytes:
    """Hash `count` neighbours of a tile, full or partial, into the root over them."""
    if len(tile) % HASH_SIZE or not 0 <= first < first + count <= len(tile) // HASH_SIZE <= WIDTH:
        raise TileError(f"a tile of {len(tile)} bytes has no hashes {first} to {first + count}")
    begin = first * HASH_SIZE
    end = begin + count * HASH_SIZE
    return perfect_root([tile[at : at + HASH_SIZE] for at in range(begin, end, HASH_SIZE)])


def path(level: int, index: int, width: int = WIDTH) -> str:
    """Name a tile as it is served: `tile/1/x001/x234/067`, with `.p/8` if it is 8 hashes wide."""
    if not 0 <= level <= _MAX_LEVEL:
        raise TileError(f"no tile has the level {level}")
    return f"tile/{level}/{_numbered(index, width)}"


def entries_path(index: int, width: int = WIDTH) -> str:
    """Name the bundle of the entries whose hashes are tile `index` of level 0."""
    return f"tile/entries/{_numbered(index, width)}"


def parse_path(name: str) -> tuple[int | None, int, int]:
    """Read what `path` or `entries_path` wrote: (level, or None for entries; index; width).

    A tile has one name: TileError for any other, too.
    """
    parts = _PATH.fullmatch(name)
    if parts is None:
        raise TileError(f"no tile is called {name!r}")
    level = None if parts[1] == "entries" else int(parts[1])
    index, width = int(parts[2].replace("/", "").replace("x", "")), int(parts[3] or WIDTH)
    if name != (entries_path(index, width) if level is None else path(level, index, width)):
        raise TileError(f"no tile is called {name!r}")
    return level, index, width


def hashes_at(level: int, size: int) -> int:
    """How many hashes a log of this size has on a level of tiles."""
    return size >> (HEIGHT * level)


def full_tiles(old_size: int, new_size: int) -> Iterator[tuple[int, int]]:
    """List the tiles (level, index) that become full while a log grows, those below always first.

    From 0 on, these are all the full tiles of a log.
    """
    if not 0 <= old_size <= new_size:
        raise TileError(f"a log does not grow from {old_size} to {new_size}")
    level, old, new = 0, old_size // WIDTH, new_size // WIDTH
    while new:
        for index in range(old, new):
            yield level, index
        level, old, new = level + 1, old // WIDTH, new // WIDTH


def partial_tiles(size: int) -> Iterator[tuple[int, int, int]]:
    """List the tiles (level, index, width) that are not full at the right edge of a log."""
    level = 0
    while size:
        size, width = divmod(size, WIDTH)
        if width:
            yield level, size, width
        level += 1


@dataclass(frozen=True, slots=True)
class Hashes:
    """The hash of any perfect subtree of a log, from its stored tiles and else from its leaves.

    `fetch` is what `merkle.inclusion_proof` and `merkle.consistency_proof` ask for. Nothing stored
    is believed here: a wrong tile gives a wrong hash, which the proof's verification finds.
    """

    read_tile: ReadTile
    leaf_hashes: LeafHashes

    def fetch(self, wanted: list[Subtree]) -> list[bytes]:
        """Give the hashes of these perfect subtrees, all of whose leaves must exist.

        Reads each tile once.
        """
        once = Hashes(cache(self.read_tile), self.leaf_hashes)
        return [once.subtree(level, index) for level, index in wanted]

    def subtree(self, level: int, index: int) -> bytes:
        """Give the hash of one perfect subtree: one read if its tile is stored."""
        tile_level, tile_index, first, count = tile_of(level, index)
        tile = self.read_tile(tile_level, tile_index)
        if tile is None or len(tile) < (first + count) * HASH_SIZE:
            begin = tile_index * WIDTH + first
            return perfect_root(self._hashes(tile_level, begin, begin + count))
        return hash_in_tile(tile, first, count)

    def tile(self, level: int, index: int, width: int = WIDTH) -> bytes:
        """Build a tile, to be stored or served: from the tiles below it, or from leaf hashes."""
        first = index * WIDTH
        return b"".join(self._hashes(level, first, first + width))

    def _hashes(self, level: int, begin: int, end: int) -> list[bytes]:
        """Give the hashes of a level of tiles: each is a leaf, or the root of a tile below."""
        if level == 0:
            leaves = self.leaf_hashes(begin, end)
            if len(leaves) != end - begin:
                raise TileError(f"leaves {begin} to {end} are wanted, {len(leaves)} were given")
            return leaves
        return [self._root_of_tile(level - 1, index) for index in range(begin, end)]

    def _root_of_tile(self, level: int, index: int) -> bytes:
        tile = self.read_tile(level, index)
        if tile is None or len(tile) < TILE_SIZE:
            tile = self.tile(level, index)
        return _root(tile)


@lru_cache(maxsize=1024)
def _root(tile: bytes) -> bytes:
    """The root over a full tile; kept, since each proof asks for those at the edge of its log."""
    return hash_in_tile(tile, 0, WIDTH)


def _numbered(index: int, width: int) -> str:
    if index < 0 or not 1 <= width <= WIDTH:
        raise TileError(f"no tile has the index {index} and the width {width}")
    digits = f"{index:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    number = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    return number if width == WIDTH else f"{number}.p/{width}"
