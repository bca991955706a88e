"""A small Kubernetes side for the cloud's own tests: nodes, pods that move, evictions that can be blocked."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from baton.knowledge.tables import Knowledge
from baton.twin.clock import VirtualClock
from baton.twin.cloud.catalogue import ImageInfo, LaunchTemplateVersion, MemoryCatalogue, SubnetInfo
from baton.twin.cloud.cloud import CloudTwin
from baton.twin.cloud.facts import CloudFacts
from baton.twin.cloud.settings import CloudSettings
from baton.twin.world import World

START = 1_795_000_000.0  # 2026-11-18, while 1.34 is in standard support
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
ROLE = "arn:aws:iam::123456789012:role/nodes"


class FakeKube:
    """KubeSide over a real World, without controllers: evicted pods reappear on another Ready node."""

    def __init__(self, clock: VirtualClock, version: str, rng: random.Random) -> None:
        self.clock = clock
        self.version = version
        self.world = World(clock, rng, history=0)
        self.blocked: set[str] = set()  # pod names whose eviction a budget refuses
        self.addons: dict[str, str] = {}
        self.sick: set[str] = set()
        self.wakers: list[Callable[[str, str, str], object]] = []
        self.started = False

    def bootstrap(self) -> None:
        return None

    def start(self) -> None:
        self.started = True

    def set_version(self, version: str) -> None:
        self.version = version

    def boot_node(self, spec: Any, on_ready: Callable[[], object] | None = None) -> None:
        node = {
            "metadata": {"name": spec.name, "labels": dict(spec.labels)},
            "spec": {"taints": [dict(t) for t in spec.taints], "providerID": spec.provider_id},
            "status": {"nodeInfo": {"kubeletVersion": spec.kubelet_version}},
        }
        self.world.create("nodes", node)

        def ready() -> None:
            if self.world.get("nodes", None, spec.name) and on_ready:
                on_ready()

        self.clock.call_later(10.0, ready)

    def remove_node(self, name: str) -> None:
        if self.world.get("nodes", None, name):
            self.world.remove("nodes", None, name)
        for pod in list(self.world.pods_on(name)):
            self.world.remove("pods", "shop", pod["metadata"]["name"])

    def cordon(self, name: str, on: bool = True, labels: Mapping[str, str] | None = None) -> None:
        node = self.world.get("nodes", None, name)
        assert node is not None
        metadata = {**node["metadata"], "labels": {**node["metadata"]["labels"], **(labels or {})}}
        self.world.update("nodes", {**node, "metadata": metadata, "spec": {**node["spec"], "unschedulable": on}})

    def place(self, name: str) -> None:
        """A pod on the schedulable node with fewest pods; nowhere to go means it waits."""
        nodes = [n["metadata"]["name"] for n in self.world.items("nodes") if not n["spec"].get("unschedulable")]
        if not nodes:
            self.clock.call_later(10.0, lambda: self.place(name))
            return
        node = min(nodes, key=lambda n: (len(list(self.world.pods_on(n))), n))
        self.world.create("pods", {"metadata": {"namespace": "shop", "name": name}, "spec": {"nodeName": node}})

    def evict(self, namespace: str, name: str, *, delete: bool = False) -> Any:
        if name in self.blocked and not delete:
            return SimpleNamespace(verdict="blocked", pdb="guard")
        self.clock.call_later(5.0, lambda: self._move(namespace, name))
        return SimpleNamespace(verdict="evicted", pdb=None)

    def _move(self, namespace: str, name: str) -> None:
        if self.world.get("pods", namespace, name):
            self.world.remove("pods", namespace, name)
            self.place(name + "x")

    def unblock(self) -> None:
        self.blocked.clear()
        for fn in self.wakers:
            fn("budget", "shop", "guard")

    def on_disruption_change(self, fn: Callable[[str, str, str], object]) -> object:
        self.wakers.append(fn)
        return None

    def drain_keys(self, node: str) -> list[tuple[str, str]]:
        return [(p["metadata"]["namespace"], p["metadata"]["name"]) for p in self.world.pods_on(node)]

    bulk: Any = None

    def drain_begins(self, node: str) -> None:
        """Nothing is kept in bulk."""

    def drain_ends(self, node: str) -> None:
        """Nothing is kept in bulk."""

    def drain_waits(self, node: str) -> bool:
        return False

    def wait_for_news(self, namespace: str, budget: str, on: bool) -> None:
        """All news are told."""

    def on_pod_gone(self, fn: Any) -> None:
        def seen(kind: str, resource: str, obj: dict[str, Any], old: Any) -> None:
            if kind == "DELETED":
                fn(obj["spec"].get("nodeName", ""), (obj["metadata"]["namespace"], obj["metadata"]["name"]))

        self.world.subscribe(seen, ["pods"])

    def apply_addon(self, name: str, version: str, *, image_ok: bool = True) -> None:
        self.addons[name] = version
        (self.sick.discard if image_ok else self.sick.add)(name)

    def addon_healthy(self, name: str) -> bool:
        return name not in self.sick

    def remove_addon(self, name: str) -> None:
        self.addons.pop(name, None)


@dataclass
class FakeFactory:
    clock: VirtualClock

    def cluster(self, name: str, version: str, rng: random.Random) -> FakeKube:
        return FakeKube(self.clock, version, rng)

    def node_spec(self, **fields: Any) -> Any:
        return SimpleNamespace(**fields)


class Bench:
    """A CloudTwin with three subnets, two golden images and a launch template, and the calls that tests repeat."""

    def __init__(self, seed: int = 7) -> None:
        self.clock = VirtualClock(START)
        self.catalogue = MemoryCatalogue()
        for i, zone in enumerate(ZONES):
            cidr = f"10.0.{i}.0/24"
            self.catalogue.subnets[f"subnet-{i}"] = SubnetInfo(f"subnet-{i}", zone, "vpc-1", cidr, 251)
        for minor, image in (("1.34", "ami-34"), ("1.35", "ami-35")):
            self.catalogue.images[image] = ImageInfo(
                image, f"golden-eks-{minor}-v2026", tags={"KubernetesVersion": minor}
            )
        self.template("ami-34", 1)
        self.settings = CloudSettings()
        facts = CloudFacts(Knowledge.load(), self.clock.now)
        factory = FakeFactory(self.clock)
        self.cloud = CloudTwin(self.clock, self.settings, random.Random(seed), self.catalogue, facts, factory)
        self.log: list[tuple[float, str, str]] = []
        self.cloud.on_event(lambda e: self.log.append((round(e.at - START, 3), e.kind, e.subject)))

    def template(self, image: str, number: int, name: str = "lt-1") -> None:
        version = LaunchTemplateVersion(name, f"name-of-{name}", number, image, "m5.large")
        self.catalogue.add_template_version(version)

    def eks(self, operation: str, **params: Any) -> dict[str, Any]:
        return self.cloud.eks(operation, params)

    def kube(self) -> FakeKube:
        kube = self.cloud.kube("demo")
        assert isinstance(kube, FakeKube)
        return kube

    def until(self, done: Callable[[], bool], limit: float = 6 * 3600.0) -> float:
        """Let time pass until `done()`; how long it took."""
        start = self.clock.now()
        while not done():
            assert self.clock.now() - start < limit, "still not done"
            assert self.clock.run_next(), "nothing left to happen"
        return self.clock.now() - start

    def cluster(self, version: str = "1.34", **more: Any) -> None:
        vpc = {"subnetIds": ["subnet-0", "subnet-1", "subnet-2"]}
        role = "arn:aws:iam::123456789012:role/cluster"
        access = {"authenticationMode": "API_AND_CONFIG_MAP"}
        self.eks(
            "CreateCluster",
            name="demo",
            version=version,
            roleArn=role,
            resourcesVpcConfig=vpc,
            accessConfig=access,
            **more,
        )
        self.until(lambda: self.status() == "ACTIVE")

    def status(self) -> str:
        return str(self.eks("DescribeCluster", name="demo")["cluster"]["status"])

    def group(self, name: str = "main", size: int = 3, custom: bool = True, **more: Any) -> None:
        params: dict[str, Any] = {"scalingConfig": {"minSize": min(size, 3), "desiredSize": size, "maxSize": size + 3}}
        if custom:
            params["launchTemplate"] = {"id": "lt-1", "version": "1"}
        subnets = ["subnet-0", "subnet-1", "subnet-2"]
        self.eks(
            "CreateNodegroup",
            **{"clusterName": "demo", "nodegroupName": name, "subnets": subnets, "nodeRole": ROLE, **params, **more},
        )
        self.until(lambda: self.shown(name)["status"] != "CREATING")

    def shown(self, name: str = "main") -> dict[str, Any]:
        found: dict[str, Any] = self.eks("DescribeNodegroup", clusterName="demo", nodegroupName=name)["nodegroup"]
        return found

    def update(self, answer: dict[str, Any], **scope: str) -> dict[str, Any]:
        """The update of `answer`, once it is over."""
        ident = answer["update"]["id"]

        def now() -> dict[str, Any]:
            found: dict[str, Any] = self.eks("DescribeUpdate", name="demo", updateId=ident, **scope)["update"]
            return found

        self.until(lambda: now()["status"] != "InProgress")
        return now()

    def pods(self, count: int) -> None:
        for i in range(count):
            self.kube().place(f"web-{i}")
