"""Pods read from a cluster become records. What the pods of one template share is read from the first of them.

A snapshot holds 150,000 pods of some 3,000 templates. A pod that is like one before but for its name, node, status and
uid takes over what was found for that one; others are read by themselves. Either way all hear of the pods in the same
order (tests/twin/test_twin_reading.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from baton.logic.eviction import MIRROR_ANNOTATION, controller_of
from baton.logic.scheduling.infos import claim_names
from baton.logic.scheduling.matching import Json
from baton.logic.scheduling.podclass import NAMED, PodClass, without_mounts, without_pin
from baton.logic.scheduling.requests import reports_resources
from baton.logic.scheduling.state import ClusterState
from baton.twin.controllers.base import Group, Key, Obj, status_of
from baton.twin.world import already_exists

if TYPE_CHECKING:
    from baton.twin.controllers.lean import LeanPod, LeanPods, PodShape


_OF_THE_POD = frozenset(("nodeName", "hostname", "affinity", "volumes"))
"""Of a spec, what siblings may differ in: an affinity by the node it is pinned to, volumes by claims."""


class Template:
    """What pods that are alike have in common."""

    __slots__ = ("_affinity", "_common", "_spec", "_values", "_written", "claims", "cls", "epoch", "group", "labels",
                 "many", "namespace", "owners", "shape", "volatile")  # fmt: skip

    def __init__(
        self,
        obj: Obj,
        affinity: Json | None,
        cls: PodClass,
        shape: PodShape,
        group: Group | None,
        epoch: int,
        volatile: frozenset[str],
    ) -> None:
        meta, spec = obj["metadata"], obj["spec"]
        self.namespace: str = meta["namespace"]
        self.labels: Obj = meta.get("labels") or {}
        self.owners = meta.get("ownerReferences")
        self.cls = cls
        self.shape = shape
        self.claims = shape.claims
        self.group = group
        self.epoch = epoch
        self.many = group is not None and group.kind == "ReplicaSet" and shape.claims == ()
        """Whether one can stand for several that run."""
        self.volatile = volatile if group is not None and group.kind in NAMED else frozenset()
        self._spec = spec
        self._affinity = affinity
        self._common: Obj | None = None
        names = [k for k in spec if k not in _OF_THE_POD]
        self._written: Callable[[Obj], Any] = itemgetter(*names) if names else len
        self._values = self._written(spec)

    def fits(self, meta: Obj, spec: Obj, affinity: Json | None) -> bool:
        """Whether a pod, its affinity without the node it is pinned to, is of this template but for its claims."""
        labels = meta.get("labels") or {}
        return (
            (labels is self.labels or labels == self.labels or self._alike(labels))
            and meta["namespace"] == self.namespace
            and meta.get("ownerReferences") == self.owners
            and self.shape.mirror == (MIRROR_ANNOTATION in (meta.get("annotations") or ()))
            and (self._as_written(spec, affinity) or self._reads_alike(spec, affinity))
        )

    def _as_written(self, spec: Obj, affinity: Json | None) -> bool:
        """Whether a spec is the first pod's, word for word: most are, and that is told quickly."""
        try:
            same = len(spec) == len(self._spec) and self._written(spec) == self._values
        except KeyError:
            return False
        return same and affinity == self._affinity

    def _reads_alike(self, spec: Obj, affinity: Json | None) -> bool:
        if self._common is None:
            self._common = _common(self._spec, self._affinity)
        return _common(spec, affinity) == self._common

    def _alike(self, labels: Obj) -> bool:
        """But for those that pods of some controllers have of their own."""
        return bool(self.volatile) and _without(labels, self.volatile) == _without(self.labels, self.volatile)


def _without(labels: Obj, some: frozenset[str]) -> Obj:
    return {k: v for k, v in labels.items() if k not in some}


def _common(spec: Obj, affinity: Json | None) -> Obj:
    """A pod's spec but for its node, and for what is named after the pod: its claims and the volume of its token."""
    common = {**spec, "nodeName": "", "hostname": "", "affinity": affinity, "volumes": None}
    if spec.get("volumes"):
        for kind in ("containers", "initContainers"):
            common[kind] = without_mounts(spec.get(kind))
    return common


