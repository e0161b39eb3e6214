"""Scripts in a real browser: every field holds one, every page is opened, and none of them runs.

What is kept is looked at as people see it, under our content policy, which must have had nothing
to stop. What comes back at once is looked at without any policy, so that whatever is markup runs.
"""

from __future__ import annotations

import csv
import io
import threading
from dataclasses import dataclass, field, replace
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.serving import make_server

from govern import clock, db
from govern.access import demands, questions
from govern.audit import holding
from govern.identity import account, activation, roles
from govern.identity.passkeys import Answer
from govern.principal import SYSTEM
from govern.web import guard, headers
from tests.factory import OPERATOR, World, person, roster_file, row
from tests.support import browser
from tests.support.authenticator import Device
from tests.web.attacks import scene
from tests.web.test_surface import guard_of, rules
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask
    from playwright.sync_api import Browser, Page
    from werkzeug.test import TestResponse

# An address that runs, the end of every kind of text and attribute, an element that runs, and
# what a template would work out. Short enough for the shortest field.
KEPT = "javascript:ran({0})//'\"></textarea></title><svg onload=ran({0})>{{{{9**9}}}}"
SENT = (
    "javascript:ran(7)//'\"></textarea></title></script><script>ran(7)</script>"
    "<img src=x onerror=alert(7)><svg/onload=ran(7)><iframe src=javascript:parent.ran(7)>"
    "<a href=javascript:ran(7) autofocus onfocus=ran(7)>{{9**9}}"
)
PART = KEPT.format(7).replace("/", "!")  # of an address
WORKED_OUT = str(9**9)
ORIGIN = "https://access.example.com"

