"""Arrays of bulk pods: their rows, kept in step with the scheduler's view and handed to the compiled part."""

from __future__ import annotations

from typing import (
    Any,
)

import numpy as np

from baton.logic.scheduling.podclass import (
    PodClass,
)
from baton.logic.scheduling.spread import (
    natural_log,
)
from baton.logic.scheduling.state import (
    PodInfo,
)
from baton.twin.bulk import kernel
from baton.twin.bulk.begin import (
    Beyond,
)
from baton.twin.bulk.counts import (
    Counts,
)
from baton.twin.bulk.layout import (
    BIG,
    C_ALL,
    C_DOMAIN_COUNT,
    C_DOMAINS,
    C_HAVE,
    C_LENGTH,
    C_LINES,
    C_LIVE,
    C_PLAN,
    C_ROOM,
    C_ROWS,
    C_VERSION,
    C_WIDTH,
    F_OTHER_QUEUED,
    N_CHASES,
    N_HEAD,
    N_PODS,
    N_SLOT,
    N_TAIL,
    RUNS,
    S_MARGIN,
    S_OTHER_PRIORITY,
    S_OTHER_SERIAL,
    S_OTHER_STAMP,
    S_PODS,
    S_SYNCED,
    S_TIMERS,
    S_TRACKED,
    S_VERSION,
    S_WAITING,
    SHARED,
    Arrays,
)
from baton.twin.bulk.pods import (
    BulkPod,
    Draws,
)
from baton.twin.controllers.base import (
    Group,
    Key,
    Obj,
)
from baton.twin.controllers.lean import (
    LeanPod,
    PodShape,
)
from baton.twin.controllers.scheduling import (
    Waiter,
)

GIVEN = 10  # how many of the shared scalars Python sets before a call
FOREVER = (float("inf"), 0, 0)


def first(pair: tuple[int, Any]) -> int:
    """To sort by."""
    return pair[0]


