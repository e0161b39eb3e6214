"""dev.py sets a checkout up by hash, and the support around it ends what it starts."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import tomllib
from pathlib import Path
from types import ModuleType

import psycopg
import pytest

from tests.support import browser, nodejs, postgres

ROOT = Path(__file__).resolve().parents[1]
LOCKS = sorted((ROOT / "requirements").rglob("*.txt")) + sorted(
    (ROOT / "requirements").rglob("package-lock.json")
)


@pytest.fixture
def dev() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dev", ROOT / "dev.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wanted(lines: list[str]) -> set[str]:
    """Give the requirements without their reasons."""
    bare = (line.split("#")[0].strip() for line in lines)
    return {line for line in bare if line and not line.startswith("-")}


# Requirements


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_no_lock_holds_an_address(lock: Path) -> None:
    assert "://" not in lock.read_text()


def test_the_bill_of_materials_is_valid_and_names_all_that_is_served(dev: ModuleType) -> None:
    # Its import takes seconds of grammars, which no other test needs.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    bill = dev.bill_of_materials()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill | {"x": 1}))
    named = {part["purl"] for part in bill["components"]}
    lock = (ROOT / "requirements" / "runtime.txt").read_text()
    pinned = re.findall(r"^([a-z0-9._-]+)(?:\[.*\])?==([^ ;\\]+)", lock, re.MULTILINE)
    assert len(pinned) > 30
    assert {f"pkg:pypi/{name}@{version}" for name, version in pinned} <= named
    told = json.dumps(bill)
    assert set(re.findall("--hash=sha256:([0-9a-f]{64})", lock)) <= set(
        re.findall("[0-9a-f]{64}", told)
    )
    vendored = (ROOT / "govern" / "web" / "static" / "vendor" / "SHA256SUMS").read_text()
    for line in vendored.splitlines():
        digest, name = line.split()
        assert name.startswith("LICENSE") or digest in told, name


def test_every_locked_package_has_its_hash(dev: ModuleType) -> None:
    dev.check_requirements()


def test_a_lock_with_an_address_or_without_a_hash_is_refused(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    monkeypatch.setattr(dev, "REQUIREMENTS", tmp_path)
    lock = tmp_path / "runtime.txt"
    lock.write_text("--index-url https://example.org/simple\na==1 \\\n    --hash=sha256:0\n")
    with pytest.raises(SystemExit, match="address"):
        dev.check_requirements()
    lock.write_text("a==1 \\\n    --hash=sha256:0\nb==2\n")
    with pytest.raises(SystemExit, match="no hash for b==2"):
        dev.check_requirements()


@pytest.mark.parametrize("name", ["uv", "runtime", "build", "dev"])
def test_every_requirement_says_why_it_is_there(name: str) -> None:
    for line in (ROOT / "requirements" / f"{name}.in").read_text().splitlines():
        assert line.startswith("-r ") or re.search(r"(^|  )# \S+", line), line


def test_the_package_asks_for_what_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "requirements" / "runtime.in").read_text().splitlines()
    assert set(project["dependencies"]) == wanted(lines)


def test_tests_run_with_the_versions_that_serve() -> None:
    def pins(name: str) -> set[str]:
        text = (ROOT / "requirements" / name).read_text()
        return set(re.findall(r"^(\S+==\S+)", text, flags=re.MULTILINE))

    assert pins("runtime.txt") <= pins("dev.txt")
    assert pins("build.txt") <= pins("dev.txt")


# dev.py


def test_a_python_without_venv_is_told_what_to_install(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ensurepip" else found(name)
    )
    with pytest.raises(SystemExit, match=r"no ensurepip; .*apt-get install python3-venv"):
        dev.require_python()


def test_a_python_that_is_too_old_is_told_so(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    with pytest.raises(SystemExit, match=r"needs Python 3\.11 or newer; this is 3\.10\.4"):
        dev.require_python()


def test_a_changed_lock_asks_for_a_new_set_up(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("uv.txt", "dev.txt", "pyproject.toml"):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    monkeypatch.setattr(dev, "REQUIREMENTS", tmp_path)
    before = dev.digest(("dev",))
    assert dev.digest(("dev",)) == before
    (tmp_path / "dev.txt").write_text("changed")
    assert dev.digest(("dev",)) != before


def test_where_pip_was_told_to_look_is_handed_on_to_uv(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_", "SSL_CERT"))]:
        monkeypatch.delenv(name)
    settings = tmp_path / "pip.conf"
    settings.write_text(
        "[global]\nindex-url = file:///a\nextra-index-url = file:///b\n    file:///c\n"
        "find-links = /wheels\ncert = /ca.pem\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    monkeypatch.setenv("UV_FIND_LINKS", "/mine")
    # pip reads the machine's own files too; this one, named by the reader, is read last.
    assert {"UV_DEFAULT_INDEX": "file:///a", "UV_INDEX": "file:///b file:///c"}.items() <= (
        dev.indexes().items()
    )
    assert dev.indexes()["SSL_CERT_FILE"] == "/ca.pem"
    assert "UV_FIND_LINKS" not in dev.indexes()


@pytest.mark.parametrize("words", [["nonsense"], ["check", "--fast"], []])
def test_a_mistyped_command_is_a_usage_error(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "dev.py", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "usage: dev.py" in done.stderr


# PostgreSQL


def ended(pid: int) -> bool:
    """Wait until the process is gone, for ten seconds at most."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if "State:\tZ" in Path(f"/proc/{pid}/status").read_text():
            return True
        time.sleep(0.02)
    return False


