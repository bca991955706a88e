"""Is the end as it should be? Judged from a fresh snapshot and from what was observed, never from what was meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from baton.errors import UsageError
from baton.model.cluster import KubeObject, Snapshot
from baton.model.findings import Verdict
from baton.model.nodes import IMAGE_LABEL, kubelet, labels, name, of_group, ready
from baton.model.plan import Change, Plan, StageKind
from baton.model.versions import Minor
from baton.model.view import Verified, View

WORKLOADS = (
    ("deployments.apps", "deployment", "replicas", "readyReplicas"),
    ("statefulsets.apps", "statefulset", "replicas", "readyReplicas"),
)


def verify(view: View | None, after: Snapshot, plan: Plan, *, final_plan: str = "") -> tuple[Verified, ...]:
    """Everything that must hold after `plan`, in reading order.

    `view` None means that nobody watched: what only a watch can tell is then unknown. `final_plan` is what the engine's
    final check said (`no-changes`, `not-applicable`, else what is left), "" when there was none.
    """
    return (
        *_cluster(after, plan),
        *_addons(after, plan),
        *_groups(after, plan),
        *_nodes(after),
        *_workloads(after),
        *_observed(view, plan),
        *_terraform(final_plan),
    )


def all_hold(verified: tuple[Verified, ...]) -> bool:
    """Nothing failed and nothing is unknown."""
    return all(v.verdict is Verdict.PASS for v in verified)


def _row(what: str, subject: str, good: bool, message: str) -> Verified:
    return Verified(what, subject, Verdict.PASS if good else Verdict.FAIL, message)


def _unknown(what: str, subject: str, reason: str) -> Verified:
    return Verified(what, subject, Verdict.UNKNOWN, reason)


def _unread(after: Snapshot, field: str, what: str, subject: str) -> Iterator[Verified]:
    gap = after.unknown(field)
    if gap is not None:
        yield _unknown(what, subject, f"{field} could not be read: {gap.reason}")


def _cluster(after: Snapshot, plan: Plan) -> Iterator[Verified]:
    cluster = after.cluster
    good = cluster.version == plan.to_version and cluster.status == "ACTIVE"
    message = f"at {cluster.version}, {cluster.status}"
    if cluster.version != plan.to_version:
        message += f"; planned {plan.to_version}"
    yield _row("control plane", cluster.name, good, message)


def _addons(after: Snapshot, plan: Plan) -> Iterator[Verified]:
    yield from _unread(after, "addons", "add-on", "all")
    wanted = {c.name: c.to for s in plan.stages for c in s.changes if c.kind == "addon"}
    installed = {a.name: a for a in after.addons}
    for missing in sorted(set(wanted) - set(installed)):
        if after.unknown("addons") is None:
            yield _row("add-on", missing, False, "not installed")
    for addon in sorted(after.addons, key=lambda a: a.name):
        want = wanted.get(addon.name, addon.version)
        message = f"{addon.version}, {addon.status}"
        if addon.version != want:
            message += f"; planned {want}"
        fits = [r for r in after.addon_releases if r.name == addon.name and r.version == addon.version]
        compatible = not fits or any(plan.to_version in r.compatible for r in fits)
        if not compatible:
            message += f"; not made for {plan.to_version}"
        good = addon.version == want and addon.status == "ACTIVE" and compatible
        yield _row("add-on", addon.name, good, message)


def _last_changes(plan: Plan) -> dict[str, Change]:
    """The last roll of each node group: with several hops only that one counts."""
    return {c.name: c for s in plan.stages if s.kind is StageKind.NODE_GROUP for c in s.changes}


def _groups(after: Snapshot, plan: Plan) -> Iterator[Verified]:
    yield from _unread(after, "node_groups", "node group", "all")
    unread = after.unknown("objects.nodes")
    changes = _last_changes(plan)
    for group in after.node_groups:
        issues = "; ".join(f"{i.code}: {i.message}" for i in group.health)
        if group.status != "ACTIVE" or issues:
            yield _row("node group", group.name, False, " ".join(t for t in (group.status, issues) if t))
            continue
        change = changes.get(group.name)
        if unread is not None:
            yield _unknown("node group", group.name, f"its nodes could not be read: {unread.reason}")
            continue
        nodes = of_group(after, group.name)
        wrong = [] if change is None else _wrong_nodes(change, nodes)
        if len(nodes) != group.desired_size:
            wrong.append(f"{len(nodes)} nodes, {group.desired_size} wanted")
        what = "ACTIVE" if change is None else f"all {len(nodes)} nodes on {change.to}"
        yield _row("node group", group.name, not wrong, "; ".join(wrong) or what)
    for missing in sorted(set(changes) - {g.name for g in after.node_groups}):
        if after.unknown("node_groups") is None:
            yield _row("node group", missing, False, "it is gone")


def _wrong_nodes(change: Change, nodes: tuple[KubeObject, ...]) -> list[str]:
    image, wanted = change.attributes.get("image_id", ""), _minor(change.attributes.get("kubelet_to", ""))
    wrong = []
    for node in nodes:
        booted = labels(node).get(IMAGE_LABEL, "")
        if image and booted and booted != image:
            wrong.append(f"{name(node)} boots {booted}")
        found = kubelet(node)
        if wanted is not None and found != wanted:
            wrong.append(f"{name(node)} runs kubelet {found or 'unknown'}")
    return wrong


def _minor(text: str) -> Minor | None:
    try:
        return Minor.parse(text)
    except UsageError:
        return None


def _nodes(after: Snapshot) -> Iterator[Verified]:
    gap = after.unknown("objects.nodes")
    if gap is not None:
        yield _unknown("nodes", "all", f"they could not be read: {gap.reason}")
        return
    nodes = after.objects.get("nodes", ())
    bad = [f"{name(n)} is not Ready" for n in nodes if not ready(n)]
    bad += [f"{name(n)} is cordoned" for n in nodes if n.get("spec", {}).get("unschedulable")]
    yield _row("nodes", "all", not bad, "; ".join(bad) or f"{len(nodes)} Ready, none cordoned")


def _workloads(after: Snapshot) -> Iterator[Verified]:
    gap = after.unknown("objects.pods")
    if gap is not None:
        yield _unknown("pods", "all", f"they could not be read: {gap.reason}")
    else:
        pods = after.objects.get("pods", ())
        pending = [f"{p['metadata'].get('namespace', '')}/{name(p)}" for p in pods if _waits(p)]
        yield _row("pods pending", "all", not pending, _some(pending) or f"none of {len(pods)}")
    short: list[str] = []
    count = 0
    for resource, kind, wanted_key, ready_key in WORKLOADS:
        gap = after.unknown(f"objects.{resource}")
        if gap is not None:
            yield _unknown("workloads ready", resource, f"they could not be read: {gap.reason}")
            continue
        for obj in after.objects.get(resource, ()):
            count += 1
            wanted = (obj.get("spec") or {}).get(wanted_key)
            have = (obj.get("status") or {}).get(ready_key) or 0
            want = 1 if wanted is None else int(wanted)
            if have < want:
                short.append(f"{kind} {obj['metadata'].get('namespace', '')}/{name(obj)} {have}/{want}")
    yield _row("workloads ready", "all", not short, _some(short) or f"all {count}")


def _waits(pod: KubeObject) -> bool:
    gated: Any = (pod.get("spec") or {}).get("schedulingGates")
    return (pod.get("status") or {}).get("phase") == "Pending" and not gated


def _some(names: list[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _observed(view: View | None, plan: Plan) -> Iterator[Verified]:
    if view is None:
        for what in ("capacity during the roll", "disruption budgets", "pods lost"):
            yield _unknown(what, plan.cluster, "the roll was not watched")
        return
    away = sum(end - start for start, end in view.unwatched)
    watched = f" while watched (not watched for {away:.0f} s)" if away else ""
    for change in _last_changes(plan).values():
        group = view.group(change.name)
        if group is None:
            yield _unknown("capacity during the roll", change.name, "no node of it was ever seen")
            continue
        floor = group.desired - group.allowed
        message = f"never fewer than {group.min_ready} ready of {group.desired}{watched}; {floor} must stay up"
        yield _row("capacity during the roll", change.name, group.min_ready >= floor, message)
    pods = view.pods
    broken = f"{pods.pdb_violations} violations" if pods.pdb_violations else f"kept through {pods.evictions} evictions"
    yield _row("disruption budgets", "all", not pods.pdb_violations, broken)
    yield _row("pods lost", "all", not pods.lost, _some(list(pods.lost)) or "none")


def _terraform(final_plan: str) -> Iterator[Verified]:
    if final_plan and final_plan != "not-applicable":
        good = final_plan == "no-changes"
        yield _row("terraform", "final plan", good, "no changes" if good else final_plan)
