"""What every command stands in: how it opens the database, speaks, refuses and ends.

Exit status: 0 done, 1 refused or failed (one line on stderr says why), 2 not understood. What a
command prints on stdout is its result, as words or with `--json` as one JSON document; anything
else goes to stderr.
"""

from __future__ import annotations

import json
import os
import pwd
import sys
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import click

from govern import clock, config, db, errors, schema
from govern.access import demands, suspensions
from govern.audit.signer import Signer
from govern.identity import sealing_keys, sessions
from govern.principal import Principal, operator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from govern.config import Settings

DONE, REFUSED, NOT_UNDERSTOOD = 0, 1, 2

# What the shell is told of each domain error. A row for every class, so that a new one is chosen.
EXIT: dict[type[Exception], int] = {
    errors.GovernError: REFUSED,
    errors.Invalid: REFUSED,
    errors.UnknownPeople: REFUSED,
    errors.WindowInvalid: REFUSED,
    errors.Unknown: REFUSED,
    errors.Unauthenticated: REFUSED,
    errors.SignInFailed: REFUSED,
    errors.TooManyAttempts: REFUSED,
    errors.Forbidden: REFUSED,
    errors.FactorRequired: REFUSED,
    errors.FreshFactorRequired: REFUSED,
    errors.SamePerson: REFUSED,
    errors.Conflict: REFUSED,
    errors.AlreadyExists: REFUSED,
    errors.AlreadyEnded: REFUSED,
    errors.Held: REFUSED,
    errors.NeedsSecondPerson: REFUSED,
    errors.ReturnsUnlisted: REFUSED,
    errors.Stale: REFUSED,
    errors.Brake: REFUSED,
    errors.Unavailable: REFUSED,
    errors.Busy: REFUSED,
    errors.RecordFailed: REFUSED,
    errors.LogDamaged: REFUSED,
    errors.UnauditedChange: REFUSED,
}


@dataclass
class Desk:
    """What a command works with; nothing is opened before it is asked for."""

    debug: bool = False
    as_json: bool = False
    _opened: list[db.Database] = field(default_factory=list)

    @cached_property
    def settings(self) -> Settings:
        """GOVERN_* as they are now."""
        return config.from_environment()

    @cached_property
    def any_database(self) -> db.Database:
        """The database as it is found, for the command that looks for damage."""
        database = db.Database(self.settings)
        self._opened.append(database)
        schema.require_schema(database)
        return database

    @cached_property
    def database(self) -> db.Database:
        """The database: with its schema, and not behind its signer (`LogDamaged`)."""
        signer = Signer(self.settings)
        signer.watch(self.any_database)
        signer.check(self.any_database)
        sealing_keys.check(self.any_database)
        return self.any_database

    @cached_property
    def by(self) -> Principal:
        """Whoever sits at the machine, as the kernel knows them, not as a variable says."""
        try:
            user = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            user = str(os.getuid())
        return operator(user)

    def person(self, email: str) -> Principal:
        """Someone who shows both factors now, on the terminal or as two lines of stdin."""
        database = self.database
        if sys.stdin.isatty():
            password = click.prompt(f"Password of {email}", hide_input=True, err=True)
            code = click.prompt(f"One-time code of {email}", err=True)
        else:
            password, code = (sys.stdin.readline().rstrip("\r\n") for _ in range(2))
        caller = sessions.authenticate(database, email, password, code)
        with database.reading() as session:
            held = suspensions.subject_held(session, caller.subject.id)
            owed = demands.of_roles(session, caller.subject.id, caller.principal.roles)
        if owed is not None:
            raise errors.FactorRequired(f"Their role demands {demands.SENTENCES[owed]}.")
        return replace(caller.principal, suspended=held)

    def tell(self, result: dict[str, Any], *words: str) -> None:
        """Say the result: as one JSON document, or in words, a line each."""
        if self.as_json:
            click.echo(json.dumps(result, ensure_ascii=False))
        else:
            for line in words:
                click.echo(line)

    @contextmanager
    def progress(self, length: int, label: str) -> Iterator[Callable[[int], None]]:
        """A bar on stderr; nothing where stderr is no terminal."""
        if not sys.stderr.isatty():
            yield lambda _: None
            return
        with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
            yield bar.update

    def close(self) -> None:
        """Let go of the database."""
        for database in self._opened:
            database.dispose()


