"""Exports: the logs as a file that proves itself to whoever has the verifier key.

`making` is a whole export, `heading` its first line, `pieces` what stands of each log, `filters`
which entries to show, and `file` the forms that a file may have.
"""

from govern.audit.export.file import FORMS, File, check_form
from govern.audit.export.filters import Filter, accounting
from govern.audit.export.heading import header
from govern.audit.export.making import Summary, allowed, note, run, write
from govern.audit.export.pieces import write_log

__all__ = [
    "FORMS", "File", "Filter", "Summary", "accounting", "allowed", "check_form", "header", "note",
    "run", "write", "write_log",
]  # fmt: skip
