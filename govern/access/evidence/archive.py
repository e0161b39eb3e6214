"""The pack as a file: parts are streamed into it, each is hashed, and the last names them all."""

from __future__ import annotations

import json
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from typing import IO, BinaryIO

_READABLE = 0o644 << 16


class Part:
    """One file of a pack while it is written."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._hash = sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        """Write some of it."""
        self._hash.update(data)
        self.size += len(data)
        return self._raw.write(data)

    @property
    def told(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {"bytes": self.size, "sha256": self._hash.hexdigest()}


class Archive:
    """A pack while it is written; `files` are those that are whole."""

    def __init__(self, out: BinaryIO, *, at: datetime) -> None:
        self._zip = ZipFile(out, "w", ZIP_DEFLATED)
        self._at = at
        self.files: dict[str, dict[str, Any]] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[Part]:
        """A file to write to, piece by piece."""
        info = ZipInfo(name, self._at.timetuple()[:6])
        info.compress_type, info.external_attr = ZIP_DEFLATED, _READABLE
        with self._zip.open(info, "w", force_zip64=True) as raw:
            part = Part(raw)
            yield part
        self.files[name] = part.told

    def put(self, name: str, data: bytes) -> None:
        """A file at once."""
        with self.part(name) as part:
            part.write(data)

    def rows(self, name: str, rows: Iterable[dict[str, Any]]) -> int:
        """A file of JSON Lines; how many."""
        count = 0
        with self.part(name) as part:
            for row in rows:
                part.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
                count += 1
        return count

    def close(self) -> None:
        """End it; without this it is no pack."""
        self._zip.close()
