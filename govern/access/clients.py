"""Clients, projects and datasets: what access is scoped to. Codes are never reused."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from sqlalchemy import Index, Select, bindparam, select
from sqlalchemy.orm import Mapped, mapped_column

from govern import errors, permissions
from govern.audit import EventType, log
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.clock import Utc
from govern.db import Audited, Base, Code, Id, hold, new_id, references, text_column
from govern.identity import typed

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal


T = TypeVar("T")

# What a dataset may be asked for as besides `dataset`: a lower-case word that is no kind of ours.
_TYPE = re.compile(r"[a-z][a-z0-9_-]{0,79}")
_TAKEN_TYPES = frozenset({"project", "dataset"})


class Client(Audited, Base):
    """An organisation whose projects they are; its id is also the id of its log."""

    __tablename__ = "client"

    id: Mapped[Id] = mapped_column(primary_key=True)
    code: Mapped[Code] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(text_column(200))
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


class Project(Audited, Base):
    """A client's project, and whom its people may ask."""

    __tablename__ = "project"
    __table_args__ = (Index("ix_project_client", "client_id", "code"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    client_id: Mapped[Id] = mapped_column(references("client.id"))
    code: Mapped[Code] = mapped_column(unique=True)
    contact: Mapped[str] = mapped_column(text_column(200))
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


class Dataset(Audited, Base):
    """A bucket, table, queue or tool of one project.

    `type` is the word (`bucket`, `record`) under which it is asked for too; it never changes.
    """

    __tablename__ = "dataset"
    __table_args__ = (Index("ix_dataset_project", "project_id", "code"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id] = mapped_column(references("project.id"))
    code: Mapped[Code] = mapped_column(unique=True)
    sensitivity: Mapped[Code] = mapped_column(default="confidential")
    type: Mapped[Code | None]
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


@lru_cache
def _coded(kind: type[T]) -> Select[T]:
    return select(kind).where(kind.code == bindparam("code"))  # type: ignore[attr-defined]  # of each


def client(session: OrmSession, code: str) -> Client:
    """The client with this code (or id); `Unknown` if there is none."""
    found = session.execute(_coded(Client), {"code": code}).scalar_one_or_none()
    return found or _missing(session.get(Client, code), "client", code)


def project(session: OrmSession, code: str) -> Project:
    """The project with this code (or id); `Unknown` if there is none."""
    found = session.execute(_coded(Project), {"code": code}).scalar_one_or_none()
    return found or _missing(session.get(Project, code), "project", code)


def dataset(session: OrmSession, code: str) -> Dataset:
    """The dataset with this code (or id); `Unknown` if there is none."""
    found = session.execute(_coded(Dataset), {"code": code}).scalar_one_or_none()
    return found or _missing(session.get(Dataset, code), "dataset", code)


def _missing(found: T | None, field: str, code: str) -> T:
    if found is None:
        raise errors.Unknown(f"There is no {field} “{code}”.", field=field)
    return found


def _code(given: str) -> str:
    """A client's or a project's code, which is one part of an address."""
    code = typed.code(given, field="code")
    if "/" in code or code in {".", ".."}:
        raise errors.Invalid(
            "A code is part of an address: it holds no “/”, and is more than dots.", field="code"
        )
    return code


def create_client(session: Session, code: str, *, name: str, by: Principal) -> Client:
    """Take in a client, and begin its log."""
    permissions.require(by, "catalogue:write")
    code = _code(code)
    if code == HOUSE:
        raise errors.Invalid(f"“{HOUSE}” is the house's own log.", field="code")
    row = Client(id=new_id("cli"), code=code, name=typed.text(name, field="name"))
    _unless_taken(session, Client, code)
    # A name of C2SP signed-note holds no space and no plus.
    log.create(session, row.id, origin=f"{session.database.settings.origin}/logs/{quote(code, '')}")
    session.add(row)
    record(
        session,
        EventType.CLIENT_CREATED,
        logs=[HOUSE, row.id],
        by=by,
        refs={"client": row.id},
        private={"code": code, "name": row.name},
        stamps=[(row, "recorded_at")],
    )
    return row


def create_project(
    session: Session, client: Client, code: str, *, contact: str = "", by: Principal
) -> Project:
    """Set up a project of a client."""
    permissions.require(by, "catalogue:write", client=client.id)
    code = _code(code)
    _unless_taken(session, Project, code)
    row = Project(
        id=new_id("prj"),
        client_id=client.id,
        code=code,
        contact=typed.text(contact, field="contact", required=False),
    )
    session.add(row)
    record(
        session,
        EventType.PROJECT_CREATED,
        logs=[client.id],
        by=by,
        refs={"client": client.id, "project": row.id},
        private={"code": code},
        stamps=[(row, "recorded_at")],
    )
    return row


def is_type(word: str) -> bool:
    """Whether a dataset could have this word as a type of its own."""
    return _TYPE.fullmatch(word) is not None and word not in _TAKEN_TYPES


def create_dataset(
    session: Session, project: Project, code: str, *, type: str | None = None, by: Principal
) -> Dataset:
    """Add a dataset to a project; `type` is a word of its own under which it is asked for too."""
    permissions.require(by, "catalogue:write", client=project.client_id)
    code = typed.code(code, field="code")
    if type is not None and not is_type(type):
        raise errors.Invalid(
            f"“{type}” is not a type that a dataset can have: a lower-case word such as bucket, "
            "and neither project nor dataset.",
            field="type",
        )
    _unless_taken(session, Dataset, code)
    row = Dataset(
        id=new_id("dat"), project_id=project.id, code=code, sensitivity="confidential", type=type
    )
    session.add(row)
    record(
        session,
        EventType.DATASET_CREATED,
        logs=[project.client_id],
        by=by,
        refs={"client": project.client_id, "project": project.id, "dataset": row.id},
        data={} if type is None else {"type": type},
        private={"code": code},
        stamps=[(row, "recorded_at")],
    )
    return row


def _unless_taken(session: Session, table: type[Client | Project | Dataset], code: str) -> None:
    # Held until the commit: projects of two clients share no log's head, on which one would wait.
    hold(session, f"{table.__tablename__} {code}")
    if session.execute(select(table.id).where(table.code == code)).first():
        raise errors.AlreadyExists(f"The code “{code}” is taken.", field="code")
