"""Giving tokens: to a tool what its user may do there now, to an integration its own scopes.

What a tool gets is what the person's grants permit at this moment, and no more. The position in
the logs is read first, by a statement of its own: whatever is recorded after it was not yet known,
and may take the token away again.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import String, bindparam, func, or_, select, update

from govern import clock, errors
from govern.access import clients, grants
from govern.access.clients import Dataset, Project
from govern.access.entitlements import EntitlementAction
from govern.access.grants import Grant
from govern.access.modes import EFFECTS, Effect, effect_of
from govern.access.tokens import state
from govern.access.tokens.tables import AuthorizationCode, Token, TokenAction
from govern.audit import log
from govern.audit.log import HOUSE
from govern.db import insert_if_absent, new_id
from govern.identity.integrations import Integration, IntegrationLimit
from govern.principal import Kind

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

LIFE = timedelta(seconds=300)
CODE_LIFE = timedelta(seconds=60)
# A token's place is one at random among these, so that it tells nothing of how many there are.
LISTS = 16
PLACES = 65_536  # in each list: 16 kB before it is compressed
MOST_ACTIONS = 20

_NOTHING = clock.from_micros(0)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a tool asks for: actions on a project, or on one dataset of it, by their codes."""

    project: str
    dataset: str | None
    actions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What of it a person's grants permit now: each action with the grant that permits it."""

    project: Project
    dataset: Dataset | None
    permitted: dict[str, str]
    refused: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far the logs were: the number of entries known, and the instant of the last."""

    as_of: int
    since: datetime


def offer(session: OrmSession, integration: Integration, wanted: Wanted, *, by: Principal) -> Offer:
    """What a person could give a tool now; records nothing.

    `Invalid` where it makes no sense, and in the same words where the project is none that both
    may know of: those that the person holds or held, and that the integration is not kept from.
    `FreshFactorRequired` where the person's second factor is twelve hours old.
    """
    if clock.now(session) - _shown(by) >= grants.SECOND_FACTOR_WITHIN:
        raise errors.FreshFactorRequired("Please show a one-time code again: the last is too old.")
    project, dataset = _about(session, integration, wanted, by=by)
    known = select(EntitlementAction.action).where(
        EntitlementAction.action.in_(wanted.actions), EntitlementAction.ended_at.is_(None)
    )
    unknown = set(wanted.actions).difference(EFFECTS, session.execute(known).scalars())
    if unknown:
        raise errors.Invalid(f"There is no action {min(unknown)}.", field="actions")
    found = {
        action: grant
        for action in wanted.actions
        if (grant := _permitting(session, by.id, project, dataset, action)) is not None
    }
    refused = tuple(action for action in wanted.actions if action not in found)
    return Offer(project=project, dataset=dataset, permitted=found, refused=refused)


def authorize(
    session: Session,
    integration: Integration,
    wanted: Wanted,
    *,
    audience: str,
    redirect_uri: str,
    challenge: str,
    by: Principal,
) -> tuple[str, Token]:
    """Give a tool what of it one's grants permit now; returns the code to fetch the token with.

    The code works once, within a minute, and only where nothing was taken away meanwhile.
    `Forbidden` where the grants permit none of it; otherwise refused as `offer` is.
    """
    now = clock.now(session)
    house = position(session, HOUSE)
    project, _ = _about(session, integration, wanted, by=by)
    own = position(session, project.client_id)
    found = offer(session, integration, wanted, by=by)
    if not found.permitted:
        raise errors.Forbidden("Your grants permit none of this now.")
    ends = select(func.min(Grant.ends_at)).where(Grant.id.in_(found.permitted.values()))
    until = min(session.execute(ends).scalar_one(), _shown(by) + grants.SECOND_FACTOR_WITHIN)
    token = Token(
        id=new_id("tok"),
        integration_id=integration.id,
        audience=audience,
        subject_id=by.id,
        client_id=project.client_id,
        project_id=project.id,
        dataset_id=found.dataset.id if found.dataset else None,
        since=own.since,
        house_since=house.since,
        until=until,
        issued_at=now,
        expires_at=now + CODE_LIFE,
    )
    add(session, token)
    session.add_all(
        TokenAction(token_id=token.id, action=action, effect=effect_of(action), grant_id=grant)
        for action, grant in found.permitted.items()
    )
    code = secrets.token_urlsafe(32)
    session.add(
        AuthorizationCode(
            hash=hashed(code),
            token_id=token.id,
            redirect_uri=redirect_uri,
            challenge=challenge,
            expires_at=now + CODE_LIFE,
        )
    )
    return code, token


def find_code(session: OrmSession, code: str, integration: Integration) -> AuthorizationCode | None:
    """The code, if it was given to this integration, used or not, and has not expired."""
    return session.execute(
        select(AuthorizationCode)
        .join(Token, Token.id == AuthorizationCode.token_id)
        .where(
            AuthorizationCode.hash == hashed(code),
            AuthorizationCode.expires_at > clock.instant(),
            Token.integration_id == integration.id,
        )
    ).scalar_one_or_none()


def redeem(session: Session, code: AuthorizationCode) -> Token | None:
    """The token of a code whose bearer was checked; None when it counts no more.

    A code used before takes its token with it (RFC 6749 §4.1.2).
    """
    now = clock.now(session)
    first = session.execute(
        update(AuthorizationCode)
        .where(AuthorizationCode.hash == code.hash, AuthorizationCode.used_at.is_(None))
        .values(used_at=now)
    )
    if first.rowcount != 1:  # type: ignore[attr-defined]  # a DML result has it
        end(session, code.token_id, now)
        return None
    token: Token | None = session.execute(_good(), {"token": code.token_id}).scalar_one_or_none()
    if token is None:
        return None
    token.issued_at = now
    token.expires_at = min(_whole(now) + LIFE, _whole(token.until))
    return token


def own(session: Session, *, scope: str, audience: str, by: Principal) -> Token:
    """A token by which an integration calls with its own scopes (client credentials)."""
    if by.kind is not Kind.INTEGRATION or not {role.role for role in by.roles}.issuperset(
        scope.split(" ")
    ):
        raise errors.Forbidden("An integration gets a token for its own scopes alone.")
    house = position(session, HOUSE)
    now = clock.now(session)
    token = Token(
        id=new_id("tok"),
        integration_id=by.id,
        audience=audience,
        scope=scope,
        since=house.since,
        house_since=house.since,
        until=_whole(now) + LIFE,
        issued_at=now,
        expires_at=_whole(now) + LIFE,
    )
    add(session, token)
    return token


def end(session: Session, token_id: str, now: datetime) -> None:
    """Make a token worth nothing from now on."""
    session.execute(
        update(Token).where(Token.id == token_id, Token.revoked_at.is_(None)).values(revoked_at=now)
    )


def add(session: Session, token: Token) -> None:
    """Keep a token, at a place of a status list that no other one has."""
    names = [column.name for column in Token.__table__.columns]
    while True:
        token.list_number = secrets.randbelow(LISTS)
        token.list_index = secrets.randbelow(PLACES)
        values = {name: getattr(token, name) for name in names}
        if insert_if_absent(session, Token, **values):
            return


def position(session: OrmSession, log_id: str) -> Position:
    """How far a log is, as this statement sees it: by its last key, not by its head's hot row."""
    found = session.execute(
        select(log.Entry.seq, log.Entry.at)
        .where(log.Entry.log_id == log_id)
        .order_by(log.Entry.seq.desc())
        .limit(1)
    ).one_or_none()
    if found is None:
        return Position(as_of=0, since=_NOTHING)
    return Position(as_of=found.seq + 1, since=found.at)


