"""Runs spread over the cores of this machine, or over a cluster through Dask; the same results wherever they run."""

from __future__ import annotations

import gzip
import hashlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from baton.errors import UnavailableError, UsageError
from baton.model.cluster import Snapshot
from baton.model.plan import Plan
from baton.rehearsal.run import Options, Run, rehearse_once

WORTH = 4.0  # seconds of work left from which starting processes pays


@dataclass(frozen=True, slots=True)
class Job:
    """One run; `subject` tells which of several (snapshot, plan) it is of."""

    seed: int
    options: Options
    subject: int = 0


@dataclass(frozen=True, slots=True)
class Packed:
    """A snapshot and a plan as bytes, sent to another process once."""

    digest: str
    snapshot: bytes
    plan: Plan


_unpacked: dict[str, Snapshot] = {}  # in a worker: the snapshot it works on


def pack(snapshot: Snapshot, plan: Plan) -> Packed:
    body = gzip.compress(msgspec.json.encode(snapshot), compresslevel=1, mtime=0)
    return Packed(hashlib.sha256(body).hexdigest(), body, plan)


def work(packed: Packed, job: Job) -> Run:
    """What a worker does. It keeps the last snapshot it unpacked."""
    snapshot = _unpacked.get(packed.digest)
    if snapshot is None:
        snapshot = msgspec.json.decode(gzip.decompress(packed.snapshot), type=Snapshot)
        _unpacked.clear()
        _unpacked[packed.digest] = snapshot
    return rehearse_once(snapshot, packed.plan, job.seed, options=job.options)


def run_all(
    subjects: Sequence[tuple[Snapshot, Plan]],
    jobs: Sequence[Job],
    *,
    workers: int | None = None,
    executor: str | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> tuple[tuple[Run, ...], int]:
    """Every job's run, in the order of the jobs, and over how many workers they went (0: elsewhere).

    `workers` None chooses: the first run is made here, and when what is left is worth it, the rest go to one process a
    core. `executor` is the address of a Dask scheduler, `dask://host:port`. `progress(done)` is called as runs end.

    Raises UsageError for a wrong address or a library that is not installed, UnavailableError when nobody answers.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"{workers} workers", hint="choose one or more")
    if executor is not None:
        with remote(executor) as (pool, share):
            return _mapped(pool, [share(pack(*s)) for s in subjects], jobs, progress), 0
    done: list[Run] = []
    if workers is None or workers == 1 or len(jobs) < 2:
        for job in jobs:
            snapshot, plan = subjects[job.subject]
            done.append(rehearse_once(snapshot, plan, job.seed, options=job.options))
            progress(len(done))
            if workers is None and done[0].wall_seconds * (len(jobs) - len(done)) > WORTH and _cores(done[0]) > 1:
                break
        if len(done) == len(jobs):
            return tuple(done), 1
    rest = jobs[len(done) :]
    count = min(len(rest), workers if workers is not None else _cores(done[0]))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        found = _mapped(pool, [pack(*s) for s in subjects], rest, lambda n: progress(len(done) + n))
    return (*done, *found), count


def _mapped(
    pool: Executor, packed: Sequence[Any], jobs: Sequence[Job], progress: Callable[[int], object]
) -> tuple[Run, ...]:
    futures = [pool.submit(work, packed[job.subject], job) for job in jobs]
    found = []
    for future in futures:
        found.append(future.result())
        progress(len(found))
    return tuple(found)


def _cores(first: Run) -> int:
    """Processes that fit the cores, and the memory where the system tells how much is free."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            free = next(int(line.split()[1]) // 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return cores
    return max(1, min(cores, int(free // max(100.0, first.peak_rss_mib * 1.2))))


@contextmanager
def remote(address: str) -> Iterator[tuple[Executor, Callable[[Packed], Any]]]:
    """An executor over a Dask cluster, and how to send something to all of its workers once."""
    scheme, found, rest = address.partition("://")
    if not found or scheme not in ("dask", "tcp", "tls") or not rest:
        raise UsageError(f"not an executor's address: {address!r}", hint="write dask://HOST:PORT of a Dask scheduler")
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(
            "runs on a Dask cluster need the library `distributed`, which is not installed",
            hint="pip install 'baton-eks[cluster]', here and on the workers",
        ) from error
    try:
        client = Client(("tcp" if scheme == "dask" else scheme) + "://" + rest, timeout="10s")
    except (OSError, TimeoutError, ValueError) as error:
        raise UnavailableError(
            f"no Dask scheduler answers: {error}", where=address, hint="is it up, and reachable from here?"
        ) from error
    try:
        yield client.get_executor(), lambda packed: client.scatter(packed, broadcast=True)
    finally:
        client.close()
