"""The server's processes: Granian, with the followers beside it in its first process."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import pkgutil
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from govern.identity import passwords

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.cli.followers import Followers

# Seconds that a server process has for the answers under way.
_GRACE = 10
# Seconds that a thread may keep the interpreter when another wants it. A decision asks for it some
# ten times: at Python's own 0.005 it would wait for a page that is drawn beside it each time, as a
# pause's entries would for those that are found meanwhile.
_TURN = 0.0005
# Questions that wait together are answered together, so more threads than cores make less work.
_THREADS = 16


def server(application: str, *, host: str, port: int, one_writer: bool) -> Server:
    """The server of an application, given by the name of what makes it."""
    cores = os.cpu_count() or 1
    # Granian warns of more threads than cores; ours mostly wait, and are meant to.
    logging.getLogger("_granian").addFilter(lambda told: "Python threads" not in told.getMessage())
    return Server(
        application,
        factory=True,
        interface=Interfaces.WSGI,
        address=host,
        port=port,
        # The other half is the database's, and a process that has more to answer at once answers
        # more by one statement. SQLite has one writer: a second process would gain nothing there.
        workers=1 if one_writer else max(1, cores // 2),
        blocking_threads=_THREADS,
        websockets=False,
        log_level=LogLevels.warning,
        workers_kill_timeout=_GRACE,
    )


class Server(Granian):  # type: ignore[misc,valid-type]  # an alias, by the build of Python
    """Granian, with the followers in its first process, begun once the others were copied off it.

    A copy made while other threads run may hold their locks for ever.
    """

    followers: Followers | None = None

    def startup(
        self, spawn_target: Callable[..., None], target_loader: Callable[..., object]
    ) -> None:
        """Start the server's processes, then the followers."""
        super().startup(spawn_target, target_loader)
        if self.followers is not None:
            settle()
            self.followers.start()


def load(target: str) -> Callable[..., object]:
    """Make the application in a server process, which ends when `serve` itself was killed."""
    # The copied handler would only note, in this process, what the first one should do.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    application: Callable[..., object] = pkgutil.resolve_name(target)()
    passwords.hash_apart()
    settle()
    return application


def settle() -> None:
    """Let threads have their turn soon, and look for lost objects seldom and among new ones alone.

    Those that there are by now last as long as the process, and of what an answer leaves a page's
    statements alone are cycles, some 2,000 objects: to look at Python's own pace would cost more
    than it finds, and ten times more seldom than here would keep one page in 25 waiting for 80 ms.
    """
    sys.setswitchinterval(_TURN)
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000)


def _end_with_parent() -> None:
    # Without this a killed `serve` would leave its port taken, and its logs unsigned.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE)
        os._exit(1)
