"""Argon2, here or by processes of their own that give way to everything else.

A thread that gives way would have to wait for a processor with the interpreter's lock in its hand,
and everybody in its process would wait with it; a process that gives way holds up nobody.
`python -m govern.hashing` is one: a question a line on its input, in JSON, and its answer.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
from contextlib import suppress
from typing import IO, Any, NamedTuple

import argon2

from govern import errors

_GIVES_WAY = 12  # nice(2): a fifteenth of the weight of whoever else wants the processor


class Question(NamedTuple):
    """A password to hash at a cost, or to hold to what is `stored` of it."""

    password: str  # in hexadecimal digits of its UTF-8
    stored: str | None
    time_cost: int  # passes
    memory_cost: int  # KiB
    parallelism: int


def answer(asked: Question) -> Any:
    """The hash, or whether it is the one that is stored."""
    password = bytes.fromhex(asked.password)
    hasher = argon2.PasswordHasher(
        time_cost=asked.time_cost, memory_cost=asked.memory_cost, parallelism=asked.parallelism
    )
    if asked.stored is None:
        return hasher.hash(password)
    try:
        return hasher.verify(asked.stored, password)
    except argon2.exceptions.VerificationError:
        return False


class Processes:
    """Processes that hash, each one question at a time; begun when needed, they end with this."""

    def __init__(self, number: int) -> None:
        self._idle = queue.LifoQueue["subprocess.Popen[bytes] | None"]()
        for _ in range(number):
            self._idle.put(None)

    def answer(self, asked: Question) -> Any:
        """The same, by the first that is idle; `Unavailable` where one after the other dies."""
        process = self._idle.get()
        try:
            told = _told(process, asked)
            if not told:
                if process is not None:
                    process.kill()
                    process.wait()
                process = _started()
                told = _told(process, asked)
        finally:
            self._idle.put(process)
        if not told:
            raise errors.Unavailable("No password can be checked just now. Try again in a moment.")
        return json.loads(told)


def _started() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "govern.hashing"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - ourselves


def _told(process: subprocess.Popen[bytes] | None, asked: Question) -> bytes:
    """The answer's line; empty where the process is not there, or no more."""
    if process is None or process.stdin is None or process.stdout is None:
        return b""
    given, told = process.stdin, process.stdout
    try:
        given.write(json.dumps(asked).encode() + b"\n")
        given.flush()
        return told.readline()
    except OSError:
        return b""


def _serve(asked: IO[bytes], told: IO[bytes]) -> None:
    with suppress(AttributeError, OSError):  # not every system has them
        os.nice(_GIVES_WAY)
        # To take a processor back from another takes up to some milliseconds, however it gives way:
        # a half of them is never taken.
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, processors[: max(1, len(processors) // 2)])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: it ends when its input does
    for line in asked:
        told.write(json.dumps(answer(Question(*json.loads(line)))).encode() + b"\n")
        told.flush()


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)
