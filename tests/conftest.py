"""Every test that asks for `url` runs on SQLite and on PostgreSQL, each with a database of its own.

The migrations run once for each kind of database; a test gets a copy of what they made: the data
directory with its keys, and the database (on PostgreSQL one that is made as it was, again and
again: see tests/support/lending.py). Where many tests begin alike, their file has a fixture
`beginning`, a function that fills a world: each worker runs it once, and they get copies.
"""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import hypothesis
import jinja2
import pytest

from tests.support import postgres
from tests.support.lending import Lending

if TYPE_CHECKING:
    from flask import Flask

    from govern.config import Settings
    from govern.db import Database
    from tests.factory import World

    Beginning: TypeAlias = Callable[[World], object]

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
        if chosen == "both" and metafunc.definition.get_closest_marker("web_alone"):
            chosen = KINDS[0]
        metafunc.parametrize("database", KINDS if chosen == "both" else [chosen], indirect=True)


def pytest_configure(config: pytest.Config) -> None:
    """Keep the tests' files in memory where there is room: no commit then waits for a disk.

    And look for lost cycles seldom: at Python's own pace that is a tenth of the run, and of what
    is imported before it.
    """
    gc.set_threshold(50_000)
    place = postgres.place()
    if place is not None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(place))


# Tests marked `system`: alone when asked for, else named as not run.

_NOT_RUN = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = bool(config.getoption("--system"))
    left_out = [item for item in items if (item.get_closest_marker("system") is not None) != wanted]
    config.stash[_NOT_RUN] = [] if wanted else [item.nodeid for item in left_out]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    items[:] = _by_database(items)


