"""Which pods can be moved in bulk, and which budgets go with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import (
    attrgetter,
)
from typing import (
    Any,
)

from baton.logic.eviction import (
    controller_of,
)
from baton.logic.scheduling.volumes import csi_identity
from baton.twin.bulk.layout import (
    MAX_NUMBER,
    MAX_SHARE,
    MIN_NUMBER,
    MIN_SHARE,
    NO_RULE,
)
from baton.twin.controllers.base import (
    Group,
    Key,
    Obj,
)
from baton.twin.controllers.lean import (
    DEFAULT_SCHEDULER,
    PodShape,
)

_KIND = attrgetter("shape", "info.cls", "phase", "terminating", "budgets")


def candidates(kube: Any) -> tuple[list[Group], list[Any]]:
    """The groups of ReplicaSets, DaemonSets and StatefulSets whose pods can be rows, and the budgets of no other pods.

    Settled ones with running pods that go anywhere (or to their node) and wait for nothing; they have no volumes to
    mount, or those of a StatefulSet's ordinal which nobody else mounts. None of kube-system (add-ons roll there) but
    DaemonSets, and no DaemonSets with budgets.
    """
    _refresh_infos(kube)
    plain: dict[str, Callable[[Any, Group], bool]] = {
        "ReplicaSet": _plain_group,
        "DaemonSet": _plain_daemons,
        "StatefulSet": partial(_plain_statefulset, waiting=_mounted_elsewhere(kube)),
    }
    good: dict[str, Group] = {}
    for group in kube.pods.groups.values():
        test = plain.get(group.kind)
        if test is not None and group.alike and test(kube, group):
            good[group.uid] = group
    while True:
        bad = [
            uid
            for uid, group in good.items()
            if not all(_plain_budget(kube, b, good) for b in next(iter(group.alike.values())).budgets)
        ]
        if not bad:
            break
        for uid in bad:
            del good[uid]
    budgets: dict[Key, Any] = {}
    for group in good.values():
        for budget in next(iter(group.alike.values())).budgets:
            budgets[budget.key] = budget
    return list(good.values()), list(budgets.values())


def _refresh_infos(kube: Any) -> None:
    """What the scheduler keeps of pods on nodes, after classes were drawn anew."""
    if kube.scheduling.state.classes.epoch:
        for pod in kube.pods.by_key.values():
            if pod.node:
                kube.cluster.lean.info(pod)


def _plain_group(kube: Any, group: Group) -> bool:
    if group.namespace == "kube-system" or group.rolling or group.desired != group.active:
        return False
    obj = kube.world.get("replicasets.apps", *group.key)
    if obj is None or obj["metadata"]["uid"] != group.uid or obj["metadata"].get("deletionTimestamp"):
        return False
    owner = controller_of(obj)
    if owner is not None and (group.namespace, owner["name"]) in kube.deployments.pending:
        return False
    return _plain_pods(kube, group, next(iter(group.alike.values())).budgets)


def _plain_daemons(kube: Any, group: Group) -> bool:
    obj = kube.world.get("daemonsets.apps", *group.key)
    if obj is None or obj["metadata"]["uid"] != group.uid or obj["metadata"].get("deletionTimestamp"):
        return False
    return bool(kube.daemonsets.settled(group)) and _plain_pods(kube, group, ())


def _mounted_elsewhere(kube: Any) -> set[Any]:
    """Claims and CSI volumes of pods without a node: the scheduler's view counts those of the others."""
    state = kube.scheduling.state
    found: set[Any] = set()
    for pod in kube.cluster.lean.alike():
        if not pod.node:
            for name in pod.claims:
                found |= {(pod.namespace, name), csi_identity(state, pod.namespace, name)}
    return found


