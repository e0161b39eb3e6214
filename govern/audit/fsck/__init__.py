"""The check from the inside: derive everything anew, and name what is not as it was written."""

from govern.audit.fsck.report import MOST_NAMED, Damage, Report
from govern.audit.fsck.whole import run

__all__ = ["MOST_NAMED", "Damage", "Report", "run"]
