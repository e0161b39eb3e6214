"""A primary and a streaming replica of PostgreSQL, made to fail: for tests of several nodes.

`kill` ends all of one in one instant, as a power cut would. Both are made for one block and gone
after it.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from tests.support import postgres
from tests.support.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

STANDBY = "standby"
# A process that is killed loses nothing by the first three; what a commit waits for is the point.
SETTINGS = [
    "fsync=off",
    "full_page_writes=off",
    "autovacuum=off",
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=120",
    "scram_iterations=1",
    "wal_receiver_status_interval=1",
]


@dataclass
class Node:
    """One server: where it listens, and the process that it is."""

    data: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        """End it and all its backends at once; it gets to write nothing more."""
        assert self.process is not None
        pid = self.process.pid
        os.kill(pid, signal.SIGSTOP)  # it begins no more of them
        # Each backend leads a group of its own, and would otherwise notice only when it next waits.
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        backends = list(map(int, children))
        for each in (pid, *backends):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        self.process.wait()
        # Whoever starts it again is refused while one of them still has its memory.
        while any(map(_runs, backends)):
            time.sleep(0.005)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}


@dataclass
class Pair:
    """A primary and its replica."""

    home: Path
    password: str
    programs: Path
    primary: Node
    replica: Node
    nodes: list[Node] = field(default_factory=list)

    def url(self, *nodes: Node, database: str = "govern", more: str = "") -> str:
        """The address in the form that Settings take: of the first of these that takes writes."""
        hosts = "&".join(f"host=127.0.0.1:{node.port}" for node in nodes)
        return f"postgresql+psycopg://govern:{self.password}@/{database}?{hosts}{more}"

    def query(self, node: Node, statement: str, database: str = "postgres") -> Any:
        """Run one statement; gives its first value, if any."""
        with psycopg.connect(
            host="127.0.0.1", port=node.port, user="govern", password=self.password,
            dbname=database, autocommit=True,
        ) as connection:  # fmt: skip
            done = connection.execute(statement.encode())
            row = done.fetchone() if done.description else None
        return row[0] if row else None

    def synchronous(self) -> None:
        """Let no commit be acknowledged from now on before the replica has it on disk."""
        self.query(self.primary, f"ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'")
        self.query(self.primary, "SELECT pg_reload_conf()")
        self.wait("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'", 1)

    def promote(self) -> None:
        """Make the replica the primary."""
        assert self.query(self.replica, "SELECT pg_promote()")

    def wait(self, statement: str, wanted: object) -> None:
        """Wait until the primary says so."""
        deadline = time.monotonic() + 60
        while self.query(self.primary, statement) != wanted:
            assert time.monotonic() < deadline, statement
            time.sleep(0.02)

    def start(self, node: Node, *settings: str) -> None:
        """Start a server, and wait until it answers."""
        words = [word for setting in (*SETTINGS, *settings) for word in ("-c", setting)]
        command = [str(self.programs / "bin" / "postgres"), "-D", str(node.data)]
        node.process = subprocess.Popen(
            [*command, "-p", str(node.port), *words],
            cwd=self.home, stdout=subprocess.DEVNULL, stderr=(self.home / "log").open("ab"),
            start_new_session=True, **_as_nobody(),
        )  # fmt: skip
        self.nodes.append(node)
        ready = [str(self.programs / "bin" / "pg_isready"), "-q", "-h", "127.0.0.1"]
        deadline = time.monotonic() + 60
        while subprocess.run([*ready, "-p", str(node.port)], check=False).returncode:
            ended = node.process.poll() is not None or time.monotonic() > deadline
            assert not ended, (self.home / "log").read_text()
            time.sleep(0.02)


def _as_nobody() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    return {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}


@contextmanager
def pair() -> Iterator[Pair]:
    """A primary with an empty database `govern`, and a replica that streams from it."""
    home = Path(tempfile.mkdtemp(prefix="govern-pair-"))
    with ExitStack() as ending:
        ending.callback(shutil.rmtree, home, ignore_errors=True)
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(home, nobody.pw_uid, nobody.pw_gid)
        programs = postgres._reachable(
            postgres.programs(), home, "nobody" if os.geteuid() == 0 else None
        )
        password = secrets.token_hex(16)
        made = Pair(
            home, password, programs,
            Node(home / "primary", free_port()), Node(home / STANDBY, free_port()),
        )  # fmt: skip
        ending.callback(_end, made)
        secret = home / "password"
        secret.write_text(password)
        how = {"cwd": home, "stdout": subprocess.DEVNULL} | _as_nobody()
        subprocess.run(
            [programs / "bin" / "initdb", "-D", made.primary.data, "--username=govern",
             "--locale=C", "--encoding=UTF8", "--auth=scram-sha-256", f"--pwfile={secret}",
             "--no-sync", "--no-instructions"],
            check=True, **how,
        )  # fmt: skip
        made.start(made.primary)
        made.query(made.primary, "CREATE DATABASE govern")
        subprocess.run(
            [programs / "bin" / "pg_basebackup", "-D", made.replica.data, "-R", "--no-sync",
             "--checkpoint=fast", "-h", "127.0.0.1", "-p", str(made.primary.port), "-U", "govern"],
            check=True, env={**os.environ, "PGPASSWORD": password}, **how,
        )  # fmt: skip
        made.start(made.replica, f"cluster_name={STANDBY}")
        made.wait("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", 1)
        yield made


def _end(made: Pair) -> None:
    for node in made.nodes:
        if node.process is not None and node.process.poll() is None:
            node.kill()
