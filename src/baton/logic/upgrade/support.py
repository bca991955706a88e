"""Support dates, extended-support cost and the next forced upgrade, as notes of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from baton.errors import UsageError
from baton.knowledge.tables import EXTENDED, STANDARD, UNSUPPORTED, Knowledge, days_until
from baton.model.cluster import Snapshot, VersionInfo
from baton.model.plan import Support, VersionSupport
from baton.model.versions import Minor


def versions(snapshot: Snapshot, knowledge: Knowledge, today: str) -> tuple[VersionInfo, ...]:
    """What AWS says of its versions, oldest first; the dated table where it was not asked or did not answer.

    A version of the table that a live answer leaves out is out of support: EKS lists what it supports.
    """
    table = knowledge.versions(today)
    found = snapshot.versions or table
    listed = {v.version for v in found}
    gone = [replace(v, status=UNSUPPORTED) for v in table if v.version not in listed]
    return tuple(sorted((*found, *gone), key=lambda v: Minor.parse(v.version)))


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


def support_of(
    snapshot: Snapshot, start: Minor, end: Minor, offered: Sequence[VersionInfo], knowledge: Knowledge, today: str
) -> Support:
    """Status, dates and price of the version in use and of the target, and what the upgrade saves."""
    known = {v.version: v for v in offered}
    policy = snapshot.cluster.support_type
    now, after = (
        None if row is None else _support(row, knowledge, policy)
        for row in (known.get(str(start)), known.get(str(end)))
    )
    saved = 0.0 if now is None or after is None else max(0.0, now.per_month - after.per_month)
    return Support(today, now, after, saved)


def _support(row: VersionInfo, knowledge: Knowledge, policy: str) -> VersionSupport:
    words = {STANDARD: "standard", EXTENDED: "extended"}
    return VersionSupport(
        row.version,
        words.get(row.status, "unsupported"),
        row.end_of_standard_support[:10],
        row.end_of_extended_support[:10],
        forced_upgrade(row, policy),
        knowledge.monthly_price(row.status),
        row.source,
    )


def support_notes(support: Support, knowledge: Knowledge, policy: str, unread: str = "") -> list[str]:
    """Status and dates before and after, what extended support costs, when EKS would upgrade by itself.

    `unread`: why AWS did not answer.
    """
    now, after, today = support.now, support.after, support.on
    notes = []
    if unread:
        notes.append(f"EKS did not tell its versions ({unread}): support is by the table of {knowledge.read_on}")
    if now is not None and (after is None or now.version != after.version):
        notes.append(f"today, {_status(now, knowledge, today, policy)}")
    if after is not None:
        notes.append(f"after the upgrade, {_status(after, knowledge, today, policy)}")
    if now is not None and after is not None and now.version != after.version:
        notes += _money(now, after, support, knowledge)
    return notes


def _status(row: VersionSupport, knowledge: Knowledge, today: str, policy: str) -> str:
    told = " (by the dated table)" if row.source == "table" else ""
    price = f"${row.per_month:.0f} a month"
    if row.status == "unsupported":
        return f"{row.version} is out of support{_since(row.extended_until)}{told}: EKS may upgrade it any day"
    if row.status == "standard":
        until = (
            f"{row.version} is in standard support until {row.standard_until}{_left(today, row.standard_until)}{told}"
        )
        if policy == "STANDARD":
            return f"{until}, at {price}; from then on EKS upgrades it by itself (upgrade policy STANDARD)"
        extended = f"${knowledge.monthly_price(EXTENDED):.0f} a month"
        return (
            f"{until}, at {price}; then in extended support, at {extended}, until {row.extended_until}; from then on "
            "EKS upgrades it by itself"
        )
    if policy == "STANDARD":
        return f"{row.version} is past standard support{told}, upgrade policy STANDARD: EKS may upgrade it any day"
    return (
        f"{row.version} is in extended support{told}, at {price}, until {row.extended_until}"
        f"{_left(today, row.extended_until)}; from then on EKS upgrades it by itself"
    )


def _money(now: VersionSupport, after: VersionSupport, support: Support, knowledge: Knowledge) -> list[str]:
    """What the upgrade saves: now, or from the end of standard support on."""
    extra = knowledge.monthly_price(EXTENDED) - knowledge.monthly_price(STANDARD)
    if support.saves_per_month:
        return [f"leaving extended support saves ${support.saves_per_month:.0f} a month for this cluster"]
    if after.status == "extended":
        return [f"{after.version} is in extended support too: the surcharge of ${extra:.0f} a month goes on"]
    if now.status == "standard" and now.standard_until and after.standard_until > now.standard_until:
        return [
            f"the upgrade spares ${extra:.0f} a month from {now.standard_until} on, when extended support of "
            f"{now.version} would begin; {after.version} has none before {after.standard_until}"
        ]
    return []


def _left(today: str, end: str) -> str:
    return f", {days_until(today, end)} days from now" if end else ""


def _since(end: str) -> str:
    return f" since {end}" if end else ""


def forced_upgrade(row: VersionInfo, policy: str) -> str:
    """The ISO date from which EKS upgrades a control plane of this version by itself; "" when not known."""
    return row.end_of_standard_support[:10] if policy == "STANDARD" else row.end_of_extended_support[:10]