def test_a_database_is_a_copy_of_its_template_and_can_be_dropped_under_its_users() -> None:
    with postgres.server() as server:
        template = server.create_database()
        with psycopg.connect(template.replace("+psycopg", "")) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        copy = server.create_database(template)
        connection = psycopg.connect(copy.replace("+psycopg", ""), autocommit=True)
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)
        server.drop_database(copy)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")


def test_a_durable_server_writes_through_and_is_version_18() -> None:
    with (
        postgres.server(durable=True) as server,
        psycopg.connect(server.url("postgres").replace("+psycopg", "")) as connection,
    ):
        asked = "SELECT current_setting('fsync'), current_setting('server_version_num')::int"
        assert connection.execute(asked).fetchone() == ("on", pytest.approx(180000, abs=9999))


def test_the_server_ends_when_its_last_user_is_killed(tmp_path: Path) -> None:
    """SIGKILL leaves no time for cleaning up, and servers left behind would fill the machine."""
    program = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from tests.support import postgres
        server = postgres.shared(Path(sys.argv[1]))
        print(server.port, flush=True)
        time.sleep(600)
    """)
    users = [
        subprocess.Popen(
            [sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for _ in range(2)
    ]
    ports = {user.stdout.readline() for user in users}
    assert len(ports) == 1, "both use one server"
    mine = postgres.shared(tmp_path)
    for user in users:
        user.send_signal(signal.SIGKILL)
        user.wait()
        user.stdout.close()
    url = mine.url("postgres").replace("+psycopg", "")
    with psycopg.connect(url) as connection:  # it lives as long as its last user
        pid = connection.execute("SELECT pg_backend_pid()").fetchone()[0]
    mine.lease.close()
    assert ended(pid)
    deadline = time.monotonic() + 10
    while (tmp_path / "server.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    assert postgres.shared(tmp_path).port > 0, "and the next user gets a new one"


def test_the_server_starts_from_a_checkout_that_others_may_not_read(tmp_path: Path) -> None:
    """PostgreSQL refuses to be root, and a clone under /root is closed to everybody else."""
    closed = tmp_path / "closed"  # pytest's own folders are closed to others, too
    for part in (postgres.WHEEL, f"{postgres.WHEEL}.libs"):
        shutil.copytree(postgres.programs().parents[1] / part, closed / part, symlinks=True)
    closed.chmod(0o700)
    program = """
        import sys
        sys.path.insert(0, sys.argv[1])
        from pathlib import Path
        from tests.support import postgres
        with postgres.server() as server:
            print(postgres.programs(), server.create_database())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), closed],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(closed)},
        check=True,
    )
    assert done.stdout.startswith(f"{closed}/{postgres.WHEEL}/pginstall18 postgresql+psycopg://")


# Node and the browser


def test_node_is_the_program_itself() -> None:
    done = subprocess.run([nodejs.NODE, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("v24.")


@pytest.mark.browser
def test_the_browser_draws_a_page() -> None:
    """Without its fonts Chromium starts, and every text is empty."""
    with browser.chromium() as chromium:
        page = chromium.new_page()
        page.set_content("<h1>Paused</h1>")
        assert page.inner_text("h1") == "Paused"
        assert page.locator("h1").bounding_box()["height"] > 20


@pytest.mark.browser
def test_the_fetched_browser_draws_a_page_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Debian's Chromium is there, the one that other machines get is still tried."""
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(browser, "INSTALLED", Path("nowhere"))
    with browser.chromium() as chromium:
        page = chromium.new_page()
        page.set_content("<h1>Paused</h1>")
        assert page.inner_text("h1") == "Paused"
