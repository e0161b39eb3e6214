"""What auditors see: the logs, the access log, who could reach what, exports, verification."""

from govern.web.pages.auditor import access, entries, proof, who
from govern.web.pages.auditor.filters import blueprint

__all__ = ["access", "blueprint", "entries", "proof", "who"]
