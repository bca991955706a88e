"""A `kubectl get ... -o json` List -> a ClusterState and the pods in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from baton.errors import ReadError
from baton.logic.scheduling.matching import Json
from baton.logic.scheduling.state import ClusterState

_GROUPS = {
    "Service": "services",
    "ReplicaSet": "replicasets.apps",
    "StatefulSet": "statefulsets.apps",
    "ReplicationController": "replicationcontrollers",
    "Namespace": "namespaces",
    "PersistentVolume": "persistentvolumes",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "StorageClass": "storageclasses.storage.k8s.io",
    "CSINode": "csinodes.storage.k8s.io",
    "PodDisruptionBudget": "poddisruptionbudgets.policy",
}


class Dump:
    """The cluster that a List describes. Pods with a node are counted on it; every pod can be looked up."""

    def __init__(self, objects: Iterable[Any]) -> None:
        self.state = ClusterState()
        self.pods: dict[tuple[str, str], Json] = {}
        self.kinds: set[str] = set()
        placed: list[Json] = []
        for item in flatten(objects):
            kind = item.get("kind")
            if not isinstance(kind, str) or not kind:
                raise ReadError("an object without a kind", hint="give whole objects, as kubectl -o json prints them")
            self.kinds.add(kind)
            if kind != "Pod" and kind != "Node" and kind not in _GROUPS:
                continue
            check_object(item, kind)
            if kind == "Pod":
                metadata = item["metadata"]
                self.pods[metadata.get("namespace") or "default", metadata["name"]] = item
                placed.append(item)
            elif kind == "Node":
                self.state.add_node(item)
            else:
                self.state.set_object(_GROUPS[kind], item)
        for pod in placed:
            self.state.add_pod(pod)

    def notes(self, pod: Json) -> list[str]:
        """What the List does not tell and could change the verdict on this pod."""
        result = []
        lost = sum(1 for p in self.pods.values() if p["spec"].get("nodeName", "") not in {"", None, *self.state.nodes})
        if lost:
            result.append(f"{lost} pods are on nodes that the dump does not hold; they were left out")
        spec = pod["spec"]
        if "Service" not in self.kinds and not spec.get("topologySpreadConstraints"):
            result.append("no Services in the dump: default spreading goes by the pod's controller alone")
        if "namespaceSelector" in str(spec.get("affinity") or "") and "Namespace" not in self.kinds:
            result.append("no Namespaces in the dump: namespace selectors select by name lists only")
        if any("persistentVolumeClaim" in v or "ephemeral" in v for v in spec.get("volumes") or ()):
            for kind in ("PersistentVolumeClaim", "PersistentVolume", "StorageClass", "CSINode"):
                if kind not in self.kinds:
                    result.append(f"no {kind}s in the dump: volumes cannot be judged fully")
        return result


def flatten(objects: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Objects, those of nested Lists included. Raises ReadError for what is no object."""
    for item in objects:
        if not isinstance(item, dict):
            raise ReadError(f"expected an object in the list, found {type(item).__name__}")
        kind = item.get("kind")
        if isinstance(kind, str) and kind.endswith("List") and isinstance(item.get("items"), list):
            yield from flatten({"kind": kind[:-4], **i} if kind != "List" else i for i in item["items"])
        else:
            yield item


def check_object(item: Mapping[str, Any], kind: str) -> None:
    """Raises ReadError unless the object has a name and the parts every reader relies on."""
    metadata = item.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise ReadError(f"a {kind} without metadata.name")
    if kind == "Pod" and not isinstance(item.get("spec"), dict):
        raise ReadError(f"Pod {metadata['name']} has no spec")


def objects_of(document: Any, where: str) -> list[Any]:
    """The items of a List document. Raises ReadError when it is none."""
    if not isinstance(document, dict) or not isinstance(document.get("items"), list):
        raise ReadError(
            "not a List of Kubernetes objects",
            where=where,
            hint="make one with: kubectl get nodes,pods,pdb,svc,rs,sts,pvc,pv,sc,csinode,ns -A -o json",
        )
    items: list[Any] = document["items"]
    return [document] if str(document.get("kind", "List")) not in ("List", "") else items
