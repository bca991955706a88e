"""Which pods can be moved in bulk, and which budgets go with them."""

from __future__ import annotations

from operator import (
    attrgetter,
)
from typing import (
    Any,
)

from baton.logic.eviction import (
    controller_of,
)
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
    """The groups of ReplicaSets and DaemonSets whose pods can be rows, and the budgets of no other pods.

    Settled ones with running pods that go anywhere (or to their node), have no volumes to mount and wait for nothing;
    no ReplicaSets of kube-system (add-ons roll there) and no DaemonSets with budgets.
    """
    _refresh_infos(kube)
    good: dict[str, Group] = {}
    for group in kube.pods.groups.values():
        plain = _plain_group if group.kind == "ReplicaSet" else _plain_daemons if group.kind == "DaemonSet" else None
        if plain is not None and group.alike and plain(kube, group):
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


def _plain_pods(kube: Any, group: Group, budgets: tuple[Any, ...]) -> bool:
    """Whether all of them are on nodes, without anything that rows do not hold, and alike in what a group holds."""
    pods, nodes = set(group.alike.values()), kube.scheduling.state.nodes
    if not all(p.node in nodes and p.pin in ("", p.node) and p.info is not None for p in pods):  # type: ignore[attr-defined]
        return False
    priorities = set()
    for shape, cls, phase, terminating, selected_by in set(map(_KIND, pods)):
        if terminating or phase not in ("Pending", "Running") or selected_by != budgets or not _plain_shape(shape):
            return False
        if any(p.info.request is not cls.request for p in pods if p.info.cls is cls):  # type: ignore[attr-defined]
            return False  # one reports what it was resized to
        priorities.add(cls.priority)
    return len(priorities) == 1


def _plain_shape(shape: PodShape) -> bool:
    cls, spec = shape.cls, shape.spec
    if shape.claims != () or shape.mirror or cls.node_names is not None:
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
