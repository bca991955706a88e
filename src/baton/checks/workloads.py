"""Workloads: pods that cannot leave, cannot come back, or take too long about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from baton.checks.context import Context, full_name
from baton.checks.registry import Result, bad, check, good
from baton.errors import ReadError
from baton.logic.eviction import controller_of, selector_matches, wanted
from baton.model import nodes
from baton.model.cluster import KubeObject
from baton.model.findings import Severity

DRAIN_LIMIT = 900.0  # seconds: how long EKS lets a node drain before it reports PodEvictionFailure
NODES_AND_PODS = ("objects.nodes", "objects.pods")
WITH_OWNERS = (*NODES_AND_PODS, "objects.replicasets.apps")


def _some(pods: Iterable[KubeObject], most: int = 3) -> str:
    names = sorted(full_name(p) for p in pods)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _subject(name: str) -> str:
    return name[0].lower() + name[1:]


def tolerates_all(pod: KubeObject) -> bool:
    """A toleration without a key tolerates every taint, the one of a cordoned node too."""
    tolerations = pod.get("spec", {}).get("tolerations") or ()
    return any(
        t.get("operator") == "Exists" and not t.get("key") and t.get("effect", "") in ("", "NoSchedule")
        for t in tolerations
    )


@check(
    "BTN601",
    "No pod comes back to a node that drains",
    Severity.HIGH,
    "no evictable pod tolerates every taint",
    needs=WITH_OWNERS,
)
def tolerations(c: Context) -> Iterator[Result]:
    """A pod that tolerates every taint is not kept off a cordoned node: its Deployment puts the next one right back,
    the node never empties and EKS reports PodEvictionFailure. DaemonSet pods do not count."""
    for name, pods in sorted(c.workloads.items()):
        stuck = [p for p in c.moving(pods) if tolerates_all(p)]
        if stuck:
            hint = "give the toleration a key, or effect NoExecute"
            yield bad(_subject(name), f"{_some(stuck)} tolerate{'s' if len(stuck) == 1 else ''} every taint", hint)
    for pod in c.moving_pods:
        node_pinned = pod.get("spec", {}).get("nodeSelector", {}).get("kubernetes.io/hostname")
        if node_pinned and controller_of(pod) is not None:
            yield bad(
                f"pod {full_name(pod)}", f"is pinned to node {node_pinned}", "it waits for ever once that is gone"
            )


@check(
    "BTN602",
    "No pod is bare",
    Severity.MEDIUM,
    "every pod has a controller",
    needs=NODES_AND_PODS,
    also=("k8s-upgrade-skills", "k8s-upgrade-agent"),
)
def bare(c: Context) -> Iterator[Result]:
    """A pod without a controller is evicted like any other, and nothing starts it again."""
    found = [p for p in c.moving_pods if controller_of(p) is None]
    for pod in found:
        yield bad(f"pod {full_name(pod)}", "has no controller: it will not come back", "give it one, or expect it gone")


@check(
    "BTN603",
    "Workloads have a second replica",
    Severity.MEDIUM,
    "no Deployment or StatefulSet runs a single replica",
    needs=WITH_OWNERS,
    also=("eksup K8S002", "k8s-upgrade-skills", "AWS upgrade skill"),
)
def single(c: Context) -> Iterator[Result]:
    """A workload with one replica is down from the moment its pod is evicted until the next one is Ready elsewhere."""
    for name, pods in sorted(c.workloads.items()):
        if name.startswith(("Deployment ", "StatefulSet ", "ReplicaSet ")) and len(pods) == 1 and c.moving(pods):
            yield bad(_subject(name), "one replica: down while it moves", "a second replica keeps it up")


def pod_problem(pod: KubeObject) -> str:
    """Why a pod is not well, "" when it is (or is starting)."""
    status = pod.get("status", {})
    for container in status.get("containerStatuses") or ():
        reason = (container.get("state") or {}).get("waiting", {}).get("reason", "")
        if reason in ("CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "CreateContainerConfigError"):
            return str(reason)
    if status.get("phase") == "Pending":
        for condition in status.get("conditions") or ():
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                return str(condition.get("message") or condition.get("reason") or "cannot be scheduled")
        return "Pending"
    return ""


@check(
    "BTN604",
    "Pods are well before the start",
    Severity.HIGH,
    "",
    needs=("objects.pods",),
    also=("k8s-upgrade-skills", "refresh"),
)
def baseline(c: Context) -> Iterator[Result]:
    """Pods that crash or wait before the upgrade are not its fault, but they hide what is, and a pod that waits for
    room now will wait longer while nodes move."""
    sick = [(p, why) for p in c.live_pods if (why := pod_problem(p))]
    for pod, why in sick:
        yield bad(f"pod {full_name(pod)}", why, "mend it, or waive it so that it is not blamed on the upgrade")
    if not sick:
        yield good(c.cluster, f"{len(c.live_pods)} pods, none pending or crashing", pods=len(c.live_pods))


@check(
    "BTN605",
    "Pods end within the drain limit",
    Severity.HIGH,
    "no pod may take longer than 15 minutes to end",
    needs=NODES_AND_PODS,
    also=("eksup K8S007",),
)
def grace(c: Context) -> Iterator[Result]:
    """EKS waits 15 minutes for a node to drain. A terminationGracePeriodSeconds beyond that lets a pod outlast it, and
    the update fails with PodEvictionFailure. A StatefulSet's pods with 0 are killed without a chance to write."""
    for pod in c.moving_pods:
        seconds = pod.get("spec", {}).get("terminationGracePeriodSeconds", 30)
        if seconds > DRAIN_LIMIT:
            message = f"terminationGracePeriodSeconds {seconds} is longer than the drain limit of {DRAIN_LIMIT:.0f}"
            yield bad(f"pod {full_name(pod)}", message, "shorten it, or move the pod by hand before its node's turn")
        elif seconds == 0 and (controller_of(pod) or {}).get("kind") == "StatefulSet":
            message = "a StatefulSet's pod with terminationGracePeriodSeconds 0"
            yield bad(f"pod {full_name(pod)}", message, "give it time to end", Severity.MEDIUM)


