"""The scheduling loop: a queue by priority and time, backoff, wake-ups by events, binding, preemption.

Which node is chosen is decided by baton.logic.scheduling; this is the queue around it (pkg/scheduler/backend/queue).
A pod is tried again only after something happened that could help it; backoff grows from 1 s to 10 s.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Any

from baton.logic.scheduling import RESOURCES, ClusterState, Decision, Scheduler
from baton.logic.scheduling.infos import PodInfo
from baton.logic.scheduling.preemption import NO_CANDIDATE
from baton.logic.scheduling.state import BUDGETS
from baton.twin.bulk.pods import BulkPod
from baton.twin.controllers.base import (
    ADDED,
    BOUND,
    FINISHED,
    LABELS,
    REMOVED,
    SCHEDULER,
    TERMINATING,
    Cluster,
    Controller,
    Key,
    Obj,
    Pod,
)
from baton.twin.controllers.lean import LeanPod, Several
from baton.twin.controllers.pods import PodMaker
from baton.twin.controllers.templates import conditions_with
from baton.twin.timefmt import rfc3339

BACKOFF_FIRST, BACKOFF_MOST = 1.0, 10.0
TERMINATING_THERE = "not eligible due to a terminating pod on the nominated node."
FLUSH = 300.0  # an unschedulable pod is tried again at the latest after this long
_SOURCE = "default-scheduler"
ACTIVE, BACKOFF, PARKED = "active", "backoff", "parked"
_FAR_REACHING = ("affinity", "topology spread", "volume")  # reasons that a change elsewhere may lift


class Waiter:
    """A pod that waits for a node."""

    __slots__ = (
        "attempts",
        "far",
        "nominated",
        "pod",
        "priority",
        "queued",
        "reasons",
        "retry_at",
        "since",
        "state",
        "told",
    )

    def __init__(self, pod: Pod, now: float) -> None:
        self.pod = pod
        self.priority: int = pod.spec.get("priority") or 0
        self.since = now
        self.queued = now
        self.attempts = 0
        self.retry_at = now
        self.state = ACTIVE
        self.reasons: tuple[str, ...] = ()
        self.nominated = ""  # the node that preemption is making room on
        self.far = True
        self.told = ""


class SchedulingLoop(Controller):
    """Feeds the scheduler's view of the cluster and places waiting pods."""

    def __init__(
        self, cluster: Cluster, maker: PodMaker, state: ClusterState, refresh_budgets: Callable[[], None]
    ) -> None:
        super().__init__(cluster)
        self.maker = maker
        self.state = state
        self.scheduler = Scheduler(self.state, sample=True)
        self._refresh_budgets = refresh_budgets
        self._priorities: dict[int, int] = defaultdict(int)  # of the pods on nodes: preemption needs a lower one
        self._rng = cluster.rng("scheduler")
        self._heap: list[tuple[int, float, int, Waiter]] = []
        self._serial = 0
        self._armed = False
        self._parked: dict[tuple[str, str], Waiter] = {}
        self._nominees: dict[tuple[str, str], Waiter] = {}
        self._victims: dict[str, list[Pod]] = {}  # node -> pods preempted there that may still be leaving
        self._flush_armed = False
        self.placements = 0
        self.attempts = 0

    def start(self) -> None:
        for node in self.world.items("nodes"):
            self.state.add_node(node)
        for resource in RESOURCES:
            for obj in self.world.items(resource):
                self.state.set_object(resource, obj)
        self.world.subscribe(self._on_node, resources=["nodes"])
        self.world.subscribe(self._on_other, resources=RESOURCES)

    # --- what changed

    def listen(self) -> None:
        """Hear of pods; what is told here is told in this order."""
        listen = self.cluster.pods.listen
        listen(self._on_gone, REMOVED)
        listen(self._on_here, ADDED | BOUND, together=self._on_all_here)
        listen(self._on_change, FINISHED | LABELS | TERMINATING)

    def _on_gone(self, pod: Pod, bits: int) -> None:
        if pod.node:
            if not pod.finished:
                self._leave(pod)
            self.wake_after_leave(pod.node)
        elif pod.scheduling is not None:
            self._give_up(pod)

    def _give_up(self, pod: Pod) -> None:
        """A pod that waits is to go."""
        self._parked.pop(pod.key, None)
        self._nominate(pod.scheduling, "")

    def _on_here(self, pod: Pod, bits: int) -> None:
        if pod.node:
            if not pod.finished:
                if isinstance(pod, LeanPod):
                    self.state.enter(pod.key, self.cluster.lean.info(pod), pod.node)
                else:
                    self.state.add_pod(pod.obj)
                self._priorities[pod.spec.get("priority") or 0] += 1
                self.wake_far()
        elif not pod.terminating:
            self._queue(pod)

    def _on_all_here(self, pods: Sequence[Pod], keys: Collection[Key], nodes: Sequence[str]) -> None:
        """Pods of one template run on nodes."""
        one = pods[0]
        if isinstance(one, Several):
            self.state.enter_as(keys, self.cluster.lean.info(one), nodes)
        else:
            self.state.enter_all(keys, self.cluster.lean.infos(pods), nodes)
        self._priorities[pods[0].spec.get("priority") or 0] += len(pods)
        self.wake_far()

    def _on_change(self, pod: Pod, bits: int) -> None:
        if bits & (ADDED | BOUND | REMOVED):
            return  # told above
        if bits & FINISHED and pod.node:
            self._leave(pod)
            self.wake_after_leave(pod.node)
        elif bits & LABELS and pod.node and not pod.finished:
            self.state.add_pod(pod.obj)
        elif bits & TERMINATING and pod.node:
            self.state.mark_leaving(pod.key)
        elif bits & TERMINATING and pod.scheduling is not None:
            self._give_up(pod)

    def _leave(self, pod: Pod) -> None:
        self.state.remove_pod(pod.key)
        priority = pod.spec.get("priority") or 0
        left = self._priorities[priority] - 1
        if left:
            self._priorities[priority] = left
        else:
            del self._priorities[priority]

    def _queue(self, pod: Pod) -> None:
        spec = pod.spec
        if spec.get("schedulerName", "default-scheduler") != "default-scheduler" or spec.get("schedulingGates"):
            return
        waiter = pod.scheduling
        if waiter is None:
            waiter = pod.scheduling = Waiter(pod, self.clock.now())
        self._activate(waiter)

    def _activate(self, waiter: Waiter) -> None:
        waiter.state = ACTIVE
        self._serial += 1
        bulk = self.cluster.bulk
        if bulk is not None:
            if isinstance(waiter.pod, BulkPod):
                bulk.wait(waiter, self._serial)
                return
            heapq.heappush(self._heap, (-waiter.priority, waiter.queued, self._serial, waiter))
            bulk.front_of_waiting()
            bulk.arm_scheduler()
            return
        heapq.heappush(self._heap, (-waiter.priority, waiter.queued, self._serial, waiter))
        if not self._armed:
            self._armed = True
            self.clock.post(0.0, self._run, SCHEDULER)

    def _on_node(self, type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        if type_ == "DELETED":
            if self.cluster.bulk is not None:
                self.cluster.bulk.node_gone(obj["metadata"]["name"])
            self.state.remove_node(obj)
            self.wake_far()
            return
        if type_ == "MODIFIED" and old is not None and not _matters(obj, old):
            return
        self.state.update_node(obj)
        if self._parked:
            self._wake(lambda w: True)

    def _on_other(self, type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        if type_ == "MODIFIED" and old is not None and resource != BUDGETS:  # of budgets the status counts
            same_labels = obj["metadata"].get("labels") == old["metadata"].get("labels")
            if same_labels and obj.get("spec") is old.get("spec"):
                return
        if type_ == "DELETED":
            meta = obj["metadata"]
            self.state.remove_object(resource, meta.get("namespace") or "", meta["name"])
        else:
            self.state.set_object(resource, obj)
        if self._parked and (resource.startswith("persistent") or "storage" in resource):
            self._wake(lambda w: w.far)

    # --- waking

    def wake_far(self) -> None:
        """Something changed that may help pods that wait for others elsewhere."""
        if self._parked:
            self._wake(lambda w: w.far)

    def wake_after_leave(self, name: str) -> None:
        """A pod left its node: room there helps those that lacked room, if the node takes pods at all."""
        if not self._parked:
            return
        node = self.world.get("nodes", None, name)
        closed = node is None or node["spec"].get("unschedulable")
        self._wake(lambda w: w.far or not closed)

    def _wake(self, which: Any) -> None:
        now = self.clock.now()
        for waiter in [w for w in self._parked.values() if which(w)]:
            del self._parked[waiter.pod.key]
            if waiter.retry_at <= now:
                self._activate(waiter)
            else:
                waiter.state = BACKOFF
                self.clock.call_at(waiter.retry_at, lambda w=waiter: self._unback(w))  # type: ignore[misc]

    def _unback(self, waiter: Waiter) -> None:
        if waiter.state == BACKOFF and not waiter.pod.gone and not waiter.pod.terminating:
            self._activate(waiter)

    def _flush(self) -> None:
        now = self.clock.now()
        self._wake(lambda w: w.retry_at + FLUSH <= now + BACKOFF_MOST)
        self._flush_armed = bool(self._parked)
        if self._flush_armed:
            self.clock.call_later(30.0, self._flush)

    # --- scheduling

    def _run(self) -> None:
        if self.cluster.bulk is not None:
            self.cluster.bulk.run_scheduler()
            return
        while self._heap:
            self.attempt(self.pop())
        self._armed = False

    def pop(self) -> Waiter:
        """The one whose turn it is."""
        return heapq.heappop(self._heap)[3]

    def attempt(self, waiter: Waiter) -> None:
        """Try to find a node for a pod."""
        pod = waiter.pod
        if pod.gone or pod.terminating or pod.node or waiter.state != ACTIVE:
            if pod.gone or pod.terminating:
                self._nominate(waiter, "")
            return
        self.attempts += 1
        keeper = self._keeper(pod)
        if keeper is not None:
            info: PodInfo = keeper.info(pod)
            outcome = self.scheduler.fast.place_as(info.cls, info.pin, info, waiter.nominated, self._rng.random())
            if outcome.slot >= 0:
                self.placements += 1
                self._nominate(waiter, "")
                pod.scheduling = None
                keeper.bind(pod, self.state.node(outcome.slot).name)
                return
            decision = self.scheduler.decided(outcome)
        else:
            decision = self.scheduler.schedule(pod.obj, self._rng)
        if decision.node is not None:
            self._bind(waiter, decision.node)
        else:
            self._park(waiter, decision)

    def _bind(self, waiter: Waiter, node: str) -> None:
        pod = waiter.pod
        obj = pod.obj
        now = rfc3339(self.clock.now())
        status: Obj = obj["status"]
        conditions = conditions_with(
            [c for c in status.get("conditions") or () if c.get("type") != "PodScheduled"],
            {"type": "PodScheduled", "status": "True"},
            now,
        )
        status = {**status, "conditions": conditions}
        status.pop("nominatedNodeName", None)
        self.placements += 1
        self._nominate(waiter, "")
        pod.scheduling = None
        self.world.update("pods", {**obj, "spec": {**obj["spec"], "nodeName": node}, "status": status})
        self.cluster.record(
            obj, "Normal", "Scheduled", f"Successfully assigned {pod.namespace}/{pod.name} to {node}", _SOURCE
        )

    def _park(self, waiter: Waiter, decision: Decision) -> None:
        pod, now = waiter.pod, self.clock.now()
        waiter.attempts += 1
        waiter.retry_at = now + min(BACKOFF_MOST, BACKOFF_FIRST * 2.0 ** min(waiter.attempts - 1, 10))
        reasons = decision.prefilter[1] if decision.prefilter is not None else tuple(decision.reasons)
        waiter.reasons = reasons
        waiter.far = not reasons or any(word in reason for reason in reasons for word in _FAR_REACHING)
        nodes = len(self.state.nodes)
        message = decision.message(nodes)
        if not nodes or not (self.settings.detail or self._has_less(waiter.priority)):
            self._nominate(waiter, "")
        elif self._room_is_coming(waiter):
            message += f" preemption: {TERMINATING_THERE}"
        else:
            self._nominate(waiter, "")
            message += self._preempt(waiter, nodes)
        waiter.state = PARKED
        self._parked[pod.key] = waiter
        if not self._flush_armed:
            self._flush_armed = True
            self.clock.call_later(FLUSH, self._flush)
        self._tell(waiter, message)

    def _has_less(self, priority: int) -> bool:
        """Whether a pod of lower priority is on a node."""
        if any(p < priority for p in self._priorities):
            return True
        return self.cluster.bulk is not None and self.cluster.bulk.lowest_priority() < priority

    def _room_is_coming(self, waiter: Waiter) -> bool:
        """Whether pods of lower priority, preempted before, are still leaving the node that the pod is to have: then
        it takes no others (defaultpreemption's PodEligibleToPreemptOthers)."""
        there = [v for v in self._victims.get(waiter.nominated, ()) if not v.gone]
        if there:
            self._victims[waiter.nominated] = there
        else:
            self._victims.pop(waiter.nominated, None)
        return any((v.spec.get("priority") or 0) < waiter.priority for v in there)

    def _preempt(self, waiter: Waiter, nodes: int) -> str:
        """Delete the victims; the pod keeps the node as its nomination and waits for them to leave.

        Returns what FailedScheduling says of it, with a leading space."""
        self._refresh_budgets()
        found = self.scheduler.preempt(waiter.pod.obj, self._rng)
        if found is None:
            return ""
        choice = found.choose(self._rng)
        if choice is None:
            if found.note and found.note != NO_CANDIDATE:
                return f" preemption: {found.note}"
            counts = Counter(found.rejected.values())
            if nodes > len(found.rejected):
                counts["Preemption is not helpful for scheduling"] += nodes - len(found.rejected)
            words = ", ".join(sorted(f"{n} {reason}" for reason, n in counts.items()))
            return f" preemption: 0/{nodes} nodes are available: {words}."
        node, victims = choice
        for key in victims.keys:
            victim = self.cluster.pods.at(key)
            if victim is None or victim.terminating:
                continue
            message = f"Preempted by pod {waiter.pod.uid} on node {node}"
            self.cluster.record(victim.obj, "Normal", "Preempted", message, _SOURCE)
            self.maker.delete(victim)
            self._victims.setdefault(node, []).append(victim)
        for other in [w for w in self._nominees.values() if w.nominated == node and w.priority < waiter.priority]:
            self._nominate(other, "")
        self._nominate(waiter, node)
        waiter.far = True
        return ""

    def _nominate(self, waiter: Waiter, node: str) -> None:
        """Keep room for the pod on a node, "" on none."""
        if waiter.nominated == node:
            return
        key = waiter.pod.key
        if waiter.nominated:
            self.state.withdraw(key)
            del self._nominees[key]
        waiter.nominated = node
        if node:
            self._nominees[key] = waiter
            keeper = self._keeper(waiter.pod)
            info = self.state.info_of(waiter.pod.obj) if keeper is None else keeper.info(waiter.pod)
            self.state.nominate(key, info, node)
        if self.cluster.bulk is not None:
            self.cluster.bulk.keep_room(bool(self._nominees))

    def _keeper(self, pod: Pod) -> Any:
        """Who keeps the pod, None where it is an object."""
        if isinstance(pod, LeanPod):
            return self.cluster.lean
        return self.cluster.bulk if isinstance(pod, BulkPod) else None

    def _tell(self, waiter: Waiter, message: str) -> None:
        pod = waiter.pod
        if isinstance(pod, LeanPod | BulkPod):
            waiter.told = message
            return
        if pod.gone:
            return
        self.cluster.record(pod.obj, "Warning", "FailedScheduling", message, _SOURCE)
        if message == waiter.told or (waiter.told and not self.settings.detail and not waiter.nominated):
            waiter.told = message
            return
        waiter.told = message
        status: Obj = pod.obj["status"]
        conditions = conditions_with(
            status.get("conditions"),
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message},
            rfc3339(self.clock.now()),
        )
        status = {**status, "conditions": conditions}
        if waiter.nominated:
            status["nominatedNodeName"] = waiter.nominated
        self.world.update("pods", {**pod.obj, "status": status})

    def unschedulable(self) -> list[tuple[str, str, float, str]]:
        """(namespace, name, waiting since, message) of the pods that were tried and found no node."""
        found = [w for w in self._waiting() if w.attempts]
        if self.cluster.bulk is not None:
            found = self.cluster.bulk.among(found)
        return [(w.pod.namespace, w.pod.name, w.since, w.told) for w in found]

    def _waiting(self) -> list[Waiter]:
        pods = self.cluster.pods.alike()
        return [p.scheduling for p in pods if p.scheduling is not None and not p.node and not p.gone]


def _matters(obj: Obj, old: Obj) -> bool:
    """Whether the change of a node can change where pods fit."""
    if obj["spec"] is not old["spec"] and obj["spec"] != old["spec"]:
        return True
    if obj["metadata"].get("labels") != old["metadata"].get("labels"):
        return True
    now, then = obj.get("status") or {}, old.get("status") or {}
    return now is not then and any(now.get(f) != then.get(f) for f in ("allocatable", "images"))
