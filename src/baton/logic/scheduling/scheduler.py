"""Scheduler: decide, explain and preempt for one pod at a time over a ClusterState."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from baton.logic.scheduling import preemption, scores
from baton.logic.scheduling.cycle import Cycle
from baton.logic.scheduling.fastpath import FastPath, Outcome
from baton.logic.scheduling.filters import Status
from baton.logic.scheduling.matching import Json
from baton.logic.scheduling.preemption import Preemption
from baton.logic.scheduling.state import ClusterState


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a pod goes. `reasons` counts nodes per reason when it goes nowhere."""

    node: str | None
    reasons: dict[str, int] = field(default_factory=dict)
    prefilter: tuple[str, tuple[str, ...]] | None = None
    """(plugin, reasons) when a plugin turned the pod down before any node was looked at."""
    feasible: int = 0
    """Number of nodes found that would do (at most as many as were looked for)."""

    def message(self, nodes: int) -> str:
        """The FailedScheduling text: "0/5 nodes are available: 2 Insufficient cpu, 3 Too many pods."."""
        if nodes == 0:
            return "no nodes available to schedule pods"
        if self.prefilter is not None:
            return f"0/{nodes} nodes are available: {', '.join(self.prefilter[1])}."
        parts = sorted(f"{count} {reason}" for reason, count in self.reasons.items())
        return f"0/{nodes} nodes are available: {', '.join(parts)}."


@dataclass(frozen=True)
class Explanation:
    """The verdict on every node."""

    feasible: tuple[str, ...]
    """Sorted names of the nodes that pass every filter."""
    infeasible: dict[str, tuple[str, ...]]
    """Node -> reasons of the first plugin that rejected it, sorted."""
    rejected_by: dict[str, str]
    """Node -> that plugin; empty when a plugin narrowed the list beforehand."""
    unresolvable: tuple[str, ...]
    """Sorted names of the nodes where removing pods cannot help."""
    scores: dict[str, dict[str, int]]
    """Feasible node -> plugin -> weighted score."""
    totals: dict[str, int]
    best: tuple[str, ...]
    """Sorted names of the nodes with the highest total; the scheduler draws one of them."""
    prefilter: tuple[str, tuple[str, ...]] | None = None


class Scheduler:
    """kube-scheduler 1.34.1's default profile over a ClusterState."""

    def __init__(self, state: ClusterState, *, sample: bool = False, compiled: bool | None = None) -> None:
        self.state = state
        self.sample = sample
        self._wish = compiled
        self._fast: FastPath | None = None
        self._budgets = preemption.Budgets(state)

    @property
    def fast(self) -> FastPath:
        """The fast path; it follows the state from its first use on."""
        if self._fast is None:
            self._fast = FastPath(self.state, sample=self.sample, compiled=self._wish)
        return self._fast

    def close(self) -> None:
        """Nothing of it, nor of its state, can be used any more: what refers back is cut."""
        fast = self._fast
        if fast is not None:
            planner = fast.planner
            index = planner.index
            for cls in index.classes:
                cls.index = None
            for part in (index.rows, index.order, index.attachments, index, planner, fast):
                vars(part).clear()
        vars(self.state).clear()
        vars(self).clear()

    def schedule(self, pod: Json, rng: Random) -> Decision:
        """Choose a node. The caller then adds the pod, with spec.nodeName, to the state. Raises ReadError."""
        return self.decided(self.fast.place(pod, rng.random()))

    def decided(self, outcome: Outcome) -> Decision:
        """What the fast path found, with the reasons where it found nothing."""
        fast = self.fast
        if outcome.slot >= 0:
            return Decision(self.state.node(outcome.slot).name, feasible=outcome.feasible)
        prefilter = outcome.prefilter
        return Decision(
            None, fast.reasons(outcome), None if prefilter is None else (prefilter.plugin, prefilter.reasons)
        )

    def explain(self, pod: Json) -> Explanation:
        """Every node's verdict and scores; no sampling. Raises ReadError for a malformed quantity."""
        state = self.state
        info = state.info_of(pod)
        cycle = Cycle(state, info)
        feasible, rejected = cycle.run()
        points = scores.score(state, info, feasible) if feasible else {}
        by_node = {
            node.name: {plugin: values[i] for plugin, values in points.items()} for i, node in enumerate(feasible)
        }
        totals = {name: sum(values.values()) for name, values in by_node.items()}
        highest = max(totals.values(), default=0)
        turned_down = cycle.turned_down
        return Explanation(
            tuple(sorted(totals)),
            {name: tuple(sorted(status.reasons)) for name, status in sorted(rejected.items())},
            {name: status.plugin for name, status in sorted(rejected.items())},
            tuple(sorted(name for name, status in rejected.items() if status.unresolvable)),
            by_node,
            totals,
            tuple(sorted(name for name, total in totals.items() if total == highest)),
            None if turned_down is None else (turned_down.plugin, turned_down.reasons),
        )

    def preempt(self, pod: Json, rng: Random | None = None) -> Preemption | None:
        """What preemption could do; None when some node is feasible without it. `rng`: see preemption.preempt."""
        info = self.state.info_of(pod)
        nodes = None if rng is None else self.fast.open_to(info.cls)
        cycle = Cycle(self.state, info, None if rng is None else self.fast)
        feasible, rejected = cycle.run(nodes)
        if feasible:
            return None
        return preemption.preempt(self.state, info, cycle, rejected, self._budgets, rng)


__all__ = ["Decision", "Explanation", "Preemption", "Scheduler", "Status"]
