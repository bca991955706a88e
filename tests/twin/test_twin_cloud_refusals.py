"""What EKS refuses, word for word, and what becomes of updates that fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cloud_fakes import ROLE, Bench

from baton.errors import UsageError
from baton.twin.cloud.errors import AwsError

SUBNETS = ["subnet-0", "subnet-1", "subnet-2"]


@pytest.fixture(scope="module")
def bench() -> Bench:
    made = Bench()
    made.cluster()
    made.group()
    made.group("managed", custom=False)
    for addon, version in (("vpc-cni", "v1.20.4-eksbuild.1"), ("coredns", None)):
        made.eks("CreateAddon", clusterName="demo", addonName=addon, **({"addonVersion": version} if version else {}))
    made.clock.sleep(120)
    return made


def refused(call: Callable[[], object]) -> tuple[str, int, str]:
    with pytest.raises(AwsError) as caught:
        call()
    return caught.value.code, caught.value.status, caught.value.message


CASES: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "UpdateClusterVersion",
        {"name": "demo", "version": "1.36"},
        "InvalidParameterException",
        "Unsupported Kubernetes minor version update from 1.34 to 1.36",
    ),
    (
        "UpdateClusterVersion",
        {"name": "demo", "version": "1.34"},
        "InvalidParameterException",
        "Unsupported Kubernetes minor version update from 1.34 to 1.34",
    ),
    (
        "UpdateClusterVersion",
        {"name": "demo", "version": "1.33"},
        "InvalidParameterException",
        "Unsupported Kubernetes minor version update from 1.34 to 1.33",
    ),
    (
        "UpdateClusterVersion",
        {"name": "demo", "version": "1.99"},
        "InvalidParameterException",
        "unsupported Kubernetes version",
    ),
    (
        "UpdateClusterVersion",
        {"name": "demo", "version": "latest"},
        "InvalidParameterException",
        "unsupported Kubernetes version",
    ),
    ("DescribeCluster", {"name": "nobody"}, "ResourceNotFoundException", "No cluster found for name: nobody."),
    (
        "DescribeNodegroup",
        {"clusterName": "demo", "nodegroupName": "x"},
        "ResourceNotFoundException",
        "No node group found for name: x.",
    ),
    (
        "DescribeAddon",
        {"clusterName": "demo", "addonName": "x"},
        "ResourceNotFoundException",
        "No addon: x found in cluster: demo",
    ),
    (
        "CreateCluster",
        {"name": "demo", "roleArn": ROLE, "resourcesVpcConfig": {"subnetIds": SUBNETS}},
        "ResourceInUseException",
        "Cluster already exists with name: demo",
    ),
    (
        "CreateCluster",
        {"name": "x", "roleArn": ROLE, "resourcesVpcConfig": {"subnetIds": SUBNETS}, "version": "1.22"},
        "InvalidParameterException",
        "unsupported Kubernetes version",
    ),
    (
        "CreateCluster",
        {"name": "x", "roleArn": ROLE, "resourcesVpcConfig": {"subnetIds": ["subnet-0"]}},
        "InvalidParameterException",
        "Subnets specified must be in at least two different AZs",
    ),
    ("DeleteCluster", {"name": "demo"}, "ResourceInUseException", "Cluster has nodegroups attached"),
    (
        "CreateNodegroup",
        {"clusterName": "demo", "nodegroupName": "main", "subnets": SUBNETS, "nodeRole": ROLE},
        "ResourceInUseException",
        "NodeGroup already exists with name main and cluster name demo",
    ),
    (
        "CreateNodegroup",
        {
            "clusterName": "demo",
            "nodegroupName": "x",
            "subnets": SUBNETS,
            "nodeRole": ROLE,
            "version": "1.34",
            "launchTemplate": {"id": "lt-1"},
        },
        "InvalidParameterException",
        "You cannot specify a kubernetes version to use when specifying an image id to use within the launch template.",
    ),
    (
        "CreateNodegroup",
        {
            "clusterName": "demo",
            "nodegroupName": "x",
            "subnets": SUBNETS,
            "nodeRole": ROLE,
            "amiType": "AL2023_x86_64_STANDARD",
            "launchTemplate": {"id": "lt-1"},
        },
        "InvalidParameterException",
        "You cannot specify an AMI Type other than CUSTOM, when specifying an image id in your launch template",
    ),
    (
        "CreateNodegroup",
        {
            "clusterName": "demo",
            "nodegroupName": "x",
            "subnets": SUBNETS,
            "nodeRole": ROLE,
            "launchTemplate": {"id": "lt-1", "name": "name-of-lt-1"},
        },
        "InvalidParameterException",
        "Either provide launch template ID or launch template name in the request.",
    ),
    (
        "UpdateNodegroupVersion",
        {"clusterName": "demo", "nodegroupName": "main", "version": "1.34"},
        "InvalidParameterException",
        "You cannot specify the field kubernetesVersion when using custom AMIs.",
    ),
    (
        "UpdateNodegroupVersion",
        {"clusterName": "demo", "nodegroupName": "main", "releaseVersion": "1.34.9-20260714"},
        "InvalidParameterException",
        "You cannot specify the field releaseVersion when using custom AMIs.",
    ),
    (
        "UpdateNodegroupVersion",
        {"clusterName": "demo", "nodegroupName": "main"},
        "InvalidParameterException",
        "Launch template details can't be null for Custom ami type node group",
    ),
    (
        "UpdateNodegroupVersion",
        {"clusterName": "demo", "nodegroupName": "managed", "version": "1.35"},
        "InvalidParameterException",
        "Nodegroup Kubernetes version should be equal to Cluster kubernetes version 1.34 "
        "or NodeGroup kubernetes version 1.34",
    ),
    (
        "UpdateNodegroupVersion",
        {"clusterName": "demo", "nodegroupName": "managed", "releaseVersion": "1.31.3-20250103"},
        "InvalidParameterException",
        "Requested release version 1.31.3-20250103 is not valid for kubernetes version 1.34.",
    ),
    (
        "UpdateNodegroupConfig",
        {"clusterName": "demo", "nodegroupName": "main", "scalingConfig": {"minSize": 5}},
        "InvalidParameterException",
        "Minimum capacity 5 can't be greater than desired size 3",
    ),
    (
        "UpdateAddon",
        {"clusterName": "demo", "addonName": "vpc-cni", "addonVersion": "v9.9.9-eksbuild.1"},
        "InvalidParameterException",
        "Addon version specified is not supported",
    ),
    (
        "UpdateAddon",
        {"clusterName": "demo", "addonName": "vpc-cni", "addonVersion": "v1.22.4-eksbuild.3"},
        "InvalidParameterException",
        "Updating VPC-CNI can only go up or down 1 minor version at a time",
    ),
    (
        "CreateAddon",
        {"clusterName": "demo", "addonName": "nonsense"},
        "InvalidParameterException",
        "Addon specified is not supported",
    ),
    ("CreateAddon", {"clusterName": "demo", "addonName": "coredns"}, "ResourceInUseException", "Addon already exists."),
    (
        "CreateAddon",
        {"clusterName": "demo", "addonName": "metrics-server", "resolveConflicts": "PRESERVE"},
        "InvalidParameterException",
        "Resolve conflicts option preserve is not supported for operation CreateAddon",
    ),
    (
        "DescribeUpdate",
        {"name": "demo", "updateId": "0"},
        "ResourceNotFoundException",
        "No update found for ID: 0",
    ),
    (
        "UpdateClusterConfig",
        {"name": "demo", "accessConfig": {"authenticationMode": "CONFIG_MAP"}},
        "InvalidParameterException",
        "Unsupported authentication mode update from API_AND_CONFIG_MAP to CONFIG_MAP",
    ),
    ("ListTagsForResource", {"resourceArn": "nonsense"}, "BadRequestException", "Invalid resource ARN"),
    ("DescribeCluster", {}, "InvalidParameterException", "The parameter name is required."),
    (
        "RegisterCluster",
        {},
        "InvalidRequestException",
        "The operation RegisterCluster is not served here: connected clusters are registered for viewing only; "
        "EKS does not upgrade them",
    ),
]


@pytest.mark.parametrize(
    ("operation", "params", "code", "message"), CASES, ids=lambda c: c if isinstance(c, str) else ""
)
def test_twin_cloud_refusals_word_for_word(
    bench: Bench, operation: str, params: dict[str, Any], code: str, message: str
) -> None:
    """Tools match on these codes and texts; another wording would send them another way than production."""
    found = refused(lambda: bench.eks(operation, **params))
    assert (found[0], found[2]) == (code, message)


def test_twin_cloud_refusals_busy_cluster_and_group(bench: Bench) -> None:
    """A second update while one runs must be refused with the id of the first; tags stay possible."""
    fresh = Bench()
    fresh.cluster()
    fresh.group()
    ident = fresh.eks("UpdateClusterVersion", name="demo", version="1.35")["update"]["id"]
    access = {"accessConfig": {"authenticationMode": "API"}}
    code, status, message = refused(lambda: fresh.eks("UpdateClusterConfig", name="demo", **access))
    assert (code, status) == ("ResourceInUseException", 409)
    assert message == f"Cannot AccessConfigUpdate because cluster demo currently has update {ident} in progress"
    fresh.eks("TagResource", resourceArn=fresh.eks("DescribeCluster", name="demo")["cluster"]["arn"], tags={"a": "b"})
    assert fresh.status() == "UPDATING"
    fresh.template("ami-35", 2)
    template = {"id": "lt-1", "version": "2"}
    roll = {"clusterName": "demo", "nodegroupName": "main", "launchTemplate": template}
    first = fresh.eks("UpdateNodegroupVersion", **roll)["update"]["id"]
    assert f"update {first} in progress" in refused(lambda: fresh.eks("UpdateNodegroupVersion", **roll))[2]
    assert refused(lambda: fresh.eks("DeleteNodegroup", clusterName="demo", nodegroupName="main"))[1] == 409


def test_twin_cloud_refusals_token_repeats_return_the_first_answer(bench: Bench) -> None:
    """SDKs retry with the same token; starting a second update for it would roll the nodes twice."""
    fresh = Bench()
    fresh.cluster(clientRequestToken="c1")
    vpc = {"subnetIds": SUBNETS}
    again = fresh.eks("CreateCluster", name="demo", roleArn=ROLE, resourcesVpcConfig=vpc, clientRequestToken="c1")
    assert again["cluster"]["status"] == "ACTIVE"
    one = fresh.eks("UpdateClusterVersion", name="demo", version="1.35", clientRequestToken="u1")["update"]
    two = fresh.eks("UpdateClusterVersion", name="demo", version="1.35", clientRequestToken="u1")["update"]
    assert one == two
    fresh.update({"update": one})
    late = fresh.eks("UpdateClusterVersion", name="demo", version="1.35", clientRequestToken="u1")["update"]
    assert (late["id"], late["status"]) == (one["id"], "Successful")


def test_twin_cloud_refusals_kubelet_skew_stops_the_control_plane() -> None:
    """A control plane four minors ahead of its nodes is what EKS refuses; three it allows."""
    fresh = Bench()
    fresh.cluster("1.32")
    fresh.catalogue.images["ami-34"] = fresh.catalogue.images["ami-34"].__class__("ami-34", "golden-eks-1.31-v1")
    fresh.group()
    for version in ("1.33", "1.34"):
        answer = fresh.eks("UpdateClusterVersion", name="demo", version=version)
        assert fresh.update(answer)["status"] == "Successful"
    code, _, message = refused(lambda: fresh.eks("UpdateClusterVersion", name="demo", version="1.35"))
    assert code == "InvalidRequestException"
    assert message == "Nodegroups main must be updated to match cluster version 1.34 before updating cluster version"


def test_twin_cloud_refusals_failed_control_plane_stays_on_its_version() -> None:
    """A failed health check or missing addresses must leave the cluster ACTIVE at the old version."""
    fresh = Bench()
    fresh.cluster()
    fresh.settings.change("faults", "control_plane_fails", True)
    update = fresh.update(fresh.eks("UpdateClusterVersion", name="demo", version="1.35"))
    assert (update["status"], update["errors"][0]["errorCode"]) == ("Failed", "Unknown")
    fresh.settings.change("faults", "control_plane_fails", False)
    fresh.settings.change("faults", "no_free_ips", ["*"])
    update = fresh.update(fresh.eks("UpdateClusterVersion", name="demo", version="1.35"))
    assert update["errors"][0]["errorCode"] == "IpNotAvailable"
    assert update["errors"][0]["resourceIds"] == SUBNETS
    cluster = fresh.eks("DescribeCluster", name="demo")["cluster"]
    assert (cluster["version"], cluster["status"]) == ("1.34", "ACTIVE")


def test_twin_cloud_refusals_rollback_within_seven_days() -> None:
    """Going back one minor is allowed for a week, unless nodes are newer; force lifts only the insights."""
    fresh = Bench()
    fresh.cluster()
    fresh.group()
    fresh.update(fresh.eks("UpdateClusterVersion", name="demo", version="1.35"))
    fresh.template("ami-35", 2)
    roll = {"clusterName": "demo", "nodegroupName": "main", "launchTemplate": {"id": "lt-1", "version": "2"}}
    fresh.update(fresh.eks("UpdateNodegroupVersion", **roll), nodegroupName="main")
    code, _, message = refused(lambda: fresh.eks("UpdateClusterVersion", name="demo", version="1.34"))
    assert code == "InvalidStateException"
    assert message.startswith("Amazon EKS detected upgrade readiness issues.")
    back = {**roll, "launchTemplate": {"id": "lt-1", "version": "1"}}
    fresh.update(fresh.eks("UpdateNodegroupVersion", **back), nodegroupName="main")
    answer = fresh.eks("UpdateClusterVersion", name="demo", version="1.34")
    assert answer["update"]["type"] == "VersionRollback"
    ident = {"name": "demo", "updateId": answer["update"]["id"]}
    assert refused(lambda: fresh.eks("CancelUpdate", **ident))[0] == "InvalidRequestException"
    assert fresh.update(answer)["status"] == "Successful"
    assert fresh.kube().version == "1.34"
    assert refused(lambda: fresh.eks("CancelUpdate", **ident))[0] == "InvalidStateException"
    fresh.update(fresh.eks("UpdateClusterVersion", name="demo", version="1.35"))
    fresh.clock.sleep(8 * 86400)
    text = refused(lambda: fresh.eks("UpdateClusterVersion", name="demo", version="1.34", force=True))[2]
    assert "only within 7 days" in text


def test_twin_cloud_refusals_addon_conflict_and_sickness() -> None:
    """A conflict fails under NONE and passes under OVERWRITE; a sick new version ends DEGRADED, not ACTIVE."""
    fresh = Bench()
    fresh.cluster()
    which = {"clusterName": "demo", "addonName": "vpc-cni"}
    fresh.eks("CreateAddon", **which, addonVersion="v1.20.4-eksbuild.1")
    fresh.clock.sleep(120)
    fresh.settings.change("faults", "addon_conflict", ["vpc-cni"])
    step = {**which, "addonVersion": "v1.21.1-eksbuild.3"}
    update = fresh.update(fresh.eks("UpdateAddon", **step, resolveConflicts="NONE"), addonName="vpc-cni")
    assert update["errors"][0]["errorCode"] == "ConfigurationConflict"
    assert "Conflicts: DaemonSet.apps aws-node" in update["errors"][0]["errorMessage"]
    addon = fresh.eks("DescribeAddon", **which)["addon"]
    assert (addon["status"], addon["addonVersion"]) == ("UPDATE_FAILED", "v1.20.4-eksbuild.1")
    update = fresh.update(fresh.eks("UpdateAddon", **step, resolveConflicts="OVERWRITE"), addonName="vpc-cni")
    assert update["status"] == "Successful"
    fresh.settings.change("faults", "addon_unhealthy", ["*"])
    step["addonVersion"] = "v1.21.1-eksbuild.7"
    update = fresh.update(fresh.eks("UpdateAddon", **step, resolveConflicts="OVERWRITE"), addonName="vpc-cni")
    assert update["errors"][0]["errorCode"] == "InsufficientNumberOfReplicas"
    assert fresh.eks("DescribeAddon", **which)["addon"]["status"] == "DEGRADED"


def test_twin_cloud_refusals_creation_whose_nodes_never_join() -> None:
    """Terraform must see CREATE_FAILED with the instances named, after the 20 minutes EKS waits."""
    fresh = Bench()
    fresh.cluster()
    fresh.settings.change("faults", "never_join", ["main"])
    fresh.group()
    shown = fresh.shown()
    issue = shown["health"]["issues"][0]
    assert (shown["status"], issue["code"]) == ("CREATE_FAILED", "NodeCreationFailure")
    assert issue["message"] == "Instances failed to join the kubernetes cluster"
    assert issue["resourceIds"] == [i.id for i in fresh.cloud.instances()]


def test_twin_cloud_refusals_deletion_protection() -> None:
    """A protected cluster must survive a destroy."""
    fresh = Bench()
    fresh.cluster(deletionProtection=True)
    assert refused(lambda: fresh.eks("DeleteCluster", name="demo"))[0] == "InvalidRequestException"


def test_twin_cloud_refusals_settings_by_name() -> None:
    """A mistyped fault that was accepted silently would rehearse nothing."""
    settings = Bench().settings
    for group, name, value in (
        ("faults", "never_joins", ["x"]),
        ("nonsense", "x", 1),
        ("faults", "never_join", "main"),
        ("timings", "node_boot", "fast"),
        ("timings", "nonsense", 3),
        ("switches", "drain_windows", 0),
        ("switches", "failure_mode", "hope"),
    ):
        with pytest.raises(UsageError):
            settings.change(group, name, value)
    settings.change("timings", "node_boot", [50, 60, 70])
    settings.change("durations", "eviction_retry", [1, 2])
    assert settings.as_json()["timings"]["node_boot"] == [50.0, 60.0, 70.0]
    assert settings.as_json()["durations"]["eviction_retry"] == [1.0, 2.0]


def test_twin_cloud_refusals_asg_sizes_and_their_consequences() -> None:
    """Changing the Auto Scaling group must change the cluster: more nodes, fewer, and pods that move first."""
    fresh = Bench()
    fresh.cluster()
    fresh.group()
    fresh.pods(6)
    name = fresh.cloud.asgs()[0].name
    fresh.cloud.set_desired(name, 5)
    fresh.clock.sleep(300)
    assert len(list(fresh.kube().world.items("nodes"))) == 5
    assert fresh.shown()["scalingConfig"]["desiredSize"] == 5
    fresh.cloud.set_desired(name, 3)
    fresh.clock.sleep(600)
    assert len(list(fresh.kube().world.items("nodes"))) == 3
    assert len(list(fresh.kube().world.items("pods"))) == 6
    victim = fresh.cloud.instances()[0]
    fresh.cloud.terminate_instance(victim.id)
    fresh.clock.sleep(600)
    assert victim.id not in {i.id for i in fresh.cloud.instances()}
    assert len(fresh.cloud.instances()) == 3
    with pytest.raises(UsageError, match="desired capacity 9"):
        fresh.cloud.set_desired(name, 9)
    with pytest.raises(UsageError):
        fresh.cloud.terminate_instance("i-none")


def test_twin_cloud_refusals_group_without_capacity_is_degraded_until_it_has_some() -> None:
    """A scale-out that cannot be served must show on the node group with EC2's reason, and heal by itself."""
    fresh = Bench()
    fresh.cluster()
    fresh.group()
    fresh.settings.change("faults", "no_capacity", ["*"])
    fresh.cloud.set_desired(fresh.cloud.asgs()[0].name, 4)
    fresh.clock.sleep(60)
    shown = fresh.shown()
    assert (shown["status"], shown["health"]["issues"][0]["code"]) == ("DEGRADED", "AsgInstanceLaunchFailures")
    fresh.settings.change("faults", "no_capacity", [])
    fresh.clock.sleep(300)
    assert fresh.shown()["status"] == "ACTIVE"
    assert len(fresh.cloud.instances()) == 4


