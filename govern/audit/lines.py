"""The lines of an export: how the writer writes them, and so how the verifier expects every byte.

An export is JSON Lines, one object a line:

    header   {"filter":{…},"govern":"export/1","logs":[{"checkpoint":signed note,"log":id,
             "origin":…,"size":n,"through":instant of entry n-1}…],"made_at":…,"withheld":[…]},
             canonical; `unsigned` names the logs of which nothing was signed yet, a log's
             `cosigned` are the newest checkpoints that witnesses cosigned, its `erasures` how
             many of its entries account for erased values: these stand in the file whatever the
             filter; and `withheld` says what the reader may not see: `other_logs` exist and are
             not in the file
    log      {"log":id}, then the pieces that cover [0, size) of its checkpoint, in order:
    entry    {"seq":n,"hash":leaf hash,"values":{name:[salt,value]…},"entry":the exact leaf};
             a value that was erased is null
    skip     {"skip":[begin,end],"hashes":[…]}: what the filter leaves out, as the hashes of the
             perfect subtrees of that run
    end      {"end":true,"rows":entries shown,"erased":values that are null,"sha256":of every
             byte before this line,"signed":a C2SP note over these three}; not signed where the
             key is not at hand

The header and the last line are the manifest: by its signature nobody but the key's holder can
have chosen filter, instants, counts and bytes.

or CSV with the same pieces as rows: columns to read, derived from the leaf, then the exact parts.
Every line has one form, so the verifier writes it anew and compares bytes. No physical line holds
a line break, in either form.
"""

from __future__ import annotations

import csv
import json
import re
import struct
from base64 import b64encode
from binascii import b2a_base64
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from govern.audit import leaf

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

FORMAT = "export/1"
# The longest line that a reader accepts: a header of tens of thousands of logs.
MAX_LINE = 1 << 24

ENTRY = re.compile(
    rb'\{"seq":(0|[1-9][0-9]{0,18}),"hash":"([A-Za-z0-9+/]{43}=)"'
    rb'(?:,"values":(\{.*?\}))?,"entry":(\{.*\})\}\n'
)
_STRING = rb'"[ !#-\[\]-~]*"'
_FLAT = rb"\{(?:%s:%s(?:,%s:%s)*)?\}".replace(rb"%s:%s", rb"%s:(?:%s|-?[0-9]+|true|false|null)")
_FLAT = _FLAT.replace(b"%s", _STRING)
# An entry whose leaf is flat and plain ASCII, as nearly all are: what this matches is JSON, and a
# leaf of version 1. Groups: seq, hash, values, leaf, its commitments, log, seq, time and type.
PLAIN = re.compile(
    rb'\{"seq":([0-9]{1,19}),"hash":"([A-Za-z0-9+/]{43}=)"(?:,"values":(\{.*?\}))?'
    rb',"entry":(\{"actor":' + _STRING + rb'(?:,"commit":(' + _FLAT + rb"))?"
    rb'(?:,"data":' + _FLAT + rb')?,"log":"([!#-\[\]-~]+)"(?:,"refs":' + _FLAT + rb")?"
    rb',"salt":' + _STRING + rb',"seq":(0|[1-9][0-9]{0,18})(?:,"session":' + _STRING + rb")?"
    rb',"time":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)","type":"([ !#-\[\]-~]*)","v":1\})\}\n'
)
_HASH = 32  # bytes
_LINE = b'{"seq":%d,"hash":"%b=","entry":%b}\n'
SKIP = re.compile(rb'\{"skip":\[(0|[1-9][0-9]{0,18}),([1-9][0-9]{0,18})\],"hashes":\[(.*)\]\}\n')

COLUMNS = (
    "kind", "log", "seq", "time", "type", "actor", "session", "client", "subject", "project",
    "dataset", "grant", "suspension", "request", "hash", "values", "leaf",
)  # fmt: skip
_CELL = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^",]*))(?:,|\r\n)')
_REFS = ("client", "subject", "project", "dataset", "grant", "suspension", "request")

# What a spreadsheet takes for the beginning of a formula, full-width forms included.
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
# Cells that are as they stand whoever reads them, with the commas between them.
_HARMLESS = re.compile(
    r"(?:[A-Za-z0-9][A-Za-z0-9_.:/+=-]*)?(?:,(?:[A-Za-z0-9][A-Za-z0-9_.:/+=-]*)?)*"
)
_CONTROL = {**dict.fromkeys(range(32), " "), 127: " ", 0x85: " ", 0x2028: " ", 0x2029: " "}


def encode(digest: bytes) -> str:
    """A hash as the lines have it."""
    return b64encode(digest).decode()


def header(fields: dict[str, Any]) -> bytes:
    """The first line."""
    return leaf.canonical({"govern": FORMAT, **fields}) + b"\n"


def begin(log_id: str) -> bytes:
    """The line before the pieces of one log."""
    return leaf.canonical({"log": log_id}) + b"\n"


def entry(
    seq: int, digest: str, values: Mapping[str, list[str] | None] | None, body: bytes
) -> bytes:
    """One entry with its values, if it commits to any: the leaf stands last, byte for byte."""
    beside = b',"values":' + leaf.canonical(values) if values else b""
    return b'{"seq":%d,"hash":"%s"%s,"entry":%s}\n' % (seq, digest.encode(), beside, body)


