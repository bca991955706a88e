"""How pods are moved into bulk."""

from __future__ import annotations

import heapq
from collections.abc import (
    Mapping,
    Sequence,
)
from functools import partial
from operator import (
    attrgetter,
)
from typing import (
    Any,
)

import numpy as np

from baton.twin.bulk.begin import (
    UNIT,
)
from baton.twin.bulk.candidates import (
    rule_of,
)
from baton.twin.bulk.layout import (
    ARRAYS,
    B_ALLOWED,
    B_ALWAYS,
    B_COUNTED,
    B_DESIRED,
    B_DIRTY,
    B_EXPECTED,
    B_FROM_SCALE,
    B_HEALTHY,
    B_KIND,
    B_NAMESPACE,
    B_PENDING,
    B_PODS,
    B_SCALE,
    B_STALE,
    B_VALUE,
    BECAME_READY,
    BIG,
    BUDGET,
    BUDGET_COLUMNS,
    CLASS_COLUMNS,
    COUNTED,
    DAEMON_COLUMNS,
    DUE_ELSEWHERE,
    EMPTY_SPOT,
    FRESH,
    G_ACTIVE,
    G_BUDGET_AT,
    G_BUDGETS,
    G_CLASS,
    G_DESIRED,
    G_FIRST,
    G_HEAD,
    G_LOWEST,
    G_LOWEST_OF,
    G_MISSING,
    G_NAMESPACE,
    G_NEVER_READY,
    G_OWN_READY,
    G_PENDING,
    G_PRIORITY,
    G_PRIORITY_AT,
    G_READY,
    G_SHAPE,
    G_TAIL,
    GROUP,
    GROUP_COLUMNS,
    GROUP_TIMES,
    GT_READY,
    GT_SINCE,
    GT_START,
    GT_STOP,
    LISTED,
    N_HEAD,
    N_PODS,
    N_TAIL,
    NAMES,
    NODE_COLUMNS,
    P_FLAGS,
    P_GNEXT,
    P_GPREV,
    P_NAME,
    P_NEXT,
    P_NODE,
    P_ORDER,
    P_PIN,
    P_PREV,
    POD_COLUMNS,
    POD_TIMES,
    READY,
    RUNNING,
    S_KEPT,
    S_KUBELET_DRAW,
    S_MARGIN,
    S_MISSED,
    S_NAME_DRAW,
    S_ORDER,
    S_OTHER_SERIAL,
    S_OTHER_STAMP,
    S_PODS,
    S_QUEUE_ARMED,
    S_QUEUE_AT,
    S_QUEUE_LENGTH,
    S_SCHEDULER_ARMED,
    S_SCHEDULER_DRAW,
    S_STAMP,
    S_TIMERS,
    S_TRACK,
    SCALARS,
    SEAT_COLUMNS,
    SECONDS,
    STARTED,
    STOPPED,
    T_READY_IN,
    Arrays,
)
from baton.twin.bulk.look import (
    Look,
)
from baton.twin.bulk.pods import (
    Draws,
    codes_of,
)
from baton.twin.controllers.base import (
    Group,
    Key,
    Obj,
)
from baton.twin.controllers.lean import (
    LeanPod,
    Several,
)
from baton.twin.timings import (
    PodTimes,
)

_STATE = attrgetter(
    "info.cls", "shape", "phase", "ready", "serial", "limit", "made_at", "told_at", "bound_at", "started_at",
    "changed_at",
)  # fmt: skip
_TIMERS = {"_started": STARTED, "_became_ready": BECAME_READY, "_stopped": STOPPED}


def waits_for_pod(call: Any) -> bool:
    """Whether a call of the clock is about what a pod does next."""
    return isinstance(call, partial) and bool(call.args) and isinstance(call.args[0], LeanPod)


