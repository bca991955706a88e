"""A snapshot brought to life and rolled through the ports, with the real controllers."""

from __future__ import annotations

from typing import Any

import pytest

from baton.errors import ReadError, RefusedError
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
from baton.ports import AwsReader, AwsWriter, KubeReader
from baton.twin.adapters import TwinAws, TwinKube
from baton.twin.twin import Twin

START = 1_795_000_000.0
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
TOKEN = "00000000-0000-4000-8000-00000000000"


def node(index: int, **spec: Any) -> dict[str, Any]:
    zone = ZONES[index % 3]
    labels = {
        "eks.amazonaws.com/nodegroup": "main",
        "eks.amazonaws.com/nodegroup-image": "ami-34",
        "kubernetes.io/hostname": f"ip-10-0-{index}-10.ec2.internal",
        "node.kubernetes.io/instance-type": "m5.large",
        "topology.kubernetes.io/zone": zone,
    }
    quantities = {"cpu": "1930m", "memory": "7Gi", "pods": "29"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"ip-10-0-{index}-10.ec2.internal", "labels": labels, "uid": f"node-{index}"},
        "spec": {"providerID": f"aws:///{zone}/i-{index:017x}", **spec},
        "status": {
            "addresses": [{"type": "InternalIP", "address": f"10.0.{index}.10"}],
            "allocatable": quantities,
            "capacity": quantities,
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"kubeletVersion": "v1.34.9-eks-1"},
        },
    }


def workload(name: str, replicas: int, nodes: int) -> dict[str, list[dict[str, Any]]]:
    """A Deployment with its ReplicaSet and running pods, spread over the nodes."""
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels},
        "spec": {
            "containers": [{"name": "app", "image": "app:1", "resources": {"requests": {"cpu": "100m"}}}],
            "terminationGracePeriodSeconds": 5,
        },
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}

    def owner(kind: str, uid: str, of: str) -> list[dict[str, Any]]:
        return [{"apiVersion": "apps/v1", "kind": kind, "name": of, "uid": uid, "controller": True}]

    deployment = {
        "metadata": {
            "namespace": "shop",
            "name": name,
            "uid": f"d-{name}",
            "annotations": {"deployment.kubernetes.io/revision": "1"},
        },
        "spec": spec,
        "status": {"replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas},
    }
    hashed = {**labels, "pod-template-hash": "abc"}
    replica_set = {
        "metadata": {
            "namespace": "shop",
            "name": f"{name}-abc",
            "uid": f"rs-{name}",
            "labels": hashed,
            "ownerReferences": owner("Deployment", f"d-{name}", name),
            "annotations": {"deployment.kubernetes.io/revision": "1"},
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": hashed},
            "template": {**template, "metadata": {"labels": hashed}},
        },
        "status": {"replicas": replicas, "readyReplicas": replicas},
    }
    pods = [
        {
            "metadata": {
                "namespace": "shop",
                "name": f"{name}-abc-{i}",
                "uid": f"p-{name}-{i}",
                "labels": hashed,
                "ownerReferences": owner("ReplicaSet", f"rs-{name}", f"{name}-abc"),
            },
            "spec": {**template["spec"], "nodeName": f"ip-10-0-{i % nodes}-10.ec2.internal"},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }
        for i in range(replicas)
    ]
    return {"deployments.apps": [deployment], "replicasets.apps": [replica_set], "pods": pods}


def budget(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "shop", "name": name, "uid": f"pdb-{name}"},
        "spec": {"selector": {"matchLabels": {"app": name}}, **spec},
        "status": {},
    }


def snapshot(nodes: int = 3, **changes: Any) -> Snapshot:
    objects: dict[str, Any] = {
        **workload("cart", 2 * nodes, nodes),
        "nodes": [node(i) for i in range(nodes)],
        "poddisruptionbudgets.policy": [budget("cart", maxUnavailable=1)],
        "namespaces": [{"metadata": {"name": "shop", "uid": "ns-shop"}}],
    }
    objects.update(changes.pop("objects", {}))
    group = NodeGroup(
        "main",
        "demo",
        "ACTIVE",
        "1.34",
        "ami-34",
        ami_type="CUSTOM",
        instance_types=("m5.large",),
        subnet_ids=("subnet-0", "subnet-1", "subnet-2"),
        min_size=nodes,
        desired_size=nodes,
        max_size=nodes + 3,
        update_config=UpdateConfig(max_unavailable=1),
        launch_template=LaunchTemplateRef("lt-1", "golden", "4"),
        image_id="ami-34",
    )
    given: dict[str, Any] = {
        "taken_at": START,
        "cluster": Cluster("demo", "1.34", "ACTIVE", subnet_ids=("subnet-0", "subnet-1", "subnet-2")),
        "node_groups": (group,),
        "addons": (Addon("coredns", "v1.12.4-eksbuild.1", "ACTIVE"),),
        "images": (
            Image("ami-34", "golden-eks-1.34-v20261015", "123456789012"),
            Image("ami-35", "golden-eks-1.35-v20261101", "123456789012", tags={"KubernetesVersion": "1.35"}),
        ),
        "subnets": tuple(Subnet(f"subnet-{i}", z, 200, f"10.0.{i}.0/24") for i, z in enumerate(ZONES)),
        "objects": {k: tuple(v) for k, v in objects.items()},
    }
    return Snapshot(**{**given, **changes})


