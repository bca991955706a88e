"""Plans: a pod class turned into the numbers that a placement works on. Built once per class, refreshed when used."""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from baton.logic.scheduling import matching, place
from baton.logic.scheduling.filters import taint_reason, tolerates_cordon
from baton.logic.scheduling.index import Index
from baton.logic.scheduling.infos import NodeInfo
from baton.logic.scheduling.interpod import resolve
from baton.logic.scheduling.matching import HOSTNAME, Json
from baton.logic.scheduling.place import Longs
from baton.logic.scheduling.podclass import AffinityTerm, PodClass, SpreadConstraint
from baton.logic.scheduling.rows import DomainRow, NodeRow
from baton.logic.scheduling.scores import IMAGE_FLOOR, preferred_weight
from baton.logic.scheduling.spread import default_constraints, default_selector
from baton.logic.scheduling.state import ClusterState

_NOTHING: Longs = np.zeros(0, dtype=np.int64)
_HARD_WIDTH, _SOFT_WIDTH = place.WIDTHS[place.H_HARD], place.WIDTHS[place.H_SOFT]


class Plan:
    """The numbers of one class, and the rows they refer to."""

    __slots__ = (
        "affinity", "array", "base", "domains", "forbid_own", "image_rows", "images", "images_version", "lines",
        "node_rows", "scalars", "taints", "tolerates_cordon", "version", "width",
    )  # fmt: skip

    def __init__(self) -> None:
        self.array: Longs = _NOTHING
        self.base: list[int] = []
        self.node_rows: list[NodeRow] = []
        self.domains: list[tuple[int, DomainRow, bool]] = []
        """(place in the array, domain, 0 when no two nodes share a value) of every width."""
        self.images: tuple[str, ...] = ()
        self.image_rows: list[NodeRow] = []
        self.images_version = -1
        self.version = -1
        self.lines = 1
        self.width = 1
        self.scalars: tuple[tuple[str, int], ...] = ()
        self.taints: NodeRow | None = None
        self.affinity: NodeRow | None = None
        self.tolerates_cordon = False
        self.forbid_own = 0
        """How many of the plan's forbid entries are the pod's own; the others are terms of pods already there."""