def plain_entries(first: int, bodies: Sequence[bytes], digests: bytes) -> Iterator[bytes]:
    """Neighbouring entries without values, by the first one's place, their leaves and their hashes.

    As `entry` writes each, but faster: 33 bytes are 44 characters, so all hashes are encoded in one
    go, each with a byte behind it that gives way to the padding.
    """
    spread = bytearray(len(bodies) * (_HASH + 1))
    for place in range(_HASH):
        spread[place :: _HASH + 1] = digests[place::_HASH]
    encoded = struct.iter_unpack("43sx", b2a_base64(spread, newline=False))
    return map(_LINE.__mod__, zip(count(first), chain.from_iterable(encoded), bodies))


def matches(
    form: re.Pattern[bytes], data: bytes, begin: int, end: int
) -> Iterator[re.Match[bytes]]:
    """The lines from `begin` on that are of one form, up to the first that is not.

    No line that begins at `end` or behind it is among them.
    """
    match = form.match
    while begin < end and (found := match(data, begin)) is not None:
        yield found
        begin = found.end()


def skip(first: int, end: int, hashes: Iterable[bytes]) -> bytes:
    """A run of entries that are left out."""
    listed = ",".join(f'"{encode(each)}"' for each in hashes)
    return b'{"skip":[%d,%d],"hashes":[%s]}\n' % (first, end, listed.encode())


def end(rows: int, erased: int, digest: str, signed: str | None = None) -> bytes:
    """The last line; `signed` is the note over its `manifest`."""
    note = b',"signed":' + leaf.canonical(signed) if signed is not None else b""
    form = b'{"end":true,"rows":%d,"erased":%d,"sha256":"%s"%s}\n'
    return form % (rows, erased, digest.encode(), note)


def manifest_name(name: str) -> str:
    """The name that the key signs manifests by; `name` is an installation's, or a log's of it."""
    return name.split("/logs/", 1)[0] + "/exports"


def manifest(name: str, rows: int, erased: int, digest: str) -> str:
    """The text that is signed. Its second line is no number, so it is no log's checkpoint."""
    return f"{manifest_name(name)}\nrows {rows}\nerased {erased}\nsha256 {digest}\n"


class _Echo:
    """A file for csv.writer that hands each row back."""

    def write(self, row: str) -> str:
        return row


_write_row = csv.writer(_Echo(), lineterminator="\r\n").writerow

CSV_HEAD = ",".join(COLUMNS).encode() + b"\r\n"


def to_csv(line: bytes) -> bytes:
    """A line of the JSON form as a row of the CSV form; ValueError when it is neither."""
    return row(cells(line))


def row(found: Sequence[str]) -> bytes:
    """Cells as a row of the CSV form; what is there to read is made safe."""
    readable = ",".join(found[:-2])
    # As nearly every row is, with no comma in a cell: csv.writer would write the same.
    if _HARMLESS.fullmatch(readable) and readable.count(",") == len(found) - 3:
        exact = [cell.replace('"', '""') for cell in found[-2:]]
        return ",".join([readable, *(each and f'"{each}"' for each in exact)]).encode() + b"\r\n"
    written: str = _write_row([found[0], *map(safe, found[1:-2]), *found[-2:]])
    return written.encode()


def cells(line: bytes) -> list[str]:
    """The cells that a line of the JSON form has; ValueError when it is no such line."""
    if line.startswith(b'{"seq":'):
        return _of_entry(line)
    kind = _kind(line)
    if kind is None:
        raise ValueError("no piece of an export")
    log_id = str(json.loads(line)["log"]) if kind == "log" else ""
    return [kind, log_id, *[""] * (len(COLUMNS) - 3), line[:-1].decode()]


def from_csv(written: bytes) -> bytes:
    """The line of the JSON form that a row holds; the caller compares `to_csv` of it with the row.

    ValueError when the row is none of ours.
    """
    found: list[tuple[str, str]] = _CELL.findall(written.decode())
    read = [quoted.replace('""', '"') or plain for quoted, plain in found]
    if len(read) != len(COLUMNS):
        raise ValueError(f"a row has {len(COLUMNS)} cells, not {len(read)}")
    fields = dict(zip(COLUMNS, read, strict=True))
    if fields["kind"] != "entry":
        return fields["leaf"].encode() + b"\n"
    values = f',"values":{fields["values"]}' if fields["values"] else ""
    digest = fields["hash"].removeprefix("'")
    line = f'{{"seq":{fields["seq"]},"hash":"{digest}"{values},"entry":{fields["leaf"]}}}\n'
    return line.encode()


def safe(text: str) -> str:
    """A cell that no spreadsheet takes for a formula, and that breaks no line."""
    plain = text.translate(_CONTROL) if not text.isprintable() else text
    return f"'{plain}" if plain.lstrip().startswith(_FORMULA) else plain


def _kind(line: bytes) -> str | None:
    for kind in ("log", "skip", "end"):
        if line.startswith(b'{"%s":' % kind.encode()):
            return kind
    return "header" if b'"govern":"' in line else None


def _of_entry(line: bytes) -> list[str]:
    parts = ENTRY.fullmatch(line)
    if parts is None:
        raise ValueError("no entry of an export")
    seq, digest, values, body = (part.decode() if part else "" for part in parts.groups())
    fields = json.loads(body)
    refs = fields.get("refs")
    refs = refs if isinstance(refs, dict) else {}
    readable = [
        *(fields.get(name, "") for name in ("log", "seq", "time", "type", "actor", "session")),
        *(refs.get(name, "") for name in _REFS),
        digest,
    ]
    readable[1] = seq
    return ["entry", *map(str, readable), values, body]
