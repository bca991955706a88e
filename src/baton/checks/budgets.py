"""PodDisruptionBudgets: what would stop a drain, now or for good."""

from __future__ import annotations

from collections.abc import Iterator

from baton.checks.context import Context, full_name, namespace
from baton.checks.registry import Result, bad, check, good
from baton.errors import ReadError
from baton.logic.eviction import pod_ready, wanted
from baton.model import nodes
from baton.model.cluster import KubeObject
from baton.model.findings import Severity

PDB = "objects.poddisruptionbudgets.policy"


def _rule(budget: KubeObject) -> str:
    spec = budget.get("spec", {})
    if spec.get("maxUnavailable") is not None:
        return f"maxUnavailable {spec['maxUnavailable']}"
    return f"minAvailable {spec.get('minAvailable')}"


def never_allows(budget: KubeObject, pods: int) -> bool:
    """Whether the budget allows no disruption even with all its pods healthy. Percentages round up.

    `pods` is how many it selects; how many it expects (the scale of their controllers) is taken from its status.
    Raises ReadError for a malformed percentage.
    """
    scale = (budget.get("status") or {}).get("expectedPods") or pods
    want = wanted(budget.get("spec", {}), scale, pods)
    return want.expected > 0 and want.expected - want.desired <= 0


@check(
    "BTN501",
    "Every budget can allow a disruption",
    Severity.BLOCK,
    "no budget forbids every disruption",
    needs=("objects.nodes", "objects.pods", PDB),
    also=("AWS upgrade skill", "k8s-upgrade-agent"),
)
def never(c: Context) -> Iterator[Result]:
    """maxUnavailable 0, or minAvailable as large as the number of pods, forbids every eviction for ever: the drain
    waits 15 minutes, EKS reports PodEvictionFailure and the roll fails. Percentages round up, so minAvailable 50 % of
    one pod is one. Add a replica, or allow one disruption for the time of the upgrade."""
    for budget, pods in c.budgets:
        if not c.moving(pods):
            continue
        subject = f"pdb {full_name(budget)}"
        try:
            blocked = never_allows(budget, len(pods))
        except ReadError as error:
            yield bad(subject, error.message, error.hint or "")
            continue
        count = f"{len(pods)} pod{'s' if len(pods) > 1 else ''}"
        if blocked:
            yield bad(
                subject,
                f"{_rule(budget)} over {count} never allows a disruption",
                "add a replica, or set maxUnavailable 1 for the time of the upgrade",
                pods=[full_name(p) for p in pods],
            )
        else:
            yield good(subject, f"{_rule(budget)} over {count}")


@check(
    "BTN502",
    "Every budget allows a disruption now",
    Severity.HIGH,
    "every budget allows a disruption now",
    needs=("objects.nodes", "objects.pods", PDB),
    also=("k8s-upgrade-skills", "AWS upgrade skill", "refresh"),
)
def not_now(c: Context) -> Iterator[Result]:
    """A budget whose disruptionsAllowed is 0 while its pods move elsewhere or start holds every drain up until it rises
    again. If it does not within 15 minutes, the roll fails."""
    for budget, pods in c.budgets:
        status = budget.get("status") or {}
        if not c.moving(pods) or status.get("disruptionsAllowed", 0) > 0 or _never(budget, len(pods)):
            continue
        healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
        message = f"{_rule(budget)}: {healthy} healthy, {desired} needed, so no disruption is allowed now"
        yield bad(
            f"pdb {full_name(budget)}", message, "see why its pods are not healthy", healthy=healthy, desired=desired
        )


def _never(budget: KubeObject, pods: int) -> bool:
    try:
        return never_allows(budget, pods)
    except ReadError:
        return True


