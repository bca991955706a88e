"""Whether a pod template's node selector and required node affinity pick a node (for DaemonSets and volumes)."""

from __future__ import annotations

from typing import Any

Obj = dict[str, Any]


def node_selected(spec: Obj, node: Obj) -> bool:
    """nodeName, nodeSelector and required node affinity of a pod spec against a Node."""
    if spec.get("nodeName") and spec["nodeName"] != node["metadata"]["name"]:
        return False
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(k) != v for k, v in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or selector_terms_match(required.get("nodeSelectorTerms") or (), node)


def selector_terms_match(terms: Any, node: Obj) -> bool:
    """Any of the node selector terms; an empty term matches nothing."""
    return any(_term(t, node) for t in terms)


def _term(term: Obj, node: Obj) -> bool:
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    labels = node["metadata"].get("labels") or {}
    names = {"metadata.name": node["metadata"]["name"]}
    return all(_match(e, labels) for e in expressions) and all(_match(f, names) for f in fields)


def _match(expression: Obj, values: Obj) -> bool:
    key: str = expression.get("key") or ""
    operator: Any = expression.get("operator")
    wanted: list[Any] = expression.get("values") or []
    has = key in values
    value = values.get(key)
    if operator == "In":
        return has and value in wanted
    if operator == "NotIn":
        return not has or value not in wanted
    if operator == "Exists":
        return has
    if operator == "DoesNotExist":
        return not has
    if operator in ("Gt", "Lt") and has:
        try:
            left, right = int(str(value)), int(wanted[0])
        except (ValueError, IndexError):
            return False
        return left > right if operator == "Gt" else left < right
    return False