class Planner:
    """Makes plans and keeps the rows that several share."""

    def __init__(self, state: ClusterState) -> None:
        self.state = state
        self.index = Index(state)
        self.reasons: list[str] = []
        """Words for untolerated taints; a taint row holds minus the place in this list where it forbids."""
        self._reason_places: dict[str, int] = {}
        self._rows: dict[Any, NodeRow] = {}
        self.plain: dict[Any, Plan] = {}
        """A plan for each kind of class that has no rules about other pods, but for how far apart some of them are."""
        self._last_tolerations: tuple[PodClass | None, bytes] = None, b""
        self.open_row = self.index.rows.add(lambda node: 0 if node.unschedulable else 1, by_kind=True)

    # rows ------------------------------------------------------------------------------------------------------------

    def row(
        self,
        key: Any,
        value: Callable[[NodeInfo], int],
        *,
        by_kind: bool = False,
        labels: Iterable[str] | None = None,
    ) -> NodeRow:
        """The row of this key, made with `value` when it is new; see NodeRows.add."""
        found = self._rows.get(key)
        if found is None:
            found = self._rows[key] = self.index.rows.add(value, by_kind=by_kind, labels=labels)
        return found

    def taint_rows(self, cls: PodClass) -> tuple[NodeRow, NodeRow]:
        """(1 or minus the reason's place, number of untolerated PreferNoSchedule taints)."""
        tolerations, key = cls.tolerations, self.tolerations_key(cls)

        def allowed(node: NodeInfo) -> int:
            if not node.taints:
                return 1
            taint = matching.first_untolerated(node.taints, tolerations)
            return 1 if taint is None else -self._reason(taint_reason(taint))

        def unwanted(node: NodeInfo) -> int:
            return matching.count_untolerated_prefer(node.taints, tolerations) if node.taints else 0

        return self.row(("taints", key), allowed, by_kind=True), self.row(("prefer", key), unwanted, by_kind=True)

    def admitted_row(self, cls: PodClass) -> NodeRow:
        """1 where neither a taint nor a cordon keeps the pod away."""
        tolerations = cls.tolerations
        cordoned_too = tolerates_cordon(cls)

        def admitted(node: NodeInfo) -> int:
            if node.unschedulable and not cordoned_too:
                return 0
            return int(not node.taints or matching.first_untolerated(node.taints, tolerations) is None)

        return self.row(("admitted", self.tolerations_key(cls)), admitted, by_kind=True)

    def tolerations_key(self, cls: PodClass) -> bytes:
        """The same for equal tolerations; asked for three times for each class in turn."""
        if self._last_tolerations[0] is not cls:
            self._last_tolerations = cls, marshal.dumps([dict(t) for t in cls.tolerations], 2)
        return self._last_tolerations[1]

    def _reason(self, text: str) -> int:
        place_ = self._reason_places.get(text)
        if place_ is None:
            place_ = self._reason_places[text] = len(self.reasons)
            self.reasons.append(text)
        return place_

    def affinity_row(self, cls: PodClass) -> NodeRow | None:
        """1 where node selector and required node affinity hold; None when there is neither."""
        if not cls.node_selector and cls.node_terms is None:
            return None
        terms = cls.node_terms or ()
        by_name = any(fields for _, fields in terms)
        return self.row(
            ("affinity", cls.node_selector, cls.node_terms),
            lambda node: int(cls.node_matches(node.labels, node.name)),
            labels=None if by_name else {*(r[0] for r in cls.node_selector or ()), *matching.label_keys(terms)},
        )

    def labels_row(self, key: Any, holds: Callable[[Json], bool], labels: Iterable[str] | None = None) -> NodeRow:
        """1 where the node's labels satisfy `holds`, which looks at no others than `labels` where these are given."""
        return self.row(key, lambda node: int(holds(node.labels)), labels=labels)

    def image_row(self, image: str) -> NodeRow:
        """1 where the node holds the image."""
        holders = self.state.image_nodes

        def held(node: NodeInfo) -> int:
            return 1 if node.slot in holders.get(image, ()) else 0

        return self.row(("image", image), held)

    # plans -----------------------------------------------------------------------------------------------------------

    def plan(self, cls: PodClass) -> Plan:
        """The class's plan, up to date."""
        entry = cls.index
        if entry is None:
            entry = self.index.register(cls)
        plan: Plan | None = entry.plan
        if plan is None:
            plan = entry.plan = _Builder(self, cls).build()
        rows = self.index.rows
        if plan.version != rows.version or plan.images_version != self.index.images_version:
            self._refresh(plan)
        return plan

    def _refresh(self, plan: Plan) -> None:
        rows = self.index.rows
        rows.sync_all(plan.node_rows)
        images = plan.images and (self.state.image_nodes or plan.image_rows)
        if images and plan.images_version != self.index.images_version:
            self._refresh_images(plan)
        rows.sync_all(plan.image_rows)
        plan.images_version = self.index.images_version
        array = plan.array
        width = 1
        for at, domain, sparing in plan.domains:
            array[at] = size = 0 if sparing and domain.unique else len(domain.ids)
            width = max(width, size)
        plan.width = width
        plan.version = rows.version

    def _refresh_images(self, plan: Plan) -> None:
        """Sizes scaled by the share of nodes that hold them; left out while they cannot amount to a point."""
        nodes = len(self.state.nodes)
        entries: list[int] = []
        plan.image_rows = []
        most = 0
        for image in plan.images:
            holders = self.state.image_nodes.get(image)
            if holders:
                row = self.image_row(image)
                plan.image_rows.append(row)
                scaled = int(self.state.image_sizes[image] * (len(holders) / nodes))
                most += scaled
                entries += (row.row, scaled)
        if most <= IMAGE_FLOOR:
            entries, plan.image_rows = [], []
        old = plan.array
        if len(plan.base) + len(entries) != len(old):
            plan.array = np.zeros(len(plan.base) + len(entries), dtype=np.int64)
            plan.array[: len(plan.base)] = old[: len(plan.base)]
        plan.array[len(plan.base) :] = entries
        plan.array[place.H_IMAGES] = len(entries) // 2


