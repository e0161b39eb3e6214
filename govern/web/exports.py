"""Exports over HTTP: the file is written whole before the first byte leaves, in constant memory."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from flask import send_file
from flask_babel import gettext as _

from govern import clock, errors
from govern.access import evidence, places
from govern.audit import export
from govern.audit.export import Filter
from govern.audit.signer import Signer

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path
    from typing import BinaryIO

    from flask import Response

    from govern.db import Database
    from govern.principal import Principal

PACK = "pack"
MEDIA_TYPES = {
    "jsonl": "application/jsonl", "csv": "text/csv", "ocsf": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet", PACK: "application/zip",
}  # fmt: skip
NAMES = {"jsonl": "JSON Lines", "csv": "CSV", "ocsf": "OCSF 1.8.0", "parquet": "Parquet"}
_SUFFIXES = {"ocsf": "ocsf.ndjson", PACK: "evidence.zip"}


def written(
    database: Database, form: str, *, client: str | None, where: Filter, by: Principal
) -> BinaryIO:
    """Export to a file without a name; signed first where this process signs, to be complete.

    An evidence pack is of one client, from its beginning and until now where no period is given.
    """
    file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the answer was sent
    signed(database)
    if form == PACK:
        _pack(database, file, client, where, by=by)
        return file
    export.run(database, file, form=form, client=client, where=where, by=by)
    return file


def signed(database: Database) -> None:
    """Sign what was recorded up to now, where this node signs: so an export is complete."""
    if database.settings.followers:
        Signer(database.settings).sign(database)


def _pack(
    database: Database, file: BinaryIO, client: str | None, where: Filter, *, by: Principal
) -> None:
    if client is None:
        raise errors.Invalid(_("Choose a client: an evidence pack is of one."), field="log")
    if where != Filter(begin=where.begin, end=where.end):
        raise errors.Invalid(
            _("An evidence pack holds the whole log of its period: leave all other filters empty."),
            field="format",
        )
    with database.reading() as session:
        begin = where.begin or places.find_client(session, client, by=by).recorded_at
        end = where.end or clock.now(session)
    evidence.write(database, file, client, begin=begin, end=end, by=by)


def answer(file: BinaryIO, form: str) -> Response:
    """Send such a file."""
    file.seek(0)
    return sent(file, form, clock.utcnow())


def sent(file: BinaryIO | Path, form: str, at: datetime) -> Response:
    """Send a file made at an instant; of one on the disk, also the part that is asked for."""
    return send_file(
        file, mimetype=MEDIA_TYPES[form], as_attachment=True,
        download_name=f"govern-log-{at:%Y%m%dT%H%M%SZ}.{_SUFFIXES.get(form, form)}",
    )  # fmt: skip
