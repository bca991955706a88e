"""The fast path's memory: what each pod class counts for, kept up to date as pods, nodes and objects come and go."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from baton.logic.scheduling import matching
from baton.logic.scheduling.attachments import Attachments
from baton.logic.scheduling.filters import ports_conflict
from baton.logic.scheduling.infos import Key, PodInfo
from baton.logic.scheduling.interpod import existing_terms
from baton.logic.scheduling.matching import Selector
from baton.logic.scheduling.podclass import AffinityTerm, PodClass
from baton.logic.scheduling.rows import NodeOrder, NodeRows, Table
from baton.logic.scheduling.state import (
    CLAIMS,
    CONTROLLERS,
    CSI_NODES,
    NAMESPACES,
    REPLICA_SETS,
    SERVICES,
    STATEFUL_SETS,
    STORAGE_CLASSES,
    VOLUMES,
    ClusterState,
)

_OWNERS = {REPLICA_SETS: "ReplicaSet", STATEFUL_SETS: "StatefulSet", CONTROLLERS: "ReplicationController"}
Bucket = tuple[str, str] | None


class ClassIndex:
    """What the index keeps for one pod class."""

    __slots__ = ("all_rows", "live_rows", "plan", "pods")

    def __init__(self) -> None:
        self.live_rows: list[int] = []
        """Rows that count the class's pods that are not being deleted."""
        self.all_rows: list[int] = []
        self.pods: dict[Key, PodInfo] = {}
        self.plan: Any = None


class Counter:
    """A row of pods per slot that some selector selects."""

    __slots__ = ("live", "namespace", "row", "selector", "terms")

    def __init__(
        self, row: int, live: bool, namespace: str, selector: Selector, terms: tuple[AffinityTerm, ...]
    ) -> None:
        self.row = row
        self.live = live
        self.namespace = namespace
        self.selector = selector
        self.terms = terms

    def counts(self, cls: PodClass) -> bool:
        """Whether pods of the class count."""
        if self.live:
            # an empty spread selector counts nothing, whatever it matches
            same = cls.namespace == self.namespace and bool(self.selector)
            return same and matching.matches(self.selector, cls.labels)
        return all(t.selects(cls.namespace, cls.labels, {}) for t in self.terms)


class CarriedTerm:
    """A term that pods already there hold against, or in favour of, those that come: a row of how many per slot."""

    __slots__ = ("row", "term", "weight")

    def __init__(self, row: int, term: AffinityTerm, weight: int | None) -> None:
        self.row = row
        self.term = term
        self.weight = weight
        """Points it gives; None when it forbids."""


def bucket(selector: Selector) -> Bucket:
    """A label that whatever the selector selects must have, to find candidates by; None when there is none."""
    for key, operator, values in selector or ():
        if operator == "In" and len(values) == 1:
            return key, next(iter(values))
    return None


