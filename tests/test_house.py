"""The house keeps its own rules: what no type and no linter can say."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from govern import errors
from govern.audit.events import SENTENCES, EventType
from govern.audit.record import _AUDITED_TABLES
from govern.db import Audited, Base
from tests import asvs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "govern").rglob("*.py"))


def calls(source: Path) -> Iterator[ast.Call]:
    """Every call in a file."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Call):
            yield node


def domain_errors(root: type[Exception] = errors.GovernError) -> set[type[Exception]]:
    """The whole tree of what a user can meet, without its root."""
    found = set(root.__subclasses__())
    return found.union(*(domain_errors(child) for child in found)) if found else found


def test_only_the_database_room_commits() -> None:
    guilty = [
        f"{source.relative_to(ROOT)}:{call.lineno}"
        for source in SOURCES
        if source.parent != ROOT / "govern" / "db"
        for call in calls(source)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "commit"
    ]
    assert guilty == []


def test_every_event_type_is_emitted_somewhere() -> None:
    text = "".join(source.read_text() for source in SOURCES if source.name != "events.py")
    assert [kind.name for kind in EventType if f"EventType.{kind.name}" not in text] == []


@pytest.mark.asvs("16.1.1")
def test_every_event_type_has_its_sentence_and_its_line_in_the_docs() -> None:
    page = (ROOT / "docs" / "events.md").read_text()
    for kind in EventType:
        assert f"| `{kind}` | {SENTENCES[kind]} |" in page


def test_the_page_of_permissions_is_the_table_and_has_a_sentence_for_each() -> None:
    from govern import permissions
    from govern.cli import permissions as page

    assert set(page.WORDS) == set().union(*permissions.ROLES.values())
    written = (ROOT / "docs" / "permissions.md").read_text(encoding="utf-8")
    assert written == page.render(), "python -m govern.cli.permissions > docs/permissions.md"


def test_event_types_are_dotted_past_tense() -> None:
    assert [kind for kind in EventType if not re.fullmatch(r"[a-z_]+\.[a-z_]+", kind)] == []


def test_every_row_that_the_rule_reads_is_audited() -> None:
    from govern.access import clients, demands, entitlements, grants, suspensions
    from govern.identity import authenticators, passkeys, roles, subjects

    for table in (
        clients.Client,
        clients.Project,
        clients.Dataset,
        entitlements.Entitlement,
        entitlements.EntitlementAction,
        grants.Grant,
        suspensions.Suspension,
        suspensions.SuspensionMode,
        suspensions.SuspensionTarget,
        suspensions.SuspensionRelease,
        suspensions.ScheduledResume,
        subjects.Subject,
        subjects.Membership,
        roles.RoleAssignment,
        demands.FactorDemand,
        authenticators.Totp,
        passkeys.Passkey,
    ):
        assert issubclass(table, Audited), table
    assert isinstance(_AUDITED_TABLES, set)
    assert Base.metadata.tables


def test_every_kind_of_access_has_its_words_on_the_page(app: Flask) -> None:
    from govern.audit.decisions import AccessKind
    from govern.web.pages.auditor import access

    with app.test_request_context():
        assert set(access._kinds()) == set(AccessKind)


PUBLIC = {
    # Who is not signed in yet.
    "auth.sign_in",
    "auth.sign_in_done",
    "auth.sign_in_with_passkey",
    "auth.activate",
    "auth.activate_done",
    "auth.recover",
    "auth.recover_done",
    "reset.forgot",
    "reset.forgot_done",
    "reset.reset",
    "reset.reset_done",
    "recovery.cancel_by_link",
    "recovery.cancel_by_link_done",
    "single_sign_on.depart",
    "single_sign_on.arrive",
    "single_sign_on.link",
    "single_sign_on.link_done",
    # A provider, which signs what it says.
    "single_sign_on.log_out",
    # Machines that watch over the service, and documents that say where its doors are.
    "health.healthz",
    "health.readyz",
    "contact.security_txt",
    "authzen.configuration",
    "api.description",
    "oauth.metadata",
    "oauth.jwks",
    # Lists that tell nothing to whoever holds no token of theirs.
    "oauth.status_list",
    "oauth.status_list_aggregation",
}


