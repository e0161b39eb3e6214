"""Actions have effects, and modes stop effects: two tables, no code.

An action that this table does not know counts as taking data away, the strictest effect.
"""

from __future__ import annotations

from enum import StrEnum


class Effect(StrEnum):
    """What an action does to a client's data, or to the hours worked on it."""

    OBSERVE = "observe"
    CHANGE = "change"
    TAKE = "take"
    HOURS = "hours"


class Mode(StrEnum):
    """How much a suspension stops, from least to most."""

    UNDER_REVIEW = "under_review"
    READ_ONLY = "read_only"
    PAUSED = "paused"


EFFECTS: dict[str, Effect] = {
    "read": Effect.OBSERVE,
    "annotate": Effect.CHANGE,
    "review": Effect.CHANGE,
    "export": Effect.TAKE,
    "log_hours": Effect.HOURS,
}

STOPS: dict[Mode, frozenset[Effect]] = {
    Mode.UNDER_REVIEW: frozenset(),
    Mode.READ_ONLY: frozenset({Effect.CHANGE, Effect.TAKE, Effect.HOURS}),
    Mode.PAUSED: frozenset(Effect),
}

MEANS: dict[Mode, str] = {
    Mode.UNDER_REVIEW: "Work goes on. Everyone shows a second factor every 12 hours, and new "
    "grants take a second approver.",
    Mode.READ_ONLY: "People may look, but change nothing and take nothing away. Hours count until "
    "the cut-off.",
    Mode.PAUSED: "Nobody reaches anything. Hours count until the cut-off.",
}


def effect_of(action: str) -> Effect:
    """What an action does; an unknown one is taken for the worst."""
    return EFFECTS.get(action, Effect.TAKE)


def stopping(effect: Effect) -> list[Mode]:
    """The modes that stop an effect."""
    return [mode for mode in Mode if effect in STOPS[mode]]


def tighter(new: Mode, old: Mode) -> bool:
    """Whether `new` stops all that `old` stops, and more."""
    order = list(Mode)
    return order.index(new) > order.index(old)
