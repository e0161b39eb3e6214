"""An evidence pack alone: whether its files are those that were signed, and what they prove.

What its report says of the log has to follow from the log's entries in it.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from govern.audit.verify import governing, tally, whole
from govern.audit.verify.keys import read_keys
from govern.audit.verify.report import Damage, Report
from govern.tlog import note
from govern.tlog.errors import TlogError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import IO

FORMAT = "govern evidence/1"
MANIFEST, SIGNED = "manifest.json", "manifest.note"
EXPORT, REPORT, HEADS = "log.jsonl", "report.json", "checkpoints.jsonl"
REACH = "reach.jsonl"
GOVERNING, ROLES, MEANINGS = "governing.jsonl", "roles.jsonl", "entitlements.jsonl"
_MOST_BYTES = 1 << 26
_MOST_PARTS = 100
_BLOCK = 1 << 20
_NOT_PROVEN = (
    (
        "That the answers of the pack (who could reach what, drills, who read) are complete: the "
        "signature says that govern gave them, and the log can be held against them."
    ),
    "The drawings and words of report.html: each number in it stands in report.json too.",
)

_GOVERNED = (
    (
        "Who held a role over the client or over every client, and what each entitlement named "
        "permitted, is what the log's entries in the pack say."
    ),
)


@dataclass(frozen=True)
class PackReport:
    """The outcome for a pack; `log` is that of the export in it, None where there is none."""

    ok: bool
    damage: tuple[Damage, ...]
    log: Report | None
    proves: tuple[str, ...]
    does_not_prove: tuple[str, ...]


def signing_name(name: str) -> str:
    """The name under which the log's key signs packs: none under which it signs a checkpoint."""
    return f"{name}/evidence"


def signed_text(manifest: bytes) -> str:
    """What is signed of a manifest."""
    return f"{FORMAT}\n{sha256(manifest).hexdigest()}\n"


def check(
    stream: IO[bytes],
    *,
    keys: Iterable[str],
    kept: Iterable[bytes] = (),
    witnesses: Iterable[str] = (),
    most_bytes: int | None = None,
) -> PackReport:
    """Check a pack; `Invalid` where no key is given, or one cannot be read.

    One that would unpack to more than `most_bytes` is not looked at any further.
    """
    keys = list(keys)
    trusted = read_keys(keys)
    damage: list[Damage] = []
    found: Report | None = None
    told: Report | None = None

    def name(kind: str, message: str) -> None:
        damage.append(Damage(kind=kind, message=message))

    try:
        with zipfile.ZipFile(stream) as archive:
            _refuse_more(archive, most_bytes)
            files = _manifest(archive, trusted, name)
            _compare_files(archive, files, name)
            heads = _heads(archive, name)
            with archive.open(EXPORT) as export:
                found = whole.check(
                    export, keys=keys, kept=kept, witnesses=witnesses, listed=heads
                )  # fmt: skip
            damage += found.damage
            _compare_report(archive, found, name)
            if GOVERNING in files:  # made before there was one, a pack has none
                with archive.open(GOVERNING) as export:
                    told = whole.check(
                        export, keys=keys, kept=kept, witnesses=witnesses, listed=heads
                    )  # fmt: skip
                damage += told.damage
                _compare_governing(archive, found, told, name)
    except (zipfile.BadZipFile, KeyError, EOFError, OSError, NotImplementedError, RuntimeError,
            ValueError, zlib.error) as error:  # fmt: skip
        name("pack", f"This is no evidence pack, or it is damaged: {error}.")
    proves = list(found.proves) if found else []
    if found and not damage:
        proves += [
            f"Each of the {len(files)} files of the pack is the one that the key signed.",
            (
                "The numbers that report.json gives of the log follow from the entries in the "
                "pack, and those of its charts from the answers in it."
            ),
            *(_GOVERNED if GOVERNING in files else ()),
        ]
    doubts = [each for part in (found, told) if part for each in part.does_not_prove]
    doubts = [*_NOT_PROVEN, *dict.fromkeys(doubts)]
    return PackReport(not damage, tuple(damage), found, tuple(proves), tuple(doubts))


def _refuse_more(archive: zipfile.ZipFile, most_bytes: int | None) -> None:
    """Refuse a small file that would become a large one: no more is read of a part than it says."""
    parts = archive.infolist()
    if most_bytes is None:
        return
    if len(parts) > _MOST_PARTS or sum(part.file_size for part in parts) > most_bytes:
        raise ValueError("it unpacks to more than is checked here; check it with verify.py")


def _manifest(archive: zipfile.ZipFile, keys: list[note.Verifier], name: Any) -> dict[str, Any]:
    data = _read(archive, MANIFEST)
    try:
        named = [note.Verifier(signing_name(key.name), key.public) for key in keys]
        signed = _read(archive, SIGNED)
        text = note.open(signed, *dict.fromkeys(named)).text
        signatures = note.parse(signed)[1]
    except TlogError as error:
        name("signature", f"The manifest proves nothing: {error}.")
    else:
        if len(set(signatures)) < len(signatures):
            name("signature", "The manifest holds one signature twice: it was changed since.")
        if text != signed_text(data):
            name("manifest", "The manifest is not the one that was signed.")
    try:
        return dict(json.loads(data)["files"])
    except (ValueError, KeyError, TypeError, RecursionError):
        name("manifest", "The manifest names no files.")
        return {}


