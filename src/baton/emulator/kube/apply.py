"""Server-side apply: who owns which field, what an apply may change, and what it takes away again. Pure.

Only managers that apply own fields here; what other writers set belongs to nobody (docs/kubernetes-api.md). A path is a
tuple of elements as FieldsV1 spells them: `f:name`, `k:{"name":"web"}` for an item of a keyed list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from baton.emulator.kube.patch import MERGE_KEYS, SERVICE_PORTS, strategic
from baton.twin.world import ApiError

Json = dict[str, Any]
Path = tuple[str, ...]
_IDENTITY = frozenset((("f:apiVersion",), ("f:kind",), ("f:metadata", "f:name"), ("f:metadata", "f:namespace")))


def server_side_apply(
    old: Json, config: Json, manager: str, now: str, *, force: bool = False, service: bool = False
) -> Json:
    """`old` (empty for a new object) with the fields of `config`, without those the manager applied before and no
    longer does, and with its ownership noted. Raises ApiError 409 for fields that other managers hold to other values.
    """
    wanted = owned(config, service) - _IDENTITY
    entries = list((old.get("metadata") or {}).get("managedFields") or ())
    held = {e["manager"]: paths_of(e.get("fieldsV1") or {}) for e in entries if e.get("operation") == "Apply"}
    before = held.pop(manager, set())
    conflicts = [
        (other, path)
        for other, theirs in sorted(held.items())
        for path in sorted(wanted & theirs)
        if path[-1] != "." and find(old, path) != find(config, path)
    ]
    if conflicts and not force:
        raise _conflict(conflicts)
    for other, path in conflicts:
        held[other].discard(path)
    merged = strategic(old, config, service=service)
    kept = set().union(*held.values()) if held else set()
    for path in sorted(before - wanted - kept, key=lambda p: (p[-1] != ".", -len(p), p)):  # whole items first
        merged = without(merged, path, kept | wanted)
    held[manager] = wanted
    version = str(config.get("apiVersion") or old.get("apiVersion") or "v1")
    return _noted(merged, entries, held, manager, version, now)


def _conflict(conflicts: list[tuple[str, Path]]) -> ApiError:
    if len(conflicts) == 1:
        text = f'1 conflict: conflict with "{conflicts[0][0]}": {_shown(conflicts[0][1])}'
    else:
        lines = [f"{len(conflicts)} conflicts:"]
        for manager in sorted({m for m, _ in conflicts}):
            lines.append(f'conflicts with "{manager}":')
            lines += [f"- {_shown(path)}" for m, path in conflicts if m == manager]
        text = lines[0] + " " + "\n".join(lines[1:])
    causes = [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{m}"', "field": _shown(p)} for m, p in conflicts
    ]
    return ApiError(409, "Conflict", f"Apply failed with {text}", details={"causes": causes})


def _shown(path: Path) -> str:
    """`.spec.containers[name="web"].image`."""
    out = ""
    for part in path:
        if part[:2] == "f:":
            out += f".{part[2:]}"
        elif part[:2] == "k:":
            pairs = json.loads(part[2:])
            out += "[" + ",".join(f"{k}={json.dumps(v)}" for k, v in pairs.items()) + "]"
    return out


# --- paths


def _key(name: str, value: list[Any], service: bool) -> str | None:
    """The merge key of a list, None for one that is owned whole."""
    key = SERVICE_PORTS if service and name == "ports" else MERGE_KEYS.get(name)
    if key is None or not all(isinstance(v, dict) and key in v for v in value):
        return None
    return key


def owned(value: Any, service: bool = False, path: Path = ()) -> set[Path]:
    """The paths of everything that a configuration sets."""
    if not isinstance(value, dict):
        return {path}
    if not value:
        return {path} if path else set()
    out: set[Path] = set()
    for name, inner in value.items():
        where = (*path, f"f:{name}")
        key = _key(name, inner, service) if isinstance(inner, list) else None
        if key is None:
            out |= owned(inner, service, where)
            continue
        for item in inner:
            element = (*where, "k:" + json.dumps({key: item[key]}, separators=(",", ":")))
            out.add((*element, "."))
            out |= owned(item, service, element)
    return out


def paths_of(tree: Mapping[str, Any], path: Path = ()) -> set[Path]:
    """The paths of a FieldsV1 tree."""
    out: set[Path] = set()
    for part, inner in tree.items():
        if not isinstance(inner, dict):
            continue
        out |= paths_of(inner, (*path, part)) if inner else {(*path, part)}
    return out


def tree_of(paths: set[Path]) -> Json:
    """The FieldsV1 tree of paths."""
    root: Json = {}
    for path in sorted(paths):
        here = root
        for part in path:
            here = here.setdefault(part, {})
    return root


def _item(values: Any, part: str) -> int | None:
    """Where the item of a keyed list is."""
    if not isinstance(values, list):
        return None
    try:
        ((key, wanted),) = json.loads(part[2:]).items()
    except (ValueError, AttributeError):
        return None
    return next((i for i, v in enumerate(values) if isinstance(v, dict) and v.get(key) == wanted), None)


def find(value: Any, path: Path) -> Any:
    """What is at a path, None where nothing is."""
    for part in path:
        if part[:2] == "f:":
            value = value.get(part[2:]) if isinstance(value, dict) else None
        elif part[:2] == "k:":
            at = _item(value, part)
            value = None if at is None else value[at]
    return value


def without(value: Any, path: Path, kept: set[Path], done: Path = ()) -> Any:
    """A copy without what is at `path`; an item of a keyed list goes with its last owner."""
    part, rest = path[0], path[1:]
    if part[:2] == "f:" and isinstance(value, dict) and part[2:] in value:
        name = part[2:]
        if not rest:
            return {k: v for k, v in value.items() if k != name}
        return {**value, name: without(value[name], rest, kept, (*done, part))}
    if part[:2] == "k:":
        at = _item(value, part)
        if at is None:
            return value
        here = (*done, part)
        if rest == (".",):
            shared = any(p[: len(here)] == here for p in kept)
            return value if shared else [*value[:at], *value[at + 1 :]]
        return [*value[:at], without(value[at], rest, kept, here), *value[at + 1 :]]
    return value


def _noted(obj: Json, entries: list[Json], held: Mapping[str, set[Path]], manager: str, version: str, now: str) -> Json:
    """The object with managedFields brought up to date; managers that hold nothing any more are left out."""
    fresh = [e for e in entries if e.get("operation") != "Apply"]
    times = {e["manager"]: e for e in entries if e.get("operation") == "Apply"}
    for name in [*(n for n in times if n != manager), manager]:
        if not held.get(name):
            continue
        tree = tree_of(held[name])
        known = times.get(name)
        same = known is not None and known.get("fieldsV1") == tree
        fresh.append(
            {
                "manager": name,
                "operation": "Apply",
                "apiVersion": version,
                "time": known["time"] if same and known is not None and "time" in known else now,
                "fieldsType": "FieldsV1",
                "fieldsV1": tree,
            }
        )
    return {**obj, "metadata": {**(obj.get("metadata") or {}), "managedFields": fresh}}
