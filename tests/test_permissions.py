"""Permissions: one table, and one function that asks it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from govern import clock, errors, permissions
from govern.principal import SYSTEM, Kind, Principal, RoleHeld, operator

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
EVERY = sorted(set().union(*permissions.ROLES.values()))

READS = {"project:read", "subject:read", "grant:read", "suspension:read", "request:read",
         "log:read", "integration:read", "provider:read"}  # fmt: skip
MACHINE = {"database:backup", "database:restore"}
MAY = {
    "admin": set(EVERY)
    - {"log:export", "log:expire", "log:stream", "log:witness", "key:rotate", "token:introspect"}
    - MACHINE,
    "approver": {"request:read", "request:approve", "suspension:read"},
    "auditor": READS | {"log:export", "decision:ask"},
    "operator": set(EVERY) - {"token:introspect"},
    "system": set(EVERY) - {"token:introspect"} - MACHINE,
    "decision": {"decision:ask"},
    "introspect": {"token:introspect"},
    "audit.read": READS | {"log:export"},
    "api": set(EVERY)
    - {
        "request:approve",
        "question:answer",
        "role:assign",
        "subject:recover",
        "demand:set",
        "roster:import",
        "integration:create",
        "provider:read",
        "provider:write",
        "identity:link",
        "log:export",
        "log:expire",
        "log:stream",
        "log:witness",
        "decision:ask",
        "token:introspect",
        "key:rotate",
        *MACHINE,
    },
    "ssf": set(),
    "scim": set(),
    "": set(),
    "nonesuch": set(),
}


def someone(role: str = "", client: str | None = None, *, factor_at: datetime | None = NOW,
            suspended: bool = False) -> Principal:  # fmt: skip
    roles = (RoleHeld(role, client),) if role else ()
    return Principal(
        kind=Kind.SUBJECT, id="sub_x", roles=roles, factor_at=factor_at, suspended=suspended
    )


def outcome(by: Principal, permission: str, client: str | None) -> str:
    try:
        permissions.require(by, permission, client=client, now=NOW)
    except errors.GovernError as error:
        return type(error).__name__
    return "passes"


@pytest.mark.parametrize("permission", [*EVERY, "nonesuch:verb"])
@pytest.mark.parametrize("role", MAY)
@pytest.mark.asvs("8.2.1")
def test_the_table_of_who_may_do_what(role: str, permission: str) -> None:
    held = permission in MAY[role]
    over_all, over_one = someone(role), someone(role, "cli_own")
    for client in (None, "cli_own", "cli_other"):
        assert outcome(over_all, permission, client) == ("passes" if held else "Forbidden")
    assert outcome(over_one, permission, "cli_own") == ("passes" if held else "Forbidden")
    # Another client's things are not there for them; what is over all they may not do.
    assert outcome(over_one, permission, "cli_other") == ("Unknown" if held else "Forbidden")
    assert outcome(over_one, permission, None) == "Forbidden"


@pytest.mark.asvs("7.5.3")
def test_every_permission_that_takes_a_fresh_factor_is_in_the_table() -> None:
    assert set(EVERY) >= permissions.NEEDS_FRESH


@pytest.mark.parametrize("permission", sorted(permissions.NEEDS_FRESH))
@pytest.mark.asvs("7.5.3")
def test_a_factor_is_fresh_for_exactly_five_minutes(permission: str) -> None:
    role = "auditor" if permission == "log:export" else "admin"
    bound = NOW - timedelta(minutes=5)
    assert outcome(someone(role, factor_at=bound), permission, None) == "passes"
    for stale in (bound - clock.TICK, None):
        assert outcome(someone(role, factor_at=stale), permission, None) == "FreshFactorRequired"


def test_reading_takes_no_fresh_factor() -> None:
    assert outcome(someone("auditor", factor_at=None), "log:read", None) == "passes"


def test_the_machines_user_and_the_system_have_no_factor_to_show() -> None:
    for by in (operator("root"), SYSTEM):
        assert outcome(by, "suspension:open", None) == "passes"


def test_who_is_suspended_may_do_nothing_here() -> None:
    by = someone("admin", suspended=True)
    assert permissions.scope(by, "project:read") == frozenset()
    assert outcome(by, "project:read", None) == "Forbidden"


def test_several_roles_add_up() -> None:
    by = Principal(kind=Kind.SUBJECT, id="sub_x", factor_at=NOW,
                   roles=(RoleHeld("auditor", "a"), RoleHeld("admin", "b")))  # fmt: skip
    assert permissions.scope(by, "log:read") == {"a", "b"}
    assert permissions.scope(by, "grant:issue") == {"b"}
    assert outcome(by, "grant:issue", "a") == "Unknown"
    assert outcome(by, "log:export", "a") == "passes"


def test_a_list_is_for_whoever_holds_its_permission_over_anything_and_for_nobody_else() -> None:
    over_one = Principal(kind=Kind.SUBJECT, id="s", roles=(RoleHeld("auditor", "a"),))
    assert permissions.require_some(over_one, "log:read") == {"a"}
    over_all = Principal(kind=Kind.SUBJECT, id="s", roles=(RoleHeld("auditor", None),))
    assert permissions.require_some(over_all, "log:read") is None
    with pytest.raises(errors.Forbidden):
        permissions.require_some(over_all, "grant:issue")
