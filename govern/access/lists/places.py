"""The lists of clients, projects and datasets, and how each stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import case, exists, func, literal, or_, select

from govern.access.clients import Client, Dataset, Project
from govern.access.lists.engine import Condition, List
from govern.access.modes import Mode
from govern.access.suspension_tables import SuspensionMode, SuspensionTarget
from govern.identity.subjects import Organisation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Select

STATES = ("running", "under_review", "read_only", "paused", "ended")


def state_of(ended: Sequence[Any], *ids: Any) -> ColumnElement[str]:
    """How a place stands in one word: its end, else the strictest mode that lies over it."""
    over = [
        (
            exists()
            .where(
                SuspensionTarget.target_id.in_(ids),
                SuspensionTarget.ended_at.is_(None),
                SuspensionMode.suspension_id == SuspensionTarget.suspension_id,
                SuspensionMode.ended_at.is_(None),
                SuspensionMode.mode == mode,
            )
            .correlate(Client, Project, Dataset, Organisation),
            mode.value,
        )
        for mode in reversed(Mode)
    ]
    ends = [(column.is_not(None), "ended") for column in ended]
    return case(*ends, *over, else_="running")


def holds(*columns: Any) -> Condition:
    """That a part of one of some columns is what was typed."""
    return lambda part, _: or_(
        *(func.lower(column).contains(part.lower(), autoescape=True) for column in columns)
    )


def equals(expression: ColumnElement[str]) -> Condition:
    """That an expression is the word that was chosen."""
    return lambda value, _: expression == literal(value)


_OF_CLIENT = state_of([Client.ended_at], Client.id)
_OF_PROJECT = state_of([Project.ended_at, Client.ended_at], Project.id, Client.id)
_OF_DATASET = state_of(
    [Dataset.ended_at, Project.ended_at, Client.ended_at], Dataset.id, Project.id, Client.id
)


def _clients(columns: Sequence[Any]) -> Select[Any]:
    return select(*columns).select_from(Client)


def _projects(columns: Sequence[Any]) -> Select[Any]:
    return _clients(columns).join(Project, Project.client_id == Client.id)


def _datasets(columns: Sequence[Any]) -> Select[Any]:
    return _projects(columns).join(Dataset, Dataset.project_id == Project.id)


CLIENTS = List(
    name="clients",
    permission="project:read",
    key=Client.id,
    columns={
        "client": Client.code, "name": Client.name, "state": _OF_CLIENT,
        "since": Client.recorded_at, "ended": Client.ended_at,
    },
    query=_clients,
    sorts={"client": Client.code, "name": Client.name, "since": Client.recorded_at},
    filters={"q": holds(Client.code, Client.name), "state": equals(_OF_CLIENT)},
    choices={"state": STATES},
    visible=Client.id.in_,
)  # fmt: skip

PROJECTS = List(
    name="projects",
    permission="project:read",
    key=Project.id,
    columns={
        "project": Project.code, "client": Client.code, "state": _OF_PROJECT,
        "contact": Project.contact, "since": Project.recorded_at, "ended": Project.ended_at,
    },
    query=_projects,
    sorts={"project": Project.code, "client": Client.code, "since": Project.recorded_at},
    filters={
        "q": holds(Project.code), "client": lambda value, _: Client.code == value,
        "state": equals(_OF_PROJECT),
    },
    choices={"state": STATES},
    visible=Client.id.in_,
)  # fmt: skip

DATASETS = List(
    name="datasets",
    permission="project:read",
    key=Dataset.id,
    columns={
        "dataset": Dataset.code, "project": Project.code, "client": Client.code,
        "sensitivity": Dataset.sensitivity, "type": Dataset.type, "state": _OF_DATASET,
        "since": Dataset.recorded_at, "ended": Dataset.ended_at,
    },
    query=_datasets,
    sorts={"dataset": Dataset.code, "project": Project.code, "since": Dataset.recorded_at},
    filters={
        "q": holds(Dataset.code), "client": lambda value, _: Client.code == value,
        "project": lambda value, _: Project.code == value,
        "sensitivity": lambda value, _: Dataset.sensitivity == value, "state": equals(_OF_DATASET),
    },
    choices={"state": STATES},
    visible=Client.id.in_,
)  # fmt: skip
