"""Origins of addresses that are given to us to call: scheme, host and port, and nothing else."""

from __future__ import annotations

from urllib.parse import urlsplit

from govern import errors
from govern.config import LOOPBACK


def of(url: str, *, field: str) -> str:
    """The origin of a URL to call: `https`, or `http` on this machine; else `Invalid`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise errors.Invalid(f"“{url}” is no address.", field=field) from None
    plain = parts.scheme == "http" and parts.hostname in LOOPBACK
    if not parts.hostname or parts.username is not None or not (parts.scheme == "https" or plain):
        raise errors.Invalid(f"“{url}” is no https address.", field=field)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")
