"""The check from the inside: derive everything anew, and name what is not as it was written."""

from govern.audit.fsck.report import Damage, Report
from govern.audit.fsck.whole import run

__all__ = ["Damage", "Report", "run"]
