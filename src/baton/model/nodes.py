"""What node objects say: who runs them, which kubelet, ready or not. Pure reading of API JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from baton.errors import UsageError
from baton.model.cluster import KubeObject, Snapshot
from baton.model.versions import Minor

NODE_GROUP_LABEL = "eks.amazonaws.com/nodegroup"
IMAGE_LABEL = "eks.amazonaws.com/nodegroup-image"
ZONE_LABEL = "topology.kubernetes.io/zone"
COMPUTE_LABEL = "eks.amazonaws.com/compute-type"
KARPENTER_LABELS = ("karpenter.sh/nodepool", "karpenter.sh/provisioner-name")


def labels(obj: KubeObject) -> Mapping[str, str]:
    found: Mapping[str, str] = obj.get("metadata", {}).get("labels") or {}
    return found


def name(obj: KubeObject) -> str:
    return str(obj.get("metadata", {}).get("name", ""))


def owner(node: KubeObject) -> str:
    """Who replaces the node: `node group NAME`, `auto`, `karpenter NODEPOOL`, `fargate`, `hybrid` or `self-managed`."""
    has = labels(node)
    if NODE_GROUP_LABEL in has:
        return f"node group {has[NODE_GROUP_LABEL]}"
    compute = has.get(COMPUTE_LABEL, "")
    if compute in ("fargate", "hybrid", "auto"):
        return compute
    for label in KARPENTER_LABELS:
        if label in has:
            return f"karpenter {has[label]}"
    return "self-managed"


def info(node: KubeObject) -> Mapping[str, Any]:
    found: Mapping[str, Any] = node.get("status", {}).get("nodeInfo") or {}
    return found


def kubelet(node: KubeObject) -> Minor | None:
    """The kubelet's minor; None when the node does not say."""
    try:
        return Minor.parse(str(info(node).get("kubeletVersion", "")))
    except UsageError:
        return None


def ready(node: KubeObject) -> bool:
    return any(
        c.get("type") == "Ready" and c.get("status") == "True" for c in node.get("status", {}).get("conditions") or ()
    )


def kubelets(snapshot: Snapshot) -> dict[str, list[Minor]]:
    """The kubelet minors of each managed node group's nodes, those that say one; in one pass."""
    found: dict[str, list[Minor]] = {}
    for node in snapshot.objects.get("nodes", ()):
        group, minor = labels(node).get(NODE_GROUP_LABEL), kubelet(node)
        if group is not None and minor is not None:
            found.setdefault(group, []).append(minor)
    return found


def of_group(snapshot: Snapshot, group: str) -> tuple[KubeObject, ...]:
    """The nodes of a managed node group."""
    return tuple(n for n in snapshot.objects.get("nodes", ()) if labels(n).get(NODE_GROUP_LABEL) == group)
