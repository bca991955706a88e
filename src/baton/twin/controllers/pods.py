"""Making and deleting pods on behalf of controllers, and telling which of a controller's pods are available."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from baton.twin.bulk.pods import BulkPod
from baton.twin.controllers.base import Cluster, Group, Obj, Pod
from baton.twin.controllers.labelkeys import merge_label_keys
from baton.twin.controllers.lean import LeanPod, LeanPods
from baton.twin.controllers.templates import owner_reference, pod_spec, qos_class, with_token

_SAFE = str.maketrans("0136ae", "bcdfgh")  # no vowels, no look-alikes, as in all suffixes


class PodMaker:
    """Creates pods from templates (their defaulted spec is made once per template and shared) and deletes them with
    grace, as the API server does."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self._specs: dict[str, tuple[Obj, Obj]] = {}  # owner uid -> (template, spec)
        self._statuses: dict[str, tuple[Obj, Obj]] = {}  # owner uid -> (spec, status of a new pod)
        self._references: dict[str, Obj] = {}
        self._status_of: dict[int, Obj] = {}
        self._timers: set[tuple[str, float]] = set()

    def spec_for(self, uid: str, template: Obj) -> Obj:
        """The full pod spec for the owner's current template."""
        known = self._specs.get(uid)
        if known is not None and known[0] is template:
            return known[1]
        labels = (template.get("metadata") or {}).get("labels") or {}
        spec = merge_label_keys(self.admitted(template.get("spec") or {}, uid), labels)
        self._specs[uid] = (template, spec)
        return spec

    def admitted(self, given: Obj, uid: str) -> Obj:
        """A pod spec after the API server's admission plugins; `uid` names the token volume."""
        classes = {c["metadata"]["name"]: c for c in self.world.items("priorityclasses.scheduling.k8s.io")}
        spec = pod_spec(given, classes, int(self.cluster.settings.tolerate_unreachable))
        if self.cluster.settings.detail:
            spec = with_token(spec, uid[-5:].translate(_SAFE))
        return spec

    def reference(self, obj: Obj, api_version: str, kind: str) -> Obj:
        uid = obj["metadata"]["uid"]
        found = self._references.get(uid)
        if found is None:
            found = self._references[uid] = owner_reference(obj, api_version, kind)
        return found

    def make(
        self,
        owner: Any,
        template: Obj,
        group: Group,
        name: str,
        build: Callable[[], Obj],
        pin: str = "",
        kin: Any = None,
    ) -> None:
        """One more pod of a controller. Pods made under an equal `owner` from one template differ in name, and in the
        node that `pin` names, only; those of equal `kin` in volumes and names; `build()` gives the whole object."""
        pods: LeanPods | None = self.cluster.lean
        if pods is not None:
            pods.make(pods.shape(owner, template, build, kin), name, group, pin)
        else:
            self.create(build())

    def create(self, pod: Obj) -> Obj:
        uid: str = pod["metadata"]["ownerReferences"][0]["uid"]
        known = self._specs.get(uid)
        if known is not None:
            spec, status = self._statuses.get(uid, (None, None))
            if spec is not known[1] or status is None:
                status = {"phase": "Pending", "qosClass": qos_class(known[1])}
                self._statuses[uid] = known[1], status
            pod["status"] = status
        made: Obj = self.world.create("pods", pod)
        return made

    def delete(self, pod: Pod, grace: int | None = None) -> None:
        """Ask a pod to go: at once when nothing runs it, else within its grace period (seconds)."""
        if pod.gone:
            return
        if isinstance(pod, BulkPod):
            self.cluster.bulk.delete(pod, grace)
            return
        if grace is None:
            grace = pod.grace
        if not pod.node or pod.finished:
            grace = 0
        if grace <= 0:
            self.remove(pod)
        elif not pod.terminating:
            if isinstance(pod, LeanPod):
                self.cluster.lean.mark(pod, grace)
            else:
                self.world.mark_deleted("pods", pod.namespace, pod.name, grace)

    def remove(self, pod: Pod) -> None:
        """Take a pod out that nothing runs any more."""
        if isinstance(pod, LeanPod):
            self.cluster.lean.drop(pod)
        elif isinstance(pod, BulkPod):
            self.cluster.bulk.remove(pod)
        else:
            self.world.remove("pods", pod.namespace, pod.name)

    def available(self, group: Group, min_ready: int, again: Callable[[], Any]) -> int:
        """How many pods have been ready for `min_ready` seconds; `again()` is called when one more will have been."""
        if not min_ready:
            return group.ready
        now, count = self.cluster.clock.now(), 0
        pods = group.pods
        if self.cluster.bulk is not None and not pods:
            pods = self.cluster.bulk.pods_of(group)
        for pod in pods.values():
            if not pod.ready or pod.terminating:
                continue
            due = pod.ready_since(now) + min_ready
            if due <= now:
                count += 1
            elif (pod.uid, due) not in self._timers:
                self._timers.add((pod.uid, due))
                self.cluster.clock.call_at(due, again)
        return count
