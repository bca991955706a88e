"""botocore's EKS service model as the emulator's contract: requests are parsed by it, answers validated against it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape
from botocore.validate import ParamValidator

Json = dict[str, Any]


class ContractError(Exception):
    """A request that the model does not allow; becomes an EKS error answer."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    pattern: re.Pattern[str]
    operation: str


class EksContract:
    """Routes, parses and checks EKS requests and answers."""

    def __init__(self) -> None:
        self.model = ServiceModel(Loader().load_service_model("eks", "service-2"), "eks")
        self._validator = ParamValidator()
        self._routes = [self._route(name) for name in self.model.operation_names]

    def operations(self) -> list[str]:
        return sorted(self.model.operation_names)

    def operation(self, name: str) -> OperationModel:
        return self.model.operation_model(name)

    def _route(self, name: str) -> Route:
        http = self.model.operation_model(name).http
        uri = http["requestUri"].split("?")[0]
        parts = re.split(r"\{([^}]+)\}", uri)
        text = ""
        for i, part in enumerate(parts):
            if i % 2 == 0:
                text += re.escape(part)
            elif part.endswith("+"):
                text += f"(?P<{part[:-1]}>.+)"
            else:
                text += f"(?P<{part}>[^/]+)"
        return Route(http["method"], re.compile(text + "/?$"), name)

    def match(self, method: str, raw_path: str) -> tuple[str, dict[str, str]] | None:
        """The operation of a request line and its path parameters (decoded); None when the API has no such path."""
        for route in self._routes:
            if route.method == method and (m := route.pattern.match(raw_path)):
                return route.operation, {k: unquote(v) for k, v in m.groupdict().items()}
        return None

    def parse(self, operation: str, path: Mapping[str, str], query: str, body: bytes) -> Json:
        """The operation's parameters by their model names.

        Raises ContractError in the API's terms: SerializationException for JSON of the wrong form,
        InvalidParameterException for values the model forbids.
        """
        shape = self.operation(operation).input_shape
        if shape is None:
            return {}
        members = shape.members
        params: Json = {}
        arguments = parse_qs(query, keep_blank_values=True)
        payload = self._body(body)
        for name, member in members.items():
            wire = member.serialization.get("name", name)
            location = member.serialization.get("location")
            if location == "uri":
                params[name] = path[wire]
            elif location == "querystring":
                if wire in arguments:
                    params[name] = _from_query(member, arguments[wire])
            elif location is None and payload.get(wire) is not None:
                params[name] = _from_json(member, payload[wire], name)
        report = self._validator.validate(params, shape)
        if report.has_errors():
            raise ContractError("InvalidParameterException", report.generate_report())
        return params

    @staticmethod
    def _body(body: bytes) -> Json:
        if not body.strip():
            return {}
        try:
            payload = json.loads(body)
        except (ValueError, RecursionError):
            raise ContractError("SerializationException", "Unable to parse the request body as JSON") from None
        if not isinstance(payload, dict):
            raise ContractError("SerializationException", "Expected a JSON object")
        return payload

    def serialise(self, operation: str, answer: Mapping[str, Any]) -> bytes:
        """The answer as rest-json. Raises ContractError (500) when it does not fit the model: a bug of the emulator."""
        shape = self.operation(operation).output_shape
        if shape is None:
            return b"{}"
        fault = self.check(operation, answer)
        if fault:
            raise ContractError("ServerException", f"the answer to {operation} breaks the model: {fault}", 500)
        return json.dumps(_to_json(shape, answer), separators=(",", ":")).encode()

    def check(self, operation: str, answer: Mapping[str, Any]) -> str:
        """What of `answer` the model forbids, "" when nothing; unknown members count."""
        shape = self.operation(operation).output_shape
        if shape is None:
            return ""
        report = self._validator.validate(_strip_none(answer), shape)
        faults = report.generate_report() if report.has_errors() else ""
        unknown = _unknown(shape, answer, "")
        return "; ".join(part for part in (faults, unknown) if part)


def _strip_none(value: Any) -> Any:
    """The wire allows null for any member; the validator does not."""
    if isinstance(value, Mapping):
        return {k: _strip_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_strip_none(v) for v in value]
    return value


def _unknown(shape: Shape, value: Any, at: str) -> str:
    if value is None:
        return ""
    if shape.type_name == "structure" and isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in shape.members:
                return f"unknown member {at}{name}"
            found = _unknown(shape.members[name], inner, f"{at}{name}.")
            if found:
                return found
    elif shape.type_name == "list":
        for inner in value:
            found = _unknown(shape.member, inner, at)
            if found:
                return found
    return ""


def _from_query(shape: Shape, values: list[str]) -> Any:
    if shape.type_name == "list":
        return values
    value = values[-1]
    if shape.type_name in ("integer", "long"):
        try:
            return int(value)
        except ValueError:
            raise ContractError("InvalidParameterException", f"{value!r} is not a whole number") from None
    if shape.type_name == "boolean":
        return value.lower() == "true"
    return value


_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "boolean": (bool,),
    "structure": (dict,),
    "list": (list,),
    "map": (dict,),
    "double": (int, float),
    "float": (int, float),
}


def _from_json(shape: Shape, value: Any, at: str) -> Any:
    """JSON to parameters; unknown members are dropped, as the service does."""
    kind = shape.type_name
    if kind == "timestamp":
        return value
    allowed = _JSON_TYPES.get(kind)
    number_is_bool = kind in ("integer", "long") and isinstance(value, bool)
    if allowed is not None and (not isinstance(value, allowed) or number_is_bool):
        raise ContractError("SerializationException", f"{at}: expected a {kind}")
    if kind == "structure":
        return {
            name: _from_json(member, value[wire], f"{at}.{name}")
            for name, member in shape.members.items()
            if value.get(wire := member.serialization.get("name", name)) is not None
        }
    if kind == "list":
        return [_from_json(shape.member, v, f"{at}[{i}]") for i, v in enumerate(value)]
    if kind == "map":
        return {k: _from_json(shape.value, v, f"{at}.{k}") for k, v in value.items()}
    return value


def _to_json(shape: Shape, value: Any) -> Any:
    if value is None:
        return None
    kind = shape.type_name
    if kind == "structure":
        return {
            member.serialization.get("name", name): _to_json(member, value[name])
            for name, member in shape.members.items()
            if name in value
        }
    if kind == "list":
        return [_to_json(shape.member, v) for v in value]
    if kind == "map":
        return {k: _to_json(shape.value, v) for k, v in value.items()}
    if kind == "timestamp":
        return value.timestamp() if isinstance(value, datetime) else value
    return value


def iso(seconds: float) -> datetime:
    """Epoch seconds as an aware datetime."""
    return datetime.fromtimestamp(seconds, UTC)
