"""What a reader of the plan should know beside its stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from baton.knowledge.tables import Knowledge, day
from baton.logic.upgrade.addons import AddonPlanner
from baton.logic.upgrade.images import current_image_id, facts_of
from baton.logic.upgrade.support import support_notes
from baton.model import nodes
from baton.model.cluster import Snapshot, VersionInfo
from baton.model.target import Target
from baton.model.versions import Minor

# Add-ons that EKS installs by itself, with the object that shows them when they are not managed.
SELF_MANAGED = {
    "vpc-cni": ("daemonsets.apps", "aws-node"),
    "kube-proxy": ("daemonsets.apps", "kube-proxy"),
    "coredns": ("deployments.apps", "coredns"),
}


def notes_of(
    snapshot: Snapshot, target: Target, knowledge: Knowledge, offered: Sequence[VersionInfo], addons: AddonPlanner
) -> Iterator[str]:
    """Support and cost, rollback, what is left alone and why."""
    start, end = Minor.parse(snapshot.cluster.version), Minor.parse(target.version)
    yield from support_notes(snapshot, start, end, offered, knowledge, day(snapshot.taken_at))
    if start != end:
        yield (
            f"for {knowledge.rollback_days} days after the last control plane stage EKS can take it back one minor, as "
            "long as no node runs a newer kubelet; Baton does not do that by itself"
        )
    yield from _addon_notes(snapshot, addons)
    yield from _group_notes(snapshot)
    yield from _other_nodes(snapshot)
    if snapshot.fargate_profiles:
        yield (
            f"Fargate profiles ({', '.join(snapshot.fargate_profiles)}): Fargate pods keep their kubelet until they "
            "are replaced; restart their workloads after the upgrade"
        )
    if snapshot.cluster.auto_mode:
        yield "EKS Auto Mode replaces its own nodes after the control plane moves, within their disruption budgets"


def _addon_notes(snapshot: Snapshot, addons: AddonPlanner) -> Iterator[str]:
    managed = {a.name for a in snapshot.addons}
    for addon in snapshot.addons:
        if not addons.releases(addon.name):
            yield f"add-on {addon.name} {addon.version} is in no list that Baton has: it is left as it is"
    if managed:
        yield "add-ons are updated with resolve conflicts PRESERVE: settings changed on the cluster stay"
    for name, (resource, workload) in SELF_MANAGED.items():
        if name in managed:
            continue
        image = self_managed_image(snapshot, resource, workload)
        if image:
            yield f"{name} runs self-managed ({image}): Baton does not move it; update it with its manifest"


def self_managed_image(snapshot: Snapshot, resource: str, workload: str) -> str:
    """The image of a workload in kube-system, "" when there is none."""
    for obj in snapshot.objects.get(resource, ()):
        if obj["metadata"].get("namespace") == "kube-system" and obj["metadata"]["name"] == workload:
            containers = obj.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or [{}]
            return str(containers[0].get("image", ""))
    return ""


def _group_notes(snapshot: Snapshot) -> Iterator[str]:
    for group in snapshot.node_groups:
        kubelets = Counter(str(k) for n in nodes.of_group(snapshot, group.name) if (k := nodes.kubelet(n)) is not None)
        if len(kubelets) > 1:
            mix = ", ".join(f"{n} at {k}" for k, n in sorted(kubelets.items()))
            yield f"node group {group.name} is half-rolled: {mix}; the plan counts from the oldest"
        if group.custom_ami:
            image = snapshot.image(current_image_id(snapshot, group))
            if image is not None and (contradiction := facts_of(image).disagreement):
                yield f"image {image.name} of node group {group.name} contradicts itself: {contradiction}"
            yield (
                f"node group {group.name} boots its own AMI: EKS cannot know its version, so it keeps reporting "
                f"{group.version} whatever its kubelets are"
            )


def _other_nodes(snapshot: Snapshot) -> Iterator[str]:
    others = Counter(nodes.owner(n) for n in snapshot.objects.get("nodes", ()))
    for who, count in sorted(others.items()):
        some = f"{count} node{'s' if count > 1 else ''}"
        if who == "self-managed":
            yield f"{some} outside managed node groups: Baton checks their skew and does not roll them"
        elif who == "hybrid":
            yield f"{some} hybrid: Baton checks their skew; upgrade them with nodeadm"
        elif who.startswith("karpenter "):
            yield (
                f"{some} of Karpenter's {who.removeprefix('karpenter ')}: Karpenter replaces them by drift when its "
                "images move, at its own time"
            )
