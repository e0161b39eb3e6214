"""A receipt of a suspension as one HTML file, with what a client is told of it in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from govern import clock
from govern.audit import receipts

if TYPE_CHECKING:
    from datetime import datetime

    from govern.access.suspensions.receipts import Receipt

_MODES = {
    "paused": "Paused: nobody reaches anything.",
    "read_only": "Read-only: people may look, but change nothing and take nothing away.",
    "under_review": "Under review: work goes on, with a second factor every 12 hours.",
}
_WORDS = {
    "client": "Client", "project": "Project", "dataset": "Dataset", "subject": "Person",
    "organisation": "Staffing firm", "people": "People",
}  # fmt: skip


def document(told: Receipt) -> bytes:
    """Write a receipt as HTML, UTF-8."""
    row = told.suspension
    title = f"Receipt: access to {told.client_name} was stopped"
    covers = [
        f"{_WORDS.get(kind, kind.capitalize())} {name}" + (f" ({code})" if code != name else "")
        for kind, code, name in told.covers
    ]
    others = "" if told.alone else "The act concerned others too; this receipt is of yours alone."
    nobody = "nobody was named" if told.alone else "not told here"
    seen = [
        ("Last permit before", _at(told.effect.last_permit_at)),
        ("First refusal since", _at(told.effect.first_deny_at)),
    ]
    facts = [
        ("What was stopped", "; ".join(covers)),
        ("How much", _MODES.get(told.mode, told.mode)),
        ("Reason", told.reason.replace("_", " ")),
        ("By whose order", told.order[1] if told.order else nobody),
        ("Ordered", _at(row.ordered_at)),
        ("In force since", f"{_at(row.recorded_at)} ({told.milliseconds:.1f} ms after the order)"),
        *(seen if told.alone else []),
        ("Lifted", _at(row.ended_at) if row.ended_at else "not when this was made"),
        ("Concerned", f"{told.grants:,} grants of {told.people:,} people"),
        ("Each on the record", _at(told.recorded_at) if told.recorded_at else "being written"),
        ("Digest of the grants", told.digest or "once each is on the record"),
        ("Suspension", row.id),
    ]
    if not told.alone:
        facts = [
            fact for fact in facts if fact[0] not in {"Last permit before", "First refusal since"}
        ]
    proofs = receipts.proved("1. The suspension", told.opened)
    if told.recorded is not None:
        proofs += receipts.proved("2. The number and the digest", told.recorded)
    if told.order is not None:
        proofs += receipts.opened("ordered_by", *told.order)
    return receipts.page(title, f"Made {_at(told.made_at)}. {others}", facts, proofs)


def _at(at: datetime | None) -> str:
    return clock.text(at).replace("T", " ").replace("Z", " UTC") if at else "not seen"
