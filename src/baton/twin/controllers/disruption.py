"""The disruption controller: budgets whose counts follow the pods one by one, and the eviction's claim on them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from baton.errors import ReadError
from baton.logic.eviction import (
    DISRUPTED_POD_TIMEOUT,
    Wanted,
    allowed_disruptions,
    controller_of,
    needs_scale,
    selector_matches,
    wanted,
)
from baton.logic.scheduling.matching import ByLabel
from baton.twin.controllers.base import (
    ADDED,
    REMOVED,
    Cluster,
    Controller,
    Gathered,
    Group,
    Key,
    Obj,
    Pod,
)
from baton.twin.timefmt import parse, rfc3339

PDBS = "poddisruptionbudgets.policy"
_SCALED = {
    "ReplicaSet": "replicasets.apps",
    "StatefulSet": "statefulsets.apps",
    "Deployment": "deployments.apps",
    "ReplicationController": "replicationcontrollers",
}
_UNSCALED = {"DaemonSet": "daemonsets.apps", "Job": "jobs.batch"}


class Budget(Gathered[Key]):
    """One PodDisruptionBudget: the counts as they are now, and the status as last published (what evictions read)."""

    __slots__ = (
        "allowed",
        "always_allow",
        "controllers",
        "counted",
        "denied",
        "desired",
        "disrupted",
        "expected",
        "from_scale",
        "healthy",
        "key",
        "name",
        "obj",
        "scale",
        "spec",
        "stale",
    )

    def __init__(self, obj: Obj) -> None:
        super().__init__()
        meta = obj["metadata"]
        self.key: Key = (meta["namespace"], meta["name"])
        self.name: str = meta["name"]
        self.counted: set[Key] = set()  # healthy right now
        self.controllers: dict[str, int] = {}  # group uid -> matched pods
        self.disrupted: dict[str, float] = {}
        self.stale = True
        self.scale: tuple[int, str] | None = None  # summed, with the sync error; None: to be looked up
        self.read(obj)
        status = obj.get("status") or {}
        self.expected: int = status.get("expectedPods", 0)
        self.desired: int = status.get("desiredHealthy", 0)
        self.healthy: int = status.get("currentHealthy", 0)
        self.allowed: int = status.get("disruptionsAllowed", 0)
        self.denied: tuple[str, str] = ("", "")

    def read(self, obj: Obj) -> None:
        self.obj = obj
        self.spec: Obj = obj.get("spec") or {}
        self.always_allow = self.spec.get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
        self.from_scale = needs_scale(self.spec)
        self.scale = None

    @property
    def in_flight(self) -> int:
        return len(self.disrupted)

    def join(self, pod: Pod) -> bool:
        """Whether the status may change."""
        self.alike[pod.key] = pod
        news = not self.from_scale
        if pod.owner is not None:
            uid = pod.owner.uid
            known = self.controllers.get(uid, 0)
            self.controllers[uid] = known + 1
            if not known:
                self.scale = None
                news = True
        return self.recount(pod) or news

    def join_all(self, pods: Sequence[Pod], keys: Collection[Key]) -> bool:
        """The same for pods of one controller that run and are not asked to go."""
        if self.disrupted:
            return any([self.join(pod) for pod in pods])
        news = self.join(pods[0])
        self.alike.update(zip(keys, pods, strict=True))
        self.counted.update([key for key, pod in zip(keys, pods, strict=True) if pod.ready])
        owner = pods[0].owner
        if owner is not None:
            self.controllers[owner.uid] += len(pods) - 1
        return news or any(p.ready for p in pods)

    def leave(self, pod: Pod) -> bool:
        """Whether the status may change."""
        if self.alike.pop(pod.key, None) is None:
            return False
        news = not self.from_scale or pod.key in self.counted or pod.name in self.disrupted
        self.counted.discard(pod.key)
        self.disrupted.pop(pod.name, None)
        if pod.owner is not None:
            left = self.controllers.get(pod.owner.uid, 1) - 1
            if left:
                self.controllers[pod.owner.uid] = left
            else:
                self.controllers.pop(pod.owner.uid, None)
                self.scale = None
                news = True
        return news

    def recount(self, pod: Pod) -> bool:
        """Whether the status may change."""
        news = False
        if pod.terminating and self.disrupted:
            news = self.disrupted.pop(pod.name, None) is not None
        healthy = pod.ready and not pod.terminating and pod.name not in self.disrupted
        if healthy == (pod.key in self.counted):
            return news
        if healthy:
            self.counted.add(pod.key)
        else:
            self.counted.remove(pod.key)
        return True


class DisruptionController(Controller):
    """Keeps every budget's status. `raised` hears of a budget that now allows more than before."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.budgets: dict[Key, Budget] = {}
        self._by_namespace: dict[str, list[Budget]] = {}
        self._by_label: dict[str, ByLabel[Budget]] = {}  # the same, read when first needed
        self._matches: dict[str, tuple[Any, tuple[Budget, ...]]] = {}  # group uid -> (labels, budgets)
        self.raised: list[Callable[[Budget], None]] = []
        self._unpublished: dict[Key, Budget] = {}
        cluster.pods.budgets_for = self.matching

    def start(self) -> None:
        for obj in list(self.world.items(PDBS)):
            self._on_budget("ADDED", PDBS, obj, None)
        self.world.subscribe(self._on_budget, resources=[PDBS])
        self.world.subscribe(self._on_scale, resources=sorted(_SCALED.values()))

    # --- what changed

    def matching(self, pod: Pod) -> tuple[Budget, ...]:
        """The budgets that select the pod. The pods of one controller nearly always carry equal labels."""
        candidates = self._by_namespace.get(pod.namespace)
        if not candidates:
            return ()
        uid = pod.owner.uid if pod.owner is not None else ""
        known = self._matches.get(uid)
        if known is not None and (known[0] is pod.labels or known[0] == pod.labels):
            return known[1]
        by_label = self._by_label.get(pod.namespace)
        if by_label is None:
            by_label = self._by_label[pod.namespace] = ByLabel((_wanted(b), b) for b in candidates)
        possible = by_label.candidates(pod.labels)
        found = tuple(b for b in possible if selector_matches(b.spec.get("selector"), pod.labels))
        if uid:
            self._matches[uid] = (pod.labels, found)
        return found

    def on_labels(self, pod: Pod, bits: int) -> None:
        """Other budgets may select the pod now."""
        self._rematch(pod)

    def on_pod(self, pod: Pod, bits: int) -> None:
        """Count it anew in its budgets."""
        for budget in pod.budgets:
            if bits & ADDED:
                news = budget.join(pod)
            elif bits & REMOVED:
                news = budget.leave(pod)
            else:
                news = budget.recount(pod)
            if news:
                self.enqueue(budget.key)

    def on_added(self, pods: Sequence[Pod], keys: Collection[Key], nodes: Sequence[str]) -> None:
        """The same for new pods of one controller, which the same budgets select."""
        for budget in pods[0].budgets:
            if budget.join_all(pods, keys):
                self.enqueue(budget.key)

    def _rematch(self, pod: Pod) -> None:
        before, now = pod.budgets, self.matching(pod)
        for budget in before:
            budget.leave(pod)
            self.enqueue(budget.key)
        self.cluster.pods.rebudget(pod, now)
        for budget in now:
            budget.join(pod)
            self.enqueue(budget.key)

    def _on_budget(self, type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        key = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        budget = self.budgets.get(key)
        if type_ == "MODIFIED" and budget is not None:
            same = obj.get("spec") is budget.spec or obj.get("spec") == budget.spec
            budget.read(obj)
            if same:
                return
            budget.stale = True
        elif type_ == "ADDED":
            budget = self.budgets[key] = Budget(obj)
            self._adopt_disrupted(budget)
            self._by_namespace.setdefault(key[0], []).append(budget)
        elif type_ == "DELETED" and budget is not None:
            del self.budgets[key]
            self._by_namespace[key[0]].remove(budget)
            self._unpublished.pop(key, None)
        self._matches.clear()
        self._by_label.pop(key[0], None)
        for pod in list(self.cluster.pods.by_namespace.get(key[0], {}).values()):
            self._rematch(pod)
        if type_ != "DELETED":
            self.enqueue(key)
        elif budget is not None:
            self._raise(budget)

    def _adopt_disrupted(self, budget: Budget) -> None:
        """Evictions approved before the twin began still count until they time out."""
        for name, approved in ((budget.obj.get("status") or {}).get("disruptedPods") or {}).items():
            at = parse(approved)
            budget.disrupted[name] = at
            self.clock.call_at(at + DISRUPTED_POD_TIMEOUT, lambda name=name: self._expire(budget, name))  # type: ignore[misc]

    def _expire(self, budget: Budget, name: str) -> None:
        if budget.disrupted.pop(name, None) is not None:
            pod = budget.pods.get((budget.key[0], name))
            if pod is not None:
                budget.recount(pod)
            self.enqueue(budget.key)

    def _on_scale(self, type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        if type_ == "MODIFIED" and old is not None:
            if obj.get("spec") is old.get("spec") or obj["spec"].get("replicas") == old["spec"].get("replicas"):
                return
        elif type_ == "MODIFIED":
            return
        for budget in self._by_namespace.get(obj["metadata"].get("namespace", ""), ()):
            budget.scale = None
            self.enqueue(budget.key)

    # --- the eviction's side

    def claim(self, budget_name: str, pod: Pod) -> None:
        """An approved eviction takes one disruption before the pod is deleted, as the eviction subresource does."""
        budget = self.budgets[(pod.namespace, budget_name)]
        budget.allowed -= 1
        budget.disrupted[pod.name] = self.clock.now()
        budget.counted.discard(pod.key)
        if budget.allowed == 0:
            budget.denied = ("InsufficientPods", "")
        self._publish(budget)

    # --- the controller's side

    def sync(self, key: Key) -> None:
        budget = self.budgets.get(key)
        if budget is None:
            return
        if budget.scale is None:
            budget.scale = self._scale(budget) if budget.from_scale else (0, "")
        scale, problem = budget.scale
        allowed, healthy, desired, stale = budget.allowed, budget.healthy, budget.desired, budget.stale
        if problem:
            budget.allowed, budget.denied = 0, ("SyncFailed", problem)
        else:
            try:
                want = wanted(budget.spec, scale, len(budget.alike))
            except ReadError as error:
                want = Wanted(0, 0)
                problem = error.message
            budget.expected, budget.desired = want
            budget.healthy = len(budget.counted)
            budget.allowed = 0 if problem else allowed_disruptions(budget.healthy, want)
            budget.denied = ("", "") if budget.allowed else ("SyncFailed" if problem else "InsufficientPods", problem)
            budget.stale = False
        self._publish(budget)
        more = budget.allowed > allowed or budget.healthy > healthy
        if more or budget.desired < desired or budget.stale != stale:
            self._raise(budget)

    def _raise(self, budget: Budget) -> None:
        for fn in self.raised:
            fn(budget)

    def _scale(self, budget: Budget) -> tuple[int, str]:
        """Sum of the scales of the distinct controllers, or the sync error."""
        scales: dict[str, int] = {}
        for uid in budget.controllers:
            group = self.cluster.pods.groups[uid]
            if group.kind in _UNSCALED:
                return 0, f"{_UNSCALED[group.kind]} does not implement the scale subresource"
            found = self._scale_of(group)
            if found is None:
                pod = next(p for p in budget.alike.values() if p.owner is group)
                return 0, f'found no controllers for pod "{pod.name}"'
            scales[found[0]] = found[1]
        if self.settings.events and len(budget.alike) > sum(budget.controllers.values()):
            self.cluster.record(budget.obj, "Warning", "UnmanagedPods", _unmanaged(budget), "controllermanager")
        return sum(scales.values()), ""

    def _scale_of(self, group: Group) -> tuple[str, int] | None:
        resource = _SCALED.get(group.kind)
        obj = self.world.get(resource, group.namespace, group.name) if resource else None
        if obj is None or obj["metadata"]["uid"] != group.uid:
            # a cluster read without this kind: its pods are all that is known of its scale
            unknown = resource is None or self.world.count(resource) == 0
            return (group.uid, len(group.alike)) if unknown else None
        if group.kind == "ReplicaSet":
            owner = controller_of(obj)
            if owner is not None and owner["kind"] == "Deployment":
                above = self.world.get("deployments.apps", group.namespace, owner["name"])
                if above is not None and above["metadata"]["uid"] == owner["uid"]:
                    obj = above
        replicas = obj["spec"].get("replicas")
        return obj["metadata"]["uid"], 1 if replicas is None else int(replicas)

    def _publish(self, budget: Budget) -> None:
        if self.settings.live_status:
            self._write(budget)
        else:
            self._unpublished[budget.key] = budget

    def refresh(self) -> None:
        """Write the statuses that were held back."""
        held, self._unpublished = self._unpublished, {}
        if self.cluster.bulk is not None:
            held.update({b.key: b for b in self.cluster.bulk.changed_budgets()})
        for budget in held.values():
            self._write(budget)

    def _write(self, budget: Budget) -> None:
        obj = budget.obj
        before = obj.get("status") or {}
        reason, message = budget.denied
        allowed = budget.allowed > 0
        status: Obj = {
            "currentHealthy": budget.healthy,
            "desiredHealthy": budget.desired,
            "disruptionsAllowed": budget.allowed,
            "expectedPods": budget.expected,
            "observedGeneration": obj["metadata"].get("generation", 1)
            if not budget.stale
            else before.get("observedGeneration", 0),
        }
        if budget.disrupted:
            status["disruptedPods"] = {name: rfc3339(at) for name, at in budget.disrupted.items()}
        condition: Obj = {
            "type": "DisruptionAllowed",
            "status": "True" if allowed else "False",
            "reason": "SufficientPods" if allowed else reason or "InsufficientPods",
            "message": "" if allowed else message,
            "observedGeneration": status["observedGeneration"],
        }
        last: Obj = next((c for c in before.get("conditions") or () if c.get("type") == "DisruptionAllowed"), {})
        same = last.get("status") == condition["status"] and "lastTransitionTime" in last
        condition["lastTransitionTime"] = last["lastTransitionTime"] if same else rfc3339(self.clock.now())
        status["conditions"] = [condition]
        if status != before:
            self.world.update(PDBS, {**obj, "status": status})


def _wanted(budget: Budget) -> Obj:
    """Labels that all its pods have."""
    return (budget.spec.get("selector") or {}).get("matchLabels") or {}


def _unmanaged(budget: Budget) -> str:
    return (
        f"Pods selected by this PodDisruptionBudget (selector: {budget.spec.get('selector')}) were found to be "
        "unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined "
        "behavior. To "
        'account for these pods please set ".spec.minAvailable" field of the PDB to an integer value.'
    )
