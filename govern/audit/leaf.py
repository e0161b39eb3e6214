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
import itertools
import json
import operator
import re
import secrets
import string
from base64 import b64encode
from binascii import b2a_base64
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION = 1
MAX_BYTES = 65_535  # C2SP tlog-tiles, entries: a 16-bit length

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)
_DECODER = json.JSONDecoder()
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
# Salts of one length: else a salt could take over the beginning of its value.
_SALT_LENGTH = 24
_PLAIN = f"{string.ascii_letters}{string.digits}_".encode()
_SLOT = secrets.token_hex()  # which nothing that an entry holds can be


def canonical(value: object) -> bytes:
    """RFC 8785 bytes of `value`, which holds no floats and only ASCII keys.

    For such values the C encoder gives the very bytes of RFC 8785; a property test holds it
    against the reference encoder.
    """
    return _ENCODER.encode(value).encode()


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


class Form:
    """The leaf of many entries that differ in place, instant, salt and some opaque ids alone.

    It gives the very bytes that `build` would, at a tenth of the cost. `refs` are those that all
    share; `differing` names the others, whose values are given in the order of their names.
    """

    def __init__(
        self,
        *,
        log: str,
        type: str,
        actor: str,
        refs: dict[str, str],
        differing: Iterable[str],
        data: dict[str, Any],
    ) -> None:
        self.type, self.actor, self.refs = type, actor, refs
        self.place = {name: place for place, name in enumerate(sorted(differing))}
        fields: dict[str, Any] = {
            "v": VERSION,
            "log": log,
            "seq": _SLOT,
            "time": _SLOT,
            "type": type,
            "actor": actor,
            "salt": _SLOT,
            "refs": refs | dict.fromkeys(self.place, _SLOT),
        }
        text = canonical(fields | ({"data": data} if data else {})).decode().replace("%", "%%")
        slot = canonical(_SLOT).decode()
        # In the order of names: the refs, the salt, the place, which is no string, and the time.
        self.text = text.replace(f'"seq":{slot}', '"seq":%d').replace(slot, '"%s"')


def filled(
    alike: Iterable[tuple[Form, tuple[str, ...]]],
    salts: Iterable[str],
    seqs: Iterable[int],
    times: Iterable[str],
) -> list[bytes]:
    """Make the leaves of entries from their forms and own ids; that these are `plain` was seen.

    All in one go, since each step costs more than what it does: none of them holds a line's end.
    """
    forms, ids = zip(*alike, strict=True)
    each = map(operator.concat, ids, zip(salts, seqs, times, strict=True))
    text = "\n".join([form.text for form in forms]) % tuple(itertools.chain.from_iterable(each))
    return text.encode().split(b"\n")


def plain(ids: Iterable[str]) -> bool:
    """Whether JSON writes all of these as they are."""
    return not "".join(ids).encode().translate(None, _PLAIN)


def salts(count: int) -> list[str]:
    """As many salts, from one reading of the source of chance."""
    drawn = secrets.token_bytes(16 * count)
    return [
        b2a_base64(drawn[at : at + 16], newline=False).decode() for at in range(0, len(drawn), 16)
    ]


def faults(fields: dict[str, Any], *, log: str, seq: int, after: str) -> list[tuple[str, str]]:
    """(kind, words) of what is wrong with a parsed leaf at this place, after one of time `after`.

    Of a version that is not known here, nothing more can be said than that.
    """
    version = fields.get("v")
    if version != VERSION or type(version) is not int:
        return [("version", f"has the unknown version {version!r}")]
    found = []
    if fields.get("log") != log or fields.get("seq") != seq or type(fields["seq"]) is not int:
        found.append(("place", f"says it is entry {fields.get('seq')!r} of {fields.get('log')!r}"))
    time = fields.get("time")
    if not isinstance(time, str) or not _TIME.fullmatch(time):
        found.append(("time", f"has no instant: {time!r}"))
    elif time <= after:
        found.append(("time", f"is of {time}, not after the one before it ({after})"))
    return found


def value_faults(fields: dict[str, Any], values: dict[str, Any]) -> list[tuple[str, str]]:
    """(kind, words) of what does not fit between a leaf's commitments and the values beside it.

    A value that is None is said to have been erased.
    """
    commit = fields.get("commit", {})
    if not isinstance(commit, dict):
        return [("leaf", "commits to no names")]
    found = [
        ("value_missing", f"commits to “{name}”, which is not there")
        for name in commit
        if name not in values
    ]
    for name, opening in values.items():
        if name not in commit:
            found.append(("value", f"has a value “{name}” that it does not commit to"))
        elif opening is not None and not _opens(commit[name], opening):
            found.append(("value", f"commits to another “{name}” than the one beside it"))
    return found


def _opens(made: object, opening: object) -> bool:
    if not isinstance(opening, list) or [type(each) for each in opening] != [str, str]:
        return False
    salt, value = opening
    return len(salt) == _SALT_LENGTH and made == commitment(salt, value)


def parse(body: bytes) -> dict[str, Any] | None:
    """The fields in these bytes, or None when they are no JSON object.

    Whether they are canonical is not looked at: the writer answers for that, and `fsck` asks it.
    """
    try:
        text = body.decode()
        fields, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) and end == len(text) else None
