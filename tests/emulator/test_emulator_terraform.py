"""The real Terraform with the real AWS provider against the emulator: what an upgrade changes, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from emulator_world import World

from terraform_env import Terraform, terraform_or_skip

pytestmark = [pytest.mark.terraform, pytest.mark.slow, pytest.mark.xdist_group("emulator-terraform")]

ROOT = Path(__file__).parent / "terraform_root"
SPEED = 1200.0


@dataclass
class Stage:
    """One root, applied further and further by the tests of this file in their order."""

    world: World
    terraform: Terraform
    variables: dict[str, str] = field(default_factory=dict)

    def apply(self, **changes: str) -> str:
        self.variables.update(changes)
        return self.terraform.apply(**self.variables)

    def plan(self, **changes: str) -> dict[str, tuple[str, ...]]:
        return self.terraform.plan(**{**self.variables, **changes})


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    tools = terraform_or_skip()
    root = tmp_path_factory.mktemp("root")
    shutil.copy(ROOT / "main.tf", root)
    world = World(speed=SPEED)
    made = Stage(world, Terraform(tools, root, world.running.environment))
    try:
        made.terraform.init()
        made.apply()
        yield made
    finally:
        world.stop()


def images(world: World) -> set[str]:
    """AMIs of the machines that run."""
    return {i["ImageId"] for i in world.instances("running")}


def test_a_second_plan_says_no_changes(stage: Stage) -> None:
    """Whatever EKS leaves out or words otherwise is a diff on every plan, and hides the upgrade's own."""
    assert stage.plan() == {}
    assert len(stage.world.instances("running")) == 3
    assert len(stage.world.nodes()) == 3


def test_pacing_alone_rolls_nothing(stage: Stage) -> None:
    """update_config goes first and alone; it must not cost a single node."""
    before = set(stage.world.nodes())
    assert stage.plan(max_unavailable="2") == {"aws_eks_node_group.main": ("update",)}
    stage.apply(max_unavailable="2")
    assert stage.world.node_group()["updateConfig"]["maxUnavailable"] == 2
    assert set(stage.world.nodes()) == before


def test_the_version_moves_control_plane_and_addons_only(stage: Stage) -> None:
    """With an AMI of one's own in the template, nodes stay where they are until the AMI changes."""
    before = set(stage.world.nodes())
    changed = stage.plan(cluster_version="1.35")
    assert set(changed.values()) == {("update",)}
    assert {address for address in changed if "addon" not in address} == {"aws_eks_cluster.main"}
    stage.apply(cluster_version="1.35")
    assert stage.world.eks.describe_cluster(name="demo")["cluster"]["version"] == "1.35"
    addons = stage.terraform.output("addons")
    assert addons["kube-proxy"].startswith("v1.35.")
    assert set(stage.world.nodes()) == before
    assert stage.plan() == {}


def test_an_addon_alone(stage: Stage) -> None:
    """Another version of one add-on touches that add-on only."""
    releases = stage.world.eks.describe_addon_versions(addonName="coredns", kubernetesVersion="1.35")["addons"][0]
    now = stage.terraform.output("addons")["coredns"]
    other = next(v["addonVersion"] for v in releases["addonVersions"] if v["addonVersion"] != now)
    assert stage.plan(coredns_version=other) == {'aws_eks_addon.others["coredns"]': ("update",)}
    stage.apply(coredns_version=other)
    assert stage.world.eks.describe_addon(clusterName="demo", addonName="coredns")["addon"]["addonVersion"] == other


def test_the_image_rolls_the_group_in_place(stage: Stage) -> None:
    """A new AMI makes a new template version, and every node is replaced by one of it; the group itself stays."""
    arn = stage.world.node_group()["nodegroupArn"]
    before = set(stage.world.nodes())
    assert stage.plan(ami_name="golden-eks-1.35-*") == {
        "aws_launch_template.main": ("update",),
        "aws_eks_node_group.main": ("update",),
    }
    stage.apply(ami_name="golden-eks-1.35-*")
    assert stage.world.node_group()["nodegroupArn"] == arn
    nodes = stage.world.nodes()
    assert len(nodes) == 3 and not set(nodes) & before
    assert {n["status"]["nodeInfo"]["kubeletVersion"].split("-")[0].rpartition(".")[0] for n in nodes.values()} == {
        "v1.35"
    }
    assert images(stage.world) == {stage.terraform.output("ami")}
    assert stage.plan() == {}


def test_a_roll_that_fails_is_told_and_can_be_repeated(stage: Stage) -> None:
    """Nodes that never join: Terraform fails with EKS's words, and the next apply with a sound AMI goes through."""
    stage.world.faults({"faults": {"never_join": ["main"]}})
    failed = stage.terraform.run(
        "apply",
        "-auto-approve",
        "-input=false",
        *(f"-var={n}={v}" for n, v in {**stage.variables, "ami_name": "golden-eks-1.34-v20261015"}.items()),
        ok=(1,),
    )
    said = " ".join(failed.stderr.replace("│", " ").split())
    assert "unexpected state 'Failed', wanted target 'Successful'" in said
    assert "NodeCreationFailure" in said
    stage.world.faults({"faults": {"never_join": []}})
    stage.apply()
    assert images(stage.world) == {stage.terraform.output("ami")}
    assert stage.plan() == {}


def test_another_template_replaces_the_group(stage: Stage) -> None:
    """A change that forces replacement must plan as one, so that the gate can be tried on it."""
    path = stage.terraform.root / "main.tf"
    text = path.read_text()
    path.write_text(text.replace('node_group_name = "main"', 'node_group_name = "other"'))
    try:
        assert stage.plan()["aws_eks_node_group.main"] == ("create", "delete")
        stage.apply()
        assert stage.world.eks.list_nodegroups(clusterName="demo")["nodegroups"] == ["other"]
        assert len(stage.world.nodes()) == 3
    finally:
        path.write_text(text.replace('node_group_name = "main"', 'node_group_name = "other"'))


def test_destroy_leaves_nothing(stage: Stage) -> None:
    """What destroy cannot remove stays on somebody's bill."""
    stage.terraform.destroy(**stage.variables)
    assert stage.world.eks.list_clusters()["clusters"] == []
    assert stage.world.instances("pending", "running", "stopping") == []
    assert stage.world.scaling.describe_auto_scaling_groups()["AutoScalingGroups"] == []
