"""A receipt proves itself with the key alone, and names nothing of another client's."""

from __future__ import annotations

import base64
import re
from html import unescape
from typing import TYPE_CHECKING

import pytest

from govern import errors
from govern.access import suspensions
from govern.audit import verify
from govern.audit.signer import Signer
from tests.factory import OPERATOR, World, person

if TYPE_CHECKING:
    from govern.access.suspensions import Receipt, Suspension
    from govern.principal import Principal


def receipt(
    world: World, row: Suspension, client: str = "", *, by: Principal = OPERATOR
) -> Receipt:
    Signer(world.store.settings).sign(world.store)
    with world.store.reading() as session:
        return suspensions.receipt(session, row.id, client=client, by=by)


def key(world: World) -> str:
    return Signer(world.store.settings).key


def test_a_receipt_proves_its_entries_and_every_change_of_them_shows(world: World) -> None:
    client = world.client("ASTER")
    project = world.project("Kingfisher", client=client)
    for _ in range(3):
        world.grant(world.subject(), project)
    row = world.suspend("client:ASTER", ordered_by="ops@aster.example, <phone>")
    early = receipt(world, row)
    assert (early.digest, early.recorded) == (None, None)
    world.write_particulars()
    told = receipt(world, row)
    (closing,) = world.entries(client.id, "suspension.recorded")
    assert (told.grants, told.people) == (closing["data"]["count"], 3) == (3, 3)
    assert told.digest == closing["data"]["digest"]
    document = suspensions.receipt_file.document(told)
    report = verify.check_receipt(document, keys=[key(world)])
    assert report.ok, report.damage
    opening, closed = report.entries
    assert opening.fields == world.entries(client.id, "suspension.opened")[0]
    assert closed.fields == closing
    assert report.values == {"ordered_by": "ops@aster.example, <phone>"}
    text = document.decode()
    for said in (told.digest, row.id, "3 grants of 3 people", "&lt;phone&gt;", "Aster Labs"):
        assert said in text
    assert "<script" not in text
    assert "style=" not in text

    # Whatever of the proved parts is changed, it is no longer what was signed.
    entry = re.search(r'data-govern="entry">([^<]+)<', text)
    assert entry
    body = base64.b64decode(entry[1])
    paused = base64.b64encode(body.replace(b'"paused"', b'"review"')).decode()
    damaged = [
        text.replace(entry[1], paused),
        text.replace("ops@aster.example, &lt;phone&gt;", "someone@aster.example"),
        re.sub(r"index (\d+)", lambda found: f"index {int(found[1]) + 1}", text, count=1),
        text.replace('data-govern="proof"', 'data-govern="other"'),
        text.replace(unescape("— "), unescape("- "), 1),
        "<html></html>",
    ]
    for each in damaged:
        assert each != text
        assert not verify.check_receipt(each.encode(), keys=[key(world)]).ok
    other = "govern.localhost+e1a1a0b4+AcHWJGqvMQAZEAdE5YxDuyPWMbv8tJkcUUE0mbQ8dM4B"
    with pytest.raises(errors.Invalid):
        verify.check_receipt(document, keys=[other[:-4]])
    with pytest.raises(errors.Invalid):
        verify.check_receipt(document, keys=[])


def test_one_clients_receipt_never_names_another_clients_things(world: World) -> None:
    rows = {}
    for code in ("ASTER", "BOREAL"):
        project = world.project(f"{code}-project", client=world.client(code))
        person_ = world.subject(f"P-{code}")
        world.grant(person_, project)
        rows[code] = (project, person_)
    row = world.suspend(
        "project:ASTER-project", "client:BOREAL", "subject:P-ASTER",
        ordered_by="someone at BOREAL", incident="BOREAL-7",
    )  # fmt: skip
    world.write_particulars()
    with pytest.raises(errors.Invalid, match="ASTER, BOREAL"):
        receipt(world, row)
    told = receipt(world, row, "ASTER")
    document = suspensions.receipt_file.document(told).decode()
    report = verify.check_receipt(document.encode(), keys=[key(world)])
    assert report.ok
    boreal, outsider = rows["BOREAL"]
    proved = "".join(str(entry.fields) for entry in report.entries)
    for foreign in (
        "BOREAL",
        "Boreal",
        boreal.id,
        boreal.client_id,
        outsider.id,
        outsider.full_name,
    ):
        assert foreign not in document
        assert foreign not in proved
    assert "ASTER-project" in document
    assert (told.grants, told.people, told.order) == (1, 1, None)

    aster = rows["ASTER"][0].client_id
    auditor = person(world.staff("auditor"), "auditor", client=aster)
    assert receipt(world, row, by=auditor).client == "ASTER"
    with pytest.raises(errors.Unknown):
        receipt(world, row, "BOREAL", by=auditor)
    stranger = person(world.staff("auditor"), "auditor", client=world.client("CORAL").id)
    with pytest.raises(errors.Unknown):
        receipt(world, row, by=stranger)
