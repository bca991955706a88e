"""Faults of the connection itself: throttling, bursts of 5xx, expired credentials, an API server out of reach."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from baton.emulator.answers import query_error
from baton.emulator.moto_side import Answer
from baton.errors import UsageError


@dataclass
class WireFaults:
    """`throttle` and `server_errors` count down: that many of the next AWS requests are refused.

    `expired_token`: every AWS request is refused until it is switched off. `api_unreachable`: Kubernetes connections are
    refused. `service` limits the first three to one service ("" is every one).
    """

    throttle: int = 0
    server_errors: int = 0
    expired_token: bool = False
    api_unreachable: bool = False
    service: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def change(self, name: str, value: Any) -> None:
        """Raises UsageError for a name or value that does not fit."""
        if name not in asdict(self):
            raise UsageError(f"no setting wire.{name}", hint=f"there are: {', '.join(asdict(self))}")
        old = getattr(self, name)
        number = isinstance(old, int) and not isinstance(old, bool)
        if type(value) is not type(old) or (number and value < 0):
            raise UsageError(f"wire.{name} cannot be {value!r}", hint=f"it is now {old!r}")
        setattr(self, name, value)

    def strike(self, service: str, path: str) -> Answer | None:
        """The refusal for this request, None to let it through."""
        if self.service and self.service != service:
            return None
        if self.expired_token:
            return _refusal(
                service, "ExpiredTokenException", "The security token included in the request is expired", 403
            )
        if self.throttle:
            self.throttle -= 1
            code = "RequestLimitExceeded" if service == "ec2" else "ThrottlingException"
            return _refusal(service, code, "Rate exceeded", 503 if service == "ec2" else 429)
        if self.server_errors:
            self.server_errors -= 1
            return _refusal(service, "ServiceUnavailableException", "The service is unavailable", 503)
        return None


def _refusal(service: str, code: str, message: str, status: int) -> Answer:
    if service in ("ec2", "autoscaling", "iam", "sts"):
        return query_error(
            code.removesuffix("Exception") if service == "ec2" else code, message, status, ec2=service == "ec2"
        )
    body = {"__type": code, "message": message}
    return Answer(status, {"Content-Type": "application/json", "x-amzn-errortype": code}, json.dumps(body).encode())
