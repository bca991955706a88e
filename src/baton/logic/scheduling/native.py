"""Placements by the compiled form of `place`: what it is asked, handed over by address in one array of figures."""

from __future__ import annotations

from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.logic.scheduling.accelerate import Unit
from baton.logic.scheduling.place import Cluster, Longs, Placed

# a request's figures: where each array lies and how long it is; the rest of what `place` is asked; two answers
(
    R_TABLE, R_ROWS, R_CAPACITY, R_ALLOCATABLE, R_USED, R_SEARCH, R_SEARCHED, R_LOGS, R_LOG_COUNT, R_EXTRA,
    R_EXTRA_COUNT, R_SLOTS, R_PLAN, R_PLAN_LENGTH, R_LINES, R_WIDTH, R_START, R_WANT, R_WORK, R_WORK_LENGTH, R_SPACE,
    R_SPACE_LENGTH, R_GOOD, R_FEASIBLE, R_EXAMINED,
) = range(25)  # fmt: skip
REQUEST = 25
_ASKED, _ANSWERED = Struct("=6q"), Struct("=2q")  # of every placement anew: struct is quicker than numpy

_HERE = Path(__file__).parent
SOURCES = tuple(_HERE / name for name in ("compiled.py", "addressed.py", "native.py", "place.py", "scores.py"))
UNIT = Unit("baton.logic.scheduling.compiled", "int64(int64, float64)", SOURCES)


def workspace(lines: int, width: int, plan: int, slots: int) -> tuple[int, int, int]:
    """How many whole numbers, floating-point numbers and truth values a placement writes on: for a plan of that length,
    with so many domain sums at once and so wide, in a cluster of so many slots."""
    return lines * (width + 1) + 3 * (slots + 1) + width + plan, 6 * slots, slots


class Placer:
    """Calls the compiled form. Loads it when it is made."""

    def __init__(self) -> None:
        self._place = UNIT.load()
        self._request: Any = np.zeros(REQUEST, dtype=np.int64)
        self._address = _address(self._request)
        self._cluster: tuple[Any, ...] = (None,) * 6
        self._work = np.zeros(0, dtype=np.int64)
        self._space = np.zeros(0)
        self._good = np.zeros(0, dtype=np.bool_)

    def place(
        self, cluster: Cluster, plan: Longs, lines: int, width: int, start: int, want: int, draw: float
    ) -> Placed:
        """As place.place. `lines` and `width`: how many domain sums the plan takes at once, and how wide."""
        r = self._request
        table, allocatable, used, _, search, logs, extra = cluster
        known = self._cluster
        arrays = (table, allocatable, used, search, logs, extra)
        if any(one is not other for one, other in zip(arrays, known, strict=True)):
            self._cluster = arrays
            r[R_TABLE : R_SLOTS + 1] = (
                _address(table), *table.shape, _address(allocatable), _address(used), _address(search), len(search),
                _address(logs), len(logs), _address(extra), len(extra), len(allocatable),
            )  # fmt: skip
        self._make_room(workspace(lines, width, len(plan), len(allocatable)))
        _ASKED.pack_into(r, 8 * R_PLAN, _address(plan), len(plan), lines, width, start, want)
        slot = self._place(self._address, draw)
        return Placed(slot, *_ANSWERED.unpack_from(r, 8 * R_FEASIBLE))

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
