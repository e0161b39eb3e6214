"""The catalogue: clients, projects, datasets and entitlements from one JSON document.

All or nothing; what is there already is left as it is, so the same document twice changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import select

from govern import errors, permissions
from govern.access import clients, entitlements
from govern.access.clients import Client, Dataset, Project

if TYPE_CHECKING:
    from govern.db import Database, Session
    from govern.principal import Principal


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Dataset(_Strict):
    code: str
    type: str | None = None


class _Project(_Strict):
    """A dataset is given by its code alone, or with the type that it is asked for as."""

    code: str
    contact: str = ""
    datasets: list[str | _Dataset] = []


class _Client(_Strict):
    code: str
    name: str
    projects: list[_Project] = []


class _Catalogue(_Strict):
    clients: list[_Client]
    entitlements: dict[str, list[str]] = {}


def load(database: Database, document: Any, *, by: Principal) -> dict[str, int]:
    """Take in what is new; returns {"accepted", "unchanged"} counts of things named."""
    permissions.require(by, "catalogue:write")
    try:
        catalogue = _Catalogue.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "document"
        raise errors.Invalid(f"{field}: {first['msg']}", field=field) from None
    return database.transaction(lambda session: _load(session, catalogue, by=by))


def _load(session: Session, catalogue: _Catalogue, *, by: Principal) -> dict[str, int]:
    counts = {"accepted": 0, "unchanged": 0}

    def count(*, new: bool) -> None:
        counts["accepted" if new else "unchanged"] += 1

    for name, actions in catalogue.entitlements.items():
        before = session.execute(
            select(entitlements.Entitlement).where(entitlements.Entitlement.name == name)
        ).scalar_one_or_none()
        same = before is not None and {
            item.action for item in entitlements.actions_of(session, before)
        } == set(actions)
        if not same:
            entitlements.define(session, name, actions=actions, by=by)
        count(new=not same)
    for given in catalogue.clients:
        client = _present(session, Client, given.code)
        count(new=client is None)
        client = client or clients.create_client(session, given.code, name=given.name, by=by)
        for item in given.projects:
            project = _present(session, Project, item.code)
            if project is not None and project.client_id != client.id:
                raise errors.AlreadyExists(
                    f"The project {item.code} belongs to another client.", field="project"
                )
            count(new=project is None)
            project = project or clients.create_project(
                session, client, item.code, contact=item.contact, by=by
            )
            for one in item.datasets:
                new = _Dataset(code=one) if isinstance(one, str) else one
                dataset = _present(session, Dataset, new.code)
                if dataset is not None and dataset.project_id != project.id:
                    raise errors.AlreadyExists(
                        f"The dataset {new.code} belongs to another project.", field="dataset"
                    )
                count(new=dataset is None)
                if dataset is None:
                    clients.create_dataset(session, project, new.code, type=new.type, by=by)
    return counts


def _present(session: Session, table: Any, code: str) -> Any:
    """What has this code, in the database or earlier in the same document."""
    for row in session.new:
        if isinstance(row, table) and row.code == code:
            return row
    return session.execute(select(table).where(table.code == code)).scalar_one_or_none()
