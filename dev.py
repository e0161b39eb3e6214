#!/usr/bin/env python3
"""Everything one does with a checkout of govern, from nothing but Python.

    python3 dev.py run                     set up, migrate, load the example world once, serve
    python3 dev.py test [--system] [ARG…]  all tests, on SQLite and PostgreSQL; ARG goes to pytest
    python3 dev.py check                   format, lint, types, contracts, migrations, docs
    python3 dev.py bench [NAME] [ARG…]     measure, beside the floors of the same run
    python3 dev.py pictures                take the pictures of the README of the real pages
    python3 dev.py words                   bring the translations up to the sentences of the code
    python3 dev.py lock [--upgrade]        compile requirements/*.in, hash-pinned
    python3 dev.py sbom > govern.cdx.json  the bill of materials (CycloneDX 1.6), from those

Each command first makes `.venv` as requirements/*.txt say, and passes over that when nothing
changed. Every package is checked against its hash, whichever index it comes from: where to look is
the machine's own business (pip's configuration, handed on to uv), so no address stands here.
Standard library only: this file runs before anything is installed.
"""

import argparse
import ast
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
REQUIREMENTS = ROOT / "requirements"
OLDEST_PYTHON = (3, 11)
NO_TESTS_COLLECTED = 5  # pytest's own exit status
# Compiled files make each of the many processes start seconds sooner.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def say(text: str) -> None:
    """Tell the reader at the terminal, apart from what a command prints on its output."""
    print(f"dev.py: {text}", file=sys.stderr, flush=True)


def stop(text: str) -> SystemExit:
    """Say why nothing more can be done; for `raise`."""
    return SystemExit(f"dev.py: {text}")


# Set-up


def require_python() -> None:
    """Refuse early, in words, where the set-up would fail later with a traceback."""
    if sys.version_info < OLDEST_PYTHON:
        found = ".".join(map(str, sys.version_info[:3]))
        raise stop(f"govern needs Python 3.11 or newer; this is {found}, {sys.executable}")
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        raise stop(
            f"this Python has no {' and no '.join(missing)}; on Debian and Ubuntu: "
            f"apt-get install python3-venv (Python is {sys.executable})"
        )


def digest(kinds: tuple[str, ...]) -> str:
    """Name the state that `.venv` should be in: the Python, the locks, the project's file."""
    files = [REQUIREMENTS / f"{kind}.txt" for kind in ("uv", *kinds)] + [ROOT / "pyproject.toml"]
    told = hashlib.sha256(f"{sys.version} {ROOT}".encode())
    for file in files:
        told.update(hashlib.sha256(file.read_bytes()).digest())
    return told.hexdigest()


