"""Who asks for decisions, and what of each they may know."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from govern import clock, errors, permissions
from govern.access.evaluation.questions import Decision
from govern.audit.decisions import AccessKind
from govern.identity import integrations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from govern.access.evaluation.questions import Question
    from govern.identity.integrations import Known
    from govern.principal import Principal

# As much of an action as its row keeps (characters).
ACTION_KEPT = 80


class Credentials(NamedTuple):
    """Who asks, still to be found out: an integration's id and secret."""

    id: str
    secret: str


class Caller(NamedTuple):
    """Who asks, and about which clients they may (None: all)."""

    by: Principal
    clients: frozenset[str] | None


def identified(
    connection: Connection, known: Known, asking: Sequence[Principal | Credentials]
) -> list[Caller | Exception]:
    """Who they are, as it is now; `Unauthenticated` or `Forbidden` for who may not ask."""
    shown = list(dict.fromkeys(by for by in asking if isinstance(by, Credentials)))
    found: dict[Credentials, Principal | Exception] = {
        by: kept for by in shown if (kept := known.find(by)) is not None
    }
    if len(found) < len(shown):  # then of all: those found together are known together
        authenticated = integrations.authenticate_many(connection, shown, known)
        found = dict(zip(shown, authenticated, strict=True))
    return [_caller(found[by] if isinstance(by, Credentials) else by) for by in asking]


def _caller(by: Principal | Exception) -> Caller | Exception:
    if isinstance(by, Exception):
        return by
    clients = permissions.scope(by, "decision:ask")
    if clients is not None and not clients:
        return errors.Forbidden("This takes the permission decision:ask, which you do not hold.")
    return Caller(by, clients)


def row_of(question: Question, decision: Decision, by: Principal) -> tuple[object, ...]:
    """What the access log keeps of a decision, in the order of its columns after the number."""
    return (
        decision.at or clock.utcnow(), AccessKind.DECISION.value, by.id, by.session,
        decision.subject_id, decision.client_id, decision.resource_id,
        question.action[:ACTION_KEPT], decision.permit, decision.reason, decision.as_of,
        decision.house_as_of, question.worked_at, None,
    )  # fmt: skip


def as_told(decision: Decision, row_id: str, who: Caller) -> Decision:
    """The decision as it leaves: what is hidden, without the facts that its row keeps."""
    if _is_hidden(who, decision):
        return Decision(permit=False, reason="resource_unknown", id=row_id)
    return Decision._make((*decision[:-1], row_id))


def as_known_to(who: Caller, decision: Decision) -> Decision:
    """The decision as it is told to who may ask about some clients (None: all) or projects alone.

    Another's project is no different from none, nor a person who is known to others only from one
    who is known to nobody.
    """
    if _is_hidden(who, decision):
        return decision._replace(permit=False, reason="resource_unknown", grant_id=None)
    if who.clients is not None and decision.reason == "subject_unknown":
        return decision._replace(reason="no_grant")
    return decision


def _is_hidden(who: Caller, decision: Decision) -> bool:
    return not permissions.knows(
        who.by, who.clients, client=decision.client_id, project=decision.project_id
    )
