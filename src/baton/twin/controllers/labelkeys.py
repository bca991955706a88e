"""matchLabelKeys and mismatchLabelKeys of pod affinity, which the API server writes into the selectors of new pods.

The scheduler itself reads only the selectors (kube-apiserver, pkg/registry/core/pod/strategy.go, since 1.31), so pods
made without this step would meet or avoid every revision of their app.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Obj = dict[str, Any]
_REQUIRED, _PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)


def merge_label_keys(spec: Obj, labels: Mapping[str, str]) -> Obj:
    """The spec of a pod with these labels, its affinity terms' label keys added to their selectors.

    Keys that the pod lacks and terms without a selector are left as they are. Returns `spec` when nothing is to add.
    """
    affinity = spec.get("affinity") or {}
    merged = {kind: _rules(affinity[kind], labels) for kind in ("podAffinity", "podAntiAffinity") if affinity.get(kind)}
    if all(rules is affinity[kind] for kind, rules in merged.items()):
        return spec
    return {**spec, "affinity": {**affinity, **merged}}


def _rules(rules: Obj, labels: Mapping[str, str]) -> Obj:
    changed: Obj = {}
    if rules.get(_REQUIRED):
        changed[_REQUIRED] = [_term(term, labels) for term in rules[_REQUIRED]]
    if rules.get(_PREFERRED):
        changed[_PREFERRED] = [
            {**p, "podAffinityTerm": _term(p["podAffinityTerm"], labels)} if p.get("podAffinityTerm") else p
            for p in rules[_PREFERRED]
        ]
    return rules if all(changed[kind] == rules[kind] for kind in changed) else {**rules, **changed}


def _term(term: Obj, labels: Mapping[str, str]) -> Obj:
    selector = term.get("labelSelector")
    if selector is None:
        return term
    added = [
        {"key": key, "operator": operator, "values": [labels[key]]}
        for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
        for key in term.get(field) or ()
        if key in labels
    ]
    if not added:
        return term
    return {
        **term,
        "labelSelector": {**selector, "matchExpressions": [*(selector.get("matchExpressions") or ()), *added]},
    }
