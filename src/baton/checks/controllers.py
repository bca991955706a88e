"""Controllers that people install: whether they work with the target, and whether they get in the way of a roll."""

from __future__ import annotations

import re
from collections.abc import Iterator

from baton.checks.context import Context, full_name, namespace
from baton.checks.registry import Result, bad, check, good, unknown
from baton.knowledge.skew import minors_between
from baton.logic.eviction import selector_matches
from baton.model import nodes
from baton.model.cluster import KubeObject
from baton.model.findings import Severity
from baton.model.versions import AddonVersion, Minor

DEPLOYMENTS = "objects.deployments.apps"


def images_of(obj: KubeObject) -> list[str]:
    """The container images of a workload."""
    spec = ((obj.get("spec") or {}).get("template") or {}).get("spec") or {}
    return [str(x.get("image", "")) for x in spec.get("containers") or ()]


def tag_version(image: str) -> tuple[int, ...] | None:
    """The numbers of an image tag that is a version (`v1.34.1`), None for any other."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", image.partition("@")[0].rpartition(":")[2])
    return AddonVersion.parse(found[1]).numbers if found and "." in found[1] else None


def _find(c: Context, word: str) -> list[tuple[KubeObject, str]]:
    """Deployments one of whose images ends its name with `word`, with that image."""
    found = []
    for deployment in c.objects("deployments.apps"):
        for image in images_of(deployment):
            path = image.partition("@")[0]
            path = path[: path.rfind(":")] if ":" in path.rpartition("/")[2] else path
            if path == word or path.endswith((f"/{word}", f"/{word}/controller")):
                found.append((deployment, image))
    return found


@check(
    "BTN801",
    "The Cluster Autoscaler is of the cluster's minor",
    Severity.MEDIUM,
    "no Cluster Autoscaler was found",
    needs=(DEPLOYMENTS,),
    also=("hardeneks", "AWS upgrade skill"),
)
def autoscaler_version(c: Context) -> Iterator[Result]:
    """The Cluster Autoscaler simulates the scheduler of its own minor; upstream recommends the cluster's."""
    for deployment, image in _find(c, "cluster-autoscaler"):
        subject, numbers = f"deployment {full_name(deployment)}", tag_version(image)
        if numbers is None or len(numbers) < 2:
            yield unknown(subject, f"its version cannot be told from {image}")
        elif (off := abs(minors_between(Minor(numbers[0], numbers[1]), c.end))) > 1:
            message = f"{numbers[0]}.{numbers[1]} is {off} minors from {c.end}"
            yield bad(subject, message, f"move it to {c.end} after the control plane")
        else:
            yield good(subject, f"{numbers[0]}.{numbers[1]} for {c.end}")


@check(
    "BTN802",
    "Karpenter is new enough for the target",
    Severity.BLOCK,
    "Karpenter was not found",
    needs=(DEPLOYMENTS,),
    also=("AWS upgrade skill",),
)
def karpenter_version(c: Context) -> Iterator[Result]:
    """Karpenter names the oldest release for each Kubernetes version; an older one may not find images or not
    understand the API server. Upgrade it before the control plane."""
    needed = c.knowledge.karpenter_minimum(c.end)
    for deployment, image in _find(c, "karpenter"):
        subject, numbers = f"deployment {full_name(deployment)}", tag_version(image)
        if numbers is None:
            yield unknown(subject, f"its version cannot be told from {image}", f"{c.end} needs {needed} or newer")
        elif numbers < AddonVersion.parse(needed).numbers:
            message = f"Karpenter {'.'.join(map(str, numbers))}; Kubernetes {c.end} needs {needed} or newer"
            yield bad(subject, message, "upgrade Karpenter first")
        else:
            yield good(subject, f"Karpenter {'.'.join(map(str, numbers))}; {c.end} needs {needed}")


@check(
    "BTN803",
    "Karpenter may replace its nodes",
    Severity.MEDIUM,
    "nothing keeps Karpenter from replacing its nodes",
    needs=("objects.nodes", "objects.pods"),
    also=("k8s-upgrade-skills", "k8s-upgrade-agent"),
    optional=("objects.nodepools.karpenter.sh", "objects.ec2nodeclasses.karpenter.k8s.aws"),
)
def karpenter_blocks(c: Context) -> Iterator[Result]:
    """Karpenter replaces nodes by drift when images move. A NodePool whose budgets are 0, or pods marked
    karpenter.sh/do-not-disrupt, keep old kubelets until the next upgrade finds them too old."""
    for pool in c.objects("nodepools.karpenter.sh"):
        budgets = (pool.get("spec", {}).get("disruption") or {}).get("budgets") or ()
        if any(str(b.get("nodes")) in ("0", "0%") and not b.get("schedule") for b in budgets):
            yield bad(f"node pool {nodes.name(pool)}", "its disruption budget is 0: its nodes stay", "raise it")
    theirs = {n for n, node in c.nodes.items() if nodes.owner(node).startswith("karpenter ")}
    held = [
        p
        for p in c.live_pods
        if p.get("spec", {}).get("nodeName") in theirs
        and (p["metadata"].get("annotations") or {}).get("karpenter.sh/do-not-disrupt") == "true"
    ]
    if held:
        names = ", ".join(full_name(p) for p in held[:3])
        yield bad(c.cluster, f"{len(held)} pods keep their Karpenter node: {names}", "move them by hand")


