"""Single sign-on with a provider that others wrote and had certified, and a real server of ours."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests

from govern.audit.log import HOUSE
from govern.identity import federation
from govern.identity.federation import Assurance
from tests.factory import OPERATOR, World
from tests.support import nodejs, processes

if TYPE_CHECKING:
    from govern.config import Settings

HERE = Path(__file__).parent
LOCKED = HERE.parents[1] / "requirements" / "openid-provider"
SECRET = "a-secret-between-the-two-of-us"


@pytest.mark.system
@pytest.mark.asvs("6.8.2", "6.8.4", "7.6.1")
def test_a_certified_provider_signs_ada_in_refuses_what_was_tampered_with_and_sends_her_away(
    settings: Settings, world: World, tmp_path: Path
) -> None:
    own, port = processes.free_port(), processes.free_port()
    ours, issuer = f"http://127.0.0.1:{own}", f"http://127.0.0.1:{port}"
    object.__setattr__(settings, "public_url", ours)
    ada = world.subject("ada")
    provider = world.do(
        lambda s: federation.create(
            s, "Company account", issuer=issuer, client_id="govern", client_secret=SECRET,
            assures=Assurance.MFA, acr_values=("gold",), inside=True, by=OPERATOR,
        )
    )  # fmt: skip
    world.do(lambda s: federation.link(s, ada, provider.id, sub="ada-at-home", by=OPERATOR))
    client = {
        "client_id": "govern", "client_secret": SECRET,
        "redirect_uris": [f"{ours}/sign-in/from/{provider.id}"],
        "backchannel_logout_uri": f"{ours}/sign-in/log-out/{provider.id}",
        "backchannel_logout_session_required": True,
    }  # fmt: skip
    folder = tmp_path / "node"
    nodejs.install(LOCKED, folder)
    shutil.copy(HERE / "provider.mjs", folder)
    words = json.dumps({"issuer": issuer, "port": port, "client": client})
    with (
        processes.running([nodejs.NODE, "provider.mjs", words], port, cwd=folder),
        processes.govern(settings, own),
    ):
        browser = requests.Session()

        def away(begin: str = f"/sign-in/with/{provider.id}", **changes: str) -> str:
            """Go to the provider, with a question tampered with; where it sends the browser."""
            left = browser.get(f"{ours}{begin}", allow_redirects=False)
            place, _, query = left.headers["Location"].partition("?")
            asked = {name: value[0] for name, value in parse_qs(query).items()} | changes
            address = f"{place}?{urlencode(asked)}"
            while not address.startswith(ours):
                answer = browser.get(address, allow_redirects=False, timeout=30)
                assert answer.status_code in {302, 303}, answer.text
                address = requests.compat.urljoin(address, answer.headers["Location"])
            return address

        def why(address: str) -> str:
            assert browser.get(address, allow_redirects=False).status_code == 401
            return str(world.entries(HOUSE, "sign_in.failed")[-1]["data"]["why"])

        assert why(away(code_challenge="x" * 43)) == "token:refused"
        assert why(away(nonce="another")) == "token:nonce"
        address = away()
        assert parse_qs(urlsplit(address).query)["iss"] == [issuer]
        answer = browser.get(address, allow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")
        assert ada.full_name in browser.get(f"{ours}/account").text
        (opened,) = world.entries(HOUSE, "session.opened")
        assert opened["data"]["amr"] == ["fed", "mfa"]

        # What needs a fresh factor is proved there anew, in the session that is.
        anew = away("/step-up/provider?next=/account/apps/new")
        answer = browser.get(anew, allow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/account/apps/new")
        assert browser.get(f"{ours}/account/apps/new", allow_redirects=False).status_code == 200
        assert world.entries(HOUSE, "session.opened")[-1]["data"]["fresh"] is True

        page = browser.get(f"{issuer}/session/end").text
        found = re.search(r'name="xsrf" value="([^"]+)"', page)
        assert found is not None
        browser.post(
            f"{issuer}/session/end/confirm", {"xsrf": found[1], "logout": "yes"}, timeout=30
        )
        gone = browser.get(f"{ours}/account", allow_redirects=False)
        assert gone.headers["Location"].startswith("/sign-in")
        assert world.entries(HOUSE, "session.ended")[-1]["data"]["why"] == "provider"
