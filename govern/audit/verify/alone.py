"""The command of `verify.py`, which stands alone: what it was given, checked, and said in words."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from govern import errors
from govern.audit.verify import events, pack, receipt, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

_HTML = b"<!doctype html"


def main(arguments: Sequence[str]) -> int:
    """Check a file; 0 if all is as it was signed, 1 if not, 2 if this was called wrongly."""
    parser = argparse.ArgumentParser(
        prog="verify.py", description="Check an evidence pack, an export of a log, or a receipt."
    )
    parser.add_argument(
        "file", help="the pack (.zip), export (.jsonl, .csv, .ndjson) or receipt (.html)"
    )
    parser.add_argument("--key", action="append", required=True, metavar="KEY",
                        help="a verifier key that you trust, got by another way")  # fmt: skip
    parser.add_argument("--checkpoint", action="append", default=[], metavar="FILE",
                        help="a checkpoint that you kept from earlier")  # fmt: skip
    parser.add_argument("--witness", action="append", default=[], metavar="KEY",
                        help="the key of a witness that you trust")  # fmt: skip
    given = parser.parse_args(arguments)
    try:
        found = _checked(given)
    except (OSError, errors.Invalid) as error:
        print(f"verify.py: {error}", file=sys.stderr)
        return 2
    for damage in found.damage:
        line = f"line {damage.line}: " if getattr(damage, "line", None) is not None else ""
        print(f"damage: {line}{damage.message}")
    for words in getattr(found, "proves", ()):
        print(f"proven: {words}")
    for entry in getattr(found, "entries", ()):
        print(f"proven: entry {entry.seq} of {entry.origin}, signed at {entry.size}: "
              f"{entry.fields}")  # fmt: skip
    for words in getattr(found, "does_not_prove", ("Any word of the page but these entries.",)):
        print(f"not proven: {words}")
    print("All that is here is as it was signed." if found.ok else "THIS IS NOT WHAT WAS SIGNED.")
    return 0 if found.ok else 1


def _checked(given: argparse.Namespace) -> Any:
    kept = [Path(path).read_bytes() for path in given.checkpoint]
    with Path(given.file).open("rb") as file:
        head = file.read(64)
        file.seek(0)
        if pack.is_pack(head):
            return pack.check(file, keys=given.key, kept=kept, witnesses=given.witness)
        if events.is_events(head):
            return events.check(file, keys=given.key, kept=kept, witnesses=given.witness)
        if head[: len(_HTML)].lower() == _HTML:
            return receipt.check_receipt(file.read(), keys=given.key)
        return whole.check(
            file, keys=given.key, kept=kept, witnesses=given.witness,
            processes=os.cpu_count() or 1,
        )  # fmt: skip
