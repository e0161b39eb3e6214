"""The HTTP side of a witness (C2SP tlog-witness v1.0.0): a plain WSGI callable, of one address."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from govern.audit.witness import (
    Malformed,
    NotSigned,
    Refused,
    Rewritten,
    Stale,
    UnknownLog,
    Witness,
)
from govern.tlog.witness import MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

FOLDER = "GOVERN_WITNESS_DIR"
PATH = "/add-checkpoint"

STATUSES: dict[type[Refused], str] = {
    Malformed: "400 Bad Request",
    UnknownLog: "404 Not Found",
    NotSigned: "403 Forbidden",
    Rewritten: "422 Unprocessable Content",
}
_TEXT = "text/plain; charset=utf-8"


def create() -> Wsgi:
    """The application of the witness in the folder that GOVERN_WITNESS_DIR names."""
    return application(Witness(Path(os.environ[FOLDER])))


def application(witness: Witness) -> Wsgi:
    """Answer `POST /add-checkpoint`, and nothing else."""

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        status, kind, text = _answer(witness, environ)
        body = text.encode()
        start(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    return answer


def _answer(witness: Witness, environ: dict[str, Any]) -> tuple[str, str, str]:
    if environ["PATH_INFO"] != PATH:
        return "404 Not Found", _TEXT, f"A witness is asked at {PATH}.\n"
    if environ["REQUEST_METHOD"] != "POST":
        return "405 Method Not Allowed", _TEXT, "A witness is asked by POST.\n"
    length = environ.get("CONTENT_LENGTH") or "0"
    if not length.isdigit() or int(length) > MOST_BYTES:
        return "413 Content Too Large", _TEXT, "No checkpoint is that long.\n"
    body = environ["wsgi.input"].read(int(length))
    try:
        return "200 OK", _TEXT, witness.cosign(body, at=int(time.time()))
    except Stale as error:
        return "409 Conflict", "text/x.tlog.size", f"{error.size}\n"
    except Refused as error:
        return STATUSES[type(error)], _TEXT, f"{error}\n"
