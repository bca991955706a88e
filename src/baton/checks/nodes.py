"""Nodes as they are: skew along the path, readiness, container runtime, cgroups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from baton.checks.context import Context
from baton.checks.registry import Result, bad, check, good, unknown
from baton.knowledge.skew import kubelet_allowed, oldest_kubelet
from baton.model import nodes
from baton.model.findings import Severity
from baton.model.versions import Minor


@check(
    "BTN401",
    "Every kubelet stays within the skew on the way",
    Severity.BLOCK,
    "there are no nodes",
    needs=("objects.nodes",),
    also=("eksup K8S001", "insight Kubelet version skew"),
)
def skew_on_the_way(c: Context) -> Iterator[Result]:
    """Nodes that Baton does not roll (self-managed, Karpenter's, Fargate pods, hybrid nodes) keep their kubelets while
    the control plane goes all the way. Each must be no newer than the control plane at any point and no more than three
    minors older (two below 1.25). EKS does not check self-managed nodes; their kubelets just stop working rightly."""
    found: dict[tuple[str, Minor], list[str]] = defaultdict(list)
    for name, node in c.nodes.items():
        minor = nodes.kubelet(node)
        if minor is None:
            yield unknown(f"node {name}", "does not say its kubelet's version", "see whether its kubelet is alive")
        else:
            found[nodes.owner(node), minor].append(name)
    for (who, minor), names in sorted(found.items()):
        rolled = who.startswith("node group ") and who.removeprefix("node group ") in c.group_nodes
        points = c.points[:1] if rolled or who == "auto" else c.points
        wrong = [p for p in points if not kubelet_allowed(minor, p)]
        some = f"{len(names)} node{'s' if len(names) > 1 else ''} with kubelet {minor}"
        if wrong and minor > wrong[0]:
            yield bad(who, f"{some}, newer than the control plane's {wrong[0]}", "replace them first", nodes=names)
        elif wrong:
            hint = f"bring them to {oldest_kubelet(wrong[-1])} or newer first"
            yield bad(who, f"{some}, too old for a control plane at {wrong[0]}", hint, nodes=names)
        else:
            yield good(who, f"{some}, allowed under {', '.join(map(str, points))}", nodes=len(names))


@check("BTN402", "All nodes are Ready", Severity.HIGH, "there are no nodes", needs=("objects.nodes",))
def ready(c: Context) -> Iterator[Result]:
    """A node that is not Ready before the roll hides whether the roll made it so, and its pods count as unhealthy in
    their budgets."""
    for name, node in c.nodes.items():
        if not nodes.ready(node):
            yield bad(f"node {name}", "is not Ready", "mend or replace it before the upgrade")
        elif node.get("spec", {}).get("unschedulable"):
            yield bad(f"node {name}", "is cordoned", "uncordon it, or let it go first", Severity.LOW)
    if c.nodes and all(nodes.ready(n) for n in c.nodes.values()):
        yield good(c.cluster, f"{len(c.nodes)} nodes Ready", nodes=len(c.nodes))


@check(
    "BTN403",
    "No node needs cgroup v1",
    Severity.BLOCK,
    "no node is known to run on cgroup v1",
    needs=("objects.nodes",),
    since="1.35",
    until="1.35",
)
def cgroup_v1(c: Context) -> Iterator[Result]:
    """From 1.35 on the kubelet refuses to start on cgroup v1, which Amazon Linux 2 uses. Bottlerocket allows it still;
    Fargate manages its own."""
    for name, node in c.nodes.items():
        shown = str(nodes.info(node).get("osImage", ""))
        if shown.startswith("Amazon Linux 2") and "2023" not in shown:
            yield bad(f"node {name}", f"runs {shown}, on cgroup v1: a 1.35 kubelet does not start there", "use AL2023")


@check(
    "BTN404",
    "Nodes run containerd 2",
    Severity.HIGH,
    "no node runs containerd 1",
    needs=("objects.nodes",),
    since="1.36",
)
def containerd_1(c: Context) -> Iterator[Result]:
    """1.35 is the last version whose kubelet works with containerd 1.x. EKS's own images carry 2.x since 1.34; an image
    of your own may not."""
    old: dict[str, set[str]] = defaultdict(set)
    for node in c.nodes.values():
        runtime = str(nodes.info(node).get("containerRuntimeVersion", ""))
        if runtime.startswith("containerd://1."):
            old[nodes.owner(node)].add(runtime.removeprefix("containerd://"))
    for who, versions in sorted(old.items()):
        message = f"runs containerd {', '.join(sorted(versions))}; a 1.36 kubelet needs 2.x"
        yield bad(who, message, "make sure that the image for 1.36 has containerd 2")