def _by_database(items: list[pytest.Item]) -> list[pytest.Item]:
    """Two workers begin with half of the list each: let that be a database for each.

    What a process makes once for a database, above all the compiled statements, is then made once
    and not by both. Tests that need neither fill the halves, and come first: the longest are among
    them, and at the end nobody should wait for one.
    """
    of: dict[str, list[pytest.Item]] = {kind: [] for kind in (*KINDS, "")}
    for item in items:
        called = getattr(item, "callspec", None)
        of[called.params.get("database", "") if called else ""].append(item)
    first, second = (of[kind] for kind in KINDS)
    spare = max(len(items) // 2 - len(first), 0)
    return [*of[""][:spare], *first, *of[""][spare:], *second]


def pytest_sessionfinish(session: pytest.Session) -> None:
    _collected_once()
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
    """What the migrations make, to be copied: a data directory, and a database."""

    folder: Path
    run_folder: Path
    made: dict[tuple[str, Beginning | None], tuple[Path, str]] = field(default_factory=dict)
    begun: dict[str, Any] = field(default_factory=dict)
    _server: postgres.Server | None = None

    @cached_property
    def lending(self) -> Lending:
        """PostgreSQL's databases, which go from test to test."""
        return Lending(self.server)

    @property
    def server(self) -> postgres.Server:
        """The run's PostgreSQL, started by the first who asks."""
        if self._server is None:
            self._server = postgres.shared(self.run_folder)
        return self._server

    def get(self, kind: str, beginning: Beginning | None) -> tuple[Path, str]:
        """Give the data directory and, for PostgreSQL, the database's address: nobody is in it."""
        if (kind, beginning) not in self.made:
            from govern import db
            from govern.config import Settings
            from tests.factory import World

            if beginning is None:
                data_dir, url = self._migrated(kind)
            else:
                data_dir = self.folder / f"{kind}-{beginning.__module__}.{beginning.__qualname__}"
                url = self.copy(kind, None, data_dir)
                store = db.Database(Settings(data_dir=data_dir, database_url=url))
                self.begun[url] = beginning(World(store))
                store.dispose()
            self.made[kind, beginning] = (data_dir, url)
        return self.made[kind, beginning]

    def _migrated(self, kind: str) -> tuple[Path, str]:
        """Migrate a database for all workers of the run, unless another worker did."""
        from govern import schema
        from govern.config import Settings

        # A server that ended with its users takes its databases along.
        where = kind if kind == "sqlite" else f"{kind}-{self.server.port}"
        data_dir, told = self.run_folder / f"migrated-{where}", self.run_folder / f"{where}.url"
        with (self.run_folder / f"{where}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not told.exists():
                url = "" if kind == "sqlite" else self.server.create_database()
                schema.upgrade(Settings(data_dir=data_dir, database_url=url))
                told.write_text(url)
        return data_dir, told.read_text()

    def copy(self, kind: str, beginning: Beginning | None, data_dir: Path) -> str:
        """Copy the data directory to one that is not there, and the database; give its address."""
        folder, url = self.get(kind, beginning)
        shutil.copytree(folder, data_dir)
        if kind == "sqlite":
            return f"sqlite:///{data_dir / 'govern.db'}"
        return self.server.create_database(url)

    def lend(self, kind: str, beginning: Beginning | None, data_dir: Path) -> str:
        """The same for one test, which gives PostgreSQL's database back."""
        if kind == "sqlite":
            return self.copy(kind, beginning, data_dir)
        folder, url = self.get(kind, beginning)
        shutil.copytree(folder, data_dir)
        return self.lending.lend(url)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all workers of the run; they have folders of their own in it."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory, run_folder: Path) -> Iterator[Templates]:
    made = Templates(tmp_path_factory.mktemp("template"), run_folder)
    yield made
    if "lending" in vars(made):
        made.lending.close()


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    """`sqlite` or `postgresql`: the kind that this test runs on."""
    return request.param


@pytest.fixture
def beginning() -> Beginning | None:
    """What each test of a file begins with, where the file says so; else with nothing."""
    return None


@pytest.fixture
def begun(database: str, url: str, templates: Templates, beginning: Beginning) -> Any:
    """What `beginning` returned; the same for all, so it should be nothing that changes."""
    return templates.begun[templates.get(database, beginning)[1]]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory of the test's own, with keys once `url` was asked for."""
    return tmp_path / "data"


@pytest.fixture
def url(
    database: str, data_dir: Path, templates: Templates, beginning: Beginning | None
) -> Iterator[str]:
    """The address of the test's own migrated database, for Settings beside `data_dir`."""
    own = templates.lend(database, beginning, data_dir)
    yield own
    if database == "postgresql":
        templates.lending.take_back(own)


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


# What a process does once, and a run of a thousand databases and applications would do for each.


def _collected_once() -> None:
    """Look for lost cycles, and never again among what there is now."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _not_among_what_is_imported() -> None:
    """Look for lost cycles among what tests make, and never in what there was before."""
    _collected_once()


@pytest.fixture(scope="session", autouse=True)
def _quick_starts(templates: Templates) -> Iterator[None]:
    """Keep from test to test what depends on no test.

    Statements: compiled once for each kind of database, whose dialect the engines then share.
    Connections: PostgreSQL's go along with the databases that are lent.
    Routes: what builds their addresses is compiled when first asked for; no test asks for most.
    SQLite: it leaves the disk's own pace out; a process that is killed loses nothing by that.
    """
    from sqlalchemy import Engine, event
    from werkzeug.routing import Rule

    from govern.db import engines

    first: dict[tuple[str, str], Engine] = {}

    def create(url: str, *, make: Any = engines.create_engine, **how: Any) -> Engine:
        made: Engine = make(url, **how)
        kind = made.dialect.name, how.get("isolation_level", "")
        if kind[0] == "postgresql":
            templates.lending.serve(made)
        if kind in first:
            made.dialect.initialize = lambda _: None  # type: ignore[method-assign]  # it knows
            made.dialect, made._compiled_cache = first[kind].dialect, first[kind]._compiled_cache
        else:
            made._compiled_cache = {}
            # A dialect learns its server's version from its first connection.
            event.listen(made.pool, "first_connect", lambda *_: first.setdefault(kind, made))
        return made

    def engine(url: str, make: Callable[[str], Engine] = engines.main_engine) -> Engine:
        made = make(url)
        if made.dialect.name == "sqlite":
            event.listen(
                made, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF")
            )
        return made

    def builder(
        rule: Rule, append_unknown: bool = True, *, make: Any = Rule._compile_builder
    ) -> Any:
        made = None

        def build(self: Rule, **values: Any) -> tuple[str, str]:
            nonlocal made
            made = made or make(rule, append_unknown)
            return made(self, **values)

        return build

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "create_engine", create)
        patch.setattr(engines, "main_engine", engine)
        patch.setattr(Rule, "_compile_builder", builder)
        yield


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
def settings(data_dir: Path, url: str) -> Settings:
    from govern.config import Settings

    return Settings(data_dir=data_dir, database_url=url)


@pytest.fixture
def store(settings: Settings, request: pytest.FixtureRequest) -> Iterator[Database]:
    """The test's own database, migrated and empty: the application's, if the test has one."""
    from govern import db

    if "app" in request.fixturenames:
        found = request.getfixturevalue("app").extensions["govern"]
    else:
        found = db.Database(settings)
    yield found
    found.dispose()


@pytest.fixture
def world(store: Database) -> World:
    from tests.factory import World

    return World(store)


@pytest.fixture(scope="session", autouse=True)
def _compiled_templates(run_folder: Path) -> Iterator[None]:
    """Templates are compiled once a run, not once an application."""
    from flask import Flask

    folder = run_folder / "jinja"
    folder.mkdir(exist_ok=True)
    compiled = jinja2.FileSystemBytecodeCache(str(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flask, "jinja_options", {"bytecode_cache": compiled})
        yield


@pytest.fixture(scope="session")
def applications() -> dict[Settings, Flask]:
    """This worker's applications: to build one takes longer than many a test."""
    return {}


@pytest.fixture
def app(settings: Settings, applications: dict[Settings, Flask]) -> Iterator[Flask]:
    """The web application over the test's own database; built once for each kind of settings."""
    from govern import create_app, web

    kind = replace(settings, data_dir=Path(), database_url="")
    made = applications.get(kind)
    if made is None:
        made = applications[kind] = create_app(settings)
        made.config.update(TESTING=True, SERVER_NAME="localhost")
    else:
        web.answer_from(made, settings)
        for limiter in made.extensions["limiter"]:
            limiter.reset()
    yield made
    made.extensions["govern"].dispose()
