"""One client: how it stands, and its projects, each leading to its people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, render_template, request

from govern.access import places, suspensions
from govern.access.suspension_tables import SuspensionTarget
from govern.web import guard
from govern.web.pages import base, words

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

blueprint = Blueprint("clients", __name__)


@blueprint.get("/clients/<code>")
def show(code: str) -> ResponseReturnValue:
    """The client with a page of its projects, by code."""
    by = guard.principal()
    query = request.args.get("q", "").strip()
    with guard.database().reading() as session:
        client = places.find_client(session, code, by=by)
        covering = suspensions.reading.open_ones(
            session, over=[SuspensionTarget.target_id == client.id], by=by
        )
        state, since = places.state_of(covering, client.ended_at, client.id)
        found = places.projects(
            session, client=client, query=query, after=request.args.get("after", ""), by=by
        )
    return render_template(
        "admin/client.html",
        client=client,
        state=state,
        since=since,
        covering=[words.suspension(standing) for standing in covering],
        filter={"q": query},
        rows=found.rows,
        next_url=base.next_url(found.after),
        first_url=base.first_url(),
        may_pause=base.may("suspension:open", client.id) and client.ended_at is None,
        may_read=base.may("log:read", client.id),
        may_end=base.may("project:end", client.id) and client.ended_at is None,
    )
