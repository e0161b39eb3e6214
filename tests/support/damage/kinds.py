"""One kind of damage of a store, and the statements that do it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of damage: `statements` do it; it is found as `finds`, in a sentence of `words`."""

    name: str
    statements: tuple[str, ...]
    finds: str
    words: str


def copied(table: str, columns: str, where: str, **changed: str) -> str:
    """A statement that copies a row with some columns changed."""
    names = columns.split()
    chosen = ", ".join(changed.get(name, name) for name in names)
    return f"INSERT INTO {table} ({', '.join(names)}) SELECT {chosen} FROM {table} {where}"