def test_twin_cloud_refusals_nodes_use_up_a_small_subnet() -> None:
    """The VPC CNI takes addresses for every node; a surge into a small subnet must fail as it does on EKS."""
    fresh = Bench()
    for name, subnet in list(fresh.catalogue.subnets.items()):
        fresh.catalogue.subnets[name] = subnet.__class__(name, subnet.zone, "vpc-1", subnet.cidr, 20)
    fresh.cluster()
    fresh.group()
    fresh.template("ami-35", 2)
    roll = {"clusterName": "demo", "nodegroupName": "main", "launchTemplate": {"id": "lt-1", "version": "2"}}
    update = fresh.update(fresh.eks("UpdateNodegroupVersion", **roll), nodegroupName="main")
    assert update["errors"][0]["errorCode"] == "NodeCreationFailure"
    texts = [a["message"] for a in fresh.cloud.asgs()[0].activities if a["status"] == "Failed"]
    assert "There are not enough free addresses in subnet" in texts[0]
    fresh.settings.change("switches", "cni_addresses", False)


def test_twin_cloud_refusals_end_of_support_moves_the_control_plane() -> None:
    """With the switch on, a cluster left in a version that ended must go up by itself, nodes untouched."""
    fresh = Bench()
    fresh.cluster("1.31")
    fresh.clock.sleep(30 * 86400)
    assert fresh.eks("DescribeCluster", name="demo")["cluster"]["version"] == "1.31"
    fresh.settings.change("switches", "auto_upgrade", True)
    assert fresh.status() == "UPDATING"
    fresh.clock.sleep(1000)
    assert fresh.eks("DescribeCluster", name="demo")["cluster"]["version"] == "1.32"
    assert fresh.status() == "ACTIVE"


