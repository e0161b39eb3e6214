"""Exports as Parquet: the rows of the CSV form, in columns with types, for who analyses them.

It proves as much: from the columns the CSV form is written anew, byte for byte, and that is what
the manifest's digest is of. Row groups are small, so memory stays the same however much is written
or read. It needs the extra `parquet` (pyarrow), and nothing else here does.
"""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from govern import errors
from govern.audit import lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

MAGIC = b"PAR1"
_GROUP = 16_384  # rows written together
_TIME, _SEQ = lines.COLUMNS.index("time"), lines.COLUMNS.index("seq")
_FORM = "%Y-%m-%dT%H:%M:%S.%fZ"


def is_installed() -> bool:
    """Whether the extra is there."""
    return importlib.util.find_spec("pyarrow") is not None


def require() -> None:
    """Refuse where the extra is not installed, before anything is done."""
    if not is_installed():
        raise errors.Invalid(
            "format: Parquet needs an extra that is not installed here: "
            "pip install 'govern[parquet]'.",
            field="format",
        )


class Writer:
    """Writes lines of the JSON form as rows; `close` ends the file."""

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

    def write(self, written: Iterable[bytes]) -> None:
        """Take lines; they are written when there are enough of them."""
        self._rows += map(_typed, written)
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


def _typed(line: bytes) -> list[Any]:
    """The cells of a line, empty ones as nothing."""
    cells: list[Any] = [cell or None for cell in lines.cells(line)]
    if cells[_SEQ] is not None:
        cells[_SEQ] = int(cells[_SEQ])
    if cells[_TIME] is not None:
        cells[_TIME] = datetime.strptime(cells[_TIME], _FORM).replace(tzinfo=UTC)
    return cells


class Reader:
    """Such a file, read as the CSV form, a row a line: what `verify.check` takes."""

    def __init__(self, file: BinaryIO) -> None:
        require()
        self._rows = _rows(file)

    def read(self, _most: int = -1) -> bytes:
        """The next row, however long, empty at the end; `Invalid` where it cannot be read on."""
        return next(self._rows, b"")


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
    except (pa.ArrowException, OSError, ValueError) as error:
        words = str(error).splitlines()[0]
        raise errors.Invalid(f"This Parquet file is damaged: {words}", field="file") from error


def _text(cell: Any) -> str:
    if isinstance(cell, datetime):
        return cell.strftime(_FORM)
    return "" if cell is None else str(cell)
