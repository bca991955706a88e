"""A pod class: all that the scheduler reads from a pod's template, parsed once and shared by the pods made from it."""

from __future__ import annotations

import marshal
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from baton.logic.scheduling import matching
from baton.logic.scheduling.matching import Json, NodeTerm, Selector
from baton.logic.scheduling.requests import (
    PodRequest,
    Resources,
    is_sidecar,
    pod_request,
    scoring_request,
)

T = TypeVar("T")
VOLATILE_LABELS = (
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/job-completion-index",
    "job-completion-index",
)
NAMED = frozenset(("StatefulSet", "Job"))
"""Kinds of controllers that give each of their pods labels of its own."""
_FEW = 4
_SPEC_KEYS = (
    "containers",
    "initContainers",
    "affinity",
    "tolerations",
    "nodeSelector",
    "topologySpreadConstraints",
    "overhead",
    "resources",
    "priority",
    "preemptionPolicy",
)


class AffinityTerm(NamedTuple):
    """A PodAffinityTerm: pods selected by labels, in listed namespaces or those that the selector selects."""

    selector: Selector
    namespaces: frozenset[str]
    namespace_selector: Selector
    topology_key: str
    weight: int

    def selects(self, namespace: str, labels: Mapping[str, str], namespace_labels: Mapping[str, str]) -> bool:
        """Whether a pod with these labels, in a namespace with those labels, is meant."""
        if namespace not in self.namespaces and not matching.matches(self.namespace_selector, namespace_labels):
            return False
        return matching.matches(self.selector, labels)


class SpreadConstraint(NamedTuple):
    """A TopologySpreadConstraint with its selector compiled and matchLabelKeys merged in."""

    max_skew: int
    topology_key: str
    selector: Selector
    min_domains: int
    honor_affinity: bool
    honor_taints: bool


def _affinity_term(term: Json, namespace: str, weight: int) -> AffinityTerm:
    names = frozenset(term.get("namespaces") or ())
    if not names and term.get("namespaceSelector") is None:
        names = frozenset((namespace,))
    return AffinityTerm(
        matching.compile_selector(term.get("labelSelector")),
        names,
        matching.compile_selector(term.get("namespaceSelector")),
        term.get("topologyKey", ""),
        weight,
    )


