"""What the Terraform around a node group would do to its roll."""

from __future__ import annotations

import math
from collections.abc import Iterator

from baton.checks.context import Context
from baton.checks.registry import Result, bad, check, good
from baton.logic.upgrade.addons import AddonPlanner
from baton.model.cluster import NodeGroup, UpdateConfig
from baton.model.findings import Severity
from baton.model.versions import AddonVersion

PROVIDER_TIMEOUT = 3600.0  # aws_eks_node_group's default for updates, seconds
SECONDS_PER_BATCH = 300.0  # a drain, 60 s of wait and a termination, as reported from the field
SECONDS_AROUND = 420.0  # the surge before, the scale-down after


def predicted_seconds(c: Context, group: NodeGroup) -> float:
    """How long the roll takes: as rehearsed, else by the field's rule of five minutes for each batch."""
    assert c.terraform is not None  # the registry asks these checks only with Terraform at hand
    if group.name in c.terraform.predicted:
        return c.terraform.predicted[group.name]
    config = c.target.update_config(group.name) or group.update_config
    batches = math.ceil(group.desired_size / config.parallelism(group.desired_size)) if group.desired_size else 0
    return SECONDS_AROUND + batches * SECONDS_PER_BATCH


@check(
    "BTN951",
    "update_config is in force before the roll",
    Severity.HIGH,
    "the configuration names no update_config that is not in force",
    needs=("terraform", "node_groups"),
)
def pacing_introduced(c: Context) -> Iterator[Result]:
    """The provider updates a node group's image first and its update_config after, so a max_unavailable that arrives
    with the new AMI does not govern that roll: the old value does (33 % by the module's default). Apply update_config
    alone first; no node is replaced by it. Baton's plan makes a stage of it."""
    assert c.terraform is not None
    for group in c.snapshot.node_groups:
        found = c.terraform.group(group.name)
        if found is None or found.update_config is None:
            continue
        subject = f"node group {group.name}"
        if _same(found.update_config, group.update_config):
            yield good(subject, f"{_text(group.update_config)} is in force")
        elif c.target.update_config(group.name) is not None:
            yield good(subject, f"{_text(found.update_config)} is a stage of its own, before the roll")
        else:
            message = f"configured is {_text(found.update_config)}, in force is {_text(group.update_config)}"
            yield bad(subject, message, "apply it alone first; the roll would go by the old value")


def _same(one: UpdateConfig, other: UpdateConfig) -> bool:
    return _text(one) == _text(other)


def _text(config: UpdateConfig) -> str:
    if config.max_unavailable_percentage is not None:
        return f"max_unavailable_percentage {config.max_unavailable_percentage}"
    return f"max_unavailable {config.max_unavailable or 1}"


@check(
    "BTN952",
    "Terraform waits long enough",
    Severity.HIGH,
    "no managed node group is configured",
    needs=("terraform", "node_groups"),
)
def timeouts(c: Context) -> Iterator[Result]:
    """The provider gives up on a node group's update after 60 minutes unless `timeouts { update = ... }` says more. EKS
    goes on, Terraform's state keeps the old version, and the next apply finds the group busy. About five minutes a node
    at max_unavailable 1 means that a dozen nodes are enough for that."""
    assert c.terraform is not None
    for group in c.snapshot.node_groups:
        found = c.terraform.group(group.name)
        if found is None or not c.rolls(group):
            continue
        subject = f"node group {group.name}"
        limit = found.update_timeout or PROVIDER_TIMEOUT
        expected = predicted_seconds(c, group)
        told = f"the roll takes about {expected / 60:.0f} min, Terraform waits {limit / 60:.0f}"
        hours = math.ceil(expected * 1.5 / 3600)
        if expected > limit:
            yield bad(subject, told, f'set timeouts {{ update = "{hours}h" }}', expected=expected, limit=limit)
        elif expected > 0.7 * limit:
            yield bad(subject, told, f'set timeouts {{ update = "{hours + 1}h" }}', Severity.MEDIUM, expected=expected)
        else:
            yield good(subject, told, expected=expected, limit=limit)


@check(
    "BTN953",
    "Terraform leaves the desired size to the autoscaler",
    Severity.MEDIUM,
    "every node group ignores its desired size",
    needs=("terraform", "node_groups"),
)
def desired_size(c: Context) -> Iterator[Result]:
    """Without ignore_changes on scaling_config[0].desired_size an apply sets the group back to the configured size.
    Even with it, an apply that changes sizes or update_config sends the size read at its refresh, so do not do that in
    the middle of a roll."""
    assert c.terraform is not None
    for group in c.snapshot.node_groups:
        found = c.terraform.group(group.name)
        if found is None:
            continue
        subject = f"node group {group.name}"
        if found.ignores_desired_size is False:
            yield bad(subject, "desired_size is not ignored: an apply sets the size back", "add it to ignore_changes")
        if found.min_size is not None and found.min_size > group.desired_size:
            message = f"min_size {found.min_size} is above the live desired size {group.desired_size}"
            hint = "EKS answers `Minimum capacity can't be greater than desired size`; raise the desired size first"
            yield bad(subject, message, hint, Severity.HIGH)


@check(
    "BTN954",
    "Terraform does not take add-ons back",
    Severity.HIGH,
    "no configured add-on version is below the installed one",
    needs=("terraform", "addons"),
)
def addon_downgrade(c: Context) -> Iterator[Result]:
    """An add-on moved in the console is taken back by the next apply: to the version written in the configuration, or
    to EKS's default when the data source chooses."""
    assert c.terraform is not None
    planner = AddonPlanner(c.snapshot, c.target, c.knowledge)
    for addon in c.snapshot.addons:
        subject = f"add-on {addon.name}"
        pin = c.terraform.addon_pins.get(addon.name)
        if pin and AddonVersion.parse(pin) < AddonVersion.parse(addon.version):
            yield bad(subject, f"{addon.version} is installed, {pin} is configured", "write the installed version")
        elif pin and planner.fits(addon.name, pin, c.end) is False:
            message = f"{pin} is configured and does not fit {c.end}"
            yield bad(subject, message, "the add-on stage writes one that does", Severity.INFO)


@check(
    "BTN955",
    "Force is not the default",
    Severity.MEDIUM,
    "no node group is configured with force_update_version",
    needs=("terraform",),
)
def forced(c: Context) -> Iterator[Result]:
    """force_update_version deletes pods that a budget still protects once the drain limit is over."""
    assert c.terraform is not None
    for group in c.terraform.groups:
        if group.force_update:
            message = "force_update_version = true: budgets are overridden after 15 minutes"
            yield bad(f"node group {group.name}", message, "leave it off and see to the budgets")


@check(
    "BTN956",
    "Nothing moves on an unrelated apply",
    Severity.MEDIUM,
    "every version is chosen by a change of the configuration",
    needs=("terraform",),
)
def unasked(c: Context) -> Iterator[Result]:
    """`most_recent = true` (the module's default from v21 on) moves an add-on at whatever apply comes after its
    release, and use_latest_ami_release_version rolls all nodes of a group the same way: in the middle of another
    change, unasked and unrehearsed. Write the versions down, or set both to false."""
    assert c.terraform is not None
    for name in c.terraform.addons_most_recent:
        yield bad(
            f"add-on {name}", "takes the newest version at every apply", "set most_recent = false or write a version"
        )
    for group in c.terraform.groups:
        if group.latest_release:
            message = "rolls to the newest image release at every apply"
            yield bad(f"node group {group.name}", message, "set use_latest_ami_release_version = false", Severity.HIGH)
