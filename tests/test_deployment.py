"""The files of docs/deployment are what the page quotes, and they work: nginx, systemd."""

# debian: nginx systemd

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from govern import clock, config
from tests.factory import World
from tests.support import processes
from tests.support.processes import free_port

if TYPE_CHECKING:
    from govern.config import Settings

PAGE = Path(__file__).parents[1] / "docs" / "deployment.md"
FILES = PAGE.with_suffix("")
NAME = "govern.example"


def test_the_page_quotes_the_files_as_they_are() -> None:
    quoted = re.findall(r"^```\w+\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for name in ("govern.env", "govern.service", "nginx.conf", "postgresql.conf",
                 "govern-backup.service"):  # fmt: skip
        assert (FILES / name).read_text() in quoted, name
    for file in FILES.iterdir():
        assert f"(deployment/{file.name})" in PAGE.read_text(), file.name


def test_the_worker_is_the_same_unit_with_another_command() -> None:
    own, other = (
        set((FILES / f"{name}.service").read_text().splitlines())
        for name in ("govern", "govern-worker")
    )
    names = {line.partition("=")[0] for line in own ^ other if not line.startswith("#")}
    assert names == {"Description", "ExecStart", "Environment"}


def test_the_settings_are_settings() -> None:
    words = (FILES / "govern.env").read_text()
    found = config.from_environment(dict(re.findall(r'^(\w+)="(.*)"$', words, re.MULTILINE)))
    assert (found.secure, found.followers, found.origin) == (True, False, NAME)


def _certificate(folder: Path) -> None:
    """A certificate for `NAME` that signs itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = clock.utcnow()
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name)
        .public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "fullchain.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )  # fmt: skip


def _configured(folder: Path, plain: int, secure: int, nodes: list[int]) -> Path:
    """The page's configuration with this machine's ports and certificate put in."""
    words = (FILES / "nginx.conf").read_text()
    for old, new in (
        ("10.0.0.11:8000", f"127.0.0.1:{nodes[0]}"), ("10.0.0.12:8000", f"127.0.0.1:{nodes[1]}"),
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{secure} ssl;"),
        ("    listen [::]:80;\n", ""), ("    listen [::]:443 ssl;\n", ""),
        ("/etc/ssl/govern/", f"{folder}/"),
    ):  # fmt: skip
        assert old in words, old
        words = words.replace(old, new)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = folder / "nginx.conf"
    file.write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{words}\n}}\n"
    )
    folder.chmod(0o755)
    return file


def _send(
    context: ssl.SSLContext | None, port: int, asked: str, body: Any = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, str], bytes]:  # fmt: skip
    """A request to `NAME`, answered on a port of this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.connect()
    if context is not None:
        connection.sock = context.wrap_socket(connection.sock, server_hostname=NAME)
    given = {"Host": NAME, **(headers or {})}
    if body is not None:
        given["Content-Type"] = "application/json"
    method, path = asked.split(" ")
    connection.request(method, path, None if body is None else json.dumps(body), given)
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.headers.items()}
    told = answer.read()
    connection.close()
    return *found, told


@pytest.mark.system
def test_nginx_is_in_front_of_two_nodes_as_the_page_says(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    project = world.project("Kingfisher", client=world.client("ASTER"))
    person = world.subject("ada")
    world.grant(person, project)
    tool, secret = world.integration(scopes=("decision",))
    basic = "Basic " + base64.b64encode(f"{tool.id}:{secret}".encode()).decode()
    public = replace(settings, public_url=f"https://{NAME}")
    plain, secure, nodes = free_port(), free_port(), [free_port(), free_port()]
    folder = tmp_path / "nginx"
    folder.mkdir()
    _certificate(folder)
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "nginx is not installed"
    context = ssl.create_default_context(cafile=str(folder / "fullchain.pem"))
    with ExitStack() as stack:
        served = [stack.enter_context(processes.govern(public, port)) for port in nodes]
        file = _configured(folder, plain, secure, nodes)
        stack.enter_context(
            processes.running([program, "-e", folder / "error.log", "-c", file], plain)
        )
        moved = _send(None, plain, "GET /people?x=1")
        assert (moved[0], moved[1]["location"]) == (301, f"https://{NAME}/people?x=1")
        assert json.loads(_send(context, secure, "GET /readyz")[2])["status"] == "ready"

        # What the caller claims of itself changes nothing.
        lies = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
        status, headers, page = _send(context, secure, "GET /sign-in", headers=lies)
        assert status == 200
        assert headers["strict-transport-security"].startswith("max-age=")
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["set-cookie"].startswith("__Host-")
        assert "secure" in headers["set-cookie"].lower()
        assert b"evil.example" not in page
        metadata = _send(context, secure, "GET /.well-known/authzen-configuration", None, lies)
        assert json.loads(metadata[2])["policy_decision_point"] == f"https://{NAME}"

        question = {
            "subject": {"type": "user", "id": "ada"}, "action": {"name": "read"},
            "resource": {"type": "project", "id": "Kingfisher"},
        }  # fmt: skip

        def permits() -> bool:
            status, _, told = _send(
                context, secure, "POST /access/v1/evaluation", question,
                {"Authorization": basic},
            )  # fmt: skip
            assert status == 200
            return bool(json.loads(told)["decision"])

        assert all(permits() for _ in range(4))
        # A node that dies is noticed by nobody.
        served[0].kill()
        served[0].wait()
        assert all(permits() for _ in range(6))
        for _ in range(4):
            assert _send(context, secure, "GET /sign-in")[0] == 200
        world.suspend("client:ASTER")
        assert not any(permits() for _ in range(4))


@pytest.mark.system
def test_systemd_verifies_the_units_and_finds_them_shut(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    assert program, "systemd is not installed"
    command = Path(sys.executable).with_name("govern")
    for file in FILES.glob("*.*"):
        if file.suffix in {".service", ".timer"}:
            words = file.read_text().replace("/opt/govern/bin/govern", str(command))
            (tmp_path / file.name).write_text(words)
    units = sorted(str(file) for file in tmp_path.iterdir())
    done = subprocess.run(
        [program, "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "govern" in line]
    assert (done.returncode, ours) == (0, [])
    for name in ("govern.service", "govern-worker.service", "govern-backup.service"):
        shut = subprocess.run(
            [program, "security", "--offline=yes", "--threshold=20", "--no-pager",
             str(FILES / name)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert shut.returncode == 0, shut.stdout[-300:]
