"""Nodes and their groups as the watch shows them: who is ready, cordoned, being emptied, old or new, replaced.

Every count is kept incrementally, so that one event costs the same in a cluster of five nodes and of five thousand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from baton.errors import BatonError
from baton.logic.quantity import parse_bytes, parse_cpu_millis
from baton.model.nodes import IMAGE_LABEL, NODE_GROUP_LABEL, ZONE_LABEL, info, labels, owner, ready
from baton.observe import events as kinds

Emit = Callable[[str, str, dict[str, Any]], None]
PodKey = tuple[str, str]
TEMPLATE_LABEL = "eks.amazonaws.com/sourceLaunchTemplateVersion"
GROUP_PREFIX = "node group "


class NodeState:
    """One node. `evictable` are the pods that a drain must still move; `kind` is what it boots (image, launch template
    version, kubelet): nodes of the latest kind of their group are the new ones."""

    __slots__ = (
        "allocatable",
        "cordoned_since",
        "created",
        "deleting",
        "drained",
        "draining_since",
        "evictable",
        "group",
        "image",
        "initial",
        "kind",
        "kubelet",
        "name",
        "ready",
        "reason",
        "since",
        "state",
        "zone",
    )

    def __init__(self, name: str, group: GroupState, at: float) -> None:
        self.name = name
        self.group = group
        self.since = at
        self.created = at
        self.initial = False
        self.ready = False
        self.deleting = False
        self.cordoned_since: float | None = None
        self.draining_since: float | None = None
        self.drained = False
        self.image = self.kubelet = self.zone = self.reason = ""
        self.kind: tuple[str, ...] = ()
        self.evictable: set[PodKey] = set()
        self.allocatable: tuple[float, float] = (0.0, 0.0)
        self.state = ""

    @property
    def is_ready(self) -> bool:
        return self.ready and not self.deleting

    def derive(self) -> str:
        """The state to show: not-ready hides the rest, since nobody can drain past it quickly."""
        if not self.is_ready:
            return "not-ready"
        if self.draining_since is not None:
            return "drained" if self.drained else "draining"
        return "cordoned" if self.cordoned_since is not None else "ready"


class GroupState:
    """What replaces the node: a managed node group, a Karpenter pool, nobody."""

    __slots__ = (
        "allowed",
        "counts",
        "desired",
        "kinds",
        "last_told",
        "managed",
        "name",
        "newest",
        "newest_created",
        "nodes",
        "progress_at",
        "undecided",
        "updating",
    )

    def __init__(self, name: str, managed: bool, at: float) -> None:
        self.name = name
        self.managed = managed
        self.desired: int | None = None
        self.allowed = 1
        self.nodes: dict[str, NodeState] = {}
        self.counts: Counter[str] = Counter()
        self.kinds: Counter[tuple[str, ...]] = Counter()  # kinds that were ever seen -> nodes of it now
        self.newest: tuple[str, ...] = ()
        self.newest_created = float("-inf")
        self.undecided: list[NodeState] = []  # gone before a node of another kind was seen
        self.updating = False
        self.progress_at = at
        self.last_told: dict[str, Any] = {}

    @property
    def new(self) -> int:
        return self.kinds[self.newest] if len(self.kinds) > 1 else 0

    def wanted(self) -> int:
        """Nodes that should be ready while nothing rolls: as AWS says, else as many as there were."""
        return len(self.nodes) if self.desired is None else self.desired


class Nodes:
    """All nodes. `emit(kind, subject, data)` takes what is worth telling; `initial` holds until the first look ends."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.nodes: dict[str, NodeState] = {}
        self.groups: dict[str, GroupState] = {}
        self.dirty: set[str] = set()
        self._remembered: dict[str, Mapping[str, Any]] = {}

    def remember(self, nodes: Mapping[str, Mapping[str, Any]], at: float) -> None:
        """Nodes (name -> the data of their last node.seen, added or changed) that were there when watching stopped."""
        self._remembered = dict(nodes)
        for data in nodes.values():
            name = str(data.get("group", ""))
            self.group(name, not name.startswith(("karpenter", "self-managed", "fargate")), at).kinds[_kind(data)] += 0

    def reconcile(self) -> None:
        """After the first look of a resumed run: tell which nodes went while nobody watched."""
        for name, data in sorted(self._remembered.items()):
            group = self.groups[str(data.get("group", ""))]
            if name in self.nodes:
                continue
            generation = "new" if len(group.kinds) > 1 and _kind(data) == group.newest else "old"
            gone = {"group": group.name, "generation": generation, "podsLeft": 0, "unwatched": True}
            self._emit(kinds.NODE_REMOVED, name, gone)
            if _kind(data) != group.newest:
                self._emit(kinds.NODE_REPLACED, name, {"group": group.name, "image": str(data.get("image", ""))})
        self._remembered = {}

    def group(self, name: str, managed: bool, at: float) -> GroupState:
        found = self.groups.get(name)
        if found is None:
            found = self.groups[name] = GroupState(name, managed, at)
        return found

    def generation(self, node: NodeState) -> str:
        group = node.group
        return "new" if len(group.kinds) > 1 and node.kind == group.newest else "old"

    # --- what the watch says

    def on_node(self, type_: str, obj: Mapping[str, Any], at: float, created: float, *, initial: bool) -> None:
        name = obj["metadata"]["name"]
        node = self.nodes.get(name)
        if type_ == "DELETED":
            if node is not None:
                self._remove(node, at)
            return
        if node is None:
            self._add(obj, at, created, initial)
            return
        self._update(node, obj, at)

    def _add(self, obj: Mapping[str, Any], at: float, created: float, initial: bool) -> None:
        who = owner(obj)
        managed = who.startswith(GROUP_PREFIX)
        group = self.group(labels(obj)[NODE_GROUP_LABEL] if managed else who, managed, at)
        node = NodeState(obj["metadata"]["name"], group, at)
        node.created, node.initial = created, initial
        self._read(node, obj, at)
        self.nodes[node.name] = node
        group.nodes[node.name] = node
        group.kinds[node.kind] += 1
        if created >= group.newest_created:
            group.newest, group.newest_created = node.kind, created
        self._count(node, 1)
        node.state = node.derive()
        arrived = not initial or (bool(self._remembered) and node.name not in self._remembered)
        self._emit(kinds.NODE_ADDED if arrived else kinds.NODE_SEEN, node.name, self._facts(node))
        if arrived:
            group.progress_at = at
            if node.is_ready:
                self._emit(kinds.NODE_READY, node.name, {"group": group.name})
            self._decide(group)

    def _update(self, node: NodeState, obj: Mapping[str, Any], at: float) -> None:
        before = (node.ready, node.cordoned_since is not None, node.kind)
        self._count(node, -1)
        self._read(node, obj, at)
        self._count(node, 1)
        if node.kind != before[2]:
            node.group.kinds[before[2]] -= 1
            node.group.kinds[node.kind] += 1
            node.group.newest = node.kind
            self._emit(kinds.NODE_CHANGED, node.name, self._facts(node))
        if node.ready != before[0]:
            node.group.progress_at = at
            data = {"group": node.group.name}
            if not node.ready:
                data["reason"] = node.reason
            self._emit(kinds.NODE_READY if node.ready else kinds.NODE_NOT_READY, node.name, data)
        cordoned = node.cordoned_since is not None
        if cordoned != before[1]:
            node.group.progress_at = at
            data = {"group": node.group.name, "generation": self.generation(node)}
            self._emit(kinds.NODE_CORDONED if cordoned else kinds.NODE_UNCORDONED, node.name, data)
            if not cordoned:
                self._stop_draining(node)
        self._restate(node, at)

    def _read(self, node: NodeState, obj: Mapping[str, Any], at: float) -> None:
        node.ready = ready(obj)
        node.reason = "" if node.ready else _why_not_ready(obj)
        node.deleting = bool(obj["metadata"].get("deletionTimestamp"))
        cordoned = bool(obj.get("spec", {}).get("unschedulable"))
        if cordoned and node.cordoned_since is None:
            node.cordoned_since = at
        elif not cordoned:
            node.cordoned_since = None
        has = labels(obj)
        node.image = has.get(IMAGE_LABEL, "")
        node.zone = has.get(ZONE_LABEL, "")
        node.kubelet = str(info(obj).get("kubeletVersion", ""))
        node.kind = (node.image, has.get(TEMPLATE_LABEL, ""), node.kubelet)
        node.allocatable = _allocatable(obj.get("status", {}).get("allocatable") or {}) or node.allocatable

    def _remove(self, node: NodeState, at: float) -> None:
        group = node.group
        generation = self.generation(node)
        self._count(node, -1)
        group.kinds[node.kind] -= 1
        del self.nodes[node.name], group.nodes[node.name]
        group.progress_at = at
        data = {"group": group.name, "generation": generation, "podsLeft": len(node.evictable)}
        self._emit(kinds.NODE_REMOVED, node.name, data)
        if node.kind != group.newest:
            self._replaced(node)
        elif len(group.kinds) == 1:
            group.undecided.append(node)

    def _decide(self, group: GroupState) -> None:
        """A node of another kind has come: those that went before it were replaced (strategy MINIMAL works so)."""
        if len(group.kinds) < 2:
            return
        for gone in group.undecided:
            if gone.kind != group.newest:
                self._replaced(gone)
        group.undecided.clear()

    def _replaced(self, node: NodeState) -> None:
        self._emit(kinds.NODE_REPLACED, node.name, {"group": node.group.name, "image": node.image})

    # --- draining, as the pods show it

    def pod_left(self, node: NodeState, at: float) -> None:
        """A pod that a drain must move is leaving a cordoned node."""
        if node.cordoned_since is None:
            return
        node.group.progress_at = at
        if node.draining_since is None:
            self._count(node, -1)
            node.draining_since = at
            self._count(node, 1)
            self._emit(kinds.NODE_DRAINING, node.name, {"group": node.group.name, "pods": len(node.evictable)})
            self._restate(node, at)

    def evictable_changed(self, node: NodeState, at: float) -> None:
        drained = node.draining_since is not None and not node.evictable
        if drained != node.drained:
            node.drained = drained
            if drained:
                self._emit(kinds.NODE_DRAINED, node.name, {"group": node.group.name})
            self._restate(node, at)

    def _stop_draining(self, node: NodeState) -> None:
        if node.draining_since is not None:
            self._count(node, -1)
            node.draining_since, node.drained = None, False
            self._count(node, 1)

    def _restate(self, node: NodeState, at: float) -> None:
        state = node.derive()
        if state != node.state:
            node.state, node.since = state, at

    # --- counts

    def _count(self, node: NodeState, sign: int) -> None:
        counts = node.group.counts
        counts["nodes"] += sign
        if node.is_ready:
            counts["ready"] += sign
            if node.cordoned_since is None:
                counts["schedulable"] += sign
        if node.cordoned_since is not None:
            counts["cordoned"] += sign
        if node.draining_since is not None:
            counts["draining"] += sign
        self.dirty.add(node.group.name)

    def settle(self) -> None:
        """Tell the counts of the groups that changed at this instant."""
        for name in sorted(self.dirty):
            group = self.groups[name]
            told = self.counts_of(group)
            if told != group.last_told:
                group.last_told = told
                self._emit(kinds.GROUP_COUNTS, name, dict(told))
        self.dirty.clear()

    @staticmethod
    def counts_of(group: GroupState) -> dict[str, Any]:
        counts = group.counts
        new = group.new
        return {
            "desired": group.wanted(),
            "allowed": group.allowed,
            "nodes": counts["nodes"],
            "ready": counts["ready"],
            "schedulable": counts["schedulable"],
            "cordoned": counts["cordoned"],
            "draining": counts["draining"],
            "new": new,
            "old": counts["nodes"] - new,
        }

    def _facts(self, node: NodeState) -> dict[str, Any]:
        return {
            "group": node.group.name,
            "generation": self.generation(node),
            "zone": node.zone,
            "image": node.image,
            "kubelet": node.kubelet,
            "template": node.kind[1],
            "ready": node.is_ready,
            "cordoned": node.cordoned_since is not None,
        }


def _kind(data: Mapping[str, Any]) -> tuple[str, str, str]:
    """What `_facts` told of a node's image, launch template version and kubelet."""
    return (str(data.get("image", "")), str(data.get("template", "")), str(data.get("kubelet", "")))


def _why_not_ready(obj: Mapping[str, Any]) -> str:
    for condition in obj.get("status", {}).get("conditions") or ():
        if condition.get("type") == "Ready":
            return str(condition.get("message") or condition.get("reason") or "")
    return "it has not reported yet"


def _allocatable(values: Mapping[str, Any]) -> tuple[float, float] | None:
    """(cores, bytes); None when the node does not say or says nonsense."""
    try:
        return parse_cpu_millis(values["cpu"]) / 1000, float(parse_bytes(values["memory"]))
    except (KeyError, BatonError):
        return None
