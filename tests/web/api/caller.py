"""A program that calls the API, and a client's world for it to call about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from govern.access import bulk
from govern.access.lists import Asked
from govern.audit import exports
from govern.audit.export import Filter
from govern.audit.signer import Signer
from tests.factory import OPERATOR

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

    from govern.access.bulk import BulkAct
    from govern.access.clients import Client
    from tests.factory import World

PREFIX = "/api/v1"


@dataclass
class Caller:
    """An integration with its credentials."""

    app: Flask
    credentials: tuple[str, str]

    @classmethod
    def of(cls, world: World, app: Flask, *scopes: str, client: Client | None = None) -> Caller:
        """With some scopes (`api` unless told), limited to a client or not."""
        name = f"tool {'+'.join(scopes)} {client.code if client else ''}"
        row, secret = world.integration(
            name, scopes=scopes or ("api",), clients=[client.id] if client else []
        )
        return cls(app, (row.id, secret))

    def send(self, method: str, path: str, body: Any = None, **more: Any) -> TestResponse:
        options = {"auth": self.credentials} | ({} if body is None else {"json": body}) | more
        return self.app.test_client().open(PREFIX + path, method=method, **options)

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.send("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> TestResponse:
        return self.send("POST", path, body, **more)


def filled(world: World, code: str) -> dict[str, str]:
    """A client with one of everything, by the names of the parameters that take each."""
    client = world.client(code)
    project = world.project(f"{code}-project", client=client)
    spare = world.project(f"{code}-spare", client=client)
    dataset = world.dataset(project, f"{code}-data")
    subject = world.subject(f"{code}-person")
    grant = world.grant(subject, project)
    world.grant(subject, spare)
    suspension = world.suspend(f"project:{project.code}")
    world.write_particulars()
    request = world.ask_lift(suspension, by=OPERATOR)
    tool, _ = world.integration(f"{code}-tool", clients=[client.id])
    (drill,) = world.drill(f"project:{spare.code}")
    Signer(world.store.settings).sign(world.store)
    export = world.do(
        lambda s: exports.ask(s, form="jsonl", client=client.id, where=Filter(), by=OPERATOR)
    )
    act = _acted(world, client)
    return {
        "client": client.id, "project": project.id, "dataset": dataset.id,
        "subject": subject.id, "grant": grant.id, "suspension": suspension.id,
        "request": request.id, "people_list": world.people_list(subject).id, "integration": tool.id,
        "drill": drill.id, "export": export.id, "bulk_act": act.id, "over": f"project:{project.id}",
    }  # fmt: skip


def _acted(world: World, client: Client) -> BulkAct:
    """An act over a grant of the client that is done: what is left is as it was before it."""
    project = world.project(f"{client.code}-acted", client=client)
    world.grant(world.subject(f"{client.code}-acted"), project)
    act, asked = bulk.ACTS["revoke"], Asked(filters={"project": project.code})
    with world.store.reading() as session:
        digest = bulk.preview(session, act, asked, by=OPERATOR).digest
    taken = bulk.take_down(world.store, act, asked, digest=digest, by=OPERATOR)
    row = world.do(lambda s: bulk.order(s, taken, number=1, details={}, reason="over", by=OPERATOR))
    bulk.write(world.store, only=row.id)
    return cast("BulkAct", row)