class Taking(Look):
    """Records of pods become rows, and everybody who knew the records learns of it."""

    def _build(self, groups: Sequence[Group], budgets: Sequence[Any]) -> None:
        for one in self.lean.standing():
            if one.owner not in groups:
                one.part()
        pods: list[Any] = [p for g in groups for p in g.alike.values()]
        count = len(pods)
        margin = max(len(g.alike) for g in groups) + 64
        room = 3 * count + 4 * margin  # each pod is made anew once or twice; zeros cost nothing before they are written
        scalars, seconds = np.zeros(SCALARS, dtype=np.int64), np.zeros(SECONDS)
        self.s, self.f = scalars.data, seconds.data
        s = self.s
        s[S_MARGIN] = margin
        s[S_OTHER_STAMP] = s[S_OTHER_SERIAL] = BIG
        s[S_TRACK] = self.counts.tracks is not None
        s[S_KEPT] = bool(self.state.nominees)
        loop, kubelets = self.loop, self.kube.kubelets
        self.kubelet_draws = Draws(kubelets._rng, s, S_KUBELET_DRAW, 16 * margin + 4096)
        self.name_draws = Draws(self.cluster.names, s, S_NAME_DRAW, 4 * margin + 4096)
        self.scheduler_draws = Draws(loop._rng, s, S_SCHEDULER_DRAW, 1024)
        timings = self.cluster.settings.timings
        spreads = np.array(
            [_figures(timings.init_container), _figures(timings.readiness_phase), _figures(timings.volume_attach)]
        )
        table = self.index.table.data
        self.a = Arrays(
            scalars=scalars,
            seconds=seconds,
            pods=np.zeros((room, POD_COLUMNS), dtype=np.int64),
            times=np.zeros((room, POD_TIMES)),
            groups=np.zeros((len(groups), GROUP_COLUMNS), dtype=np.int64),
            group_times=np.zeros((len(groups), GROUP_TIMES)),
            group_budgets=np.zeros(0, dtype=np.int64),
            entries=np.zeros((0, 3), dtype=np.int64),
            budgets=np.zeros((len(budgets), BUDGET_COLUMNS), dtype=np.int64),
            budget_times=np.full(len(budgets), -1.0),
            namespaces=np.zeros(0, dtype=np.int64),
            namespace_times=np.zeros(0),
            classes=np.zeros((256, CLASS_COLUMNS), dtype=np.int64),
            requests=np.zeros((256, 6), dtype=np.int64),
            rows=np.zeros(4096, dtype=np.int64),
            plans=np.zeros(16384, dtype=np.int64),
            domain_of=np.zeros((4096, 3), dtype=np.int64),
            domains=np.zeros((16, 2), dtype=np.int64),
            nodes=np.zeros((256, NODE_COLUMNS), dtype=np.int64),
            node_at=np.full(self.state.capacity, -1, dtype=np.int64),
            shapes=np.zeros((256, 5)),
            probes=np.zeros((64, 2)),
            probe_counts=np.zeros((64, 2), dtype=np.int64),
            spreads=spreads,
            timer_times=np.zeros(room),
            timers=np.zeros((room, 3), dtype=np.int64),
            queue=np.zeros((len(groups) + len(budgets) + 16, 3), dtype=np.int64),
            waiting=np.zeros((8 * margin + 4096, 3), dtype=np.int64),
            waiting_since=np.zeros(8 * margin + 4096),
            priorities=np.zeros(64, dtype=np.int64),
            kubelet_draws=self.kubelet_draws.values,
            name_draws=self.name_draws.values,
            scheduler_draws=self.scheduler_draws.values,
            tracks=np.zeros((8 * margin + 4096, 2)),
            notes=np.zeros((4 * margin, 3), dtype=np.int64),  # a sync may take all pods of a DaemonSet out
            names=np.zeros(min(NAMES, 128 * count), dtype=np.uint8),
            table=table,
            allocatable=self.state.allocatable,
            used=self.state.used,
            order=self.index.order.get(),
            logs=self.fast._logs,
            extra=np.zeros(1, dtype=np.bool_),
            work=np.zeros(0, dtype=np.int64),
            space=np.zeros(0),
            good=np.zeros(0, dtype=np.bool_),
            only=np.zeros(2, dtype=np.int32),
            among=np.full((16, 2), -1, dtype=np.int64),
            among_slots=np.zeros((16, self.state.capacity + 1), dtype=np.int32),
            among_places=np.zeros((16, self.state.capacity + 1), dtype=np.int32),
            lists=np.zeros((128, 3), dtype=np.int64),
            asked=np.zeros(128, dtype=np.int64),
            daemons=np.zeros((0, DAEMON_COLUMNS), dtype=np.int64),
            spots=np.zeros((0, len(EMPTY_SPOT)), dtype=np.int64),
            seats=np.zeros((0, SEAT_COLUMNS), dtype=np.int64),
            attached=np.zeros((0, 3), dtype=np.int64),
            few=np.zeros((0, LISTED), dtype=np.int32),
            places_of=np.zeros(0, dtype=np.int32),
        )
        self.ask = UNIT.load()
        self.addresses = np.zeros(3 * ARRAYS, dtype=np.int64)
        self.address = self.addresses.__array_interface__["data"][0]
        self._set(**self.a._asdict())
        self.kubelet_draws.told = lambda values: self._set(kubelet_draws=values)
        self.name_draws.told = lambda values: self._set(name_draws=values)
        self.scheduler_draws.told = lambda values: self._set(scheduler_draws=values)
        self._share_figures()
        self._add_groups(groups, budgets)
        self._add_nodes()
        self._add_pods(pods)
        self._take_over(groups, budgets, pods)

    def _add_groups(self, groups: Sequence[Group], budgets: Sequence[Any]) -> None:
        a, settings = self.a, self.cluster.settings
        timings = settings.timings
        for number, budget in enumerate(budgets):
            self.budgets.append(budget)
            self.budget_ids[budget.key] = number
            self._write_budget(number, budget)
        of_group: list[int] = []
        entries: list[tuple[int, int, int]] = []
        for number, group in enumerate(groups):
            self.groups.append(group)
            self._classes_of.append([])
            self._of_kind(group.kind)[group.key] = number
            self.by_uid[group.uid] = number
            first = next(iter(group.alike.values()))
            row, times = a.groups[number], a.group_times[number]
            row[G_ACTIVE], row[G_READY], row[G_DESIRED] = group.active, group.ready, group.desired
            row[G_HEAD] = row[G_TAIL] = row[G_SHAPE] = row[G_CLASS] = row[G_FIRST] = -1
            row[G_LOWEST] = BIG
            row[G_BUDGETS], row[G_BUDGET_AT] = len(first.budgets), len(of_group)
            row[G_NAMESPACE] = self.namespaces.setdefault(group.namespace, len(self.namespaces))
            row[G_PRIORITY] = first.spec.get("priority") or 0
            row[G_PRIORITY_AT] = self._priority(int(row[G_PRIORITY]))
            known: PodTimes = self.kube.kubelets._times(first)
            row[G_NEVER_READY], row[G_OWN_READY] = known.never_ready, known.ready is not None
            times[GT_START : GT_START + 3] = _figures(known.start or timings.pod_start)
            times[GT_STOP : GT_STOP + 3] = _figures(known.stop or timings.pod_stop)
            if known.ready is not None:
                times[GT_READY : GT_READY + 3] = _figures(known.ready)
            for budget in first.budgets:
                of_group.append(len(entries))
                scale = self.kube.disruption._scale_of(group) if budget.from_scale else None
                entries.append((self.budget_ids[budget.key], len(group.alike), scale[1] if scale else 0))
        self._set(
            group_budgets=np.array(of_group, dtype=np.int64),
            entries=np.array(entries, dtype=np.int64).reshape(-1, 3),
        )
        for budget in budgets:
            self.namespaces.setdefault(budget.key[0], len(self.namespaces))
            self.a.budgets[self.budget_ids[budget.key], B_NAMESPACE] = self.namespaces[budget.key[0]]
        self._set(
            namespaces=np.zeros(len(self.namespaces), dtype=np.int64),
            namespace_times=np.full(len(self.namespaces), -1.0),
        )

    def _of_kind(self, kind: str) -> dict[Key, int]:
        """(namespace, name) of the controllers of a kind -> group."""
        return {"DaemonSet": self.daemons, "StatefulSet": self.statefulsets}.get(kind, self.by_key)

    def _write_budget(self, number: int, budget: Any) -> None:
        row = self.a.budgets[number]
        row[B_ALLOWED], row[B_HEALTHY], row[B_DESIRED] = budget.allowed, budget.healthy, budget.desired
        row[B_EXPECTED], row[B_PODS], row[B_COUNTED] = budget.expected, len(budget.alike), len(budget.counted)
        row[B_ALWAYS], row[B_STALE], row[B_FROM_SCALE] = budget.always_allow, budget.stale, budget.from_scale
        row[B_KIND], row[B_VALUE] = rule_of(budget.spec)
        if budget.from_scale:
            scale = budget.scale if budget.scale is not None else self.kube.disruption._scale(budget)
            row[B_SCALE] = scale[0]
        row[B_DIRTY] = budget.key in self.kube.disruption._unpublished

    def _add_nodes(self) -> None:
        for node in self.cluster.world.items("nodes"):
            self.node_changed(node)

    def _add_pods(self, pods: list[LeanPod]) -> None:
        """Rows for the records, in the order of their groups; a record's `order` is now its row's number and one."""
        a, count = self.a, len(pods)
        self.read, places = _as_read(pods)
        sizes = np.array([len(g.alike) for g in self.groups])
        ends = np.cumsum(sizes)
        starts = ends - sizes
        a.groups[:, G_HEAD], a.groups[:, G_TAIL] = starts, ends - 1
        np.add.at(a.priorities, a.groups[:, G_PRIORITY_AT], sizes)
        tails: list[str] = []
        for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            self._add_group_of_pods(number, pods[start:end], start)
            group = self.groups[number]
            prefix = group.name + "-"
            if group.kind == "StatefulSet":
                tails += [""] * len(group.alike)
            else:
                tails += [name[-5:] if name[:-5] == prefix else "" for name in group.alike]
        rows, numbers = a.pods[:count], np.arange(count)
        rows[:, P_GPREV], rows[:, P_GNEXT] = numbers - 1, numbers + 1
        rows[starts, P_GPREV] = rows[ends - 1, P_GNEXT] = -1
        for key in self.counts.fresh:
            pod = self.lean.own(key)
            if pod is not None and pod.order:
                rows[pod.order - 1, P_FLAGS] |= FRESH
        rows[:, P_NAME] = codes = codes_of(tails)
        taken, times = np.unique(codes[codes >= 0] % len(a.names), return_counts=True)
        a.names[taken] = np.minimum(times, 255)
        self._add_places(places)
        self.s[S_PODS] = count

    def _add_group_of_pods(self, group: int, pods: list[LeanPod], start: int) -> None:
        """Rows for one group's pods; most of them are as they were read, and alike."""
        rows, times = self.a.pods[start : start + len(pods)], self.a.times[start : start + len(pods)]
        if isinstance(pods[0], Several) and len(pods[0].keys) == len(pods):
            rows[:], times[:] = self._row_of(group, pods[0])
            self._mark_counted(group, pods[0], rows)
            return
        states = list(map(_STATE, pods))
        firsts = dict(zip(reversed(states), reversed(pods), strict=True))
        made = {state: self._row_of(group, firsts[state]) for state in dict.fromkeys(states)}
        if len(made) == 1:
            rows[:], times[:] = made[states[0]]
        else:
            rows[:], times[:] = [made[s][0] for s in states], [made[s][1] for s in states]
        if any(p.pin for p in pods):
            rows[:, P_PIN] = [self.node_id(p.pin) if p.pin else -1 for p in pods]
        self._mark_counted(group, pods[0], rows)
        for number, pod in enumerate(pods, start + 1):
            if not isinstance(pod, Several):
                pod.order = number

    def _mark_counted(self, group: int, pod: LeanPod, rows: Any) -> None:
        """Those of a group's pods, of which one is given, that are healthy for their budgets."""
        budget = next(iter(pod.budgets), None)
        if budget is not None:
            counted, namespace = budget.counted, pod.namespace
            every = len(counted) == len(budget.alike)
            names = () if every else self.groups[group].alike
            rows[:, P_FLAGS] |= COUNTED if every else [COUNTED if (namespace, n) in counted else 0 for n in names]

    def _row_of(self, group: int, pod: LeanPod) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """What pods in the same state have in common; see P_GROUP and T_MADE."""
        assert pod.info is not None
        cls, shape = self.class_id(pod.info.cls), self.shape_id(pod.shape, pod.spec)
        if cls not in self._classes_of[group]:
            self._belongs(cls, group)
        flags = (RUNNING if pod.phase == "Running" else 0) | (READY if pod.ready else 0)
        row = (group, cls, shape, -1, flags, -1, -1, -1, -1, -1, pod.serial, pod.limit, 0, -1, 0, -1, -1)
        return row, (pod.made_at, pod.told_at, pod.bound_at, pod.started_at, pod.changed_at, 0.0, -1.0)

    def _add_places(self, places: Mapping[Key, int]) -> None:
        """Nodes hold their rows in the order of binding; `places`: the rows of pods without a record of their own."""
        a, s = self.a, self.s
        by_node = self.lean._by_node
        lengths = [len(there) for there in by_node.values()]
        there = [p for at in by_node.values() for p in at.values()]
        keys = (key for at in by_node.values() for key in at)
        place = places.get
        marks = np.array([p.order or place(k, -1) + 1 for k, p in zip(keys, there, strict=True)], dtype=np.int64)
        for at in np.flatnonzero(marks == 0).tolist():
            there[at].order = at + 1
        bound = np.flatnonzero(marks)
        rows = marks[bound] - 1
        nodes = np.repeat([self.node_ids.get(name, -1) for name in by_node], lengths)[bound]
        a.pods[rows, P_NODE], a.pods[rows, P_ORDER] = nodes, bound + 1
        same = nodes[1:] == nodes[:-1]
        before, after = rows[:-1][same], rows[1:][same]
        a.pods[after, P_PREV], a.pods[before, P_NEXT] = before, after
        heads, tails = np.append(True, ~same), np.append(~same, True)
        a.nodes[nodes[heads], N_HEAD], a.nodes[nodes[tails], N_TAIL] = rows[heads], rows[tails]
        a.nodes[nodes[heads], N_PODS] = np.diff(np.flatnonzero(np.append(heads, True)))
        s[S_ORDER] = len(there)

    def _take_over(self, groups: Sequence[Group], budgets: Sequence[Any], pods: Sequence[LeanPod]) -> None:
        """Out of the dictionaries with what are rows now; then everybody knows."""
        self._take_records(groups)
        for group in groups:
            group.alike = {}
            count = self.loop._priorities
            row = self.a.groups[self.by_uid[group.uid]]
            value = int(row[G_PRIORITY])
            count[value] -= int(row[G_ACTIVE])
            if not count[value]:
                del count[value]
        for budget in budgets:
            budget.alike, budget.counted = {}, set()
        self._take_counts(groups)
        self._take_timers()
        self._take_work()
        self.kube.kubelets._rng = self.kubelet_draws
        self.cluster.names = self.name_draws
        self.loop._rng = self.scheduler_draws
        self.kube.bulk = self.cluster.bulk = self.lean.bulk = self.clock.bulk = self.queue.bulk = self
        self.state.elsewhere = self
        self.cluster.world.subscribe(self._on_node, ["nodes"])

    def _take_records(self, groups: Sequence[Group]) -> None:
        """What stays is little, and put into new dictionaries in the order of the old."""
        lean = self.lean
        for one in lean.standing():
            lean.forget_several(one)
        owners = {id(g) for g in groups}
        stay = {k: p for k, p in lean.by_key.items() if id(p.owner) not in owners}
        lean.by_key = stay
        lean.by_namespace.update({name: {} for name in lean.by_namespace})
        for pod in stay.values():
            lean.by_namespace[pod.namespace][pod.name] = pod
        lean.by_node.update({name: {} for name in lean.by_node})
        for pod in sorted((p for p in stay.values() if p.node), key=attrgetter("order")):
            lean.by_node[pod.node][pod.key] = pod
        self.state.keep_only(stay, self.classes)

    def _take_counts(self, groups: Sequence[Group]) -> None:
        for group, owner in self.counts.take_owners(self, groups):
            row = self.a.groups[self.by_uid[group.uid]]
            row[G_LOWEST], row[G_MISSING], row[G_FIRST] = owner.lowest, owner.missing, owner.first
            row[G_LOWEST_OF] = row[G_DESIRED]
            self.a.group_times[self.by_uid[group.uid], GT_SINCE] = owner.since
        self.s[S_MISSED] = self.counts.missed

    def _take_timers(self) -> None:
        """Pods that are starting, or becoming ready, go on doing so as rows."""
        heap = self.clock._heap
        taken = []
        kept = []
        for entry in heap:
            call = entry[3]
            if not waits_for_pod(call) or call.args[0].owner is None or call.args[0].owner.uid not in self.by_uid:
                kept.append(entry)
                continue
            number = call.args[0].order - 1
            kind = _TIMERS[call.func.__name__]
            if kind == STARTED:
                self.a.times[number, T_READY_IN] = -1.0 if call.args[1] is None else call.args[1]
            taken.append((entry[0], entry[2], kind, number))
        heap[:] = kept
        heapq.heapify(heap)
        for at, (time, serial, kind, number) in enumerate(sorted(taken)):  # in order they are a heap already
            self.a.timer_times[at] = time
            self.a.timers[at] = (serial, kind, number)
        self.s[S_TIMERS] = len(taken)
        if taken:
            time, serial = sorted(taken)[0][:2]
            self.next = (time, 0, serial)

    def _take_work(self) -> None:
        """What waits in the work queue, with stamps; syncs of bulk groups and budgets become rows."""
        s, queue = self.s, self.queue
        if queue._armed:
            s[S_QUEUE_ARMED] = DUE_ELSEWHERE
        waiting, stamped = list(queue._work), queue._work
        stamped.clear()
        for controller, key in waiting:
            if controller is self.kube.replicasets and key in self.by_key:
                kind, subject = GROUP, self.by_key[key]
            elif controller is self.kube.statefulsets and key in self.statefulsets:
                kind, subject = GROUP, self.statefulsets[key]
            elif controller is self.kube.disruption and key in self.budget_ids:
                kind, subject = BUDGET, self.budget_ids[key]
            else:
                s[S_STAMP] += 1
                stamped.append((s[S_STAMP], controller, key))
                continue
            controller.pending.discard(key)
            column = (self.a.groups, G_PENDING) if kind == GROUP else (self.a.budgets, B_PENDING)
            column[0][subject, column[1]] = 1
            s[S_STAMP] += 1
            at = (s[S_QUEUE_AT] + s[S_QUEUE_LENGTH]) % len(self.a.queue)
            self.a.queue[at] = (s[S_STAMP], kind, subject)
            s[S_QUEUE_LENGTH] += 1
        self.front_of_work()
        if self.loop._armed:
            s[S_SCHEDULER_ARMED] = DUE_ELSEWHERE
        self.front_of_waiting()

    def _on_node(self, type_: str, resource: str, node: Obj, old: Obj | None) -> None:
        if type_ != "DELETED":
            self.node_changed(node)


def _as_read(pods: Sequence[LeanPod]) -> tuple[list[LeanPod | Obj], dict[Key, int]]:
    """The records, or the objects of pods that one stands for, and the places of these."""
    found: list[LeanPod | Obj] = []
    places: dict[Key, int] = {}
    while len(found) < len(pods):
        one = pods[len(found)]
        if isinstance(one, Several):
            places.update(zip(one.keys, range(len(found), len(found) + len(one.keys)), strict=True))
            found += one.bases
        else:
            found.append(one)
    return found, places


def _figures(spread: Any) -> tuple[float, float, float]:
    return (spread.low, spread.mode, spread.high)
