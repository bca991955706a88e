"""Which pods can be moved in bulk, and which budgets go with them."""

from __future__ import annotations

from typing import (
    Any,
)

from baton.logic.eviction import (
    controller_of,
)
from baton.logic.scheduling.requests import (
    reports_resources,
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
    Pod,
)
from baton.twin.controllers.lean import (
    LeanPod,
)


def candidates(kube: Any) -> tuple[list[Group], list[Any]]:
    """The groups of ReplicaSets and DaemonSets whose pods can be rows, and the budgets of no other pods.

    Settled ones with running pods that go anywhere (or to their node), have no volumes to mount and wait for nothing;
    no ReplicaSets of kube-system (add-ons roll there) and no DaemonSets with budgets.
    """
    good: dict[str, Group] = {}
    for group in kube.pods.groups.values():
        plain = _plain_group if group.kind == "ReplicaSet" else _plain_daemons if group.kind == "DaemonSet" else None
        if plain is not None and group.pods and plain(kube, group):
            good[group.uid] = group
    while True:
        bad = [
            uid
            for uid, group in good.items()
            if not all(_plain_budget(kube, b, good) for b in next(iter(group.pods.values())).budgets)
        ]
        if not bad:
            break
        for uid in bad:
            del good[uid]
    budgets: dict[Key, Any] = {}
    for group in good.values():
        for budget in next(iter(group.pods.values())).budgets:
            budgets[budget.key] = budget
    return list(good.values()), list(budgets.values())


def _plain_group(kube: Any, group: Group) -> bool:
    if group.namespace == "kube-system" or group.rolling or group.desired != group.active:
        return False
    obj = kube.world.get("replicasets.apps", *group.key)
    if obj is None or obj["metadata"]["uid"] != group.uid or obj["metadata"].get("deletionTimestamp"):
        return False
    owner = controller_of(obj)
    if owner is not None and (group.namespace, owner["name"]) in kube.deployments.pending:
        return False
    budgets = next(iter(group.pods.values())).budgets
    priority = next(iter(group.pods.values())).spec.get("priority") or 0
    return all(_plain_pod(kube, p, budgets) and (p.spec.get("priority") or 0) == priority for p in group.pods.values())


def _plain_daemons(kube: Any, group: Group) -> bool:
    obj = kube.world.get("daemonsets.apps", *group.key)
    if obj is None or obj["metadata"]["uid"] != group.uid or obj["metadata"].get("deletionTimestamp"):
        return False
    priority = next(iter(group.pods.values())).spec.get("priority") or 0
    return bool(kube.daemonsets.settled(group)) and all(
        _plain_pod(kube, p, ()) and (p.spec.get("priority") or 0) == priority for p in group.pods.values()
    )


def _plain_pod(kube: Any, pod: Pod, budgets: tuple[Any, ...]) -> bool:
    assert isinstance(pod, LeanPod)
    spec, cls = pod.spec, pod.shape.cls
    return (
        bool(pod.node)
        and pod.phase in ("Pending", "Running")
        and not pod.terminating
        and pod.node in kube.scheduling.state.nodes
        and pod.budgets == budgets
        and pod.pin in ("", pod.node)
        and pod.shape.claims == ()
        and not pod.shape.mirror
        and cls.node_names is None
        and not cls.fit.scalars
        and not cls.request.resources.scalars
        and spec.get("schedulerName", "default-scheduler") == "default-scheduler"
        and not spec.get("schedulingGates")
        and (pod.base is None or not reports_resources(pod.base.get("status")))
    )


def _plain_budget(kube: Any, budget: Any, good: dict[str, Group]) -> bool:
    """Counted from bulk pods alone, with a scale that is known and stays."""
    if budget.disrupted or any(p.owner is None or p.owner.uid not in good for p in budget.pods.values()):
        return False
    if budget.denied[1] or sum(budget.controllers.values()) != len(budget.pods):
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
