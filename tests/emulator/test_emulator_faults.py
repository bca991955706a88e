"""Faults on demand: by flag, by file, by endpoint; each ends as AWS ends it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
from botocore.exceptions import ClientError
from emulator_world import World

from baton.emulator.faults import merged, parse_flag, read_scenario
from baton.errors import ReadError, UsageError


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    """An emulator with an empty cluster demo."""
    made = World()
    made.cluster()
    yield made
    made.stop()


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    """The same, with no fault in force before and after."""
    yield shared
    shared.faults({"api": [], "faults": {"never_join": [], "no_capacity": []}, "unreachable": {"demo": 0}})


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("throttle", 429, "ThrottlingException"),
        ("server-error", 500, "ServerException"),
        ("unavailable", 503, "ServiceUnavailableException"),
        ("expired-token", 403, "ExpiredTokenException"),
        ("access-denied", 403, "AccessDeniedException"),
    ],
)
def test_eks_refusals(world: World, kind: str, status: int, code: str) -> None:
    """Retry logic and messages for these are only as good as the errors they are tried on."""
    world.faults({"api": [{"kind": kind, "service": "eks", "operation": "Describe*"}]})
    with pytest.raises(ClientError) as caught:
        world.eks.describe_cluster(name="demo")
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert world.eks.list_clusters()["clusters"] == ["demo"]


def test_ec2_words_throttling_its_own_way(world: World) -> None:
    """boto3 and the provider recognise throttling by code; EC2's differs from EKS's."""
    world.faults({"api": [{"kind": "throttle", "service": "ec2"}]})
    with pytest.raises(ClientError, match="RequestLimitExceeded"):
        world.ec2.describe_vpcs()


def test_a_burst_ends(world: World) -> None:
    """`times` makes a burst: so many refusals, then service as before."""
    world.faults({"api": [{"kind": "throttle", "times": 2}]})
    seen = []
    for _ in range(4):
        try:
            world.eks.list_clusters()
            seen.append("ok")
        except ClientError:
            seen.append("refused")
    assert seen == ["refused", "refused", "ok", "ok"]


def test_a_rule_ends_with_its_seconds(world: World) -> None:
    """`seconds` are cluster time, so that a scenario reads the same at every speed."""
    world.faults({"api": [{"kind": "throttle", "seconds": 1500}]})
    with pytest.raises(ClientError):
        world.eks.list_clusters()
    world.until(lambda: _answers(world))


def _answers(world: World) -> bool:
    try:
        world.eks.list_clusters()
    except ClientError:
        return False
    return True


def test_nodes_that_never_join_fail_the_creation(world: World) -> None:
    """Broken user data: EKS gives up after 20 minutes with NodeCreationFailure and names the instances."""
    world.faults({"faults": {"never_join": ["broken"]}})
    made = world.group("broken", size=1, launchTemplate={"id": world.template("broken", world.golden("1.34"))})
    issue = made["health"]["issues"][0]
    assert made["status"] == "CREATE_FAILED"
    assert issue["code"] == "NodeCreationFailure"
    assert issue["message"] == "Instances failed to join the kubernetes cluster"
    assert issue["resourceIds"][0].startswith("i-")


def test_capacity_errors_show_in_the_activities(world: World) -> None:
    """A zone without capacity is seen where people look for it: the group's scaling activities."""
    world.faults({"faults": {"no_capacity": ["*"]}})
    world.eks.create_nodegroup(
        clusterName="demo",
        nodegroupName="starved",
        subnets=world.subnets,
        nodeRole=world.role("starved"),
        scalingConfig={"minSize": 1, "desiredSize": 1, "maxSize": 1},
    )
    name = world.until(lambda: world.node_group("starved").get("resources"))["autoScalingGroups"][0]["name"]
    rows = world.until(lambda: world.scaling.describe_scaling_activities(AutoScalingGroupName=name)["Activities"])
    assert rows[0]["StatusCode"] == "Failed"
    assert "do not have sufficient" in rows[0]["StatusMessage"]


def test_kubernetes_api_out_of_reach(world: World) -> None:
    """While the API is down, connections break; afterwards everything is as it was."""
    assert world.kube("/version")["major"] == "1"
    world.faults({"unreachable": {"demo": 3000}})
    with pytest.raises((URLError, ConnectionError, http.client.HTTPException)):
        world.kube("/version")
    world.until(lambda: _reachable(world))


def _reachable(world: World) -> bool:
    try:
        return bool(world.kube("/version"))
    except (URLError, ConnectionError, http.client.HTTPException):
        return False


def test_scenario_steps_wait_for_their_event(world: World) -> None:
    """A scenario can break the API while the control plane is being updated, whenever that is."""
    scenario = {"steps": [{"on": "update.started", "subject": "demo", "set": {"unreachable": {"demo": 100000}}}]}
    world.running.call(lambda: world.running.emulator.faults.play(scenario))
    assert _reachable(world)
    answer = world.eks.update_cluster_config(
        name="demo", logging={"clusterLogging": [{"types": ["api"], "enabled": True}]}
    )
    world.until(lambda: not _reachable(world))
    assert world.update(answer)["status"] == "Successful"


def test_a_broken_step_is_refused_at_once(world: World) -> None:
    """A typo in a scenario must stop it at the start, not hours later."""
    play = world.running.emulator.faults.play
    for steps in (
        [{"after": -1, "set": {}}],
        [{"set": {"faults": {"typo": 1}}}],
        [{"after": 1}],
        ["x"],
        [{"sets": {}}],
    ):
        with pytest.raises(UsageError):
            play({"steps": steps})


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("never_join=main,spare", {"faults": {"never_join": ["main", "spare"]}}),
        ("never_join", {"faults": {"never_join": ["*"]}}),
        ("control_plane_fails", {"faults": {"control_plane_fails": True}}),
        ("switches.failure_mode=mixed", {"switches": {"failure_mode": "mixed"}}),
        ("timings.node_boot=[10,20,30]", {"timings": {"node_boot": [10, 20, 30]}}),
        ("throttle=0.25", {"api": [{"kind": "throttle", "rate": 0.25}]}),
        ("expired-token", {"api": [{"kind": "expired-token", "rate": 1.0}]}),
    ],
)
def test_flags(text: str, change: dict[str, object]) -> None:
    """--fault has the same reach as the endpoint, in words one can type."""
    assert parse_flag(text) == change


@pytest.mark.parametrize("text", ["", "nonsense", "throttle=lots", "nothing.x=1", "=1"])
def test_flags_that_mean_nothing(text: str) -> None:
    """A mistyped flag must not start an emulator without the fault."""
    with pytest.raises(UsageError):
        parse_flag(text)


def test_flags_add_up() -> None:
    """Several --fault flags are all in force."""
    both = merged([parse_flag("throttle=0.1"), parse_flag("server-error=0.2"), parse_flag("never_join=a")])
    assert [r["kind"] for r in both["api"]] == ["throttle", "server-error"]
    assert both["faults"] == {"never_join": ["a"]}


def test_scenario_files_that_cannot_be_read(tmp_path: Path) -> None:
    """What is wrong with the file, and which file."""
    broken, other = tmp_path / "broken.json", tmp_path / "list.json"
    broken.write_text("{")
    other.write_text(json.dumps([]))
    for path in (tmp_path / "none.json", broken, other):
        with pytest.raises(ReadError) as caught:
            read_scenario(path)
        assert caught.value.where == str(path)
