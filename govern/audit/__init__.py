"""What happened: the logs, their record, their proofs, and the access log."""

from govern.audit import decisions, expiry, follower, log, record, sealing, signer
from govern.audit.events import EventType

__all__ = ["EventType", "decisions", "expiry", "follower", "log", "record", "sealing", "signer"]
