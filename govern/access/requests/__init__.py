"""What awaits a second person: asking, approving, withdrawing, and who can be the second."""

from govern.access.requests.acts import (
    Request,
    RequestItem,
    RequestKind,
    approve,
    ask,
    awaiting,
    end,
    find,
    gathers,
    page,
    performs,
    reason_asked,
    reason_of,
    take_back,
    waiting,
    withdraw,
)
from govern.access.requests.pairing import Making, making, obstacles, signature

__all__ = [
    "Making",
    "Request",
    "RequestItem",
    "RequestKind",
    "approve",
    "ask",
    "awaiting",
    "end",
    "find",
    "gathers",
    "making",
    "obstacles",
    "page",
    "performs",
    "reason_asked",
    "reason_of",
    "signature",
    "take_back",
    "waiting",
    "withdraw",
]
