"""A small world on a virtual clock for conductor tests: one cluster, one add-on, one node group of three nodes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from baton.errors import RefusedError
from baton.model.cluster import Addon, Cluster, LaunchTemplateRef, NodeGroup, Update, UpdateError
from baton.model.events import Event, WatchEvent
from baton.model.plan import Change, Plan, Stage, StageKind
from baton.twin.clock import VirtualClock


def plan() -> Plan:
    """1.34 to 1.35 in three stages."""
    stages = (
        Stage(1, StageKind.CONTROL_PLANE, "control plane", (Change("cluster", "demo", "1.34", "1.35"),), "first"),
        Stage(2, StageKind.ADDONS, "add-ons", (Change("addon", "coredns", "v1", "v2"),), "then"),
        Stage(
            3,
            StageKind.NODE_GROUP,
            "node group main",
            (
                Change(
                    "node-group", "main", "ami-34", "ami-35", attributes={"image_id": "ami-35", "kubelet_to": "1.35"}
                ),
            ),
            "last",
        ),
    )
    return Plan("demo", "1.34", "1.35", stages)


class FakeWorld:
    """Implements AwsReader, AwsWriter and KubeReader for what the conductor calls. `started` logs every new update."""

    def __init__(self, fail: str = "") -> None:
        self.clock = VirtualClock(1000.0)
        self.started: list[tuple[float, str]] = []
        self.fail = fail
        self._cluster = Cluster("demo", "1.34", "ACTIVE")
        self._addon = Addon("coredns", "v1", "ACTIVE")
        self._group = NodeGroup(
            "main", "demo", "ACTIVE", "1.34", desired_size=3, launch_template=LaunchTemplateRef("lt-1", "", "1")
        )
        self._images = {"1": "ami-34"}
        self._updates: dict[str, tuple[str, Update]] = {}
        self._by_token: dict[str, Update] = {}
        self._kubelet = "v1.34.9"

    def _start(self, key: str, kind: str, token: str, seconds: float, done: Any) -> Update:
        if token in self._by_token:
            return self._by_token[token]
        if any(k == key and u.status == "InProgress" for k, u in self._updates.values()):
            raise RefusedError(f"ResourceInUseException: {key} has an update in progress")
        self.started.append((self.clock.now(), key))
        update = Update(f"u{len(self._updates) + 1}", "InProgress", kind, created_at=self.clock.now())
        self._by_token[token] = update
        self._updates[update.id] = (key, update)

        def finish() -> None:
            if self.fail == key:
                error = UpdateError("PodEvictionFailure", "Reached max retries", ("ip-1",))
                self._updates[update.id] = (key, replace(update, status="Failed", errors=(error,)))
            else:
                self._updates[update.id] = (key, replace(update, status="Successful"))
                done()

        self.clock.call_later(seconds, finish)
        return update

    def cluster(self, name: str) -> Cluster:
        return self._cluster

    def addon(self, cluster: str, name: str) -> Addon:
        return self._addon

    def node_group(self, cluster: str, name: str) -> NodeGroup:
        return self._group

    def launch_template_image(self, template_id: str, version: str) -> str:
        return self._images[version]

    def update(
        self, cluster: str, update_id: str, *, node_group: str | None = None, addon: str | None = None
    ) -> Update:
        return self._updates[update_id][1]

    def updates(self, cluster: str, *, node_group: str | None = None, addon: str | None = None) -> Sequence[str]:
        key = f"node-group/{node_group}" if node_group else f"addon/{addon}" if addon else "cluster"
        return [i for i, (k, _) in self._updates.items() if k == key]

    def update_cluster_version(self, cluster: str, version: str, *, token: str, force: bool = False) -> Update:
        def done() -> None:
            self._cluster = replace(self._cluster, version=version)

        return self._start("cluster", "VersionUpdate", token, 600, done)

    def update_addon(
        self, cluster: str, addon: str, version: str, *, token: str, resolve_conflicts: str | None = None
    ) -> Update:
        def done() -> None:
            self._addon = replace(self._addon, version=version)

        return self._start("addon/coredns", "AddonUpdate", token, 60, done)

    def new_launch_template_version(self, template_id: str, source_version: str, image_id: str, *, token: str) -> str:
        self._images["2"] = image_id
        return "2"

    def update_node_group_version(self, cluster: str, node_group: str, *, token: str, **how: Any) -> Update:
        def done() -> None:
            self._group = replace(self._group, launch_template=LaunchTemplateRef("lt-1", "", how["launch_template"][1]))
            self._kubelet = "v1.35.6"

        return self._start("node-group/main", "VersionUpdate", token, 900, done)

    # KubeReader

    def list(self, resource: str) -> Sequence[Mapping[str, Any]]:
        return [self._node(i) for i in range(3)] if resource == "nodes" else []

    def _node(self, number: int) -> Mapping[str, Any]:
        return {
            "metadata": {"name": f"ip-{number}", "labels": {"eks.amazonaws.com/nodegroup": "main"}},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "nodeInfo": {"kubeletVersion": self._kubelet},
            },
        }

    def watch(self, resources: Sequence[str]) -> FakeWatch:
        return FakeWatch()


class FakeWatch:
    def poll(self) -> Sequence[WatchEvent]:
        return ()

    def close(self) -> None:
        """Nothing is open."""


class Notes:
    """An observer that only keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def feed(self, events: Sequence[WatchEvent], now: float) -> Sequence[Event]:
        return ()

    def unsettled(self) -> Sequence[str]:
        return ()

    def note(self, event: Event) -> None:
        self.events.append(event)


class Tokens:
    """Client request tokens in order."""

    def __init__(self, prefix: str = "t") -> None:
        self._numbers = itertools.count(1)
        self._prefix = prefix

    def __call__(self) -> str:
        return f"{self._prefix}{next(self._numbers)}"
