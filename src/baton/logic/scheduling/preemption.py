"""DefaultPreemption: which pods of lower priority would have to go, node by node, and which node is the best choice.

PodDisruptionBudgets are respected as far as possible, not strictly; an empty selector matches nothing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from baton.logic.scheduling import matching
from baton.logic.scheduling.cycle import Cycle
from baton.logic.scheduling.filters import NodeResourcesFit, Status, View, insufficient
from baton.logic.scheduling.interpod import InterPodAffinity
from baton.logic.scheduling.matching import Json, Selector
from baton.logic.scheduling.spread import PodTopologySpread
from baton.logic.scheduling.state import BUDGETS, ClusterState, Key, PodInfo

NO_VICTIMS = "No preemption victims found for incoming pod"
NEVER = "not eligible due to preemptionPolicy=Never."
NO_CANDIDATE = "no candidate"
_PRIORITY_OFFSET = 2**31
_LATEST = "9999"


@dataclass(frozen=True)
class Victims:
    """Pods that would have to leave one node, most important first."""

    pods: tuple[Json, ...]
    pdb_violations: int

    @property
    def names(self) -> tuple[str, ...]:
        """namespace/name of every victim."""
        return tuple(f"{p['metadata'].get('namespace') or 'default'}/{p['metadata']['name']}" for p in self.pods)


@dataclass(frozen=True)
class Preemption:
    """What preemption could do for a pod that fits nowhere."""

    candidates: dict[str, Victims] = field(default_factory=dict)
    best: tuple[str, ...] = ()
    """Nodes that all of upstream's criteria leave; more than one is a tie."""
    rejected: dict[str, str] = field(default_factory=dict)
    """Nodes tried in vain, with the reason."""
    note: str = ""

    def choose(self, rng: Random) -> tuple[str, Victims] | None:
        """One of the best nodes and its victims; upstream leaves a tie to the order of a map."""
        if not self.best:
            return None
        name = self.best[rng.randrange(len(self.best))] if len(self.best) > 1 else self.best[0]
        return name, self.candidates[name]


def importance(pod: PodInfo) -> tuple[int, str, Key]:
    """Sorts the most important first: higher priority, then the earlier start (RFC 3339 text, UTC).

    Upstream leaves a tie to the order in which it heard of the pods: after its start, that of their names.
    """
    return -pod.cls.priority, pod.start_time or _LATEST, pod.key


def _start(pod: Json) -> str:
    return str((pod.get("status") or {}).get("startTime") or _LATEST)


