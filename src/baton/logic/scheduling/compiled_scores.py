"""The points that `place` gives, compiled: resources, taints, affinity, spreading, terms of other pods, images."""

from __future__ import annotations

from typing import Any

import numpy as np

from baton.logic.scheduling.accelerate import jit
from baton.logic.scheduling.compiled_counts import counts, holders_of, sum_domains
from baton.logic.scheduling.place import (
    H_AWARD,
    H_CONTAINERS,
    H_CPU,
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
    H_SOFT,
    H_ZEROS,
    HEADER,
)
from baton.logic.scheduling.scores import IMAGE_CEILING, IMAGE_FLOOR

_PLACES: Any = tuple(np.uintp(i) for i in range(6))
_0, _1, _2, _3, _4, _5 = _PLACES


@jit
def keys_of(plan: Any, at: int, entries: int, step: int, keys: Any) -> Any:
    """The domain rows of a section's entries, into `keys`."""
    for c in range(entries):
        keys[c] = plan[at + step * c + 1]
    return keys[:entries]


@jit
def score(table: Any, few: Any, places_of: Any, allocatable: Any, used: Any, logs: Any, plan: Any, sums: Any, slots: Any, points: Any, work: Any, space: Any) -> None:  # fmt: skip  # noqa: E501
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
    keys = keys_of(plan, at, plan[H_SOFT] if plan[H_NEED_ALL] > 0 else 0, 7, work)
    work = work[keys.shape[0] :]
    others = keys if plan[H_SOFT] > 1 else keys[:0]  # a node in a domain has the one key
    raw = space[:count]
    raw[:] = 0.0
    kept = count
    if keys.shape[0] > 0:
        for i in range(count):
            if not counts(table, slots[i], keys, -1, -1):
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
            sum_domains(table, few, plan[at + 6], plan[at], plan[at + 1], others, plan[at + 2], plan[at + 3], sums)
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
            sum_domains(table, few, width, plan[at], plan[at + 1], none, -1, -1, sums)
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
