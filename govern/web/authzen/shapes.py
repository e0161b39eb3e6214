"""The shapes of AuthZEN's questions (§5, §7, §8), and how they are read.

Fields that this version does not know are ignored, as the standard asks; a required one that is
missing or of another type is `Invalid`.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    with_config,
)
from typing_extensions import TypedDict

from govern import clock, errors

if TYPE_CHECKING:
    from collections.abc import Hashable
    from datetime import datetime

Shape = TypeVar("Shape")

# The decision that ends a batch early, by the semantic asked for.
STOPS_AT = {"execute_all": None, "deny_on_first_deny": False, "permit_on_first_permit": True}

# What pydantic found, in our words; whatever else it is, is a value of another type.
_WRONG = {
    "missing": "is missing.",
    "json_invalid": "is not JSON.",
    "string_pattern_mismatch": "holds a control character.",
    "literal_error": f"is none of {', '.join(STOPS_AT)}.",
}

# A NUL or any other control character is in no name; a database may choke on it.
Text = Annotated[str, StringConstraints(strict=True, pattern=r"^[^\x00-\x1f\x7f]*$")]
Free = dict[str, Any]


_KNOWN_ALONE = ConfigDict(extra="ignore", strict=True)


# Those of a question are plain dictionaries: a batch holds a thousand of each, and to make an
# object takes three times as long as to check what is in it.
@with_config(_KNOWN_ALONE)
class Entity(TypedDict):
    """A subject or a resource."""

    type: Text
    id: Text
    properties: NotRequired[Free]


@with_config(_KNOWN_ALONE)
class Action(TypedDict):
    """What is to be done."""

    name: Text
    properties: NotRequired[Free]


@with_config(_KNOWN_ALONE)
class Evaluation(TypedDict):
    """One question (§6)."""

    subject: Entity
    action: Action
    resource: Entity
    context: NotRequired[Free]


class _Shape(BaseModel):
    model_config = _KNOWN_ALONE


class _Options(_Shape):
    evaluations_semantic: Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"] = (
        "execute_all"
    )


class Batch(_Shape):
    """Many questions (§7). Items stay unread: a senseless one is its own answer alone."""

    subject: Free | None = None
    action: Free | None = None
    resource: Free | None = None
    context: Free | None = None
    evaluations: list[Any] = []
    options: _Options = Field(default_factory=_Options)


class Sort(_Shape):
    """An entity that is looked for: its type alone counts, an id that comes along does not."""

    type: Text
    properties: Free = Field(default_factory=dict)


class Paging(_Shape):
    """Which page of a search (§8); without a limit it is as long as usual."""

    token: str = ""
    limit: int | None = None
    properties: Free = Field(default_factory=dict)


class _Search(_Shape):
    context: Free = Field(default_factory=dict)
    page: Paging = Field(default_factory=Paging)


class SubjectSearch(_Search):
    """The search for who may do this there."""

    subject: Sort
    action: Action
    resource: Entity


class ResourceSearch(_Search):
    """The search for where they may do this."""

    subject: Entity
    action: Action
    resource: Sort


class ActionSearch(_Search):
    """The search for what they may do there; an action that comes along is passed over."""

    subject: Entity
    resource: Entity


def read(shape: type[Shape], value: bytes | dict[str, Any]) -> Shape:
    """Read a shape; `Invalid` names the member at fault and repeats nothing of what was sent."""
    checking: TypeAdapter[Shape] = _checking(cast("Hashable", shape))
    try:
        if isinstance(value, bytes):
            return checking.validate_json(value)
        return checking.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        wrong = _WRONG.get(first["type"], "is not of the right type.")
        raise errors.Invalid(f"{place or 'The body'} {wrong}", field=place or None) from None


@cache
def _checking(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


def person(subject: Entity) -> str:
    """Whom the subject names: people are of type `user`, and nobody of another type is known."""
    return subject["id"] if subject["type"] == "user" else ""


def worked_at(context: Free) -> datetime | None:
    """The instant of the work that hours are asked about (`context.time`)."""
    if "time" not in context:
        return None
    value = context["time"]
    with suppress(errors.Invalid):
        return clock.parse(value if isinstance(value, str) else "", field="context.time")
    raise errors.Invalid(f"context.time is not {clock.FORM}.", field="context.time")
