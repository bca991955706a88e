"""What all controllers share: the work queue, the informer cache of pods, and the cluster they work on.

The cache keeps one small record per pod and counters per controller, so that a pod's whole life costs a few dictionary
look-ups; no controller scans the pods of the cluster.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from baton.logic.eviction import controller_of
from baton.twin.timefmt import parse
from baton.twin.timings import TwinSettings

if TYPE_CHECKING:
    from baton.twin.clock import VirtualClock
    from baton.twin.controllers.disruption import Budget
    from baton.twin.world import World

Obj = dict[str, Any]
Key = tuple[str, str]  # (namespace, name)
_By = TypeVar("_By", str, Key)

# what changed about a pod
ADDED, REMOVED, READY, TERMINATING, BOUND, PHASE, LABELS, FINISHED = 1, 2, 4, 8, 16, 32, 64, 128
EVERY = 255

# priorities of same-time work on the clock: timers first (0), then controllers, then the scheduler
CONTROLLERS, SCHEDULER = 2, 4

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_TWO = [a + b for a in _LETTERS for b in _LETTERS]
_THREE = [a + b for a in _TWO for b in _LETTERS]
_NAMES = len(_TWO) * len(_THREE)


class Recorder(Protocol):
    """Writes core/v1 Events (or nothing, in rehearsals)."""

    def __call__(self, obj: Obj, type_: str, reason: str, message: str, source: str) -> None: ...


class Gathered(Generic[_By]):
    """Pods by name or by key. Of several that are kept together (record.Several) one stands for all in `alike`, till
    somebody asks for `pods`."""

    __slots__ = ("alike", "several")

    def __init__(self) -> None:
        self.alike: dict[_By, Pod] = {}
        self.several: list[Any] = []

    @property
    def pods(self) -> dict[_By, Pod]:
        """Each as itself."""
        while self.several:
            self.several[-1].part()
        return self.alike


class Group(Gathered[str]):
    """The pods of one controller and the counts its sync needs. `active` and `ready` leave out terminating and finished
    pods, as FilterActivePods does."""

    __slots__ = ("active", "desired", "key", "kind", "name", "namespace", "ready", "rolling", "uid")

    def __init__(self, uid: str, kind: str, namespace: str, name: str) -> None:
        super().__init__()
        self.uid = uid
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.key: Key = (namespace, name)
        self.active = 0
        self.ready = 0
        self.desired = -1  # what the controller wants; -1 till it has synced
        self.rolling = False  # a roll-out is under way: every change matters


class Pod:
    """The informer's record of one pod. `obj` is the object as last stored; `key` stays valid after it is gone.

    `spec` may lack the node's name: `node` has it.
    """

    __slots__ = (
        "_obj",
        "budgets",
        "gone",
        "key",
        "labels",
        "name",
        "namespace",
        "node",
        "owner",
        "phase",
        "ready",
        "scheduling",
        "spec",
        "terminating",
    )

    def __init__(self, obj: Obj) -> None:
        meta = obj["metadata"]
        self.namespace: str = meta["namespace"]
        self.name: str = meta["name"]
        self.key: Key = (self.namespace, self.name)
        self._obj: Obj = obj
        self.labels: Mapping[str, str] = meta.get("labels") or {}
        self.spec: Obj = obj["spec"]
        self.node: str = self.spec.get("nodeName") or ""
        self.phase = "Pending"
        self.ready = False
        self.terminating = False
        self.gone = False
        self.owner: Group | None = None
        self.budgets: tuple[Budget, ...] = ()
        self.scheduling: Any = None  # the scheduling loop's own record while the pod waits

    @property
    def obj(self) -> Obj:
        """The object as last stored."""
        return self._obj

    @property
    def uid(self) -> str:
        """The object's."""
        uid: str = self._obj["metadata"]["uid"]
        return uid

    def hold(self, obj: Obj) -> None:
        """The object was stored anew."""
        self._obj = obj

    @property
    def finished(self) -> bool:
        return self.phase in ("Succeeded", "Failed")

    @property
    def grace(self) -> int:
        """Seconds that it is given to stop, unless the request says otherwise."""
        return grace_of(self.spec)

    @property
    def stops_within(self) -> float:
        """Seconds from the request to go till it is killed."""
        grace = self.obj["metadata"].get("deletionGracePeriodSeconds")
        return 30.0 if grace is None else float(grace)

    @property
    def pinned(self) -> str:
        """The node that a DaemonSet's pod is made for, "" for others."""
        return wanted_node(self.obj)

    def ready_since(self, default: float) -> float:
        """When the Ready condition last changed, seconds since the epoch."""
        for condition in self.obj.get("status", {}).get("conditions") or ():
            if condition.get("type") == "Ready" and condition.get("lastTransitionTime"):
                return float(parse(condition["lastTransitionTime"]))
        return default


