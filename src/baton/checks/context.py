"""What a check is handed: the snapshot, the target, the tables, and views of them that several checks need."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

from baton.errors import UsageError
from baton.knowledge.skew import hops
from baton.knowledge.tables import Knowledge, day
from baton.logic.eviction import DrainOptions, controller_of, drain_list, finished, selector_matches
from baton.logic.upgrade.support import versions
from baton.model import nodes
from baton.model.cluster import KubeObject, NodeGroup, Snapshot, VersionInfo
from baton.model.target import ImageFilter, Target
from baton.model.terraform import TerraformFacts
from baton.model.versions import Minor


class Context:
    """Read-only. `points` are the control plane's versions on the way, the present one first; only the present one when
    the target is not ahead."""

    def __init__(
        self,
        snapshot: Snapshot,
        target: Target,
        knowledge: Knowledge,
        terraform: TerraformFacts | None = None,
        images: Mapping[str, ImageFilter] | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.target = target
        self.knowledge = knowledge
        self.terraform = terraform
        self.now = snapshot.taken_at
        self.today = day(snapshot.taken_at)
        self.start = Minor.parse(snapshot.cluster.version)
        self.end = Minor.parse(target.version)
        self.points = (self.start, *hops(self.start, self.end))
        found = {} if terraform is None else {g.name: g.image for g in terraform.groups if g.image is not None}
        self.filters = {**found, **(images or {})}

    @property
    def cluster(self) -> str:
        return f"cluster {self.snapshot.cluster.name}"

    def objects(self, resource: str) -> Sequence[KubeObject]:
        return self.snapshot.objects.get(resource, ())

    @functools.cached_property
    def offered(self) -> tuple[VersionInfo, ...]:
        return versions(self.snapshot, self.knowledge, self.today)

    @functools.cached_property
    def nodes(self) -> Mapping[str, KubeObject]:
        return {nodes.name(n): n for n in self.objects("nodes")}

    @functools.cached_property
    def group_nodes(self) -> Mapping[str, tuple[KubeObject, ...]]:
        """Managed node group -> its nodes."""
        found: dict[str, list[KubeObject]] = {g.name: [] for g in self.snapshot.node_groups}
        for node in self.nodes.values():
            name = nodes.labels(node).get(nodes.NODE_GROUP_LABEL)
            if name in found:
                found[name].append(node)
        return {k: tuple(v) for k, v in found.items()}

    @functools.cached_property
    def live_pods(self) -> tuple[KubeObject, ...]:
        """Pods that have not finished."""
        return tuple(p for p in self.objects("pods") if not finished(p))

    @functools.cached_property
    def moving_pods(self) -> tuple[KubeObject, ...]:
        """Pods that a drain has to move: no DaemonSet, mirror or finished pods.

        Those on nodes of managed node groups; where no node belongs to one (a dump of another cluster), on all nodes
        but Fargate's."""
        owners = {name: nodes.owner(n) for name, n in self.nodes.items()}
        managed = {name for name, who in owners.items() if who.startswith("node group ")}
        rolled = managed or {name for name, who in owners.items() if who != "fargate"}
        there = [p for p in self.live_pods if p.get("spec", {}).get("nodeName") in rolled]
        return drain_list(there, DrainOptions(), lambda namespace, name: True).pods

    @functools.cached_property
    def _moving(self) -> frozenset[int]:
        return frozenset(map(id, self.moving_pods))

    def moving(self, pods: Iterable[KubeObject]) -> list[KubeObject]:
        """Those of `pods` (objects of this context) that a drain has to move."""
        return [p for p in pods if id(p) in self._moving]

    @functools.cached_property
    def budgets(self) -> tuple[tuple[KubeObject, tuple[KubeObject, ...]], ...]:
        """Each PodDisruptionBudget with the live pods it selects."""
        by_namespace: dict[str, list[KubeObject]] = {}
        for pod in self.live_pods:
            by_namespace.setdefault(namespace(pod), []).append(pod)
        return tuple(
            (
                budget,
                tuple(
                    p
                    for p in by_namespace.get(namespace(budget), ())
                    if selector_matches(budget.get("spec", {}).get("selector"), nodes.labels(p))
                ),
            )
            for budget in self.objects("poddisruptionbudgets.policy")
        )

    @functools.cached_property
    def workloads(self) -> Mapping[str, tuple[KubeObject, ...]]:
        """Top controller (`Deployment shop/cart`, `StatefulSet ...`, `ReplicaSet ...`) -> its live pods."""
        owners: dict[tuple[str, str], KubeObject | None] = {
            (namespace(r), nodes.name(r)): controller_of(r) for r in self.objects("replicasets.apps")
        }
        found: dict[str, list[KubeObject]] = {}
        for pod in self.live_pods:
            owner = controller_of(pod)
            if owner is None:
                continue
            if owner.get("kind") == "ReplicaSet":
                owner = owners.get((namespace(pod), str(owner.get("name")))) or owner
            found.setdefault(f"{owner.get('kind')} {namespace(pod)}/{owner.get('name')}", []).append(pod)
        return {k: tuple(v) for k, v in found.items()}

    def rolls(self, group: NodeGroup) -> bool:
        """Whether the group's nodes move at all: none is at the target yet, or not all are."""
        found = self.group_nodes[group.name]
        return not found or any(nodes.kubelet(n) != self.end for n in found)


def namespace(obj: KubeObject) -> str:
    return str(obj.get("metadata", {}).get("namespace", ""))


def full_name(obj: KubeObject) -> str:
    """`namespace/name`, or the name alone of what has no namespace."""
    space = namespace(obj)
    return f"{space}/{nodes.name(obj)}" if space else nodes.name(obj)


def parse_minor(text: str) -> Minor | None:
    try:
        return Minor.parse(text)
    except UsageError:
        return None
