"""What the API server fills in when an object is written. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from baton.emulator.kube.registry import Kind
from baton.emulator.kube.schema import known_fields
from baton.emulator.kube.validation import check, check_pod_update

Json = dict[str, Any]


def prepare(kind: Kind, obj: Json) -> Json:
    """A new object with its defaults. Raises ApiError 422 where upstream's validation would."""
    made = _filled(kind, obj)
    check(kind, made)
    return made


def prepare_update(kind: Kind, old: Json, new: Json) -> Json:
    """The new state of an object with its defaults. Raises ApiError 422, also for what must not change."""
    if kind.resource == "pods":  # defaults are filled in once; controllers' pods stay as they were made
        check_pod_update(kind, old, new)
        return new
    made = _filled(kind, new)
    check(kind, made, _filled(kind, old))
    return made


def _filled(kind: Kind, obj: Json) -> Json:
    filler = _FILLERS.get(kind.resource)
    if filler is not None:
        return filler(obj)
    parts: Json = {
        p: {} for p in ("spec", "status") if p in known_fields(kind.resource) and not isinstance(obj.get(p), dict)
    }
    return {**obj, **parts} if parts else obj


def _pod_spec(spec: Mapping[str, Any]) -> Json:
    return {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        **spec,
        "containers": [_container(c) for c in spec.get("containers") or ()],
    }


def _container(container: Mapping[str, Any]) -> Json:
    image = str(container.get("image", ""))
    pull = "Always" if image.endswith(":latest") or ":" not in image.rpartition("/")[2] else "IfNotPresent"
    filled = {
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": pull,
        **container,
    }
    resources = dict(filled["resources"] or {})
    if resources.get("limits"):  # a limit without a request is the request
        resources["requests"] = {**resources["limits"], **(resources.get("requests") or {})}
        filled["resources"] = resources
    if filled.get("ports"):
        filled["ports"] = [{"protocol": "TCP", **p} for p in filled["ports"]]
    return filled


def _pod(obj: Json) -> Json:
    spec = _pod_spec(obj.get("spec") or {})
    return {
        **obj,
        "spec": spec,
        "status": {"phase": "Pending", "qosClass": qos(spec), **(obj.get("status") or {})},
    }


def qos(spec: Mapping[str, Any]) -> str:
    """BestEffort, Burstable or Guaranteed."""
    sets = [c.get("resources") or {} for c in spec.get("containers") or ()]
    if not any(s.get("requests") or s.get("limits") for s in sets):
        return "BestEffort"
    whole = all(
        {"cpu", "memory"} <= set(s.get("limits") or {}) and (s.get("requests") or s["limits"]) == s["limits"]
        for s in sets
    )
    return "Guaranteed" if whole else "Burstable"


def _spec(obj: Json) -> Json:
    return obj.get("spec") or {}


def _template(obj: Json, policy: str = "Always") -> Json:
    template = (obj.get("spec") or {}).get("template") or {}
    spec = {"restartPolicy": policy, **(template.get("spec") or {})}
    return {**template, "metadata": template.get("metadata") or {}, "spec": _pod_spec(spec)}


def _deployment(obj: Json) -> Json:
    template = _template(obj)
    given = _spec(obj).get("strategy") or {}
    strategy: Json = {"type": "RollingUpdate", **given}
    if strategy["type"] == "RollingUpdate":
        strategy["rollingUpdate"] = {"maxUnavailable": "25%", "maxSurge": "25%", **(given.get("rollingUpdate") or {})}
    spec = {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        **_spec(obj),
        "strategy": strategy,
        "template": template,
    }
    return {**obj, "spec": spec, "status": obj.get("status") or {}}


def _replicaset(obj: Json) -> Json:
    spec = {"replicas": 1, **_spec(obj), "template": _template(obj)}
    return {**obj, "spec": spec, "status": obj.get("status") or {"replicas": 0}}


def _statefulset(obj: Json) -> Json:
    template = _template(obj)
    spec = {
        "replicas": 1,
        "podManagementPolicy": "OrderedReady",
        "revisionHistoryLimit": 10,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        **_spec(obj),
        "template": template,
    }
    return {**obj, "spec": spec, "status": obj.get("status") or {"replicas": 0}}


def _daemonset(obj: Json) -> Json:
    template = _template(obj)
    given = _spec(obj).get("updateStrategy") or {}
    strategy: Json = {"type": "RollingUpdate", **given}
    if strategy["type"] == "RollingUpdate":
        strategy["rollingUpdate"] = {"maxUnavailable": 1, "maxSurge": 0, **(given.get("rollingUpdate") or {})}
    spec = {"revisionHistoryLimit": 10, **_spec(obj), "updateStrategy": strategy, "template": template}
    return {**obj, "spec": spec, "status": obj.get("status") or {}}


def _job(obj: Json) -> Json:
    spec = {"parallelism": 1, "completions": 1, "backoffLimit": 6, **_spec(obj), "template": _template(obj)}
    return {**obj, "spec": spec, "status": obj.get("status") or {}}


def _pdb(obj: Json) -> Json:
    return {**obj, "spec": _spec(obj), "status": obj.get("status") or {}}


def _service(obj: Json) -> Json:
    spec = {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        **_spec(obj),
    }
    spec["ports"] = [
        {"protocol": "TCP", **p, "targetPort": p.get("targetPort") or p.get("port")} for p in spec.get("ports") or ()
    ]
    return {**obj, "spec": spec, "status": obj.get("status") or {"loadBalancer": {}}}


def _namespace(obj: Json) -> Json:
    metadata = obj["metadata"]
    labels = {"kubernetes.io/metadata.name": metadata.get("name", ""), **(metadata.get("labels") or {})}
    return {
        **obj,
        "metadata": {**metadata, "labels": labels},
        "spec": {"finalizers": ["kubernetes"], **_spec(obj)},
        "status": {"phase": "Active", **(obj.get("status") or {})},
    }


_FILLERS = {
    "pods": _pod,
    "deployments.apps": _deployment,
    "replicasets.apps": _replicaset,
    "statefulsets.apps": _statefulset,
    "daemonsets.apps": _daemonset,
    "jobs.batch": _job,
    "poddisruptionbudgets.policy": _pdb,
    "services": _service,
    "secrets": lambda obj: {"type": "Opaque", **obj},
    "namespaces": _namespace,
}
