"""AWS's own images by SSM: which one nodes will boot, and versions that only SSM knows."""

from __future__ import annotations

import pytest
from planner_world import custom_group, golden, optimised_group, world

from baton.errors import ReadError, RefusedError
from baton.knowledge.tables import Knowledge
from baton.logic.upgrade.images import kubelet_of, minor_by_ssm
from baton.model.cluster import Image, Snapshot, Unknown
from baton.model.plan import Plan
from baton.model.target import Target
from baton.model.versions import Minor
from baton.planner.plan import make_plan

AL2023 = "/aws/service/eks/optimized-ami/{}/amazon-linux-2023/x86_64/standard/recommended/{}"


def plan(snapshot: Snapshot, **target: object) -> Plan:
    return make_plan(snapshot, Target("1.35", **target), Knowledge.load())  # type: ignore[arg-type]


def published(minor: str, date: str) -> Image:
    name = f"amazon-eks-node-al2023-x86_64-standard-{minor}-v{date}"
    day = f"{date[:4]}-{date[4:6]}-{date[6:]}T00:00:00Z"
    return Image(f"ami-{minor[2:]}{date[4:]}", name, "602401143452", day, public=True)


def test_the_plan_names_the_image_and_release_of_eks_own_groups() -> None:
    """Nodes on EKS's own images would move to something that nobody has seen before."""
    parameters = {
        AL2023.format("1.35", "image_id"): ("ami-eks135",),
        AL2023.format("1.35", "release_version"): ("1.35.6-20260714",),
    }
    found = plan(world(groups=[optimised_group()], parameters=parameters))
    assert (
        found.stages[-1]
        .changes[0]
        .reason.startswith("EKS-optimised image for 1.35: now ami-eks135, release 1.35.6-20260714")
    )
    assert plan(world(groups=[optimised_group()])).stages[-1].changes[0].reason == "EKS-optimised image for 1.35"


def test_a_group_with_aws_image_in_its_template_moves_to_the_recommended_one() -> None:
    """Of AWS's own images the newest by date would be taken although AWS recommends another (it withdraws some)."""
    old, good, withdrawn = published("1.34", "20260601"), published("1.35", "20260701"), published("1.35", "20260714")
    groups = [custom_group(image=old)]
    parameters = {AL2023.format("1.35", "image_id"): (good.id,)}
    snapshot = world(groups=groups, images=[old, good, withdrawn], parameters=parameters)
    assert plan(snapshot).stages[-1].changes[0].to == good.id
    assert plan(snapshot).stages[-1].changes[0].reason.startswith("AWS's recommended image, by /aws/service/eks")
    assert plan(world(groups=groups, images=[old, good, withdrawn])).stages[-1].changes[0].to == withdrawn.id


@pytest.mark.parametrize(
    ("path", "minor"),
    [
        (AL2023.format("1.34", "image_id"), "1.34"),
        ("/aws/service/bottlerocket/aws-k8s-1.33-nvidia/x86_64/latest/image_id", "1.33"),
        ("/aws/service/ami-windows-latest/Windows_Server-2022-English-Core-EKS_Optimized-1.32/image_id", "1.32"),
    ],
)
def test_the_history_of_a_parameter_tells_the_version(path: str, minor: str) -> None:
    """An old image of AWS's own that can no longer be described would have no version."""
    snapshot = world(parameters={path: ("ami-new", "ami-old")})
    assert minor_by_ssm(snapshot, "ami-old") == Minor.parse(minor)
    assert minor_by_ssm(snapshot, "ami-other") is None


def test_an_image_that_says_nothing_is_known_by_ssm() -> None:
    """A group scaled to zero on a hidden image would stop the plan although AWS knows what it boots."""
    silent = Image("ami-silent", "base", "602401143452")
    group = custom_group(image=silent, size=0)
    told = {AL2023.format("1.33", "image_id"): ("ami-x", "ami-silent")}
    for images in ([silent], []):
        assert kubelet_of(world(groups=[group], images=images, nodes=[], parameters=told), group)[0] == Minor(1, 33)
    with pytest.raises(ReadError):
        kubelet_of(world(groups=[group], images=[silent], nodes=[]), group)


def test_images_that_were_not_all_read() -> None:
    """`no image matches` would be said of an account whose images could not be read."""
    unread = (Unknown("images.999999999999", "UnauthorizedOperation"), Unknown("images.ami-1", "gone"))
    with pytest.raises(ReadError, match=r"but not all images could be read \(999999999999: UnauthorizedOperation\)"):
        plan(world(images=[golden("1.34")], unknowns=unread))
    with pytest.raises(RefusedError):
        plan(world(images=[golden("1.34")], unknowns=unread[1:]))