class Index:
    """Rows and plans over a ClusterState. Create it once; it then follows the state by itself."""

    def __init__(self, state: ClusterState) -> None:
        self.state = state
        self.table = Table(max(state.capacity, 64))
        self.rows = NodeRows(state, self.table)
        self.order = NodeOrder(state)
        self.classes: list[PodClass] = []
        self.images_version = 0
        self.attachments = Attachments(state, self.rows)
        self._by_label: dict[tuple[str, str], list[PodClass]] = {}
        self._by_namespace: dict[str, list[PodClass]] = {}
        self._counters: dict[Any, Counter] = {}
        self._counters_by: dict[Bucket, list[Counter]] = {}
        self._carried: dict[tuple[AffinityTerm, int | None], CarriedTerm] = {}
        self._carried_by: dict[Bucket, list[CarriedTerm]] = {}
        self._ports: dict[tuple[tuple[str, str, int], ...], int] = {}
        state.listener = self
        for key, info in state.known.items():
            entry = info.cls.index or self.register(info.cls)
            if info in state.together:
                entry.pods[key] = info
            elif entry.all_rows or entry.live_rows or info.claims:
                self.pod_added(info, key)
            else:
                entry.pods[key] = info
        for info, (_, slots) in state.together.items():
            for row in info.cls.index.all_rows + info.cls.index.live_rows:
                np.add.at(self.table.data[row], slots, 1)

    # what the state tells ---------------------------------------------------------------------------------------------

    def pod_added(self, info: PodInfo, key: Key) -> None:
        """Count a pod that was put on a node."""
        entry = info.cls.index
        if entry is None:
            entry = self.register(info.cls)
        entry.pods[key] = info
        data, slot = self.table.data, info.slot
        for row in entry.all_rows:
            data[row, slot] += 1
        if not info.terminating:
            for row in entry.live_rows:
                data[row, slot] += 1
        if info.claims:
            self.attachments.attach(info)
        if self.state.elsewhere is not None:
            self.state.elsewhere.rows_counted(entry.all_rows + entry.live_rows)

    def pods_parted(self, keys: Collection[Key], infos: Sequence[PodInfo]) -> None:
        """Pods that were counted, but one stood for all of them, are there each as itself."""
        infos[0].cls.index.pods.update(zip(keys, infos, strict=True))

    def pod_removed(self, info: PodInfo, key: Key) -> None:
        """Stop counting a pod that is about to leave its node."""
        entry = info.cls.index
        del entry.pods[key]
        data, slot = self.table.data, info.slot
        for row in entry.all_rows:
            data[row, slot] -= 1
        if not info.terminating:
            for row in entry.live_rows:
                data[row, slot] -= 1
        if info.claims:
            self.attachments.detach(info)
        if self.state.elsewhere is not None:
            self.state.elsewhere.rows_counted(entry.all_rows + entry.live_rows)

    def pod_leaving(self, info: PodInfo) -> None:
        """Stop counting a pod, about to be marked as being deleted, where such pods do not count."""
        data, slot = self.table.data, info.slot
        for row in info.cls.index.live_rows:
            data[row, slot] -= 1
        if self.state.elsewhere is not None:
            self.state.elsewhere.rows_counted(info.cls.index.live_rows)

    def node_changed(self, slot: int) -> None:
        """A node came to the slot, left it or changed."""
        if slot >= self.table.data.shape[1]:
            self.rows.widen(max(self.state.capacity, slot + 1))
        if self.rows.note(slot):
            self.order.update(slot)
        self.images_version += 1

    def object_changed(self, resource: str, namespace: str, name: str) -> None:
        """An object that plans may rest on changed."""
        if resource == SERVICES:
            self._forget_plans(c for c in self._by_namespace.get(namespace, ()) if not c.own_spread)
        elif resource in _OWNERS:
            kind = _OWNERS[resource]
            owned = (c for c in self._by_namespace.get(namespace, ()) if c.owner and c.owner[1:] == (kind, name))
            self._forget_plans(owned)
        elif resource == NAMESPACES:
            self._forget_plans(self.classes)
        elif resource in (CLAIMS, VOLUMES, STORAGE_CLASSES):
            self.attachments.changed(resource, namespace, name)
        elif resource == CSI_NODES:
            slot = self.state.nodes.get(name)
            if slot is not None:
                self.rows.note(slot)
                self.attachments.refresh(self.state.pods_at[slot])

    def _forget_plans(self, classes: Iterable[PodClass]) -> None:
        for cls in classes:
            if cls.index is not None:
                self._drop_plan(cls)

    def _drop_plan(self, cls: PodClass) -> None:
        cls.index.plan = None
        if self.state.elsewhere is not None:
            self.state.elsewhere.plan_dropped(cls)

    # classes, counters and terms --------------------------------------------------------------------------------------

    def register(self, cls: PodClass) -> ClassIndex:
        """Begin to follow a class."""
        entry = cls.index = ClassIndex()
        self.classes.append(cls)
        self._by_namespace.setdefault(cls.namespace, []).append(cls)
        for item in cls.labels.items():
            self._by_label.setdefault(item, []).append(cls)
        for label in (None, *cls.labels.items()):
            for counter in self._counters_by.get(label, ()):
                if counter.counts(cls):
                    (entry.live_rows if counter.live else entry.all_rows).append(counter.row)
        if cls.ports:
            entry.all_rows += [row for ports, row in self._ports.items() if ports_conflict(ports, cls.ports)]
        if cls.has_affinity:
            for term in cls.required_anti_affinity:
                entry.all_rows.append(self._carry(term, None))
            for term, weight in existing_terms(cls):
                entry.all_rows.append(self._carry(term, weight))
        return entry

    def _candidates(self, label: Bucket) -> list[PodClass]:
        return self.classes if label is None else self._by_label.get(label, [])

    def _carry(self, term: AffinityTerm, weight: int | None) -> int:
        """The row of a term that pods carry."""
        found = self._carried.get((term, weight))
        if found is not None:
            return found.row
        found = self._carried[term, weight] = CarriedTerm(self.table.new_row(), term, weight)
        label = bucket(term.selector)
        self._carried_by.setdefault(label, []).append(found)
        for cls in self._candidates(label):
            if cls.index is not None and cls.index.plan is not None and self._concerns(found, cls):
                self._drop_plan(cls)
        return found.row

    def _concerns(self, carried: CarriedTerm, cls: PodClass) -> bool:
        return carried.term.selects(cls.namespace, cls.labels, self.state.namespace_labels(cls.namespace))

    def carried_for(self, cls: PodClass) -> list[CarriedTerm]:
        """Terms carried by pods, now or earlier, that select pods of the class."""
        found = []
        for label in (None, *cls.labels.items()):
            found += [c for c in self._carried_by.get(label, ()) if self._concerns(c, cls)]
        return found

    def live_counter(self, namespace: str, selector: Selector) -> int:
        """The row of pods in a namespace that a spread selector selects and that are not being deleted."""
        return self._counter((namespace, selector), True, namespace, selector, ())

    def term_counter(self, terms: tuple[AffinityTerm, ...]) -> int:
        """The row of pods that every term of a waiting pod selects."""
        return self._counter(terms, False, "", terms[0].selector, terms)

    def _counter(
        self, key: Any, live: bool, namespace: str, selector: Selector, terms: tuple[AffinityTerm, ...]
    ) -> int:
        found = self._counters.get(key)
        if found is not None:
            return found.row
        found = self._counters[key] = Counter(self.table.new_row(), live, namespace, selector, terms)
        label = bucket(selector)
        self._counters_by.setdefault(label, []).append(found)
        self.state.each_as_itself()
        data = self.table.data[found.row]
        for cls in self._candidates(label):
            if not found.counts(cls):
                continue
            (cls.index.live_rows if live else cls.index.all_rows).append(found.row)
            for info in cls.index.pods.values():
                if not live or not info.terminating:
                    data[info.slot] += 1
            if self.state.elsewhere is not None:
                self.state.elsewhere.figure_added(cls, found.row, live)
        return found.row

    def ports_row(self, ports: tuple[tuple[str, str, int], ...]) -> int:
        """The row of pods whose host ports clash with these."""
        row = self._ports.get(ports)
        if row is not None:
            return row
        self.state.each_as_itself()
        row = self._ports[ports] = self.table.new_row()
        data = self.table.data[row]
        for cls in self.classes:
            if cls.ports and ports_conflict(ports, cls.ports):
                cls.index.all_rows.append(row)
                for info in cls.index.pods.values():
                    data[info.slot] += 1
                if self.state.elsewhere is not None:
                    self.state.elsewhere.figure_added(cls, row, False)
        return row
