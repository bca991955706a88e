"""Bulk: the pods of settled ReplicaSets, DaemonSets and StatefulSets as rows, made records where somebody looks.

A rehearsal moves most pods in the same few ways. Once an add-on rolls or a drain begins, the pods of every set that
does nothing unusual become rows, and the compiled functions of `kernel` carry out what happens to them; all else (other
controllers, volumes, preemption, nodes, the cloud) stays as it is. Both share one order of events and one chance, so a
rehearsal ends the same with or without. What bulk pods cannot do raises Beyond, and the rehearsal runs again without.
"""

from __future__ import annotations

from typing import (
    Any,
)

from baton.twin.bulk.begin import (
    Beyond,
)
from baton.twin.bulk.candidates import (
    candidates,
)
from baton.twin.bulk.counts import (
    Counts,
)
from baton.twin.bulk.layout import (
    B_WAITED,
    BEGIN_DRAIN,
    BIND,
    BLOCKED,
    BUDGET_NEWS,
    CHASE,
    CHASED,
    DELETE,
    DONE,
    DROP,
    DROP_NODE,
    DUE,
    E_BUDGET,
    EMPTIED,
    EVICT,
    F_QUEUE_TIME,
    F_SCHEDULER_TIME,
    G_BUDGET_AT,
    G_CLASS,
    G_DAEMON,
    G_PRIORITY,
    G_SEATS,
    G_SHAPE,
    GAVE_UP,
    IDLE,
    N_ASKED,
    N_DRAINING,
    N_PLACE,
    NO_PLACE,
    NOTES,
    OTHER_WAITER,
    OTHER_WORK,
    P_FLAGS,
    P_GROUP,
    PLAN,
    POD_NEWS,
    ROOM_LEFT,
    ROOM_TAKEN,
    RUN,
    RUNS,
    S_ARGUMENT,
    S_KEPT,
    S_NOTES,
    S_ORDER,
    S_OTHER_STAMP,
    S_PROCESSED,
    S_QUEUE_ARMED,
    S_QUEUE_AT,
    S_QUEUE_LENGTH,
    S_QUEUE_SERIAL,
    S_SCHEDULER_ARMED,
    S_SCHEDULER_SERIAL,
    S_STAMP,
    S_WAITING,
    SHAPE,
    SPECIAL,
    SYNC,
    SYNC_GROUP,
    T_SINCE,
    TAKEN,
    TRY,
    UNBLOCKED,
    WAIT,
)
from baton.twin.bulk.pods import (
    BulkPod,
)
from baton.twin.bulk.rows import (
    FOREVER,
)
from baton.twin.bulk.statefulsets import (
    StatefulSets,
)
from baton.twin.bulk.taking import (
    waits_for_pod,
)
from baton.twin.controllers.base import (
    Controller,
)
from baton.twin.controllers.lean import PodShape
from baton.twin.controllers.scheduling import (
    Waiter,
)

_KNOWN = ("_started", "_became_ready", "_stopped", "_finished")


