"""`verify.py`: our own verifier as one file, for whoever has neither govern nor a connection.

It is put together from the very modules that `govern log verify` runs, so that no rule is written
twice. Each becomes a function of the same name that hands out what it defines; comments and code
stay as they are, imports of ours become plain names, and the rest is Python's standard library
(3.9 and later) and `cryptography`.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
# In the order in which they need one another: the module, and its name in the file.
_MODULES = {
    "errors": "errors",
    "tlog/errors": "tlog_errors",
    "tlog/merkle": "merkle",
    "tlog/note": "note",
    "tlog/checkpoint": "checkpoint",
    "tlog/cosignature": "cosignature",
    "tlog/proof": "proof",
    "audit/leaf": "leaf",
    "audit/lines": "lines",
    "audit/siem": "siem",
    "audit/roots": "roots",
    "audit/redactions": "redactions",
    "audit/verify/report": "report",
    "audit/verify/keys": "keys",
    "audit/verify/source": "source",
    "audit/verify/plain": "plain",
    "audit/verify/pieces": "pieces",
    "audit/verify/whole": "whole",
    "audit/verify/events": "events",
    "audit/verify/receipt": "receipt",
    "audit/verify/tally": "tally",
    "audit/verify/governing": "governing",
    "audit/verify/pack": "pack",
    "audit/verify/alone": "alone",
}
_NAMES = {f"govern.{path.replace('/', '.')}": name for path, name in _MODULES.items()}

_HEAD = '''#!/usr/bin/env python3
"""Check what govern handed over: an evidence pack, an export of a log, or a receipt.

    python3 verify.py FILE --key KEY [--checkpoint FILE]... [--witness KEY]...

It needs Python 3.9 or later and the package `cryptography`, no network and nothing of govern's. KEY
is the log's verifier key, which must have reached you by another way than FILE did. It ends with 0
if all is as it was signed, 1 if anything is not, 2 if it was called wrongly.

Made by govern out of its own modules; each of the functions below that is marked `part` is one of
them, whose name stands above it.
"""

from __future__ import annotations

import builtins
import dataclasses
import sys
from datetime import timezone
from types import SimpleNamespace

UTC = timezone.utc
dataclass, zip = dataclasses.dataclass, builtins.zip

if sys.version_info < (3, 10):

    def dataclass(cls=None, *, slots=False, kw_only=False, **more):
        """As from Python 3.10 on, where slots and keywords alone can be asked for."""
        return dataclasses.dataclass(cls, **more) if cls else dataclasses.dataclass(**more)

    def zip(*columns, strict=False):
        """As from Python 3.10 on, where columns of different lengths can be refused."""
        columns = [list(column) for column in columns]
        if strict and len({len(column) for column in columns}) > 1:
            raise ValueError("the columns are of different lengths")
        return builtins.zip(*columns)


def part(module):
    """Make a namespace of what a function defines."""
    return SimpleNamespace(**module())
'''
_TAIL = """

if __name__ == "__main__":
    sys.exit(alone.main(sys.argv[1:]))
"""


@cache
def source() -> str:
    """The whole file."""
    parts = [_part(path, name) for path, name in _MODULES.items()]
    return "".join([_HEAD, *parts, _TAIL])


def _part(path: str, name: str) -> str:
    text = (_PACKAGE / f"{path}.py").read_text(encoding="utf-8")
    lines = text.splitlines()
    tree = ast.parse(text)
    for node in tree.body:
        words = _replaced(node)
        if words is not None and node.end_lineno is not None:
            lines[node.lineno - 1 : node.end_lineno] = [
                words, *[""] * (node.end_lineno - node.lineno)
            ]  # fmt: skip
    kept = _squeezed(lines)
    indented = "\n".join(f"    {line}" if line else "" for line in kept)
    heading = f"# --- govern/{path}.py ".ljust(100, "-")
    return f"\n\n{heading}\n\n\n@part\ndef {name}():\n{indented}\n    return locals()\n"


def _replaced(node: ast.stmt) -> str | None:
    """What stands for a statement in the one file; None where it stays."""
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return ""
        case ast.ImportFrom(module="__future__" | "typing"):
            return ""
        case ast.ImportFrom(module="dataclasses" | "datetime" as module, names=names):
            # These two are made in the file's head, for older Pythons.
            rest = [each.name for each in names if each.name not in {"dataclass", "UTC"}]
            return f"from {module} import {', '.join(rest)}" if rest else ""
        case ast.ImportFrom(module=str(module), names=names) if module in _NAMES:
            # Of a module in the file.
            given = [f"{_NAMES[module]}.{each.name}" for each in names]
            return f"{', '.join(each.name for each in names)} = {', '.join(given)}"
        case ast.ImportFrom(module=str(module)) if module.startswith("govern"):
            return ""
    return None


def _squeezed(lines: list[str]) -> list[str]:
    """Without the empty lines that an import left behind."""
    kept: list[str] = []
    for line in lines:
        if line or kept[-2:] != ["", ""]:
            kept.append(line)
    while kept and not kept[-1]:
        kept.pop()
    return kept