_WATCH = """
window.heard = [];
window.ran = (number) => heard.push(`ran ${number}`);
document.addEventListener("securitypolicyviolation", (event) =>
  heard.push(`stopped ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""
# What ran or was stopped, what would run if it were pressed, and the numbers of the texts shown.
_LOOK = """async () => {
  await new Promise((done) => setTimeout(done));
  const found = [...heard];
  for (const each of document.querySelectorAll("*")) {
    if (each.localName === "script" && /ran\\(|alert\\(/.test(each.textContent))
      found.push("a script that was typed");
    for (const {name, value} of each.attributes) {
      const leads = /href$|^src|^action$|^formaction$|^data$/.test(name);
      if (name.startsWith("on") || (leads && /^\\s*javascript:/i.test(value)))
        found.push(`${each.localName} ${name}=${value}`);
    }
  }
  if (document.documentElement.textContent.includes("WORKED OUT")) found.push("a template ran");
  const all = document.documentElement.outerHTML.matchAll(/ran\\((\\d+)\\)/g);
  return [found, [...new Set([...all].map((one) => Number(one[1])))]];
}""".replace("WORKED OUT", WORKED_OUT)


def everywhere(world: World) -> scene.Scene:
    """The scene, and what else people name or write."""
    there = scene.full(world, KEPT)
    say, ada, admin = there.planted, there.people["contractor"], there.people["admin"]
    me, colleague = person(ada, "contractor"), person(admin)
    asked = world.do(
        lambda s: questions.ask(
            s, there.things["code"], say("question"),
            suspension=there.things["suspension_id"], by=me,
        )
    )  # fmt: skip
    world.do(lambda s: questions.write(s, asked.id, say("answer"), seen=1, by=colleague))
    there.things["question_id"] = asked.id
    world.project("Wren", client=world.client("BIRCH"))
    named(world, me, device=say("device"), passkey=say("passkey"))
    world.do(lambda s: roles.assign(s, admin, "approver", reason=say("role"), by=SYSTEM))
    client = there.things["client"]
    world.do(lambda s: holding.place(s, client, reason=say("legal hold"), by=OPERATOR))
    world.do(
        lambda s: demands.impose(
            s, demands.over(s, "role:auditor", by=OPERATOR), demands.Factor.SECOND_FACTOR,
            starts=None, reason=say("demand"), by=OPERATOR,
        )
    )  # fmt: skip
    return there


def named(world: World, me: Any, *, device: str, passkey: str) -> None:
    """Call somebody's app and a passkey of theirs so, as the pages of their account do."""
    store = db.Database(replace(world.store.settings, public_url=ORIGIN))
    with store.reading() as session:
        app = next(each for each in account.factors(session, by=me) if each.kind == "totp")
        asked = account.ask_for_passkey(session, browser="one", by=me)
    made = Answer(Device(ORIGIN).make(asked), asked.sealed, "one")
    store.transaction(lambda s: account.add_passkey(s, made, name=passkey, by=me))
    store.transaction(lambda s: account.rename(s, app.id, name=device, by=me))
    store.dispose()


@pytest.fixture
def beginning() -> Any:
    return everywhere


@pytest.fixture
def served(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@dataclass
class Watched:
    """A page of a browser, of which everything is told that ran or tried to."""

    page: Page
    faults: list[str] = field(default_factory=list)
    shown: set[int] = field(default_factory=set)
    opened: int = 0

    @classmethod
    def of(cls, chromium: Browser, url: str | None = None, cookie: str = "") -> Watched:
        context = chromium.new_context(base_url=url, user_agent=SENT)
        context.add_init_script(_WATCH)
        if cookie:
            context.add_cookies([{"name": guard.COOKIE, "value": cookie, "url": url}])
        watched = cls(context.new_page())
        watched.page.on("dialog", watched.dismiss)
        return watched

    def dismiss(self, dialog: Any) -> None:
        self.faults.append(f"{self.page.url}: a dialogue, {dialog.message}")
        dialog.dismiss()

    def look(self, where: str) -> None:
        """At the page that is open."""
        found, shown = self.page.evaluate(_LOOK)
        self.faults += [f"{where}: {fault}" for fault in found]
        self.shown |= set(shown)
        self.opened += 1

    def goto(self, where: str) -> None:
        self.page.goto(where)
        self.look(where)

    def write(self, where: str, markup: str) -> None:
        """Open a page's markup without its address or its policy."""
        self.page.set_content(markup)
        self.look(where)


@pytest.mark.browser
@pytest.mark.web_alone
@pytest.mark.timeout(240)
@pytest.mark.asvs("16.4.1")
def test_no_script_that_anybody_typed_runs_on_any_page(
    app: Flask, world: World, begun: scene.Scene, served: str
) -> None:
    world.seeds.update(begun.seeds)
    with browser.chromium() as chromium:
        what_runs_is_seen(chromium, served)
        shown = what_is_kept_is_text(chromium, served, app, world, begun)
        what_comes_back_is_text(chromium, app, world, begun)
    numbers = begun.planted.numbers()
    assert {name for number, name in numbers.items() if number not in shown} == set()


def what_runs_is_seen(chromium: Browser, url: str) -> None:
    """The watch itself: markup as it was typed runs without a policy, and is stopped by ours."""
    free = Watched.of(chromium)
    for number, typed in ((1, KEPT.format(1)), (7, SENT)):
        free.write(f"page {number}", f'<input value="{typed}"><a href="{typed}">x</a>')
        for fault in (
            f"ran {number}",
            f"svg onload=ran({number})",
            f"a href=javascript:ran({number})",
        ):
            assert f"page {number}: {fault}" in "\n".join(free.faults)
    assert any("a dialogue" in fault for fault in free.faults)
    assert "page 7: a script that was typed" in free.faults
    bound = Watched.of(chromium, url)
    bound.page.route(
        "**/bound",
        lambda route: route.fulfill(
            headers=headers.ALWAYS, content_type="text/html", body=f"<title>{KEPT.format(1)}"
        ),
    )
    bound.goto("/bound")
    assert any("stopped script-src" in fault for fault in bound.faults)
    assert not any("ran " in fault for fault in bound.faults)
    quiet = Watched.of(chromium)
    quiet.write("quiet", f"<title>{KEPT.format(1).replace('<', '&lt;')}</title>{WORKED_OUT}")
    assert quiet.faults == ["quiet: a template ran"]
    assert quiet.shown == {1}


def what_is_kept_is_text(
    chromium: Browser, url: str, app: Flask, world: World, begun: scene.Scene
) -> set[int]:
    """Every page that anyone can open; gives the numbers of the texts that were on one.

    Who can open it first does so as people do; how it looks to others is read without our policy.
    """
    invited = world.subject()
    link = world.do(lambda s: activation.issue(s, invited, by=SYSTEM))
    visitors = {"nobody": Visitor.of(app)} | {
        role: Visitor.of(app).seated(world, begun.people[role])
        for role in ("contractor", "admin", "auditor")
    }
    code = begun.things["code"]
    shown: set[int] = set()
    seen: set[str] = set()
    free = Watched.of(chromium)
    for role, visitor in visitors.items():
        cookie = visitor.client.get_cookie(guard.COOKIE)
        watched = Watched.of(chromium, url, cookie.value if cookie else "")
        places = [of_its_kind(begun, rule) for rule in rules(app) if is_page(app, rule)]
        places += [f"/activate/{link}", "/people?q=javascript", "/search?q=javascript"]
        places += [f"/pause/preview?target=project:{code}", f"/who?target=project:{code}"]
        for where in places:
            answer = visitor.get(where)
            assert answer.status_code < 500, where
            if answer.mimetype != "text/html" or answer.status_code != 200:
                continue
            if where in seen:
                free.write(f"{where} as {role}", answer.text)
            else:
                watched.goto(where)
            seen.add(where)
        if role == "admin":
            searched_by_key(watched)
        assert watched.faults == [], role
        shown |= watched.shown
    assert free.faults == []
    assert len(seen) > 50
    assert free.opened > 40
    return shown | free.shown


def is_page(app: Flask, rule: Any) -> bool:
    return "GET" in (rule.methods or ()) and guard_of(app, rule) != "credentials"


def of_its_kind(begun: scene.Scene, rule: Any) -> str:
    """The address of a page; a code is a client's or a project's."""
    return begun.path(rule, **{"code": "ASTER"} if rule.rule.startswith("/clients/") else {})


def searched_by_key(watched: Watched) -> None:
    """The list that a page's own script draws of what was found."""
    watched.goto("/")
    watched.page.keyboard.press("/")
    watched.page.fill("#palette input", "javascript:ran(")
    watched.page.wait_for_selector(".palette-found a")
    watched.look("what / finds")


def what_comes_back_is_text(
    chromium: Browser, app: Flask, world: World, begun: scene.Scene
) -> None:
    """Every field of every address and form, and every cell of a roster."""
    with clock.at(clock.utcnow() + scene.STEP):  # the admin's code of now was used already
        visitor = Visitor.of(app).seated(world, begun.people["admin"])
    watched = Watched.of(chromium)
    sent = dict.fromkeys(scene.fields(), SENT)

    def write(where: str, answer: TestResponse) -> bool:
        assert answer.status_code < 500, where
        if answer.mimetype != "text/html" or "ran(7)" not in unescape(answer.text):
            return False
        watched.write(where, answer.text)
        return True

    for cells in rosters():
        file = (io.BytesIO(cells), "<svg onload=ran(7)>.csv")
        assert write("a roster", visitor.post("/roster/preview", {"file": file}))
    for rule in rules(app):
        if guard_of(app, rule) == "credentials" or rule.endpoint == "auth.sign_out":
            continue
        own = begun.path(rule)
        if "GET" in (rule.methods or ()):
            for where in {own, begun.path(rule, **dict.fromkeys(begun.things, PART))}:
                write(where, visitor.get(where, query_string=sent))
        if "POST" in (rule.methods or ()):
            write(own, visitor.post(own, sent))
    assert visitor.get("/account").status_code == 200
    assert watched.faults == []
    assert watched.opened > 50


def rosters() -> Iterator[bytes]:
    """One with a script in every cell, alone and together, and one whose names are all good."""
    head = roster_file().getvalue().decode().strip().split(",")
    good = dict(zip(head, row(client="BIRCH", project="Wren").split(","), strict=True))
    evil = KEPT.format(7)
    yield table([head, [evil] * len(head), *((good | {name: evil}).values() for name in head)])
    texts = dict.fromkeys(("external_id", "full_name", "organisation", "expertise"), evil)
    yield table([head, (good | texts).values()])


def table(rows: Any) -> bytes:
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue().encode()
