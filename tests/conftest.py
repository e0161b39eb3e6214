"""Every test that asks for `url` runs on SQLite and on PostgreSQL, each with a database of its own.

The migrations run once for each worker and kind of database; a test gets a copy of what they made:
the data directory with its keys, and the database.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import jinja2
import pytest

from tests.support import postgres

if TYPE_CHECKING:
    from flask import Flask

    from govern.config import Settings
    from govern.db import Database
    from tests.factory import World

KINDS = ("sqlite", "postgresql")

# Two cores shared with others tell nothing about a single example's time.
hypothesis.settings.register_profile("govern", deadline=None, print_blob=True)
hypothesis.settings.load_profile("govern")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database", choices=[*KINDS, "both"], default="both")
    parser.addoption("--system", action="store_true", help="run the tests marked `system` alone")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--database")
        metafunc.parametrize("database", KINDS if chosen == "both" else [chosen], indirect=True)


# Tests marked `system`: alone when asked for, else named as not run.

_NOT_RUN = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = bool(config.getoption("--system"))
    left_out = [item for item in items if (item.get_closest_marker("system") is not None) != wanted]
    config.stash[_NOT_RUN] = [] if wanted else [item.nodeid for item in left_out]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["not_run"] = session.config.stash.get(_NOT_RUN, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    told = getattr(node, "workeroutput", {}).get("not_run")
    if told is not None:  # each worker collects the same
        node.config.stash[_NOT_RUN] = told


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    not_run = config.stash.get(_NOT_RUN, [])
    if not_run:
        terminalreporter.section("not run: these need programs from Debian (dev.py test --system)")
        for name in not_run:
            terminalreporter.write_line(name)


# Databases.


@dataclass
class Templates:
    """What the migrations make, kept for this worker: a data directory, and a database to copy."""

    folder: Path
    server_folder: Path
    made: dict[str, tuple[Path, str]] = field(default_factory=dict)
    _server: postgres.Server | None = None

    @property
    def server(self) -> postgres.Server:
        """The run's PostgreSQL, started by the first who asks."""
        if self._server is None:
            self._server = postgres.shared(self.server_folder)
        return self._server

    def get(self, kind: str) -> tuple[Path, str]:
        """Give the migrated data directory and, for PostgreSQL, the migrated database's address."""
        if kind not in self.made:
            from govern import db
            from govern.config import Settings

            data_dir = self.folder / kind
            url = "" if kind == "sqlite" else self.server.create_database()
            db.upgrade(Settings(data_dir=data_dir, database_url=url))
            self.made[kind] = (data_dir, url)
        return self.made[kind]


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    # Workers have folders of their own in the run's one.
    own = tmp_path_factory.getbasetemp()
    run = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    return Templates(tmp_path_factory.mktemp("template"), run)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    """`sqlite` or `postgresql`: the kind that this test runs on."""
    return request.param


@pytest.fixture
def data_dir(database: str, templates: Templates, tmp_path: Path) -> Path:
    """A data directory of the test's own, with keys; on SQLite with the migrated database."""
    return shutil.copytree(templates.get(database)[0], tmp_path / "data")


@pytest.fixture
def url(database: str, data_dir: Path, templates: Templates) -> Iterator[str]:
    """The address of the test's own migrated database, for Settings beside `data_dir`."""
    if database == "sqlite":
        yield f"sqlite:///{data_dir / 'govern.db'}"
        return
    own = templates.server.create_database(templates.get(database)[1])
    yield own
    templates.server.drop_database(own)


@pytest.fixture
def empty_url(database: str, templates: Templates, tmp_path: Path) -> Iterator[str]:
    """The address of a database that nothing was ever done to, for tests of the migrations."""
    if database == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    own = templates.server.create_database()
    yield own
    templates.server.drop_database(own)


@pytest.fixture(autouse=True)
def _push_request_context() -> None:
    """Keep pytest-flask's fixture of this name from sharing one request context among clients.

    With it, Flask-Login answers an anonymous second client as the first, who had signed in.
    """


# The core: settings, the database, a world to fill it with.


@pytest.fixture(scope="session", autouse=True)
def _quick_hashes() -> Iterator[None]:
    """Real argon2id at its least cost: a second for each sign-in would be most of the run.

    Processes that a test starts keep the cost that is shipped; tests/identity/test_passwords.py
    holds it to what the field asks.
    """
    import argon2

    from govern.identity import passwords

    quick = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", quick)
        patch.setattr(passwords, "_light", quick)
        patch.setattr(passwords, "_DUMMY", quick.hash("nobody has this password"))
        yield


@pytest.fixture
def settings(data_dir: Path, url: str) -> "Settings":
    from govern.config import Settings

    return Settings(data_dir=data_dir, database_url=url)


@pytest.fixture
def store(settings: "Settings") -> Iterator["Database"]:
    """The test's own database, migrated and empty."""
    from govern import db

    found = db.Database(settings)
    yield found
    found.dispose()


@pytest.fixture
def world(store: "Database") -> "World":
    from tests.factory import World

    return World(store)


@pytest.fixture(scope="session")
def compiled_templates(tmp_path_factory: pytest.TempPathFactory) -> jinja2.BytecodeCache:
    """Templates are compiled once a run, not once an application, which each test has."""
    return jinja2.FileSystemBytecodeCache(str(tmp_path_factory.mktemp("jinja")))


@pytest.fixture
def app(
    settings: "Settings", store: "Database", compiled_templates: jinja2.BytecodeCache
) -> "Flask":
    """The web application over the test's own database."""
    from govern import create_app

    made = create_app(settings)
    made.config.update(TESTING=True, SERVER_NAME="localhost")
    made.jinja_env.bytecode_cache = compiled_templates
    return made
