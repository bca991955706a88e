"""One whole rehearsal of a synthetic cluster, control plane, add-ons and a full roll of every node, as JSON.

    python benchmarks/rollout.py [--sizes 100x3000,1000x30000,5000x150000] [--seed 7] [--profile] [--one-by-one]

Each size runs in a process of its own, so that peak memory is its own. `generateSeconds` and `planSeconds` are told
apart from `rollSeconds`, the time from making the twin to the last record: what a user waits for per run, with what a
process loads once in it (compiled code); `againSeconds` is another seed in the same process, for the smaller sizes.
Compiling, once for a version and a machine, is done before and told as `compileSeconds`.

The generated groups roll by percentages of 10 to 33, one after the other. No budget blocks for ever. `cpuSeconds` is
what the process used of a shared machine; `loopSeconds` what a fixed loop took before and after, to compare machines
and hours by.
"""

from __future__ import annotations

import argparse
import compileall
import cProfile
import importlib
import json
import pstats
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import baton

SIZES = "100x3000,1000x30000,5000x150000"


def measure(
    nodes: int, pods: int, seed: int, profile: bool = False, force: bool = False, bulk: bool | None = None
) -> dict[str, Any]:
    """One rehearsal's figures. `bulk`: see rehearsal.run.Options."""
    from baton.knowledge.tables import Knowledge
    from baton.model.target import Target
    from baton.planner.plan import make_plan
    from baton.rehearsal.generate import generate
    from baton.rehearsal.run import Options, rehearse_once

    began = time.perf_counter()
    snapshot = generate(nodes=nodes, pods=pods, seed=seed, blocking=0)
    generated = time.perf_counter()
    start = [int(part) for part in snapshot.cluster.version.split(".")]
    plan = make_plan(snapshot, Target(f"{start[0]}.{start[1] + 1}"), Knowledge.load())
    planned = time.perf_counter()
    compiling = compile_where_needed(nodes, pods, bulk)
    warm(seed)
    loop = fixed_loop()
    before = time.process_time()
    rolled = time.perf_counter()
    profiler = cProfile.Profile() if profile else None
    if profiler:
        profiler.enable()
    options = Options(force_drain=force, bulk=bulk)
    run = rehearse_once(snapshot, plan, seed, options=options)
    if profiler:
        profiler.disable()
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(35)
    seconds = time.perf_counter() - rolled
    used = time.process_time() - before
    again = {}
    if nodes <= 1000:
        repeated = time.perf_counter()
        rehearse_once(snapshot, plan, seed + 1, options=options)
        again = {"againSeconds": round(time.perf_counter() - repeated, 2)}
    return {
        "nodes": nodes,
        "pods": pods,
        "outcome": run.outcome,
        "reason": run.reason,
        "rollSeconds": round(seconds, 2),
        **again,
        "cpuSeconds": round(used, 2),
        "loopSeconds": [round(loop, 4), round(fixed_loop(), 4)],
        "compileSeconds": round(compiling, 2),
        "generateSeconds": round(generated - began, 2),
        "planSeconds": round(planned - generated, 2),
        "clusterSeconds": round(run.seconds),
        "nodesReplaced": sum(g.replaced for g in run.groups.values()),
        "evictions": run.evictions,
        "placements": run.placements,
        "placementsPerSecond": round(run.placements / seconds),
        "events": run.events,
        "peakRssMiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def fixed_loop() -> float:
    """Processor seconds of the quickest of five rounds of the same work."""
    quickest = 1e9
    for _ in range(5):
        began, table = time.process_time(), {}
        for i in range(200_000):
            table[i & 1023] = (i, str(i))
            table.get(i & 511)
        quickest = min(quickest, time.process_time() - began)
    return quickest


def compile_where_needed(nodes: int, pods: int, bulk: bool | None) -> float:
    """Seconds of compiling, in a process of its own: what is measured loads the code as every later run does."""
    from baton.twin.bulk.begin import compiles_first

    if bulk is False or not compiles_first(nodes, pods):
        return 0.0
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "from baton.twin.bulk.begin import compile_ahead; compile_ahead()"], check=True
    )
    return time.perf_counter() - began


def warm(seed: int) -> None:
    """Load what every process loads once; compiled code is left to the run itself."""
    from baton.knowledge.tables import Knowledge
    from baton.model.target import Target
    from baton.planner.plan import make_plan
    from baton.rehearsal.generate import generate
    from baton.rehearsal.run import rehearse_once

    importlib.import_module("baton.twin.bulk.bulk")  # which so small a cluster does not need
    small = generate(nodes=12, pods=120, seed=seed)
    version = small.cluster.version.split(".")
    rehearse_once(small, make_plan(small, Target(f"{version[0]}.{int(version[1]) + 1}"), Knowledge.load()), seed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=SIZES)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--force", action="store_true", help="force drains that take longer than EKS's 15 minutes")
    parser.add_argument("--one-by-one", action="store_true", help="move no pods in bulk, to compare")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    sizes = [tuple(int(n) for n in size.split("x")) for size in args.sizes.split(",")]
    if args.one:
        json.dump(
            measure(*sizes[0], args.seed, args.profile, args.force, False if args.one_by_one else None), sys.stdout
        )
        return 0
    # a checkout has no byte code where Python is told to write none; an installed Baton has
    compileall.compile_dir(Path(baton.__file__).parent, quiet=1)
    results = []
    for nodes, pods in sizes:
        words = [sys.executable, __file__, "--one", "--sizes", f"{nodes}x{pods}", "--seed", str(args.seed)]
        words += [f"--{name}" for name in ("profile", "force") if getattr(args, name)]
        words += ["--one-by-one"] if args.one_by_one else []
        done = subprocess.run(words, stdout=subprocess.PIPE, check=True)
        results.append(json.loads(done.stdout))
    json.dump({"benchmark": "rollout", "results": results}, sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
