"""Argon2, here or by a process of its own that gives way to everything else.

A thread that gives way would have to wait for a processor with the interpreter's lock in its hand,
and everybody in its process would wait with it; a process that gives way holds up nobody.
`python -m govern.hashing` is one: a question a line on its input, in JSON, and its answer.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import Future
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


class Process:
    """A process that hashes what it is asked, one after the other; begun anew should it end.

    Whatever waits is in its pipe already, so that it never waits for those that ask, who have to
    take turns at an interpreter. It ends with this process.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: _Begun | None = None

    def answer(self, asked: Question) -> Any:
        """The answer; `Unavailable` where one process after the other dies of it."""
        told = self._ask(asked) or self._ask(asked)
        if not told:
            raise errors.Unavailable("No password can be checked just now. Try again in a moment.")
        return json.loads(told)

    def _ask(self, asked: Question) -> bytes:
        with self._lock:
            if self._begun is None or self._begun.over:
                self._begun = _Begun()
            answer = self._begun.ask(json.dumps(asked).encode() + b"\n")
        return answer.result()


class _Begun:
    """A process under way, and those that wait for its answers, which come in their order."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "govern.hashing"]
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._lock = threading.Lock()
        self._waiting = deque[Future[bytes]]()
        self.over = False
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self, line: bytes) -> Future[bytes]:
        """Where the answer's line will be; an empty one if the process ends before."""
        answer: Future[bytes] = Future()
        with self._lock:
            if self.over:
                answer.set_result(b"")
                return answer
            self._waiting.append(answer)
            with suppress(OSError):  # it is gone, as who reads is told as well
                self._process.stdin.write(line)  # type: ignore[union-attr]  # it was asked for
                self._process.stdin.flush()  # type: ignore[union-attr]  # the same
        return answer

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._waiting.popleft().set_result(line)
        with self._lock:
            self.over = True
        self._process.wait()
        for answer in self._waiting:
            answer.set_result(b"")


def _serve(asked: IO[bytes], told: IO[bytes]) -> None:
    with suppress(AttributeError, OSError):  # not every system has them
        os.nice(_GIVES_WAY)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: it ends when its input does
    for line in asked:
        told.write(json.dumps(answer(Question(*json.loads(line)))).encode() + b"\n")
        told.flush()


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)
