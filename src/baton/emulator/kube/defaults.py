"""What the API server fills in and refuses when an object is written. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from baton.emulator.kube.registry import Kind
from baton.twin.world import ApiError

Json = dict[str, Any]
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_RFC1123 = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def invalid(kind: Kind, name: str, *causes: tuple[str, str]) -> ApiError:
    """422 in upstream's words; causes are (field, message)."""
    text = ", ".join(f"{field}: {message}" for field, message in causes)
    listed = text if len(causes) == 1 else f"[{text}]"
    label = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    details = {
        "name": name,
        "group": kind.group,
        "kind": kind.kind,
        "causes": [{"reason": "FieldValueInvalid", "message": m, "field": f} for f, m in causes],
    }
    return ApiError(422, "Invalid", f'{label} "{name}" is invalid: {listed}', details=details)


def prepare(kind: Kind, obj: Json) -> Json:
    """A new object with its defaults, or ApiError 422 / 400."""
    metadata = obj.get("metadata") or {}
    name = metadata.get("name") or ""
    if not name and not metadata.get("generateName"):
        raise invalid(kind, "", ("metadata.name", "Required value: name or generateName is required"))
    if name and (len(name) > 253 or not _NAME.fullmatch(name)) and kind.group != "rbac.authorization.k8s.io":
        raise invalid(kind, name, ("metadata.name", f'Invalid value: "{name}": {_RFC1123}'))
    _labels(kind, name, metadata.get("labels"), "metadata.labels")
    filler = _FILLERS.get(kind.resource)
    return filler(kind, obj) if filler is not None else obj


def _labels(kind: Kind, name: str, labels: Any, field: str) -> None:
    if labels is None:
        return
    if not isinstance(labels, Mapping) or not all(isinstance(v, str) for v in labels.values()):
        raise ApiError(
            400, "BadRequest", f"json: cannot unmarshal into Go struct field ObjectMeta.{field} of type string"
        )
    for key, value in labels.items():
        if len(value) > 63 or not re.fullmatch(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]|", value):
            raise invalid(
                kind, name, (field, f'Invalid value: "{value}": a valid label must be at most 63 characters ({key})')
            )


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


