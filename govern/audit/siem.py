"""The manifest of an OCSF export: its last event, by which nothing before it can have been changed.

Its `raw_data` are the first and the last line that the same export has as JSON Lines, but for the
digest, which is of every byte of the events before. So the one form has what the others have:
filter, counts, up to where each log is complete, what is withheld, digest and signature.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

from govern.audit import leaf

VERSION = "1.8.0"
CODE = "export.manifest"
_API, _READ = 6003, 2
_FORM = "%Y-%m-%dT%H:%M:%S.%fZ"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - verify.py runs on Python 3.9


def manifest(header: bytes, end: bytes) -> bytes:
    """The event, from these two lines; ValueError, KeyError or TypeError when they are none."""
    fields, told = json.loads(header), json.loads(end)
    made_at = datetime.strptime(fields["made_at"], _FORM).replace(tzinfo=timezone.utc)  # noqa: UP017 - see above
    digest = told["sha256"]
    event = {
        "activity_id": _READ, "activity_name": CODE, "category_uid": _API // 1000,
        "class_uid": _API, "type_uid": _API * 100 + _READ, "severity_id": 1, "status_id": 1,
        "time": (made_at - _EPOCH) // (timedelta(milliseconds=1)),
        "actor": {"app_uid": "system"}, "src_endpoint": {"uid": "system"},
        "api": {"operation": CODE, "request": {"uid": digest}},
        "message": "What this export covers, and the signature under it.",
        "metadata": {
            "event_code": CODE, "log_name": "exports", "product": {"name": "govern"},
            "uid": f"export/{digest}", "version": VERSION,
        },
        "raw_data": (header + end).decode(),
        "unmapped": {
            "filter": fields["filter"], "withheld": fields.get("withheld", []),
            "unsigned": fields.get("unsigned", []), "rows": told["rows"],
            "erased": told["erased"], "sha256": digest,
            "complete_through": {head["log"]: head.get("through") for head in fields["logs"]},
        },
    }  # fmt: skip
    return leaf.canonical(event) + b"\n"


def lines_of(event: bytes) -> tuple[bytes, bytes] | None:
    """The two lines that an event is the manifest of; None when it is none."""
    try:
        header, end, rest = json.loads(event)["raw_data"].encode().split(b"\n")
        found = header + b"\n", end + b"\n"
        return found if not rest and manifest(*found) == event else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
