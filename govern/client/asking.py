"""Ask govern whether someone may do something (AuthZEN 1.0), one question or many."""

from __future__ import annotations

import json
import logging
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from govern.client.transport import Transport, Unanswered, base

if TYPE_CHECKING:
    from collections.abc import Iterable

UNAVAILABLE = "unavailable"
MOST = 1000  # questions that govern answers at once
_OK = 200

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question:
    """Whether this subject may do this there.

    `subject` is an external id or e-mail address; `resource` is `TYPE:CODE`, such as
    `project:Kingfisher`, `dataset:kingfisher-audio` or `bucket:kingfisher-audio`. `worked_at` (with
    its offset) is for the action `log_hours` alone: the instant that the work was done at.
    """

    subject: str
    action: str
    resource: str
    worked_at: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse what no answer could make good: a mistake in the program, not in its input."""
        for name in ("subject", "action", "resource"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name}: a string")
        if not self.resource.partition(":")[0] or ":" not in self.resource:
            raise ValueError("resource: TYPE:CODE, such as project:Kingfisher")
        if self.worked_at is not None and not isinstance(self.worked_at, datetime):
            raise TypeError("worked_at: a datetime")
        if self.worked_at is not None and self.worked_at.utcoffset() is None:
            raise ValueError("worked_at: an instant with its offset from UTC")

    def body(self) -> dict[str, Any]:
        """The question as AuthZEN has it (§6.1)."""
        type_, _, code = self.resource.partition(":")
        asked: dict[str, Any] = {
            "subject": {"type": "user", "id": self.subject},
            "action": {"name": self.action},
            "resource": {"type": type_, "id": code},
        }
        if self.worked_at is not None:
            asked["context"] = {"time": self.worked_at.isoformat()}
        return asked


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The answer; it is true when it permits, so `if decision:` is enough.

    `reason` is a stable code: `permitted`, one of govern's (`project_paused`), `denied` where it
    tells none, or `unavailable` where there was no answer to trust. `sentence` may be shown to the
    person, `id` names the row of the access log, `as_of` the log position that was seen.
    """

    permit: bool
    reason: str
    sentence: str = ""
    id: str | None = None
    as_of: int | None = None

    def __bool__(self) -> bool:
        """Whether it permits."""
        return self.permit


NO_ANSWER = Decision(
    permit=False, reason=UNAVAILABLE, sentence="Access cannot be checked just now, so it is denied."
)


class Client:
    """Asks one govern with an integration's credentials; safe to share among threads.

    `timeout` is the time that a request has in all, in seconds. Make one and keep it: it keeps its
    connections open.
    """

    def __init__(self, url: str, client_id: str, secret: str, *, timeout: float = 2.0) -> None:
        if not client_id or not secret:
            raise ValueError("client_id and secret: as `govern integration create` printed them")
        self._url = base(url)
        self._transport = Transport(timeout, auth=(client_id, secret))

    def allowed(
        self, subject: str, action: str, resource: str, *, worked_at: datetime | None = None
    ) -> Decision:
        """Whether someone may do something on a `TYPE:CODE` now: see `Question`."""
        return self.ask(Question(subject, action, resource, worked_at))

    def ask(self, question: Question) -> Decision:
        """The decision on one question."""
        try:
            return _decision(self._post("/access/v1/evaluation", question.body()))
        except Unanswered as error:
            _log.warning("no decision: %s", error)
            return NO_ANSWER

    def ask_many(self, questions: Iterable[Question]) -> list[Decision]:
        """The decisions on many questions, in their order: a request for each thousand of them."""
        asked, found = list(questions), []
        for start in range(0, len(asked), MOST):
            found += self._batch(asked[start : start + MOST])
        return found

    def _batch(self, questions: list[Question]) -> list[Decision]:
        body = {"evaluations": [question.body() for question in questions]}
        try:
            answer = self._post("/access/v1/evaluations", body)
            told = answer.get("evaluations") if isinstance(answer, dict) else None
            if not isinstance(told, list) or len(told) != len(questions):
                raise Unanswered("not as many decisions as questions")
            return [_decision(one) for one in told]
        except Unanswered as error:
            _log.warning("no decisions: %s", error)
            return [NO_ANSWER] * len(questions)

    def _post(self, path: str, body: dict[str, Any]) -> object:
        name = secrets.token_hex(16)
        answer = self._transport.send(
            "POST", self._url + path, body=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "X-Request-ID": name},
        )  # fmt: skip
        if answer.status != _OK or answer.media_type != "application/json":
            raise Unanswered(f"{answer.status} {answer.media_type} at {path}")
        if answer.headers.get("X-Request-ID") != name:
            raise Unanswered(f"the answer to another request at {path}")
        try:
            found: object = json.loads(answer.body)
        except (ValueError, RecursionError):
            raise Unanswered(f"no JSON at {path}") from None
        return found


def _decision(told: object) -> Decision:
    permit = told.get("decision") if isinstance(told, dict) else None
    if not isinstance(told, dict) or not isinstance(permit, bool):
        raise Unanswered("no decision in the answer")
    context = told.get("context")
    context = context if isinstance(context, dict) else {}
    user = context.get("reason_user")
    return Decision(
        permit=permit,
        reason="permitted" if permit else _text(context.get("code")) or "denied",
        sentence=_text(user.get("en") if isinstance(user, dict) else None) or "",
        id=_text(context.get("decision_id")),
        as_of=context["as_of"] if type(context.get("as_of")) is int else None,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
