"""Reads check cases: a healthy cluster in short hand, overlaid with what a case says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from baton.checks.registry import resources
from baton.model.cluster import Snapshot
from baton.model.target import Target
from baton.model.terraform import TerraformFacts

CASES = Path(__file__).parent.parent / "cases" / "checks"
NODEADM = """\
apiVersion: node.eks.aws/v1alpha1
kind: NodeConfig
spec:
  cluster: {name: demo, apiServerEndpoint: https://x, certificateAuthority: eA==, cidr: 172.20.0.0/16}
"""
NOW = 1_795_392_000.0  # 2026-11-23


def base() -> dict[str, Any]:
    """A healthy cluster at 1.34: one group of three nodes on a golden image, two add-ons."""
    return {
        "taken_at": NOW,
        "cluster": {"name": "demo", "version": "1.34", "status": "ACTIVE", "subnet_ids": ["s-a", "s-b", "s-c"]},
        "node_groups": [group({})],
        "addons": [addon("kube-proxy", "v1.34.6-eksbuild.18"), addon("coredns", "v1.13.2-eksbuild.4")],
        "images": [image("1.34"), image("1.35")],
        "subnets": [{"id": f"s-{z}", "zone": f"us-east-1{z}", "free_ips": 200} for z in "abc"],
        "objects": {"nodes": [node({"name": f"n{i}"}) for i in (1, 2, 3)]},
    }


def addon(name: str, version: str) -> dict[str, Any]:
    return {"name": name, "version": version, "status": "ACTIVE"}


def image(minor: str) -> dict[str, Any]:
    return {
        "id": f"ami-{minor.replace('.', '')}",
        "name": f"golden-eks-{minor}-v20261101",
        "owner": "123456789012",
        "created_at": "2026-11-01T00:00:00Z",
        "tags": {"KubernetesVersion": minor},
    }


def group(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": "main",
        "cluster": "demo",
        "status": "ACTIVE",
        "version": "1.34",
        "ami_type": "CUSTOM",
        "image_id": "ami-134",
        "instance_types": ["m6i.large"],
        "subnet_ids": ["s-a", "s-b", "s-c"],
        "min_size": 3,
        "desired_size": 3,
        "max_size": 6,
        "update_config": {"max_unavailable": 1},
        "user_data": NODEADM,
        **given,
    }


def node(given: Mapping[str, Any]) -> dict[str, Any]:
    """`name`, `group` ("" for none), `kubelet`, `os`, `runtime`, `ready`, `labels`, `cordoned`."""
    kubelet = given.get("kubelet", "1.34")
    belongs = {"eks.amazonaws.com/nodegroup": given.get("group", "main")} if given.get("group", "main") else {}
    return {
        "metadata": {"name": given["name"], "labels": {**belongs, **given.get("labels", {})}},
        "spec": {"unschedulable": True} if given.get("cordoned") else {},
        "status": {
            "conditions": [{"type": "Ready", "status": "True" if given.get("ready", True) else "False"}],
            "nodeInfo": {
                "kubeletVersion": f"v{kubelet}.3-eks-1a2b3c4" if kubelet else "",
                "osImage": given.get("os", "Amazon Linux 2023.8.20260706"),
                "containerRuntimeVersion": given.get("runtime", "containerd://2.1.5"),
            },
        },
    }


def pod(given: Mapping[str, Any]) -> dict[str, Any]:
    """`name` as namespace/name, `node`, `owner` as Kind/name, `ready`, `labels`, `annotations`, `spec`, `status`,
    `metadata`."""
    space, _, name = given["name"].partition("/")
    kind, _, owner = given.get("owner", "").partition("/")
    meta: dict[str, Any] = {"namespace": space, "name": name, "labels": given.get("labels", {})}
    if owner:
        meta["ownerReferences"] = [{"kind": kind, "name": owner, "uid": f"{kind}-{owner}", "controller": True}]
    if "annotations" in given:
        meta["annotations"] = given["annotations"]
    resources_ = {"requests": {"cpu": "100m", "memory": "128Mi"}}
    return {
        "metadata": {**meta, **given.get("metadata", {})},
        "spec": {
            "nodeName": given.get("node", "n1"),
            "terminationGracePeriodSeconds": 30,
            "containers": [{"name": "app", "image": "app:1", "resources": resources_}],
            **given.get("spec", {}),
        },
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True" if given.get("ready", True) else "False"}],
            **given.get("status", {}),
        },
    }


def pdb(given: Mapping[str, Any]) -> dict[str, Any]:
    """`name`, `labels` (selector), `spec`, `allowed`, `healthy`, `desired`, `expected`, `conditions`."""
    space, _, name = given["name"].partition("/")
    return {
        "metadata": {"namespace": space, "name": name, "generation": 1},
        "spec": {"selector": {"matchLabels": given["labels"]}, **given["spec"]},
        "status": {
            "disruptionsAllowed": given.get("allowed", 1),
            "currentHealthy": given.get("healthy", 2),
            "desiredHealthy": given.get("desired", 1),
            "expectedPods": given.get("expected", 0),
            "observedGeneration": 1,
            "conditions": given.get("conditions", []),
        },
    }


def workload(given: Mapping[str, Any]) -> dict[str, Any]:
    """`name`, `image`, `replicas`, `spec` (of the workload), `pod` (pod spec), `container`."""
    space, _, name = given["name"].partition("/")
    container = {"name": "app", "image": given.get("image", "app:1"), **given.get("container", {})}
    pod_spec = {"containers": [container], **given.get("pod", {})}
    spec = {"replicas": given.get("replicas", 1), "template": {"spec": pod_spec}, **given.get("spec", {})}
    return {"metadata": {"namespace": space, "name": name}, "spec": spec}


SHORT = {
    "nodes": node,
    "pods": pod,
    "poddisruptionbudgets.policy": pdb,
    "deployments.apps": workload,
    "daemonsets.apps": workload,
    "statefulsets.apps": workload,
}


def snapshot(given: Mapping[str, Any]) -> Snapshot:
    """The healthy cluster with the fields of `given` put over it. Objects are short hand unless they have `metadata`
    and nothing else to tell them from raw objects (`raw: true`)."""
    data = {**base(), **{k: v for k, v in given.items() if k not in ("objects", "cluster", "node_groups")}}
    data["cluster"] = {**data["cluster"], **given.get("cluster", {})}
    if "node_groups" in given:
        data["node_groups"] = [group(g) for g in given["node_groups"]]
    objects: dict[str, Any] = {name: [] for name in resources()} | data["objects"]
    for name, items in given.get("objects", {}).items():
        make = SHORT.get(name)
        objects[name] = [i if make is None or i.get("raw") else make(i) for i in items]
    absent = given.get("absent", [])
    data["objects"] = {k: v for k, v in objects.items() if k not in absent}
    data.pop("absent", None)
    return msgspec.convert(data, Snapshot)


def target(given: Mapping[str, Any]) -> Target:
    return msgspec.convert({"version": "1.35", **given}, Target)


def terraform(given: Mapping[str, Any] | None) -> TerraformFacts | None:
    return None if given is None else msgspec.convert(given, TerraformFacts)


def load_cases() -> list[tuple[str, dict[str, Any]]]:
    """(`CODE/name`, case) of every file, sorted."""
    found = []
    for path in sorted(CASES.glob("*.json")):
        for case in json.loads(path.read_text()):
            found.append((f"{path.stem}/{case['name']}", case))
    return found
