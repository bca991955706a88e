"""VolumeRestrictions, NodeVolumeLimits (CSI), VolumeBinding and VolumeZone.

Not modelled: CSI storage capacity, VolumeAttachment objects, in-tree volumes that are written into the pod itself.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from baton.logic.quantity import parse_nanos
from baton.logic.scheduling import matching
from baton.logic.scheduling.filters import Plugin, Status, View
from baton.logic.scheduling.infos import PodInfo
from baton.logic.scheduling.matching import BETA_REGION, BETA_ZONE, REGION, ZONE, Json, NodeTerm
from baton.logic.scheduling.state import CLAIMS, CSI_NODES, STORAGE_CLASSES, VOLUMES, ClusterState

IN_USE = (
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod"
)
TOO_MANY_VOLUMES = "node(s) exceed max volume count"
UNBOUND_IMMEDIATE = "pod has unbound immediate PersistentVolumeClaims"
VOLUME_AFFINITY = "node(s) didn't match PersistentVolume's node affinity"
NOTHING_TO_BIND = "node(s) didn't find available persistent volumes to bind"
VOLUME_GONE = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
NO_ZONE = "node(s) had no available volume zone"
EBS_DRIVER, IN_TREE_EBS = "ebs.csi.aws.com", "kubernetes.io/aws-ebs"
NO_PROVISIONER = "kubernetes.io/no-provisioner"

_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_BOUND_ANNOTATION = "pv.kubernetes.io/bind-completed"
_SELECTED_NODE = "volume.kubernetes.io/selected-node"
ZONE_KEYS = (BETA_ZONE, BETA_REGION, ZONE, REGION)
_MODERN = {BETA_ZONE: ZONE, BETA_REGION: REGION}


def class_name(obj: Json) -> str:
    """The storage class of a claim or volume; the old annotation goes first."""
    annotation = (obj["metadata"].get("annotations") or {}).get(_CLASS_ANNOTATION)
    return str(annotation if annotation is not None else (obj.get("spec") or {}).get("storageClassName") or "")


def is_bound(claim: Json) -> bool:
    """Whether a claim is fully bound to a volume."""
    annotations = claim["metadata"].get("annotations") or {}
    return bool((claim.get("spec") or {}).get("volumeName")) and _BOUND_ANNOTATION in annotations


def _plain_claims(pod: PodInfo) -> list[str]:
    """Claims named in persistentVolumeClaim volumes; ephemeral volumes are left out."""
    found = (v.get("persistentVolumeClaim") for v in pod.volumes_asked)
    return [c.get("claimName", "") for c in found if c is not None]


def _missing_claim(name: str) -> str:
    return f'persistentvolumeclaim "{name}" not found'


class VolumeRestrictions(Plugin):
    name = "VolumeRestrictions"
    watches = True

    def prefilter(self) -> Status | None:
        self.once: set[str] = set()
        self.conflicts = 0
        namespace = self.cls.namespace
        for name in _plain_claims(self.pod):
            claim = self.state.get(CLAIMS, namespace, name)
            if claim is None:
                return self.reject(_missing_claim(name), unresolvable=True)
            if "ReadWriteOncePod" in ((claim.get("spec") or {}).get("accessModes") or ()):
                self.once.add(name)
        self.conflicts = sum(self._mounted(namespace, name) for name in self.once)
        self.inline = [v for v in self.pod.volumes_asked if inline_disk(v)]
        self.skip = not self.conflicts and not self.inline
        return None

    def _mounted(self, namespace: str, name: str) -> bool:
        """Whether a pod there mounts the claim by name; an ephemeral volume's does not count (updatePVCRefCounts)."""
        users = self.state.claim_users.get((namespace, name), ())
        return any(name in _plain_claims(self.state.pods[user]) for user in users)

    def filter(self, view: View) -> Status | None:
        for other in view.pods.values() if self.inline else ():
            if any(_disks_conflict(a, b) for a in self.inline for b in other.volumes_asked):
                return self.reject("node(s) had no available disk")
        return self.reject(IN_USE) if self.conflicts > 0 else None

    def moved(self, view: View, pod: PodInfo, sign: int) -> None:
        self.conflicts += sign * sum(1 for name in _plain_claims(pod) if name in self.once)


_INLINE = frozenset(("awsElasticBlockStore", "gcePersistentDisk", "iscsi", "rbd"))


