"""EKS add-ons as the workloads they install in kube-system; the controllers roll them like any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from baton.twin.controllers.base import Cluster, Obj

if TYPE_CHECKING:
    from baton.twin.kube import KubeTwin

NAMESPACE = "kube-system"
_REGISTRY = "602401143452.dkr.ecr.us-east-1.amazonaws.com"
Ref = tuple[str, str, str]  # resource, namespace, name


class AddonInstaller:
    """Creates and updates the objects of add-ons. Names of containers and objects are the real add-ons'."""

    def __init__(self, cluster: Cluster, bad_images: set[str]) -> None:
        self._world = cluster.world
        self._bad_images = bad_images
        self._objects: dict[str, list[Ref]] = {}

    def objects(self, name: str) -> list[Ref]:
        """What the add-on consists of, dependents last."""
        known = self._objects.get(name)
        if known is not None:
            return known
        return [
            (resource, obj["metadata"]["namespace"], obj["metadata"]["name"])
            for resource, obj in _manifests(name, "v0.0.0")
            if self._world.get(resource, obj["metadata"]["namespace"], obj["metadata"]["name"]) is not None
        ]

    def apply(self, name: str, version: str, *, image_ok: bool) -> None:
        """Create what is missing and bring images to `version`; replicas that a user changed stay as they are."""
        if self._world.get("namespaces", None, NAMESPACE) is None:
            self._world.create(
                "namespaces",
                {
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "metadata": {"name": NAMESPACE, "labels": {"kubernetes.io/metadata.name": NAMESPACE}},
                    "spec": {"finalizers": ["kubernetes"]},
                    "status": {"phase": "Active"},
                },
            )
        refs: list[Ref] = []
        for resource, obj in _manifests(name, version):
            meta = obj["metadata"]
            refs.append((resource, meta["namespace"], meta["name"]))
            for container in obj["spec"].get("template", {}).get("spec", {}).get("containers", ()):
                (self._bad_images.discard if image_ok else self._bad_images.add)(container["image"])
            there = self._world.get(resource, meta["namespace"], meta["name"])
            if there is None:
                self._world.create(resource, obj)
            elif "template" in obj["spec"]:
                self._roll(resource, there, obj)
        self._objects[name] = refs

    def _roll(self, resource: str, there: Obj, wanted: Obj) -> None:
        """Only images change in what is there, so that a user's own settings survive as they do with PRESERVE."""
        images = {c["name"]: c["image"] for c in wanted["spec"]["template"]["spec"]["containers"]}
        template = there["spec"]["template"]
        containers = [{**c, "image": images.get(c.get("name"), c.get("image"))} for c in template["spec"]["containers"]]
        if containers == template["spec"]["containers"]:
            return
        spec = {**template["spec"], "containers": containers}
        self._world.update(resource, {**there, "spec": {**there["spec"], "template": {**template, "spec": spec}}})

    def healthy(self, name: str, kube: KubeTwin) -> bool:
        """Every workload of the add-on runs its current template everywhere and is ready."""
        kube.refresh_status_of({resource for resource, _, _ in self.objects(name)})
        checks: dict[str, Callable[[Obj], bool]] = {
            "daemonsets.apps": _daemonset_done,
            "deployments.apps": _deployment_done,
        }
        found = False
        for resource, namespace, object_name in self.objects(name):
            check = checks.get(resource)
            if check is None:
                continue
            obj = self._world.get(resource, namespace, object_name)
            if obj is None or not check(obj):
                return False
            found = True
        return found


def _daemonset_done(obj: Obj) -> bool:
    status = obj.get("status") or {}
    wanted = status.get("desiredNumberScheduled", -1)
    return bool(
        status.get("observedGeneration", 0) >= obj["metadata"].get("generation", 1)
        and status.get("updatedNumberScheduled", 0) == wanted
        and status.get("numberReady", 0) == wanted
    )


def _deployment_done(obj: Obj) -> bool:
    status, replicas = obj.get("status") or {}, obj["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration", 0) >= obj["metadata"].get("generation", 1)
        and status.get("updatedReplicas", 0) == replicas
        and status.get("replicas", 0) == replicas
        and status.get("availableReplicas", 0) == replicas
    )


# --- what each add-on installs


def manifests(name: str, version: str) -> list[tuple[str, Obj]]:
    """The workloads and budgets of an add-on: (resource, object), none of them shared with another call."""
    return _manifests(name, version)


def _manifests(name: str, version: str) -> list[tuple[str, Obj]]:
    makers: dict[str, Callable[[str], list[tuple[str, Obj]]]] = {
        "vpc-cni": _vpc_cni,
        "kube-proxy": _kube_proxy,
        "coredns": _coredns,
        "aws-ebs-csi-driver": _ebs,
        "eks-pod-identity-agent": _pod_identity,
        "metrics-server": _metrics_server,
    }
    maker = makers.get(name)
    return maker(version) if maker is not None else _generic(name, version)


def _container(name: str, image: str, cpu: str, memory: str = "", probe: int | None = None) -> Obj:
    """`probe` is the readiness probe's initial delay in seconds, None for no probe."""
    requests = {"cpu": cpu, **({"memory": memory} if memory else {})}
    made: Obj = {"name": name, "image": f"{_REGISTRY}/{image}", "resources": {"requests": requests}}
    if probe is not None:
        made["readinessProbe"] = {"initialDelaySeconds": probe, "periodSeconds": 10}
    return made


