"""A whole export: for whom, of which logs, and written from its first line to its last.

A file covers each of its logs up to the newest checkpoint. What the filter leaves out stands in it
as hashes, so that every export, filtered or not, leads to the signed root. It is written in one
snapshot and in constant memory, and no one gets one without a row in the access log first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from govern import clock, permissions, replica
from govern.audit import decisions, leaf, lines, log
from govern.audit.decisions import AccessKind
from govern.audit.export.file import File, check_form
from govern.audit.export.heading import header
from govern.audit.export.pieces import write_log
from govern.audit.log import HOUSE
from govern.audit.signer import Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime
    from typing import BinaryIO

    from govern.audit.export.filters import Filter
    from govern.db import Database, Session
    from govern.principal import Principal


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What was written: entries shown, and each log with the size up to which it is complete.

    `unsigned` are the logs that nobody has signed yet: the file says so and holds nothing of them.
    """

    rows: int
    logs: tuple[str, ...]
    sizes: dict[str, int]
    unsigned: tuple[str, ...]


def run(
    database: Database,
    out: BinaryIO,
    *,
    form: str,
    client: str | None = None,
    where: Filter,
    by: Principal,
    progress: Callable[[int], None] | None = None,
) -> Summary:
    """Export every log that `by` may, or that of the client `client` (its id), to `out`.

    Takes `log:export` with a fresh factor. The access log gets its row before the first byte is
    written; `RecordFailed` when it cannot, and then nothing is.
    """
    check_form(form)
    with database.reading() as session:
        now = clock.now(session)
    with replica.reading(database) as session:
        chosen, withheld = allowed(session, client, now=now, by=by)
        note(database, chosen, {"form": form}, where=where, at=now, by=by)
        return write(
            session, out, form=form, logs=chosen, where=where,
            withheld=withheld, progress=progress,
        )  # fmt: skip


def note(
    database: Database, logs: Iterable[str], detail: dict[str, str], *, where: Filter,
    at: datetime, by: Principal,
) -> None:  # fmt: skip
    """Leave a row in the access log for each log that goes out, before its first byte does.

    So every client's evidence has who took it, and names no other that went out with it.
    """
    decisions.write(database, [
        {
            "at": at, "kind": AccessKind.EXPORT, "principal": by.id, "session_id": by.session,
            "client_id": None if log_id == HOUSE else log_id, "subject_id": where.subject,
            "resource_id": where.project,
            "detail": leaf.canonical(
                detail | {"filter": where.words(), "logs": [log_id]}
            ).decode(),
        }
        for log_id in logs
    ])  # fmt: skip


def allowed(
    session: Session, client: str | None, *, now: datetime, by: Principal
) -> tuple[list[str], tuple[str, ...]]:
    """The logs that `by` may export, or that of one client, and what is withheld from them.

    Takes `log:export` with a fresh factor.
    """
    held = permissions.scope(by, "log:export")
    # Whoever holds it over some clients alone may export those, and not the house.
    asked: Iterable[str | None] = held if held and client is None else (client,)
    for each in asked:
        permissions.require(by, "log:export", client=each, now=now)
    if client is not None:
        chosen = [log.known(session, client).id]
    else:
        chosen = [each.id for each in log.logs(session) if held is None or each.id in held]
    return chosen, ("other_logs",) if held is not None else ()


def write(
    session: Session,
    out: BinaryIO,
    *,
    form: str,
    logs: Sequence[str],
    where: Filter,
    withheld: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
) -> Summary:
    """Write these logs to `out`, each up to its newest checkpoint.

    The caller answers for the right to read them, and for the record of it. `Unavailable` when
    none of them was signed yet, `LogDamaged` when what the filter leaves out cannot be hashed.
    """
    check_form(form)
    fields = header(session, logs, where, withheld)
    with File(out, form, progress) as file:
        file.begin(fields)
        for head in fields["logs"]:
            file.write([lines.begin(head["log"])])
            write_log(session, file, head, where)
        file.finish(Signer(session.database.settings))
    return Summary(
        rows=file.rows,
        logs=tuple(head["log"] for head in fields["logs"]),
        sizes={head["log"]: head["size"] for head in fields["logs"]},
        unsigned=tuple(fields.get("unsigned", ())),
    )