def _compare_files(archive: zipfile.ZipFile, files: dict[str, Any], name: Any) -> None:
    held = archive.namelist()
    for each in sorted(each for each, count in Counter(held).items() if count > 1):
        name("file", f"{each} stands in the pack twice.")
    for each in sorted(set(files) - set(held)):
        name("file", f"{each} is missing from the pack.")
    for each in sorted(set(held) - set(files) - {MANIFEST, SIGNED}):
        name("file", f"{each} is not in the manifest.")
    for each in sorted(set(files) & set(held)):
        digest, size = sha256(), 0
        try:
            with archive.open(each) as part:
                while block := part.read(_BLOCK):
                    digest.update(block)
                    size += len(block)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            name("file", f"{each} cannot be read: {error}.")
            continue
        if files[each] != {"bytes": size, "sha256": digest.hexdigest()}:
            name("file", f"{each} is not the file that was signed.")


def _heads(archive: zipfile.ZipFile, name: Any) -> list[bytes]:
    found = []
    with archive.open(HEADS) as part:
        for number, line in enumerate(part, 1):
            try:
                found.append(str(json.loads(line)["note"]).encode())
            except (ValueError, KeyError, TypeError, RecursionError):
                name("heads", f"{HEADS}, line {number}: this is no signed head.")
    return found


def _compare_report(archive: zipfile.ZipFile, found: Report, name: Any) -> None:
    try:
        told = json.loads(_read(archive, REPORT))
        client, numbers = told["client"]["id"], told["log"]
    except (ValueError, KeyError, TypeError, RecursionError):
        name("report", "The report is no JSON, or lacks what it says of the log.")
        return
    if [each.log for each in found.logs] != [client]:
        name("report", "The report is of another client than the log.")
    with archive.open(EXPORT) as export:
        counted = tally.count(export)
    for each in tally.differences(numbers, counted):
        name("report", f"The report is not what the log says: {each}.")
    _compare_charts(archive, told, name)
    for suspension, said in counted["suspensions"].items():
        for act in said["sets"]:
            # An act that began before the period has only a part of its entries here.
            if act["entries"] == act["grants"] and act["digest"] != act["derived"]:
                name("report", f"The grants of {suspension} are not those whose digest the log "
                     "holds.")  # fmt: skip


def _compare_governing(archive: zipfile.ZipFile, found: Report, told: Report, name: Any) -> None:
    """Hold roles, and what entitlements permitted, against the entries that say so."""
    if [(each.log, each.size) for each in told.logs] != [
        (each.log, each.size) for each in found.logs
    ]:
        name("report", f"{GOVERNING} is not of the same log, or not as far.")
    try:
        report = json.loads(_read(archive, REPORT))
        period = report["from"], report["to"]
        said, within = governing.Governing(), []
        with archive.open(GOVERNING) as export:
            if json.loads(export.readline())["filter"] != {"types": sorted(governing.TYPES)}:
                name("report", f"{GOVERNING} leaves out what it should hold.")
            for fields in governing.entries(export):
                said.add(fields)
                if period[0] <= fields["time"] < period[1]:
                    within.append(fields["seq"])
        with archive.open(EXPORT) as export:
            if within != [fields["seq"] for fields in governing.entries(export)]:
                name("report", f"{GOVERNING} does not hold what the period's entries do.")
        roles = [_without(row, "full_name") for row in _rows(archive, ROLES)]
        meant = [_without(row, "entitlement") for row in _rows(archive, MEANINGS)]
        named = {row["id"] for row in meant}
        wrong = tally.differences(roles, said.roles(*period), ROLES)
        wrong += tally.differences(
            meant, [row for row in said.meanings(*period) if row["id"] in named], MEANINGS
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        wrong = ["who held a role, and what entitlements permitted, cannot be read"]
    for each in wrong:
        name("report", f"The pack's answers are not what the log says: {each}.")


def _rows(archive: zipfile.ZipFile, name: str) -> list[dict[str, Any]]:
    with archive.open(name) as part:
        rows = [json.loads(line) for line in part]
    if not all(isinstance(row, dict) for row in rows):
        raise TypeError(f"{name} has a row that is none")
    return rows


def _without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {each: value for each, value in row.items() if each != name}


def _compare_charts(archive: zipfile.ZipFile, told: dict[str, Any], name: Any) -> None:
    """Hold what the charts show against the answers that it is counted from."""
    if "people_over_time" not in told:
        return  # made before there were such charts
    try:
        reach = tally.Reach(told["from"], told["to"])
        with archive.open(REACH) as rows:
            for row in rows:
                reach.add(json.loads(row))
        wrong = tally.differences(told["people_over_time"], reach.numbers(), "people_over_time")
        by_day = [sum(each[word] for each in told["decisions_by_day"])
                  for word in ("allowed", "denied")]  # fmt: skip
        in_all = [sum(each["count"] for each in told["decisions"] if bool(each["permit"]) is permit)
                  for permit in (True, False)]  # fmt: skip
        wrong += tally.differences(by_day, in_all, "decisions_by_day")
    except (ValueError, KeyError, TypeError, RecursionError):
        wrong = ["what its charts show cannot be counted again"]
    for each in wrong:
        name("report", f"The report is not what the pack's answers say: {each}.")


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as part:
        data = part.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ValueError(f"{name} is too long")
    return data


def is_pack(head: bytes) -> bool:
    """Whether a file that begins so may be one."""
    return head.startswith(b"PK")
