"""The file of an export: its form, its hash, and the signature under it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from govern import errors
from govern.audit import lines, ocsf, parquet, siem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future
    from typing import BinaryIO, Self

    from govern.audit.signer import Signer

FORMS = ("jsonl", "csv", "ocsf", "parquet")


def check_form(form: str) -> None:
    """Refuse a form that there is not, or whose extra is not here."""
    if form not in FORMS:
        raise errors.Invalid(f"format: “{form}” is none of {', '.join(FORMS)}", field="format")
    if form == "parquet":
        parquet.require()


class File:
    """What was written so far: its hash and its number of entries.

    A thread of its own hashes and writes one piece while the next is made.
    """

    def __init__(self, out: BinaryIO, form: str, progress: Callable[[int], None] | None) -> None:
        self._out = out
        # Lines of the JSON form become those of another; what has no place there becomes nothing.
        turned = {"csv": lines.to_csv, "ocsf": ocsf.to_line}
        self._turned = turned.get(form)
        self._form = form
        self._header = b""
        # Its columns are written beside; the digest is of the CSV form that they stand for.
        self._columns = parquet.Writer(out) if form == "parquet" else None
        self._progress = progress
        self._hash = sha256()
        self._thread = ThreadPoolExecutor(1, "export")
        self._last: Future[None] | None = None
        self.rows = self.erased = 0

    def begin(self, fields: dict[str, Any]) -> None:
        """Write what stands before the first log."""
        if self._form in {"csv", "parquet"}:
            self._put(lines.CSV_HEAD)
        self._header = lines.header(fields)
        self.write([self._header])

    def go_on(
        self, fields: dict[str, Any], *, rows: int, erased: int, before: Iterable[bytes]
    ) -> None:
        """Take for written, instead, what stands `before` already."""
        self._header = lines.header(fields)
        self.rows, self.erased = rows, erased
        for piece in before:
            self._hash.update(piece)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def write(self, written: Iterable[bytes], *, rows: int = 0) -> None:
        """Take lines of the JSON form, of which so many are entries."""
        if self._columns is not None:
            cells = list(map(lines.cells, written))
            self._columns.write(cells)
            self._put(b"".join(map(lines.row, cells)))
        else:
            self._put(b"".join(map(self._turned, written) if self._turned else written))
        self.rows += rows
        if self._progress is not None and rows:
            self._progress(self.rows)

    def finish(self, signer: Signer) -> None:
        """Write the last line, signed where the key is."""
        given = (self.rows, self.erased, self.digest())
        text = lines.manifest(signer.name, *given)
        signed = signer.vouch(text, name=lines.manifest_name(signer.name))
        last = lines.end(*given, signed)
        if self._form == "ocsf":
            self._put(siem.manifest(self._header, last))
        else:
            self.write([last])
        self._wait()
        if self._columns is not None:
            self._columns.close()

    def digest(self) -> str:
        """The SHA-256 of all that was written, once it is handed to the file."""
        self._wait()
        return self._hash.hexdigest()

    def _put(self, data: bytes) -> None:
        self._wait()
        self._last = self._thread.submit(self._keep, data)

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()

    def _keep(self, data: bytes) -> None:
        self._hash.update(data)
        if self._columns is None:
            self._out.write(data)
