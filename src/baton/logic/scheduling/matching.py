"""Label selectors, node selector terms, taints and tolerations, as the scheduler's helpers match them.

A compiled selector is a tuple of requirements `(key, operator, values)`, all of which must hold; the empty tuple
selects everything and None selects nothing. Compiled selectors are hashable, so they also serve as cache keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Generic, TypeAlias, TypeVar

T = TypeVar("T")
Json: TypeAlias = Mapping[str, Any]
Requirement: TypeAlias = tuple[str, str, frozenset[str]]
Selector: TypeAlias = tuple[Requirement, ...] | None
NodeTerm: TypeAlias = tuple[tuple[Requirement, ...], tuple[Requirement, ...]]

EVERYTHING: Selector = ()
NOTHING: Selector = None
HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
REGION = "topology.kubernetes.io/region"
BETA_ZONE = "failure-domain.beta.kubernetes.io/zone"
BETA_REGION = "failure-domain.beta.kubernetes.io/region"
UNSCHEDULABLE_TAINT = "node.kubernetes.io/unschedulable"

_WHOLE_NUMBER = re.compile(r"[+-]?\d+\Z", re.ASCII)
_LABEL_VALUE = re.compile(r"(?=.{0,63}\Z)(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?\Z", re.ASCII)
_OPERATORS = {"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"}


def whole_number(text: str) -> int | None:
    """A signed 64-bit number written in decimal, or None."""
    if _WHOLE_NUMBER.match(text) is None:
        return None
    value = int(text)
    return value if -(2**63) <= value < 2**63 else None


def requirement_holds(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    """One requirement against a set of labels; an absent label satisfies NotIn and DoesNotExist only."""
    key, operator, values = requirement
    actual = labels.get(key)
    if operator == "In":
        return actual is not None and actual in values
    if operator == "NotIn":
        return actual is None or actual not in values
    if operator == "Exists":
        return actual is not None
    if operator == "DoesNotExist":
        return actual is None
    if actual is None:
        return False
    left, right = whole_number(actual), whole_number(next(iter(values), ""))
    if left is None or right is None:
        return False
    return left > right if operator == "Gt" else left < right


def matches(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Whether a compiled selector selects the labels."""
    if selector is None:
        return False
    for requirement in selector:
        key, operator, values = requirement
        if operator == "In":
            if labels.get(key) not in values:
                return False
        elif not requirement_holds(requirement, labels):
            return False
    return True


def _requirement(expression: Json) -> Requirement | None:
    """A matchExpressions entry, or None when upstream would refuse it."""
    operator = expression.get("operator", "")
    values = frozenset(expression.get("values") or ())
    valid = operator in _OPERATORS
    if operator in ("In", "NotIn"):
        valid = bool(values)
    elif operator in ("Exists", "DoesNotExist"):
        valid = not values
    elif operator in ("Gt", "Lt"):
        valid = len(values) == 1 and whole_number(next(iter(values))) is not None
    return (expression.get("key", ""), operator, values) if valid else None


def from_match_labels(labels: Mapping[str, str]) -> tuple[Requirement, ...]:
    """`key=value` for every pair, in key order."""
    return tuple((key, "In", frozenset((value,))) for key, value in sorted(labels.items()))


def compile_selector(selector: Json | None) -> Selector:
    """A LabelSelector: absent selects nothing, {} everything; a malformed one selects nothing."""
    if selector is None:
        return NOTHING
    requirements = list(from_match_labels(selector.get("matchLabels") or {}))
    for expression in selector.get("matchExpressions") or ():
        requirement = _requirement(expression)
        if requirement is None or requirement[1] in ("Gt", "Lt"):
            return NOTHING
        requirements.append(requirement)
    return tuple(requirements)


def _node_requirement(expression: Json) -> Requirement | None:
    """The same in a node selector term: labels.NewRequirement also asks that values could be a label's."""
    values = expression.get("values") or ()
    single = expression.get("operator") not in ("Gt", "Lt") or len(values) == 1
    return _requirement(expression) if single and all(_LABEL_VALUE.match(v) for v in values) else None


