"""Lists as CSV: for a spreadsheet, which takes no cell for a formula, in constant memory."""

from __future__ import annotations

import csv
import io
import tempfile
from datetime import datetime
from typing import TYPE_CHECKING

from flask import send_file

from govern import clock
from govern.audit import lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from flask import Response


def answer(name: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Response:
    """Write a list whole, then send it; `name` begins the file's."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the answer was sent
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(head)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    text.detach()
    file.seek(0)
    return send_file(
        file, mimetype="text/csv", as_attachment=True,
        download_name=f"{name}-{clock.utcnow():%Y%m%dT%H%M%SZ}.csv",
    )  # fmt: skip


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return clock.text(value)
    return "" if value is None else lines.safe(str(value))