class Rows:
    """The arrays of one cluster's bulk pods, and the numbers that groups, budgets, nodes, classes and shapes have."""

    s: Any
    f: Any
    addresses: Any
    kubelet_draws: Draws
    name_draws: Draws
    scheduler_draws: Draws

    def __init__(self, kube: Any, counts: Counts) -> None:
        self.kube = kube
        self.cluster = kube.cluster
        self.clock = kube.clock
        self.lean = kube.cluster.lean
        self.loop = kube.scheduling
        self.state = kube.scheduling.state
        self.fast = kube.scheduling.scheduler.fast
        self.planner = self.fast.planner
        self.index = self.planner.index
        self.queue = kube.cluster.queue
        self.counts = counts
        self.waiters: dict[int, Waiter] = {}
        self.groups: list[Group] = []
        self.by_key: dict[Key, int] = {}  # (namespace, ReplicaSet) -> group
        self.daemons: dict[Key, int] = {}  # (namespace, DaemonSet) -> group
        self.by_uid: dict[str, int] = {}  # the controller's -> group
        self.budgets: list[Any] = []
        self.budget_ids: dict[Key, int] = {}
        self.namespaces: dict[str, int] = {}
        self.node_ids: dict[str, int] = {}
        self.node_names: list[str] = []
        self.classes: list[PodClass] = []
        self.class_ids: dict[PodClass, int] = {}
        self.class_groups: list[list[int]] = []
        self._classes_of: list[list[int]] = []  # of each group
        self.shapes: list[PodShape] = []
        self.shape_ids: dict[int, int] = {}
        self.priority_ids: dict[int, int] = {}
        self.read: list[LeanPod] = []  # the records that the first rows were made of
        self.handles: dict[Key, BulkPod] = {}  # whose key somebody knows
        self._calls = 0
        self._infos: dict[int, PodInfo] = {}
        self._merged: dict[int, tuple[tuple[int, int, int], dict[Key, PodInfo]]] = {}
        self.next: tuple[float, int, int] = FOREVER
        self.running = False
        self._rows_of_nodes: dict[Any, None] = {}
        self._domains: dict[Any, int] = {}
        self._pictured: set[int] = set()
        self._images = len(self.state.image_nodes)
        self._epoch = self.state.classes.epoch
        self._probes: list[tuple[float, float]] = []
        self._probe_counts: list[tuple[int, int]] = []
        self._rows_end = 0
        self._class_rows: dict[int, tuple[int, int]] = {}  # of each class, where its figures begin and how many fit
        self._plans_end = 0
        self._domains_end = 0
        self.a: Any = None

    def _set(self, **arrays: Any) -> None:
        """Other arrays than before."""
        self.a = self.a._replace(**arrays)
        for name, array in arrays.items():
            at = 3 * Arrays._fields.index(name)
            self.addresses[at : at + 3] = (array.__array_interface__["data"][0], *array.shape, 0)[:3]

    def _grown(self, name: str, least: int) -> Any:
        """The array of that name with room for `least` rows."""
        old = getattr(self.a, name)
        if len(old) >= least:
            return old
        new = np.zeros((max(least, 2 * len(old)), *old.shape[1:]), dtype=old.dtype)
        new[: len(old)] = old
        self._set(**{name: new})
        return new

    def node_id(self, name: str) -> int:
        """The number of a node's name, a new one where it is new."""
        found = self.node_ids.get(name)
        if found is None:
            found = self.node_ids[name] = len(self.node_names)
            self.node_names.append(name)
            rows = self._grown("nodes", found + 1)
            rows[found] = 0
            rows[found, N_SLOT] = rows[found, N_HEAD] = rows[found, N_TAIL] = -1
        return found

    def node_changed(self, node: Obj) -> None:
        """A node came or changed, the scheduler's view knows it already."""
        name = node["metadata"]["name"]
        number = self.node_id(name)
        row = self.a.nodes[number]
        slot = self.state.nodes.get(name, -1)
        if slot >= len(self.a.node_at):
            self._grown("node_at", self.state.capacity)
        if slot >= 0:
            self.a.node_at[slot] = number
        row[N_CHASES] = any(t.get("effect") == "NoExecute" for t in node["spec"].get("taints") or ())
        if row[N_SLOT] < 0 <= slot and row[N_PODS]:
            self._call(kernel.come_back, number, slot)
        row[N_SLOT] = slot

    def node_gone(self, name: str) -> None:
        """A node is about to leave the scheduler's view: its pods hold nothing there any more."""
        number = self.node_ids.get(name)
        if number is not None and self.a.nodes[number, N_SLOT] >= 0:
            self._call(kernel.leave_node, number)

    def class_id(self, cls: PodClass) -> int:
        """The number of a class, a new one where it is new."""
        found = self.class_ids.get(cls)
        if found is not None:
            return found
        found = self.class_ids[cls] = len(self.classes)
        self.classes.append(cls)
        self.class_groups.append([])
        rows = self._grown("classes", found + 1)
        rows[found] = 0
        self._grown("requests", found + 1)[found] = cls.row
        if cls.index is None:
            self.index.register(cls)
        self.rows_changed(cls)
        return found

    def _belongs(self, cls: int, group: int) -> None:
        """Pods of the class are in the group."""
        self.class_groups[cls].append(group)
        self._classes_of[group].append(cls)

    def rows_changed(self, cls: PodClass) -> None:
        """Other figures than before count pods of the class."""
        number = self.class_ids[cls]
        live, every = cls.index.live_rows, cls.index.all_rows
        row = self.a.classes[number]
        at, room = self._class_rows.get(number, (0, 0))
        if len(live) + len(every) > room:
            at, room = self._rows_end, len(live) + len(every) + 8
            self._class_rows[number] = at, room
            self._rows_end += room
            self._grown("rows", self._rows_end)
            row[C_ROWS] = at
        self.a.rows[at : at + len(live) + len(every)] = live + every
        row[C_LIVE], row[C_ALL] = len(live), len(every)

    def figure_added(self, cls: PodClass, row: int, live: bool) -> None:
        """A new row counts pods of the class; those of other kinds are counted already."""
        number = self.class_ids.get(cls)
        if number is None:
            return
        self.rows_changed(cls)
        if self.a.table is not self.index.table.data:
            self._set(table=self.index.table.data)
        for group in self.class_groups[number]:
            kernel.count_row(self.addresses, group, number, row, live)  # reads pods only: nothing to enter or leave

    def plan_dropped(self, cls: PodClass) -> None:
        """The class's plan has to be made again."""
        number = self.class_ids.get(cls)
        if number is not None:
            self.a.classes[number, C_HAVE] = 0

    def shape_id(self, shape: PodShape, spec: Obj) -> int:
        """The number of a shape, a new one where it is new. `spec` is of one of its pods."""
        found = self.shape_ids.get(id(shape))
        if found is not None:
            return found
        found = self.shape_ids[id(shape)] = len(self.shapes)
        self.shapes.append(shape)
        if shape.facts is None:
            shape.facts = self.kube.kubelets._facts(spec)
        facts = shape.facts
        start = len(self._probe_counts)
        for container in facts.probes:
            self._probe_counts.append((len(self._probes), len(container)))
            self._probes += container
        self._grown("probes", len(self._probes) + 1)
        counts = self._grown("probe_counts", len(self._probe_counts) + 1)
        for i in range(start, len(self._probe_counts)):
            counts[i] = self._probe_counts[i]
            first, many = self._probe_counts[i]
            for j in range(first, first + many):
                self.a.probes[j] = self._probes[j]
        rows = self._grown("shapes", found + 1)
        rows[found] = (facts.init, facts.pre_stop, shape.grace, len(facts.probes), start)
        return found

    def _enter(self) -> None:
        clock, counts, index = self.clock, self.counts, self.index
        self.s[:GIVEN] = (
            clock._serial, self.lean._serial, self.loop._serial, self.fast.start, counts.away, counts.max_away,
            counts.max_pending, counts.pending, index.rows.version, len(self.loop._parked),
        )  # fmt: skip
        self.f[:2] = (clock._now, counts.depth)
        a = self.a
        if a.table is not index.table.data or a.used is not self.state.used:
            self._set(table=index.table.data, used=self.state.used, allocatable=self.state.allocatable)
        draws = (self.kubelet_draws.values, self.name_draws.values, self.scheduler_draws.values)
        if a.kubelet_draws is not draws[0] or a.name_draws is not draws[1] or a.scheduler_draws is not draws[2]:
            self._set(kubelet_draws=draws[0], name_draws=draws[1], scheduler_draws=draws[2])
        if self.state.classes.epoch != self._epoch:
            raise Beyond("the classes of pods were drawn anew")

    def _leave(self) -> None:
        clock, counts = self.clock, self.counts
        (
            clock._serial, self.lean._serial, self.loop._serial, self.fast.start, counts.away, counts.max_away,
            counts.max_pending, _, _, _, priority, serial, work, scheduler, tracked,
        ) = self.s[:SHARED].tolist()  # fmt: skip
        clock._now, counts.depth, time = self.f[:3].tolist()
        self.next = (time, priority, serial)
        self.running = RUNS in (work, scheduler)
        if tracked:
            for at, value in self.a.tracks[:tracked].tolist():
                counts.track("away", at, int(value))
            self.s[S_TRACKED] = 0

    def _call(self, function: Any, *arguments: Any) -> Any:
        """One of the kernel's functions that Python asks for; what it has to tell is told."""
        self._calls += 1
        if self._calls % 16 == 0:  # none of these adds much
            self.make_room()
        self._enter()
        result = function(self.addresses, *arguments)
        self._leave()
        return result

    def make_room(self) -> None:
        """Arrays that hold what one step may add."""
        s, a = self.s, self.a
        margin = int(s[S_MARGIN])
        if s[S_PODS] + margin >= len(a.pods):
            self._grown("times", 2 * len(a.pods))
            self._grown("pods", 2 * len(a.pods))
        for name, used in (("timer_times", S_TIMERS), ("waiting", S_WAITING)):
            if s[used] + margin >= len(getattr(a, name)):
                self._grown(name, 2 * len(getattr(a, name)))
        self._grown("timers", len(self.a.timer_times))
        self._grown("waiting_since", len(self.a.waiting))
        for draws, least in (
            (self.kubelet_draws, 16 * margin),
            (self.name_draws, 4 * margin),
            (self.scheduler_draws, 16),
        ):
            if int(s[draws._at]) + least >= len(draws.values):
                draws.fill()

    def _sync(self) -> None:
        """Rows that follow from nodes, domains and the order of nodes as they are now."""
        index, s = self.index, self.s
        rows = index.rows
        for row in self._rows_of_nodes:
            if row.synced != rows.version:
                rows.sync(row)
        table = self._grown("domains", len(self._domains) + 1)
        for domain, number in self._domains.items():
            table[number, 0], table[number, 1] = len(domain.ids), domain.unique
        order = index.order.get()
        if len(order) + 2 > len(self.fast._logs):
            self.fast._logs = np.array([natural_log(n + 2.0) for n in range(2 * len(order))])
        self._set(order=order, logs=self.fast._logs)
        if len(self.state.image_nodes) != self._images:
            self._images = len(self.state.image_nodes)
            self.a.classes[:, C_HAVE] = 0
        for number in self._pictured:
            self.a.classes[number, C_HAVE] = 0
        s[S_SYNCED] = s[S_VERSION] = rows.version

    def _plan(self, number: int) -> None:
        """The class's plan, made or brought up to date."""
        cls = self.classes[number]
        plan = self.planner.plan(cls)
        if plan.scalars:
            raise Beyond("a pod asks for extended resources")
        array = plan.array
        row = self.a.classes[number]
        if len(array) > row[C_ROOM] or row[C_PLAN] + row[C_ROOM] == 0:
            start = self._plans_end
            self._plans_end += len(array) + 8
            self._grown("plans", self._plans_end)
            row = self.a.classes[number]
            row[C_PLAN], row[C_ROOM] = start, len(array) + 8
        at = int(row[C_PLAN])
        self.a.plans[at : at + len(array)] = array
        row[C_LENGTH], row[C_LINES], row[C_WIDTH] = len(array), plan.lines, plan.width
        many = len(plan.domains)
        known_before = len(self._domains)
        start = self._domains_end
        self._domains_end += many
        rows = self._grown("domain_of", self._domains_end + 1)
        for i, (place, domain, sparing) in enumerate(plan.domains):
            known = self._domains.setdefault(domain, len(self._domains))
            rows[start + i] = (place, known, sparing)
        row[C_DOMAINS], row[C_DOMAIN_COUNT] = start, many
        row[C_VERSION], row[C_HAVE] = self.index.rows.version, 1
        for node_row in plan.node_rows:
            self._rows_of_nodes[node_row] = None
        if any(image in self.state.image_nodes for image in plan.images):
            self._pictured.add(number)
        if self.s[S_SYNCED] != self.index.rows.version or len(self._domains) > known_before:
            self._sync()
        row[C_HAVE] = 1

    def _priority(self, value: int) -> int:
        return self.priority_ids.setdefault(value, len(self.priority_ids))

    def front_of_work(self) -> None:
        work = self.queue._work
        self.s[S_OTHER_STAMP] = work[0][0] if work else BIG

    def front_of_waiting(self) -> None:
        heap = self.loop._heap
        s = self.s
        if heap:
            s[S_OTHER_PRIORITY], self.f[F_OTHER_QUEUED], s[S_OTHER_SERIAL] = heap[0][:3]
        else:
            s[S_OTHER_SERIAL] = BIG
