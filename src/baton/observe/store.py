"""Snapshots as files: gzip'd JSON with a schema version; and plain kubectl dumps, with what they lack recorded."""

from __future__ import annotations

import gc
import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from baton.errors import BatonError, ReadError, UsageError
from baton.logic.scheduling.dump import flatten, objects_of
from baton.model.cluster import (
    SNAPSHOT_SCHEMA,
    Cluster,
    KubeObject,
    LaunchTemplateRef,
    NodeGroup,
    Snapshot,
    Unknown,
)
from baton.model.nodes import IMAGE_LABEL, NODE_GROUP_LABEL, info, labels
from baton.model.versions import Minor
from baton.observe.redact import redact, redact_configuration, redact_user_data

FORMAT = "baton-snapshot"
_PARTS: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LISTS: msgspec.json.Decoder[dict[str, list[msgspec.Raw]]] = msgspec.json.Decoder(dict[str, list[msgspec.Raw]])
_ANY: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
_NESTED = b"{["
_MOST_SHARED = 100_000  # of a cluster whose pods all differ, no more are remembered
KUBECTL = (
    "kubectl get nodes,pods,pdb,deploy,rs,sts,ds,jobs,pvc,pv,sc,csinode,priorityclass,svc,ns -A -o json > dump.json"
)
RESOURCE_OF = {
    "Node": "nodes",
    "Pod": "pods",
    "Namespace": "namespaces",
    "Service": "services",
    "PersistentVolume": "persistentvolumes",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "ReplicationController": "replicationcontrollers",
    "LimitRange": "limitranges",
    "ResourceQuota": "resourcequotas",
    "Deployment": "deployments.apps",
    "ReplicaSet": "replicasets.apps",
    "StatefulSet": "statefulsets.apps",
    "DaemonSet": "daemonsets.apps",
    "Job": "jobs.batch",
    "CronJob": "cronjobs.batch",
    "PodDisruptionBudget": "poddisruptionbudgets.policy",
    "PriorityClass": "priorityclasses.scheduling.k8s.io",
    "StorageClass": "storageclasses.storage.k8s.io",
    "CSINode": "csinodes.storage.k8s.io",
    "CSIDriver": "csidrivers.storage.k8s.io",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers.autoscaling",
    "Ingress": "ingresses.networking.k8s.io",
    "NetworkPolicy": "networkpolicies.networking.k8s.io",
    "CustomResourceDefinition": "customresourcedefinitions.apiextensions.k8s.io",
    "APIService": "apiservices.apiregistration.k8s.io",
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations.admissionregistration.k8s.io",
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "NodePool": "nodepools.karpenter.sh",
    "EC2NodeClass": "ec2nodeclasses.karpenter.k8s.aws",
}
IGNORED = frozenset({"Secret", "ConfigMap", "Event", "Lease", "Endpoints", "EndpointSlice"})
# What a dump should hold for a rehearsal; an absent kind may mean that there are none, or that nobody asked.
EXPECTED = (
    "pods",
    "namespaces",
    "services",
    "deployments.apps",
    "replicasets.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "poddisruptionbudgets.policy",
    "persistentvolumeclaims",
    "persistentvolumes",
    "priorityclasses.scheduling.k8s.io",
)
NO_AWS = ("addons", "addon_releases", "versions", "images", "subnets", "auto_scaling_groups", "insights")


def safe(snapshot: Snapshot) -> Snapshot:
    """The snapshot without anything that may be secret. (Kubernetes objects are read without it already.)"""
    return replace(
        snapshot,
        node_groups=tuple(replace(g, user_data=redact_user_data(g.user_data)) for g in snapshot.node_groups),
        addons=tuple(replace(a, configuration=redact_configuration(a.configuration)) for a in snapshot.addons),
        objects={k: tuple(redact(o) for o in v) for k, v in snapshot.objects.items()},
    )


def save(path: Path, snapshot: Snapshot) -> None:
    """Write the snapshot, whole or not at all, without secrets; the same snapshot gives the same bytes.

    Raises ReadError when the file cannot be written.
    """
    body = msgspec.json.encode({"format": FORMAT, "schema": SNAPSHOT_SCHEMA, "snapshot": safe(snapshot)})
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.write_bytes(gzip.compress(body, compresslevel=6, mtime=0))
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise ReadError(f"cannot be written: {error.strerror}", where=str(path), hint="choose another place") from error


