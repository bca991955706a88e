"""`place` compiled by numba: the same steps on the same arrays, node by node, with the same results bit for bit.

Whole-number quotients are taken in floating point: both sides are below 2**53 and the divisor below 2**45, so that the
rounded quotient never reaches the next whole number, and it is several times faster.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from baton.logic.scheduling.accelerate import jit
from baton.logic.scheduling.addressed import at
from baton.logic.scheduling.compiled_counts import counts, holders_of, sum_domains
from baton.logic.scheduling.compiled_scores import keys_of, score
from baton.logic.scheduling.native import (
    R_ALLOCATABLE,
    R_CAPACITY,
    R_EXAMINED,
    R_EXTRA,
    R_EXTRA_COUNT,
    R_FEASIBLE,
    R_GOOD,
    R_LINES,
    R_LOG_COUNT,
    R_LOGS,
    R_PLACES,
    R_PLAN,
    R_PLAN_LENGTH,
    R_ROWS,
    R_SEARCH,
    R_SEARCHED,
    R_SLOTS,
    R_SPACE,
    R_SPACE_LENGTH,
    R_START,
    R_TABLE,
    R_TOTAL,
    R_USED,
    R_WANT,
    R_WIDTH,
    R_WORK,
    R_WORK_LENGTH,
    REQUEST,
)
from baton.logic.scheduling.place import (
    H_CPU,
    H_EPHEMERAL,
    H_EXTRA,
    H_FORBID,
    H_HARD,
    H_MASKS,
    H_MEMORY,
    H_REQUIRE,
    H_SELF,
    H_ZEROS,
    HEADER,
)

_BIG = 2**31 - 1
_NOTHING = -(2**62)
_BLOCK = 64
_FEW = 4
_PLACES: Any = tuple(np.uintp(i) for i in range(6))
_0, _1, _2, _3, _4, _5 = _PLACES
"""Unsigned, so that indexing does not look for negative numbers."""


@jit
def _lowest(table: Any, plan: Any, at: int, keys: Any, sums: Any, seen: Any) -> int:
    """The fewest pods in any domain that a node which counts is in; 0 when there are too few domains."""
    width = plan[at + 7]
    for d in range(width):
        seen[d] = 0
    present = 0
    domains = table[plan[at + 1]]
    affinity, taints = plan[at + 2], plan[at + 3]
    for slot in range(domains.shape[0]):
        d = domains[slot]
        if d >= 0 and seen[d] == 0 and counts(table, slot, keys, affinity, taints):
            seen[d] = 1
            present += 1
            if present == width:
                break
    if present < plan[at + 5]:
        return 0
    low = _BIG
    for d in range(width):
        if seen[d] != 0 and sums[d] < low:
            low = sums[d]
    return low


@jit
def _prepare(table: Any, few: Any, plan: Any, at_hard: int, width: int, lowest: Any, sums: Any, work: Any) -> bool:
    """Sums per domain for hard spreading and required terms; whether the pod may be the first of its kind."""
    none = work[:0]
    keys = keys_of(plan, at_hard, plan[H_HARD], 8, work)
    others = keys if plan[H_HARD] > 1 else none  # a node in a domain has the one key
    seen = work[plan[H_HARD] :]
    at = at_hard
    line = sums
    for c in range(plan[H_HARD]):
        sum_domains(table, few, plan[at + 7], plan[at], plan[at + 1], others, plan[at + 2], plan[at + 3], line)
        lowest[c] = _lowest(table, plan, at, keys, line, seen)
        at += 8
        line = line[width:]
    for _ in range(plan[H_FORBID]):
        if plan[at + 2] > 0:
            sum_domains(table, few, plan[at + 2], plan[at], plan[at + 1], none, -1, -1, line)
        at += 3
        line = line[width:]
    nowhere = True
    for _ in range(plan[H_REQUIRE]):
        sum_domains(table, few, plan[at + 2], plan[at], plan[at + 1], none, -1, -1, line)
        for d in range(plan[at + 2]):
            if line[d] > 0:
                nowhere = False
        at += 3
        line = line[width:]
    return plan[H_SELF] > 0 and nowhere


@jit
def _hold_to_terms(table: Any, few: Any, plan: Any, at: int, width: int, lowest: Any, sums: Any, first: bool, low: int, high: int, good: Any) -> None:  # fmt: skip  # noqa: E501
    """Hard spreading and required terms, for the slots from `low` to `high`."""
    here = sums
    for c in range(plan[H_HARD]):
        domains, most = table[plan[at + 1]], plan[at + 4] + lowest[c] - plan[at + 6]
        for slot in range(low, high):
            d = domains[slot]
            good[slot] &= (d >= 0) & (here[max(d, 0)] <= most)
        at += 8
        here = here[width:]
    for _ in range(plan[H_FORBID]):
        pods, domains = table[plan[at]], table[plan[at + 1]]
        if plan[at + 2] > 0:
            for slot in range(low, high):
                d = domains[slot]
                good[slot] &= (d < 0) | (here[max(d, 0)] <= 0)
        else:
            listed = holders_of(table, few, plan[at])
            for i in range(1, listed + 1):
                slot = few[plan[at], i]
                if low <= slot < high and domains[slot] >= 0:
                    good[slot] = False
            if listed < 0:
                for slot in range(low, high):
                    good[slot] &= (domains[slot] < 0) | (pods[slot] <= 0)
        at += 3
        here = here[width:]
    for _ in range(plan[H_REQUIRE]):
        domains = table[plan[at + 1]]
        for slot in range(low, high):
            d = domains[slot]
            good[slot] &= (d >= 0) & (first | (here[max(d, 0)] > 0))
        at += 3
        here = here[width:]


@jit
def _fits(allocatable: Any, used: Any, slot: int, cpu: int, memory: int, ephemeral: int) -> bool:
    """NodeResourcesFit, without a jump: which nodes have room cannot be foreseen."""
    return bool(
        (used[slot, _3] < allocatable[slot, _3])
        & (cpu <= allocatable[slot, _0] - used[slot, _0])
        & (memory <= allocatable[slot, _1] - used[slot, _1])
        & (ephemeral <= allocatable[slot, _2] - used[slot, _2])
    )


@jit
def _hold(table: Any, few: Any, extra: Any, plan: Any, width: int, sums: Any, lowest: Any, first: bool, low: int, high: int, good: Any) -> None:  # fmt: skip  # noqa: E501
    """What rules besides masks and room say of the slots from `low` to `high`: rule by rule, each over all of them."""
    for slot in range(low, high):
        good[slot] = True
    if plan[H_EXTRA] > 0:
        for slot in range(low, high):
            good[slot] = extra[slot]
    at = HEADER + plan[H_MASKS]
    for _ in range(plan[H_ZEROS]):
        taken = table[plan[at]]
        for slot in range(low, high):
            good[slot] &= taken[slot] == 0
        at += 1
    _hold_to_terms(table, few, plan, at, width, lowest, sums, first, low, high, good)


@jit
def _filter(allocatable: Any, used: Any, search: Any, places: Any, plan: Any, total: int, start: int, want: int, slots: Any, ruled: bool, good: Any) -> Any:  # fmt: skip  # noqa: E501
    """Slots of feasible nodes into `slots`, which holds one more than `want`: (how many, how many were looked at)."""
    # figures are taken into locals: the compiler cannot know that filling `slots` leaves the plan alone
    cpu = plan[H_CPU] if plan[H_CPU] > 0 else _NOTHING
    memory = plan[H_MEMORY] if plan[H_MEMORY] > 0 else _NOTHING
    ephemeral = plan[H_EPHEMERAL] if plan[H_EPHEMERAL] > 0 else _NOTHING
    first, n = 0, search.shape[0]
    after = n
    while first < after:  # the first place from `start` on
        middle = (first + after) >> 1
        if places[middle] < start:
            first = middle + 1
        else:
            after = middle
    count = 0
    begin, end = first, n
    for _ in range(2):
        for i in range(begin, end):
            slot: Any = np.uintp(search[i])
            fits = _fits(allocatable, used, slot, cpu, memory, ephemeral)
            if ruled:
                fits &= good[slot]
            slots[count] = slot
            count += fits
            if count == want:
                distance = places[i] - start
                return count, (distance if distance >= 0 else distance + total) + 1
        begin, end = 0, first
    return count, total


@jit
def place(table: Any, allocatable: Any, used: Any, search: Any, places: Any, logs: Any, extra: Any, plan: Any, lines: int, width: int, total: int, start: int, want: int, draw: float, work: Any, space: Any, good: Any, few: Any, places_of: Any) -> Any:  # fmt: skip  # noqa: E501
    """place.place as (slot, feasible, examined), over the arrays of a place.Cluster one by one.

    `search`: those of the `total` slots to look at that the masks let pass; `places`: where they stand among all.
    `lines` and `width`: how many domain sums the plan takes at once, and how wide. `work`, `space` and `good` are to be
    written on, see native.workspace.
    `few`: see holders_of; `places_of` is to be written on, one for each slot, where `few` lists any.
    """
    sums, work = work[: lines * width], work[lines * width :]
    lowest, work = work[: plan[H_HARD]], work[plan[H_HARD] :]
    room = min(want, search.shape[0]) + 1
    slots, points, work = work[:room], work[room : 2 * room], work[2 * room :]
    ruled = plan[H_EXTRA] + plan[H_ZEROS] + plan[H_HARD] + plan[H_FORBID] + plan[H_REQUIRE] > 0
    if ruled:
        first = _prepare(table, few, plan, HEADER + plan[H_MASKS] + plan[H_ZEROS], width, lowest, sums, work)
        if search.shape[0] * 16 < allocatable.shape[0]:
            for i in range(search.shape[0]):
                slot = search[i]
                _hold(table, few, extra, plan, width, sums, lowest, first, slot, slot + 1, good)
        else:
            _hold(table, few, extra, plan, width, sums, lowest, first, 0, allocatable.shape[0], good)
    count, examined = _filter(allocatable, used, search, places, plan, total, start, want, slots, ruled, good)
    if count == 0:
        return -1, 0, examined
    if count == 1:
        return slots[0], 1, examined
    slots, points = slots[:count], points[:count]
    score(table, few, places_of, allocatable, used, logs, plan, sums, slots, points, work, space)
    best = points[0]
    for i in range(count):
        best = max(best, points[i])
    ties = 0
    for i in range(count):
        ties += points[i] == best
    pick = int(draw * ties)
    for i in range(count):
        if points[i] == best:
            if pick == 0:
                return slots[i], count, examined
            pick -= 1
    return -1, count, examined


def entry(request: int, draw: float) -> int:
    """What `native` asks, by its address: the slot; how many were feasible and looked at go into the request."""
    r = numba.carray(at(request), (REQUEST,), np.int64)
    slot, feasible, examined = place(
        numba.carray(at(r[R_TABLE]), (r[R_ROWS], r[R_CAPACITY]), np.int32),
        numba.carray(at(r[R_ALLOCATABLE]), (r[R_SLOTS], 4), np.int64),
        numba.carray(at(r[R_USED]), (r[R_SLOTS], 6), np.int64),
        numba.carray(at(r[R_SEARCH]), (r[R_SEARCHED],), np.int32),
        numba.carray(at(r[R_PLACES]), (r[R_SEARCHED],), np.int32),
        numba.carray(at(r[R_LOGS]), (r[R_LOG_COUNT],), np.float64),
        numba.carray(at(r[R_EXTRA]), (r[R_EXTRA_COUNT],), np.bool_),
        numba.carray(at(r[R_PLAN]), (r[R_PLAN_LENGTH],), np.int64),
        r[R_LINES],
        r[R_WIDTH],
        r[R_TOTAL],
        r[R_START],
        r[R_WANT],
        draw,
        numba.carray(at(r[R_WORK]), (r[R_WORK_LENGTH],), np.int64),
        numba.carray(at(r[R_SPACE]), (r[R_SPACE_LENGTH],), np.float64),
        numba.carray(at(r[R_GOOD]), (r[R_SLOTS],), np.bool_),
        numba.carray(at(r[R_TABLE]), (0, 1), np.int32),
        numba.carray(at(r[R_TABLE]), (0,), np.int32),
    )
    r[R_FEASIBLE], r[R_EXAMINED] = feasible, examined
    return int(slot)
