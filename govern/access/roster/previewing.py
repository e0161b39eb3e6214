"""What a roster would do, told before it does it: in numbers, the first of each, and one digest.

The digest stands for everything that the file would write and every row that it would not: whoever
confirms a preview gives it back, and an import that would do anything else is refused.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from govern import clock
from govern.access.roster.judge import Judge, Outcome, Row, differences
from govern.audit import leaf

if TYPE_CHECKING:
    from govern.access.roster.judge import Effect, Rejected
    from govern.identity.subjects import Particulars

SHOWN = 10  # rows of each kind


@dataclass(frozen=True, kw_only=True)
class Changed:
    """Someone known already, and what of them changes: (particular, as it is, as it will be)."""

    line: int
    external_id: str
    name: str
    changes: list[tuple[str, str, str]]


@dataclass(frozen=True, kw_only=True)
class Granted:
    """A grant that a row would give; places and the entitlement by their codes."""

    line: int
    external_id: str
    name: str
    project: str
    dataset: str | None
    entitlement: str
    starts_at: datetime
    ends_at: datetime


@dataclass(kw_only=True)
class Preview:
    """How many people come, change and are granted something, and the first of each.

    `projects` counts the grants by project code. Nothing is ever revoked by a roster.
    """

    new: list[tuple[int, Particulars]] = field(default_factory=list)
    changed: list[Changed] = field(default_factory=list)
    granted: list[Granted] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    projects: Counter[str] = field(default_factory=Counter)
    accepted: int
    unchanged: int
    rejected: list[Rejected]
    digest: str


def previewed(judge: Judge, outcome: Outcome) -> Preview:
    """The preview of a file that was judged."""
    seen = hashlib.sha256()
    found = Preview(
        accepted=len(outcome.accepted), unchanged=len(outcome.unchanged),
        rejected=outcome.rejected, digest="",
    )  # fmt: skip
    codes = _codes(judge)
    for effect in judge.effects:
        found.counts[effect.what] += 1
        if effect.what == "granted":
            found.projects[codes[effect.row.project]] += 1
        if found.counts[effect.what] <= SHOWN:
            _show(found, effect, codes)
        seen.update(_bytes(effect))
    for fault in outcome.rejected:
        seen.update(leaf.canonical(["rejected", fault.line, fault.column, fault.reason]))
    found.digest = seen.hexdigest()
    return found


def _codes(judge: Judge) -> dict[str | None, str]:
    codes: dict[str | None, str] = {row.id: code for code, row in judge.projects.items()}
    codes |= {row.id: code for code, row in judge.datasets.items()}
    return codes | {id_: name for name, id_ in judge.entitlements.items()}


def _show(found: Preview, effect: Effect, codes: dict[str | None, str]) -> None:
    row, person = effect.row, effect.row.person
    if effect.what == "new":
        found.new.append((row.line, person))
    elif effect.was is not None:
        names = sorted(differences(effect.was, person))
        changes = [(name, str(getattr(effect.was, name)), str(getattr(person, name)))
                   for name in names]  # fmt: skip
        found.changed.append(
            Changed(line=row.line, external_id=person.external_id, name=person.full_name,
                    changes=changes)
        )  # fmt: skip
    else:
        found.granted.append(
            Granted(
                line=row.line, external_id=person.external_id, name=person.full_name,
                project=codes[row.project], dataset=codes.get(row.dataset),
                entitlement=codes[row.entitlement], starts_at=row.starts_at, ends_at=row.ends_at,
            )
        )  # fmt: skip


def _bytes(effect: Effect) -> bytes:
    return leaf.canonical(
        [effect.what, _person(effect.row.person), effect.was and _person(effect.was),
         *_grant(effect.row)]
    )  # fmt: skip


def _person(person: Particulars) -> dict[str, Any]:
    kept = {"kind": person.kind.value, "organisation": person.organisation}
    return {**person.private(), **kept}


def _grant(row: Row) -> list[str | None]:
    window = [clock.text(row.starts_at), clock.text(row.ends_at)]
    return [row.project, row.dataset, row.entitlement, *window]
