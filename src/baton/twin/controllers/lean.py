"""Pods without their objects: what a rehearsal keeps of 150,000 of them.

A pod is a small record that shares a PodShape with its siblings; the object that an API server would show is made when
somebody asks for it. Controllers, kubelets and the scheduler work on these records as on the full twin's, and hear of
the same changes in the same order, so both tell one story (tests/twin/test_twin_lean.py holds them against each other).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from baton.logic.eviction import MIRROR_ANNOTATION
from baton.logic.scheduling.infos import PodInfo
from baton.logic.scheduling.podclass import VOLATILE_LABELS, PodClass
from baton.logic.scheduling.requests import pod_request, reports_resources
from baton.logic.scheduling.state import ClusterState
from baton.twin.controllers.base import (
    ADDED,
    BOUND,
    EVERY,
    FINISHED,
    LABELS,
    PHASE,
    READY,
    REMOVED,
    TERMINATING,
    Group,
    Key,
    Obj,
    Pod,
    PodListener,
    Together,
    grace_of,
)
from baton.twin.controllers.reading import Reader, common_claims
from baton.twin.controllers.record import LeanPod, PodShape, Several, start_time
from baton.twin.controllers.tables import Tables
from baton.twin.world import already_exists, not_found

if TYPE_CHECKING:
    from baton.twin.clock import VirtualClock
    from baton.twin.world import World


__all__ = ["DEFAULT_SCHEDULER", "LeanPod", "LeanPods", "PodShape", "Several", "start_time"]

DEFAULT_SCHEDULER = "default-scheduler"


class Lane(dict[int, tuple[PodListener, ...]]):
    """What changed -> who hears of it, for the pods of one kind of controller, with and without budgets and claims."""

    def __init__(self, pods: LeanPods, kind: str, budgets: bool, claims: bool) -> None:
        super().__init__()
        self._pods = pods
        self._kind = kind
        self._has = {"": True, "budgets": budgets, "claims": claims}

    def __missing__(self, bits: int) -> tuple[PodListener, ...]:
        chosen = self[bits] = self._pods.chosen(self._kind, self._has, bits)
        return chosen


class LeanPods(Tables):
    """The pods of a cluster that is rehearsed. The world reads them here and sends here what is written to it."""

    record = LeanPod

    def __init__(self, world: World, clock: VirtualClock, state: ClusterState) -> None:
        super().__init__(world)
        self._clock = clock
        self._state = state
        self._read: list[Obj] | None = []  # objects stored before `start`
        self._shapes: dict[Any, PodShape] = {}
        self._by_owner: dict[Any, tuple[Obj, PodShape]] = {}
        self._class_of: dict[Any, tuple[Obj, int, PodClass]] = {}
        self._lanes: dict[tuple[str, bool, bool], Lane] = {}
        self._traits: dict[PodListener, str] = {}
        self._together: dict[PodListener, Together] = {}
        state.part = self.part_all
        self._serial = 0
        self._watchers = world.keep_pods(self)
        self.bulk: Any = None
        """Pods kept as rows of arrays, see twin/bulk."""

    # --- who hears of what

    def listen(
        self,
        fn: PodListener,
        bits: int = EVERY,
        kind: str = "",
        trait: str = "",
        together: Together | None = None,
    ) -> None:
        super().listen(fn, bits, kind)
        self._traits[fn] = trait
        if together is not None:
            self._together[fn] = together
        for lane in self._lanes.values():
            lane.clear()

    def _tell(self, pod: Pod, bits: int) -> None:
        assert isinstance(pod, LeanPod)
        for fn in pod.lane[bits]:
            fn(pod, bits)

    def chosen(self, kind: str, has: Mapping[str, bool], bits: int) -> tuple[PodListener, ...]:
        """The listeners for pods of controllers of this kind, with these traits."""
        every = bool(bits & LABELS)  # a pod may get its first budget by it
        return tuple(
            fn
            for fn, mask, of in self._listeners
            if mask & bits and of in ("", kind) and (every or has[self._traits[fn]])
        )

    def _enter_lane(self, pod: LeanPod) -> None:
        key = (pod.owner.kind if pod.owner is not None else "", bool(pod.budgets), pod.shape.claims != ())
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(self, *key)
        pod.lane = lane

    def rebudget(self, pod: Pod, budgets: Any) -> None:
        super().rebudget(pod, budgets)
        assert isinstance(pod, LeanPod)
        self._enter_lane(pod)

    # --- pods that come

    def start(self) -> None:
        read, self._read = self._read or [], None
        Reader(self, self._state).read(read)

    def load(self, obj: Obj) -> Obj:
        """A pod made by hand. Raises ApiError AlreadyExists."""
        namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
        if self.has((namespace, name)) or (self._read and self.find(namespace, name) is not None):
            raise already_exists("pods", name)
        if self._read is not None:
            self._read.append(obj)
        else:
            Reader(self, self._state).read((obj,))
        return obj

    def load_all(self, objects: Iterable[Obj]) -> None:
        """Pods read from a cluster, before `start`: that one is there twice is found then."""
        assert self._read is not None
        self._read.extend(objects)

    def shape_of(self, obj: Obj, cls: PodClass) -> PodShape:
        """Pods that were read share a shape where all that the twin asks of their template is equal."""
        spec = obj["spec"]
        mirror = MIRROR_ANNOTATION in (obj["metadata"].get("annotations") or {})
        scheduler = (spec.get("schedulerName", DEFAULT_SCHEDULER), bool(spec.get("schedulingGates")))
        key = (cls, grace_of(spec), mirror, common_claims(spec), scheduler)
        found = self._shapes.get(key)
        if found is None:
            found = self._shapes[key] = PodShape(obj, cls, self._state.classes.epoch)
        return found

    def shape(self, key: Any, template: Obj, build: Callable[[], Obj], kin: Any = None) -> PodShape:
        """The shape of what a controller makes under `key` from `template`; `build()` gives its first pod. What is made
        of equal `kin` differs in names and volumes only."""
        known = self._by_owner.get(key)
        if known is not None and known[0] is template:
            return known[1]
        obj = build()
        made = PodShape(obj, self._class_for(obj, template, kin), self._state.classes.epoch)
        self._by_owner[key] = (template, made)
        return made

    def _class_for(self, obj: Obj, template: Obj, kin: Any) -> PodClass:
        """The class of a new pod, the same for its kin while no selector tells them apart."""
        classes = self._state.classes
        known = self._class_of.get(kin) if kin is not None and classes.volatile else None
        if known is not None and known[0] is template and known[1] == classes.epoch:
            return known[2]
        cls = self._state.class_of(obj)[0]
        if kin is not None:
            self._class_of[kin] = (template, classes.epoch, cls)
        return cls

    def make(self, shape: PodShape, name: str, group: Group, pin: str = "") -> None:
        """A Pending pod of a controller. The name must be free."""
        pod = LeanPod((group.namespace, name), shape, shape.labels, pin)
        pod.made_at = self._clock.now()
        self._serial += 1
        pod.serial = self._serial
        pod.owner = group
        self.enter(pod)

    def enter(self, pod: LeanPod) -> None:
        """A new pod: everybody hears of it."""
        if pod.node:
            self._put_on_node(pod)
        if pod.owner is not None:
            pod.owner.alike[pod.name] = pod
        self._by_key[pod.key] = pod
        names = self._by_namespace.get(pod.namespace)
        if names is None:
            names = self._by_namespace[pod.namespace] = {}
        names[pod.name] = pod
        pod.budgets = self.budgets_for(pod)
        self._enter_lane(pod)
        self._count(pod, 1)
        if self._watchers:
            self._report("ADDED", pod, None)
        for fn in pod.lane[ADDED]:
            fn(pod, ADDED)

    def enter_all(self, pods: list[LeanPod]) -> None:
        """The same as `enter` for pods of one shape and controller that run on nodes and mount no claims."""
        one = pods[0]
        group = one.owner
        assert group is not None
        if len(pods) == 1 or self._watchers:
            for pod in pods:
                self.enter(pod)
            return
        one.budgets = budgets = self.budgets_for(one)
        self._enter_lane(one)
        lane, by_key, members = one.lane, self._by_key, group.alike
        names = self._by_namespace.setdefault(one.namespace, {})
        ready = 0
        for pod in pods:
            name, key = pod.name, pod.key
            by_key[key] = names[name] = members[name] = pod
            pod.budgets, pod.lane = budgets, lane
            ready += pod.ready
        keys, nodes = [p.key for p in pods], [p.node for p in pods]
        self._put_on_nodes(keys, pods, nodes)
        group.active += len(pods)
        group.ready += ready
        for fn in lane[ADDED]:
            together = self._together.get(fn)
            if together is not None:
                together(pods, keys, nodes)
            else:
                for pod in pods:
                    fn(pod, ADDED)

    def enter_several(self, one: Several, nodes: list[str]) -> None:
        """The same for pods that one stands for; `nodes` are known to the scheduler. Raises ApiError AlreadyExists."""
        group, keys = one.owner, dict.fromkeys(one.keys, one)
        assert group is not None
        names = dict.fromkeys([name for _, name in one.keys], one)
        taken = self._by_namespace.setdefault(one.namespace, {})
        if len(names) < len(one.keys) or not taken.keys().isdisjoint(names):
            twice = next(n for i, (_, n) in enumerate(one.keys) if n in taken or (one.namespace, n) in one.keys[:i])
            raise already_exists("pods", twice)
        one.budgets = self.budgets_for(one)
        self._enter_lane(one)
        told = one.lane[ADDED]
        info = self.info(one)
        if (
            len(keys) == 1
            or self._watchers
            or not self._state.can_enter_as(info)
            or any(fn not in self._together for fn in told)
        ):
            one.info = None
            pods = one.each()
            self._by_key.update(zip(keys, pods, strict=True))
            self.enter_all(pods)
            return
        self._by_key.update(keys)
        taken.update(names)
        group.alike.update(names)
        every = [one] * len(keys)
        self._put_on_nodes(keys, every, nodes)
        group.active += len(keys)
        group.ready += len(keys)
        group.several.append(one)
        for budget in one.budgets:
            budget.several.append(one)
        self._several[one] = None
        for fn in told:
            self._together[fn](every, keys, nodes)

    def part(self, one: Several) -> None:
        """Each gets a record of its own, in its place."""
        info = one.info
        assert info is not None
        self.forget_several(one)
        pods = one.each()
        for pod in pods:
            pod.budgets, pod.lane = one.budgets, one.lane
            key, name = pod.key, pod.name
            self._by_key[key] = self._by_node[pod.node][key] = self._by_namespace[pod.namespace][name] = pod
            one.owner.alike[name] = pod  # type: ignore[union-attr]
            for budget in pod.budgets:
                budget.alike[key] = pod
        self._state.replace(info, self.infos(pods))

    def several(self, *facts: Any) -> Several:
        """One that will stand for others."""
        return Several(self, *facts)

    # --- what becomes of them

    def bind(self, pod: LeanPod, node: str) -> None:
        """The scheduler chose a node."""
        before = pod.obj if self._watchers else None
        if self.bulk is not None:
            pod.order = self.bulk.next_order()
        pod.node = node
        pod.bound_at = self._clock.now()
        pod._made = None
        self._put_on_node(pod)
        self._changed(pod, BOUND, before)

    def run(self, pod: LeanPod, ready: bool) -> None:
        """The kubelet reports it Running, and Ready or not."""
        before = pod.obj if self._watchers else None
        now = self._clock.now()
        bits = 0
        if pod.phase != "Running":
            pod.phase = "Running"
            pod.started_at = now
            pod.changed_at = now
            bits = PHASE
        if ready != pod.ready:
            bits |= READY
            pod.ready = ready
            pod.changed_at = now
            if pod.owner is not None and not pod.terminating:
                pod.owner.ready += 1 if ready else -1
        pod._made = None
        self._changed(pod, bits, before)

    def finish(self, pod: LeanPod, phase: str) -> None:
        """Its containers have ended."""
        before = pod.obj if self._watchers else None
        self._count(pod, -1)
        bits = PHASE | FINISHED | (READY if pod.ready else 0)
        pod.phase, pod.ready = phase, False
        pod.changed_at = self._clock.now()
        pod._made = None
        self._changed(pod, bits, before)

    def mark(self, pod: LeanPod, grace: int) -> None:
        """Somebody asks it to go within `grace` seconds."""
        before = pod.obj if self._watchers else None
        self._count(pod, -1)
        pod.terminating = True
        pod.limit = grace
        pod.told_at = self._clock.now()
        pod._made = None
        self._changed(pod, TERMINATING, before)

    def drop(self, pod: LeanPod) -> None:
        """It is gone."""
        before = pod.obj if self._watchers else None
        pod.gone = True
        del self._by_key[pod.key]
        del self._by_namespace[pod.namespace][pod.name]
        if pod.node:
            del self._by_node[pod.node][pod.key]
        self._count(pod, -1)
        if pod.owner is not None:
            del pod.owner.alike[pod.name]
        if before is not None:
            self._report("DELETED", pod, before)
        for fn in pod.lane[REMOVED]:
            fn(pod, REMOVED)
        pod.info = None  # which refers back

    def _changed(self, pod: LeanPod, bits: int, before: Obj | None) -> None:
        if before is not None:
            self._report("MODIFIED", pod, before)
        if bits:
            for fn in pod.lane[bits]:
                fn(pod, bits)

    def _report(self, kind: str, pod: LeanPod, before: Obj | None) -> None:
        """To those who watch objects."""
        for fn in tuple(self._watchers):
            fn(kind, "pods", pod.obj, before)

    # --- the world's side

    def find(self, namespace: str, name: str) -> Obj | None:
        """The object, None when there is none."""
        if self._read is not None:
            metas = ((o["metadata"], o) for o in self._read)
            return next((o for m, o in metas if m["name"] == name and m["namespace"] == namespace), None)
        pod = self.at((namespace, name))
        return None if pod is None else pod.obj

    def at(self, key: Key) -> Pod | None:
        """The pod of that (namespace, name), also one in bulk."""
        pod = self.own(key)
        return self.bulk.find(key) if pod is None and self.bulk is not None else pod

    def on_node(self, node: str) -> Iterable[Pod]:
        """The pods there, in the order of binding."""
        if self.bulk is None:
            return super().on_node(node)
        return self.bulk.merged(node, self._by_node.get(node, {}).values())  # type: ignore[no-any-return]

    def objects(self, namespace: str | None = None) -> Iterable[Obj]:
        """The objects, in order of creation."""
        if self._read is not None:
            return [o for o in self._read if namespace in (None, "", o["metadata"]["namespace"])]
        pods = self.by_namespace.get(namespace, {}).values() if namespace else self.by_key.values()
        found = [p.obj for p in pods]
        if self.bulk is not None:
            found += self.bulk.objects(namespace)
        return found

    def is_owner(self, uid: str) -> bool:
        """Whether pods of a controller with this uid were ever there."""
        return uid in self.groups

    def owned(self, uid: str) -> Iterable[Obj]:
        """The objects of one controller's pods."""
        group = self.groups.get(uid)
        if group is None:
            return ()
        pods = group.pods if self.bulk is None or group.alike else self.bulk.pods_of(group)
        return [p.obj for p in pods.values()]

    def count(self) -> int:
        more = self.bulk.count() if self.bulk is not None else 0
        return len(self._by_key) + len(self._read or ()) + more

    def replace(self, obj: Obj) -> Obj:
        """An object written from outside. Raises ApiError NotFound."""
        meta = obj["metadata"]
        pod = self.own((meta["namespace"], meta["name"]))
        if not isinstance(pod, LeanPod):
            raise not_found("pods", meta["name"])
        before = pod.obj
        if obj["spec"] is not before["spec"]:
            pod.shape = self.shape_of(obj, self._state.class_of(obj)[0])
        pod.base = pod._made = obj
        pod.info = None
        pod.limit, pod.bound_at, pod.started_at, pod.changed_at = -1, 0.0, 0.0, 0.0
        bits = self._differs(pod, obj, before)
        self._changed(pod, bits, before if self._watchers else None)
        return obj

    def mark_deleted(self, namespace: str, name: str, grace: int) -> Obj:
        """As World.mark_deleted."""
        pod = self._there(namespace, name)
        if not pod.terminating:
            self.mark(pod, grace)
        elif grace < pod.stops_within:
            pod.limit, pod._made = grace, None
        return pod.obj

    def take(self, namespace: str, name: str) -> Obj:
        """Out with it; returns the object as it was last."""
        pod = self._there(namespace, name)
        obj = pod.obj
        self.drop(pod)
        return obj

    def _there(self, namespace: str, name: str) -> LeanPod:
        pod = self.own((namespace, name))
        if not isinstance(pod, LeanPod):
            raise not_found("pods", name)
        return pod

    # --- the scheduler's side

    def info(self, pod: LeanPod) -> PodInfo:
        """What the scheduler's view keeps of the pod."""
        state, shape = self._state, pod.shape
        info = pod.info
        if info is None or info.cls is not shape.cls or shape.epoch != state.classes.epoch:
            pod.info = info = self._new_info(pod)
        return info

    def infos(self, pods: Sequence[Pod]) -> list[PodInfo]:
        """`info` of new pods of one shape that mount no claims."""
        one = pods[0]
        assert isinstance(one, LeanPod)
        shape = one.shape
        cls = shape.cls
        if shape.epoch != self._state.classes.epoch:
            return [self.info(p) for p in pods if isinstance(p, LeanPod)]
        found = []
        status: Any = None
        request = cls.request
        for pod in pods:
            assert isinstance(pod, LeanPod) and pod.base is not None
            if pod.base.get("status") is not status:
                status = pod.base.get("status")
                request = pod_request(pod.spec, status) if reports_resources(status) else cls.request
            pod.info = info = PodInfo(pod, cls, pod.pin or None, request, (), pod.terminating)
            found.append(info)
        return found

    def _new_info(self, pod: LeanPod) -> PodInfo:
        state, shape = self._state, pod.shape
        if shape.epoch != state.classes.epoch:
            if any(label in pod.labels for label in VOLATILE_LABELS):
                return state.info_of(pod.obj)
            shape.cls = state.class_of({"metadata": shape.meta, "spec": shape.spec})[0]
            shape.epoch = state.classes.epoch
        request = shape.cls.request
        if pod.base is not None and reports_resources(pod.base.get("status")):
            request = pod_request(pod.base["spec"], pod.base["status"])
        claims = pod.claims
        if claims and self.bulk is not None:
            self.bulk.mounts(pod.namespace, claims)
        return PodInfo(pod, shape.cls, pod.pin or None, request, claims, pod.terminating)
