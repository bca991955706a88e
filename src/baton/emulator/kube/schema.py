"""What an object may look like: field names and types of the served kinds, as the API server decodes them.

data/fields.json is written by scripts/kube_fields.py from the official client's models. Types there: s string, i int32,
l int64, b bool, n number, t time, q quantity, x int or string, o anything, [T list, {T map, else the name of a type.
"""

from __future__ import annotations

import functools
import json
import re
from importlib.resources import files
from typing import Any

from baton.twin.world import ApiError

Json = dict[str, Any]
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_QUANTITY = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i)?", re.ASCII)
_WORDS = {str: "string", bool: "bool", int: "number", float: "number", dict: "object", list: "array"}
_GO = {"s": "string", "i": "int32", "l": "int64", "b": "bool", "n": "float64"}
_LIMITS = {"i": 1 << 31, "l": 1 << 63}
_HTTP_QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


@functools.cache
def _data() -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    text = files("baton.emulator.kube").joinpath("data/fields.json").read_text(encoding="utf-8")
    body = json.loads(text)
    return body["kinds"], body["types"]


def type_of(resource: str) -> str | None:
    """The name of a kind's type, None for kinds whose fields are not known here."""
    return _data()[0].get(resource)


def fields_of(name: str) -> dict[str, str]:
    """Field -> type of a named type."""
    return _data()[1][name]


def known_fields(resource: str) -> frozenset[str]:
    """The top-level fields of a kind; empty when they are not known here."""
    name = type_of(resource)
    return frozenset(fields_of(name)) if name else frozenset()


class _Mismatch(Exception):
    pass


def conform(resource: str, obj: Json) -> tuple[Json, list[str]]:
    """The object without nulls and unknown fields, and the paths of the latter; ApiError 400 for a wrong type."""
    name = type_of(resource)
    if name is None:
        return obj, []
    unknown: list[str] = []
    try:
        return _object(name, obj, "", unknown), unknown
    except _Mismatch as error:
        raise unreadable(obj, str(error)) from None
    except RecursionError:
        raise unreadable(obj, "exceeded max depth") from None


def unreadable(obj: Json, why: str) -> ApiError:
    """400 in the words of the API server's decoder."""
    kind, version = obj.get("kind"), obj.get("apiVersion")
    kind = kind if isinstance(kind, str) else ""
    version = version.rpartition("/")[2] if isinstance(version, str) else ""
    return ApiError(400, "BadRequest", f'{kind} in version "{version}" cannot be handled as a {kind}: {why}')


def strict_error(obj: Json, unknown: list[str]) -> ApiError:
    """400 for fieldValidation=Strict."""
    listed = ", ".join(f'unknown field "{path}"' for path in unknown)
    return unreadable(obj, f"strict decoding error: {listed}")


@functools.cache
def _zeros(name: str) -> Json:
    """Fields that Go writes although nobody gave them; controllers read them without asking."""
    if name.endswith("Condition"):
        return {"type": "", "status": ""}
    return _ALWAYS.get(name, {})


_ALWAYS: dict[str, Json] = {
    "V1ContainerStatus": {"name": "", "ready": False, "restartCount": 0, "image": "", "imageID": ""},
    "V1NodeAddress": {"type": "", "address": ""},
    "V1Taint": {"key": "", "effect": ""},
    "V1CSINodeDriver": {"name": "", "nodeID": ""},
    "V1EnvVar": {"name": ""},
    "V1VolumeMount": {"name": "", "mountPath": ""},
    "V1Container": {"name": "", "resources": {}},
    "V1ContainerPort": {"containerPort": 0},
    "V1Volume": {"name": ""},
    "V1LocalObjectReference": {},
    "V1OwnerReference": {"apiVersion": "", "kind": "", "name": "", "uid": ""},
    "V1PersistentVolumeClaimVolumeSource": {"claimName": ""},
    "V1TopologySpreadConstraint": {"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": ""},
    "V1NodeSelectorRequirement": {"key": "", "operator": ""},
    "V1LabelSelectorRequirement": {"key": "", "operator": ""},
    "V1PodAffinityTerm": {"topologyKey": ""},
    "V1EndpointConditions": {},
    "V1ServicePort": {"port": 0},
}


def _object(name: str, obj: Json, path: str, unknown: list[str]) -> Json:
    known = fields_of(name)
    out: Json = dict(_zeros(name))
    for key, value in obj.items():
        code = known.get(key)
        where = f"{path}.{key}" if path else key
        if code is None:
            unknown.append(where)
        elif value is not None:
            out[key] = _value(code, value, where, name, unknown)
    return out


