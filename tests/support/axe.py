"""axe-core, which tells what of a page some people cannot use; requirements/axe pins it by hash."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support import browser, nodejs

if TYPE_CHECKING:
    from playwright.sync_api import Page

LOCKED = Path(__file__).resolve().parents[2] / "requirements" / "axe"
_RUN = """
async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  return found.violations.map((rule) => `${rule.id}: ${rule.help}: `
    + rule.nodes.map((node) => `${node.html}\\n    ${node.failureSummary}`).join("\\n  "));
}
"""


def faults(page: Page) -> list[str]:
    """What is wrong with the page as it stands, by all of axe's rules."""
    if not page.evaluate("typeof axe !== 'undefined'"):
        page.evaluate(_source())  # by the browser's own tools, which the page's policy lets pass
    found: list[str] = page.evaluate(_RUN)
    return found


@cache
def _source() -> str:
    """The library, fetched once a machine; workers wait for the first."""
    pin = hashlib.sha256((LOCKED / "package-lock.json").read_bytes()).hexdigest()[:16]
    folder = browser.cache()
    kept = folder / f"axe-{pin}.js"
    with (folder / "axe.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            work = folder / "axe.part"
            shutil.rmtree(work, ignore_errors=True)
            nodejs.install(LOCKED, work)
            (work / "node_modules" / "axe-core" / "axe.min.js").rename(kept)
            shutil.rmtree(work)
    return kept.read_text(encoding="utf-8")
