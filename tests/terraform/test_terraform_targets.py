"""Stages that the Terraform itself does not part: refused, or parted by -target when that is allowed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from baton.cli.main import main
from baton.cli.show import plan_text
from baton.errors import RefusedError
from baton.model.plan import Change, Plan, Stage, StageKind
from baton.planner.store import digest, plan_from_json, plan_to_json
from baton.terraform.expected import expectation_of
from baton.terraform.gate import judge
from baton.terraform.inspect import inspect
from baton.terraform.locks import Made
from baton.terraform.stages import stage_edits, weave
from baton.terraform.texts import commit_message, pull_request

CASES = Path(__file__).parent.parent / "cases" / "gate"
ROOT = """\
module "platform" {
  source  = "git::https://example.com/platform.git?ref=v3"
  name    = "demo"
  version_of_kubernetes = "1.34"
}
"""
# A company's own module, as `terraform init` has put it: one input moves the cluster, its add-ons and its nodes.
PLATFORM = """\
variable "name" {}
variable "version_of_kubernetes" {}
resource "aws_eks_cluster" "this" {
  name    = var.name
  version = var.version_of_kubernetes
}
data "aws_eks_addon_version" "dns" {
  addon_name         = "coredns"
  kubernetes_version = aws_eks_cluster.this.version
}
resource "aws_eks_addon" "dns" {
  cluster_name  = aws_eks_cluster.this.name
  addon_name    = "coredns"
  addon_version = data.aws_eks_addon_version.dns.version
}
resource "aws_eks_node_group" "main" {
  cluster_name    = aws_eks_cluster.this.name
  node_group_name = "main"
  version         = var.version_of_kubernetes
}
"""
GROUPS = """\
data "aws_ami" "golden" {{
  owners = ["self"]
  filter {{
    name   = "name"
    values = ["golden-eks-1.34-*"]
  }}
}}
module "eks" {{
  source          = "terraform-aws-modules/eks/aws"
  version         = "20.8.4"
  cluster_name    = "demo"
  cluster_version = "1.34"
  eks_managed_node_groups = {{
    a = {{ name = "a", use_name_prefix = false, ami_id = {ami} }}
    b = {{ name = "b", use_name_prefix = false, ami_id = {ami} }}
  }}
}}
"""
CLUSTER = "module.platform.aws_eks_cluster.this"
ADDON = "module.platform.aws_eks_addon.dns"
GROUP = "module.platform.aws_eks_node_group.main"


def plan(*moves: tuple[StageKind, tuple[Change, ...]]) -> Plan:
    stages = tuple(Stage(i + 1, kind, kind.value, changes, "because") for i, (kind, changes) in enumerate(moves))
    facts = {"addon/coredns.version": "v1.11.1-eksbuild.1"}
    return Plan("demo", "1.34", "1.35", stages, facts=facts, facts_digest=digest(facts))


def whole() -> Plan:
    version = {"version": "1.35", "kubelet_from": "1.34", "kubelet_to": "1.35"}
    return plan(
        (StageKind.CONTROL_PLANE, (Change("cluster", "demo", "1.34", "1.35"),)),
        (StageKind.ADDONS, (Change("addon", "coredns", "v1.11.1-eksbuild.1", "v1.12.1-eksbuild.1"),)),
        (StageKind.NODE_GROUP, (Change("node-group", "main", "1.34", "1.35", attributes=version),)),
    )


@pytest.fixture
def platform(tmp_path: Path) -> Path:
    """A root whose module belongs to another repository."""
    (tmp_path / "main.tf").write_text(ROOT)
    inside = tmp_path / ".terraform" / "modules"
    (inside / "platform").mkdir(parents=True)
    (inside / "platform" / "main.tf").write_text(PLATFORM)
    entry = {
        "Key": "platform",
        "Source": "git::https://example.com/platform.git?ref=v3",
        "Dir": ".terraform/modules/platform",
    }
    (inside / "modules.json").write_text(json.dumps({"Modules": [{"Key": "", "Source": "", "Dir": "."}, entry]}))
    return tmp_path


def test_what_nothing_parts_is_refused_and_names_the_option(platform: Path) -> None:
    """One input that moves everything would roll nodes together with the control plane."""
    with pytest.raises(RefusedError) as refused:
        weave(whole(), inspect(platform))
    assert "--allow-target" in (refused.value.hint or "")


def test_told_to_each_stage_is_targeted_until_nothing_is_left_out(platform: Path) -> None:
    """A stage too many without targets would move what its own stage should; the last one must tie up everything."""
    woven = weave(whole(), inspect(platform), targets=True, picks=lambda name, recent, version: "v1.12.1-eksbuild.1")
    assert [s.targets for s in woven.stages] == [(CLUSTER,), (ADDON,), ()]
    assert [[e.new for e in s.edits] for s in woven.stages] == [["1.35"], [], []]
    assert "leaves out" in woven.stages[0].reason and "node group main" in woven.stages[0].reason
    assert plan_from_json(plan_to_json(woven)) == woven


def test_the_words_for_people_say_the_targets(platform: Path) -> None:
    """Whoever plans the pull request by hand must plan what was rehearsed."""
    woven = weave(whole(), inspect(platform), targets=True)
    assert f"-target='{CLUSTER}'" in pull_request(woven, woven.stages[0])
    assert f"-target='{CLUSTER}'" in commit_message(woven, woven.stages[0])
    assert "-target" not in pull_request(woven, woven.stages[2])


def test_the_commands_show_the_targets(platform: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`baton stage` and `baton plan` are read before anything runs: -target must not come as a surprise."""
    woven = weave(whole(), inspect(platform), targets=True)
    path = platform / "upgrade.plan.json"
    path.write_text(json.dumps(plan_to_json(woven)))
    assert main(["stage", "1", "--plan", str(path), "-C", str(platform)]) == 0
    assert f"'-target={CLUSTER}'" in capsys.readouterr().err
    assert main(["stage", "1", "--plan", str(path), "-C", str(platform), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["targets"] == [CLUSTER]
    assert f"with -target={CLUSTER}" in plan_text(woven)


def test_an_addon_that_would_be_another_is_refused(platform: Path) -> None:
    """The data source decides what is installed there: the plan must not claim another version."""
    with pytest.raises(RefusedError):
        weave(whole(), inspect(platform), targets=True, picks=lambda name, recent, version: "v1.99.0-eksbuild.1")


def rolls(name: str) -> tuple[StageKind, tuple[Change, ...]]:
    attributes = {
        "image_id": "ami-0fffffffffffffffff",
        "image_name": "golden-eks-1.35-v20261101",
        "kubelet_from": "1.34",
        "kubelet_to": "1.35",
    }
    return StageKind.NODE_GROUP, (Change("node-group", name, "ami-0a", "ami-0f", attributes=attributes),)


def test_groups_on_one_filter_are_parted(tmp_path: Path) -> None:
    """Both groups would roll at once, or the second stage would find its filter moved and refuse."""
    (tmp_path / "main.tf").write_text(GROUPS.format(ami="data.aws_ami.golden.id"))
    found = inspect(tmp_path)
    with pytest.raises(RefusedError, match="node group b") as refused:
        weave(plan(rolls("a"), rolls("b")), found)
    assert "--allow-target" in (refused.value.hint or "")
    woven = weave(plan(rolls("a"), rolls("b")), found, targets=True)
    inside = 'module.eks.module.eks_managed_node_group["a"]'
    assert woven.stages[0].targets == (f"{inside}.aws_launch_template.this[0]", f"{inside}.aws_eks_node_group.this[0]")
    assert [len(s.edits) for s in woven.stages] == [1, 0] and woven.stages[1].targets == ()
    again = stage_edits(woven, woven.stages[0], tmp_path)
    assert again.stage == woven.stages[0]


def test_groups_in_one_stage_need_no_target(tmp_path: Path) -> None:
    """-target where edits do would leave parts of the configuration unapplied for nothing."""
    (tmp_path / "main.tf").write_text(GROUPS.format(ami="data.aws_ami.golden.id"))
    together = plan((StageKind.NODE_GROUP, (*rolls("a")[1], *rolls("b")[1])))
    assert weave(together, inspect(tmp_path), targets=True).stages[0].targets == ()


def test_groups_with_filters_of_their_own_need_no_target(tmp_path: Path) -> None:
    """Allowed is not asked for."""
    (tmp_path / "main.tf").write_text(GROUPS.format(ami='"ami-0a"'))
    woven = weave(plan(rolls("a"), rolls("b")), inspect(tmp_path), targets=True)
    assert [s.targets for s in woven.stages] == [(), ()]


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("a", True),
        ("a-2026112314311756730000001", False),
        ("a-202611231431175673000000ff", True),
        ("a-20261123143117567300000012", True),
        ("a-2026112314311756730000001a", True),
        ("a-2", False),
        ("ab-2026112314311756730000001a", False),
    ],
)
def test_a_name_with_a_time_stamp_belongs_to_its_prefix(tmp_path: Path, name: str, ours: bool) -> None:
    """Terraform's counter is hexadecimal: six of sixteen groups would be said to be missing from the Terraform."""
    (tmp_path / "main.tf").write_text(GROUPS.format(ami='"ami-0a"').replace("use_name_prefix = false, ", ""))
    found = inspect(tmp_path).clusters[0].group(name)
    assert (found is not None and found.name == "a") is ours


