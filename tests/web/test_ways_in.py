"""The ways in: docs/sign-in.md names all there are, of people, of programs and at the machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from govern.cli import docs

if TYPE_CHECKING:
    from flask import Flask

PAGE = Path(__file__).parents[2] / "docs" / "sign-in.md"


@pytest.mark.asvs("6.3.4")
@pytest.mark.web_alone
def test_every_way_in_stands_on_the_page_with_its_strength(app: Flask) -> None:
    (section,) = re.findall(r"(?s)## Ways in\n(.*?)\n## ", PAGE.read_text())
    named = set(re.findall(r"`((?:GET|POST) /[^`]*)`", section))
    # Whatever takes something from somebody who is not signed in, or sends them to a provider.
    there = {
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if getattr(app.view_functions[rule.endpoint], "govern_guard", "") in {"public", "half_way"}
        and (method != "GET" or "<provider>" in rule.rule)
    }
    assert named == there

    (cells,) = re.findall(r"\| `--as` of ([^|]*) \|", section)
    commands = re.findall(r"(?ms)^## (govern [a-z -]+)$(.*?)(?=^## |\Z)", docs.render())
    assert set(re.findall(r"`([^`]+)`", cells)) == {
        name for name, words in commands if "- `--as EMAIL`" in words
    }

    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| ")]
    ways = [row for row in rows if len(row) == 4][1:]
    programs = {"any other command at the machine"}
    for way, _, _, strength in ways:
        if "integration" not in way and way.strip() not in programs:
            assert strength.startswith(" two factors"), way
