"""The four kinds of PATCH: JSON, merge, strategic merge, and server-side apply in its simple form. Pure."""

from __future__ import annotations

import copy
from typing import Any

from baton.twin.world import ApiError

Json = dict[str, Any]

# Merge keys of the lists that users patch (from the API's own patchMergeKey tags).
MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "env": "name",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "conditions": "type",
    "ownerReferences": "uid",
    "topologySpreadConstraints": "topologyKey",
    "taints": "key",
    "addresses": "type",
    "secrets": "name",
}
SERVICE_PORTS = "port"
APPENDED = {"finalizers"}


def apply_patch(kind: str, target: Json, patch: Any, *, service: bool = False) -> Json:
    """The patched object; `kind` is the media type. Raises ApiError 400, 415 or 422."""
    if kind == "application/json-patch+json":
        return json_patch(target, patch)
    if not isinstance(patch, dict):
        raise ApiError(400, "BadRequest", "the patch is not an object")
    if kind == "application/merge-patch+json":
        return merge(target, patch)
    if kind in ("application/strategic-merge-patch+json", "application/apply-patch+yaml"):
        return strategic(target, patch, service=service)
    raise ApiError(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, "
        "application/apply-patch+yaml",
    )


def merge(target: Any, patch: Json) -> Json:
    """RFC 7386."""
    out = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict):
            out[key] = merge(out.get(key), value)
        else:
            out[key] = value
    return out


def strategic(target: Any, patch: Json, *, service: bool = False) -> Json:
    """Merge with lists merged by their keys; `$patch` (replace, delete) and `$deleteFromPrimitiveList` are honoured."""
    if patch.get("$patch") == "replace":
        return {k: v for k, v in patch.items() if k != "$patch"}
    out = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            out[name] = [v for v in out.get(name) or () if v not in value]
        elif key.startswith("$setElementOrder/") or key in ("$patch", "$retainKeys"):
            continue
        elif value is None:
            out.pop(key, None)
        elif isinstance(value, dict):
            out[key] = strategic(out.get(key), value, service=service)
        elif isinstance(value, list):
            out[key] = _list(key, out.get(key) or [], value, service)
        else:
            out[key] = value
    for key, order in patch.items():
        name = key.removeprefix("$setElementOrder/")
        if name != key and isinstance(order, list) and isinstance(out.get(name), list):
            before = target.get(name) if isinstance(target, dict) else None
            out[name] = _ordered(out[name], order, before or [], _merge_key(name, service))
    return out


def _merge_key(name: str, service: bool) -> str | None:
    return SERVICE_PORTS if service and name == "ports" else MERGE_KEYS.get(name)


def _ordered(items: list[Any], order: list[Any], before: list[Any], key: str | None) -> list[Any]:
    """Elements in the order of the patch and of the server, as far as both can be kept; the patch's come first
    (strategicpatch.normalizeElementOrder)."""

    def ident(item: Any) -> Any:
        return repr(item.get(key)) if key and isinstance(item, dict) else repr(item)

    wanted = {ident(o): i for i, o in enumerate(order)}
    server = {ident(o): i for i, o in enumerate(before)}
    right = sorted((i for i in items if ident(i) in wanted), key=lambda i: wanted[ident(i)])
    left = [i for i in items if ident(i) not in wanted]
    out: list[Any] = []
    while left and right:
        a, b = server.get(ident(left[0])), server.get(ident(right[0]))
        out.append(left.pop(0) if a is not None and b is not None and a < b else right.pop(0))
    return out + left + right


def _list(name: str, old: list[Any], new: list[Any], service: bool) -> list[Any]:
    if name in APPENDED:
        return old + [v for v in new if v not in old]
    key = _merge_key(name, service)
    if key is None or not all(isinstance(v, dict) for v in new):
        return list(new)
    if any(v.get("$patch") == "replace" for v in new):
        return [v for v in new if "$patch" not in v]
    out = list(old)
    for item in new:
        at = next((i for i, v in enumerate(out) if isinstance(v, dict) and v.get(key) == item.get(key)), None)
        if item.get("$patch") == "delete":
            if at is not None:
                del out[at]
        elif at is None:
            out.append(item)
        else:
            out[at] = strategic(out[at], item, service=service)
    return _ordered(out, new, old, key)


def json_patch(target: Json, operations: Any) -> Json:
    """RFC 6902. Raises ApiError 422 where a path or a test does not hold."""
    if not isinstance(operations, list):
        raise ApiError(400, "BadRequest", "a JSON patch is a list of operations")
    document: Any = copy.deepcopy(target)
    for operation in operations:
        try:
            document = _operate(document, operation)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            raise ApiError(
                422, "Invalid", f"the server rejected our request due to an error in our request: {error}"
            ) from error
    if not isinstance(document, dict):
        raise ApiError(422, "Invalid", "the patch leaves no object")
    return document


def _operate(document: Any, operation: Json) -> Any:
    kind, parts = operation["op"], _pointer(operation["path"])
    if kind == "test":
        if _find(document, parts) != operation.get("value"):
            raise ValueError("testing path " + operation["path"] + " value failed")
        return document
    if kind in ("move", "copy"):
        value = copy.deepcopy(_find(document, _pointer(operation["from"])))
        if kind == "move":
            document = _remove(document, _pointer(operation["from"]))
        return _add(document, parts, value)
    if kind == "remove":
        return _remove(document, parts)
    if kind == "replace":
        _find(document, parts)
        return _add(_remove(document, parts), parts, operation["value"]) if parts else operation["value"]
    if kind == "add":
        return _add(document, parts, operation["value"])
    raise ValueError(f"unexpected kind of operation: {kind}")


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError(f"{text!r} is not a JSON pointer")
    return [p.replace("~1", "/").replace("~0", "~") for p in text.split("/")[1:]]


def _find(document: Any, parts: list[str]) -> Any:
    for part in parts:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def _remove(document: Any, parts: list[str]) -> Any:
    holder = _find(document, parts[:-1])
    del holder[int(parts[-1]) if isinstance(holder, list) else parts[-1]]
    return document


def _add(document: Any, parts: list[str], value: Any) -> Any:
    if not parts:
        return value
    holder = _find(document, parts[:-1])
    if isinstance(holder, list):
        holder.insert(len(holder) if parts[-1] == "-" else int(parts[-1]), value)
    else:
        holder[parts[-1]] = value
    return document
