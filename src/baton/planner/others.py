"""What Baton does not roll, in its place: self-managed and hybrid nodes, Fargate, Karpenter, Auto Mode, core add-ons
that EKS does not manage. They must outlast the path; what has to be done for them is said at its stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from baton.errors import RefusedError, UsageError
from baton.knowledge.skew import kube_proxy_allowed, kubelet_allowed, oldest_kubelet
from baton.model import nodes
from baton.model.cluster import KubeObject, Snapshot
from baton.model.plan import Stage, StageKind
from baton.model.versions import Minor

# Add-ons that EKS installs by itself, with the object that shows them when they are not managed.
SELF_MANAGED = {
    "vpc-cni": ("daemonsets.apps", "aws-node"),
    "kube-proxy": ("daemonsets.apps", "kube-proxy"),
    "coredns": ("deployments.apps", "coredns"),
}


Outside = Sequence[tuple[KubeObject, str, Minor]]  # (node, who replaces it, kubelet)


def others(snapshot: Snapshot) -> Outside:
    """The nodes outside managed node groups that say their kubelet."""
    found = []
    for node in snapshot.objects.get("nodes", ()):
        who = nodes.owner(node)
        if not who.startswith("node group ") and (minor := nodes.kubelet(node)) is not None:
            found.append((node, who, minor))
    return found


def kubelets_of(outside: Outside) -> frozenset[Minor]:
    """Their kubelets, as far as add-ons of nodes run beside them."""
    return frozenset(minor for _, who, minor in outside if who not in ("fargate", "auto"))


def check_others(snapshot: Snapshot, outside: Outside, points: tuple[Minor, ...]) -> None:
    """Self-managed nodes, Fargate pods and the like must outlast the path as they are. Raises RefusedError."""
    for node, who, minor in outside:
        wrong = next((p for p in points if not kubelet_allowed(minor, p)), None)
        if wrong is None or who == "auto":
            continue
        raise RefusedError(
            f"node {nodes.name(node)} ({who}) runs kubelet {minor}, which may not run under a control plane at {wrong}",
            where=f"cluster {snapshot.cluster.name}",
            hint=_way_out(who, minor, wrong, points[0]),
        )


def _way_out(who: str, minor: Minor, wrong: Minor, start: Minor) -> str:
    if minor > wrong:
        return "a kubelet is never newer than the control plane: replace the node first"
    needed = oldest_kubelet(wrong)
    what = {
        "fargate": "restart its pod: Fargate starts it anew with the control plane's kubelet",
        "hybrid": f"bring it to {needed} or newer with nodeadm",
    }.get(who, f"Baton rolls managed node groups only: bring it to {needed} or newer")
    if who.startswith("karpenter "):
        what = f"let Karpenter replace it by a node at {needed} or newer"
    last = wrong.plus(-1)
    if needed <= start and wrong != start:
        return what
    return f"upgrade in two parts: --to {last} first; then {what}; then go on" if last > start else what


# --- what belongs to which stage -------------------------------------------------------------------------------------


def by_hand(snapshot: Snapshot, outside: Outside, stages: Sequence[Stage], points: tuple[Minor, ...]) -> list[Stage]:
    """The stages, with what others do or have to do once each is done."""
    after: dict[int, list[str]] = {}
    if not stages:
        return []
    for at, version in enumerate(points):
        following = points[at + 1] if at + 1 < len(points) else None
        moved = _control_plane_stage(stages, version)
        last = _last_stage(stages, version)
        if moved is not None:
            after.setdefault(moved.ordinal, []).extend(_with_the_control_plane(snapshot, outside, version))
        if last is not None:
            after.setdefault(last.ordinal, []).extend(_before_leaving(snapshot, outside, version, following))
    return [replace(s, by_hand=tuple(after.get(s.ordinal, ()))) for s in stages]


def _control_plane_stage(stages: Sequence[Stage], version: Minor) -> Stage | None:
    found = (s for s in stages if s.kind is StageKind.CONTROL_PLANE and s.changes[0].to == str(version))
    return next(found, None)


def _last_stage(stages: Sequence[Stage], version: Minor) -> Stage | None:
    """The last stage before the control plane leaves `version`."""
    leaving = next(
        (s for s in stages if s.kind is StageKind.CONTROL_PLANE and s.changes[0].from_ == str(version)), None
    )
    here = [s for s in stages if leaving is None or s.ordinal < leaving.ordinal]
    return here[-1] if here else None


def _with_the_control_plane(snapshot: Snapshot, outside: Outside, version: Minor) -> Iterator[str]:
    """What starts by itself as soon as the control plane has moved."""
    if snapshot.cluster.auto_mode:
        yield f"EKS replaces its Auto Mode nodes by itself from here on, within their disruption budgets, by {version}"
    for pool, count in sorted(_counts(outside, version, "karpenter ").items()):
        yield _karpenter(snapshot, pool, count, version)


def _karpenter(snapshot: Snapshot, pool: str, count: str, version: Minor) -> str:
    some = f"the {count} of Karpenter's {pool}"
    follows = follows_version(snapshot, pool)
    if follows is None:
        return (
            f"{some}: Karpenter replaces them by drift from here on where its EC2NodeClass follows the cluster's "
            f"version (alias @latest), else once you point it at an image for {version}; the pool's budgets pace it"
        )
    if follows:
        return f"{some} are replaced by Karpenter from here on, by drift, at the pace of the pool's budgets"
    return f"{some} stay: its EC2NodeClass names fixed images; point it at one for {version}, and they drift"


def follows_version(snapshot: Snapshot, pool: str) -> bool | None:
    """Whether the images of a Karpenter node pool move with the cluster's version; None when that was not read."""
    found = next((p for p in snapshot.objects.get("nodepools.karpenter.sh", ()) if nodes.name(p) == pool), None)
    if found is None:
        return None
    spec = found.get("spec", {}).get("template", {}).get("spec", {})
    name = (spec.get("nodeClassRef") or {}).get("name", "")
    classes = snapshot.objects.get("ec2nodeclasses.karpenter.k8s.aws", ())
    node_class = next((c for c in classes if nodes.name(c) == name), None)
    if node_class is None:
        return None
    terms = node_class.get("spec", {}).get("amiSelectorTerms") or ()
    return any(str(t.get("alias", "")).endswith("@latest") for t in terms)