def inline_disk(volume: Json) -> bool:
    """Whether a volume is a disk that is written into the pod."""
    return not _INLINE.isdisjoint(volume) and any(volume.get(kind) for kind in _INLINE)


def _disks_conflict(a: Json, b: Json) -> bool:
    """Whether two volumes written into pods are the same disk, not both read-only where that would help."""
    if a.get("awsElasticBlockStore") and b.get("awsElasticBlockStore"):
        return bool(a["awsElasticBlockStore"].get("volumeID") == b["awsElasticBlockStore"].get("volumeID"))
    for kind, keys in (("gcePersistentDisk", ("pdName",)), ("iscsi", ("iqn",)), ("rbd", ("pool", "image"))):
        one, other = a.get(kind), b.get(kind)
        if one and other and all(one.get(k) == other.get(k) for k in keys):
            shared = kind != "rbd" or bool(set(one.get("monitors") or ()) & set(other.get("monitors") or ()))
            if shared and not (one.get("readOnly") and other.get("readOnly")):
                return True
    return False


def csi_identity(state: ClusterState, namespace: str, name: str) -> tuple[str, str] | None:
    """(driver, handle) of the volume that a claim is or will be; None when it is no CSI volume, or not known.

    EBS volumes of the old in-tree kind count for the CSI driver (isCSIMigrationOn no longer asks the CSINode); where a
    node has no CSINode it has no limit either.
    """
    claim = state.get(CLAIMS, namespace, name)
    if claim is None:
        return None
    volume_name = (claim.get("spec") or {}).get("volumeName") or ""
    volume = state.get(VOLUMES, "", volume_name) if volume_name else None
    if volume is None:
        storage_class = state.get(STORAGE_CLASSES, "", class_name(claim))
        provisioner = (storage_class or {}).get("provisioner") or ""
        if provisioner == IN_TREE_EBS:
            provisioner = EBS_DRIVER
        return (provisioner, f"unbound/{namespace}/{name}") if provisioner else None
    return _volume_identity(volume)


def _volume_identity(volume: Json) -> tuple[str, str] | None:
    """csi_identity of a claim that has this volume."""
    spec = volume.get("spec") or {}
    csi, in_tree = spec.get("csi"), spec.get("awsElasticBlockStore")
    if csi and csi.get("driver") and csi.get("volumeHandle"):
        return csi["driver"], csi["volumeHandle"]
    if in_tree:
        return EBS_DRIVER, str(in_tree.get("volumeID", "")).rpartition("/")[2]
    return None


def attach_limits(state: ClusterState, node: str) -> dict[str, int]:
    """Driver -> how many of its volumes the node can attach, from its CSINode."""
    found = state.get(CSI_NODES, "", node)
    drivers = ((found or {}).get("spec") or {}).get("drivers") or ()
    counts = ((d.get("name", ""), (d.get("allocatable") or {}).get("count")) for d in drivers)
    return {name: int(count) for name, count in counts if count is not None}


class NodeVolumeLimits(Plugin):
    name = "NodeVolumeLimits"
    watches = True

    def prefilter(self) -> Status | None:
        self.skip = not self.pod.claims
        return None

    def filter(self, view: View) -> Status | None:
        new: set[tuple[str, str]] = set()
        for claim in self.pod.claims:
            if self.state.get(CLAIMS, self.cls.namespace, claim) is None:
                return self.reject(_missing_claim(claim), unresolvable=True)
            identity = csi_identity(self.state, self.cls.namespace, claim)
            if identity is not None:
                new.add(identity)
        limits = attach_limits(self.state, view.info.name) if new else {}
        if not limits:
            return None
        attached = {
            identity
            for other in view.pods.values()
            for claim in other.claims
            if (identity := csi_identity(self.state, other.cls.namespace, claim)) is not None
        }
        for driver in {driver for driver, _ in new - attached}:
            if driver not in limits:
                continue
            count = sum(1 for d, _ in new | attached if d == driver)
            if count > limits[driver]:
                return self.reject(TOO_MANY_VOLUMES)
        return None


def volume_terms(volume: Json) -> tuple[NodeTerm, ...] | None:
    """A volume's required node affinity; None when it has none.

    Upstream's CheckNodeAffinity shows it a node without a name, and fields that are not there are not asked about.
    """
    required = ((volume.get("spec") or {}).get("nodeAffinity") or {}).get("required")
    if required is None:
        return None
    return _label_terms(marshal.dumps(required.get("nodeSelectorTerms") or (), 2))


