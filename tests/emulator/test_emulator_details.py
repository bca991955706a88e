"""What a live reading asks for beside the cluster: schemas, published images, disks; read by Baton's own gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from emulator_world import World

from baton.emulator.assembly import ACCESS_KEY, SECRET_KEY
from baton.errors import BatonError
from baton.gateways.aws import AwsGateway
from baton.model.cluster import BlockDevice
from baton.observe.snapshot import read_snapshot
from baton.ports import SystemClock

AL2023 = "/aws/service/eks/optimized-ami/{}/amazon-linux-2023/x86_64/standard/recommended/{}"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A cluster demo with a group of EKS's own images, one of its own, and CoreDNS with settings."""
    made = World()
    made.cluster()
    made.group("own", size=1, launchTemplate={"id": made.template("own", made.golden("1.34"))})
    made.group("eks", size=1)
    made.eks.create_addon(
        clusterName="demo",
        addonName="coredns",
        addonVersion="v1.13.2-eksbuild.4",
        configurationValues=json.dumps({"tolerations": []}),
    )
    yield made
    made.stop()


@pytest.fixture
def aws(world: World, monkeypatch: pytest.MonkeyPatch) -> AwsGateway:
    monkeypatch.setenv("AWS_ENDPOINT_URL", world.running.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    return AwsGateway(region="us-east-1")


def test_a_live_reading_holds_schemas_and_published_images(aws: AwsGateway) -> None:
    """A plan on a live cluster would name no schema change and no image that nodes will boot."""
    found = read_snapshot(aws, None, "demo", SystemClock(), details=aws)
    assert found.parameters[AL2023.format("1.35", "image_id")][0].startswith("ami-")
    assert found.parameters[AL2023.format("1.35", "release_version")][0].startswith("1.35.")
    assert AL2023.format("1.33", "image_id") not in found.parameters  # behind the cluster
    installed = json.loads(found.addon_schemas["coredns v1.13.2-eksbuild.4"])
    assert "tolerations" in installed["properties"]
    assert len(found.addon_schemas) > 1
    assert [u for u in found.unknowns if u.what != "objects"] == []


def test_without_details_nothing_more_is_asked(aws: AwsGateway) -> None:
    """The reading after an upgrade would pay for what nobody asks of it."""
    found = read_snapshot(aws, None, "demo", SystemClock())
    assert (found.parameters, found.addon_schemas) == ({}, {})


def test_disks_of_images_and_templates(world: World, aws: AwsGateway) -> None:
    """A root disk that the template no longer sizes would be found when pods are evicted for want of room."""
    image = world.golden("1.34")
    disk = {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 80, "Encrypted": True}}
    made = world.ec2.create_launch_template(
        LaunchTemplateName="disks", LaunchTemplateData={"ImageId": image, "BlockDeviceMappings": [disk]}
    )["LaunchTemplate"]
    assert aws.launch_template_disks(made["LaunchTemplateId"], "1") == (BlockDevice("/dev/xvda", 80, True),)
    found = aws.images(ids=[image])[0]
    assert found.root_device == "/dev/xvda"
    assert found.disks and found.ena and not found.public


def test_images_asked_for_are_read_by_id(world: World, aws: AwsGateway) -> None:
    """`--ami` with an image of another account would be answered with `no image matches`."""
    theirs = world.ec2.describe_images(Owners=["602401143452"])["Images"][0]["ImageId"]
    bare = read_snapshot(aws, None, "demo", SystemClock())
    asked = read_snapshot(aws, None, "demo", SystemClock(), images=[theirs, "ami-0404"])
    assert bare.image(theirs) is None
    assert asked.image(theirs) is not None
    assert [u.what for u in asked.unknowns if u.what.startswith("images")] == ["images.ami-0404"]


def test_parameters_that_are_not_there(aws: AwsGateway) -> None:
    """A kind that AWS does not publish would end the reading instead of being told."""
    assert aws.parameter(AL2023.format("1.99", "image_id")) == ""
    assert aws.parameter_history(AL2023.format("1.99", "image_id")) == []
    with pytest.raises(BatonError) as caught:
        aws.addon_schema("coredns", "v0.0.0")
    assert caught.value.where == "eks:DescribeAddonConfiguration coredns v0.0.0"
