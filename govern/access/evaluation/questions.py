"""A question and its decision: who asks to do what where, and the answer with its reason."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

REASONS: dict[str, str] = {
    "permitted": "A grant in force allows this.",
    "subject_unknown": "Nobody is known by that name.",
    "resource_unknown": "There is no such project or dataset.",
    "no_grant": "They hold no grant for this.",
    "subject_offboarded": "They have left.",
    "client_ended": "The client has ended.",
    "project_ended": "The project has ended.",
    "grant_revoked": "Their grant was revoked.",
    "grant_not_started": "Their grant has not started yet.",
    "grant_expired": "Their grant has expired.",
    "action_not_granted": "Their grant does not allow this action.",
    "second_factor_required": "Under review: a second factor within 12 hours is needed.",
    "second_factor_enrolment_required": "An authenticator app or a passkey must be enrolled first.",
    "passkey_required": "A passkey must be enrolled first.",
    "work_in_future": "The work would lie in the future.",
    "record_failed": "The decision could not be recorded, so it is a denial.",
    **{
        f"{scope}_{mode}": f"The {scope} is {words}."
        for scope in ("client", "project", "dataset", "organisation")
        for mode, words in (("paused", "paused"), ("read_only", "read-only for now"))
    },
    "subject_paused": "Their own access is suspended.",
    "subject_read_only": "Their own access is read-only for now.",
}


class Question(NamedTuple):
    """What is asked: a subject (external id or e-mail), an action, a project's or dataset's code.

    `kind` is `project`, `dataset`, or the type that a dataset has of its own. `worked_at` counts
    for hours alone; `at` asks about the past, None about now.
    """

    subject: str
    action: str
    kind: str
    code: str
    worked_at: datetime | None = None
    at: datetime | None = None


class Decision(NamedTuple):
    """The answer. `as_of` is the client log's position that the snapshot saw (entries)."""

    permit: bool
    reason: str
    as_of: int | None = None
    house_as_of: int | None = None
    subject_id: str | None = None
    client_id: str | None = None
    project_id: str | None = None
    resource_id: str | None = None
    grant_id: str | None = None
    at: datetime | None = None
    id: str | None = None

    @property
    def sentence(self) -> str:
        """The reason in plain words."""
        return REASONS[self.reason]
