"""What holds a roll up: which pod, budget or node, since when, and what would clear it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from baton.model.view import Blocker
from baton.observe.nodes import GroupState, Nodes, NodeState
from baton.observe.pods import Pods, PodState

SEVERAL = "several PodDisruptionBudgets select it, which the eviction API refuses: leave one"


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that each kind of waiting may last before it is called a blocker.

    `stuck`: a group with cordoned nodes where nothing has moved for so long is looked through as well, since a drain
    whose first eviction is refused shows nothing in the watch.
    """

    blocked: float = 30.0
    stuck: float = 90.0
    terminating: float = 30.0
    unschedulable: float = 30.0
    node: float = 300.0
    pod: float = 180.0


class Blockers:
    """Looks for blockers; the same blocker keeps its identity (kind and subject) while it lasts."""

    def __init__(self, nodes: Nodes, pods: Pods, patience: Patience) -> None:
        self._nodes = nodes
        self._pods = pods
        self._patience = patience
        self.kept: dict[tuple[str, str], Blocker] = {}  # told by others: updates, health issues

    def scan(self, now: float) -> dict[tuple[str, str], Blocker]:
        """Every blocker at `now`, by (kind, subject)."""
        found = dict(self.kept)
        for group in self._nodes.groups.values():
            for blocker in self._of_group(group, now):
                found[blocker.kind, blocker.subject] = blocker
        for blocker in (*self._unschedulable(now), *self._terminating(now), *self._unready(now)):
            found[blocker.kind, blocker.subject] = blocker
        return found

    def _of_group(self, group: GroupState, now: float) -> Iterator[Blocker]:
        counts = group.counts
        stuck = bool(counts["cordoned"]) and now - group.progress_at >= self._patience.stuck
        if not (stuck or counts["draining"] or counts["ready"] < counts["nodes"]):
            return
        for node in group.nodes.values():
            if not node.is_ready:
                yield from self._not_ready(node, now)
            elif node.draining_since is not None:
                yield from self._held(node, node.draining_since, now)
            elif stuck and node.cordoned_since is not None:
                yield from self._held(node, node.cordoned_since, now)

    def _not_ready(self, node: NodeState, now: float) -> Iterator[Blocker]:
        if now - node.since >= self._patience.node:
            yield Blocker(
                "node-not-ready",
                node.name,
                node.reason or "its Ready condition is not True",
                node.since,
                node=node.name,
                hint="read its conditions and the kubelet's log; EKS gives up on a new node after 15 minutes",
            )

    def _held(self, node: NodeState, since: float, now: float) -> Iterator[Blocker]:
        """Pods on a node being emptied that their budgets do not let go."""
        for key in sorted(node.evictable):
            pod = self._pods.pods.get(key)
            if pod is None or pod.leaving_since is not None or not pod.budgets:
                continue
            blocker = self._several(pod, node, since) if len(pod.budgets) > 1 else self._exhausted(pod, node, since)
            if blocker is not None and now - blocker.since >= self._patience.blocked:
                yield blocker

    @staticmethod
    def _several(pod: PodState, node: NodeState, since: float) -> Blocker:
        names = ", ".join(b.name for b in pod.budgets)
        return Blocker(
            "several-pdbs", pod.name, f"budgets {names} all select it", since, None, node.name, names, SEVERAL
        )

    @staticmethod
    def _exhausted(pod: PodState, node: NodeState, since: float) -> Blocker | None:
        budget = pod.budgets[0]
        if budget.exhausted_since is None:
            return None
        healthy, desired = len(budget.healthy), budget.wanted_healthy
        if not pod.ready and (budget.always_allow or healthy >= desired):
            return None  # an unhealthy pod may go
        if healthy < desired:
            hint = f"{desired - healthy} of its pods are not ready: bring them up, or lower the budget"
        else:
            hint = f"run more than {desired} ready replicas, or let the budget allow one disruption"
        reason = f"PodDisruptionBudget {budget.name} allows no disruption: {healthy} healthy, {desired} wanted"
        began = max(since, budget.exhausted_since)
        return Blocker("pdb", pod.name, reason, began, None, node.name, budget.name, hint)

    def _unschedulable(self, now: float) -> Iterator[Blocker]:
        for pod in self._pods.pending.values():
            since = pod.pending_since
            if pod.unschedulable and since is not None and now - since >= self._patience.unschedulable:
                hint = "`baton explain-pod` tells it node by node"
                yield Blocker("unschedulable", pod.name, pod.unschedulable, since, hint=hint)

    def _terminating(self, now: float) -> Iterator[Blocker]:
        for pod in self._pods.leaving.values():
            since = pod.leaving_since
            if pod.kind != "movable" or since is None or pod.node not in self._nodes.nodes:
                continue
            if now - since >= pod.grace + self._patience.terminating:
                reason = f"asked to go, and still there past its grace period of {pod.grace:.0f} s"
                hint = "look for finalizers, or for a kubelet that does not answer"
                yield Blocker("terminating", pod.name, reason, since, None, pod.node, "", hint)

    def _unready(self, now: float) -> Iterator[Blocker]:
        for pod in self._pods.unready.values():
            since = pod.bound_since
            if since is None or pod.initial or not pod.waiting or now - since < self._patience.pod:
                continue
            hint = "`kubectl describe pod` and its logs; image, configuration, permissions"
            yield Blocker("pod-not-ready", pod.name, pod.waiting, since, None, pod.node, "", hint)
