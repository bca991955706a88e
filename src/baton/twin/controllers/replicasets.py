"""The ReplicaSet controller: as many active pods as asked for, the least useful deleted first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from baton.twin.controllers.base import ADDED, Controller, Group, Key, Obj, Pod
from baton.twin.controllers.lean import PodShape
from baton.twin.controllers.pods import PodMaker
from baton.twin.controllers.templates import new_pod

REPLICASETS = "replicasets.apps"


class ReplicaSetController(Controller):
    """Keys are (namespace, name)."""

    def __init__(self, cluster: Any, maker: PodMaker) -> None:
        super().__init__(cluster)
        self.maker = maker
        self._live = self.settings.live_status
        self._unpublished: dict[Key, None] = {}

    def start(self) -> None:
        for obj in list(self.world.items(REPLICASETS)):
            self._on_set("ADDED", REPLICASETS, obj, None)
        self.world.subscribe(self._on_set, resources=[REPLICASETS])

    def _on_set(self, type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        meta = obj["metadata"]
        if type_ == "MODIFIED" and old is not None and obj.get("spec") is old.get("spec"):
            return
        if type_ == "DELETED":
            self.cluster.pods.forget_group(meta["uid"])
            return
        self.cluster.pods.group(meta["uid"], "ReplicaSet", meta["namespace"], meta["name"])
        self.enqueue((meta["namespace"], meta["name"]))

    def on_pod(self, pod: Pod, bits: int) -> None:
        group = pod.owner
        if group is None:
            return
        if self._live or group.active != group.desired or group.rolling:
            self.enqueue(group.key)
        else:
            self._unpublished[group.key] = None

    def on_added(self, pods: Sequence[Pod], keys: Collection[Key], nodes: Sequence[str]) -> None:
        """The same for new pods of one ReplicaSet: how many they are is counted already."""
        self.on_pod(pods[0], ADDED)

    def sync(self, key: Key) -> None:
        bulk = self.cluster.bulk
        if bulk is not None and key in bulk.by_key:
            bulk.sync_group(bulk.by_key[key])
            return
        obj = self.world.get(REPLICASETS, *key)
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            return
        replicas = obj["spec"].get("replicas")
        desired = 1 if replicas is None else int(replicas)
        group = self.cluster.pods.group(obj["metadata"]["uid"], "ReplicaSet", *key)
        group.desired = desired
        missing = desired - group.active
        if missing > 0:
            self._create(obj, group, missing)
        elif missing < 0:
            for pod in surplus(group, -missing):
                self.cluster.record(
                    obj, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.name}", "replicaset-controller"
                )
                self.maker.delete(pod)
        if self.settings.live_status or group.rolling:
            self._write(obj, group)
        else:
            self._unpublished[key] = None

    def _build(self, obj: Obj, name: str) -> Obj:
        """A pod of the set."""
        meta, template = obj["metadata"], obj["spec"]["template"]
        spec = self.maker.spec_for(meta["uid"], template)
        reference = self.maker.reference(obj, "apps/v1", "ReplicaSet")
        return new_pod(name, meta["namespace"], template, spec, reference, generate=meta["name"] + "-")

    def shape(self, obj: Obj) -> PodShape:
        """What the pods made for the set have in common."""
        shape: PodShape = self.cluster.lean.shape(
            obj["metadata"]["uid"], obj["spec"]["template"], lambda: self._build(obj, obj["metadata"]["name"])
        )
        return shape

    def _create(self, obj: Obj, group: Group, count: int) -> None:
        namespace, prefix = obj["metadata"]["namespace"], obj["metadata"]["name"] + "-"
        template = obj["spec"]["template"]
        for _ in range(count):
            name = self.cluster.name_for_pod(namespace, prefix)
            self.maker.make(group.uid, template, group, name, partial(self._build, obj, name))
            if self.settings.events:
                self.cluster.record(obj, "Normal", "SuccessfulCreate", f"Created pod: {name}", "replicaset-controller")

    def refresh(self) -> None:
        """Write the statuses that were held back."""
        held, self._unpublished = self._unpublished, {}
        if self.cluster.bulk is not None:
            held.update(dict.fromkeys(self.cluster.bulk.changed_groups("ReplicaSet")))
        for key in held:
            obj = self.world.get(REPLICASETS, *key)
            if obj is not None:
                self._write(obj, self.cluster.pods.group(obj["metadata"]["uid"], "ReplicaSet", *key))

    def _write(self, obj: Obj, group: Group) -> None:
        available = self.maker.available(
            group, obj["spec"].get("minReadySeconds") or 0, lambda: self.enqueue((group.namespace, group.name))
        )
        status: Obj = {"replicas": group.active, "observedGeneration": obj["metadata"].get("generation", 1)}
        for field, value in (
            ("fullyLabeledReplicas", group.active),
            ("readyReplicas", group.ready),
            ("availableReplicas", available),
        ):
            if value:
                status[field] = value
        if status != obj.get("status"):
            self.world.update(REPLICASETS, {**obj, "status": status})


def surplus(group: Group, count: int) -> list[Pod]:
    """Which pods go first (upstream's ActivePodsWithRanks, without restarts and creation-time buckets): not bound,
    pending, not ready, then those sharing a node with most siblings, then the newest."""
    active = [p for p in group.pods.values() if not p.terminating and not p.finished]
    per_node: dict[str, int] = {}
    for pod in active:
        per_node[pod.node] = per_node.get(pod.node, 0) + 1
    order = {pod.name: index for index, pod in enumerate(active)}
    active.sort(
        key=lambda p: (
            bool(p.node),
            p.phase != "Pending",
            p.ready,
            _deletion_cost(p),
            -per_node[p.node],
            -order[p.name],
        )
    )
    return active[:count]


def _deletion_cost(pod: Pod) -> int:
    text = (pod.obj["metadata"].get("annotations") or {}).get("controller.kubernetes.io/pod-deletion-cost", "0")
    try:
        return int(text)
    except ValueError:
        return 0
