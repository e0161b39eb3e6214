"""What a tool asks for: which resource its token is for, and access to which project.

RFC 8707 and RFC 9396, read strictly: what is not understood is refused, never passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from authlib.oauth2 import OAuth2Error
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from govern.access import tokens
from govern.access.tokens import MOST_ACTIONS, Wanted

if TYPE_CHECKING:
    from collections.abc import Collection

    from govern.web.oauth.server import Request

TYPE = "project_access"


class InvalidTarget(OAuth2Error):  # type: ignore[misc]  # Authlib has no types
    """The resource is not one of the client's (RFC 8707 §2)."""

    error = "invalid_target"


class InvalidDetails(OAuth2Error):  # type: ignore[misc]  # Authlib has no types
    """`authorization_details` ask for what there is not, or in other words (RFC 9396 §5)."""

    error = "invalid_authorization_details"


_Text = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]


class _ProjectAccess(BaseModel):
    """One project, or one dataset of it, and the actions there, by their codes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["project_access"]
    identifier: _Text
    dataset: _Text | None = None
    actions: Annotated[list[_Text], Field(min_length=1, max_length=MOST_ACTIONS)]
    locations: list[_Text] | None = None


# A token is about one project: so that what takes it away is plain.
_shape = TypeAdapter(Annotated[list[_ProjectAccess], Field(min_length=1, max_length=1)])


def resource(asked: Request, allowed: Collection[str]) -> str | None:
    """The one resource that the token is to be for, if it is named."""
    named = asked.form.getlist("resource")
    if len(named) > 1:
        raise InvalidTarget("A token is for one resource.")
    if named and named[0] not in allowed:
        raise InvalidTarget("This resource is not registered for the client.")
    return named[0] if named else None


def wanted(asked: Request, registered: Collection[str]) -> tuple[str, Wanted]:
    """The resource and the access that a person is asked for.

    The resource is the one named by `resource` or `locations`, or else the only one registered.
    """
    try:
        (found,) = _shape.validate_json(asked.form.get("authorization_details", ""))
    except ValidationError:
        raise InvalidDetails(
            f"authorization_details is a JSON array of one object of type {TYPE}, with "
            "identifier, actions, and perhaps dataset and locations."
        ) from None
    if found.dataset is None and "dataset" in found.model_fields_set:
        raise InvalidDetails("dataset is the code of one.")
    named = resource(asked, registered)
    if found.locations is not None:
        if len(found.locations) != 1 or found.locations[0] not in registered:
            raise InvalidDetails("locations names one resource of the client.")
        if named not in {None, found.locations[0]}:
            raise InvalidTarget("resource and locations name two resources.")
        named = found.locations[0]
    if named is None:
        if len(registered) != 1:
            raise InvalidTarget("Say which resource the token is for.")
        (named,) = registered
    return named, tokens.Wanted(
        project=found.identifier,
        dataset=found.dataset,
        actions=tuple(dict.fromkeys(found.actions)),
    )
