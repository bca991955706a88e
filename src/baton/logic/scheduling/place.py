"""One placement over arrays: filter nodes in turn, score those found, choose. The numpy form; `compiled` is its twin.

A plan is an array of whole numbers: a header (the names below), then the entries that the header counts, in the order
of SECTIONS. Rows refer to the matrix of `rows.Table`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from baton.logic.scheduling.rows import Ints
from baton.logic.scheduling.scores import IMAGE_CEILING, IMAGE_FLOOR
from baton.logic.scheduling.state import CPU, EPHEMERAL, MEMORY, NONZERO_CPU, NONZERO_MEMORY, PODS

Longs = NDArray[np.int64]
Bools = NDArray[np.bool_]

(
    H_CPU, H_MEMORY, H_EPHEMERAL, H_SCORE_CPU, H_SCORE_MEMORY, H_EXTRA, H_MASKS, H_ZEROS, H_HARD, H_FORBID, H_REQUIRE,
    H_SELF, H_SOFT, H_NEED_ALL, H_AWARD, H_PREFER_TAINT, H_PREFERRED, H_IMAGES, H_CONTAINERS,
) = range(19)  # fmt: skip
HEADER = 19
WIDTHS = {H_MASKS: 1, H_ZEROS: 1, H_HARD: 8, H_FORBID: 3, H_REQUIRE: 3, H_SOFT: 7, H_AWARD: 4, H_IMAGES: 2}
SECTIONS = (H_MASKS, H_ZEROS, H_HARD, H_FORBID, H_REQUIRE, H_SOFT, H_AWARD, H_IMAGES)
# A width is how many numbers the domain has; 0 stands for one node per domain, where that spares adding up.
# hard:    counter, domain, affinity mask or -1, taint mask or -1, max skew, min domains, self, width
# forbid:  counter, domain, width or 0          (rejects where the domain holds any)
# require: counter, domain, width               (rejects where the domain holds none)
# soft:    counter, domain, affinity mask or -1, taint mask or -1, max skew, counts per node, width
# award:   counter, domain, weight, width or 0
# images:  mask, scaled size


class Cluster(NamedTuple):
    """The arrays a placement reads."""

    table: Ints
    allocatable: Longs
    used: Longs
    order: Ints
    """Every node's slot, in turn by zone."""
    search: Ints
    """The slots to look at: `order`, or the few that the pod's affinity names."""
    logs: NDArray[np.float64]
    """logs[n] = ln(n + 2), as Go computes it."""
    extra: Bools
    """Per slot, what plugins outside the plan allow; looked at where the plan says so."""


class Placed(NamedTuple):
    """Outcome of one placement."""

    slot: int
    """The chosen slot, -1 when no node will do."""
    feasible: int
    examined: int
    """How many nodes were looked at, for the next search to start after."""


def sections(plan: Longs) -> dict[int, Longs]:
    """The plan's entries by section, one row each."""
    result = {}
    at = HEADER
    for name in SECTIONS:
        end = at + int(plan[name]) * WIDTHS[name]
        result[name] = plan[at:end].reshape(-1, WIDTHS[name])
        at = end
    return result


