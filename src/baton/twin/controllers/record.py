"""What a rehearsal keeps of one pod, of several that are alike, and of the template they are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from baton.logic.eviction import MIRROR_ANNOTATION, controller_of
from baton.logic.scheduling.infos import PodInfo, claim_names
from baton.logic.scheduling.podclass import PodClass
from baton.twin.controllers.base import Key, Obj, Pod, grace_of
from baton.twin.controllers.reading import common_claims
from baton.twin.controllers.rendering import render
from baton.twin.timefmt import rfc3339

if TYPE_CHECKING:
    from baton.twin.controllers.lean import Lane
    from baton.twin.controllers.tables import Tables


class PodShape:
    """What the pods made from one template have in common, read once. `claims` None: they are named after each pod."""

    __slots__ = ("claims", "cls", "daemon", "epoch", "facts", "grace", "labels", "meta", "mirror", "spec")

    def __init__(self, obj: Obj, cls: PodClass, epoch: int) -> None:
        meta, spec = obj["metadata"], obj["spec"]
        self.meta: Obj = meta
        self.spec: Obj = spec
        self.labels: Obj = meta.get("labels") or {}
        self.grace = grace_of(spec)
        self.mirror = MIRROR_ANNOTATION in (meta.get("annotations") or {})
        self.facts: Any = None  # what the kubelets read from the containers
        self.claims = common_claims(spec)
        owner = controller_of(obj)
        self.daemon: str = owner["name"] if owner is not None and owner.get("kind") == "DaemonSet" else ""
        self.cls = cls
        self.epoch = epoch


class LeanPod(Pod):
    """A pod's record. Times are seconds of cluster time, 0 for what has not happened in the twin."""

    __slots__ = ("_made", "base", "bound_at", "changed_at", "info", "lane", "limit", "made_at", "order",
                 "pin", "serial", "shape", "started_at", "told_at")  # fmt: skip

    lane: Lane
    scheduling: Any
    _made: Obj | None

    def __init__(self, key: Key, shape: PodShape, labels: Obj, pin: str, base: Obj | None = None) -> None:
        self.namespace, self.name = key
        self.key = key
        self.labels = labels
        self.shape = shape
        self.pin = pin
        self.phase = "Pending"
        self.ready = False
        self.gone = False
        self.owner = None
        self.budgets = ()
        self.scheduling = None
        self.base = self._made = base  # the object as it was read or written from outside
        if base is None:
            self.spec, self.node, self.terminating = shape.spec, "", False
        else:
            self.spec = base["spec"]
            self.node = self.spec.get("nodeName") or ""
            self.terminating = base["metadata"].get("deletionTimestamp") is not None
        self.info: PodInfo | None = None  # what the scheduler's view keeps of it
        self.limit = -1  # seconds of grace once the twin asked it to go
        self.serial = 0
        self.order = 0  # among the pods that were bound, where there are bulk pods
        self.made_at = self.told_at = self.bound_at = self.started_at = self.changed_at = 0.0

    @property
    def uid(self) -> str:
        """As read; made up for a pod that the twin made."""
        if self.base is not None:
            return str(self.base["metadata"].get("uid", ""))
        return f"00000000-0000-4000-8000-{self.serial:012x}"

    @property
    def obj(self) -> Obj:
        """The object as an API server would show it, made anew after a change."""
        if self._made is None:
            self._made = render(self)
        return self._made

    @property
    def grace(self) -> int:
        return self.shape.grace

    @property
    def stops_within(self) -> float:
        if self.limit >= 0:
            return float(self.limit)
        grace = self.base["metadata"].get("deletionGracePeriodSeconds") if self.base is not None else None
        return 30.0 if grace is None else float(grace)

    @property
    def pinned(self) -> str:
        return self.pin

    def ready_since(self, default: float) -> float:
        if self.changed_at:
            return float(int(self.changed_at))  # an API server keeps whole seconds
        return super().ready_since(default)

    @property
    def start_time(self) -> str:
        """status.startTime, "" before it started."""
        return start_time(self.base, self.started_at)

    @property
    def claims(self) -> tuple[str, ...]:
        """Names of its claims."""
        known = self.shape.claims
        return claim_names(self.obj) if known is None else known


class Several(LeanPod):
    """Pods of a ReplicaSet that were read one after the other and are alike: running, ready, and with nothing of their
    own but name, node and object. A record like the first one's stands for each of them, wherever pods are kept, till
    somebody asks for one: nearly all become rows (twin/bulk) before that."""

    __slots__ = ("_keeper", "_labels", "bases", "keys")

    def __init__(self, keeper: Tables, keys: list[Key], shape: PodShape, labels: Obj, bases: list[Obj]) -> None:
        super().__init__(keys[0], shape, labels, "", bases[0])
        self._keeper = keeper
        self._labels = labels
        self.keys = keys
        self.bases = bases
        self.phase, self.ready = "Running", True

    def part(self) -> None:
        """Each gets a record of its own."""
        self._keeper.part(self)

    def each(self) -> list[LeanPod]:
        """Records of their own."""
        made = []
        for key, base in zip(self.keys, self.bases, strict=True):
            pod = LeanPod(key, self.shape, self._labels, "", base)
            pod.phase, pod.ready, pod.owner = self.phase, self.ready, self.owner
            made.append(pod)
        return made


def start_time(base: Obj | None, started_at: float) -> str:
    """status.startTime of a pod: as read, or of when the twin started it; "" before."""
    read = str((base.get("status") or {}).get("startTime") or "") if base is not None else ""
    return read or (rfc3339(started_at) if started_at else "")
