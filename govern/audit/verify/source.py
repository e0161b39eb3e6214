"""The lines of a file, JSON Lines or CSV, in the one form in which they are checked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING

from govern.audit import lines

if TYPE_CHECKING:
    from concurrent.futures import Future
    from typing import IO


# Bytes that are hashed in one go.
_BULK = 1 << 18


class Lines:
    """The lines of a file in their JSON form, numbered, with one to look ahead."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._hash = sha256()
        # What is read and not hashed yet; a thread of its own hashes it in bulk meanwhile.
        self._unhashed: list[bytes] = []
        self._unhashed_size = 0
        self._hashing: ThreadPoolExecutor | None = None
        self._hashed: Future[None] | None = None
        self._ahead: list[tuple[bytes, bytes, str]] = []
        self._raw = b""
        self.number = 0
        # What is wrong with the row that holds the line, when only its readable cells are.
        self.fault = ""
        first = stream.readline(lines.MAX_LINE)
        self.is_csv = first == lines.CSV_HEAD
        if self.is_csv:
            self.number = 1
            self._hash.update(first)
        else:
            self._ahead.append((first, first, ""))

    def next(self) -> bytes:
        """The next line, empty at the end of the file."""
        self._unhashed.append(self._raw)
        self._unhashed_size += len(self._raw)
        if self._unhashed_size >= _BULK:
            self._hash_bulk()
        self.number += 1
        if self._ahead:
            line, self._raw, self.fault = self._ahead.pop()
        elif self.is_csv:
            line, self._raw, self.fault = self._read()
        else:
            line = self._raw = self._stream.readline(lines.MAX_LINE)
            self.fault = ""
        return line

    def peek(self) -> bytes:
        """The line after, without going on to it."""
        if not self._ahead:
            self._ahead.append(self._read())
        return self._ahead[0][0]

    def digest_before(self) -> str:
        """SHA-256 of all bytes before the present line."""
        if self._hashed is not None:
            self._hashed.result()
        self._hash.update(b"".join(self._unhashed))
        self._unhashed, self._unhashed_size = [], 0
        return self._hash.hexdigest()

    def close(self) -> None:
        """End the thread that hashes."""
        if self._hashing is not None:
            self._hashing.shutdown()

    def _hash_bulk(self) -> None:
        """Hand on what is not hashed yet; at most two such parts are held at a time."""
        if self._hashing is None:
            self._hashing = ThreadPoolExecutor(1)
        if self._hashed is not None:
            self._hashed.result()
        self._hashed = self._hashing.submit(self._hash.update, b"".join(self._unhashed))
        self._unhashed, self._unhashed_size = [], 0

    def _read(self) -> tuple[bytes, bytes, str]:
        raw = self._stream.readline(lines.MAX_LINE)
        if not self.is_csv or not raw:
            return raw, raw, ""
        try:
            line = lines.from_csv(raw)
        except ValueError:
            return raw, raw, ""
        try:
            same = lines.to_csv(line) == raw
        except (ValueError, RecursionError):
            same = False
        return line, raw, "" if same else "the columns to read are not those of the exact parts"