def _value(code: str, value: Any, path: str, owner: str, unknown: list[str]) -> Any:
    first = code[0]
    if first == "[" and len(code) > 1:
        if not isinstance(value, list):
            raise _mismatch(value, path, owner, code)
        inner = code[1:]
        return [
            _value(inner, v, f"{path}[{i}]", owner, unknown) if v is not None else _zero(inner)
            for i, v in enumerate(value)
        ]
    if first == "{" and len(code) > 1:
        if not isinstance(value, dict):
            raise _mismatch(value, path, owner, code)
        return {k: _value(code[1:], v, path, owner, unknown) for k, v in value.items() if v is not None}
    if len(code) > 1:
        if not isinstance(value, dict):
            raise _mismatch(value, path, owner, code)
        return _object(code, value, path, unknown)
    return _scalar(code, value, path, owner)


def _zero(code: str) -> Any:
    return {} if len(code) > 1 and code[0] not in "[{" else [] if code[0] == "[" else {} if code[0] == "{" else ""


def _scalar(code: str, value: Any, path: str, owner: str) -> Any:
    kind = type(value)
    if code == "s":
        right = kind is str
    elif code in _LIMITS:
        right = kind is int and -_LIMITS[code] <= value < _LIMITS[code]
    elif code == "b":
        right = kind is bool
    elif code == "n":
        right = kind in (int, float)
    elif code == "x":
        right = kind is str or (kind is int and -(1 << 31) <= value < 1 << 31)
    elif code == "t":
        return _time(value, path, owner)
    elif code == "q":
        return _quantity(value)
    else:
        return value
    if not right:
        raise _mismatch(value, path, owner, code)
    return value


def _time(value: Any, path: str, owner: str) -> str:
    if not isinstance(value, str):
        raise _mismatch(value, path, owner, "s")
    if not _TIME.fullmatch(value):
        quoted = json.dumps(json.dumps(value))
        raise _Mismatch(f'parsing time {quoted} as "2006-01-02T15:04:05Z07:00": cannot parse {quoted} as "2006"')
    return value


def _quantity(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise _Mismatch(_HTTP_QUANTITY)
    text = value if isinstance(value, str) else json.dumps(value)
    if not _QUANTITY.fullmatch(text) or len(text) > 40:
        raise _Mismatch(_HTTP_QUANTITY)
    return text


def _mismatch(value: Any, path: str, owner: str, code: str) -> _Mismatch:
    if code == "x":
        return _Mismatch(f"json: cannot unmarshal {_WORDS[type(value)]} into Go value of type int32")
    word = _WORDS[type(value)]
    if word == "number" and code in _LIMITS:
        word = f"number {json.dumps(value)}"
    plain = re.sub(r"\[\d+\]", "", path)
    return _Mismatch(f"json: cannot unmarshal {word} into Go struct field {go_name(owner)}.{plain} of type {_go(code)}")


def go_name(name: str) -> str:
    """`V1PodSpec` as Go calls it."""
    return re.sub(r"^(Core|Events)?V\d+((alpha|beta)\d+)?", "", name)


def _go(code: str) -> str:
    if code[0] == "[" and len(code) > 1:
        return "[]" + _go(code[1:])
    if code[0] == "{" and len(code) > 1:
        return "map[string]" + _go(code[1:])
    if code == "q":
        return "resource.Quantity"
    return _GO.get(code) or "v1." + go_name(code)


def open_api(resource: str, prefix: str) -> tuple[Json, str] | None:
    """OpenAPI v3 schemas that a kind needs, and the name of its own; names begin with `prefix`."""
    root = type_of(resource)
    if root is None:
        return None
    schemas: Json = {}
    wanted = [root]
    while wanted:
        name = wanted.pop()
        if prefix + name not in schemas:
            properties = {k: _schema(code, prefix, wanted) for k, code in fields_of(name).items()}
            schemas[prefix + name] = {"type": "object", "properties": properties}
    return schemas, prefix + root


def _schema(code: str, prefix: str, wanted: list[str]) -> Json:
    if code[0] == "[" and len(code) > 1:
        return {"type": "array", "items": _schema(code[1:], prefix, wanted)}
    if code[0] == "{" and len(code) > 1:
        return {"type": "object", "additionalProperties": _schema(code[1:], prefix, wanted)}
    if len(code) > 1:
        wanted.append(code)
        return {"allOf": [{"$ref": f"#/components/schemas/{prefix}{code}"}], "default": {}}
    return dict(_OPEN[code])


_OPEN: dict[str, Json] = {
    "s": {"type": "string"},
    "i": {"type": "integer", "format": "int32"},
    "l": {"type": "integer", "format": "int64"},
    "b": {"type": "boolean"},
    "n": {"type": "number"},
    "t": {"type": "string", "format": "date-time"},
    "q": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "x": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    "o": {"type": "object"},
}
