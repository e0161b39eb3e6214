"""The tree over the entries of a log, as it is told and as it is found where the two differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from govern.tlog import merkle

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHUNK = 1 << 16


class Roots:
    """The tree over a run of leaves, as it is `told` and as it is `found` where the two differ.

    A hash that is stated beside an entry may differ from the entry's own. Which of them was signed
    shows at the next root: so both trees grow side by side, from the first difference on.
    """

    def __init__(self) -> None:
        self.size = 0
        self._told = merkle.Range.empty()
        self._found: merkle.Range | None = None
        self._told_next: list[bytes] = []
        self._found_next: list[bytes] = []

    @property
    def is_forked(self) -> bool:
        """Whether the two differ."""
        return self._found is not None

    def add(self, told: bytes, found: bytes | None = None) -> None:
        """The next leaf, by its hash as told and, if that is another, as found."""
        if self._found is None and found is not None and found != told:
            self._join()
            self._found = self._told
        if self._found is not None:
            self._found_next.append(told if found is None else found)
        self._told_next.append(told)
        self.size += 1
        if len(self._told_next) >= _CHUNK:
            self._join()

    def add_all(self, told: Sequence[bytes]) -> None:
        """The next leaves, whose hashes are as told; the two trees must be one."""
        self._told_next += told
        self.size += len(told)
        if len(self._told_next) >= _CHUNK:
            self._join()

    def extend(self, run: merkle.Range) -> None:
        """A run of leaves of which only the subtrees are known."""
        self._join()
        self._told = self._told.extend(run)
        if self._found is not None:
            self._found = self._found.extend(run)
        self.size = run.end

    def told(self) -> merkle.Range:
        """The tree by the hashes that stand beside the entries."""
        self._join()
        return self._told

    def found(self) -> merkle.Range:
        """The tree by the entries' own bytes."""
        self._join()
        return self._told if self._found is None else self._found

    def settle(self, right: merkle.Range) -> None:
        """Go on from the one of the two trees that turned out to be the right one."""
        self._told, self._found = right, None

    def _join(self) -> None:
        self._told = self._told.extend_leaves(self._told_next)
        self._told_next = []
        if self._found is not None:
            self._found = self._found.extend_leaves(self._found_next)
            self._found_next = []
