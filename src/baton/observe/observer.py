"""The observer: watch events and AWS answers in, a timeline and the present view out. It never asks anything itself.

    observer = Observer(snapshot.node_groups)
    observer.feed(watch.poll(), clock.now())     -> the events that this made
    observer.view(clock.now())                   -> how things stand

The same calls give the same timeline, always. Within one call events keep their order; counts are told once an instant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from baton.model.cluster import NodeGroup
from baton.model.events import Event, WatchEvent
from baton.model.view import Blocker, GroupView, NodeView, PodsView, Usage, View
from baton.observe import events as kinds
from baton.observe.blockers import Blockers, Patience
from baton.observe.budgets import Budgets
from baton.observe.nodes import GroupState, Nodes
from baton.observe.pods import Pods
from baton.observe.totals import Totals, blocker_data
from baton.observe.workloads import Workloads

WORKLOADS = ("deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps")
BUDGETS = "poddisruptionbudgets.policy"
SCAN_SECONDS = 15.0
USAGE_SECONDS = 60.0


class Observer:
    """Implements the conductor's Observer. `groups` tell what each node group should have while nothing rolls.

    `on_event` is called with every event as it is made or noted (a journal, a printer).
    """

    def __init__(
        self,
        groups: Iterable[NodeGroup] = (),
        *,
        patience: Patience | None = None,
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.timeline: list[Event] = []
        self.totals = Totals()
        self._on_event = on_event
        self._at = 0.0
        self._began: float | None = None
        self._until: float | None = None  # when watching stopped, in a run that goes on after an interruption
        self._nodes = Nodes(self._tell)
        self._budgets = Budgets()
        self._workloads = Workloads()
        self._pods = Pods(self._tell, self._nodes, self._budgets, self._workloads)
        self._blockers = Blockers(self._nodes, self._pods, patience or Patience())
        self._blocked: dict[tuple[str, str], Blocker] = {}
        self._scanned = self._measured = float("-inf")
        self._metrics: Mapping[str, Mapping[str, float]] = {}
        self._waiting: list[NodeGroup] = list(groups)
        self._issues: set[tuple[str, str, str]] = set()

    # --- what comes in

    def resume(self, events: Iterable[Event]) -> None:
        """Take in the timeline of the part of the run before an interruption. Call before the first feed."""
        there: dict[str, Mapping[str, Any]] = {}
        for event in events:
            self.timeline.append(event)
            self.totals.add(event)
            self._until = max(self._until or event.at, event.at)
            if event.kind in (kinds.NODE_SEEN, kinds.NODE_ADDED, kinds.NODE_CHANGED):
                there[event.subject] = event.data
            elif event.kind == kinds.NODE_REMOVED:
                there.pop(event.subject, None)
        self._nodes.remember(there, self._until or 0.0)
        self._pods.evicted_workloads |= {w for w in self.totals.by_workload if "/" in w and " " in w}

    def feed(self, events: Sequence[WatchEvent], now: float) -> Sequence[Event]:
        """Take in what the watch brought since the last call; returns the events it made, in order."""
        initial, told = self._began is None, len(self.timeline)
        if initial:
            self._at = now
            for group in self._waiting:
                self._desire(group)
            self._waiting.clear()
        for event in events:
            at = event.at or now
            if at > self._at and not initial:
                self._settle()
                self._at = at
            self._take(event, initial)
        if initial:
            self._begin(now)
        self._settle()
        self._at = max(self._at, now)
        if now - self._scanned >= SCAN_SECONDS:
            self._scanned = now
            self._scan(now)
        if now - self._measured >= USAGE_SECONDS:
            self._measured = now
            self._measure()
        return self.timeline[told:]

    def note(self, event: Event) -> None:
        """An event that somebody else saw: the conductor's stages, AWS's updates."""
        self._keep(event)
        if event.kind.startswith("update."):
            self._update(event)

    def node_groups(self, groups: Iterable[NodeGroup], now: float) -> None:
        """A fresh answer about node groups: sizes (taken while they do not update) and health issues."""
        if self._began is None:  # without nodes there is nothing to compare with yet
            self._waiting.extend(groups)
            return
        self._at = max(self._at, now)
        for group in groups:
            self._desire(group)
            self._health(group, now)
        self._settle()

    def metrics(self, metrics: Mapping[str, Mapping[str, float]]) -> None:
        """What nodes really use, as metrics.k8s.io serves it."""
        self._metrics = metrics

    # --- inside

    def _tell(self, kind: str, subject: str, data: dict[str, Any]) -> None:
        self._keep(Event(self._at, kind, subject, "kube", data))

    def _keep(self, event: Event) -> None:
        self.timeline.append(event)
        self.totals.add(event)
        self._on_event(event)

    def _take(self, event: WatchEvent, initial: bool) -> None:
        obj, resource = event.object, event.resource
        if resource == "pods":
            self._pods.on_pod(event.type, obj, self._at, initial=initial)
        elif resource == "nodes":
            created = _created(obj, self._at)
            self._nodes.on_node(event.type, obj, self._at, created, initial=initial)
            if event.type != "DELETED":
                self._pods.attach(obj["metadata"]["name"], self._at)
        elif resource == BUDGETS:
            if self._budgets.on_budget(event.type, obj, self._at):
                self._pods.rematch(obj["metadata"].get("namespace", ""), self._at)
        elif resource in WORKLOADS:
            self._workloads.on_object(event.type, resource, obj)
        elif resource == "events" and not initial:
            self._warning(event.type, obj)

    def _begin(self, now: float) -> None:
        """The first look is over: what there is now is what everything is compared with."""
        self._began = now
        groups: dict[str, dict[str, Any]] = {}
        for name, group in sorted(self._nodes.groups.items()):
            if group.desired is None:
                group.desired = len(group.nodes)
            image, kubelet = _most(group)
            groups[name] = {"image": image, "kubelet": kubelet, "nodes": len(group.nodes), "desired": group.desired}
        short = {
            name: self._workloads.ready.get(name, 0)
            for name, wanted in sorted(self._workloads.wanted.items())
            if self._workloads.ready.get(name, 0) < wanted
        }
        data: dict[str, Any] = {"groups": groups, "short": short}
        if self._until is not None:
            data["unwatched"] = [self._until, now]
        self._tell(kinds.STARTED, "observation", data)
        self._nodes.reconcile()

    def _settle(self) -> None:
        self._nodes.settle()
        self._pods.settle()

    def _desire(self, given: NodeGroup) -> None:
        group = self._nodes.group(given.name, True, self._at)
        busy = group.updating or given.status == "UPDATING"
        if group.desired is None or not busy:
            group.desired = given.desired_size
        group.allowed = given.update_config.parallelism(given.desired_size)
        self._nodes.dirty.add(given.name)

    def _health(self, given: NodeGroup, now: float) -> None:
        for key in [k for k in self._blockers.kept if k[0] == "health" and k[1].startswith(f"{given.name}: ")]:
            if not any(key[1] == f"{given.name}: {i.code}" for i in given.health):
                del self._blockers.kept[key]
        for issue in given.health:
            subject = f"{given.name}: {issue.code}"
            if ("health", subject) not in self._blockers.kept:
                self._blockers.kept["health", subject] = Blocker("health", subject, issue.message, now)
            told = (given.name, issue.code, issue.message)
            if told not in self._issues:
                self._issues.add(told)
                data = {"code": issue.code, "message": issue.message, "resources": list(issue.resource_ids)}
                self._keep(Event(now, kinds.HEALTH, given.name, "aws", data))

    def _update(self, event: Event) -> None:
        kind, _, name = event.subject.partition("/")
        if kind == "node-group" and name:
            group = self._nodes.group(name, True, event.at)
            group.updating = event.kind == "update.inprogress"
            group.progress_at = event.at
        key = ("update", event.subject)
        if event.kind == "update.failed":
            reason = str(event.data.get("errors") or "EKS gives no reason")
            self._blockers.kept[key] = Blocker("update", event.subject, reason, event.at)
        else:
            self._blockers.kept.pop(key, None)

    def _warning(self, type_: str, obj: Mapping[str, Any]) -> None:
        if type_ != "ADDED" or obj.get("type") != "Warning":
            return
        about = obj.get("involvedObject") or obj.get("regarding") or {}
        where = "/".join(p for p in (about.get("namespace", ""), about.get("name", "")) if p)
        subject = f"{about.get('kind', 'object').lower()} {where}"
        message = str(obj.get("message") or obj.get("note") or "")
        self._tell(kinds.WARNING, subject, {"reason": str(obj.get("reason", "")), "message": message})

    def _scan(self, now: float) -> None:
        """Tell blockers that came and went. Those that ended between two scans and were never seen are not told."""
        found = self._blockers.scan(now)
        for key in sorted(set(self._blocked) - set(found)):
            self._tell(kinds.UNBLOCKED, self._blocked[key].subject, blocker_data(self._blocked[key]))
        for key in sorted(set(found) - set(self._blocked)):
            self._tell(kinds.BLOCKED, found[key].subject, blocker_data(found[key]))
        self._blocked = found

    def _measure(self) -> None:
        for name, group in sorted(self._nodes.groups.items()):
            usage = self._usage(group)
            if not group.nodes:
                continue
            data = {
                "cpuRequested": round(usage.cpu_requested, 3),
                "cpuAllocatable": round(usage.cpu_allocatable, 3),
                "memoryRequested": round(usage.memory_requested),
                "memoryAllocatable": round(usage.memory_allocatable),
            }
            if usage.cpu_used is not None and usage.memory_used is not None:
                data |= {"cpuUsed": round(usage.cpu_used, 3), "memoryUsed": round(usage.memory_used)}
            self._tell(kinds.USAGE, name, data)

    def _usage(self, group: GroupState) -> Usage:
        cpu = memory = can_cpu = can_memory = used_cpu = used_memory = 0.0
        measured = False
        for node in group.nodes.values():
            asked = self._pods.requested.get(node.name, (0.0, 0.0))
            cpu, memory = cpu + asked[0], memory + asked[1]
            if node.is_ready:
                can_cpu, can_memory = can_cpu + node.allocatable[0], can_memory + node.allocatable[1]
            used = self._metrics.get(node.name)
            if used is not None:
                measured = True
                used_cpu, used_memory = used_cpu + used.get("cpu", 0.0), used_memory + used.get("memory", 0.0)
        return Usage(
            cpu, can_cpu, memory, can_memory, used_cpu if measured else None, used_memory if measured else None
        )

    # --- what can be asked

    def view(self, now: float) -> View:
        """How things stand at `now`, blockers looked for afresh."""
        blockers = self._blockers.scan(now)
        totals = self.totals
        nodes = sorted(self._nodes.nodes.values(), key=lambda n: (n.group.name, n.created, n.name))
        return View(
            at=now,
            groups=tuple(self._group(g) for _, g in sorted(self._nodes.groups.items())),
            nodes=tuple(
                NodeView(
                    n.name,
                    n.group.name,
                    self._nodes.generation(n),
                    n.derive(),
                    n.since,
                    n.zone,
                    n.image,
                    n.kubelet,
                    len(n.evictable),
                )
                for n in nodes
            ),
            pods=self._pods_view(now),
            blockers=tuple(blockers[k] for k in sorted(blockers)),
            past_blockers=tuple(b for b in totals.blockers if (b.kind, b.subject) not in blockers),
            warnings=dict(sorted(totals.warnings.items())),
            evictions_by_workload=dict(sorted(totals.by_workload.items(), key=lambda i: (-i[1], i[0]))),
            unwatched=tuple(totals.unwatched),
        )

    def short(self) -> dict[str, int]:
        """Workloads that have fewer ready replicas than they want and than they had: name -> how many are missing."""
        found = {}
        for name, wanted in sorted(self._workloads.wanted.items()):
            had = min(wanted, self.totals.short.get(name, wanted))
            missing = had - self._workloads.ready.get(name, 0)
            if missing > 0:
                found[name] = missing
        return found

    def unsettled(self) -> tuple[str, ...]:
        """Workloads that have not come to rest: they have fewer ready replicas than they want, and had."""
        return tuple(f"{name}: {missing} not Ready yet" for name, missing in self.short().items())

    def _pods_view(self, now: float) -> PodsView:
        totals = self.totals
        waits = [now - p.pending_since for p in self._pods.pending.values() if p.pending_since is not None]
        lost = [*totals.lost, *(f"{name} ({missing} not back)" for name, missing in self.short().items())]
        return PodsView(
            total=len(self._pods.pods),
            pending=len(self._pods.pending),
            starting=len(self._pods.starting),
            unschedulable=sum(1 for p in self._pods.pending.values() if p.unschedulable),
            max_pending=totals.max_pending,
            max_starting=totals.max_starting,
            longest_pending=max([totals.longest_pending, *waits]),
            evictions=totals.evictions,
            repeat=totals.repeat,
            displaced=totals.displaced,
            pdb_violations=len(totals.violations),
            lost=tuple(lost),
        )

    def _group(self, group: GroupState) -> GroupView:
        counts, totals = self._nodes.counts_of(group), self.totals.group(group.name)
        image, kubelet = _most(group)
        ready = counts["ready"]
        return GroupView(
            name=group.name,
            desired=counts["desired"],
            allowed=group.allowed,
            nodes=counts["nodes"],
            ready=ready,
            schedulable=counts["schedulable"],
            old=counts["old"],
            new=counts["new"],
            cordoned=counts["cordoned"],
            draining=counts["draining"],
            min_ready=ready if totals.min_ready is None else totals.min_ready,
            min_schedulable=counts["schedulable"] if totals.min_schedulable is None else totals.min_schedulable,
            max_unavailable_observed=max(0, totals.max_unavailable),
            max_draining=totals.max_draining,
            peak_nodes=totals.peak_nodes,
            replaced=totals.replaced,
            image_before=totals.image_before,
            image_after=image,
            kubelet_before=totals.kubelet_before,
            kubelet_after=kubelet,
            usage=self._usage(group),
            managed=group.managed,
        )


def _most(group: GroupState) -> tuple[str, str]:
    """The image and kubelet that most nodes of the group have."""
    images = Counter(n.image for n in group.nodes.values())
    kubelets = Counter(n.kubelet for n in group.nodes.values())
    pick = [max(sorted(c), key=lambda k: c[k]) if c else "" for c in (images, kubelets)]
    return pick[0], pick[1]


def _created(obj: Mapping[str, Any], otherwise: float) -> float:
    try:
        return datetime.fromisoformat(str(obj["metadata"]["creationTimestamp"]).replace("Z", "+00:00")).timestamp()
    except (KeyError, ValueError):
        return otherwise


__all__ = ["Observer", "Patience"]