@contextmanager
def _no_collector() -> Iterator[None]:
    """What is read holds no cycles, and the cyclic collector would look at all of it again and again as it grows."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except FileNotFoundError as error:
        hint = "check the path; `baton snapshot -o FILE` records a cluster"
        raise ReadError("there is no such file", where=str(path), hint=hint) from error
    except IsADirectoryError as error:
        raise ReadError("it is a directory", where=str(path), hint="name a file") from error
    except (OSError, EOFError, zlib.error) as error:
        raise ReadError(f"it cannot be read: {error}", where=str(path), hint="is the file whole?") from error


def _json(path: Path, decode: Callable[[bytes], Any] = msgspec.json.decode) -> Any:
    """What the file holds. Raises ReadError when it is no JSON."""
    try:
        return decode(_bytes(path))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReadError(f"it is not JSON: {error}", where=str(path), hint="is the file whole?") from error


def _document(content: bytes) -> Any:
    """The document written there. What pods of one template have in common is read once and shared: in a large cluster
    it is most of the file, and would be a gigabyte of equal objects."""
    try:
        document = _PARTS.decode(content)
        snapshot = _PARTS.decode(document["snapshot"])
        objects = _LISTS.decode(snapshot["objects"])
    except (KeyError, msgspec.ValidationError):  # another kind of document: whoever asked says so
        return msgspec.json.decode(content)
    known: dict[bytes, Any] = {}
    found = {k: [_pod(o, known) if k == "pods" else msgspec.json.decode(o) for o in v] for k, v in objects.items()}
    rest = {k: msgspec.json.decode(v) for k, v in snapshot.items() if k != "objects"}
    outer = {k: msgspec.json.decode(v) for k, v in document.items() if k != "snapshot"}
    return {**outer, "snapshot": {**rest, "objects": found}}


def _pod(raw: msgspec.Raw, known: dict[bytes, Any]) -> Any:
    try:
        pod = _PARTS.decode(raw)
        parts = {k: _PARTS.decode(pod[k]) for k in ("metadata", "spec") if k in pod}
    except msgspec.ValidationError:  # half an object: told where it is used
        return msgspec.json.decode(raw)
    shared = {k: {name: _shared(v, known) for name, v in part.items()} for k, part in parts.items()}
    return {k: shared[k] if k in shared else msgspec.json.decode(v) for k, v in pod.items()}


def _shared(raw: msgspec.Raw, known: dict[bytes, Any]) -> Any:
    """What is written there, the same object as an equal one before. Nobody changes objects in place."""
    text = bytes(raw)
    if text[0] not in _NESTED:
        return _ANY.decode(text)
    found = known.get(text)
    if found is None:
        found = _ANY.decode(text)
        if len(known) < _MOST_SHARED:
            known[text] = found
    return found


@_no_collector()
def load(path: Path) -> Snapshot:
    """A file that `save` wrote. Raises ReadError for anything else, or for a schema this Baton does not know."""
    document = _json(path, _document)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        hint = "a kubectl dump is read with --dump" if isinstance(document, dict) and "items" in document else None
        raise ReadError(
            "it is no snapshot of Baton's", where=str(path), hint=hint or "`baton snapshot -o FILE` makes one"
        )
    if document.get("schema") != SNAPSHOT_SCHEMA:
        raise ReadError(
            f"its schema is {document.get('schema')}, this Baton reads {SNAPSHOT_SCHEMA}",
            where=str(path),
            hint="take the snapshot again with this version, or use the version that took it",
        )
    try:
        return msgspec.convert(document.get("snapshot"), Snapshot)
    except msgspec.ValidationError as error:
        raise ReadError(f"the snapshot is damaged: {error}", where=str(path), hint="take it again") from error


# --- kubectl dumps ---------------------------------------------------------------------------------------------------


@_no_collector()
def load_dump(path: Path, *, cluster: str = "") -> Snapshot:
    """A `kubectl get ... -A -o json` dump as a snapshot. `cluster` names it (default: the file's name).

    AWS facts are unknown; node groups are guessed from the labels of their nodes. Half objects are left out and
    recorded. Raises ReadError when it is no List, or holds no nodes.
    """
    try:
        items = list(flatten(objects_of(_json(path), str(path))))
    except BatonError as error:
        raise ReadError(
            error.message, where=error.where or str(path), hint=error.hint or f"make one: {KUBECTL}"
        ) from error
    return dump_snapshot(items, cluster or path.name.partition(".")[0] or "dump", where=str(path))


def dump_snapshot(items: Iterable[Mapping[str, Any]], cluster: str, *, where: str = "dump") -> Snapshot:
    """The objects of a dump as a snapshot; see `load_dump`."""
    unknowns: list[Unknown] = []
    found: dict[str, list[KubeObject]] = {}
    halves: Counter[str] = Counter()
    for item in items:
        kind = str(item.get("kind") or "")
        if kind in IGNORED:
            continue
        resource = RESOURCE_OF.get(kind)
        if resource is None or not _whole(item, kind):
            halves[kind or "an object without a kind"] += 1
        else:
            found.setdefault(resource, []).append(redact(item))
    for kind, count in sorted(halves.items()):
        known = kind in RESOURCE_OF
        what = f"objects.{RESOURCE_OF[kind]}" if known else f"dump.{kind}"
        reason = f"{count} without a name or a spec were left out" if known else f"{count} objects of it were left out"
        unknowns.append(Unknown(what, reason))
    nodes = found.get("nodes", [])
    if not nodes:
        raise ReadError("there are no nodes in the dump", where=where, hint=f"make one: {KUBECTL}")
    objects = {k: tuple(sorted(v, key=_place)) for k, v in sorted(found.items())}
    for resource in EXPECTED:
        if resource not in objects and not any(u.what == f"objects.{resource}" for u in unknowns):
            unknowns.append(
                Unknown(f"objects.{resource}", "the dump has none: there are none, or they were not asked for")
            )
    unknowns += _strays(objects)
    unknowns += [Unknown(what, "a kubectl dump holds no AWS facts") for what in NO_AWS]
    unknowns.append(
        Unknown("node_groups", "a kubectl dump holds no AWS facts: groups are those that nodes are labelled with")
    )
    version = _version(nodes)
    unknowns.append(
        Unknown(
            "cluster", f"a kubectl dump does not say the control plane's version: {version} is the newest kubelet's"
        )
    )
    return Snapshot(
        taken_at=_taken(objects),
        cluster=Cluster(cluster, version, "ACTIVE"),
        node_groups=_groups(nodes, cluster, version),
        objects=objects,
        unknowns=tuple(unknowns),
    )


def _whole(item: Mapping[str, Any], kind: str) -> bool:
    meta = item.get("metadata")
    if not isinstance(meta, dict) or not isinstance(meta.get("name"), str) or not meta["name"]:
        return False
    return kind not in ("Pod", "Node", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet") or isinstance(
        item.get("spec"), dict
    )


def _place(obj: KubeObject) -> tuple[str, str]:
    return (obj["metadata"].get("namespace") or "", obj["metadata"]["name"])


def _strays(objects: Mapping[str, tuple[KubeObject, ...]]) -> list[Unknown]:
    known = {n["metadata"]["name"] for n in objects["nodes"]}
    strays = sorted({str(p["spec"]["nodeName"]) for p in objects.get("pods", ()) if p["spec"].get("nodeName")} - known)
    if not strays:
        return []
    return [Unknown("dump.nodes", f"pods are on {len(strays)} nodes that the dump lacks: {', '.join(strays[:3])}")]


def _version(nodes: list[KubeObject]) -> str:
    minors = []
    for node in nodes:
        try:
            minors.append(Minor.parse(str(info(node).get("kubeletVersion", ""))))
        except UsageError:
            continue
    if not minors:
        raise ReadError("no node of the dump says its kubelet's version", hint=f"give whole objects: {KUBECTL}")
    return str(max(minors))


def _taken(objects: Mapping[str, tuple[KubeObject, ...]]) -> float:
    """The newest time that any object tells: a dump does not say when it was made."""
    newest = 0.0
    for resource in ("nodes", "pods"):
        for obj in objects.get(resource, ()):
            for text in _times(obj):
                try:
                    newest = max(newest, datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())
                except ValueError:
                    continue
    return newest


def _times(obj: KubeObject) -> Iterable[str]:
    yield str(obj["metadata"].get("creationTimestamp") or "")
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if not isinstance(condition, Mapping):
            continue
        yield str(condition.get("lastHeartbeatTime") or "")
        yield str(condition.get("lastTransitionTime") or "")


def _groups(nodes: list[KubeObject], cluster: str, version: str) -> tuple[NodeGroup, ...]:
    by_name: dict[str, list[KubeObject]] = {}
    for node in nodes:
        group = labels(node).get(NODE_GROUP_LABEL)
        if group:
            by_name.setdefault(group, []).append(node)
    return tuple(_group(name, members, cluster, version) for name, members in sorted(by_name.items()))


def _group(name: str, nodes: list[KubeObject], cluster: str, version: str) -> NodeGroup:
    def most(key: str) -> str:
        counted = Counter(labels(n).get(key, "") for n in nodes)
        return max(sorted(counted), key=lambda k: counted[k])

    template = most("eks.amazonaws.com/sourceLaunchTemplateId")
    kind = most("node.kubernetes.io/instance-type")
    return NodeGroup(
        name=name,
        cluster=cluster,
        status="ACTIVE",
        version=version,
        ami_type="CUSTOM",
        capacity_type=most("eks.amazonaws.com/capacityType") or "ON_DEMAND",
        instance_types=(kind,) if kind else (),
        min_size=len(nodes),
        desired_size=len(nodes),
        max_size=len(nodes),
        launch_template=LaunchTemplateRef(template, "", most("eks.amazonaws.com/sourceLaunchTemplateVersion") or "1")
        if template
        else None,
        image_id=most(IMAGE_LABEL),
    )