def candidates_to_find(nodes: int) -> int:
    """How many candidates upstream tries: a tenth of the nodes that preemption may help on, at least 100
    (DefaultPreemptionArgs' defaults)."""
    return min(nodes, max(100, nodes // 10))


class _Entry(NamedTuple):
    selector: Selector
    allowed: int
    disrupted: frozenset[str]
    name: str


Selectors = dict[tuple[str, str], tuple[Json, Selector]]
"""(namespace, name) of a budget -> its spec and its compiled selector."""


class Budgets:
    """The PodDisruptionBudgets of a cluster, with what each still allows; read by namespace, when first needed."""

    def __init__(self, state: ClusterState, selectors: Selectors) -> None:
        self._state = state
        self._selectors = selectors
        self._entries: dict[str, list[_Entry]] = {}
        self._matching: dict[tuple[str, tuple[tuple[str, str], ...]], list[_Entry]] = {}

    def _of(self, namespace: str) -> list[_Entry]:
        found = self._entries.get(namespace)
        if found is None:
            found = self._entries[namespace] = []
            for budget in self._state.of_namespace(BUDGETS, namespace):
                selector = self._selector(budget)
                status = budget.get("status") or {}
                if selector:
                    allowed = int(status.get("disruptionsAllowed") or 0)
                    disrupted = frozenset(status.get("disruptedPods") or ())
                    found.append(_Entry(selector, allowed, disrupted, budget["metadata"]["name"]))
        return found

    def _selector(self, budget: Json) -> Selector:
        """Compiled once for each spec."""
        meta, spec = budget["metadata"], budget.get("spec") or {}
        key = (meta.get("namespace") or "default", meta["name"])
        known = self._selectors.get(key)
        if known is None or known[0] is not spec:
            known = self._selectors[key] = (spec, matching.compile_selector(spec.get("selector")))
        return known[1]

    def _for(self, pod: PodInfo) -> list[_Entry]:
        labels = pod.labels
        if not labels:
            return []
        key = (pod.cls.namespace, tuple(labels.items()))
        found = self._matching.get(key)
        if found is None:
            entries = self._of(pod.cls.namespace)
            found = self._matching[key] = [e for e in entries if matching.matches(e.selector, labels)]
        return found

    def violating(self, pods: Sequence[PodInfo]) -> tuple[list[PodInfo], list[PodInfo]]:
        """Split pods, most important first, into those whose eviction breaks a budget and the others."""
        left: dict[tuple[str, str], int] = {}
        breaking: list[PodInfo] = []
        harmless: list[PodInfo] = []
        for pod in pods:
            violates = False
            for entry in self._for(pod):
                if pod.key[1] in entry.disrupted:
                    continue
                budget = (pod.cls.namespace, entry.name)
                left[budget] = left.get(budget, entry.allowed) - 1
                violates = violates or left[budget] < 0
            (breaking if violates else harmless).append(pod)
        return breaking, harmless


def preempt(
    state: ClusterState,
    pod: PodInfo,
    cycle: Cycle,
    rejected: dict[str, Status],
    rng: Random | None = None,
    selectors: Selectors | None = None,
) -> Preemption:
    """Try the nodes whose rejection removing pods could lift. `rejected` is what the cycle said of every node.

    All of them, or with `rng`, as upstream does, from a random one on till enough candidates are found, one of which
    breaks no budget. `selectors` keeps what was read of budgets for the next time.
    """
    if not pod.cls.may_preempt:
        return Preemption(note=NEVER)
    candidates: dict[str, Victims] = {}
    in_vain: dict[str, str] = {}
    budgets = Budgets(state, {} if selectors is None else selectors)
    names = [name for name, status in rejected.items() if not status.unresolvable]
    enough = len(names)
    if rng is not None and names:
        first = rng.randrange(len(names))
        names, enough = names[first:] + names[:first], candidates_to_find(len(names))
    harmless = False
    for name in names:
        found = _victims_on(state, pod, cycle, name, budgets, rejected[name])
        if isinstance(found, Victims):
            candidates[name] = found
            harmless = harmless or not found.pdb_violations
            if harmless and len(candidates) >= enough:
                break
        else:
            in_vain[name] = found
    return Preemption(candidates, best_nodes(candidates), in_vain, "" if candidates else NO_CANDIDATE)


def _in_vain(view: View, pod: PodInfo, cycle: Cycle, status: Status, potential: Sequence[PodInfo]) -> tuple[str, ...]:
    """The reasons that stay when all of `potential` go, where that can be told at a glance; () when it cannot.

    Plugins before the one that objected had none and get none by it; that one's own reason stays unless pods go that it
    counts.
    """
    if status.plugin == NodeResourcesFit.name:
        gone = potential[0].row.copy()
        for victim in potential[1:]:
            gone += victim.row
        left = [have - less for have, less in zip(view.used, gone.tolist(), strict=True)]
        if any(victim.request.resources.scalars for victim in potential):
            return ()
        return tuple(insufficient(pod.cls.fit, view.info.allocatable, left, view.scalars)[0])
    plugin = next((p for p in cycle.plugins if p.name == status.plugin), None)
    if isinstance(plugin, InterPodAffinity | PodTopologySpread) and not any(plugin.concerns(v) for v in potential):
        return status.reasons
    return ()


def _victims_on(
    state: ClusterState, pod: PodInfo, cycle: Cycle, name: str, budgets: Budgets, objection: Status
) -> Victims | str:
    """The smallest set upstream finds: all lower pods go, then each is put back while the pod still fits."""
    view = View(state, state.node(state.nodes[name])).copy()
    potential = [p for p in view.pods.values() if p.cls.priority < pod.cls.priority]
    if not potential:
        return NO_VICTIMS
    reasons = _in_vain(view, pod, cycle, objection, potential)
    if reasons:
        return ", ".join(reasons)
    for victim in potential:
        cycle.moved(view, victim, -1)
    try:
        status = cycle.filter(view)
        if status is not None:
            return ", ".join(status.reasons)
        potential.sort(key=importance)
        breaking, harmless = budgets.violating(potential)
        victims = []
        violations = 0
        for group, weight in ((breaking, 1), (harmless, 0)):
            for victim in group:
                cycle.moved(view, victim, 1)
                if cycle.filter(view) is not None:
                    cycle.moved(view, victim, -1)
                    victims.append(victim)
                    violations += weight
        victims.sort(key=lambda victim: importance(victim)[:2])  # of those that tie, who breaks a budget stays first
        return Victims(tuple(v.pod for v in victims), violations)
    finally:
        for victim in potential:
            if victim.key not in view.pods:
                cycle.moved(view, victim, 1)


def best_nodes(candidates: dict[str, Victims]) -> tuple[str, ...]:
    """Upstream's criteria in order, each leaving the nodes that tie: sorted names."""
    left = {name: _rank(victims) for name, victims in candidates.items()}
    for criterion in range(4):
        best = min((rank[criterion] for rank in left.values()), default=0)
        left = {name: rank for name, rank in left.items() if rank[criterion] == best}
    starts = {name: _earliest_start(candidates[name].pods) for name in left}
    latest = max(starts.values(), default="")
    return tuple(sorted(name for name, start in starts.items() if start == latest))


def _priority(pod: Json) -> int:
    return int(pod["spec"].get("priority") or 0)


def _rank(victims: Victims) -> tuple[int, int, int, int]:
    priorities = [_priority(pod) for pod in victims.pods]
    highest = priorities[0] if priorities else -_PRIORITY_OFFSET
    return victims.pdb_violations, highest, sum(p + _PRIORITY_OFFSET for p in priorities), len(priorities)


def _earliest_start(pods: Sequence[Json]) -> str:
    """The earliest start among the victims of the highest priority."""
    if not pods:
        return ""
    highest = max(_priority(pod) for pod in pods)
    return min(_start(pod) for pod in pods if _priority(pod) == highest)