@lru_cache(maxsize=4096)
def _label_terms(text: bytes) -> tuple[NodeTerm, ...]:
    """Terms as marshalled: the volumes of a zone have the same."""
    return tuple((labels, ()) for labels, _ in matching.compile_node_terms(marshal.loads(text)))


def volume_reachable(volume: Json, labels: Mapping[str, str]) -> bool:
    """Whether a volume's node affinity admits a node with these labels (its name is not looked at)."""
    terms = volume_terms(volume)
    return terms is None or matching.node_terms_match(terms, labels, {})


class VolumeBinding(Plugin):
    name = "VolumeBinding"

    def prefilter(self) -> Status | None:
        claims = self.pod.claims
        self.skip = not claims
        self.bound: list[Json] = []
        self.delayed: list[Json] = []
        found: list[Json] = []
        for name, volume in zip(claims, (v for v in self.pod.volumes_asked if _has_claim(v)), strict=True):
            claim = self.state.get(CLAIMS, self.cls.namespace, name)
            problem = _claim_problem(claim, name, volume, self.pod)
            if problem is not None or claim is None:
                return self.reject(problem or _missing_claim(name), unresolvable=True)
            found.append(claim)
        for claim in found:
            if is_bound(claim):
                self.bound.append(claim)
            elif self._waits(claim) and not (claim.get("spec") or {}).get("volumeName"):
                self.delayed.append(claim)
            else:
                return self.reject(UNBOUND_IMMEDIATE, unresolvable=True)
        self.available: dict[str, list[Json]] = {}
        wanted = {class_name(claim) for claim in self.delayed}
        for volume in self.state.objects[VOLUMES].values() if wanted else ():
            if class_name(volume) in wanted:
                self.available.setdefault(class_name(volume), []).append(volume)
        return None

    def _waits(self, claim: Json) -> bool:
        storage_class = self.state.get(STORAGE_CLASSES, "", class_name(claim))
        return storage_class is not None and storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"

    def filter(self, view: View) -> Status | None:
        reasons = []
        labels = view.info.labels
        for claim in self.bound:
            volume = self.state.get(VOLUMES, "", claim["spec"]["volumeName"])
            if volume is None:
                reasons.append(VOLUME_GONE)
                break
            if not volume_reachable(volume, labels):
                reasons.append(VOLUME_AFFINITY)
                break
        if self.delayed and not self.can_bind(view.info.name, labels):
            reasons.append(NOTHING_TO_BIND)
        return Status(self.name, tuple(reasons), True) if reasons else None

    def can_bind(self, node: str, labels: Mapping[str, str]) -> bool:
        """Whether the claims that wait for a consumer could get volumes on a node."""
        to_provision, to_match = [], []
        for claim in self.delayed:
            selected = selected_node(claim)
            if selected is None:
                to_match.append(claim)
            elif selected != node:
                return False
            else:
                to_provision.append(claim)
        chosen: set[str] = set()
        for claim in sorted(to_match, key=_claim_size):
            volume = _best_match(claim, self.available.get(class_name(claim), ()), labels, chosen)
            if volume is None:
                to_provision.append(claim)
            else:
                chosen.add(volume["metadata"]["name"])
        return all(self.can_provision(claim, labels) for claim in to_provision)

    def can_provision(self, claim: Json, labels: Mapping[str, str]) -> bool:
        """Whether a claim's class could make a volume for a node with these labels."""
        provisioner, topologies = self.provisioning(class_name(claim))
        return provisioner not in ("", NO_PROVISIONER) and topology_allowed(topologies, labels)

    def provisioning(self, name: str) -> tuple[str, Sequence[Json]]:
        """(provisioner, allowed topologies) of a storage class; an unknown one has no provisioner."""
        storage_class = self.state.get(STORAGE_CLASSES, "", name) or {}
        return storage_class.get("provisioner") or "", storage_class.get("allowedTopologies") or ()


def selected_node(claim: Json) -> str | None:
    """The node that a claim was told to get its volume for."""
    return (claim["metadata"].get("annotations") or {}).get(_SELECTED_NODE)


