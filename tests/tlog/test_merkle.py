"""The tree: right by the RFC's own definition, and no damaged proof passes."""

import random
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from govern.tlog import merkle
from govern.tlog.errors import ProofError, ProofShapeError, RangeError, RootMismatchError
from govern.tlog.merkle import Range
from tests.tlog import reference

# The leaves that the Certificate Transparency project has tested its implementations with since
# RFC 6962, and the roots over the first one, two … eight of them.
CT_LEAVES = [
    bytes.fromhex(each)
    for each in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

MOST = 70
ENTRIES = [b"entry %d" % number for number in range(MOST + 1)]
LEAVES = [merkle.leaf_hash(entry) for entry in ENTRIES]
ROOTS = [reference.mth(ENTRIES[:size]) for size in range(MOST + 1)]


def fetch(wanted: list[merkle.Subtree]) -> list[bytes]:
    """Hash perfect subtrees of ENTRIES by definition; one beyond the end is a test's failure."""
    for level, index in wanted:
        assert (index + 1) << level <= len(ENTRIES)
    return [
        reference.mth(ENTRIES[index << level : (index + 1) << level]) for level, index in wanted
    ]


def span(begin: int, end: int) -> Range:
    """Give the leaves [begin, end) as whoever withholds them would."""
    return Range(begin, end, tuple(fetch(merkle.subtrees(begin, end))))


def flipped(digest: bytes) -> bytes:
    return bytes([digest[0] ^ 1]) + digest[1:]


sizes = st.integers(0, MOST)


def test_the_eight_leaves_of_certificate_transparency_have_their_published_roots() -> None:
    grown = Range.empty()
    for leaf, root in zip(CT_LEAVES, CT_ROOTS, strict=True):
        grown = grown.append(merkle.leaf_hash(leaf))
        assert grown.root().hex() == root
        assert reference.mth(CT_LEAVES[: grown.end]).hex() == root


def test_the_empty_tree_has_the_root_of_nothing() -> None:
    assert Range.empty().root() == merkle.EMPTY_ROOT == ROOTS[0]


def test_a_node_never_passes_for_a_leaf() -> None:
    left, right = LEAVES[:2]
    assert merkle.leaf_hash(left + right) != merkle.node_hash(left, right)


def test_appending_one_by_one_gives_the_root_at_every_size() -> None:
    grown = Range.empty()
    for size, leaf in enumerate(LEAVES[:MOST]):
        assert grown.root() == ROOTS[size]
        grown = grown.append(leaf)


@given(sizes, sizes)
def test_subtrees_are_perfect_and_cover_every_leaf_once(one: int, two: int) -> None:
    begin, end = sorted((one, two))
    covered = begin
    for level, index in merkle.subtrees(begin, end):
        assert index << level == covered
        covered = (index + 1) << level
    assert covered == end


@given(sizes, sizes)
def test_subtrees_are_as_few_as_can_be(one: int, two: int) -> None:
    begin, end = sorted((one, two))
    cut = merkle.subtrees(begin, end)
    for (level, index), after in pairwise(cut):
        assert (level, index + 1) != after or index & 1  # no two are children of one parent


@given(sizes, sizes)
def test_leaves_in_bulk_equal_leaves_one_by_one_wherever_they_begin(one: int, two: int) -> None:
    begin, end = sorted((one, two))
    slow = Range.empty(begin)
    for leaf in LEAVES[begin:end]:
        slow = slow.append(leaf)
    assert Range.empty(begin).extend_leaves(LEAVES[begin:end]) == slow == span(begin, end)


@given(st.data())
def test_ranges_merge_the_same_wherever_they_are_cut(data: st.DataObject) -> None:
    begin, *cuts, end = sorted(data.draw(st.lists(sizes, min_size=2, max_size=6)))
    grown = Range.empty(begin)
    for cut in [*cuts, end]:
        grown = grown.extend(span(grown.end, cut))
    assert grown == span(begin, end)


def test_chunks_do_not_show_in_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merkle, "_CHUNK", 3)
    for size in range(MOST):
        assert Range.empty().extend_leaves(iter(LEAVES[:size])).root() == ROOTS[size]


@given(sizes, sizes)
def test_a_packed_range_comes_back_equal(one: int, two: int) -> None:
    begin, end = sorted((one, two))
    packed = span(begin, end)
    assert Range.unpack(begin, end, packed.pack()) == packed


