"""Answers of EC2 and Auto Scaling in their wire form, written by moto's model-driven serialisers."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel

from baton.emulator.moto_side import Answer


@cache
def _model(service: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def ec2_answer(operation: str, result: dict[str, Any]) -> Answer:
    return _answer("ec2", "ec2", operation, result)


def autoscaling_answer(operation: str, result: dict[str, Any]) -> Answer:
    return _answer("autoscaling", "query", operation, result)


def _answer(service: str, protocol: str, operation: str, result: dict[str, Any]) -> Answer:
    from moto.core.serialize import SerializationContext, get_serializer_class

    serializer = get_serializer_class(service, protocol)(
        _model(service).operation_model(operation), SerializationContext(request_id=_request_id(operation))
    )
    written = serializer.serialize(result)
    body = written["body"]
    return Answer(
        written["status_code"],
        {**written["headers"], "Content-Type": "text/xml"},
        body.encode() if isinstance(body, str) else body,
    )


def query_error(code: str, message: str, status: int = 400, *, ec2: bool) -> Answer:
    """An error in the EC2 form, or in that of the other query services."""
    from xml.sax.saxutils import escape

    inner = f"<Code>{code}</Code><Message>{escape(message)}</Message>"
    request_id = _request_id(code + message)
    text = (
        f"<Response><Errors><Error>{inner}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
        if ec2
        else f"<ErrorResponse><Error><Type>Sender</Type>{inner}</Error>"
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    return Answer(status, {"Content-Type": "text/xml"}, b'<?xml version="1.0" encoding="UTF-8"?>' + text.encode())


def _request_id(text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"
