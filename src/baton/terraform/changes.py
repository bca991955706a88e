"""One change of a Terraform plan, judged: is it what the stage is about, known noise, or a surprise?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from baton.errors import UsageError
from baton.model.plan import StageKind
from baton.model.versions import AddonVersion, Minor
from baton.terraform.expected import EXPECTED, NOISE, OWN, REFUSE, WARN, Expectation, GateFinding
from baton.terraform.planned import PlannedChange, any_true, block
from baton.terraform.traps import REFUSED_UPDATES, REPLACED, ROLLS_NODES, Trap

# What moves a version or rolls nodes; the rest of these resources changes without either.
_MOVING = {
    "aws_eks_cluster": frozenset({"version"}),
    "aws_eks_addon": frozenset({"addon_version"}),
    "aws_eks_node_group": frozenset({"launch_template", "version", "release_version"}),
    "aws_launch_template": frozenset({"image_id", "default_version", "latest_version"}),
}
_EKS = ("aws_eks_cluster", "aws_eks_node_group", "aws_eks_addon", "aws_launch_template")


def judge_change(change: PlannedChange, expectation: Expectation, templates: frozenset[str]) -> Iterator[GateFinding]:
    actions = set(change.actions)
    if actions <= {"no-op", "read"}:
        if change.raw.get("previous_address"):
            text = f"moved from {change.raw['previous_address']}; nothing else changes"
            yield GateFinding("moved", WARN, change.shown, "move", text)
        return
    timer = expectation.kind is StageKind.CONTROL_PLANE or expectation.targets or expectation.trailing
    if change.type == "time_sleep" and timer and actions <= {"create", "delete"}:
        text = "the module's timer is replaced, or its old object removed, whenever the version changes"
        yield GateFinding("noise-time-sleep", NOISE, change.shown, change.action, text)
        return
    if change.type == "time_sleep" and change.raw.get("deposed") and actions == {"delete"}:
        yield GateFinding("noise-time-sleep", NOISE, change.shown, change.action, "left over from an interrupted apply")
        return
    if actions & {"delete", "forget"}:
        yield _removed(change)
    elif "create" in actions:
        yield _created(change)
    else:
        yield from _updated(change, expectation, templates)


def _removed(change: PlannedChange) -> GateFinding:
    replaced = "create" in change.actions
    forced = change.forced_by()
    reason = str(change.raw.get("action_reason", "")).replace("_", " ")
    if change.raw.get("deposed"):
        return GateFinding(
            "deposed", REFUSE, change.shown, change.action, "an object left over from an earlier apply is destroyed",
            hint="apply that alone first, knowing what it is",
        )  # fmt: skip
    if "forget" in change.actions:
        return GateFinding(
            "forgotten", REFUSE, change.shown, "forget", "Terraform would stop managing it",
            hint="remove the `removed` block, or apply it by itself first",
        )  # fmt: skip
    verb = "replaced" if replaced else "destroyed"
    why = f", forced by {', '.join(forced)}" if forced else (f" ({reason})" if reason else "")
    trap = _trap(REPLACED.get(change.type, ()), forced)
    default = "find what changed it, and put that back or apply it by itself with care"
    return GateFinding(
        f"{verb}-{_short(change.type)}",
        REFUSE,
        change.shown,
        change.action,
        f"would be {verb}{why}" + (f": {trap.why}" if trap else ""),
        ", ".join(forced),
        trap.hint if trap else default,
    )


def _trap(traps: Sequence[Trap], attributes: Sequence[str]) -> Trap | None:
    return next((t for t in traps for a in attributes if a == t.attribute or a.startswith(t.attribute + ".")), None)


def _short(kind: str) -> str:
    return {
        "aws_eks_node_group": "node-group",
        "aws_eks_cluster": "cluster",
        "aws_launch_template": "launch-template",
        "aws_eks_addon": "addon",
    }.get(kind, "resource")


def _created(change: PlannedChange) -> GateFinding:
    return GateFinding(
        f"created-{_short(change.type)}",
        REFUSE,
        change.shown,
        "create",
        "would be created, which no stage of an upgrade does",
        hint="apply it by itself before the upgrade, or take it out of the configuration",
    )


# --- in-place changes -----------------------------------------------------------------------------


def _updated(change: PlannedChange, expectation: Expectation, templates: frozenset[str]) -> Iterator[GateFinding]:
    attributes = change.attributes()
    if change.raw["change"].get("importing"):
        yield GateFinding(
            "imported", REFUSE, change.shown, "import", "would be imported", hint="import it by itself first"
        )
    if _is_thumbprint(change, attributes):
        text = "the thumbprint of the OIDC provider is read again; it stays the same unless AWS changed its certificate"
        yield GateFinding("noise-oidc-thumbprint", NOISE, change.shown, "update", text, "thumbprint_list")
        return
    own = OWN[expectation.kind].get(change.type)
    if own is None or not _is_meant(change, expectation, templates):
        yield _other_update(change, expectation, attributes)
        return
    strange = [a for a in attributes if a not in own]
    for attribute in strange:
        yield _strange_attribute(change, attribute)
    problems = list(_CHECKS[change.type](change, expectation))
    yield from problems
    if not strange and not any(p.severity == REFUSE for p in problems):
        text = "changes in place: " + ", ".join(change.show(a) for a in attributes)
        yield GateFinding("expected", EXPECTED, change.shown, "update", text, ", ".join(attributes))


def _is_thumbprint(change: PlannedChange, attributes: Sequence[str]) -> bool:
    return change.type == "aws_iam_openid_connect_provider" and set(attributes) <= {"thumbprint_list"}


def _is_meant(change: PlannedChange, expectation: Expectation, templates: frozenset[str]) -> bool:
    """The resource is one that this stage is about."""
    if expectation.addresses:
        return change.address in expectation.addresses
    if change.type == "aws_launch_template":
        return change.before.get("id") in templates
    cluster = change.before.get("cluster_name", change.before.get("name") if change.type == "aws_eks_cluster" else None)
    if expectation.cluster and cluster not in (None, expectation.cluster):
        return False
    return (
        not expectation.addons
        or change.type != "aws_eks_addon"
        or change.before.get("addon_name") in expectation.addons
    )


def _other_update(change: PlannedChange, expectation: Expectation, attributes: Sequence[str]) -> GateFinding:
    shown = ", ".join(change.show(a) for a in attributes) or "nothing visible"
    other = change.before.get("name" if change.type == "aws_eks_cluster" else "cluster_name")
    if expectation.cluster and change.type in _EKS and other not in (None, expectation.cluster):
        text, hint = f"belongs to another cluster, {other}, and would change {shown}", "upgrade one cluster at a time"
        return GateFinding("other-cluster", REFUSE, change.shown, "update", text, ", ".join(attributes), hint)
    if change.type == "aws_launch_template" and not expectation.addresses and expectation.kind is StageKind.NODE_GROUP:
        text, hint = (
            f"would change {shown}; no node group of the cluster uses it",
            "apply it by itself, apart from this",
        )
        return GateFinding("other-template", REFUSE, change.shown, "update", text, ", ".join(attributes), hint)
    trap = REFUSED_UPDATES.get((expectation.kind, change.type))
    if trap is not None and _MOVING[change.type] & set(attributes):
        code = f"{_short(change.type)}-in-{expectation.kind.value}-stage"
        text = f"would change {shown}: {trap.why}"
        return GateFinding(code, REFUSE, change.shown, "update", text, ", ".join(attributes), trap.hint)
    return GateFinding(
        "unexpected-update",
        REFUSE,
        change.shown,
        "update",
        f"would change {shown}, which this stage is not about",
        ", ".join(attributes),
        "apply it by itself before the upgrade (`terraform plan` should say no changes before it begins)",
    )


def _strange_attribute(change: PlannedChange, attribute: str) -> GateFinding:
    trap = _trap(ROLLS_NODES.get(change.type, ()), [attribute])
    shown = change.show(attribute)
    if trap is not None:
        code = "desired-size" if attribute == "scaling_config" else "unasked"
        return GateFinding(
            f"{code}-{_short(change.type)}",
            REFUSE,
            change.shown,
            "update",
            f"would also change {shown}: {trap.why}",
            attribute,
            trap.hint,
        )
    hint = "apply it by itself before the upgrade, or put it back"
    return GateFinding(
        "unexpected-attribute", REFUSE, change.shown, "update", f"would also change {shown}", attribute, hint
    )


def _cluster(change: PlannedChange, expectation: Expectation) -> Iterator[GateFinding]:
    before, after = change.before.get("version"), change.after.get("version")
    if any_true(change.unknown.get("version")):
        yield GateFinding(
            "unknown-version", REFUSE, change.shown, "update",
            "its version is known only after apply, so where it would go cannot be reviewed", "version",
            "write the version, or take it from something that is known when planning",
        )  # fmt: skip
    elif expectation.version and after != expectation.version:
        yield GateFinding(
            "other-version", REFUSE, change.shown, "update",
            f"would go to {change.plain('version')}, not to {expectation.version}", "version",
            "the plan was made from other text than the stage's: make it again",
        )  # fmt: skip
    elif before != after:
        yield from _hop(change, before, after)


def _hop(change: PlannedChange, before: Any, after: Any) -> Iterator[GateFinding]:
    """A control plane goes up, one minor at a time, whatever the stage is said to be."""
    try:
        old, new = Minor.parse(str(before)), Minor.parse(str(after))
    except UsageError:
        text, hint = f"would change {change.show('version')}, which is no step of an upgrade", "write the version"
        yield GateFinding("version-unreadable", REFUSE, change.shown, "update", text, "version", hint)
        return
    if new < old:
        text, hint = f"would go back: {change.show('version')}", "put back the version that runs"
        yield GateFinding("version-downgrade", REFUSE, change.shown, "update", text, "version", hint)
    elif new > old.plus(1):
        text = f"would change {change.show('version')}, and EKS moves one minor at a time"
        yield GateFinding("version-jump", REFUSE, change.shown, "update", text, "version", "go to the next minor first")


def _addon(change: PlannedChange, expectation: Expectation) -> Iterator[GateFinding]:
    name = str(change.before.get("addon_name", ""))
    wanted = expectation.addons.get(name, "")
    if any_true(change.unknown.get("addon_version")):
        yield GateFinding(
            "unknown-addon-version", REFUSE, change.shown, "update",
            "its version is known only after apply, so what would be installed cannot be reviewed", "addon_version",
            f'pin it: addon_version = "{wanted or "v..."}"',
        )  # fmt: skip
        return
    before, after = str(change.before.get("addon_version") or ""), str(change.after.get("addon_version") or "")
    if before and after and _older(after, before):
        yield GateFinding(
            "addon-downgrade", REFUSE, change.shown, "update", f"would go back: {change.show('addon_version')}",
            "addon_version", "pin addon_version at what is installed; someone updated it outside of Terraform",
        )  # fmt: skip
    elif wanted and after != wanted:
        yield GateFinding(
            "other-addon-version", REFUSE, change.shown, "update",
            f"would go to {change.plain('addon_version')}, not to {wanted}", "addon_version",
            "the data source picks another version now: make the plan again, or pin it",
        )  # fmt: skip


def _older(a: str, b: str) -> bool:
    try:
        return AddonVersion.parse(a) < AddonVersion.parse(b)
    except UsageError:
        return False


def _template(change: PlannedChange, expectation: Expectation) -> Iterator[GateFinding]:
    if any_true(change.unknown.get("image_id")):
        yield GateFinding(
            "unknown-image", REFUSE, change.shown, "update",
            "its image is known only after apply, so what nodes would boot cannot be reviewed", "image_id",
            "something that the AMI is looked up by changes too: apply that first, or take away the `depends_on`",
        )  # fmt: skip
        return
    after = change.after.get("image_id")
    if "image_id" in change.attributes() and expectation.images and after not in expectation.images:
        wanted = ", ".join(expectation.images)
        yield GateFinding(
            "other-image", REFUSE, change.shown, "update",
            f"would boot {change.plain('image_id')}, not {wanted}", "image_id",
            "the filter finds another image than when the plan was made: make the plan again",
        )  # fmt: skip


def _node_group(change: PlannedChange, expectation: Expectation) -> Iterator[GateFinding]:
    before, after = block(change.before, "launch_template"), block(change.after, "launch_template")
    if before.get("id") != after.get("id") and not any_true(change.unknown.get("launch_template")):
        yield GateFinding(
            "other-template", REFUSE, change.shown, "update", "would use another launch template", "launch_template",
            "keep the template and change its image",
        )  # fmt: skip
    scaling, new = block(change.before, "scaling_config"), block(change.after, "scaling_config")
    desired, least = scaling.get("desired_size"), new.get("min_size")
    if isinstance(desired, int) and isinstance(least, int) and least > desired:
        yield GateFinding(
            "min-above-desired", REFUSE, change.shown, "update",
            f"min_size {least} is above the desired size {desired} that the same call carries: EKS refuses it",
            "scaling_config", "raise the desired size first (aws eks update-nodegroup-config), then min_size",
        )  # fmt: skip
    version = change.after.get("version")
    moves = version != change.before.get("version")
    if expectation.versions and moves and version is not None and version not in expectation.versions:
        yield GateFinding(
            "other-version", REFUSE, change.shown, "update",
            f"would go to {change.plain('version')}, not to {', '.join(expectation.versions)}", "version",
            "make the plan again",
        )  # fmt: skip
    if moves and _goes_back(change.before.get("version"), version):
        yield GateFinding(
            "version-downgrade", REFUSE, change.shown, "update", f"would go back: {change.show('version')}", "version",
            "put back the version that its nodes run",
        )  # fmt: skip
    if expectation.kind is StageKind.UPDATE_CONFIG and isinstance(desired, int):
        yield GateFinding(
            "desired-size-carried", WARN, change.shown, "update",
            f"the same call carries the desired size read now ({desired}); an autoscaler's change in between is undone",
            "scaling_config", "apply at once after planning",
        )  # fmt: skip


def _goes_back(before: Any, after: Any) -> bool:
    try:
        return Minor.parse(str(after)) < Minor.parse(str(before))
    except UsageError:
        return False


_CHECKS = {
    "aws_eks_cluster": _cluster,
    "aws_eks_addon": _addon,
    "aws_launch_template": _template,
    "aws_eks_node_group": _node_group,
}
