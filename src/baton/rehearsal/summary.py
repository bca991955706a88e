"""Many rehearsals of one plan as one summary: how long, what moves, what blocks, how low capacity falls.

Percentiles are by nearest rank, so that every figure is one that some run had. Given the same seed, snapshot and plan
`Summary.as_json(stats=False)` is the same, byte for byte, on every machine; wall-clock figures are under `stats` alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from baton.model.plan import Plan
from baton.rehearsal.run import Run
from baton.rehearsal.tally import Blocked

SCHEMA = 1
NOTABLE = 60.0  # seconds that an eviction must have been refused to be listed
MOST = 200  # entries of lists that could grow with the cluster
Json = dict[str, Any]


def percentile(values: Iterable[float], share: int) -> float:
    """The value that `share` percent of all are at or below, by nearest rank; 0 of nothing."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)] if ordered else 0


def spread(values: Sequence[float]) -> Json:
    """{p50, p90}."""
    return {"p50": percentile(values, 50), "p90": percentile(values, 90)}


@dataclass(frozen=True)
class Prices:
    """USD per node and hour, by instance type; `default` for any other. None: not known."""

    default: float | None = None
    by_type: Mapping[str, float] = field(default_factory=dict)

    def of(self, kinds: Sequence[str]) -> float | None:
        return next((self.by_type[k] for k in kinds if k in self.by_type), self.default)

    @property
    def known(self) -> bool:
        return self.default is not None or bool(self.by_type)


