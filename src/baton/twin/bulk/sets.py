"""DaemonSets whose pods are rows: read where they change, told where nodes do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from baton.twin.bulk.begin import Beyond
from baton.twin.bulk.layout import (
    ANYBODY,
    D_LOOK_FIRST,
    D_LOOK_LAST,
    D_MISPLACED,
    D_MOST,
    D_MOST_SHARE,
    D_NODES,
    D_OLD,
    D_OLD_FIRST,
    D_OLD_LAST,
    D_OLD_UNREADY,
    D_OLD_UNREADY_FIRST,
    D_OLD_UNREADY_LAST,
    D_ON_DELETE,
    D_RENEW,
    D_REVISION,
    D_SURGE,
    D_SURGE_SHARE,
    DAEMON_COLUMNS,
    G_DAEMON,
    G_HEAD,
    G_SHAPE,
    G_TAIL,
    LOOK_AT_SPOTS,
    MISPLACED_READY,
    N_ASKED,
    N_CHASES,
    NOBODY,
    P_NODE,
    P_PIN,
    P_REVISION,
    SPOT_LIST,
    SPOT_LOOKED,
    SPOT_MISPLACED,
    SPOT_PODS,
    SPOT_RULE,
    SPOT_WANTED,
)
from baton.twin.bulk.taking import Taking
from baton.twin.controllers.base import Group, Obj
from baton.twin.controllers.daemonsets import DAEMONSETS, REVISION_LABEL
from baton.twin.controllers.lean import PodShape

_LISTS = [D_LOOK_FIRST, D_LOOK_LAST, D_OLD_FIRST, D_OLD_LAST, D_OLD_UNREADY_FIRST, D_OLD_UNREADY_LAST]


class Sets(Taking):
    """What DaemonSetController knows of the sets in bulk, as rows and spots."""

    def _take_sets(self) -> None:
        """The controller's view of each set becomes rows; every set is settled, with one pod on each of its nodes."""
        numbers = list(self.daemons.values())
        many = len(numbers)
        daemons = np.zeros((many, DAEMON_COLUMNS), dtype=np.int64)
        daemons[:, _LISTS] = -1
        self._set(daemons=daemons)
        self._room_for_nodes()
        nodes = list(self.cluster.world.items("nodes"))
        ids = np.array([self.node_id(n["metadata"]["name"]) for n in nodes])
        for at, number in enumerate(numbers):
            self.a.groups[number, G_DAEMON] = at + 1
            obj = self._object_of(number)
            self._read_rollout(number, obj)
            spots = self.a.spots[at::many]
            spots[ids, SPOT_RULE] = [self.kube.daemonsets.rule(obj, n) for n in nodes]
            first, last = (int(self.a.groups[number, c]) for c in (G_HEAD, G_TAIL))
            rows = self.a.pods[first : last + 1]
            rows[:, P_REVISION] = [
                self._revision(self.as_read(n).labels.get(REVISION_LABEL, "")) for n in range(first, last + 1)
            ]
            spots[np.where(rows[:, P_PIN] >= 0, rows[:, P_PIN], rows[:, P_NODE]), SPOT_PODS] = np.arange(
                first, last + 1
            )
            wanted = [self.node_id(name) for name in self.kube.daemonsets.nodes_of(self.groups[number])]
            spots[np.array(wanted, dtype=np.int64), SPOT_WANTED] = 1
            daemons[at, D_NODES] = len(wanted)
        for name in self.kube.nodes.pending:
            self.node_row(name)[N_ASKED] = 1

    def _object_of(self, number: int) -> Obj:
        obj: Obj | None = self.cluster.world.get(DAEMONSETS, *self.groups[number].key)
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            raise Beyond(f"DaemonSet {'/'.join(self.groups[number].key)} is gone")
        return obj

    def _revision(self, name: str) -> int:
        """The number of a revision's hash."""
        return self.revisions.setdefault(name, len(self.revisions))

    def _read_rollout(self, number: int, obj: Obj) -> None:
        """The revision of new pods, and how old ones go."""
        row = self.a.daemons[self.a.groups[number, G_DAEMON] - 1]
        strategy = obj["spec"].get("updateStrategy") or {}
        rolling = strategy.get("rollingUpdate") or {}
        row[D_REVISION] = self._revision(self.kube.daemonsets.revision(obj))
        row[D_ON_DELETE] = strategy.get("type") == "OnDelete"
        row[D_MOST], row[D_MOST_SHARE] = _figure(rolling.get("maxUnavailable", 1))
        row[D_SURGE], row[D_SURGE_SHARE] = _figure(rolling.get("maxSurge", 0))

    def _read_set(self, number: int) -> PodShape:
        """What the set's new pods look like; of one that changed, where it should run and how it rolls too."""
        obj, controller = self._object_of(number), self.kube.daemonsets
        nodes = list(self.cluster.world.items("nodes"))
        row = self.a.daemons[self.a.groups[number, G_DAEMON] - 1]
        if row[D_RENEW]:
            row[D_RENEW] = 0
            self._read_rollout(number, obj)
            self._look_everywhere(number, obj, nodes)
        shape: PodShape = controller.shape(obj, nodes[0]["metadata"]["name"] if nodes else "")
        bad = self.kube.kubelets.bad_images
        if shape.claims != () or shape.cls.node_names is not None or shape.cls.fit.scalars:
            raise Beyond(f"pods of DaemonSet {'/'.join(self.groups[number].key)} differ from those before")
        if any(c.get("image") in bad for c in shape.spec.get("containers") or ()):
            raise Beyond(f"pods of DaemonSet {'/'.join(self.groups[number].key)} cannot start")
        return shape

    def _look_everywhere(self, number: int, obj: Obj, nodes: Sequence[Obj]) -> None:
        """The next sync begins anew, with these nodes, then others where the set has or had pods."""
        at = self.a.groups[number, G_DAEMON] - 1
        rule = self.kube.daemonsets.rule
        rules = {self.node_id(n["metadata"]["name"]): rule(obj, n) for n in nodes}
        spots, row = self.a.spots[at :: len(self.a.daemons)], self.a.daemons[at]
        spots[:, [SPOT_RULE, SPOT_WANTED, SPOT_LOOKED]] = 0
        row[D_NODES], row[D_LOOK_FIRST], row[D_LOOK_LAST] = 0, -1, -1
        known = (spots[:, SPOT_PODS] >= 0) | (spots[:, SPOT_LIST] != 0) | (spots[:, SPOT_MISPLACED] >= 0)
        for node in np.flatnonzero(known).tolist():
            rules.setdefault(node, 0)
        told = self._write([(number, *rule) for rule in rules.items()])
        self.ask(LOOK_AT_SPOTS, self.address, told, 0, 0, 0, 0.0, 0.0)

    def set_changed(self, uid: str) -> None:
        """The spec of a DaemonSet is another one: to be read before its next sync."""
        number = self.by_uid[uid]
        group = self.a.groups[number]
        self.a.daemons[group[G_DAEMON] - 1, D_RENEW], group[G_SHAPE] = 1, -1
        self._call(LOOK_AT_SPOTS, self._write([(number, -1, 0)]))

    @staticmethod
    def news(rules: Sequence[tuple[int, int]]) -> Any:
        """What news_of_node takes, of (group, its rule for the node)."""
        return np.array([(group, -1, rule) for group, rule in rules], dtype=np.int64).reshape(-1, 3)

    def news_of_node(self, node: str, news: Any) -> None:
        """A node came, changed or went; its number is written into `news`."""
        many = len(news)
        if many:
            news[:, 1] = self.node_id(node)
            self._grown("lists", many)[:many] = news
        self._call(LOOK_AT_SPOTS, many)

    def _write(self, rows: Sequence[tuple[int, int, int]]) -> int:
        """Hand over rows of three; how many."""
        if rows:
            self._grown("lists", len(rows))[: len(rows)] = rows
        return len(rows)

    def joined(self, node: str) -> None:
        """A pod that is not in bulk came to a node with NoExecute taints."""
        row = self.node_row(node)
        if row[N_CHASES] != NOBODY:
            row[N_CHASES] = ANYBODY

    def figures_of_set(self, group: Group) -> tuple[int, int, int, int]:
        """Nodes it should run on, misplaced pods, those of them that are ready, pods of another revision."""
        self.read_group(group)
        number = self.by_uid[group.uid]
        row = self.a.daemons[self.a.groups[number, G_DAEMON] - 1].tolist()
        ready = 0
        if row[D_MISPLACED]:
            ready = self.ask(MISPLACED_READY, self.address, number, 0, 0, 0, 0.0, 0.0)
        return row[D_NODES], row[D_MISPLACED], ready, row[D_OLD] + row[D_OLD_UNREADY]


def _figure(value: Any) -> tuple[int, bool]:
    """(figure, whether it is a percentage) of an int or a text, as deployments.resolve reads it."""
    if isinstance(value, int):
        return value, False
    digits = value.rstrip("%")
    return (int(digits), True) if digits.isdigit() else (0, False)
