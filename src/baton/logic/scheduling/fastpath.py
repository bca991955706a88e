"""The scheduler's fast path: plans over arrays, compiled where that pays, and reasons counted when nothing fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from baton.logic.scheduling import filters, interpod, matching, native, place, spread, volumes
from baton.logic.scheduling.accelerate import installed
from baton.logic.scheduling.cycle import LEFT_OUT
from baton.logic.scheduling.filters import Status, View
from baton.logic.scheduling.infos import NodeInfo, PodInfo
from baton.logic.scheduling.kept import KeptRoom
from baton.logic.scheduling.matching import Json, NodeTerm
from baton.logic.scheduling.place import Bools, Cluster, Longs, Placed
from baton.logic.scheduling.plan import Plan, Planner
from baton.logic.scheduling.podclass import AffinityTerm, PodClass
from baton.logic.scheduling.rows import Ints, NodeRow
from baton.logic.scheduling.state import CPU, EPHEMERAL, MEMORY, PODS, VOLUMES, ClusterState
from baton.logic.scheduling.volumes import (
    ZONE_KEYS,
    BoundClaim,
    class_name,
    csi_identity,
    volume_terms,
    zones_reachable,
)

COMPILE_FROM_NODES = 400
COMPILE_FROM_PODS = 20_000
LOAD_FROM_PODS = 100
"""From so many nodes, or placements of this process, on the compiled form is used where numba is installed; sooner
where an earlier use left it compiled (loading takes some 0.05 s, compiling some fifteen)."""
_TOTAL = [0]  # placements of this process, by every scheduler: what decides whether compiling pays


def nodes_to_find(nodes: int) -> int:
    """How many feasible nodes upstream looks for: all below 100, then 50 % falling to 5 %, at least 100."""
    if nodes < 100:
        return nodes
    return max(100, nodes * max(5, 50 - nodes // 125) // 100)


class Outcome:
    """What the fast path found: a slot, or why there is none."""

    __slots__ = ("feasible", "narrowed", "plan", "pod", "prefilter", "slot")

    def __init__(self, slot: int, feasible: int = 0, prefilter: Status | None = None) -> None:
        self.slot = slot
        self.feasible = feasible
        self.prefilter = prefilter
        self.plan: Plan | None = None
        self.pod: PodInfo | None = None
        self.narrowed: Ints | None = None


class FastPath:
    """Places pods over a ClusterState. `compiled`: True wants numba, False forbids it, None decides by size."""

    def __init__(self, state: ClusterState, *, sample: bool, compiled: bool | None = None) -> None:
        self.state = state
        self.sample = sample
        self.planner = Planner(state)
        self.start = 0
        self._wish = compiled
        self._compiled: native.Placer | None = None
        self._logs = np.array([spread.natural_log(n + 2.0) for n in range(256)])
        self._extra: Bools = np.zeros(0, dtype=np.bool_)
        self._volume_checks: list[list[tuple[str, Bools]]] = []
        self._bound: list[BoundClaim] = []
        """Of the pod placed last, where all of its claims are bound; `_volume_checks` holds what else it asks."""
        self._room = KeptRoom(state, self)
        self._claims = volumes.BoundClaims(state)
        self._reach_rows: dict[Any, NodeRow] = {}

    # choosing --------------------------------------------------------------------------------------------------------

    def place(self, pod: Json, draw: float) -> Outcome:
        """Choose a slot for a pod; `draw` (0-1) decides among equals."""
        cls, pin = self.state.class_of(pod)
        special = pod["spec"].get("volumes") or cls.fit.scalars or self.state.nominees
        info = self.state.info_of(pod) if special else None
        nominated: str = (pod.get("status") or {}).get("nominatedNodeName") or ""
        return self.place_as(cls, pin, info, nominated, draw)

    def place_as(self, cls: PodClass, pin: str | None, info: PodInfo | None, nominated: str, draw: float) -> Outcome:
        """Choose a slot for a pod of a class; `info` is needed where it has volumes, asks for scalar resources or room
        is kept for others."""
        state = self.state
        names = cls.node_names if pin is None else (pin,)
        if names is not None and not names:
            return Outcome(-1, prefilter=Status("NodeAffinity", (filters.AFFINITY_CONFLICT,), True))
        plan = self.planner.plan(cls)
        order = self.planner.index.order.get()
        extra = False
        if info is not None and (plan.scalars or info.claims):
            problem = self._special(info, plan)
            if problem is not None:
                return Outcome(-1, prefilter=problem)
            extra = True
        else:
            self._volume_checks, self._bound = [], []
        kept = self._room.closed(info) if info is not None and state.nominees else ()
        if kept:
            if not extra:
                self._extra = np.ones(state.capacity, dtype=np.bool_)
            self._extra[kept] = False
            extra = True
        search = order
        if names is not None:
            slots = [state.nodes[name] for name in sorted(names) if name in state.nodes]
            search = np.array(slots, dtype=np.int32)
        if nominated and names is None and nominated in state.nodes:
            only = np.array([state.nodes[nominated]], dtype=np.int32)
            placed = self._run(plan, order, only, extra, 0, 1, draw)
            if placed.slot >= 0:
                return Outcome(placed.slot, 1)
        total = len(search)
        want = nodes_to_find(total) if self.sample else total
        start = self.start % total if self.sample and names is None and total else 0
        placed = self._run(plan, order, search, extra, start, want, draw) if total else Placed(-1, 0, 0)
        if self.sample and order.size:
            self.start = (start if names is None else self.start) + placed.examined
            self.start %= len(order)
        outcome = Outcome(placed.slot, placed.feasible)
        if placed.slot < 0:
            outcome.plan, outcome.pod = plan, info
            outcome.narrowed = None if names is None else search
        return outcome

    def _run(self, plan: Plan, order: Ints, search: Ints, extra: bool, start: int, want: int, draw: float) -> Placed:
        state, index = self.state, self.planner.index
        if len(order) + 2 > len(self._logs):
            self._logs = np.array([spread.natural_log(n + 2.0) for n in range(2 * len(order))])
        array = plan.array
        if extra or array[place.H_EXTRA]:
            array[place.H_EXTRA] = extra
        _TOTAL[0] += 1
        compiled = self._compiled or self._load(len(order))
        cluster = Cluster(index.table.data, state.allocatable, state.used, order, search, self._logs, self._extra)
        if compiled is None:
            return place.place(cluster, array, start, want, draw)
        return compiled.place(cluster, array, (plan.lines, plan.width), index.rows.version, start, want, draw)

    def _load(self, nodes: int) -> native.Placer | None:
        """The compiled form, when it is wanted and there is one."""
        if self._wish is False or not installed():
            return None
        big = self._wish or nodes >= COMPILE_FROM_NODES or _TOTAL[0] >= COMPILE_FROM_PODS
        if not big and (_TOTAL[0] < LOAD_FROM_PODS or not native.UNIT.kept()):
            return None
        self._compiled = native.Placer()
        return self._compiled

    def bound_claims(self, info: PodInfo) -> list[BoundClaim] | None:
        """The claims that a pod mounts, None when it mounts anything else that a volume plugin looks at."""
        return self._claims.of(info)

    # what plans do not hold: scalar resources and volumes -------------------------------------------------------------

    def _special(self, info: PodInfo, plan: Plan) -> Status | None:
        """A plugin's refusal of the pod; with None the extra mask holds where its volumes and scalars may go."""
        self._volume_checks, self._bound = [], []
        if len(self._extra) != self.state.capacity:
            self._extra = np.ones(self.state.capacity, dtype=np.bool_)
        if not plan.scalars:
            bound = self._claims.of(info)
            if bound is not None:
                self._bound = bound
                np.logical_and(self._attachable(b.identity for b in bound), self._within_reach(bound), self._extra)
                return None
        self._extra[:] = True
        for name, asked in plan.scalars:
            self._extra &= self._scalar_fits(name, asked)
        if info.claims:
            problem = self._volumes(info)
            if problem is not None:
                return problem
            for checks in self._volume_checks:
                for _, mask in checks:
                    self._extra &= mask
        return None

    def _scalar_fits(self, name: str, asked: int) -> Bools:
        have = self.state.scalar_allocatable.get(name)
        if have is None:
            return np.zeros(self.state.capacity, dtype=np.bool_)
        used = self.state.scalar_used.get(name)
        fits: Bools = asked <= (have if used is None else have - used)
        return fits

    def _volumes(self, info: PodInfo) -> Status | None:
        """Prepare the volume plugins' masks in their order, each with the words it rejects with."""
        plugins: list[filters.Plugin] = [kind(self.state, info) for kind in volumes.modelled()]
        for plugin in plugins:
            problem = plugin.prefilter()
            if problem is not None:
                return problem
        restrictions, limits, binding, zone = plugins
        checks = self._volume_checks
        if not restrictions.skip:
            checks.append(
                [(volumes.IN_USE, self._each(lambda node: restrictions.filter(View(self.state, node)) is None))]
            )
        if not limits.skip:
            identities = (csi_identity(self.state, info.cls.namespace, name) for name in info.claims)
            checks.append([(volumes.TOO_MANY_VOLUMES, self._attachable(identities))])
        if isinstance(binding, volumes.VolumeBinding):
            checks.append(self._binding(binding))
        if isinstance(zone, volumes.VolumeZone) and not zone.skip:
            checks.append(self._zone(tuple(zone.topologies)))
        return None

    def volume_checks(self) -> list[list[tuple[str, Bools]]]:
        """For each volume plugin that looks at the pod placed last, reasons and the slots that they do not apply to."""
        bound = self._bound
        if not bound:
            return self._volume_checks
        checks = [[(volumes.TOO_MANY_VOLUMES, self._attachable(b.identity for b in bound))]]
        terms = tuple(b.terms for b in bound if b.terms is not None)
        if terms:
            checks.append(self._reach(terms))
        zones = tuple(zone for b in bound for zone in b.zones)
        if zones:
            checks.append(self._zone(zones))
        return checks

    def _within_reach(self, bound: list[BoundClaim]) -> Bools:
        """Slots whose node may use volumes: nobody turns their pod down, nobody else holds what it asks for."""
        return self._mask(self.reach_row(bound))

    def reach_row(self, bound: list[BoundClaim]) -> NodeRow:
        """The same as a row: one for the volumes of a zone."""
        key = (bound[0].terms, bound[0].zones) if len(bound) == 1 else tuple((b.terms, b.zones) for b in bound)
        row = self._reach_rows.get(key)
        if row is None:
            terms = tuple(b.terms for b in bound if b.terms is not None)
            zones = tuple(zone for b in bound for zone in b.zones)

            def holds(labels: Json) -> bool:
                return all(matching.node_terms_match(t, labels, {}) for t in terms) and zones_reachable(zones, labels)

            labels = {*ZONE_KEYS, *(label for t in terms for label in matching.label_keys(t))}
            row = self._reach_rows[key] = self.planner.labels_row(("reach", key), holds, labels)
        return row

    def _zone(self, zones: tuple[tuple[str, frozenset[str]], ...]) -> list[tuple[str, Bools]]:
        return [
            (volumes.NO_ZONE, self._labels(("zones", zones), lambda labels: zones_reachable(zones, labels), ZONE_KEYS))
        ]

    def _reach(self, terms: tuple[tuple[NodeTerm, ...], ...]) -> list[tuple[str, Bools]]:
        def holds(labels: Json) -> bool:
            return all(matching.node_terms_match(t, labels, {}) for t in terms)

        labels = {label for t in terms for label in matching.label_keys(t)}
        return [(volumes.VOLUME_AFFINITY, self._labels(("volumes", terms), holds, labels))]

    def _labels(self, key: Any, holds: Callable[[Json], bool], labels: Iterable[str] | None = None) -> Bools:
        """Slots whose node's labels satisfy `holds`, remembered by `key`; see Planner.labels_row."""
        return self._mask(self.planner.labels_row(key, holds, labels))

    def _mask(self, row: NodeRow) -> Bools:
        self.planner.index.rows.sync(row)
        mask: Bools = self.planner.index.table.data[row.row, : self.state.capacity] > 0
        return mask

    def _each(self, holds: Callable[[NodeInfo], bool]) -> Bools:
        """Slots whose node satisfies `holds`, asked one by one."""
        mask = np.zeros(self.state.capacity, dtype=np.bool_)
        for node in self.state.node_infos():
            mask[node.slot] = holds(node)
        return mask

    def _attachable(self, identities: Iterable[tuple[str, str] | None]) -> Bools:
        """Slots whose node can attach these volumes beside those it has."""
        wanted: dict[str, set[tuple[str, str]]] = {}
        for volume in identities:
            if volume is not None:
                wanted.setdefault(volume[0], set()).add(volume)
        mask: Bools | None = None
        for driver, mine in wanted.items():
            fits = self._driver_attaches(driver, mine)
            mask = fits if mask is None else mask & fits
        return np.ones(self.state.capacity, dtype=np.bool_) if mask is None else mask

    def _driver_attaches(self, driver: str, mine: set[tuple[str, str]]) -> Bools:
        """The same for volumes of one driver."""
        attachments, rows = self.planner.index.attachments, self.planner.index.rows
        size = self.state.capacity
        limit_row, count_row = attachments.limit_row(driver), attachments.count_row(driver)
        rows.sync(limit_row)
        data, holders = rows.table.data, attachments.holders
        count, limit = data[count_row, :size], data[limit_row.row, :size]
        fits: Bools = count < limit if len(mine) == 1 else count <= limit - len(mine)  # no limit: none comes near
        if not holders.keys().isdisjoint(mine):
            for slot in {s for v in mine for s in holders.get(v, ())}:
                new = sum(1 for v in mine if slot not in holders.get(v, ()))
                fits[slot] = not new or int(count[slot]) + new <= int(limit[slot])
        return fits

    def _binding(self, binding: volumes.VolumeBinding) -> list[tuple[str, Bools]]:
        checks = []
        bound = [self.state.get(VOLUMES, "", claim["spec"]["volumeName"]) for claim in binding.bound]
        terms = tuple(t for t in (volume_terms(v) for v in bound if v is not None) if t is not None)
        if terms:
            checks += self._reach(terms)
        delayed = binding.delayed
        if delayed and any(volumes.selected_node(c) or binding.available.get(class_name(c)) for c in delayed):
            mask = self._each(lambda node: binding.can_bind(node.name, node.labels))
            checks.append((volumes.NOTHING_TO_BIND, mask))
        elif delayed:
            classes = sorted({class_name(claim) for claim in delayed})
            key = ("provision", repr([binding.provisioning(name) for name in classes]))
            mask = self._labels(key, lambda labels: all(binding.can_provision(claim, labels) for claim in delayed))
            checks.append((volumes.NOTHING_TO_BIND, mask))
        return checks

    # for preemption --------------------------------------------------------------------------------------------------

    def open_to(self, cls: PodClass) -> list[NodeInfo]:
        """The nodes that neither cordon, taints nor node affinity close to the class, which no preemption changes; in
        the order they were added."""
        plan, state = self.planner.plan(cls), self.state
        open_ = np.ones(state.capacity, dtype=np.bool_)
        for (row,) in place.sections(plan.array)[place.H_MASKS]:
            open_ &= self.planner.index.table.data[row, : state.capacity] > 0
        slots = np.fromiter(state.nodes.values(), np.int64, len(state.nodes))
        return [state.node(slot) for slot in slots[open_[slots]].tolist()]

    def spread(self, cls: PodClass) -> list[dict[str, int]]:
        """See filters.Figures."""
        plan, index = self.planner.plan(cls), self.planner.index
        entries = place.sections(plan.array)[place.H_HARD].tolist()
        slots, data = index.order.get(), index.table.data
        for entry in entries:
            slots = slots[data[entry[1]][slots] >= 0]
        found = []
        for constraint, (counter, row, *masks, _skew, _least, _own, _width) in zip(
            cls.hard_spread, entries, strict=True
        ):
            counted = slots
            for mask in masks:
                counted = counted if mask < 0 else counted[data[mask][counted] > 0]
            domains = data[row][counted]
            sums = np.bincount(domains, weights=data[counter][counted])
            names = list(index.rows.domain(constraint.topology_key).ids)
            found.append({names[domain]: int(sums[domain]) for domain in np.unique(domains).tolist()})
        return found

    def selected(self, terms: tuple[AffinityTerm, ...]) -> Iterable[tuple[int, int]]:
        """See filters.Figures."""
        return self._counts(self.planner.index.term_counter(terms))

    def carried(self, cls: PodClass) -> Iterable[tuple[str, Iterable[tuple[int, int]]]]:
        """See filters.Figures."""
        for carried in self.planner.index.carried_for(cls):
            if carried.weight is None:
                yield carried.term.topology_key, self._counts(carried.row)

    def _counts(self, row: int) -> Iterable[tuple[int, int]]:
        """(slot, figure) where the row is not 0."""
        figures = self.planner.index.table.data[row]
        slots = np.flatnonzero(figures)
        return zip(slots.tolist(), figures[slots].tolist(), strict=True)

    # reasons ---------------------------------------------------------------------------------------------------------

    def reasons(self, outcome: Outcome) -> dict[str, int]:
        """Nodes per reason, for a pod that fits nowhere: of each node, what the first plugin that objects says."""
        order = self.planner.index.order.get()
        if outcome.prefilter is not None:
            return {reason: len(order) for reason in outcome.prefilter.reasons} if len(order) else {}
        plan = outcome.plan
        if plan is None or not len(order):
            return {}
        slots = order if outcome.narrowed is None else outcome.narrowed
        counts: dict[str, int] = {}
        if len(slots) < len(order):
            counts[LEFT_OUT.reasons[0]] = len(order) - len(slots)
        found = _Reasons(self, plan, slots, counts)
        if outcome.pod is not None and self.state.nominees:
            found.leave_out(self._room.why(outcome.pod))
        found.count()
        return counts