def hashed(secret: str) -> str:
    """What is stored of a code."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _whole(when: datetime) -> datetime:
    """Tokens tell time in whole seconds."""
    return when.replace(microsecond=0)


def _shown(by: Principal) -> datetime:
    """When a person showed a second factor; `Forbidden` for whoever is none, or is suspended."""
    if by.kind is not Kind.SUBJECT or by.factor_at is None or by.suspended:
        raise errors.Forbidden("Only who is signed in, and not suspended, gives a tool access.")
    return by.factor_at


def _about(
    session: OrmSession, integration: Integration, wanted: Wanted, *, by: Principal
) -> tuple[Project, Dataset | None]:
    if not wanted.actions or len(wanted.actions) > MOST_ACTIONS:
        raise errors.Invalid(f"Ask for 1 to {MOST_ACTIONS} actions.", field="actions")
    nowhere = errors.Invalid("There is no such project.", field="identifier")
    try:
        project = clients.project(session, wanted.project)
    except errors.Unknown:
        raise nowhere from None
    held = select(Grant.id).where(Grant.subject_id == by.id, Grant.project_id == project.id)
    limits = set(
        session.execute(
            select(IntegrationLimit.target_id).where(
                IntegrationLimit.integration_id == integration.id
            )
        ).scalars()
    )
    kept_from = limits and limits.isdisjoint({project.id, project.client_id})
    if kept_from or session.execute(held.limit(1)).first() is None:
        raise nowhere
    if wanted.dataset is None:
        return project, None
    dataset = session.execute(
        select(Dataset).where(
            Dataset.project_id == project.id,
            or_(Dataset.code == wanted.dataset, Dataset.id == wanted.dataset),
        )
    ).scalar_one_or_none()
    if dataset is None:
        raise errors.Invalid("There is no such dataset in the project.", field="dataset")
    return project, dataset


def _permitting(
    session: OrmSession, subject_id: str, project: Project, dataset: Dataset | None, action: str
) -> str | None:
    """A grant that permits the action now: the one that lasts longest."""
    wanted = {"subject": subject_id, "project": project.id, "action": action}
    if dataset is not None:
        wanted["dataset"] = dataset.id
    statement = _permits(effect_of(action), on_dataset=dataset is not None)
    return session.execute(statement, wanted).scalar()


@cache
def _good() -> Select[Any]:
    """The statement that finds a token while it is good: built once."""
    return select(Token).where(Token.id == bindparam("token"), state.good())


@cache
def _permits(effect: Effect, *, on_dataset: bool) -> Select[Any]:
    """The statement that finds the grant: built once, asked ever after."""
    action = bindparam("action", type_=String())
    asked = bindparam("dataset", type_=String()) if on_dataset else None
    about: Any = Grant.dataset_id if asked is None else func.coalesce(asked, Grant.dataset_id)
    rule = [
        *grants.standing(),
        grants.entitled(action),
        *grants.unsuspended(effect, dataset=about),
        *grants.met(),
    ]
    return (
        grants.facts(Grant.id)
        .where(
            Grant.subject_id == bindparam("subject", type_=String()),
            grants.covering(
                project=bindparam("project", type_=String()), dataset=asked, effect=effect
            ),
            grants.all_of(rule),
        )
        .order_by(Grant.ends_at.desc(), Grant.id)
        .limit(1)
    )
