"""ClusterState: nodes, the pods on them and the objects scheduling looks at, kept up to date one change at a time.

Sums per node live in numpy arrays indexed by slot; a slot is a node's place in the arrays and is reused once the node
is gone. Pods that have ended (phase Succeeded or Failed) hold nothing. Pods on a node not known yet wait for it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.errors import ReadError
from baton.logic.scheduling import matching
from baton.logic.scheduling.infos import Elsewhere, Key, Listener, NodeInfo, PodInfo, claim_names, has_ended
from baton.logic.scheduling.matching import Json
from baton.logic.scheduling.podclass import ClassCache, PodClass
from baton.logic.scheduling.requests import (
    Resources,
    parse_list,
    pod_request,
    reports_resources,
    to_resources,
)

CPU, MEMORY, EPHEMERAL, PODS, NONZERO_CPU, NONZERO_MEMORY = range(6)
SERVICES, REPLICA_SETS, STATEFUL_SETS = "services", "replicasets.apps", "statefulsets.apps"
CONTROLLERS, NAMESPACES, BUDGETS = "replicationcontrollers", "namespaces", "poddisruptionbudgets.policy"
VOLUMES, CLAIMS = "persistentvolumes", "persistentvolumeclaims"
STORAGE_CLASSES, CSI_NODES = "storageclasses.storage.k8s.io", "csinodes.storage.k8s.io"
RESOURCES = (
    SERVICES, REPLICA_SETS, STATEFUL_SETS, CONTROLLERS, NAMESPACES, VOLUMES, CLAIMS, STORAGE_CLASSES, CSI_NODES,
    BUDGETS,
)  # fmt: skip
_SELECTING = frozenset((SERVICES, REPLICA_SETS, STATEFUL_SETS, CONTROLLERS))
_CLUSTER_WIDE = frozenset((NAMESPACES, VOLUMES, STORAGE_CLASSES, CSI_NODES))


class ClusterState:
    """The cluster as the scheduler sees it. Objects handed in are kept, never changed."""

    def __init__(self) -> None:
        self.classes = ClassCache()
        self.nodes: dict[str, int] = {}
        self.infos: list[NodeInfo | None] = []
        self._pods_at: list[dict[Key, PodInfo]] = []
        self.versions: list[int] = []
        """Per slot, how often its pods changed."""
        self._pods: dict[Key, PodInfo] = {}
        self.together: dict[PodInfo, tuple[Collection[Key], Sequence[int]]] = {}
        """One that stands for several pods -> their keys and slots; see enter_as."""
        self.part: Callable[[], object] = lambda: None
        """Called when each of those has to be there as itself: makes them by `replace`."""
        self.allocatable = np.zeros((64, 4), dtype=np.int64)
        self.used = np.zeros((64, 6), dtype=np.int64)
        self.scalar_allocatable: dict[str, NDArray[np.int64]] = {}
        self.scalar_used: dict[str, NDArray[np.int64]] = {}
        self.objects: dict[str, dict[Key, Json]] = {resource: {} for resource in RESOURCES}
        self._by_namespace: dict[tuple[str, str], dict[str, Json]] = {}
        self._services: dict[str, matching.ByLabel[Json]] = {}  # selectors by namespace, read when first needed
        self.budget_rules = 0
        """Counts how often a budget came, went or got another spec."""
        self.claim_users: dict[Key, set[Key]] = {}
        """(namespace, claim) -> pods on nodes that use it."""
        self.image_nodes: dict[str, set[int]] = {}
        self.image_sizes: dict[str, int] = {}
        self.listener: Listener | None = None
        self.elsewhere: Elsewhere | None = None
        self._with_affinity: dict[Key, PodInfo] = {}
        self.nominees: dict[str, dict[Key, PodInfo]] = {}
        """Node -> pods that preemption made room for there, which they still wait for."""
        self._nominated: dict[Key, str] = {}
        self._free: list[int] = []
        self._waiting: dict[str, dict[Key, PodInfo]] = {}
        self._waits_for: dict[Key, str] = {}
        self._kinds: dict[tuple[bool, tuple[tuple[str, str, str], ...]], int] = {}
        self._allocatables: dict[str, Resources] = {}
        self._latest: tuple[Any, Resources | None] = None, None  # an allocatable that was read last, as the object

    # pods on nodes ---------------------------------------------------------------------------------------------------

    def each_as_itself(self) -> None:
        """From here on no pod stands for others."""
        if self.together:
            self.part()

    @property
    def known(self) -> dict[Key, PodInfo]:
        """The pods on nodes, where one may stand for several: see `together`."""
        return self._pods

    @property
    def pods(self) -> dict[Key, PodInfo]:
        """The pods on nodes."""
        self.each_as_itself()
        return self._pods

    @property
    def pods_at(self) -> list[dict[Key, PodInfo]]:
        """The same by slot, in the order they came."""
        self.each_as_itself()
        return self._pods_at

    @property
    def pods_with_affinity(self) -> dict[Key, PodInfo]:
        """Those with rules about other pods."""
        self.each_as_itself()
        return self._with_affinity

    def keep_only(self, which: Collection[Key], classes: Iterable[PodClass]) -> None:
        """Forget the other pods, which are of these classes: others keep them from now on, and they hold their room."""
        self.together.clear()
        self._pods = {k: i for k, i in self._pods.items() if k in which}
        self._with_affinity = {k: i for k, i in self._with_affinity.items() if k in which}
        self._pods_at[:] = [{} for _ in self._pods_at]
        for cls in classes:
            cls.index.pods = {}
        for key, info in self._pods.items():
            self._pods_at[info.slot][key] = info
            info.cls.index.pods[key] = info

    # reading ---------------------------------------------------------------------------------------------------------

    def pods_on(self, slot: int) -> dict[Key, PodInfo]:
        """The pods on a node, in the order they came."""
        found = self.pods_at[slot]
        return found if self.elsewhere is None else self.elsewhere.pods_on(slot, found)

    def every_pod(self) -> Iterable[PodInfo]:
        """All pods on nodes; not to be asked where some are kept in another form: figures know them."""
        assert self.elsewhere is None
        return self.pods.values()

    def affinity_pods(self) -> Iterable[PodInfo]:
        """Pods on nodes that have rules about other pods; see every_pod."""
        assert self.elsewhere is None
        return self.pods_with_affinity.values()

    # nodes -----------------------------------------------------------------------------------------------------------

    @property
    def capacity(self) -> int:
        """Number of slots the arrays hold."""
        return len(self.used)

    def node(self, slot: int) -> NodeInfo:
        """The node in a slot that is in use."""
        info = self.infos[slot]
        if info is None:
            raise KeyError(slot)
        return info

    def node_infos(self) -> Iterator[NodeInfo]:
        """Every node, in the order they were added."""
        return (self.node(slot) for slot in self.nodes.values())

    def add_node(self, node: Json) -> None:
        """Add a Node object, or replace the one of that name. Raises ReadError for a malformed quantity."""
        name = node["metadata"]["name"]
        slot = self.nodes.get(name)
        if slot is not None:
            self._replace_node(slot, node)
            return
        slot = self._take_slot()
        self.infos[slot] = info = self._read(slot, node, _node_source(node))
        self.nodes[name] = slot
        self._set_allocatable(info)
        self._set_images(info, node)
        if self.listener is not None:
            self.listener.node_changed(slot)
        for key, pod in self._waiting.pop(name, {}).items():
            del self._waits_for[key]
            self._settle(key, pod, slot)

    def update_node(self, node: Json) -> None:
        """The same as add_node: replaces a node's facts and keeps its pods."""
        self.add_node(node)

    def remove_node(self, node: Json | str) -> None:
        """Forget a node, given as object or name; its pods wait in case it comes back. Unknown nodes are ignored."""
        name = node if isinstance(node, str) else node["metadata"]["name"]
        slot = self.nodes.get(name)
        if slot is None:
            return
        pods = dict(self.pods_at[slot])
        for key in pods:
            self.remove_pod(key)
        info = self.node(slot)
        for image in info.images:
            self._drop_image(image, slot)
        del self.nodes[name]
        self.infos[slot] = None
        self.allocatable[slot] = 0
        for values in self.scalar_allocatable.values():
            values[slot] = 0
        self._free.append(slot)
        if self.listener is not None:
            self.listener.node_changed(slot)
        for key, pod in pods.items():
            self._wait(key, pod, name)

    def _take_slot(self) -> int:
        if self._free:
            return self._free.pop()
        slot = len(self.infos)
        self.infos.append(None)
        self._pods_at.append({})
        self.versions.append(0)
        if slot >= self.capacity:
            self.allocatable = _grown(self.allocatable)
            self.used = _grown(self.used)
            for table in (self.scalar_allocatable, self.scalar_used):
                for name, values in table.items():
                    table[name] = _grown(values)
        return slot

    def _replace_node(self, slot: int, node: Json) -> None:
        old = self.node(slot)
        source, before = _node_source(node), old.source
        if all(map(operator.is_, source, before)):
            return
        if source[3] is before[3] and source[4] is before[4]:
            info = self._info(slot, old.name, source, old.allocatable, old.images)
        else:
            info = self._read(slot, node, source)
        self.infos[slot] = info
        if info.allocatable is not old.allocatable and info.allocatable != old.allocatable:
            self.allocatable[slot] = 0
            for values in self.scalar_allocatable.values():
                values[slot] = 0
            self._set_allocatable(info)
        if info.images is not old.images:
            for image in set(old.images) - set(info.images):
                self._drop_image(image, slot)
            self._set_images(info, node)
        if self.listener is not None:
            self.listener.node_changed(slot)

    def _read(self, slot: int, node: Json, source: tuple[Any, ...]) -> NodeInfo:
        """A node's facts. Raises ReadError for a malformed quantity."""
        _, _, _, allocatable, images = source
        name = node["metadata"]["name"]
        latest, resources = self._latest
        if latest is not allocatable or resources is None:
            resources = self._resources(name, allocatable)
            self._latest = allocatable, resources
        names = tuple([name for image in images for name in image.get("names") or ()]) if images else ()
        return self._info(slot, name, source, resources, names)

    def _resources(self, node: str, allocatable: Mapping[str, Any]) -> Resources:
        """A node's allocatable. Raises ReadError for a malformed quantity."""
        key = str(allocatable)  # nodes of one type have the same
        resources = self._allocatables.get(key)
        if resources is None:
            try:
                resources = self._allocatables[key] = to_resources(parse_list(allocatable))
            except ReadError as error:
                raise ReadError(error.message, where=f"node {node}", hint=error.hint) from error
        return resources

    def _info(
        self, slot: int, name: str, source: tuple[Any, ...], allocatable: Resources, images: tuple[str, ...]
    ) -> NodeInfo:
        labels, taints, unschedulable, _, _ = source
        cordoned = bool(unschedulable)
        words: tuple[tuple[str, str, str], ...] = ()
        if taints:
            words = tuple([(t.get("key", ""), t.get("value") or "", t.get("effect", "")) for t in taints])
        kind = self._kinds.setdefault((cordoned, words), len(self._kinds))
        return NodeInfo(slot, name, labels or {}, tuple(taints or ()), cordoned, allocatable, images, kind, source)

    def _set_allocatable(self, info: NodeInfo) -> None:
        a = info.allocatable
        self.allocatable[info.slot] = (a.cpu, a.memory, a.ephemeral, a.pods)
        for name, value in a.scalars.items():
            self._scalar(self.scalar_allocatable, name)[info.slot] = value

    def _scalar(self, table: dict[str, NDArray[np.int64]], name: str) -> NDArray[np.int64]:
        values = table.get(name)
        if values is None:
            values = table[name] = np.zeros(self.capacity, dtype=np.int64)
        return values

    def _set_images(self, info: NodeInfo, node: Json) -> None:
        for image in (node.get("status") or {}).get("images") or ():
            size = int(image.get("sizeBytes") or 0)
            for name in image.get("names") or ():
                self.image_sizes.setdefault(name, size)
                self.image_nodes.setdefault(name, set()).add(info.slot)

    def _drop_image(self, image: str, slot: int) -> None:
        slots = self.image_nodes.get(image)
        if slots is not None:
            slots.discard(slot)
            if not slots:
                del self.image_nodes[image]
                self.image_sizes.pop(image, None)

    # pods ------------------------------------------------------------------------------------------------------------

    def reclassify(self) -> None:
        """Let every label of a pod count for its class from now on: a selector mentions one that was left out."""
        before = list(self.pods.items())
        if self.elsewhere is not None:
            self.elsewhere.classes_dropped()
        self.classes.volatile = frozenset()
        self.classes.forget()
        for key, info in before:
            self._take_off(info, key)
            fresh = self.info_of(info.pod)
            fresh.slot = info.slot
            fresh.terminating = info.terminating
            self._pods[key] = fresh
            self._put_on(fresh, key)
        for there in self.nominees.values():
            there.update({key: self.info_of(info.pod) for key, info in there.items()})

    def class_of(self, pod: Json) -> tuple[PodClass, str | None]:
        """A pod's class and the node it is pinned to, if any."""
        found = self.classes.of(pod)
        if self.classes.mentioned and self.classes.volatile:
            self.reclassify()
            return self.classes.of(pod)
        return found

    def info_of(self, pod: Json) -> PodInfo:
        """A pod's parsed facts; it need not be on a node. Raises ReadError for a malformed quantity."""
        cls, pin = self.class_of(pod)
        request = cls.request
        status = pod.get("status")
        if status and reports_resources(status):
            request = pod_request(pod["spec"], status)
        claims = claim_names(pod) if pod["spec"].get("volumes") else ()
        return PodInfo(pod, cls, pin, request, claims, pod["metadata"].get("deletionTimestamp") is not None)

    def add_pod(self, pod: Json) -> None:
        """Count a pod that is on a node (spec.nodeName), or replace what was known of it.

        Pods without a node and pods that have ended hold nothing: they are forgotten. Room is kept for those that
        are nominated to a node (status.nominatedNodeName).
        """
        key = key_of(pod)
        if key in self._pods or key in self._waits_for or key in self._nominated:
            self.remove_pod(key)
        name = pod["spec"].get("nodeName")
        if name and not has_ended(pod):
            self.enter(key, self.info_of(pod), name)
        elif not name and not has_ended(pod):
            nominated = (pod.get("status") or {}).get("nominatedNodeName")
            if nominated:
                self.nominate(key, self.info_of(pod), nominated)

    def enter(self, key: Key, info: PodInfo, node: str) -> None:
        """Count a pod, not counted so far, that came to a node; it waits for a node that is not known yet."""
        slot = self.nodes.get(node)
        if slot is None:
            self._wait(key, info, node)
        else:
            self._settle(key, info, slot)

    def enter_all(self, keys: Iterable[Key], infos: Sequence[PodInfo], nodes: Iterable[str]) -> None:
        """The same as `enter` for each of several pods of one class."""
        cls = infos[0].cls
        request, slot_of = cls.request, self.nodes.get
        pods, pods_at, versions = self._pods, self._pods_at, self.versions
        each = self.listener is not None or bool(request.resources.scalars)
        slots = []
        for key, info, node in zip(keys, infos, nodes, strict=True):
            slot = slot_of(node)
            if slot is None or each or info.request is not request or info.claims:
                self.enter(key, info, node)
                continue
            info.slot = slot
            pods[key] = pods_at[slot][key] = info
            versions[slot] += 1
            slots.append(slot)
            if cls.has_affinity:
                self._with_affinity[key] = info
        if slots:
            np.add.at(self.used, slots, cls.row)

    def enter_as(self, keys: Collection[Key], info: PodInfo, nodes: Iterable[str]) -> None:
        """The same for pods that have nothing of their own, on nodes that are known, before anybody listens: `info`
        stands for each of them till `part` is called."""
        slots = [self.nodes[node] for node in nodes]
        self._pods.update(dict.fromkeys(keys, info))
        pods_at, versions = self._pods_at, self.versions
        for key, slot in zip(keys, slots, strict=True):
            pods_at[slot][key] = info
            versions[slot] += 1
        if info.cls.has_affinity:
            self._with_affinity.update(dict.fromkeys(keys, info))
        np.add.at(self.used, slots, info.row)
        self.together[info] = (keys, slots)

    def replace(self, one: PodInfo, infos: Sequence[PodInfo]) -> None:
        """The pods that one stood for, in its order."""
        keys, slots = self.together.pop(one)
        for key, slot, info in zip(keys, slots, infos, strict=True):
            info.slot = slot
            self._pods[key] = self._pods_at[slot][key] = info
            if info.cls.has_affinity:
                self._with_affinity[key] = info
        if self.listener is not None:
            self.listener.pods_parted(keys, infos)

    def can_enter_as(self, info: PodInfo) -> bool:
        """Whether `enter_as` takes pods like this one."""
        return self.listener is None and not info.request.resources.scalars

    def _settle(self, key: Key, info: PodInfo, slot: int) -> None:
        info.slot = slot
        self._pods[key] = info
        self._put_on(info, key)

    def _wait(self, key: Key, info: PodInfo, node: str) -> None:
        self._waiting.setdefault(node, {})[key] = info
        self._waits_for[key] = node

    def mark_leaving(self, key: Key) -> None:
        """A pod is being deleted: spreading leaves it out, though it still holds its room."""
        info = self._pods.get(key)
        if info is not None and not info.terminating:
            if self.listener is not None:
                self.listener.pod_leaving(info)
            info.terminating = True

    def remove_pod(self, pod: Json | Key) -> None:
        """Forget a pod, given as object or (namespace, name). Unknown pods are ignored."""
        key = pod if isinstance(pod, tuple) else key_of(pod)
        info = self._pods.pop(key, None)
        if info is not None:
            self._take_off(info, key)
            return
        self.withdraw(key)
        node = self._waits_for.pop(key, None)
        if node is not None:
            waiting = self._waiting[node]
            del waiting[key]
            if not waiting:
                del self._waiting[node]

    def nominate(self, key: Key, info: PodInfo, node: str) -> None:
        """Keep room on a node for a pod that waits: others of no higher priority go where they leave it."""
        self.withdraw(key)
        self.nominees.setdefault(node, {})[key] = info
        self._nominated[key] = node

    def withdraw(self, key: Key) -> None:
        """No longer; a pod that is not nominated is no error."""
        node = self._nominated.pop(key, None)
        if node is not None:
            there = self.nominees[node]
            del there[key]
            if not there:
                del self.nominees[node]

    def _put_on(self, info: PodInfo, key: Key) -> None:
        slot = info.slot
        self._pods_at[slot][key] = info
        self.versions[slot] += 1
        used = self.used[slot]
        np.add(used, info.row, used)
        if info.request.resources.scalars:
            for name, value in info.request.resources.scalars.items():
                self._scalar(self.scalar_used, name)[slot] += value
        for claim in info.claims:
            self.claim_users.setdefault((key[0], claim), set()).add(key)
        if info.cls.has_affinity:
            self._with_affinity[key] = info
        if self.listener is not None:
            self.listener.pod_added(info, key)

    def _take_off(self, info: PodInfo, key: Key) -> None:
        slot = info.slot
        if self.listener is not None:
            self.listener.pod_removed(info, key)
        del self._pods_at[slot][key]
        self.versions[slot] += 1
        used = self.used[slot]
        np.subtract(used, info.row, used)
        if info.request.resources.scalars:
            for name, value in info.request.resources.scalars.items():
                self.scalar_used[name][slot] -= value
        for claim in info.claims:
            users = self.claim_users[key[0], claim]
            users.discard(key)
            if not users:
                del self.claim_users[key[0], claim]
        if info.cls.has_affinity:
            del self._with_affinity[key]

    # other objects ---------------------------------------------------------------------------------------------------

    def set_object(self, resource: str, obj: Json) -> None:
        """Add or replace an object of one of RESOURCES; other resources are ignored."""
        table = self.objects.get(resource)
        if table is None:
            return
        key = ("" if resource in _CLUSTER_WIDE else key_of(obj)[0], obj["metadata"]["name"])
        if resource == BUDGETS and (key not in table or table[key].get("spec") is not obj.get("spec")):
            self.budget_rules += 1
        table[key] = obj
        self._by_namespace.setdefault((resource, key[0]), {})[key[1]] = obj
        if resource == SERVICES:
            self._services.pop(key[0], None)
        if self.classes.volatile and resource in _SELECTING:
            selector = (obj.get("spec") or {}).get("selector")
            if selector and _mentions(selector, self.classes.volatile):
                self.reclassify()
        if self.listener is not None:
            self.listener.object_changed(resource, *key)

    def remove_object(self, resource: str, namespace: str | None, name: str) -> None:
        """Forget an object; unknown ones are ignored."""
        key = ("" if resource in _CLUSTER_WIDE else namespace or "default", name)
        if self.objects.get(resource, {}).pop(key, None) is None:
            return
        self._by_namespace[resource, key[0]].pop(name, None)
        if resource == BUDGETS:
            self.budget_rules += 1
        if resource == SERVICES:
            self._services.pop(key[0], None)
        if self.listener is not None:
            self.listener.object_changed(resource, *key)

    def get(self, resource: str, namespace: str, name: str) -> Json | None:
        """An object, or None; cluster-wide ones have the namespace ""."""
        return self.objects[resource].get((namespace, name))

    def of_namespace(self, resource: str, namespace: str) -> Iterable[Json]:
        """The objects of one namespace."""
        return self._by_namespace.get((resource, namespace), {}).values()

    def service_selectors(self, namespace: str, labels: Mapping[str, str]) -> list[Json]:
        """The selectors of the namespace's Services that can select these labels, and perhaps more."""
        known = self._services.get(namespace)
        if known is None:
            specs = [(service.get("spec") or {}).get("selector") for service in self.of_namespace(SERVICES, namespace)]
            known = self._services[namespace] = matching.ByLabel((s, s) for s in specs if s is not None)
        return known.candidates(labels)

    def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        """A namespace's labels; none when it is not known."""
        found = self.get(NAMESPACES, "", namespace)
        return (found or {"metadata": {}})["metadata"].get("labels") or {}


def key_of(obj: Json) -> Key:
    """(namespace, name) of an object."""
    metadata = obj["metadata"]
    return metadata.get("namespace") or "default", metadata["name"]


def _mentions(selector: Json, some: frozenset[str]) -> bool:
    """Whether a selector, of either kind, looks at one of the labels."""
    labels = selector.get("matchLabels") or ()
    expressions = selector.get("matchExpressions") or ()
    flat = some.isdisjoint(selector) and some.isdisjoint(labels)
    return not flat or any(e.get("key") in some for e in expressions)


def _grown(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """With room for an eighth more: placements read all of it, so it should not be twice what there is."""
    more = max(64, len(values) // 512 * 64)
    return np.concatenate((values, np.zeros((more, *values.shape[1:]), dtype=values.dtype)))


def _node_source(node: Json) -> tuple[Any, ...]:
    spec, status = node.get("spec") or {}, node.get("status") or {}
    return (
        node["metadata"].get("labels"), spec.get("taints"), spec.get("unschedulable"), status.get("allocatable"),
        status.get("images"),
    )  # fmt: skip
