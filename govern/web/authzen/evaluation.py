"""AuthZEN's decisions (§6, §7): bytes of a question in, the decision as the standard has it out.

No word of HTTP is here: whoever serves these paths has checked who asks and read the body.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from werkzeug.exceptions import RequestEntityTooLarge

from govern import errors, permissions
from govern.access import evaluation
from govern.access.evaluation import Credentials, Decision, Question
from govern.access.modes import Effect, effect_of
from govern.web.authzen.shapes import STOPS_AT, Batch, Evaluation, person, read, worked_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from govern.db import Database
    from govern.principal import Principal

    Answer = dict[str, Any]

MOST_ITEMS = 1000

# In one word, what an enforcement point may show its user; a reason that is not here has none.
STATE = {
    "subject_offboarded": "offboarded",
    "client_ended": "ended",
    "project_ended": "ended",
    "grant_revoked": "revoked",
    "grant_not_started": "scheduled",
    "grant_expired": "expired",
    "second_factor_required": "under_review",
    "second_factor_enrolment_required": "enrolment_required",
    "passkey_required": "enrolment_required",
    **{
        reason: "suspended"
        for reason in evaluation.REASONS
        if reason.endswith(("_paused", "_read_only"))
    },
}


class One(NamedTuple):
    """The body of one question, and its answer (§6)."""

    body: bytes

    @property
    def is_many(self) -> bool:
        """It is one."""
        return False

    def questions(self) -> list[Question]:
        """The question; `Invalid` when it is none."""
        return [_question(read(Evaluation, self.body))]

    def stop_at(self) -> None:
        """Nothing comes after the first."""

    def told(self, by: Principal, decisions: list[Decision]) -> bytes:
        """The answer, as JSON."""
        return json.dumps(_told(decisions[0], by=by)).encode()


class Many:
    """The body of many questions, and their answers in the same order (§7).

    Without items it is one question. Over 1,000 items are 413: the request is well formed, so 400
    would mislead, and the sender's remedy is to send less at once.
    """

    is_many = True

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._items: list[Question | errors.Invalid] | None = None
        self._stop_at: bool | None = None

    def questions(self) -> list[Question]:
        """Those of the items that are questions."""
        batch = read(Batch, self._body)
        if not batch.evaluations:
            return One(self._body).questions()
        if len(batch.evaluations) > MOST_ITEMS:
            raise RequestEntityTooLarge(f"A batch holds at most {MOST_ITEMS:,} evaluations.")
        self._stop_at = STOPS_AT[batch.options.evaluations_semantic]
        self._items = list(_items(batch, self._stop_at))
        return [item for item in self._items if isinstance(item, Question)]

    def stop_at(self) -> bool | None:
        """The decision that ends the batch."""
        return self._stop_at

    def told(self, by: Principal, decisions: list[Decision]) -> bytes:
        """The answers, as JSON."""
        if self._items is None:
            return One(self._body).told(by, decisions)
        answers = list(_answers(self._items, decisions, stop_at=self._stop_at, by=by))
        return json.dumps({"evaluations": answers}).encode()


def answer(database: Database, asked: One | Many, *, by: Principal | Credentials) -> bytes:
    """The answer to a body, as JSON, once it is recorded."""
    told: bytes = evaluation.answer(database, asked, by=by)
    return told


def _items(batch: Batch, stop_at: bool | None) -> Iterator[Question | errors.Invalid]:  # noqa: FBT001 - a semantic, not a flag
    """Each item as a question, or what is wrong with it; a denied one may end the batch.

    A member of an item replaces the whole default of that name: nothing is merged below it.
    """
    defaults = {
        name: value
        for name in ("subject", "action", "resource", "context")
        if (value := getattr(batch, name)) is not None
    }
    for item in batch.evaluations:
        try:
            if not isinstance(item, dict):
                raise errors.Invalid("An evaluation is an object.")
            yield _question(read(Evaluation, {**defaults, **item}))
        except errors.Invalid as wrong:
            yield wrong
            if stop_at is False:
                return


def _answers(
    items: list[Question | errors.Invalid],
    found: list[Decision],
    *,
    stop_at: bool | None,
    by: Principal,
) -> Iterator[Answer]:
    decisions = iter(found)
    for item in items:
        if isinstance(item, errors.Invalid):
            yield {
                "decision": False,
                "context": {"error": {"status": 400, "message": item.message}},
            }
        else:
            decision = next(decisions)
            yield _told(decision, by=by)
            if decision.permit is stop_at:
                return


def _question(asked: Evaluation) -> Question:
    subject, action, resource = asked["subject"], asked["action"]["name"], asked["resource"]
    hours = effect_of(action) is Effect.HOURS
    return Question(
        subject=person(subject),
        action=action,
        kind=resource["type"],
        code=resource["id"],
        worked_at=worked_at(asked.get("context", {})) if hours else None,
    )


def _told(decision: Decision, *, by: Principal) -> Answer:
    """The decision as the standard has it; `context` is what this integration may know."""
    if decision.reason == "record_failed":
        return {"decision": False, "context": _reasons(decision) | {"code": decision.reason}}
    if decision.client_id is None and permissions.scope(by, "decision:ask") is not None:
        return {"decision": False}
    context: Answer = {"as_of": decision.as_of, "decision_id": decision.id}
    if not decision.permit:
        context |= _reasons(decision) | {"code": decision.reason}
        if decision.reason in STATE:
            context["state"] = STATE[decision.reason]
    return {"decision": decision.permit, "context": context}


def _reasons(decision: Decision) -> Answer:
    where = f" ({decision.grant_id})" if decision.grant_id else ""
    return {
        "reason_user": {"en": decision.sentence},
        "reason_admin": {"en": f"{decision.reason}{where}: {decision.sentence}"},
    }
