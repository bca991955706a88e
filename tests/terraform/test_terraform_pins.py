"""Add-on versions that follow a data source: held for the control plane, then released or, when asked, written."""

from __future__ import annotations

from pathlib import Path

import pytest

from baton.model.plan import Change, Plan, Stage, StageKind
from baton.planner.store import digest
from baton.terraform.edit import apply
from baton.terraform.inspect import inspect
from baton.terraform.stages import stage_edits, weave

MAIN = """\
module "eks" {
  source          = "terraform-aws-modules/eks/aws"
  version         = "20.8.4"
  cluster_name    = "demo"
  cluster_version = "1.34"
  cluster_addons = {
    coredns = {}
    vpc-cni = { before_compute = true }
  }
}
"""
OLD, NEW, CNI = "v1.11.1-eksbuild.1", "v1.12.1-eksbuild.1", "v1.20.0-eksbuild.1"


def upgrade() -> Plan:
    moves = (
        (StageKind.CONTROL_PLANE, Change("cluster", "demo", "1.34", "1.35")),
        (StageKind.ADDONS, Change("addon", "coredns", OLD, NEW)),
    )
    stages = tuple(Stage(i + 1, kind, kind.value, (change,), "because") for i, (kind, change) in enumerate(moves))
    facts = {"addon/coredns.version": OLD, "addon/vpc-cni.version": CNI}
    return Plan("demo", "1.34", "1.35", stages, facts=facts, facts_digest=digest(facts))


def pick(name: str, recent: bool, version: str) -> str:
    """The data source picks just what the plan wants: nothing speaks against following it again."""
    return {"coredns": NEW, "vpc-cni": CNI}[name]


@pytest.mark.parametrize("pin", [False, True])
def test_the_versions_follow_again_or_stay_written(tmp_path: Path, pin: bool) -> None:
    """With --pin-addons the next plan of anybody must not move an add-on; without it nothing may be left behind."""
    (tmp_path / "main.tf").write_text(MAIN)
    woven = weave(upgrade(), inspect(tmp_path), picks=pick, pin=pin)
    again = stage_edits(woven, woven.stages[0], tmp_path).stage
    assert again == woven.stages[0]
    for stage in woven.stages:
        apply(tmp_path, stage.edits)
    text = (tmp_path / "main.tf").read_text()
    if pin:
        assert f'coredns = {{ addon_version = "{NEW}" }}' in text
        assert f'addon_version = "{CNI}"' in text
    else:
        assert text == MAIN.replace("1.34", "1.35")
