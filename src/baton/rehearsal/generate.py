"""Synthetic clusters of any size with the spreads of real ones: `generate(nodes=5000, pods=150000, seed=7)`.

Many small apps and a few huge ones; budgets of every kind, some that block; zone spreads, anti-affinity, zonal volumes,
DaemonSets, Jobs, bare pods, slow starters, long grace periods; node groups of several sizes and paces. The same
arguments give the same snapshot, whatever the Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from baton.errors import UsageError
from baton.knowledge.tables import Knowledge
from baton.model.cluster import (
    Addon,
    AutoScalingGroup,
    Cluster,
    Image,
    KubeObject,
    LaunchTemplateRef,
    NodeGroup,
    Snapshot,
    Subnet,
    UpdateConfig,
)
from baton.model.versions import Minor
from baton.rehearsal.shapes import Clerk, Machine, Pool
from baton.rehearsal.synthetic import Workloads
from baton.twin.cloud.catalogue import allocatable, known_instance_type
from baton.twin.timefmt import rfc3339

Json = dict[str, Any]

TAKEN_AT = 1_795_000_000.0  # 2026-11-18: after 1.35's release, before 1.34's support ends
REGION = "us-east-1"
ACCOUNT = "123456789012"
ADDONS = ("vpc-cni", "kube-proxy", "coredns", "aws-ebs-csi-driver")
_TYPES = ("m5.large", "m5.xlarge", "m5.2xlarge", "m5.4xlarge", "m5.8xlarge", "m5.16xlarge")


@dataclass(frozen=True, slots=True)
class GroupShape:
    """One node group: its part of the nodes in per mille, its pace, and the taint that keeps others away."""

    name: str
    permille: int
    pace: UpdateConfig
    dedicated: str = ""
    custom: bool = False


_LARGE = (
    GroupShape("apps-a", 420, UpdateConfig(max_unavailable_percentage=10), custom=True),
    GroupShape("apps-b", 290, UpdateConfig(max_unavailable_percentage=20)),
    GroupShape("data", 150, UpdateConfig(max_unavailable_percentage=15), dedicated="data"),
    GroupShape("batch", 120, UpdateConfig(max_unavailable_percentage=33), dedicated="batch", custom=True),
    GroupShape("tooling", 20, UpdateConfig(max_unavailable=1)),
)
_SMALL = (
    GroupShape("apps-a", 650, UpdateConfig(max_unavailable_percentage=34), custom=True),
    GroupShape("apps-b", 350, UpdateConfig(max_unavailable=1)),
)


def generate(
    *,
    nodes: int,
    pods: int,
    seed: int = 0,
    version: str = "1.34",
    zones: int = 3,
    blocking: int | None = None,
    name: str = "synthetic",
) -> Snapshot:
    """A cluster of `nodes` nodes and exactly `pods` pods (DaemonSet pods counted) at Kubernetes `version`.

    `blocking` is how many apps have a budget that blocks their drain (None: one in a hundred nodes, at least one). They
    live in the largest node group, which is rolled last, so a rehearsal sees the others first; 0 makes none.

    Raises UsageError for numbers that cannot be met.
    """
    _check(nodes, pods, zones, version)
    rng = Random(f"{seed}/{nodes}/{pods}/{version}/{zones}")
    shapes = _LARGE if nodes >= 12 + zones else _SMALL if nodes >= 4 else _SMALL[:1]
    kind = _instance_type(nodes, pods)
    groups = _sizes(shapes, nodes, zones)
    zone_names = [f"{REGION}{'abcdef'[i]}" for i in range(zones)]
    knowledge = Knowledge.load()
    kubelet = f"v{knowledge.patch_version(version)}-eks-1de2ab1"
    clerk = Clerk(rng, TAKEN_AT)
    pools: list[Pool] = []
    objects: list[Json] = []
    place = _Addresses(zones)
    for shape, size in groups:
        members = [_machine(place, zone_names, shape, kind, kubelet) for _ in range(size)]
        objects += [m.node for m in members]
        pools.append(Pool(shape.name, members, zones, shape.dedicated))
    if blocking is None:
        blocking = max(1, nodes // 100)
    made = Workloads(clerk, pools, pods, _versions(knowledge, version)).make(blocking)
    made["nodes"] = objects
    node_groups = [_group(shape, size, name, version, kind, zones, place) for shape, size in groups]
    return Snapshot(
        taken_at=TAKEN_AT,
        cluster=_cluster(name, version, place),
        node_groups=tuple(sorted(node_groups, key=lambda g: g.name)),
        addons=tuple(
            Addon(
                addon,
                release,
                "ACTIVE",
                arn=f"arn:aws:eks:{REGION}:{ACCOUNT}:addon/{name}/{addon}/{clerk.uid('addon')}",
            )
            for addon, release in _versions(knowledge, version).items()
        ),
        addon_releases=tuple(r for a in ADDONS for r in knowledge.addon_releases(a)),
        versions=knowledge.versions(rfc3339(TAKEN_AT)[:10]),
        images=tuple(_images(version, knowledge)),
        subnets=tuple(
            Subnet(s, zone_names[i], 4000 + nodes * 70, f"10.{i + 1}.0.0/16") for i, s in enumerate(place.subnets)
        ),
        auto_scaling_groups=tuple(
            AutoScalingGroup(g.auto_scaling_groups[0], g.min_size, g.desired_size, g.max_size, tuple(zone_names))
            for g in sorted(node_groups, key=lambda g: g.name)
        ),
        objects={k: tuple(sorted(v, key=_key)) for k, v in sorted(made.items())},
    )


def _key(obj: KubeObject) -> tuple[str, str]:
    meta = obj["metadata"]
    return (meta.get("namespace") or "", meta["name"])


def _check(nodes: int, pods: int, zones: int, version: str) -> None:
    if not 1 <= nodes <= 20_000:
        raise UsageError(f"{nodes} nodes", hint="choose 1 to 20000 nodes")
    if not 1 <= zones <= 6:
        raise UsageError(f"{zones} zones", hint="choose 1 to 6 zones")
    least = len(ADDONS) * nodes + 8
    if pods < least:
        raise UsageError(
            f"{pods} pods are too few for {nodes} nodes: DaemonSets and add-ons alone have {least}",
            hint=f"choose at least {least} pods",
        )
    if pods > nodes * 200:
        raise UsageError(f"{pods} pods do not fit {nodes} nodes", hint=f"choose at most {nodes * 200} pods")
    if Knowledge.load().release(Minor.parse(version)) is None:
        raise UsageError(f"no EKS version {version} is known", hint="choose one like 1.34")


def _instance_type(nodes: int, pods: int) -> str:
    """The smallest type that has a quarter more pod slots than the pods a node needs, and a core for every four."""
    wanted = pods / nodes
    for name in _TYPES:
        kind = known_instance_type(name)
        assert kind is not None
        if kind.max_pods >= wanted * 1.25 and kind.cpu * 4 >= wanted:
            return name
    return _TYPES[-1]


def _sizes(shapes: tuple[GroupShape, ...], nodes: int, zones: int) -> list[tuple[GroupShape, int]]:
    """Nodes per group; the group with volumes has one in every zone at least, or its volumes could be left alone."""
    total = sum(s.permille for s in shapes)
    rest = []
    for shape in shapes[1:]:
        least = zones if shape.dedicated == "data" else 1
        most = 12 if shape.name == "tooling" else nodes
        rest.append((shape, max(least, min(nodes * shape.permille // total, most))))
    return [(shapes[0], nodes - sum(n for _, n in rest)), *rest]


class _Addresses:
    """Hands out addresses, instance ids and zones: node after node goes to the next zone."""

    def __init__(self, zones: int) -> None:
        self.subnets = [f"subnet-{i + 1:017x}" for i in range(zones)]
        self._zones = zones
        self._made = 0

    def next(self) -> tuple[int, str, str]:
        """(zone index, private address, instance id)."""
        index, zone = divmod(self._made, self._zones)
        self._made += 1
        return zone, f"10.{zone + 1}.{index // 250 + 1}.{index % 250 + 4}", f"i-{self._made:017x}"


def _machine(place: _Addresses, zones: list[str], shape: GroupShape, kind: str, kubelet: str) -> Machine:
    zone, address, instance = place.next()
    name = f"ip-{address.replace('.', '-')}.ec2.internal"
    known = known_instance_type(kind)
    assert known is not None
    capacity, usable = map(dict, allocatable(known))
    minor = ".".join(kubelet[1:].split(".")[:2])
    labels = {
        "eks.amazonaws.com/capacityType": "ON_DEMAND",
        "eks.amazonaws.com/nodegroup": shape.name,
        "eks.amazonaws.com/nodegroup-image": _image_id(minor)
        if shape.custom
        else f"ami-0eks{minor.replace('.', ''):0>13}",
        **({"dedicated": shape.dedicated} if shape.dedicated else {}),
        "kubernetes.io/arch": known.arch,
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": kind,
        "topology.ebs.csi.aws.com/zone": zones[zone],
        "topology.kubernetes.io/region": REGION,
        "topology.kubernetes.io/zone": zones[zone],
    }
    spec: Json = {"providerID": f"aws:///{zones[zone]}/{instance}"}
    if shape.dedicated:
        spec["taints"] = [{"key": "dedicated", "value": shape.dedicated, "effect": "NoSchedule"}]
    created = rfc3339(TAKEN_AT - 20 * 86_400)
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "uid": f"node-{instance}", "labels": labels, "creationTimestamp": created},
        "spec": spec,
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "allocatable": usable,
            "capacity": capacity,
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": created}
            ],
            "nodeInfo": {
                "architecture": known.arch,
                "kubeletVersion": kubelet,
                "operatingSystem": "linux",
                "osImage": "Amazon Linux 2023.9",
                "containerRuntimeVersion": "containerd://2.1.4",
            },
        },
    }
    return Machine(name, zone, node, int(usable["cpu"][:-1]), int(usable["memory"][:-2]) // 1024, known.max_pods)


def _image_id(minor: str) -> str:
    return f"ami-0{minor.replace('.', ''):0>16}"


def _images(version: str, knowledge: Knowledge) -> list[Image]:
    """The golden image of this and every later version that EKS had released by then."""
    start = Minor.parse(version)
    found = []
    for row in knowledge.versions(rfc3339(TAKEN_AT)[:10]):
        minor = Minor.parse(row.version)
        if minor < start:
            continue
        day = 1 + minor.minor % 9
        found.append(
            Image(
                _image_id(row.version),
                f"golden-eks-{row.version}-v2026110{day}",
                ACCOUNT,
                f"2026-11-0{day}T08:00:00.000Z",
                tags={"KubernetesVersion": row.version},
            )
        )
    return found


def _versions(knowledge: Knowledge, version: str) -> dict[str, str]:
    """Add-on to its default version for a cluster version."""
    found = {name: knowledge.default_addon(name, version) for name in ADDONS}
    return {name: release.version for name, release in found.items() if release is not None}


def _cluster(name: str, version: str, place: _Addresses) -> Cluster:
    return Cluster(
        name,
        version,
        "ACTIVE",
        arn=f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/{name}",
        subnet_ids=tuple(place.subnets),
        created_at=TAKEN_AT - 300 * 86_400,
    )


def _group(
    shape: GroupShape, size: int, cluster: str, version: str, kind: str, zones: int, place: _Addresses
) -> NodeGroup:
    surge = max(2 * zones, shape.pace.parallelism(size))
    known = shape.custom
    labels = {"dedicated": shape.dedicated} if shape.dedicated else {}
    taints = ({"key": "dedicated", "value": shape.dedicated, "effect": "NO_SCHEDULE"},) if shape.dedicated else ()
    return NodeGroup(
        name=shape.name,
        cluster=cluster,
        status="ACTIVE",
        version=version,
        release_version=_image_id(version) if known else Knowledge.load().release_version(version),
        ami_type="CUSTOM" if known else "AL2023_x86_64_STANDARD",
        instance_types=(kind,),
        subnet_ids=tuple(place.subnets),
        min_size=1,
        desired_size=size,
        max_size=size + surge,
        update_config=shape.pace,
        launch_template=LaunchTemplateRef(f"lt-0{shape.name:x>16.16}", f"{cluster}-{shape.name}", "1")
        if known
        else None,
        auto_scaling_groups=(f"eks-{shape.name}-{cluster}",),
        labels=labels,
        taints=taints,
        arn=f"arn:aws:eks:{REGION}:{ACCOUNT}:nodegroup/{cluster}/{shape.name}/0",
        image_id=_image_id(version) if known else "",
    )
