"""What a snapshot lacks for a rehearsal, made up where that is safe, each thing said: `complete(snapshot, target)`.

A kubectl dump knows no AWS: images, launch templates and add-ons are assumed. Controllers that pods name and that were
not read are made up from their pods, or the pods would count as lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from baton.errors import ReadError
from baton.logic.eviction import controller_of
from baton.model.cluster import Image, KubeObject, LaunchTemplateRef, NodeGroup, Snapshot
from baton.model.nodes import kubelet, of_group
from baton.model.versions import Minor
from baton.rehearsal.sound import flaw

Json = dict[str, Any]
_MADE_UP = ("cluster", "node_groups", "addons", "images")
_CONTROLLERS = {
    "ReplicaSet": ("replicasets.apps", "apps/v1"),
    "StatefulSet": ("statefulsets.apps", "apps/v1"),
    "DaemonSet": ("daemonsets.apps", "apps/v1"),
    "ReplicationController": ("replicationcontrollers", "v1"),
}


def complete(snapshot: Snapshot, target: str) -> tuple[Snapshot, tuple[str, ...]]:
    """The snapshot ready to be planned and rehearsed towards version `target`, and what was assumed.

    A snapshot that was read from AWS comes back with its AWS facts as they are. Raises ReadError where nodes or pods
    are unknown.
    """
    for what in ("objects.nodes", "objects.pods"):
        unknown = snapshot.unknown(what)
        if unknown is not None and not snapshot.objects.get(what.partition(".")[2]):
            raise ReadError(
                f"nothing can be rehearsed without the {what[8:]}: {unknown.reason}",
                where=f"cluster {snapshot.cluster.name}",
                hint="let Baton read them, or give a dump that holds them",
            )
    snapshot, flawed = _sound(snapshot)
    snapshot, said = _one_of_each(snapshot)
    said = [*flawed, *said]
    snapshot, more = _controllers(snapshot)
    said += more
    for resource, what in (
        ("poddisruptionbudgets.policy", "budgets are not known: evictions are rehearsed as if there were none"),
        ("persistentvolumes", "volumes are not known: pods are rehearsed as if none bound them to a zone"),
    ):
        if snapshot.unknown(f"objects.{resource}") is not None and not snapshot.objects.get(resource):
            said.append(what)
    if snapshot.unknown("node_groups") is None or not snapshot.node_groups:
        return snapshot, tuple(said)
    snapshot, more = _aws(snapshot, target)
    return snapshot, (*said, *more)


def _sound(snapshot: Snapshot) -> tuple[Snapshot, list[str]]:
    """Without objects that no API server would have taken; only a dump may have been tampered with."""
    if snapshot.unknown("node_groups") is None:
        return snapshot, []
    said, objects = [], {}
    for resource, given in snapshot.objects.items():
        kept = []
        for obj in given:
            why = flaw(resource, obj)
            if not why:
                kept.append(obj if obj.get("status") is not None else {**obj, "status": {}})
                continue
            place = "/".join(p for p in (obj["metadata"].get("namespace"), obj["metadata"]["name"]) if p)
            said.append(f"{resource} {place} is left out, it is malformed: {why}")
        objects[resource] = tuple(kept)
    return replace(snapshot, objects=objects), said


def _one_of_each(snapshot: Snapshot) -> tuple[Snapshot, list[str]]:
    """Objects that came twice (lists read one after the other, dumps put together) are kept once, the last of them."""
    said, objects = [], dict(snapshot.objects)
    for resource, given in snapshot.objects.items():
        by_name = {(o["metadata"].get("namespace"), o["metadata"]["name"]): o for o in given}
        if len(by_name) < len(given):
            said.append(f"{len(given) - len(by_name)} {resource} came twice: the last of each is taken")
            objects[resource] = tuple(by_name.values())
    return (replace(snapshot, objects=objects), said) if said else (snapshot, [])


# --- controllers -----------------------------------------------------------------------------------------------------


def _controllers(snapshot: Snapshot) -> tuple[Snapshot, list[str]]:
    missing: dict[tuple[str, str, str], list[KubeObject]] = {}
    there = {
        (kind, o["metadata"].get("namespace") or "", o["metadata"]["name"])
        for kind, (resource, _) in _CONTROLLERS.items()
        for o in snapshot.objects.get(resource, ())
    }
    for pod in snapshot.objects.get("pods", ()):
        owner = controller_of(pod)
        if owner is None or owner.get("kind") not in _CONTROLLERS:
            continue
        key = (str(owner["kind"]), pod["metadata"].get("namespace") or "", str(owner.get("name")))
        if key not in there and snapshot.unknown(f"objects.{_CONTROLLERS[key[0]][0]}") is not None:
            missing.setdefault(key, []).append(pod)
    if not missing:
        return snapshot, []
    objects = dict(snapshot.objects)
    counts: dict[str, int] = {}
    for (kind, namespace, name), pods in sorted(missing.items()):
        resource, version = _CONTROLLERS[kind]
        objects[resource] = (*objects.get(resource, ()), _made_up(kind, version, namespace, name, pods))
        counts[kind] = counts.get(kind, 0) + 1
    said = [f"{n} {kind}s were not read: made up from the pods that name them" for kind, n in sorted(counts.items())]
    return replace(snapshot, objects=objects), said


def _made_up(kind: str, version: str, namespace: str, name: str, pods: list[KubeObject]) -> Json:
    owner = controller_of(pods[0]) or {}
    shared = dict(pods[0]["metadata"].get("labels") or {})
    for pod in pods[1:]:
        labels: Mapping[str, str] = pod["metadata"].get("labels") or {}
        shared = {k: v for k, v in shared.items() if labels.get(k) == v}
    spec = {k: v for k, v in pods[0]["spec"].items() if k not in ("nodeName", "hostname")}
    selector = {k: v for k, v in shared.items() if k != "controller-revision-hash"} or shared
    made: Json = {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "generation": 1},
        "spec": {
            "replicas": len(pods),
            "selector": selector if kind == "ReplicationController" else {"matchLabels": selector},
            "template": {"metadata": {"labels": shared}, "spec": spec},
        },
        "status": {"replicas": len(pods), "readyReplicas": len(pods), "observedGeneration": 1},
    }
    if owner.get("uid"):
        made["metadata"]["uid"] = owner["uid"]
    if kind == "DaemonSet":
        del made["spec"]["replicas"]
    return made


# --- AWS -------------------------------------------------------------------------------------------------------------


def _aws(snapshot: Snapshot, target: str) -> tuple[Snapshot, list[str]]:
    """Images named after the version they would boot, a launch template for every group, no add-ons."""
    end = Minor.parse(target)
    images: dict[str, Image] = {}
    groups = []
    for group in snapshot.node_groups:
        minors = [m for n in of_group(snapshot, group.name) if (m := kubelet(n)) is not None]
        start = min(minors) if minors else Minor.parse(group.version)
        current = group.image_id or f"ami-assumed-{start}"
        images.setdefault(current, _image(current, start))
        for step in range(start.minor, end.minor + 1):
            minor = Minor(start.major, step)
            if minor != start:
                images[f"ami-assumed-{minor}"] = _image(f"ami-assumed-{minor}", minor)
        groups.append(_with_template(group, current))
    names = ", ".join(g.name for g in groups)
    said = [
        f"the control plane's version is taken to be {snapshot.cluster.version}, the newest kubelet's",
        f"node groups {names}: max_unavailable 1, and an image of Kubernetes {end} to move to, are assumed",
        "which EKS add-ons are installed is not known: none is moved",
    ]
    kept = tuple(u for u in snapshot.unknowns if u.what not in _MADE_UP)
    return (
        replace(
            snapshot,
            node_groups=tuple(groups),
            images=tuple(images.values()),
            unknowns=kept,
        ),
        said,
    )


def _image(image_id: str, minor: Minor) -> Image:
    return Image(image_id, f"assumed-eks-{minor}-v1", "self", tags={"KubernetesVersion": str(minor)})


def _with_template(group: NodeGroup, image_id: str) -> NodeGroup:
    template = group.launch_template or LaunchTemplateRef(f"lt-assumed-{group.name}", f"assumed-{group.name}", "1")
    return replace(group, image_id=image_id, launch_template=template)
