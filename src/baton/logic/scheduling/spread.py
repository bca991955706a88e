"""PodTopologySpread: hard constraints as a filter, soft ones (the pod's or the system's defaults) as a score."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from baton.logic.scheduling import matching
from baton.logic.scheduling.filters import Plugin, Status, View
from baton.logic.scheduling.infos import NodeInfo, PodInfo
from baton.logic.scheduling.matching import HOSTNAME, ZONE, Selector
from baton.logic.scheduling.podclass import PodClass, SpreadConstraint
from baton.logic.scheduling.state import CONTROLLERS, REPLICA_SETS, STATEFUL_SETS, ClusterState

SPREAD = "node(s) didn't match pod topology spread constraints"
SPREAD_LABEL = SPREAD + " (missing required label)"

_LN2_HIGH, _LN2_LOW = float.fromhex("0x1.62e42fee00000p-1"), float.fromhex("0x1.a39ef35793c76p-33")
_ODD = (6.666666666666735130e-01, 2.857142874366239149e-01, 1.818357216161805012e-01, 1.479819860511658591e-01)
_EVEN = (3.999999999940941908e-01, 2.222219843214978396e-01, 1.531383769920937332e-01)


def natural_log(value: float) -> float:
    """The natural logarithm bit for bit as Go computes it: its last bit differs from the C library's now and then.

    Source of the method: FreeBSD's e_log.c, which Go follows. `value` is positive and finite.
    """
    fraction, exponent = math.frexp(value)
    if fraction < math.sqrt(2) / 2:
        fraction *= 2
        exponent -= 1
    f = fraction - 1
    s = f / (2 + f)
    s2 = s * s
    s4 = s2 * s2
    odd = s2 * (_ODD[0] + s4 * (_ODD[1] + s4 * (_ODD[2] + s4 * _ODD[3])))
    even = s4 * (_EVEN[0] + s4 * (_EVEN[1] + s4 * _EVEN[2]))
    half = 0.5 * f * f
    return exponent * _LN2_HIGH - ((half - (s * (half + (odd + even)) + exponent * _LN2_LOW)) - f)


def round_half_away(value: float) -> int:
    """Go's math.Round for values that are not negative."""
    floor = math.floor(value)
    return int(floor) + (1 if value - floor >= 0.5 else 0)


def has_keys(labels: Mapping[str, str], constraints: Iterable[SpreadConstraint]) -> bool:
    """Whether a node has the topology label of every constraint."""
    return all(c.topology_key in labels for c in constraints)


def included(cls: PodClass, constraint: SpreadConstraint, node: NodeInfo) -> bool:
    """Whether the constraint's node inclusion policies let the node count."""
    if constraint.honor_affinity and not cls.node_matches(node.labels, node.name):
        return False
    return not constraint.honor_taints or matching.first_untolerated(node.taints, cls.tolerations) is None


def count_matching(pods: Iterable[PodInfo], selector: Selector, namespace: str) -> int:
    """Pods of the namespace that the selector selects and that are not being deleted; none for an empty selector."""
    if not selector:
        return 0
    picked: dict[PodClass, bool] = {}  # the same for all pods of a class: see podclass
    count = 0
    for p in pods:
        cls = p.cls
        if p.terminating or cls.namespace != namespace:
            continue
        if cls not in picked:
            picked[cls] = matching.matches(selector, labels_of(p))
        count += picked[cls]
    return count


def labels_of(pod: PodInfo) -> Mapping[str, str]:
    """All labels of a pod, also those its class leaves out."""
    return pod.labels


def default_selector(state: ClusterState, cls: PodClass, labels: Mapping[str, str]) -> Selector:
    """The selector of system default spreading: the pod's Services and its controller's, all of them."""
    merged: dict[str, str] = {}
    for wanted in state.service_selectors(cls.namespace, labels):
        if all(labels.get(k) == v for k, v in wanted.items()):
            merged.update(wanted)
    more: Selector = ()
    if cls.owner is not None:
        version, kind, name = cls.owner
        if (version, kind) == ("v1", "ReplicationController"):
            found = state.get(CONTROLLERS, cls.namespace, name)
            merged.update(((found or {}).get("spec") or {}).get("selector") or {})
        elif version == "apps/v1" and kind in ("ReplicaSet", "StatefulSet"):
            found = state.get(REPLICA_SETS if kind == "ReplicaSet" else STATEFUL_SETS, cls.namespace, name)
            if found is not None:
                more = matching.compile_selector((found.get("spec") or {}).get("selector"))
    return matching.from_match_labels(merged) + (more or ())


def default_constraints(selector: Selector) -> tuple[SpreadConstraint, ...]:
    """The system defaults: at most 3 apart per host and 5 per zone, soft; none when nothing is selected."""
    if not selector:
        return ()
    return (
        SpreadConstraint(3, HOSTNAME, selector, 1, True, False),
        SpreadConstraint(5, ZONE, selector, 1, True, False),
    )


