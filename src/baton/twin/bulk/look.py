"""Looking at bulk pods: handles and records of single ones, lists per node and group, totals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import (
    Iterable,
)
from typing import (
    Any,
)

import numpy as np

from baton.logic.scheduling.infos import PodInfo
from baton.twin.bulk.counts import (
    GroupTotals,
    Totals,
)
from baton.twin.bulk.layout import (
    B_ALLOWED,
    B_DESIRED,
    B_DIRTY,
    B_EXPECTED,
    B_HEALTHY,
    B_STALE,
    BIG,
    E_BUDGET,
    F_LONGEST,
    G_ACTIVE,
    G_BUDGET_AT,
    G_BUDGETS,
    G_DESIRED,
    G_DIRTY,
    G_EVICTED,
    G_FIRST,
    G_HEAD,
    G_LOWEST,
    G_LOWEST_OF,
    G_MISSING,
    G_READY,
    GONE,
    GT_SINCE,
    LIST_NODE,
    N_LEAVING,
    N_PODS,
    N_SLOT,
    N_VERSION,
    P_CLASS,
    P_FLAGS,
    P_GNEXT,
    P_GROUP,
    P_LIMIT,
    P_NAME,
    P_NODE,
    P_ORDER,
    P_PIN,
    P_SEAT,
    P_SERIAL,
    P_SHAPE,
    READY,
    RUNNING,
    S_EVICTIONS,
    S_FORCED,
    S_MISSED,
    S_PENDING,
    S_PLACEMENTS,
    S_PODS,
    S_REPEATED,
    S_WAITED,
    SEAT_POD,
    T_BOUND,
    T_CHANGED,
    T_MADE,
    T_SINCE,
    T_STARTED,
    T_TOLD,
    TERMINATING,
)
from baton.twin.bulk.pods import (
    BulkPod,
    letters,
)
from baton.twin.bulk.rows import (
    Rows,
    first,
)
from baton.twin.controllers.base import (
    Group,
    Key,
    Obj,
    Pod,
)
from baton.twin.controllers.lean import (
    LeanPod,
    PodShape,
    start_time,
)
from baton.twin.controllers.scheduling import (
    Waiter,
)


class Look(Rows, ABC):
    """What others ask about bulk pods."""

    def pods_on(self, slot: int, others: dict[Key, PodInfo]) -> dict[Key, PodInfo]:
        """What the scheduler keeps of the pods on a node, in the order of binding."""
        node = int(self.a.node_at[slot]) if slot < len(self.a.node_at) else -1
        if node < 0:
            return others
        row = self.a.nodes[node].tolist()
        if row[N_SLOT] != slot or not row[N_PODS]:
            return others
        version = (node, row[N_VERSION], self.state.versions[slot])
        known = self._merged.get(slot)
        if known is not None and known[0] == version:
            return known[1]
        found = [(order, self._info(pod, flags, slot)) for order, pod, flags in self._list(LIST_NODE, node)]
        found += [(i._pod.order, i) for i in others.values()]  # type: ignore[union-attr]
        found.sort(key=first)
        merged = {info.key: info for _, info in found}
        self._merged[slot] = (version, merged)
        return merged

    def merged(self, node: str, others: Iterable[LeanPod]) -> list[Pod]:
        """The pods on a node, in the order of binding."""
        found: list[tuple[int, Pod]] = [(p.order, p) for p in others]
        number = self.node_ids.get(node)
        if number is not None:
            found += [(order, self.handle(pod)) for order, pod, _ in self._list(LIST_NODE, number)]
            found.sort(key=first)
        return [pod for _, pod in found]

    def has_pods(self, node: str) -> bool:
        """Whether bulk pods are on the node."""
        number = self.node_ids.get(node)
        return number is not None and bool(self.a.nodes[number, N_PODS])

    def drain_keys(self, node: str, stays: Any) -> list[Any]:
        """KubeTwin.drain_keys: numbers of bulk pods, keys of the others, in the order of binding."""
        others = self.lean.by_node.get(node)
        found: list[Any] = [[p.order, p.key] for p in others.values() if not stays(p)] if others else []
        if self.has_pods(node):
            listed = self._list(LIST_NODE, self.node_ids[node], 1)  # in this order already
            found = sorted(found + listed, key=first) if found else listed
        return [entry[1] for entry in found]

    def info(self, pod: BulkPod) -> PodInfo:
        """What the scheduler keeps of it."""
        p = self.a.pods[pod.id]
        node = int(p[P_NODE])
        return self._info(pod.id, int(p[P_FLAGS]), int(self.a.nodes[node, N_SLOT]) if node >= 0 else -1)

    def _info(self, number: int, flags: int, slot: int) -> PodInfo:
        found = self._infos.get(number)
        if found is None:
            cls = self.classes[int(self.a.pods[number, P_CLASS])]
            pin = int(self.a.pods[number, P_PIN])
            wanted = self.node_names[pin] if pin >= 0 else None
            seat = int(self.a.pods[number, P_SEAT])
            claims = self.seats[seat].claims if seat >= 0 else ()
            found = self._infos[number] = PodInfo(self.handle(number), cls, wanted, cls.request, claims, False)
        found.terminating = bool(flags & TERMINATING)
        found.slot = slot
        return found

    def handle(self, number: int) -> BulkPod:
        return BulkPod(self, number)

    def key_of(self, number: int) -> Key:
        """(namespace, name); whoever knows it may ask `find` for the pod."""
        if number < len(self.read):
            key: Key = self.as_read(number).key
        else:
            group, seat = self.groups[int(self.a.pods[number, P_GROUP])], int(self.a.pods[number, P_SEAT])
            if seat >= 0:
                key = (group.namespace, self.seats[seat].name)
            else:
                key = (group.namespace, f"{group.name}-{letters(int(self.a.pods[number, P_NAME]))}")
        known = self.handles.get(key)
        if known is None or known.gone:  # a StatefulSet's pods follow each other under one name
            self.handles[key] = BulkPod(self, number)
        return key

    def find(self, key: Key) -> BulkPod | None:
        """The pod of that (namespace, name), if it is one of these."""
        known = self.handles.get(key)
        if known is not None and not known.gone:
            return known
        seat = self._seat_of.get(key)
        if seat is not None:
            pod = int(self.a.seats[seat, SEAT_POD])
            return self.handle(pod) if pod >= 0 else None
        owner, _, _ = key[1].rpartition("-")
        for number in (self.by_key.get((key[0], owner)), self.daemons.get((key[0], owner))):
            pod = int(self.a.groups[number, G_HEAD]) if number is not None else -1
            while pod >= 0:
                if self.key_of(pod) == key:
                    return self.handles[key]
                pod = int(self.a.pods[pod, P_GNEXT])
        return None

    def objects(self, namespace: str | None) -> list[Obj]:
        """The objects of all, or of one namespace."""
        pods = [self.handle(number) for number in self._alive()]
        return [p.obj for p in pods if namespace in (None, "", p.namespace)]

    def count(self) -> int:
        """How many there are."""
        return len(self._alive())

    def among(self, others: list[Waiter]) -> list[Waiter]:
        """Waiters in the order in which their pods were made."""
        mine = [(int(self.a.pods[n, P_SERIAL]), w) for n, w in self.waiters.items() if w.attempts and not w.pod.gone]
        found = mine + [(w.pod.serial if isinstance(w.pod, LeanPod) else 0, w) for w in others]
        found.sort(key=first)
        return [waiter for _, waiter in found]

    def as_read(self, number: int) -> LeanPod:
        """The record that the row was made of."""
        read = self.read[number]
        if isinstance(read, dict):
            meta = read["metadata"]
            shape = self.shape_of(number)
            read = LeanPod((meta["namespace"], meta["name"]), shape, meta.get("labels") or {}, "", read)
            self.read[number] = read
        return read

    def shape_of(self, number: int) -> PodShape:
        seat = int(self.a.pods[number, P_SEAT])
        if seat < 0 or number < len(self.read):
            return self.shapes[int(self.a.pods[number, P_SHAPE])]
        found = self._seat_shapes.get(seat)
        if found is None:
            found = self._seat_shapes[seat] = self.shape_for(seat)
        return found

    @abstractmethod
    def shape_for(self, seat: int) -> PodShape:
        """What the next pod of an ordinal looks like."""

    def labels_of(self, number: int) -> Any:
        return self.as_read(number).labels if number < len(self.read) else self.shape_of(number).labels

    def budgets_of(self, group: int) -> tuple[Any, ...]:
        row = self.a.groups[group]
        at = int(row[G_BUDGET_AT])
        entries = self.a.group_budgets[at : at + int(row[G_BUDGETS])].tolist()
        found = tuple(self.budgets[int(self.a.entries[e, E_BUDGET])] for e in entries)
        for budget in found:
            self.read_budget(budget)
        return found

    def read_budget(self, budget: Any) -> None:
        """Bring a Budget's figures up to date."""
        number = self.budget_ids.get(budget.key)
        if number is None:
            return
        row = self.a.budgets[number].tolist()
        budget.allowed, budget.healthy, budget.desired = row[B_ALLOWED], row[B_HEALTHY], row[B_DESIRED]
        budget.expected, budget.stale = row[B_EXPECTED], bool(row[B_STALE])
        budget.denied = ("", "") if budget.allowed else ("InsufficientPods", "")

    def changed_budgets(self) -> Iterable[Any]:
        """Budgets whose figures changed since they were asked for."""
        for number in np.flatnonzero(self.a.budgets[:, B_DIRTY]).tolist():
            self.a.budgets[number, B_DIRTY] = 0
            budget = self.budgets[number]
            self.read_budget(budget)
            yield budget

    def changed_groups(self, kind: str) -> Iterable[Key]:
        """ReplicaSets, DaemonSets or StatefulSets whose counts changed since they were asked for."""
        for number in np.flatnonzero(self.a.groups[:, G_DIRTY]).tolist():
            group = self.groups[number]
            if group.kind == kind:
                self.a.groups[number, G_DIRTY] = 0
                self.read_group(group)
                yield group.key

    def read_group(self, group: Group) -> None:
        """Bring a Group's counts up to date."""
        number = self.by_uid.get(group.uid)
        if number is not None:
            group.active, group.ready = (int(self.a.groups[number, c]) for c in (G_ACTIVE, G_READY))
            if group.kind == "DaemonSet":
                group.desired = int(self.a.groups[number, G_DESIRED])

    def pods_of(self, group: Group) -> dict[str, Pod]:
        """Handles of a group's pods, by name; none for another's."""
        number = self.by_uid.get(group.uid)
        found: dict[str, Pod] = {}
        if number is not None:
            pod = int(self.a.groups[number, G_HEAD])
            while pod >= 0:
                handle = self.handle(pod)
                found[handle.name] = handle
                pod = int(self.a.pods[pod, P_GNEXT])
        return found

    def record(self, number: int) -> LeanPod:
        """A record of the pod as it is now, for those who want to see its object."""
        p, t = self.a.pods[number].tolist(), self.a.times[number].tolist()
        shape = self.shape_of(number)
        pin = self.node_names[p[P_PIN]] if p[P_PIN] >= 0 else ""
        made = LeanPod(self.key_of(number), shape, self.labels_of(number), pin)
        if number < len(self.read):
            read = self.as_read(number)
            made.base, made.spec = read.base, read.spec
        flags = p[P_FLAGS]
        made.phase = "Running" if flags & RUNNING else "Pending"
        made.ready, made.terminating, made.gone = bool(flags & READY), bool(flags & TERMINATING), bool(flags & GONE)
        made.node = self.node_names[p[P_NODE]] if p[P_NODE] >= 0 else ""
        made.owner = self.groups[p[P_GROUP]]
        made.limit, made.serial, made.order = p[P_LIMIT], p[P_SERIAL], p[P_ORDER]
        made.made_at, made.told_at, made.bound_at = t[T_MADE], t[T_TOLD], t[T_BOUND]
        made.started_at, made.changed_at = t[T_STARTED], t[T_CHANGED]
        made.scheduling = self.waiters.get(number)
        return made

    def start_time(self, number: int) -> str:
        """BulkPod.start_time."""
        base = self.as_read(number).base if number < len(self.read) else None
        return start_time(base, float(self.a.times[number, T_STARTED]))

    def _alive(self) -> list[int]:
        flags = self.a.pods[: int(self.s[S_PODS]), P_FLAGS]
        return np.flatnonzero((flags & GONE) == 0).tolist()

    def lowest_priority(self) -> int:
        """The lowest priority of a bulk pod on a node; a very high one when there is none."""
        return min((p for p, at in self.priority_ids.items() if self.a.priorities[at] > 0), default=BIG)

    @property
    def pending(self) -> int:
        """Bulk pods that wait for a node."""
        return int(self.s[S_PENDING])

    def next_missed(self) -> int:
        """The place of a group that misses a replica for the first time."""
        self.s[S_MISSED] += 1
        return int(self.s[S_MISSED]) - 1

    def totals(self) -> Totals:
        """What was counted so far."""
        s = self.s
        groups = []
        for group, row, times in zip(self.groups, self.a.groups.tolist(), self.a.group_times.tolist(), strict=True):
            lowest = row[G_LOWEST] if row[G_LOWEST] < BIG else None
            groups.append(
                GroupTotals(
                    group, row[G_EVICTED], lowest, row[G_LOWEST_OF], row[G_FIRST], row[G_MISSING], times[GT_SINCE]
                )
            )
        return Totals(
            placements=int(s[S_PLACEMENTS]),
            evictions=int(s[S_EVICTIONS]),
            repeated=int(s[S_REPEATED]),
            forced=int(s[S_FORCED]),
            waited=int(s[S_WAITED]),
            longest=float(self.f[F_LONGEST]),
            groups=groups,
        )

    def pending_since(self) -> list[float]:
        """Since when each bulk pod without a node has been waiting."""
        return [float(self.a.times[n, T_SINCE]) for n in self._alive() if self.a.pods[n, P_NODE] < 0]

    def leaving(self, node: str) -> int:
        """Pods whose eviction the node's drain waits for."""
        return int(self.a.nodes[self.node_id(node), N_LEAVING])
