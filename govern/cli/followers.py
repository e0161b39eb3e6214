"""The followers: they sign and seal what the logs gained, and write what is owed to them.

A pause still owes its grants' entries, a resume comes due, access that was asked for dies, people
are owed a mail about it, auditors files that they asked for, and witnesses and receivers what was
signed; what is past its time in the access log has to go, and so have tokens that expired.
Each goes round in a thread of its own, so that a pause with many particulars delays no signature.
An error is logged as one line and waited out, ever longer; nothing but the order to stop ends them.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from govern.access import asking, bulk, concerning, ending, suspensions, tokens
from govern.audit import expiry, exporting, sealing
from govern.audit.signer import Signer
from govern.db import Planning
from govern.identity import recovery, resets, sessions, throttle
from govern.principal import SYSTEM
from govern.signals import mail, streams, witnesses

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.db import Database

# An entry is signed at most a second after it was written.
SIGN_EVERY = 0.5
# A pause of 10,000 grants is to be complete a quarter of a second after the click.
WRITE_EVERY = 0.025
# What ended denies from its commit; the entries that follow are not for anyone who waits.
END_EVERY = 0.25
# How many people that concerned can wait, and goes on in a thread of its own.
TALLY_EVERY = 1.0
# What was ordered over a whole list goes on in a thread of its own, so that no pause waits for it.
ACT_EVERY = 0.25
CLEAR_EVERY = 60.0
PLAN_EVERY = 60.0
# A resume that is due is late by this at most; nothing ever comes early.
RESUME_EVERY = 5.0
# What nothing can come of any more is refused at once, and told to who asked by then.
TEND_EVERY = 5.0
# A row is sealed at most five seconds after it was written, by one node however many there are.
SEAL_EVERY = 2.0
SEALS_APART = timedelta(seconds=2)
EXPIRE_EVERY = 600.0
MAIL_EVERY = 2.0
WITNESS_EVERY = 1.0
STREAM_EVERY = 1.0
EXPORT_EVERY = 1.0
HOUSE_EVERY = 2.0
LONGEST_WAIT = 30.0
# But what one pause owes is not to wait long for what is wrong with another's.
LONGEST_BETWEEN_PARTICULARS = 1.0
NICENESS = 10


def _logger() -> structlog.typing.FilteringBoundLogger:
    """A line of JSON on stderr for each thing that happens."""
    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(),
    ]
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr), processors=processors
    )
    return logger


def _go_second() -> None:
    """Let who answers questions have the processor first: on Linux a thread has its own rank."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        rank = max(os.getpriority(os.PRIO_PROCESS, thread), NICENESS)
        os.setpriority(os.PRIO_PROCESS, thread, rank)


def _clear(database: Database) -> None:
    """Drop expired tokens, links and files whose time is over, and quiet counts of strangers."""
    tokens.clear(database)
    database.transaction(resets.forget_lapsed)
    database.transaction(recovery.forget_lapsed)
    database.transaction(throttle.forget_quiet)
    database.transaction(sessions.forget_lapsed)
    database.transaction(bulk.forget)
    exporting.clear(database)


class _Stopped(Exception):
    """The order to stop came in the middle of a long task, between two of its commits."""


class Followers:
    """Started once, stopped once; `stop` waits until what is under way is committed."""

    def __init__(self, database: Database) -> None:
        self._log = _logger()
        self._stopping = threading.Event()
        signer, house = Signer(database.settings), concerning.Rounds(database)
        planning = Planning(database)

        def go_on(_: int) -> None:
            if self._stopping.is_set():
                raise _Stopped

        def resume() -> None:
            suspensions.resume_due(database, progress=go_on)

        def tend() -> None:
            asking.tend(database, progress=go_on)

        def seal() -> None:
            sealing.seal(database, apart=SEALS_APART, progress=go_on)

        def expire() -> None:
            before = expiry.horizon(database)
            if before is not None:
                expiry.expire(database, before, by=SYSTEM, progress=go_on)

        def tell() -> None:
            mail.work(database, progress=go_on)

        tally = suspensions.tallying.tally
        self._threads = [
            threading.Thread(target=self._round, args=(name, work, pause), name=name, daemon=True)
            for name, work, pause in (
                ("signer", lambda: signer.sign(database), SIGN_EVERY),
                (
                    "particulars",
                    lambda: suspensions.particulars.write(database, progress=go_on),
                    WRITE_EVERY,
                ),
                ("endings", lambda: ending.write(database, progress=go_on), END_EVERY),
                ("tallies", lambda: tally(database, progress=go_on), TALLY_EVERY),
                ("acts", lambda: bulk.write(database, progress=go_on), ACT_EVERY),
                ("tokens", lambda: _clear(database), CLEAR_EVERY),
                ("planning", lambda: planning.follow(progress=go_on), PLAN_EVERY),
                ("resumes", resume, RESUME_EVERY),
                ("house", lambda: house.follow(progress=go_on), HOUSE_EVERY),
                ("requests", tend, TEND_EVERY),
                ("seals", seal, SEAL_EVERY),
                ("expiry", expire, EXPIRE_EVERY),
                ("witnesses", lambda: witnesses.push(database, progress=go_on), WITNESS_EVERY),
                ("streams", lambda: streams.push(database, progress=go_on), STREAM_EVERY),
                ("exports", lambda: exporting.work(database, progress=go_on), EXPORT_EVERY),
                ("mail", tell, MAIL_EVERY if database.settings.smtp_url else CLEAR_EVERY),
            )
        ]

    def start(self) -> None:
        """Begin to follow."""
        for thread in self._threads:
            thread.start()
        self._log.info("followers started")

    def stop(self) -> None:
        """Stop following; returns when all are done."""
        self._stopping.set()
        for thread in self._threads:
            if thread.ident is not None:  # started
                thread.join()
        self._log.info("followers stopped")

    def _round(self, name: str, work: Callable[[], None], pause: float) -> None:
        _go_second()
        wait = pause
        while not self._stopping.is_set():
            try:
                work()
            except _Stopped:
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, the next round may do better
                longest = LONGEST_BETWEEN_PARTICULARS if name == "particulars" else LONGEST_WAIT
                wait = min(max(wait * 2, 1.0), longest)
                words = str(error).strip().split("\n")[0]
                with suppress(OSError, ValueError):  # nobody reads what is said any more
                    self._log.error(
                        "follower failed", follower=name, error=type(error).__name__, words=words,
                        again_in=wait,
                    )  # fmt: skip
            else:
                wait = pause
            self._stopping.wait(wait)
