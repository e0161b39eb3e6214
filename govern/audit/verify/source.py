"""The lines of a file, JSON Lines or CSV, in the one form in which they are checked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING

from govern.audit import lines

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator
    from concurrent.futures import Future
    from typing import IO


# Bytes that are read and hashed in one go.
_BULK = 1 << 18


class Lines:
    """The lines of a file in their JSON form, numbered, with one to look ahead."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        # What lies before the block is hashed, in bulk by a thread of its own meanwhile.
        self._hash = sha256()
        self._hashing: ThreadPoolExecutor | None = None
        self._hashed: Future[None] | None = None
        # What is read of the file from the byte `begins` on.
        self._block, self._begins = b"", 0
        # Where in the block the present line begins, and the one after it.
        self._at = self._next = 0
        self.number = 0
        # What is wrong with the row that holds the line, when only its readable cells are.
        self.fault = ""
        end = self._end()
        self.is_csv = self._block[:end] == lines.CSV_HEAD
        if self.is_csv:
            self._next, self.number = end, 1

    def next(self) -> bytes:
        """The next line, empty at the end of the file."""
        self._at = self._next
        self._next = self._end()
        self.number += 1
        line, self.fault = self._read(self._at, self._next)
        return line

    def peek(self) -> bytes:
        """The line after, without going on to it."""
        end = self._end()  # first, for what is read on moves the block
        return self._read(self._next, end)[0]

    @property
    def offset(self) -> int:
        """Where in the file the present line begins."""
        return self._begins + self._at

    def matches(self, form: re.Pattern[bytes], until: int | None) -> Iterator[re.Match[bytes]]:
        """The present line and those right behind it that are of one form, as far as is read.

        None of them begins at the byte `until` of the file or behind it.
        """
        end = len(self._block) if until is None else until - self._begins
        return lines.matches(form, self._block, self._at, end)

    def behind(self, size: int, count: int) -> bytes:
        """Go on to the line that so many bytes, and lines, lie before from the present one on."""
        while len(self._block) - self._at < size and self._more():
            pass
        self._next = self._at + size
        self.number += count - 1
        return self.next()

    def digest_before(self) -> str:
        """SHA-256 of all bytes before the present line."""
        if self._hashed is not None:
            self._hashed.result()
        digest = self._hash.copy()
        digest.update(self._block[: self._at])
        return digest.hexdigest()

    def close(self) -> None:
        """End the thread that hashes."""
        if self._hashing is not None:
            self._hashing.shutdown()

    def _end(self) -> int:
        """Where in the block the line after the present one ends; more is read until it does."""
        while True:
            end = self._block.find(b"\n", self._next, self._next + lines.MAX_LINE) + 1
            if end:
                return end
            if len(self._block) - self._next >= lines.MAX_LINE:
                return self._next + lines.MAX_LINE
            if not self._more():
                return len(self._block)

    def _more(self) -> bool:
        """Read on; what lies before the present line is handed on to be hashed."""
        data = self._stream.read(_BULK)
        if not data:
            return False
        if self._at:
            self._hash_bulk(self._block[: self._at])
        self._block = self._block[self._at :] + data
        self._begins += self._at
        self._at, self._next = 0, self._next - self._at
        return True

    def _hash_bulk(self, data: bytes) -> None:
        """Hash what was read; at most two such parts are held at a time."""
        if self._hashing is None:
            self._hashing = ThreadPoolExecutor(1)
        if self._hashed is not None:
            self._hashed.result()
        self._hashed = self._hashing.submit(self._hash.update, data)

    def _read(self, begin: int, end: int) -> tuple[bytes, str]:
        raw = self._block[begin:end]
        if not self.is_csv or not raw:
            return raw, ""
        try:
            line = lines.from_csv(raw)
        except ValueError:
            return raw, ""
        try:
            same = lines.to_csv(line) == raw
        except (ValueError, RecursionError):
            same = False
        return line, "" if same else "the columns to read are not those of the exact parts"
