"""AuthZEN 1.0: other systems ask whether someone may do something, one question or many.

It translates and delegates: the decision is `evaluation`'s, and is on record before it leaves. A
denial is 200 with `"decision": false`; a status of its own says that the request was wrong, never
what was decided. What an integration may not know exists is denied without a word of context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from flask import Blueprint, request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from govern import clock, errors, permissions
from govern.access import evaluation
from govern.access.evaluation import Decision, Question
from govern.access.modes import Effect, effect_of
from govern.web import guard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from govern.principal import Principal

    Answer = dict[str, Any]

Shape = TypeVar("Shape", bound=BaseModel)

blueprint = Blueprint("authzen", __name__)

MOST_ITEMS = 1000
MOST_BYTES = 4 * 1024 * 1024
# The decision that ends a batch early, by the semantic asked for.
STOPS_AT = {"execute_all": None, "deny_on_first_deny": False, "permit_on_first_permit": True}

# In one word, what an enforcement point may show its user; a reason that is not here has none.
STATE = {
    "subject_offboarded": "offboarded",
    "client_ended": "ended",
    "project_ended": "ended",
    "grant_revoked": "revoked",
    "grant_not_started": "scheduled",
    "grant_expired": "expired",
    "second_factor_required": "under_review",
    **{
        reason: "suspended"
        for reason in evaluation.REASONS
        if reason.endswith(("_paused", "_read_only"))
    },
}

# What pydantic found, in our words; whatever else it is, is a value of another type.
WRONG = {
    "missing": "is missing.",
    "json_invalid": "is not JSON.",
    "string_pattern_mismatch": "holds a control character.",
    "literal_error": f"is none of {', '.join(STOPS_AT)}.",
}

# A NUL or any other control character is in no name; a database may choke on it.
Text = Annotated[str, StringConstraints(strict=True, pattern=r"^[^\x00-\x1f\x7f]*$")]
Free = dict[str, Any]


class _Entity(BaseModel):
    """Fields that this version does not know are ignored, as the standard asks."""

    model_config = ConfigDict(extra="ignore", strict=True)

    type: Text
    id: Text
    properties: Free = {}


class _Action(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    name: Text
    properties: Free = {}


class _Evaluation(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    subject: _Entity
    action: _Action
    resource: _Entity
    context: Free = {}


class _Options(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    evaluations_semantic: Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"] = (
        "execute_all"
    )


class _Batch(BaseModel):
    """Items stay unread here: one that makes no sense is its own answer, not the batch's."""

    model_config = ConfigDict(extra="ignore", strict=True)

    subject: Free | None = None
    action: Free | None = None
    resource: Free | None = None
    context: Free | None = None
    evaluations: list[Any] = []
    options: _Options = Field(default_factory=_Options)


@blueprint.url_value_preprocessor
def _limit(_endpoint: str | None, _values: Free | None) -> None:
    # The first step of a request: whoever looks at its body afterwards meets the limit.
    request.max_content_length = MOST_BYTES


@blueprint.get("/.well-known/authzen-configuration")
@guard.public
def configuration() -> Answer:
    """Where to ask (AuthZEN §9); only what is served is named."""
    base = guard.database().settings.public_url
    return {
        "policy_decision_point": base,
        "access_evaluation_endpoint": f"{base}/access/v1/evaluation",
        "access_evaluations_endpoint": f"{base}/access/v1/evaluations",
    }


@blueprint.post("/access/v1/evaluation", provide_automatic_options=False)
@guard.credentials
def evaluate() -> Answer:
    """One question, one decision (AuthZEN §6)."""
    by = guard.integration()
    question = _question(_read(_Evaluation, _body()))
    return _told(evaluation.decide(guard.database(), question, by=by), by=by)


@blueprint.post("/access/v1/evaluations", provide_automatic_options=False)
@guard.credentials
def evaluate_many() -> Answer:
    """Many questions, their decisions in the same order (AuthZEN §7), recorded by one write.

    Without items it is one question. Over 1,000 items are 413: the request is well formed, so 400
    would mislead, and the sender's remedy is to send less at once.
    """
    by = guard.integration()
    body = _body()
    batch = _read(_Batch, body)
    if not batch.evaluations:
        question = _question(_read(_Evaluation, body))
        return _told(evaluation.decide(guard.database(), question, by=by), by=by)
    if len(batch.evaluations) > MOST_ITEMS:
        raise RequestEntityTooLarge(f"A batch holds at most {MOST_ITEMS:,} evaluations.")
    stop_at = STOPS_AT[batch.options.evaluations_semantic]
    return {"evaluations": list(_answers(list(_items(batch, stop_at)), stop_at=stop_at, by=by))}


def _items(batch: _Batch, stop_at: bool | None) -> Iterator[Question | errors.Invalid]:  # noqa: FBT001
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
            yield _question(_read(_Evaluation, {**defaults, **item}))
        except errors.Invalid as wrong:
            yield wrong
            if stop_at is False:
                return


def _answers(
    items: list[Question | errors.Invalid],
    *,
    stop_at: bool | None,
    by: Principal,
) -> Iterator[Answer]:
    questions = [item for item in items if isinstance(item, Question)]
    decisions = iter(evaluation.decide_many(guard.database(), questions, stop_at=stop_at, by=by))
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


# --- reading -----------------------------------------------------------------------------------


def _body() -> bytes:
    if request.mimetype != "application/json":
        raise errors.Invalid("Send JSON, as Content-Type: application/json.")
    return request.get_data()


def _read(shape: type[Shape], value: bytes | Answer) -> Shape:
    """Read a shape; `Invalid` names the member at fault and repeats nothing of what was sent."""
    try:
        if isinstance(value, bytes):
            return shape.model_validate_json(value)
        return shape.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        wrong = WRONG.get(first["type"], "is not of the right type.")
        raise errors.Invalid(f"{place or 'The body'} {wrong}", field=place or None) from None


def _question(asked: _Evaluation) -> Question:
    """The question in our words. Subjects are of type `user`; nobody of another type is known."""
    hours = effect_of(asked.action.name) is Effect.HOURS
    return Question(
        subject=asked.subject.id if asked.subject.type == "user" else "",
        action=asked.action.name,
        kind=asked.resource.type,
        code=asked.resource.id,
        worked_at=_worked_at(asked.context) if hours else None,
    )


def _worked_at(context: Free) -> datetime | None:
    if "time" not in context:
        return None
    value = context["time"]
    try:
        return clock.parse(value if isinstance(value, str) else "", field="context.time")
    except OverflowError:  # the first or last day of the calendar, in an offset that leaves it
        raise errors.Invalid("context.time: out of range.", field="context.time") from None


# --- telling -----------------------------------------------------------------------------------


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