def place(cluster: Cluster, plan: Longs, start: int, want: int, draw: float) -> Placed:
    """Look at nodes from `start` on, round and round, until `want` will do; choose among the best by `draw` (0-1)."""
    search = cluster.search
    judge = _Judge(cluster, plan, sections(plan))
    total = len(search)
    turned = np.concatenate((search[start:], search[:start])) if start else search
    found: list[Ints] = []
    count = examined = 0
    step = total if want >= total else min(total, want + want // 4 + 16)
    while examined < total and count < want:
        batch = turned[examined : examined + step]
        good = np.flatnonzero(judge.allows(batch))
        if count + len(good) >= want:
            good = good[: want - count]
            examined += int(good[-1]) + 1
        else:
            examined += len(batch)
        count += len(good)
        found.append(batch[good])
    if count == 0:
        return Placed(-1, 0, examined)
    slots = found[0] if len(found) == 1 else np.concatenate(found)
    if count == 1:
        return Placed(int(slots[0]), 1, examined)
    totals = judge.scores(slots)
    best = np.flatnonzero(totals == totals.max())
    return Placed(int(slots[best[int(draw * len(best))]]), count, examined)


def resources_fit(cluster: Cluster, plan: Longs, slots: Ints) -> Bools:
    """NodeResourcesFit without scalar resources."""
    used, allocatable = cluster.used[slots], cluster.allocatable[slots]
    fits: Bools = used[:, PODS] + 1 <= allocatable[:, PODS]
    for column, name in ((CPU, H_CPU), (MEMORY, H_MEMORY), (EPHEMERAL, H_EPHEMERAL)):
        if plan[name] > 0:
            fits &= plan[name] <= allocatable[:, column] - used[:, column]
    return fits


def domain_sums(cluster: Cluster, counter: int, domain: int, among: Bools | None = None) -> Longs:
    """Pods per domain number, over the nodes in the cluster's order (those of `among` only)."""
    slots = cluster.order if among is None else cluster.order[among]
    domains = cluster.table[domain][slots]
    counts = cluster.table[counter][slots]
    known = domains >= 0
    if not known.all():
        domains, counts = domains[known], counts[known]
    return np.bincount(domains, weights=counts, minlength=1).astype(np.int64)


def eligible(cluster: Cluster, keys: list[int], affinity: int, taints: int) -> Bools:
    """Nodes (in order) that have every topology key and that the inclusion policies let count."""
    table, order = cluster.table, cluster.order
    result = np.ones(len(order), dtype=np.bool_)
    for key in keys:
        result &= table[key][order] >= 0
    for mask in (affinity, taints):
        if mask >= 0:
            result &= table[mask][order] > 0
    return result


def at_domain(sums: Longs, domains: Ints) -> Longs:
    """sums[domain], 0 where the node has no domain or the domain no sum."""
    inside = (domains >= 0) & (domains < len(sums))
    result = np.zeros(len(domains), dtype=np.int64)
    result[inside] = sums[domains[inside]]
    return result


class _Judge:
    """A plan's filters and scores with what they need to know of the whole cluster."""

    def __init__(self, cluster: Cluster, plan: Longs, parts: dict[int, Longs]) -> None:
        self.cluster, self.plan, self.parts = cluster, plan, parts
        keys = [int(entry[1]) for entry in parts[H_HARD]]
        self.hard = [HardConstraint(cluster, entry, keys) for entry in parts[H_HARD]]
        self.forbid = [(int(e[1]), domain_sums(cluster, e[0], e[1])) for e in parts[H_FORBID]]
        self.require = [(int(e[1]), domain_sums(cluster, e[0], e[1])) for e in parts[H_REQUIRE]]
        self.first = bool(plan[H_SELF]) and not any(sums.any() for _, sums in self.require)

    def allows(self, slots: Ints) -> Bools:
        """Whether each node passes every filter."""
        table, plan = self.cluster.table, self.plan
        fits = resources_fit(self.cluster, plan, slots)
        if plan[H_EXTRA]:
            fits &= self.cluster.extra[slots]
        for (row,) in self.parts[H_MASKS]:
            fits &= table[row][slots] > 0
        for (row,) in self.parts[H_ZEROS]:
            fits &= table[row][slots] == 0
        for constraint in self.hard:
            fits &= constraint.allows(table[constraint.domain][slots])
        for domain, sums in self.require:
            domains = table[domain][slots]
            fits &= (domains >= 0) if self.first else (at_domain(sums, domains) > 0)
        for domain, sums in self.forbid:
            fits &= at_domain(sums, table[domain][slots]) == 0
        return fits

    def scores(self, slots: Ints) -> Longs:
        """Weighted totals of feasible nodes."""
        table, plan = self.cluster.table, self.plan
        totals = resource_scores(self.cluster, plan, slots)
        if plan[H_PREFER_TAINT] >= 0:
            raw = table[plan[H_PREFER_TAINT]][slots].astype(np.int64)
            highest = int(raw.max())
            totals += 3 * (100 - 100 * raw // highest) if highest else 300
        if plan[H_PREFERRED] >= 0:
            raw = table[plan[H_PREFERRED]][slots].astype(np.int64)
            highest = int(raw.max())
            if highest:
                totals += 2 * (100 * raw // highest)
        if plan[H_SOFT]:
            totals += 2 * soft_scores(self.cluster, plan, self.parts[H_SOFT], slots)
        if plan[H_AWARD]:
            totals += 2 * self._award_scores(slots)
        if plan[H_IMAGES]:
            size = np.zeros(len(slots), dtype=np.int64)
            for row, scaled in self.parts[H_IMAGES]:
                size += np.where(table[row][slots] > 0, scaled, 0)
            ceiling = IMAGE_CEILING * int(plan[H_CONTAINERS])
            totals += 100 * (np.clip(size, IMAGE_FLOOR, ceiling) - IMAGE_FLOOR) // (ceiling - IMAGE_FLOOR)
        return totals

    def _award_scores(self, slots: Ints) -> Longs:
        raw = np.zeros(len(slots), dtype=np.int64)
        for counter, domain, weight, _ in self.parts[H_AWARD]:
            sums = domain_sums(self.cluster, counter, domain)
            raw += weight * at_domain(sums, self.cluster.table[domain][slots])
        lowest, highest = int(raw.min()), int(raw.max())
        if lowest == highest:
            return np.zeros(len(slots), dtype=np.int64)
        return (100.0 * ((raw - lowest) / (highest - lowest))).astype(np.int64)


class HardConstraint:
    """A DoNotSchedule constraint: pods per domain and the lowest of them."""

    def __init__(self, cluster: Cluster, entry: Longs, keys: list[int]) -> None:
        counter, self.domain, affinity, taints, self.max_skew, min_domains, self.own, _ = (int(v) for v in entry)
        among = eligible(cluster, keys, affinity, taints)
        self.sums = domain_sums(cluster, counter, self.domain, among)
        present = np.unique(cluster.table[self.domain][cluster.order[among]])
        lowest = int(self.sums[present].min()) if len(present) else 2**31 - 1
        self.lowest = 0 if len(present) < min_domains else lowest

    def allows(self, domains: Ints) -> Bools:
        """Whether one more pod keeps the skew, for nodes of these domains."""
        ok: Bools = (domains >= 0) & (at_domain(self.sums, domains) + self.own - self.lowest <= self.max_skew)
        return ok


def resource_scores(cluster: Cluster, plan: Longs, slots: Ints) -> Longs:
    """Least allocated plus balanced allocation."""
    used, allocatable = cluster.used[slots], cluster.allocatable[slots]
    total = np.zeros(len(slots), dtype=np.int64)
    kinds = np.zeros(len(slots), dtype=np.int64)
    for column, have, name in ((NONZERO_CPU, 0, H_SCORE_CPU), (NONZERO_MEMORY, 1, H_SCORE_MEMORY)):
        capacity = allocatable[:, have]
        asked = used[:, column] + plan[name]
        exists = capacity != 0
        free = 100 * (capacity - asked) // np.where(exists, capacity, 1)
        total += np.where(exists & (asked <= capacity), free, 0)
        kinds += exists
    total //= np.maximum(kinds, 1)
    if plan[H_CPU] or plan[H_MEMORY]:
        cpu, memory = allocatable[:, 0], allocatable[:, 1]
        both = (cpu != 0) & (memory != 0)
        share_cpu = np.minimum((used[:, CPU] + plan[H_CPU]) / np.where(both, cpu, 1), 1.0)
        share_memory = np.minimum((used[:, MEMORY] + plan[H_MEMORY]) / np.where(both, memory, 1), 1.0)
        deviation = np.where(both, np.abs((share_cpu - share_memory) / 2), 0.0)
        total += ((1 - deviation) * 100.0).astype(np.int64)
    return total


def soft_scores(cluster: Cluster, plan: Longs, entries: Longs, slots: Ints) -> Longs:
    """Normalised soft spreading, 0-100."""
    table = cluster.table
    need_all = bool(plan[H_NEED_ALL])
    keys = [int(entry[1]) for entry in entries] if need_all else []
    kept = np.ones(len(slots), dtype=np.bool_)
    for key in keys:
        kept &= table[key][slots] >= 0
    raw = np.zeros(len(slots), dtype=np.float64)
    for counter, domain, affinity, taints, max_skew, per_node, _ in (tuple(int(v) for v in e) for e in entries):
        domains = table[domain][slots]
        if per_node:
            weight = cluster.logs[int(kept.sum())]
            counts = table[counter][slots].astype(np.int64)
        else:
            weight = cluster.logs[len(np.unique(domains[kept]))]
            sums = domain_sums(cluster, counter, domain, eligible(cluster, keys, affinity, taints))
            counts = at_domain(sums, domains)
        raw += np.where(domains >= 0, counts * weight + (max_skew - 1), 0.0)
    floor = np.floor(raw)
    points = floor.astype(np.int64) + (raw - floor >= 0.5)
    if not kept.any():
        return np.zeros(len(slots), dtype=np.int64)
    highest, lowest = int(points[kept].max()), int(points[kept].min())
    if highest == 0:
        return np.where(kept, 100, 0)
    return np.where(kept, 100 * (highest + lowest - points) // highest, 0)
