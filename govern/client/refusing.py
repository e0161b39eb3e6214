"""What a guarded application answers to whom it does not let in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from govern.client.asking import UNAVAILABLE, Decision

if TYPE_CHECKING:
    from govern.client.asking import Client, Question

NOT_ASKED = Decision(
    permit=False, reason="no_question", sentence="It is not known who asks, or for what."
)
FORBIDDEN, BUSY = 403, 503


def decide(client: Client, question: Question | None) -> Decision:
    """The decision; what could not be put as a question is denied."""
    return NOT_ASKED if question is None else client.ask(question)


def refusal(decision: Decision) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body: 403, or 503 while there is no answer to trust."""
    body = json.dumps({"reason": decision.reason, "message": decision.sentence}).encode()
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    if decision.reason == UNAVAILABLE:
        return BUSY, [*headers, ("Retry-After", "1")], body
    return FORBIDDEN, headers, body
