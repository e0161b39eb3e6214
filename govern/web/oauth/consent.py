"""Where a person gives a tool access to a project, or does not, and is sent back to the tool.

Nobody is sent anywhere but to an address that the tool is registered with: until that is sure, what
is wrong is told here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from authlib.common.urls import add_params_to_uri
from authlib.oauth2 import OAuth2Error
from flask import make_response, render_template, request

from govern import errors
from govern.web import guard, headers
from govern.web.oauth.base import blueprint
from govern.web.oauth.endpoints import server
from govern.web.oauth.server import Request

if TYPE_CHECKING:
    from flask import Response

    from govern.web.oauth.granting import ToolToken


@blueprint.get("/oauth/authorize")
def authorize() -> Response:
    """What a tool asks for, in plain words (RFC 6749 §3.1)."""
    try:
        grant = _asked()
        offer = grant.offer()
    except OAuth2Error as error:
        return _refused(error)
    where = urlsplit(grant.redirect_uri)
    page = render_template(
        "auth/consent.html",
        tool=grant.client.row.name,
        host=where.netloc,
        project=offer.project.code,
        dataset=offer.dataset.code if offer.dataset else None,
        permitted=list(offer.permitted),
        refused=offer.refused,
        target=request.full_path,
    )
    return headers.may_send_to(make_response(page), f"{where.scheme}://{where.netloc}")


@blueprint.post("/oauth/authorize")
def authorize_done() -> Response:
    """The person's answer: anything but the one word is no."""
    try:
        grant = _asked()
    except OAuth2Error as error:
        return _refused(error)
    user = guard.principal() if request.form.get("answer") == "allow" else None
    return _sent_back(server.create_authorization_response(grant.request, user, grant))


def _asked() -> ToolToken:
    """What the address asks for; the form only answers it."""
    if guard.principal().suspended:
        raise errors.Forbidden("Your own access is suspended, so you can give none to a tool.")
    found: ToolToken = server.get_consent_grant(Request(request.args))
    return found


def _refused(error: Any) -> Response:
    if error.redirect_uri is None:
        raise errors.Invalid(error.description)
    error.state = request.args.get("state")
    return _sent_back(server.handle_error_response(None, error))


def _sent_back(answer: Response) -> Response:
    """Off to the tool, which is told who sends it (RFC 9207)."""
    issuer = guard.database().settings.public_url
    answer.location = add_params_to_uri(answer.location, [("iss", issuer)])
    answer.status_code = 303
    return answer
