"""The command line keeps its promises: shapes, exit statuses, two people to let back in."""

from __future__ import annotations

import errno
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from sqlalchemy import func, select, text

from govern import cli, clock, errors
from govern.access import suspensions
from govern.access.suspensions import particulars
from govern.audit import EventType, exporting, sealing
from govern.audit.decisions import Access
from govern.audit.log import Checkpoint, Entry, Log
from govern.cli import access, docs, followers
from govern.identity import activation, integrations, sessions
from tests.factory import OPERATOR, PASSWORD, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from govern.config import Settings
    from govern.db import Database

ROOT = Path(__file__).resolve().parents[1]
HEADER = (
    "external_id,email,full_name,kind,organisation,country,expertise,"
    "client,project,dataset,entitlement,starts_at,ends_at"
)
LATER = "2099-01-01T00:00:00Z"


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOVERN_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("GOVERN_DATABASE_URL", settings.database_url)


@pytest.fixture
def run(
    environment: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Callable[..., Ran]:  # fmt: skip
    def run(*words: str, stdin: str = "") -> Ran:
        typed = tmp_path / "stdin"
        typed.write_text(stdin)
        with typed.open() as file:
            monkeypatch.setattr(sys, "stdin", file)
            status = cli.main(list(words))
        found = capfd.readouterr()
        return Ran(status, found.out, found.err)

    return run


def commands(group: click.Group = cli.govern, path: str = "") -> dict[str, click.Command]:
    found = {}
    for name, command in group.commands.items():
        own = f"{path} {name}".strip()
        found |= commands(command, own) if isinstance(command, click.Group) else {own: command}
    return found


def approver(world: World) -> Any:
    """A second admin, active since a minute ago: the code of the enrolment works no second time."""
    admin = world.staff()
    with clock.at(clock.utcnow() - timedelta(minutes=1)):
        world.activate(admin)
    return admin


def factors(world: World, subject: Any, *more: str) -> str:
    return "\n".join([PASSWORD, world.code(subject), *more]) + "\n"


@pytest.fixture
def paused(world: World, run: Callable[..., Ran]) -> tuple[str, Any, Any]:
    """A paused project with one person on it, by the command itself: its id, them, the project."""
    project, subject = world.project(), world.subject()
    world.grant(subject, project)
    done = run("suspend", f"project:{project.code}", "--reason", "client_request", "--json")
    assert done.status == 0, done.err
    return done.json["id"], subject, project


# --- the house ---------------------------------------------------------------------------------


def test_every_domain_error_has_an_exit_status() -> None:
    named = {
        thing
        for _, thing in inspect.getmembers(errors, inspect.isclass)
        if issubclass(thing, Exception) and thing.__module__ == errors.__name__
    }
    assert set(cli.EXIT) == named
    assert set(cli.EXIT.values()) <= {1, 2}


def test_every_command_speaks_json_and_says_in_one_sentence_what_it_does() -> None:
    for name, command in commands().items():
        first = inspect.cleandoc(command.help or "").split("\n\n")[0]
        assert first.endswith("."), name
        flags = {flag for parameter in command.params for flag in parameter.opts}
        assert "--json" in flags or name in {"serve", "worker", "witness serve"}, name


def test_the_page_about_the_commands_is_up_to_date() -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == docs.render()


def test_a_command_waits_for_no_library_that_it_does_not_use(settings: Settings) -> None:
    code = (
        "import json, sys; from govern.cli import main\n"
        "assert main(['--help']) == 0 and main(['grant', '--help']) == 0\n"
        "assert main(['decide', 'P1', 'read', 'project:X', '--json']) == 0\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    where = {
        "GOVERN_DATA_DIR": str(settings.data_dir),
        "GOVERN_DATABASE_URL": settings.database_url,
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | where,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    assert "sqlalchemy" in loaded
    assert not loaded & {
        "alembic", "authlib", "flask", "granian", "OpenSSL", "requests", "smtplib", "structlog",
        "urllib3", "webauthn", "werkzeug",
    }  # fmt: skip


def test_a_role_is_given_listed_and_taken_back(world: World, run: Callable[..., Ran]) -> None:
    client, person = world.client(), world.subject("rosa")
    words = (person.email, "auditor", "--client", client.code, "--reason", "incident 17")
    assert run("role", "give", *words).status == 0
    listed = json.loads(run("role", "list", "--client", client.code, "--json").out)["roles"]
    assert [(one["subject"], one["role"], one["client"]) for one in listed] == [
        (person.email, "auditor", client.code)
    ]
    assert run("role", "take", *words).status == 0
    assert json.loads(run("role", "list", "rosa", "--json").out) == {"roles": []}
    assert run("role", "take", *words).status == 1


# --- refusing ----------------------------------------------------------------------------------


def test_without_a_schema_every_command_says_what_to_run(
    empty_url: str, tmp_path: Path, run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOVERN_DATABASE_URL", empty_url)
    done = run("decide", "P1", "read", "project:X")
    assert (done.status, done.out) == (1, "")
    assert "govern db upgrade" in done.err
    assert not (tmp_path / "empty.db").exists()


def test_an_upgrade_makes_what_check_and_key_ask_for(
    empty_url: str, tmp_path: Path, run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOVERN_DATABASE_URL", empty_url)
    monkeypatch.setenv("GOVERN_DATA_DIR", str(tmp_path / "fresh"))
    assert run("log", "key").status == 1
    made = run("db", "upgrade", "--json")
    assert made.status == 0, made.err
    told = run("db", "check", "--json").json
    assert told["ok"] is True
    assert (told["hashing"]["type"], told["hashing"]["memory_cost"]) == ("argon2id", 19 * 1024)
    assert run("log", "key").out.strip() == made.json["key"]
    assert len(run("keys", "rotate", "--json").json["kid"]) == 43


def test_check_names_a_trigger_that_is_gone(
    run: Callable[..., Ran], store: Database, database: str
) -> None:
    if database == "sqlite":
        drop = "DROP TRIGGER log_entry_no_update"
    else:
        drop = "DROP TRIGGER log_entry_no_change ON log_entry"
    store.transaction(lambda session: session.execute(text(drop)))
    done = run("db", "check")
    assert done.status == 1
    assert "log_entry_no_" in done.err


def test_a_database_behind_its_signer_is_not_opened(
    run: Callable[..., Ran], world: World, settings: Settings
) -> None:
    world.project()
    assert run("log", "export", "--out", str(settings.data_dir / "x")).status == 0
    heads = settings.signer_dir / "heads.json"
    signed = json.loads(heads.read_text())
    for head in signed.values():
        head["size"], head["edge"] = 1 << 20, head["edge"][:1]
    heads.write_text(json.dumps(signed))
    done = run("who", "project:Kingfisher")
    assert done.status == 1
    assert "behind its signer" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("decide", "P1", "read", "Kingfisher"),
        ("decide", "P1", "read", "project:X", "--at", "2026-11-21"),
        ("suspend", "project:X", "--reason", "boredom"),
        ("suspend", "--reason", "legal"),
        ("suspend", "project:X", "--reason", "legal", "--mode", "gone"),
        ("mode", "sus_x", "gone"),
        ("lift", "sus_x", "--approve"),
        ("lift", "sus_x", "--approve", "--take-back", "--as", "a@b.example"),
        ("user", "invite"),
        ("user", "create", "a@b.example", "--role", "king"),
        ("grant", "issue", "P1", "annotator", "X", "--reason", "work"),
        ("import", "roster", "no-such-file"),
        ("log", "verify", "no-such-file", "--key", "x"),
        ("log", "export", "--out", "x", "--format", "pdf"),
        ("no-such-command",),
    ],
)
@pytest.mark.web_alone
def test_what_cannot_be_understood_ends_with_2_and_opens_nothing(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setenv("GOVERN_DATA_DIR", str(tmp_path / "never"))
    assert cli.main(list(words)) == 2
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "never").exists()


def test_unknown_codes_and_impossible_windows_are_refused_with_a_sentence(
    run: Callable[..., Ran], world: World
) -> None:
    project, subject = world.project(), world.subject()
    world.entitlement()
    issue = ("grant", "issue", subject.external_id, "annotator")
    for words, said in (
        (("suspend", "client:NOBODY", "--reason", "legal"), "no client “NOBODY”"),
        (("suspend", "planet:EARTH", "--reason", "legal"), "TYPE:CODE"),
        (("who", "project:NOWHERE"), "no project “NOWHERE”"),
        (("grant", "revoke", "grt_none", "--reason", "x"), "no grant grt_none"),
        (("lift", "sus_none", "--number", "0"), "no suspension sus_none"),
        ((*issue, "NOWHERE", "--until", LATER, "--reason", "x"), "no project “NOWHERE”"),
        ((*issue, f"{project.code}/none", "--until", LATER, "--reason", "x"), "no dataset “none”"),
        (
            (*issue, project.code, "--until", "2020-01-01T00:00:00Z", "--reason", "x"),
            "ends before it starts",
        ),
        (("user", "create", "not-an-address", "--role", "admin"), "not an e-mail address"),
        (("user", "invite", "nobody@people.example"), "nobody@people.example"),
    ):
        done = run(*words)
        assert (done.status, done.out) == (1, ""), words
        assert said in done.err, words
        assert done.err.count("\n") == 1, words


def test_the_unexpected_is_one_line_and_more_with_debug(
    run: Callable[..., Ran], world: World, tmp_path: Path
) -> None:
    world.client()
    words = ("log", "export", "--out", str(tmp_path / "nowhere" / "x"))
    done = run(*words)
    assert done.status == 1
    assert os.strerror(errno.ENOENT) in done.err
    assert done.err.count("\n") == 1
    assert "Traceback" in run("--debug", *words).err


# --- asking, stopping, letting back in ---------------------------------------------------------


def test_a_denial_by_decide_is_done(run: Callable[..., Ran], paused: tuple[str, Any, Any]) -> None:
    _, subject, project = paused
    done = run("decide", subject.external_id, "read", f"project:{project.code}", "--json")
    assert done.status == 0
    assert (done.json["decision"], done.json["reason"]) == (False, "project_paused")
    assert isinstance(done.json["as_of"], int)


def test_a_decision_about_the_past_knows_no_later_pause(
    run: Callable[..., Ran], world: World
) -> None:
    project, subject = world.project(), world.subject()
    world.grant(subject, project)
    asked = ("decide", subject.email, "read", f"project:{project.code}", "--json")
    before = run(*asked).json["at"]
    assert run("suspend", f"project:{project.code}", "--reason", "legal").status == 0
    assert run(*asked).json["decision"] is False
    assert run(*asked, "--at", before).json["decision"] is True


def test_suspend_counts_what_it_stopped_and_writes_an_entry_for_each(
    run: Callable[..., Ran], world: World, store: Database
) -> None:
    client = world.client("ASTER")
    projects = [world.project(code, client=client) for code in ("One", "Two")]
    people = [world.subject() for _ in range(3)]
    for person in people:
        world.grant(person, projects[0])
    world.grant(people[0], projects[1])
    counted = run("suspend", "client:ASTER", "--reason", "legal", "--dry-run", "--json").json
    done = run("suspend", "client:ASTER", "--reason", "legal", "--json").json
    for found in (counted, done):
        assert (found["grants"], found["people"]) == (4, 3)
    assert counted["id"] is None
    with store.reading() as session:
        entries = session.execute(
            select(func.count()).where(
                Entry.type == EventType.GRANT_SUSPENDED, Entry.suspension_id == done["id"]
            )
        ).scalar_one()
        assert particulars.outstanding(session, done["id"]) == (4, 0, True)
    assert entries == 4


def test_contractors_are_told_version_by_version(
    run: Callable[..., Ran], paused: tuple[str, Any, Any]
) -> None:
    held, *_ = paused
    first = run("notice", held, "--known", "We are looking.", "--contact", "Dana", "--json")
    assert (first.status, first.json["id"], first.json["number"]) == (0, held, 1)
    second = run("notice", held, "--not-known", "By whom.", "--next-update-by", "2099-01-01T00:00Z")
    assert "Version 2" in second.out
    for wrong, words in (
        ((), "Say what is known"),
        (("--known", "x", "--submit-by", "2001-01-01T00:00Z"), "passed already"),
    ):
        refused = run("notice", held, *wrong)
        assert (refused.status, words in refused.err) == (1, True), refused.err


def test_suspend_takes_people_from_a_file_or_stdin_and_a_dataset_with_its_project(
    run: Callable[..., Ran], world: World, tmp_path: Path
) -> None:
    project = world.project("Kingfisher")
    world.dataset(project, "audio")
    people = [world.subject() for _ in range(60)]
    for person in people[:2]:
        world.grant(person, project)
    names = "".join(f"{person.email}\n" for person in people) + "nobody@people.example\n"
    stop = ("suspend", "--reason", "conduct", "--json", "--people")
    refused = run(*stop, "-", stdin=names)
    assert (refused.status, refused.out) == (1, "")
    assert "line 61 “nobody@people.example”" in refused.err
    file = tmp_path / "people.txt"
    file.write_text(names)
    assert run(*stop, str(file), "--leave-out-unknown", "--dry-run").json["people"] == 2
    done = run(*stop, str(file), "--leave-out-unknown").json
    assert (done["grants"], done["people"], len(done["targets"])) == (2, 2, 1)
    assert done["targets"][0].startswith("people:ppl_")
    whole = run("suspend", "dataset:audio", "--with-project", "--reason", "legal", "--json").json
    assert whole["targets"] == ["dataset:audio", "project:Kingfisher"]
    assert run("suspend", "--reason", "legal").status == 2


def test_a_lift_takes_two_people_and_the_number(
    run: Callable[..., Ran], world: World, paused: tuple[str, Any, Any]
) -> None:
    id_, subject, project = paused
    admin = approver(world)
    asked = ("decide", subject.external_id, "read", f"project:{project.code}", "--json")

    assert run("lift", id_).status == 2  # nobody there to type the number
    wrong = run("lift", id_, "--number", "7")
    assert (wrong.status, wrong.out) == (1, "")
    waiting = run("lift", id_, "--number", "1", "--json")
    assert waiting.status == 0, waiting.err
    assert (waiting.json["state"], waiting.json["grants"], waiting.json["people"]) == (
        "waiting", 1, 1,
    )  # fmt: skip
    assert run(*asked).json["decision"] is False

    approve = ("lift", id_, "--approve", "--as", admin.email, "--json")
    assert run(*approve, "--number", "1", stdin=f"{PASSWORD}\n000000\n").status == 1
    assert run(*asked).json["decision"] is False
    done = run(*approve, "--number", "1", stdin=factors(world, admin))
    assert done.status == 0, done.err
    assert (done.json["id"], done.json["state"]) == (id_, "lifted")
    assert (done.json["grants"], done.json["people"]) == (1, 1)
    assert run(*asked).json["decision"] is True

    again = run("lift", id_, "--number", "0")
    assert again.status == 1
    assert "lifted before" in again.err


def test_some_are_let_out_early_and_a_part_is_taken_out_by_two(
    run: Callable[..., Ran], world: World, paused: tuple[str, Any, Any]
) -> None:
    _, subject, project = paused
    audio = world.dataset(project, "k-audio")
    world.project("Heron")
    over = world.suspend(f"subject:{subject.external_id}", "project:Heron")
    admin = approver(world)
    assert run("release", over.id).status == 2
    refused = run("release", over.id, "-", "--reason", "cleared", stdin="nobody\n")
    assert refused.status == 1
    assert "There is no subject “nobody”" in refused.err
    waiting = run("release", over.id, "dataset:k-audio", "--reason", "cleared", "--json")
    assert (waiting.status, waiting.json["state"]) == (0, "waiting"), waiting.err
    done = run(
        "release", over.id, "--approve", "--as", admin.email, "--json", stdin=factors(world, admin)
    )
    assert (done.status, done.json["state"]) == (0, "released"), done.err
    with world.store.reading() as session:
        released = suspensions.reading.releases(session, over.id, by=OPERATOR)
    assert [one.target_id for one in released] == [audio.id]
    narrower = run("narrow", over.id, "project:Heron", "--reason", "not it", "--json").json
    other = approver(world)
    taken = run(
        "approve", narrower["request"], "--as", other.email, "--json", stdin=factors(world, other)
    )
    assert (taken.status, taken.json["state"]) == (0, "narrowed"), taken.err


def test_something_is_done_by_command_to_all_of_a_list_as_it_was_counted(
    world: World, run: Callable[..., Ran]
) -> None:
    client = world.client("ASTER")
    project = world.project("Kingfisher", client=client)
    world.project("Osprey", client=client)
    people = [world.subject(f"K{number}") for number in range(60)]
    for person in people:
        world.grant(person, project)
    narrowed = ("grants", "revoke", "project=Kingfisher")
    seen = run("act", *narrowed, "--dry-run", "--json").json
    assert (seen["number"], seen["people"]) == (60, 60)
    words = ("--digest", seen["digest"], "--number", "60", "--reason", "over")
    assert run("act", *narrowed).status == 2
    slip = run("act", "grants", "revoke", "project=Kingfischer", "--dry-run")
    assert (slip.status, "There is no project “Kingfischer”" in slip.err) == (1, True)
    assert run("act", "grants", "revoke", "projct=Kingfisher", *words).status == 1
    assert run("act", "grants", "revoke", "client=ASTER", "project=Osprey", *words).status == 1
    assert run("act", *narrowed, *words, "--until", LATER).status == 1
    done = run("act", *narrowed, *words, "--json")
    assert (done.status, done.json["done"], done.json["passed"]) == (0, 60, 0), done.err
    assert "60 done" in run("act-progress", done.json["id"]).out
    given = ("people", "grant", "q=K")
    seen = run("act", *given, "--dry-run", "--json").json
    words = ("--digest", seen["digest"], "--number", "60", "--reason", "moved")
    missing = run("act", *given, *words, "--project", "Osprey", "--until", LATER)
    assert missing.status == 1
    done = run(
        "act", *given, *words, "--project", "Osprey", "--entitlement", "annotator", "--until",
        LATER, "--json",
    )  # fmt: skip
    assert done.json["done"] == 60, done.err
    held = run("suspend", "--listed", "project=Osprey", "--reason", "other", "--json")
    assert (held.status, held.json["people"]) == (0, 60), held.err
    assert held.json["targets"][0].startswith("people:")


def test_access_is_asked_for_by_command_under_a_policy_of_two(
    world: World, run: Callable[..., Ran]
) -> None:
    world.project("Kingfisher", client=world.client("ASTER"))
    world.entitlement()
    first, second = (approver(world) for _ in range(2))
    people = [world.subject().external_id for _ in range(2)]
    over = ("client:ASTER", "--reason", "contract")
    assert run("request-policy", "set", *over, "--needed", "2").status == 1, "nobody approves"
    done = run("request-policy", "set", *over, "--role", "admin", "--needed", "2", "--json")
    assert (done.status, done.json["needed"]) == (0, 2), done.err
    asked = ("request", "ask", "Kingfisher", "annotator", "--until", LATER, "--reason", "more")
    assert "stranger" in run(*asked, *people, "stranger").err
    rows = run(*asked, *people, "--json").json["requests"]
    shown = run("request-policy", "show", "project:Kingfisher", "--json").json
    assert (shown["from"], shown["set"], shown["waiting"]) == ("client", False, 2)
    one, other = (row["id"] for row in rows)
    states = []
    for admin in (first, second):
        done = run("approve", one, "--as", admin.email, "--json", stdin=factors(world, admin))
        assert done.status == 0, done.err
        states.append(done.json["state"])
    assert states == ["waiting", "approved"]
    assert run("request", "refuse", other, "--reason", "later", "--json").json["state"] in {
        "refused", "withdrawn",
    }  # fmt: skip
    assert run("request", "list", "--json").json == {"requests": [], "more": False}
    opened = run("request-policy", "set", *over, "--role", "admin", "--open-to", "client")
    assert "open to the client's people" in opened.out
    assert run("request-policy", "end", *over).status == 0


@pytest.mark.asvs("2.3.5")
def test_nobody_approves_their_own_lift(
    run: Callable[..., Ran], world: World, paused: tuple[str, Any, Any]
) -> None:
    id_, *_ = paused
    admin = approver(world)
    assert (
        run("lift", id_, "--as", admin.email, "--number", "1", stdin=factors(world, admin)).status
        == 0
    )
    # A code works once: the next one is shown half a minute later.
    later = clock.utcnow() + timedelta(seconds=60)
    with clock.at(later):
        stdin = f"{PASSWORD}\n{world.code(admin, at=later)}\n"
        done = run("lift", id_, "--approve", "--as", admin.email, "--number", "1", stdin=stdin)
    assert done.status == 1
    assert "someone else" in done.err


def test_an_approver_who_is_suspended_may_approve_nothing(
    run: Callable[..., Ran], world: World, paused: tuple[str, Any, Any]
) -> None:
    id_, *_ = paused
    admin = approver(world)
    assert run("lift", id_, "--number", "1").status == 0
    assert run("suspend", f"subject:{admin.external_id}", "--reason", "conduct").status == 0
    done = run(
        "lift", id_, "--approve", "--as", admin.email, "--number", "1", stdin=factors(world, admin)
    )
    assert done.status == 1


def test_what_nobody_asked_for_cannot_be_approved(
    run: Callable[..., Ran], world: World, paused: tuple[str, Any, Any]
) -> None:
    id_, *_ = paused
    admin = approver(world)
    done = run(
        "lift", id_, "--approve", "--as", admin.email, "--number", "1", stdin=factors(world, admin)
    )
    assert done.status == 1
    assert "Nobody has asked" in done.err


def test_who_paused_by_mistake_takes_it_back_alone(
    run: Callable[..., Ran], paused: tuple[str, Any, Any]
) -> None:
    id_, subject, project = paused
    done = run("lift", id_, "--take-back", "--json")
    assert (done.status, done.json["grants"]) == (0, 1)
    found = run("decide", subject.external_id, "read", f"project:{project.code}", "--json")
    assert found.json["decision"] is True


def test_a_tighter_mode_is_set_at_once_and_a_weaker_one_by_two(
    run: Callable[..., Ran], world: World
) -> None:
    project, subject = world.project(), world.subject()
    world.grant(subject, project)
    admin = approver(world)
    id_ = run(
        "suspend", f"project:{project.code}", "--reason", "legal", "--mode", "read_only", "--json"
    ).json["id"]
    asked = ("decide", subject.external_id, "read", f"project:{project.code}", "--json")
    assert run(*asked).json["decision"] is True

    tightened = run("mode", id_, "paused", "--json")
    assert (tightened.status, tightened.json["state"]) == (0, "changed")
    assert run(*asked).json["decision"] is False

    weaker = run("mode", id_, "read_only", "--json")
    assert (weaker.status, weaker.json["state"], weaker.json["grants"]) == (0, "waiting", 1)
    assert run(*asked).json["decision"] is False

    approve = ("--approve", "--as", admin.email, "--json")
    done = run("mode", id_, "read_only", *approve, stdin=factors(world, admin))
    assert done.status == 0, done.err
    assert run(*asked).json["decision"] is True


def test_who_streams_every_page_as_one_document(
    run: Callable[..., Ran], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = world.project()
    people = [world.subject() for _ in range(5)]
    for person in people:
        world.grant(person, project)
    monkeypatch.setattr(access, "_PAGE", 2)
    done = run("who", f"project:{project.code}", "--json")
    assert {line["subject"] for line in done.json["who"]} == {each.external_id for each in people}
    assert done.json["grants"] == 5
    assert len(run("who", f"project:{project.code}").out.splitlines()) == 5
    with world.store.access_reading() as session:  # so that client's evidence tells of it
        asked_of = select(Access.client_id).where(Access.action == "who")
        assert set(session.execute(asked_of).scalars()) == {project.client_id}

    with clock.at(clock.utcnow() + timedelta(seconds=1)):
        world.suspend(f"project:{project.code}")
    with clock.at(clock.utcnow() + timedelta(seconds=2)):
        asked = ("who", f"project:{project.code}", "--from", "2026-01-01T00:00:00Z")
        done = run(*asked, "--json")
        assert done.json["grants"] == 5
        assert {len(line["intervals"]) for line in done.json["who"]} == {1}
        ends = {line["intervals"][0]["ends_at"] for line in done.json["who"]}
        assert len(ends) == 1  # the pause's instant
        assert run(*asked, "--count", "--json").json["grants"] == 5
        assert max(ends) < done.json["to"]
        assert ends.pop() in run(*asked).out
        now = clock.text(clock.utcnow() - timedelta(milliseconds=1))
        assert run(asked[0], asked[1], "--from", now, "--json").json["who"] == []
    assert run(*asked[:2], "--to", now).status == 2
    assert run(*asked, "--at", now).status == 2
    assert run(*asked[:3], "2090-01-01T00:00:00Z").status == 1


def test_a_range_goes_out_as_csv_a_row_an_interval(
    run: Callable[..., Ran], paused: tuple[str, Any, Any]
) -> None:
    _, subject, project = paused
    asked = ("who", f"project:{project.code}", "--from", "2026-01-01T00:00:00Z")
    head, row = run(*asked, "--csv").out.splitlines()
    assert head == "subject,email,name,project,dataset,grant,from,to"
    (told,) = run(*asked, "--json").json["who"]
    (only,) = told["intervals"]
    assert row.split(",") == [
        subject.external_id, subject.email, subject.full_name, project.code, "", told["grant"],
        only["starts_at"], only["ends_at"],
    ]  # fmt: skip
    assert run("who", f"project:{project.code}", "--csv").status == 2


def test_a_grant_is_issued_asked_for_and_revoked(run: Callable[..., Ran], world: World) -> None:
    project, subject = world.project(), world.subject()
    dataset = world.dataset(project)
    world.entitlement()
    issue = ("grant", "issue", subject.email, "annotator")
    more = ("--until", LATER, "--reason", "new batch", "--json")
    asked = ("decide", subject.email, "read", f"dataset:{dataset.code}", "--json")

    waiting = run(*issue, f"{project.code}/{dataset.code}", *more, "--ask")
    assert (waiting.status, waiting.json["state"]) == (0, "waiting")
    assert run(*asked).json["decision"] is False

    done = run(*issue, f"{project.code}/{dataset.code}", *more)
    assert done.status == 0, done.err
    assert run(*asked).json["decision"] is True
    assert run("grant", "revoke", done.json["id"], "--reason", "left", "--json").status == 0
    assert run(*asked).json["decision"] is False
    assert run("grant", "revoke", done.json["id"], "--reason", "left").status == 1


def test_a_grant_on_a_paused_project_is_refused(
    run: Callable[..., Ran], paused: tuple[str, Any, Any]
) -> None:
    _, subject, project = paused
    done = run(
        "grant",
        "issue",
        subject.email,
        "annotator",
        project.code,
        "--until",
        LATER,
        "--reason",
        "x",
    )
    assert done.status == 1
    assert "suspended" in done.err


# --- people and files --------------------------------------------------------------------------


def test_a_created_colleague_gets_a_role_and_a_link_that_works(
    run: Callable[..., Ran], world: World, store: Database
) -> None:
    world.client("ASTER")
    done = run(
        "user", "create", "Rosa@Example.com", "--role", "auditor", "--client", "ASTER",
        "--until", LATER, "--json",
    )  # fmt: skip
    assert done.status == 0, done.err
    link = done.json["link"]
    assert link.startswith("http://127.0.0.1:8000/activate/")
    with store.reading() as session:
        _, subject = activation.find(session, link.rpartition("/")[2])
    assert subject.email == "rosa@example.com"
    assert run("user", "create", "rosa@example.com", "--role", "auditor").status == 1


def test_an_invited_roster_gets_one_link_each_but_for_who_is_active(
    run: Callable[..., Ran], world: World, store: Database, tmp_path: Path
) -> None:
    active, new = world.subject("P1"), world.subject("P2")
    world.activate(active)
    roster = tmp_path / "roster.csv"
    row = ",annotator,direct,KE,,A,B,,annotator,2026-01-01T00:00:00Z,2027-01-01T00:00:00Z"
    roster.write_text(
        "\n".join([HEADER, *(f"{each},{each}@x.example,N{row}" for each in ("P1", "P2", "P2")), ""])
    )
    done = run("user", "invite", "--roster", str(roster))
    assert done.status == 0, done.err
    (line,) = done.out.splitlines()
    email, tab, link = line.partition("\t")
    assert (email, tab) == (new.email, "\t")
    with store.reading() as session:
        assert activation.find(session, link.rpartition("/")[2])[1].id == new.id

    asked = run("user", "invite", active.email)
    assert asked.status == 1
    assert "let back in by a recovery" in asked.err


def test_two_people_open_a_way_back_at_the_machine(run: Callable[..., Ran], world: World) -> None:
    subject, admin = world.subject(), world.staff()
    for each in (subject, admin):
        world.activate(each)
    asked = run("user", "recover", subject.email, "--reason", "lost", "--json").json
    assert asked["state"] == "waiting"
    assert run("user", "recover", subject.email, "--reason", "lost").status == 1
    later = clock.utcnow() + timedelta(seconds=30)
    with clock.at(later):
        factors = f"{PASSWORD}\n{world.code(admin, at=later)}\n"
        done = run("approve", asked["request"], "--as", admin.email, "--json", stdin=factors)
    assert done.json["state"] == "approved"
    assert done.json["link"].startswith("http://127.0.0.1:8000/recover/")
    assert run("user", "recover", subject.email, "--call-off").out == "Called off.\n"
    assert run("user", "recover", subject.email, "--call-off").status == 1


def test_an_integration_gets_credentials_that_open_until_they_are_taken(
    run: Callable[..., Ran], world: World, tmp_path: Path
) -> None:
    client = world.client("ASTER")
    world.project("Kingfisher", client=client)
    jwks = tmp_path / "keys.json"
    jwks.write_text("[]")

    def opens(secret: str) -> bool:
        try:
            with world.store.reading() as session:
                integrations.authenticate(session, made["client_id"], secret)
        except errors.Unauthenticated:
            return False
        return True

    def told(*words: str) -> Any:
        done = run("integration", *words, "--json")
        assert done.status == 0, done.err
        return done.json

    made = told("create", "tool", "--scope", "decision", "--client", "ASTER", "--project",
                "Kingfisher", "--redirect-uri", "https://label.example/back")  # fmt: skip
    assert opens(made["client_secret"])
    assert run("integration", "create", "tool", "--scope", "decision").status == 1
    assert run("integration", "change", "tool", "--jwks", str(jwks)).status == 2
    assert told("change", "tool", "--resource", "https://label.example")["state"] == "active"
    rules = tmp_path / "rules.json"
    page = (ROOT / "docs" / "forward-auth.md").read_text()
    rules.write_text(page.partition("```json\n")[2].partition("```")[0])
    assert told("rules", "tool", str(rules)) == {"mode": "bound", "rules": 3}
    new = told("rotate", made["client_id"], "--overlap", "0")
    assert [opens(each["client_secret"]) for each in (made, new)] == [False, True]
    for verb, state in (("suspend", "suspended"), ("resume", "active"), ("revoke", "revoked")):
        assert told(verb, "tool")["state"] == state
        assert opens(new["client_secret"]) == (state == "active")
    assert run("integration", "suspend", "nonesuch").status == 1
    (row,) = told("list")["integrations"]
    assert row == {
        "client_id": made["client_id"], "name": "tool", "state": "revoked", "scope": "decision",
        "clients": ["ASTER"], "projects": ["Kingfisher"], "last_seen_at": None,
    }  # fmt: skip
    assert "ASTER, Kingfisher\tnever" in run("integration", "list").out


CATALOGUE = {
    "clients": [
        {"code": "ASTER", "name": "Aster", "projects": [{"code": "King", "datasets": ["audio"]}]}
    ],
    "entitlements": {"annotator": ["read", "annotate", "log_hours"]},
}


def test_a_catalogue_and_a_roster_are_read_once(run: Callable[..., Ran], tmp_path: Path) -> None:
    catalogue, roster = tmp_path / "catalogue.json", tmp_path / "roster.csv"
    catalogue.write_text(json.dumps(CATALOGUE))
    first, second = (run("import", "catalogue", str(catalogue), "--json").json for _ in range(2))
    assert first == {"accepted": 4, "unchanged": 0, "rejected": []}
    assert second == {"accepted": 0, "unchanged": 4, "rejected": []}

    window = "2026-01-01T00:00:00Z,2099-01-01T00:00:00Z"
    good = f"P1,p1@x.example,Zoë,annotator,direct,KE,,ASTER,King,,annotator,{window}"
    bad = f"P2,nowhere,Zoë,annotator,direct,KE,,ASTER,King,,annotator,{window}"
    roster.write_text(f"{HEADER}\n{good}\n{bad}\n")
    words = ("import", "roster", str(roster), "--json")

    refused = run(*words)
    assert refused.status == 1
    assert refused.json["rejected"][0]["line"] == 3
    assert refused.json["rejected"][0]["column"] == "email"
    assert refused.json["accepted"] == 1
    assert "nothing was changed" in refused.err
    assert run("decide", "P1", "read", "project:King", "--json").json["decision"] is False

    dry = run(*words, "--skip-rejected", "--dry-run")
    assert (dry.status, dry.json["applied"]) == (0, False)
    done = run(*words, "--skip-rejected")
    assert (done.status, done.json["accepted"], len(done.json["rejected"])) == (0, 1, 1)
    assert run("decide", "P1", "read", "project:King", "--json").json["decision"] is True
    again = run(*words, "--skip-rejected")
    assert (again.status, again.json["accepted"], again.json["unchanged"]) == (0, 0, 1)


@pytest.mark.web_alone
def test_a_catalogue_that_is_no_json_is_refused(run: Callable[..., Ran], tmp_path: Path) -> None:
    file = tmp_path / "catalogue.json"
    file.write_bytes(b'{"clients": [\xff')
    done = run("import", "catalogue", str(file))
    assert done.status == 1
    assert "is not JSON" in done.err


# --- evidence ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_an_export_verifies_and_a_changed_byte_is_named(
    run: Callable[..., Ran], paused: tuple[str, Any, Any], tmp_path: Path, form: str
) -> None:
    out = tmp_path / "export"
    done = run("log", "export", "--format", form, "--out", str(out), "--json")
    assert done.status == 0, done.err
    assert out.stat().st_mode & 0o077 == 0
    key = run("log", "key").out.strip()
    verify = ("log", "verify", str(out), "--key", key, "--json")
    whole = run(*verify)
    assert (whole.status, whole.json["ok"], whole.json["damage"]) == (0, True, [])
    assert whole.json["rows"] == done.json["rows"] > 0

    body = out.read_bytes()
    at = body.index(b"suspension.opened")
    line = body[:at].count(b"\n") + 1
    out.write_bytes(body[:at] + b"S" + body[at + 1 :])
    damaged = run(*verify)
    assert (damaged.status, damaged.json["ok"]) == (1, False)
    assert {(each["line"], each["kind"]) for each in damaged.json["damage"]} & {
        (line, "entry"), (line, "line"),
    }  # fmt: skip
    assert all(isinstance(each["seq"], int | None) for each in damaged.json["damage"])


def test_a_stream_is_added_shown_and_ended(run: Any) -> None:
    added = run("stream", "add", "https://siem.example/in", "--format", "ocsf", "--json").json
    assert added["secret"].startswith("whsec_")
    (shown,) = run("stream", "list", "--json").json["streams"]
    assert (shown["id"], shown["delivered_at"], shown["failures"]) == (added["id"], None, 0)
    assert "nothing delivered yet" in run("stream", "list").out
    assert run("stream", "add", "http://siem.example/in").status == 1
    assert run("stream", "end", added["id"]).status == 0
    assert run("stream", "end", added["id"]).status == 1
    assert run("stream", "list", "--json").json == {"streams": []}


def test_a_client_is_held_and_released_with_a_reason(run: Any, world: World) -> None:
    world.client("ASTER")
    assert run("hold", "set", "ASTER", "--reason", "their counsel").status == 0
    assert run("hold", "set", "ASTER", "--reason", "their counsel").status == 1
    assert run("hold", "list", "--json").json["holds"][0]["client"] == "ASTER"
    assert run("log", "expire", "--before", "2020-01-01T00:00:00Z", "--json").json["held"] is True
    assert run("hold", "release", "ASTER", "--reason", "settled").status == 0
    assert run("hold", "list", "--json").json == {"holds": []}


def test_a_witness_is_made_named_shown_and_asked_no_more(
    run: Callable[..., Ran], world: World, tmp_path: Path
) -> None:
    world.client("ASTER")
    assert run("db", "upgrade").status == 0
    folder, name = str(tmp_path / "witness"), "witness.example/1"
    key = run("log", "key").out.strip()
    assert run("log", "key", "--client", "ASTER").out.startswith("govern.localhost/logs/ASTER+")
    made = run("witness", "init", folder, "--name", name, "--log", key, "--json")
    assert made.status == 0, made.err
    assert run("witness", "init", folder, "--name", name, "--log", key).status == 1
    added = run(
        "witness", "add", "http://127.0.0.1:9", "--key", made.json["key"], "--client", "ASTER",
        "--json",
    )  # fmt: skip
    assert added.status == 0, added.err
    (shown,) = run("witness", "list", "--json").json["witnesses"]
    assert (shown["name"], shown["cosigned"], shown["seen_at"]) == (name, 0, None)
    assert run("witness", "end", name).status == 0
    assert run("witness", "list", "--json").json == {"witnesses": []}
    assert run("witness", "end", name).status == 1


def test_a_filtered_export_shows_only_what_was_asked_for(
    run: Callable[..., Ran], world: World, paused: tuple[str, Any, Any], tmp_path: Path
) -> None:
    _, subject, project = paused
    out = tmp_path / "export"
    done = run(
        "log", "export", "--out", str(out), "--subject", subject.email, "--project", project.code,
        "--type", "grant.issued", "--actor", "operator", "--from", "2020-01-01T00:00:00Z",
        "--to", LATER, "--json",
    )  # fmt: skip
    assert (done.status, done.json["rows"]) == (0, 1), done.err
    key = run("log", "key").out.strip()
    assert run("log", "verify", str(out), "--key", key).status == 0
    assert run("log", "export", "--out", str(out), "--client", "NOBODY").status == 1


def test_an_export_is_made_in_the_background_and_fetched_until_it_expires(
    run: Callable[..., Ran], paused: tuple[str, Any, Any], world: World, tmp_path: Path
) -> None:
    asked = run("log", "ask", "--format", "csv", "--json").json
    assert asked["state"] == "waiting"
    assert f"{asked['id']} waiting: 0 of" in run("log", "asked").out
    out = tmp_path / "log.csv"
    fetch = ("log", "fetch", asked["id"], "--out", str(out))
    early = run(*fetch)
    assert (early.status, early.out, out.exists()) == (1, "", False)
    assert "not ready" in early.err
    assert exporting.work(world.store) == 1
    (ready,) = run("log", "asked", "--json").json["exports"]
    assert (ready["state"], ready["entries"]) == ("ready", asked["of"])
    fetched = run(*fetch, "--json")
    assert (fetched.status, fetched.json["sha256"]) == (0, ready["sha256"])
    assert sha256(out.read_bytes()).hexdigest() == ready["sha256"]
    key = run("log", "key").out.strip()
    assert run("log", "verify", str(out), "--key", key).status == 0
    with clock.at(clock.utcnow() + timedelta(days=world.store.settings.export_days, seconds=1)):
        late = run(*fetch)
    assert late.status == 1
    assert "ask for it anew" in late.err
    assert run("log", "fetch", "exp_none", "--out", str(out)).status == 1
    page = tmp_path / "entry.html"
    assert run("log", "receipt", "house", "1", "--out", str(page)).status == 0
    proved = run("log", "verify-receipt", str(page), "--key", key, "--json").json
    assert (proved["ok"], proved["entries"][0]["seq"]) == (True, 1)
    assert run("log", "receipt", "BOREAL", "0", "--out", str(page)).status == 1


def test_a_failed_export_leaves_no_file(run: Callable[..., Ran], tmp_path: Path) -> None:
    assert run("log", "export", "--out", str(tmp_path / "x"), "--client", "NOBODY").status == 1
    assert list(tmp_path.glob("x*")) == []


def test_fsck_names_the_entry_that_was_changed_below_the_triggers(
    run: Callable[..., Ran], world: World, store: Database, database: str
) -> None:
    world.project()
    whole = run("log", "fsck", "--json")
    assert (whole.status, whole.json["ok"]) == (0, True)

    def tamper(session: Any) -> None:
        if database == "sqlite":
            session.execute(text("DROP TRIGGER log_entry_no_update"))
        else:
            session.execute(text("ALTER TABLE log_entry DISABLE TRIGGER ALL"))
        log_id, leaf = session.execute(
            select(Entry.log_id, Entry.leaf).where(Entry.type == EventType.PROJECT_CREATED)
        ).one()
        session.execute(
            text("UPDATE log_entry SET leaf = :leaf WHERE log_id = :log AND type = :type"),
            {"leaf": leaf.replace(b"project.created", b"project.cheated"), "log": log_id,
             "type": str(EventType.PROJECT_CREATED)},
        )  # fmt: skip

    store.transaction(tamper)
    damaged = run("log", "fsck", "--json")
    assert (damaged.status, damaged.json["ok"]) == (1, False)
    assert damaged.json["damage"]


def test_the_access_log_is_searched_and_old_rows_expire(
    run: Callable[..., Ran], world: World, store: Database
) -> None:
    subject = world.subject("P1")
    project = world.project("Kingfisher")
    for _ in range(3):
        world.ask(subject, project)
    found = run("log", "access", "--project", "Kingfisher", "--outcome", "deny", "--limit", "2")
    assert found.status == 0
    lines = found.out.splitlines()
    assert f" deny read {subject.full_name} Kingfisher no_grant by operator" in lines[0]
    words = ("log", "access", "--subject", "P1", "--json", "--after", lines[2].split()[-1])
    rest = run(*words).json
    assert [row["subject_id"] for row in rest["rows"]] == [subject.id]
    assert rest["next"] is None
    assert run("log", "access", "--project", "Nothing").status == 1
    assert run("log", "access", "--integration", "none").status == 1
    assert "Nothing fits." in run("log", "access", "--kind", "export").out
    told = run("log", "access", "--subject", "P1", "--ocsf").out.splitlines()
    assert {json.loads(line)["class_uid"] for line in told} == {6003}

    assert run("log", "expire", "--before", LATER).status == 1
    assert run("log", "expire", "--json").json["rows"] == 0
    sealing.seal(store)
    whole = run("log", "fsck", "--json")
    assert whole.status == 0
    assert whole.json["rows"] >= 3


# --- running -----------------------------------------------------------------------------------


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something another process or thread does, and fail when it does not."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


@contextmanager
def running(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command in a process of its own, which ends with the test whatever happens."""
    with subprocess.Popen([sys.executable, "-m", "govern.cli", *words], cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def signed(store: Database) -> bool:
    with store.reading() as session:
        sizes = {row.id: row.size for row in session.execute(select(Log.id, Log.size))}
        newest = select(Checkpoint.log_id, func.max(Checkpoint.size)).group_by(Checkpoint.log_id)
        heads = {log_id: size for log_id, size in session.execute(newest)}  # noqa: C416 - rows
    return all(heads.get(log_id) == size for log_id, size in sizes.items() if size)


def test_the_worker_signs_and_finishes_a_pause_and_ends_when_told(
    world: World, store: Database, environment: None
) -> None:
    project, subject = world.project(), world.subject()
    world.grant(subject, project)
    pause = world.suspend(f"project:{project.code}")
    with running("worker") as worker:

        def written() -> bool:
            with store.reading() as session:
                return particulars.outstanding(session, pause.id) == (1, 0, True)

        until(lambda: written() and signed(store))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0


def test_the_followers_live_through_an_error_and_go_on(
    world: World, store: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    world.project()
    rename = "ALTER TABLE log_checkpoint RENAME TO away"
    store.transaction(lambda session: session.execute(text(rename)))
    following = followers.Followers(store)
    following.start()
    try:
        said = ""

        def failed() -> bool:
            nonlocal said
            said += capfd.readouterr().err
            return "follower failed" in said

        until(failed)
        back = "ALTER TABLE away RENAME TO log_checkpoint"
        store.transaction(lambda session: session.execute(text(back)))
        until(lambda: signed(store))
    finally:
        following.stop()


def test_serve_answers_signs_and_leaves_nothing_behind_when_killed(
    world: World, store: Database, environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.project()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("GOVERN_PORT", str(port))

    def answers() -> bool:
        with socket.socket() as client:
            client.settimeout(5)
            if client.connect_ex(("127.0.0.1", port)):
                return False
            client.sendall(b"GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            return client.recv(64).startswith(b"HTTP/1.0 200")

    def gone() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) != 0

    with running("serve") as server:
        until(answers)
        until(lambda: signed(store))
        server.kill()
    until(gone)

    with running("serve") as server:
        until(answers)
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    assert gone()


def test_a_suspension_is_measured_and_its_receipt_is_checked_without_a_database(
    run: Callable[..., Ran], world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.grant(world.subject(), world.project("Kingfisher", client=world.client("ASTER")))
    world.integration("tool")
    row = world.suspend("client:ASTER", ordered_by="ops@aster.example")
    world.write_particulars()
    measured = run("effect", row.id, "--json").json
    assert measured["counts"] == {"confirmed": 0, "failed": 0, "unknown": 1}
    assert "unknown: tool has never asked" in run("effect", row.id).out
    out = tmp_path / "receipt.html"
    told = run("receipt", row.id, "--out", str(out), "--json").json
    assert (told["client"], told["grants"], told["ordered_by"]) == ("ASTER", 1, "ops@aster.example")
    assert run("receipt", row.id, "--out", str(out), "--client", "BOREAL").status == 1
    key = run("log", "key").out.strip()
    monkeypatch.setenv("GOVERN_DATABASE_URL", "sqlite:////nowhere/at/all")
    checked = run("log", "verify-receipt", str(out), "--key", key)
    assert checked.status == 0, checked.err
    assert 'mode "paused"' in checked.out
    assert 'proven: ordered_by "ops@aster.example"' in checked.out
    out.write_text(out.read_text().replace("index ", "index 1"))
    assert run("log", "verify-receipt", str(out), "--key", key).status == 1


def test_a_drill_tells_its_numbers_and_stops_nobody(run: Callable[..., Ran], world: World) -> None:
    project = world.project("Kingfisher", client=world.client("ASTER"))
    ann = world.subject()
    world.grant(ann, project)
    told = run("drill", "client:ASTER", "--json").json
    assert (told["grants"], told["chunk"], len(told["drills"])) == (1, 1, 1)
    assert told["milliseconds"] > 0
    assert world.permits(ann, project)
    assert "Rolled back." in run("drill", "project:Kingfisher", "--mode", "read_only").out
    assert run("drill", "client:NOBODY").status == 1


def test_someone_is_signed_out_at_the_machine(run: Callable[..., Ran], world: World) -> None:
    subject = world.subject()
    world.activate(subject)
    for later in (30, 60):
        with clock.at(clock.utcnow() + timedelta(seconds=later)):
            half = sessions.begin(world.store, subject.email, PASSWORD, device="Firefox on Linux")
            code = world.code(subject)
            world.do(lambda s, half=half, code=code: sessions.show_factor(s, half, code))
    ran = run("user", "sessions", subject.email, "--json")
    assert ran.status == 0, ran.err
    listed = ran.json["sessions"]
    assert [(each["device"], each["amr"]) for each in listed] == [
        ("Firefox on Linux", ["pwd", "otp", "mfa"])
    ] * 2
    assert run("user", "sign-out", subject.email, listed[0]["id"]).out == "1 session ended.\n"
    assert run("user", "sign-out", subject.email, listed[0]["id"]).status == 1
    assert run("user", "sign-out", subject.email, "--json").json == {"ended": 1}
    assert run("user", "sessions", subject.email, "--json").json == {"sessions": []}