def test_twin_cloud_refusals_enforced_insights_need_force() -> None:
    """With enforcement on, an add-on that does not fit the next version must stop the update until forced."""
    fresh = Bench()
    fresh.cluster()
    old = next(r for r in fresh.cloud.core.facts.addon_releases("kube-proxy", "1.34") if "1.35" not in r.compatible)
    fresh.eks("CreateAddon", clusterName="demo", addonName="kube-proxy", addonVersion=old.version)
    fresh.clock.sleep(60)
    fresh.settings.change("switches", "enforce_insights", True)
    code, status, _ = refused(lambda: fresh.eks("UpdateClusterVersion", name="demo", version="1.35"))
    assert (code, status) == ("InvalidStateException", 400)
    details = [
        fresh.eks("DescribeInsight", clusterName="demo", id=i["id"])["insight"]
        for i in fresh.eks("ListInsights", clusterName="demo", filter={"statuses": ["ERROR"]})["insights"]
    ]
    assert [d["name"] for d in details] == ["kube-proxy version skew", "EKS add-on version compatibility"]
    assert details[1]["categorySpecificSummary"]["addonCompatibilityDetails"][0]["name"] == "kube-proxy"
    assert (
        fresh.eks("UpdateClusterVersion", name="demo", version="1.35", force=True)["update"]["status"] == "InProgress"
    )


