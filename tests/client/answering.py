"""A server that answers as a test tells it to, over real connections, and counts them."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Answer = Callable[["Handler"], None]


@dataclass
class Served:
    """What the server was asked, and how it answers next."""

    url: str
    answer: Answer
    connections: int = 0
    paths: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """One request, with its body read."""

    protocol_version = "HTTP/1.1"
    served: Served
    body: bytes

    def setup(self) -> None:
        super().setup()
        self.served.connections += 1

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.served.paths.append(self.path)
        self.served.answer(self)

    def do_GET(self) -> None:
        self.do_POST()

    def tell(
        self, value: Any, status: int = 200, *, type: str = "application/json", **headers: str
    ) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        named = {"Content-Type": type, "Content-Length": str(len(body))}
        named["X-Request-ID"] = self.headers.get("X-Request-ID", "")
        for name, each in (named | {k.replace("_", "-"): v for k, v in headers.items()}).items():
            self.send_header(name, each)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(answer: Answer) -> Iterator[Served]:
    """Serve while the block runs, on a port of this machine."""
    handler = type("Bound", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    served = Served(f"http://127.0.0.1:{server.server_address[1]}", answer)
    handler.served = served
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
