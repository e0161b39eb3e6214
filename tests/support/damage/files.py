"""What can be done to a file that an auditor took away, and what is said of it.

An export is checked as `govern log verify` does, a pack by the one file `verify.py` itself.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import warnings
import zipfile
from dataclasses import dataclass
from hashlib import sha256
from types import ModuleType
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from govern.audit import leaf, lines, single, verify
from govern.audit.log import Checkpoint
from govern.audit.verify import pack
from govern.tlog import merkle, note
from tests.audit import files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.damage.scene import Scene

    Parts = dict[str, bytes]
    Change = Callable[["Scene"], bytes]

OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
EARLY = 6


@dataclass(frozen=True)
class Kind:
    """One kind of damage: `make` gives the damaged file, whose damage is called `finds`.

    `kept` is the scene's word for the checkpoint that the auditor kept, where it takes one.
    """

    name: str
    make: Change
    finds: str
    words: str
    kept: str = ""


def verified(scene: Scene, file: bytes, *kept: bytes) -> verify.Report:
    """What `govern log verify` finds."""
    return verify.check(io.BytesIO(file), keys=[scene.key], kept=kept)


class Alone:
    """`verify.py`, run as it is handed out: its own code, none of govern's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._module = ModuleType("verify")
        sys.modules["verify"] = self._module  # where dataclasses look for what they name
        exec(compile(single.source(), "verify.py", "exec"), self._module.__dict__)

    def __call__(self, scene: Scene, file: bytes, *kept: bytes) -> tuple[int, str]:
        """Its exit status, and what it prints."""
        path = self._folder / "pack.zip"
        path.write_bytes(file)
        arguments = [str(path), "--key", scene.key]
        for number, each in enumerate(kept):
            at = self._folder / f"kept-{number}"
            at.write_bytes(each)
            arguments += ["--checkpoint", str(at)]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            status: int = self._module.alone.main(arguments)
        return status, out.getvalue()


# --- exports --------------------------------------------------------------------------------------


