"""From an empty account to an upgraded cluster, with the real controllers on the Kubernetes side."""

from __future__ import annotations

from typing import Any

from cloud_fakes import ROLE, START, ZONES

from baton.twin.clock import VirtualClock
from baton.twin.cloud.catalogue import ImageInfo, LaunchTemplateVersion, MemoryCatalogue, SubnetInfo
from baton.twin.twin import Twin

SUBNETS = ["subnet-0", "subnet-1", "subnet-2"]


def account(seed: int = 7) -> Twin:
    catalogue = MemoryCatalogue()
    for i, zone in enumerate(ZONES):
        catalogue.subnets[f"subnet-{i}"] = SubnetInfo(f"subnet-{i}", zone, "vpc-1", f"10.0.{i}.0/24", 251)
    for number, minor in enumerate(("1.34", "1.35"), 1):
        image = f"ami-{minor}"
        catalogue.images[image] = ImageInfo(image, f"golden-eks-{minor}-v2026")
        catalogue.add_template_version(LaunchTemplateVersion("lt-1", "golden", number, image, "m5.large"), number == 1)
    return Twin(seed, clock=VirtualClock(START), catalogue=catalogue)


def until_active(twin: Twin, operation: str, member: str, limit: float = 1800.0, **params: Any) -> float:
    start = twin.clock.now()
    while twin.cloud.eks(operation, params)[member]["status"] != "ACTIVE":
        assert twin.clock.now() - start < limit
        twin.clock.sleep(5)
    return twin.clock.now() - start


def ended(twin: Twin, answer: dict[str, Any], **scope: str) -> dict[str, Any]:
    params = {"name": "demo", "updateId": answer["update"]["id"], **scope}
    for _ in range(2000):
        update: dict[str, Any] = twin.cloud.eks("DescribeUpdate", params)["update"]
        if update["status"] != "InProgress":
            return update
        twin.clock.sleep(10)
    raise AssertionError("the update never ends")


def create(twin: Twin) -> None:
    """Cluster, CNI, node group, then the add-ons that need nodes: the order of the Terraform module."""
    eks = twin.cloud.eks
    vpc = {"subnetIds": SUBNETS}
    eks(
        "CreateCluster",
        {
            "name": "demo",
            "version": "1.34",
            "roleArn": ROLE,
            "resourcesVpcConfig": vpc,
            "bootstrapSelfManagedAddons": False,
        },
    )
    took = until_active(twin, "DescribeCluster", "cluster", name="demo")
    assert 420 <= took <= 725
    eks("CreateAddon", {"clusterName": "demo", "addonName": "vpc-cni"})
    until_active(twin, "DescribeAddon", "addon", clusterName="demo", addonName="vpc-cni")
    group = {"clusterName": "demo", "nodegroupName": "main"}
    scaling = {"minSize": 3, "desiredSize": 3, "maxSize": 6}
    template = {"id": "lt-1", "version": "1"}
    eks(
        "CreateNodegroup",
        {**group, "subnets": SUBNETS, "nodeRole": ROLE, "scalingConfig": scaling, "launchTemplate": template},
    )
    took = until_active(twin, "DescribeNodegroup", "nodegroup", **group)
    assert 60 <= took <= 200
    for addon in ("coredns", "kube-proxy"):
        eks("CreateAddon", {"clusterName": "demo", "addonName": addon})
    for addon in ("coredns", "kube-proxy"):
        until_active(twin, "DescribeAddon", "addon", clusterName="demo", addonName=addon)


def test_twin_cloud_whole_upgrade_in_order() -> None:
    """The main job on the twin: control plane, add-ons, nodes; all must end well and leave coredns its budget."""
    twin = account()
    create(twin)
    eks = twin.cloud.eks
    update = ended(twin, eks("UpdateClusterVersion", {"name": "demo", "version": "1.35"}))
    assert update["status"] == "Successful"
    for addon in ("vpc-cni", "coredns", "kube-proxy"):
        info = eks("DescribeAddonVersions", {"addonName": addon, "kubernetesVersion": "1.35"})["addons"][0]
        default = next(v for v in info["addonVersions"] if v["compatibilities"][0]["defaultVersion"])
        wanted = {"clusterName": "demo", "addonName": addon, "addonVersion": default["addonVersion"]}
        assert ended(twin, eks("UpdateAddon", wanted), addonName=addon)["status"] == "Successful"
    group = {"clusterName": "demo", "nodegroupName": "main"}
    roll = {**group, "launchTemplate": {"id": "lt-1", "version": "2"}}
    start = twin.clock.now()
    assert ended(twin, eks("UpdateNodegroupVersion", roll), nodegroupName="main")["status"] == "Successful"
    assert 600 < twin.clock.now() - start < 3600
    kube = twin.kube("demo")
    nodes = list(kube.world.items("nodes"))
    assert {n["status"]["nodeInfo"]["kubeletVersion"][:5] for n in nodes} == {"v1.35"}
    assert sorted(n["metadata"]["labels"]["topology.kubernetes.io/zone"] for n in nodes) == sorted(ZONES)
    pods = list(kube.world.items("pods"))
    assert sum(p["metadata"]["name"].startswith("coredns-") for p in pods) == 2
    assert sum(p["metadata"]["name"].startswith("aws-node-") for p in pods) == 3
    assert all(p["status"]["phase"] == "Running" for p in pods)
    status = next(
        i for i in eks("ListInsights", {"clusterName": "demo"})["insights"] if i["name"].startswith("Kubelet")
    )
    assert status["insightStatus"]["status"] == "PASSING"


def test_twin_cloud_whole_coredns_without_nodes_is_degraded() -> None:
    """coredns before any node must end as it does on EKS, or an order of creation that fails there passes here."""
    twin = account()
    vpc = {"subnetIds": SUBNETS}
    twin.cloud.eks("CreateCluster", {"name": "demo", "roleArn": ROLE, "resourcesVpcConfig": vpc})
    until_active(twin, "DescribeCluster", "cluster", name="demo")
    which = {"clusterName": "demo", "addonName": "coredns"}
    twin.cloud.eks("CreateAddon", which)
    twin.clock.sleep(1000)
    addon = twin.cloud.eks("DescribeAddon", which)["addon"]
    assert (addon["status"], addon["health"]["issues"][0]["code"]) == ("DEGRADED", "InsufficientNumberOfReplicas")


def test_twin_cloud_whole_removal_leaves_nothing() -> None:
    """A destroy must end, whatever it meets: groups drain, the cluster goes, no instance is left running."""
    twin = account()
    create(twin)
    eks = twin.cloud.eks
    for addon in ("vpc-cni", "coredns", "kube-proxy"):
        eks("DeleteAddon", {"clusterName": "demo", "addonName": addon, "preserve": True})
    eks("DeleteNodegroup", {"clusterName": "demo", "nodegroupName": "main"})
    start = twin.clock.now()
    while eks("ListNodegroups", {"clusterName": "demo"})["nodegroups"]:
        twin.clock.sleep(10)
        assert twin.clock.now() - start < 900
    eks("DeleteCluster", {"name": "demo"})
    twin.clock.sleep(600)
    assert eks("ListClusters", {})["clusters"] == []
    assert not twin.cloud.instances()
    assert not twin.cloud.asgs()
