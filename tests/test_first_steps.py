"""The page of first steps, as it stands there: its commands in a shell, its links as a browser."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from html import unescape
from pathlib import Path

import pyotp
import pytest
import requests

from tests.client.test_example import free_port
from tests.factory import PASSWORD

PAGE = Path(__file__).parents[1] / "docs" / "first-steps.md"
SERVING = "govern serve\n"


class Shell:
    """One shell that runs the page's blocks, one after another; what they export stays."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GOVERN_")},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "GOVERN_PORT": str(port),
        }

    def run(self, block: str) -> str:
        """Run a block to its end; returns what it said."""
        kept = self.folder / ".exported"
        script = f"set -eu\n[ ! -e {kept} ] || . {kept}\n{block}\nexport -p > {kept}\n"
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self.environment,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


def activate(link: str) -> None:
    """Go through an activation link as a person does."""
    browser = requests.Session()

    def send(page: str, **typed: str) -> str:
        hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page)
        fields = {name: unescape(value) for name, value in hidden} | typed
        answer = browser.post(link, fields, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.text

    first = browser.get(link, timeout=30).text
    second = send(first, password=PASSWORD, password_again=PASSWORD)
    (secret,) = re.findall(r'<pre class="verbatim" id="secret">([^<]+)</pre>', second)
    seed = secret.replace(" ", "")
    third = send(second, code=pyotp.TOTP(seed).now())
    assert "Your account is ready." in send(third, saved="yes")


@pytest.mark.timeout(180)
def test_every_block_of_the_page_does_what_the_page_says(tmp_path: Path) -> None:
    shell = Shell(tmp_path, free_port())
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    admins, serving, catalogue, roster, pause, receipt, resume = blocks

    (link,) = re.findall(r"http://\S+/activate/\S+", shell.run(admins))
    assert serving == SERVING
    ready = link.partition("/activate/")[0] + "/readyz"
    with subprocess.Popen(
        ["bash", "-c", f". ./.exported; exec {serving}"],
        cwd=shell.folder, env=shell.environment,
    ) as server:  # fmt: skip
        try:
            until(ready, server)
            activate(link)
            shell.run(catalogue)
            assert "A grant in force allows this." in shell.run(roster)
            said = shell.run(pause)
            stopped = json.loads(said.splitlines()[0])
            assert stopped["grants"] == 2
            assert "The client is paused." in said
            shell.run(receipt)
            assert "ACME" in (shell.folder / "acme-receipt.html").read_text(encoding="utf-8")
            assert "A grant in force allows this." in shell.run(resume)
        finally:
            server.terminate()


def until(url: str, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server ended at once"
        try:
            if requests.get(url, timeout=2).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.05)  # it is starting: the bound above is what counts
    raise AssertionError("the server did not answer within a minute")