def grace_of(spec: Obj) -> int:
    """terminationGracePeriodSeconds of a pod spec, with the API's default."""
    own = spec.get("terminationGracePeriodSeconds")
    return 30 if own is None else int(own)


def wanted_node(pod: Obj) -> str:
    """The node that a DaemonSet's pod is pinned to, "" for others."""
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and field.get("values"):
                return str(field["values"][0])
    return ""


def pinned(affinity: Obj, node: str) -> Obj:
    """The node affinity with every required term narrowed to one node by name."""
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = required.get("nodeSelectorTerms") or []
    narrowed = [{**t, "matchFields": [field]} for t in terms] or [{"matchFields": [field]}]
    return {**affinity, "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": narrowed}}


def status_of(obj: Obj) -> tuple[str, bool]:
    """(phase, ready) of a pod object."""
    status = obj.get("status")
    if not status:
        return "Pending", False
    ready = False
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Ready":
            ready = condition.get("status") == "True"
            break
    return status.get("phase") or "Pending", ready


class WorkQueue:
    """Keys to sync, first in first out, each at most once, all at the virtual time at which they were added."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._work: deque[Any] = deque()  # (controller, key); with a stamp before where there are bulk pods
        self._armed = False
        self.bulk: Any = None

    def add(self, controller: Controller, key: Any) -> None:
        if self.bulk is not None:
            self.bulk.add_work(controller, key)
            return
        self._work.append((controller, key))
        if not self._armed:
            self._armed = True
            self._clock.post(0.0, self._run, CONTROLLERS)

    def _run(self) -> None:
        if self.bulk is not None:
            self.bulk.run_work()
            return
        work = self._work
        while work:
            controller, key = work.popleft()
            controller.pending.discard(key)
            controller.sync(key)
        self._armed = False


class Controller:
    """Has keys to sync. Subclasses subscribe in `start` and put the world right in `sync`."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.clock = cluster.clock
        self.settings = cluster.settings
        self.pending: set[Any] = set()

    def enqueue(self, key: Any) -> None:
        if key not in self.pending:
            self.pending.add(key)
            self.cluster.queue.add(self, key)

    def sync(self, key: Any) -> None:
        raise NotImplementedError

    def start(self) -> None:
        """Read what exists and subscribe to what changes."""


PodListener = Callable[[Pod, int], None]
Together = Callable[[Sequence[Pod], Collection[Key], Sequence[str]], object]
"""Of pods, their keys and the names of their nodes."""


