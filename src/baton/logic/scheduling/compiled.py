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
from baton.logic.scheduling.native import (
    MANY,
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
    UNKNOWN,
)
from baton.logic.scheduling.place import (
    H_AWARD,
    H_CONTAINERS,
    H_CPU,
    H_EPHEMERAL,
    H_EXTRA,
    H_FORBID,
    H_HARD,
    H_IMAGES,
    H_MASKS,
    H_MEMORY,
    H_NEED_ALL,
    H_PREFER_TAINT,
    H_PREFERRED,
    H_REQUIRE,
    H_SCORE_CPU,
    H_SCORE_MEMORY,
    H_SELF,
    H_SOFT,
    H_ZEROS,
    HEADER,
)
from baton.logic.scheduling.scores import IMAGE_CEILING, IMAGE_FLOOR

_BIG = 2**31 - 1
_NOTHING = -(2**62)
_BLOCK = 64
_FEW = 4
_PLACES: Any = tuple(np.uintp(i) for i in range(6))
_0, _1, _2, _3, _4, _5 = _PLACES
"""Unsigned, so that indexing does not look for negative numbers."""


@jit
def _counts(table: Any, slot: int, keys: Any, affinity: int, taints: int) -> bool:
    """Whether a node counts for a constraint: every key present, and the inclusion policies content."""
    if affinity >= 0 and table[affinity, slot] <= 0:
        return False
    if taints >= 0 and table[taints, slot] <= 0:
        return False
    for key in keys:  # noqa: SIM110
        if table[key, slot] < 0:
            return False
    return True


@jit
def holders_of(table: Any, few: Any, row: int) -> int:
    """How many slots have pods of the row, listed in `few` after that figure; -1 where they are not listed."""
    if few.shape[0] == 0:
        return -1
    if few[row, 0] == UNKNOWN:
        few[row, 0] = _list_holders(table[row], few[row])
    return int(few[row, 0]) - 1 if few[row, 0] > 0 else -1


@jit
def _list_holders(pods: Any, listed: Any) -> int:
    """One more than the slots that have pods, into `listed`; MANY where they are too many for it."""
    count = 0
    total = pods.shape[0]
    for block in range(0, total, _BLOCK):
        if block + _BLOCK <= total:  # most nodes hold none: a block of them is passed over in one step
            some = pods[block]
            for i in range(1, _BLOCK):
                some |= pods[block + i]
            if some == 0:
                continue
        for slot in range(block, min(block + _BLOCK, total)):
            if pods[slot] != 0:
                count += 1
                if count == listed.shape[0]:
                    return MANY
                listed[count] = slot
    return count + 1


@jit
def _sum_few(pods: Any, domains: Any, wanted: Any, tolerated: Any, sums: Any) -> None:
    """Pods per domain of up to four, without a jump: which nodes hold pods cannot be foreseen."""
    in_0 = in_1 = in_2 = in_3 = 0
    for slot in range(pods.shape[0]):
        d = domains[slot]
        here = pods[slot] * ((wanted[slot] > 0) & (tolerated[slot] > 0))
        in_0 += here * (d == 0)
        in_1 += here * (d == 1)
        in_2 += here * (d == 2)
        in_3 += here * (d == 3)
    found = (in_0, in_1, in_2, in_3)
    for d in range(min(_FEW, sums.shape[0])):
        sums[d] = found[d]


@jit
def _sum_domains(table: Any, few: Any, width: int, counter: int, domain: int, keys: Any, affinity: int, taints: int, sums: Any) -> None:  # fmt: skip  # noqa: E501
    """Pods per domain, over the nodes that count."""
    pods, domains = table[counter], table[domain]
    listed = holders_of(table, few, counter)
    if listed >= 0:
        for d in range(width):
            sums[d] = 0
        for i in range(1, listed + 1):
            slot = few[counter, i]
            d = domains[slot]
            if d >= 0 and _counts(table, slot, keys, affinity, taints):
                sums[d] += pods[slot]
        return
    if keys.shape[0] == 0 and width <= _FEW:
        wanted = table[affinity] if affinity >= 0 else pods
        tolerated = table[taints] if taints >= 0 else pods
        _sum_few(pods, domains, wanted, tolerated, sums[:width])
        return
    for d in range(width):
        sums[d] = 0
    total = pods.shape[0]
    for block in range(0, total, _BLOCK):
        if block + _BLOCK <= total:  # most nodes hold none: a block of them is passed over in one step
            some = pods[block]
            for i in range(1, _BLOCK):
                some |= pods[block + i]
            if some == 0:
                continue
        for slot in range(block, min(block + _BLOCK, total)):
            if pods[slot] != 0:
                d = domains[slot]
                if d >= 0 and _counts(table, slot, keys, affinity, taints):
                    sums[d] += pods[slot]


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
        if d >= 0 and seen[d] == 0 and _counts(table, slot, keys, affinity, taints):
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
def _keys(plan: Any, at: int, entries: int, step: int, keys: Any) -> Any:
    """The domain rows of a section's entries, into `keys`."""
    for c in range(entries):
        keys[c] = plan[at + step * c + 1]
    return keys[:entries]


