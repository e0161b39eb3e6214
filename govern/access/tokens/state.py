"""Whether a token is good: one reading of the one rule, for a single token and for whole lists.

A token is good while its grants are in force, and nothing has taken away any of its access since
the log position at which it was given. So a pause makes it SUSPENDED and the lift of the pause
INVALID; neither ever makes it good again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import case, func, literal, not_, or_, select

from govern.access import grants
from govern.access.clients import Client, Project
from govern.access.grants import Grant
from govern.access.tokens.tables import Token, TokenAction
from govern.identity.integrations import Integration
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement


class State(StrEnum):
    """How a token stands; the status lists tell no more than this."""

    VALID = "valid"
    INVALID = "invalid"
    SUSPENDED = "suspended"


def good(*, hours: bool = True) -> ColumnElement[bool]:
    """Whether a `Token` is good now, for a statement; not `hours`: none of its actions logs any."""
    return not_(or_(_ended(), _stopped(hours=hours)))


def of_bad() -> ColumnElement[str]:
    """Of a `Token` that is not good: suspended while something still holds it, else invalid."""
    return case(
        (_ended(), literal(State.INVALID)),
        (_integration(Integration.suspended_at.is_not(None)), literal(State.SUSPENDED)),
        (or_(*(_any(_held(hours=each)) for each in (False, True))), literal(State.SUSPENDED)),
        else_=literal(State.INVALID),
    )


def _ended() -> ColumnElement[bool]:
    """Taken back, or lost with its integration or a grant."""
    return or_(
        Token.revoked_at.is_not(None),
        _integration(Integration.ended_at.is_not(None)),
        _any(not_(grants.all_of([*grants.standing(), grants.entitled(TokenAction.action)]))),
    )


def _stopped(*, hours: bool) -> ColumnElement[bool]:
    """That something was taken away since it was given, given back or not."""
    stopped = _integration(
        or_(Integration.suspended_at.is_not(None), Integration.resumed_at > Token.house_since)
    )
    return or_(stopped, *(_any(_taken(hours=each)) for each in {False, hours}))


def _integration(test: ColumnElement[bool]) -> ColumnElement[bool]:
    return (
        select(Integration.id)
        .where(Integration.id == Token.integration_id, test)
        .correlate(Token)
        .exists()
    )


def _any(test: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether the test is met for any of the token's actions."""
    return (
        select(TokenAction.action)
        .join(Grant, Grant.id == TokenAction.grant_id)
        .join(Subject, Subject.id == Grant.subject_id)
        .join(Project, Project.id == Grant.project_id)
        .join(Client, Client.id == Grant.client_id)
        .where(TokenAction.token_id == Token.id, test)
        .correlate(Token)
        .exists()
    )


def _about() -> ColumnElement[str]:
    """The dataset that the token's access is about; null when it is the whole project."""
    return func.coalesce(Token.dataset_id, Grant.dataset_id)


def _held(*, hours: bool) -> ColumnElement[bool]:
    return grants.holding_since(
        TokenAction.effect, hours=hours, since=Token.since, dataset=_about()
    )


def _taken(*, hours: bool) -> ColumnElement[bool]:
    return grants.taken(
        TokenAction.action,
        TokenAction.effect,
        hours=hours,
        since=Token.since,
        house_since=Token.house_since,
        dataset=_about(),
    )