@pytest.mark.parametrize(
    "build",
    [
        lambda: Range(3, 2, ()),
        lambda: Range(-1, 0, (LEAVES[0],)),
        lambda: Range(0, 3, (LEAVES[0],)),
        lambda: Range(0, 1, (LEAVES[0][:-1],)),
        lambda: Range.unpack(0, 1, LEAVES[0] + b"\0"),
        lambda: Range.unpack(0, 1, LEAVES[0] * 2),
        lambda: Range.empty().append(b"short"),
        # A byte moved over to the neighbour, where the parent's hash alone would not show it.
        lambda: Range.empty().extend_leaves([LEAVES[0][:-1], LEAVES[0][-1:] + LEAVES[1]]),
        lambda: merkle.perfect_root([LEAVES[0][:-1], LEAVES[0][-1:] + LEAVES[1]]),
        lambda: merkle.subtrees(2, 1),
        lambda: merkle.subtrees(-1, 1),
        lambda: merkle.perfect_root(LEAVES[:3]),
        lambda: merkle.perfect_root([]),
        lambda: span(1, 3).root(),
        lambda: span(0, 3).extend(span(4, 5)),
        lambda: span(0, 3).extend(span(2, 5)),
    ],
)
def test_pieces_that_do_not_fit_are_refused(build: Callable[[], object]) -> None:
    with pytest.raises(RangeError):
        build()


# A log with entries withheld: shown leaves, and subtrees' hashes for what lies between them.


def pruned(size: int, shown: set[int]) -> Iterator[Range]:
    """Give what an export holds: each shown leaf by itself, each run of others as one range."""
    begin = 0
    for index in [*sorted(shown), size]:
        if begin < index:
            yield span(begin, index)
        if index < size:
            yield Range(index, index + 1, (LEAVES[index],))
        begin = index + 1


def root_of(pieces: list[Range], size: int) -> bytes:
    grown = Range.empty()
    for piece in pieces:
        grown = grown.extend(piece)
    if grown.end != size:
        raise RangeError(f"{grown.end} leaves of {size}")
    return grown.root()


def test_every_choice_of_shown_entries_gives_the_root_of_a_small_log() -> None:
    for size in range(11):
        for chosen in range(1 << size):
            shown = {index for index in range(size) if chosen >> index & 1}
            assert root_of(list(pruned(size, shown)), size) == ROOTS[size]


@pytest.mark.parametrize("size", range(MOST + 1))
def test_some_choices_of_shown_entries_give_the_root_of_any_log(size: int) -> None:
    choice = random.Random(size)
    for share in (0.02, 0.1, 0.3, 0.5, 0.9, 1.0):
        shown = {index for index in range(size) if choice.random() < share}
        assert root_of(list(pruned(size, shown)), size) == ROOTS[size]


def damaged_pieces(pieces: list[Range]) -> Iterator[list[Range]]:
    """Damage an export once in each way at each place."""
    for at, piece in enumerate(pieces):
        before, after = pieces[:at], pieces[at + 1 :]
        yield [*before, *after]  # dropped
        yield [*before, piece, piece, *after]  # told twice
        for place, digest in enumerate(piece.hashes):
            hashes = list(piece.hashes)
            hashes[place] = flipped(digest)
            yield [*before, Range(piece.begin, piece.end, tuple(hashes)), *after]  # altered
            if place:
                hashes = list(piece.hashes)
                hashes[place - 1 : place + 1] = hashes[place], hashes[place - 1]
                yield [*before, Range(piece.begin, piece.end, tuple(hashes)), *after]  # swapped
        if after:
            follower = after[0]
            yield [*before, follower, piece, *after[1:]]  # moved, with its place
            if follower.end - follower.begin == piece.end - piece.begin == 1:
                yield [  # moved, and renumbered to hide it
                    *before,
                    Range(piece.begin, piece.end, follower.hashes),
                    Range(follower.begin, follower.end, piece.hashes),
                    *after[1:],
                ]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 31, 33, 64, 70])
def test_no_altered_dropped_swapped_or_moved_piece_keeps_the_root(size: int) -> None:
    choice = random.Random(size)
    tried = 0
    for share in (0.1, 0.5, 1.0):
        shown = {index for index in range(size) if choice.random() < share}
        for pieces in damaged_pieces(list(pruned(size, shown))):
            tried += 1
            try:
                root = root_of(pieces, size)
            except RangeError:
                continue
            assert root != ROOTS[size]
    assert tried >= size


def test_an_entry_withheld_as_another_run_of_the_same_length_is_noticed() -> None:
    moved = Range(2, 4, span(4, 6).hashes)
    assert span(0, 2).extend(moved).root() != ROOTS[4]


# Inclusion.


