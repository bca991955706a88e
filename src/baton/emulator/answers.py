"""HTTP answers as values, and AWS errors in the forms of the three protocol families."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


def json_answer(status: int, body: Any, **headers: str) -> Answer:
    return Answer(status, {"Content-Type": "application/json", **headers}, json.dumps(body).encode())


def rest_error(code: str, message: str, status: int, fields: Mapping[str, str | None] | None = None) -> Answer:
    """rest-json, as EKS answers: the code in a header, the body's members beside it."""
    return json_answer(status, {**(fields or {}), "message": message}, **{"x-amzn-errortype": code})


def json_error(code: str, message: str, status: int) -> Answer:
    """The JSON protocols (KMS, Logs, SSM)."""
    body = json.dumps({"__type": code, "message": message}).encode()
    return Answer(status, {"Content-Type": "application/x-amz-json-1.1", "x-amzn-errortype": code}, body)


def query_error(code: str, message: str, status: int, *, ec2: bool) -> Answer:
    """The EC2 form, or that of the other query services."""
    inner = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    request_id = request_id_of(code + message)
    side = "Sender" if status < 500 else "Receiver"
    text = (
        f"<Response><Errors><Error>{inner}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
        if ec2
        else f"<ErrorResponse><Error><Type>{side}</Type>{inner}</Error>"
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    return Answer(status, {"Content-Type": "text/xml"}, b'<?xml version="1.0" encoding="UTF-8"?>' + text.encode())


def request_id_of(text: str) -> str:
    """UUID-shaped, the same for the same text."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"
