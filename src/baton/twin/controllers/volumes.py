"""Persistent volumes bound to a zone: claims that wait for their first consumer get a volume where the pod landed."""

from __future__ import annotations

from typing import Any

from baton.twin.controllers.base import ADDED, BOUND, Cluster, Controller, Key, Obj, Pod

CLAIMS, VOLUMES, CLASSES = "persistentvolumeclaims", "persistentvolumes", "storageclasses.storage.k8s.io"
ZONE = "topology.kubernetes.io/zone"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


class VolumeController(Controller):
    """Keys are (namespace, claim), or ("", volume) for a volume whose claim is gone."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self._zone_for: dict[Key, str] = {}  # claim -> zone of the node its first pod landed on
        self._rng = cluster.rng("volumes")

    def start(self) -> None:
        for claim in list(self.world.items(CLAIMS)):
            if not claim["spec"].get("volumeName"):
                self.enqueue((claim["metadata"]["namespace"], claim["metadata"]["name"]))
        self.world.subscribe(self._on_claim, resources=[CLAIMS])

    def _on_claim(self, type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        if type_ == "DELETED":
            if obj["spec"].get("volumeName"):
                self.enqueue(("", obj["spec"]["volumeName"]))
        elif not obj["spec"].get("volumeName"):
            self.enqueue((obj["metadata"]["namespace"], obj["metadata"]["name"]))

    def on_pod(self, pod: Pod, bits: int) -> None:
        if not bits & (ADDED | BOUND) or not pod.node:
            return
        for volume in pod.spec.get("volumes") or ():
            name: str = (volume.get("persistentVolumeClaim") or {}).get("claimName") or ""
            claim = self.world.get(CLAIMS, pod.namespace, name) if name else None
            if claim is None or claim["spec"].get("volumeName"):
                continue
            node = self.world.get("nodes", None, pod.node)
            zone = ((node or {}).get("metadata", {}).get("labels") or {}).get(ZONE, "")
            self._zone_for[(pod.namespace, name)] = zone
            self.enqueue((pod.namespace, name))

    def sync(self, key: Key) -> None:
        if not key[0]:
            self._reclaim(key[1])
            return
        claim = self.world.get(CLAIMS, *key)
        if claim is None or claim["spec"].get("volumeName"):
            self._zone_for.pop(key, None)
            return
        storage_class = self._class_of(claim)
        if storage_class is None:
            return
        zone = self._zone_for.get(key)
        if zone is None:
            if storage_class.get("volumeBindingMode") == "WaitForFirstConsumer":
                said = "waiting for first consumer to be created before binding"
                self.cluster.record(claim, "Normal", "WaitForFirstConsumer", said, "persistentvolume-controller")
                return
            zone = self._any_zone()
        self._provision(claim, storage_class, zone)

    def _class_of(self, claim: Obj) -> Obj | None:
        name = claim["spec"].get("storageClassName")
        if name:
            return self.world.get(CLASSES, None, name)
        if name == "":
            return None
        for storage_class in self.world.items(CLASSES):
            if (storage_class["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true":
                return storage_class
        return None

    def _any_zone(self) -> str:
        zones = {(n["metadata"].get("labels") or {}).get(ZONE, "") for n in self.world.items("nodes")}
        return self._rng.choice(sorted(zones)) if zones else ""

    def _provision(self, claim: Obj, storage_class: Obj, zone: str) -> None:
        meta = claim["metadata"]
        name = f"pvc-{meta['uid']}"
        spec: Obj = {
            "accessModes": claim["spec"].get("accessModes") or ["ReadWriteOnce"],
            "capacity": {
                "storage": ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage", "1Gi")
            },
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
            },
            "csi": {
                "driver": storage_class.get("provisioner", "ebs.csi.aws.com"),
                "volumeHandle": _handle(meta["uid"]),
            },
            "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy") or "Delete",
            "storageClassName": storage_class["metadata"]["name"],
            "volumeMode": claim["spec"].get("volumeMode") or "Filesystem",
        }
        if zone:
            term: Obj = {"matchExpressions": [{"key": ZONE, "operator": "In", "values": [zone]}]}
            spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [term]}}
        self.world.create(
            VOLUMES,
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": name, "finalizers": ["kubernetes.io/pv-protection"]},
                "spec": spec,
                "status": {"phase": "Bound"},
            },
        )
        notes = {
            **(meta.get("annotations") or {}),
            "pv.kubernetes.io/bind-completed": "yes",
            "pv.kubernetes.io/bound-by-controller": "yes",
            "volume.kubernetes.io/storage-provisioner": spec["csi"]["driver"],
        }
        self.world.update(
            CLAIMS,
            {
                **claim,
                "metadata": {**meta, "annotations": notes},
                "spec": {
                    **claim["spec"],
                    "volumeName": name,
                    "storageClassName": storage_class["metadata"]["name"],
                },
                "status": {"phase": "Bound", "accessModes": spec["accessModes"], "capacity": spec["capacity"]},
            },
        )
        said = f"Successfully provisioned volume {name}"
        self.cluster.record(claim, "Normal", "ProvisioningSucceeded", said, str(spec["csi"]["driver"]))
        self._zone_for.pop((meta["namespace"], meta["name"]), None)

    def _reclaim(self, name: str) -> None:
        """The claim is gone: a Delete volume goes with it, a Retain one stays Released."""
        volume: Any = self.world.get(VOLUMES, None, name)
        if volume is None:
            return
        if volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            self.world.remove(VOLUMES, None, name)
        else:
            self.world.update(VOLUMES, {**volume, "status": {**(volume.get("status") or {}), "phase": "Released"}})


def _handle(uid: str) -> str:
    return "vol-0" + uid.replace("-", "")[:16]
