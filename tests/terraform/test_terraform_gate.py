"""The gate on plans that real Terraform made (scripts/record_gate_cases.py), and on plans that are none."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from baton.cli.main import main
from baton.errors import ReadError
from baton.model.plan import StageKind
from baton.terraform.gate import Expectation, GateResult, judge

CASES = Path(__file__).parent.parent / "cases" / "gate"
GROUP = 'module.eks.aws_eks_node_group.this["main"]'
CLUSTER = "module.eks.aws_eks_cluster.this"


def plan(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CASES / f"{name}.json").read_text())
    return found


def judged(name: str, stage: str, **more: Any) -> GateResult:
    return judge(plan(name), Expectation(StageKind(stage), "demo", **more))


def refusals(result: GateResult) -> str:
    return "\n".join(result.reasons)


@pytest.mark.parametrize(
    ("name", "stage", "more"),
    [
        ("version", "control-plane", {"version": "1.35", "addresses": (CLUSTER,)}),
        ("image", "node-group", {}),
        ("update-config", "update-config", {"addresses": (GROUP,)}),
    ],
)
def test_what_a_stage_is_about_is_allowed(name: str, stage: str, more: dict[str, Any]) -> None:
    """A gate that refuses the upgrade itself would be turned off within a day."""
    result = judged(name, stage, **more)
    assert result.allowed, refusals(result)


@pytest.mark.parametrize(
    ("name", "stage", "address", "words"),
    [
        ("version-and-addons", "control-plane", "aws_eks_addon", "add-ons move in their own stage"),
        ("version-and-image", "control-plane", GROUP, "roll together with the control plane"),
        ("image-and-update-config", "node-group", GROUP, "does not govern that roll"),
        ("group-renamed", "node-group", GROUP, "destroyed"),
        ("group-renamed", "node-group", 'this["workers"]', "created"),
        ("group-type", "node-group", GROUP, "forced by ami_type"),
        ("instance-type", "node-group", GROUP, "forced by instance_types"),
        ("zones-reordered", "control-plane", GROUP, "forced by subnet_ids"),
        ("addon-removed", "addon", "aws_eks_addon", "destroyed"),
        ("cluster-renamed", "control-plane", CLUSTER, "replaced, forced by"),
        ("tags", "control-plane", "aws_launch_template", "rolls nodes"),
        ("tags", "control-plane", "aws_vpc", "not about"),
        ("sizes", "node-group", GROUP, "min_size 4 is above the desired size 3"),
        ("nothing", "control-plane", "", "changes nothing"),
        ("image", "control-plane", GROUP, "roll"),
        ("version", "node-group", CLUSTER, ""),
    ],
)
def test_surprises_are_refused_with_address_and_cause(name: str, stage: str, address: str, words: str) -> None:
    """A plan that replaces or destroys, or moves what a later stage is about, must never be applied by Baton."""
    result = judged(name, stage)
    assert not result.allowed
    assert any(address in line and words in line for line in result.reasons), refusals(result)


def altered(name: str, kind: str, unknown: bool = False, **after: Any) -> dict[str, Any]:
    """A recorded plan whose changes of one resource type end in other values, or in unknown ones."""
    found = plan(name)
    for change in found["resource_changes"]:
        if change["type"] == kind:
            for key, value in after.items():
                change["change"]["after"][key] = None if unknown else value
                change["change"]["after_unknown"] = {**change["change"]["after_unknown"], key: unknown}
    return found


@pytest.mark.parametrize(
    ("found", "stage", "code"),
    [
        (altered("image", "aws_launch_template", unknown=True, image_id=""), "node-group", "unknown-image"),
        (altered("version", "aws_eks_cluster", unknown=True, version=""), "control-plane", "unknown-version"),
        (altered("version", "aws_eks_cluster", version="1.33"), "control-plane", "version-downgrade"),
        (altered("version", "aws_eks_cluster", version="1.36"), "control-plane", "version-jump"),
        (altered("version", "aws_eks_cluster", version="latest"), "control-plane", "version-unreadable"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_stage_named_by_kind_alone_is_still_guarded(found: dict[str, Any], stage: str, code: str) -> None:
    """Without a plan file a pipeline would let unknown images, downgrades and jumps of two minors through."""
    result = judge(found, Expectation(StageKind(stage), "demo"))
    assert not result.allowed
    assert code in {f.code for f in result.findings if f.severity == "refuse"}, refusals(result)


def test_a_template_that_no_group_uses_is_refused() -> None:
    """A bastion's launch template would move under cover of a node group stage."""
    found = plan("image")
    template = next(c for c in found["resource_changes"] if c["type"] == "aws_launch_template")
    other = copy.deepcopy(template)
    other["address"] = "aws_launch_template.bastion"
    for side in ("before", "after"):
        other["change"][side]["id"] = "lt-0bastion"
    found["resource_changes"].append(other)
    result = judge(found, Expectation(StageKind.NODE_GROUP, "demo"))
    refused = [f for f in result.findings if f.severity == "refuse"]
    assert [(f.code, f.address) for f in refused] == [("other-template", "aws_launch_template.bastion")]


