"""The leaf: the exact bytes that an entry adds to a log. This format is for ever.

Canonical JSON (RFC 8785) of an object with

    v        1, the version of this layout; a reader allows fields that it does not know
    log      id of the log, `house` or a client's id
    seq      place in that log, from 0
    time     RFC 3339, UTC, six decimals; strictly increasing within a log
    type     see `events`
    actor    opaque id of who did it: `sub_…`, `int_…`, `operator` or `system`
    session  opaque id of the session it was done from, when there was one
    salt     128 random bits, so that no leaf can be guessed from its hash
    refs     opaque ids of what it is about: client, project, subject, grant, …
    data     what is no one's personal value: modes, windows, counts, codes
    commit   for each personal value its name and SHA-256(salt ‖ value); value and salt lie beside
             the log, where they can be erased while every proof stays whole
"""

from __future__ import annotations

import hashlib
import json
import secrets
from base64 import b64encode
from typing import Any

VERSION = 1
MAX_BYTES = 65_535  # C2SP tlog-tiles, entries: a 16-bit length


def canonical(value: Any) -> bytes:
    """RFC 8785 bytes of `value`, which holds no floats and only ASCII keys.

    For such values `json.dumps` in C gives the very bytes of RFC 8785; a property test holds it
    against the reference encoder.
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def salt() -> str:
    """128 random bits, in base64."""
    return b64encode(secrets.token_bytes(16)).decode()


def commitment(salt: str, value: str) -> str:
    """SHA-256 over the salt's text and the value, in base64."""
    return b64encode(hashlib.sha256(f"{salt}{value}".encode()).digest()).decode()


def build(
    *,
    log: str,
    seq: int,
    time: str,
    type: str,
    actor: str,
    session: str | None,
    refs: dict[str, str],
    data: dict[str, Any],
    commit: dict[str, str],
) -> bytes:
    """Make the leaf of one entry; empty parts are left out."""
    fields: dict[str, Any] = {
        "v": VERSION,
        "log": log,
        "seq": seq,
        "time": time,
        "type": type,
        "actor": actor,
        "salt": salt(),
    }
    optional = {"session": session, "refs": refs, "data": data, "commit": commit}
    fields.update({name: value for name, value in optional.items() if value})
    return canonical(fields)