def _flipped(scene: Scene) -> bytes:
    broken = bytearray(scene.export)
    broken[len(broken) // 2] ^= 1
    return bytes(broken)


def closed(scene: Scene, change: Callable[[list[bytes]], object]) -> bytes:
    """The export with other lines, its last made anew and signed, as the key's owner can."""
    written = scene.export.splitlines(keepends=True)[:-1]
    change(written)
    rows = sum(line.startswith(b'{"seq":') for line in written)
    digest = sha256(b"".join(written)).hexdigest()
    text = lines.manifest(scene.signer.name, rows, 0, digest)
    signed = scene.signer.vouch(text, name=lines.manifest_name(scene.signer.name))
    return b"".join(written) + lines.end(rows, 0, digest, signed)


def _lines(change: Callable[[list[bytes]], object]) -> Change:
    return lambda scene: closed(scene, change)


def at(seq: int) -> int:
    """The index of an entry among the lines."""
    return seq + 2


def _swap(one: int, other: int) -> Callable[[list[bytes]], None]:
    def swap(written: list[bytes]) -> None:
        written[one], written[other] = written[other], written[one]

    return swap


def _hidden(written: list[bytes]) -> None:
    parts = lines.ENTRY.fullmatch(written[at(EARLY)])
    assert parts
    hashes = [note.decode_base64(parts[2].decode())]
    written[at(EARLY)] = lines.skip(EARLY, EARLY + 1, hashes)


def _said(old: bytes, new: bytes) -> Callable[[list[bytes]], None]:
    """Other words in an entry, or beside it."""

    def change(written: list[bytes]) -> None:
        place = next(at for at, line in enumerate(written) if at > 1 and old in line)
        written[place] = written[place].replace(old, new, 1)

    return change


def _header(**changed: Any) -> Callable[[list[bytes]], None]:
    def change(written: list[bytes]) -> None:
        fields = json.loads(written[0])
        fields["logs"][0] |= changed
        written[0] = leaf.canonical(fields) + b"\n"

    return change


def _last(**changed: Any) -> Change:
    def make(scene: Scene) -> bytes:
        *before, last = scene.export.splitlines(keepends=True)
        told = json.loads(last) | changed
        return b"".join(before) + lines.end(
            told["rows"], told["erased"], told["sha256"], told.get("signed")
        )

    return make


def _of_another_key(scene: Scene) -> bytes:
    *before, _ = scene.export.splitlines(keepends=True)
    rows = len(before) - 2
    digest = sha256(b"".join(before)).hexdigest()
    text = lines.manifest(scene.signer.name, rows, 0, digest)
    signer = note.Signer(lines.manifest_name(scene.signer.name), OTHER)
    return b"".join(before) + lines.end(rows, 0, digest, note.sign(text, signer).decode())


def _rehashed(scene: Scene) -> bytes:
    """An entry rewritten with its hash, as whoever has no key can."""

    def change(written: list[bytes]) -> None:
        parts = lines.ENTRY.fullmatch(written[at(EARLY)])
        assert parts
        body = leaf.canonical((leaf.parse(parts[4]) or {}) | {"more": 1})
        values = leaf.parse(parts[3]) if parts[3] else None
        digest = lines.encode(merkle.leaf_hash(body))
        written[at(EARLY)] = lines.entry(EARLY, digest, values, body)

    return closed(scene, change)


def _shortened(scene: Scene) -> bytes:
    """The log as it stood earlier, with a true head of then."""
    with scene.store.reading() as session:
        log, step = scene.known["log"], scene.known["step"]
        older = session.get_one(Checkpoint, (log, step)).note

    def change(written: list[bytes]) -> None:
        _header(size=step, checkpoint=older)(written)
        del written[at(step) :]

    return closed(scene, change)


def _foreign_head(scene: Scene) -> bytes:
    return closed(scene, _header(checkpoint=scene.known["foreign"]))


def _readable(scene: Scene) -> bytes:
    """A cell that people read, which is none of the exact parts."""
    return scene.table.replace(b",grant.revoked,", b",grant.resumed,", 1)


EXPORTS = (
    Kind("a bit is turned", _flipped, "entry", "was changed"),
    Kind("an entry's words are changed", _lines(_said(b'"v":1', b'"v":2')), "entry",
         "Entry 0 of"),
    Kind("a personal value is changed", _lines(_said(b"operator:tester", b"operator:tastes")),
         "value", "commits to another “actor”"),
    Kind("an entry is dropped", _lines(lambda rows: rows.pop(at(EARLY))), "missing",
         "Entry 6 of"),
    Kind("the last entry is dropped", _lines(lambda rows: rows.pop()), "tail", ""),
    Kind("an entry is hidden behind its hash", _lines(_hidden), "left_out", ""),
    Kind("two entries change places", _lines(_swap(at(6), at(9))), "order", ""),
    Kind("an entry is doubled",
         _lines(lambda rows: rows.insert(at(EARLY), rows[at(EARLY)])), "doubled", ""),
    Kind("an entry is moved to the end",
         _lines(lambda rows: rows.append(rows.pop(at(EARLY)))), "order", ""),
    Kind("an entry is given another place", _lines(_said(b'{"seq":6,', b'{"seq":7000,')),
         "line", "gives it the number 7000"),
    Kind("an entry is rewritten and hashed anew", _rehashed, "root",
         "rewritten without the key"),
    Kind("the last line is missing",
         lambda scene: b"".join(scene.export.splitlines(keepends=True)[:-1]), "end",
         "the file was cut off"),
    Kind("the file is cut in a line", lambda scene: scene.export[: len(scene.export) // 2],
         "end", ""),
    Kind("something stands behind the end", lambda scene: scene.export + b"{}\n", "end",
         "after the last line"),
    Kind("the manifest's count is edited", _last(rows=3), "end", "does not fit"),
    Kind("the manifest's digest is edited", _last(sha256="0" * 64), "end", "does not fit"),
    Kind("the manifest is signed by another key", _of_another_key, "manifest",
         "not signed by a key that you trust"),
    Kind("the header gives another size", _lines(_header(size=3)), "header",
         "its checkpoint is that of"),
    Kind("a foreign checkpoint", _foreign_head, "signature", "proves nothing"),
    Kind("the log as it was before, with its head of then", _shortened, "tail",
         "its tail was cut off", kept="kept"),
    Kind("a cell to read of a table is edited", _readable, "line",
         "the columns to read are not those"),
)  # fmt: skip


# --- packs ----------------------------------------------------------------------------------------


def opened(data: bytes) -> Parts:
    """The files of a pack."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(parts: Parts, *twice: str) -> bytes:
    """A pack of these files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a name stands in it twice
        for name in (*parts, *twice):
            archive.writestr(name, parts[name])
    return out.getvalue()


def _with(name: str, change: Callable[[bytes], bytes | None]) -> Change:
    def make(scene: Scene) -> bytes:
        parts = opened(scene.pack)
        changed = change(parts.pop(name))
        return zipped(parts if changed is None else parts | {name: changed})

    return make


def _added(scene: Scene) -> bytes:
    return zipped(opened(scene.pack) | {"more.txt": b"more"})


def _twice(scene: Scene) -> bytes:
    return zipped(opened(scene.pack), "README.txt")


def _swapped(one: str, other: str) -> Change:
    def make(scene: Scene) -> bytes:
        parts = opened(scene.pack)
        parts[one], parts[other] = parts[other], parts[one]
        return zipped(parts)

    return make


def signed_anew(scene: Scene, parts: Parts) -> bytes:
    """By whoever holds the key, and makes a false report of a true log."""
    manifest = json.loads(parts[pack.MANIFEST])
    for name in manifest["files"]:
        digest = sha256(parts[name]).hexdigest()
        manifest["files"][name] = {"bytes": len(parts[name]), "sha256": digest}
    body = leaf.canonical(manifest)
    signer = scene.signer
    signed = signer.vouch(pack.signed_text(body), name=pack.signing_name(signer.name))
    assert signed
    return zipped(parts | {pack.MANIFEST: body, pack.SIGNED: signed.encode()})


def _report(change: Callable[[Any], object]) -> Change:
    def make(scene: Scene) -> bytes:
        parts = opened(scene.pack)
        told = json.loads(parts[pack.REPORT])
        change(told)
        return signed_anew(scene, parts | {pack.REPORT: json.dumps(told).encode()})

    return make


def _in_log(change: Callable[[list[bytes]], object]) -> Change:
    def make(scene: Scene) -> bytes:
        parts = opened(scene.pack)
        rows = parts[pack.EXPORT].splitlines(keepends=True)[:-1]
        change(rows)
        count = sum(row.startswith(b'{"seq":') for row in rows)
        return signed_anew(scene, parts | {pack.EXPORT: files.finish(rows, count)})

    return make


def _answer(name: str, change: Callable[[list[Any]], object]) -> Change:
    def make(scene: Scene) -> bytes:
        parts = opened(scene.pack)
        rows = [json.loads(line) for line in parts[name].splitlines()]
        change(rows)
        body = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        return signed_anew(scene, parts | {name: body})

    return make


def _other_filter(scene: Scene) -> bytes:
    parts = opened(scene.pack)
    return signed_anew(scene, parts | {pack.GOVERNING: parts[pack.EXPORT]})


def _governing_dropped(scene: Scene) -> bytes:
    parts = opened(scene.pack)
    rows = parts[pack.GOVERNING].splitlines(keepends=True)[:-1]
    rows.pop(next(at for at, row in enumerate(rows) if b'"type":"house.told"' in row))
    count = sum(row.startswith(b'{"seq":') for row in rows)
    return signed_anew(scene, parts | {pack.GOVERNING: files.finish(rows, count)})


def _heads(note_of: Callable[[Scene], str]) -> Change:
    def make(scene: Scene) -> bytes:
        head = json.dumps({"note": note_of(scene)}).encode() + b"\n"
        return signed_anew(scene, opened(scene.pack) | {pack.HEADS: head})

    return make


def _client(name: str) -> Change:
    return _with(pack.MANIFEST, lambda body: leaf.canonical(json.loads(body) | {"client": name}))


def _stop(report: Any) -> Any:
    return next(iter(report["log"]["suspensions"].values()))


PACKS = (
    Kind("a byte of the report", _with(pack.REPORT, lambda body: body + b" "), "report.json",
         "is not the file that was signed"),
    Kind("a byte of the page", _with("report.html", lambda body: body.replace(b"<b>", b"<i>", 1)),
         "report.html", "is not the file that was signed"),
    Kind("a byte of an answer", _with("reach.jsonl", lambda body: body[:-2] + b"]\n"),
         "reach.jsonl", "is not the file that was signed"),
    Kind("verify.py is replaced", _with("verify.py", lambda _: b"print('all is well')\n"),
         "verify.py", "is not the file that was signed"),
    Kind("a file is removed", _with("drills.jsonl", lambda _: None), "drills.jsonl",
         "is missing from the pack"),
    Kind("a file is added", _added, "more.txt", "is not in the manifest"),
    Kind("a file stands twice", _twice, "README.txt", "stands in the pack twice"),
    Kind("two answers are swapped", _swapped("drills.jsonl", "suspensions.jsonl"),
         "suspensions.jsonl", "is not the file that was signed"),
    Kind("the proofs are swapped for the answers", _swapped(pack.EXPORT, "reach.jsonl"),
         "log.jsonl", "is not the file that was signed"),
    Kind("the manifest is edited", _client("cli_x"), "The manifest",
         "is not the one that was signed"),
    Kind("the manifest is removed", _with(pack.MANIFEST, lambda _: None), "no evidence pack", ""),
    Kind("the signature is removed", _with(pack.SIGNED, lambda _: None), "no evidence pack", ""),
    Kind("the signature is a checkpoint's", lambda scene: _with(
        pack.SIGNED, lambda _: scene.kept)(scene), "The manifest", "proves nothing"),
    Kind("the signature is of a foreign key", _with(
        pack.SIGNED, lambda body: body.replace(b"\xe2\x80\x94 ", b"\xe2\x80\x94 x")),
        "The manifest", "proves nothing"),
    Kind("the log is removed", _with(pack.EXPORT, lambda _: None), "log.jsonl", "missing"),
    Kind("the pack is cut off", lambda scene: scene.pack[:-40], "no evidence pack", ""),
    Kind("a count is edited, and signed",
         _report(lambda told: told["log"]["events"].update({"grant.issued": 3})),
         "events.grant.issued", "is told as 3"),
    Kind("an event is left out, and signed",
         _report(lambda told: told["log"]["events"].pop("grant.revoked")),
         "events.grant.revoked", "is told as None"),
    Kind("a day's number is edited, and signed",
         _report(lambda told: next(iter(told["log"]["days"].values())).update(issued=1)),
         ".issued", "is told as 1"),
    Kind("a stop's instant is edited, and signed",
         _report(lambda told: _stop(told).update(opened_at="2026-01-01T00:00:00.000000Z")),
         "opened_at", "is told as '2026-01-01"),
    Kind("a stop is left out, and signed",
         _report(lambda told: told["log"]["suspensions"].popitem()), "suspensions.sus_",
         "is told as None"),
    Kind("the digest of a stop's grants is edited, and signed",
         _report(lambda told: _stop(told)["sets"][0].update(digest="0" * 64)), "sets.0.digest",
         "is told as '000"),
    Kind("the report is of another client, and signed",
         _report(lambda told: told["client"].update(id="cli_x")), "The report",
         "another client than the log"),
    Kind("an entry is dropped, and signed", _in_log(lambda rows: rows.pop(at(4))),
         "Entry 4 of", "is missing"),
    Kind("an entry is doubled, and signed",
         _in_log(lambda rows: rows.insert(at(5), rows[at(4)])), "Entry 4 of", ""),
    Kind("two entries change places, and signed", _in_log(_swap(at(4), at(5))), "Entry", ""),
    Kind("an entry is edited, and signed", _in_log(_said(b'"v":1', b'"v":2')), "Entry 0 of", ""),
    Kind("the log's tail is cut, and signed", _in_log(lambda rows: rows.pop()), "damage:",
         ""),
    Kind("a foreign head, and signed", _heads(lambda _: files.log(3).sign().decode()),
         "A signed head beside the log", "proves nothing"),
    Kind("a head that is none, and signed", lambda scene: signed_anew(
        scene, opened(scene.pack) | {pack.HEADS: b"{}\n"}), "checkpoints.jsonl, line 1",
        "no signed head"),
    Kind("no report, and signed", lambda scene: signed_anew(
        scene, opened(scene.pack) | {pack.REPORT: b"[]"}), "The report", "is no JSON"),
    Kind("a role is left out, and signed", _answer(pack.ROLES, lambda rows: rows.pop()),
         pack.ROLES, "the entries make it"),
    Kind("who held a role is edited, and signed",
         _answer(pack.ROLES, lambda rows: rows[0].update(subject="sub_x")), "roles.jsonl.0.subject",
         "is told as 'sub_x'"),
    Kind("what an entitlement permitted is edited, and signed",
         _answer(pack.MEANINGS, lambda rows: rows[0].update(action="export")),
         "entitlements.jsonl.0.action", "is told as 'export'"),
    Kind("when it did is edited, and signed",
         _answer(pack.MEANINGS, lambda rows: rows[0].update(to="2026-01-01T00:00:00.000000Z")),
         "entitlements.jsonl.0.to", "is told as '2026-01-01"),
    Kind("its entries are those of another filter, and signed", _other_filter,
         "governing.jsonl", "leaves out what it should hold"),
    Kind("one of its entries is dropped, and signed", _governing_dropped, "Entry", "is missing"),
    Kind("the log is shorter than it was", lambda scene: scene.pack, "its tail was cut off",
         "", kept="later"),
)  # fmt: skip
