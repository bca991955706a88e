"""Where the cluster is and where it should go: offered, supported, reachable, and what it costs to stay."""

from __future__ import annotations

from collections.abc import Iterator

from baton.checks.context import Context
from baton.checks.registry import Result, bad, check, good
from baton.knowledge.tables import EXTENDED, STANDARD, UNSUPPORTED, days_until
from baton.logic.upgrade.support import forced_upgrade
from baton.model.findings import Severity

SOON = 60  # days


@check(
    "BTN101",
    "The target version is offered and supported",
    Severity.BLOCK,
    "the target and every version on the way are supported",
    also=("refresh version check",),
)
def target_offered(c: Context) -> Iterator[Result]:
    """EKS upgrades to versions in standard or extended support only, one minor at a time, so every version on the way
    counts. What EKS offers is asked of AWS; the dated calendar answers where AWS cannot."""
    known = {v.version: v for v in c.offered}
    names = ", ".join(v.version for v in c.offered if v.status != UNSUPPORTED)
    for version in c.points[1:] or (c.end,):
        row = known.get(str(version))
        if row is None and version != c.end:
            continue  # said of the target itself
        if row is None:
            yield bad(f"version {version}", f"EKS does not offer Kubernetes {version}", f"it offers {names}")
        elif row.status == UNSUPPORTED:
            ended = row.end_of_extended_support[:10]
            yield bad(
                f"version {version}", f"Kubernetes {version} is out of support since {ended}", f"it offers {names}"
            )
        else:
            status = "standard" if row.status == STANDARD else "extended"
            table = "" if row.source == "live" else f" (by the table of {c.knowledge.read_on})"
            yield good(f"version {version}", f"offered, in {status} support{table}", status=row.status)


@check("BTN102", "The path goes forward, one minor at a time", Severity.BLOCK, "", also=("eksctl", "eksup"))
def path_forward(c: Context) -> Iterator[Result]:
    """The control plane moves to the next minor only; Baton goes through all of them. It does not go back: EKS can take
    a control plane back by one minor within seven days of the upgrade, nodes first, add-ons by hand."""
    if c.end < c.start:
        if c.end == c.start.plus(-1):
            hint = "EKS's own version rollback does that within 7 days of the upgrade, after the nodes went back"
        else:
            hint = "EKS never goes back by more than one minor"
        yield bad(c.cluster, f"{c.end} is older than the cluster's {c.start}", hint)
    elif len(c.points) > 2:
        way = " -> ".join(map(str, c.points))
        yield good(c.cluster, f"{len(c.points) - 1} hops: {way}", hops=[str(p) for p in c.points])
    else:
        yield good(c.cluster, f"{c.start} -> {c.end}")


@check("BTN103", "The version in use is in standard support", Severity.MEDIUM, "", also=("AWS upgrade skill",))
def support_now(c: Context) -> Iterator[Result]:
    """Extended support costs $0.60 an hour for a cluster instead of $0.10, from the day standard support ends. At the
    end of extended support (or of standard support, when the upgrade policy is STANDARD) EKS moves the control plane to
    the next version by itself, on a day it does not announce."""
    row = next((v for v in c.offered if v.version == str(c.start)), None)
    if row is None:
        yield bad(c.cluster, f"EKS no longer lists {c.start}", "it may be upgraded by EKS any day", Severity.HIGH)
        return
    forced = forced_upgrade(row, c.snapshot.cluster.support_type)
    left = days_until(c.today, forced) if forced else None
    extra = c.knowledge.monthly_price(EXTENDED) - c.knowledge.monthly_price(STANDARD)
    when = "" if left is None else f"; EKS upgrades it by itself from {forced} on, {left} days from now"
    if row.status == UNSUPPORTED:
        yield bad(c.cluster, f"{c.start} is out of support", "EKS may upgrade it any day", Severity.HIGH)
    elif left is not None and left <= SOON:
        cost = f", at ${extra:.0f} a month extra" if row.status == EXTENDED else ""
        yield bad(c.cluster, f"{c.start} nears its end{cost}{when}", "upgrade before EKS does", forcedUpgrade=forced)
    elif row.status == EXTENDED:
        hint = "upgrading ends the surcharge"
        yield bad(c.cluster, f"{c.start} is in extended support, ${extra:.0f} a month extra{when}", hint)
    else:
        yield good(c.cluster, f"{c.start} is in standard support until {row.end_of_standard_support[:10]}{when}")


@check("BTN104", "The target stays in standard support for a while", Severity.LOW, "")
def target_lasts(c: Context) -> Iterator[Result]:
    """A target whose standard support ends soon means the next upgrade, or the surcharge, is near."""
    row = next((v for v in c.offered if v.version == str(c.end)), None)
    if row is None or row.status == UNSUPPORTED or not row.end_of_standard_support:
        return
    until = row.end_of_standard_support[:10]
    left = days_until(c.today, until)
    newer = [v.version for v in c.offered if v.status == STANDARD and v.end_of_standard_support[:10] > until]
    if left <= SOON:
        message = f"standard support of {c.end} {'ended' if left <= 0 else 'ends'} on {until}"
        yield bad(f"version {c.end}", message, f"also offered: {', '.join(newer)}" if newer else "")
    else:
        yield good(f"version {c.end}", f"in standard support until {until}, {left} days from now")


@check("BTN105", "The control plane could be taken back", Severity.LOW, "")
def rollback(c: Context) -> Iterator[Result]:
    """For seven days after an upgrade EKS can take the control plane back by one minor: not while a node runs a newer
    kubelet, not without policy EXTENDED when the older version is in extended support, and not the add-ons. Keeping the
    nodes back for a while keeps that way open."""
    before = c.end.plus(-1)
    row = next((v for v in c.offered if v.version == str(before)), None)
    if row is None or row.status == UNSUPPORTED:
        yield bad(c.cluster, f"{before} is out of support: EKS would not go back to it", "rehearse before you start")
    elif row.status == EXTENDED and c.snapshot.cluster.support_type == "STANDARD":
        message = f"{before} is in extended support and the upgrade policy is STANDARD: EKS would not go back to it"
        yield bad(c.cluster, message, "set the upgrade policy to EXTENDED to keep that way open")
    else:
        yield good(c.cluster, f"within {c.knowledge.rollback_days} days EKS can go back to {before}, nodes first")