@jit
def _prepare(table: Any, few: Any, plan: Any, at_hard: int, width: int, lowest: Any, sums: Any, work: Any) -> bool:
    """Sums per domain for hard spreading and required terms; whether the pod may be the first of its kind."""
    none = work[:0]
    keys = _keys(plan, at_hard, plan[H_HARD], 8, work)
    others = keys if plan[H_HARD] > 1 else none  # a node in a domain has the one key
    seen = work[plan[H_HARD] :]
    at = at_hard
    line = sums
    for c in range(plan[H_HARD]):
        _sum_domains(table, few, plan[at + 7], plan[at], plan[at + 1], others, plan[at + 2], plan[at + 3], line)
        lowest[c] = _lowest(table, plan, at, keys, line, seen)
        at += 8
        line = line[width:]
    for _ in range(plan[H_FORBID]):
        if plan[at + 2] > 0:
            _sum_domains(table, few, plan[at + 2], plan[at], plan[at + 1], none, -1, -1, line)
        at += 3
        line = line[width:]
    nowhere = True
    for _ in range(plan[H_REQUIRE]):
        _sum_domains(table, few, plan[at + 2], plan[at], plan[at + 1], none, -1, -1, line)
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
    _score(table, few, places_of, allocatable, used, logs, plan, sums, slots, points, work, space)
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


@jit
def _score(table: Any, few: Any, places_of: Any, allocatable: Any, used: Any, logs: Any, plan: Any, sums: Any, slots: Any, points: Any, work: Any, space: Any) -> None:  # fmt: skip  # noqa: E501
    count = points.shape[0]
    at_soft = HEADER + plan[H_MASKS] + plan[H_ZEROS] + 8 * plan[H_HARD] + 3 * plan[H_FORBID] + 3 * plan[H_REQUIRE]
    at_award = at_soft + 7 * plan[H_SOFT]
    at_images = at_award + 4 * plan[H_AWARD]
    _resources(allocatable, used, plan, slots, points, space)
    _scaled(table[plan[H_PREFER_TAINT]], slots, points, 3, True)
    if plan[H_PREFERRED] >= 0:
        _scaled(table[plan[H_PREFERRED]], slots, points, 2, False)
    if plan[H_SOFT] > 0:
        _soft(table, few, places_of, logs, plan, at_soft, sums, slots, points, work, space)
    if plan[H_AWARD] > 0:
        _award(table, few, plan, at_award, sums, slots, points, work, space)
    if plan[H_IMAGES] > 0:
        ceiling = IMAGE_CEILING * plan[H_CONTAINERS]
        for i in range(count):
            size = 0
            for c in range(plan[H_IMAGES]):
                if table[plan[at_images + 2 * c], slots[i]] > 0:
                    size += plan[at_images + 2 * c + 1]
            size = min(max(size, IMAGE_FLOOR), ceiling)
            points[i] += 100 * (size - IMAGE_FLOOR) // (ceiling - IMAGE_FLOOR)


@jit
def _scaled(row: Any, slots: Any, points: Any, weight: int, reverse: bool) -> None:
    """Add a row stretched to 0-100 by its highest figure, times the weight."""
    highest = 0
    for i in range(points.shape[0]):
        highest = max(highest, row[slots[i]])
    if highest == 0:
        if reverse:
            for i in range(points.shape[0]):
                points[i] += weight * 100
        return
    for i in range(points.shape[0]):
        share = 100 * np.int64(row[slots[i]]) // highest
        points[i] += weight * (100 - share) if reverse else weight * share


