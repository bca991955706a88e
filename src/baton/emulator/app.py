"""The emulator's AWS endpoint: EKS from the twin, everything else from moto with the twin in it, and /_baton/.

Everything runs in the event loop's thread, so the twin needs no lock.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote

from baton.emulator.answers import Answer, json_answer, json_error, query_error, request_id_of, rest_error
from baton.emulator.contract import ContractError, EksContract
from baton.emulator.faults import FaultPlan, Refusal, family
from baton.emulator.moto_side import Ask, MotoSide
from baton.errors import BatonError
from baton.twin.clock import PacedClock
from baton.twin.cloud.cloud import CloudTwin
from baton.twin.cloud.errors import AwsError

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Record = Callable[[Ask], None]

LIMIT = 8 * 1024 * 1024  # bytes of a request body; API Gateway, which fronts EKS, takes 10 MB
_SIGNED = re.compile(r"Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")
_PRESIGNED = re.compile(r"X-Amz-Credential=([^/&]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")
_UNSIGNED = {"AssumeRoleWithWebIdentity": "sts", "AssumeRoleWithSAML": "sts"}
REMEMBERED = 256  # answers kept for SDKs that send a call again
_READS = ("Describe", "List", "Get", "BatchGet", "Head", "Simulate")


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
    headers = [(k.lower().encode("latin-1"), v.encode("latin-1", "replace")) for k, v in answer.headers.items()]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


class AwsApp:
    """The ASGI application behind AWS_ENDPOINT_URL.

    `record` is told of every request that may have changed something; `own` serves what the emulator knows of itself
    below /_baton/.
    """

    def __init__(
        self, cloud: CloudTwin, clock: PacedClock, moto: MotoSide, contract: EksContract, faults: FaultPlan
    ) -> None:
        self._cloud = cloud
        self._clock = clock
        self._moto = moto
        self._contract = contract
        self._faults = faults
        self._count = 0
        self.recorded = 0  # requests that changed something
        self._answered: dict[str, Answer] = {}  # SDK invocation id -> answer, the newest of them
        self.record: Record = lambda ask: None
        self.environment: Callable[[], Mapping[str, str]] = dict

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            body = await read_body(receive)
        except TooLarge:
            await respond(send, json_answer(413, {"message": "Request Too Long"}, connection="close"))
            return
        self._clock.catch_up()
        await respond(send, self.answer(ask_of(scope, body)))

    def answer(self, ask: Ask) -> Answer:
        """The answer to one request; never raises for what a client sent."""
        if ask.path.startswith("/_baton/"):
            return self._own(ask)
        if not ask.service:
            message = {"message": "Missing Authentication Token"}
            return json_answer(403, message, **{"x-amzn-errortype": "MissingAuthenticationTokenException"})
        found = self._contract.match(ask.method, ask.path) if ask.service == "eks" else None
        operation = found[0] if found else ask.operation
        refusal = self._faults.refusal(ask.service, operation)
        if refusal is not None:
            return _refused(ask, refusal)
        changes = not operation.startswith(_READS)
        again = self._sent_again(ask) if changes else None
        if again is not None:
            return again
        if changes:
            self._moto.salt(f"{self.recorded}")
        if ask.service != "eks":
            answer = self._moto.answer(ask)
        elif found is None:
            return rest_error("UnknownOperationException", "Unknown operation", 404)
        else:
            answer = self._eks(ask, *found)
        if changes and answer.status < 400:
            self.recorded += 1
            self.record(ask)
            self._remember(ask, answer)
        return answer

    def _sent_again(self, ask: Ask) -> Answer | None:
        """The answer to an earlier attempt of the same SDK call, when that was carried out and its answer got lost.

        SDKs number their attempts and give a call one invocation id (amz-sdk-request, amz-sdk-invocation-id).
        """
        if ask.headers.get("amz-sdk-request", "attempt=1").startswith("attempt=1;") or not self._answered:
            return None
        return self._answered.get(ask.headers.get("amz-sdk-invocation-id", ""))

    def _remember(self, ask: Ask, answer: Answer) -> None:
        invocation = ask.headers.get("amz-sdk-invocation-id")
        if invocation:
            self._answered[invocation] = answer
            while len(self._answered) > REMEMBERED:
                self._answered.pop(next(iter(self._answered)))

    # --- EKS --------------------------------------------------------------------------------------------------

    def _eks(self, ask: Ask, operation: str, path: Mapping[str, str]) -> Answer:
        home = self._cloud.settings.region
        if ask.region != home:
            text = f"This emulator has EKS in {home} only; start one for {ask.region} with --region"
            return rest_error("InvalidRequestException", text, 400)
        self._count += 1
        ids = {"x-amzn-RequestId": request_id_of(f"{operation} {self._count}")}
        try:
            params = self._contract.parse(operation, path, ask.query, ask.body)
            body = self._contract.serialise(operation, self._cloud.eks(operation, params))
        except AwsError as error:
            answer = rest_error(error.code, error.message, error.status, error.fields)
        except ContractError as error:
            answer = rest_error(error.code, error.message, error.status)
        else:
            answer = Answer(200, {"Content-Type": "application/json"}, body)
        return Answer(answer.status, {**answer.headers, **ids}, answer.body)

    # --- the emulator's own -----------------------------------------------------------------------------------

    def _own(self, ask: Ask) -> Answer:
        what = (ask.method, ask.path)
        if what == ("GET", "/_baton/health"):
            return json_answer(200, {"status": "ok"})
        if what == ("GET", "/_baton/clock"):
            return json_answer(200, {"now": self._clock.now(), "speed": self._clock.speed})
        if what == ("GET", "/_baton/environment"):
            return json_answer(200, dict(self.environment()))
        if what == ("GET", "/_baton/faults"):
            return json_answer(200, self._faults.as_json())
        if what == ("POST", "/_baton/faults"):
            return self._change_faults(ask)
        return json_answer(404, {"message": f"there is no {ask.method} {ask.path} here"})

    def _change_faults(self, ask: Ask) -> Answer:
        try:
            change = json.loads(ask.body or b"{}")
        except (ValueError, RecursionError):
            return json_answer(400, {"message": "the body is not JSON", "hint": '{"faults": {"never_join": ["main"]}}'})
        try:
            self._faults.apply(change)
        except BatonError as error:
            return json_answer(400, {"message": error.message, "hint": error.hint})
        self.record(ask)
        return json_answer(200, self._faults.as_json())


def ask_of(scope: Scope, body: bytes) -> Ask:
    """The request of an ASGI scope, with the service and region it was signed for ("" when unsigned)."""
    headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
    path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").split("?")[0]
    query = scope.get("query_string", b"").decode("latin-1")
    signed = _SIGNED.search(headers.get("authorization", "")) or _PRESIGNED.search(unquote(query))
    service, region = (signed[3], signed[2]) if signed else ("", "us-east-1")
    ask = Ask(service, region, scope["method"], path, query, headers, body)
    if not service and ask.operation in _UNSIGNED:
        return Ask(_UNSIGNED[ask.operation], region, ask.method, path, query, headers, body)
    return ask


def _refused(ask: Ask, refusal: Refusal) -> Answer:
    kind = family(ask.service)
    if kind == "eks":
        return rest_error(refusal.code, refusal.message, refusal.status)
    if kind == "json":
        return json_error(refusal.code, refusal.message, refusal.status)
    return query_error(refusal.code, refusal.message, refusal.status, ec2=kind == "ec2")
