"""Nodes: registering, Ready, taints, unreachable ones, and what becomes of their pods (pod garbage collection)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from baton.twin.bootstrap import boot_id, system_uuid
from baton.twin.controllers.base import Cluster, Controller, Key, Obj, Pod
from baton.twin.controllers.pods import PodMaker
from baton.twin.controllers.templates import NOT_READY, UNREACHABLE, conditions_with
from baton.twin.kubelet import Kubelets
from baton.twin.timefmt import rfc3339

NODES = "nodes"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_CSI_NODES = "csinodes.storage.k8s.io"
_BY_CONDITION = (NOT_READY, UNREACHABLE)  # taints that follow the Ready condition
_NO_NETWORK = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:Network plugin returns error: cni plugin not initialized"
)
_FIRST = (  # conditions of a node that registers: all False
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "KubeletNotReady", _NO_NETWORK),
)
_NOTHING: dict[str, str] = {}


class NodeSpec(NamedTuple):
    """What an instance brings when its kubelet registers. Quantities are Kubernetes strings ("3920m", "15Gi"); the
    dictionaries of them become parts of the Node.

    `joins` False is an instance whose user data is broken: no Node ever appears. `volume_limit` is the number of EBS
    volumes its CSINode reports.
    """

    name: str
    instance_id: str
    zone: str
    region: str
    instance_type: str
    image_id: str
    kubelet_version: str  # "v1.35.2-eks-1a2b3c4"
    labels: Mapping[str, str] = MappingProxyType({})
    taints: Sequence[Mapping[str, str]] = ()
    allocatable: Mapping[str, str] = _NOTHING
    capacity: Mapping[str, str] = _NOTHING
    os_image: str = "Amazon Linux 2023"
    provider_id: str = ""
    internal_ip: str = ""
    joins: bool = True
    architecture: str = "amd64"
    volume_limit: int = 25


class NodeController(Controller):
    """Keys are node names. Keeps taints true to spec and conditions; deletes the pods of nodes that are gone."""

    def __init__(self, cluster: Cluster, maker: PodMaker, kubelets: Kubelets) -> None:
        super().__init__(cluster)
        self.maker = maker
        self.kubelets = kubelets
        self._rng = cluster.rng("nodes")
        self._calm: set[str] = set()  # nodes that are there and chase nobody away

    def start(self) -> None:
        for obj in list(self.world.items(NODES)):
            self.enqueue(obj["metadata"]["name"])
        self.world.subscribe(self._on_node, resources=[NODES])

    def _on_node(self, type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        name = obj["metadata"]["name"]
        self._calm.discard(name)
        if type_ == "MODIFIED" and old is not None and obj.get("spec") is old.get("spec"):
            return
        if type_ == "DELETED" or self._asks_for_work(name, obj["spec"]):
            self.enqueue(name)

    def _asks_for_work(self, name: str, spec: Obj) -> bool:
        """Whether a sync would find anything to do: most nodes that come are empty, and most changes leave them calm.

        A pod that comes to a node with NoExecute taints asks for a sync by itself."""
        chases = marked = False
        for taint in spec.get("taints") or ():
            chases = chases or taint.get("effect") == "NoExecute"
            marked = marked or taint.get("key") == UNSCHEDULABLE
        if bool(spec.get("unschedulable")) != marked:
            return True
        bulk = self.cluster.bulk
        return chases and (self.cluster.pods.anybody_on(name) or (bulk is not None and bulk.has_pods(name)))

    def on_pod(self, pod: Pod, bits: int) -> None:
        if pod.node and pod.node not in self._calm:
            self._joined(pod.node)

    def _joined(self, name: str) -> None:
        """A pod came to a node of which it is not known that it chases nobody."""
        node = self.world.get(NODES, None, name)
        if node is None or any(t.get("effect") == "NoExecute" for t in node["spec"].get("taints") or ()):
            if self.cluster.bulk is not None:
                self.cluster.bulk.joined(name)
            self.enqueue(name)
        else:
            self._calm.add(name)

    def on_added(self, pods: Sequence[Pod], keys: Collection[Key], nodes: Sequence[str]) -> None:
        """The same for pods on nodes."""
        calm = self._calm
        for node in nodes:
            if node not in calm:
                self._joined(node)

    def sync(self, key: str) -> None:
        node = self.world.get(NODES, None, key)
        if node is None:
            self._collect(key)
            return
        node = self._taint_cordon(node)
        self._execute(node)

    def _collect(self, name: str) -> None:
        """Pods of a node that is gone are removed at once; nothing runs them any more."""
        self.kubelets.dead.discard(name)
        bulk = self.cluster.bulk
        if bulk is not None and not self.cluster.lean.anybody_on(name):
            bulk.remove_all(name)
            return
        for pod in self.cluster.pods.on_node(name):
            if not pod.gone:
                self.maker.remove(pod)

    def _taint_cordon(self, node: Obj) -> Obj:
        spec = self.with_taint(node["spec"])
        if spec is node["spec"]:
            return node
        said = "NodeNotSchedulable" if spec.get("unschedulable") else "NodeSchedulable"
        name = node["metadata"]["name"]
        self.cluster.record(node, "Normal", said, f"Node {name} status is now: {said}", f"kubelet, {name}")
        made: Obj = self.world.update(NODES, {**node, "spec": spec})
        return made

    def with_taint(self, spec: Obj) -> Obj:
        """A node's spec with the taint of a cordon, or without it; the same where that is as it should be."""
        taints = list(spec.get("taints") or ())
        marked = any(t.get("key") == UNSCHEDULABLE for t in taints)
        if bool(spec.get("unschedulable")) == marked:
            return spec
        if marked:
            taints = [t for t in taints if t.get("key") != UNSCHEDULABLE]
        else:
            taints.append({"key": UNSCHEDULABLE, "effect": "NoSchedule", "timeAdded": rfc3339(self.clock.now())})
        rest = {k: v for k, v in spec.items() if k != "taints"}
        return {**rest, "taints": taints} if taints else rest

    # --- NoExecute

    def _execute(self, node: Obj) -> None:
        taints = [t for t in node["spec"].get("taints") or () if t.get("effect") == "NoExecute"]
        if not taints:
            return
        for pod in self.cluster.pods.on_node(node["metadata"]["name"]):
            stay = tolerated_for(pod.spec.get("tolerations") or (), taints)
            if stay is None or pod.terminating or pod.finished:
                continue
            if stay <= 0:
                self._evict(pod, node["metadata"]["name"])
            else:
                self.clock.call_later(stay, partial(self._evict, pod, node["metadata"]["name"]))

    def _evict(self, pod: Pod, name: str) -> None:
        node = self.world.get(NODES, None, name)
        if node is None or pod.gone or pod.terminating:
            return
        taints = [t for t in node["spec"].get("taints") or () if t.get("effect") == "NoExecute"]
        if not taints or tolerated_for(pod.spec.get("tolerations") or (), taints) is None:
            return
        message = f"Marking for deletion Pod {pod.namespace}/{pod.name}"
        self.cluster.record(pod.obj, "Normal", "TaintManagerEviction", message, "taint-eviction-controller")
        self.maker.delete(pod)

    # --- a node's life

    def register(self, spec: NodeSpec, on_ready: Callable[[], Any] | None) -> None:
        """The kubelet registers the node; it turns Ready after a drawn gap. One that never joins does nothing."""
        if not spec.joins or self.world.get(NODES, None, spec.name) is not None:
            return
        now = rfc3339(self.clock.now())
        node: Obj = self.world.create(NODES, node_object(spec, now, self.settings.detail))
        self.world.create(_CSI_NODES, _csi_node(spec, node))
        name = spec.name
        if self.settings.events:
            self._record_registered(node, name)
        gap = self.settings.timings.node_ready_gap.draw(self._rng)
        uid = node["metadata"]["uid"]
        self.clock.post(gap, partial(self._ready, name, uid, on_ready))

    def _record_registered(self, node: Obj, name: str) -> None:
        kubelet = f"kubelet, {name}"
        self.cluster.record(node, "Normal", "Starting", "Starting kubelet.", kubelet)
        full = "invalid capacity 0 on image filesystem"
        self.cluster.record(node, "Warning", "InvalidDiskCapacity", full, kubelet)
        for reason in ("NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"):
            self.cluster.record(node, "Normal", reason, f"Node {name} status is now: {reason}", kubelet)
        allocatable = "Updated Node Allocatable limit across pods"
        self.cluster.record(node, "Normal", "NodeAllocatableEnforced", allocatable, kubelet)
        self.cluster.record(node, "Normal", "Synced", "Node synced successfully", "cloud-node-controller")
        self.cluster.record(
            node,
            "Normal",
            "RegisteredNode",
            f"Node {name} event: Registered Node {name} in Controller",
            "node-controller",
        )

    def _ready(self, name: str, uid: str, on_ready: Callable[[], Any] | None) -> None:
        node = self.world.get(NODES, None, name)
        if node is None or node["metadata"]["uid"] != uid or name in self.kubelets.dead:
            return
        self._set_ready(node, "True", "KubeletReady", "kubelet is posting ready status")
        if self.settings.events:
            said = f"Node {name} status is now: NodeReady"
            self.cluster.record(node, "Normal", "NodeReady", said, f"kubelet, {name}")
        if on_ready is not None:
            on_ready()

    def _set_ready(self, node: Obj, status: str, reason: str, message: str) -> None:
        """Set the Ready condition and the taints that go with it, in one write."""
        now = rfc3339(self.clock.now())
        condition = {
            "type": "Ready",
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": now,
        }
        conditions = conditions_with(node["status"].get("conditions"), condition, now)
        taints = [t for t in node["spec"].get("taints") or () if t.get("key") not in _BY_CONDITION]
        if status != "True":
            key = UNREACHABLE if status == "Unknown" else NOT_READY
            taints += [{"key": key, "effect": e, "timeAdded": now} for e in ("NoSchedule", "NoExecute")]
        spec = dict(node["spec"])
        spec.pop("taints", None)
        if taints:
            spec["taints"] = taints
        self.world.update(NODES, {**node, "spec": spec, "status": {**node["status"], "conditions": conditions}})

    def unreachable(self, name: str) -> None:
        """The kubelet stops reporting; after the monitor's grace period the node is Unknown and tainted."""
        self.kubelets.dead.add(name)
        grace = self.settings.timings.node_monitor_grace.draw(self._rng)
        self.clock.call_later(grace, lambda: self._lost(name))

    def _lost(self, name: str) -> None:
        node = self.world.get(NODES, None, name)
        if node is None or name not in self.kubelets.dead:
            return
        self._set_ready(node, "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
        said = f"Node {name} status is now: NodeNotReady"
        self.cluster.record(node, "Normal", "NodeNotReady", said, "node-controller")
        now = rfc3339(self.clock.now())
        for pod in self.cluster.pods.on_node(name):
            if pod.ready:
                conditions = conditions_with(
                    pod.obj["status"].get("conditions"), {"type": "Ready", "status": "False"}, now
                )
                self.world.update("pods", {**pod.obj, "status": {**pod.obj["status"], "conditions": conditions}})
                self.cluster.record(pod.obj, "Warning", "NodeNotReady", "Node is not ready", "node-controller")

    def reachable(self, name: str) -> None:
        """The kubelet reports again."""
        node = self.world.get(NODES, None, name)
        self.kubelets.node_back(name)
        if node is None:
            return
        self._set_ready(node, "True", "KubeletReady", "kubelet is posting ready status")
        now = rfc3339(self.clock.now())
        for pod in self.cluster.pods.on_node(name):
            if pod.phase == "Running" and not pod.ready and not pod.terminating:
                conditions = conditions_with(
                    pod.obj["status"].get("conditions"), {"type": "Ready", "status": "True"}, now
                )
                self.world.update("pods", {**pod.obj, "status": {**pod.obj["status"], "conditions": conditions}})

    def remove(self, name: str) -> None:
        """The instance is gone: the cloud's node lifecycle controller deletes the Node."""
        world, record = self.world, self.cluster.record
        node = world.get(NODES, None, name)
        if node is None:
            return
        if self.settings.events:
            message = f"Deleting node {name} because it does not exist in the cloud provider"
            record(node, "Normal", "DeletingNode", message, "cloud-node-lifecycle-controller")
        world.remove(NODES, None, name)
        if world.get(_CSI_NODES, None, name) is not None:
            world.remove(_CSI_NODES, None, name)
        if self.settings.events:
            message = f"Node {name} event: Removing Node {name} from Controller"
            record(node, "Normal", "RemovingNode", message, "node-controller")


def tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """Whether one toleration covers one taint (v1helper.TolerationsTolerateTaint)."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def tolerated_for(tolerations: Sequence[Mapping[str, Any]], taints: Sequence[Mapping[str, Any]]) -> float | None:
    """Seconds a pod may stay on a node with these NoExecute taints; None for ever, 0 not at all."""
    least: float | None = None
    for taint in taints:
        matching = [t for t in tolerations if tolerates(t, taint)]
        if not matching:
            return 0.0
        for toleration in matching:
            seconds = toleration.get("tolerationSeconds")
            if seconds is not None:
                least = float(seconds) if least is None else min(least, float(seconds))
    return least


def node_object(spec: NodeSpec, now: str, detail: bool = True) -> Obj:
    """The Node as a kubelet registers it: NotReady, tainted not-ready, with the well-known labels.

    Without `detail` its machine has no identifiers and it has no conditions but Ready: only people read them."""
    labels = {
        "beta.kubernetes.io/arch": spec.architecture,
        "beta.kubernetes.io/instance-type": spec.instance_type,
        "beta.kubernetes.io/os": "linux",
        "failure-domain.beta.kubernetes.io/region": spec.region,
        "failure-domain.beta.kubernetes.io/zone": spec.zone,
        "k8s.io/cloud-provider-aws": "f438635fb2d4b5d9d4c4d6a4f9d2e8c1",
        "kubernetes.io/arch": spec.architecture,
        "kubernetes.io/hostname": spec.name,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": spec.instance_type,
        "topology.ebs.csi.aws.com/zone": spec.zone,
        "topology.kubernetes.io/region": spec.region,
        "topology.kubernetes.io/zone": spec.zone,
        **spec.labels,
    }
    conditions: list[Obj] = [
        {
            "type": kind,
            "status": "False",
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        for kind, reason, message in (_FIRST if detail else _FIRST[-1:])
    ]
    addresses = [{"type": "InternalIP", "address": spec.internal_ip}] if spec.internal_ip else []
    addresses += [{"type": "InternalDNS", "address": spec.name}, {"type": "Hostname", "address": spec.name}]
    not_ready = [{"key": NOT_READY, "effect": e, "timeAdded": now} for e in ("NoSchedule", "NoExecute")]
    uuid = system_uuid(spec.instance_id) if detail else ""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": spec.name,
            "labels": labels,
            "annotations": {
                "alpha.kubernetes.io/provided-node-ip": spec.internal_ip,
                "node.alpha.kubernetes.io/ttl": "0",
                "volumes.kubernetes.io/controller-managed-attach-detach": "true",
            },
        },
        "spec": {
            "providerID": spec.provider_id or f"aws:///{spec.zone}/{spec.instance_id}",
            "taints": [*map(dict, spec.taints), *not_ready],
        },
        "status": {
            "addresses": addresses,
            "allocatable": spec.allocatable,
            "capacity": spec.capacity or spec.allocatable,
            "conditions": conditions,
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "images": [],
            "nodeInfo": {
                "architecture": spec.architecture,
                "bootID": boot_id(spec.instance_id) if detail else "",
                "containerRuntimeVersion": "containerd://2.1.5",
                "kernelVersion": "6.12.55-74.119.amzn2023.x86_64",
                "kubeProxyVersion": "",
                "kubeletVersion": spec.kubelet_version,
                "machineID": uuid.replace("-", ""),  # as /etc/machine-id holds
                "operatingSystem": "linux",
                "osImage": spec.os_image,
                "systemUUID": uuid,
            },
        },
    }


def _csi_node(spec: NodeSpec, node: Obj) -> Obj:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSINode",
        "metadata": {
            "name": spec.name,
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": spec.name, "uid": node["metadata"]["uid"]}
            ],
        },
        "spec": {
            "drivers": [
                {
                    "name": "ebs.csi.aws.com",
                    "nodeID": spec.instance_id,
                    "topologyKeys": ["topology.kubernetes.io/zone"],
                    "allocatable": {"count": spec.volume_limit},
                }
            ]
        },
    }