@check(
    "BTN804",
    "ingress-nginx is not relied on",
    Severity.MEDIUM,
    "the community ingress-nginx was not found",
    needs=(DEPLOYMENTS,),
    since="1.35",
    also=("eksup K8S013", "AWS upgrade skill"),
)
def ingress_nginx(c: Context) -> Iterator[Result]:
    """The community's ingress-nginx controller was retired in March 2026: no more fixes, no more tests with new
    versions."""
    for deployment in c.objects("deployments.apps"):
        if any("ingress-nginx/controller" in image for image in images_of(deployment)):
            yield bad(f"deployment {full_name(deployment)}", "ingress-nginx is retired", "move to another controller")


@check(
    "BTN805",
    "Admission webhooks outlive a drain",
    Severity.HIGH,
    "no webhook that fails closed depends on few pods",
    needs=(
        "objects.validatingwebhookconfigurations.admissionregistration.k8s.io",
        "objects.mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "objects.services",
        "objects.pods",
    ),
    also=("k8s-upgrade-agent",),
)
def webhooks(c: Context) -> Iterator[Result]:
    """A webhook with failurePolicy Fail whose pods are away refuses every pod that it guards. When its own replacement
    is among them, the cluster is stuck. Two replicas on different nodes, a budget, and an exception for kube-system and
    its own namespace keep it out of the way."""
    for kind in ("validating", "mutating"):
        for config in c.objects(f"{kind}webhookconfigurations.admissionregistration.k8s.io"):
            for hook in config.get("webhooks") or ():
                if hook.get("failurePolicy", "Fail") == "Fail" and _guards_pods(hook):
                    yield from _webhook(c, config, hook)


def _guards_pods(hook: KubeObject) -> bool:
    for rule in hook.get("rules") or ():
        resources, operations = rule.get("resources") or (), rule.get("operations") or ()
        if any(r in ("*", "*/*", "pods", "pods/*") for r in resources) and any(
            o in ("*", "CREATE") for o in operations
        ):
            return True
    return False


def _webhook(c: Context, config: KubeObject, hook: KubeObject) -> Iterator[Result]:
    reference = (hook.get("clientConfig") or {}).get("service")
    if not reference:
        return
    subject = f"webhook {hook.get('name', nodes.name(config))}"
    space, name = reference.get("namespace", ""), reference.get("name", "")
    service = next(
        (s for s in c.objects("services") if namespace(s) == space and nodes.name(s) == name),
        None,
    )
    if service is None:
        yield bad(
            subject, f"its service {space}/{name} does not exist: it refuses every pod", "delete it", Severity.BLOCK
        )
        return
    selector = service.get("spec", {}).get("selector")
    behind = [
        p
        for p in c.live_pods
        if selector and namespace(p) == space and selector_matches({"matchLabels": selector}, nodes.labels(p))
    ]
    hosts = {p.get("spec", {}).get("nodeName") for p in behind}
    if not behind:
        yield bad(
            subject, f"no pod stands behind {space}/{name}: it refuses every pod", "mend or delete it", Severity.BLOCK
        )
    elif len(behind) == 1 or len(hosts) == 1:
        message = (
            f"fails closed, and {'one pod stands' if len(behind) == 1 else 'all its pods stand on one node'} behind it"
        )
        yield bad(subject, message, "run two replicas on different nodes", pods=[full_name(p) for p in behind])
    else:
        yield good(subject, f"fails closed, {len(behind)} pods on {len(hosts)} nodes")


@check(
    "BTN806",
    "Aggregated APIs answer",
    Severity.HIGH,
    "every aggregated API answers",
    needs=("objects.apiservices.apiregistration.k8s.io",),
)
def aggregated(c: Context) -> Iterator[Result]:
    """An APIService that does not answer breaks discovery: namespaces hang when deleted, and controllers and clients
    that list everything fail."""
    for service in c.objects("apiservices.apiregistration.k8s.io"):
        for condition in (service.get("status") or {}).get("conditions") or ():
            if condition.get("type") == "Available" and condition.get("status") != "True":
                message = f"{condition.get('reason', 'not available')}: {condition.get('message', '')}"
                yield bad(f"API service {nodes.name(service)}", message, "mend its backend or delete it")
