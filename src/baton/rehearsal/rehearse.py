"""`rehearse(snapshot, plan, seed=7, runs=20)`: many seeded runs of one plan, as a summary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from baton.errors import UsageError
from baton.model.cluster import Snapshot
from baton.model.plan import Plan
from baton.ports import monotonic
from baton.rehearsal.history import times_of
from baton.rehearsal.presence import present
from baton.rehearsal.run import Options
from baton.rehearsal.spread import Job, run_all
from baton.rehearsal.summary import Prices, Summary
from baton.twin.cloud.settings import CloudSettings


def rehearse(
    snapshot: Snapshot,
    plan: Plan,
    *,
    seed: int = 0,
    runs: int = 1,
    settings: CloudSettings | None = None,
    workers: int | None = None,
    executor: str | None = None,
    options: Options | None = None,
    prices: Prices | None = None,
    assumptions: Sequence[str] = (),
    progress: Callable[[int], object] = lambda done: None,
) -> Summary:
    """Rehearse `plan` with the seeds `seed`, `seed` + 1, ... and sum up. See rehearsal.spread.run_all for `workers` and
    `executor`. Times of workloads come from the snapshot's own history where it tells them.

    Raises UsageError, ReadError when the snapshot cannot be brought to life, UnavailableError.
    """
    if runs < 1:
        raise UsageError(f"{runs} runs", hint="choose one or more")
    began = monotonic()
    base = with_history(options or Options(settings=settings), snapshot)
    first = replace(base, detail=True)
    jobs = [Job(seed + i, base if i else first) for i in range(runs)]
    done, used = run_all([(snapshot, plan)], jobs, workers=workers, executor=executor, progress=progress)
    chosen = base.settings or CloudSettings()
    return Summary(
        seed=seed,
        plan=plan,
        runs=done,
        timings=(*chosen.timings.lines(), *_measured(base)),
        kinds={g.name: g.instance_types for g in snapshot.node_groups},
        prices=prices or Prices(),
        unknowns=tuple(f"{u.what}: {u.reason}" for u in snapshot.unknowns),
        assumptions=(*assumptions, *present(snapshot)),
        wall_seconds=monotonic() - began,
        workers=used,
    )


def with_history(options: Options, snapshot: Snapshot) -> Options:
    """Options whose workloads take the times that the snapshot tells, unless they were given."""
    return options if options.workloads else replace(options, workloads=times_of(snapshot))


def _measured(options: Options) -> tuple[str, ...]:
    if not options.workloads:
        return ()
    return (f"readiness of {len(options.workloads)} workloads: as their pods in the snapshot took to become ready",)
