"""Every answer carries the same strict headers, whatever it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from govern import create_app
from govern.config import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from flask import Flask

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types htmx"
)
PATHS = ["/sign-in", "/", "/nowhere", "/healthz", "/access/v1/evaluation", "/api/nowhere",
         "/static/govern.css", "/static/nowhere.css"]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.web_alone
def test_every_answer_carries_the_headers(app: Flask, path: str) -> None:
    headers = app.test_client().get(path).headers
    assert headers["Content-Security-Policy"] == POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    for name in ("Opener", "Resource"):
        assert headers[f"Cross-Origin-{name}-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert headers["X-Request-ID"].startswith("req_")
    assert "Strict-Transport-Security" not in headers
    if not path.startswith("/static/"):
        assert headers["Cache-Control"] == "no-store"


@pytest.mark.web_alone
def test_over_https_browsers_are_told_to_stay_there(data_dir: Path, url: str) -> None:
    settings = Settings(data_dir=data_dir, database_url=url, public_url="https://gov.example")
    headers = create_app(settings).test_client().get("/healthz").headers
    assert headers["Strict-Transport-Security"] == "max-age=63072000"


@pytest.mark.web_alone
def test_a_static_file_is_kept_for_as_long_as_its_address_names_its_content(app: Flask) -> None:
    with app.test_request_context():
        address = app.url_for("static", filename="govern.css", _external=False)
    client = app.test_client()
    assert "?v=" in address
    named = client.get(address)
    assert named.status_code == 200
    assert named.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    for other in ("/static/govern.css", "/static/govern.css?v=0123456789abcdef"):
        assert client.get(other).headers["Cache-Control"] == "no-cache"
    assert client.get("/static/nowhere.css?v=None").headers["Cache-Control"] == "no-cache"


@pytest.mark.web_alone
def test_a_request_id_that_is_not_plain_is_replaced(app: Flask) -> None:
    for given in ("", "two\tparts", "x" * 201, "ünïcode", " "):
        answer = app.test_client().get("/healthz", headers={"X-Request-ID": given})
        assert answer.headers["X-Request-ID"].startswith("req_")


def test_a_page_has_one_nonce_of_its_own(app: Flask) -> None:
    pages = []
    for _ in range(2):
        with app.test_request_context():
            pages.append(app.jinja_env.from_string("{{ csp_nonce() }} {{ csp_nonce() }}").render())
    (first, again), (second, _) = (page.split() for page in pages)
    assert first == again != second


def test_each_request_has_an_id_of_its_own(app: Flask) -> None:
    first, second = (app.test_client().get("/healthz").headers["X-Request-ID"] for _ in range(2))
    assert first != second
