"""What a check found: each thing that is wrong with its place, and what it could not prove."""

from __future__ import annotations

from dataclasses import dataclass

MOST_NAMED = 1000


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One thing that is wrong: at entry `seq` of `log`, or at row `number` of an access writer."""

    kind: str
    message: str
    log: str | None = None
    seq: int | None = None
    writer: str | None = None
    number: int | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """The outcome; `unnamed` counts further damages of a log after the first thousand.

    `rows` are those of the access log that are as they were sealed; `not_proven` says what is
    neither damaged nor proven, such as rows that are not sealed yet.
    """

    ok: bool
    entries: int
    rows: int
    logs: tuple[str, ...]
    damage: tuple[Damage, ...]
    unnamed: int
    not_proven: tuple[str, ...]
