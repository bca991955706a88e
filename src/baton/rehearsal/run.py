"""One rehearsal: the plan, the production conductor, a twin of the snapshot, one seed, virtual time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from baton.conductor.engines.aws import AwsEngine
from baton.conductor.journal import MemoryJournal
from baton.conductor.run import Conductor, Settings, StageRecord
from baton.errors import BatonError, HaltedError, RefusedError
from baton.model.cluster import Snapshot
from baton.model.events import Event, WatchEvent
from baton.model.plan import Plan, StageKind
from baton.ports import monotonic
from baton.rehearsal.tally import Blocked, GroupTally, Tally
from baton.twin.adapters import TwinAws, TwinKube
from baton.twin.cloud.settings import CloudSettings
from baton.twin.twin import Twin


@dataclass(frozen=True)
class Run:
    """How one rehearsal went. `seconds` are cluster seconds; `outcome`: succeeded, halted or refused, with a `reason`.

    `stages`: (ordinal, name, kind, seconds). `unschedulable`: (pod, seconds waiting, why). `lowest`: workload
    to (lowest ready replicas, wanted). `wall_seconds` is real time and the only figure that a seed does not decide.
    """

    seed: int
    seconds: float
    outcome: str
    reason: str
    stages: tuple[tuple[int, str, str, float], ...]
    groups: Mapping[str, GroupTally]
    evictions: int
    repeat: int
    blocked: tuple[Blocked, ...]
    unschedulable: tuple[tuple[str, float, str], ...]
    max_pending: int
    longest_pending: float
    lowest: Mapping[str, tuple[int, int]]
    by_workload: Mapping[str, int]
    assumptions: tuple[str, ...]
    events: int
    placements: int
    wall_seconds: float
    started: float


class _NoWatch:
    """The tally counts from the twin itself, so the conductor's watch may stay empty."""

    def poll(self) -> Sequence[WatchEvent]:
        return ()

    def close(self) -> None:
        """Nothing is open."""


class _Kube(TwinKube):
    def watch(self, resources: Sequence[str]) -> Any:
        return _NoWatch()


class _Silent:
    """An observer for whom nobody reads a timeline."""

    def feed(self, events: Sequence[WatchEvent], now: float) -> Sequence[Event]:
        return ()

    def note(self, event: Event) -> None:
        """Kept nowhere."""


@contextmanager
def _no_collector() -> Iterator[None]:
    """Millions of small live objects make the cyclic collector's full passes the largest cost; nothing here is cyclic
    garbage in quantity, so it rests meanwhile."""
    import gc

    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def rehearse_once(snapshot: Snapshot, plan: Plan, seed: int, settings: CloudSettings | None = None) -> Run:
    """Conduct `plan` on a twin of `snapshot`. Failures of the upgrade are the result, not an exception."""
    with _no_collector():
        return _rehearse(snapshot, plan, seed, settings)


def _rehearse(snapshot: Snapshot, plan: Plan, seed: int, settings: CloudSettings | None) -> Run:
    began = monotonic()
    twin = Twin.from_snapshot(snapshot, seed, settings=settings)
    started = twin.clock.now()
    aws = TwinAws(twin, snapshot.images)
    tally = Tally(twin, snapshot.cluster.name)
    tally.attach()
    before = _instances(twin)
    conductor = Conductor(
        aws=aws,
        kube=_Kube(twin, snapshot.cluster.name),
        clock=twin.clock,
        journal=MemoryJournal(),
        engine=AwsEngine(aws, _tokens(seed)),
        observer=_Silent(),
        settings=Settings(poll_seconds=5.0),
    )
    records: list[StageRecord] = []
    outcome, reason = "succeeded", ""
    try:
        records += conductor.run(f"rehearsal-{seed}", plan)
    except (HaltedError, RefusedError) as error:
        outcome, reason = "halted", error.message
    except BatonError as error:
        outcome, reason = "refused", error.message
    kube = twin.kube(snapshot.cluster.name)
    after = _instances(twin)
    replaced = {g: len(before.get(g, set()) - ids) for g, ids in after.items()}
    tally.finish(replaced, _outcomes(plan, conductor.finished, outcome))
    now = twin.clock.now()
    return Run(
        seed=seed,
        seconds=round(now - started, 3),
        outcome=outcome,
        reason=reason,
        stages=tuple((r.ordinal, r.name, r.kind, round(r.ended_at - r.started_at, 3)) for r in conductor.finished),
        groups=tally.groups,
        evictions=tally.evictions,
        repeat=tally.repeat,
        blocked=tuple(tally.blocked),
        unschedulable=tuple(
            (f"{ns}/{name}", round(now - since, 3), why) for ns, name, since, why in kube.unschedulable()
        ),
        max_pending=tally.max_pending,
        longest_pending=round(tally.longest_pending, 3),
        lowest=dict(sorted(tally.lowest.items())),
        by_workload=dict(sorted(tally.by_workload.items())),
        assumptions=twin.assumptions,
        events=twin.clock.processed,
        placements=tally.placements,
        wall_seconds=monotonic() - began,
        started=started,
    )


def _tokens(seed: int) -> Any:
    rng = random.Random(f"tokens/{seed}")
    return lambda: f"{rng.getrandbits(128):032x}"


def _instances(twin: Twin) -> dict[str, set[str]]:
    """Node group to the ids of its instances."""
    found: dict[str, set[str]] = {}
    for instance in twin.cloud.instances():
        found.setdefault(instance.node_group, set()).add(instance.id)
    return found


def _outcomes(plan: Plan, finished: Sequence[StageRecord], outcome: str) -> dict[str, str]:
    """Node group to how its roll ended: replaced, or failed where the conductor halted, or not reached."""
    done = {r.ordinal for r in finished}
    found: dict[str, str] = {}
    first_open = next((s.ordinal for s in plan.stages if s.ordinal not in done), None)
    for stage in plan.stages:
        if stage.kind is not StageKind.NODE_GROUP:
            continue
        for change in stage.changes:
            if stage.ordinal in done:
                found[change.name] = "replaced"
            else:
                found[change.name] = (
                    "failed" if stage.ordinal == first_open and outcome != "succeeded" else "not reached"
                )
    return found
