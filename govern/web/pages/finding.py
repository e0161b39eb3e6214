"""Finding a person, project, client or act by a few letters: a page, and the palette behind `/`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from flask import Blueprint, jsonify, render_template, request
from flask_babel import gettext as _

from govern import permissions
from govern.access import holdings, places
from govern.access.lists import LISTS, saved
from govern.web import guard
from govern.web.pages import base, lists

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.typing import ResponseReturnValue

    from govern.access.holdings import Page
    from govern.principal import Principal

blueprint = Blueprint("finding", __name__)

_SHOWN = 6  # of each kind

# What is found: (words, what stands beside them, address). Words without one lead nowhere.
_Found = list[tuple[str, str, str]]


@blueprint.get("/search")
def show() -> ResponseReturnValue:
    """What `q` finds, of each kind a few; as JSON for the palette."""
    by = guard.principal()
    query = request.args.get("q", "").strip()
    groups = _groups(query, by)
    if request.accept_mimetypes.best == "application/json":
        told = [
            {"title": title, "rows": [dict(zip(("text", "note", "url"), row, strict=True))
                                      for row in rows]}
            for title, rows in groups if rows
        ]  # fmt: skip
        return jsonify(groups=told)
    return render_template("admin/search.html", filter={"q": query}, groups=groups)


def _groups(query: str, by: Principal) -> list[tuple[str, _Found]]:
    acts = [
        (words, "", url) for words, url in _acts() if not query or query.lower() in words.lower()
    ]
    if not query:
        permissions.require_some(by, "subject:read")
        return [(_("Acts and places"), acts)]
    with guard.database().reading() as session:
        people = holdings.people(session, query=query, limit=_SHOWN, by=by)
        projects = places.projects(session, query=query, limit=_SHOWN, by=by)
        clients = places.clients(session, query=query, limit=_SHOWN, by=by)
        kept = saved(session, query=query, by=by)
    admin = "admin" in base.roles_of(by)  # whose pages these places are
    filters = [(row.name, lists.title(row.list), lists.address(row)) for row in kept[:_SHOWN]]
    if len(kept) > _SHOWN:
        filters.append((_("There are more: type more of the name"), "", ""))
    every = f"?{urlencode({'q': query})}"
    return [
        (
            _("Projects"),
            _some(
                projects,
                lambda one: (one.project.code, one.client.name, f"/projects/{one.project.code}"),
                more=(_("There are more projects: show all that match"), f"/lists/projects{every}"),
            ),
        ),
        (
            _("Clients"),
            _some(
                clients,
                lambda one: (one.client.name, one.client.code, f"/clients/{one.client.code}"),
                more=(_("There are more clients: show all that match"), f"/lists/clients{every}"),
            ),
        ),
        (
            _("People"),
            _some(
                people,
                lambda one: (one.name, one.external_id, f"/people/{one.id}"),
                more=(_("There are more people: show all that match"), f"/lists/people{every}"),
            ),
        ),
        (_("Kept filters"), filters),
        (_("Acts and places"), acts if admin else []),
    ]


def _some(
    page: Page, told: Callable[[Any], tuple[str, str, str]], *, more: tuple[str, str]
) -> _Found:
    """The rows of a page; where there are more than these, the list of them all comes last."""
    words, url = more
    return [*map(told, page.rows), *([(words, "", url)] if page.after is not None else [])]


def _acts() -> list[tuple[str, str]]:
    """Where one can go and what one can begin, as far as the caller may."""
    told = [
        (_("Overview"), "/", True),
        (_("Pause something"), "/pause", base.may_anywhere("suspension:open")),
        (_("People"), "/people", base.may_anywhere("subject:read")),
        (_("Take in a roster"), "/roster", base.may("roster:import", None)),
        (_("Calendar of what ends"), "/calendar", base.may_anywhere("grant:read")),
        (_("What waits for a second person"), "/requests", base.may_anywhere("request:read")),
        (_("Factors demanded"), "/demands", base.may_anywhere("demand:set")),
        (_("Demand a factor"), "/demands/new", base.may_anywhere("demand:set")),
        (_("Drills"), "/drills", base.may_anywhere("suspension:open")),
        (_("Integrations"), "/integrations", base.may_anywhere("integration:read")),
        (_("What goes out"), "/outgoing", base.may_anywhere("log:read")),
        (_("The log"), "/log", base.may_anywhere("log:export")),
        (_("Who could"), "/who", base.may_anywhere("log:export")),
        (_("Export the log"), "/log/export", base.may_anywhere("log:export")),
        (_("My account"), "/account", True),
        *(
            (lists.title(name), f"/lists/{name}", base.may_anywhere(one.permission))
            for name, one in LISTS.items()
        ),
    ]
    return [(str(words), url) for words, url, may in told if may]
