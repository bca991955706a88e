"""How pods are moved into bulk."""

from __future__ import annotations

import heapq
from collections.abc import (
    Mapping,
    Sequence,
)
from functools import partial
from typing import (
    Any,
)

import numpy as np

from baton.twin.bulk.candidates import (
    rule_of,
)
from baton.twin.bulk.layout import (
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
    DUE_ELSEWHERE,
    FRESH,
    G_ACTIVE,
    G_BUDGET_AT,
    G_BUDGETS,
    G_CLASS,
    G_DAEMON,
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
    N_HEAD,
    N_PODS,
    N_TAIL,
    NAMES,
    NODE_COLUMNS,
    P_GNEXT,
    P_NEXT,
    P_NODE,
    P_ORDER,
    P_PREV,
    POD_COLUMNS,
    POD_TIMES,
    READY,
    RUNNING,
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
    code_of,
)
from baton.twin.controllers.base import (
    Group,
    Obj,
)
from baton.twin.controllers.lean import (
    LeanPod,
)
from baton.twin.timings import (
    PodTimes,
)

_TIMERS = {"_started": STARTED, "_became_ready": BECAME_READY, "_stopped": STOPPED}


def waits_for_pod(call: Any) -> bool:
    """Whether a call of the clock is about what a pod does next."""
    return isinstance(call, partial) and bool(call.args) and isinstance(call.args[0], LeanPod)