class _Reasons:
    """Takes node after node away from those left, plugin by plugin."""

    def __init__(self, path: FastPath, plan: Plan, slots: Ints, counts: dict[str, int]) -> None:
        self.path, self.plan, self.counts = path, plan, counts
        self.table = path.planner.index.table.data
        state, order = path.state, path.planner.index.order.get()
        self.cluster = Cluster(self.table, state.allocatable, state.used, order, order, path._logs, path._extra)
        self.open: Bools = np.zeros(state.capacity, dtype=np.bool_)
        """The slots that are left: whole columns are quicker to look at than picked figures, while many are left."""
        self.open[slots] = True
        self.left: Any = slots

    def leave_out(self, statuses: Mapping[int, Status]) -> None:
        """Slots of which it is known what objects to them."""
        for slot, status in statuses.items():
            if self.open[slot]:
                for reason in status.reasons:
                    self._add(reason, 1)
                self.open[slot] = False

    def count(self) -> None:
        plan, size = self.plan, len(self.open)
        rows = self.table[:, :size]
        if not plan.tolerates_cordon:
            self._close(filters.UNSCHEDULABLE, rows[self.path.planner.open_row.row] <= 0)
        if plan.taints is not None:
            values = rows[plan.taints.row]
            closed = (values <= 0) & self.open
            if closed.any():
                many = np.bincount(-values[closed]).tolist()
                for number in reversed(range(len(many))):
                    self._add(self.path.planner.reasons[number], many[number])
                self.open ^= closed
        if plan.affinity is not None:
            self._close(filters.AFFINITY, rows[plan.affinity.row] <= 0)
        for (row_,) in place.sections(plan.array)[place.H_ZEROS] if plan.array[place.H_ZEROS] else ():
            self._close(filters.NO_PORTS, rows[row_] != 0)
        self._resources()
        self.left = np.flatnonzero(self.open)
        if not len(self.left):
            return
        for checks in self.path.volume_checks():
            rejected = np.zeros(len(self.left), dtype=np.bool_)
            for reason, mask in checks:
                self._add(reason, int((~mask[self.left]).sum()))
                rejected |= ~mask[self.left]
            self.left = self.left[~rejected]
        if len(self.left):
            parts = place.sections(plan.array)
            self._spread(parts[place.H_HARD])
            self._affinity(parts[place.H_REQUIRE], parts[place.H_FORBID])

    def _add(self, reason: str, number: int) -> None:
        if number:
            self.counts[reason] = self.counts.get(reason, 0) + number

    def _close(self, reason: str, rejected: Bools) -> None:
        closed = rejected & self.open
        number = int(np.count_nonzero(closed))
        if number:
            self._add(reason, number)
            self.open ^= closed

    def _take(self, reason: str, rejected: Bools) -> None:
        self._add(reason, int(np.count_nonzero(rejected)))
        self.left = self.left[~rejected]

    def _resources(self) -> None:
        array, state = self.plan.array, self.path.state
        used, have = state.used, state.allocatable
        short: Bools = (used[:, PODS] >= have[:, PODS]) & self.open
        self._add(filters.TOO_MANY_PODS, int(np.count_nonzero(short)))
        for name, column, at in (
            ("cpu", CPU, place.H_CPU),
            ("memory", MEMORY, place.H_MEMORY),
            ("ephemeral-storage", EPHEMERAL, place.H_EPHEMERAL),
        ):
            if array[at] > 0:
                lacks = (have[:, column] - used[:, column] < array[at]) & self.open
                self._add(f"Insufficient {name}", int(np.count_nonzero(lacks)))
                short |= lacks
        for name, asked in self.plan.scalars:
            lacks = ~self.path._scalar_fits(name, asked) & self.open
            self._add(f"Insufficient {name}", int(np.count_nonzero(lacks)))
            short |= lacks
        self.open &= ~short

    def _spread(self, entries: Longs) -> None:
        keys = [int(entry[1]) for entry in entries]
        for entry in entries:
            constraint = place.HardConstraint(self.cluster, entry, keys)
            domains = self.table[constraint.domain][self.left]
            self._take(spread.SPREAD_LABEL, domains < 0)
            domains = self.table[constraint.domain][self.left]
            self._take(spread.SPREAD, ~constraint.allows(domains))

    def _affinity(self, required: Longs, forbidden: Longs) -> None:
        require = [(int(e[1]), place.domain_sums(self.cluster, e[0], e[1])) for e in required]
        first = bool(self.plan.array[place.H_SELF]) and not any(sums.any() for _, sums in require)
        good = np.ones(len(self.left), dtype=np.bool_)
        for domain, sums in require:
            domains = self.table[domain][self.left]
            good &= (domains >= 0) if first else (place.at_domain(sums, domains) > 0)
        self._take(interpod.AFFINITY_RULES, ~good)
        for i, entry in enumerate(forbidden):
            sums = place.domain_sums(self.cluster, entry[0], entry[1])
            reason = interpod.ANTI_AFFINITY_RULES if i < self.plan.forbid_own else interpod.EXISTING_RULES
            self._take(reason, place.at_domain(sums, self.table[int(entry[1])][self.left]) > 0)
