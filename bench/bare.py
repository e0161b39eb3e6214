"""The least that a recorded decision takes: no rule, no caller, one statement for all who wait.

It looks for a grant that runs, and keeps a row with two indexes besides its key. What PostgreSQL,
this server and this machine leave room for is so much, and no more.
"""

from __future__ import annotations

import json
import os
import queue
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import psycopg

from govern.db import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

URL = "BENCH_POSTGRESQL"
TABLE = """
DROP TABLE IF EXISTS bare_access;
CREATE TABLE bare_access (
    writer text, number bigint, at timestamptz, subject_id text, project_id text, action text,
    permit bool, PRIMARY KEY (writer, number));
CREATE INDEX ON bare_access (subject_id, at);
CREATE INDEX ON bare_access (project_id, at);
"""
# As many questions at once as govern answers.
_TOGETHER = 1000
_STATEMENT = b"""
INSERT INTO bare_access
SELECT $4, $5::bigint + n, now(), subject_id, project_id, action, permit FROM (
    SELECT asked.n, subject.id AS subject_id, project.id AS project_id, asked.action, EXISTS (
        SELECT FROM access_grant held
        WHERE held.subject_id = subject.id AND held.project_id = project.id
        AND held.ends_at > now() AND held.ended_at IS NULL) AS permit
    FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY asked (who, code, action, n)
    LEFT JOIN subject ON subject.external_id = asked.who
    LEFT JOIN project ON project.code = asked.code
    OFFSET 0) decided
RETURNING number - $5::bigint, permit
"""

_Question: TypeAlias = tuple[str, str, str]


class _Job(NamedTuple):
    asked: list[_Question]
    answer: queue.SimpleQueue[list[bool]]


def app() -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    """Single questions and lists of them, each asked and written by threads of its own."""
    short: queue.SimpleQueue[_Job] = queue.SimpleQueue()
    long: queue.SimpleQueue[_Job] = queue.SimpleQueue()
    for waiting in (short, long, long):
        threading.Thread(target=_serve, args=(waiting,), daemon=True).start()

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if not length:
            start("204 No Content", [])
            return []
        body = json.loads(environ["wsgi.input"].read(length))
        items = body.get("evaluations")
        job = _Job([_question(item) for item in items or [body]], queue.SimpleQueue())
        (long if items else short).put(job)
        decisions = [{"decision": permit} for permit in job.answer.get()]
        told = json.dumps({"evaluations": decisions} if items else decisions[0]).encode()
        start("200 OK", [
            ("Content-Type", "application/json"), ("Content-Length", str(len(told))),
        ])  # fmt: skip
        return [told]

    return answer


def _question(item: dict[str, Any]) -> _Question:
    return item["subject"]["id"], item["resource"]["id"], item["action"]["name"]


def _serve(waiting: queue.SimpleQueue[_Job]) -> None:
    with psycopg.connect(os.environ[URL], autocommit=True) as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan")
        connection.execute("SET jit = off")
        driver = connection.pgconn
        driver.prepare(b"decide", _STATEMENT)
        writer, first = new_id("wri").encode(), 1
        while True:
            jobs = _together(waiting)
            asked = [question for job in jobs for question in job.asked]
            columns = [_array(column) for column in zip(*asked, strict=True)]
            result = driver.exec_prepared(b"decide", [*columns, writer, str(first).encode()])
            if result.error_message:
                raise SystemExit(f"bench: the bare decision failed: {result.error_message!r}")
            permits = {
                int(result.get_value(row, 0) or 0): result.get_value(row, 1) == b"t"
                for row in range(result.ntuples)
            }
            first += len(asked)
            place = 1
            for job in jobs:
                job.answer.put([permits[place + n] for n in range(len(job.asked))])
                place += len(job.asked)


def _together(waiting: queue.SimpleQueue[_Job]) -> list[_Job]:
    jobs = [waiting.get()]
    size = len(jobs[0].asked)
    while size < _TOGETHER:
        try:
            job = waiting.get_nowait()
        except queue.Empty:
            break
        jobs.append(job)
        size += len(job.asked)
    return jobs


def _array(column: Iterable[str]) -> bytes:
    """As PostgreSQL writes one; what the bench asks about has neither quotes nor backslashes."""
    return ('{"' + '","'.join(column) + '"}').encode()
