"""Managed node groups: state, pacing, sizes, room for the surge."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from baton.checks.context import Context
from baton.checks.registry import Result, bad, check, good, unknown
from baton.model import nodes
from baton.model.cluster import KubeObject, NodeGroup, Subnet
from baton.model.findings import Severity


@check(
    "BTN201",
    "Node groups are ACTIVE and healthy",
    Severity.BLOCK,
    "there are no managed node groups",
    needs=("node_groups",),
    also=("eksup EKS003",),
)
def group_health(c: Context) -> Iterator[Result]:
    """EKS refuses to update a group that is being updated, and an update of one with health issues (a launch template
    gone, a role without rights, launches that fail) ends half-way."""
    for group in c.snapshot.node_groups:
        subject = f"node group {group.name}"
        if group.status not in ("ACTIVE", "DEGRADED"):
            yield bad(subject, f"is {group.status}", "wait until it is ACTIVE")
        for issue in group.health:
            ids = f" ({', '.join(issue.resource_ids)})" if issue.resource_ids else ""
            yield bad(subject, f"{issue.code}: {issue.message}{ids}", "mend it first")
        if group.status == "DEGRADED" and not group.health:
            yield bad(subject, "is DEGRADED and EKS gives no reason", "see its Auto Scaling group's activities")
        if group.status == "ACTIVE" and not group.health:
            yield good(subject, "ACTIVE, no health issues")


@check(
    "BTN202",
    "update_config is what EKS takes, and leaves nodes standing",
    Severity.BLOCK,
    "there are no managed node groups",
    needs=("node_groups",),
)
def update_config(c: Context) -> Iterator[Result]:
    """max_unavailable bounds how many old nodes are drained at once (1 to 100). As large as the group, all its nodes go
    at the same time. A percentage follows the group's size; EKS does not say how it rounds, Baton counts it down, never
    below one. What the Terraform says counts too: EKS refuses a wrong value only at the apply."""
    written = {} if c.terraform is None else {g.name: g.update_config for g in c.terraform.groups}
    for group in c.snapshot.node_groups:
        subject = f"node group {group.name}"
        config = c.target.update_config(group.name) or written.get(group.name) or group.update_config
        numbers = (config.max_unavailable, config.max_unavailable_percentage)
        wrong = [n for n in numbers if n is not None and not 1 <= n <= 100]
        size = group.desired_size
        if wrong:
            yield bad(subject, f"max_unavailable is {wrong[0]}; EKS takes 1 to 100", "1 replaces one node at a time")
            continue
        if None not in numbers:
            yield bad(subject, "max_unavailable and max_unavailable_percentage are both set", "keep one of the two")
            continue
        at_once = config.parallelism(size)
        how = (
            f"{config.max_unavailable_percentage} % of {size}"
            if config.max_unavailable_percentage is not None
            else f"max_unavailable {config.max_unavailable or 1}"
        )
        if size > 1 and at_once >= size:
            yield bad(
                subject, f"{how}: all {size} nodes may go at once", "lower it below the group's size", Severity.HIGH
            )
        elif size > 2 and at_once * 2 > size:
            yield bad(subject, f"{how}: {at_once} of {size} nodes, more than half, may go at once", "", Severity.MEDIUM)
        else:
            stay = max(size - at_once, 0)
            yield good(subject, f"{how}: at most {at_once} of {size} nodes away, at least {stay} stay", atOnce=at_once)


@check("BTN203", "Sizes are consistent", Severity.MEDIUM, "there are no managed node groups", needs=("node_groups",))
def sizes(c: Context) -> Iterator[Result]:
    """EKS raises the maximum and the desired size during the roll and puts them back after. A desired size outside
    minimum and maximum, or a single node, needs a look first."""
    for group in c.snapshot.node_groups:
        subject = f"node group {group.name}"
        told = f"min {group.min_size}, desired {group.desired_size}, max {group.max_size}"
        if not group.min_size <= group.desired_size <= group.max_size:
            yield bad(subject, f"{told}: desired is outside", "EKS refuses the next change of sizes", Severity.HIGH)
        elif group.desired_size == 1 and group.update_config.strategy == "MINIMAL":
            yield bad(subject, f"{told}: with MINIMAL its only node goes before the new one comes", "", Severity.HIGH)
        elif group.desired_size == 1:
            yield bad(
                subject, f"{told}: a single node; its pods all move at once", "two nodes keep one up", Severity.LOW
            )
        else:
            yield good(subject, told)


def surge(group: NodeGroup, zones: int, at_once: int) -> int:
    """How many nodes EKS adds before it takes any away: up to twice the zones, or max_unavailable when that is more;
    none with MINIMAL."""
    return 0 if group.update_config.strategy == "MINIMAL" else max(2 * zones, at_once)


@check(
    "BTN204",
    "The subnets have addresses for the surge",
    Severity.BLOCK,
    "there are no managed node groups",
    needs=("node_groups", "subnets"),
    also=("eksup AWS001", "eksup AWS002", "k8s-upgrade-skills"),
)
def surge_addresses(c: Context) -> Iterator[Result]:
    """A roll starts by adding max(2 x zones, max_unavailable) nodes. Each takes an address for itself and, with the VPC
    CNI, one for each of its pods. Too few for the nodes blocks the roll; too few for their pods leaves pods waiting."""
    known = {s.id: s for s in c.snapshot.subnets}
    for group in c.snapshot.node_groups:
        subject = f"node group {group.name}"
        subnets = [known[i] for i in group.subnet_ids if i in known]
        for missing in sorted(set(group.subnet_ids) - known.keys()):
            yield bad(subject, f"its subnet {missing} does not exist", "Ec2SubnetNotFound would follow")
        if not subnets:
            yield unknown(subject, "its subnets are not known")
            continue
        if group.desired_size:
            yield _room(c, group, subnets, subject)


def _room(c: Context, group: NodeGroup, subnets: list[Subnet], subject: str) -> Result:
    free: dict[str, int] = {}
    for subnet in subnets:
        free[subnet.zone] = free.get(subnet.zone, 0) + subnet.free_ips
    config = c.target.update_config(group.name) or group.update_config
    extra = surge(group, len(free), config.parallelism(group.desired_size))
    per_zone = math.ceil(extra / len(free))
    pods = _pods_per_node(c, group)
    told = ", ".join(f"{z}: {n}" for z, n in sorted(free.items()))
    data: dict[str, Any] = {"surge": extra, "podsPerNode": pods, "free": free}
    short = sorted(z for z, n in free.items() if n < per_zone)
    if short:
        message = f"the surge of {extra} nodes needs {per_zone} addresses a zone; free are {told}"
        return bad(subject, message, f"free addresses in {', '.join(short)}, or roll with strategy MINIMAL", **data)
    needed = per_zone * (1 + pods)
    tight = sorted(z for z, n in free.items() if n < needed)
    if tight:
        message = f"the surge of {extra} nodes with {pods} pods each needs {needed} addresses a zone; free are {told}"
        return bad(subject, message, f"pods may wait for addresses in {', '.join(tight)}", Severity.HIGH, **data)
    return good(subject, f"the surge of {extra} nodes needs about {needed} addresses a zone; free are {told}", **data)


def _pods_per_node(c: Context, group: NodeGroup) -> int:
    """The most pods with addresses of their own on a node of the group; 10 when pods were not read."""
    names = {nodes.name(n) for n in c.group_nodes[group.name]}
    counts = Counter(
        p["spec"]["nodeName"]
        for p in c.live_pods
        if p.get("spec", {}).get("nodeName") in names and not p["spec"].get("hostNetwork")
    )
    return max(counts.values(), default=0) if c.objects("pods") else 10


@check(
    "BTN205",
    "Auto Scaling groups are free to act",
    Severity.HIGH,
    "no Auto Scaling process is suspended",
    needs=("auto_scaling_groups",),
)
def suspended(c: Context) -> Iterator[Result]:
    """EKS drives a roll through the group's Auto Scaling group. With Launch or Terminate suspended it never ends;
    without AZRebalance new nodes may not come up in every zone, and EKS waits for one in each."""
    owners = {asg: g.name for g in c.snapshot.node_groups for asg in g.auto_scaling_groups}
    for asg in c.snapshot.auto_scaling_groups:
        subject = f"node group {owners[asg.name]}" if asg.name in owners else f"Auto Scaling group {asg.name}"
        stopped = [p for p in ("Launch", "Terminate", "ReplaceUnhealthy", "AZRebalance") if p in asg.suspended]
        hard = [p for p in stopped if p in ("Launch", "Terminate")]
        if stopped:
            message = f"{', '.join(stopped)} suspended on {asg.name}"
            hint = "aws autoscaling resume-processes"
            yield bad(subject, message, hint, Severity.BLOCK if hard else Severity.MEDIUM)


@check(
    "BTN206",
    "No node group is half-rolled",
    Severity.MEDIUM,
    "all nodes of each group run one kubelet version",
    needs=("node_groups", "objects.nodes"),
)
def half_rolled(c: Context) -> Iterator[Result]:
    """Two kubelet minors in one group are what a failed or interrupted roll leaves. Running the update again takes up
    the nodes that are left."""
    for group in c.snapshot.node_groups:
        counts = Counter(str(nodes.kubelet(n)) for n in c.group_nodes[group.name])
        if len(counts) > 1:
            mix = ", ".join(f"{n} at {v}" for v, n in sorted(counts.items()))
            yield bad(
                f"node group {group.name}", f"half-rolled: {mix}", "see why the last update stopped", mix=dict(counts)
            )


@check(
    "BTN207",
    "The roll is not fought by an autoscaler",
    Severity.MEDIUM,
    "no cluster autoscaler was found",
    needs=("objects.deployments.apps",),
    also=("eks-rolling-update", "k8s-upgrade-skills"),
)
def autoscaler(c: Context) -> Iterator[Result]:
    """The Cluster Autoscaler may take away the surge nodes while they are still empty, or scale a group up so that EKS
    ends the roll with a larger size. Scale it to zero, or raise --scale-down-delay-after-add, for the time of the
    roll."""
    for deployment in c.objects("deployments.apps"):
        name = nodes.name(deployment)
        replicas = deployment.get("spec", {}).get("replicas", 1)
        if "cluster-autoscaler" in name and replicas:
            subject = f"deployment {deployment['metadata'].get('namespace', '')}/{name}"
            yield bad(subject, "the Cluster Autoscaler runs", "pause its scale-down for the time of the roll")


@check(
    "BTN208",
    "Node groups span the zones of their pods' disks",
    Severity.HIGH,
    "every zonal disk in use has a node group in its zone",
    needs=("node_groups", "subnets", "objects.pods", "objects.persistentvolumes", "objects.persistentvolumeclaims"),
    also=("k8s-upgrade-skills",),
)
def zonal_volumes(c: Context) -> Iterator[Result]:
    """An EBS volume stays in its zone. When the node that mounts it goes, the pod waits for another node of that zone:
    with a single node there it is down until the new one is up, and with no subnet there it never starts."""
    zone_of = {s.id: s.zone for s in c.snapshot.subnets}
    covered = {zone_of[i] for g in c.snapshot.node_groups for i in g.subnet_ids if i in zone_of}
    claims = {(_namespace(v), nodes.name(v)): v.get("spec", {}).get("volumeName", "") for v in _claims(c)}
    volumes = {nodes.name(v): v for v in c.objects("persistentvolumes")}
    for pod in c.moving_pods:
        for name in _claim_names(pod):
            volume = volumes.get(claims.get((_namespace(pod), name), ""))
            zones = set() if volume is None else volume_zones(volume)
            if zones and not zones & covered:
                subject = f"pod {_namespace(pod)}/{nodes.name(pod)}"
                message = f"its volume {name} is in {', '.join(sorted(zones))}, where no node group has a subnet"
                yield bad(subject, message, "it would not start again", Severity.BLOCK)


@check(
    "BTN209",
    "Instances run the group's launch template version",
    Severity.MEDIUM,
    "every instance runs its group's launch template version",
    needs=("node_groups", "auto_scaling_groups"),
    also=("eksup EKS006",),
)
def template_drift(c: Context) -> Iterator[Result]:
    """Instances on another launch template version than most of their group are left over from a roll that stopped, or
    were started by hand."""
    owners = {asg: g for g in c.snapshot.node_groups for asg in g.auto_scaling_groups}
    for asg in c.snapshot.auto_scaling_groups:
        counts = Counter(i.launch_template_version for i in asg.instances if i.launch_template_version)
        if len(counts) > 1 and asg.name in owners:
            told = ", ".join(f"{n} on version {v}" for v, n in sorted(counts.items()))
            hint = "the next roll replaces them all; see why the last one stopped"
            yield bad(f"node group {owners[asg.name].name}", told, hint, versions=dict(counts))


def _claims(c: Context) -> list[KubeObject]:
    return list(c.objects("persistentvolumeclaims"))


def _namespace(obj: KubeObject) -> str:
    return str(obj["metadata"].get("namespace", ""))


def _claim_names(pod: KubeObject) -> list[str]:
    volumes = pod.get("spec", {}).get("volumes") or ()
    return [v["persistentVolumeClaim"]["claimName"] for v in volumes if v.get("persistentVolumeClaim")]


def volume_zones(volume: KubeObject) -> set[str]:
    """The zones a PersistentVolume's node affinity (or old label) binds it to; empty when it is not bound."""
    found: set[str] = set()
    terms = volume.get("spec", {}).get("nodeAffinity", {}).get("required", {}).get("nodeSelectorTerms") or ()
    for term in terms:
        for expression in term.get("matchExpressions") or ():
            if expression.get("key", "").endswith("/zone") and expression.get("operator") == "In":
                found.update(expression.get("values") or ())
    label = nodes.labels(volume).get(nodes.ZONE_LABEL)
    return found | ({label} if label else set())
