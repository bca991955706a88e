"""The gate on plans of the community module itself (v20.8.4), made by real Terraform against the emulator.

Recorded once, on 2026-11-23: two groups on one AMI filter, add-ons by data source, stand-ins for the providers time,
tls, cloudinit and null. The upgrade itself was conducted there too, parted by -target, and ended with "no changes".
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from baton.model.plan import Plan, Stage, StageKind
from baton.terraform.expected import Expectation, GateResult, expectation_of
from baton.terraform.gate import judge
from baton.terraform.locks import Made

CASES = Path(__file__).parent.parent / "cases" / "gate"
FIRST = 'module.eks.module.eks_managed_node_group["first"]'
GROUP, TEMPLATE = f"{FIRST}.aws_eks_node_group.this[0]", f"{FIRST}.aws_launch_template.this[0]"
CLUSTER = "module.eks.aws_eks_cluster.this[0]"


def plan(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CASES / f"community-{name}.json").read_text())
    return found


def judged(name: str, kind: StageKind) -> GateResult:
    return judge(plan(name), Expectation(kind, "demo"))


@pytest.mark.parametrize("name", ["version", "deposed-timer"])
def test_what_the_module_does_besides_is_noise(name: str) -> None:
    """The timer is replaced, or left deposed by an interrupted apply, in every upgrade: refusing it would stop all."""
    found = plan(name)
    if name == "deposed-timer":  # the cluster is there already; what does not change was not recorded
        there = {"actions": ["no-op"], "before": {"version": "1.35"}, "after": {"version": "1.35"}}
        found["resource_changes"].append({"address": CLUSTER, "type": "aws_eks_cluster", "change": there})
    result = judge(found, Expectation(StageKind.CONTROL_PLANE, "demo", "1.35", (CLUSTER,)))
    assert result.allowed, "\n".join(result.reasons)
    timers = [f for f in result.findings if f.code == "noise-time-sleep"]
    assert timers and all(f.severity == "noise" for f in timers)
    assert any("deposed" in t.address for t in timers) is (name == "deposed-timer")
    assert any(f.code == "noise-oidc-thumbprint" for f in result.findings) is (name == "version")


@pytest.mark.parametrize(
    ("name", "kind", "code", "address"),
    [
        ("version-and-addons", StageKind.CONTROL_PLANE, "addon-in-control-plane-stage", 'this["coredns"]'),
        ("version-and-addons", StageKind.ADDONS, "unknown-addon-version", 'before_compute["vpc-cni"]'),
        ("version-and-image", StageKind.CONTROL_PLANE, "node-group-in-control-plane-stage", GROUP),
        ("depends-on", StageKind.CONTROL_PLANE, "replaced-resource", "aws_iam_role_policy_attachment.this"),
        ("depends-on", StageKind.CONTROL_PLANE, "replaced-resource", "aws_eks_access_entry.this"),
        ("name", StageKind.NODE_GROUP, "replaced-node-group", GROUP),
        ("user-data", StageKind.NODE_GROUP, "unasked-launch-template", TEMPLATE),
        ("image-targeted", StageKind.NODE_GROUP, "plan-incomplete", ""),
    ],
)
def test_the_modules_own_surprises_are_refused(name: str, kind: StageKind, code: str, address: str) -> None:
    """These are what people met with this module: a gate that was tried on a small copy only would miss them."""
    result = judged(name, kind)
    assert not result.allowed
    assert any(f.code == code and address in f.address for f in result.findings), "\n".join(map(str, result.findings))


def test_an_image_alone_is_allowed() -> None:
    """Both groups find their image by the one filter that was edited."""
    assert judged("image", StageKind.NODE_GROUP).allowed


def test_a_refresh_is_no_drift() -> None:
    """Null that reads as 0 after the first refresh, or what a resource of its own has made, was done by nobody."""
    assert [str(f) for f in judged("image", StageKind.NODE_GROUP).findings if f.code == "drift"] == []


def test_one_group_by_target_is_allowed() -> None:
    """In the module a target takes along what the group depends on: none of that may be taken for a surprise."""
    stage = Stage(1, StageKind.NODE_GROUP, "first", (), "", addresses=(TEMPLATE, GROUP), targets=(TEMPLATE, GROUP))
    whole = Plan("demo", "1.34", "1.35", (stage,))
    result = judge(plan("image-targeted"), expectation_of(stage, whole), Made(stage.targets))
    assert result.allowed, "\n".join(result.reasons)
    changed = {f.address for f in result.findings if f.severity == "expected"}
    assert changed == {TEMPLATE, GROUP}