class BoundClaim(NamedTuple):
    """What the plugins ask of a claim that is bound to a volume and may be mounted by several pods."""

    claim: Json
    volume: Json
    identity: tuple[str, str] | None
    """See csi_identity."""
    terms: tuple[NodeTerm, ...] | None
    """See volume_terms."""
    zones: tuple[tuple[str, frozenset[str]], ...]
    """See zone_labels."""


class BoundClaims:
    """Claims that are bound, read once for each version of claim and volume."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._known: dict[tuple[str, str], BoundClaim] = {}

    def of(self, pod: PodInfo) -> list[BoundClaim] | None:
        """Those of a pod; None when it mounts anything else that a plugin looks at."""
        for asked in pod.volumes_asked:
            if asked.get("ephemeral") is not None or inline_disk(asked):
                return None
        found = []
        for name in pod.claims:
            bound = self._bound(pod.cls.namespace, name)
            if bound is None:
                return None
            found.append(bound)
        return found

    def _bound(self, namespace: str, name: str) -> BoundClaim | None:
        state = self._state
        claim = state.get(CLAIMS, namespace, name)
        volume = None if claim is None else state.get(VOLUMES, "", (claim.get("spec") or {}).get("volumeName") or "")
        known = self._known.get((namespace, name))
        if known is not None and known.claim is claim and known.volume is volume:
            return known
        if claim is None or volume is None or not is_bound(claim):
            return None
        lost = (claim.get("status") or {}).get("phase") == "Lost" or claim["metadata"].get("deletionTimestamp")
        if lost or "ReadWriteOncePod" in (claim["spec"].get("accessModes") or ()):
            return None
        made = BoundClaim(claim, volume, _volume_identity(volume), volume_terms(volume), tuple(zone_labels(volume)))
        self._known[namespace, name] = made
        return made


def _has_claim(volume: Json) -> bool:
    return volume.get("persistentVolumeClaim") is not None or volume.get("ephemeral") is not None


def _claim_problem(claim: Json | None, name: str, volume: Json, pod: PodInfo) -> str | None:
    """Why a claim cannot be used at all."""
    ephemeral = volume.get("ephemeral") is not None
    if claim is None:
        if ephemeral:
            return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
        return _missing_claim(name)
    if (claim.get("status") or {}).get("phase") == "Lost":
        volume_name = (claim.get("spec") or {}).get("volumeName", "")
        return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{volume_name}"'
    if claim["metadata"].get("deletionTimestamp") is not None:
        return f'persistentvolumeclaim "{name}" is being deleted'
    if ephemeral:
        uid = pod.pod["metadata"].get("uid")
        owners = claim["metadata"].get("ownerReferences") or ()
        if not any(o.get("controller") and o.get("uid") == uid for o in owners):
            key = f"{pod.cls.namespace}/{pod.pod['metadata']['name']}"
            return f"PVC {pod.cls.namespace}/{name} was not created for pod {key} (pod is not owner)"
    return None


def topology_allowed(terms: Iterable[Json], labels: Mapping[str, str]) -> bool:
    """A storage class's allowedTopologies against a node; none allow every node, an empty term allows none."""
    compiled = tuple(
        tuple((e.get("key", ""), "In", frozenset(e.get("values") or ())) for e in t.get("matchLabelExpressions") or ())
        for t in terms
    )
    return not compiled or any(term and matching.matches(term, labels) for term in compiled)


def _storage(quantities: Json | None) -> int:
    return parse_nanos((quantities or {}).get("storage", 0))


def _claim_size(claim: Json) -> int:
    return _storage(((claim.get("spec") or {}).get("resources") or {}).get("requests"))


def _claimed_by(volume: Json, claim: Json) -> bool:
    reference = volume["spec"].get("claimRef") or {}
    metadata = claim["metadata"]
    same = reference.get("name") == metadata["name"]
    same = same and (reference.get("namespace") or "default") == (metadata.get("namespace") or "default")
    return same and (not reference.get("uid") or reference.get("uid") == metadata.get("uid"))


def _acceptable(claim: Json, volume: Json, size: int) -> bool:
    """Size, mode and deletion: what rules a volume out even when it was meant for the claim."""
    spec, wanted = volume["spec"], claim.get("spec") or {}
    if _storage(spec.get("capacity")) < size:
        return False
    if (wanted.get("volumeMode") or "Filesystem") != (spec.get("volumeMode") or "Filesystem"):
        return False
    if (wanted.get("volumeAttributesClassName") or "") != (spec.get("volumeAttributesClassName") or ""):
        return False
    return volume["metadata"].get("deletionTimestamp") is None


