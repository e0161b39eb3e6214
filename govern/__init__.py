"""govern: who may reach which client's data, who changed it, and how to stop it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from govern.config import Settings


def create_app(settings: Settings | None = None) -> Flask:
    """Build the web application; the only way from the package to Flask.

    `web` is imported here and not above, so that `import govern` costs no Flask.
    """
    from govern.web import build

    return build(settings)
