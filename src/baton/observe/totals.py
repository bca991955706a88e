"""Figures folded from the timeline alone: what a report says can be computed again from the events it was drawn from.

A run that was interrupted folds the events of its first part before it goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from baton.model.events import Event
from baton.model.view import Blocker
from baton.observe import events as kinds


@dataclass
class GroupTotals:
    """Extremes of one group; `image_before` and `kubelet_before` are what most of its nodes had at first."""

    image_before: str = ""
    kubelet_before: str = ""
    min_ready: int | None = None
    min_schedulable: int | None = None
    max_unavailable: int = 0
    max_draining: int = 0
    peak_nodes: int = 0
    replaced: int = 0


@dataclass
class Totals:
    """Sums and extremes since the first observation of the run."""

    groups: dict[str, GroupTotals] = field(default_factory=dict)
    evictions: int = 0
    repeat: int = 0
    displaced: int = 0
    preempted: int = 0
    violations: list[Event] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    by_workload: Counter[str] = field(default_factory=Counter)
    max_pending: int = 0
    max_starting: int = 0
    longest_pending: float = 0.0
    warnings: Counter[str] = field(default_factory=Counter)
    blockers: list[Blocker] = field(default_factory=list)
    short: dict[str, int] = field(default_factory=dict)  # workload -> ready replicas, where fewer than wanted at first
    started: float | None = None
    unwatched: list[tuple[float, float]] = field(default_factory=list)

    def fold(self, events: Iterable[Event]) -> Totals:
        for event in events:
            self.add(event)
        return self

    def add(self, event: Event) -> None:
        handler = _HANDLERS.get(event.kind)
        if handler is not None:
            handler(self, event)

    def group(self, name: str) -> GroupTotals:
        return self.groups.setdefault(name, GroupTotals())

    # --- one kind each

    def _started(self, event: Event) -> None:
        if self.started is not None:
            gap = event.data.get("unwatched")
            if gap:
                self.unwatched.append((float(gap[0]), float(gap[1])))
            return
        self.started = event.at
        self.short = dict(event.data.get("short") or {})
        for name, facts in (event.data.get("groups") or {}).items():
            group = self.group(name)
            group.image_before = facts.get("image", "")
            group.kubelet_before = facts.get("kubelet", "")

    def _counts(self, event: Event) -> None:
        if self.started is None:
            return
        group, data = self.group(event.subject), event.data
        group.min_ready = _least(group.min_ready, data["ready"])
        group.min_schedulable = _least(group.min_schedulable, data["schedulable"])
        group.max_unavailable = max(group.max_unavailable, data["desired"] - data["ready"])
        group.max_draining = max(group.max_draining, data["draining"])
        group.peak_nodes = max(group.peak_nodes, data["nodes"])

    def _replaced(self, event: Event) -> None:
        self.group(event.data["group"]).replaced += 1

    def _evicted(self, event: Event) -> None:
        self.evictions += 1
        self.repeat += bool(event.data.get("repeat"))
        self.by_workload[event.data.get("workload") or event.subject] += 1

    def _displaced(self, event: Event) -> None:
        self.displaced += 1

    def _preempted(self, event: Event) -> None:
        self.preempted += 1

    def _violated(self, event: Event) -> None:
        self.violations.append(event)

    def _lost(self, event: Event) -> None:
        if event.subject not in self.lost:
            self.lost.append(event.subject)

    def _pods(self, event: Event) -> None:
        if self.started is not None:
            self.max_pending = max(self.max_pending, event.data["pending"])
            self.max_starting = max(self.max_starting, event.data["starting"])

    def _scheduled(self, event: Event) -> None:
        self.longest_pending = max(self.longest_pending, event.data.get("waited", 0.0))

    def _warning(self, event: Event) -> None:
        self.warnings[event.data.get("reason", "")] += 1

    def _unblocked(self, event: Event) -> None:
        self.blockers.append(blocker_from(event.data, event.at))


_HANDLERS = {
    kinds.STARTED: Totals._started,
    kinds.GROUP_COUNTS: Totals._counts,
    kinds.NODE_REPLACED: Totals._replaced,
    kinds.POD_EVICTED: Totals._evicted,
    kinds.POD_DISPLACED: Totals._displaced,
    kinds.POD_PREEMPTED: Totals._preempted,
    kinds.PDB_VIOLATED: Totals._violated,
    kinds.POD_LOST: Totals._lost,
    kinds.PODS_COUNTS: Totals._pods,
    kinds.POD_SCHEDULED: Totals._scheduled,
    kinds.WARNING: Totals._warning,
    kinds.UNBLOCKED: Totals._unblocked,
}


def _least(before: int | None, now: int) -> int:
    return now if before is None else min(before, now)


def blocker_data(blocker: Blocker) -> dict[str, Any]:
    """What an event tells of a blocker."""
    return {
        "kind": blocker.kind,
        "subject": blocker.subject,
        "reason": blocker.reason,
        "since": blocker.since,
        "node": blocker.node,
        "pdb": blocker.pdb,
        "hint": blocker.hint,
    }


def blocker_from(data: Mapping[str, Any], until: float | None) -> Blocker:
    return Blocker(
        data["kind"],
        data["subject"],
        data["reason"],
        data["since"],
        until,
        data.get("node", ""),
        data.get("pdb", ""),
        data.get("hint", ""),
    )
