"""The tree over a log: one root stands for every entry, and short proofs show what it holds.

RFC 9162 §2.1 (the same tree as RFC 6962's), with SHA-256. Invariants:

- A leaf and an inner node can never have the same hash: they are hashed under different prefixes.
- A perfect subtree, named (level, index), covers the 2**level leaves from index * 2**level on. Its
  hash never changes once its leaves exist; all else is composed of such hashes.
- A `Range` is any run of neighbouring leaves, held as its fewest perfect subtrees. Ranges that meet
  merge, whatever was left out of them: so a log with entries withheld still has its exact root.
- A proof that fails raises; no function answers false.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Self

from govern.tlog.errors import ProofShapeError, RangeError, RootMismatchError

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()

# Leaves hashed in one go: enough to make a call per level cheap, small enough for any memory.
_CHUNK = 1 << 16


# (level, index) of a perfect subtree.
Subtree = tuple[int, int]
# Gives the hashes of perfect subtrees, in the order asked for.
Fetch = Callable[[list[Subtree]], list[bytes]]


def leaf_hash(data: bytes) -> bytes:
    """Hash an entry's exact bytes as a leaf (RFC 9162 §2.1.1)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two neighbours into their parent (RFC 9162 §2.1.1)."""
    return sha256(b"\x01" + left + right).digest()


