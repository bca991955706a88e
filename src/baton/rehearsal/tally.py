"""Counts what happens to a twin while it is conducted: nodes, evictions, what waits and what blocks.

It listens to the twin's own records instead of a watch, so that counting costs little beside the rolling itself; the
figures are defined as the observe room defines them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from baton.model.events import Event
from baton.rehearsal.unblock import NEVER, SEVERAL, SINGLE, BudgetFacts, cause_of
from baton.twin.controllers.base import ADDED, BOUND, READY, REMOVED, TERMINATING, Group, Pod
from baton.twin.controllers.disruption import Budget
from baton.twin.kube import KubeTwin
from baton.twin.twin import Twin

GROUP_LABEL = "eks.amazonaws.com/nodegroup"
_RESOURCES = {
    "ReplicaSet": "replicasets.apps",
    "StatefulSet": "statefulsets.apps",
    "Job": "jobs.batch",
    "DaemonSet": "daemonsets.apps",
}


@dataclass
class GroupTally:
    """One node group. `surge_seconds` is the integral of nodes beyond the desired number."""

    desired: int
    nodes: int = 0
    ready: int = 0
    min_ready: int = 0
    peak: int = 0
    replaced: int = 0
    surge_seconds: float = 0.0
    outcome: str = "unchanged"
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Blocked:
    """An eviction that was refused; `since` seconds into the rehearsal, `seconds` until the pod left (or the end).

    `cause` is a code of rehearsal.unblock, `advice` what would let it through.
    """

    pod: str
    workload: str
    node: str
    pdb: str
    since: float
    seconds: float
    cleared: bool
    cause: str = ""
    advice: str = ""


@dataclass
class _Wait:
    workload: str
    node: str
    pdb: str
    since: float
    budgets: tuple[BudgetFacts, ...]


class _Owner:
    """A controller's pods as counted so far: fewest ready, and replicas missing `since` when."""

    __slots__ = ("counts", "first", "lowest", "missing", "pends", "since", "wanted")

    def __init__(self, kind: str) -> None:
        self.counts = kind != "Job"
        self.pends = kind != "DaemonSet"
        self.lowest = 1 << 62
        self.missing = 0
        self.since = 0.0
        self.wanted = 1
        self.first = -1  # its place among those that ever missed a replica


