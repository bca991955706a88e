"""One rehearsal: the plan, the production conductor, a twin of the snapshot, one seed, virtual time."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from baton.conductor.engines.aws import AwsEngine
from baton.conductor.journal import MemoryJournal
from baton.conductor.run import Conductor, Settings, StageRecord
from baton.errors import BatonError, HaltedError, ReadError, RefusedError
from baton.model.cluster import Snapshot
from baton.model.events import WatchEvent
from baton.model.plan import Plan, StageKind
from baton.ports import monotonic
from baton.rehearsal.log import Line, Log
from baton.rehearsal.rest import Rest
from baton.rehearsal.tally import Blocked, GroupTally, Tally
from baton.twin.adapters import TwinAws, TwinKube
from baton.twin.bulk.begin import Beyond, move_in_bulk
from baton.twin.cloud.catalogue import MemoryCatalogue
from baton.twin.cloud.settings import CloudSettings
from baton.twin.timings import PodTimes, TwinSettings
from baton.twin.twin import Twin
from baton.twin.world import ApiError

POLL_SECONDS = 5.0
_MALFORMED = (AttributeError, KeyError, TypeError, ValueError)  # what reading a broken object ends in


@dataclass(frozen=True)
class Options:
    """What a rehearsal is told besides plan and seed; plain values, so that it can be sent to other processes.

    `settings` rules the cloud (copied for each run), `workloads` gives the times of single workloads by
    "namespace/name", `force_drain` lets EKS delete pods that a budget still protects after its drain limit. `detail`
    keeps a timeline and the tracks that pictures are drawn from; `whole` every event of the twin. `bulk`: whether the
    pods of ReplicaSets are moved as rows of arrays (twin/bulk), None where that pays; the result is the same.
    """

    settings: CloudSettings | None = None
    workloads: Mapping[str, PodTimes] = field(default_factory=dict)
    force_drain: bool = False
    detail: bool = False
    whole: bool = False
    bulk: bool | None = None


@dataclass(frozen=True)
class Run:
    """How one rehearsal went. `seconds` are cluster seconds; `outcome`: succeeded, halted or refused, with a `reason`.

    `stages`: (ordinal, name, kind, seconds). `unschedulable`: (pod, seconds waiting, why). `lowest`: workload
    to (lowest ready replicas, wanted). `waited` pods were Pending for a second or longer. `disruption`: see
    Tally.disruption. `spans`: seconds that EKS rolled each group. `full_subnets`: (subnet, zone) without a free address
    at the end or when a launch was refused. `stuck`, `singles`: see Tally. `wall_seconds` and `peak_rss_mib` are real,
    and the only figures that a seed does not decide.
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
    forced: int = 0
    lost: tuple[str, ...] = ()
    waited: int = 0
    max_away: int = 0
    disruption: float = 0.0
    failures: Mapping[str, str] = field(default_factory=dict)
    spans: Mapping[str, float] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    full_subnets: tuple[tuple[str, str], ...] = ()
    stuck: tuple[tuple[str, str, str], ...] = ()
    singles: tuple[str, ...] = ()
    peak_rss_mib: float = 0.0
    lines: tuple[Line, ...] = ()
    lines_omitted: int = 0
    tracks: Mapping[str, tuple[tuple[float, int], ...]] = field(default_factory=dict)

    @property
    def refused_launches(self) -> int:
        """How often EC2 would have refused an instance."""
        return sum(self.refused.values())


class _NoWatch:
    """The tally counts from the twin itself, so the conductor's watch may stay empty."""

    def poll(self) -> Sequence[WatchEvent]:
        return ()

    def close(self) -> None:
        """Nothing is open."""


class _Kube(TwinKube):
    def watch(self, resources: Sequence[str]) -> Any:
        return _NoWatch()


_LEFT = [0]  # pods of the twins of earlier runs that may still lie about in this process


@contextmanager
def _no_collector(pods: int) -> Iterator[None]:
    """Millions of small live objects make the cyclic collector's full passes the largest cost; nothing here is cyclic
    garbage in quantity, so it rests meanwhile. What a run leaves is set aside, out of the collector's sight, and
    collected before a later one that is not much larger begins: the last run of a process spares itself that."""
    import gc

    was = gc.isenabled()
    gc.disable()
    if _LEFT[0] > pods // 4:
        gc.unfreeze()
        gc.collect()
        _LEFT[0] = 0
    _LEFT[0] += pods
    gc.freeze()
    try:
        yield
    finally:
        gc.freeze()
        if was:
            gc.enable()


