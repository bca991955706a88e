"""The scheduling loop: a queue by priority and time, backoff, wake-ups by events, binding, preemption.

Which node is chosen is decided by baton.logic.scheduling; this is the queue around it (pkg/scheduler/backend/queue).
A pod is tried again only after something happened that could help it; backoff grows from 1 s to 10 s.
"""

from __future__ import annotations

import heapq
from collections import Counter
from typing import Any, Protocol

from baton.twin.controllers.base import (
    ADDED,
    BOUND,
    LABELS,
    PHASE,
    REMOVED,
    SCHEDULER,
    TERMINATING,
    Cluster,
    Controller,
    Obj,
    Pod,
)
from baton.twin.controllers.pods import PodMaker
from baton.twin.controllers.templates import conditions_with
from baton.twin.timefmt import rfc3339

BACKOFF_FIRST, BACKOFF_MOST = 1.0, 10.0
FLUSH = 300.0  # an unschedulable pod is tried again at the latest after this long
_SOURCE = "default-scheduler"
ACTIVE, BACKOFF, PARKED = "active", "backoff", "parked"
_FAR_REACHING = ("affinity", "topology spread", "volume")  # reasons that a change elsewhere may lift


class Waiter:
    """A pod that waits for a node."""

    __slots__ = ("attempts", "far", "pod", "priority", "queued", "reasons", "retry_at", "since", "state", "told")

    def __init__(self, pod: Pod, now: float) -> None:
        self.pod = pod
        self.priority: int = pod.obj["spec"].get("priority") or 0
        self.since = now
        self.queued = now
        self.attempts = 0
        self.retry_at = now
        self.state = ACTIVE
        self.reasons: tuple[str, ...] = ()
        self.far = True
        self.told = ""


class Decision(Protocol):
    """What the scheduler says of one pod; `reasons` counts upstream-worded reasons over the nodes."""

    @property
    def node(self) -> str | None: ...