# --- the gate, on plans that real Terraform made with -target ---------------------------------------------------------

SECOND = ('module.eks.aws_launch_template.this["second"]', 'module.eks.aws_eks_node_group.this["second"]')


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CASES / f"{name}.json").read_text())
    return found


def codes(found: dict[str, Any], targets: tuple[str, ...], made: Made | None) -> dict[str, str]:
    """Code -> severity of what the gate says of a stage that rolls `second`."""
    roll = Stage(1, StageKind.NODE_GROUP, "roll", (Change("node-group", "second", "a", "b"),), "", addresses=SECOND)
    whole = Plan("demo", "1.34", "1.35", (replace(roll, targets=targets),))
    return {f.code: f.severity for f in judge(found, expectation_of(whole.stages[0], whole), made).findings}


def test_a_targeted_plan_is_accepted_for_its_targets_only() -> None:
    """A plan with other targets hides other things than the stage means to."""
    found = recorded("targeted")
    assert found["complete"] is False
    assert codes(found, SECOND, Made(SECOND))["targeted"] == "noise"
    assert "refuse" not in codes(found, SECOND, Made(SECOND)).values()
    assert codes(found, SECOND, Made(SECOND[:1]))["other-targets"] == "refuse"
    assert codes(found, (), Made(SECOND))["other-targets"] == "refuse"
    assert codes(found, (), None)["plan-incomplete"] == "refuse"


def test_json_alone_is_accepted_with_a_warning() -> None:
    """The JSON of a plan does not say its targets: a pipeline that has nothing else must hear that."""
    assert codes(recorded("targeted"), SECOND, None)["targeted"] == "warning"


def test_targets_outside_of_the_cluster_are_refused() -> None:
    """`-target=module.vpc` in the middle of a roll changes the network under it."""
    found = recorded("targeted-elsewhere")
    assert codes(found, SECOND, Made(("module.vpc",)))["other-targets"] == "refuse"
    assert codes(found, SECOND, None)["unexpected-update"] == "refuse"
