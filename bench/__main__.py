"""Run one bench, or all: a table for people, or with `--json` a line for each figure."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from bench import (
    crash,
    damage,
    decide,
    evidence,
    failover,
    histories,
    imports,
    pages,
    pause,
    race,
    resume,
    signin,
    who,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.figures import Figure

BENCHES: dict[str, Callable[[], Iterator[Figure]]] = {
    "import": imports.run,
    "pause": pause.run,
    "decide": decide.run,
    "race": race.run,
    "resume": resume.run,
    "signin": signin.run,
    "histories": histories.run,
    "evidence": evidence.run,
    "damage": damage.run,
    "who": who.run,
    "crash": crash.run,
    "failover": failover.run,
    "pages": pages.run,
}


def main() -> None:
    """Measure and print as figures come in."""
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    parser.add_argument("name", nargs="?", choices=BENCHES)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    for name in [chosen.name] if chosen.name else BENCHES:
        for figure in BENCHES[name]():
            if chosen.json:
                print(json.dumps(figure.fields()), flush=True)
                continue
            beside = "" if figure.ratio is None else f"   {figure.ratio:g} × floor"
            print(
                f"{figure.bench:8} {figure.database:11} {figure.name:46} "
                f"{figure.value:12,.2f} {figure.unit}{beside}",
                flush=True,
            )


if __name__ == "__main__":
    main()
