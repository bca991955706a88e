"""How an add-on's configuration schema changes from one version to another, and whether the values in use still fit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]


def parse(text: str) -> Schema | None:
    """A JSON schema as an object, None for what is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def changes(old: Schema, new: Schema) -> list[str]:
    """What differs, by the path of each setting: gone, new and required, of another type, with other choices."""
    before, after = dict(_settings(old)), dict(_settings(new))
    gone = [p for p in before if p not in after]
    lines = [f"{p} is gone" for p in gone if _parent(p) not in gone]
    for path, setting in after.items():
        was = before.get(path)
        if was is None:
            if path in _required(new) and path not in _required(old):
                lines.append(f"{path} is new and required")
            continue
        if was.get("type") != setting.get("type"):
            lines.append(f"{path} is {_type(setting)}, was {_type(was)}")
        lost = [c for c in was.get("enum") or () if c not in (setting.get("enum") or was.get("enum") or ())]
        if lost:
            lines.append(f"{path} takes {', '.join(map(str, lost))} no more")
        if path in _required(new) and path not in _required(old):
            lines.append(f"{path} is required now")
    return lines


def violations(values: Any, schema: Schema, root: Schema | None = None, at: str = "") -> list[str]:
    """Where values do not fit a schema: unknown or missing settings, types and choices. Enough of JSON schema for what
    EKS's add-ons use; what is not understood is let pass."""
    root = schema if root is None else root
    schema = _resolved(schema, root)
    here = at or "the configuration"
    wanted = schema.get("type")
    if wanted is not None and not _is(values, wanted):
        return [f"{here} is {_kind(values)}, should be {_type(schema)}"]
    if schema.get("enum") and values not in schema["enum"]:
        return [f"{here} is {values!r}, should be one of {', '.join(map(str, schema['enum']))}"]
    found: list[str] = []
    if isinstance(values, Mapping):
        known = schema.get("properties") or {}
        for name, value in values.items():
            path = f"{at}.{name}" if at else str(name)
            if name in known:
                found += violations(value, known[name], root, path)
            elif schema.get("additionalProperties") is False:
                found.append(f"{path} is no setting of it")
        found += [f"{here} lacks {name}" for name in schema.get("required") or () if name not in values]
    elif isinstance(values, list) and isinstance(schema.get("items"), Mapping):
        for number, value in enumerate(values):
            found += violations(value, schema["items"], root, f"{here}[{number}]")
    return found


def _settings(schema: Schema, root: Schema | None = None, at: str = "", depth: int = 0) -> Iterator[tuple[str, Schema]]:
    root = schema if root is None else root
    for name, setting in (_resolved(schema, root).get("properties") or {}).items():
        if isinstance(setting, Mapping) and depth < 12:  # a schema may refer to itself
            path = f"{at}.{name}" if at else str(name)
            resolved = _resolved(setting, root)
            yield path, resolved
            yield from _settings(resolved, root, path, depth + 1)


def _required(schema: Schema) -> set[str]:
    found = set(map(str, schema.get("required") or ()))
    for path, setting in _settings(schema):
        found |= {f"{path}.{name}" for name in setting.get("required") or ()}
    return found


def _resolved(schema: Schema, root: Schema) -> Schema:
    """The schema that a local `$ref` names; itself when it names none."""
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return schema
    found: Any = root
    for part in reference[2:].split("/"):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) and "$ref" not in found else {}


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _type(schema: Schema) -> str:
    wanted = schema.get("type")
    return " or ".join(wanted) if isinstance(wanted, list) else str(wanted or "of any type")


def _kind(value: Any) -> str:
    return next(k for k in ("null", "boolean", "integer", "number", "string", "array", "object") if _is(value, k))


def _is(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return any(_is(value, w) for w in wanted)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    checks = {
        "null": value is None,
        "boolean": isinstance(value, bool),
        "integer": number and float(value).is_integer(),
        "number": number,
        "string": isinstance(value, str),
        "array": isinstance(value, list),
        "object": isinstance(value, Mapping),
    }
    return checks.get(str(wanted), True)
