"""Identity providers on their pages: taken in, looked at, linked to people, and ended."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from govern.audit.log import HOUSE
from govern.identity import federation
from tests.factory import OPERATOR
from tests.support import issuer as made
from tests.web.desks import desk, told

if TYPE_CHECKING:
    from flask import Flask

    from tests.factory import World

SECRET = "a secret between the two of us"


@pytest.mark.asvs("6.8.1")
def test_an_admin_takes_a_provider_in_links_and_unlinks_people_and_ends_it_with_reasons(
    app: Flask, world: World
) -> None:
    ada, grace = world.subject("ada"), world.subject("grace")
    admin, auditor = desk(app, world), desk(app, world, "auditor")
    form = {
        "name": "Company account", "issuer": "https://id.invalid", "client_id": "govern",
        "client_secret": SECRET, "assures": "mfa", "amr_values": "mfa otp",
    }  # fmt: skip
    wrong = admin.post("/providers", form)
    assert "Please say why." in told(wrong.text)
    assert 'value="Company account"' in wrong.text
    assert SECRET not in wrong.text
    done = admin.post("/providers", form | {"reason": "All of us have an account there."})
    assert done.status_code == 303, told(done.text)
    here = done.location
    page = told(admin.get(here).text)
    assert "it does not describe itself yet" in page
    provider = here.rpartition("/")[2]
    assert f"/sign-in/from/{provider}" in page
    assert "Nobody is linked" in page
    assert "This issuer is in use already." in admin.post("/providers", form | {"reason": "x"}).text

    for subject, sub in ((ada.external_id, "ada-there"), (grace.email, "grace-there")):
        who = {"subject": subject, "sub": sub, "reason": "They told me in person."}
        assert admin.post(f"{here}/links", who).status_code == 303
    taken = admin.post(f"{here}/links", who)
    assert taken.status_code == 409
    assert f'value="{grace.email}"' in taken.text
    nobody = admin.post(f"{here}/links", who | {"subject": "nobody@people.example"})
    assert "Nobody is known as" in nobody.text
    page = auditor.get(here).text
    assert ("ada-there" in page, "grace-there" in page) == (True, True)
    assert '<form method="post" action="/providers' not in page
    assert "grace-there" not in admin.get(f"{here}?q={ada.email}").text
    assert "No such person" in admin.get(f"{here}?q=nobody").text
    found = re.search(rf'action="({here}/links/\w+/end)"', admin.get(f"{here}?q=ada").text)
    assert found is not None
    assert admin.post(found[1], {"reason": ""}).status_code == 422
    assert admin.post(found[1], {"reason": "She left that team."}).status_code == 303
    assert admin.post(found[1], {"reason": "again"}).status_code == 409
    assert "ada-there" not in admin.get(here).text

    other = world.do(
        lambda s: federation.create(
            s, "Another", issuer="https://other.invalid", client_id="govern", client_secret=SECRET,
            by=OPERATOR,
        )
    )  # fmt: skip
    left = re.search(rf'action="{here}(/links/\w+/end)"', admin.get(here).text)
    assert left is not None
    elsewhere = f"/providers/{other.id}{left[1]}"
    assert admin.post(elsewhere, {"reason": "x"}).status_code == 404, "it is not a link to that one"
    assert admin.post(f"{here}/end", {"reason": "We moved."}).status_code == 303
    page = admin.get(here).text
    assert ("Ended" in page, "Nobody is linked" in page, f"{here}/end" in page) == (
        True, True, False,
    )  # fmt: skip
    assert "Company account" in admin.get("/providers").text
    reasoned = [
        entry["type"]
        for entry in world.entries(HOUSE)
        if entry["type"].startswith(("provider.", "identity.")) and "reason" in entry["commit"]
    ]
    assert reasoned == [
        "provider.created", "identity.linked", "identity.linked", "identity.unlinked",
        "provider.ended",
    ]  # fmt: skip


def test_no_page_has_this_machine_call_what_lies_inside(app: Flask, world: World) -> None:
    """An address of our own network is taken in by whoever sits at the machine, and nobody else."""
    admin = desk(app, world)
    form = {"name": "x", "client_id": "x", "client_secret": SECRET, "reason": "x", "inside": "yes"}
    with made.running() as issuer:
        plain = admin.post("/providers", form | {"issuer": issuer.url})
        assert "Without https it can only lie inside" in told(plain.text)
        sealed = issuer.url.replace("http:", "https:")
        done = admin.post("/providers", form | {"issuer": sealed})
        assert done.status_code == 303
        assert "it does not describe itself yet" in told(admin.get(done.location).text)
        assert issuer.asked == []
