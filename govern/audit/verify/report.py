"""What a verification found: each damage with its place, what is proven, and what is not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Protocol

    class Source(Protocol):
        """What is read, and the number of its present line."""

        number: int


# A file that is damaged everywhere must not fill the memory with its damages.
MOST_NAMED = 1000


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One thing that is wrong, and where: entry `seq` of `log`, physical line `line` from 1 on."""

    kind: str
    message: str
    log: str | None = None
    seq: int | None = None
    line: int | None = None


@dataclass(frozen=True, kw_only=True)
class Proven:
    """What was found of one log: `shown` of `size` entries stand in the file.

    `signed` tells whether their root is the one that a trusted key signed.
    """

    log: str
    origin: str
    size: int
    shown: int
    signed: bool


@dataclass(frozen=True, kw_only=True)
class Report:
    """The outcome; `unnamed` counts further damages after the first thousand."""

    ok: bool
    rows: int
    logs: tuple[Proven, ...]
    damage: tuple[Damage, ...]
    unnamed: int
    proves: tuple[str, ...]
    does_not_prove: tuple[str, ...]


def entries(number: int) -> str:
    """So many entries, in words."""
    return f"{number} entr{'y' if number == 1 else 'ies'}"


def all_here(size: int) -> str:
    """That a log is in the file from its first entry to its last, in words."""
    if size == 1:
        return "its one entry is here, unchanged"
    return f"all {size} entries are here, unchanged, in order and without a gap"


def erased(values: int, accounted: str) -> list[str]:
    """What a file with erased values leaves open; `accounted` says how its log tells of them."""
    if not values:
        return []
    told = f"{values} personal value{'s' * (values != 1)}"
    return [
        f"What {told} said: erased before the file was made. {accounted}",
        "That no text of others on many people still names who was erased.",
    ]


class Findings:
    """The damages named so far; beyond the first thousand they are counted by kind and log."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.damage: list[Damage] = []
        self.kinds: Counter[tuple[str, str | None]] = Counter()

    def name(
        self,
        kind: str,
        message: str,
        *,
        log: str | None = None,
        seq: int | None = None,
        line: int | None = -1,
    ) -> None:
        """Put one down, at the present line unless told (None: of no line)."""
        self.kinds[kind, log] += 1
        if len(self.damage) < MOST_NAMED:
            where = self._source.number if line == -1 else line
            self.damage.append(Damage(kind=kind, message=message, log=log, seq=seq, line=where))
