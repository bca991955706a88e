"""One cluster's Kubernetes side in the twin: the world with its controllers, kubelets and scheduler put together.

Everything that happens does so through the clock; the same seed gives the same history.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

from baton.logic.eviction import Action, DrainList, DrainOptions, Verdict, drain_list, judge
from baton.logic.scheduling import ClusterState
from baton.twin.addons import AddonInstaller
from baton.twin.bootstrap import fill_new_cluster
from baton.twin.bulk.begin import Beyond
from baton.twin.clock import VirtualClock
from baton.twin.controllers.base import (
    ADDED,
    BOUND,
    CONTROLLERS,
    EVERY,
    FINISHED,
    LABELS,
    PHASE,
    READY,
    REMOVED,
    TERMINATING,
    Cluster,
    Controller,
    Obj,
    Pod,
)
from baton.twin.controllers.daemonsets import DaemonSetController
from baton.twin.controllers.deployments import DeploymentController
from baton.twin.controllers.disruption import Budget, DisruptionController
from baton.twin.controllers.endpoints import EndpointController
from baton.twin.controllers.events import EventRecorder
from baton.twin.controllers.garbage import GarbageCollector
from baton.twin.controllers.jobs import JobController
from baton.twin.controllers.lean import LeanPod, LeanPods
from baton.twin.controllers.nodes import NodeController, NodeSpec
from baton.twin.controllers.pods import PodMaker
from baton.twin.controllers.replicasets import ReplicaSetController
from baton.twin.controllers.scheduling import SchedulingLoop
from baton.twin.controllers.statefulsets import StatefulSetController
from baton.twin.controllers.templates import conditions_with
from baton.twin.controllers.volumes import VolumeController
from baton.twin.kubelet import HEARTBEAT, Kubelets
from baton.twin.timefmt import parse, rfc3339, rfc3339_micro
from baton.twin.timings import TwinSettings
from baton.twin.world import World

__all__ = ["Eviction", "KubeTwin", "NodeSpec"]

DisruptionListener = Callable[[str, str, str], object]


@dataclass(frozen=True, slots=True)
class Eviction:
    """The answer to an eviction. `verdict` is "evicted" (it is leaving), "blocked" or "gone" (no such pod).

    `status` is the HTTP code; `retry_after` in seconds, None when the answer carries none; `causes` (reason, message).
    """

    verdict: str
    pdb: str = ""
    message: str = ""
    status: int = 201
    reason: str = ""
    retry_after: int | None = None
    causes: tuple[tuple[str, str], ...] = ()

    def to_status(self) -> dict[str, Any]:
        """The metav1.Status the eviction subresource answers with."""
        body: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}}
        if self.verdict == "evicted":
            return {**body, "status": "Success", "code": self.status}
        body |= {"status": "Failure", "message": self.message, "code": self.status}
        if self.reason:
            body["reason"] = self.reason
        details: dict[str, Any] = {}
        if self.causes:
            details["causes"] = [{"reason": r, "message": m} for r, m in self.causes]
        if self.retry_after:
            details["retryAfterSeconds"] = self.retry_after
        if details:
            body["details"] = details
        return body


class KubeTwin:
    """One cluster. Build it over a world (empty, or loaded with objects read from a cluster), then `start()`."""

    def __init__(
        self, clock: VirtualClock, world: World, settings: TwinSettings, rng: Random, *, version: str = "1.34"
    ) -> None:
        self.clock = clock
        self.world = world
        self.settings = settings
        self.version = version
        self.cluster = Cluster(clock, world, settings, rng)
        if settings.events:
            self.cluster.record = EventRecorder(self.cluster)
        state = ClusterState()
        if settings.lean:
            self.cluster.pods = self.cluster.lean = LeanPods(world, clock, state)
        self.pods = self.cluster.pods
        self.maker = PodMaker(self.cluster)
        self.disruption = DisruptionController(self.cluster)
        self.kubelets = Kubelets(self.cluster, self.maker)
        self.nodes = NodeController(self.cluster, self.maker, self.kubelets)
        self.replicasets = ReplicaSetController(self.cluster, self.maker)
        self.deployments = DeploymentController(self.cluster, self.maker)
        self.daemonsets = DaemonSetController(self.cluster, self.maker)
        self.statefulsets = StatefulSetController(self.cluster, self.maker)
        self.jobs = JobController(self.cluster, self.maker)
        self.volumes = VolumeController(self.cluster)
        self.endpoints = EndpointController(self.cluster)
        self.garbage = GarbageCollector(self.cluster, self.maker)
        self.scheduling = SchedulingLoop(self.cluster, self.maker, state, self.disruption.refresh)
        self.addons = AddonInstaller(self.cluster, self.kubelets.bad_images)
        self.bulk: Any = None
        """Pods kept as rows of arrays, see twin/bulk."""
        self.before_moves: Callable[[], bool] | None = None
        """Called before the first add-on rolls and, if it said no, before others and the first drain."""
        self._listeners: list[DisruptionListener] = []
        self._gone: list[Callable[[str, Any], object]] = []
        self._news: list[tuple[str, str, str]] = []
        self._started = False

    def bootstrap(self) -> None:
        """Fill a cluster that was just created with what EKS puts into every one; before `start`."""
        fill_new_cluster(self.world)

    def start(self) -> None:
        """Read the world and begin to control it. Call once."""
        if self._started:
            return
        self._started = True
        self.disruption.start()
        self.scheduling.start()
        listen = self.pods.listen
        listen(self.disruption.on_labels, LABELS)
        counted = ADDED | REMOVED | READY | TERMINATING
        listen(self.disruption.on_pod, counted, trait="budgets", together=self.disruption.on_added)
        shown = EVERY if self.settings.live_status else EVERY & ~(BOUND | PHASE | LABELS)
        listen(self.replicasets.on_pod, shown, "ReplicaSet", together=self.replicasets.on_added)
        listen(self.deployments.on_pod, REMOVED | FINISHED, "ReplicaSet")
        listen(self.daemonsets.on_pod, EVERY & ~(BOUND | PHASE), "DaemonSet")
        listen(self.statefulsets.on_pod, EVERY & ~(BOUND | PHASE), "StatefulSet")
        listen(self.jobs.on_pod, EVERY & ~(BOUND | PHASE), "Job")
        listen(self.volumes.on_pod, ADDED | BOUND, trait="claims")
        listen(self.kubelets.on_placed, ADDED | BOUND, together=self.kubelets.on_running)
        listen(self.kubelets.on_going, TERMINATING)
        listen(self.nodes.on_pod, ADDED | BOUND, together=self.nodes.on_added)
        self.scheduling.listen()
        listen(self.garbage.on_pod, REMOVED)
        listen(self._on_pod, REMOVED)
        if self.settings.endpoints:
            self.pods.listen(self.endpoints.on_pod)
            self.endpoints.start()
        self.disruption.raised.append(self._on_raised)
        self.pods.start()
        controllers: tuple[Controller, ...] = (
            self.nodes,
            self.volumes,
            self.replicasets,
            self.deployments,
            self.statefulsets,
            self.daemonsets,
            self.jobs,
            self.garbage,
        )
        for controller in controllers:
            controller.start()

    # --- nodes

    def boot_node(self, spec: NodeSpec, on_ready: Callable[[], Any] | None = None) -> None:
        """The instance's kubelet registers now; the node turns Ready after a drawn gap, then `on_ready()` is called.

        A spec with joins=False never registers."""
        self.nodes.register(spec, on_ready)

    def remove_node(self, name: str) -> None:
        """The instance is gone: the Node is deleted, its pods are collected at once and replaced by their controllers.

        A node that is not there is no error."""
        self.nodes.remove(name)

    def node_unreachable(self, name: str, reachable: bool = False) -> None:
        """The kubelet stops (or, with `reachable`, starts again) reporting."""
        if reachable:
            self.nodes.reachable(name)
        else:
            self.nodes.unreachable(name)

    def cordon(self, name: str, on: bool = True, labels: Mapping[str, str | None] | None = None) -> None:
        """Set or clear spec.unschedulable and set `labels` (None takes one off). An unknown node is no error."""
        node = self.world.get("nodes", None, name)
        if node is None:
            return
        spec = dict(node["spec"])
        if on:
            spec["unschedulable"] = True
        else:
            spec.pop("unschedulable", None)
        if self.cluster.bulk is not None and self.daemonsets.indifferent:
            spec = self.nodes.with_taint(spec)  # nobody would see the moment between
        meta = node["metadata"]
        if labels:
            merged = {**(meta.get("labels") or {}), **labels}
            if None in labels.values():
                merged = {k: v for k, v in merged.items() if v is not None}
            meta = {**meta, "labels": merged}
        if spec != node["spec"] or meta is not node["metadata"]:
            self.world.update("nodes", {**node, "spec": spec, "metadata": meta})

    # --- pods

    def evict(
        self,
        namespace: str,
        name: str,
        *,
        delete: bool = False,
        grace: int | None = None,
        dry_run: bool = False,
    ) -> Eviction:
        """What POST .../pods/<name>/eviction does; with `delete` a plain delete that asks no budget.

        `grace` seconds override the pod's own; `dry_run` judges and changes nothing."""
        pod = self.pods.at((namespace, name))
        if pod is None:
            return Eviction("gone", "", f'pods "{name}" not found', 404, "NotFound")
        if not delete:
            verdict = judge(pod.phase, pod.ready, pod.terminating, pod.budgets)
            if verdict.action is Action.REFUSE:
                return _refused(verdict)
            if not dry_run:
                if verdict.action is Action.DECREMENT:
                    self.disruption.claim(verdict.budget, pod)
                if self.settings.detail and not pod.terminating:
                    self._target(pod)
                self.maker.delete(pod, grace)
            return _evicted(verdict.budget)
        if not dry_run:
            self.maker.delete(pod, grace)
        return _evicted("")

    def _target(self, pod: Pod) -> None:
        """The eviction API marks the pod before it deletes it."""
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
        }
        conditions = conditions_with(pod.obj["status"].get("conditions"), condition, rfc3339(self.clock.now()))
        self.world.update("pods", {**pod.obj, "status": {**pod.obj["status"], "conditions": conditions}})

    def delete(
        self, resource: str, namespace: str | None, name: str, *, grace: int | None = None, propagation: str = ""
    ) -> Obj | None:
        """DELETE of any object: pods with grace, others with finalizers and cascade (`propagation` Background,
        Foreground or Orphan). Returns what is left of it, None when it is gone; raises nothing for one never there."""
        obj = self.world.get(resource, namespace, name)
        if obj is None:
            return None
        if resource == "pods":
            pod = self.pods.at((namespace or "", name))
            if pod is not None:
                self.maker.delete(pod, grace)
        elif resource == "nodes":
            self.world.remove(resource, None, name)
        else:
            self.garbage.delete(resource, obj, propagation or "Background")
        return self.world.get(resource, namespace, name)

    def drain_pods(self, node: str) -> list[Obj]:
        """The pods a drain must move, as kubectl chooses them with --ignore-daemonsets --delete-emptydir-data --force:
        DaemonSet and mirror pods stay."""
        return list(self.drain(node, DrainOptions()).pods)  # type: ignore[arg-type]

    def drain_begins(self, node: str) -> None:
        """Somebody is about to empty the node."""
        self._pods_will_move()
        self.before_moves = None
        if self.bulk is not None:
            self.bulk.begin_drain(node)

    def _pods_will_move(self) -> None:
        if self.before_moves is not None and self.before_moves():
            self.before_moves = None

    def drain_ends(self, node: str) -> None:
        """The node is empty, or its drain was called off."""
        if self.bulk is not None:
            self.bulk.end_drain(node)

    def drain_waits(self, node: str) -> bool:
        """Whether bulk pods whose eviction was granted are still there."""
        return self.bulk is not None and self.bulk.leaving(node) > 0

    def wait_for_news(self, namespace: str, budget: str, on: bool) -> None:
        """Whether an eviction waits for a change of this budget, "" for any change in the namespace."""
        if self.bulk is not None:
            self.bulk.wait_for(namespace, budget, on)

    def drain_keys(self, node: str) -> list[Any]:
        """(namespace, name) of the pods that `drain_pods` gives; the numbers of those in bulk."""
        if self.bulk is not None:
            return self.bulk.drain_keys(node, self._stays)  # type: ignore[no-any-return]
        pods = self.pods.on_node(node)
        if self.cluster.lean is None:
            return [(p["metadata"]["namespace"], p["metadata"]["name"]) for p in self.drain_pods(node)] if pods else []
        return [p.key for p in pods if isinstance(p, LeanPod) and not self._stays(p)]

    def _stays(self, pod: LeanPod) -> bool:
        """kubectl's filters under EKS's options, for a pod without an object."""
        shape = pod.shape
        if shape.daemon and not pod.finished:
            return self.world.get("daemonsets.apps", pod.namespace, shape.daemon) is not None or shape.mirror
        return shape.mirror

    def drain(self, node: str, options: DrainOptions) -> DrainList:
        """kubectl drain's choice under the given flags, with its warnings and errors."""
        return drain_list(
            (p.obj for p in self.pods.on_node(node)),
            options,
            lambda namespace, name: self.world.get("daemonsets.apps", namespace, name) is not None,
            lambda pod: self.clock.now() - parse(pod["metadata"]["deletionTimestamp"]),
        )

    def unschedulable(self) -> list[tuple[str, str, float, str]]:
        """(namespace, name, waiting since, why) of the pods no node was found for."""
        return self.scheduling.unschedulable()

    # --- news for who waits to evict

    def on_pod_gone(self, fn: Callable[[str, Any], object]) -> None:
        """Call `fn(node, (namespace, name))` whenever a pod is gone, "" for one that was on no node; see tell_gone."""

        def gone(pod: Pod, bits: int) -> None:
            fn(pod.node, pod.key)

        self.pods.listen(gone, REMOVED)
        self._gone.append(fn)

    def tell_gone(self, node: str, number: int | None) -> None:
        """A bulk pod is gone, or (None) the last that a drain of the node waits for."""
        for fn in self._gone:
            fn(node, number)

    def on_disruption_change(self, fn: DisruptionListener) -> Callable[[], None]:
        """Call `fn(kind, namespace, name)` after a change that may unblock an eviction; returns how to stop that.

        Kind "budget": this budget allows more, or was deleted; "pod": this pod is gone. Called from the clock after the
        controllers have settled; `fn` may evict."""
        self._listeners.append(fn)
        return lambda: self._listeners.remove(fn)

    def _on_pod(self, pod: Pod, bits: int) -> None:
        if self._listeners:
            self._tell("pod", pod.namespace, pod.name)

    def _on_raised(self, budget: Budget) -> None:
        if self._listeners:
            self._tell("budget", *budget.key)

    def _tell(self, kind: str, namespace: str, name: str) -> None:
        if not self._news:
            self.clock.post(0.0, self._deliver, CONTROLLERS + 1)
        self._news.append((kind, namespace, name))

    def _deliver(self) -> None:
        news, self._news = self._news, []
        for item in dict.fromkeys(news):
            for fn in tuple(self._listeners):
                fn(*item)

    # --- the cluster

    def set_version(self, version: str) -> None:
        """The API server now is of this minor version ("1.35")."""
        self.version = version

    def apply_addon(self, name: str, version: str, *, image_ok: bool = True) -> None:
        """Install an EKS add-on or roll it to `version`; with image_ok False its new pods never become ready."""
        if image_ok:
            self._pods_will_move()
        elif self.bulk is not None:
            raise Beyond(f"images of add-on {name} cannot be pulled")
        self.addons.apply(name, version, image_ok=image_ok)

    def addon_healthy(self, name: str) -> bool:
        """Its workloads have rolled out and are ready."""
        return self.addons.healthy(name, self)

    def remove_addon(self, name: str) -> None:
        for resource, namespace, object_name in self.addons.objects(name):
            self.delete(resource, namespace, object_name)

    def event(self, kind_obj: Obj, type: str, reason: str, message: str, source: str) -> None:
        """Write a core/v1 Event about an object ("component" or "component, host" as source)."""
        self.cluster.record(kind_obj, type, reason, message, source)

    def refresh_status(self) -> None:
        """Write the statuses that settings.live_status held back; call before reading workloads or budgets."""
        if self.settings.live_status:
            return
        self.disruption.refresh()
        self.statefulsets.refresh()
        self.refresh_status_of(("daemonsets.apps", "deployments.apps"))

    def refresh_status_of(self, resources: Collection[str]) -> None:
        """The same for DaemonSets, for Deployments with their ReplicaSets, or for both."""
        if self.settings.live_status:
            return
        if "deployments.apps" in resources:
            self.replicasets.refresh()
        if "daemonsets.apps" in resources:
            self.daemonsets.refresh()
        if "deployments.apps" in resources:
            for key in sorted(self.deployments.pending):
                self.deployments.sync(key)

    # --- derived on read

    def leases(self) -> list[Obj]:
        """The node leases, as renewed by the last heartbeat that was due."""
        return [self._lease(n) for n in self.world.items("nodes")]

    def _lease(self, node: Obj) -> Obj:
        meta = node["metadata"]
        name = meta["name"]
        created = parse(meta["creationTimestamp"])
        now = self.clock.now()
        if name in self.kubelets.dead:
            now = min(now, self._ready_changed(node, now))
        beat = created + (now - created) // HEARTBEAT * HEARTBEAT
        reference = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": meta["uid"]}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": name,
                "namespace": "kube-node-lease",
                "uid": meta["uid"],
                "resourceVersion": meta["resourceVersion"],
                "creationTimestamp": meta["creationTimestamp"],
                "ownerReferences": [reference],
            },
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": rfc3339_micro(beat)},
        }

    @staticmethod
    def _ready_changed(node: Obj, default: float) -> float:
        for condition in node.get("status", {}).get("conditions") or ():
            if condition.get("type") == "Ready" and condition.get("lastTransitionTime"):
                return parse(condition["lastTransitionTime"])
        return default

    def with_heartbeat(self, node: Obj) -> Obj:
        """The node with the lastHeartbeatTime its kubelet would have reported by now (every five minutes)."""
        name = node["metadata"]["name"]
        conditions: Sequence[Obj] = node.get("status", {}).get("conditions") or ()
        if name in self.kubelets.dead or not conditions:
            return node
        now = self.clock.now()
        fresh = []
        for condition in conditions:
            last = condition.get("lastHeartbeatTime") or condition.get("lastTransitionTime")
            start = parse(last) if last else now
            beat = rfc3339(start + (now - start) // 300.0 * 300.0)
            fresh.append({**condition, "lastHeartbeatTime": beat})
        return {**node, "status": {**node["status"], "conditions": fresh}}


@lru_cache(maxsize=65536)
def _evicted(budget: str) -> Eviction:
    return Eviction("evicted", budget)


def _refused(verdict: Verdict) -> Eviction:
    return Eviction(
        "blocked",
        verdict.budget,
        verdict.message,
        verdict.code,
        verdict.reason,
        verdict.retry_after,
        verdict.causes,
    )
