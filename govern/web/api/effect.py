"""Time to effect: how fast a suspension took effect, and which integrations heard of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from govern.access import suspensions
from govern.access.modes import Mode
from govern.web import guard
from govern.web.api.routes import Routes
from govern.web.api.shapes import Instant, Told

if TYPE_CHECKING:
    from govern.db import Session
    from govern.principal import Principal

routes = Routes("effect")


class Answer(Told):
    """What an integration was told last, of anything covered."""

    at: Instant
    permit: bool
    reason: str


class Integration(Told):
    """An integration that could have asked; `since` is when it was first told what decides."""

    id: str
    name: str = Field(description="Its id, where the caller may not know its name.")
    state: Literal["confirmed", "failed", "unknown"] = Field(
        description="Refused since; permitted though it should not be; or has not asked since."
    )
    since: Instant | None
    before: Answer | None = Field(description="Before the suspension was in force.")
    after: Answer | None


class TimeToEffect(Told):
    """When a suspension took effect, and who heard of it; null is what was not seen."""

    id: str
    state: Literal["open", "lifted"]
    mode: Mode
    ordered_at: Instant
    committed_at: Instant = Field(description="From here every decision refuses.")
    milliseconds: float = Field(description="From the order to the commit.")
    last_permit_at: Instant | None
    first_deny_at: Instant | None
    recorded_at: Instant | None = Field(description="When every grant had its entry.")
    grants_recorded: int
    seen_at: Instant
    whole: bool = Field(description="False: only the nearest rows of the access log were read.")
    counts: dict[str, int] = Field(description="Integrations by state.")
    integrations: list[Integration]


@routes.get("/suspensions/<suspension>/effect", TimeToEffect)
def effect(session: Session, suspension: str, *, by: Principal) -> TimeToEffect:
    """How fast a suspension took effect, and which integrations are known to have heard of it."""
    seen = suspensions.time_to_effect(session, suspension, by=by)
    suspensions.reading.note(guard.database(), "suspension.effect", seen.found, by=by)
    return TimeToEffect(**seen.told())
