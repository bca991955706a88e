"""The few request bodies that kubectl sends as protobuf whatever the server offers: reviews, evictions, delete options.

The envelope is `k8s\\0` and a runtime.Unknown {typeMeta = 1, raw = 2}; field numbers are those of the API's own .proto
files. Answers are JSON, which every client accepts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from baton.twin.world import ApiError

MAGIC = b"k8s\x00"
Json = dict[str, Any]

# field number -> (name, how to read it): "s" string, "i" number, "b" truth, "[s" strings, or a message's schema
Schema = Mapping[int, tuple[str, Any]]

_META: Schema = {1: ("name", "s"), 2: ("generateName", "s"), 3: ("namespace", "s"), 5: ("uid", "s")}
_DELETE: Schema = {
    1: ("gracePeriodSeconds", "i"),
    2: ("preconditions", {1: ("uid", "s"), 2: ("resourceVersion", "s")}),
    3: ("orphanDependents", "b"),
    4: ("propagationPolicy", "s"),
    5: ("dryRun", "[s"),
}
_RESOURCE_ATTRIBUTES: Schema = {
    1: ("namespace", "s"),
    2: ("verb", "s"),
    3: ("group", "s"),
    4: ("version", "s"),
    5: ("resource", "s"),
    6: ("subresource", "s"),
    7: ("name", "s"),
}
_ACCESS: Schema = {
    1: ("resourceAttributes", _RESOURCE_ATTRIBUTES),
    2: ("nonResourceAttributes", {1: ("path", "s"), 2: ("verb", "s")}),
}
SCHEMAS: Mapping[str, Schema] = {
    "DeleteOptions": _DELETE,
    "Eviction": {1: ("metadata", _META), 2: ("deleteOptions", _DELETE)},
    "SelfSubjectAccessReview": {1: ("metadata", _META), 2: ("spec", _ACCESS)},
    "SelfSubjectRulesReview": {1: ("metadata", _META), 2: ("spec", {1: ("namespace", "s")})},
    "SelfSubjectReview": {1: ("metadata", _META)},
    "Namespace": {1: ("metadata", _META)},
}


_ENVELOPE: Schema = {1: ("type", {1: ("apiVersion", "s"), 2: ("kind", "s")}), 2: ("raw", "raw")}


def decode(body: bytes) -> Json:
    """A protobuf body as the JSON object it stands for. Raises ApiError 400 (broken) or 415 (a kind not read here)."""
    if not body.startswith(MAGIC):
        raise ApiError(400, "BadRequest", "the body is not Kubernetes protobuf")
    try:
        envelope = _message(
            body[len(MAGIC) :], {1: ("type", {1: ("apiVersion", "s"), 2: ("kind", "s")}), 2: ("raw", "raw")}
        )
        type_meta: Json = envelope.get("type", {})
        kind = type_meta.get("kind", "")
        if kind not in SCHEMAS:
            raise ApiError(
                415,
                "UnsupportedMediaType",
                f"{kind or 'it'} is read as JSON only here - accepted media types include: application/json",
            )
        return {**type_meta, **_message(envelope.get("raw", b""), SCHEMAS[kind])}
    except (IndexError, UnicodeDecodeError, ValueError) as error:
        raise ApiError(400, "BadRequest", f"the protobuf body cannot be decoded: {error}") from None


def _message(data: bytes, schema: Schema) -> Json:
    out: Json = {}
    for number, value in _fields(data):
        if number not in schema:
            continue
        name, kind = schema[number]
        if isinstance(kind, Mapping):
            out[name] = _message(_bytes(value), kind)
        elif kind == "raw":
            out[name] = _bytes(value)
        elif kind == "s":
            text = _bytes(value).decode()
            if text:
                out[name] = text
        elif kind == "[s":
            out.setdefault(name, []).append(_bytes(value).decode())
        elif isinstance(value, int):
            out[name] = bool(value) if kind == "b" else value
    return out


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
