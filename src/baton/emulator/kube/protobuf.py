"""Request bodies that kubectl sends as protobuf: `kubectl create`, `run`, `debug`, reviews, evictions, delete options.

The envelope is `k8s\\0` and a runtime.Unknown {typeMeta = 1, raw = 2}; data/protobuf.json holds the field numbers of
the API's own .proto files (scripts/kube_protobuf.py). Answers are JSON, which every client accepts.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from baton.twin.timefmt import rfc3339
from baton.twin.world import ApiError

MAGIC = b"k8s\x00"
Json = dict[str, Any]
Message = Mapping[str, list[str]]  # field number -> [name, type]
_ENVELOPE: Message = {"1": ["type", "type"], "2": ["raw", "raw"]}
_TYPE: Message = {"1": ["apiVersion", "s"], "2": ["kind", "s"]}
# Senders write every plain field, also one that nobody set; of these alone a zero or a false says something.
_ZEROS = frozenset(
    (
        *("replicas", "terminationGracePeriodSeconds", "gracePeriodSeconds", "backoffLimit", "parallelism", "value"),
        *(
            "completions",
            "tolerationSeconds",
            "revisionHistoryLimit",
            "runAsUser",
            "runAsGroup",
            "fsGroup",
            "partition",
        ),
        *("minReplicas", "ttlSecondsAfterFinished", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"),
        *("automountServiceAccountToken", "allowPrivilegeEscalation", "enableServiceLinks", "attachRequired"),
        *("orphanDependents", "runAsNonRoot"),
    )
)
_DEPTH = 60


@functools.cache
def _data() -> tuple[dict[str, str], dict[str, Message]]:
    body = json.loads(files("baton.emulator.kube").joinpath("data/protobuf.json").read_text(encoding="utf-8"))
    return body["kinds"], body["messages"]


def decode(body: bytes) -> Json:
    """A protobuf body as the JSON object it stands for. Raises ApiError 400 (broken) or 415 (a kind not read here)."""
    if not body.startswith(MAGIC):
        raise ApiError(400, "BadRequest", "the body is not Kubernetes protobuf")
    kinds, _ = _data()
    try:
        envelope = _message(body[len(MAGIC) :], _ENVELOPE, 0)
        type_meta: Json = envelope.get("type", {})
        name = kinds.get(f"{type_meta.get('apiVersion')} {type_meta.get('kind')}")
        if name is None:
            raise ApiError(
                415,
                "UnsupportedMediaType",
                f"{type_meta.get('kind') or 'it'} is read as JSON only here - accepted media types include: "
                "application/json",
            )
        return {**type_meta, **_message(envelope.get("raw", b""), _data()[1][name], 0)}
    except (IndexError, ValueError, OverflowError) as error:
        raise ApiError(400, "BadRequest", f"the protobuf body cannot be decoded: {error}") from None


def _message(data: bytes, schema: Message, depth: int) -> Json:
    if depth > _DEPTH:
        raise ValueError("nested too deeply")
    out: Json = {}
    for number, value in _fields(data):
        field = schema.get(str(number))
        if field is None:
            continue
        name, kind = field
        if name[0] == "^":
            out.update(_one(kind, value, depth))
        elif kind[0] == "[":
            out.setdefault(name, []).append(_one(kind[1:], value, depth))
        elif kind[0] == "{":
            key, item = _entry(kind[1:], _bytes(value), depth)
            out.setdefault(name, {})[key] = item
        else:
            found = _one(kind, value, depth)
            if found or found == {} or name in _ZEROS:
                out[name] = found
    return {k: v for k, v in out.items() if v is not None}


def _entry(kind: str, data: bytes, depth: int) -> tuple[str, Any]:
    """One pair of a map."""
    key, item = "", _one(kind, b"" if kind not in "ibd" else 0, depth) if len(kind) == 1 else {}
    for number, value in _fields(data):
        if number == 1:
            key = _bytes(value).decode()
        elif number == 2:
            item = _one(kind, value, depth)
    return key, item


def _one(kind: str, value: int | bytes, depth: int) -> Any:
    """A single value of a type."""
    if kind == "raw":
        return _bytes(value)
    if kind == "type":
        return _message(_bytes(value), _TYPE, depth + 1)
    if kind == "s":
        return _bytes(value).decode()
    if kind == "y":
        return base64.b64encode(_bytes(value)).decode()
    if kind in ("i", "b"):
        number = _number(value)
        return bool(number) if kind == "b" else number
    if kind == "d":
        return 0.0
    parts = dict(_fields(_bytes(value))) if kind in ("T", "q", "x") else {}
    if kind == "T":
        return rfc3339(_number(parts[1])) if parts.get(1) else None
    if kind == "q":
        return _bytes(parts.get(1, b"0")).decode() or "0"
    if kind == "x":
        return _bytes(parts.get(3, b"")).decode() if parts.get(1) else _number(parts.get(2, 0))
    schema = _data()[1].get(kind)
    return None if schema is None else _message(_bytes(value), schema, depth + 1)


def _number(value: int | bytes) -> int:
    """A varint as a signed number of 64 bits."""
    if not isinstance(value, int):
        raise ValueError("text where a number was expected")
    return value - (1 << 64) if value >= 1 << 63 else value


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where text was expected")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
        elif wire == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError("cut short")
            yield number, data[at : at + size]
            at += size
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"unknown wire type {wire}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number too long")
