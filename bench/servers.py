"""Servers to measure: govern, a view that does nothing, the barest decision, and Cerbos."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from flask import Flask

from bench.bare import TABLE, URL
from govern.cli.serving import server
from tests.support import nodejs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from govern.db import Database

# What servers say of themselves: of one that does not answer the end of it is shown.
_told = tempfile.TemporaryFile()  # noqa: SIM115 - as long as this process
_SERVE = [sys.executable, "-m", "govern.cli", "serve"]
_UNDER_IT = [sys.executable, "-m", "bench.servers"]
_LOCKED = Path(__file__).parent.parent / "requirements" / "cerbos"
_CERBOS = """
server: {{httpListenAddr: "127.0.0.1:{port}", grpcListenAddr: "127.0.0.1:{other}",
  requestLimits: {{maxResourcesPerRequest: 500}}}}
storage: {{driver: disk, disk: {{directory: "{folder}/policies"}}}}
audit: {{enabled: true, accessLogsEnabled: false, decisionLogsEnabled: true, backend: local,
  local: {{storagePath: "{folder}/audit"}}}}
telemetry: {{disabled: true}}
"""
_POLICY = """
apiVersion: api.cerbos.dev/v1
resourcePolicy:
  version: default
  resource: project
  rules:
    - {actions: [read, annotate, log_hours], effect: EFFECT_ALLOW, roles: [annotator],
       condition: {match: {expr: R.id in P.attr.projects}}}
"""


@contextmanager
def govern(database: Database) -> Iterator[str]:
    """`govern serve`, followers and all."""
    with serving(database) as (url, _):
        yield url


@contextmanager
def serving(database: Database) -> Iterator[tuple[str, int]]:
    """The same with the id of its first process, in which the followers are."""
    port = free_port()
    with _running(_SERVE, port, _environment(database, port)) as process:
        yield f"http://127.0.0.1:{port}", process


def started(database: Database, port: int) -> subprocess.Popen[bytes]:
    """`govern serve` as a process group of its own, once it answers."""
    process = _start(_SERVE, _environment(database, port), apart=True)
    _wait_until_ready(process, port)
    return process


def _environment(database: Database, port: int) -> dict[str, str]:
    settings = database.settings
    return {
        "GOVERN_DATA_DIR": str(settings.data_dir),
        "GOVERN_DATABASE_URL": settings.database_url,
        "GOVERN_PORT": str(port),
        "GOVERN_PUBLIC_URL": settings.public_url,
    }


@contextmanager
def idle(database: Database) -> Iterator[str]:
    """A Flask view that does nothing, under the same server."""
    port = free_port()
    kind = "postgresql" if database.is_postgresql else "sqlite"
    with _running([*_UNDER_IT, "bench.servers:nothing", str(port), kind], port, {}):
        yield f"http://127.0.0.1:{port}/"


@contextmanager
def bare(database: Database) -> Iterator[str | None]:
    """The least that a recorded decision takes, under the same server; None on SQLite."""
    if not database.is_postgresql:
        yield None
        return
    url = database.settings.database_url.replace("+psycopg", "", 1)
    with psycopg.connect(url) as connection:
        connection.execute(TABLE)
    port = free_port()
    command = [*_UNDER_IT, "bench.bare:app", str(port), "postgresql"]
    with _running(command, port, {URL: url}):
        yield f"http://127.0.0.1:{port}/"


@contextmanager
def cerbos() -> Iterator[str | None]:
    """Cerbos with its decision log on, told every attribute; None where it is not to be had."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        folder = Path(made)
        try:
            modules = nodejs.install(_LOCKED, folder / "npm")
        except RuntimeError:
            yield None
            return
        program = modules / "@cerbos" / "cerbos-linux-x64" / "cerbos-linux-x64"
        port = free_port()
        (folder / "policies").mkdir()
        (folder / "policies" / "project.yaml").write_text(_POLICY)
        (folder / "cerbos.yaml").write_text(
            _CERBOS.format(port=port, other=free_port(), folder=folder)
        )
        with _running([str(program), "server", f"--config={folder}/cerbos.yaml",
                       "--log-level=error"], port, {}):  # fmt: skip
            yield f"http://127.0.0.1:{port}"


@contextmanager
def _running(command: list[str], port: int, environment: dict[str, str]) -> Iterator[int]:
    process = _start(command, environment)
    try:
        _wait_until_ready(process, port)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def _start(
    command: list[str], environment: dict[str, str], *, apart: bool = False
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=_told,
        start_new_session=apart,
    )


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
        except urllib.error.HTTPError:
            return  # it answers: that is enough
        except OSError:
            time.sleep(0.05)
        else:
            return
    _told.seek(max(0, os.fstat(_told.fileno()).st_size - 2000))
    said = _told.read().decode(errors="replace")
    raise SystemExit(f"bench: {process.args!r} does not answer (status {process.poll()}):\n{said}")


def free_port() -> int:
    """A port that nobody listened on just now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def nothing() -> Flask:
    """The application that does nothing."""
    app = Flask("bench")
    app.add_url_rule("/", view_func=lambda: {"decision": True}, methods=["GET", "POST"])
    return app


if __name__ == "__main__":
    server(
        sys.argv[1],
        host="127.0.0.1",
        port=int(sys.argv[2]),
        one_writer=sys.argv[3] == "sqlite",
    ).serve()