@check(
    "BTN606",
    "No pod keeps data on its node",
    Severity.LOW,
    "no pod keeps data on its node",
    needs=(*NODES_AND_PODS, "objects.persistentvolumes", "objects.persistentvolumeclaims"),
    also=("k8s-upgrade-skills", "k8s-upgrade-agent"),
)
def local_data(c: Context) -> Iterator[Result]:
    """emptyDir goes with the pod and hostPath with the node. A local PersistentVolume binds its pod to a node that is
    about to be terminated: the pod waits for ever and the data is gone."""
    local = {nodes.name(v) for v in c.objects("persistentvolumes") if v.get("spec", {}).get("local") is not None}
    claims = {full_name(v): v.get("spec", {}).get("volumeName", "") for v in c.objects("persistentvolumeclaims")}
    scratch = []
    for pod in c.moving_pods:
        for volume in pod.get("spec", {}).get("volumes") or ():
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName", "")
            if claim and claims.get(f"{pod['metadata'].get('namespace', '')}/{claim}") in local:
                message = f"its volume {claim} is on its node's own disk"
                hint = "copy the data away first; the node is terminated"
                yield bad(f"pod {full_name(pod)}", message, hint, Severity.HIGH)
            elif volume.get("hostPath") is not None or volume.get("emptyDir") is not None:
                scratch.append(pod)
                break
    if scratch:
        yield bad(c.cluster, f"{len(scratch)} pods use emptyDir or hostPath: {_some(scratch)}", "it starts empty again")


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None


@check(
    "BTN607",
    "No long job would be cut off",
    Severity.MEDIUM,
    "no Job has been running for longer than the drain limit",
    needs=NODES_AND_PODS,
    also=("k8s-upgrade-skills", "k8s-upgrade-agent"),
)
def long_jobs(c: Context) -> Iterator[Result]:
    """A Job's pod is evicted like any other and starts again from the beginning, if its backoffLimit allows."""
    for pod in c.moving_pods:
        if (controller_of(pod) or {}).get("kind") != "Job":
            continue
        started = _seconds(str(pod.get("status", {}).get("startTime", "")))
        if started is not None and c.now - started > DRAIN_LIMIT:
            minutes = (c.now - started) / 60
            hint = "let it finish, or suspend it, before its node's turn"
            yield bad(f"pod {full_name(pod)}", f"a Job's pod, running for {minutes:.0f} min", hint)


@check(
    "BTN608",
    "Required anti-affinity leaves room to move",
    Severity.HIGH,
    "no anti-affinity needs more nodes than there are",
    needs=WITH_OWNERS,
)
def anti_affinity(c: Context) -> Iterator[Result]:
    """Pods that must not share a node (required anti-affinity by hostname) need as many nodes as replicas. With as many
    replicas as nodes and no surge (MINIMAL) the evicted one waits until the new node is up; its budget holds the next
    drain up meanwhile."""
    size = len(c.nodes)
    minimal = any(g.update_config.strategy == "MINIMAL" for g in c.snapshot.node_groups)
    for name, pods in sorted(c.workloads.items()):
        apart = [p for p in c.moving(pods) if _host_apart(p)]
        if apart and (len(pods) > size or (minimal and len(pods) >= size)):
            message = f"{len(pods)} replicas that must not share a node, on {size} nodes"
            yield bad(_subject(name), message, "fewer replicas, or preferred instead of required")


