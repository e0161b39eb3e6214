"""Exports over HTTP: the file is written whole before the first byte leaves, in constant memory."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from flask import send_file

from govern import clock
from govern.audit import export
from govern.audit.signer import Signer

if TYPE_CHECKING:
    from typing import BinaryIO

    from flask import Response

    from govern.audit.export import Filter
    from govern.db import Database
    from govern.principal import Principal

MEDIA_TYPES = {"jsonl": "application/jsonl", "csv": "text/csv", "ocsf": "application/x-ndjson"}
_SUFFIXES = {"ocsf": "ocsf.ndjson"}


def written(
    database: Database, form: str, *, client: str | None, where: Filter, by: Principal
) -> BinaryIO:
    """Export to a file without a name; signed first where this process signs, to be complete."""
    file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the answer was sent
    if database.settings.followers:
        Signer(database.settings).sign(database)
    export.run(database, file, form=form, client=client, where=where, by=by)
    return file


def answer(file: BinaryIO, form: str) -> Response:
    """Send such a file."""
    file.seek(0)
    return send_file(
        file, mimetype=MEDIA_TYPES[form], as_attachment=True,
        download_name=f"govern-log-{clock.utcnow():%Y%m%dT%H%M%SZ}.{_SUFFIXES.get(form, form)}",
    )  # fmt: skip