class Taking(Look):
    """Records of pods become rows, and everybody who knew the records learns of it."""

    def _build(self, groups: Sequence[Group], budgets: Sequence[Any]) -> None:
        pods: list[Any] = [p for g in groups for p in g.pods.values()]
        count = len(pods)
        margin = max(len(g.pods) for g in groups) + 64
        room = count + count // 2 + 4 * margin
        s, f = np.zeros(SCALARS, dtype=np.int64), np.zeros(SECONDS)
        self.s, self.f = s, f
        s[S_MARGIN] = margin
        s[S_OTHER_STAMP] = s[S_OTHER_SERIAL] = BIG
        s[S_TRACK] = self.counts.tracks is not None
        loop, kubelets = self.loop, self.kube.kubelets
        self.kubelet_draws = Draws(kubelets._rng, s, S_KUBELET_DRAW, 16 * margin + 4096)
        self.name_draws = Draws(self.cluster.names, s, S_NAME_DRAW, 4 * margin + 4096)
        self.scheduler_draws = Draws(loop._rng, s, S_SCHEDULER_DRAW, 1024)
        timings = self.cluster.settings.timings
        spreads = np.array([_figures(timings.init_container), _figures(timings.readiness_phase)])
        table = self.index.table.data
        self.a = Arrays(
            scalars=s,
            seconds=f,
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
            notes=np.zeros((256, 3), dtype=np.int64),
            names=np.zeros(NAMES, dtype=np.uint8),
            table=table,
            allocatable=self.state.allocatable,
            used=self.state.used,
            order=self.index.order.get(),
            logs=self.fast._logs,
            extra=np.zeros(1, dtype=np.bool_),
        )
        self.addresses = np.zeros(3 * len(Arrays._fields), dtype=np.int64)
        self._set(**self.a._asdict())
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
            daemon = group.kind == "DaemonSet"
            (self.daemons if daemon else self.by_key)[group.key] = number
            self.by_uid[group.uid] = number
            first = next(iter(group.pods.values()))
            row, times = a.groups[number], a.group_times[number]
            row[G_ACTIVE], row[G_READY], row[G_DESIRED] = group.active, group.ready, group.desired
            row[G_HEAD] = row[G_TAIL] = row[G_SHAPE] = row[G_CLASS] = row[G_FIRST] = -1
            row[G_LOWEST] = BIG
            row[G_DAEMON] = daemon
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
                entries.append((self.budget_ids[budget.key], len(group.pods), scale[1] if scale else 0))
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

    def _write_budget(self, number: int, budget: Any) -> None:
        row = self.a.budgets[number]
        row[B_ALLOWED], row[B_HEALTHY], row[B_DESIRED] = budget.allowed, budget.healthy, budget.desired
        row[B_EXPECTED], row[B_PODS], row[B_COUNTED] = budget.expected, len(budget.pods), len(budget.counted)
        row[B_ALWAYS], row[B_STALE], row[B_FROM_SCALE] = budget.always_allow, budget.stale, budget.from_scale
        row[B_KIND], row[B_VALUE] = rule_of(budget.spec)
        if budget.from_scale:
            scale = budget.scale if budget.scale is not None else self.kube.disruption._scale(budget)
            row[B_SCALE] = scale[0]
        row[B_DIRTY] = budget.key in self.kube.disruption._unpublished

    def _add_nodes(self) -> None:
        for node in self.cluster.world.items("nodes"):
            self.node_changed(node)

    def _add_pods(self, pods: Sequence[Any]) -> None:
        """Rows for the records, in the order of their groups; nodes hold them in the order of binding."""
        s = self.s
        numbers = {id(p): i for i, p in enumerate(pods)}
        self.read = list(pods)
        group_of = {id(g): i for i, g in enumerate(self.groups)}
        rows: list[tuple[int, ...]] = []
        times: list[tuple[float, ...]] = []
        previous, last_group, group, prefix = -1, None, -1, ""
        fresh, names, heads = self.counts.fresh, [], []
        for number, pod in enumerate(pods):
            if pod.owner is not last_group:
                last_group, previous = pod.owner, -1
                group, prefix = group_of[id(last_group)], last_group.name + "-"
                heads.append((group, number))
            shape = self.shape_id(pod.shape, pod.spec)
            cls = self.class_id(self.lean.info(pod).cls)
            if cls not in self._classes_of[group]:
                self._belongs(cls, group)
            code = code_of(pod.name, prefix)
            names.append(code)
            flags = (RUNNING if pod.phase == "Running" else 0) | (READY if pod.ready else 0)
            if pod.budgets and pod.key in pod.budgets[0].counted:
                flags |= COUNTED
            if pod.key in fresh:
                flags |= FRESH
            pin = self.node_id(pod.pin) if pod.pin else -1
            lists = (-1, -1, previous, number + 1)
            rows.append((group, cls, shape, -1, flags, code, *lists, pod.serial, pod.limit, 0, pin))
            times.append((pod.made_at, pod.told_at, pod.bound_at, pod.started_at, pod.changed_at, 0.0, -1.0))
            previous = number
        ends = [*(number for _, number in heads[1:]), len(pods)]
        for (group, number), end in zip(heads, ends, strict=True):
            self.a.groups[group, G_HEAD], self.a.groups[group, G_TAIL] = number, end - 1
        for code in names:
            if code >= 0 and self.a.names[code] < 255:
                self.a.names[code] += 1
        a = self.a
        a.pods[: len(pods)] = rows
        a.times[: len(pods)] = times
        for group in range(len(self.groups)):
            a.pods[a.groups[group, G_TAIL], P_GNEXT] = -1
            a.priorities[a.groups[group, G_PRIORITY_AT]] += len(self.groups[group].pods)
        order = 0
        for name, there in self.lean.by_node.items():
            node = self.node_ids.get(name, -1)
            for pod in there.values():
                order += 1
                number = numbers.get(id(pod), -1)
                if number < 0:
                    pod.order = order
                    continue
                row, last = a.pods[number], a.nodes[node, N_TAIL]
                row[P_NODE], row[P_ORDER], row[P_PREV] = node, order, last
                if last >= 0:
                    a.pods[last, P_NEXT] = number
                else:
                    a.nodes[node, N_HEAD] = number
                a.nodes[node, N_TAIL] = number
                a.nodes[node, N_PODS] += 1
        s[S_ORDER] = order
        s[S_PODS] = len(pods)

    def _take_over(self, groups: Sequence[Group], budgets: Sequence[Any], pods: Sequence[LeanPod]) -> None:
        """Out of the dictionaries with what are rows now; then everybody knows."""
        lean, state = self.lean, self.state
        ours = {id(p) for p in pods}
        keys = {p.key for p in pods}
        for name, there in lean.by_node.items():
            lean.by_node[name] = {k: p for k, p in there.items() if id(p) not in ours}
        for name, named in lean.by_namespace.items():
            lean.by_namespace[name] = {k: p for k, p in named.items() if id(p) not in ours}
        lean.by_key = {k: p for k, p in lean.by_key.items() if id(p) not in ours}
        state.pods = {k: i for k, i in state.pods.items() if k not in keys}
        for slot, at in enumerate(state.pods_at):
            state.pods_at[slot] = {k: i for k, i in at.items() if k not in keys}
        state.pods_with_affinity = {k: i for k, i in state.pods_with_affinity.items() if k not in keys}
        for cls in self.classes:
            cls.index.pods = {k: i for k, i in cls.index.pods.items() if k not in keys}
        daemons = [g for g in groups if g.kind == "DaemonSet"]
        of_sets = [i for i, p in enumerate(pods) if p.owner in daemons]
        self.kube.daemonsets.take(daemons, {pods[i].key: self.handle(i) for i in of_sets})
        for group in groups:
            group.pods = {}
            count = self.loop._priorities
            row = self.a.groups[self.by_uid[group.uid]]
            value = int(row[G_PRIORITY])
            count[value] -= int(row[G_ACTIVE])
            if not count[value]:
                del count[value]
        for budget in budgets:
            budget.pods, budget.counted = {}, set()
        self._take_counts(groups)
        self._take_timers({id(p): i for i, p in enumerate(pods)})
        self._take_work()
        self.kube.kubelets._rng = self.kubelet_draws
        self.cluster.names = self.name_draws
        self.loop._rng = self.scheduler_draws
        self.kube.bulk = self.cluster.bulk = self.lean.bulk = self.clock.bulk = self.queue.bulk = self
        self.state.elsewhere = self
        self.cluster.world.subscribe(self._on_node, ["nodes"])

    def _take_counts(self, groups: Sequence[Group]) -> None:
        for group, owner in self.counts.take_owners(self, groups):
            row = self.a.groups[self.by_uid[group.uid]]
            row[G_LOWEST], row[G_MISSING], row[G_FIRST] = owner.lowest, owner.missing, owner.first
            row[G_LOWEST_OF] = row[G_DESIRED]
            self.a.group_times[self.by_uid[group.uid], GT_SINCE] = owner.since
        self.s[S_MISSED] = self.counts.missed

    def _take_timers(self, numbers: Mapping[int, int]) -> None:
        """Pods that are starting, or becoming ready, go on doing so as rows."""
        heap = self.clock._heap
        taken = []
        kept = []
        for entry in heap:
            number = numbers.get(id(entry[3].args[0]), -1) if waits_for_pod(entry[3]) else -1
            if number < 0:
                kept.append(entry)
                continue
            call = entry[3]
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
            elif controller is self.kube.disruption and key in self.budget_ids:
                kind, subject = BUDGET, self.budget_ids[key]
            else:
                s[S_STAMP] += 1
                stamped.append((int(s[S_STAMP]), controller, key))
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


def _figures(spread: Any) -> tuple[float, float, float]:
    return (spread.low, spread.mode, spread.high)