@jit
def _resources(allocatable: Any, used: Any, plan: Any, slots: Any, points: Any, space: Any) -> None:
    """Least allocated plus balanced allocation."""
    cpu_scored, memory_scored = plan[H_SCORE_CPU], plan[H_SCORE_MEMORY]
    count = points.shape[0]
    # gathered first, so that the rest is done for several nodes at a time
    cpus, memories, cpus_left = space[:count], space[count : 2 * count], space[2 * count : 3 * count]
    memories_left, cpus_asked = space[3 * count : 4 * count], space[4 * count : 5 * count]
    memories_asked = space[5 * count : 6 * count]
    nowhere = False
    for i in range(count):
        slot = np.uintp(slots[i])
        cpu, memory = allocatable[slot, _0], allocatable[slot, _1]
        nowhere |= (cpu <= 0) | (memory <= 0)
        cpus[i], memories[i] = cpu, memory
        cpus_left[i] = cpu - (used[slot, _4] + cpu_scored)
        memories_left[i] = memory - (used[slot, _5] + memory_scored)
        cpus_asked[i] = used[slot, _0] + plan[H_CPU]
        memories_asked[i] = used[slot, _1] + plan[H_MEMORY]
    balance = plan[H_CPU] != 0 or plan[H_MEMORY] != 0
    if nowhere:
        _resources_of_some(space, balance, points)
        return
    for i in range(count):
        left_cpu, left_memory = max(cpus_left[i], 0.0), max(memories_left[i], 0.0)
        points[i] = (int(100.0 * left_cpu / cpus[i]) + int(100.0 * left_memory / memories[i])) >> 1
    if balance:
        for i in range(count):
            share_cpu = min(cpus_asked[i] / cpus[i], 1.0)
            share_memory = min(memories_asked[i] / memories[i], 1.0)
            points[i] += int((1 - abs((share_cpu - share_memory) / 2)) * 100.0)


@jit
def _resources_of_some(figures: Any, balance: bool, points: Any) -> None:
    """The same where some nodes have no cpu or no memory; six figures of every node, kind after kind."""
    count = points.shape[0]
    for i in range(count):
        total = 0
        kinds = 0
        for kind in range(2):
            have, left = figures[kind * count + i], figures[(2 + kind) * count + i]
            if have > 0.0:
                kinds += 1
                if left >= 0.0:
                    total += int(100.0 * left / have)
        if kinds == 2:
            total >>= 1
            if balance:
                share_cpu = min(figures[4 * count + i] / figures[i], 1.0)
                share_memory = min(figures[5 * count + i] / figures[count + i], 1.0)
                total += int((1 - abs((share_cpu - share_memory) / 2)) * 100.0)
        elif balance:
            total += 100
        points[i] = total


@jit
def _soft(table: Any, few: Any, places_of: Any, logs: Any, plan: Any, at: int, sums: Any, slots: Any, points: Any, work: Any, space: Any) -> None:  # fmt: skip  # noqa: E501
    """Soft spreading; raw stays -1 for nodes that lack a key and so score nothing."""
    count = points.shape[0]
    keys = _keys(plan, at, plan[H_SOFT] if plan[H_NEED_ALL] > 0 else 0, 7, work)
    work = work[keys.shape[0] :]
    others = keys if plan[H_SOFT] > 1 else keys[:0]  # a node in a domain has the one key
    raw = space[:count]
    raw[:] = 0.0
    kept = count
    if keys.shape[0] > 0:
        for i in range(count):
            if not _counts(table, slots[i], keys, -1, -1):
                kept -= 1
                raw[i] = -1.0
    for _ in range(plan[H_SOFT]):
        if plan[at + 5] > 0:
            pods, weight, skew = table[plan[at]], logs[kept], plan[at + 4] - 1
            listed = holders_of(table, few, plan[at])
            if listed >= 0:
                here = _pods_here(pods, few[plan[at]], listed, places_of, slots, work[:count])
                _soft_per_place(here, table[plan[at + 1]], weight, skew, slots, raw)
            else:
                _soft_per_node(pods, table[plan[at + 1]], weight, skew, slots, raw)
        else:
            size = _domains_among(table[plan[at + 1]], plan[at + 6], slots, raw, work)
            _sum_domains(table, few, plan[at + 6], plan[at], plan[at + 1], others, plan[at + 2], plan[at + 3], sums)
            _soft_per_domain(table[plan[at + 1]], sums, logs[size], plan[at + 4] - 1, slots, raw)
        at += 7
    _add_spread_points(raw, kept, points, work)