class Bulk(StatefulSets):
    """The bulk pods of one cluster. Made once, between two events; see `candidates` for what it takes."""

    @classmethod
    def begin(cls, kube: Any, counts: Counts, at_least: int) -> Bulk | None:
        """Take over what can be; None when that is fewer than `at_least` pods."""
        groups, budgets = candidates(kube)
        if sum(len(g.alike) for g in groups) < at_least or kube.scheduling._victims:
            return None
        if any(waits_for_pod(c) and c.func.__name__ not in _KNOWN for _, _, _, c in kube.clock._heap):
            return None  # something unusual is about to happen to a pod
        bulk = cls(kube, counts)
        bulk._build(groups, budgets)
        bulk._take_sets()
        bulk._take_statefulsets()
        return bulk

    def run_until(self) -> None:
        """VirtualClock.run_until over the clock's own heap and the rows."""
        clock, s = self.clock, self.s
        heap = clock._heap
        while True:
            first = clock.first()
            if not self.running:
                if first is not None and first < self.next:
                    if first[0] > clock._until:
                        break
                    clock._run_one()
                    continue
                if self.next[0] > clock._until:
                    break
            limit = first if first is not None else FOREVER
            self._enter()
            code = self.ask(RUN, self.address, limit[1], limit[2], 0, 0, limit[0], clock._until)
            self._leave()
            if code != DONE:
                self._handle(code)
        clock.processed += s[S_PROCESSED]
        s[S_PROCESSED] = 0
        assert heap is clock._heap
        clock._now = max(clock._now, clock._until)

    def _handle(self, code: int) -> None:
        """Whatever only Python can do."""
        if code == NOTES:
            self.tell()
        elif code == SYNC:
            self._sync()
        elif code == PLAN:
            self._plan(self.s[S_ARGUMENT])
        elif code == OTHER_WORK:
            self._other_work()
        elif code == OTHER_WAITER:
            self._other_waiters()
        elif code == TRY:
            self._try(self.s[S_ARGUMENT])
        elif code == CHASE:
            self._chase(self.s[S_ARGUMENT])
        elif code == SHAPE:
            self._shape(self.s[S_ARGUMENT])
        else:
            self.make_room()

    def _other_work(self) -> None:
        """Syncs of other controllers, till it is a row's turn."""
        s, work, nodes = self.s, self.queue._work, self.kube.nodes
        while work and (not s[S_QUEUE_LENGTH] or work[0][0] < self.a.queue[s[S_QUEUE_AT], 0]):
            _, controller, key = work.popleft()
            controller.pending.discard(key)
            if controller is nodes:
                self.node_row(key)[N_ASKED] = 0
            controller.sync(key)
        self.front_of_work()

    def _chase(self, number: int) -> None:
        """A sync of NodeController in the place that was kept for it."""
        name, nodes = self.node_names[number], self.kube.nodes
        nodes.pending.discard(name)
        nodes.sync(name)

    def _other_waiters(self) -> None:
        """Tries of other pods, till it is a row's turn."""
        s, heap = self.s, self.loop._heap
        while heap:
            if s[S_WAITING]:
                priority, serial, _ = self.a.waiting[0].tolist()
                if heap[0][:3] > (priority, float(self.a.waiting_since[0]), serial):
                    break
            self.loop.attempt(self.loop.pop())
        self.front_of_waiting()

    def arm_work(self) -> None:
        """The work queue is to run at this moment."""
        self._arm(S_QUEUE_ARMED, S_QUEUE_SERIAL, F_QUEUE_TIME, 2)

    def arm_scheduler(self) -> None:
        """The scheduler is to run at this moment."""
        self._arm(S_SCHEDULER_ARMED, S_SCHEDULER_SERIAL, F_SCHEDULER_TIME, 4)

    def _arm(self, armed: int, serial: int, time: int, priority: int) -> None:
        if self.s[armed] == IDLE:
            clock = self.clock
            clock._serial += 1
            self.s[armed], self.s[serial], self.f[time] = DUE, clock._serial, clock._now
            self.next = min(self.next, (clock._now, priority, clock._serial))

    def _run_now(self, armed: int) -> None:
        self.s[armed] = RUNS
        self.running = True

    def add_work(self, controller: Controller, key: Any) -> None:
        """WorkQueue.add."""
        s = self.s
        if controller is self.kube.nodes:
            row = self.node_row(key)
            if row[N_PLACE] != NO_PLACE:
                row[N_PLACE] = TAKEN
                return
            row[N_ASKED] = 1
        s[S_STAMP] += 1
        work = self.queue._work
        work.append((s[S_STAMP], controller, key))
        if len(work) == 1:
            s[S_OTHER_STAMP] = s[S_STAMP]
        self.arm_work()

    def keep_room(self, on: bool) -> None:
        """Whether room is kept on a node for a pod that preemption made it for."""
        self.s[S_KEPT] = on

    def wait(self, waiter: Waiter, serial: int) -> None:
        """SchedulingLoop._activate for a pod that waited before."""
        pod = waiter.pod
        assert isinstance(pod, BulkPod)
        self.a.pods[pod.id, P_FLAGS] |= SPECIAL
        self._call(WAIT, pod.id, -waiter.priority, serial, x=waiter.queued)

    def _try(self, number: int) -> None:
        """SchedulingLoop._run for one pod that found no node at once, or waited before."""
        waiter = self.waiters.get(number)
        if waiter is None:
            pod = self.handle(number)
            waiter = self.waiters[number] = Waiter(pod, float(self.a.times[number, T_SINCE]))
        self.loop.attempt(waiter)

    def bind(self, pod: BulkPod, node: str) -> None:
        """The scheduler chose a node."""
        self.waiters.pop(pod.id, None)
        self._call(BIND, pod.id, self.state.nodes[node])
        self.tell()

    def _shape(self, number: int) -> None:
        """The group makes its first pod: what its pods look like."""
        if self.a.groups[number, G_DAEMON]:
            self._shaped(number, self._read_set(number))
            return
        if self.a.groups[number, G_SEATS]:
            self._shaped(number, self._read_statefulset(number))
            return
        group = self.groups[number]
        obj = self.cluster.world.get("replicasets.apps", *group.key)
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            raise Beyond(f"ReplicaSet {'/'.join(group.key)} is gone")
        shape = self.kube.replicasets.shape(obj)
        if shape.claims != () or shape.cls.node_names is not None:
            raise Beyond(f"pods of ReplicaSet {'/'.join(group.key)} differ from their template")
        self._shaped(number, shape)

    def _shaped(self, number: int, shape: PodShape) -> None:
        """From now on the group's new pods have this shape."""
        cls, form = self.class_id(shape.cls), self.shape_id(shape, shape.spec)
        row = self.a.groups[number]
        row[G_SHAPE], row[G_CLASS] = form, cls
        if cls not in self._classes_of[number]:
            self._belongs(cls, number)
        if int(shape.spec.get("priority") or 0) != row[G_PRIORITY]:
            raise Beyond(f"pods of {self.groups[number].kind} {'/'.join(self.groups[number].key)} change priority")

    def tell(self) -> None:
        """Pass on what happened, in order."""
        many = self.s[S_NOTES]
        if not many:
            return
        notes = self.a.notes[:many].tolist()
        self.s[S_NOTES] = 0
        for kind, one, other in notes:
            self._tell_one(kind, one, other)

    def _tell_one(self, kind: int, one: int, other: int) -> None:
        if kind == EMPTIED:
            self.kube.tell_gone(self.node_names[one], None)
        elif kind == ROOM_LEFT:
            self.loop.wake_after_leave(self.node_names[other])
        elif kind == ROOM_TAKEN:
            self.loop.wake_far()
        elif kind == BUDGET_NEWS:
            self.kube._on_raised(self.budgets[one])
        elif kind == POD_NEWS:
            self.kube._tell("pod", *self.key_of(one))
        elif kind == UNBLOCKED:
            pod = self.handle(one)
            self.counts.left(pod)
            self.kube.tell_gone(self.node_names[other], one)
        elif kind == GAVE_UP:
            self._gave_up(one)
        elif kind == CHASED:
            self.kube.nodes.enqueue(self.node_names[one])
        else:
            raise Beyond(f"ReplicaSet {'/'.join(self.groups[one].key)} has pods to spare")

    def _gave_up(self, number: int) -> None:
        """A pod without a node is gone; another may come by its name."""
        waiter = self.waiters.get(number)
        if waiter is not None:
            self.loop._give_up(waiter.pod)
            del self.waiters[number]

    def begin_drain(self, node: str) -> None:
        """A drain of the node starts."""
        # touches this node and its pods only: nothing to enter or leave
        self.ask(BEGIN_DRAIN, self.address, self.node_id(node), 0, 0, 0, 0.0, 0.0)

    def end_drain(self, node: str) -> None:
        """It is over, or called off."""
        self.a.nodes[self.node_id(node), N_DRAINING] = 0

    def evict(self, pods: list[int], at: int, forced: bool) -> tuple[int, bool]:
        """Evict pods[at:] till one is refused, was refused before, or there is something to tell: (where it stopped,
        whether refused)."""
        self._grown("asked", len(pods))[: len(pods)] = pods
        stopped = self._call(EVICT, at, len(pods), int(forced))
        refused = bool(self.s[S_ARGUMENT])
        return stopped, refused

    def forget_refusal(self, number: int) -> None:
        """A refused pod was let go."""
        flags = int(self.a.pods[number, P_FLAGS])
        if flags & BLOCKED:
            self.a.pods[number, P_FLAGS] = flags & ~BLOCKED
            self.counts.left(self.handle(number))

    def first_budget(self, number: int) -> str:
        """The budget that refused it."""
        row = self.a.groups[int(self.a.pods[number, P_GROUP])]
        entry = int(self.a.group_budgets[int(row[G_BUDGET_AT])])
        return str(self.budgets[int(self.a.entries[entry, E_BUDGET])].name)

    def note_refusal(self, number: int) -> None:
        """A drain was refused the pod."""
        self.a.pods[number, P_FLAGS] |= BLOCKED

    def delete(self, pod: BulkPod, grace: int | None) -> None:
        """PodMaker.delete."""
        refused = pod.refused and not pod.terminating
        self._call(DELETE, pod.id, -1 if grace is None else grace)
        if refused and pod.terminating:
            self.counts.left(pod)
        self.tell()

    def remove(self, pod: BulkPod) -> None:
        """PodMaker.remove."""
        self._call(DROP, pod.id)
        self.tell()

    def remove_all(self, node: str) -> None:
        """PodMaker.remove of every bulk pod on a node."""
        number, done = self.node_ids.get(node), False
        while number is not None and not done:
            done = bool(self._call(DROP_NODE, number))
            self.tell()

    def wait_for(self, namespace: str, budget: str, on: bool) -> None:
        """Somebody waits (or no longer) for news of a budget, "" for any change in the namespace."""
        if budget:
            number = self.budget_ids.get((namespace, budget))
            if number is None:
                return
            self.a.budgets[number, B_WAITED] = on
            if on and self.a.budget_times[number] == self.clock._now:
                self.kube._on_raised(self.budgets[number])
        else:
            place = self.namespaces.get(namespace)
            if place is not None:
                self.a.namespaces[place] = on
                if on and self.a.namespace_times[place] == self.clock._now:
                    self.kube._tell("pod", namespace, "")

    def next_order(self) -> int:
        """The place of a pod that is bound now among those on its node."""
        self.s[S_ORDER] += 1
        return int(self.s[S_ORDER])

    def sync_group(self, number: int) -> None:
        """A controller's sync for one of these groups, asked for by a timer."""
        if self.a.groups[number, G_SHAPE] < 0:
            self._shape(number)
        self._call(SYNC_GROUP, number)
        self.tell()

    def run_work(self) -> None:
        """The clock's own heap held the run of the work queue."""
        self._run_now(S_QUEUE_ARMED)

    def run_scheduler(self) -> None:
        """The clock's own heap held the run of the scheduler."""
        self._run_now(S_SCHEDULER_ARMED)
