"""Pods as the watch shows them: who was evicted, displaced, moved again, who waits and for how long, who is lost.

An eviction is a pod that is asked to go and either says so (condition DisruptionTarget) or leaves a cordoned node
although its controller still wants it. A pod that goes because its node went is displaced, not evicted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from baton.logic.eviction import MIRROR_ANNOTATION, controller_of, pod_ready
from baton.logic.scheduling.requests import sum_requests
from baton.observe import events as kinds
from baton.observe.budgets import Budgets, BudgetState, PodKey
from baton.observe.nodes import Emit, Nodes, NodeState
from baton.observe.workloads import Workloads, workload_of

NANO = 1_000_000_000
EVICTED = "EvictionByEvictionAPI"
PREEMPTED = ("PreemptionByScheduler", "PreemptionByKubeScheduler")
DISPLACED = ("DeletionByTaintManager", "DeletionByPodGC", "TerminationByKubelet")


class PodState:
    """One pod. `kind`: daemon and mirror pods stay where they are, the others must move when their node goes."""

    __slots__ = (
        "bound_since",
        "budgets",
        "controlled",
        "finished",
        "grace",
        "initial",
        "key",
        "kind",
        "labels",
        "leaving_since",
        "node",
        "owner_uid",
        "pending_since",
        "ready",
        "requests",
        "starting",
        "uid",
        "unschedulable",
        "waiting",
        "workload",
    )

    def __init__(self, key: PodKey, obj: Mapping[str, Any], initial: bool) -> None:
        meta = obj["metadata"]
        owner = controller_of(obj)
        self.key = key
        self.uid = meta.get("uid", "")
        self.initial = initial
        self.owner_uid = str(owner.get("uid", "")) if owner else ""
        self.controlled = owner is not None
        self.kind = _kind(meta, owner)
        self.workload = workload_of(obj)
        self.node = ""
        self.ready = self.finished = self.starting = False
        self.leaving_since: float | None = None
        self.grace = 30.0
        self.pending_since: float | None = None
        self.bound_since: float | None = None
        self.unschedulable = ""
        self.waiting = ""
        self.labels: Mapping[str, str] = {}
        self.budgets: tuple[BudgetState, ...] = ()
        self.requests = (0.0, 0.0)

    @property
    def name(self) -> str:
        return f"{self.key[0]}/{self.key[1]}"


def _kind(meta: Mapping[str, Any], owner: Mapping[str, Any] | None) -> str:
    if MIRROR_ANNOTATION in (meta.get("annotations") or {}) or (owner or {}).get("kind") == "Node":
        return "mirror"
    return "daemon" if (owner or {}).get("kind") == "DaemonSet" else "movable"


class Pods:
    """All pods, and what became of those that moved."""

    def __init__(self, emit: Emit, nodes: Nodes, budgets: Budgets, workloads: Workloads) -> None:
        self._emit = emit
        self._nodes = nodes
        self._budgets = budgets
        self._workloads = workloads
        self.pods: dict[PodKey, PodState] = {}
        self.pending: dict[PodKey, PodState] = {}
        self.starting: dict[PodKey, PodState] = {}
        self.leaving: dict[PodKey, PodState] = {}
        self.unready: dict[PodKey, PodState] = {}  # bound, should run, and not ready
        self.evicted_workloads: set[str] = set()
        self.requested: dict[str, tuple[float, float]] = {}  # node -> cores, bytes
        self._on_node: dict[str, set[PodKey]] = {}  # movable, unfinished pods of a node (seen yet or not)
        self._told: dict[str, int] = {}
        self._request_cache: dict[str, tuple[Any, tuple[float, float]]] = {}

    # --- what the watch says

    def on_pod(self, type_: str, obj: Mapping[str, Any], at: float, *, initial: bool) -> None:
        meta = obj["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        pod = self.pods.get(key)
        if pod is not None and pod.uid != meta.get("uid", "") and type_ != "DELETED":
            self._gone(pod, obj, at)  # the same name again: a StatefulSet's next pod
            pod = None
        if type_ == "DELETED":
            if pod is not None and pod.uid == meta.get("uid", ""):
                self._gone(pod, obj, at)
            return
        if pod is None:
            pod = self._add(key, obj, initial)
        self._update(pod, obj, at)

    def _add(self, key: PodKey, obj: Mapping[str, Any], initial: bool) -> PodState:
        pod = PodState(key, obj, initial)
        pod.requests = self._requests(pod, obj)
        self.pods[key] = pod
        if pod.owner_uid:
            self._workloads.owned[pod.owner_uid] = self._workloads.owned.get(pod.owner_uid, 0) + 1
        return pod

    def _requests(self, pod: PodState, obj: Mapping[str, Any]) -> tuple[float, float]:
        """Cores and bytes; pods of one controller nearly always ask the same."""
        spec = obj.get("spec") or {}
        cached = self._request_cache.get(pod.owner_uid) if pod.owner_uid else None
        containers = spec.get("containers")
        if cached is not None and cached[0] == containers:
            return cached[1]
        asked = sum_requests(spec)
        found = (asked.get("cpu", 0) / NANO, asked.get("memory", 0) / NANO)
        if pod.owner_uid:
            self._request_cache[pod.owner_uid] = (containers, found)
        return found

    def _update(self, pod: PodState, obj: Mapping[str, Any], at: float) -> None:
        meta, status = obj["metadata"], obj.get("status") or {}
        phase = status.get("phase", "")
        labels = meta.get("labels") or {}
        if labels != pod.labels:
            pod.labels = labels
            self._match(pod)
        node = (obj.get("spec") or {}).get("nodeName", "")
        if node and not pod.node:
            self._bound(pod, node, at)
        finished = phase in ("Succeeded", "Failed")
        if finished and not pod.finished:
            pod.finished = True
            self._take_off(pod, at)
            self._release(pod)
        leaving = bool(meta.get("deletionTimestamp"))
        if leaving and pod.leaving_since is None:
            pod.grace = float(meta.get("deletionGracePeriodSeconds") or 0)
            self._leaves(pod, obj, at)
        self._set_ready(pod, not finished and pod_ready(obj), at)
        self._waits(pod, obj, phase, at)

    def _waits(self, pod: PodState, obj: Mapping[str, Any], phase: str, at: float) -> None:
        """Pending without a node, starting on one, or running and not ready."""
        idle = pod.finished or pod.leaving_since is not None
        gated = bool((obj.get("spec") or {}).get("schedulingGates"))
        if not pod.node and not idle and not gated:
            if pod.pending_since is None:
                pod.pending_since = at
            self.pending[pod.key] = pod
            self._unschedulable(pod, obj, at)
        else:
            self.pending.pop(pod.key, None)
        _keep(self.starting, pod, bool(pod.node) and phase in ("Pending", "") and not idle)
        _keep(self.unready, pod, bool(pod.node) and not pod.ready and not idle)
        pod.waiting = "" if pod.ready else _waiting(obj)

    def _unschedulable(self, pod: PodState, obj: Mapping[str, Any], at: float) -> None:
        for condition in (obj.get("status") or {}).get("conditions") or ():
            if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
                first = not pod.unschedulable
                pod.unschedulable = str(condition.get("message") or "Unschedulable")
                if first:
                    data = {"message": pod.unschedulable, "workload": pod.workload}
                    self._emit(kinds.POD_UNSCHEDULABLE, pod.name, data)

    def _bound(self, pod: PodState, node: str, at: float) -> None:
        pod.node, pod.bound_since = node, at
        if pod.pending_since is not None:
            waited = at - pod.pending_since
            if waited >= 1.0 or pod.unschedulable:
                data = {"waited": round(waited, 3), "node": node, "workload": pod.workload}
                self._emit(kinds.POD_SCHEDULED, pod.name, data)
            pod.pending_since, pod.unschedulable = None, ""
        self._charge(pod, 1)
        if pod.kind == "movable":
            self._on_node.setdefault(node, set()).add(pod.key)
            self.attach(node, at)

    def attach(self, node: str, at: float) -> None:
        """Let the node know its movable pods; also called when the node is seen after its pods."""
        state = self._nodes.nodes.get(node)
        if state is not None:
            state.evictable = self._on_node.setdefault(node, set())
            self._nodes.evictable_changed(state, at)

    def _charge(self, pod: PodState, sign: int) -> None:
        cpu, memory = self.requested.get(pod.node, (0.0, 0.0))
        self.requested[pod.node] = (cpu + sign * pod.requests[0], memory + sign * pod.requests[1])

    # --- readiness and budgets

    def _match(self, pod: PodState) -> None:
        self._unmatch(pod)
        pod.budgets = self._budgets.matching(pod.key[0], pod.owner_uid, pod.labels)
        for budget in pod.budgets:
            if not pod.finished:
                budget.members.add(pod.key)
            if pod.ready and pod.leaving_since is None:
                budget.healthy.add(pod.key)

    @staticmethod
    def _unmatch(pod: PodState) -> None:
        for budget in pod.budgets:
            budget.members.discard(pod.key)
            budget.healthy.discard(pod.key)

    def rematch(self, namespace: str, at: float) -> None:
        """A budget of the namespace came, went or selects anew."""
        for pod in self.pods.values():
            if pod.key[0] == namespace:
                self._match(pod)
                for budget in pod.budgets:
                    budget.stamp(at)

    def _set_ready(self, pod: PodState, ready: bool, at: float) -> None:
        if ready != pod.ready:
            pod.ready = ready
            if pod.workload:
                count = self._workloads.ready.get(pod.workload, 0)
                self._workloads.ready[pod.workload] = count + (1 if ready else -1)
        healthy = ready and pod.leaving_since is None
        for budget in pod.budgets:
            if healthy != (pod.key in budget.healthy):
                (budget.healthy.add if healthy else budget.healthy.discard)(pod.key)
                budget.stamp(at)

    # --- going

    def _gone(self, pod: PodState, obj: Mapping[str, Any], at: float) -> None:
        if pod.leaving_since is None and not pod.finished:
            self._leaves(pod, obj, at)
        self._set_ready(pod, False, at)
        self._unmatch(pod)
        self._take_off(pod, at)
        if not pod.finished:
            self._release(pod)
        self.pods.pop(pod.key, None)
        self.leaving.pop(pod.key, None)
        for waiting in (self.pending, self.starting, self.unready):
            waiting.pop(pod.key, None)

    def _release(self, pod: PodState) -> None:
        """The node has its resources back."""
        if pod.node:
            self._charge(pod, -1)

    def _take_off(self, pod: PodState, at: float) -> None:
        """It no longer holds up a drain of its node."""
        keys = self._on_node.get(pod.node)
        if keys is None or pod.key not in keys:
            return
        keys.discard(pod.key)
        state = self._nodes.nodes.get(pod.node)
        if state is not None:
            self._nodes.evictable_changed(state, at)
        elif not keys:
            del self._on_node[pod.node]

    def _leaves(self, pod: PodState, obj: Mapping[str, Any], at: float) -> None:
        pod.leaving_since = at
        self.leaving[pod.key] = pod
        scaled_down = self._leave_owner(pod)
        if pod.kind != "movable" or pod.finished or not pod.node:
            return
        node = self._nodes.nodes.get(pod.node)
        reason = _target(obj)
        cordoned = node is not None and node.cordoned_since is not None
        if reason in PREEMPTED:
            self._emit(kinds.POD_PREEMPTED, pod.name, {"workload": pod.workload, "node": pod.node})
        elif reason == EVICTED or (cordoned and not reason and not scaled_down):
            self._evicted(pod, node, reason, at)
        elif reason in DISPLACED or (node is None and not scaled_down):
            self._emit(kinds.POD_DISPLACED, pod.name, {"workload": pod.workload, "node": pod.node, "reason": reason})
            self._lost_if_bare(pod)

    def _leave_owner(self, pod: PodState) -> bool:
        """Count it off its controller; True when the controller wanted one less anyway."""
        if not pod.owner_uid:
            return False
        surplus = self._workloads.scaled_down(pod.owner_uid)
        left = self._workloads.owned.get(pod.owner_uid, 1) - 1
        if left:
            self._workloads.owned[pod.owner_uid] = left
        else:
            self._workloads.owned.pop(pod.owner_uid, None)
        return surplus

    def _evicted(self, pod: PodState, node: NodeState | None, reason: str, at: float) -> None:
        repeat = not pod.initial and pod.workload in self.evicted_workloads
        if pod.workload:
            self.evicted_workloads.add(pod.workload)
        data: dict[str, Any] = {"workload": pod.workload, "node": pod.node, "repeat": repeat, "api": bool(reason)}
        if node is not None:
            data["group"] = node.group.name
        if pod.budgets:
            data["pdb"] = pod.budgets[0].name
        self._emit(kinds.POD_EVICTED, pod.name, data)
        self._check_budgets(pod, at)
        self._lost_if_bare(pod)
        if node is not None:
            self._nodes.pod_left(node, at)

    def _check_budgets(self, pod: PodState, at: float) -> None:
        """A voluntary disruption of a healthy pod must leave every budget of it what it wants."""
        if not pod.ready:
            return
        for budget in pod.budgets:
            left = len(budget.healthy) - (pod.key in budget.healthy)
            if budget.desired is not None and left < budget.desired:
                data = {"pod": pod.name, "healthy": left, "desired": budget.desired, "node": pod.node}
                self._emit(kinds.PDB_VIOLATED, budget.name, data)

    def _lost_if_bare(self, pod: PodState) -> None:
        if not pod.controlled:
            self._emit(kinds.POD_LOST, pod.name, {"node": pod.node, "reason": "no controller replaces it"})

    # --- counts

    def settle(self) -> None:
        """Tell how many wait, when that changed at this instant."""
        told = {
            "pending": len(self.pending),
            "starting": len(self.starting),
            "unschedulable": sum(1 for p in self.pending.values() if p.unschedulable),
            "leaving": len(self.leaving),
        }
        if told != self._told:
            self._told = told
            self._emit(kinds.PODS_COUNTS, "pods", dict(told))


def _keep(kept: dict[PodKey, PodState], pod: PodState, wanted: bool) -> None:
    if wanted:
        kept[pod.key] = pod
    else:
        kept.pop(pod.key, None)


def _target(obj: Mapping[str, Any]) -> str:
    """The reason of a true DisruptionTarget condition, "" when there is none."""
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return str(condition.get("reason", ""))
    return ""


def _waiting(obj: Mapping[str, Any]) -> str:
    """Why a container does not run: `ImagePullBackOff: ...`."""
    status = obj.get("status") or {}
    for entry in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (entry.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason", "")
        if reason and reason not in ("ContainerCreating", "PodInitializing"):
            message = waiting.get("message", "")
            return f"{reason}: {message}" if message else str(reason)
    return ""