def _daemonset(name: str, app: str, containers: list[Obj], unavailable: int | str, **spec: Any) -> tuple[str, Obj]:
    labels = {"app.kubernetes.io/name": app, "k8s-app": name}
    return "daemonsets.apps", {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "selector": {"matchLabels": {"k8s-app": name}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": containers,
                    "tolerations": [{"operator": "Exists"}],
                    "priorityClassName": "system-node-critical",
                    "priority": 2000001000,
                    "terminationGracePeriodSeconds": 30,
                    **spec,
                },
            },
        },
        "status": {},
    }


def _deployment(name: str, app: str, replicas: int, containers: list[Obj], **spec: Any) -> tuple[str, Obj]:
    labels = {"app.kubernetes.io/name": app, "k8s-app": app}
    strategy = spec.pop("strategy", {"maxUnavailable": 1, "maxSurge": "25%"})
    return "deployments.apps", {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"k8s-app": app}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": strategy},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": containers,
                    "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}],
                    "priorityClassName": "system-cluster-critical",
                    "priority": 2000000000,
                    "terminationGracePeriodSeconds": 30,
                    **spec,
                },
            },
        },
        "status": {},
    }


def _budget(name: str, app: str) -> tuple[str, Obj]:
    return "poddisruptionbudgets.policy", {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"k8s-app": app}}},
        "status": {},
    }


def _spread(app: str) -> list[Obj]:
    return [
        {
            "maxSkew": 1,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"k8s-app": app}},
        }
    ]


def _apart(app: str) -> Obj:
    """Preferably not two on one node."""
    term = {
        "labelSelector": {"matchExpressions": [{"key": "k8s-app", "operator": "In", "values": [app]}]},
        "topologyKey": "kubernetes.io/hostname",
    }
    return {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]
        }
    }


def _vpc_cni(version: str) -> list[tuple[str, Obj]]:
    containers = [
        _container("aws-node", f"amazon-k8s-cni:{version}", "25m", probe=1),
        _container("aws-eks-nodeagent", f"amazon/aws-network-policy-agent:{version}", "25m"),
    ]
    return [_daemonset("aws-node", "aws-node", containers, "10%", hostNetwork=True, serviceAccountName="aws-node")]


def _kube_proxy(version: str) -> list[tuple[str, Obj]]:
    image = f"eks/kube-proxy:{version.replace('-eksbuild', '-minimal-eksbuild')}"
    return [
        _daemonset(
            "kube-proxy",
            "kube-proxy",
            [_container("kube-proxy", image, "100m")],
            "10%",
            hostNetwork=True,
            serviceAccountName="kube-proxy",
        )
    ]


def _coredns(version: str) -> list[tuple[str, Obj]]:
    containers = [_container("coredns", f"eks/coredns:{version}", "100m", "70Mi", probe=0)]
    return [
        _deployment(
            "coredns",
            "kube-dns",
            2,
            containers,
            affinity=_apart("kube-dns"),
            topologySpreadConstraints=_spread("kube-dns"),
            serviceAccountName="coredns",
            dnsPolicy="Default",
        ),
        _budget("coredns", "kube-dns"),
    ]


def _ebs(version: str) -> list[tuple[str, Obj]]:
    driver = f"eks/aws-ebs-csi-driver:{version}"
    controller = [
        _container("ebs-plugin", driver, "10m", "40Mi", probe=10),
        _container("csi-provisioner", "eks/csi-provisioner:v5.3.0", "10m", "40Mi"),
        _container("csi-attacher", "eks/csi-attacher:v4.9.0", "10m", "40Mi"),
        _container("csi-resizer", "eks/csi-resizer:v1.14.0", "10m", "40Mi"),
        _container("liveness-probe", "eks/livenessprobe:v2.16.0", "10m", "40Mi"),
    ]
    node = [
        _container("ebs-plugin", driver, "10m", "40Mi"),
        _container("node-driver-registrar", "eks/csi-node-driver-registrar:v2.14.0", "10m", "40Mi"),
        _container("liveness-probe", "eks/livenessprobe:v2.16.0", "10m", "40Mi"),
    ]
    return [
        _deployment(
            "ebs-csi-controller",
            "ebs-csi-controller",
            2,
            controller,
            affinity=_apart("ebs-csi-controller"),
            serviceAccountName="ebs-csi-controller-sa",
        ),
        _daemonset("ebs-csi-node", "ebs-csi-node", node, "10%", serviceAccountName="ebs-csi-node-sa"),
        _budget("ebs-csi-controller", "ebs-csi-controller"),
    ]


def _pod_identity(version: str) -> list[tuple[str, Obj]]:
    containers = [_container("eks-pod-identity-agent", f"eks/eks-pod-identity-agent:{version}", "10m", probe=1)]
    return [_daemonset("eks-pod-identity-agent", "eks-pod-identity-agent", containers, "10%", hostNetwork=True)]


def _metrics_server(version: str) -> list[tuple[str, Obj]]:
    containers = [_container("metrics-server", f"eks/metrics-server:{version}", "100m", "200Mi", probe=20)]
    return [
        _deployment(
            "metrics-server",
            "metrics-server",
            2,
            containers,
            affinity=_apart("metrics-server"),
            strategy={"maxUnavailable": 1, "maxSurge": "25%"},
        ),
        _budget("metrics-server", "metrics-server"),
    ]


def _generic(name: str, version: str) -> list[tuple[str, Obj]]:
    return [_deployment(name, name, 1, [_container(name, f"eks/{name}:{version}", "10m", "32Mi", probe=5)])]
