"""Figures per node slot, as rows of one integer matrix, and the order in which nodes are looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from baton.logic.scheduling.matching import BETA_REGION, BETA_ZONE, REGION, ZONE
from baton.logic.scheduling.state import ClusterState, NodeInfo

Ints = NDArray[np.int32]
_NO_SLOTS: Ints = np.zeros(0, dtype=np.int32)


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

    __slots__ = ("absent", "row", "synced", "value")

    def __init__(self, row: int, value: Callable[[NodeInfo], int], absent: int = 0) -> None:
        self.row = row
        self.value = value
        self.absent = absent
        self.synced = -1

    def changed(self, old: int, new: int) -> None:
        """A slot's value is about to change."""


class DomainRow(NodeRow):
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


class NodeRows:
    """All NodeRows of a table, and the log of slots that changed."""

    def __init__(self, state: ClusterState, table: Table) -> None:
        self.state = state
        self.table = table
        self.log: list[int] = []
        self.version = 0
        self._base = 0
        self._domains: dict[str, DomainRow] = {}

    def note(self, slot: int) -> None:
        """A node came, went or changed."""
        self.log.append(slot)
        self.version += 1
        if len(self.log) > 100_000:
            self._base += len(self.log) // 2
            del self.log[: len(self.log) // 2]

    def add(self, value: Callable[[NodeInfo], int]) -> NodeRow:
        """A new row holding value(node) per slot, 0 where there is no node."""
        return NodeRow(self.table.new_row(), value)

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

    def sync(self, row: NodeRow) -> None:
        """Bring a row up to date."""
        if row.synced == self.version:
            return
        infos = self.state.infos
        slots = range(len(infos)) if row.synced < self._base else set(self.log[row.synced - self._base :])
        data = self.table.data[row.row]
        value, absent = row.value, row.absent
        tell = row.changed if isinstance(row, DomainRow) else None
        for slot in slots:
            info = infos[slot]
            new = absent if info is None else value(info)
            if tell is not None:
                old = int(data[slot])
                if old != new:
                    tell(old, new)
            data[slot] = new
        row.synced = self.version


def zone_key(labels: Mapping[str, str]) -> str:
    """Region and zone of a node, for taking zones in turn."""
    region = labels.get(REGION, labels.get(BETA_REGION, ""))
    zone = labels.get(ZONE, labels.get(BETA_ZONE, ""))
    return f"{region}:{zone}" if region or zone else ""


class NodeOrder:
    """Slots in the order the scheduler looks at them: one node of each zone in turn."""

    def __init__(self, state: ClusterState) -> None:
        self.state = state
        self._zones: dict[str, Ints] = {}
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
            left = self._zones[old]
            left = left[left != slot]
            del self._zone_of[slot]
            if len(left):
                self._zones[old] = left
            else:
                del self._zones[old]
        if new is not None:
            there = self._zones.get(new, _NO_SLOTS)
            self._zones[new] = np.append(there, np.int32(slot))
            self._zone_of[slot] = new
        self._order = None

    def get(self) -> Ints:
        """The order; the same array until a node comes or goes."""
        if self._order is None:
            self._order = self._interleave()
        return self._order

    def _interleave(self) -> Ints:
        zones = list(self._zones.values())
        turns = np.full((max(map(len, zones), default=0), len(zones)), -1, dtype=np.int32)
        for i, slots in enumerate(zones):
            turns[: len(slots), i] = slots
        flat = turns.ravel()
        return flat[flat >= 0]
