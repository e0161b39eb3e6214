"""Everything there is, once, with an attacker's text in every field that takes any.

Each field gets a payload with a number of its own, so that a page that let one through is known by
it, and a field that no page ever showed is known too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from govern import clock
from govern.access import clients, grants, suspensions
from govern.access.modes import Mode
from govern.access.suspensions import notices
from govern.audit import streams, witnessing
from govern.audit.log import HOUSE
from govern.identity import federation, subjects
from govern.identity.integrations import Registration
from govern.principal import SYSTEM
from govern.signals.mail import MailAct, MailDelivery, State
from govern.tlog.cosignature import Witness
from tests.access.tooling import BACK, RESOURCE
from tests.factory import OPERATOR

if TYPE_CHECKING:
    from werkzeug.routing import Rule

    from govern.db import Session
    from govern.identity.subjects import Subject
    from tests.factory import World

STEP = timedelta(seconds=30)
HTML = "\"'><img src=x onerror=alert({})>"


@dataclass
class Planted:
    """The texts, by the field that each went into."""

    form: str
    fields: list[str] = field(default_factory=list)

    def __call__(self, name: str) -> str:
        self.fields.append(name)
        said = self.form.format(1000 + len(self.fields) - 1)
        # A code is a part of addresses, where a slash would begin another.
        return said.replace("/", "!") if name.endswith("code") else said

    def numbers(self) -> dict[int, str]:
        return {1000 + number: name for number, name in enumerate(self.fields)}


@dataclass
class Scene:
    """Names of one thing of each kind, by the parameters of addresses."""

    planted: Planted
    things: dict[str, str]
    people: dict[str, Any]
    seeds: dict[str, str]

    def path(self, rule: Rule, **other: str) -> str:
        """The address of a route about these; a parameter that is not among them names nothing."""
        ids = self.things | other
        return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: ids.get(found[1], "none"), rule.rule)


def full(world: World, form: str = HTML) -> Scene:
    """One of everything, of one client."""
    say = Planted(form)
    annotator = world.entitlement()
    aster = world.do(lambda s: clients.create_client(s, "ASTER", name=say("client"), by=OPERATOR))
    kingfisher, heron = (
        world.do(
            lambda s, code=code: clients.create_project(
                s, aster, code, contact=say(f"contact of {code}"), by=OPERATOR
            )
        )
        for code in (say("project code"), "Heron")
    )
    dataset = world.dataset(kingfisher, say("dataset code"), type="bucket")
    ada = person(world, say)
    grant = world.do(
        lambda s: grants.issue(
            s, ada, kingfisher, annotator, until=clock.now(s) + timedelta(days=30),
            reason=say("reason of a grant"), by=OPERATOR,
        )
    )  # fmt: skip
    world.grant(ada, heron)
    suspension = world.do(
        lambda s: suspensions.open(
            s, [suspensions.target(s, "client:ASTER")], mode=Mode.PAUSED,
            reason=suspensions.Reason.CLIENT_REQUEST, note=say("note"),
            internal_reason=say("internal reason"), ordered_by=say("ordered by"),
            incident=say("incident"), by=OPERATOR,
        )
    )  # fmt: skip
    words = notices.Words(
        known=say("known"), not_known=say("not known"), contact=say("whom to ask")
    )
    notice = world.do(
        lambda s: notices.post(s, s.get_one(type(suspension), suspension.id), words, by=OPERATOR)
    )
    world.write_particulars()
    request = world.ask_lift(suspension, by=OPERATOR)
    (drill,) = world.drill("project:Heron")
    demand = world.demand("project:Heron", starts=clock.utcnow() + timedelta(days=1))
    integration, secret = world.integration(
        say("integration"), scopes=("api", "audit.read", "decision", "introspect"),
        registration=Registration(redirect_uris=(BACK,), resources=(RESOURCE,)),
    )  # fmt: skip
    provider = world.do(
        lambda s: federation.create(
            s, say("identity provider"), issuer="https://id.example.com", client_id="govern",
            client_secret="a secret between two", by=OPERATOR,
        )
    )  # fmt: skip
    sub = say("sub").encode("ascii", "ignore").decode()  # which a sub is made of
    link = world.do(lambda s: federation.link(s, ada, provider.id, sub=sub, by=OPERATOR))
    _failing(world, ada, say)
    admin, auditor = world.staff("admin"), world.staff("auditor")
    for each in (ada, admin, auditor):
        world.activate(each)
    things = {
        "client": aster.id, "code": kingfisher.code, "project": kingfisher.id,
        "dataset": dataset.id, "subject": ada.id, "subject_id": ada.id, "grant": grant.id,
        "grant_id": grant.id, "suspension": suspension.id, "suspension_id": suspension.id,
        "request": request.id, "request_id": request.id, "notice_id": notice.id,
        "drill": drill.id, "demand_id": demand.id,
        "integration_id": integration.id, "secret": secret,
        "name": "ASTER", "path": "checkpoint", "role_id": "rol_none",
        "token_id": "tok_none",
        "people_list": world.people_list(ada).id, "number": "0", "token": "no-such-link",
        "filename": "govern.css", "session_id": "ses_none", "provider": "idp_none",
        "authenticator_id": "otp_none", "provider_id": provider.id, "link_id": link.id,
        "form_id": "frm_none", "list_name": "grants", "bulk_id": "blk_none",
        "bulk_act": "blk_none", "over": "house",
        "export": "exp_none", "export_id": "exp_none",
        "filter_id": "flt_none",
    }  # fmt: skip
    people = {"admin": admin, "auditor": auditor, "contractor": ada}
    return Scene(say, things, people, world.seeds)


def _failing(world: World, ada: Subject, say: Planted) -> None:
    """A stream and a witness that answer with words of their own, and a mail that came back."""
    world.do(lambda s: streams.add(s, "https://siem.example/x", by=OPERATOR))
    words = say("answer to a stream")
    world.do(lambda s: s.execute(update(streams.LogStreamState).values(failures=3, error=words)))
    key = str(Witness("witness.example", bytes(32)))
    row = world.do(lambda s: witnessing.add(s, "https://w.example", key, by=OPERATOR))
    each = witnessing.Following(witness=row, log=HOUSE, cosigned=0, signed=1, seen_at=None)
    witnessing.failed(world.store, each, say("answer of a witness"), refuses=True)

    def came_back(session: Session) -> None:
        at = clock.now(session)
        session.add(
            MailAct(
                id="act", type="suspension.opened", suspension_id=None, actor="operator", at=at,
                cursor="", finished_at=at,
            )
        )  # fmt: skip
        session.flush()
        session.add(
            MailDelivery(
                act_id="act", subject_id=ada.id, state=State.GIVEN_UP, attempts=1,
                next_try_at=None, ended_at=at, error=say("answer to a mail"),
            )
        )  # fmt: skip

    world.do(came_back)


def person(world: World, say: Planted) -> Subject:
    """Someone whose every particular is an attack."""
    particulars = subjects.Particulars.checked(
        external_id=say("external id"), email="ada@people.example", full_name=say("full name"),
        kind="annotator", organisation=say("organisation"), country="KE",
        expertise=say("expertise"),
    )  # fmt: skip
    found: Subject = world.do(lambda s: subjects.register(s, particulars, by=SYSTEM))
    return found


def fields() -> set[str]:
    """The name of every field that a page reads from an address or a form."""
    reads = re.compile(
        r'(?:args\.get|form\.get|values\.get|typed|getlist|instant|count)\(\s*"(\w+)"'
    )
    sources = (Path(__file__).parents[3] / "govern" / "web" / "pages").rglob("*.py")
    found = {name for source in sources for name in reads.findall(source.read_text())}
    assert len(found) > 40
    # A wrong code ends the act before any other field is read.
    return found - {"csrf_token", "code"}
