"""Verification here: a file that somebody brings along, held against the key that they trust.

It reads nothing of ours, and changes nothing. What is larger is for the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from govern.access import names
from govern.audit import parquet, reading, verify

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

    from sqlalchemy.orm import Session as OrmSession

    from govern.audit.verify import PackReport, Report
    from govern.principal import Principal

MOST_UPLOADED = 32 * 1024 * 1024
MOST_UNPACKED = 256 * 1024 * 1024


def check(file: IO[bytes], *, key: str, kept: Sequence[bytes]) -> Report | PackReport:
    """What a file proves, told by how it begins: an export of any form, or an evidence pack.

    `Invalid` names `key`, `checkpoint` or `file` where it cannot be read at all.
    """
    head = file.read(verify.BEGINS)
    file.seek(0)
    given: dict[str, Any] = {"keys": [key], "kept": list(kept)}
    if verify.is_pack(head):
        return verify.check_pack(file, most_bytes=MOST_UNPACKED, **given)
    if head[:4] == parquet.MAGIC:
        rows: Any  # all that is asked of it is to be read
        with parquet.apart(file, most_bytes=MOST_UNPACKED) as rows:
            return verify.check(rows, **given)
    if verify.is_events(head):
        return verify.check_events(file, **given)
    return verify.check(file, **given)


def told(session: OrmSession, report: Report | PackReport, *, by: Principal) -> dict[str, Any]:
    """The same in words; logs that the caller may read stand in them by their code."""
    whole = report.log if isinstance(report, verify.PackReport) else report
    ids = set(reading.readable(session, by=by))
    codes = names.of(session, [one.log for one in whole.logs if one.log in ids] if whole else [])

    def words(sentence: str) -> str:
        for log_id, code in codes.items():
            sentence = sentence.replace(log_id, code)
        return sentence

    return {
        "ok": report.ok,
        "proves": [words(one) for one in report.proves],
        "damage": [
            {"seq": one.seq, "line": one.line, "kind": one.kind, "message": words(one.message)}
            for one in report.damage
        ],
        "unnamed": whole.unnamed if whole else 0,
        "does_not_prove": [words(one) for one in report.does_not_prove],
    }
