"""Full subnets, sick add-ons and conflicting fields, asked for over HTTP and seen by boto3 as EKS words them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from botocore.exceptions import ClientError
from emulator_world import World

CONFLICT = (
    "Conflicts found when trying to apply. Will not continue due to resolve conflicts mode. Conflicts: DaemonSet.apps "
    "aws-node - .spec.template.spec.containers"
)
OLD, NEW = "v1.21.1-eksbuild.3", "v1.21.1-eksbuild.7"


def faults(world: World, change: dict[str, Any] | None = None) -> dict[str, Any]:
    """GET /_baton/faults, or POST of a change."""
    data = None if change is None else json.dumps(change).encode()
    request = Request(f"{world.running.endpoint}/_baton/faults", data=data)
    with build_opener(ProxyHandler({})).open(request, timeout=10) as answer:
        return dict(json.loads(answer.read() or b"{}"))


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    """A cluster demo with one node and vpc-cni."""
    made = World()
    made.cluster()
    made.group(size=1, launchTemplate={"id": made.template("main", made.golden("1.34"))})
    made.eks.create_addon(clusterName="demo", addonName="vpc-cni", addonVersion=OLD)
    made.until(lambda: addon(made)["status"] == "ACTIVE")
    yield made
    made.stop()


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    """The same, with no fault in force before and after, and vpc-cni where it was."""
    yield shared
    faults(shared, {"faults": {"no_free_ips": [], "addon_conflict": [], "addon_unhealthy": []}})
    answer = shared.eks.update_addon(**VPC_CNI, addonVersion=OLD, resolveConflicts="OVERWRITE")
    assert shared.update(answer, addonName="vpc-cni")["status"] == "Successful"


VPC_CNI = {"clusterName": "demo", "addonName": "vpc-cni"}


def addon(world: World) -> dict[str, Any]:
    return dict(world.eks.describe_addon(**VPC_CNI)["addon"])


def update(world: World, resolve: str) -> dict[str, Any]:
    """vpc-cni moved to NEW, and the update once it is over."""
    answer = world.eks.update_addon(**VPC_CNI, addonVersion=NEW, resolveConflicts=resolve)
    assert answer["update"]["type"] == "AddonUpdate"
    return world.update(answer, addonName="vpc-cni")


def test_a_conflict_fails_under_none_in_ekss_words(world: World) -> None:
    """A user would learn to read another text than the one that EKS answers with, and look for another field."""
    faults(world, {"faults": {"addon_conflict": ["vpc-cni"]}})
    failed = update(world, "NONE")
    assert failed["status"] == "Failed"
    assert [e["errorCode"] for e in failed["errors"]] == ["ConfigurationConflict"]
    assert failed["errors"][0]["errorMessage"].startswith(CONFLICT)
    shown = addon(world)
    assert (shown["status"], shown["addonVersion"]) == ("UPDATE_FAILED", OLD)
    assert [i["code"] for i in shown["health"]["issues"]] == ["ConfigurationConflict"]


@pytest.mark.parametrize("resolve", ["OVERWRITE", "PRESERVE"])
def test_a_conflict_is_resolved_when_asked(world: World, resolve: str) -> None:
    """Terraform's OVERWRITE and Baton's PRESERVE would fail where EKS lets them through."""
    faults(world, {"faults": {"addon_conflict": ["vpc-cni"]}})
    assert update(world, resolve)["status"] == "Successful"
    assert (addon(world)["status"], addon(world)["addonVersion"]) == ("ACTIVE", NEW)


def test_a_conflict_at_creation(world: World) -> None:
    """An add-on put over a self-managed one would be ACTIVE here and CREATE_FAILED at AWS."""
    faults(world, {"faults": {"addon_conflict": ["coredns"]}})
    which = {"clusterName": "demo", "addonName": "coredns"}
    with pytest.raises(
        ClientError, match="Resolve conflicts option preserve is not supported for operation CreateAddon"
    ):
        world.eks.create_addon(**which, resolveConflicts="PRESERVE")
    world.eks.create_addon(**which, resolveConflicts="NONE")
    made = world.until(lambda: _ended(world.eks.describe_addon(**which)["addon"]))
    assert made["status"] == "CREATE_FAILED"
    assert made["health"]["issues"][0]["message"].startswith("Conflicts found when trying to apply. Will not continue")
    world.eks.delete_addon(**which)


def _ended(shown: dict[str, Any]) -> dict[str, Any] | None:
    return None if shown["status"] == "CREATING" else shown


def test_an_addon_that_does_not_become_well(world: World) -> None:
    """An add-on whose image cannot be pulled would pass as updated, and its pods' state not be seen."""
    faults(world, {"faults": {"addon_unhealthy": ["vpc-cni"]}})
    failed = update(world, "OVERWRITE")
    assert failed["status"] == "Failed"
    assert [e["errorCode"] for e in failed["errors"]] == ["InsufficientNumberOfReplicas"]
    assert failed["errors"][0]["resourceIds"] == ["vpc-cni"]
    assert addon(world)["status"] == "DEGRADED"
    pods = [
        p
        for p in world.kube("/api/v1/namespaces/kube-system/pods")["items"]
        if p["metadata"]["name"].startswith("aws-n")
    ]
    waiting = [
        s["state"]["waiting"]["reason"] for p in pods for s in p["status"]["containerStatuses"] if not s["ready"]
    ]
    assert waiting and set(waiting) <= {"ImagePullBackOff", "ErrImagePull"}


