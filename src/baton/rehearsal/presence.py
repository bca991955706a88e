"""What else moves nodes and pods in a cluster, and what the twin does about it: one sentence each."""

from __future__ import annotations

from collections.abc import Iterable

from baton.model import nodes
from baton.model.cluster import KubeObject, Snapshot

_WORKLOADS = ("deployments.apps", "replicasets.apps", "pods")


def present(snapshot: Snapshot) -> tuple[str, ...]:
    """Sentences about autoscalers and node managers that were found; () when there are none."""
    said = []
    if _runs(snapshot, "cluster-autoscaler"):
        said.append(
            "the Cluster Autoscaler runs here: the twin adds no node for pods that wait and takes no idle one away, so "
            "production may have more nodes during the roll"
        )
    managed = [n for n in snapshot.objects.get("nodes", ()) if nodes.owner(n).startswith("karpenter")]
    if managed or _runs(snapshot, "karpenter"):
        said.append(
            f"Karpenter runs here, with {len(managed)} nodes: the twin leaves them as they are, while Karpenter may "
            "consolidate them, and replaces them once their AMI drifts"
        )
    auto = [n for n in snapshot.objects.get("nodes", ()) if nodes.owner(n) == "auto"]
    if snapshot.cluster.auto_mode or auto:
        said.append(
            f"EKS Auto Mode runs here, with {len(auto)} nodes: AWS replaces them after the control plane, at a pace of "
            "its own that the twin does not imitate"
        )
    scaled = len(snapshot.objects.get("horizontalpodautoscalers.autoscaling", ()))
    if scaled:
        said.append(f"{scaled} HorizontalPodAutoscalers: in the twin replicas stay at the number they have now")
    others = [
        n
        for n in snapshot.objects.get("nodes", ())
        if nodes.owner(n) in ("self-managed", "hybrid", "fargate")
    ]  # fmt: skip
    if others:
        said.append(f"{len(others)} nodes are in no managed node group: nothing in the plan replaces them")
    return tuple(said)


def _runs(snapshot: Snapshot, word: str) -> bool:
    return any(_named(snapshot.objects.get(resource, ()), word) for resource in _WORKLOADS)


def _named(objects: Iterable[KubeObject], word: str) -> bool:
    """By name, or by the label that its chart gives it."""
    for obj in objects:
        meta = obj["metadata"]
        labels = meta.get("labels") or {}
        if str(meta["name"]).startswith(word) or labels.get("app.kubernetes.io/name") in (word, f"aws-{word}"):
            return True
    return False
