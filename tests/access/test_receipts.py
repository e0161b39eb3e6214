"""A receipt proves itself with the key alone, and names nothing of another client's."""

from __future__ import annotations

import base64
import re
from html import unescape
from typing import TYPE_CHECKING

import pytest

from govern import errors
from govern.access import clients, suspensions
from govern.audit import verify
from govern.audit.signer import Signer
from govern.identity import preferences
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


def test_a_receipt_is_in_the_language_of_its_clients_contact_and_proves_the_same_in_each(
    world: World,
) -> None:
    desk = world.subject("dana")
    client = world.client("ASTER")
    project = world.do(
        lambda s: clients.create_project(
            s, s.get_one(type(client), client.id), "Kingfisher", contact=f"Dana Ng <{desk.email}>",
            by=OPERATOR,
        )
    )  # fmt: skip
    world.grant(world.subject(), project)
    row = world.suspend("project:Kingfisher", ordered_by="ops@aster.example, <phone>")
    world.write_particulars()
    assert receipt(world, row).language == "en", "nobody chose one"
    world.do(lambda s: preferences.set_language(s, "de", by=person(desk)))
    told = receipt(world, row)
    assert told.language == "de"
    german, spanish, english = (
        suspensions.receipt_file.document(told, language).decode() for language in ("", "es", "en")
    )
    for text, language, words in (
        (german, "de", "Zugang zu"), (spanish, "es", "acceso a"), (english, "en", "access to"),
    ):  # fmt: skip
        assert f'<html lang="{language}">' in text
        assert words in text
        assert verify.check_receipt(text.encode(), keys=[key(world)]).ok
    proved = re.compile(r'<pre data-govern="\w+">[^<]+</pre>')
    assert proved.findall(german) == proved.findall(spanish) == proved.findall(english)
    # Two contacts who read differently are told in the language of the rest.
    other = world.subject("eva")
    world.do(lambda s: preferences.set_language(s, "es", by=person(other)))
    world.do(
        lambda s: clients.create_project(
            s, s.get_one(type(client), client.id), "Heron", contact=other.email, by=OPERATOR
        )
    )
    both = world.suspend("client:ASTER")
    assert receipt(world, both).language == "en"
    assert receipt(world, row).language == "de", "whose project was not covered is not asked"


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
