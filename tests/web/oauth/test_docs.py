"""The example in docs/tokens.md does what it says, line by line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from tests.access.tooling import CHALLENGE, VERIFIER
from tests.web.oauth.flow import Flow, sent_back

if TYPE_CHECKING:
    from flask import Flask

    from tests.factory import World

PAGE = Path(__file__).parents[3] / "docs" / "tokens.md"


def test_the_example_is_answered_as_the_page_says(app: Flask, world: World) -> None:
    flow = Flow.of(app, world)
    known = {
        "GOVERN": "", "ID": flow.tool.row.id, "SECRET": flow.tool.secret, "STATE": "a state",
        "CHALLENGE": CHALLENGE.decode(), "VERIFIER": VERIFIER,
    }  # fmt: skip

    def filled(text: str) -> str:
        return re.sub(r"\$(\w+)", lambda name: known[name[1]], text)

    text = PAGE.read_text()
    (address,) = re.findall(r"```text\n(.+?)```", text, re.DOTALL)
    asked = dict(parse_qsl(urlsplit(filled(re.sub(r"\n\s*", "", address))).query))
    known["CODE"] = sent_back(flow.browser.post(flow.address(**asked), {"answer": "allow"}))["code"]
    told = re.findall(r"```sh\n(.+?)```", text, re.DOTALL)
    for block, example in enumerate(told):
        if block == 1:
            world.suspend("project:Kingfisher")
        steps = re.findall(r"curl (.+?)\n# (\d+) (.+?)\n", example, re.DOTALL)
        assert len(steps) == example.count("curl") > 0
        for line, status, body in steps:
            _, who, path, *data = shlex.split(filled(line.replace("\\\n", " ")))
            form = dict(pair.split("=", 1) for pair in data if pair != "-d")
            name, secret = who.split(":")
            answer = app.test_client().post(path, data=form, auth=(name, secret))
            assert answer.status_code == int(status), answer.text
            shown = ".*".join(re.escape(part) for part in body.split("…"))
            assert re.fullmatch(shown, answer.text), (body, answer.text)
            known["TOKEN"] = answer.json.get("access_token", known.get("TOKEN", ""))
