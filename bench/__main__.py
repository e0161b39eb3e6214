"""Run one bench, or all: a table for people, or with `--json` a line for each figure.

Each figure says what share of the processors' time others on the same host took meanwhile, since a
latency taken while it is large tells of them and not of us.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import product
from pathlib import Path
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
from bench.figures import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.figures import Figure

BENCHES: dict[str, Callable[[str], Iterator[Figure]]] = {
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
    parser.add_argument("--database", choices=[*KINDS, "both"], default="both")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    names = [chosen.name] if chosen.name else BENCHES
    kinds = KINDS if chosen.database == "both" else [chosen.database]
    for name, kind in product(names, kinds):
        stolen = _Stolen()
        for figure in BENCHES[name](kind):
            share = stolen.share()
            if chosen.json:
                print(json.dumps(figure.fields() | {"stolen": share}), flush=True)
                continue
            beside = "" if figure.ratio is None else f"   {figure.ratio:g} × floor"
            taken = f"   {share:.0%} stolen" if share else ""
            print(
                f"{figure.bench:8} {figure.database:11} {figure.name:46} "
                f"{figure.value:12,.2f} {figure.unit}{beside}{taken}",
                flush=True,
            )


class _Stolen:
    """What the host's other guests took of the time that this machine wanted, by proc_stat(5)."""

    def __init__(self) -> None:
        self._since, self._before, self._last = time.monotonic(), _processors(), 0.0

    def share(self) -> float:
        """0 to 1, since the last figure that took a second; 0 where the system does not tell."""
        if time.monotonic() - self._since >= 1:
            now = _processors()
            wanted, taken = (
                after - before for after, before in zip(now, self._before, strict=True)
            )
            self._since, self._before = time.monotonic(), now
            self._last = round(taken / wanted, 3) if wanted else 0.0
        return self._last


def _processors() -> tuple[int, int]:
    """Ticks that were wanted, and those of them that were stolen."""
    try:
        told = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return 0, 0
    user, nice, system, _, _, hard, soft, steal = map(int, told)
    return user + nice + system + hard + soft + steal, steal


if __name__ == "__main__":
    main()
