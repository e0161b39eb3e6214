"""`/logs/{house|CLIENT}/…`: each log as files (C2SP tlog-tiles), to those who may read it."""

from __future__ import annotations

from flask import Blueprint, Response

from govern.access import places
from govern.audit import reading, serving
from govern.audit.log import HOUSE
from govern.web import guard

blueprint = Blueprint("logs", __name__)

_KINDS = {True: "application/octet-stream", False: "text/plain; charset=utf-8"}
# A tile never changes, but not everyone may see it: only the asker's own store may keep it.
_KEPT = {True: "private, max-age=31536000, immutable", False: "no-store"}


@blueprint.get("/logs/<name>/<path:path>")
@guard.either
def file(name: str, path: str) -> Response:
    """One file of a log: its checkpoint, a tile of hashes, or a bundle of entries."""
    by, database = guard.asker(), guard.database()
    with database.reading() as session:
        log_id = HOUSE if name == HOUSE else places.find_client(session, name, by=by).id
        found = serving.read(session, log_id, path, by=by)
    client = None if log_id == HOUSE else log_id
    reading.note(database, "log.file", client=client, detail={"file": path}, by=by)
    answer = Response(found.body, content_type=_KINDS[found.final])
    answer.headers["Cache-Control"] = _KEPT[found.final]
    return answer