def rehearse_once(
    snapshot: Snapshot, plan: Plan, seed: int, settings: CloudSettings | None = None, options: Options | None = None
) -> Run:
    """Conduct `plan` on a twin of `snapshot`. Failures of the upgrade are the result, not an exception.

    Raises ReadError when the snapshot cannot be brought to life, or holds an object that no API server would take.
    """
    chosen = options or Options(settings=settings)
    try:
        with _no_collector(len(snapshot.objects.get("pods", ()))):
            try:
                return _rehearse(snapshot, plan, seed, chosen)
            except Beyond:
                return _rehearse(snapshot, plan, seed, replace(chosen, bulk=False))
    except _MALFORMED as error:
        raise ReadError(
            f"an object of the snapshot is malformed ({type(error).__name__}: {error})",
            where=f"cluster {snapshot.cluster.name}",
            hint="take the snapshot again; if it was not edited, report this with `baton snapshot --anonymise`",
        ) from error


def _twin(snapshot: Snapshot, seed: int, options: Options) -> Twin:
    settings = copy.deepcopy(options.settings) or CloudSettings()
    kube = TwinSettings(timings=settings.timings, workloads=options.workloads).for_rehearsal()
    try:
        return Twin.from_snapshot(snapshot, seed, settings=settings, kube_settings=kube)
    except ApiError as error:
        raise ReadError(
            f"the snapshot cannot be brought to life: {error.message}",
            where=f"cluster {snapshot.cluster.name}",
            hint="take it again; an object is in it twice or lacks what an API server demands",
        ) from error


def _rehearse(snapshot: Snapshot, plan: Plan, seed: int, options: Options) -> Run:
    began = monotonic()
    name = snapshot.cluster.name
    twin = _twin(snapshot, seed, options)
    started = twin.clock.now()
    aws = TwinAws(twin, snapshot.images)
    tally = Tally(twin, name, tracks={} if options.detail else None)
    tally.attach()
    move_in_bulk(twin.kube(name), tally, False if options.whole else options.bulk)
    log = Log(twin, whole=options.whole, nodes=options.detail and len(twin.cloud.instances()) <= 200)
    before = _instances(twin)
    conductor = Conductor(
        aws=aws,
        kube=_Kube(twin, name),
        clock=twin.clock,
        journal=MemoryJournal(),
        engine=AwsEngine(aws, _tokens(seed), force_drain=options.force_drain),
        observer=log,
        settings=Settings(poll_seconds=POLL_SECONDS, aws_every=1),
        rest=Rest(twin),
    )
    outcome, reason = _conduct(conductor, f"rehearsal-{seed}", plan)
    after = _instances(twin)
    replaced = {g: len(before.get(g, set()) - ids) for g, ids in after.items()}
    tally.finish(replaced, _outcomes(plan, conductor.finished, outcome))
    return _result(twin, tally, log, conductor.finished, seed, started, outcome, reason, monotonic() - began)


def _conduct(conductor: Conductor, run_id: str, plan: Plan) -> tuple[str, str]:
    """(outcome, reason)."""
    try:
        conductor.run(run_id, plan)
    except (HaltedError, RefusedError) as error:
        return "halted", error.message
    except BatonError as error:
        return "refused", error.message
    return "succeeded", ""


def _result(
    twin: Twin,
    tally: Tally,
    log: Log,
    finished: Sequence[StageRecord],
    seed: int,
    started: float,
    outcome: str,
    reason: str,
    wall: float,
) -> Run:
    now = twin.clock.now()
    kube = twin.kube(tally.cluster)
    return Run(
        seed=seed,
        seconds=round(now - started, 3),
        outcome=outcome,
        reason=reason,
        stages=tuple((r.ordinal, r.name, r.kind, round(r.ended_at - r.started_at, 3)) for r in finished),
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
        wall_seconds=wall,
        started=started,
        forced=tally.forced,
        lost=tuple(sorted(tally.lost)),
        waited=tally.waited,
        max_away=tally.max_away,
        disruption=round(tally.disruption, 3),
        failures=dict(sorted(log.failures.items())),
        spans=dict(sorted(log.spans.items())),
        refused=dict(sorted(log.refused.items())),
        full_subnets=_full_subnets(twin, log),
        stuck=tuple(tally.stuck),
        singles=tuple(tally.singles),
        peak_rss_mib=_peak_rss(),
        lines=tuple(log.lines),
        lines_omitted=log.omitted,
        tracks={k: tuple((round(at - started, 3), v) for at, v in t) for k, t in (tally.tracks or {}).items()},
    )


def _full_subnets(twin: Twin, log: Log) -> tuple[tuple[str, str], ...]:
    """Subnets that have no free address, or had none when an instance was to be launched."""
    catalogue = twin.catalogue
    assert isinstance(catalogue, MemoryCatalogue)
    said = " ".join(log.refused)
    found = [s for s in catalogue.subnets.values() if s.id in said or twin.cloud.core.free_ips(s.id) < 1]
    return tuple((s.id, s.zone) for s in sorted(found, key=lambda s: s.id))


def _peak_rss() -> float:
    """MiB of this process at its largest; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)


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