def _required(affinity: Json | None, namespace: str) -> tuple[AffinityTerm, ...]:
    terms = (affinity or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    return tuple(_affinity_term(t, namespace, 0) for t in terms)


def _preferred(affinity: Json | None, namespace: str) -> tuple[AffinityTerm, ...]:
    terms = (affinity or {}).get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return tuple(_affinity_term(t.get("podAffinityTerm") or {}, namespace, int(t.get("weight", 0))) for t in terms)


def spread_constraints(
    constraints: tuple[Json, ...] | list[Json], labels: Mapping[str, str], action: str
) -> tuple[SpreadConstraint, ...]:
    """The constraints with this whenUnsatisfiable, for a pod with these labels."""
    result = []
    for c in constraints:
        if c.get("whenUnsatisfiable") != action:
            continue
        selector = matching.compile_selector(c.get("labelSelector"))
        own = {key: labels[key] for key in c.get("matchLabelKeys") or () if key in labels}
        if own and selector is not None:
            selector = matching.from_match_labels(own) + selector
        min_domains = c.get("minDomains")
        result.append(
            SpreadConstraint(
                int(c.get("maxSkew", 1)),
                c.get("topologyKey", ""),
                selector,
                1 if min_domains is None else int(min_domains),
                (c.get("nodeAffinityPolicy") or "Honor") == "Honor",
                (c.get("nodeTaintsPolicy") or "Ignore") == "Honor",
            )
        )
    return tuple(result)


def request_row(request: PodRequest) -> NDArray[np.int64]:
    """A request as a row of ClusterState.used: cpu, memory, ephemeral, pods, nonzero cpu, nonzero memory."""
    r = request.resources
    return _shared_row(r.cpu, r.memory, r.ephemeral, 1, request.nonzero_cpu, request.nonzero_memory)


@lru_cache(maxsize=65536)
def _shared_row(*figures: int) -> NDArray[np.int64]:
    """An array for all who ask for the same."""
    row = np.array(figures, dtype=np.int64)
    row.flags.writeable = False
    return row


def host_ports(spec: Json) -> tuple[tuple[str, str, int], ...]:
    """(ip, protocol, port) for every host port of the containers and sidecars."""
    containers: list[Json] = spec.get("containers") or []
    if spec.get("initContainers"):
        containers = [*containers, *(c for c in spec["initContainers"] if is_sidecar(c))]
    return tuple(
        (p.get("hostIP") or "0.0.0.0", p.get("protocol") or "TCP", int(p["hostPort"]))
        for c in containers
        if "ports" in c
        for p in c["ports"] or ()
        if int(p.get("hostPort") or 0) > 0
    )


def normalized_image(name: str) -> str:
    """An image reference with its tag: `:latest` when the last colon is not after the last slash."""
    return name if name.rfind(":") > name.rfind("/") else name + ":latest"


def _images(spec: Json) -> tuple[str, ...]:
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return tuple(normalized_image(c.get("image") or "") for c in containers)


class lazy(Generic[T]):
    """functools.cached_property without the lock that it takes till Python 3.12."""

    def __init__(self, value: Callable[[Any], T]) -> None:
        self._value = value
        self._name = value.__name__
        self.__doc__ = value.__doc__

    def __get__(self, instance: Any, owner: Any = None) -> T:
        found: T = self._value(instance)
        instance.__dict__[self._name] = found
        return found


class PodClass:
    """Parsed facts of one template. Rarely needed facts are parsed on first use."""

    def __init__(self, namespace: str, labels: Mapping[str, str], spec: Json, owner: tuple[str, str, str] | None):
        self.namespace = namespace
        self.labels = labels
        self.spec = spec
        self.owner = owner
        """(apiVersion, kind, name) of the controller, where default spreading knows its kind."""
        affinity = spec.get("affinity") or {}
        pod_affinity, anti_affinity = affinity.get("podAffinity"), affinity.get("podAntiAffinity")
        self.has_affinity = pod_affinity is not None or anti_affinity is not None
        self.required_affinity = _required(pod_affinity, namespace) if pod_affinity else ()
        self.required_anti_affinity = _required(anti_affinity, namespace) if anti_affinity else ()
        self.preferred_affinity = _preferred(pod_affinity, namespace) if pod_affinity else ()
        self.preferred_anti_affinity = _preferred(anti_affinity, namespace) if anti_affinity else ()
        self.request: PodRequest = pod_request(spec)
        self.row = request_row(self.request)
        self.index: Any = None
        """What the fast path keeps per class."""
        self.ports = host_ports(spec)
        self.priority = int(spec.get("priority") or 0)
        self.tolerations: tuple[Json, ...] = tuple(spec.get("tolerations") or ())

    @property
    def fit(self) -> Resources:
        """What NodeResourcesFit compares."""
        return self.request.resources

    @lazy
    def scoring(self) -> tuple[int, int]:
        """(cpu, memory) for least-allocated, with defaults."""
        if not self.spec.get("resources"):
            return self.request.nonzero_cpu, self.request.nonzero_memory
        return scoring_request(self.spec)

    @lazy
    def images(self) -> tuple[str, ...]:
        return _images(self.spec)

    @lazy
    def node_selector(self) -> Selector:
        """spec.nodeSelector compiled; everything when absent."""
        return matching.from_match_labels(self.spec.get("nodeSelector") or {})

    @lazy
    def node_terms(self) -> tuple[NodeTerm, ...] | None:
        """Required node affinity; None when there is none, () when it can match nothing."""
        required = self._node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
        return None if required is None else matching.compile_node_terms(required.get("nodeSelectorTerms") or ())

    @property
    def _node_affinity(self) -> Json:
        return (self.spec.get("affinity") or {}).get("nodeAffinity") or {}

    @lazy
    def preferred_nodes(self) -> tuple[tuple[int, NodeTerm], ...]:
        """(weight, term) of preferred node affinity; empty terms and weights of zero are left out."""
        result = []
        for entry in self._node_affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            term = matching.compile_node_terms((entry.get("preference") or {},))
            if term and entry.get("weight"):
                result.append((int(entry["weight"]), term[0]))
        return tuple(result)

    @lazy
    def has_preferred_nodes(self) -> bool:
        return bool(self._node_affinity.get("preferredDuringSchedulingIgnoredDuringExecution"))

    @lazy
    def node_names(self) -> frozenset[str] | None:
        """Nodes that required affinity names in every term (metadata.name In ...), or None when it does not."""
        required = self._node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
        terms = (required or {}).get("nodeSelectorTerms") or ()
        if not terms:
            return None
        union: set[str] = set()
        for term in terms:
            names: set[str] | None = None
            for field in term.get("matchFields") or ():
                if field.get("key") == "metadata.name" and field.get("operator") == "In":
                    values = set(field.get("values") or ())
                    names = values if names is None else names & values
            if names is None:
                return None
            union |= names
        return frozenset(union)

    @lazy
    def hard_spread(self) -> tuple[SpreadConstraint, ...]:
        return spread_constraints(self.spec.get("topologySpreadConstraints") or (), self.labels, "DoNotSchedule")

    @lazy
    def soft_spread(self) -> tuple[SpreadConstraint, ...]:
        return spread_constraints(self.spec.get("topologySpreadConstraints") or (), self.labels, "ScheduleAnyway")

    @property
    def own_spread(self) -> bool:
        """Whether the pod has constraints of its own, so that the system defaults do not apply."""
        return bool(self.spec.get("topologySpreadConstraints"))

    @lazy
    def may_preempt(self) -> bool:
        return self.spec.get("preemptionPolicy") != "Never"

    def node_matches(self, labels: Mapping[str, str], name: str) -> bool:
        """nodeSelector and required node affinity against a node."""
        if self.node_selector and not matching.matches(self.node_selector, labels):
            return False
        return self.node_terms is None or matching.node_terms_match(self.node_terms, labels, {"metadata.name": name})


def controller_of(metadata: Json) -> Json | None:
    """The controlling owner reference."""
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("controller"):
            result: Json = reference
            return result
    return None


def pinned_to(affinity: Json | None) -> str | None:
    """The node that a DaemonSet's pod is made for: its only required term is one metadata.name In [node]."""
    node_affinity = affinity.get("nodeAffinity") if affinity else None
    required = node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution") if node_affinity else None
    terms = required.get("nodeSelectorTerms") if required else None
    if not terms or len(terms) != 1 or terms[0].get("matchExpressions"):
        return None
    fields: list[Json] = terms[0].get("matchFields") or []
    if len(fields) != 1 or fields[0].get("key") != "metadata.name" or fields[0].get("operator") != "In":
        return None
    values: list[str] = fields[0].get("values") or []
    return values[0] if len(values) == 1 else None


def _unpinned(affinity: Json) -> Json | None:
    """The affinity without its required node terms; None when nothing else is in it."""
    kept = {k: v for k, v in affinity.items() if k != "nodeAffinity" and v}
    node = {
        k: v for k, v in affinity["nodeAffinity"].items() if k != "requiredDuringSchedulingIgnoredDuringExecution" and v
    }
    if node:
        kept["nodeAffinity"] = node
    return kept or None


def without_pin(spec: Json) -> tuple[Json | None, str | None]:
    """A pod's affinity but for the node that it is pinned to, and that node; None for what there is not."""
    affinity = spec.get("affinity")
    if not affinity or spec.get("topologySpreadConstraints"):
        return affinity, None
    pin = pinned_to(affinity)
    return (affinity, None) if pin is None else (_unpinned(affinity), pin)


def without_mounts(containers: Any) -> Any:
    """Containers as the scheduler reads them: a token's volume is named after the pod, so its mount is as well."""
    if not any("volumeMounts" in c for c in containers or ()):
        return containers
    return [{k: v for k, v in c.items() if k != "volumeMounts"} for c in containers]


class ClassCache:
    """Pods -> their class. First by the identity of the template's parts, then by their content."""

    def __init__(self) -> None:
        self._by_identity: dict[tuple[Any, ...], tuple[PodClass, tuple[Any, ...]]] = {}
        self._by_owner: dict[tuple[str, tuple[str, str, str]], list[PodClass]] = {}
        """Of a controller's pods, the first few classes: found by comparing, which is quicker than a key."""
        self._by_content: dict[bytes, PodClass] = {}
        self.volatile = frozenset(VOLATILE_LABELS)
        """Labels that differ from pod to pod and that no selector mentions: they do not make a class."""
        self.epoch = 0
        """Counts how often every class was dropped: a class found before is out of date after."""
        self.mentioned = False
        """Whether a pod's affinity or spreading mentions one of them: see ClusterState.reclassify."""

    def of(self, pod: Json) -> tuple[PodClass, str | None]:
        """The class of a pod, shared by the pods of one template, and the node it is pinned to, if any."""
        metadata, spec = pod["metadata"], pod["spec"]
        get = spec.get
        affinity, pin = without_pin(spec)
        labels = metadata.get("labels") or {}
        owners = metadata.get("ownerReferences")
        owner: tuple[str, str, str] | None = None
        if owners:
            reference = owners[0] if owners[0].get("controller") else controller_of(metadata)
            if reference is not None:
                owner = (reference.get("apiVersion", ""), reference.get("kind", ""), reference.get("name", ""))
                if owner[1] in NAMED and self.volatile:
                    labels = {k: v for k, v in labels.items() if k not in self.volatile}
        parts = (
            get("containers"), get("initContainers"), affinity, get("tolerations"), get("nodeSelector"),
            get("topologySpreadConstraints"), get("overhead"), get("resources"),
        )  # fmt: skip
        key = (
            metadata.get("namespace"), get("priority"), get("preemptionPolicy"), owner, tuple(labels.items()),
            *map(id, parts),
        )  # fmt: skip
        hit = self._by_identity.get(key)
        if hit is not None:
            return hit[0], pin
        found = self._by_contents(metadata, spec, labels, owner, affinity)
        if len(self._by_identity) > 100_000:
            self._by_identity.clear()
        self._by_identity[key] = (found, parts)
        return found, pin

    def _by_contents(
        self, metadata: Json, spec: Json, labels: Json, owner: tuple[str, str, str] | None, affinity: Json | None
    ) -> PodClass:
        namespace = metadata.get("namespace") or "default"
        kept = {k: spec[k] for k in _SPEC_KEYS if spec.get(k) is not None}
        for kind in ("containers", "initContainers"):
            if kind in kept:
                kept[kind] = without_mounts(kept[kind])
        if affinity is not spec.get("affinity"):
            kept.pop("affinity", None)
            if affinity is not None:
                kept["affinity"] = affinity
        rules = (kept.get("affinity"), kept.get("topologySpreadConstraints"))
        if rules != (None, None) and self.volatile:
            text = marshal.dumps(rules, 2)
            if any(label.encode() in text for label in VOLATILE_LABELS):
                self.mentioned = True
                labels = metadata.get("labels") or {}
        if owner is not None:
            siblings = self._by_owner.setdefault((namespace, owner), [])
            for one in siblings:
                if one.spec == kept and one.labels == labels:
                    return one
            if len(siblings) < _FEW:
                made = PodClass(namespace, labels, kept, owner)
                siblings.append(made)
                return made
        content = marshal.dumps((namespace, dict(labels), owner, kept), 2)
        found = self._by_content.get(content)
        if found is None:
            found = self._by_content[content] = PodClass(namespace, labels, kept, owner)
        return found

    def forget(self) -> None:
        """Drop every class (after `volatile` changed)."""
        self.epoch += 1
        self._by_identity.clear()
        self._by_owner.clear()
        self._by_content.clear()
