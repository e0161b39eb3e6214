"""A tool, and the tokens that people give it, in few words."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from govern import clock
from govern.access import status_lists, tokens
from govern.identity import integrations
from govern.identity.integrations import Integration, Registration
from govern.principal import Kind, Principal
from tests.factory import OPERATOR

if TYPE_CHECKING:
    from govern.access.clients import Dataset, Project
    from govern.db import Database, Session
    from govern.identity.subjects import Subject
    from tests.factory import World

RESOURCE = "https://labels.example"
BACK = "https://labels.example/back"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=")


@dataclass
class Tool:
    """A labelling tool that gets tokens, and asks whether they are good."""

    world: World
    row: Integration
    secret: str

    @classmethod
    def of(cls, world: World, name: str = "labels", **more: Any) -> Tool:
        options = {
            "scopes": ("decision", "introspect"),
            "registration": Registration(redirect_uris=(BACK,), resources=(RESOURCE,)),
            "by": OPERATOR,
        } | more
        row, secret = world.do(lambda s: integrations.create(s, name, **options))
        return cls(world, row, secret)

    @property
    def by(self) -> Principal:
        with self.world.store.reading() as session:
            return integrations.principal_of(session, session.get_one(Integration, self.row.id))

    def code(
        self, who: Subject, project: Project, *actions: str, dataset: Dataset | None = None
    ) -> str:
        wanted = tokens.Wanted(
            project=project.code,
            dataset=dataset.code if dataset else None,
            actions=actions or ("read", "annotate"),
        )
        code, _ = self.world.do(
            lambda s: tokens.authorize(
                s, self.row, wanted, audience=RESOURCE, redirect_uri=BACK,
                challenge=CHALLENGE.decode(), by=signed_in(who),
            )
        )  # fmt: skip
        return str(code)

    def fetch(self, code: str) -> str | None:
        def work(session: Session) -> Any:
            found = tokens.find_code(session, code, self.row)
            return None if found is None else tokens.redeem(session, found)

        row = self.world.do(work)
        return None if row is None else tokens.written(self.world.store, row)[0]

    def token(
        self, who: Subject, project: Project, *actions: str, dataset: Dataset | None = None
    ) -> str:
        found = self.fetch(self.code(who, project, *actions, dataset=dataset))
        assert found is not None
        return found

    def check(self, token: str) -> tokens.Usable | None:
        return tokens.check(self.world.store, token, by=self.by)

    def good(self, token: str) -> bool:
        return self.check(token) is not None


def signed_in(who: Subject) -> Principal:
    return Principal(
        kind=Kind.SUBJECT, id=who.id, amr=("pwd", "otp", "mfa"), factor_at=clock.utcnow()
    )


def claims(token: str) -> dict[str, Any]:
    """What a JWT says, unchecked."""
    body = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


def listed(store: Database, token: str) -> int:
    """A token's value in its status list as made now (0 valid, 1 invalid, 2 suspended)."""
    place = claims(token)["status"]["status_list"]
    number = int(place["uri"].rsplit("/", 1)[1])
    _, bad = status_lists.find(store, number)
    return bad.get(place["idx"], 0)
