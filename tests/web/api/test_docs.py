"""The example in docs/api.md does what it says, line by line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from tests.web.api.caller import Caller

if TYPE_CHECKING:
    from flask import Flask

    from tests.factory import World

PAGE = Path(__file__).parents[3] / "docs" / "api.md"


def test_the_example_is_answered_as_the_page_says(world: World, app: Flask) -> None:
    project = world.project("Kingfisher")
    for _ in range(2):
        world.grant(world.subject(), project)
    caller = Caller.of(world, app)
    known = dict(zip(("ID", "SECRET"), caller.credentials, strict=True)) | {"GOVERN": ""}
    (example,) = re.findall(r"```sh\n(.+?)```", PAGE.read_text(), re.DOTALL)
    steps = re.findall(r"curl (.+?)\n# (\d+) (.+?)\n", example, re.DOTALL)
    assert len(steps) == example.count("curl") == 4
    for line, status, told in steps:
        words = re.sub(r"\$(\w+)", lambda name: known[name[1]], line.replace("\\\n", " "))
        answer = curl(app, shlex.split(words))
        assert answer.status_code == int(status), answer.text
        shown = ".*".join(re.escape(part) for part in told.split("…"))
        assert re.search(shown, answer.text), (told, answer.text)
        if answer.json.get("id", "").startswith("sus_"):
            known["SUSPENSION"] = answer.json["id"]
        world.write_particulars()


def curl(app: Flask, words: list[str]) -> object:
    """What curl does with these words: data makes it a POST."""
    options = {"-u": "", "-d": "", "-H": []}
    address = ""
    waiting = iter(words)
    for word in waiting:
        if word == "-H":
            options["-H"] += [tuple(next(waiting).split(": ", 1))]
        elif word in options:
            options[word] = next(waiting)
        else:
            address = word
    return app.test_client().open(
        address, method="POST" if options["-d"] else "GET", headers=options["-H"],
        data=options["-d"], auth=tuple(options["-u"].split(":", 1)),
    )  # fmt: skip
