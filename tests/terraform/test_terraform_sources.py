"""Roots whose values lie outside of them: modules and Terragrunt files further up, symbolic links."""

from __future__ import annotations

from pathlib import Path

from terraform_cases import plan_for

from baton.terraform.edit import apply
from baton.terraform.inspect import inspect
from baton.terraform.stages import weave
from baton.terraform.texts import pull_request

MODULE = """variable "cluster_version" {
  default = "1.34"
}
resource "aws_eks_cluster" "main" {
  name    = "demo"
  version = var.cluster_version
}
"""


def files(folder: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_unit_takes_its_inputs_from_the_folders_above_it(tmp_path: Path) -> None:
    """Terragrunt users keep versions in env.hcl above their units; Baton would say that nothing sets them."""
    files(
        tmp_path,
        {
            "root.hcl": "",
            "_envcommon/eks.hcl": 'locals {\n  env = read_terragrunt_config(find_in_parent_folders("env.hcl"))\n}\n'
            'terraform {\n  source = "${get_terragrunt_dir()}/../../modules//eks"\n}\n'
            "inputs = {\n  cluster_version = local.env.locals.k8s\n}\n",
            "prod/env.hcl": 'locals {\n  k8s = "1.33"\n}\n',
            "prod/eks/terragrunt.hcl": 'include "root" {\n  path = find_in_parent_folders("root.hcl")\n}\n'
            'include "common" {\n  path = "${dirname(find_in_parent_folders("root.hcl"))}/_envcommon/eks.hcl"\n}\n',
            "modules/eks/main.tf": MODULE,
        },
    )
    found = inspect(tmp_path / "prod/eks")
    (cluster,) = found.clusters
    assert (cluster.version.value, str(cluster.version.span)) == ("1.33", "../env.hcl:2")
    assert cluster.notes == ("../env.hcl is outside of this root: other roots that read it move with it",)
    assert found.unresolved == ()
    for stage in weave(plan_for(cluster), found).stages:
        apply(tmp_path / "prod/eks", stage.edits)
    assert (tmp_path / "prod/env.hcl").read_text() == 'locals {\n  k8s = "1.35"\n}\n'


def test_a_default_in_a_shared_module_is_told(tmp_path: Path) -> None:
    """Every environment that uses the module would be upgraded by its next apply, and nobody was told."""
    files(tmp_path, {"modules/eks/main.tf": MODULE, "dev/main.tf": 'module "eks" {\n  source = "../modules/eks"\n}\n'})
    (cluster,) = inspect(tmp_path / "dev").clusters
    assert cluster.notes == ("../modules/eks/main.tf is outside of this root: other roots that read it move with it",)


def test_holds_in_a_shared_module_are_told_in_plan_and_pull_request(tmp_path: Path) -> None:
    """Applied meanwhile, the green half of a blue/green pair would take the node version that is held for blue."""
    group = """resource "aws_eks_node_group" "main" {
  cluster_name    = aws_eks_cluster.main.name
  node_group_name = "main"
  version         = var.cluster_version
}
"""
    caller = 'module "eks" {\n  source          = "../modules/eks"\n  cluster_version = "1.34"\n}\n'
    files(tmp_path, {"modules/eks/main.tf": MODULE + group, "blue/main.tf": caller, "green/main.tf": caller})
    found = inspect(tmp_path / "blue")
    plan = weave(plan_for(found.clusters[0]), found)
    assert plan.notes[-1].startswith(
        "edits go to ../modules/eks/main.tf, outside of this root: other roots that read it"
    )
    assert "Edits go to ../modules/eks/main.tf" in pull_request(plan, plan.stages[0])


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """A linked variables file would become a copy, and the other roots that link it would be left behind unseen."""
    files(tmp_path, {"shared/common.tf": MODULE})
    root = tmp_path / "dev"
    root.mkdir()
    (root / "common.tf").symlink_to("../shared/common.tf")
    found = inspect(root)
    for stage in weave(plan_for(found.clusters[0]), found).stages:
        apply(root, stage.edits)
    assert (root / "common.tf").is_symlink()
    assert '"1.35"' in (tmp_path / "shared/common.tf").read_text()


def test_the_workspace_that_is_meant_is_told_unless_it_is_chosen(tmp_path: Path) -> None:
    """The entry of `default` would be edited while the user thinks of the cluster of another workspace."""
    table = 'locals {\n  k8s = { default = "1.33", prod = "1.34" }\n}\n'
    cluster = 'resource "aws_eks_cluster" "main" {\n  name    = "demo"\n  version = local.k8s[terraform.workspace]\n}\n'
    files(tmp_path, {"main.tf": table + cluster})
    found = inspect(tmp_path)
    assert found.clusters[0].version.value == "1.33"
    assert ["--workspace" in u.why for u in found.unresolved] == [True]
    chosen = inspect(tmp_path, workspace="prod")
    assert (chosen.clusters[0].version.value, chosen.unresolved) == ("1.34", ())
    files(tmp_path, {".terraform/environment": "prod"})
    assert (inspect(tmp_path).clusters[0].version.value, inspect(tmp_path).unresolved) == ("1.34", ())
