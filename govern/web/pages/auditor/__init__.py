"""What auditors see: the logs, the access log, who could reach what, exports, verification."""

from govern.web.pages.auditor import (
    access,
    background,
    changes,
    entries,
    proof,
    record,
    timeline,
    who,
)
from govern.web.pages.auditor.filters import blueprint

__all__ = [
    "access",
    "background",
    "blueprint",
    "changes",
    "entries",
    "proof",
    "record",
    "timeline",
    "who",
]
