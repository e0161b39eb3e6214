"""Proofs for programs: the receipt of one entry, and the verification of a file brought along."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, field_validator
from werkzeug.datastructures import FileStorage

from govern import errors, permissions
from govern.access import names
from govern.audit import reading, receipts
from govern.audit.log import HOUSE
from govern.web import exports, guard, verifying
from govern.web import receipts as answers
from govern.web.api.routes import Routes
from govern.web.api.shapes import Asked, Count, Line, Query, Told, Upload

if TYPE_CHECKING:
    from typing import Any

    from flask import Response

    from govern.audit.verify import PackReport, Report
    from govern.db import Session
    from govern.principal import Principal

routes = Routes("proving")


class Brought(Asked):
    """A file, and what it is held against."""

    file: Upload = Field(description="An export of any form, or an evidence pack.")
    key: Line = Field(description="A verifier key that you trust, as `govern log key` printed it.")
    checkpoint: Upload = Field(
        default=None, description="A checkpoint that you kept: it finds a tail that was cut off."
    )

    @field_validator("file")
    @classmethod
    def _is_file(cls, value: Any) -> Any:
        if not isinstance(value, FileStorage):
            raise errors.Invalid("file: send it as a file, with a name.", field="file")
        return value


class Placed(Query):
    """Which entry."""

    log: Line = Field(description="A client's code, or `house`.")
    seq: Count = Field(description="Its place in the log.")


class Damage(Told):
    """One thing that is wrong, and where."""

    kind: str
    message: str
    seq: int | None = Field(description="The entry.")
    line: int | None = Field(description="The line of the file, from 1 on.")


class Verdict(Told):
    """What a file proves, and what it does not."""

    ok: bool = Field(description="Whether it is as it was signed.")
    proves: list[str]
    damage: list[Damage]
    unnamed: Count = Field(description="Further damages, after the first thousand.")
    does_not_prove: list[str]


def _may_read(by: Principal) -> None:
    permissions.require_some(by, "log:read")


def _signed(*, asked: Placed, by: Principal) -> None:  # noqa: ARG001 - what every `before` is given
    _may_read(by)
    exports.signed(guard.database())


@routes.get("/log/receipt", ("text/html",), query=Placed, before=_signed)
def receipt(session: Session, *, asked: Placed, ready: None, by: Principal) -> Response:  # noqa: ARG001 - what `before` made
    """One entry, byte for byte, with its inclusion proof and a signed head (C2SP tlog-proof).

    A page to keep; `govern log verify-receipt` and `verify.py` check it offline.
    """
    log_id = names.log_of(session, asked.log, by=by)
    document = receipts.of_entry(session, log_id, asked.seq, by=by)
    client = None if log_id == HOUSE else log_id
    reading.note(guard.database(), "receipt", client=client, detail={"entry": asked.seq}, by=by)
    return answers.answer(document)


def _checked(*, asked: Brought, by: Principal) -> Report | PackReport:
    _may_read(by)
    kept = []
    if asked.checkpoint is not None:
        given = asked.checkpoint
        kept.append(given.read() if isinstance(given, FileStorage) else str(given).encode())
    return verifying.check(asked.file.stream, key=asked.key, kept=kept)


@routes.judge(
    "/log/verify", Verdict, body=Brought, most_bytes=verifying.MOST_UPLOADED, before=_checked
)  # fmt: skip
def verify(
    session: Session,
    *,
    asked: Brought,  # noqa: ARG001 - what `before` was given
    ready: Report | PackReport,
    by: Principal,
) -> Verdict:
    """Check an export or an evidence pack, of at most 32 MB, against a key that you trust.

    Quicker than `govern log verify` and `verify.py`, which need no trust in this server.
    """
    return Verdict(**verifying.told(session, ready, by=by))