def subtrees(begin: int, end: int) -> list[Subtree]:
    """Cut [begin, end) into its fewest perfect subtrees, left to right."""
    if not 0 <= begin <= end:
        raise RangeError(f"no leaves can lie between {begin} and {end}")
    found: list[Subtree] = []
    while begin < end:
        fits = (end - begin).bit_length() - 1
        aligned = (begin & -begin).bit_length() - 1 if begin else fits
        level = min(fits, aligned)
        found.append((level, begin >> level))
        begin += 1 << level
    return found


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Hash a power of two of neighbouring subtrees, equally high, into the root over them."""
    if not hashes or len(hashes) & (len(hashes) - 1):
        raise RangeError(f"{len(hashes)} hashes do not make a perfect subtree")
    _check_lengths(hashes)
    while len(hashes) > 1:
        hashes = _parents(hashes)
    return hashes[0]


@dataclass(frozen=True, slots=True)
class Range:
    """The leaves [begin, end), as the hashes of the subtrees that `subtrees` cuts them into."""

    begin: int
    end: int
    hashes: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.begin <= self.end:
            raise RangeError(f"no leaves can lie between {self.begin} and {self.end}")
        wanted = _count(self.begin, self.end)
        if len(self.hashes) != wanted:
            raise RangeError(
                f"leaves {self.begin} to {self.end} are {wanted} subtrees, not {len(self.hashes)}"
            )
        _check_lengths(self.hashes)

    @classmethod
    def empty(cls, at: int = 0) -> Self:
        """Give a range of no leaves, to be grown from `at` on."""
        return cls(at, at, ())

    @classmethod
    def unpack(cls, begin: int, end: int, packed: bytes) -> Self:
        """Read what `pack` wrote; the bounds are kept beside it."""
        return cls(begin, end, _split(packed))

    def pack(self) -> bytes:
        """Write the hashes one after another, to be stored beside the bounds."""
        return b"".join(self.hashes)

    def append(self, leaf: bytes) -> Self:
        """Add the hash of the next leaf. For many, `extend_leaves` is several times faster."""
        return self.extend(Range(self.end, self.end + 1, (leaf,)))

    def extend(self, other: "Range") -> Self:
        """Join the range that follows; RangeError if it does not begin where this one ends."""
        if other.begin != self.end:
            raise RangeError(f"leaves up to {self.end} are followed by those from {other.begin} on")
        hashes = list(self.hashes)
        for subtree, joined in zip(subtrees(other.begin, other.end), other.hashes, strict=True):
            (level, index), digest = subtree, joined
            # A right-hand child climbs while its left-hand neighbour lies within the range: it is
            # then the last of the hashes, since a range is cut into the fewest subtrees.
            while index & 1 and (index - 1) << level >= self.begin:
                digest = node_hash(hashes.pop(), digest)
                level, index = level + 1, index >> 1
            hashes.append(digest)
        return type(self)(self.begin, other.end, tuple(hashes))

    def extend_leaves(self, leaves: Iterable[bytes]) -> Self:
        """Add the hashes of the next leaves: level by level in chunks, since logs are long."""
        grown = self
        remaining = iter(leaves)
        while chunk := list(islice(remaining, _CHUNK)):
            _check_lengths(chunk)
            grown = grown.extend(_range_of(grown.end, chunk))
        return grown

    def root(self) -> bytes:
        """Give the root of the tree of `end` leaves; RangeError unless the range begins at 0."""
        if self.begin:
            raise RangeError(f"leaves from {self.begin} on have no root without those before")
        return _fold(self.hashes) if self.hashes else EMPTY_ROOT


def inclusion_proof(index: int, size: int, fetch: Fetch) -> list[bytes]:
    """Prove that leaf `index` is in the tree of `size` leaves: PATH(m, D_n), RFC 9162 §2.1.3.1.

    Asks `fetch` once. ProofShapeError if the tree has no such leaf.
    """
    return _hashes_of(_siblings_of_leaf(index, size), fetch)


def root_from_inclusion_proof(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Compute the root that the tree has if `leaf` is at `index` and the proof is right."""
    siblings = _siblings_of_leaf(index, size)
    _check_hashes(proof, len(siblings), "an inclusion proof")
    _check_hashes([leaf], 1, "a leaf")
    digest = leaf
    for (begin, _), sibling in zip(siblings, proof, strict=True):
        digest = node_hash(digest, sibling) if begin > index else node_hash(sibling, digest)
    return digest


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Return only if the tree of `size` leaves under `root` holds `leaf` at `index` (§2.1.3.2)."""
    _check_root(
        f"the root of {size} leaves", root, root_from_inclusion_proof(leaf, index, size, proof)
    )


def consistency_proof(old: int, new: int, fetch: Fetch) -> list[bytes]:
    """Prove that the tree of `new` leaves begins with that of `old`: PROOF(m, D_n), §2.1.4.1.

    Empty if the sizes are equal, and from the empty tree, with which every tree begins.
    """
    siblings, anchor = _siblings_of_prefix(old, new)
    return _hashes_of([*anchor, *siblings], fetch)


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Return only if nothing of the old tree was changed on the way to the new one (§2.1.4.2)."""
    siblings, anchor = _siblings_of_prefix(old_size, new_size)
    _check_hashes(proof, len(siblings) + len(anchor), "a consistency proof")
    _check_hashes([old_root, new_root], 2, "a root")
    if old_size == 0:
        _check_root("the root of no leaves", old_root, EMPTY_ROOT)
        if new_size:
            return
        old = new = EMPTY_ROOT
    else:
        old = new = proof[0] if anchor else old_root
    for (begin, _), sibling in zip(siblings, proof[len(anchor) :], strict=True):
        if begin < old_size:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
        else:
            new = node_hash(new, sibling)
    _check_root(f"the root of {old_size} leaves", old_root, old)
    _check_root(f"the root of {new_size} leaves", new_root, new)


def _check_lengths(hashes: Sequence[bytes]) -> None:
    """Refuse a hash of another length: a byte moved to its neighbour would give the same parent."""
    if not set(map(len, hashes)) <= {HASH_SIZE}:
        raise RangeError(f"a hash is {HASH_SIZE} bytes long")


def _parents(hashes: Sequence[bytes]) -> list[bytes]:
    """Hash neighbours pairwise. The innermost loop of all: node_hash written out saves a call."""
    return [
        sha256(b"\x01" + left + right).digest()
        for left, right in zip(hashes[::2], hashes[1::2], strict=True)
    ]


