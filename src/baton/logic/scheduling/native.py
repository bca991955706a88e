"""Placements by the compiled form of `place`: what it is asked, handed over by address in one array of figures."""

from __future__ import annotations

from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baton.logic.scheduling.accelerate import Unit
from baton.logic.scheduling.place import H_MASKS, HEADER, Cluster, Longs, Placed
from baton.logic.scheduling.rows import Ints

# a request's figures: where each array lies and how long it is; the rest of what `place` is asked; two answers
(
    R_TABLE, R_ROWS, R_CAPACITY, R_ALLOCATABLE, R_USED, R_LOGS, R_LOG_COUNT, R_EXTRA, R_EXTRA_COUNT, R_SLOTS, R_SEARCH,
    R_PLACES, R_SEARCHED, R_PLAN, R_PLAN_LENGTH, R_LINES, R_WIDTH, R_TOTAL, R_START, R_WANT, R_WORK, R_WORK_LENGTH,
    R_SPACE, R_SPACE_LENGTH, R_GOOD, R_FEASIBLE, R_EXAMINED,
) = range(27)  # fmt: skip
REQUEST = 27
UNKNOWN, MANY = 0, -1
"""What a list of slots begins with instead of one more than its length: see compiled.holders_of."""
_ASKED, _ANSWERED = Struct("=10q"), Struct("=2q")  # of every placement anew: struct is quicker than numpy

_HERE = Path(__file__).parent
_NAMES = ("compiled", "compiled_counts", "compiled_scores", "addressed", "native", "place", "scores")
SOURCES = tuple(_HERE / f"{name}.py" for name in _NAMES)
UNIT = Unit("baton.logic.scheduling.compiled", "int64(int64, float64)", SOURCES)


def workspace(lines: int, width: int, plan: int, slots: int) -> tuple[int, int, int]:
    """How many whole numbers, floating-point numbers and truth values a placement writes on: for a plan of that length,
    with so many domain sums at once and so wide, in a cluster of so many slots."""
    return lines * (width + 1) + 3 * (slots + 1) + width + plan, 6 * slots, slots


class Among(NamedTuple):
    """Slots that a plan's masks let pass, and where they stand among all that are to be looked at.

    `addresses`: where the two lie, and how long they are.
    """

    slots: Ints
    places: Ints
    addresses: tuple[int, int, int]

    @classmethod
    def of(cls, table: Ints, search: Ints, masks: tuple[int, ...]) -> Among:
        """Of the slots in `search`, those where no row of `masks` forbids."""
        open_ = table[masks[0]][search] > 0
        for row in masks[1:]:
            open_ &= table[row][search] > 0
        places = np.flatnonzero(open_).astype(np.int32)
        slots = search[places]
        return cls(slots, places, (_address(slots), _address(places), len(slots)))


class Placer:
    """Calls the compiled form. Loads it when it is made."""

    def __init__(self) -> None:
        self._place = UNIT.load()
        self._request: Any = np.zeros(REQUEST, dtype=np.int64)
        self._address = _address(self._request)
        self._cluster: tuple[Any, ...] = (None,) * 5
        self._order: Ints | None = None
        self._version = -1
        self._among: dict[tuple[int, ...], Among] = {}  # of the whole order, as long as no node changes
        self._work = np.zeros(0, dtype=np.int64)
        self._space = np.zeros(0)
        self._good = np.zeros(0, dtype=np.bool_)

    def place(
        self, cluster: Cluster, plan: Longs, size: tuple[int, int], version: int, start: int, want: int, draw: float
    ) -> Placed:
        """As place.place. `size`: how many domain sums the plan takes at once, and how wide; `version` of the rows that
        follow from nodes: as long as it stays, they do."""
        r = self._request
        table, allocatable, used, order, search, logs, extra = cluster
        arrays = (table, allocatable, used, logs, extra)
        if any(one is not other for one, other in zip(arrays, self._cluster, strict=True)):
            self._cluster = arrays
            r[R_TABLE : R_SLOTS + 1] = (
                _address(table), *table.shape, _address(allocatable), _address(used), _address(logs), len(logs),
                _address(extra), len(extra), len(allocatable),
            )  # fmt: skip
        masks = tuple(plan[HEADER : HEADER + int(plan[H_MASKS])].tolist())
        among = self._in_order(table, order, version, masks) if search is order else Among.of(table, search, masks)
        self._make_room(workspace(*size, len(plan), len(allocatable)))
        _ASKED.pack_into(r, 8 * R_SEARCH, *among.addresses, _address(plan), len(plan), *size, len(search), start, want)
        slot = self._place(self._address, draw)
        return Placed(slot, *_ANSWERED.unpack_from(r, 8 * R_FEASIBLE))

    def _in_order(self, table: Ints, order: Ints, version: int, masks: tuple[int, ...]) -> Among:
        if version != self._version or order is not self._order:
            self._version, self._order = version, order
            self._among.clear()
        found = self._among.get(masks)
        if found is None:
            found = self._among[masks] = Among.of(table, order, masks)
        return found

    def _make_room(self, needed: tuple[int, int, int]) -> None:
        if needed[0] > len(self._work) or needed[1] > len(self._space):
            self._work = np.zeros(2 * needed[0], dtype=np.int64)
            self._space = np.zeros(2 * needed[1])
            self._good = np.zeros(2 * needed[2], dtype=np.bool_)
            self._request[R_WORK : R_GOOD + 1] = (
                _address(self._work), len(self._work), _address(self._space), len(self._space), _address(self._good)
            )  # fmt: skip


def _address(array: NDArray[Any]) -> int:
    where: int = array.__array_interface__["data"][0]
    return where
