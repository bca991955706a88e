"""Support dates, extended-support cost and the next forced upgrade, as notes of a plan."""

from __future__ import annotations

from collections.abc import Sequence

from baton.errors import UsageError
from baton.knowledge.tables import EXTENDED, STANDARD, UNSUPPORTED, Knowledge, days_until
from baton.model.cluster import Snapshot, VersionInfo
from baton.model.versions import Minor


def versions(snapshot: Snapshot, knowledge: Knowledge, today: str) -> tuple[VersionInfo, ...]:
    """What AWS says of its versions, oldest first; the dated table where it was not asked or did not answer."""
    found = snapshot.versions or knowledge.versions(today)
    return tuple(sorted(found, key=lambda v: Minor.parse(v.version)))


def check_target(target: Minor, start: Minor, offered: Sequence[VersionInfo], today: str) -> None:
    """Raises UsageError for a version that EKS does not offer, a version on the way that it no longer does, or a
    downgrade."""
    supported = [v for v in offered if v.status != UNSUPPORTED]
    names = ", ".join(v.version for v in supported) or "none"
    if target < start:
        raise UsageError(f"{target} is older than the cluster's {start}", hint=_rollback_hint(target, start))
    known = {v.version: v for v in offered}
    row = known.get(str(target))
    if row is None:
        raise UsageError(f"EKS does not offer Kubernetes {target}", hint=f"it offers {names}")
    version = start if start == target else start.plus(1)
    while version <= target:
        row = known.get(str(version))
        if row is None or row.status == UNSUPPORTED:
            ended = (
                f" since {row.end_of_extended_support[:10]}" if row is not None and row.end_of_extended_support else ""
            )
            raise UsageError(f"EKS no longer supports Kubernetes {version}{ended}", hint=f"it supports {names}")
        version = version.plus(1)


def _rollback_hint(target: Minor, start: Minor) -> str:
    if target != start.plus(-1):
        return "EKS never takes a control plane back by more than one minor"
    return (
        "Baton goes forward only. EKS itself can take the control plane back one minor within 7 days of the upgrade "
        "(aws eks update-cluster-version with the older version), once no node runs a newer kubelet; "
        "add-ons and node groups are not taken back"
    )


def support_notes(
    snapshot: Snapshot, start: Minor, end: Minor, offered: Sequence[VersionInfo], knowledge: Knowledge, today: str
) -> list[str]:
    """Status and dates before and after, what extended support costs, when EKS would upgrade by itself."""
    known = {v.version: v for v in offered}
    policy = snapshot.cluster.support_type
    before, after = known.get(str(start)), known.get(str(end))
    notes = []
    if before is not None and start != end:
        notes.append(_status(before, knowledge, today, policy))
    if after is not None:
        notes.append(_status(after, knowledge, today, policy))
    if before is not None and after is not None and before.status == EXTENDED and after.status == STANDARD:
        saved = knowledge.monthly_price(EXTENDED) - knowledge.monthly_price(STANDARD)
        notes.append(f"leaving extended support saves ${saved:.0f} a month for this cluster")
    return notes


def _status(row: VersionInfo, knowledge: Knowledge, today: str, policy: str) -> str:
    price = f"${knowledge.monthly_price(row.status):.0f} a month"
    told = " (by the dated table)" if row.source == "table" else ""
    standard, extended = row.end_of_standard_support[:10], row.end_of_extended_support[:10]
    if row.status == UNSUPPORTED:
        return f"{row.version} is out of support since {extended}{told}: EKS may upgrade the control plane any day"
    if row.status == STANDARD:
        left = f", {days_until(today, standard)} days from now" if standard else ""
        after = (
            f"then EKS upgrades the control plane by itself (upgrade policy {policy})"
            if policy == "STANDARD"
            else f"extended support until {extended}, at ${knowledge.monthly_price(EXTENDED):.0f} a month"
        )
        return f"{row.version} is in standard support until {standard}{left}{told}, at {price}; {after}"
    left = f", {days_until(today, extended)} days from now" if extended else ""
    return (
        f"{row.version} is in extended support{told}, at {price}, until {extended}{left}; "
        "then EKS upgrades the control plane by itself"
    )


def forced_upgrade(row: VersionInfo, policy: str) -> str:
    """The ISO date from which EKS upgrades a control plane of this version by itself; "" when not known."""
    return row.end_of_standard_support[:10] if policy == "STANDARD" else row.end_of_extended_support[:10]
