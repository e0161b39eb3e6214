"""The answer as CSV: a row for each interval, which no spreadsheet takes for a formula."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from govern import clock
from govern.audit import lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from govern.access.exposure.places import Exposure, Interval

COLUMNS = ("subject", "email", "name", "project", "dataset", "grant", "from", "to")
_KEPT = 1000  # times in words: most grants share theirs


class _Back:
    """A file whose writer hands back what it wrote."""

    write = staticmethod(str)


_row = csv.writer(_Back(), lineterminator="").writerow


def rows(pages: Iterable[Iterable[Exposure]]) -> Iterator[str]:
    """The file, its head first, in pieces of whole rows."""
    yield f"{_row(COLUMNS)}\r\n"
    kept: dict[int, tuple[tuple[Interval, ...], list[str]]] = {}
    for page in pages:
        for one in page:
            # By identity, which costs nothing; what is kept keeps its own.
            times, told = kept.get(id(one.intervals), ((), []))
            if times is not one.intervals:
                if len(kept) >= _KEPT:
                    kept.clear()
                told = [f",{clock.text(a)},{clock.text(b)}\r\n" for a, b in one.intervals]
                kept[id(one.intervals)] = (one.intervals, told)
            whose = _row(
                map(lines.safe, (*one[2:6], one.dataset or "", one.grant_id))
            )  # fmt: skip
            yield whose + whose.join(told)
