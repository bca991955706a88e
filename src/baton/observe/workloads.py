"""Controllers as watched: how many replicas they want, and which top workload a pod belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from baton.logic.eviction import controller_of

HASH_LABEL = "pod-template-hash"
REPLICAS = ("replicasets.apps", "statefulsets.apps", "deployments.apps")
_SHORT = {"deployments.apps": "Deployment", "statefulsets.apps": "StatefulSet", "daemonsets.apps": "DaemonSet"}


class Workloads:
    """`replicas` by uid of what owns pods; `wanted` by top workload (`Deployment shop/cart`); `owned` counts the pods
    of a controller that are not on their way out."""

    def __init__(self) -> None:
        self.replicas: dict[str, int] = {}
        self.wanted: dict[str, int] = {}
        self.owned: dict[str, int] = {}
        self.ready: dict[str, int] = {}

    def on_object(self, type_: str, resource: str, obj: Mapping[str, Any]) -> None:
        meta = obj["metadata"]
        uid = meta.get("uid", "")
        replicas = (obj.get("spec") or {}).get("replicas")
        count = 1 if replicas is None else int(replicas)
        if type_ == "DELETED":
            self.replicas.pop(uid, None)
        elif resource in REPLICAS:
            self.replicas[uid] = count
        kind = _SHORT.get(resource)
        if kind is None or kind == "DaemonSet":
            return
        name = f"{kind} {meta.get('namespace', '')}/{meta['name']}"
        if type_ == "DELETED":
            self.wanted.pop(name, None)
        else:
            self.wanted[name] = count

    def scaled_down(self, uid: str) -> bool:
        """Whether a pod of `uid` that leaves now is one too many rather than one that is missed."""
        wanted = self.replicas.get(uid)
        return wanted is not None and self.owned.get(uid, 0) > wanted


def workload_of(pod: Mapping[str, Any]) -> str:
    """`Deployment shop/cart`, `StatefulSet data/db`, `Job batch/x`, or "" for a pod without a controller."""
    owner = controller_of(pod)
    if owner is None:
        return ""
    meta = pod["metadata"]
    kind, name = owner.get("kind", ""), owner.get("name", "")
    if kind == "ReplicaSet":
        suffix = "-" + str((meta.get("labels") or {}).get(HASH_LABEL, ""))
        if len(suffix) > 1 and name.endswith(suffix):
            kind, name = "Deployment", name.removesuffix(suffix)
    return f"{kind} {meta.get('namespace', '')}/{name}"