class SchedulingLoop(Controller):
    """Feeds the scheduler's view of the cluster and places waiting pods."""

    def __init__(self, cluster: Cluster, maker: PodMaker, engine: Any) -> None:
        super().__init__(cluster)
        self.maker = maker
        self.engine = engine
        self._rng = cluster.rng("scheduler")
        self._heap: list[tuple[int, float, int, Waiter]] = []
        self._serial = 0
        self._armed = False
        self._parked: dict[tuple[str, str], Waiter] = {}
        self._flush_armed = False
        self.placements = 0
        self.attempts = 0

    def start(self) -> None:
        self.engine.start(self.world)
        self.world.subscribe(self._on_node, resources=["nodes"])
        self.world.subscribe(self._on_other, resources=list(self.engine.resources))

    # --- what changed

    def on_pod(self, pod: Pod, bits: int) -> None:
        if bits & REMOVED:
            if pod.node:
                if not pod.finished:
                    self.engine.remove_pod(pod.obj)
                self.wake_after_leave(pod)
            elif pod.scheduling is not None:
                self._parked.pop(pod.key, None)
            return
        if bits & (ADDED | BOUND):
            if pod.node:
                if not pod.finished:
                    self.engine.add_pod(pod.obj)
                    if self._parked:
                        self._wake(lambda w: w.far)
            elif not pod.terminating:
                self._queue(pod)
            return
        if bits & PHASE and pod.finished and pod.node:
            self.engine.remove_pod(pod.obj)
            self.wake_after_leave(pod)
        elif bits & LABELS and pod.node:
            self.engine.remove_pod(pod.obj)
            self.engine.add_pod(pod.obj)
        elif bits & TERMINATING and pod.scheduling is not None and not pod.node:
            self._parked.pop(pod.key, None)

    def _queue(self, pod: Pod) -> None:
        spec = pod.obj["spec"]
        if spec.get("schedulerName", "default-scheduler") != "default-scheduler":
            return
        if spec.get("schedulingGates"):
            return
        waiter = pod.scheduling
        if waiter is None:
            waiter = pod.scheduling = Waiter(pod, self.clock.now())
        self._activate(waiter)

    def _activate(self, waiter: Waiter) -> None:
        waiter.state = ACTIVE
        self._serial += 1
        heapq.heappush(self._heap, (-waiter.priority, waiter.queued, self._serial, waiter))
        if not self._armed:
            self._armed = True
            self.clock.call_later(0.0, self._run, SCHEDULER)

    def _on_node(self, type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        if type_ == "DELETED":
            self.engine.remove_node(obj)
            if self._parked:
                self._wake(lambda w: w.far)
            return
        if type_ == "MODIFIED" and old is not None and not _matters(obj, old):
            return
        self.engine.set_node(obj)
        if self._parked:
            self._wake(lambda w: True)

    def _on_other(self, type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        if type_ == "MODIFIED" and old is not None:
            same_labels = obj["metadata"].get("labels") == old["metadata"].get("labels")
            if same_labels and obj.get("spec") is old.get("spec"):
                return
        self.engine.set_object(type_, resource, obj)
        if self._parked and (resource.startswith("persistent") or "storage" in resource):
            self._wake(lambda w: w.far)

    # --- waking

    def wake_after_leave(self, pod: Pod) -> None:
        """A pod left its node: room there helps those that lacked room, if the node takes pods at all."""
        if not self._parked:
            return
        node = self.world.get("nodes", None, pod.node)
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
        heap = self._heap
        while heap:
            waiter = heapq.heappop(heap)[3]
            pod = waiter.pod
            if pod.gone or pod.terminating or pod.node or waiter.state != ACTIVE:
                continue
            self.attempts += 1
            decision = self.engine.schedule(pod.obj, self._rng)
            if decision.node is not None:
                self._bind(waiter, decision.node)
            else:
                self._park(waiter, decision)
        self._armed = False

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
        pod.scheduling = None
        self.world.update("pods", {**obj, "spec": {**obj["spec"], "nodeName": node}, "status": status})
        self.cluster.record(
            obj, "Normal", "Scheduled", f"Successfully assigned {pod.namespace}/{pod.name} to {node}", _SOURCE
        )

    def _park(self, waiter: Waiter, decision: Decision) -> None:
        pod, now = waiter.pod, self.clock.now()
        waiter.attempts += 1
        waiter.retry_at = now + min(BACKOFF_MOST, BACKOFF_FIRST * 2.0 ** min(waiter.attempts - 1, 10))
        counts: Counter[str] = self.engine.histogram(decision)
        waiter.reasons = tuple(counts)
        waiter.far = not counts or any(word in reason for reason in counts for word in _FAR_REACHING)
        message = self._message(counts, decision)
        preempted, told = self.engine.preempt(pod.obj, self._rng)
        nominated = self._preempt(waiter, preempted)
        if told:
            message += f" preemption: {told}"
        waiter.state = PARKED
        self._parked[pod.key] = waiter
        if not self._flush_armed:
            self._flush_armed = True
            self.clock.call_later(FLUSH, self._flush)
        self._tell(waiter, message, nominated)

    def _message(self, counts: Counter[str], decision: Decision) -> str:
        total = self.world.count("nodes")
        if total == 0:
            return "no nodes available to schedule pods"
        words = ", ".join(sorted(f"{n} {reason}" for reason, n in counts.items()))
        return f"0/{total} nodes are available: {words}." if words else f"0/{total} nodes are available."

    def _preempt(self, waiter: Waiter, found: Any) -> str:
        """Delete the victims; the pod keeps the node as its nomination and waits for them to leave."""
        if found is None:
            return ""
        node, victims = found
        for namespace, name in victims:
            victim = self.cluster.pods.by_key.get((namespace, name))
            if victim is None or victim.terminating:
                continue
            message = f"Preempted by pod {waiter.pod.uid} on node {node}"
            self.cluster.record(victim.obj, "Normal", "Preempted", message, _SOURCE)
            self.maker.delete(victim)
        waiter.far = True
        return str(node)

    def _tell(self, waiter: Waiter, message: str, nominated: str) -> None:
        pod = waiter.pod
        if pod.gone:
            return
        self.cluster.record(pod.obj, "Warning", "FailedScheduling", message, _SOURCE)
        if message == waiter.told or (waiter.told and not self.settings.detail and not nominated):
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
        if nominated:
            status["nominatedNodeName"] = nominated
        self.world.update("pods", {**pod.obj, "status": status})

    def unschedulable(self) -> list[tuple[str, str, float, str]]:
        """(namespace, name, waiting since, message) of the pods that were tried and found no node."""
        found = [w for w in self._waiting() if w.attempts]
        return [(w.pod.namespace, w.pod.name, w.since, w.told) for w in found]

    def _waiting(self) -> list[Waiter]:
        pods = self.cluster.pods.by_key.values()
        return [p.scheduling for p in pods if p.scheduling is not None and not p.node and not p.gone]


def _matters(obj: Obj, old: Obj) -> bool:
    """Whether the change of a node can change where pods fit."""
    if obj["spec"] is not old["spec"] and obj["spec"] != old["spec"]:
        return True
    if obj["metadata"].get("labels") != old["metadata"].get("labels"):
        return True
    now, then = obj.get("status") or {}, old.get("status") or {}
    return now is not then and any(now.get(f) != then.get(f) for f in ("allocatable", "images"))
