"""Whether an object of a dump has the shape that an API server would have insisted on: `flaw(resource, obj)`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from baton.errors import BatonError
from baton.logic.quantity import parse_nanos
from baton.model.cluster import KubeObject

_LISTS = ("initContainers", "tolerations", "topologySpreadConstraints", "volumes", "imagePullSecrets")
_MAPS = ("affinity", "nodeSelector", "securityContext", "overhead")
_TEMPLATED = frozenset({"deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps", "jobs.batch"})
_PERCENT = re.compile(r"^\d+%$")


def flaw(resource: str, obj: KubeObject) -> str:
    """What is wrong with it, as `spec.containers is no list of objects`; "" when nothing is."""
    found = _meta(obj["metadata"])
    spec, status = obj.get("spec"), obj.get("status")
    if found:
        return found
    if spec is not None and not isinstance(spec, Mapping):
        return "spec is no object"
    if status is not None and not isinstance(status, Mapping):
        return "status is no object"
    if status and not _objects(status.get("conditions")):
        return "status.conditions is no list of objects"
    if resource == "pods":
        return _pod(spec or {}, "spec")
    if resource == "nodes":
        return _node(spec or {}, status or {})
    if resource == "poddisruptionbudgets.policy":
        return _budget(spec or {})
    return _workload(spec or {}, resource in _TEMPLATED)


def _objects(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(v, Mapping) for v in value))


def _strings(value: Any) -> bool:
    return value is None or (
        isinstance(value, Mapping) and all(isinstance(k, str) and isinstance(v, str | None) for k, v in value.items())
    )


def _meta(meta: Mapping[str, Any]) -> str:
    for key in ("labels", "annotations"):
        if not _strings(meta.get(key)):
            return f"metadata.{key} is no map of strings"
    if not isinstance(meta.get("namespace", ""), str | None):
        return "metadata.namespace is no name"
    owners = meta.get("ownerReferences")
    if not _objects(owners) or any(
        not isinstance(o.get(k), str) for o in owners or () for k in ("kind", "name", "uid")
    ):
        return "metadata.ownerReferences has one without kind, name and uid"
    return ""


def _pod(spec: Mapping[str, Any], where: str) -> str:
    containers = spec.get("containers")
    if not containers or not _objects(containers):
        return f"{where}.containers is no list of objects"
    for key in _LISTS:
        if not _objects(spec.get(key)):
            return f"{where}.{key} is no list of objects"
    for key in _MAPS:
        if not isinstance(spec.get(key), Mapping | None):
            return f"{where}.{key} is no object"
    for kind in ("nodeAffinity", "podAffinity", "podAntiAffinity"):
        if not isinstance((spec.get("affinity") or {}).get(kind), Mapping | None):
            return f"{where}.affinity.{kind} is no object"
    if not isinstance(spec.get("nodeName"), str | None):
        return f"{where}.nodeName is no name"
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is not None and (not isinstance(grace, int) or grace < 0):
        return f"{where}.terminationGracePeriodSeconds is no number of seconds"
    for container in (*containers, *(spec.get("initContainers") or ())):
        found = _quantities(container.get("resources"), f"{where}.containers.resources")
        if found:
            return found
    return ""


def _quantities(resources: Any, where: str) -> str:
    if resources is None:
        return ""
    if not isinstance(resources, Mapping):
        return f"{where} is no object"
    for part in ("requests", "limits"):
        given = resources.get(part)
        if not isinstance(given, Mapping | None):
            return f"{where}.{part} is no object"
        for key, value in (given or {}).items():
            if not _quantity(value):
                return f"{where}.{part}.{key} is {value!r}, no quantity"
    return ""


def _quantity(value: Any) -> bool:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return False
    try:
        parse_nanos(value)
    except (BatonError, ValueError):
        return False
    return True


def _node(spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    if not _objects(spec.get("taints")):
        return "spec.taints is no list of objects"
    for key in ("allocatable", "capacity"):
        given = status.get(key)
        if not isinstance(given, Mapping | None) or not all(map(_quantity, (given or {}).values())):
            return f"status.{key} is no map of quantities"
    if not isinstance(status.get("nodeInfo"), Mapping | None) or not _objects(status.get("addresses")):
        return "status is malformed"
    return ""


def _budget(spec: Mapping[str, Any]) -> str:
    if not isinstance(spec.get("selector"), Mapping | None):
        return "spec.selector is no object"
    for key in ("minAvailable", "maxUnavailable"):
        given = spec.get(key)
        number = isinstance(given, int) and not isinstance(given, bool) and given >= 0
        if given is not None and not number and not (isinstance(given, str) and _PERCENT.match(given)):
            return f"spec.{key} is {given!r}, neither a number nor a percentage"
    return ""


def _workload(spec: Mapping[str, Any], needs_template: bool) -> str:
    replicas = spec.get("replicas")
    if replicas is not None and (not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0):
        return f"spec.replicas is {replicas!r}, no number"
    template = spec.get("template")
    if template is None:
        return "spec.template is missing" if needs_template else ""
    if not isinstance(template, Mapping) or not isinstance(template.get("spec"), Mapping):
        return "spec.template has no spec"
    if not isinstance(template.get("metadata"), Mapping | None):
        return "spec.template.metadata is no object"
    return _pod(template["spec"], "spec.template.spec")
