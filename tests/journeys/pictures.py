"""`python3 dev.py pictures`: the README's pictures, of the real pages of the example world."""

from __future__ import annotations

import tempfile
from pathlib import Path

from govern import schema
from govern.config import Settings
from tests.journeys import story
from tests.support import browser

FOLDER = Path(__file__).parents[2] / "docs" / "images"
NOTE = "ASTER asked us to pause while they look into something on their side."


def main() -> None:
    """Pause the largest client and take the pictures that its people would see."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, browser.chromium() as chromium:
        settings = Settings(data_dir=Path(folder))
        schema.upgrade(settings)
        with story.served(settings, chromium) as served:
            admin = served.sign_in("admin")
            story.pause(admin, "ASTER", note=NOTE)
            story.until_written(admin)
            admin.screenshot(path=FOLDER / "pause.png")
            contractor = served.sign_in("contractor", size=story.PHONE)
            contractor.screenshot(path=FOLDER / "contractor.png", full_page=True)
            auditor = served.sign_in("auditor")
            auditor.goto("/log")
            auditor.screenshot(path=FOLDER / "log.png")


if __name__ == "__main__":
    main()
