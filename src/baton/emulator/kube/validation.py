"""What the API server refuses although the types are right: 422 in upstream's words. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from baton.emulator.kube.registry import Kind
from baton.emulator.kube.rules import (
    LABEL,
    NOT_NEGATIVE,
    PERCENT,
    RFC1123_LABEL,
    RFC1123_SUBDOMAIN,
    SUBDOMAIN,
    Cause,
    at_least_zero,
    bad,
    effect,
    int_or_percent,
    key,
    labels,
    one_of,
    pod_spec,
    selector,
)
from baton.twin.world import ApiError

Json = dict[str, Any]
_LABEL_NAMED = frozenset(("namespaces", "services"))  # names that become DNS labels
_FREE_NAMED = frozenset(("roles", "rolebindings", "clusterroles", "clusterrolebindings"))


def invalid(kind: Kind, name: str, *causes: Cause) -> ApiError:
    """422 with every cause."""
    texts = [f"{field}: {message}" for field, message in causes]
    listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    label = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    details = {
        "name": name,
        **({"group": kind.group} if kind.group else {}),
        "kind": kind.kind,
        "causes": [{"reason": _reason(m), "message": m, "field": f} for f, m in causes],
    }
    return ApiError(422, "Invalid", f'{label} "{name}" is invalid: {listed}', details=details)


def _reason(message: str) -> str:
    for start, reason in (
        ("Required", "FieldValueRequired"),
        ("Unsupported", "FieldValueNotSupported"),
        ("Duplicate", "FieldValueDuplicate"),
        ("Forbidden", "FieldValueForbidden"),
        ("Too long", "FieldValueTooLong"),
    ):
        if message.startswith(start):
            return reason
    return "FieldValueInvalid"


def check(kind: Kind, obj: Json, old: Mapping[str, Any] | None = None) -> None:
    """Raise ApiError 422 with everything that is wrong with an object whose defaults are filled in, and with its
    difference to `old`."""
    causes = [*_metadata(kind, obj["metadata"]), *_VALIDATORS.get(kind.resource, _nothing)(obj)]
    if old is not None:
        causes += _changes(kind.resource, old.get("spec") or {}, obj.get("spec") or {})
    if causes:
        raise invalid(kind, obj["metadata"].get("name") or "", *causes)


def check_pod_update(kind: Kind, old: Mapping[str, Any], new: Json) -> None:
    """The same for a pod, which is written as its controller made it."""
    causes = [*_metadata(kind, new["metadata"]), *_changes("pods", old.get("spec") or {}, new.get("spec") or {})]
    if causes:
        raise invalid(kind, new["metadata"]["name"], *causes)


def _nothing(obj: Json) -> Iterator[Cause]:
    return iter(())


# --- metadata


def _metadata(kind: Kind, metadata: Json) -> Iterator[Cause]:
    name = metadata.get("name") or ""
    if not name and not metadata.get("generateName"):
        yield "metadata.name", "Required value: name or generateName is required"
    elif name:
        yield from _name(kind, name)
    yield from labels(metadata.get("labels") or {}, "metadata.labels")
    annotations = metadata.get("annotations") or {}
    for name in annotations:
        yield from key(name.lower(), "metadata.annotations")
    if sum(len(k) + len(v) for k, v in annotations.items()) > 256 * 1024:
        yield "metadata.annotations", "Too long: may not be more than 262144 bytes"
    for i, reference in enumerate(metadata.get("ownerReferences") or ()):
        for part in ("apiVersion", "kind", "name", "uid"):
            if not reference.get(part):
                yield f"metadata.ownerReferences[{i}].{part}", 'Invalid value: "": must not be empty'
    for finalizer in metadata.get("finalizers") or ():
        yield from key(finalizer, "metadata.finalizers")


def _name(kind: Kind, name: str) -> Iterator[Cause]:
    if kind.plural in _FREE_NAMED:
        if "/" in name or "%" in name or name in (".", ".."):
            yield "metadata.name", bad(name, "may not contain '/'")
    elif kind.resource in _LABEL_NAMED:
        if len(name) > 63:
            yield "metadata.name", bad(name, "must be no more than 63 characters")
        if not LABEL.fullmatch(name):
            yield "metadata.name", bad(name, RFC1123_LABEL)
    else:
        if len(name) > 253:
            yield "metadata.name", bad(name, "must be no more than 253 characters")
        if not SUBDOMAIN.fullmatch(name):
            yield "metadata.name", bad(name, RFC1123_SUBDOMAIN)


def _zero(value: Any) -> bool:
    return value in (0, "0%")


# --- kinds


def _pod(obj: Json) -> Iterator[Cause]:
    yield from pod_spec(obj["spec"], "spec")


def _workload(obj: Json) -> Iterator[Cause]:
    """What Deployments, ReplicaSets, StatefulSets and DaemonSets have in common."""
    spec = obj["spec"]
    yield from at_least_zero(spec, ("replicas", "minReadySeconds", "revisionHistoryLimit"), "spec")
    chosen = spec.get("selector")
    template = spec["template"]
    if chosen is None:
        yield "spec.selector", "Required value"
    elif not (chosen.get("matchLabels") or chosen.get("matchExpressions")):
        yield "spec.selector", bad(chosen, "empty selector is invalid for deployment")
    else:
        yield from selector(chosen, "spec.selector")
        given = (template.get("metadata") or {}).get("labels") or {}
        if not _selects(chosen, given):
            yield "spec.template.metadata.labels", bad(given, "`selector` does not match template `labels`")
    yield from labels((template.get("metadata") or {}).get("labels") or {}, "spec.template.labels")
    yield from pod_spec(template["spec"], "spec.template.spec")
    if template["spec"].get("restartPolicy") in ("Never", "OnFailure"):
        policy = template["spec"]["restartPolicy"]
        yield "spec.template.spec.restartPolicy", one_of(policy, ("Always",))


def _selects(chosen: Mapping[str, Any], given: Mapping[str, str]) -> bool:
    if any(given.get(k) != v for k, v in (chosen.get("matchLabels") or {}).items()):
        return False
    for term in chosen.get("matchExpressions") or ():
        there, values = given.get(term.get("key") or ""), term.get("values") or ()
        operator = term.get("operator")
        ok = {
            "In": there is not None and there in values,
            "NotIn": there is None or there not in values,
            "Exists": there is not None,
            "DoesNotExist": there is None,
        }
        if not ok.get(operator, True):
            return False
    return True


def _deployment(obj: Json) -> Iterator[Cause]:
    yield from _workload(obj)
    spec = obj["spec"]
    strategy = spec["strategy"]
    if strategy["type"] not in ("RollingUpdate", "Recreate"):
        yield "spec.strategy.type", one_of(strategy["type"], ("Recreate", "RollingUpdate"))
    rolling = strategy.get("rollingUpdate")
    if rolling and strategy["type"] == "Recreate":
        yield (
            "spec.strategy.rollingUpdate",
            "Forbidden: may not be specified when strategy `type` is 'Recreate'",
        )
    elif rolling:
        yield from _rolling(rolling, "spec.strategy.rollingUpdate")
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds") or 0
    if deadline is not None and deadline < 0:
        yield "spec.progressDeadlineSeconds", bad(deadline, NOT_NEGATIVE)
    elif deadline is not None and deadline <= ready:
        yield "spec.progressDeadlineSeconds", bad(deadline, "must be greater than minReadySeconds")


def _rolling(rolling: Json, path: str) -> Iterator[Cause]:
    for field in ("maxUnavailable", "maxSurge"):
        if field in rolling:
            yield from int_or_percent(rolling[field], f"{path}.{field}")
    unavailable = rolling.get("maxUnavailable")
    if isinstance(unavailable, str) and PERCENT.fullmatch(unavailable) and int(unavailable[:-1]) > 100:
        yield f"{path}.maxUnavailable", bad(unavailable, "must not be greater than 100%")
    if _zero(unavailable) and _zero(rolling.get("maxSurge", 0)):
        yield f"{path}.maxUnavailable", bad(unavailable, "may not be 0 when `maxSurge` is 0")


def _statefulset(obj: Json) -> Iterator[Cause]:
    yield from _workload(obj)
    spec = obj["spec"]
    if spec["podManagementPolicy"] not in ("OrderedReady", "Parallel"):
        yield "spec.podManagementPolicy", one_of(spec["podManagementPolicy"], ("OrderedReady", "Parallel"))
    strategy = spec["updateStrategy"]
    if strategy.get("type") not in ("RollingUpdate", "OnDelete"):
        yield "spec.updateStrategy", bad(strategy, "must be 'RollingUpdate' or 'OnDelete'")
    rolling = strategy.get("rollingUpdate") or {}
    yield from at_least_zero(rolling, ("partition",), "spec.updateStrategy.rollingUpdate")
    if "maxUnavailable" in rolling:
        yield from int_or_percent(rolling["maxUnavailable"], "spec.updateStrategy.rollingUpdate.maxUnavailable")
    yield from at_least_zero(spec.get("ordinals") or {}, ("start",), "spec.ordinals")
    for i, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
        if not (claim.get("metadata") or {}).get("name"):
            yield f"spec.volumeClaimTemplates[{i}].metadata.name", "Required value"


def _daemonset(obj: Json) -> Iterator[Cause]:
    yield from _workload(obj)
    strategy = obj["spec"]["updateStrategy"]
    if strategy["type"] not in ("RollingUpdate", "OnDelete"):
        yield "spec.updateStrategy.type", one_of(strategy["type"], ("OnDelete", "RollingUpdate"))
    rolling = strategy.get("rollingUpdate")
    if rolling and strategy["type"] == "RollingUpdate":
        yield from _rolling(rolling, "spec.updateStrategy.rollingUpdate")


def _job(obj: Json) -> Iterator[Cause]:
    spec = obj["spec"]
    fields = ("parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")
    yield from at_least_zero(spec, fields, "spec")
    yield from pod_spec(spec["template"]["spec"], "spec.template.spec")
    policy = spec["template"]["spec"].get("restartPolicy")
    if policy == "Always":
        why = 'Required value: valid values: "OnFailure", "Never"'
        yield "spec.template.spec.restartPolicy", why


def _pdb(obj: Json) -> Iterator[Cause]:
    spec = obj["spec"]
    if "minAvailable" in spec and "maxUnavailable" in spec:
        yield "spec", bad(spec, "minAvailable and maxUnavailable cannot be both set")
    for field in ("minAvailable", "maxUnavailable"):
        if field in spec:
            yield from int_or_percent(spec[field], f"spec.{field}")
            value = spec[field]
            if isinstance(value, str) and PERCENT.fullmatch(value) and int(value[:-1]) > 100:
                yield f"spec.{field}", bad(value, "must not be greater than 100%")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in ("AlwaysAllow", "IfHealthyBudget"):
        yield "spec.unhealthyPodEvictionPolicy", one_of(policy, ("AlwaysAllow", "IfHealthyBudget"))
    yield from selector(spec.get("selector") or {}, "spec.selector")


def _service(obj: Json) -> Iterator[Cause]:
    spec = obj["spec"]
    kinds = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
    if spec["type"] not in kinds:
        yield "spec.type", one_of(spec["type"], kinds)
    if not spec.get("ports") and spec["type"] != "ExternalName" and spec.get("clusterIP") != "None":
        yield "spec.ports", "Required value"
    for i, port in enumerate(spec.get("ports") or ()):
        number = port.get("port") or 0
        if not 0 < number < 65536:
            yield f"spec.ports[{i}].port", bad(number, "must be between 1 and 65535, inclusive")
    yield from labels(spec.get("selector") or {}, "spec.selector")


def _node(obj: Json) -> Iterator[Cause]:
    for i, taint in enumerate((obj.get("spec") or {}).get("taints") or ()):
        path = f"metadata.taints[{i}]"
        yield from key(taint.get("key") or "", f"{path}.key")
        yield from effect(taint.get("effect") or "", f"{path}.effect")


_VALIDATORS: dict[str, Callable[[Json], Iterator[Cause]]] = {
    "pods": _pod,
    "deployments.apps": _deployment,
    "replicasets.apps": _workload,
    "statefulsets.apps": _statefulset,
    "daemonsets.apps": _daemonset,
    "jobs.batch": _job,
    "poddisruptionbudgets.policy": _pdb,
    "services": _service,
    "nodes": _node,
}


# --- changes

_POD_FIELDS = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
    "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_SET_FIELDS = (
    "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
    "forbidden"
)
_SET_MAY = frozenset(
    (
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    )
)


def _changes(resource: str, old: Mapping[str, Any], new: Json) -> Iterator[Cause]:
    if resource in ("deployments.apps", "replicasets.apps", "daemonsets.apps"):
        if old.get("selector") != new.get("selector"):
            yield "spec.selector", bad(new.get("selector"), "field is immutable")
    elif resource == "statefulsets.apps":
        if any(old.get(k) != new.get(k) for k in {*old, *new} - _SET_MAY):
            yield "spec", _SET_FIELDS
    elif resource == "jobs.batch":
        for field in ("selector", "template", "completions"):
            if old.get(field) != new.get(field):
                yield f"spec.{field}", bad(new.get(field), "field is immutable")
    elif resource == "pods" and _pod_core(old) != _pod_core(new):
        yield "spec", _POD_FIELDS
    elif resource == "nodes" and old.get("providerID") and old["providerID"] != new.get("providerID"):
        yield "spec.providerID", f'Forbidden: node updates may not change providerID except from "" to valid: {new}'


def _pod_core(spec: Mapping[str, Any]) -> Json:
    """What of a pod's spec never changes."""
    free = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "containers", "initContainers")
    kept = {k: v for k, v in spec.items() if k not in free}
    for group in ("containers", "initContainers"):
        kept[group] = [{k: v for k, v in c.items() if k != "image"} for c in spec.get(group) or ()]
    return kept