@jit
def _soft_per_node(pods: Any, domains: Any, weight: float, skew: int, slots: Any, raw: Any) -> None:
    for i in range(raw.shape[0]):
        if raw[i] >= 0 and domains[slots[i]] >= 0:
            raw[i] += np.int64(pods[slots[i]]) * weight + skew


@jit
def _pods_here(pods: Any, few: Any, listed: int, places_of: Any, slots: Any, here: Any) -> Any:
    """Pods in each of `slots`, in their order, into `here`: a few figures are read instead of one from each node."""
    count = slots.shape[0]
    for i in range(count):
        places_of[slots[i]] = i
        here[i] = 0
    for i in range(1, listed + 1):
        place_ = places_of[few[i]]
        if place_ < count and slots[place_] == few[i]:  # what is left of placements before says nothing
            here[place_] = pods[few[i]]
    return here


@jit
def _soft_per_place(here: Any, domains: Any, weight: float, skew: int, slots: Any, raw: Any) -> None:
    for i in range(raw.shape[0]):
        if raw[i] >= 0 and domains[slots[i]] >= 0:
            raw[i] += here[i] * weight + skew


@jit
def _soft_per_domain(domains: Any, sums: Any, weight: float, skew: int, slots: Any, raw: Any) -> None:
    for i in range(raw.shape[0]):
        d = domains[slots[i]]
        if raw[i] >= 0 and d >= 0:
            raw[i] += sums[d] * weight + skew


@jit
def _domains_among(domains: Any, width: int, slots: Any, raw: Any, seen: Any) -> int:
    """How many domains the nodes are in; those without the label make one more."""
    for d in range(width + 1):
        seen[d] = 0
    size = 0
    for i in range(raw.shape[0]):
        d = domains[slots[i]]
        if d < 0:
            d = width
        if raw[i] >= 0 and seen[d] == 0:
            seen[d] = 1
            size += 1
    return size


@jit
def _add_spread_points(raw: Any, kept: int, points: Any, whole: Any) -> None:
    """Round to whole figures, halves up, and stretch; `kept` says how many of the nodes score at all."""
    count = raw.shape[0]
    for i in range(count):
        floor = np.floor(raw[i])
        whole[i] = int(floor) + (raw[i] - floor >= 0.5)
    highest = np.int64(0)
    lowest = np.int64(2**62)
    if kept == count:
        for i in range(count):
            highest = max(highest, whole[i])
            lowest = min(lowest, whole[i])
    else:
        for i in range(count):
            if whole[i] >= 0:
                highest = max(highest, whole[i])
                lowest = min(lowest, whole[i])
    if highest == 0:
        for i in range(count):
            if whole[i] >= 0:
                points[i] += 200
        return
    scale, both = np.float64(highest), highest + lowest
    if kept == count:
        for i in range(count):
            points[i] += 2 * int(100.0 * np.float64(both - whole[i]) / scale)
    else:
        for i in range(count):
            if whole[i] >= 0:
                points[i] += 2 * int(100.0 * np.float64(both - whole[i]) / scale)


@jit
def _award(table: Any, few: Any, plan: Any, at: int, sums: Any, slots: Any, points: Any, work: Any, space: Any) -> None:
    """Preferred terms, stretched between the lowest and the highest."""
    none = work[:0]
    raw = space[: points.shape[0]]
    raw[:] = 0.0
    for _ in range(plan[H_AWARD]):
        pods, domains, weight, width = table[plan[at]], table[plan[at + 1]], plan[at + 2], plan[at + 3]
        if width > 0:
            _sum_domains(table, few, width, plan[at], plan[at + 1], none, -1, -1, sums)
        for i in range(raw.shape[0]):
            d = domains[slots[i]]
            if d >= 0:
                here = sums[d] if width > 0 else np.int64(pods[slots[i]])
                raw[i] += weight * here
        at += 4
    lowest = highest = raw[0]
    for i in range(raw.shape[0]):
        lowest, highest = min(lowest, raw[i]), max(highest, raw[i])
    if highest > lowest:
        for i in range(raw.shape[0]):
            points[i] += 2 * int(100.0 * ((raw[i] - lowest) / (highest - lowest)))


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