def _best_match(claim: Json, volumes: Iterable[Json], labels: Mapping[str, str], taken: set[str]) -> Json | None:
    """The volume meant for the claim, else the smallest that suits claim and node."""
    wanted = claim.get("spec") or {}
    size = _claim_size(claim)
    selector = None if wanted.get("selector") is None else matching.compile_selector(wanted["selector"])
    best: Json | None = None
    best_size = 0
    for volume in volumes:
        mine = _claimed_by(volume, claim)
        if volume["metadata"]["name"] in taken or (volume["spec"].get("claimRef") and not mine):
            continue
        if not _acceptable(claim, volume, size):
            continue
        reachable = volume_reachable(volume, labels)
        if mine:
            return volume if reachable else None
        if (volume.get("status") or {}).get("phase") != "Available" or not reachable:
            continue
        if wanted.get("selector") is not None and not matching.matches(
            selector, volume["metadata"].get("labels") or {}
        ):
            continue
        if not set(wanted.get("accessModes") or ()) <= set(volume["spec"].get("accessModes") or ()):
            continue
        capacity = _storage(volume["spec"].get("capacity"))
        if best is None or best_size > capacity:
            best, best_size = volume, capacity
    return best


class VolumeZone(Plugin):
    name = "VolumeZone"

    def prefilter(self) -> Status | None:
        self.topologies: list[tuple[str, frozenset[str]]] = []
        for name in _plain_claims(self.pod):
            problem = self._collect(name)
            if problem is not None:
                return self.reject(problem, unresolvable=True)
        self.skip = not self.topologies
        return None

    def _collect(self, name: str) -> str | None:
        """Note the zones of a claim's volume; the reason when there is no such volume."""
        if not name:
            return "PersistentVolumeClaim had no name"
        claim = self.state.get(CLAIMS, self.cls.namespace, name)
        if claim is None:
            return _missing_claim(name)
        volume_name = (claim.get("spec") or {}).get("volumeName") or ""
        if not volume_name:
            return self._unbound(class_name(claim))
        volume = self.state.get(VOLUMES, "", volume_name)
        if volume is None:
            return f'persistentvolume "{volume_name}" not found'
        self.topologies.extend(zone_labels(volume))
        return None

    def _unbound(self, name: str) -> str | None:
        if not name:
            return "PersistentVolumeClaim had no pv name and storageClass name"
        storage_class = self.state.get(STORAGE_CLASSES, "", name)
        if storage_class is None:
            return f'storageclass.storage.k8s.io "{name}" not found'
        mode = storage_class.get("volumeBindingMode")
        if mode is None:
            return f'VolumeBindingMode not set for StorageClass "{name}"'
        return None if mode == "WaitForFirstConsumer" else "PersistentVolume had no name"

    def filter(self, view: View) -> Status | None:
        if zones_reachable(tuple(self.topologies), view.info.labels):
            return None
        return self.reject(NO_ZONE, unresolvable=True)


def zone_labels(volume: Json) -> list[tuple[str, frozenset[str]]]:
    """(key, zones) of a volume's zone and region labels; several zones are joined with "__"."""
    labels = volume["metadata"].get("labels")
    result: list[tuple[str, frozenset[str]]] = []
    for key in ZONE_KEYS if labels else ():
        if key in labels:
            zones = [zone.strip() for zone in labels[key].split("__")]
            if all(zones):
                result.append((key, frozenset(zones)))
    return result


def zones_reachable(topologies: Sequence[tuple[str, frozenset[str]]], labels: Mapping[str, str]) -> bool:
    """Whether a node is in every zone asked for; a node without any zone or region label always is.

    An old key that the node lacks is looked up under its present name.
    """
    if not any(key in labels for key in ZONE_KEYS):
        return True
    return all(labels.get(key, labels.get(_MODERN.get(key, key))) in zones for key, zones in topologies)


@lru_cache(maxsize=1)
def modelled() -> tuple[Any, ...]:
    """The volume plugins in the scheduler's order."""
    return (VolumeRestrictions, NodeVolumeLimits, VolumeBinding, VolumeZone)