@pytest.mark.parametrize("size", range(1, MOST + 1))
def test_inclusion_proofs_are_the_ones_of_the_rfc_and_pass(size: int) -> None:
    for index in range(size):
        proof = merkle.inclusion_proof(index, size, fetch)
        assert proof == reference.inclusion(index, ENTRIES[:size])
        merkle.verify_inclusion(LEAVES[index], index, size, proof, ROOTS[size])


def test_a_proof_is_fetched_in_one_go() -> None:
    calls: list[int] = []

    def counting(wanted: list[merkle.Subtree]) -> list[bytes]:
        calls.append(len(wanted))
        return fetch(wanted)

    merkle.inclusion_proof(13, 70, counting)
    merkle.consistency_proof(13, 70, counting)
    assert len(calls) == 2


def damaged_lists(proof: list[bytes], others: list[bytes]) -> Iterator[list[bytes]]:
    """Damage a proof once in each way at each place."""
    for extra in (*others, merkle.EMPTY_ROOT, b""):
        yield [*proof, extra]
        yield [extra, *proof]
    for at, digest in enumerate(proof):
        before, after = proof[:at], proof[at + 1 :]
        yield [*before, *after]  # one missing
        yield [*before, flipped(digest), *after]  # one altered
        yield [*before, digest[:-1], *after]  # one cut short
        yield [*before, digest, digest, *after]  # one told twice
        if after and after[0] != digest:
            yield [*before, after[0], digest, *after[1:]]  # two swapped
    if len(proof) > 1:
        yield proof[: len(proof) // 2]
        yield proof[::-1]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 9, 16, 23, 33, 70])
def test_a_damaged_inclusion_proof_is_refused(size: int) -> None:
    for index in range(size):
        leaf, root = LEAVES[index], ROOTS[size]
        proof = reference.inclusion(index, ENTRIES[:size])
        for damaged in damaged_lists(proof, [leaf, root]):
            with pytest.raises(ProofError):
                merkle.verify_inclusion(leaf, index, size, damaged, root)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 9, 16, 23, 33])
def test_an_inclusion_proof_serves_no_other_claim(size: int) -> None:
    for index in range(size):
        leaf, root = LEAVES[index], ROOTS[size]
        proof = reference.inclusion(index, ENTRIES[:size])
        for claim in [
            (flipped(leaf), index, size, proof, root),
            (LEAVES[(index + 1) % MOST], index, size, proof, root),
            (leaf[:-1], index, size, proof, root),
            (b"", index, size, proof, root),
            (leaf, -1, size, proof, root),
            (leaf, size, size, proof, root),
            (leaf, index + size, size, proof, root),
            (leaf, index, 0, proof, root),
            (leaf, index, -size, proof, root),
            (leaf, index, size, proof, flipped(root)),
            (leaf, index, size, proof, ROOTS[size - 1]),
            (leaf, index, size, proof, root[:-1]),
            (leaf, index, size, proof, b""),
            *((leaf, other, size, proof, root) for other in range(size) if other != index),
        ]:
            with pytest.raises(ProofError):
                merkle.verify_inclusion(*claim)


@pytest.mark.parametrize("size", range(1, 34))
def test_a_wrong_size_is_refused_unless_the_rfc_cannot_tell_it(size: int) -> None:
    # A proof does not bind the size alone, since several sizes share a path: the signed checkpoint
    # does. What must hold is that we accept exactly what the RFC's own steps accept.
    for index in range(size):
        proof = reference.inclusion(index, ENTRIES[:size])
        for other in (*range(size), *range(size + 1, 2 * size + 2)):
            claim = (LEAVES[index], index, other, proof, ROOTS[size])
            if reference.inclusion_holds(*claim):
                merkle.verify_inclusion(*claim)
            else:
                with pytest.raises(ProofError):
                    merkle.verify_inclusion(*claim)


def test_a_refusal_tells_a_wrong_form_from_a_wrong_hash() -> None:
    proof = reference.inclusion(5, ENTRIES[:9])
    with pytest.raises(ProofShapeError, match="has 4 hashes here, not 3"):
        merkle.verify_inclusion(LEAVES[5], 5, 9, proof[:-1], ROOTS[9])
    with pytest.raises(ProofShapeError, match="a leaf consists of hashes of 32 bytes"):
        merkle.root_from_inclusion_proof(LEAVES[5] + b"!", 5, 9, proof)
    with pytest.raises(ProofShapeError, match="a tree of 9 leaves has no leaf 9"):
        merkle.verify_inclusion(LEAVES[5], 9, 9, proof, ROOTS[9])
    with pytest.raises(RootMismatchError, match="the root of 9 leaves") as refusal:
        merkle.verify_inclusion(LEAVES[4], 5, 9, proof, ROOTS[9])
    assert refusal.value.claimed == ROOTS[9] != refusal.value.computed