@pytest.mark.parametrize(
    ("name", "kind", "attribute", "expectation"),
    [
        ("image", "aws_launch_template", "image_id", Expectation(StageKind.NODE_GROUP, "demo", images=("ami-0a",))),
        ("version", "aws_eks_cluster", "version", Expectation(StageKind.CONTROL_PLANE, "demo", "1.35")),
        ("version", "aws_eks_cluster", "version", Expectation(StageKind.CONTROL_PLANE, "demo")),
        ("image", "aws_eks_node_group", "version", Expectation(StageKind.NODE_GROUP, "demo", versions=("1.35",))),
        (
            "version-and-addons",
            "aws_eks_addon",
            "addon_version",
            Expectation(StageKind.ADDONS, "demo", addons={"coredns": "v1"}),
        ),
        ("version-and-addons", "aws_eks_addon", "addon_version", Expectation(StageKind.ADDONS, "demo")),
    ],
)
def test_no_refusal_tells_a_sensitive_value(name: str, kind: str, attribute: str, expectation: Expectation) -> None:
    """Where what is planned differs from what was expected, the message would quote the secret."""
    found = altered(name, kind, False, **{attribute: "0.0-hunter2"})
    for change in found["resource_changes"]:
        if change["type"] == kind:
            change["change"]["after_sensitive"] = {attribute: True}
    result = judge(found, expectation)
    assert not result.allowed
    assert "hunter2" not in "\n".join(str(f) for f in result.findings)


def test_another_version_than_planned_is_refused() -> None:
    """The plan file was made for 1.36 while the stage goes to 1.35: not what was rehearsed."""
    assert not judged("version", "control-plane", version="1.36").allowed


def test_another_image_than_planned_is_refused() -> None:
    """A filter that picks another image today must be caught before nodes boot it."""
    result = judged("image", "node-group", images=("ami-0123456789abcdef0",))
    assert not result.allowed


def test_a_downgrade_of_an_addon_is_refused() -> None:
    """`most_recent` switched off may lead to an older version than the one that runs."""
    found = plan("version-and-addons")
    for change in found["resource_changes"]:
        if change["type"] == "aws_eks_addon":
            change["change"]["after"]["addon_version"] = "v1.0.0-eksbuild.1"
            change["change"]["after_unknown"] = {}
    assert "v1.0.0-eksbuild.1" in refusals(judge(found, Expectation(StageKind.ADDONS, "demo")))


def test_sensitive_values_stay_hidden() -> None:
    """A secret in a plan must not land in a pull request comment."""
    found = plan("image")
    for change in found["resource_changes"]:
        change["change"]["after"]["image_id"] = "hunter2"
        change["change"]["after_sensitive"] = {"image_id": True}
    result = judge(found, Expectation(StageKind.CONTROL_PLANE, "demo"))
    assert "hunter2" not in "\n".join(str(f) for f in result.findings)


def test_drift_is_named_and_empty_drift_is_not() -> None:
    """What somebody changed by hand matters; null that became an empty list does not."""
    assert not any(f.action == "drift" and "labels" in f.message for f in judged("version", "control-plane").findings)
    found = plan("version")
    entry = next(d for d in found["resource_drift"] if d["type"] == "aws_eks_node_group")
    entry["change"]["after"] = {**entry["change"]["after"], "scaling_config": [{"desired_size": 9}]}
    told = [f for f in judge(found, Expectation(StageKind.CONTROL_PLANE, "demo")).findings if f.action == "drift"]
    assert any(GROUP in f.address and "scaling_config" in f.message for f in told)


@pytest.mark.parametrize(
    "broken",
    [{}, {"format_version": "2.0", "resource_changes": []}, {"format_version": "1.2", "resource_changes": "x"}, [], 7],
)
def test_what_is_no_plan_is_refused_to_be_read(broken: Any) -> None:
    """A newer format or another file must be an error, never an empty and thus allowed plan."""
    with pytest.raises(ReadError):
        judge(broken, Expectation(StageKind.CONTROL_PLANE, "demo"))


def test_an_errored_plan_is_not_allowed() -> None:
    """Terraform can show a plan that failed half-way: what it would have changed is unknown."""
    found = {**copy.deepcopy(plan("version")), "errored": True}
    assert not judge(found, Expectation(StageKind.CONTROL_PLANE, "demo")).allowed


@pytest.mark.parametrize("form", ["text", "markdown", "json", "sarif"])
def test_the_command_says_it_in_every_form(capsys: pytest.CaptureFixture[str], form: str) -> None:
    """CI reads the exit code; people and code hosts read the rest."""
    path = str(CASES / "instance-type.json")
    assert main(["gate", path, "--stage", "node-group", "--cluster", "demo", "--format", form]) == 1
    out = capsys.readouterr().out
    assert "instance_types" in out
    if form == "json":
        assert json.loads(out)["allowed"] is False
    if form == "sarif":
        run = json.loads(out)["runs"][0]
        assert json.loads(out)["version"] == "2.1.0" and run["results"]
    assert main(["gate", str(CASES / "image.json"), "--stage", "node-group", "--format", form]) == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version": "9.0", "resource_changes": []}'])
def test_the_command_refuses_other_files(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str) -> None:
    """A pipeline that hands over the wrong file must fail, with its name."""
    path = tmp_path / "plan.json"
    path.write_text(text)
    assert main(["gate", str(path), "--stage", "control-plane"]) == 3
    assert "hint:" in capsys.readouterr().err
