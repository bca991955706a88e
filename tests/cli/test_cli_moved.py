"""A plan kept in a file, and a world that has moved since: `baton apply --plan` refuses with the difference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from cli_lab import Said, baton, files_of, lab

pytestmark = pytest.mark.xdist_group("cli-moved")


@pytest.fixture
def kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Path]:
    """A plan of the demo's cluster in a file, the emulator running."""
    with lab(workloads=False):
        path = tmp_path / "upgrade.plan.json"
        said = baton(capsys, "plan", "--to", "1.35", "--cluster", "demo", "-C", tmp_path, "-o", path)
        assert said.code == 0, said.err
        yield path


def apply(capsys: pytest.CaptureFixture[str], kept: Path) -> Said:
    """`baton apply` of the kept plan, without a word of consent: it ends before the first change in any case."""
    where = ("--cluster", "demo", "-C", str(kept.parent), "--engine", "aws", "--no-rehearsal")
    return baton(capsys, "apply", "--plan", str(kept), *where)


def settled(eks: Any, update: dict[str, Any], **scope: str) -> None:
    while (
        eks.describe_update(name="demo", updateId=update["update"]["id"], **scope)["update"]["status"] == "InProgress"
    ):
        pass


def test_a_world_that_stands_still(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A plan made a minute ago would be refused for what changes by itself: sizes, pods, events."""
    boto3.client("eks").update_nodegroup_config(
        clusterName="demo", nodegroupName="main", scalingConfig={"desiredSize": 4}
    )
    said = apply(capsys, kept)
    assert said.code == 2
    assert "nobody can be asked here\n\nhint: add --yes" in said.err


def test_each_difference_is_named(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A plan that was reviewed last week would be conducted on another cluster than the one that it was made for."""
    eks, ec2 = boto3.client("eks"), boto3.client("ec2")
    before = files_of(kept.parent)
    addon = {"clusterName": "demo", "addonName": "coredns"}
    update = eks.update_addon(**addon, addonVersion="v1.13.2-eksbuild.11", resolveConflicts="OVERWRITE")
    settled(eks, update, addonName="coredns")
    paced = eks.update_nodegroup_config(
        clusterName="demo", nodegroupName="main", updateConfig={"maxUnavailablePercentage": 50}
    )
    settled(eks, paced, nodegroupName="main")
    root = {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 20}}
    tags = [{"ResourceType": "image", "Tags": [{"Key": "KubernetesVersion", "Value": "1.35"}]}]
    for image in ec2.describe_images(Owners=["self"], Filters=[{"Name": "name", "Values": ["golden-eks-1.35-*"]}])[
        "Images"
    ]:
        ec2.deregister_image(ImageId=image["ImageId"])
    ec2.register_image(Name="golden-eks-1.35-v20270101", BlockDeviceMappings=[root], TagSpecifications=tags)
    said = apply(capsys, kept)
    assert said.code == 1
    for line in (
        "the world has moved since the plan was made:",
        "addon/coredns.version was v1.13.2-eksbuild.4, is v1.13.2-eksbuild.11",
        "node-group/main.pacing was max_unavailable 1, is max_unavailable_percentage 50",
        "of node group main was available, is gone",
        "hint: make the plan again with `baton plan`, look at it, and apply that",
    ):
        assert line in said.err
    assert eks.describe_cluster(name="demo")["cluster"]["version"] == "1.34"
    assert eks.list_updates(name="demo")["updateIds"] == []
    assert files_of(kept.parent) == before


def test_an_image_of_another_account_is_read_again(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A plan with `--ami` for a shared image would be refused at once: no owner in the Terraform leads to it."""
    ec2 = boto3.client("ec2")
    found = ec2.describe_images(Owners=["602401143452"], Filters=[{"Name": "name", "Values": ["*-1.35-*"]}])["Images"]
    shared = found[0]["ImageId"]
    where = ("--cluster", "demo", "-C", str(kept.parent), "-o", str(kept), "--ami", f"main={shared}")
    said = baton(capsys, "plan", "--to", "1.35", *where)
    assert said.code == 0, said.err
    assert "nobody can be asked here" in apply(capsys, kept).err
