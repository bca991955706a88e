"""DefaultPreemption: which pods of lower priority would have to go, node by node, and which node is the best choice.

PodDisruptionBudgets are respected as far as possible, not strictly; an empty selector matches nothing here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from baton.logic.scheduling import matching
from baton.logic.scheduling.cycle import Cycle
from baton.logic.scheduling.filters import NodeResourcesFit, Status, View, insufficient
from baton.logic.scheduling.infos import Key, PodInfo
from baton.logic.scheduling.interpod import InterPodAffinity
from baton.logic.scheduling.matching import Json, Selector
from baton.logic.scheduling.podclass import VOLATILE_LABELS
from baton.logic.scheduling.spread import PodTopologySpread
from baton.logic.scheduling.state import BUDGETS, CPU, EPHEMERAL, MEMORY, PODS, ClusterState

NO_VICTIMS = "No preemption victims found for incoming pod"
NEVER = "not eligible due to preemptionPolicy=Never."
NO_CANDIDATE = "no candidate"
_PRIORITY_OFFSET = 2**31
_LATEST = "9999"
_ENDLESS = 2**200


@dataclass(frozen=True, eq=False)
class Victims:
    """Pods that would have to leave one node, most important first."""

    infos: tuple[PodInfo, ...]
    pdb_violations: int

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Victims) and self.pdb_violations == other.pdb_violations
        return same and self.pods == other.pods  # type: ignore[attr-defined]

    @property
    def pods(self) -> tuple[Json, ...]:
        """Their objects."""
        return tuple(info.pod for info in self.infos)

    @property
    def keys(self) -> tuple[Key, ...]:
        """(namespace, name) of every victim."""
        return tuple(info.key for info in self.infos)

    @property
    def names(self) -> tuple[str, ...]:
        """namespace/name of every victim."""
        return tuple("/".join(key) for key in self.keys)


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
    known: tuple[int, str, Key] | None = pod.rank
    if known is not None:
        return known
    started = pod.start_time
    rank = (-pod.cls.priority, started or _LATEST, pod.key)
    if started:
        pod.rank = rank
    return rank


def candidates_to_find(nodes: int) -> int:
    """How many candidates upstream tries: a tenth of the nodes that preemption may help on, at least 100
    (DefaultPreemptionArgs' defaults)."""
    return min(nodes, max(100, nodes // 10))


class _Rule(NamedTuple):
    """A budget that selects something."""

    key: Key
    selector: Selector


class Budgets:
    """The PodDisruptionBudgets of a cluster. Which of them select the pods of a class is found out once, till one of
    them comes, goes or has another spec; how much they allow is read each time."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._version = -1
        self._rules: dict[str, tuple[list[_Rule], bool]] = {}
        self._matching: dict[Any, list[Key]] = {}
        """By class, or by class and labels where these tell pods of a class apart."""

    def _of(self, namespace: str) -> tuple[list[_Rule], bool]:
        """A namespace's budgets, and whether one tells pods of one class apart."""
        found = self._rules.get(namespace)
        if found is None:
            rules = []
            for budget in self._state.of_namespace(BUDGETS, namespace):
                selector = matching.compile_selector((budget.get("spec") or {}).get("selector"))
                if selector:
                    rules.append(_Rule((namespace, budget["metadata"]["name"]), selector))
            apart = any(label in VOLATILE_LABELS for rule in rules for label, _, _ in rule.selector or ())
            found = self._rules[namespace] = rules, apart
        return found

    def _for(self, pod: PodInfo) -> list[Key]:
        """The budgets that select the pod."""
        labels, namespace = pod.labels, pod.cls.namespace
        if not labels:
            return []
        rules, apart = self._of(namespace)
        kind = (pod.cls, tuple(labels.items())) if apart or not pod.cls.labels else pod.cls
        found = self._matching.get(kind)
        if found is None:
            found = self._matching[kind] = [r.key for r in rules if matching.matches(r.selector, labels)]
        return found

    def violating(self, pods: Sequence[PodInfo]) -> tuple[list[PodInfo], list[PodInfo]]:
        """Split pods, most important first, into those whose eviction breaks a budget and the others."""
        if self._version != self._state.budget_rules:
            self._version = self._state.budget_rules
            self._rules.clear()
            self._matching.clear()
        left: dict[Key, int] = {}
        disrupted: dict[Key, Collection[str]] = {}
        breaking: list[PodInfo] = []
        harmless: list[PodInfo] = []
        known = self._matching
        for pod in pods:
            violates = False
            budgets = known.get(pod.cls)
            for budget in self._for(pod) if budgets is None else budgets:
                if budget not in left:
                    status = (self._state.get(BUDGETS, *budget) or {}).get("status") or {}
                    left[budget] = int(status.get("disruptionsAllowed") or 0)
                    disrupted[budget] = status.get("disruptedPods") or ()
                if disrupted[budget] and pod.key[1] in disrupted[budget]:
                    continue
                left[budget] -= 1
                violates = violates or left[budget] < 0
            (breaking if violates else harmless).append(pod)
        return breaking, harmless


def preempt(
    state: ClusterState,
    pod: PodInfo,
    cycle: Cycle,
    rejected: dict[str, Status],
    budgets: Budgets,
    rng: Random | None = None,
) -> Preemption:
    """Try the nodes whose rejection removing pods could lift. `rejected` is what the cycle said of every node.

    All of them, or with `rng`, as upstream does, from a random one on till enough candidates are found, one of which
    breaks no budget.
    """
    if not pod.cls.may_preempt:
        return Preemption(note=NEVER)
    candidates: dict[str, Victims] = {}
    in_vain: dict[str, str] = {}
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
    """The reasons that stay now that all of `potential` are off the node, where that can be told at a glance; () when
    it cannot.

    Plugins before the one that objected had none and get none by it; that one's own reason stays unless pods go that it
    counts.
    """
    if status.plugin == NodeResourcesFit.name:
        if any(victim.request.resources.scalars for victim in potential):
            return ()
        return tuple(insufficient(pod.cls.fit, view.info.allocatable, view.used, view.scalars)[0])
    plugin = next((p for p in cycle.plugins if p.name == status.plugin), None)
    if isinstance(plugin, InterPodAffinity | PodTopologySpread) and not any(plugin.concerns(v) for v in potential):
        return status.reasons
    return ()


def _victims_on(
    state: ClusterState, pod: PodInfo, cycle: Cycle, name: str, budgets: Budgets, objection: Status
) -> Victims | str:
    """The smallest set upstream finds: all lower pods go, then each is put back while the pod still fits."""
    view = View(state, state.node(state.nodes[name]))
    priority = pod.cls.priority
    potential = [p for p in view.pods.values() if p.cls.priority < priority]
    if not potential:
        return NO_VICTIMS
    view.take_off(potential)
    contested = bool(state.nominees) and bool(cycle.rivals(name))
    reasons = () if contested else _in_vain(view, pod, cycle, objection, potential)
    if reasons:
        return ", ".join(reasons)
    cycle.count_all(view, potential, -1)
    away = dict.fromkeys(potential)
    try:
        status = cycle.judge(view)
        if status is not None:
            return ", ".join(status.reasons)
        potential.sort(key=importance)
        breaking, harmless = budgets.violating(potential)
        for victim in _spared(view, pod, cycle, [*breaking, *harmless], contested):
            del away[victim]
        left = [v for v in (*breaking, *harmless) if v in away]
        victims = sorted(left, key=lambda v: importance(v)[:2])  # of those that tie, who breaks a budget stays first
        return Victims(tuple(victims), sum(v in away for v in breaking))
    finally:
        cycle.count_all(view, away, 1)


def _spared(view: View, pod: PodInfo, cycle: Cycle, victims: Sequence[PodInfo], contested: bool) -> list[PodInfo]:
    """Which of the victims, put back one after the other, leave the pod its place; `contested` by nominated pods."""
    spared = []
    if contested or not cycle.asks_for_room_only:
        for victim in victims:
            cycle.moved(view, victim, 1)
            if cycle.judge(view) is None if contested else cycle.still_fits(view):
                spared.append(victim)
            else:
                cycle.moved(view, victim, -1)
        return spared
    have, used, asked = view.info.allocatable, view.used, pod.cls.fit
    pods = have.pods - used[PODS] - 1
    cpu = have.cpu - used[CPU] - asked.cpu if asked.cpu > 0 else _ENDLESS
    memory = have.memory - used[MEMORY] - asked.memory if asked.memory > 0 else _ENDLESS
    ephemeral = have.ephemeral - used[EPHEMERAL] - asked.ephemeral if asked.ephemeral > 0 else _ENDLESS
    for victim in victims:
        takes = victim.request.resources
        if pods > 0 and takes.cpu <= cpu and takes.memory <= memory and takes.ephemeral <= ephemeral:
            spared.append(victim)
            pods -= 1
            cpu -= takes.cpu
            memory -= takes.memory
            ephemeral -= takes.ephemeral
    return spared


def best_nodes(candidates: dict[str, Victims]) -> tuple[str, ...]:
    """Upstream's criteria in order, each leaving the nodes that tie: sorted names."""
    left = {name: _rank(victims) for name, victims in candidates.items()}
    for criterion in range(4):
        best = min((rank[criterion] for rank in left.values()), default=0)
        left = {name: rank for name, rank in left.items() if rank[criterion] == best}
    starts = {name: _earliest_start(candidates[name].infos) for name in left}
    latest = max(starts.values(), default="")
    return tuple(sorted(name for name, start in starts.items() if start == latest))


def _rank(victims: Victims) -> tuple[int, int, int, int]:
    priorities = [pod.cls.priority for pod in victims.infos]
    highest = priorities[0] if priorities else -_PRIORITY_OFFSET
    return victims.pdb_violations, highest, sum(p + _PRIORITY_OFFSET for p in priorities), len(priorities)


def _earliest_start(pods: Sequence[PodInfo]) -> str:
    """The earliest start among the victims of the highest priority."""
    if not pods:
        return ""
    highest = max(pod.cls.priority for pod in pods)
    return min(pod.start_time or _LATEST for pod in pods if pod.cls.priority == highest)
