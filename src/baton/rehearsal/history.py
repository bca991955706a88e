"""How long pods of a workload take to start and to become ready, from what the pods of a snapshot tell."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from baton.logic.eviction import controller_of
from baton.model.cluster import KubeObject, Snapshot
from baton.twin.timings import PodTimes, Spread

SAMPLES = 20  # pods looked at per workload
LONGEST = 1800.0  # a later change of readiness is a pod that failed meanwhile, not one that started slowly


def times_of(snapshot: Snapshot) -> dict[str, PodTimes]:
    """ "namespace/name" of the top workload -> its pods' times, for those whose pods tell when a container started.

    Only pods that never restarted count: their Ready condition changed once.
    """
    owners = {
        (r["metadata"].get("namespace"), r["metadata"]["name"]): ref["name"]
        for r in snapshot.objects.get("replicasets.apps", ())
        if (ref := controller_of(r)) is not None
    }
    ready: dict[str, list[float]] = {}
    start: dict[str, list[float]] = {}
    for pod in snapshot.objects.get("pods", ()):
        key = _workload(pod, owners)
        if key is None or len(ready.get(key, ())) >= SAMPLES:
            continue
        told = _told(pod)
        if told is None:
            continue
        ready.setdefault(key, []).append(told[1])
        if told[0] is not None:
            start.setdefault(key, []).append(told[0])
    return {k: PodTimes(_spread(start.get(k)), _spread(v)) for k, v in sorted(ready.items())}


def _workload(pod: KubeObject, owners: Mapping[tuple[Any, Any], str]) -> str | None:
    owner = controller_of(pod)
    if owner is None or owner.get("kind") == "Job":
        return None
    namespace = pod["metadata"].get("namespace")
    name = owner.get("name")
    if owner.get("kind") == "ReplicaSet":
        name = owners.get((namespace, name), name)
    return f"{namespace}/{name}"


def _told(pod: KubeObject) -> tuple[float | None, float] | None:
    """(bound to started, started to Ready) in seconds; the first is None where volumes or init containers are in it."""
    status = pod.get("status") or {}
    containers = status.get("containerStatuses") or ()
    if not containers or any(c.get("restartCount") for c in containers):
        return None
    at = {c.get("type"): c for c in status.get("conditions") or ()}
    condition = at.get("Ready") or {}
    if condition.get("status") != "True":
        return None
    started = [_time(((c.get("state") or {}).get("running") or {}).get("startedAt")) for c in containers]
    became = _time(condition.get("lastTransitionTime"))
    known = [s for s in started if s is not None]
    if became is None or not known or not 0 <= became - max(known) <= LONGEST:
        return None
    spec = pod.get("spec") or {}
    bound = _time((at.get("PodScheduled") or {}).get("lastTransitionTime"))
    claims = any(v.get("persistentVolumeClaim") for v in spec.get("volumes") or ())
    plain = not spec.get("initContainers") and not claims
    begin = max(known) - bound if plain and bound is not None and max(known) >= bound else None
    return begin if begin is None or begin <= LONGEST else None, became - max(known)


def _spread(samples: list[float] | None) -> Spread | None:
    """From the shortest to the longest, most often the middle one."""
    if not samples:
        return None
    ordered = sorted(samples)
    return Spread(ordered[0], ordered[len(ordered) // 2], ordered[-1], f"{len(ordered)} pods of the snapshot")


@lru_cache(maxsize=65_536)
def _time(text: str | None) -> float | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