def _host_apart(pod: KubeObject) -> bool:
    anti = (pod.get("spec", {}).get("affinity") or {}).get("podAntiAffinity") or {}
    terms = anti.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    return any(t.get("topologyKey") == "kubernetes.io/hostname" for t in terms)


@check(
    "BTN609",
    "Deployments replace pods gradually",
    Severity.LOW,
    "no Deployment uses Recreate",
    needs=("objects.deployments.apps",),
)
def recreate(c: Context) -> Iterator[Result]:
    """Recreate stops all pods before it starts new ones. A drain does not trigger it, but a change of the Deployment
    during the upgrade does."""
    for deployment in c.objects("deployments.apps"):
        spec = deployment.get("spec", {})
        if (spec.get("strategy") or {}).get("type") == "Recreate" and spec.get("replicas", 1) > 1:
            yield bad(f"deployment {full_name(deployment)}", f"{spec['replicas']} replicas with strategy Recreate")


@check(
    "BTN610",
    "Replicated pods have a readiness probe",
    Severity.LOW,
    "every replicated workload has a readiness probe",
    needs=("objects.deployments.apps", "objects.statefulsets.apps"),
    also=("eksup K8S006", "AWS upgrade skill"),
)
def probes(c: Context) -> Iterator[Result]:
    """Without a readiness probe a pod counts as healthy the moment it runs, so a budget lets the next one go before it
    can serve."""
    missing = []
    for resource in ("deployments.apps", "statefulsets.apps"):
        for obj in c.objects(resource):
            spec = obj.get("spec", {})
            containers = spec.get("template", {}).get("spec", {}).get("containers") or ()
            if spec.get("replicas", 1) > 1 and containers and not any(x.get("readinessProbe") for x in containers):
                missing.append(obj)
    if missing:
        yield bad(c.cluster, f"{len(missing)} workloads without: {_some(missing)}", "add a readinessProbe")


@check(
    "BTN611",
    "Pods say what they need",
    Severity.LOW,
    "every pod has requests",
    needs=NODES_AND_PODS,
    also=("AWS upgrade skill",),
)
def requests(c: Context) -> Iterator[Result]:
    """Pods without requests are packed blindly onto the first new nodes, and evicted first when memory is short."""
    blind = [
        p
        for p in c.moving_pods
        if not any((x.get("resources") or {}).get("requests") for x in p.get("spec", {}).get("containers") or ())
    ]
    if blind:
        yield bad(c.cluster, f"{len(blind)} pods without requests: {_some(blind)}", "set cpu and memory requests")


@check(
    "BTN612",
    "No finalizer holds pods back",
    Severity.MEDIUM,
    "no pod has finalizers or is stuck terminating",
    needs=NODES_AND_PODS,
)
def finalizers(c: Context) -> Iterator[Result]:
    """A pod with a finalizer is not gone until whoever set it takes it off; a drain waits for that."""
    for pod in c.moving_pods:
        meta = pod["metadata"]
        left = _seconds(str(meta.get("deletionTimestamp", "")))
        if left is not None and c.now - left > 300:
            minutes = (c.now - left) / 60
            yield bad(
                f"pod {full_name(pod)}", f"has been terminating for {minutes:.0f} min", "see its finalizers and node"
            )
        elif meta.get("finalizers"):
            yield bad(f"pod {full_name(pod)}", f"has finalizers: {', '.join(meta['finalizers'])}", "", Severity.LOW)


WELL_KNOWN = ("kubernetes.io/", "k8s.io/", "eks.amazonaws.com/", "karpenter.sh/", "k8s.aws/")