def test_twin_cloud_refusals_deprecated_api_use_becomes_an_insight() -> None:
    """A client that still asks for an API that goes away must be named, with what replaces it."""
    fresh = Bench()
    fresh.cluster("1.31")
    removed = next(r for r in fresh.cloud.core.facts.knowledge.apis.values() if r.removed == 32)
    fresh.cloud.insights.api_used("demo", removed.group_version, removed.kind, "old-controller/v1")
    found = fresh.eks("ListInsights", clusterName="demo", filter={"statuses": ["ERROR", "WARNING"]})["insights"]
    insight = next(i for i in found if i["name"] == "Deprecated APIs removed in Kubernetes v1.32")
    detail = fresh.eks("DescribeInsight", clusterName="demo", id=insight["id"])["insight"]
    (use,) = detail["categorySpecificSummary"]["deprecationDetails"]
    assert use["clientStats"][0]["userAgent"] == "old-controller/v1"
    assert use["replacedWith"] == removed.replacement


def test_twin_cloud_refusals_scale_in_past_a_blocking_budget_takes_15_minutes() -> None:
    """A scale-in tries evictions for 15 minutes, then the node goes anyway; waiting on would hide lost pods."""
    fresh = Bench()
    fresh.cluster()
    fresh.group(size=4)
    fresh.pods(8)
    fresh.kube().blocked = {f"web-{i}" for i in range(8)}
    start = fresh.clock.now()
    fresh.cloud.set_desired(fresh.cloud.asgs()[0].name, 3)
    took = fresh.until(lambda: len(fresh.cloud.instances()) == 3)
    assert 900 < took < 1010
    assert len(list(fresh.kube().world.items("pods"))) == 6, f"two pods went with the node after {start}"
