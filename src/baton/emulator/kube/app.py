"""The ASGI application of the Kubernetes API: /clusters/NAME/... for every cluster of the twin."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import parse_qs

from baton.emulator.kube.encode import PIECE, Rows, encode
from baton.emulator.kube.handlers import Reply, Request, Stream, handle
from baton.emulator.kube.objects import Objects
from baton.twin.kube import KubeTwin
from baton.twin.world import ApiError

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
LIMIT = 3 * 1024 * 1024  # as the API server's own
_PATH = re.compile(r"^/clusters/([^/]+)(/.*)?$")


class Identity(Protocol):
    @property
    def username(self) -> str: ...


class Tokens(Protocol):
    def identify(self, cluster: str, bearer: str) -> Identity | None:
        """Who a bearer token is for this cluster, None when it is not accepted."""
        ...


def kube_app(
    resolve: Callable[[str], KubeTwin | None],
    tokens: Tokens,
) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """`resolve` finds a cluster's KubeTwin; whoever serves this brings the twin's clock to now before each request."""

    used: dict[str, str] = {}  # bearer -> the cluster it last spoke to

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            request, objects = await _admit(scope, receive, resolve, tokens, used)
            reply = handle(request, objects)
        except ApiError as error:
            reply = Reply(error.status, error.to_status(), _retry(error))
        except Exception as error:  # a fault of ours: the client learns what the API server would tell it of a panic
            print(f"baton: {scope['method']} {scope['path']}: {error!r}", file=sys.stderr)
            failure = ApiError(500, "InternalError", f"Internal error occurred: {error}")
            reply = Reply(500, failure.to_status())
        if isinstance(reply, Stream):
            await _stream(reply, receive, send)
        else:
            await _send(reply, send)

    return app


def _retry(error: ApiError) -> dict[str, str]:
    return {} if error.retry_after is None else {"retry-after": str(error.retry_after)}


async def _admit(
    scope: Scope,
    receive: Receive,
    resolve: Callable[[str], KubeTwin | None],
    tokens: Tokens,
    used: dict[str, str],
) -> tuple[Request, Objects]:
    """Who asks, for which cluster, for what.

    `kubectl get --raw /healthz` leaves out the path that the kubeconfig names: that of the last request is meant.
    """
    headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
    authorization = headers.get("authorization", "")
    bearer = authorization[7:].strip() if authorization[:7].lower() == "bearer " else ""
    m = _PATH.match(scope["path"])
    name, path = (m[1], m[2] or "/") if m else (used.get(bearer, ""), scope["path"])
    twin = resolve(name) if name else None
    if twin is None:
        raise ApiError(404, "NotFound", "there is no such cluster here")
    who = tokens.identify(name, bearer) if bearer else None
    if who is None:
        raise ApiError(401, "Unauthorized", "Unauthorized")
    if used.get(bearer) != name:
        if len(used) > 1000:
            used.clear()
        used[bearer] = name
    query = {k: v[-1] for k, v in parse_qs(scope.get("query_string", b"").decode(), keep_blank_values=True).items()}
    body = await _body(receive)
    request = Request(
        scope["method"],
        path,
        query,
        headers.get("accept", ""),
        headers.get("content-type", "").split(";")[0].strip(),
        body,
        who.username,
        headers.get("kubectl-command", ""),
    )
    return request, Objects(twin)


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > LIMIT:
            raise ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {LIMIT}")
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


async def _send(reply: Reply, send: Send) -> None:
    if isinstance(reply.body, Rows):
        await _send_rows(reply, reply.body, send)
        return
    body = reply.body if isinstance(reply.body, bytes) else encode(reply.body)
    headers = {"content-type": "application/json", "cache-control": "no-cache, private", **reply.headers}
    pairs = [(k.encode(), v.encode()) for k, v in headers.items()]
    pairs.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


async def _send_rows(reply: Reply, rows: Rows, send: Send) -> None:
    """A list, piece by piece; small ones with their length."""
    headers = {"content-type": "application/json", "cache-control": "no-cache, private", **reply.headers}
    pairs = [(k.encode(), v.encode()) for k, v in headers.items()]
    if len(rows.items) <= PIECE:
        body = b"".join(rows.pieces())
        pairs.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})
        return
    await send({"type": "http.response.start", "status": reply.status, "headers": pairs})
    for piece in rows.pieces():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b""})


async def _stream(stream: Stream, receive: Receive, send: Send) -> None:
    """Send events until the watch ends or the client goes away."""
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-cache, private")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": True})

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def pump() -> None:
        async for line in stream.watch.events():
            await send({"type": "http.response.body", "body": line, "more_body": True})

    tasks = [asyncio.create_task(gone()), asyncio.create_task(pump())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stream.watch.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await send({"type": "http.response.body", "body": b""})
