"""Who may do what: one table, role × permission, and the one function that asks it.

A role is held over everything or over one client. What a caller may not know exists is `Unknown`
to them; what they may know but not do is `Forbidden`. A permission that no role holds refuses.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from govern import errors
from govern.principal import Kind

if TYPE_CHECKING:
    from datetime import datetime

    from govern.principal import Principal

FRESH = timedelta(minutes=5)

_ADMIN = frozenset({
    "catalogue:write", "project:read", "project:end",
    "subject:read", "subject:write", "subject:offboard", "subject:recover", "subject:erase",
    "role:assign", "demand:set", "grant:read", "grant:issue", "grant:revoke",
    "suspension:read", "suspension:open", "suspension:lift",
    "request:read", "request:approve", "policy:set", "question:answer", "roster:import",
    "integration:create", "decision:ask",
    "log:read", "integration:read", "provider:read", "provider:write", "identity:link",
    "hold:set",
})  # fmt: skip
_AUDITOR = frozenset({
    "project:read", "subject:read", "grant:read", "suspension:read", "request:read",
    "log:read", "log:export", "integration:read", "provider:read", "decision:ask",
})  # fmt: skip
# A second person, and no more: decides what others asked for, and reads what that takes.
_APPROVER = frozenset({"request:read", "request:approve", "suspension:read"})
# A program asks for what takes a second person, and never is that person; nor does it let in
# people or programs. Who approves access it may say, since it may give that access itself.
_API = frozenset({
    "project:read", "subject:read", "grant:read", "suspension:read", "request:read",
    "log:read", "integration:read",
    "catalogue:write", "project:end", "subject:write", "subject:offboard",
    "subject:erase", "grant:issue", "grant:revoke", "suspension:open", "suspension:lift",
    "hold:set", "policy:set",
})  # fmt: skip
_HOUSEKEEPING = frozenset({"key:rotate", "log:expire", "log:stream", "log:witness"})

ROLES: dict[str, frozenset[str]] = {
    "admin": _ADMIN,
    "auditor": _AUDITOR,
    "approver": _APPROVER,
    "operator": _ADMIN | _AUDITOR | _HOUSEKEEPING | {"database:backup", "database:restore"},
    "system": _ADMIN | _AUDITOR | _HOUSEKEEPING,
    # The scopes of integrations.
    "decision": frozenset({"decision:ask"}),
    "introspect": frozenset({"token:introspect"}),
    "audit.read": _AUDITOR - {"decision:ask"},
    "api": _API,
    "ssf": frozenset(),
    "scim": frozenset(),
}

# Acts for which a second factor must have been shown within the last five minutes.
NEEDS_FRESH = frozenset({
    "suspension:open", "suspension:lift", "request:approve",
    "grant:issue", "grant:revoke", "project:end", "log:export", "role:assign", "subject:offboard",
    "integration:create", "demand:set", "provider:write", "identity:link", "subject:recover",
    "hold:set", "subject:erase", "roster:import", "policy:set",
})  # fmt: skip


def scope(by: Principal, permission: str) -> frozenset[str] | None:
    """The clients over which `by` holds `permission`: None for all, an empty set for none."""
    held = [role for role in by.roles if permission in ROLES.get(role.role, frozenset())]
    if by.suspended:
        return frozenset()
    if any(role.client is None for role in held):
        return None
    return frozenset(role.client for role in held if role.client is not None)


def covers(by: Principal, permission: str, client: str | None) -> bool:
    """Whether `by` holds `permission` over a client (None: over everything)."""
    clients = scope(by, permission)
    return clients is None or client in clients


def knows(
    by: Principal, clients: frozenset[str] | None, *, client: str | None, project: str | None
) -> bool:
    """Whether who has a permission over `clients` (see `scope`) may know of what is in a project.

    An integration that is limited to projects may know of those alone.
    """
    if clients is not None and client not in clients:
        return False
    return by.projects is None or not by.projects.isdisjoint((project, client))


def require(
    by: Principal, permission: str, *, client: str | None = None, now: datetime | None = None
) -> None:
    """Let pass who holds `permission` over `client` (None: over everything), else raise.

    Raises `Unknown` where the client itself is hidden from the caller, `Forbidden` where it is
    not, and `FreshFactorRequired` where the act asks for a factor shown within five minutes of
    `now`; without `now`, freshness is not looked at.
    """
    clients = scope(by, permission)
    if clients is not None and client not in clients:
        if clients and client is not None:
            raise errors.Unknown("There is no such thing, or you may not know of it.")
        refused = errors.Forbidden(
            f"This takes the permission {permission}, which you do not hold."
        )
        refused.permission = None if clients or by.suspended else permission
        raise refused
    if permission in NEEDS_FRESH and now is not None:
        require_fresh(by, now=now)


def require_some(by: Principal, permission: str) -> frozenset[str] | None:
    """The clients over which `by` holds `permission` (see `scope`); `Forbidden` where over none."""
    clients = scope(by, permission)
    if clients is not None and not clients:
        require(by, permission)
    return clients


def require_fresh(by: Principal, *, now: datetime) -> None:
    """Ask a person for a second factor shown in the last five minutes, the sign-in's included."""
    if by.kind is not Kind.SUBJECT:
        return  # programs and the machine's users have none
    if by.factor_at is None or now - by.factor_at > FRESH:
        raise errors.FreshFactorRequired("Please show your one-time code again to go on.")
