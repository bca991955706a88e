"""The control plane: its state, its subnets, what EKS says of it."""

from __future__ import annotations

from collections.abc import Iterator

from baton.checks.context import Context
from baton.checks.registry import Result, bad, check, good, unknown
from baton.model.findings import Severity

CONTROL_PLANE_IPS = 5  # free addresses that a control plane update may need


@check("BTN110", "The cluster is ACTIVE", Severity.BLOCK, "", needs=("cluster",), also=("k8s-upgrade-skills",))
def cluster_active(c: Context) -> Iterator[Result]:
    """EKS refuses to update a cluster that is not ACTIVE."""
    status = c.snapshot.cluster.status
    if status == "ACTIVE":
        yield good(c.cluster, "ACTIVE")
    else:
        yield bad(c.cluster, f"is {status}", "wait until it is ACTIVE, or see what EKS says of it")


@check(
    "BTN111",
    "No other update is in flight",
    Severity.BLOCK,
    "EKS works on no update",
    needs=("active_updates",),
    also=("k8s-upgrade-skills", "refresh"),
)
def no_update_in_flight(c: Context) -> Iterator[Result]:
    """EKS answers `Cannot ... because cluster ... currently has update ... in progress` while one runs. `baton apply`
    waits for an update that an earlier run of its own started."""
    for update in c.snapshot.active_updates:
        yield bad(f"update {update.id}", f"{update.type} is in progress", "wait for it: baton watch", type=update.type)


@check(
    "BTN112",
    "EKS reports no health issue of the cluster",
    Severity.BLOCK,
    "no health issues",
    needs=("cluster",),
    also=("eksup EKS002", "insight Cluster health issues"),
)
def cluster_health(c: Context) -> Iterator[Result]:
    """Missing subnets, security groups or roles make a control plane update fail, and EKS takes it back."""
    for issue in c.snapshot.cluster.health:
        ids = f" ({', '.join(issue.resource_ids)})" if issue.resource_ids else ""
        yield bad(c.cluster, f"{issue.code}: {issue.message}{ids}", "mend it first; EKS would take the update back")


@check(
    "BTN113",
    "The cluster's subnets have room for the new control plane",
    Severity.BLOCK,
    "",
    needs=("subnets",),
    also=("eksup EKS001",),
)
def control_plane_subnets(c: Context) -> Iterator[Result]:
    """EKS brings up new API servers beside the old and needs up to five free addresses, in at least two zones."""
    ids = c.snapshot.cluster.subnet_ids
    known = {s.id: s for s in c.snapshot.subnets}
    for subnet_id in ids:
        if subnet_id not in known:
            yield bad(
                f"subnet {subnet_id}", "the cluster names it, but it does not exist", "SubnetNotFound would follow"
            )
    zones: dict[str, int] = {}
    for subnet in (known[i] for i in ids if i in known):
        zones[subnet.zone] = max(zones.get(subnet.zone, 0), subnet.free_ips)
    roomy = sorted(z for z, free in zones.items() if free >= CONTROL_PLANE_IPS)
    told = ", ".join(f"{zone}: {free}" for zone, free in sorted(zones.items()))
    if not ids:
        yield unknown(c.cluster, "its subnets are not known")
    elif len(roomy) < 2:
        message = f"fewer than two zones have {CONTROL_PLANE_IPS} free addresses ({told or 'none known'})"
        yield bad(c.cluster, message, "free addresses or add a subnet: aws eks update-cluster-config", free=zones)
    else:
        yield good(c.cluster, f"free addresses by zone: {told}", free=zones)


@check(
    "BTN114",
    "EKS's upgrade insights pass",
    Severity.BLOCK,
    "no upgrade insights are reported",
    needs=("insights",),
    also=("eksup EKS009", "insights UPGRADE_READINESS"),
)
def insights(c: Context) -> Iterator[Result]:
    """EKS looks at the next versions by itself: ERROR means the next minor is hit, WARNING a later one. Its look at
    deprecated APIs goes back 30 days, so what was mended last week is still reported."""
    for insight in c.snapshot.insights:
        if insight.category != "UPGRADE_READINESS":
            continue
        subject = f"insight {insight.name}"
        text = insight.reason or insight.description
        if insight.status == "ERROR":
            yield bad(subject, text, insight.recommendation)
        elif insight.status == "WARNING":
            yield bad(subject, text, insight.recommendation, Severity.MEDIUM)
        elif insight.status == "UNKNOWN":
            yield unknown(subject, text, "refresh it: aws eks start-insights-refresh", Severity.MEDIUM)
        else:
            yield good(subject, text or "passing")


@check(
    "BTN115",
    "EKS's configuration insights pass",
    Severity.MEDIUM,
    "no configuration insights are reported",
    needs=("insights",),
    also=("eksup EKS010", "insights MISCONFIGURATION"),
)
def misconfiguration(c: Context) -> Iterator[Result]:
    """EKS reports misconfigurations (of hybrid nodes above all) that an upgrade would not mend."""
    for insight in c.snapshot.insights:
        if insight.category == "MISCONFIGURATION" and insight.status != "PASSING":
            yield bad(f"insight {insight.name}", insight.reason or insight.description, insight.recommendation)


OWNERS = {
    "aws:cloudformation:stack-name": "CloudFormation",
    "alpha.eksctl.io/cluster-name": "eksctl",
    "crossplane-kind": "Crossplane",
    "sigs.k8s.io/cluster-api-provider-aws/cluster": "Cluster API",
}


@check(
    "BTN116", "Nobody else owns the cluster", Severity.HIGH, "no other tool has tagged the cluster", needs=("cluster",)
)
def other_owner(c: Context) -> Iterator[Result]:
    """A cluster made by CloudFormation, eksctl, Crossplane or Cluster API is put back by its owner, or drifts from
    it."""
    tags = c.snapshot.cluster.tags
    for prefix, owner in OWNERS.items():
        found = sorted(t for t in tags if t.startswith(prefix))
        if found:
            yield bad(
                c.cluster,
                f"it is tagged as {owner}'s ({found[0]})",
                f"upgrade it through {owner}, or make sure that it lets go",
                owner=owner,
            )