pass_desk = click.make_pass_decorator(Desk)


def _set_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Desk).as_json = True


json_option = click.option(
    "--json",
    is_flag=True,
    expose_value=False,
    callback=_set_json,
    help="Print the result as JSON.",
)


def instant(value: str) -> datetime:
    """An RFC 3339 instant with its offset."""
    try:
        return clock.parse(value, field="instant")
    except errors.Invalid as error:
        raise click.BadParameter(error.message.partition(": ")[2]) from None


def reference(value: str) -> tuple[str, str]:
    """`TYPE:CODE`, such as `client:ASTER`, taken apart; what the words mean is asked below."""
    kind, colon, code = value.partition(":")
    if not colon or not kind.strip() or not code.strip():
        raise click.BadParameter(f"“{value}” is not TYPE:CODE, such as client:ASTER")
    return kind.strip(), code.strip()


def number(count: int, one: str, many: str = "") -> str:
    """`1 grant`, `2,962 grants`."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def day(when: datetime) -> str:
    """An instant for people, in UTC."""
    return f"{when:%Y-%m-%d %H:%M} UTC"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, help="Show where in the code a failure happened.")
@click.pass_context
def govern(context: click.Context, debug: bool) -> None:
    """Who may reach which client's data: pause it at once, and prove it later.

    Settings come from GOVERN_DATA_DIR (var), GOVERN_DATABASE_URL (SQLite in the data directory),
    GOVERN_REPLICA_URL (a replica of that PostgreSQL, for what is only shown), GOVERN_PUBLIC_URL,
    GOVERN_PORT (8000), GOVERN_ORIGIN, GOVERN_FOLLOWERS, GOVERN_ACCESS_LOG_DAYS (400; 0 keeps the
    access log for ever), GOVERN_EXPORT_DIR (where exports are made in the background; in the data
    directory, unless several nodes share one) and GOVERN_EXPORT_DAYS (7; how long they stay),
    GOVERN_SMTP_URL (smtp://USER:PASSWORD@HOST:PORT; none sends no mail), GOVERN_MAIL_FROM,
    GOVERN_SEALING_KEYS or GOVERN_SEALING_KEYS_FILE (NUMBER:BASE64, where they are no files of the
    data directory) and GOVERN_SECURITY_CONTACT (mailto: or https:, for who finds a weakness).
    Instants are RFC 3339 with their offset, such as 2026-11-21T09:00:00Z. SUBJECT is an external id
    or an e-mail address.

    Exit status: 0 done (a denial by `decide` is done), 1 refused or failed, 2 not understood.
    """
    desk = context.ensure_object(Desk)
    desk.debug = debug
    context.call_on_close(desk.close)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    desk = Desk()
    try:
        ended = govern.main(arguments, prog_name="govern", obj=desk, standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Abort:
        return _failed("stopped; nothing more was done")
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output went away (`| head`): Python must not complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED
    except tuple(EXIT) as error:
        return _refused(error, desk)
    except Exception as error:  # noqa: BLE001 - the last one who can say it in one line
        words = str(error).strip().split("\n")[0]
        return _failed(f"{type(error).__name__}: {words}", desk)
    return ended if isinstance(ended, int) else DONE


def _refused(error: Exception, desk: Desk) -> int:
    kind = next(kind for kind in type(error).__mro__ if kind in EXIT)
    _failed(str(error), desk)
    return EXIT[kind]


def _failed(words: str, desk: Desk | None = None) -> int:
    if desk is not None and desk.debug:
        traceback.print_exc()
    click.echo(f"govern: {words}", err=True)
    return REFUSED


def refused(words: str) -> NoReturn:
    """End with 1 after the result was told."""
    click.echo(f"govern: {words}", err=True)
    raise click.exceptions.Exit(REFUSED)
