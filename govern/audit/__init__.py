"""What happened: the logs, their record, their proofs, and the access log."""

from govern.audit import decisions, log, record, signer
from govern.audit.events import EventType

__all__ = ["EventType", "decisions", "log", "record", "signer"]