def wanted_labels(pod: KubeObject) -> dict[str, str]:
    """Node label keys that a pod insists on -> what it wants of them: nodeSelector and required node affinity."""
    spec = pod.get("spec", {})
    found = {key: str(value) for key, value in (spec.get("nodeSelector") or {}).items()}
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    terms = (affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms") or []
    if len(terms) == 1:  # several terms are alternatives
        for expression in terms[0].get("matchExpressions") or ():
            if expression.get("operator") in ("In", "Exists"):
                found[str(expression.get("key"))] = ", ".join(expression.get("values") or ("any",))
    return found


@check(
    "BTN613",
    "Labels that pods insist on come with new nodes",
    Severity.HIGH,
    "no pod insists on a node label that new nodes may lack",
    needs=("node_groups", *NODES_AND_PODS),
)
def hand_labels(c: Context) -> Iterator[Result]:
    """A label put on nodes by hand (kubectl label) is gone with them: pods that select by it wait for ever on the new
    ones. Labels of the node group come with every node; labels that user data passes to the kubelet do too, if the new
    image still does so."""
    group_of = {nodes.name(n): g for g in c.snapshot.node_groups for n in c.group_nodes[g.name]}
    found: dict[tuple[str, str, str], list[KubeObject]] = {}
    for pod in c.moving_pods:
        group = group_of.get(pod["spec"]["nodeName"])
        if group is None:
            continue
        for key, value in wanted_labels(pod).items():
            known = any(domain in key for domain in WELL_KNOWN)
            if not known and key not in group.labels and key not in (group.user_data or ""):
                found.setdefault((group.name, key, value), []).append(pod)
    for (name, key, value), pods in sorted(found.items()):
        message = (
            f"{_some(pods)} insist{'s' if len(pods) == 1 else ''} on {key}={value}, which is no label of the group"
        )
        yield bad(f"node group {name}", message, "add it to the group's labels", pods=[full_name(p) for p in pods])


@check(
    "BTN614",
    "Pods behind load balancers end gently",
    Severity.LOW,
    "every pod behind a load balancer waits before it ends",
    needs=(*NODES_AND_PODS, "objects.services"),
)
def load_balanced(c: Context) -> Iterator[Result]:
    """A load balancer goes on sending for some seconds after a pod is told to end: without a preStop hook that waits,
    its clients see errors each time a node is drained."""
    by_space: dict[str, list[KubeObject]] = {}
    for pod in c.moving_pods:
        by_space.setdefault(pod["metadata"].get("namespace", ""), []).append(pod)
    for service in c.objects("services"):
        spec = service.get("spec", {})
        if spec.get("type") != "LoadBalancer" or not spec.get("selector"):
            continue
        behind = [
            p
            for p in by_space.get(service["metadata"].get("namespace", ""), ())
            if selector_matches({"matchLabels": spec["selector"]}, nodes.labels(p))
        ]
        if behind and not any(_waits(p) for p in behind):
            message = f"{_some(behind)}: no preStop hook"
            yield bad(
                f"service {full_name(service)}", message, "a preStop that sleeps longer than deregistration takes"
            )


def _waits(pod: KubeObject) -> bool:
    return any((x.get("lifecycle") or {}).get("preStop") for x in pod.get("spec", {}).get("containers") or ())


@check(
    "BTN615",
    "Ordered pods with volumes can all come back",
    Severity.MEDIUM,
    "no ordered StatefulSet can wait for itself",
    needs=("objects.nodes", "objects.statefulsets.apps", "objects.poddisruptionbudgets.policy"),
)
def ordered_volumes(c: Context) -> Iterator[Result]:
    """An EBS volume keeps a pod in its zone. Where topologySpreadConstraints with DoNotSchedule forbid that zone while
    another is empty, and pods come back one by one (OrderedReady), two of them away at once wait for each other for
    ever: the first may not go back to its zone before the second is back in the empty one. A budget that lets one go
    at a time prevents it. It follows from the rules of kube-scheduler and the StatefulSet controller together; a
    rehearsal shows it."""
    zones = {nodes.labels(n).get(nodes.ZONE_LABEL, "") for n in c.objects("nodes")} - {""}
    for obj in c.objects("statefulsets.apps"):
        spec = obj.get("spec", {})
        replicas = spec.get("replicas", 1)
        ordered = spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        if not ordered or not spec.get("volumeClaimTemplates") or not 1 < len(zones) < replicas:
            continue
        if _spread_hard(spec) and not _one_at_a_time(c, obj, replicas):
            message = f"{replicas} ordered pods with volumes, spread hard over {len(zones)} zones, and two may be away"
            hint = "a budget with maxUnavailable: 1, podManagementPolicy: Parallel, or ScheduleAnyway"
            yield bad(f"statefulset {full_name(obj)}", message, hint)


def _spread_hard(spec: KubeObject) -> bool:
    rules = spec.get("template", {}).get("spec", {}).get("topologySpreadConstraints") or ()
    return any(
        r.get("topologyKey") == nodes.ZONE_LABEL and r.get("whenUnsatisfiable") == "DoNotSchedule" for r in rules
    )


def _one_at_a_time(c: Context, obj: KubeObject, replicas: int) -> bool:
    """A budget lets at most one of the StatefulSet's pods go at once."""
    labels = obj["spec"].get("template", {}).get("metadata", {}).get("labels") or {}
    for budget in c.objects("poddisruptionbudgets.policy"):
        rule = budget.get("spec", {})
        same = budget["metadata"].get("namespace") == obj["metadata"].get("namespace")
        if same and selector_matches(rule.get("selector"), labels):
            try:
                least = wanted(rule, replicas, replicas).desired
            except ReadError:
                return True  # a budget that cannot be read lets nobody go
            return replicas - least <= 1
    return False