def _field_requirement(expression: Json) -> Requirement | None:
    """A matchFields entry: In or NotIn with one value."""
    known = expression.get("operator") in ("In", "NotIn") and len(expression.get("values") or ()) == 1
    return _requirement(expression) if known else None


def compile_node_terms(terms: Iterable[Json]) -> tuple[NodeTerm, ...]:
    """NodeSelectorTerms, ORed. Empty and malformed terms select no node and are left out."""
    compiled = []
    for term in terms:
        labels = [_node_requirement(e) for e in term.get("matchExpressions") or ()]
        fields = [_field_requirement(e) for e in term.get("matchFields") or ()]
        if not labels and not fields:
            continue
        kept_labels = tuple(r for r in labels if r is not None)
        kept_fields = tuple(r for r in fields if r is not None)
        if len(kept_labels) == len(labels) and len(kept_fields) == len(fields):
            compiled.append((kept_labels, kept_fields))
    return tuple(compiled)


def node_terms_match(terms: Sequence[NodeTerm], labels: Mapping[str, str], fields: Mapping[str, str]) -> bool:
    """Whether any term selects a node with these labels and fields (metadata.name)."""
    return any(
        all(requirement_holds(r, labels) for r in term_labels)
        and all(requirement_holds(r, fields) for r in term_fields)
        for term_labels, term_fields in terms
    )


def label_keys(terms: Iterable[NodeTerm]) -> set[str]:
    """The labels that node selector terms look at."""
    return {requirement[0] for labels, _ in terms for requirement in labels}


def tolerates(toleration: Json, key: str, value: str, effect: str) -> bool:
    """One toleration against one taint."""
    wanted_effect = toleration.get("effect")
    if wanted_effect and wanted_effect != effect:
        return False
    wanted_key = toleration.get("key")
    if wanted_key and wanted_key != key:
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    return operator == "Equal" and (toleration.get("value") or "") == value


def tolerated(tolerations: Iterable[Json], key: str, value: str, effect: str) -> bool:
    """Whether any toleration tolerates the taint."""
    return any(tolerates(t, key, value, effect) for t in tolerations)


def first_untolerated(taints: Iterable[Json], tolerations: Sequence[Json]) -> Json | None:
    """The first NoSchedule or NoExecute taint, in the node's order, that nothing tolerates."""
    for taint in taints:
        effect = taint.get("effect", "")
        if effect in ("NoSchedule", "NoExecute") and not tolerated(
            tolerations, taint.get("key", ""), taint.get("value") or "", effect
        ):
            return taint
    return None


def count_untolerated_prefer(taints: Iterable[Json], tolerations: Sequence[Json]) -> int:
    """How many PreferNoSchedule taints no toleration for that effect (or for all effects) tolerates."""
    relevant = [t for t in tolerations if (t.get("effect") or "PreferNoSchedule") == "PreferNoSchedule"]
    return sum(
        1
        for taint in taints
        if taint.get("effect") == "PreferNoSchedule"
        and not tolerated(relevant, taint.get("key", ""), taint.get("value") or "", "PreferNoSchedule")
    )


class ByLabel(Generic[T]):
    """Things that each want some labels, found by one of them: few are asked instead of all."""

    def __init__(self, things: Iterable[tuple[Mapping[str, str], T]]) -> None:
        """(labels that it wants, thing) of each."""
        self._by: dict[tuple[str, str] | None, list[tuple[int, T]]] = {}
        for place, (wanted, thing) in enumerate(things):
            pair = next((p for p in wanted.items() if isinstance(p[1], str)), None)
            self._by.setdefault(pair, []).append((place, thing))

    def candidates(self, labels: Mapping[str, str]) -> list[T]:
        """All that can want these labels, in their order, and perhaps some more."""
        by = self._by
        found = list(by.get(None, ()))
        for pair in labels.items():
            if pair in by:
                found += by[pair]
        if len(found) > 1:
            found.sort(key=itemgetter(0))
        return [thing for _, thing in found]
