"""Arrays of bulk pods: their rows, kept in step with the scheduler's view and handed to the compiled part."""

from __future__ import annotations

from collections.abc import (
    Callable,
    Iterable,
    Sequence,
)
from struct import Struct
from typing import (
    Any,
)

import numpy as np

from baton.logic.scheduling.infos import PodInfo
from baton.logic.scheduling.native import (
    UNKNOWN,
    workspace,
)
from baton.logic.scheduling.place import (
    H_MASKS,
    HEADER,
)
from baton.logic.scheduling.podclass import (
    PodClass,
)
from baton.logic.scheduling.spread import (
    natural_log,
)
from baton.twin.bulk.begin import (
    Beyond,
)
from baton.twin.bulk.counts import (
    Counts,
)
from baton.twin.bulk.layout import (
    ANYBODY,
    BIG,
    C_ALL,
    C_AMONG,
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
    COME_BACK,
    COUNT_ROW,
    EMPTY_SPOT,
    F_OTHER_QUEUED,
    LEAVE_NODE,
    LISTED_FROM_SLOTS,
    N_CHASES,
    N_HEAD,
    N_PODS,
    N_SLOT,
    N_TAIL,
    NO_OTHERS,
    NOBODY,
    RUNS,
    S_MARGIN,
    S_OTHER_PRIORITY,
    S_OTHER_SERIAL,
    S_OTHER_STAMP,
    S_PODS,
    S_QUEUE_AT,
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
    Seat,
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

# the scalars that pass at every call, by the ten thousand: packed by struct, which is several times quicker than numpy
_GIVEN = Struct("=10q")  # what Python sets before a call
_TAKEN = Struct(f"={SHARED}q")  # and what it reads after it
_GIVEN_SECONDS, _TAKEN_SECONDS = Struct("=2d"), Struct("=3d")
FOREVER = (float("inf"), 0, 0)

_PLACES = {name: 3 * i for i, name in enumerate(Arrays._fields)}  # in the table of addresses


def first(pair: tuple[int, Any]) -> int:
    """To sort by."""
    return pair[0]


class Rows:
    """The arrays of one cluster's bulk pods, and the numbers that groups, budgets, nodes, classes and shapes have."""

    s: Any  # the scalars and seconds of `a`, whose single numbers Python reads and writes twice as fast in this form
    f: Any
    ask: Callable[..., int]
    addresses: Any
    address: int  # of the addresses
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
        self.statefulsets: dict[Key, int] = {}  # (namespace, StatefulSet) -> group
        self.seats: list[Seat] = []
        self._seat_of: dict[Key, int] = {}  # of a pod's (namespace, name)
        self._seat_shapes: dict[int, PodShape] = {}
        self.revisions: dict[str, int] = {}  # hash of a DaemonSet's template -> its number
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
        self.read: list[LeanPod | Obj] = []  # the records, or objects, that the first rows were made of
        self.handles: dict[Key, BulkPod] = {}  # whose key somebody knows
        self._calls = 0
        self._infos: dict[int, PodInfo] = {}
        self._merged: dict[int, tuple[tuple[int, int, int], dict[Key, PodInfo]]] = {}
        self.next: tuple[float, int, int] = FOREVER
        self._order: Any = None  # the scheduler's array that `a.order` holds as far as it goes
        self.running = False
        self._rows_of_nodes: dict[Any, None] = {}
        self._domains: dict[Any, int] = {}
        self._pictured: set[int] = set()
        self._masks: dict[tuple[int, ...], int] = {}
        self._workspace = (0, 1, 0, 0)
        self._lines = self._longest = 1  # of all plans: domain sums at once, numbers
        self._images = len(self.state.image_nodes)
        self._probes: list[tuple[float, float]] = []
        self._probe_counts: list[tuple[int, int]] = []
        self._probes_at: dict[tuple[tuple[tuple[float, float], ...], ...], int] = {}
        self._rows_end = 0
        self._class_rows: dict[int, tuple[int, int]] = {}  # of each class, where its figures begin and how many fit
        self._plans_end = 0
        self._domains_end = 0
        self.a: Any = None

    def _set(self, **arrays: Any) -> None:
        """Other arrays than before."""
        self.a = self.a._replace(**arrays)
        for name, array in arrays.items():
            at = _PLACES[name]
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
            self._room_for_nodes()
        return found

    def node_row(self, name: str) -> Any:
        """What is kept of a node."""
        number = self.node_id(name)
        return self.a.nodes[number]

    def _room_for_nodes(self) -> None:
        """A place in the queue for every node, and a spot of every DaemonSet."""
        s, queue, entries = self.s, self.a.queue, len(self.groups) + len(self.budgets) + len(self.node_names)
        if entries >= len(queue):
            turned = np.roll(queue, -s[S_QUEUE_AT], axis=0)
            s[S_QUEUE_AT] = 0
            self._set(queue=np.concatenate((turned, np.zeros_like(turned))))
        there, least = len(self.a.spots), len(self.node_names) * len(self.a.daemons)
        if least > there:
            self._grown("spots", least)[there:] = EMPTY_SPOT

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
        for taint in node["spec"].get("taints") or ():
            if taint.get("effect") == "NoExecute":
                if row[N_CHASES] == NOBODY:
                    row[N_CHASES] = ANYBODY if row[N_PODS] or self.lean.anybody_on(name) else NO_OTHERS
                break
        else:
            row[N_CHASES] = NOBODY
        if row[N_SLOT] != slot:
            if row[N_SLOT] < 0 and row[N_PODS]:
                self._call(COME_BACK, number, slot)
            row[N_SLOT] = slot

    def node_gone(self, name: str) -> None:
        """A node is about to leave the scheduler's view: its pods hold nothing there any more."""
        number = self.node_ids.get(name)
        if number is not None and self.a.nodes[number, N_SLOT] >= 0:
            if self.a.table is not self.index.table.data or self.a.used is not self.state.used:
                self._share_figures()
            # counts its pods no more: nothing else to enter or leave
            self.ask(LEAVE_NODE, self.address, number, 0, 0, 0, 0.0, 0.0)

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
            self._share_figures()
        for group in self.class_groups[number]:
            # reads pods only: nothing to enter or leave
            self.ask(COUNT_ROW, self.address, group, number, row, int(live), 0.0, 0.0)

    def _share_figures(self) -> None:
        """The scheduler's figures lie in other arrays than before."""
        table = self.index.table.data
        self._set(table=table, used=self.state.used, allocatable=self.state.allocatable)
        if self.state.capacity >= LISTED_FROM_SLOTS:
            self._grown("few", len(table))
            self._grown("places_of", table.shape[1])

    def rows_counted(self, rows: Iterable[int]) -> None:
        """Other pods than those in bulk came or went in these rows of figures."""
        few = self.a.few
        if len(few):
            for row in rows:
                few[row, 0] = UNKNOWN

    def classes_dropped(self) -> None:
        """Every class of pods is drawn anew."""
        raise Beyond("the classes of pods were drawn anew")

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
        start = self._probes_at.get(facts.probes)
        if start is None:
            start = self._probes_at[facts.probes] = self._add_probes(facts.probes)
        rows = self._grown("shapes", found + 1)
        rows[found] = (facts.init, facts.pre_stop, shape.grace, len(facts.probes), start)
        return found

    def _add_probes(self, probes: Sequence[Sequence[tuple[float, float]]]) -> int:
        """Where the counts of these containers' probes begin."""
        start = len(self._probe_counts)
        for container in probes:
            self._probe_counts.append((len(self._probes), len(container)))
            self._probes += container
        if probes:
            begin = self._probe_counts[start][0]
            self._grown("probes", len(self._probes) + 1)[begin : len(self._probes)] = self._probes[begin:]
            counts = self._grown("probe_counts", len(self._probe_counts) + 1)
            counts[start : len(self._probe_counts)] = self._probe_counts[start:]
        return start

    def _enter(self) -> None:
        clock, counts, index = self.clock, self.counts, self.index
        _GIVEN.pack_into(
            self.s, 0, clock._serial, self.lean._serial, self.loop._serial, self.fast.start, counts.away,
            counts.max_away, counts.max_pending, counts.pending, index.rows.version, len(self.loop._parked),
        )  # fmt: skip
        _GIVEN_SECONDS.pack_into(self.f, 0, clock._now, counts.depth)
        a = self.a
        if a.table is not index.table.data or a.used is not self.state.used:
            self._share_figures()

    def _leave(self) -> None:
        clock, counts = self.clock, self.counts
        (
            clock._serial, self.lean._serial, self.loop._serial, self.fast.start, counts.away, counts.max_away,
            counts.max_pending, _, _, _, priority, serial, work, scheduler, tracked,
        ) = _TAKEN.unpack_from(self.s)  # fmt: skip
        clock._now, counts.depth, time = _TAKEN_SECONDS.unpack_from(self.f)
        self.next = (time, priority, serial)
        self.running = work == RUNS or scheduler == RUNS
        if tracked:
            for at, value in self.a.tracks[:tracked].tolist():
                counts.track("away", at, int(value))
            self.s[S_TRACKED] = 0

    def _call(self, what: int, i: int = 0, j: int = 0, k: int = 0, m: int = 0, x: float = 0.0) -> int:
        """Something that Python asks of the compiled part: what it has to tell is told."""
        self._calls += 1
        if self._calls % 16 == 0:  # none of these adds much
            self.make_room()
        self._enter()
        result = self.ask(what, self.address, i, j, k, m, x, 0.0)
        self._leave()
        return result

    def _list(self, what: int, of: int, which: int = 0) -> list[list[int]]:
        """The rows of one of the kernel's lists."""
        count = self.ask(what, self.address, of, which, 0, 0, 0.0, 0.0)
        if count > len(self.a.lists):
            self._grown("lists", count)
            self.ask(what, self.address, of, which, 0, 0, 0.0, 0.0)
        rows: list[list[int]] = self.a.lists[:count].tolist()
        return rows

    def _make_workspace(self, width: int = 1) -> None:
        """Room for what a placement writes on, whatever class it is of, with domain sums so wide."""
        width = max(width, self._workspace[1])
        size = (self._lines, width, self._longest, self.state.capacity)
        if size != self._workspace:
            self._workspace = size
            for name, least in zip(("work", "space", "good"), workspace(*size), strict=True):
                self._grown(name, least)
            self._grown("extra", self.state.capacity)

    def make_room(self) -> None:
        """Arrays that hold what one step may add."""
        s, a = self.s, self.a
        margin = s[S_MARGIN]
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
            if s[draws._at] + least >= len(draws.values):
                draws.fill()

    def _sync(self) -> None:
        """Rows that follow from nodes, domains and the order of nodes as they are now."""
        index, s = self.index, self.s
        rows = index.rows
        rows.sync_all(self._rows_of_nodes)
        table = self._grown("domains", len(self._domains) + 1)
        width = 1
        for domain, number in self._domains.items():
            many = len(domain.ids)
            table[number, 0], table[number, 1] = many, domain.unique
            width = max(width, many + 1)
        self._make_workspace(width)
        self._make_lists(0)
        order = index.order.get()
        if len(order) + 2 > len(self.fast._logs):
            self.fast._logs = np.array([natural_log(n + 2.0) for n in range(2 * len(order))])
        if self._order is not order:
            self._order = order
            self._grown("order", len(order))[: len(order)] = order
            self.addresses[_PLACES["order"] + 1] = len(order)
        if self.a.logs is not self.fast._logs:
            self._set(logs=self.fast._logs)
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
        if plan.lines > self._lines or len(array) > self._longest:
            self._lines, self._longest = max(self._lines, plan.lines), max(self._longest, len(array))
            self._make_workspace()
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
        row[C_AMONG] = self._among(tuple(array[HEADER : HEADER + int(array[H_MASKS])].tolist()))
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
        images = self.state.image_nodes
        if images and any(image in images for image in plan.images):
            self._pictured.add(number)
        if self.s[S_SYNCED] != self.index.rows.version or len(self._domains) > known_before:
            self._sync()
        row[C_HAVE] = 1

    def _among(self, masks: tuple[int, ...]) -> int:
        """The number of the list of slots that these masks let pass, a new one where they are new."""
        found = self._masks.setdefault(masks, len(self._masks))
        self._make_lists(found + 1)
        return found

    def _make_lists(self, least: int) -> None:
        """Room for as many lists of slots, each with one more than there are: all are made again."""
        there, width = self.a.among_slots.shape
        if least > there or width <= self.state.capacity:
            there, width = max(there, 2 * least), max(width, self.state.capacity + 1)
            slots, places = (np.zeros((there, width), dtype=np.int32) for _ in range(2))
            self._set(among=np.full((there, 2), -1, dtype=np.int64), among_slots=slots, among_places=places)

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
