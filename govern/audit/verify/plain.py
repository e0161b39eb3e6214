"""Plain entries: nearly all of a file, taken in stretches, and by several processes where told.

An entry is plain where its line has the one form that `lines.PLAIN` knows, and all that can be seen
of it alone and of the one before it is right. Whatever is not is looked at closely (see `pieces`).

Stretches of a large file are looked at ahead by other processes. What one of them found counts only
where it begins at the very place, log and instant that the check is at: else it looks itself. The
bytes that they read are hashed by the check, and so are the entries' hashes into the tree.
"""

from __future__ import annotations

import multiprocessing
import os
from binascii import b2a_base64
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from govern.audit import leaf, lines
from govern.audit.redactions import ERASED

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable
    from typing import IO

# Where one stretch ends and the next begins: with the first line from each multiple of this on.
STRETCH = 1 << 20
# How far a stretch's last line may reach behind it; one that is longer is left to the check.
_OVER = 1 << 17
_ERASURE = ERASED.encode()
_PIPE = 1 << 20  # bytes, the most that anybody may ask for (pipe(7))
# On every Linux. `fcntl` names it from Python 3.10 on, and verify.py runs on 3.9 too.
_F_SETPIPE_SZ = 1031


@dataclass
class Run:
    """Neighbouring plain entries of one log: their hashes, and the instants of first and last.

    They begin at byte `begin` of what they were read from, and end at `end`.
    """

    log: bytes
    place: int
    begin: int
    end: int
    first: bytes
    last: bytes
    hashes: list[bytes]


def run(found: Iterable[re.Match[bytes]], after: Run | None = None, most: int = -1) -> Run | None:
    """The first of these entries as far as they are plain, `most` at most; None where none is.

    They have to continue `after`, where it is given.
    """
    taken: Run | None = None
    hashes: list[bytes] = []
    log, place, last = (after.log, after.place, after.last) if after else (None, None, b"")
    for parts in found:
        number, stated, values, body, commit, of, seq, time, kind = parts.groups()
        if place is None:
            log, place = of, int(seq)
        digest = sha256(b"\x00" + body).digest()
        if (
            number != seq
            or seq != b"%d" % place
            or of != log
            or time <= last
            or b2a_base64(digest, newline=False) != stated
            or kind == _ERASURE
            or len(hashes) == most
            or ((values or commit) and not _opened(values, commit))
        ):
            break
        if taken is None:
            taken = Run(of, place, parts.start(), 0, time, time, hashes)
        last, behind = time, parts.end()
        hashes.append(digest)
        place += 1
    if taken is not None:
        taken.last, taken.end = last, behind
    return taken


def _opened(values: bytes | None, commit: bytes | None) -> bool:
    """Whether these values, in their one form, are all that an entry commits to."""
    beside = leaf.parse(values or b"{}")
    made = leaf.parse(commit or b"{}")
    if beside is None or made is None or (values and leaf.canonical(beside) != values):
        return False
    if None in beside.values():  # erased, and counted the slow way
        return False
    return not leaf.value_faults({"commit": made}, beside)


class Ahead:
    """The stretches of a file, looked at by `processes` others in turn."""

    def __init__(self, file: IO[bytes], processes: int) -> None:
        import fcntl  # noqa: PLC0415 - this is for Linux alone, the file it is in for all

        context: Any = multiprocessing.get_context("fork")
        size = os.fstat(file.fileno()).st_size
        self._stretches = -(-size // STRETCH)
        self._told: list[Any] = []
        self._found: tuple[int, Run | None] = (-1, None)
        self._processes = []
        for own in range(processes):
            here, there = context.Pipe(duplex=False)
            # What is found of a stretch would fill an ordinary pipe: it would wait to be fetched.
            with suppress(OSError):  # one who has many pipes already gets no larger ones
                fcntl.fcntl(there.fileno(), _F_SETPIPE_SZ, _PIPE)
            numbers = range(own, self._stretches, processes)
            process = context.Process(
                target=_look, args=(file.fileno(), numbers, there), daemon=True
            )
            process.start()
            there.close()
            self._told.append(here)
            self._processes.append(process)

    def at(self, offset: int) -> Run | None:
        """The run that begins at this byte of the file, if one was found that does."""
        number = offset // STRETCH
        while self._found[0] < number < self._stretches:
            told = self._told[(self._found[0] + 1) % len(self._told)]
            try:
                place, fields = told.recv()
                self._found = (place, Run(**fields) if fields else None)
            except (EOFError, OSError):  # it was ended: the check looks itself
                self._found = (self._found[0] + 1, None)
        found = self._found[1]
        return found if found is not None and found.begin == offset else None

    def close(self) -> None:
        """End the processes."""
        for told in self._told:
            told.close()
        for process in self._processes:
            process.terminate()
            process.join()


def _look(file: int, numbers: Iterable[int], told: Any) -> None:
    """Tell of each of these stretches the run that it begins with."""
    for number in numbers:
        before = number * STRETCH - 1 if number else 0
        data = os.pread(file, STRETCH + _OVER, before)
        begin = data.find(b"\n") + 1 if number else 0
        found = run(lines.matches(lines.PLAIN, data, begin, (number + 1) * STRETCH - before))
        if found is not None:
            found.begin, found.end = found.begin + before, found.end + before
        # As a dictionary: verify.py makes `Run` within a function, and no pipe takes such a class.
        told.send((number, vars(found) if found else None))
    told.close()
