"""Hold the scheduler against recorded verdicts of kube-scheduler 1.34.1; print equal cases per family as JSON.

    python benchmarks/scheduling_golden.py FILE.jsonl.gz [--show N]

Exit code 1 when any case differs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
from collections import defaultdict
from typing import Any

from baton.logic.scheduling import ClusterState, Scheduler

KINDS = {
    "services": "services",
    "replicasets": "replicasets.apps",
    "statefulsets": "statefulsets.apps",
    "replicationcontrollers": "replicationcontrollers",
    "namespaces": "namespaces",
    "pvs": "persistentvolumes",
    "pvcs": "persistentvolumeclaims",
    "storageclasses": "storageclasses.storage.k8s.io",
    "csinodes": "csinodes.storage.k8s.io",
    "pdbs": "poddisruptionbudgets.policy",
}
ASPECTS = ("feasible", "reasons", "rejected_by", "unresolvable", "scores", "totals", "preemption")


def load(case: dict[str, Any]) -> ClusterState:
    """The case's cluster."""
    state = ClusterState()
    for field, resource in KINDS.items():
        for obj in case.get(field) or ():
            state.set_object(resource, obj)
    for node in case["nodes"]:
        state.add_node(node)
    for pod in case["pods"]:
        state.add_pod(pod)
    return state


def verdict(case: dict[str, Any]) -> dict[str, Any]:
    """What the twin says, in the shape of the recorded `expected`."""
    scheduler = Scheduler(load(case))
    found = scheduler.explain(case["pod"])
    result: dict[str, Any] = {
        "feasible": list(found.feasible),
        "reasons": {name: list(reasons) for name, reasons in found.infeasible.items()},
        "rejected_by": found.rejected_by,
        "unresolvable": list(found.unresolvable),
        "scores": found.scores,
        "totals": found.totals,
        "preemption": None,
    }
    if case["family"] == "preempt" and not found.feasible:
        preemption = scheduler.preempt(case["pod"])
        if preemption is not None:
            result["preemption"] = {
                "candidates": {
                    name: {"victims": list(v.names), "pdb_violations": v.pdb_violations}
                    for name, v in preemption.candidates.items()
                },
                "best": list(preemption.best),
                **({"rejected": preemption.rejected} if preemption.rejected else {}),
                **({"note": preemption.note} if preemption.note else {}),
            }
    return result


def wanted(case: dict[str, Any]) -> dict[str, Any]:
    """The recorded verdict in the shape that `verdict` gives."""
    expected = case["expected"]
    return {
        "feasible": expected["feasible"],
        "reasons": expected["infeasible"],
        "rejected_by": expected.get("rejected_by") or {},
        "unresolvable": expected.get("unresolvable") or [],
        "scores": expected.get("scores") or {},
        "totals": expected.get("totals") or {},
        "preemption": expected.get("preemption"),
    }


def differences(case: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Aspect -> (recorded, found) where they differ."""
    ours, theirs = verdict(case), wanted(case)
    return {aspect: (theirs[aspect], ours[aspect]) for aspect in ASPECTS if ours[aspect] != theirs[aspect]}


def main() -> int:
    """Compare every case and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--show", type=int, default=0, help="print this many differing cases to stderr")
    options = parser.parse_args()
    figures: dict[str, dict[str, int]] = defaultdict(lambda: {"cases": 0, "equal": 0, **dict.fromkeys(ASPECTS, 0)})
    shown = 0
    started = time.perf_counter()
    with gzip.open(options.file, "rt", encoding="utf-8") as lines:
        for line in lines:
            case = json.loads(line)
            different = differences(case)
            for family in (case["family"], "all"):
                entry = figures[family]
                entry["cases"] += 1
                entry["equal"] += not different
                for aspect in ASPECTS:
                    entry[aspect] += aspect not in different
            if different and shown < options.show:
                shown += 1
                for aspect, (theirs, ours) in different.items():
                    print(case["id"], case["tags"], aspect, f"\n  want {theirs}\n  have {ours}", file=sys.stderr)
    total = figures.pop("all")
    print(json.dumps({"families": figures, "all": total, "seconds": round(time.perf_counter() - started, 2)}, indent=1))
    return 0 if total["equal"] == total["cases"] else 1


if __name__ == "__main__":
    sys.exit(main())