@dataclass(frozen=True)
class Summary:
    """Runs of one plan, in the order of their seeds. `recommendations` are JSON rows (rehearsal.recommend)."""

    seed: int
    plan: Plan
    runs: tuple[Run, ...]
    timings: tuple[str, ...]
    kinds: Mapping[str, tuple[str, ...]]  # node group -> instance types
    prices: Prices = Prices()
    unknowns: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    recommendations: tuple[Json, ...] = ()
    wall_seconds: float = 0.0
    workers: int = 1

    @property
    def succeeds(self) -> bool:
        """Every run came to its end."""
        return all(r.outcome == "succeeded" for r in self.runs)

    @property
    def first(self) -> Run:
        """The run whose seed is the one given; timeline and tracks are its."""
        return self.runs[0]

    def as_json(self, *, stats: bool = True, timeline: bool = True) -> Json:
        """The summary as plain JSON, keys in camelCase, seconds and node-hours rounded."""
        runs = self.runs
        found: Json = {
            "schema": SCHEMA,
            "cluster": self.plan.cluster,
            "from": self.plan.from_version,
            "to": self.plan.to_version,
            "seed": self.seed,
            "runs": len(runs),
            "outcomes": dict(sorted(Counter(r.outcome for r in runs).items())),
            "reasons": self.reasons(),
            "durationSeconds": spread([r.seconds for r in runs]),
            "stages": self.stages(),
            "nodeGroups": self.node_groups(),
            "evictions": percentile([r.evictions for r in runs], 50),
            "repeatEvictions": percentile([r.repeat for r in runs], 50),
            "risks": self.risks(),
            "surge": self.surge(),
            "blocked": self.blocked(),
            "unschedulable": self.unschedulable(),
            "lowestReady": self.lowest(),
            "lost": self.lost(),
            "fullSubnets": self.full_subnets(),
            "recommendations": [dict(r) for r in self.recommendations],
            "assumptions": [*dict.fromkeys((*self.assumptions, *(a for r in runs for a in r.assumptions)))],
            "unknown": list(self.unknowns),
            "timings": list(self.timings),
        }
        if timeline:
            found["timeline"] = [
                {"at": x.at, "kind": x.kind, "subject": x.subject, "text": x.text} for x in self.first.lines
            ]
            found["timelineOmitted"] = self.first.lines_omitted
        if stats:
            found["stats"] = self.stats()
        return found

    # --- parts

    def reasons(self) -> list[Json]:
        """Why runs did not come to their end, and how many of them."""
        counted = Counter(_without_ids(r.reason) for r in self.runs if r.reason)
        return [{"reason": text, "runs": n} for text, n in sorted(counted.items(), key=lambda e: (-e[1], e[0]))]

    def stages(self) -> list[Json]:
        rows = []
        for stage in self.plan.stages:
            took = [s[3] for r in self.runs for s in r.stages if s[0] == stage.ordinal]
            rows.append(
                {
                    "ordinal": stage.ordinal,
                    "name": stage.name,
                    "kind": stage.kind.value,
                    "durationSeconds": spread(took) if took else None,
                    "finishedRuns": len(took),
                }
            )
        return rows

    def node_groups(self) -> list[Json]:
        rows = []
        for name in sorted(self.first.groups):
            seen = [r.groups[name] for r in self.runs]
            outcomes = Counter(g.outcome for g in seen)
            failures = Counter(r.failures[name] for r in self.runs if name in r.failures)
            took = [r.spans[name] for r in self.runs if name in r.spans]
            rows.append(
                {
                    "name": name,
                    "desired": seen[0].desired,
                    "minReady": min(g.min_ready for g in seen),
                    "peakNodes": max(g.peak for g in seen),
                    "nodesReplaced": percentile([g.replaced for g in seen], 50),
                    "outcome": _worst(outcomes),
                    "outcomes": dict(sorted(outcomes.items())),
                    "failures": dict(sorted(failures.items())),
                    "durationSeconds": spread(took) if took else None,
                    "surgeNodeHours": _hours([g.surge_seconds for g in seen]),
                }
            )
        return rows

    def risks(self) -> Json:
        """p50 and p90 of everything that may go wrong."""
        runs = self.runs

        def of(value: Callable[[Run], float]) -> Json:
            return spread([value(r) for r in runs])

        return {
            "evictions": of(lambda r: r.evictions),
            "repeatEvictions": of(lambda r: r.repeat),
            "forcedEvictions": of(lambda r: r.forced),
            "blockedEvictions": of(lambda r: len(r.blocked)),
            "longestBlockedSeconds": of(lambda r: max((b.seconds for b in r.blocked), default=0.0)),
            "pendingPods": of(lambda r: r.waited),
            "maxPending": of(lambda r: r.max_pending),
            "longestPendingSeconds": of(lambda r: r.longest_pending),
            "unschedulable": of(lambda r: len(r.unschedulable)),
            "replicasAwayAtOnce": of(lambda r: r.max_away),
            "workloadsWithoutReplicas": of(lambda r: sum(low == 0 for low, _ in r.lowest.values())),
            "disruption": of(lambda r: r.disruption),
            "podsLost": of(lambda r: len(r.lost)),
        }

    def surge(self) -> Json:
        """Node-hours beyond the desired sizes, and what they cost where a price was given."""
        hours = _hours([sum(g.surge_seconds for g in r.groups.values()) for r in self.runs])
        costs = [self._cost(r) for r in self.runs]
        known = [c for c in costs if c is not None]
        return {
            "nodeHours": hours,
            "costUsd": {k: round(v, 2) for k, v in spread(known).items()} if known else None,
            "priceKnown": self.prices.known,
        }

    def _cost(self, run: Run) -> float | None:
        total, priced = 0.0, False
        for name, group in run.groups.items():
            price = self.prices.of(self.kinds.get(name, ()))
            if price is not None:
                total, priced = total + price * group.surge_seconds / 3600, True
        return total if priced else None

    def blocked(self) -> list[Json]:
        """Refusals of a minute or more, one row per workload and budget, the longest of all runs; the worst first."""
        rows: dict[tuple[str, str], Blocked] = {}
        counts: dict[tuple[str, str], set[int]] = {}
        for index, run in enumerate(self.runs):
            for entry in run.blocked:
                if entry.cleared and entry.seconds < NOTABLE:
                    continue
                key = (entry.workload, entry.pdb)
                counts.setdefault(key, set()).add(index)
                best = rows.get(key)
                if best is None or (not entry.cleared, entry.seconds) > (not best.cleared, best.seconds):
                    rows[key] = entry
        ordered = sorted(rows, key=lambda k: (rows[k].cleared, -rows[k].seconds, k))
        return [
            {
                "pod": rows[key].pod,
                "workload": rows[key].workload,
                "pdb": rows[key].pdb,
                "node": rows[key].node,
                "sinceSeconds": rows[key].since,
                "seconds": rows[key].seconds,
                "cleared": rows[key].cleared,
                "cause": rows[key].cause,
                "unblock": rows[key].advice,
                "runs": len(counts[key]),
            }
            for key in ordered[:MOST]
        ]

    def unschedulable(self) -> list[Json]:
        """Pods that found no node at the end of a run."""
        worst: dict[str, tuple[float, str]] = {}
        seen: Counter[str] = Counter()
        for run in self.runs:
            for pod, seconds, why in run.unschedulable:
                seen[pod] += 1
                if pod not in worst or seconds > worst[pod][0]:
                    worst[pod] = (seconds, why)
        ordered = sorted(worst, key=lambda p: (-seen[p], -worst[p][0], p))
        return [
            {"pod": pod, "seconds": worst[pod][0], "reason": worst[pod][1], "runs": seen[pod]} for pod in ordered[:MOST]
        ]

    def lowest(self) -> list[Json]:
        """Workloads that fell below their wanted number, by the lowest part of their replicas that was ready."""
        found: dict[str, tuple[int, int]] = {}
        for run in self.runs:
            for name, (ready, wanted) in run.lowest.items():
                if name not in found or ready < found[name][0]:
                    found[name] = (ready, wanted)
        short = [n for n, (ready, wanted) in found.items() if ready < wanted and not n.startswith("DaemonSet ")]
        short.sort(key=lambda n: (found[n][0] / found[n][1], -found[n][1], n))
        return [{"workload": n, "ready": found[n][0], "wanted": found[n][1]} for n in short[:MOST]]

    def lost(self) -> list[Json]:
        """Pods that were evicted and that nobody makes again."""
        seen = Counter(pod for r in self.runs for pod in r.lost)
        return [{"pod": pod, "runs": n} for pod, n in sorted(seen.items(), key=lambda e: (-e[1], e[0]))[:MOST]]

    def full_subnets(self) -> list[Json]:
        seen = Counter(s for r in self.runs for s in r.full_subnets)
        return [{"subnet": s, "zone": z, "runs": n} for (s, z), n in sorted(seen.items())]

    def stats(self) -> Json:
        """What the rehearsal itself took; the only part that differs from machine to machine."""
        wall = sum(r.wall_seconds for r in self.runs)
        placements = sum(r.placements for r in self.runs)
        return {
            "placements": placements,
            "placementsPerSecond": round(placements / wall) if wall else 0,
            "events": sum(r.events for r in self.runs),
            "wallSeconds": round(self.wall_seconds or wall, 3),
            "runSeconds": spread([round(r.wall_seconds, 3) for r in self.runs]),
            "peakRssMiB": max(r.peak_rss_mib for r in self.runs),
            "workers": self.workers,
        }


def _hours(seconds: Sequence[float]) -> Json:
    return {k: round(v / 3600, 3) for k, v in spread(seconds).items()}


def _worst(outcomes: Counter[str]) -> str:
    return next((o for o in ("failed", "not reached", "replaced") if outcomes[o]), "unchanged")


def _without_ids(reason: str) -> str:
    """Without the update's id, so that the same failure is counted as one."""
    words = ["an update" if w == "the update" else w for w in reason.split(" ")]
    kept = [w for w in words if not (len(w) == 36 and w.count("-") == 4)]
    return " ".join(kept)
