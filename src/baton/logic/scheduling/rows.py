"""Figures per node slot, as rows of one integer matrix, and the order in which nodes are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.logic.scheduling.infos import NodeInfo
from baton.logic.scheduling.matching import BETA_REGION, BETA_ZONE, REGION, ZONE
from baton.logic.scheduling.state import ClusterState

Ints = NDArray[np.int32]


class Table:
    """A growing matrix of 32-bit integers: a row per figure, a column per slot."""

    def __init__(self, slots: int) -> None:
        self.data: Ints = np.zeros((64, slots), dtype=np.int32)
        self.rows = 0

    def new_row(self) -> int:
        """A row of zeros."""
        if self.rows == len(self.data):
            slots = self.data.shape[1]
            self._grow(max(2 * self.rows, 16384 if slots >= 1024 else 0), slots)
        self.rows += 1
        return self.rows - 1

    def widen(self, slots: int) -> None:
        """Make room for at least this many slots."""
        more = slots - self.data.shape[1]
        if more > 0:
            self._grow(len(self.data), slots)

    def _grow(self, rows: int, slots: int) -> None:
        """Fresh zeros cost neither time nor memory before they are written, unlike zeros that are copied."""
        old = self.data[: self.rows]
        self.data = np.zeros((rows, slots), dtype=np.int32)
        self.data[: self.rows, : old.shape[1]] = old


class NodeRow:
    """A row that follows from each node's own facts; brought up to date when it is used."""

    __slots__ = ("absent", "by_kind", "row", "seen", "synced", "value")

    def __init__(
        self, row: int, value: Callable[[NodeInfo], int], absent: int = 0, by_kind: dict[int, int] | None = None
    ) -> None:
        self.row = row
        self.value = value
        self.absent = absent
        self.by_kind = by_kind
        """What `value` gave for nodes of each kind, where it looks at nothing else of them."""
        self.synced = -1
        self.seen = -1
        """How many changes of labels it has seen, where it follows from these alone."""

    def of(self, node: NodeInfo) -> int:
        """What a node has in this row."""
        known = self.by_kind
        if known is None:
            return self.value(node)
        found = known.get(node.kind)
        if found is None:
            found = known[node.kind] = self.value(node)
        return found

    def changed(self, old: int, new: int) -> None:
        """A slot's value is about to change."""


class ByLabels(NodeRow):
    """A row that follows from nodes' labels alone."""

    __slots__ = ()


class LabelsRow(ByLabels):
    """A row that follows from some labels of a node."""

    __slots__ = ("_known", "keys")

    def __init__(self, row: int, value: Callable[[NodeInfo], int], keys: Iterable[str]) -> None:
        super().__init__(row, value)
        self.keys = tuple(keys)
        self._known: dict[tuple[str | None, ...], int] = {}
        """What `value` gave for nodes with these values of the keys."""

    def of(self, node: NodeInfo) -> int:
        values = tuple(map(node.labels.get, self.keys))
        found = self._known.get(values)
        if found is None:
            found = self._known[values] = self.value(node)
        return found


class DomainRow(ByLabels):
    """Nodes' values of one topology key, numbered; -1 where the label is missing."""

    __slots__ = ("ids", "key", "members", "shared")

    def __init__(self, row: int, key: str) -> None:
        super().__init__(row, self._number, absent=-1)
        self.key = key
        self.ids: dict[str, int] = {}
        self.members: list[int] = []
        self.shared = 0

    def _number(self, node: NodeInfo) -> int:
        value = node.labels.get(self.key)
        if value is None:
            return -1
        number = self.ids.setdefault(value, len(self.ids))
        if number == len(self.members):
            self.members.append(0)
        return number

    def changed(self, old: int, new: int) -> None:
        if old >= 0:
            self.members[old] -= 1
            self.shared -= self.members[old] == 1
        if new >= 0:
            self.members[new] += 1
            self.shared += self.members[new] == 2

    @property
    def unique(self) -> bool:
        """Whether no two nodes share a value, as host names do."""
        return self.shared == 0


