"""Deletion as the API server and its controllers carry it out: cascades by owner, finalizers, namespaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from baton.logic.eviction import controller_of
from baton.twin.controllers.base import Cluster, Controller, Obj, Pod
from baton.twin.controllers.pods import PodMaker

NAMESPACES = "namespaces"
FOREGROUND = "foregroundDeletion"


class GarbageCollector(Controller):
    """Keys are ("owner", uid), ("namespace", name) or ("foreground", resource, namespace, name)."""

    def __init__(self, cluster: Cluster, maker: PodMaker) -> None:
        super().__init__(cluster)
        self.maker = maker
        self._waits = False  # whether an object was ever on its way, waiting for others to go

    def start(self) -> None:
        self.world.subscribe(self._on_change)
        for resource in sorted(self.world.resources()):
            if resource != "pods":
                self._waits = self._waits or any(
                    o["metadata"].get("deletionTimestamp") for o in self.world.items(resource)
                )
        for obj in list(self.world.items(NAMESPACES)):
            if obj["metadata"].get("deletionTimestamp"):
                self.enqueue(("namespace", obj["metadata"]["name"]))

    def _on_change(self, type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        if resource == "pods" or resource == "events":
            return
        meta = obj["metadata"]
        if type_ == "DELETED":
            if self.world.is_owner(meta["uid"]):
                self.enqueue(("owner", meta["uid"]))
            self._after(resource, obj)
        elif meta.get("deletionTimestamp"):
            self._waits = True
            if resource == NAMESPACES:
                self.enqueue(("namespace", meta["name"]))
            else:
                self.enqueue(("foreground", resource, meta.get("namespace") or "", meta["name"]))

    def on_pod(self, pod: Pod, bits: int) -> None:
        if self._waits:
            self._after("pods", pod.obj)

    def _after(self, resource: str, obj: Obj) -> None:
        """Something went: a namespace or an owner may have been waiting for it."""
        namespace = obj["metadata"].get("namespace")
        if namespace:
            holder = self.world.get(NAMESPACES, None, namespace)
            if holder is not None and holder["metadata"].get("deletionTimestamp"):
                self.enqueue(("namespace", namespace))
        reference = controller_of(obj)
        if reference is not None:
            where = resource_of(reference)
            owner = self.world.get(where, namespace, reference["name"])
            if owner is not None and owner["metadata"].get("deletionTimestamp"):
                self.enqueue(("foreground", where, namespace or "", reference["name"]))

    def sync(self, key: tuple[str, ...]) -> None:
        if key[0] == "owner":
            for dependent in list(self.world.owned_by(key[1])):
                self._delete(dependent)
        elif key[0] == "namespace":
            self._empty(key[1])
        else:
            self._finish(*key[1:])

    def _delete(self, obj: Obj, propagation: str = "Background") -> None:
        meta = obj["metadata"]
        if obj.get("kind") == "Pod" or "containers" in (obj.get("spec") or {}):
            pod = self.cluster.pods.by_key.get((meta["namespace"], meta["name"]))
            if pod is not None:
                self.maker.delete(pod)
            return
        resource = resource_of(obj)
        if self.world.get(resource, meta.get("namespace"), meta["name"]) is not None:
            self.delete(resource, obj, propagation)

    def delete(self, resource: str, obj: Obj, propagation: str = "Background") -> None:
        """Delete any object but a pod: its finalizers, and Foreground's own, are waited for."""
        meta = obj["metadata"]
        namespace, name = meta.get("namespace"), meta["name"]
        finalizers = list(meta.get("finalizers") or ())
        if resource == NAMESPACES:
            if not meta.get("deletionTimestamp"):
                marked = self.world.mark_deleted(resource, None, name, 0)
                status = {**(marked.get("status") or {}), "phase": "Terminating"}
                self.world.update(resource, {**marked, "status": status})
            return
        if propagation == "Orphan":
            for dependent in list(self.world.owned_by(meta["uid"])):
                references = [
                    r for r in dependent["metadata"].get("ownerReferences") or () if r.get("uid") != meta["uid"]
                ]
                where = "pods" if dependent.get("kind") == "Pod" else resource_of(dependent)
                self.world.update(
                    where, {**dependent, "metadata": {**dependent["metadata"], "ownerReferences": references}}
                )
        if propagation == "Foreground" and any(True for _ in self.world.owned_by(meta["uid"])):
            finalizers.append(FOREGROUND)
            obj = self.world.update(resource, {**obj, "metadata": {**meta, "finalizers": finalizers}})
        if finalizers:
            if not obj["metadata"].get("deletionTimestamp"):
                self.world.mark_deleted(resource, namespace, name, 0)
        else:
            self.world.remove(resource, namespace, name)

    def _finish(self, resource: str, namespace: str, name: str) -> None:
        """An object that waits to go: drop its dependents (Foreground), then it once no finalizer is left."""
        obj = self.world.get(resource, namespace, name)
        if obj is None or not obj["metadata"].get("deletionTimestamp"):
            return
        finalizers = list(obj["metadata"].get("finalizers") or ())
        if FOREGROUND in finalizers:
            dependents = list(self.world.owned_by(obj["metadata"]["uid"]))
            if dependents:
                for dependent in dependents:
                    if not dependent["metadata"].get("deletionTimestamp"):
                        self._delete(dependent, "Foreground")
                return
            finalizers.remove(FOREGROUND)
            self.world.update(resource, {**obj, "metadata": {**obj["metadata"], "finalizers": finalizers}})
        if not finalizers:
            self.world.remove(resource, namespace, name)

    def _empty(self, namespace: str) -> None:
        """Delete what a terminating namespace holds; the namespace goes with the last of it."""
        obj = self.world.get(NAMESPACES, None, namespace)
        if obj is None or not obj["metadata"].get("deletionTimestamp"):
            return
        left = False
        for resource in sorted(self.world.resources()):
            for content in list(self.world.items(resource, namespace)):
                if resource == "events":
                    self.world.remove(resource, namespace, content["metadata"]["name"])
                elif resource == "pods":
                    left = True
                    pod = self.cluster.pods.by_key.get((namespace, content["metadata"]["name"]))
                    if pod is not None and not pod.terminating:
                        self.maker.delete(pod)
                elif content["metadata"].get("deletionTimestamp"):
                    left = True
                elif self.world.get(resource, namespace, content["metadata"]["name"]) is not None:
                    self.delete(resource, content)
                    left = left or self.world.get(resource, namespace, content["metadata"]["name"]) is not None
        if not left and not any(True for _ in self.world.items("pods", namespace)):
            self.world.remove(NAMESPACES, None, namespace)


_PLURALS = {"Endpoints": "endpoints", "NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}


def resource_of(obj: Mapping[str, Any]) -> str:
    """The resource key of an object (or owner reference) from its apiVersion and kind."""
    version: str = obj.get("apiVersion") or "v1"
    group = version.rpartition("/")[0]
    kind: Any = obj.get("kind") or ""
    plural = _PLURALS.get(kind) or (kind.lower() + ("es" if kind.endswith(("s", "ch", "x")) else "s"))
    if plural.endswith("ys") and plural[-3] not in "aeiou":
        plural = plural[:-2] + "ies"
    return f"{plural}.{group}" if group else plural
