"""In front of the Kubernetes API: brings the twin up to date, cuts connections on demand, records writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from baton.emulator.answers import json_answer
from baton.emulator.app import Receive, Scope, Send, TooLarge, read_body, respond
from baton.emulator.faults import FaultPlan
from baton.twin.clock import PacedClock

App = Callable[[Scope, Receive, Send], Any]
Record = Callable[[str, str, str, dict[str, str], bytes], None]
LIMIT = 8 * 1024 * 1024  # the API server takes 3 MB of JSON; leave room for Lists
_KEPT = ("content-type", "accept", "authorization")


class KubeFront:
    """ASGI. `record(method, path, query, headers, body)` is told of every request that is not a GET."""

    def __init__(self, app: App, clock: PacedClock, faults: FaultPlan) -> None:
        self._app = app
        self._clock = clock
        self._faults = faults
        self._open: dict[str, list[Send]] = {}
        self.record: Record = lambda *request: None
        faults.darkened.append(self.cut)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self._clock.catch_up()
        cluster = _cluster(scope["path"])
        if self._faults.unreachable(cluster):
            await _hang_up(send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            try:
                body = await read_body(receive, LIMIT)
            except TooLarge:
                await respond(send, json_answer(413, _too_large()))
                return
            self._clock.catch_up()
            self.record(*_request(scope), body)
            receive = _replayed(body, receive)
        mine = self._open.setdefault(cluster, [])
        mine.append(send)
        try:
            await self._app(scope, receive, send)
        finally:
            mine.remove(send)

    async def replay(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request recorded earlier, at the clock's time."""
        await self._app(scope, receive, send)

    def cut(self, cluster: str) -> None:
        """Break every open connection to a cluster (`*`: to all)."""
        for name, sends in self._open.items():
            if cluster in (name, "*"):
                for send in list(sends):
                    _abort(send)


def _cluster(path: str) -> str:
    parts = path.split("/", 3)
    return unquote(parts[2]) if len(parts) > 2 and parts[1] == "clusters" else ""


def _request(scope: Scope) -> tuple[str, str, str, dict[str, str]]:
    headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
    path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").split("?")[0]
    kept = {k: headers[k] for k in _KEPT if k in headers}
    return scope["method"], path, scope.get("query_string", b"").decode("latin-1"), kept


def _replayed(body: bytes, receive: Receive) -> Receive:
    """`receive` that gives a body read before."""
    given = False

    async def again() -> dict[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _abort(send: Send) -> bool:
    """Reset the connection as a server that goes away does. uvicorn keeps it with the request it serves."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        return False
    transport.abort()
    return True


async def _hang_up(send: Send) -> None:
    if not _abort(send):
        await respond(send, json_answer(503, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 503}))


def _too_large() -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "Request entity too large: limit is 8388608",
        "reason": "RequestEntityTooLarge",
        "code": 413,
    }