def roll(twin: Twin, aws: TwinAws, image: str = "ami-35") -> str:
    """Roll node group `main` to the image; the update's status at its end."""
    number = aws.new_launch_template_version("lt-1", "4", image, token=TOKEN + "1")
    update = aws.update_node_group_version("demo", "main", token=TOKEN + "2", launch_template=("lt-1", number))
    for _ in range(2000):
        update = aws.update("demo", update.id, node_group="main")
        if update.status != "InProgress":
            return update.status
        twin.clock.sleep(10)
    return "still in progress"


def test_twin_adapters_are_the_ports() -> None:
    """A conductor handed a twin must find every call it makes against AWS and Kubernetes."""
    twin = Twin.from_snapshot(snapshot(), seed=1)
    reader: AwsReader = TwinAws(twin, snapshot().images)
    writer: AwsWriter = TwinAws(twin)
    kube: KubeReader = TwinKube(twin, "demo")
    assert reader.cluster("demo").version == "1.34"
    assert writer is not None
    assert kube.server_version() == "v1.34"


def test_twin_adapters_snapshot_comes_to_life_as_it_was() -> None:
    """A twin that moved or lost something before anybody asked would rehearse another cluster."""
    twin = Twin.from_snapshot(snapshot(), seed=1)
    twin.clock.sleep(600)
    aws, kube = TwinAws(twin), TwinKube(twin, "demo")
    group = aws.node_group("demo", "main")
    assert (group.desired_size, group.max_size, group.launch_template) == (
        3,
        6,
        LaunchTemplateRef("lt-1", "golden", "4"),
    )
    (scaling,) = aws.auto_scaling_groups(group.auto_scaling_groups)
    assert [i.id for i in scaling.instances] == [f"i-{i:017x}" for i in range(3)]
    assert {p["metadata"]["name"] for p in kube.list("pods")} == {f"cart-abc-{i}" for i in range(6)}
    assert aws.launch_template_image("lt-1", "") == "ami-34"
    assert twin.assumptions == ()


def test_twin_adapters_roll_through_the_ports() -> None:
    """The whole node stage of a rehearsal: every node replaced, no pod lost, the budget never broken."""
    twin = Twin.from_snapshot(snapshot(), seed=3)
    aws, kube = TwinAws(twin), TwinKube(twin, "demo")
    watch = kube.watch(["pods", "nodes"])
    assert roll(twin, aws) == "Successful"
    nodes = kube.list("nodes")
    assert len(nodes) == 3
    assert {n["status"]["nodeInfo"]["kubeletVersion"][:5] for n in nodes} == {"v1.35"}
    assert not [n for n in nodes if n["spec"].get("unschedulable")]
    pods = kube.list("pods")
    assert len(pods) == 6
    assert all(p["status"]["phase"] == "Running" for p in pods)
    ready = 0
    lowest = 6
    alive: dict[str, bool] = {}
    for event in watch.poll():
        if event.resource != "pods":
            continue
        conditions = event.object.get("status", {}).get("conditions") or ()
        is_ready = event.type != "DELETED" and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        alive[event.object["metadata"]["name"]] = is_ready and not event.object["metadata"].get("deletionTimestamp")
        ready = sum(alive.values())
        lowest = min(lowest, ready) if event.at > START else lowest
    assert lowest == 5


def test_twin_adapters_same_seed_same_history() -> None:
    """Two rehearsals of one seed must tell the same story to the byte."""
    histories = []
    for _ in range(2):
        twin = Twin.from_snapshot(snapshot(), seed=5)
        watch = TwinKube(twin, "demo").watch(["pods", "nodes"])
        roll(twin, TwinAws(twin))
        histories.append(repr(watch.poll()))
    assert histories[0] == histories[1]