class Changes:
    """Slots in the order in which something of them changed. A version is how many changes there were."""

    __slots__ = ("_asked", "_base", "_log", "version")

    def __init__(self) -> None:
        self.version = 0
        self._log: list[int] = []
        self._base = 0
        self._asked: tuple[int, int, Iterable[int]] = -1, -1, ()

    def note(self, slot: int) -> None:
        """Something of a slot changed."""
        self._log.append(slot)
        self.version += 1
        if len(self._log) > 100_000:
            self._base += len(self._log) // 2
            del self._log[: len(self._log) // 2]

    def since(self, version: int, slots: int) -> Iterable[int]:
        """The slots, of so many, that changed after a version; most rows ask for the same."""
        since, until, found = self._asked
        if since != version or until != self.version:
            found = range(slots) if version < self._base else set(self._log[version - self._base :])
            self._asked = version, self.version, found
        return found


class NodeRows:
    """All NodeRows of a table, and what changed since each was brought up to date."""

    def __init__(self, state: ClusterState, table: Table) -> None:
        self.state = state
        self.table = table
        self.version = 0
        self._changes = Changes()
        self._label_changes = Changes()
        self._labels: dict[int, Mapping[str, str]] = {}  # of the nodes, by slot
        for info in state.node_infos():
            self._labels[info.slot] = info.labels
        self._domains: dict[str, DomainRow] = {}
        self._by_kind = _Together(state, table, lambda node: node.kind)
        self._by_labels = _Together(state, table, self._label_values)
        self._label_keys: tuple[str, ...] = ()

    def note(self, slot: int) -> bool:
        """A node came, went or changed; whether its labels did."""
        self._changes.note(slot)
        self.version = self._changes.version
        info = self.state.infos[slot]
        labels = None if info is None else info.labels
        if self._labels.get(slot) is labels:
            return False
        self._label_changes.note(slot)
        if labels is None:
            del self._labels[slot]
        else:
            self._labels[slot] = labels
        return True

    def add(
        self, value: Callable[[NodeInfo], int], *, by_kind: bool = False, labels: Iterable[str] | None = None
    ) -> NodeRow:
        """A new row holding value(node) per slot, 0 where there is no node; `by_kind`: the same for all of a kind,
        `labels`: the same where these are the same."""
        if labels is not None:
            return LabelsRow(self.table.new_row(), value, labels)
        return NodeRow(self.table.new_row(), value, by_kind={} if by_kind else None)

    def domain(self, key: str) -> DomainRow:
        """The row of a topology key."""
        found = self._domains.get(key)
        if found is None:
            found = self._domains[key] = DomainRow(self.table.new_row(), key)
            self.table.data[found.row] = -1
        return found

    def widen(self, slots: int) -> None:
        """Make room for at least this many slots."""
        before = self.table.data.shape[1]
        self.table.widen(slots)
        for domain in self._domains.values():
            self.table.data[domain.row, before:] = -1

    def sync_all(self, some: Iterable[NodeRow]) -> None:
        """Bring rows up to date; most are."""
        version, labels = self.version, self._label_changes.version
        for row in some:
            if row.synced == version:
                continue
            if row.seen == labels:
                row.synced = version
            else:
                self.sync(row)

    def sync(self, row: NodeRow) -> None:
        """Bring a row up to date."""
        if row.synced == self.version:
            return
        slots = len(self.state.infos)
        if isinstance(row, ByLabels):
            changes = self._label_changes
            if isinstance(row, LabelsRow):
                for each in self._by_labels.sync(changes):
                    each.seen = changes.version
                if row.seen < 0:
                    self._sync_slots(row, range(slots))
                    self._label_keys = (*self._label_keys, *(k for k in row.keys if k not in self._label_keys))
                    self._by_labels.add(row)
            elif row.seen != changes.version:
                self._sync_slots(row, changes.since(row.seen, slots))
            row.seen = changes.version
        elif row.by_kind is not None:
            for each in self._by_kind.sync(self._changes):
                each.synced = self.version
            if row.synced < 0:
                self._sync_slots(row, range(slots))
                self._by_kind.add(row)
        else:
            self._sync_slots(row, self._changes.since(row.synced, slots))
        row.synced = self.version

    def _label_values(self, node: NodeInfo) -> tuple[str | None, ...]:
        return tuple(map(node.labels.get, self._label_keys))

    def _sync_slots(self, row: NodeRow, slots: Iterable[int]) -> None:
        infos, of = self.state.infos, row.of
        data = self.table.data[row.row]
        for slot in slots:
            info = infos[slot]
            old, new = int(data[slot]), row.absent if info is None else of(info)
            if old != new:
                row.changed(old, new)
                data[slot] = new


class _Together:
    """Rows brought up to date together, a column at a time: nodes of which `same` is equal have the same in them."""

    def __init__(self, state: ClusterState, table: Table, same: Callable[[NodeInfo], Any]) -> None:
        self._state = state
        self._table = table
        self._same = same
        self._rows: list[NodeRow] = []
        self._numbers: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        self._synced = 0
        self._columns: dict[Any, Ints] = {}

    def add(self, row: NodeRow) -> None:
        """One more row, which is up to date as the others are."""
        self._rows.append(row)
        self._numbers = np.array([r.row for r in self._rows], dtype=np.intp)
        self._columns.clear()

    def sync(self, changes: Changes) -> Sequence[NodeRow]:
        """Bring them up to date with these changes; returns those that were not."""
        if self._synced == changes.version:
            return ()
        infos, data = self._state.infos, self._table.data
        for slot in changes.since(self._synced, len(infos)):
            info = infos[slot]
            data[self._numbers, slot] = 0 if info is None else self._column(info)
        self._synced = changes.version
        return self._rows

    def _column(self, node: NodeInfo) -> Ints:
        key = self._same(node)
        found = self._columns.get(key)
        if found is None:
            found = self._columns[key] = np.array([row.of(node) for row in self._rows], dtype=np.int32)
        return found


def zone_key(labels: Mapping[str, str]) -> str:
    """Region and zone of a node, for taking zones in turn."""
    region = labels.get(REGION, labels.get(BETA_REGION, ""))
    zone = labels.get(ZONE, labels.get(BETA_ZONE, ""))
    return f"{region}:{zone}" if region or zone else ""


class NodeOrder:
    """Slots in the order the scheduler looks at them: one node of each zone in turn."""

    def __init__(self, state: ClusterState) -> None:
        self.state = state
        self._columns: dict[str, int] = {}  # of each zone, in the order they came
        self._lengths: list[int] = []
        self._turns = _no_slots(64, 0)
        """A column of slots per zone, in the order they came; -1 below."""
        self._zone_of: dict[int, str] = {}
        self._order: Ints | None = None
        for info in state.node_infos():
            self.update(info.slot)

    def update(self, slot: int) -> None:
        """A node came to the slot, left it, or changed its labels."""
        info = self.state.infos[slot]
        new = None if info is None else zone_key(info.labels)
        old = self._zone_of.get(slot)
        if new == old:
            return
        if old is not None:
            del self._zone_of[slot]
            self._take(old, slot)
        if new is not None:
            self._zone_of[slot] = new
            self._append(new, slot)
        self._order = None

    def _append(self, zone: str, slot: int) -> None:
        column = self._columns.get(zone)
        if column is None:
            column = self._columns[zone] = len(self._lengths)
            self._lengths.append(0)
            self._turns = np.hstack((self._turns, _no_slots(len(self._turns), 1)))
        length = self._lengths[column]
        if length == len(self._turns):
            self._turns = np.vstack((self._turns, _no_slots(*self._turns.shape)))
        self._turns[length, column] = slot
        self._lengths[column] = length + 1

    def _take(self, zone: str, slot: int) -> None:
        column = self._columns[zone]
        self._lengths[column] = last = self._lengths[column] - 1
        if not last:
            del self._columns[zone], self._lengths[column]
            self._columns = {zone: i for i, zone in enumerate(self._columns)}
            self._turns = np.delete(self._turns, column, axis=1)
            return
        slots = self._turns[: last + 1, column]
        at = int((slots == slot).argmax())
        slots[at:last] = slots[at + 1 :]
        slots[last] = -1

    def get(self) -> Ints:
        """The order; the same array until a node comes or goes."""
        if self._order is None:
            self._order = self._interleave()
        return self._order

    def _interleave(self) -> Ints:
        turns = self._turns[: max(self._lengths, default=0)].ravel()
        return turns[turns >= 0]


def _no_slots(rows: int, columns: int) -> Ints:
    return np.full((rows, columns), -1, dtype=np.int32)
