"""Receipts over HTTP: pages of their own, which run nothing and load nothing."""

from __future__ import annotations

from flask import Response

from govern.audit import receipts


def answer(document: bytes, *, save_as: str = "") -> Response:
    """Send a receipt to be looked at, or to be kept under a name."""
    response = Response(document, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src {receipts.STYLE_HASH}; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    if save_as:
        response.headers.set("Content-Disposition", "attachment", filename=save_as)
    return response
