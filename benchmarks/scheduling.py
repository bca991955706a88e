"""Placements per second of the twin's scheduler, every plugin on, as JSON.

    python benchmarks/scheduling.py [--nodes 100,1000,5000] [--pods N] [--compiled | --plain] [--profile]

Each scenario starts with a cluster that holds 30 pods a node, places more pods one by one (deciding, and counting the
pod on its node), and lets an older pod go for each, so that the cluster stays as full as it was. Templates have been
seen once before; what their first pod costs is a figure of its own.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import random
import sys
import time
from typing import Any

from baton.logic.scheduling import ClusterState, Scheduler

ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
REAL = {100: 1858, 1000: 903, 5000: 626}
"""kube-scheduler 1.34.1 in process on a 2-core machine, placements per second, plain pods."""
PER_APP = 75
Json = dict[str, Any]


def node(i: int) -> Json:
    """A node with 16 cores and 64 GiB in one of three zones."""
    labels = {HOST: f"node-{i}", ZONE: f"us-east-1{'abc'[i % 3]}", "topology.kubernetes.io/region": "us-east-1"}
    allocatable = {"cpu": "15890m", "memory": "60Gi", "pods": "110", "ephemeral-storage": "90Gi"}
    return {"metadata": {"name": f"node-{i}", "labels": labels}, "spec": {}, "status": {"allocatable": allocatable}}


def template(scenario: str, app: int, rng: random.Random) -> tuple[Json, Json]:
    """(labels, spec) of an app's pods."""
    labels = {"app": f"app-{app}", "pod-template-hash": f"h{app}"}
    cpu = rng.choice((100, 200, 250, 400))
    resources = {"requests": {"cpu": f"{cpu}m", "memory": f"{rng.choice((256, 512, 900))}Mi"}}
    spec: Json = {"containers": [{"name": "main", "image": f"app-{app}:1", "resources": resources}]}
    selector = {"matchLabels": {"app": f"app-{app}"}}
    kind = scenario if scenario != "mixed" else ("plain", "plain", "hard", "anti", "soft")[app % 5]
    if kind in ("hard", "soft"):
        action = "DoNotSchedule" if kind == "hard" else "ScheduleAnyway"
        spec["topologySpreadConstraints"] = [
            {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": action, "labelSelector": selector}
        ]
    if kind == "anti":
        term = {"topologyKey": HOST, "labelSelector": selector}
        spec["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    return labels, spec


def measure(scenario: str, nodes: int, pods: int, compiled: bool | None, profile: bool) -> Json:
    """Fill a cluster and time further placements."""
    rng = random.Random(7)
    state = ClusterState()
    for i in range(nodes):
        state.add_node(node(i))
    apps = max(4, nodes * 30 // PER_APP)
    templates = [template(scenario, app, rng) for app in range(apps)]
    for app in range(apps):
        rs = {"metadata": {"name": f"app-{app}-rs", "namespace": "default"}, "spec": {"selector": {"matchLabels": {}}}}
        rs["spec"]["selector"]["matchLabels"] = {"app": f"app-{app}", "pod-template-hash": f"h{app}"}
        state.set_object("replicasets.apps", rs)

    def make(serial: int, app: int, on: str | None) -> Json:
        labels, spec = templates[app]
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"app-{app}-rs", "controller": True}
        metadata = {"name": f"pod-{serial}", "namespace": "default", "labels": labels, "ownerReferences": [owner]}
        return {"metadata": metadata, "spec": {**spec, "nodeName": on} if on else {**spec}, "status": {}}

    filled = nodes * 30
    for serial in range(filled):
        state.add_pod(make(serial, serial % apps, f"node-{(serial * 7 + serial // nodes) % nodes}"))
    scheduler = Scheduler(state, sample=True, compiled=compiled)
    lost = 0
    profiler = cProfile.Profile()
    started = time.perf_counter()
    for app in range(apps):
        scheduler.schedule(make(-1, app, None), rng)
    first = time.perf_counter() - started
    if profile:
        profiler.enable()
    started, working = time.perf_counter(), time.process_time()
    for n in range(pods):
        serial = filled + n
        pod = make(serial, rng.randrange(apps), None)
        decision = scheduler.schedule(pod, rng)
        if decision.node is None:
            lost += 1
        else:
            state.add_pod({**pod, "spec": {**pod["spec"], "nodeName": decision.node}})
        state.remove_pod(("default", f"pod-{n}"))
    seconds = time.perf_counter() - started
    busy = time.process_time() - working
    if profile:
        profiler.disable()
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(18)
    rate = round(pods / seconds)
    return {
        "scenario": scenario,
        "nodes": nodes,
        "pods": filled,
        "placements": pods,
        "unplaced": lost,
        "perSecond": rate,
        "microseconds": round(seconds / pods * 1e6, 1),
        "cpuMicroseconds": round(busy / pods * 1e6, 1),
        "templates": apps,
        "microsecondsFirstPodOfTemplate": round(first / apps * 1e6, 1),
        "timesRealPlain": round(rate / REAL[nodes], 1) if nodes in REAL else None,
    }


def main() -> int:
    """Measure every scenario at every size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", default="100,1000,5000")
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--scenarios", default="plain,soft,hard,anti,mixed")
    parser.add_argument("--compiled", action="store_true", help="always compiled (needs numba)")
    parser.add_argument("--plain", action="store_true", help="never compiled")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    compiled = True if options.compiled else False if options.plain else None
    results = [
        measure(scenario, int(nodes), options.pods, compiled, options.profile)
        for nodes in options.nodes.split(",")
        for scenario in options.scenarios.split(",")
    ]
    print(json.dumps({"benchmark": "scheduling", "compiled": compiled, "results": results}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