def _pod(kind: Kind, obj: Json) -> Json:
    _containers(kind, obj, obj.get("spec") or {}, "spec")
    return {
        **obj,
        "spec": _pod_spec(obj["spec"]),
        "status": {"phase": "Pending", "qosClass": qos(obj["spec"]), **(obj.get("status") or {})},
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


def _containers(kind: Kind, obj: Json, spec: Any, field: str) -> None:
    name = (obj.get("metadata") or {}).get("name", "")
    if not isinstance(spec, Mapping) or not spec.get("containers"):
        raise invalid(kind, name, (f"{field}.containers", "Required value"))
    for i, container in enumerate(spec["containers"]):
        if not isinstance(container, Mapping) or not container.get("name"):
            raise invalid(kind, name, (f"{field}.containers[{i}].name", "Required value"))


def _template(kind: Kind, obj: Json) -> Json:
    spec = obj.get("spec") or {}
    name = (obj.get("metadata") or {}).get("name", "")
    template = spec.get("template") or {}
    _containers(kind, obj, template.get("spec") or {}, "spec.template.spec")
    selector = (spec.get("selector") or {}).get("matchLabels") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    if kind.kind != "Job":
        if not spec.get("selector"):
            raise invalid(kind, name, ("spec.selector", "Required value"))
        if any(labels.get(k) != v for k, v in selector.items()):
            message = f"Invalid value: {labels}: `selector` does not match template `labels`"
            raise invalid(kind, name, ("spec.template.metadata.labels", message))
    return {**template, "metadata": template.get("metadata") or {}, "spec": _pod_spec(template["spec"])}


def _deployment(kind: Kind, obj: Json) -> Json:
    template = _template(kind, obj)
    given = obj["spec"].get("strategy") or {}
    strategy: Json = {"type": given.get("type", "RollingUpdate")}
    if strategy["type"] == "RollingUpdate":
        strategy["rollingUpdate"] = {"maxUnavailable": "25%", "maxSurge": "25%", **(given.get("rollingUpdate") or {})}
    spec = {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        **obj["spec"],
        "strategy": strategy,
        "template": template,
    }
    return {**obj, "spec": spec, "status": obj.get("status") or {}}


def _replicaset(kind: Kind, obj: Json) -> Json:
    spec = {"replicas": 1, **obj["spec"], "template": _template(kind, obj)} if obj.get("spec") else obj.get("spec")
    return {**obj, "spec": spec or {"template": _template(kind, obj)}, "status": obj.get("status") or {"replicas": 0}}


def _statefulset(kind: Kind, obj: Json) -> Json:
    template = _template(kind, obj)
    spec = {
        "replicas": 1,
        "podManagementPolicy": "OrderedReady",
        "revisionHistoryLimit": 10,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        **obj["spec"],
        "template": template,
    }
    return {**obj, "spec": spec, "status": obj.get("status") or {"replicas": 0}}


def _daemonset(kind: Kind, obj: Json) -> Json:
    template = _template(kind, obj)
    given = obj["spec"].get("updateStrategy") or {}
    strategy: Json = {"type": given.get("type", "RollingUpdate")}
    if strategy["type"] == "RollingUpdate":
        strategy["rollingUpdate"] = {"maxUnavailable": 1, "maxSurge": 0, **(given.get("rollingUpdate") or {})}
    spec = {"revisionHistoryLimit": 10, **obj["spec"], "updateStrategy": strategy, "template": template}
    return {**obj, "spec": spec, "status": obj.get("status") or {}}


def _job(kind: Kind, obj: Json) -> Json:
    template = _template(kind, obj)
    template["spec"] = {
        **template["spec"],
        "restartPolicy": obj["spec"]["template"]["spec"].get("restartPolicy", "Never"),
    }
    spec = {"parallelism": 1, "completions": 1, "backoffLimit": 6, **obj["spec"], "template": template}
    return {**obj, "spec": spec, "status": obj.get("status") or {}}


def _pdb(kind: Kind, obj: Json) -> Json:
    spec = obj.get("spec") or {}
    name = (obj.get("metadata") or {}).get("name", "")
    if "minAvailable" in spec and "maxUnavailable" in spec:
        raise invalid(kind, name, ("spec", "Invalid value: minAvailable and maxUnavailable cannot be both set"))
    for field in ("minAvailable", "maxUnavailable"):
        value = spec.get(field)
        percent = isinstance(value, str) and re.fullmatch(r"\d+%", value)
        if value is not None and not percent and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise invalid(
                kind,
                name,
                (f"spec.{field}", f'Invalid value: "{value}": must be a non-negative integer or a percentage'),
            )
    return {**obj, "spec": spec, "status": obj.get("status") or {}}


def _service(kind: Kind, obj: Json) -> Json:
    name = (obj.get("metadata") or {}).get("name", "")
    digits = sum(name.encode()) % 250
    spec = {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "clusterIP": f"172.20.{digits}.{len(name) % 250 + 1}",
        "ipFamilies": ["IPv4"],
        **(obj.get("spec") or {}),
    }
    spec["ports"] = [{"protocol": "TCP", "targetPort": p.get("port"), **p} for p in spec.get("ports") or ()]
    return {**obj, "spec": spec, "status": obj.get("status") or {"loadBalancer": {}}}


def _namespace(kind: Kind, obj: Json) -> Json:
    metadata = obj["metadata"]
    labels = {"kubernetes.io/metadata.name": metadata.get("name", ""), **(metadata.get("labels") or {})}
    return {
        **obj,
        "metadata": {**metadata, "labels": labels},
        "spec": {"finalizers": ["kubernetes"], **(obj.get("spec") or {})},
        "status": {"phase": "Active"},
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
    "namespaces": _namespace,
}