def test_every_route_is_public_by_name_or_guarded(app: Flask) -> None:
    def guard_of(endpoint: str) -> str:
        return getattr(app.view_functions[endpoint], "govern_guard", "signed_in")

    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint != "static"]
    assert {rule.endpoint for rule in rules if guard_of(rule.endpoint) == "public"} == PUBLIC
    client = app.test_client()
    for rule in rules:
        if rule.endpoint in PUBLIC:
            continue
        path = re.sub(r"<[^>]+>", "x", rule.rule)
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
            answer = client.open(path, method=method)
            assert answer.status_code in {303, 400, 401}, (method, path, answer.status)


@pytest.mark.parametrize("surface", ["web", "cli"])
def test_every_domain_error_has_a_row_in_each_surface(surface: str) -> None:
    from govern import cli
    from govern.web import problems

    table = problems.STATUS if surface == "web" else cli.EXIT
    assert domain_errors() - set(table) == set()


def test_no_absolute_path_and_no_registry_is_named() -> None:
    forbidden = re.compile(r"(?<![\w.])/(work|root|home)/|pythonhost" + r"ed|pypi\." + r"org|npmjs")
    found = [
        str(path.relative_to(ROOT))
        for folder in (
            "govern",
            "tests",
            "templates",
            "migrations",
            "requirements",
            "docs",
            "bench",
        )
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file()
        and path.suffix in {".py", ".html", ".md", ".txt", ".in", ".json", ".toml", ".css", ".js"}
        and path != Path(__file__)
        and forbidden.search(path.read_text(errors="replace"))
    ]
    assert found == []


def test_vendored_files_are_what_was_vendored() -> None:
    import hashlib

    folder = ROOT / "govern" / "web" / "static" / "vendor"
    sums = dict(
        reversed(line.split(maxsplit=1))
        for line in (folder / "SHA256SUMS").read_text().splitlines()
        if line
    )
    for name, digest in sums.items():
        assert hashlib.sha256((folder / name.strip()).read_bytes()).hexdigest() == digest, name
    listed = {name.strip() for name in sums}
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert present - listed <= {"README.md", "SHA256SUMS"}


def test_importing_govern_costs_no_flask() -> None:
    import subprocess
    import sys

    check = "import sys, govern, govern.access; sys.exit('flask' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_the_page_of_what_is_shown_is_that_of_the_marks() -> None:
    assert (ROOT / "docs" / "asvs.md").read_text() == asvs.render()


def test_every_mark_names_a_part_and_every_promised_part_has_its_mark_or_is_owned_up_to() -> None:
    assert len(asvs.STATEMENTS) == 40
    assert len(asvs.parts()) == sum(len(statement.parts) for statement in asvs.STATEMENTS)
    shown = asvs.tests_of()
    assert set(shown) - set(asvs.parts()) == set()
    collected = [showing for showing in asvs.showings() if showing.test.startswith("test_")]
    assert collected == asvs.showings()
    promised = {part.id for part in asvs.parts().values() if part.promised}
    assert promised - set(shown) == asvs.NOT_SHOWN_YET


def test_the_map_of_the_house_names_every_room() -> None:
    told = (ROOT / "README.md").read_text()
    floors = [ROOT / "govern" / floor for floor in (".", "signals", "access", "identity", "audit")]
    rooms = [room for floor in floors for room in floor.iterdir() if not room.name.startswith("__")]
    names = [f"{room.name}/" if room.is_dir() else room.stem for room in rooms
             if room.suffix == ".py" or (room / "__init__.py").exists()]  # fmt: skip
    assert [name for name in names if f"`{name}`" not in told] == []
