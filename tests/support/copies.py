"""A process to be killed: a copy of this one, which need not find and read all its modules anew."""

from __future__ import annotations

import os
import signal
import traceback
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def copy(work: Callable[[Callable[[object], Any]], object]) -> Iterator[IO[bytes]]:
    """Run `work(tell)` in a process of its own, to be killed at the end of the block at the latest.

    What it tells are the lines of the file given. It should open what it needs for itself: what
    is open here, such as a connection, is this process's alone.
    """
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        _live(work, writing)
    os.close(writing)
    try:
        with open(reading, "rb") as told:  # noqa: PTH123 - a pipe has no path
            yield told
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def _live(work: Callable[[Callable[[object], Any]], object], writing: int) -> NoReturn:
    """Do the work and end, whatever happens; nothing of what was to be done here is done again."""
    status = 1
    try:
        work(lambda words: os.write(writing, f"{words}\n".encode()))
        status = 0
    except BaseException:  # noqa: BLE001 - it is shown, and there is nobody to raise it to
        traceback.print_exc()
    finally:
        os._exit(status)