class _Builder:
    """One plan in the making."""

    def __init__(self, planner: Planner, cls: PodClass) -> None:
        self.planner = planner
        self.index = planner.index
        self.cls = cls
        self.plan = Plan()
        self.numbers = [0] * place.HEADER
        self.carried = self.index.carried_for(cls)
        self.soft: tuple[SpreadConstraint, ...] = cls.soft_spread
        if not cls.own_spread:
            self.soft = default_constraints(default_selector(planner.state, cls, cls.labels))

    def build(self) -> Plan:
        """The whole of it; most classes differ from one before in what they ask for and which pods are theirs only."""
        cls, planner = self.cls, self.planner
        if cls.ports or cls.has_affinity or self.carried:
            return self._whole()
        hard, soft = cls.hard_spread, self.soft
        rules = (
            planner.tolerations_key(cls), cls.node_selector, cls.node_terms, cls.preferred_nodes, cls.own_spread,
            tuple((c[:2], c[3:], matching.matches(c.selector, cls.labels)) for c in hard),
            tuple((c[:2], c[3:]) for c in soft),
        )  # fmt: skip
        like = planner.plain.get(rules)
        if like is None:
            made = planner.plain[rules] = self._whole()
            return made
        plan, numbers = self.plan, self.numbers
        plan.taints, plan.affinity, plan.tolerates_cordon = like.taints, like.affinity, like.tolerates_cordon
        plan.node_rows, plan.domains, plan.lines = like.node_rows, like.domains, like.lines
        numbers[:] = like.base
        at = place.HEADER + numbers[place.H_MASKS]
        for constraints, width in ((hard, _HARD_WIDTH), (soft, _SOFT_WIDTH)):
            for c in constraints:
                numbers[at] = self.index.live_counter(cls.namespace, c.selector)
                at += width
        return self._asking()

    def _asking(self) -> Plan:
        """The plan with what the class asks for."""
        cls, plan, numbers = self.cls, self.plan, self.numbers
        numbers[place.H_CPU], numbers[place.H_MEMORY], numbers[place.H_EPHEMERAL] = cls.fit[:3]
        numbers[place.H_SCORE_CPU], numbers[place.H_SCORE_MEMORY] = cls.scoring
        scalars = cls.fit.scalars
        plan.scalars = tuple((name, value) for name, value in sorted(scalars.items()) if value > 0) if scalars else ()
        plan.images = cls.images
        numbers[place.H_CONTAINERS] = len(cls.images)
        plan.base = numbers
        plan.array = np.array(numbers, dtype=np.int64)
        return plan

    def _whole(self) -> Plan:
        cls, plan, numbers = self.cls, self.plan, self.numbers
        plan.taints, prefer = self.planner.taint_rows(cls)
        plan.affinity = self.planner.affinity_row(cls)
        plan.node_rows += [plan.taints, prefer]
        plan.tolerates_cordon = tolerates_cordon(cls)
        masks = [self.planner.admitted_row(cls)]
        plan.node_rows += [*masks, self.planner.open_row]
        if plan.affinity is not None:
            masks.append(plan.affinity)
            plan.node_rows.append(plan.affinity)
        self._section(place.H_MASKS, [[row.row] for row in masks])
        self._section(place.H_ZEROS, [[self.index.ports_row(cls.ports)]] if cls.ports else [])
        self._section(place.H_HARD, [self._spread(c, hard=True) for c in cls.hard_spread], width_at=7)
        self._forbid_and_require()
        self._section(place.H_SOFT, [self._spread(c, hard=False) for c in self.soft], width_at=6)
        numbers[place.H_NEED_ALL] = int(cls.own_spread)
        self._awards()
        numbers[place.H_PREFER_TAINT] = prefer.row
        numbers[place.H_PREFERRED] = -1
        if cls.preferred_nodes:
            preferred = self.planner.row(("preferred", cls.preferred_nodes), lambda node: preferred_weight(cls, node))
            plan.node_rows.append(preferred)
            numbers[place.H_PREFERRED] = preferred.row
        plan.lines = max(1, numbers[place.H_HARD] + numbers[place.H_FORBID] + numbers[place.H_REQUIRE])
        return self._asking()

    def _section(self, name: int, entries: Sequence[Sequence[int]], width_at: int = -1, sparing: bool = False) -> None:
        """Append a section; where it has a width, entry[1] is a domain's row, and `sparing` lets 0 stand for 1 : 1."""
        self.numbers[name] = len(entries)
        domains = {row.row: row for row in self.plan.node_rows if isinstance(row, DomainRow)} if entries else {}
        for entry in entries:
            if width_at >= 0 and not (name == place.H_SOFT and entry[5]):
                self.plan.domains.append((len(self.numbers) + width_at, domains[entry[1]], sparing))
            self.numbers += entry

    def _domain(self, key: str) -> int:
        row = self.index.rows.domain(key)
        if row not in self.plan.node_rows:
            self.plan.node_rows.append(row)
        return row.row

    def _spread(self, c: SpreadConstraint, *, hard: bool) -> list[int]:
        cls, plan = self.cls, self.plan
        counter = self.index.live_counter(cls.namespace, c.selector)
        affinity = plan.affinity.row if c.honor_affinity and plan.affinity is not None else -1
        taints = plan.taints.row if c.honor_taints and plan.taints is not None else -1
        common = [counter, self._domain(c.topology_key), affinity, taints, c.max_skew]
        if hard:
            return [*common, c.min_domains, int(matching.matches(c.selector, cls.labels)), 0]
        return [*common, int(c.topology_key == HOSTNAME), 0]

    def _forbid_and_require(self) -> None:
        cls, state = self.cls, self.planner.state
        anti = [resolve(state, t) for t in cls.required_anti_affinity]
        forbid = [[self.index.term_counter((t,)), self._domain(t.topology_key), 0] for t in anti]
        self.plan.forbid_own = len(forbid)
        for carried in self.carried:
            if carried.weight is None:
                forbid.append([carried.row, self._domain(carried.term.topology_key), 0])
        self._section(place.H_FORBID, forbid, width_at=2, sparing=True)
        affinity = tuple(resolve(state, t) for t in cls.required_affinity)
        require: list[list[int]] = []
        if affinity:
            counter = self.index.term_counter(affinity)
            require = [[counter, self._domain(t.topology_key), 0] for t in affinity]
            own = all(t.selects(cls.namespace, cls.labels, {}) for t in affinity)
            self.numbers[place.H_SELF] = int(own)
        self._section(place.H_REQUIRE, require, width_at=2)

    def _awards(self) -> None:
        cls, state = self.cls, self.planner.state
        awards: list[list[int]] = []

        def award(counter: int, term: AffinityTerm, weight: int) -> None:
            awards.append([counter, self._domain(term.topology_key), weight, 0])

        for terms, sign in ((cls.preferred_affinity, 1), (cls.preferred_anti_affinity, -1)):
            for term in (resolve(state, t) for t in terms):
                award(self.index.term_counter((term,)), term, sign * term.weight)
        for carried in self.carried:
            if carried.weight is not None:
                award(carried.row, carried.term, carried.weight)
        self._section(place.H_AWARD, awards, width_at=3, sparing=True)
