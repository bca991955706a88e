"""Settings that would be better, each of them rehearsed: what it saves and what it costs, and which are on the front.

The number of rehearsals is bounded by the events that the plan's own rehearsal took, never by the clock, so the same
seed gives the same rows everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from baton.model.cluster import Snapshot
from baton.rehearsal import variants as v
from baton.rehearsal.rehearse import with_history
from baton.rehearsal.run import Options, Run
from baton.rehearsal.spread import Job, run_all
from baton.rehearsal.summary import Summary, percentile, spread
from baton.rehearsal.unblock import SLOW

EVENTS = 2_500_000  # that all variants together may take, roughly
FEWEST, MOST, SEEDS = 3, 11, 3
Json = dict[str, Any]


@dataclass(frozen=True)
class Tried:
    """A variant with its runs."""

    variant: v.Variant
    runs: tuple[Run, ...]

    @property
    def succeeds(self) -> bool:
        return all(r.outcome == "succeeded" for r in self.runs)

    @property
    def seconds(self) -> float:
        return percentile([r.seconds for r in self.runs], 50)

    @property
    def disruption(self) -> float:
        return percentile([r.disruption for r in self.runs], 50)

    @property
    def forced(self) -> int:
        return max(r.forced for r in self.runs)

    @property
    def lost(self) -> int:
        return max(len(r.lost) for r in self.runs)

    @property
    def ready_percent(self) -> int:
        """The lowest part of any group's desired nodes that was ready."""
        parts = [g.min_ready * 100 // g.desired for r in self.runs for g in r.groups.values() if g.desired]
        return min(parts, default=100)


def recommend(
    snapshot: Snapshot,
    summary: Summary,
    *,
    options: Options | None = None,
    workers: int | None = None,
    executor: str | None = None,
    tell: Callable[[str, int], Callable[[int], object]] = lambda what, total: lambda done: None,
) -> Summary:
    """The summary with recommendations: a row for the plan as it is, then one for each variant, rehearsed with the
    first seeds of the summary's own runs."""
    base = with_history(options or Options(), snapshot)
    seeds, most = _bounds(summary)
    subject = v.Subject(snapshot, summary.plan)
    tried = [Tried(subject.variant("as planned", (), {}), summary.runs[: len(seeds)])]

    def rehearse(chosen: Sequence[v.Variant]) -> None:
        jobs = [
            Job(seed, replace(base, force_drain=base.force_drain or variant.force, detail=False), index)
            for index, variant in enumerate(chosen)
            for seed in seeds
        ]
        progress = tell("variant", len(jobs))
        pairs = [(x.snapshot, x.plan) for x in chosen]
        runs, _ = run_all(pairs, jobs, workers=workers, executor=executor, progress=progress)
        for index, variant in enumerate(chosen):
            tried.append(Tried(variant, runs[index * len(seeds) : (index + 1) * len(seeds)]))

    repairs = list(islice(_repairs(subject, tried[0]), most))
    if repairs:
        rehearse(repairs)
    ground = _ground(tried)
    if ground is not None and len(tried) <= most:
        rehearse(list(islice(_paces(_onward(ground), ground), most + 1 - len(tried))))
    return replace(summary, recommendations=tuple(_rows(tried)))


def _ground(tried: Sequence[Tried]) -> Tried | None:
    """The plan as it is, or the first repair of it that comes to its end without breaking budgets."""
    return next((t for t in tried if t.succeeds and not t.forced), None)


def _bounds(summary: Summary) -> tuple[list[int], int]:
    """The seeds to use, and how many variants at most."""
    events = max(1, summary.first.events)
    seeds = [r.seed for r in summary.runs[:SEEDS]]
    while len(seeds) > 1 and events * len(seeds) * FEWEST > EVENTS:
        seeds.pop()
    return seeds, max(FEWEST, min(MOST, EVENTS // (events * len(seeds))))


def _onward(ground: Tried) -> v.Subject:
    """Further variants stand on the repaired cluster where a repair was needed."""
    variant = ground.variant
    if not variant.settings:
        return v.Subject(variant.snapshot, variant.plan)
    return v.Subject(variant.snapshot, variant.plan, f"{variant.change}; ", variant.how, variant.settings)


def _repairs(subject: v.Subject, tried: Tried) -> Iterator[v.Variant]:
    """What may let a plan that halts come to its end."""
    if tried.succeeds:
        return
    first = tried.runs[0]
    full = {s for r in tried.runs for s, _ in r.full_subnets}
    if any("IpNotAvailable" in r.failures.values() for r in tried.runs):
        full |= set(subject.snapshot.cluster.subnet_ids)
    stuck = first.stuck
    slow = {
        (b.pod.partition("/")[0], b.pdb)
        for r in tried.runs
        for b in r.blocked
        if b.cause == SLOW and (not b.cleared or b.seconds > 600)
    }
    failing = {g for r in tried.runs for g, t in r.groups.items() if t.outcome == "failed"}
    addresses = 64 * max((r.refused_launches for r in tried.runs), default=1)
    candidates = [
        v.mended(subject, stuck),
        v.roomier(subject, full, max(64, min(addresses, 4096))),
        v.loosened(subject, sorted(slow)),
        v.replicated(subject, first.singles),
        v.paced(subject, failing, lambda now, nodes: now // 2, "half the pace of " + ", ".join(sorted(failing)))
        if slow
        else None,
    ]
    yield from (c for c in candidates if c is not None)
    mend, loose = candidates[0], v.loosened(subject, sorted(slow))
    if mend is not None and loose is not None:
        both = v.loosened(
            v.Subject(mend.snapshot, mend.plan, f"{mend.change}; ", mend.how, mend.settings), sorted(slow)
        )
        if both is not None:
            yield both
    if any("PodEvictionFailure" in r.failures.values() for r in tried.runs):
        yield v.forced(subject)


def _paces(subject: v.Subject, ground: Tried) -> Iterator[v.Variant]:
    """Pace, strategy and order, the most promising first."""
    spans = ground.runs[0].spans
    rolled = sorted((g for g in spans if g in ground.runs[0].groups), key=lambda g: (-spans[g], g))
    if not rolled:
        return
    slowest = rolled[0]

    def at(percent: int) -> Callable[[int, int], int]:
        return lambda now, nodes: -(-nodes * percent // 100)

    def times(factor: int) -> Callable[[int, int], int]:
        return lambda now, nodes: now * factor

    several = len(rolled) > 1
    makers: list[Callable[[], v.Variant | None]] = [
        lambda: v.paced(subject, rolled, times(2), "every group at twice its pace" if several else "twice the pace"),
        lambda: v.together(subject),
        lambda: v.minimal(subject, rolled, "strategy MINIMAL" + (" for every group" if several else "")),
        lambda: v.paced(subject, rolled, at(33), "33 % of every group at once" if several else "33 % at once"),
        lambda: v.paced(subject, [slowest], times(2), f"{slowest} at twice its pace") if several else None,
        lambda: v.paced(subject, rolled, lambda now, nodes: now // 2, "half the pace"),
        lambda: v.paced(subject, rolled, at(50), "50 % at once"),
        lambda: v.paced(subject, [slowest], times(4), f"{slowest} at four times its pace"),
        lambda: v.minimal(subject, [slowest], f"strategy MINIMAL for {slowest}") if several else None,
        lambda: v.reversed_order(subject),
        lambda: v.paced(subject, rolled[1:2], times(2), f"{rolled[1]} at twice its pace") if several else None,
    ]
    seen: list[Json] = []
    for make in makers:
        variant = make()
        if variant is not None and variant.settings not in seen:
            seen.append(variant.settings)
            yield variant


# --- rows ------------------------------------------------------------------------------------------------------------


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which of (duration, disruption) no other is at most as long and as disruptive as, and better in one."""
    return [
        not any(b[0] <= a[0] and b[1] <= a[1] and b != a for b in points)
        and a not in points[:index]  # of equal ones the first
        for index, a in enumerate(points)
    ]


def _rows(tried: Sequence[Tried]) -> list[Json]:
    base = tried[0]
    able = [t for t in tried if t.succeeds and not t.forced]
    best = dict(zip(map(id, able), front([(t.seconds, t.disruption) for t in able]), strict=True))
    ground = _ground(tried)
    chosen, why = _chosen(base, [t for t in able if best[id(t)]], ground)
    rows = []
    for t in tried:
        surge = percentile([sum(g.surge_seconds for g in r.groups.values()) for r in t.runs], 50) / 3600
        rows.append(
            {
                "change": t.variant.change,
                "how": list(t.variant.how),
                "settings": t.variant.settings,
                "outcome": "succeeded" if t.succeeds else "halted",
                "durationSeconds": spread([r.seconds for r in t.runs]),
                "savesSeconds": round(ground.seconds - t.seconds, 3) if ground is not None and t.succeeds else None,
                "against": None if ground is None else ground.variant.change,
                "disruption": t.disruption,
                "evictions": percentile([r.evictions for r in t.runs], 50),
                "repeatEvictions": percentile([r.repeat for r in t.runs], 50),
                "forcedEvictions": t.forced,
                "podsLost": t.lost,
                "replicasAwayAtOnce": percentile([r.max_away for r in t.runs], 90),
                "minReady": {n: min(r.groups[n].min_ready for r in t.runs) for n in sorted(t.runs[0].groups)},
                "minReadyPercent": t.ready_percent,
                "surgeNodeHours": round(surge, 3),
                "onFront": best.get(id(t), False),
                "recommended": t is chosen,
                "why": why if t is chosen else "",
                "runs": len(t.runs),
            }
        )
    return rows


def _chosen(base: Tried, candidates: Sequence[Tried], ground: Tried | None) -> tuple[Tried | None, str]:
    """The quickest that costs little: a quarter more disruption at most, no fewer ready nodes, no more lost pods.

    Measured against the plan as it is, or against its `ground`, the first repair that lets it come to its end.
    """
    if ground is None:
        return None, ""
    fair = [
        t
        for t in candidates
        if t is not ground
        and t.disruption <= ground.disruption * 1.25
        and t.ready_percent >= ground.ready_percent
        and t.lost <= ground.lost
        and ground.seconds - t.seconds >= max(60.0, ground.seconds * 0.03)
    ]
    repaired = "" if ground is base else "The plan as it is does not come to its end; with this it does. "
    if not fair:
        return (None, "") if ground is base else (ground, repaired.strip())
    quick = min(fair, key=lambda t: (t.seconds, t.disruption))
    saved = (ground.seconds - quick.seconds) / 60
    change = (quick.disruption / ground.disruption - 1) * 100 if ground.disruption else 0.0
    than = "" if ground is base else f" against `{ground.variant.change}` alone"
    return (
        quick,
        f"{repaired}It saves {saved:.0f} min{than}; disruption {change:+.0f} %, and no fewer nodes are ready at the "
        "lowest.",
    )