def _before_leaving(snapshot: Snapshot, outside: Outside, version: Minor, following: Minor | None) -> Iterator[str]:
    """What has to be done by hand at `version`, before the control plane goes on to `following` (None: the end)."""
    yield from _addons_by_hand(snapshot, version, following)
    if following is not None:
        return  # nodes that would not outlast the next version have refused the plan (check_others)
    for who, count in sorted(_counts(outside, version, "").items()):
        if who == "self-managed":
            yield (
                f"roll the {count} outside managed node groups: an image for {version} in the launch template of their "
                "Auto Scaling group, then an instance refresh; Baton checks their skew and does not roll them"
            )
        elif who == "hybrid":
            that = "that is" if count == "1 node" else "that are"
            yield f"upgrade the {count} {that} hybrid: `nodeadm upgrade {version}` on each, drained before"
        elif who == "fargate":
            running = _on_fargate(snapshot, outside)
            yield f"restart the workloads on Fargate ({running}): pods keep an older kubelet until they are replaced"


def _addons_by_hand(snapshot: Snapshot, version: Minor, following: Minor | None) -> Iterator[str]:
    managed = {a.name for a in snapshot.addons}
    for name, (resource, workload) in SELF_MANAGED.items():
        image = "" if name in managed else self_managed_image(snapshot, resource, workload)
        if not image:
            continue
        if name == "kube-proxy":
            told = _minor(image)
            due = told is not None and following is not None and not kube_proxy_allowed(told, following)
            if due and told is not None and kube_proxy_allowed(told, version):
                yield f"update self-managed kube-proxy ({told}) to {version} now: {following} does not take it any more"
            elif following is None and told != version:
                yield f"update self-managed kube-proxy ({image}) to {version}"
        elif following is None:
            yield f"update self-managed {name} ({image}) by its manifest to what EKS recommends for {version}"


def _counts(outside: Outside, version: Minor, prefix: str) -> dict[str, str]:
    """Who replaces nodes that lag `version`, and how many: `1 node`, `3 nodes`."""
    found: dict[str, int] = {}
    for _, who, minor in outside:
        if who.startswith(prefix) and minor != version:
            found[who.removeprefix(prefix)] = found.get(who.removeprefix(prefix), 0) + 1
    return {who: f"{n} node{'s' if n > 1 else ''}" for who, n in found.items()}


def _on_fargate(snapshot: Snapshot, outside: Outside) -> str:
    """The workloads whose pods run on Fargate, by namespace and controller."""
    there = {nodes.name(n) for n, who, _ in outside if who == "fargate"}
    names = set()
    for pod in snapshot.objects.get("pods", ()):
        if pod.get("spec", {}).get("nodeName") in there:
            owner: Mapping[str, Any] = next(iter(pod["metadata"].get("ownerReferences") or ()), {})
            name = str(owner.get("name") or nodes.name(pod))
            stem = name.rpartition("-")[0] if owner.get("kind") == "ReplicaSet" else name
            names.add(f"{pod['metadata'].get('namespace', '')}/{stem}")
    shown = sorted(names)
    more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
    return ", ".join(shown[:5]) + more if shown else f"{len(there)} pods"


def self_managed_image(snapshot: Snapshot, resource: str, workload: str) -> str:
    """The image of a workload in kube-system, "" when there is none."""
    for obj in snapshot.objects.get(resource, ()):
        if obj["metadata"].get("namespace") == "kube-system" and obj["metadata"]["name"] == workload:
            containers = obj.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or [{}]
            return str(containers[0].get("image", ""))
    return ""


def _minor(image: str) -> Minor | None:
    try:
        return Minor.parse(image.rpartition(":")[2])
    except UsageError:
        return None