def set_up(*, everything: bool) -> None:
    """Make `.venv` hold what the locks say; with everything, what tests and checks need as well.

    One process does it, others wait. A set-up that was cut off is begun again.
    """
    require_python()
    kinds = ("dev",) if everything else ("runtime", "build")
    with (ROOT / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # What tests need includes what running needs.
        stamps = [VENV / "dev.digest"] if everything else [VENV / "dev.digest", VENV / "run.digest"]
        if any(is_current(stamp) for stamp in stamps):
            return
        began = time.monotonic()
        if not (VENV / "bin" / "uv").exists() or not runs(PYTHON):
            say("making .venv")
            call([sys.executable, "-m", "venv", "--clear", str(VENV)])
        install(kinds)
        stamps[-1].write_text(digest(kinds), encoding="ascii")
        say(f"set up in {time.monotonic() - began:.0f} s")


def is_current(stamp: Path) -> bool:
    """Tell whether the stamp was written for the locks as they are now."""
    kinds = ("dev",) if stamp.name == "dev.digest" else ("runtime", "build")
    return stamp.exists() and stamp.read_text(encoding="ascii") == digest(kinds) and runs(PYTHON)


def runs(python: Path) -> bool:
    """Tell whether the interpreter starts; a `.venv` whose Python was upgraded away does not."""
    try:
        return subprocess.run([str(python), "-c", ""], check=False).returncode == 0
    except OSError:
        return False


def install(kinds: tuple[str, ...]) -> None:
    """Install the locked packages by hash, then the checkout itself."""
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    locks = [word for kind in kinds for word in ("-r", str(REQUIREMENTS / f"{kind}.txt"))]
    itself = ["--no-build-isolation", "--no-deps", "--editable", str(ROOT)]
    say("installing uv, by hash")
    call([*pip, "--require-hashes", "-r", str(REQUIREMENTS / "uv.txt")])
    uv = [str(VENV / "bin" / "uv"), "pip", "install", "--quiet", "--python", str(PYTHON)]
    say(f"installing {' and '.join(kinds)}, by hash")
    environment = {**os.environ, **indexes()}
    if subprocess.run([*uv, "--require-hashes", *locks], env=environment, check=False).returncode:
        say("uv could not; trying pip, by the same hashes")
        call([*pip, "--require-hashes", *locks])
    call([*pip, *itself])


def indexes() -> dict[str, str]:
    """Hand on to uv where pip was told to look, for uv does not read pip's configuration.

    What the reader set for uv stays. Several indexes are safe together: every file has its hash.
    """
    listed = subprocess.run(
        [str(PYTHON), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    pip: dict[str, list[str]] = {}
    lines = dict(line.split("=", 1) for line in listed.splitlines() if "=" in line)
    for section in ("global", "install", ":env:"):  # each outweighs those before it
        for key, value in lines.items():
            if key.startswith(f"{section}."):
                pip[key.removeprefix(f"{section}.")] = str(ast.literal_eval(value)).split()
    found = {
        "UV_DEFAULT_INDEX": " ".join(pip.get("index-url", [])),
        "UV_INDEX": " ".join(pip.get("extra-index-url", [])),
        "UV_FIND_LINKS": ",".join(pip.get("find-links", [])),
        "SSL_CERT_FILE": " ".join(pip.get("cert", [])),
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }
    if "no-index" in pip:
        found["UV_NO_INDEX"] = "1"
    older = {"UV_DEFAULT_INDEX": "UV_INDEX_URL", "UV_INDEX": "UV_EXTRA_INDEX_URL"}
    return {
        name: value
        for name, value in found.items()
        if value and name not in os.environ and older.get(name, name) not in os.environ
    }


def call(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run the command, or end with its exit status."""
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if done.returncode:
        say(f"failed: {shlex.join(command)}")
        raise SystemExit(done.returncode if done.returncode > 0 else 1)


def become(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Turn into the command, so that signals and the exit status are its own."""
    os.chdir(ROOT)
    sys.stdout.flush()
    os.execve(command[0], command, environment or dict(os.environ))  # noqa: S606 - this program becomes that one


def govern(*words: str) -> list[str]:
    """Return the command line of govern's own command in this checkout."""
    return [str(VENV / "bin" / "govern"), *words]


# Commands


def run() -> None:
    """Set up, migrate, load the example world into an empty database, serve."""
    set_up(everything=False)
    environment = {
        "GOVERN_DATA_DIR": str(ROOT / "var"),
        "GOVERN_PORT": "8000",
        **os.environ,
    }
    call(govern("db", "upgrade"), environment)
    call([str(PYTHON), "-m", "govern.example"], environment)
    become(govern("serve"), environment)


def test(arguments: list[str], *, system: bool) -> None:
    """Run the tests; the plain run deselects those marked `system` and names them as not run."""
    set_up(everything=True)
    # A worker for each core of the smallest machine; one's own -n comes later and wins.
    command = [
        str(PYTHON),
        "-m",
        "pytest",
        "-n",
        "2",
        # Each begins with half of the files, so that what a file makes once is seldom made twice.
        "--dist",
        "worksteal",
        *(["--system"] if system else []),
        *arguments,
    ]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if system and not arguments and status == NO_TESTS_COLLECTED:
        say("no test is marked `system` yet; nothing to run")
        status = 0
    raise SystemExit(status)


def check() -> None:
    """Run every check, also after one failed, and end with 1 if any did."""
    set_up(everything=True)
    bin_ = VENV / "bin"
    folders = [
        name for name in ("govern", "tests", "migrations", "bench") if (ROOT / name).is_dir()
    ]
    files = [name for name in ("dev.py", "wsgi.py") if (ROOT / name).is_file()]
    steps: dict[str, list[str]] = {
        "format": [str(bin_ / "ruff"), "format", "--check", *folders, *files],
        "lint": [str(bin_ / "ruff"), "check", *folders, *files],
        "types": [str(bin_ / "mypy")],
        "contracts": [str(bin_ / "lint-imports")],
        "requirements": [str(PYTHON), str(ROOT / "dev.py"), "_requirements"],
        "migrations": [str(PYTHON), str(ROOT / "dev.py"), "_migrations"],
    }
    if (ROOT / "tests" / "test_docs.py").is_file():
        steps["docs"] = [str(PYTHON), "-m", "pytest", "-q", "tests/test_docs.py"]
    failed = []
    for name, command in steps.items():
        say(f"{name} …")
        began = time.monotonic()
        good = subprocess.run(command, cwd=ROOT, check=False).returncode == 0
        say(f"{name}: {'good' if good else 'FAILED'} ({time.monotonic() - began:.1f} s)")
        if not good:
            failed.append(name)
    if failed:
        raise stop(f"failed: {', '.join(failed)}")
    say("all good")


def check_migrations() -> None:
    """Migrate an empty database of each kind and let govern compare it with its models."""
    sys.path.insert(0, str(ROOT))
    from tests.support import postgres  # noqa: PLC0415 - only inside .venv

    with tempfile.TemporaryDirectory() as folder, postgres.server() as server:
        url = server.create_database()
        for kind, where in (("SQLite", f"sqlite:///{folder}/check.db"), ("PostgreSQL", url)):
            say(f"migrations on {kind}")
            data = Path(folder) / kind
            environment = {**os.environ, "GOVERN_DATA_DIR": str(data), "GOVERN_DATABASE_URL": where}
            call(govern("db", "upgrade"), environment)
            call(govern("db", "check"), environment)


def check_requirements() -> None:
    """Refuse a lock with an address in it or a package without its hash."""
    for lock in sorted(REQUIREMENTS.glob("*.txt")):
        text = lock.read_text(encoding="utf-8")
        if "://" in text:
            raise stop(
                f"{lock.relative_to(ROOT)} holds an address; python3 dev.py lock leaves none"
            )
        for package in re.split(r"\n(?=\S)", text.strip()):
            if package and "--hash=sha256:" not in package:
                raise stop(f"{lock.relative_to(ROOT)}: no hash for {package}")


def bench(arguments: list[str]) -> None:
    """Measure; bench/ prints a JSON line for each figure (DESIGN.md §9) when asked with --json."""
    set_up(everything=True)
    become([str(PYTHON), "-m", "bench", *arguments])


def pictures() -> None:
    """Take the README's pictures of the real pages, into docs/images."""
    set_up(everything=True)
    become([str(PYTHON), "-m", "tests.journeys.pictures"])


def words() -> None:
    """Gather the sentences of the code into the catalogues; name what is not translated yet."""
    set_up(everything=True)
    become([str(PYTHON), "-m", "tests.words"])


def lock(*, upgrade: bool) -> None:
    """Compile requirements/*.in; versions stay as they are unless an upgrade is asked for.

    Only pip's main index is handed on, not extra ones: a partial mirror would leave out the hashes
    of other platforms.
    """
    set_up(everything=False)
    uv = [str(VENV / "bin" / "uv"), "pip", "compile", "--quiet", "--universal"]
    uv += ["--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"]
    found = indexes()
    handed_on = ("UV_DEFAULT_INDEX", "SSL_CERT_FILE")
    environment = {**os.environ, **{name: found[name] for name in found if name in handed_on}}
    for kind in ("uv", "runtime", "build", "dev"):
        source, target = REQUIREMENTS / f"{kind}.in", REQUIREMENTS / f"{kind}.txt"
        # Tests run with the very versions that serve.
        same = ["-c", str(REQUIREMENTS / "runtime.txt")] if kind == "dev" else []
        flags = ["--upgrade"] if upgrade else []
        call([*uv, *flags, *same, str(source), "-o", str(target)], environment)
    check_requirements()


def sbom() -> None:
    """Print what govern is made of."""
    print(json.dumps(bill_of_materials(), indent=1, ensure_ascii=False))


def bill_of_materials() -> dict[str, object]:
    """Name what is served with govern, each by version and hash, as CycloneDX 1.6.

    Packages are those of requirements/runtime.txt; what pages need is in the vendored folder's
    README. The same checkout always gives the same bill, so it bears no date and no number.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = (REQUIREMENTS / "runtime.txt").read_text(encoding="utf-8")
    parts: list[dict[str, object]] = []
    for package in re.split(r"\n(?=\S)", lock.strip()):
        pinned = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", package)
        if pinned is None:
            raise stop(f"requirements/runtime.txt: no pinned package: {package.splitlines()[0]}")
        sums = re.findall(r"--hash=sha256:([0-9a-f]{64})", package)
        parts.append(component("pypi", pinned[1], pinned[2], sums))
    parts += vendored()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "govern",
                "name": project["name"],
                "version": project["version"],
                "description": project["description"],
                "licenses": [{"license": {"id": project["license"]}}],
            }
        },
        "components": parts,
    }


def vendored() -> list[dict[str, object]]:
    """The parts that pages are made of, as the vendored folder's README tells them row by row."""
    folder = ROOT / "govern" / "web" / "static" / "vendor"
    lines = (folder / "SHA256SUMS").read_text(encoding="ascii").splitlines()
    sums = {name: digest for digest, name in (line.split() for line in lines)}
    found: dict[tuple[str, str], list[str]] = {}
    named = ("", "")
    for row in re.findall(r"^\| (.+) \|$", (folder / "README.md").read_text("utf-8"), re.MULTILINE):
        files, origin, *_ = row.split(" | ")
        told = re.match(r"`([^`]+)` ([0-9][0-9.]*[0-9])", origin)
        if told is not None:
            named = (told[1], told[2])
        if told is not None or origin == "the same file":
            own = [each for name, each in sums.items() if Path(name).match(files.strip("`"))]
            found.setdefault(named, []).extend(own)
    return [component("npm", name, version, own) for (name, version), own in found.items()]


def component(kind: str, name: str, version: str, sums: list[str]) -> dict[str, object]:
    """One part of the bill; `sums` are the SHA-256 of every file that may stand for it."""
    purl = f"pkg:{kind}/{name.replace('@', '%40')}@{version}"
    files = [{"alg": "SHA-256", "content": each} for each in sorted(set(sums))]
    found: dict[str, object] = {
        "type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
    }  # fmt: skip
    if files:
        found["externalReferences"] = [{"type": "distribution", "url": purl, "hashes": files}]
    return found


def main(words: list[str]) -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(
        prog="dev.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="set up, migrate, load the example world once, serve")
    tests = commands.add_parser("test", help="all tests, on both databases", add_help=False)
    tests.add_argument("--system", action="store_true")
    commands.add_parser("check", help="format, lint, types, contracts, migrations, docs")
    commands.add_parser("bench", help="measure beside the floors", add_help=False)
    commands.add_parser("pictures", help="take the README's pictures of the real pages")
    commands.add_parser("words", help="bring the translations up to the sentences of the code")
    commands.add_parser("sbom", help="print the bill of materials (CycloneDX 1.6)")
    locks = commands.add_parser("lock", help="compile requirements/*.in")
    locks.add_argument("--upgrade", action="store_true", help="take newer versions")
    for hidden in ("_requirements", "_migrations"):
        commands.add_parser(hidden)
    known, rest = parser.parse_known_args(words)
    if rest and known.command not in {"test", "bench"}:
        parser.error(f"unknown: {' '.join(rest)}")
    match known.command:
        case "test":
            test(rest, system=known.system)
        case "bench":
            bench(rest)
        case "lock":
            lock(upgrade=known.upgrade)
        case plain:
            PLAIN[plain]()


PLAIN = {
    "run": run,
    "check": check,
    "pictures": pictures,
    "words": words,
    "sbom": sbom,
    "_requirements": check_requirements,
    "_migrations": check_migrations,
}


if __name__ == "__main__":
    main(sys.argv[1:])