def _range_of(begin: int, level_hashes: list[bytes]) -> Range:
    """Build the range of these leaves from `begin` on, a whole level at a time."""
    end = begin + len(level_hashes)
    left: list[bytes] = []
    right: list[bytes] = []
    index = begin
    while level_hashes:
        # What has no neighbour within the run stays as it is, on the edge where it stands.
        if index & 1:
            left.append(level_hashes[0])
            level_hashes = level_hashes[1:]
            index += 1
        if len(level_hashes) & 1:
            right.append(level_hashes.pop())
        level_hashes = _parents(level_hashes)
        index >>= 1
    return Range(begin, end, (*left, *reversed(right)))


def _count(begin: int, end: int) -> int:
    """Give len(subtrees(begin, end)) without cutting.

    Both bounds agree above their highest differing bit, so no subtree crosses the multiple of that
    bit between them; on each side of it the subtrees are the ones of the length's binary digits.
    """
    bit = (begin ^ end).bit_length() - 1
    if bit < 0:
        return 0
    middle = end >> bit << bit
    # Python 3.9, on which verify.py runs too, has no int.bit_count.
    return f"{middle - begin:b}".count("1") + f"{end - middle:b}".count("1")


def _split(packed: bytes) -> tuple[bytes, ...]:
    if len(packed) % HASH_SIZE:
        raise RangeError(f"{len(packed)} bytes are not a whole number of hashes")
    return tuple(packed[at : at + HASH_SIZE] for at in range(0, len(packed), HASH_SIZE))


def _fold(hashes: Sequence[bytes]) -> bytes:
    """Hash subtrees of falling height into one: the right edge of a tree, from the right."""
    digest = hashes[-1]
    for left in reversed(hashes[:-1]):
        digest = node_hash(left, digest)
    return digest


def _cut(begin: int, end: int) -> int:
    """Give where RFC 9162 cuts a tree in two: at the largest power of two below its size."""
    return begin + (1 << ((end - begin - 1).bit_length() - 1))


def _siblings_of_leaf(index: int, size: int) -> list[tuple[int, int]]:
    """List the runs of leaves beside the way from a leaf up to the root, lowest first."""
    if not 0 <= index < size:
        raise ProofShapeError(f"a tree of {size} leaves has no leaf {index}")
    siblings = []
    begin, end = 0, size
    while end - begin > 1:
        cut = _cut(begin, end)
        if index < cut:
            siblings.append((cut, end))
            end = cut
        else:
            siblings.append((begin, cut))
            begin = cut
    siblings.reverse()
    return siblings


def _siblings_of_prefix(old: int, new: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """List the runs beside the way from the old tree's last subtree up to the new root.

    The second list holds that last subtree itself, unless it is the whole old tree: its hash is
    then the old root, which the verifier has.
    """
    if not 0 <= old <= new:
        raise ProofShapeError(f"a tree of {new} leaves cannot continue one of {old}")
    if old == 0:
        return [], []
    siblings = []
    begin, end = 0, new
    while end != old:
        cut = _cut(begin, end)
        if old <= cut:
            siblings.append((cut, end))
            end = cut
        else:
            siblings.append((begin, cut))
            begin = cut
    siblings.reverse()
    return siblings, [(begin, end)] if begin else []


def _hashes_of(runs: list[tuple[int, int]], fetch: Fetch) -> list[bytes]:
    """Give the hash of each run, which is perfect or the right edge of the tree."""
    cuts = [subtrees(begin, end) for begin, end in runs]
    wanted = [subtree for cut in cuts for subtree in cut]
    fetched = fetch(wanted) if wanted else []
    _check_hashes(fetched, len(wanted), "what was fetched for a proof")
    remaining = iter(fetched)
    return [_fold(list(islice(remaining, len(cut)))) for cut in cuts]


def _check_hashes(hashes: Sequence[bytes], wanted: int, what: str) -> None:
    if len(hashes) != wanted:
        raise ProofShapeError(f"{what} has {wanted} hashes here, not {len(hashes)}")
    if any(len(each) != HASH_SIZE for each in hashes):
        raise ProofShapeError(f"{what} consists of hashes of {HASH_SIZE} bytes")


def _check_root(what: str, claimed: bytes, computed: bytes) -> None:
    if claimed != computed:
        raise RootMismatchError(what, claimed=claimed, computed=computed)