def test_full_subnets_stop_the_control_plane(world: World) -> None:
    """EKS needs up to five free addresses; without them the cluster stays at its version, and ACTIVE."""
    faults(world, {"faults": {"no_free_ips": ["*"]}})
    failed = world.update(world.eks.update_cluster_version(name="demo", version="1.35"))
    assert failed["status"] == "Failed"
    assert [e["errorCode"] for e in failed["errors"]] == ["IpNotAvailable"]
    assert failed["errors"][0]["resourceIds"] == world.subnets
    cluster = world.eks.describe_cluster(name="demo")["cluster"]
    assert (cluster["version"], cluster["status"]) == ("1.34", "ACTIVE")


def test_full_subnets_keep_nodes_from_starting(world: World) -> None:
    """Who waits for a surge that cannot come would not find the reason where AWS puts it."""
    name = world.node_group()["resources"]["autoScalingGroups"][0]["name"]
    faults(world, {"faults": {"no_free_ips": world.subnets}})
    config = {"minSize": 1, "desiredSize": 2, "maxSize": 4}
    world.eks.update_nodegroup_config(clusterName="demo", nodegroupName="main", scalingConfig=config)

    def failed() -> list[dict[str, Any]]:
        rows = world.scaling.describe_scaling_activities(AutoScalingGroupName=name)["Activities"]
        return [r for r in rows if r["StatusCode"] == "Failed"]

    text = world.until(failed)[0]["StatusMessage"]
    assert "There are not enough free addresses in subnet" in text
    assert any(subnet in text for subnet in world.subnets)
    faults(world, {"faults": {"no_free_ips": []}})
    world.until(lambda: len(world.asg(name)["Instances"]) == 2)


def test_faults_in_force_are_told(world: World) -> None:
    """Which fault is in force could not be seen from outside."""
    faults(world, {"faults": {"addon_unhealthy": ["vpc-cni"]}})
    assert faults(world)["faults"]["addon_unhealthy"] == ["vpc-cni"]
    with pytest.raises(HTTPError) as caught:
        faults(world, {"faults": {"addon_unheathly": ["vpc-cni"]}})
    assert caught.value.code == 400
    assert "addon_unheathly" in caught.value.read().decode()
    assert faults(world)["faults"]["addon_unhealthy"] == ["vpc-cni"]
