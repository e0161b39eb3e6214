"""Verification: an export alone, with a key that the reader trusts, shows what was done to it.

Nothing here opens a database or a connection: the file, the verifier key, and the checkpoints that
the auditor kept from earlier are all there is.
"""

from govern.audit.verify.events import BEGINS, is_events
from govern.audit.verify.events import check as check_events
from govern.audit.verify.keys import open_checkpoint, read_keys
from govern.audit.verify.pack import PackReport, is_pack
from govern.audit.verify.pack import check as check_pack
from govern.audit.verify.receipt import ReceiptReport, check_receipt
from govern.audit.verify.report import Damage, Proven, Report
from govern.audit.verify.whole import check

__all__ = [
    "BEGINS",
    "Damage",
    "PackReport",
    "Proven",
    "ReceiptReport",
    "Report",
    "check",
    "check_events",
    "check_pack",
    "check_receipt",
    "is_events",
    "is_pack",
    "open_checkpoint",
    "read_keys",
]
