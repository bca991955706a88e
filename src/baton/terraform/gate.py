"""The gate: is every change of a Terraform plan one that the stage is about?

Judges the JSON of `terraform show -json` (format version 1.x). What is replaced or destroyed is refused with the
attribute that forces it; what is known noise of a control plane upgrade is named as such; values that Terraform calls
sensitive never appear.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from baton.errors import ReadError
from baton.model.plan import StageKind
from baton.terraform.changes import judge_change
from baton.terraform.expected import (
    EXPECTED,
    NOISE,
    OWN,
    REFUSE,
    WARN,
    Expectation,
    GateFinding,
    GateResult,
    expectation_of,
)
from baton.terraform.locks import Made, provider_findings
from baton.terraform.planned import PlannedChange, block, full

# Attributes that show what resources of their own have made: after those are applied they look like drift.
ATTACHED = {
    "aws_iam_role": frozenset({"managed_policy_arns", "inline_policy"}),
    "aws_iam_policy": frozenset({"attachment_count"}),
    "aws_route_table": frozenset({"route"}),
    "aws_security_group": frozenset({"ingress", "egress"}),
}


def judge(plan: Mapping[str, Any], expectation: Expectation, made: Made | None = None) -> GateResult:
    """Judge a plan; `made` is what else is known of how it was made.

    Raises ReadError when it is not the JSON of a Terraform plan of format 1.x.
    """
    made = made or Made()
    _check_format(plan)
    changes = [PlannedChange(c) for c in plan.get("resource_changes") or () if c.get("mode", "managed") == "managed"]
    findings = list(_whole(plan, expectation, made))
    templates = _templates(changes, expectation)
    for change in changes:
        findings += judge_change(change, expectation, templates)
    findings += _missing(changes, expectation, bool(findings))
    findings += provider_findings(expectation.providers, made)
    findings += _drift(plan)
    order = {REFUSE: 0, WARN: 1, EXPECTED: 2, NOISE: 3}
    findings.sort(key=lambda f: (order[f.severity], f.address, f.code))
    return GateResult(tuple(findings), str(plan.get("terraform_version", "")))


def _check_format(plan: Mapping[str, Any]) -> None:
    version = plan.get("format_version") if isinstance(plan, Mapping) else None
    if not isinstance(version, str):
        raise ReadError(
            "this is not the JSON of a Terraform plan", hint="make it with `terraform show -json tfplan > plan.json`"
        )
    if version.split(".")[0] != "1":
        raise ReadError(
            f"the plan has format version {version}; this Baton reads 1.x",
            hint="use a newer Baton, or the Terraform that the plan format belongs to",
        )
    if "resource_changes" not in plan and "planned_values" not in plan:
        raise ReadError("this is a state, not a plan", hint="run `terraform show -json` on the file of `plan -out`")
    for key in ("resource_changes", "resource_drift"):
        entries = plan.get(key) or []
        whole = isinstance(entries, list) and all(
            isinstance(e, Mapping) and isinstance(e.get("change"), Mapping) and isinstance(e.get("address"), str)
            for e in entries
        )
        if not whole:
            raise ReadError(f"{key} of the plan is malformed", hint="make the JSON anew with `terraform show -json`")


def _whole(plan: Mapping[str, Any], expectation: Expectation, made: Made) -> Iterator[GateFinding]:
    if plan.get("errored"):
        yield GateFinding(
            "plan-errored", REFUSE, "", "", "the plan ended with errors and is incomplete", hint="mend them, plan again"
        )
    if made.targets and set(made.targets) != set(expectation.targets):
        wanted = ", ".join(expectation.targets) or "none"
        yield GateFinding(
            "other-targets",
            REFUSE,
            "",
            "",
            f"the plan was made with -target {', '.join(made.targets)}; the stage has {wanted}",
            hint="plan again with just " + " ".join(f"-target={t}" for t in expectation.targets)
            if expectation.targets
            else "plan again without -target",
        )
    elif plan.get("complete") is False and expectation.targets and not plan.get("deferred_changes"):
        yield _targeted(expectation, made)
    elif plan.get("complete") is False or plan.get("deferred_changes"):
        yield GateFinding(
            "plan-incomplete",
            REFUSE,
            "",
            "",
            "the plan leaves changes for a later plan, so what they are is not known",
            hint="plan without -target and without deferral",
        )


def _targeted(expectation: Expectation, made: Made) -> GateFinding:
    """The plan leaves things out, as the stage means it to."""
    words = " ".join(f"-target={t}" for t in expectation.targets)
    if made.targets is None:
        text = f"the plan leaves things out, as with {words}; its JSON does not say which -targets it was made with"
        return GateFinding(
            "targeted", WARN, "", "", text, hint="hand over the file of `plan -out` instead, which does say it"
        )
    return GateFinding("targeted", NOISE, "", "", f"planned with {words}: nothing else is in this plan")


def _templates(changes: Sequence[PlannedChange], expectation: Expectation) -> frozenset[str]:
    """Ids of the launch templates that the cluster's node groups use. The plan lists unchanged groups too."""
    groups = [c for c in changes if c.type == "aws_eks_node_group"]
    own = [g for g in groups if expectation.cluster in ("", g.before.get("cluster_name"))]
    ids = {block(side, "launch_template").get("id") for g in own for side in (g.before, g.after)}
    return frozenset(str(i) for i in ids if i)