@dataclass
class Tally:
    """Attach before conducting, `finish` after. Times are cluster time."""

    twin: Twin
    cluster: str
    groups: dict[str, GroupTally] = field(default_factory=dict)
    evictions: int = 0
    repeat: int = 0
    forced: int = 0
    blocked: list[Blocked] = field(default_factory=list)
    max_pending: int = 0
    longest_pending: float = 0.0
    lowest: dict[str, tuple[int, int]] = field(default_factory=dict)  # workload -> (lowest ready, wanted)
    by_workload: dict[str, int] = field(default_factory=dict)
    placements: int = 0
    lost: list[str] = field(default_factory=list)  # pods that nobody makes again
    waited: int = 0  # pods that were Pending for a second or longer
    away: int = 0  # replicas of workloads that are missing now
    max_away: int = 0
    depth: float = 0.0  # see `disruption`
    stuck: list[tuple[str, str, str]] = field(default_factory=list)  # (namespace, budget, code of rehearsal.unblock)
    singles: list[str] = field(default_factory=list)  # workloads whose only replica such a budget protects
    tracks: dict[str, list[tuple[float, int]]] | None = None  # what to draw: (time, value), filled when a dict is given

    def attach(self) -> None:
        """Begin to count."""
        kube = self.twin.kube(self.cluster)
        self._kube: KubeTwin = kube
        self._start = self.twin.clock.now()
        self._fresh: set[tuple[str, str]] = set()
        self._pending: dict[tuple[str, str], float] = {}
        self._waiting: dict[tuple[str, str], _Wait] = {}
        self._workloads: dict[str, str] = {}
        self._node_groups: dict[str, str] = {}
        self._ready_nodes: set[str] = set()
        self._owners: dict[Group, _Owner] = {}
        self._missing: dict[Group, _Owner] = {}  # those that ever missed a replica
        self._bulk: Any = None  # pods kept as rows of arrays, see twin/bulk
        for group in self.twin.cloud.core.cluster(self.cluster).node_groups.values():
            scaling = group.api["scalingConfig"]
            self.groups[group.api["nodegroupName"]] = GroupTally(scaling["desiredSize"], since=self._start)
        for node in kube.world.items("nodes"):
            self._node_in(node)
        for tally in self.groups.values():
            tally.min_ready, tally.peak = tally.ready, tally.nodes
        kube.world.subscribe(self._on_node, ["nodes"])
        kube.pods.listen(self._on_added, ADDED)
        kube.pods.listen(self._on_bound, BOUND)
        kube.pods.listen(self._on_count, READY | TERMINATING | REMOVED)
        self.twin.cloud.on_event(self._on_event, ("pod.evicted", "pod.blocked"))
        self.twin.clock.call_later(1.0, self._survey)  # once the controllers have counted
        for pod in kube.pods.alike():
            if not pod.node and not pod.finished:
                self._pending[pod.key] = self._start
        self.max_pending = len(self._pending)
        if self.tracks is not None:
            self.tracks.clear()  # what was there before is no change

    # nodes

    def _node_in(self, node: Mapping[str, Any]) -> None:
        name = node["metadata"]["name"]
        group = (node["metadata"].get("labels") or {}).get(GROUP_LABEL, "")
        tally = self.groups.get(group)
        if tally is None:
            return
        if name not in self._node_groups:
            self._node_groups[name] = group
            self._integrate(tally)
            tally.nodes += 1
            tally.peak = max(tally.peak, tally.nodes)
        ready = _ready(node)
        if ready and name not in self._ready_nodes:
            self._ready_nodes.add(name)
            tally.ready += 1
            self._track(f"ready/{group}", tally.ready)
        elif not ready and name in self._ready_nodes:
            self._unready(name, tally)

    def _unready(self, name: str, tally: GroupTally) -> None:
        self._ready_nodes.discard(name)
        tally.ready -= 1
        tally.min_ready = min(tally.min_ready, tally.ready)
        if self.tracks is not None:
            group = self._node_groups.get(name) or next(g for g, t in self.groups.items() if t is tally)
            self._track(f"ready/{group}", tally.ready)

    def _track(self, name: str, value: int) -> None:
        if self.tracks is not None:
            self.tracks.setdefault(name, []).append((self.twin.clock.now(), value))

    def _integrate(self, tally: GroupTally) -> None:
        now = self.twin.clock.now()
        tally.surge_seconds += max(0, tally.nodes - tally.desired) * (now - tally.since)
        tally.since = now

    def _on_node(self, kind: str, resource: str, node: dict[str, Any], old: dict[str, Any] | None) -> None:
        if kind != "DELETED":
            if old is not None and old.get("status") is node.get("status"):
                return
            self._node_in(node)
            return
        name = node["metadata"]["name"]
        tally = self.groups.get(self._node_groups.pop(name, ""))
        if tally is None:
            return
        self._integrate(tally)
        tally.nodes -= 1
        if name in self._ready_nodes:
            self._unready(name, tally)

    # pods

    def workload_of(self, pod: Pod) -> str:
        """`Deployment shop/web`: the controller's controller where there is one."""
        if pod.owner is None:
            return f"Pod {pod.namespace}/{pod.name}"
        return self._workload(pod.owner)

    def _workload(self, group: Group) -> str:
        name = self._workloads.get(group.uid)
        if name is None:
            kind, top = group.kind, group.name
            if kind == "ReplicaSet":
                owned = self._kube.world.get("replicasets.apps", group.namespace, group.name)
                for ref in (owned or {}).get("metadata", {}).get("ownerReferences") or ():
                    if ref.get("controller"):
                        kind, top = ref["kind"], ref["name"]
            name = self._workloads[group.uid] = f"{kind} {group.namespace}/{top}"
        return name

    def _on_added(self, pod: Pod, bits: int) -> None:
        self._fresh.add(pod.key)
        if not pod.node:
            self._pending[pod.key] = self.twin.clock.now()
            pending = len(self._pending)
            if self._bulk is not None:
                pending += self._bulk.pending
            if pending > self.max_pending:
                self.max_pending = pending

    def _on_bound(self, pod: Pod, bits: int) -> None:
        self.placements += 1
        self._placed(pod)

    def _on_count(self, pod: Pod, bits: int) -> None:
        if bits & (REMOVED | TERMINATING):
            self._leaving(pod, bits)
        group = pod.owner
        if group is None or group.desired <= 0:
            return
        owner = self._owners.get(group)
        if owner is None:
            owner = self._owners[group] = _Owner(group.kind)
        if not owner.counts:
            return
        ready, wanted = group.ready, group.desired
        if ready < owner.lowest:
            owner.lowest = ready
            self._lowest(ready, wanted, pod)
        missing = wanted - ready if ready < wanted else 0
        if missing != owner.missing and owner.pends:
            self._shortage(group, owner, wanted, missing)

    def _shortage(self, group: Group, owner: _Owner, wanted: int, missing: int) -> None:
        now = self.twin.clock.now()
        self.depth += owner.missing * owner.missing / wanted * (now - owner.since)
        if owner.first < 0:
            owner.first = len(self._missing) if self._bulk is None else self._bulk.next_missed()
            self._missing[group] = owner
        self.away += missing - owner.missing
        owner.missing, owner.since, owner.wanted = missing, now, wanted
        self.max_away = max(self.max_away, self.away)
        self._track("away", self.away)

    @property
    def disruption(self) -> float:
        """Replica-minutes missed, each weighted by the part of its workload that was away at the same time.

        Half of a workload away for a minute counts half as often as its replicas; the same pods one after the other
        count far less. The sum of missing^2 / wanted over workloads and time.
        """
        return self.depth / 60

    def _placed(self, pod: Pod) -> None:
        since = self._pending.pop(pod.key, None)
        if since is not None:
            waited = self.twin.clock.now() - since
            if waited >= 1.0:
                self.waited += 1
            if waited > self.longest_pending:
                self.longest_pending = waited

    def _lowest(self, ready: int, wanted: int, pod: Pod) -> None:
        name = self.workload_of(pod)
        before = self.lowest.get(name)
        if before is None or ready < before[0]:
            self.lowest[name] = (ready, wanted)

    def _leaving(self, pod: Pod, bits: int) -> None:
        if bits & REMOVED:
            self._pending.pop(pod.key, None)
            self._fresh.discard(pod.key)
        wait = self._waiting.pop(pod.key, None) if self._waiting else None
        if wait is not None:
            self.blocked.append(self._ended(pod.key, wait, cleared=True))

    def _ended(self, key: tuple[str, str], wait: _Wait, *, cleared: bool) -> Blocked:
        seconds = self.twin.clock.now() - wait.since
        pending = "" if cleared else self._pending_of(wait.workload)
        cause = cause_of(wait.budgets, pending=pending, cleared=cleared)
        return Blocked(
            "/".join(key),
            wait.workload,
            wait.node,
            wait.pdb or ", ".join(b.name for b in wait.budgets),
            round(wait.since - self._start, 3),
            round(seconds, 3),
            cleared,
            cause.code,
            cause.advice,
        )

    def _pending_of(self, workload: str) -> str:
        """Why a pod of the workload found no node, "" when none waits."""
        for namespace, name, _, why in self._kube.unschedulable():
            pod = self._kube.pods.at((namespace, name))
            if pod is not None and self.workload_of(pod) == workload:
                return why
        return ""

    # what the cloud tells

    def _on_event(self, event: Event) -> None:
        if event.kind == "pod.evicted":
            self._evicted(event)
        else:
            _, namespace, name = event.subject.split("/", 2)
            pod = self._kube.pods.at((namespace, name))
            if pod is not None and pod.key not in self._waiting:
                workload, budgets = self.workload_of(pod), tuple(map(_facts, pod.budgets))
                self._waiting[pod.key] = _Wait(workload, event.data["node"], event.data["pdb"], event.at, budgets)

    def _survey(self) -> None:
        """Budgets that can never let a pod go, looked for before anything moves."""
        several: set[tuple[str, str]] = set()
        for pod in self._kube.pods.alike():
            if len(pod.budgets) > 1:
                several.update(b.key for b in sorted(pod.budgets, key=lambda b: b.name)[1:])
        for key, budget in sorted(self._kube.disruption.budgets.items()):
            if key in several:
                self.stuck.append((*key, SEVERAL))
            elif budget.alike and 0 < budget.expected <= budget.desired:
                single = budget.expected == 1
                self.stuck.append((*key, SINGLE if single else NEVER))
                if single:
                    self.singles.append(self.workload_of(next(iter(budget.alike.values()))))

    def _evicted(self, event: Event) -> None:
        self.evictions += 1
        if event.data.get("forced"):
            self.forced += 1
        _, namespace, name = event.subject.split("/", 2)
        key = (namespace, name)
        pod = self._kube.pods.by_key.get(key)
        if pod is not None:
            workload = self.workload_of(pod)
            self.by_workload[workload] = self.by_workload.get(workload, 0) + 1
            if self._orphan(pod):
                self.lost.append("/".join(key))
        if key in self._fresh:
            self.repeat += 1

    def _orphan(self, pod: Pod) -> bool:
        """Nobody makes the pod again: it has no controller, or one that is gone."""
        if pod.owner is None:
            return True
        resource = _RESOURCES.get(pod.owner.kind)
        return resource is not None and self._kube.world.get(resource, pod.namespace, pod.owner.name) is None

    def finish(self, replaced: Mapping[str, int], outcomes: Mapping[str, str]) -> None:
        """Close what is open. `replaced` nodes and the `outcomes` per node group come from who conducted."""
        for key, wait in sorted(self._waiting.items()):
            self.blocked.append(self._ended(key, wait, cleared=False))
        now = self.twin.clock.now()
        pending = list(self._pending.values())
        missing = list(self._missing.values())
        if self._bulk is not None:
            pending += self._bulk.pending_since()
            missing += self._add_bulk()
            missing.sort(key=lambda owner: owner.first)
        for since in pending:
            self.longest_pending = max(self.longest_pending, now - since)
            self.waited += now - since >= 1.0
        for owner in missing:
            self.depth += owner.missing * owner.missing / owner.wanted * (now - owner.since)
        for name, tally in self.groups.items():
            self._integrate(tally)
            tally.replaced = replaced.get(name, 0)
            tally.outcome = outcomes.get(name, "unchanged")

    # pods that are counted in bulk (twin.bulk.Counts)

    @property
    def pending(self) -> int:
        """Pods that wait for a node, those in bulk left out."""
        return len(self._pending)

    @property
    def fresh(self) -> set[tuple[str, str]]:
        """Pods made since counting began."""
        return self._fresh

    def track(self, name: str, at: float, value: int) -> None:
        """A value to draw."""
        if self.tracks is not None:
            self.tracks.setdefault(name, []).append((at, value))

    def left(self, pod: Pod) -> None:
        """A pod whose eviction was refused is leaving after all."""
        self._leaving(pod, TERMINATING)

    def take_owners(self, bulk: Any, groups: Sequence[Group]) -> list[tuple[Group, _Owner]]:
        """What was counted of these groups; from now on `bulk` does."""
        self._bulk = bulk
        self._missed = len(self._missing)
        taken = [(g, self._owners.pop(g)) for g in groups if g in self._owners]
        for group, _ in taken:
            self._missing.pop(group, None)
        return taken

    @property
    def missed(self) -> int:
        """How many groups had missed a replica when `bulk` began."""
        return self._missed

    def _add_bulk(self) -> list[_Owner]:
        """Add what was counted in bulk; what its groups miss."""
        counts = self._bulk.totals()
        self.placements += counts.placements
        self.evictions += counts.evictions
        self.repeat += counts.repeated
        self.forced += counts.forced
        self.waited += counts.waited
        self.longest_pending = max(self.longest_pending, counts.longest)
        owners = []
        for row in counts.groups:
            name = self._workload(row.group)
            if row.evicted:
                self.by_workload[name] = self.by_workload.get(name, 0) + row.evicted
            if row.lowest is not None:
                before = self.lowest.get(name)
                if before is None or row.lowest < before[0]:
                    self.lowest[name] = (row.lowest, row.wanted)
            if row.first >= 0:
                owner = _Owner(row.group.kind)
                owner.first, owner.missing, owner.since, owner.wanted = row.first, row.missing, row.since, row.wanted
                owners.append(owner)
        return owners


def _facts(budget: Budget) -> BudgetFacts:
    return BudgetFacts(budget.name, budget.spec, budget.expected, budget.desired, budget.healthy, budget.denied[0])


def _ready(node: Mapping[str, Any]) -> bool:
    for condition in (node.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Ready" and condition.get("status") == "True":
            return True
    return False