def _plain_statefulset(kube: Any, group: Group, waiting: set[Any]) -> bool:
    obj = kube.world.get("statefulsets.apps", *group.key)
    if group.namespace == "kube-system" or obj is None or obj["metadata"]["uid"] != group.uid:
        return False
    if obj["metadata"].get("deletionTimestamp") or not kube.statefulsets.settled(obj, group):
        return False
    claims = kube.statefulsets.claims_of(obj)
    if claims is None:
        return False
    common, own = claims
    pods: list[Any] = list(group.pods.values())
    if not _plain_pods(kube, group, pods[0].budgets) or any(p.ready and p.phase != "Running" for p in pods):
        return False
    return all(_mounts_alone(kube, p, {*common, *(f"{c}-{p.name}" for c in own)}, waiting) for p in pods)


def _mounts_alone(kube: Any, pod: Any, claims: set[str], waiting: set[Any]) -> bool:
    """Whether a pod mounts these claims, all of them bound to volumes that it uses alone."""
    info = pod.info
    if set(info.claims) != claims:
        return False
    if not claims:
        return True
    state, fast = kube.scheduling.state, kube.scheduling.scheduler.fast
    bound = fast.bound_claims(info)
    if bound is None or any(b.identity in waiting for b in bound if b.identity is not None):
        return False
    keys = [(pod.namespace, name) for name in claims]
    if any(key in waiting or len(state.claim_users[key]) > 1 for key in keys):
        return False
    return bool(fast.planner.index.attachments.alone(info.volumes))


def _plain_pods(kube: Any, group: Group, budgets: tuple[Any, ...]) -> bool:
    """Whether all of them are on nodes, without anything that rows do not hold, and alike in what a group holds."""
    pods, nodes = set(group.alike.values()), kube.scheduling.state.nodes
    if not all(p.node in nodes and p.pin in ("", p.node) and p.info is not None for p in pods):  # type: ignore[attr-defined]
        return False
    if any(p.info.request is not p.info.cls.request for p in pods):  # type: ignore[attr-defined]
        return False  # one reports what it was resized to
    priorities, seats = set(), group.kind == "StatefulSet"
    for shape, cls, phase, terminating, selected_by in set(map(_KIND, pods)):
        if terminating or phase not in ("Pending", "Running") or selected_by != budgets:
            return False
        if not (seats or shape.claims == ()) or not _plain_shape(shape):
            return False
        priorities.add(cls.priority)
    return len(priorities) == 1


def _plain_shape(shape: PodShape) -> bool:
    cls, spec = shape.cls, shape.spec
    if shape.claims is None or shape.mirror or cls.node_names is not None:
        return False
    if cls.fit.scalars or cls.request.resources.scalars or spec.get("schedulingGates"):
        return False
    return spec.get("schedulerName", DEFAULT_SCHEDULER) == DEFAULT_SCHEDULER  # type: ignore[no-any-return]


def _plain_budget(kube: Any, budget: Any, good: dict[str, Group]) -> bool:
    """Counted from bulk pods alone, with a scale that is known and stays."""
    if budget.disrupted or any(p.owner is None or p.owner.uid not in good for p in budget.alike.values()):
        return False
    if budget.denied[1] or sum(budget.controllers.values()) != len(budget.alike):
        return False
    kind, value = budget.spec.get("maxUnavailable"), budget.spec.get("minAvailable")
    for rule in (kind, value):
        if isinstance(rule, str) and not (rule.endswith("%") and rule[:-1].isdigit()):
            return False
    if not budget.from_scale:
        return True
    scales = [kube.disruption._scale_of(good[uid]) for uid in budget.controllers]
    return all(s is not None for s in scales) and len({s[0] for s in scales if s is not None}) == len(scales)


def rule_of(spec: Obj) -> tuple[int, int]:
    """(kind, value) of a budget's rule."""
    for field, number, share in (("maxUnavailable", MAX_NUMBER, MAX_SHARE), ("minAvailable", MIN_NUMBER, MIN_SHARE)):
        value = spec.get(field)
        if value is not None:
            return (number, value) if isinstance(value, int) else (share, int(value[:-1]))
    return NO_RULE, 0