@check(
    "BTN503",
    "No pod has several budgets",
    Severity.BLOCK,
    "no pod is selected by more than one budget",
    needs=("objects.nodes", "objects.pods", PDB),
    also=("draincheck", "k8s-upgrade-agent"),
)
def several(c: Context) -> Iterator[Result]:
    """The eviction API answers 500 for a pod that more than one budget selects, whatever they allow, so its node never
    drains."""
    by_pod: dict[tuple[str, str], list[str]] = {}
    for budget, pods in c.budgets:
        for pod in c.moving(pods):
            by_pod.setdefault((namespace(pod), nodes.name(pod)), []).append(nodes.name(budget))
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (space, name), budgets in by_pod.items():
        if len(budgets) > 1:
            groups.setdefault((space, tuple(sorted(budgets))), []).append(name)
    for (space, budgets_), pods_ in sorted(groups.items()):
        names = ", ".join(pods_[:3]) + (f" and {len(pods_) - 3} more" if len(pods_) > 3 else "")
        both = " and ".join(budgets_)
        yield bad(f"pdb {space}/{budgets_[0]}", f"{both} both select {names}", "narrow a selector", pods=pods_)


@check(
    "BTN504",
    "No budget guards unhealthy pods",
    Severity.HIGH,
    "no budget keeps an unhealthy pod in place",
    needs=("objects.nodes", "objects.pods", PDB),
)
def unhealthy(c: Context) -> Iterator[Result]:
    """By default (IfHealthyBudget) a pod that is not Ready may be evicted only while its budget is met by the others. A
    crash-looping pod in a budget that is not met keeps its node from draining. unhealthyPodEvictionPolicy AlwaysAllow
    lets it go."""
    for budget, pods in c.budgets:
        if budget.get("spec", {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
            continue
        sick = [p for p in c.moving(pods) if not pod_ready(p)]
        status = budget.get("status") or {}
        if sick and status.get("currentHealthy", 0) < status.get("desiredHealthy", 0):
            names = ", ".join(nodes.name(p) for p in sick[:3])
            message = f"{names} {'is' if len(sick) == 1 else 'are'} not Ready, and the budget is not met without"
            hint = "mend the pods, or set unhealthyPodEvictionPolicy: AlwaysAllow"
            yield bad(f"pdb {full_name(budget)}", message, hint, pods=[full_name(p) for p in sick])


@check(
    "BTN505",
    "Budgets work",
    Severity.MEDIUM,
    "every budget selects pods and is in sync",
    needs=("objects.pods", PDB),
)
def sync(c: Context) -> Iterator[Result]:
    """A budget that selects nothing protects nothing; one whose controller cannot find what owns its pods (reason
    SyncFailed) allows nothing at all."""
    for budget, pods in c.budgets:
        subject = f"pdb {full_name(budget)}"
        conditions = (budget.get("status") or {}).get("conditions") or ()
        failed = next((x for x in conditions if x.get("reason") == "SyncFailed"), None)
        if failed is not None:
            message = f"it is not in sync: {failed.get('message', '')}"
            yield bad(subject, message, "it allows no disruption until that is mended", Severity.HIGH)
        elif not pods:
            yield bad(subject, "it selects no pods", "mend its selector or delete it", Severity.LOW)


@check(
    "BTN506",
    "Replicated workloads have a budget",
    Severity.LOW,
    "every replicated workload has a budget",
    needs=("objects.nodes", "objects.pods", "objects.replicasets.apps", PDB),
    also=("eksup K8S004", "refresh", "AWS upgrade skill"),
)
def without(c: Context) -> Iterator[Result]:
    """Without a budget a drain may take all replicas at once when they share a node or a batch of nodes."""
    guarded = {(namespace(p), nodes.name(p)) for _, pods in c.budgets for p in pods}
    for name, pods in sorted(c.workloads.items()):
        kind = name.partition(" ")[0]
        if kind not in ("Deployment", "StatefulSet", "ReplicaSet") or len(pods) < 2 or not c.moving(pods):
            continue
        if not any((namespace(p), nodes.name(p)) in guarded for p in pods):
            yield bad(
                name[0].lower() + name[1:], f"{len(pods)} replicas and no budget", "add one with maxUnavailable 1"
            )
