"""A guard before an ASGI application: it asks, and calls the application only on a permit.

A request and a websocket's opening are asked about; what is open already is not cut when access
ends, so limit how long a connection may live.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from govern.client.asking import UNAVAILABLE
from govern.client.refusing import decide, refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from govern.client.asking import Client, Decision, Question

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Close codes (RFC 6455 §7.4): against the rules, and try again later.
_POLICY, _LATER = 1008, 1013
_THREADS = 32


class AsgiGuard:
    """`question(scope)` says what to ask for a request or websocket; None when it cannot: denied.

    The question is put in a thread, so the event loop goes on. The application finds the decision
    in `scope["govern.decision"]`. Other scopes than `http`, `websocket` and `lifespan` are refused.
    """

    def __init__(
        self, app: App, client: Client, question: Callable[[Scope], Question | None]
    ) -> None:
        self._app = app
        self._client = client
        self._question = question
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="govern-client")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._app(scope, receive, send)
            return
        if kind not in {"http", "websocket"}:
            raise NotImplementedError(f"a scope of type {kind} is not guarded, so not let in")
        loop = asyncio.get_running_loop()
        decision = await loop.run_in_executor(
            self._threads, decide, self._client, self._question(scope)
        )
        if decision.permit:
            await self._app({**scope, "govern.decision": decision}, receive, send)
        elif kind == "http":
            await _refuse(decision, scope, send)
        else:
            # Closed before it was accepted: the server answers the opening with 403.
            code = _LATER if decision.reason == UNAVAILABLE else _POLICY
            await send({"type": "websocket.close", "code": code, "reason": decision.reason})


async def _refuse(decision: Decision, scope: Scope, send: Send) -> None:
    status, headers, body = refusal(decision)
    named = [(name.lower().encode(), value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": named})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
