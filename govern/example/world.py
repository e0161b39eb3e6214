"""Fill an empty database with the example world, once; its dates move with today.

It never touches a database that holds anything. Accounts get random passwords, written with their
authenticator seeds to `example-accounts.json` in the data directory; that this file is there marks
the world as an example on every page.
"""

from __future__ import annotations

import csv
import io
import json
import secrets
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyotp
from sqlalchemy import select

from govern import clock, config, errors
from govern.access import catalogue, roster
from govern.access.clients import Client
from govern.identity import (
    activation,
    authenticators,
    integrations,
    roles,
    sealing_keys,
    subjects,
)
from govern.identity.subjects import Subject
from govern.principal import SYSTEM

if TYPE_CHECKING:
    from datetime import datetime

    from govern.config import Settings
    from govern.db import Database, Session

_DATA = Path(__file__).parent / "data"
# The day that the files' dates were written around.
_WRITTEN = clock.parse("2026-11-21T00:00:00Z", field="written")
_CONTRACTOR = "P00001"
_STAFF = (
    ("admin", "ada@govern.example", "Ada Okafor"),
    ("admin", "ben@govern.example", "Ben Lindqvist"),
    ("auditor", "iris@govern.example", "Iris Tanaka"),
)


def load(database: Database) -> list[dict[str, str]] | None:
    """Load the world and return its accounts; None when the database holds anything already."""
    with database.reading() as session:
        for table in (Client, Subject):
            if session.execute(select(table.id).limit(1)).first() is not None:
                return None
        today = clock.now(session)
    document = json.loads((_DATA / "catalogue.json").read_text())
    for client in document["clients"]:
        for project in client["projects"]:
            project["contact"] = f"{project['code'].lower()}-desk@govern.example"
    sealing_keys.mark_as_example(database)
    catalogue.load(database, document, by=SYSTEM)
    roster.load(database, _shifted(today), by=SYSTEM)
    accounts = [_staff(database, *person, number) for number, person in enumerate(_STAFF, 1)]
    accounts.append(_contractor(database))
    _write(database.settings.example_accounts, accounts)
    row, secret = database.transaction(
        lambda session: integrations.create(
            session, "labelling tool", scopes=("decision",), by=SYSTEM
        )
    )
    _write(
        database.settings.data_dir / "example-integration.json",
        {"client_id": row.id, "client_secret": secret},
    )
    return accounts


def code(settings: Settings, email: str) -> str:
    """The one-time code that an example account's app shows now."""
    for account in json.loads(config.secret(settings.example_accounts)):
        if account["email"] == email:
            return pyotp.TOTP(pyotp.parse_uri(account["totp_uri"]).secret).now()
    raise errors.Unknown(f"There is no example account {email}.")


def _shifted(today: datetime) -> io.BytesIO:
    """The roster with its dates moved by the whole days since it was written."""
    days = timedelta(days=(today - _WRITTEN).days)
    with (_DATA / "roster.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    out = io.StringIO()
    writer = csv.DictWriter(out, roster.COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        for column in ("starts_at", "ends_at"):
            moved = clock.parse(row[column], field=column) + days
            row[column] = moved.isoformat().replace("+00:00", "Z")
        writer.writerow(row)
    return io.BytesIO(out.getvalue().encode())


def _staff(database: Database, role: str, email: str, name: str, number: int) -> dict[str, str]:
    particulars = subjects.Particulars.checked(
        external_id=f"S{number:04}", email=email, full_name=name, kind="staff", country="IE"
    )

    def work(session: Session) -> Subject:
        subject = subjects.register(session, particulars, by=SYSTEM)
        roles.assign(session, subject, role, reason="example world", by=SYSTEM)
        return subject

    return _account(database, role, database.transaction(work))


def _contractor(database: Database) -> dict[str, str]:
    with database.reading() as session:
        subject = subjects.find(session, _CONTRACTOR)
    return _account(database, "contractor", subject)


def _account(database: Database, role: str, subject: Subject) -> dict[str, str]:
    """Activate someone the way anyone is: a link, a password, an authenticator app."""
    password = secrets.token_urlsafe(12)
    hashed = activation.hash_password(password)
    seed = authenticators.new_seed()
    token = database.transaction(lambda session: activation.issue(session, subject, by=SYSTEM))

    def work(session: Session) -> None:
        # The step before, so that the code shown now is still unspent at the first sign-in.
        now = clock.now(session) - timedelta(seconds=authenticators.STEP)
        activation.complete(
            session, token, password_hash=hashed, seed=seed, code=pyotp.TOTP(seed).at(now)
        )

    database.transaction(work)
    uri = authenticators.provisioning_uri(seed, subject)
    return {"role": role, "email": subject.email, "password": password, "totp_uri": uri}


def _write(path: Path, value: Any) -> None:
    path.unlink(missing_ok=True)
    config.make_secret(path, (json.dumps(value, indent=1) + "\n").encode())
