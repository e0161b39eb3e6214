"""Programs that a test runs beside itself, on ports of this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from govern.config import Settings


def free_port() -> int:
    """A port that nobody listened on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str | Path], port: int, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A program that listens on a port, until the end of the block."""
    with subprocess.Popen(command, **more) as process:
        try:
            deadline = time.monotonic() + 60
            while True:
                assert process.poll() is None, f"{command[0]} ended at once"
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert time.monotonic() < deadline
                time.sleep(0.02)  # it is starting: the bound above is what counts
            yield process
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def govern(settings: Settings, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`govern serve` over a test's own database."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("GOVERN_")},
        "GOVERN_DATA_DIR": str(settings.data_dir),
        "GOVERN_DATABASE_URL": settings.database_url,
        "GOVERN_PORT": str(port),
        **({"GOVERN_PUBLIC_URL": settings.public_url} if settings.secure else {}),
    }
    command: list[str | Path] = [sys.executable, "-m", "govern.cli", "serve"]
    with running(command, port, env=environment) as process:
        yield process
