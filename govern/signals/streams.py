"""Pushing the logs to receivers such as a SIEM: signed entries alone, in order, as lines.

One request holds one run of one log, and says in its headers from which entry to which, so that a
receiver sees that nothing is missing. A cursor moves when the receiver answered with 2xx; until
then the same entries come again, ever later. Of several nodes one at a time sends to a stream.
"""

from __future__ import annotations

import hmac
import time
from base64 import b64decode, b64encode
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import requests
from sqlalchemy import update

from govern import clock, origins, outbound
from govern.audit import follower, ocsf, streaming, streams
from govern.audit.streams import LogStream, LogStreamState, Proof

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.audit.streaming import Run
    from govern.audit.streams import Standing
    from govern.db import Database, Session

_MOST = 500  # entries of a request
_TURN = 20.0  # seconds of one stream before the others have theirs
# Longer than a turn and a request may take: who has not said more by then has died.
_CLAIM = timedelta(seconds=60)
_FIRST, _LONGEST = timedelta(seconds=2), timedelta(minutes=10)
_OK = range(200, 300)


def push(database: Database, *, progress: Callable[[int], None] | None = None) -> int:
    """Send each stream what it is behind by; returns how many entries were taken.

    What fails is kept with the stream and tried again later: one receiver keeps no other waiting.
    """
    with database.reading() as session:
        now = clock.now(session)
        due = [
            each for each in streams.standing(session)
            if each.behind and each.state.next_try_at <= now
        ]  # fmt: skip
    taken = 0
    for each in due:
        if _claim(database, each):
            taken += _send(database, each, progress)
    return taken


def _claim(database: Database, each: Standing) -> bool:
    """Be the one that sends; False when another node is."""

    def work(session: Session) -> bool:
        now = clock.now(session)
        done = session.execute(
            update(LogStreamState)
            .where(LogStreamState.stream_id == each.stream.id, LogStreamState.next_try_at <= now)
            .values(next_try_at=now + _CLAIM),
            execution_options={"synchronize_session": False, "preserve_rowcount": True},
        )
        return bool(done.rowcount == 1)  # type: ignore[attr-defined]  # a DML result has it

    return database.transaction(work)


def _send(database: Database, each: Standing, progress: Callable[[int], None] | None) -> int:
    """Send a stream's runs, log by log, until all is taken, one fails, or its turn is over."""
    key = streams.secret(database.settings, each.stream)
    ends = time.monotonic() + _TURN
    places, sent = dict(each.taken), 0
    while time.monotonic() < ends:
        behind = [one for one, size in each.signed.items() if places.get(one, 0) < size]
        if not behind:
            break
        for log_id in behind:
            begin = places.get(log_id, 0)
            with database.reading() as session:
                run = streaming.run(session, log_id, begin, most=_MOST)
            wrong = _asked(each.stream, key, run)
            if not database.transaction(partial(_note, each=each, run=run, wrong=wrong)):
                return sent  # another node sends by now, or the stream ended
            if wrong:
                return sent
            places[log_id], sent = run.end, sent + run.end - begin
            if progress is not None:
                progress(sent)
    return sent


def _note(session: Session, each: Standing, run: Run, wrong: str) -> bool:
    """Keep what came of a request; False when the cursor stands elsewhere by now."""
    if session.get_one(LogStream, each.stream.id).ended_at is not None:
        return False
    state = session.get_one(LogStreamState, each.stream.id)
    now = clock.now(session)
    if wrong:
        state.failures += 1
        state.error = wrong
        state.next_try_at = now + min(_FIRST * 2 ** min(state.failures - 1, 20), _LONGEST)
        return True
    moved = follower.advance(session, each.stream.id, run.log, was=run.begin, to=run.end)
    if moved:
        state.failures, state.error = 0, ""
        state.delivered_at, state.next_try_at = now, now
    return moved


def _asked(row: LogStream, key: str, run: Run) -> str:
    """Send one run; returns what went wrong, or nothing."""
    written = map(ocsf.to_line, run.lines) if row.form == "ocsf" else run.lines
    body = b"".join(written)
    name = f"{run.log}/{run.begin}-{run.end}"
    headers = {
        "Content-Type": "application/jsonl", "User-Agent": "govern",
        "Govern-Log": run.log, "Govern-Begin": str(run.begin), "Govern-End": str(run.end),
        "Govern-Size": str(run.size),
    } | _proof(row, key, name, body)  # fmt: skip
    with requests.Session() as session:
        outbound.confine(session, origins.of(row.url, field="url"), inside=row.inside)
        try:
            answer = session.post(row.url, data=body, headers=headers)
        except requests.RequestException as error:
            return f"{type(error).__name__}: no answer that counts"
    return "" if answer.status_code in _OK else f"it answered {answer.status_code}"


def _proof(row: LogStream, key: str, name: str, body: bytes) -> dict[str, str]:
    """What tells the receiver that it is we (Standard Webhooks, or a header of its own)."""
    if row.proof == Proof.AUTHORIZATION:
        return {"Authorization": key}
    instant = str(int(time.time()))
    signed = f"{name}.{instant}.".encode() + body
    digest = hmac.digest(b64decode(key.removeprefix("whsec_")), signed, "sha256")
    return {
        "webhook-id": name, "webhook-timestamp": instant,
        "webhook-signature": f"v1,{b64encode(digest).decode()}",
    }  # fmt: skip
