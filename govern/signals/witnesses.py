"""Pushing checkpoints to witnesses (C2SP tlog-witness): each log's newest head, with its proof.

A witness that answers late or not at all holds nothing up; how far each is behind is shown. One
that refuses saw another history than ours: that is told as damage, in every round, until someone
looks.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import requests

from govern import errors, origins, outbound
from govern.audit import witnessing

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.audit.witnessing import Following
    from govern.db import Database

_MOST_BYTES = 16 * 1024


def push(database: Database, *, progress: Callable[[int], None] | None = None) -> int:
    """Ask each witness for what it is behind; returns how many cosignatures came.

    Raises the last failure, once all were asked: one witness keeps no other waiting for long.
    """
    with database.reading() as session:
        behind = [each for each in witnessing.following(session) if each.cosigned < each.signed]
    came, failure = 0, None
    for each in behind:
        try:
            _ask(database, each)
            came += 1
        except (errors.GovernError, requests.RequestException) as error:
            refuses = isinstance(error, errors.LogDamaged)
            words = str(error) if isinstance(error, errors.GovernError) else type(error).__name__
            witnessing.failed(database, each, words, refuses=refuses)
            failure = error
        if progress is not None:
            progress(came)
    if failure is not None:
        raise failure
    return came


def _ask(database: Database, each: Following) -> None:
    old = each.cosigned
    for _ in range(2):
        with database.reading() as session:
            signed, request = witnessing.asking(session, each.log, old)
        status, kind, answer = _sent(each.witness.url, request.body())
        if status == HTTPStatus.OK:
            witnessing.keep(database, each.witness, signed, answer)
            return
        told = answer.strip()
        if status != HTTPStatus.CONFLICT or kind != "text/x.tlog.size" or not told.isdigit():
            break
        if int(told) == old:  # the same size, and yet not the same tree
            break
        old = int(told)
    if status in {HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY}:
        raise errors.LogDamaged(
            f"The witness {each.witness.name} refuses {each.log}: it saw another history of it."
        )
    raise errors.Unavailable(f"The witness {each.witness.name} answered {status}.")


def _sent(url: str, body: bytes) -> tuple[int, str, str]:
    """Status, media type and text of an answer, of which no more than a few lines count."""
    with requests.Session() as session:
        # A witness may well lie inside: only whoever has this machine's command names one.
        outbound.confine(session, origins.of(url, field="url"), inside=True)
        answer = session.post(
            f"{url}/add-checkpoint", data=body,
            headers={"Content-Type": "text/plain; charset=utf-8"},
        )  # fmt: skip
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    return answer.status_code, kind, answer.content[:_MOST_BYTES].decode(errors="replace")
