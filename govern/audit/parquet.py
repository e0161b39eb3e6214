"""Exports as Parquet: the rows of the CSV form, in columns with types, for who analyses them.

It proves as much: from the columns the CSV form is written anew, byte for byte, and that is what
the manifest's digest is of. Row groups are small, so memory stays the same however much is written
or read. It needs the extra `parquet` (pyarrow), and nothing else here does.

A small file may stand for more than any memory holds, and its own words about that may be wrong. So
one that a stranger made is read by a process of its own, whose memory and time are bounded.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from govern import clock, errors
from govern.audit import lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import IO, BinaryIO

MAGIC = b"PAR1"
_GROUP = 16_384  # rows written together
_MEMORY = 1 << 30  # bytes of a process that reads what a stranger made
_SECONDS = 60
_TIME, _SEQ = lines.COLUMNS.index("time"), lines.COLUMNS.index("seq")
_FORM = "%Y-%m-%dT%H:%M:%S.%fZ"


def is_installed() -> bool:
    """Whether the extra is there."""
    return importlib.util.find_spec("pyarrow") is not None


def require(*, field: str = "format") -> None:
    """Refuse where the extra is not installed, before anything is done."""
    if not is_installed():
        raise errors.Invalid(
            f"{field}: Parquet needs an extra that is not installed here: "
            "pip install 'govern[parquet]'.",
            field=field,
        )


class Writer:
    """Writes the cells of lines as rows; `close` ends the file."""

    def __init__(self, out: BinaryIO) -> None:
        require()
        import pyarrow as pa  # noqa: PLC0415 - the extra
        from pyarrow import parquet  # noqa: PLC0415 - the extra

        kinds = {_TIME: pa.timestamp("us", tz="UTC"), _SEQ: pa.int64()}
        self._schema = pa.schema([
            (name, kinds.get(place, pa.string())) for place, name in enumerate(lines.COLUMNS)
        ])  # fmt: skip
        self._table = pa.table
        self._file = parquet.ParquetWriter(out, self._schema, compression="zstd")
        self._rows: list[list[Any]] = []

    def write(self, rows: Iterable[Sequence[str]]) -> None:
        """Take rows of cells; they are written when there are enough of them."""
        self._rows += map(_typed, rows)
        while len(self._rows) >= _GROUP:
            self._group(self._rows[:_GROUP])
            del self._rows[:_GROUP]

    def close(self) -> None:
        """Write what is left, and the end of the file."""
        self._group(self._rows)
        self._file.close()

    def _group(self, rows: list[list[Any]]) -> None:
        if rows:
            columns = dict(zip(lines.COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
            self._file.write_table(self._table(columns, schema=self._schema))


def _typed(cells: Sequence[str]) -> list[Any]:
    """Cells with their types, empty ones as nothing."""
    typed: list[Any] = [cell or None for cell in cells]
    if cells[_SEQ]:
        typed[_SEQ] = int(cells[_SEQ])
    if cells[_TIME]:
        typed[_TIME] = datetime.fromisoformat(cells[_TIME])
        if clock.text(typed[_TIME]) != cells[_TIME]:  # else it would not be written so again
            raise ValueError(f"no instant of an entry: {cells[_TIME]}")
    return typed


class Reader:
    """Such a file, read as the CSV form: what `verify.check` takes."""

    def __init__(self, file: BinaryIO) -> None:
        require()
        self._rows = _rows(file)

    def read(self, _most: int = -1) -> bytes:
        """The next row, however long, empty at the end; `Invalid` where it cannot be read on."""
        return next(self._rows, b"")


class _Apart:
    """The rows that the other process writes, as the CSV form: what `verify.check` takes."""

    def __init__(self, process: subprocess.Popen[bytes], most_bytes: int) -> None:
        self._process = process
        self._most = self._left = most_bytes

    def read(self, most: int = -1) -> bytes:
        """Some of the rows, empty at the end; `Invalid` where the file cannot be read on."""
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        rows = self._process.stdout.read(most)
        self._left -= len(rows)
        if self._left < 0:
            raise errors.Invalid(
                f"This Parquet file holds more than {self._most >> 20} MB: verify it by "
                "“govern log verify”.",
                field="file",
            )
        if not rows and self._process.wait() != 0:
            raise errors.Invalid(
                "This file is no Parquet export of govern, is damaged, or takes too much memory.",
                field="file",
            )
        return rows


@contextmanager
def apart(stream: IO[bytes], *, most_bytes: int) -> Iterator[_Apart]:
    """A file from anywhere, whose rows are read up to so many bytes."""
    require(field="file")
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        shutil.copyfileobj(stream, file)
        file.flush()
        with subprocess.Popen(  # noqa: S603 - our own program, on a file whose name is ours
            [sys.executable, "-m", __name__, file.name],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            try:
                yield _Apart(process, most_bytes)
            finally:
                process.kill()


def _write_out(path: str) -> int:
    """Write a file's rows to stdout, within bounds; 1 when that cannot be."""
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    try:
        with Path(path).open("rb") as file:
            for row in _rows(file):
                sys.stdout.buffer.write(row)
            sys.stdout.buffer.flush()
    except (errors.Invalid, MemoryError, BrokenPipeError):
        return 1
    return 0


def _rows(file: BinaryIO) -> Iterator[bytes]:
    import pyarrow as pa  # noqa: PLC0415 - the extra
    from pyarrow import parquet  # noqa: PLC0415 - the extra

    yield lines.CSV_HEAD
    try:
        found = parquet.ParquetFile(file)
        if tuple(found.schema_arrow.names) != lines.COLUMNS:
            raise errors.Invalid("This Parquet file is no export of govern.", field="file")
        for batch in found.iter_batches(batch_size=_GROUP):
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield lines.row([_text(cell) for cell in row])
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        words = (str(error) or type(error).__name__).splitlines()[0]
        raise errors.Invalid(f"This Parquet file is damaged: {words}", field="file") from error


def _text(cell: Any) -> str:
    if isinstance(cell, datetime):
        return cell.strftime(_FORM)
    return "" if cell is None else str(cell)


if __name__ == "__main__":
    os._exit(_write_out(sys.argv[1]))  # nothing of a reader that is gone is to be flushed again
