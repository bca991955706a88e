"""InterPodAffinity: required terms of the pod and of the pods already there as a filter, preferred ones as a score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from baton.logic.scheduling import matching
from baton.logic.scheduling.filters import Figures, Plugin, Status, View
from baton.logic.scheduling.infos import NodeInfo, PodInfo
from baton.logic.scheduling.podclass import AffinityTerm, PodClass
from baton.logic.scheduling.spread import labels_of
from baton.logic.scheduling.state import NAMESPACES, ClusterState

AFFINITY_RULES = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY_RULES = "node(s) didn't match pod anti-affinity rules"
EXISTING_RULES = "node(s) didn't satisfy existing pods anti-affinity rules"
HARD_AFFINITY_WEIGHT = 1

Pair = tuple[str, str]


def resolve(state: ClusterState, term: AffinityTerm) -> AffinityTerm:
    """A term of the pod that waits, with the namespaces that its selector selects added to the listed ones.

    Upstream keeps the selector and later asks it about a namespace without labels, so that one made of NotIn or
    DoesNotExist selects pods of every namespace; so does this.
    """
    if not term.namespace_selector:
        return term
    names = {
        name
        for (_, name), obj in state.objects[NAMESPACES].items()
        if matching.matches(term.namespace_selector, obj["metadata"].get("labels") or {})
    }
    return term._replace(namespaces=term.namespaces | names)


def selects(term: AffinityTerm, pod: PodInfo) -> bool:
    """Whether a resolved term selects a pod."""
    return term.selects(pod.cls.namespace, labels_of(pod), {})


def selects_all(terms: Sequence[AffinityTerm], pod: PodInfo) -> bool:
    """Whether every term selects the pod; no terms select nothing."""
    return bool(terms) and all(selects(term, pod) for term in terms)


class _Concern(NamedTuple):
    """Topology keys of the terms that a pod there counts for: ours that want it, that do not, and its own."""

    wanted: tuple[str, ...]
    unwanted: tuple[str, ...]
    existing: tuple[str, ...]


class InterPodAffinity(Plugin):
    """Required terms."""

    name = "InterPodAffinity"
    watches = True

    def prefilter(self) -> Status | None:
        state = self.state
        self.affinity = [resolve(state, t) for t in self.cls.required_affinity]
        self.anti = [resolve(state, t) for t in self.cls.required_anti_affinity]
        self.namespace_labels = state.namespace_labels(self.cls.namespace)
        self.labels = labels_of(self.pod)
        self.affinity_counts: dict[Pair, int] = {}
        self.anti_counts: dict[Pair, int] = {}
        self.existing_counts: dict[Pair, int] = {}
        self._concerns: dict[PodClass, _Concern | None] = {}
        own = bool(self.affinity or self.anti)
        if self.figures is not None:
            self._look_up(self.figures)
        else:
            for pod in state.every_pod() if own else state.affinity_pods():
                if self.concerns(pod):
                    self._count(pod, state.node(pod.slot).labels, 1)
        self.skip = not own and not self.existing_counts
        return None

    def _look_up(self, figures: Figures) -> None:
        """The same from what is counted already."""

        def add(counts: dict[Pair, int], keys: Sequence[str], found: Iterable[tuple[int, int]]) -> None:
            for slot, number in found:
                labels = self.state.node(slot).labels
                for key in keys:
                    _bump(counts, key, labels, number)

        if self.affinity:
            keys = [term.topology_key for term in self.affinity]
            add(self.affinity_counts, keys, figures.selected(tuple(self.affinity)))
        for term in self.anti:
            add(self.anti_counts, [term.topology_key], figures.selected((term,)))
        for key, found in figures.carried(self.cls):
            add(self.existing_counts, [key], found)

    def concerns(self, pod: PodInfo) -> bool:
        """Whether it makes a difference where the pod is. The same for all pods of a class: see podclass."""
        if pod.cls not in self._concerns:
            self._concerns[pod.cls] = self._concern(pod)
        return self._concerns[pod.cls] is not None

    def _concern(self, pod: PodInfo) -> _Concern | None:
        own = self.cls.namespace
        found = _Concern(
            tuple(t.topology_key for t in self.affinity) if selects_all(self.affinity, pod) else (),
            tuple(t.topology_key for t in self.anti if selects(t, pod)),
            tuple(
                t.topology_key
                for t in pod.cls.required_anti_affinity
                if t.selects(own, self.labels, self.namespace_labels)
            ),
        )
        return found if any(found) else None

    def _count(self, pod: PodInfo, node_labels: Mapping[str, str], sign: int) -> None:
        concern = self._concerns[pod.cls] if self.concerns(pod) else None
        if concern is not None:
            for key in concern.wanted:
                _bump(self.affinity_counts, key, node_labels, sign)
            for key in concern.unwanted:
                _bump(self.anti_counts, key, node_labels, sign)
            for key in concern.existing:
                _bump(self.existing_counts, key, node_labels, sign)

    def filter(self, view: View) -> Status | None:
        labels = view.info.labels
        if self.affinity and not self._affinity_holds(labels):
            return self.reject(AFFINITY_RULES, unresolvable=True)
        for term in self.anti:
            value = labels.get(term.topology_key)
            if value is not None and self.anti_counts.get((term.topology_key, value), 0) > 0:
                return self.reject(ANTI_AFFINITY_RULES)
        if self.existing_counts and any(self.existing_counts.get(pair, 0) > 0 for pair in labels.items()):
            return self.reject(EXISTING_RULES)
        return None

    def _affinity_holds(self, labels: Mapping[str, str]) -> bool:
        exist = True
        for term in self.affinity:
            value = labels.get(term.topology_key)
            if value is None:
                return False
            if self.affinity_counts.get((term.topology_key, value), 0) <= 0:
                exist = False
        # The first pod of a group that wants to be together may go anywhere.
        return exist or (not self.affinity_counts and selects_all(self.affinity, self.pod))

    def moved(self, view: View, pod: PodInfo, sign: int) -> None:
        self._count(pod, view.info.labels, sign)


def _bump(counts: dict[Pair, int], key: str, labels: Mapping[str, str], sign: int) -> None:
    value = labels.get(key)
    if value is None:
        return
    pair = (key, value)
    total = counts.get(pair, 0) + sign
    if total == 0:
        counts.pop(pair, None)
    else:
        counts[pair] = total


def affinity_scores(state: ClusterState, pod: PodInfo, feasible: Sequence[NodeInfo]) -> list[int] | None:
    """Normalised scores (0-100) in the order of `feasible`; None when no term concerns the pod."""
    cls = pod.cls
    wanted = [resolve(state, t) for t in cls.preferred_affinity]
    unwanted = [resolve(state, t) for t in cls.preferred_anti_affinity]
    own = bool(wanted or unwanted)
    labels, namespace_labels = labels_of(pod), state.namespace_labels(cls.namespace)
    points: dict[str, dict[str, int]] = {}
    for other in state.every_pod() if own else state.affinity_pods():
        node_labels = state.node(other.slot).labels
        for terms, sign in ((wanted, 1), (unwanted, -1)):
            for term in terms:
                if selects(term, other):
                    _award(points, term.topology_key, node_labels, sign * term.weight)
        for term, weight in existing_terms(other.cls):
            if term.selects(cls.namespace, labels, namespace_labels):
                _award(points, term.topology_key, node_labels, weight)
    if not points:
        return None
    raw = [
        sum(values.get(node.labels[key], 0) for key, values in points.items() if key in node.labels)
        for node in feasible
    ]
    return normalize(raw)


def existing_terms(cls: PodClass) -> list[tuple[AffinityTerm, int]]:
    """Terms of a pod already there that give or take points, with their weight."""
    return [
        *((t, HARD_AFFINITY_WEIGHT) for t in cls.required_affinity),
        *((t, t.weight) for t in cls.preferred_affinity),
        *((t, -t.weight) for t in cls.preferred_anti_affinity),
    ]


def _award(points: dict[str, dict[str, int]], key: str, labels: Mapping[str, str], weight: int) -> None:
    value = labels.get(key)
    if value is not None:
        values = points.setdefault(key, {})
        values[value] = values.get(value, 0) + weight


def normalize(raw: Sequence[int]) -> list[int]:
    """Stretch to 0-100 between the lowest and the highest; all zero when they are equal."""
    if not raw:
        return []
    lowest, spread = min(raw), max(raw) - min(raw)
    return [int(100.0 * ((score - lowest) / spread)) if spread else 0 for score in raw]