def test_twin_adapters_blocking_budget_fails_the_roll() -> None:
    """A budget that allows nothing must show in a rehearsal as it would in production: Failed, with the node named."""
    objects = {"poddisruptionbudgets.policy": [budget("cart", maxUnavailable=0)]}
    twin = Twin.from_snapshot(snapshot(objects=objects), seed=3)
    aws, kube = TwinAws(twin), TwinKube(twin, "demo")
    assert roll(twin, aws) == "Failed"
    update = aws.update("demo", aws.updates("demo", node_group="main")[0], node_group="main")
    assert update.errors[0].code == "PodEvictionFailure"
    assert {p["metadata"]["name"] for p in kube.list("pods")} == {f"cart-abc-{i}" for i in range(6)}
    assert len(kube.list("nodes")) == 3


def test_twin_adapters_kubectl_dump_is_enough() -> None:
    """With nothing but nodes and pods a rehearsal must still run, and say what it assumed."""
    twin = Twin.from_snapshot(snapshot(node_groups=(), subnets=(), cluster=Cluster("demo", "1.34", "ACTIVE")), seed=3)
    assert any("node group main is known from its nodes' label only" in a for a in twin.assumptions)
    aws = TwinAws(twin)
    template = aws.node_group("demo", "main").launch_template
    assert template is not None
    number = aws.new_launch_template_version(template.id, template.version, "ami-35", token=TOKEN + "1")
    update = aws.update_node_group_version("demo", "main", token=TOKEN + "2", launch_template=(template.id, number))
    twin.clock.sleep(3 * 3600)
    assert aws.update("demo", update.id, node_group="main").status == "Successful"


def test_twin_adapters_control_plane_and_addons() -> None:
    """The stages before the nodes must run on the same twin through the same ports."""
    twin = Twin.from_snapshot(snapshot(), seed=3)
    aws = TwinAws(twin)
    first = aws.update_cluster_version("demo", "1.35", token=TOKEN + "3")
    assert aws.update_cluster_version("demo", "1.35", token=TOKEN + "3").id == first.id
    twin.clock.sleep(1000)
    assert aws.update("demo", first.id).status == "Successful"
    assert (aws.cluster("demo").version, TwinKube(twin, "demo").server_version()) == ("1.35", "v1.35")
    wanted = aws.addon_releases("coredns", "1.35")[0].version
    update = aws.update_addon("demo", "coredns", wanted, token=TOKEN + "4", resolve_conflicts="PRESERVE")
    twin.clock.sleep(1200)
    assert aws.update("demo", update.id, addon="coredns").status == "Successful"
    assert (aws.addon("demo", "coredns").version, aws.addon("demo", "coredns").status) == (wanted, "ACTIVE")


def test_twin_adapters_refusals_are_the_gateways_errors() -> None:
    """A rehearsal must meet the same kinds of error as production, or it would test another conductor."""
    twin = Twin.from_snapshot(snapshot(), seed=3)
    aws = TwinAws(twin, snapshot().images)
    with pytest.raises(ReadError, match="No cluster found for name: nobody"):
        aws.cluster("nobody")
    with pytest.raises(RefusedError, match=r"Unsupported Kubernetes minor version update from 1\.34 to 1\.36"):
        aws.update_cluster_version("demo", "1.36", token=TOKEN + "5")
    with pytest.raises(ReadError, match="no version 99"):
        aws.launch_template_image("lt-1", "99")
    with pytest.raises(ReadError):
        aws.subnets(["subnet-none"])
    with pytest.raises(ReadError):
        TwinKube(twin, "nobody")
    assert [i.id for i in aws.images(filters={"name": ["golden-eks-1.35-*"]})] == ["ami-35"]
    assert [i.id for i in aws.images(filters={"tag:KubernetesVersion": ["1.35"]})] == ["ami-35"]
    assert [s.free_ips for s in aws.subnets(["subnet-0"])] == [200]


def test_twin_adapters_a_followed_update_is_never_stale() -> None:
    """What was described before must not hide the end of an update, or that its node group is gone."""
    twin = Twin.from_snapshot(snapshot(), seed=3)
    aws = TwinAws(twin)
    number = aws.new_launch_template_version("lt-1", "4", "ami-35", token=TOKEN + "1")
    begun = aws.update_node_group_version("demo", "main", token=TOKEN + "2", launch_template=("lt-1", number))
    while aws.update("demo", begun.id, node_group="main").status == "InProgress":
        assert aws.update("demo", begun.id, node_group="main") == TwinAws(twin).update(
            "demo", begun.id, node_group="main"
        )
        twin.clock.sleep(30)
    assert aws.update("demo", begun.id, node_group="main").status == "Successful"
    with pytest.raises(ReadError):
        aws.update("demo", begun.id)
    twin.cloud.eks("DeleteNodegroup", {"clusterName": "demo", "nodegroupName": "main"})
    twin.clock.sleep(3600)
    with pytest.raises(ReadError):
        aws.update("demo", begun.id, node_group="main")