def test_no_proof_is_made_of_a_leaf_that_is_not_there_or_of_hashes_that_are_missing() -> None:
    for index, size in ((3, 3), (-1, 3), (0, 0)):
        with pytest.raises(ProofShapeError):
            merkle.inclusion_proof(index, size, fetch)
    with pytest.raises(ProofShapeError):
        merkle.inclusion_proof(1, 7, lambda wanted: fetch(wanted)[:-1])
    with pytest.raises(ProofShapeError):
        merkle.consistency_proof(3, 7, lambda wanted: [*fetch(wanted), LEAVES[0]])


# Consistency.


@pytest.mark.parametrize("new", range(1, MOST + 1))
def test_consistency_proofs_are_the_ones_of_the_rfc_and_pass(new: int) -> None:
    for old in range(1, new + 1):
        proof = merkle.consistency_proof(old, new, fetch)
        assert proof == reference.consistency(old, ENTRIES[:new])
        merkle.verify_consistency(old, ROOTS[old], new, ROOTS[new], proof)


def test_every_tree_continues_the_empty_one() -> None:
    for new in range(MOST + 1):
        assert merkle.consistency_proof(0, new, fetch) == []
        merkle.verify_consistency(0, ROOTS[0], new, ROOTS[new], [])


@pytest.mark.parametrize("new", [1, 2, 3, 5, 7, 8, 9, 16, 23, 33, 70])
def test_a_damaged_consistency_proof_is_refused(new: int) -> None:
    for old in range(new + 1):
        proof = reference.consistency(old, ENTRIES[:new]) if old else []
        for damaged in damaged_lists(proof, [ROOTS[old], ROOTS[new]]):
            with pytest.raises(ProofError):
                merkle.verify_consistency(old, ROOTS[old], new, ROOTS[new], damaged)


@pytest.mark.parametrize("new", range(34))
def test_a_consistency_proof_serves_no_other_claim(new: int) -> None:
    for old in range(new + 1):
        proof = reference.consistency(old, ENTRIES[:new]) if old else []
        claims = [
            (old, flipped(ROOTS[old]), new, ROOTS[new], proof),
            (old, ROOTS[old][:-1], new, ROOTS[new], proof),
            (old, ROOTS[old], new, ROOTS[new][:-1], proof),
            (new + 1, ROOTS[new + 1], new, ROOTS[new], proof),
            (-1, ROOTS[old], new, ROOTS[new], proof),
        ]
        if old:  # every tree, even a made-up one, begins with the empty tree
            claims.append((old, ROOTS[old], new, flipped(ROOTS[new]), proof))
            claims.append((old, ROOTS[old - 1], new, ROOTS[new], proof))
        if old != new:
            claims.append((new, ROOTS[new], old, ROOTS[old], proof))
            claims.append((old, ROOTS[new], new, ROOTS[old], proof))
        for claim in claims:
            with pytest.raises(ProofError):
                merkle.verify_consistency(*claim)


@pytest.mark.parametrize("new", range(2, 26))
def test_wrong_sizes_are_refused_unless_the_rfc_cannot_tell_them(new: int) -> None:
    for old in range(1, new):
        proof = reference.consistency(old, ENTRIES[:new])
        for first in range(1, new + 2):
            for second in range(first + 1, new + 3):
                claim = (first, ROOTS[old], second, ROOTS[new], proof)
                if reference.consistency_holds(*claim):
                    merkle.verify_consistency(*claim)
                else:
                    with pytest.raises(ProofError):
                        merkle.verify_consistency(*claim)


@given(st.data())
def test_a_rewritten_log_is_consistent_with_nothing_it_was(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, MOST))
    old = data.draw(st.integers(1, new))
    rewritten = list(ENTRIES[:new])
    rewritten[data.draw(st.integers(0, old - 1))] += b"!"
    proof = reference.consistency(old, rewritten)
    with pytest.raises(RootMismatchError):
        merkle.verify_consistency(old, ROOTS[old], new, reference.mth(rewritten), proof)


def test_a_million_leaves_are_hashed_and_joined_in_seconds() -> None:
    began = time.perf_counter()
    grown = Range.empty().extend_leaves(merkle.leaf_hash(b"%d" % at) for at in range(1_000_000))
    took = time.perf_counter() - began
    print(f"1,000,000 leaves: {took:.2f} s")
    assert len(grown.hashes) == (1_000_000).bit_count()
    assert took < 20  # about 2 s when nothing else runs; this catches a wrong order of growth
