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
from baton.terraform.verdicts import render

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


SECOND = 'module.eks.aws_eks_node_group.this["second"]'
TEMPLATE = 'module.eks.aws_launch_template.this["second"]'
ATTACHMENT = 'module.eks.aws_iam_role_policy_attachment.node["AmazonEKSWorkerNodePolicy"]'
PLAIN = 'module.eks.aws_eks_node_group.this["plain"]'


@pytest.mark.parametrize(
    ("name", "stage", "code", "address", "words"),
    [
        ("wide-nothing", "node-group", "nothing-to-do", "", "changes nothing"),
        ("wide-image", "node-group", "template-without-roll", '.this["kept"]', "stays on the version it has"),
        ("wide-image", "addon", "node-group-in-addon-stage", SECOND, "roll in their own stage"),
        ("wide-version-rolls-optimised", "control-plane", "node-group-in-control-plane-stage", PLAIN, "roll together"),
        ("name-prefix", "node-group", "replaced-node-group", SECOND, "forced by node_group_name_prefix"),
        ("subnet-order", "node-group", "nothing-to-do", "", "changes nothing"),
        ("subnet-added", "node-group", "replaced-node-group", SECOND, "forced by subnet_ids"),
        ("node-role", "node-group", "replaced-node-group", SECOND, "forced by node_role_arn"),
        ("template-name", "node-group", "replaced-launch-template", TEMPLATE, "forced by name_prefix"),
        ("template-name", "node-group", "replaced-node-group", SECOND, "forced by launch_template"),
        ("module-depends-on", "control-plane", "replaced-resource", ATTACHMENT, "module-level depends_on"),
        ("module-depends-on", "addon", "unknown-addon-version", 'this["coredns"]', "known only after apply"),
        ("user-data", "node-group", "unasked-launch-template", TEMPLATE, "user data"),
        ("metadata-options", "node-group", "unasked-launch-template", TEMPLATE, "metadata options"),
        ("instance-tags", "node-group", "unasked-launch-template", TEMPLATE, "changed tags"),
        ("latest-release", "control-plane", "node-group-in-control-plane-stage", PLAIN, "release_version"),
        ("most-recent", "control-plane", "addon-in-control-plane-stage", 'this["coredns"]', "follows a data source"),
        ("version-jump", "control-plane", "version-jump", CLUSTER, "one minor at a time"),
        ("version-back", "control-plane", "version-downgrade", CLUSTER, "go back"),
        ("version-back", "node-group", "version-downgrade", PLAIN, "go back"),
        ("other-cluster", "control-plane", "other-cluster", "module.other.aws_eks_cluster.this", "another cluster"),
        ("sensitive", "node-group", "unasked-launch-template", TEMPLATE, "tag_specifications"),
        ("min-above-desired", "node-group", "min-above-desired", SECOND, "above the desired size"),
        ("targeted", "node-group", "plan-incomplete", "", "leaves changes for a later plan"),
        ("targeted-elsewhere", "node-group", "unexpected-update", "module.vpc.aws_vpc.this", "not about"),
        ("drift", "node-group", "unexpected-attribute", SECOND, "labels"),
        ("drift", "control-plane", "unexpected-update", SECOND, "labels"),
        ("desired-size-fight", "node-group", "desired-size-node-group", SECOND, "an autoscaler has set"),
        ("addon-downgrade", "addon", "addon-downgrade", 'this["coredns"]', "would go back"),
        ("version-and-deposed", "control-plane", "deposed", "aws_ecr_repository.left", "left over"),
    ],
)
def test_every_surprise_is_named_by_its_code(name: str, stage: str, code: str, address: str, words: str) -> None:
    """Each of these has cost somebody nodes, a night or a cluster; a plan with one must not pass as an upgrade."""
    result = judged(name, stage)
    assert not result.allowed
    found = [f for f in result.findings if f.code == code and f.severity == "refuse"]
    assert any(address in f.address and words in f.message for f in found), "\n".join(map(str, result.findings))
    assert all(f.hint for f in found)