def common_claims(spec: Obj) -> tuple[str, ...] | None:
    """Names of the claims that a pod mounts; None when some are named after it."""
    volumes = spec.get("volumes")
    if not volumes:
        return ()
    return None if any(v.get("ephemeral") is not None for v in volumes) else claim_names({"spec": spec})


class Reader:
    """Brings pods into LeanPods, in order, those of one template that nothing is to be done about together."""

    def __init__(self, pods: LeanPods, state: ClusterState) -> None:
        self._pods = pods
        self._state = state
        self._templates: dict[str, Template] = {}  # the last of each controller, by its uid
        self._run: list[LeanPod] = []  # pods of one template that are still to be told of
        self._keys: list[Key] = []  # the same of pods that one can stand for: keys, objects, nodes
        self._bases: list[Obj] = []
        self._nodes: list[str] = []

    def read(self, objects: Iterable[Obj]) -> None:
        """All of these. Raises ApiError AlreadyExists."""
        pods, run, keys = self._pods, self._run, self._keys
        record, by_key, nodes = pods.record, pods.by_key, self._state.nodes
        template: Template | None = None
        status: Any = None
        phase, ready, plain = "", False, False
        for obj in objects:
            meta, spec = obj["metadata"], obj["spec"]
            affinity, pin = without_pin(spec) if "affinity" in spec else (None, None)
            if template is None or not template.fits(meta, spec, affinity):
                self._tell(template)
                template = self._template(obj, affinity)
            shape = template.shape
            if template.claims != () or "volumes" in spec:
                shape = self._shape(template, obj)
            if status is None or obj.get("status") is not status:
                status = obj.get("status")
                phase, ready = status_of(obj)
                plain = phase == "Running" and ready and not reports_resources(status)
            key: Key = (meta["namespace"], meta["name"])
            if plain and template.many and shape is template.shape and pin is None:
                node = spec.get("nodeName")
                if node in nodes and meta.get("deletionTimestamp") is None:
                    if run:
                        self._tell(template)
                    keys.append(key)
                    self._bases.append(obj)
                    self._nodes.append(node)
                    continue
            if keys:
                self._tell(template)
            if key in by_key:
                raise already_exists("pods", key[1])
            labels = (meta.get("labels") or {}) if template.volatile else template.labels
            pod = record(key, shape, labels, pin or "", obj)
            pod.phase, pod.ready, pod.owner = phase, ready, template.group
            by_key[key] = pod
            if phase == "Running" and shape.claims == () and pod.owner is not None and pod.node and not pod.terminating:
                run.append(pod)
                continue
            self._tell(template)
            pods.enter(pod)
        self._tell(template)

    def _tell(self, template: Template | None) -> None:
        """Of those of this template."""
        if self._run:
            run = self._run[:]
            self._run.clear()
            self._pods.enter_all(run)
        elif self._keys and template is not None:
            one = self._pods.several(self._keys[:], template.shape, template.labels, self._bases[:])
            one.owner = template.group
            nodes = self._nodes[:]
            for column in (self._keys, self._bases, self._nodes):
                column.clear()
            self._pods.enter_several(one, nodes)

    def _shape(self, template: Template, obj: Obj) -> PodShape:
        """The shape of a pod of the template that mounts volumes."""
        if common_claims(obj["spec"]) == template.claims:
            return template.shape
        stale = template.epoch != self._state.classes.epoch
        return self._pods.shape_of(obj, self._state.class_of(obj)[0] if stale else template.cls)

    def _template(self, obj: Obj, affinity: Json | None) -> Template:
        """What fits the pod: the last of its controller, or a new one."""
        meta, spec = obj["metadata"], obj["spec"]
        owner = controller_of(obj)
        uid = owner["uid"] if owner is not None else ""
        known = self._templates.get(uid)
        epoch = self._state.classes.epoch
        if known is not None and known.epoch == epoch and known.fits(meta, spec, affinity):
            return known
        cls, _ = self._state.class_of(obj)
        group = None
        if owner is not None:
            group = self._pods.group(uid, owner["kind"], meta["namespace"], owner["name"])
        classes, shape = self._state.classes, self._pods.shape_of(obj, cls)
        made = Template(obj, affinity, cls, shape, group, classes.epoch, classes.volatile)
        if uid:
            self._templates[uid] = made
        return made
