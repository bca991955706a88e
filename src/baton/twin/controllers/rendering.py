"""The object of a pod that is kept as a record, for those who ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from baton.twin.controllers.base import Obj, pinned
from baton.twin.timefmt import rfc3339

if TYPE_CHECKING:
    from baton.twin.controllers.lean import LeanPod


def render(pod: LeanPod) -> Obj:
    """The object: as it was read with what changed since, or as its controller made it."""
    if pod.base is not None:
        meta, spec, status = dict(pod.base["metadata"]), pod.base["spec"], dict(pod.base.get("status") or {})
    else:
        made = {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid, "creationTimestamp": rfc3339(pod.made_at)}
        meta, spec, status = {**pod.shape.meta, **made}, pod.shape.spec, {"qosClass": "Burstable"}
        if pod.pin:
            affinity = spec.get("affinity") or {}
            node_affinity = pinned(affinity.get("nodeAffinity") or {}, pod.pin)
            spec = {**spec, "affinity": {**affinity, "nodeAffinity": node_affinity}}
    if pod.node and spec.get("nodeName") != pod.node:
        spec = {**spec, "nodeName": pod.node}
    if pod.limit >= 0:
        meta["deletionTimestamp"] = rfc3339(pod.told_at + pod.limit)
        meta["deletionGracePeriodSeconds"] = pod.limit
    status["phase"] = pod.phase
    if pod.started_at:
        status.setdefault("startTime", rfc3339(pod.started_at))
    if pod.scheduling is not None and pod.scheduling.nominated:
        status["nominatedNodeName"] = pod.scheduling.nominated
    news = {c["type"]: c for c in _news(pod)}
    if news:
        kept = [c for c in status.get("conditions") or () if c.get("type") not in news]
        status["conditions"] = [*kept, *news.values()]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status}


def _news(pod: LeanPod) -> list[Obj]:
    """The conditions that came of what happened in the twin."""
    found: list[Obj] = []
    if pod.bound_at:
        found.append({"type": "PodScheduled", "status": "True", "lastTransitionTime": rfc3339(pod.bound_at)})
    elif pod.scheduling is not None and pod.scheduling.told:
        since = rfc3339(pod.scheduling.since)
        said = {"reason": "Unschedulable", "message": pod.scheduling.told}
        found.append({"type": "PodScheduled", "status": "False", **said, "lastTransitionTime": since})
    if pod.changed_at:
        truth = "True" if pod.ready else "False"
        found.append({"type": "Ready", "status": truth, "lastTransitionTime": rfc3339(pod.changed_at)})
    return found