class PodTopologySpread(Plugin):
    """Hard constraints."""

    name = "PodTopologySpread"
    watches = True

    def prefilter(self) -> Status | None:
        self.constraints = self.cls.hard_spread
        self.skip = not self.constraints
        self.counts: list[dict[str, int]] = [{} for _ in self.constraints]
        if self.skip:
            return None
        if self.figures is not None:
            self.counts = self.figures.spread(self.cls)
            return None
        for node in self.state.node_infos():
            if not has_keys(node.labels, self.constraints):
                continue
            pods = self.state.pods_on(node.slot).values()
            for c, counts in zip(self.constraints, self.counts, strict=True):
                if included(self.cls, c, node):
                    value = node.labels[c.topology_key]
                    more = count_matching(pods, c.selector, self.cls.namespace)
                    counts[value] = counts.get(value, 0) + more
        return None

    def filter(self, view: View) -> Status | None:
        labels = labels_of(self.pod)
        for c, counts in zip(self.constraints, self.counts, strict=True):
            value = view.info.labels.get(c.topology_key)
            if value is None:
                return self.reject(SPREAD_LABEL, unresolvable=True)
            lowest = 0 if len(counts) < c.min_domains else min(counts.values(), default=2**31 - 1)
            own = 1 if matching.matches(c.selector, labels) else 0
            if counts.get(value, 0) + own - lowest > c.max_skew:
                return self.reject(SPREAD)
        return None

    def concerns(self, pod: PodInfo) -> bool:
        """Whether it makes a difference where the pod is."""
        if pod.cls.namespace != self.cls.namespace:
            return False
        labels = labels_of(pod)
        return any(matching.matches(c.selector, labels) for c in self.constraints)

    def moved(self, view: View, pod: PodInfo, sign: int) -> None:
        """Upstream counts a pod here even when it is being deleted, though it did not count it to begin with."""
        node = view.info
        if pod.cls.namespace != self.cls.namespace or not has_keys(node.labels, self.constraints):
            return
        labels = labels_of(pod)
        for c, counts in zip(self.constraints, self.counts, strict=True):
            if matching.matches(c.selector, labels) and included(self.cls, c, node):
                value = node.labels[c.topology_key]
                counts[value] = counts.get(value, 0) + sign


def spread_scores(state: ClusterState, pod: PodInfo, feasible: Sequence[NodeInfo]) -> list[int] | None:
    """Normalised scores (0-100) in the order of `feasible`; None when the plugin has nothing to say."""
    cls = pod.cls
    constraints = cls.soft_spread
    if not cls.own_spread:
        constraints = default_constraints(default_selector(state, cls, labels_of(pod)))
    if not constraints:
        return None
    need_all = cls.own_spread
    counts: list[dict[str, int]] = [{} for _ in constraints]
    ignored = [need_all and not has_keys(node.labels, constraints) for node in feasible]
    for node, out in zip(feasible, ignored, strict=True):
        if not out:
            for c, domain in zip(constraints, counts, strict=True):
                if c.topology_key != HOSTNAME:
                    domain[node.labels.get(c.topology_key, "")] = 0
    sizes = [
        len(feasible) - sum(ignored) if c.topology_key == HOSTNAME else len(domain)
        for c, domain in zip(constraints, counts, strict=True)
    ]
    weights = [natural_log(float(size + 2)) for size in sizes]
    _count_domains(state, cls, constraints, counts, need_all)
    raw = [
        -1 if out else _raw_score(state, cls, constraints, counts, weights, node)
        for node, out in zip(feasible, ignored, strict=True)
    ]
    return normalize(raw)


def _count_domains(
    state: ClusterState,
    cls: PodClass,
    constraints: Sequence[SpreadConstraint],
    counts: list[dict[str, int]],
    need_all: bool,
) -> None:
    for node in state.node_infos():
        if need_all and not has_keys(node.labels, constraints):
            continue
        pods = state.pods_on(node.slot).values()
        for c, domain in zip(constraints, counts, strict=True):
            value = node.labels.get(c.topology_key, "")
            if value in domain and included(cls, c, node):
                domain[value] += count_matching(pods, c.selector, cls.namespace)


def _raw_score(
    state: ClusterState,
    cls: PodClass,
    constraints: Sequence[SpreadConstraint],
    counts: Sequence[Mapping[str, int]],
    weights: Sequence[float],
    node: NodeInfo,
) -> int:
    score = 0.0
    for c, domain, weight in zip(constraints, counts, weights, strict=True):
        value = node.labels.get(c.topology_key)
        if value is None:
            continue
        if c.topology_key == HOSTNAME:
            count = count_matching(state.pods_on(node.slot).values(), c.selector, cls.namespace)
        else:
            count = domain[value]
        score += count * weight + (c.max_skew - 1)
    return round_half_away(score)


def normalize(raw: Sequence[int]) -> list[int]:
    """Fewer matching pods, more points; nodes marked -1 get none."""
    valid = [score for score in raw if score >= 0]
    highest, lowest = max(valid, default=0), min(valid, default=0)
    if highest == 0:
        return [0 if score < 0 else 100 for score in raw]
    return [0 if score < 0 else 100 * (highest + lowest - score) // highest for score in raw]
