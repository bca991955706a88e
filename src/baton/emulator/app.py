"""The emulator's AWS endpoint: EKS from the twin, node groups mirrored, everything else from moto, and /_baton/.

Everything runs in the event loop's thread, so neither twin nor moto needs a lock.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

from baton.emulator.contract import ContractError, EksContract
from baton.emulator.faults import WireFaults
from baton.emulator.mirror import Mirror
from baton.emulator.moto_side import SERVICES, Answer, Ask, MotoSide
from baton.errors import BatonError
from baton.twin.clock import PacedClock
from baton.twin.cloud.errors import AwsError
from baton.twin.twin import Twin

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

LIMIT = 4 * 1024 * 1024
_CREDENTIAL = re.compile(r"Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")


class TooLarge(Exception):
    """A body over the limit."""


async def read_body(receive: Receive, limit: int = LIMIT) -> bytes:
    """The whole request body. Raises TooLarge."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise TooLarge
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


async def respond(send: Send, answer: Answer) -> None:
    headers = [(k.lower().encode(), v.encode()) for k, v in answer.headers.items()]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def json_answer(status: int, body: Any, **headers: str) -> Answer:
    return Answer(status, {"Content-Type": "application/json", **headers}, json.dumps(body).encode())


class AwsApp:
    """The ASGI application behind AWS_ENDPOINT_URL."""

    def __init__(self, twin: Twin, moto: MotoSide, contract: EksContract, faults: WireFaults) -> None:
        self.twin = twin
        self.contract = contract
        self.faults = faults
        self._moto = moto
        self._mirror = Mirror(twin.cloud)
        self._count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        if isinstance(self.twin.clock, PacedClock):
            self.twin.clock.catch_up()
        try:
            body = await read_body(receive)
        except TooLarge:
            await respond(send, json_answer(413, {"message": "the request body is too large"}))
            return
        await respond(send, self.answer(scope, body))

    def answer(self, scope: Scope, body: bytes) -> Answer:
        """The answer to one request; never raises for what a client sent."""
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        raw_path = (scope.get("raw_path") or quote(scope["path"]).encode()).decode("latin-1").split("?")[0]
        query = scope.get("query_string", b"").decode("latin-1")
        if scope["path"].startswith("/_baton/"):
            return self._own(scope["method"], scope["path"], body)
        signed = _CREDENTIAL.search(headers.get("authorization", "")) or _presigned(query)
        if signed is None:
            return json_answer(
                403,
                {"message": "Missing Authentication Token"},
                **{"x-amzn-errortype": "MissingAuthenticationTokenException"},
            )
        service = signed[3]
        refusal = self.faults.strike(service, raw_path)
        if refusal is not None:
            return refusal
        if service == "eks":
            return self._eks(scope["method"], raw_path, query, body)
        if service not in SERVICES:
            return json_answer(
                404,
                {"message": f"the emulator does not serve {service}"},
                **{"x-amzn-errortype": "UnknownOperationException"},
            )
        ask = Ask(service, signed[2], scope["method"], scope["path"], query, headers, body)
        return self._mirror.answer(ask) or self._moto.answer(ask)

    # EKS

    def _eks(self, method: str, raw_path: str, query: str, body: bytes) -> Answer:
        found = self.contract.match(method, raw_path)
        if found is None:
            return self._error("UnknownOperationException", "Unknown operation", 404)
        operation, path = found
        try:
            params = self.contract.parse(operation, path, query, body)
            return self._done(self.contract.serialise(operation, self.twin.cloud.eks(operation, params)))
        except AwsError as error:
            return self._error(error.code, error.message, error.status, error.fields)
        except ContractError as error:
            return self._error(error.code, error.message, error.status)

    def _done(self, body: bytes) -> Answer:
        return Answer(200, {"Content-Type": "application/json", "x-amzn-RequestId": self._request_id()}, body)

    def _error(self, code: str, message: str, status: int, fields: Mapping[str, str | None] | None = None) -> Answer:
        return json_answer(
            status,
            {**(fields or {}), "message": message},
            **{"x-amzn-errortype": code, "x-amzn-RequestId": self._request_id()},
        )

    def _request_id(self) -> str:
        self._count += 1
        return f"00000000-0000-4000-8000-{self._count:012x}"

    # the emulator's own

    def _own(self, method: str, path: str, body: bytes) -> Answer:
        clock = self.twin.clock
        if path == "/_baton/health" and method == "GET":
            return json_answer(200, {"status": "ok"})
        if path == "/_baton/clock" and method == "GET":
            speed = clock.speed if isinstance(clock, PacedClock) else 1.0
            return json_answer(200, {"now": clock.now(), "speed": speed})
        if path == "/_baton/faults" and method == "GET":
            return json_answer(200, {**self.twin.settings.as_json(), "wire": self.faults.as_json()})
        if path == "/_baton/faults" and method == "POST":
            try:
                self.apply_faults(json.loads(body or b"{}"))
            except BatonError as error:
                return json_answer(400, {"message": error.message, "hint": error.hint})
            except (ValueError, AttributeError, RecursionError):
                return json_answer(400, {"message": "expected a JSON object of {group: {name: value}}"})
            return json_answer(200, {**self.twin.settings.as_json(), "wire": self.faults.as_json()})
        return json_answer(404, {"message": f"there is no {method} {path} here"})

    def apply_faults(self, scenario: Mapping[str, Mapping[str, Any]]) -> None:
        """Settings of the cloud by group, and `wire` for faults of the connection. Raises UsageError."""
        for group, values in scenario.items():
            for name, value in values.items():
                if group == "wire":
                    self.faults.change(name, value)
                else:
                    self.twin.settings.change(group, name, value)


def _presigned(query: str) -> re.Match[str] | None:
    from urllib.parse import unquote

    return re.search(r"X-Amz-Credential=([^/&]+)/\d{8}/([^/]+)/([^/]+)/aws4_request", unquote(query))


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
