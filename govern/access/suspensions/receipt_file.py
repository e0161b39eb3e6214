"""A receipt of a suspension as one HTML file, with what a client is told of it in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from govern import clock
from govern.audit import receipts
from govern.languages import Voice, later

if TYPE_CHECKING:
    from datetime import datetime

    from govern.access.suspensions.receipts import Receipt

_MODES = {
    "paused": later("Paused: nobody reaches anything."),
    "read_only": later("Read-only: people may look, but change nothing and take nothing away."),
    "under_review": later("Under review: work goes on, with a second factor every 12 hours."),
}
_WORDS = {
    "client": later("Client"), "project": later("Project"), "dataset": later("Dataset"),
    "subject": later("Person"), "organisation": later("Staffing firm"), "people": later("People"),
}  # fmt: skip
_REASONS = {
    "client_request": later("Client request"), "security_incident": later("Security incident"),
    "internal_review": later("Internal review"), "legal": later("Legal"),
    "conduct": later("Conduct"), "other": later("Other"),
}  # fmt: skip


def document(told: Receipt, language: str = "") -> bytes:
    """Write a receipt as HTML, UTF-8: in a language, or that of the client's contact.

    What is proved is the same in each, byte for byte; so are instants, ids and the digest.
    """
    say = Voice(language or told.language)
    title = say("Receipt: access to %(client)s was stopped", client=told.client_name)
    others = say("The act concerned others too; this receipt is of yours alone.")
    proofs = receipts.proved(say("1. The suspension"), told.opened, say)
    if told.recorded is not None:
        proofs += receipts.proved(say("2. The number and the digest"), told.recorded, say)
    if told.order is not None:
        proofs += receipts.opened("ordered_by", *told.order, say)
    made = say("Made %(at)s.", at=_at(told.made_at, say))
    under = made if told.alone else f"{made} {others}"
    return receipts.page(title, under, _facts(told, say), proofs, say)


def _facts(told: Receipt, say: Voice) -> list[tuple[str, str]]:
    """What it says, term by term."""
    row = told.suspension
    covers = [
        f"{say(_WORDS[kind]) if kind in _WORDS else kind.capitalize()} {name}"
        + (f" ({code})" if code != name else "")
        for kind, code, name in told.covers
    ]
    nobody = say("nobody was named") if told.alone else say("not told here")
    seen = [
        (say("Last permit before"), _at(told.effect.last_permit_at, say)),
        (say("First refusal since"), _at(told.effect.first_deny_at, say)),
    ]
    since = say(
        "%(at)s (%(milliseconds)s ms after the order)",
        at=_at(row.recorded_at, say),
        milliseconds=say.number(round(told.milliseconds, 1)),
    )
    concerned = say(
        "%(grants)s grants of %(people)s people",
        grants=say.number(told.grants),
        people=say.number(told.people),
    )
    lifted = _at(row.ended_at, say) if row.ended_at else say("not when this was made")
    each = _at(told.recorded_at, say) if told.recorded_at else say("being written")
    return [
        (say("What was stopped"), "; ".join(covers)),
        (say("How much"), say(_MODES[told.mode]) if told.mode in _MODES else told.mode),
        (say("Reason"), say(_REASONS[told.reason]) if told.reason in _REASONS else told.reason),
        (say("By whose order"), told.order[1] if told.order else nobody),
        (say("Ordered"), _at(row.ordered_at, say)),
        (say("In force since"), since),
        *(seen if told.alone else []),
        (say("Lifted"), lifted),
        (say("Concerned"), concerned),
        (say("Each on the record"), each),
        (say("Digest of the grants"), told.digest or say("once each is on the record")),
        (say("Suspension"), row.id),
    ]


def _at(at: datetime | None, say: Voice) -> str:
    """An instant as the entries have it, in UTC."""
    return clock.text(at).replace("T", " ").replace("Z", " UTC") if at else say("not seen")