# --- what should change and does not --------------------------------------------------------------


def _missing(changes: Sequence[PlannedChange], expectation: Expectation, broken: bool) -> Iterator[GateFinding]:
    """Expected resources that stay as they are, unless they are where the stage leads already (a resumed stage)."""
    moving = {c.address for c in changes if not set(c.actions) <= {"no-op", "read"}}
    own = {c.address: c for c in changes if c.type in OWN[expectation.kind]}
    if not moving & set(own) and not any(_arrived(c, expectation) for c in own.values()) and not broken:
        yield GateFinding(
            "nothing-to-do",
            REFUSE,
            "",
            "no-op",
            f"the plan changes nothing that a {expectation.kind.value} stage is about",
            hint="write the edits of the stage first (`baton stage N --write`), then plan",
        )
        return
    yield from _unused(changes, expectation, moving)
    for address in expectation.addresses:
        if address in moving:
            continue
        change = own.get(address)
        if change is not None and _arrived(change, expectation):
            continue
        if change is not None and change.type == "aws_launch_template" and not expectation.images:
            continue  # EKS's own image comes by the group's version
        text = "should change in this stage and does not"
        hint = "check that the address and the edits belong to this root and workspace"
        if change is not None and change.type == "aws_eks_node_group" and expectation.kind is StageKind.NODE_GROUP:
            text = "would not move to the new launch template version"
            hint = "update_launch_template_default_version = false, or a fixed template version, keeps it where it is"
        yield GateFinding("missing-change", REFUSE, address, "no-op", text, hint=hint)


def _unused(changes: Sequence[PlannedChange], expectation: Expectation, moving: set[str]) -> Iterator[GateFinding]:
    """Templates that get another image while the group that uses them stays on the version it has."""
    if expectation.kind is not StageKind.NODE_GROUP:
        return
    for change in changes:
        if (
            change.type != "aws_launch_template"
            or "image_id" not in change.attributes()
            or change.address not in moving
        ):
            continue
        own = [g for g in changes if block(g.before, "launch_template").get("id", "") == change.before.get("id")]
        for group in own:
            if group.type == "aws_eks_node_group" and group.address not in {*moving, *expectation.addresses}:
                text = f"{change.address} gets a version with another image, and this group stays on the version it has"
                hint = (
                    "update_launch_template_default_version = false, or a fixed template version, keeps it where it is"
                )
                yield GateFinding("template-without-roll", REFUSE, group.shown, "no-op", text, "launch_template", hint)


def _arrived(change: PlannedChange, expectation: Expectation) -> bool:
    after = change.after
    if change.type == "aws_eks_cluster":
        return bool(expectation.version) and after.get("version") == expectation.version
    if change.type == "aws_eks_addon":
        return expectation.addons.get(str(after.get("addon_name"))) == after.get("addon_version")
    if change.type == "aws_launch_template":
        return after.get("image_id") in expectation.images
    if expectation.kind is StageKind.NODE_GROUP and expectation.versions:
        return after.get("version") in expectation.versions
    return False


def _drift(plan: Mapping[str, Any]) -> Iterator[GateFinding]:
    """What changed outside of Terraform since the last apply."""
    for entry in plan.get("resource_drift") or ():
        change = PlannedChange(entry)
        if set(change.actions) <= {"no-op", "read"}:
            continue
        # A refresh writes null as an empty list or map: nobody has changed that.
        attached = ATTACHED.get(change.type, frozenset())
        attributes = tuple(
            a
            for a in change.attributes()
            if a not in attached and full(change.before.get(a)) != full(change.after.get(a))
        )
        gone = "delete" in change.actions
        if not gone and not attributes:
            continue
        text = (
            "is gone, outside of Terraform"
            if gone
            else "was changed outside of Terraform: " + ", ".join(change.show(a) for a in attributes)
        )
        yield GateFinding("drift", WARN, change.shown, "drift", text, ", ".join(attributes))


__all__ = ["Expectation", "GateFinding", "GateResult", "expectation_of", "judge"]
