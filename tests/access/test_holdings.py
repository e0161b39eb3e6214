"""People as a client's reader finds them: whoever holds or held something there, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from govern.access import holdings
from govern.access.holdings import known
from govern.principal import Kind, Principal, RoleHeld

if TYPE_CHECKING:
    import pytest

    from tests.factory import World


def test_a_clients_reader_finds_the_same_people_and_firms_whether_these_are_few_or_many(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    aster, boreal = world.client("ASTER"), world.client("BOREAL")
    own, other = world.project("own", client=aster), world.project("other", client=boreal)
    held = world.subject("held", organisation="Firm A")
    world.grant(held, own)
    world.grant(held, other)
    world.grant(world.subject("elsewhere", organisation="Firm B"), other)
    world.revoke(world.grant(world.subject("before", organisation="Firm C"), own))
    chief = world.staff("admin", client=aster)
    by = Principal(kind=Kind.SUBJECT, id=chief.id, roles=(RoleHeld("admin", aster.id),), amr=())
    for most in (5000, 0):
        monkeypatch.setattr(known, "_FEW", most)
        with world.store.reading() as session:
            found = [row.external_id for row in holdings.people(session, by=by).rows]
            firms = holdings.organisations(session, by=by)
        assert found == sorted(["before", "held", chief.external_id])
        assert {"Firm A", "Firm C"} <= set(firms)
        assert "Firm B" not in firms
