"""The example of docs/client.md, as it stands there, before a real govern: open, paused, down."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from govern.client import UNAVAILABLE, Client, Question
from tests.factory import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from govern.config import Settings

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@contextmanager
def process(port: int, *words: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that listens on a port; it ends with the block whatever happens."""
    whole = {**os.environ, **environment}
    with subprocess.Popen([sys.executable, *words], cwd=ROOT, env=whole) as running:
        try:
            deadline = time.monotonic() + 60
            while True:
                assert running.poll() is None, "it ended"
                assert time.monotonic() < deadline, "it did not listen in time"
                with socket.socket() as client:
                    if client.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield running
        finally:
            running.kill()


@pytest.mark.web_alone  # a client knows no database; tests/test_cli.py serves from both
def test_the_ten_lines_serve_until_the_pause_and_never_without_govern(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "client.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    lines = [line for line in example.splitlines() if line.strip()]
    assert sum(not line.startswith(("import", "from")) for line in lines) <= 10
    (tmp_path / "service.py").write_text(example)

    project = world.project("Kingfisher")
    world.dataset(project, "kingfisher-audio", type="bucket")
    world.grant(world.subject("ada"), project)
    row, secret = world.integration("data service")
    ports = free_port(), free_port()
    url = f"http://127.0.0.1:{ports[0]}"

    def get(person: str | None) -> tuple[int, Any]:
        headers = {"X-User": person} if person else {}
        answer = requests.get(f"http://127.0.0.1:{ports[1]}/", headers=headers, timeout=30)
        told = answer.json() if "json" in answer.headers["Content-Type"] else answer.text
        return answer.status_code, told

    with ExitStack() as stack:
        govern = stack.enter_context(process(
            ports[0], "-m", "govern.cli", "serve", GOVERN_PORT=str(ports[0]),
            GOVERN_DATA_DIR=str(settings.data_dir), GOVERN_DATABASE_URL=settings.database_url,
        ))  # fmt: skip
        stack.enter_context(process(
            ports[1], str(tmp_path / "service.py"), PORT=str(ports[1]), GOVERN_URL=url,
            CLIENT_ID=row.id, CLIENT_SECRET=secret,
        ))  # fmt: skip
        assert get("ada") == (200, "what the client entrusted to us\n")
        assert get("bob")[0] == 403
        assert get(None)[0] == 403

        client = Client(url, row.id, secret, timeout=30)
        asked = [Question(who, "read", "project:Kingfisher") for who in ("ada", "bob")]
        assert [each.permit for each in client.ask_many(asked)] == [True, False]
        guessed = Client(url, row.id, "guessed", timeout=30)
        assert guessed.ask(asked[0]).reason == UNAVAILABLE

        world.suspend("project:Kingfisher")
        status, told = get("ada")
        assert (status, told["reason"]) == (403, "project_paused")
        assert told["message"] == "The project is paused."
        assert client.ask(asked[0]).reason == "project_paused"

        govern.kill()
        govern.wait()
        deadline = time.monotonic() + 30
        # The server's workers end a moment after their parent.
        while (told := get("ada"))[0] != 503 and time.monotonic() < deadline:
            assert told[0] == 403
        assert told[0] == 503
        assert told[1]["reason"] == UNAVAILABLE
        assert client.ask(asked[0]).reason == UNAVAILABLE
