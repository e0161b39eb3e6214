"""Where to ask (AuthZEN §9); only what is served is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from govern.config import Settings

PATHS = {
    "access_evaluation_endpoint": "/access/v1/evaluation",
    "access_evaluations_endpoint": "/access/v1/evaluations",
    "search_subject_endpoint": "/access/v1/search/subject",
    "search_resource_endpoint": "/access/v1/search/resource",
    "search_action_endpoint": "/access/v1/search/action",
}


def document(settings: Settings) -> dict[str, str]:
    """The document at `/.well-known/authzen-configuration`."""
    base = settings.public_url
    return {"policy_decision_point": base} | {name: base + path for name, path in PATHS.items()}