def test_what_somebody_did_by_hand_is_named_as_drift() -> None:
    """Labels set at the console are about to be lost: the reviewer must hear of that, and of nothing else."""
    told = {(f.address, f.attribute) for f in judged("drift", "control-plane").findings if f.code == "drift"}
    assert told == {(SECOND, "labels")}
    assert not [f for f in judged("wide-image", "node-group").findings if f.code == "drift"]
    scaled = [f for f in judged("desired-size-fight", "node-group").findings if f.code == "drift"]
    assert any(f.address == SECOND and "scaling_config" in f.attribute for f in scaled)


def test_several_groups_in_one_stage_are_all_expected() -> None:
    """With --parallel-groups a stage rolls several groups: none may be missing, none be too many."""
    found = plan("wide-image")
    both = [
        f'module.eks.{kind}.this["{g}"]'
        for g in ("main", "second")
        for kind in ("aws_launch_template", "aws_eks_node_group")
    ]
    three = [*both, 'module.eks.aws_launch_template.this["kept"]', 'module.eks.aws_eks_node_group.this["kept"]']
    found["resource_changes"] = [c for c in found["resource_changes"] if '["kept"]' not in c["address"]]
    assert judge(found, Expectation(StageKind.NODE_GROUP, "demo", addresses=tuple(both))).allowed
    one = judge(found, Expectation(StageKind.NODE_GROUP, "demo", addresses=tuple(both[:2])))
    assert {f.address for f in one.findings if f.severity == "refuse"} == set(both[2:])
    missing = judge(found, Expectation(StageKind.NODE_GROUP, "demo", addresses=tuple(three)))
    assert {f.code for f in missing.findings if f.severity == "refuse"} == {"missing-change"}


def test_a_timer_left_deposed_is_noise() -> None:
    """The module's time_sleep is left over by every interrupted apply: refusing it would stop every resumed upgrade."""
    found = plan("version-and-deposed")
    left = [c for c in found["resource_changes"] if c.get("deposed")]
    assert left, "nothing deposed was recorded"
    for change in found["resource_changes"]:
        if change["address"] == "aws_ecr_repository.left":
            change["type"], change["address"] = "time_sleep", "module.eks.time_sleep.this[0]"
    codes = {f.code: f.severity for f in judge(found, Expectation(StageKind.CONTROL_PLANE, "demo")).findings}
    assert codes["noise-time-sleep"] == "noise" and "deposed" not in codes


def test_a_sensitive_tag_is_never_shown() -> None:
    """The value is in the plan's JSON; in no form may it get into the verdict."""
    assert "hunter2" in json.dumps(plan("sensitive"))
    for kind in StageKind:
        result = judged("sensitive", kind.value)
        for form in ("text", "markdown", "json", "sarif"):
            assert "hunter2" not in render(result, Expectation(kind, "demo"), "plan.json", form)


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


def test_a_group_on_eks_images_moves_without_its_template() -> None:
    """The module gives such groups a template without an image: expecting it to change would refuse every roll."""
    found = plan("wide-version-rolls-optimised")
    found["resource_changes"] = [c for c in found["resource_changes"] if c["address"] == PLAIN]
    template = 'module.eks.aws_launch_template.this["plain"]'
    still = {"actions": ["no-op"], "before": {"id": "lt-1"}, "after": {"id": "lt-1"}}
    found["resource_changes"].append({"address": template, "type": "aws_launch_template", "change": still})
    for addresses in ((PLAIN,), (template, PLAIN)):
        result = judge(found, Expectation(StageKind.NODE_GROUP, "demo", addresses=addresses, versions=("1.35",)))
        assert result.allowed, refusals(result)
    other = Expectation(StageKind.NODE_GROUP, "demo", addresses=(template, PLAIN), images=("ami-0a",))
    assert not judge(found, other).allowed
