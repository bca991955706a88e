"""Small snapshots for planner and check tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from baton.model.cluster import (
    Addon,
    Cluster,
    Image,
    LaunchTemplateRef,
    NodeGroup,
    Snapshot,
    Subnet,
    UpdateConfig,
)

NOW = 1_795_392_000.0  # 2026-11-23


def golden(minor: str, date: str = "20261101", **fields: Any) -> Image:
    made: dict[str, Any] = {
        "id": f"ami-{minor.replace('.', '')}{date[4:]}",
        "name": f"golden-eks-{minor}-v{date}",
        "owner": "123456789012",
        "created_at": f"{date[:4]}-{date[4:6]}-{date[6:]}T00:00:00Z",
        "tags": {"KubernetesVersion": minor},
    }
    return Image(**{**made, **fields})


def node(name: str, group: str = "main", kubelet: str = "1.34", zone: str = "a", **labels: str) -> dict[str, Any]:
    own = {"eks.amazonaws.com/nodegroup": group} if group else {}
    return {
        "metadata": {
            "name": name,
            "labels": {**own, "topology.kubernetes.io/zone": f"us-east-1{zone}", **labels},
        },
        "spec": {},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {
                "kubeletVersion": f"v{kubelet}.3-eks-1a2b3c4",
                "osImage": "Amazon Linux 2023.8.20260706",
                "containerRuntimeVersion": "containerd://2.1.5",
                "architecture": "amd64",
                "operatingSystem": "linux",
            },
        },
    }


def custom_group(name: str = "main", image: Image | None = None, size: int = 3, **fields: Any) -> NodeGroup:
    image = image or golden("1.34")
    made: dict[str, Any] = {
        "name": name,
        "cluster": "demo",
        "status": "ACTIVE",
        "version": "1.34",
        "release_version": image.id,
        "ami_type": "CUSTOM",
        "subnet_ids": ("subnet-a", "subnet-b", "subnet-c"),
        "min_size": size,
        "desired_size": size,
        "max_size": 2 * size,
        "update_config": UpdateConfig(max_unavailable=1),
        "launch_template": LaunchTemplateRef("lt-1", "main-", "1"),
        "image_id": image.id,
        "instance_types": ("m6i.large",),
    }
    return NodeGroup(**{**made, **fields})


def optimised_group(name: str = "main", version: str = "1.34", size: int = 3, **fields: Any) -> NodeGroup:
    made = {"ami_type": "AL2023_x86_64_STANDARD", "image_id": "", "release_version": f"{version}.3-20260714"}
    return custom_group(name, size=size, version=version, **{**made, **fields})


def world(
    version: str = "1.34",
    groups: Sequence[NodeGroup] | None = None,
    addons: Mapping[str, str] | None = None,
    images: Sequence[Image] | None = None,
    nodes: Sequence[Mapping[str, Any]] | None = None,
    objects: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    **fields: Any,
) -> Snapshot:
    """A healthy cluster with one group of three nodes, unless told otherwise."""
    groups = [custom_group()] if groups is None else groups
    images = [golden("1.34"), golden("1.35")] if images is None else images
    if addons is None:
        addons = {"vpc-cni": "v1.21.1-eksbuild.7", "kube-proxy": f"v{version}.0-eksbuild.2"}
    if nodes is None:
        nodes = [node(f"{g.name}-{n}", g.name, g.version, "abc"[n % 3]) for g in groups for n in range(g.desired_size)]
    made: dict[str, Any] = {
        "taken_at": NOW,
        "cluster": Cluster("demo", version, "ACTIVE", subnet_ids=("subnet-a", "subnet-b", "subnet-c")),
        "node_groups": tuple(groups),
        "addons": tuple(Addon(n, v, "ACTIVE") for n, v in addons.items()),
        "images": tuple(images),
        "subnets": tuple(Subnet(f"subnet-{z}", f"us-east-1{z}", 200) for z in "abc"),
        "objects": {"nodes": tuple(nodes), **{k: tuple(v) for k, v in (objects or {}).items()}},
    }
    return Snapshot(**{**made, **fields})