class PodCache:
    """Every pod of the world by key, by node and by controller; tells listeners what changed, in their order.

    A listener may count and queue but not write to the world: others have yet to hear of the change.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.by_key: dict[Key, Pod] = {}
        self.by_node: dict[str, dict[Key, Pod]] = {}
        self.by_namespace: dict[str, dict[str, Pod]] = {}
        self.groups: dict[str, Group] = {}
        self.budgets_for: Callable[[Pod], tuple[Budget, ...]] = lambda pod: ()
        self._listeners: list[tuple[PodListener, int, str]] = []
        self._chosen: dict[tuple[int, str], tuple[PodListener, ...]] = {}

    def listen(
        self,
        fn: PodListener,
        bits: int = EVERY,
        kind: str = "",
        trait: str = "",
        together: Together | None = None,
    ) -> None:
        """Call `fn(pod, bits)` when any of `bits` changed, for pods of controllers of this kind ("": of all pods).

        `trait`, "budgets" or "claims", leaves out pods that have none, where that is known. `together(pods)` may be
        called instead of `fn(pod, ADDED)` for each of several pods that were read, of one template and controller,
        which run on nodes, are not asked to go and mount no claims; where one stands for all (record.Several), their
        keys and nodes tell them apart."""
        self._listeners.append((fn, bits, kind))
        self._chosen.clear()

    def _tell(self, pod: Pod, bits: int) -> None:
        key = (bits, pod.owner.kind if pod.owner is not None else "")
        chosen = self._chosen.get(key)
        if chosen is None:
            chosen = self._chosen[key] = tuple(
                fn for fn, mask, kind in self._listeners if mask & bits and kind in ("", key[1])
            )
        for fn in chosen:
            fn(pod, bits)

    def start(self) -> None:
        for obj in list(self._world.items("pods")):
            self.on_pod("ADDED", "pods", obj, None)
        self._world.subscribe(self.on_pod, resources=["pods"])

    def at(self, key: Key) -> Pod | None:
        """The pod of that (namespace, name)."""
        return self.by_key.get(key)

    def has(self, key: Key) -> bool:
        """Whether the name is taken."""
        return key in self.by_key

    def anybody_on(self, node: str) -> bool:
        """Whether there are pods on the node; those in bulk do not count."""
        return bool(self.by_node.get(node))

    def alike(self) -> Iterable[Pod]:
        """Every pod, in order of creation; of several that are kept together one stands for all."""
        return self.by_key.values()

    def on_node(self, node: str) -> Iterable[Pod]:
        found = self.by_node.get(node)
        return list(found.values()) if found else ()

    def group(self, uid: str, kind: str, namespace: str, name: str) -> Group:
        found = self.groups.get(uid)
        if found is None:
            found = self.groups[uid] = Group(uid, kind, namespace, name)
        return found

    def forget_group(self, uid: str) -> None:
        found = self.groups.get(uid)
        if found is not None and not found.pods:
            del self.groups[uid]

    def on_pod(self, type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        if type_ == "MODIFIED":
            self._modified(obj, old)
        elif type_ == "ADDED":
            self._added(obj)
        else:
            self._deleted(obj)

    def _added(self, obj: Obj) -> None:
        pod = Pod(obj)
        meta = obj["metadata"]
        pod.phase, pod.ready = status_of(obj)
        pod.terminating = meta.get("deletionTimestamp") is not None
        self.by_key[pod.key] = pod
        self.by_namespace.setdefault(pod.namespace, {})[pod.name] = pod
        if pod.node:
            self.by_node.setdefault(pod.node, {})[pod.key] = pod
        if meta.get("ownerReferences"):
            self._join(pod, obj)
        pod.budgets = self.budgets_for(pod)
        self._count(pod, 1)
        self._tell(pod, ADDED)

    def _join(self, pod: Pod, obj: Obj) -> None:
        reference = controller_of(obj)
        if reference is not None:
            group = self.group(reference["uid"], reference["kind"], pod.namespace, reference["name"])
            group.alike[pod.name] = pod
            pod.owner = group

    def _modified(self, obj: Obj, old: Obj | None) -> None:
        meta = obj["metadata"]
        pod = self.by_key.get((meta["namespace"], meta["name"]))
        if pod is None or pod.uid != meta["uid"]:
            return
        before = pod.obj
        pod.hold(obj)
        bits = self._differs(pod, obj, before)
        if bits:
            self._tell(pod, bits)

    def _differs(self, pod: Pod, obj: Obj, before: Obj) -> int:
        """What changed between two objects of one pod, counted and noted in its record."""
        meta = obj["metadata"]
        bits = 0
        if obj.get("status") is not before.get("status"):
            phase, ready = status_of(obj)
            if phase != pod.phase:
                bits |= PHASE | FINISHED if phase in ("Succeeded", "Failed") else PHASE
            if ready != pod.ready:
                bits |= READY
        else:
            phase, ready = pod.phase, pod.ready
        terminating = meta.get("deletionTimestamp") is not None
        if terminating and not pod.terminating:
            bits |= TERMINATING
        if bits:
            self._count(pod, -1)
            pod.phase, pod.ready, pod.terminating = phase, ready, terminating
            self._count(pod, 1)
        if obj["spec"] is not before["spec"]:
            pod.spec = obj["spec"]
            node = obj["spec"].get("nodeName") or ""
            if node != pod.node:
                pod.node = node
                self.by_node.setdefault(node, {})[pod.key] = pod
                bits |= BOUND
        if meta is not before["metadata"]:
            bits |= self._meta_changed(pod, meta, before["metadata"], obj)
        return bits

    def rebudget(self, pod: Pod, budgets: tuple[Budget, ...]) -> None:
        """Other budgets select the pod now."""
        pod.budgets = budgets

    def _meta_changed(self, pod: Pod, meta: Obj, before: Obj, obj: Obj) -> int:
        """Labels or owners changed (adoption, orphaning): match budgets and groups anew."""
        labels = meta.get("labels") or {}
        owners = meta.get("ownerReferences")
        if owners is not before.get("ownerReferences") and owners != before.get("ownerReferences"):
            self._count(pod, -1)
            if pod.owner is not None:
                pod.owner.pods.pop(pod.name, None)
                pod.owner = None
            if owners:
                self._join(pod, obj)
            self._count(pod, 1)
            if labels == pod.labels:
                return LABELS
        if labels is pod.labels or labels == pod.labels:
            return 0
        pod.labels = labels
        return LABELS

    def _deleted(self, obj: Obj) -> None:
        meta = obj["metadata"]
        pod = self.by_key.get((meta["namespace"], meta["name"]))
        if pod is None or pod.uid != meta["uid"]:
            return
        pod.gone = True
        del self.by_key[pod.key]
        del self.by_namespace[pod.namespace][pod.name]
        if pod.node:
            self.by_node[pod.node].pop(pod.key, None)
        self._count(pod, -1)
        if pod.owner is not None:
            pod.owner.pods.pop(pod.name, None)
        self._tell(pod, REMOVED)

    @staticmethod
    def _count(pod: Pod, by: int) -> None:
        group = pod.owner
        if group is not None and not pod.terminating and pod.phase != "Failed" and pod.phase != "Succeeded":
            group.active += by
            if pod.ready:
                group.ready += by


class Cluster:
    """What controllers work on: the world, the clock, the cache of pods, one queue, one seeded generator per part."""

    def __init__(self, clock: VirtualClock, world: World, settings: TwinSettings, rng: Random) -> None:
        self.clock = clock
        self.world = world
        self.settings = settings
        self.queue = WorkQueue(clock)
        self.pods = PodCache(world)
        self.lean: Any = None
        """The same as LeanPods where pods are kept lean, see KubeTwin."""
        self.bulk: Any = None
        """Pods kept as rows of arrays, see twin/bulk."""
        self.record: Recorder = lambda obj, type_, reason, message, source: None
        self._seed = rng.getrandbits(64)
        self.names = self.rng("names")

    def rng(self, part: str) -> Random:
        """A generator of its own for each part, so that one part's draws never shift another's."""
        return Random(f"{self._seed}/{part}")

    def name_for_pod(self, namespace: str, prefix: str) -> str:
        """`prefix` and five random characters, as generateName does."""
        taken = self.pods.has
        while True:
            high, low = divmod(int(self.names.random() * _NAMES), len(_TWO))
            name = prefix + _THREE[high] + _TWO[low]
            if not taken((namespace, name)):
                return name
