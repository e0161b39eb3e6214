"""Who is calling, and how sure we are of it.

A principal is a value: made at the edge from a session, a credential or the machine's user, and
handed down as `by`. Below the surface there is no "current user".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class Kind(StrEnum):
    """What sort of caller."""

    SUBJECT = "subject"
    INTEGRATION = "integration"
    OPERATOR = "operator"
    SYSTEM = "system"


@dataclass(frozen=True)
class RoleHeld:
    """A role in force now; `client` is the one client it is limited to, or None for all."""

    role: str
    client: str | None = None


@dataclass(frozen=True, kw_only=True)
class Principal:
    """The authenticated caller now.

    `id` is opaque (`sub_…`, `int_…`, or `operator`, `system`). `name` is for an operator alone
    (`operator:root`): it goes into the log as a commitment. `factor_at` is when a second factor
    was last shown, `amr` how (RFC 8176). `projects` is None, or all that an integration limited to
    projects may know of: their ids, and the ids of clients that it may know whole.
    """

    kind: Kind
    id: str
    roles: tuple[RoleHeld, ...] = ()
    projects: frozenset[str] | None = None
    name: str = ""
    session: str | None = None
    amr: tuple[str, ...] = ()
    factor_at: datetime | None = None
    suspended: bool = field(default=False)


def operator(user: str) -> Principal:
    """Whoever sits at the machine: may do everything, and is named in every record."""
    return Principal(
        kind=Kind.OPERATOR, id="operator", roles=(RoleHeld("operator"),), name=f"operator:{user}"
    )


SYSTEM = Principal(kind=Kind.SYSTEM, id="system", roles=(RoleHeld("system"),))
