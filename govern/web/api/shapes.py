"""The shapes that every part of the API is made of: texts, instants, pages, problems.

What is asked is read strictly: an unknown member or a value of another type is refused by its name,
and nothing of what was sent is repeated. What is told may gain members.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from werkzeug.exceptions import BadRequest

from govern import clock, errors

_LINE = r"^[^\x00-\x1f\x7f]*$"
_PROSE = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"


def _instant(value: Any, info: ValidationInfo) -> datetime:
    if isinstance(value, datetime):
        return value  # ours, to be told
    field = info.field_name or ""
    if not isinstance(value, str):
        raise errors.Invalid(f"{field} is not {clock.FORM}.", field=field)
    return clock.parse(value, field=field)


def _told_instant(value: datetime) -> str:
    return clock.text(value)


_DATE_TIME = WithJsonSchema({"type": "string", "format": "date-time"})
Instant = Annotated[datetime, BeforeValidator(_instant), PlainSerializer(_told_instant), _DATE_TIME]
Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_LINE)]
Code = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=_LINE)]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=254, pattern=_LINE)]
Why = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=_LINE)]
Words = Annotated[str, StringConstraints(max_length=200, pattern=_LINE)]
Prose = Annotated[str, StringConstraints(max_length=4000, pattern=_PROSE)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Cursor = Annotated[str, StringConstraints(max_length=2000, pattern=_LINE)]
Upload = Annotated[Any, WithJsonSchema({"type": "string", "format": "binary"})]
Filters = Annotated[dict[Code, Line], Field(max_length=20)]
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]

State = Literal["running", "under_review", "read_only", "paused", "ended"]


class Asked(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Ending(Asked):
    """Why something ends for good; `number` is that of the grants that end with it."""

    number: Count
    reason: Why


class Query(BaseModel):
    """The parameters of an address, which are texts until they are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Paging(Query):
    """Which part of a list."""

    limit: int = Field(default=50, ge=1, le=200, description="How many at most.")
    after: Cursor = Field(default="", description="The `next` of the page before.")


class Told(BaseModel):
    """The body of an answer."""

    model_config = ConfigDict(frozen=True)


T = TypeVar("T")


class Page(Told, Generic[T]):
    """One page of a list."""

    items: list[T]
    next: str | None = Field(description="`after` of the next page; null when this is the last.")


class Problem(Told):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="The stable name of what went wrong.")
    request_id: str = Field(description="What to quote when asking about it.")
    field: str | None = Field(default=None, description="The part at fault, as it was sent.")


Shape = TypeVar("Shape", bound=BaseModel)


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of an object: of two with one name another reader would take the other."""
    found: dict[str, Any] = {}
    for name, value in members:
        if name in found:
            raise errors.Invalid(f"{name}: given more than once.", field=name)
        found[name] = value
    return found


def read(shape: type[Shape], value: bytes | dict[str, Any]) -> Shape:
    """Read a body or the parameters of an address; `Invalid` names the member at fault.

    What is no JSON at all, or nested beyond reason, is a bad request (400).
    """
    try:
        if isinstance(value, bytes):
            found = shape.model_validate_json(value)
            json.loads(value.decode(), object_pairs_hook=_once, parse_int=str)
            return found
        return shape.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise BadRequest(f"{first['msg']}.") from None
        place = ".".join(str(part) for part in first["loc"])
        raise errors.Invalid(
            f"{place or 'The body'}: {first['msg']}.", field=place or None
        ) from None
