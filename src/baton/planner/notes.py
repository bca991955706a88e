"""What a reader of the plan should know beside its stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from baton.knowledge.skew import hops
from baton.knowledge.tables import Knowledge
from baton.logic.upgrade import schemas
from baton.logic.upgrade.addons import AddonPlanner
from baton.logic.upgrade.images import current_image_id, facts_of
from baton.logic.upgrade.support import support_notes
from baton.model import nodes
from baton.model.cluster import Snapshot
from baton.model.plan import Stage, StageKind, Support
from baton.model.versions import Minor
from baton.planner.others import SELF_MANAGED, follows_version, self_managed_image


def notes_of(
    snapshot: Snapshot, support: Support, knowledge: Knowledge, addons: AddonPlanner, stages: Sequence[Stage]
) -> Iterator[str]:
    """Support and cost, rollback, what is left alone and why."""
    start, end = Minor.parse(snapshot.cluster.version), Minor.parse(addons.target.version)
    unread = snapshot.unknown("versions")
    yield from support_notes(support, knowledge, snapshot.cluster.support_type, "" if unread is None else unread.reason)
    if start != end:
        yield (
            f"for {knowledge.rollback_days} days after the last control plane stage EKS can take it back one minor, as "
            "long as no node runs a newer kubelet; Baton does not do that by itself"
        )
    yield from _addon_notes(snapshot, addons, stages)
    yield from _group_notes(snapshot)
    yield from _family_notes(snapshot, knowledge, stages)
    yield from _other_nodes(snapshot, len(hops(start, end)))


def _addon_notes(snapshot: Snapshot, addons: AddonPlanner, stages: Sequence[Stage]) -> Iterator[str]:
    managed = {a.name for a in snapshot.addons}
    yield from _schema_notes(snapshot, stages)
    for addon in snapshot.addons:
        if not addons.releases(addon.name):
            yield f"add-on {addon.name} {addon.version} is in no list that Baton has: it is left as it is"
    if managed:
        yield (
            "resolve conflicts: through the AWS API Baton asks for PRESERVE, so fields of add-ons that someone changed "
            "on the cluster stay (NONE would fail with ConfigurationConflict, OVERWRITE would reset them); through "
            "Terraform the add-on's own resolve_conflicts_on_update counts, and the community module sends OVERWRITE: "
            "put such changes into configuration_values (`baton check --explain BTN708`)"
        )
    for name, (resource, workload) in SELF_MANAGED.items():
        if name in managed:
            continue
        image = self_managed_image(snapshot, resource, workload)
        if image:
            yield f"{name} runs self-managed ({image}): Baton does not move it; update it with its manifest"


def _schema_notes(snapshot: Snapshot, stages: Sequence[Stage]) -> Iterator[str]:
    """Which settings of configured add-ons change their form on the way."""
    ends = {c.name: c.to for s in stages for c in s.changes if c.kind == "addon"}
    for addon in snapshot.addons:
        to = ends.get(addon.name, addon.version)
        old, new = (schemas.parse(snapshot.addon_schemas.get(f"{addon.name} {v}", "")) for v in (addon.version, to))
        if old is not None and new is not None and (changed := schemas.changes(old, new)):
            more = f" and {len(changed) - 8} more" if len(changed) > 8 else ""
            yield (
                f"the configuration schema of add-on {addon.name} changes from {addon.version} to {to}: "
                f"{'; '.join(changed[:8])}{more}"
            )


def _group_notes(snapshot: Snapshot) -> Iterator[str]:
    seen = nodes.kubelets(snapshot)
    for group in snapshot.node_groups:
        kubelets = Counter(map(str, seen.get(group.name, ())))
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


def _family_notes(snapshot: Snapshot, knowledge: Knowledge, stages: Sequence[Stage]) -> Iterator[str]:
    """Images of another operating system than the present one: their user data is another, too."""
    for change in (c for s in stages if s.kind is StageKind.NODE_GROUP for c in s.changes):
        old, new = snapshot.image(change.from_), snapshot.image(change.attributes.get("image_id", ""))
        if old is None or new is None:
            continue
        before, after = (knowledge.families[facts_of(i).family] for i in (old, new))
        if before.name == after.name or "custom" in (before.name, after.name):
            continue
        yield (
            f"node group {change.name} goes from {before.title} to {after.title}: its user data must be "
            f"{after.user_data} instead of {before.user_data}, changed together with the image; disks, kubelet "
            "settings and the instance metadata hop limit may differ as well (`baton check --explain BTN307`)"
        )


def _other_nodes(snapshot: Snapshot, count_of_hops: int) -> Iterator[str]:
    """What Baton does, and does not, for nodes that are in no managed node group."""
    others = Counter(nodes.owner(n) for n in snapshot.objects.get("nodes", ()))
    for who, count in sorted(others.items()):
        some = f"{count} node{'s' if count > 1 else ''}"
        if who == "self-managed":
            yield f"{some} outside managed node groups: Baton checks their skew and does not roll them"
        elif who == "hybrid":
            yield f"{some} hybrid: Baton checks their skew; upgrade them with nodeadm"
        elif who.startswith("karpenter "):
            yield from _karpenter(snapshot, who.removeprefix("karpenter "), some, count_of_hops)
    if snapshot.fargate_profiles:
        yield (
            f"Fargate profiles ({', '.join(snapshot.fargate_profiles)}): their pods keep their kubelet until they are "
            "replaced; Baton checks their skew and does not restart them"
        )
    if snapshot.cluster.auto_mode:
        yield "EKS Auto Mode: EKS replaces its own nodes after the control plane moves; Baton does not pace them"


def _karpenter(snapshot: Snapshot, pool: str, some: str, count_of_hops: int) -> Iterator[str]:
    yield f"{some} of Karpenter's {pool}: Karpenter replaces them by drift; Baton checks their skew, no more"
    if count_of_hops > 1 and follows_version(snapshot, pool):
        yield (
            f"the images of Karpenter's {pool} follow the cluster's version, so its nodes are replaced at each of the "
            f"{count_of_hops} versions; to replace them once, name a fixed image in its EC2NodeClass until the end"
        )
