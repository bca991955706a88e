"""Pods made from templates: the defaults an API server and its admission plugins would have filled in, and hashes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from baton.twin.controllers.base import Obj

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # k8s.io/apimachinery/pkg/util/rand: no vowels, no look-alikes
HASH_LABEL = "pod-template-hash"
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"


def template_hash(template: Obj) -> str:
    """A short, stable name for a pod template (not upstream's own hash, which depends on Go's printing)."""
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    letters = []
    for _ in range(10):
        number, index = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return "".join(letters)


def without_hash(template: Obj) -> Obj:
    """The template with its pod-template-hash label taken out, for comparing a ReplicaSet's with its Deployment's."""
    meta = template.get("metadata") or {}
    labels = meta.get("labels") or {}
    if HASH_LABEL not in labels:
        return template
    return {**template, "metadata": {**meta, "labels": {k: v for k, v in labels.items() if k != HASH_LABEL}}}


def same_template(a: Obj, b: Obj) -> bool:
    """Equal but for the hash label and empty metadata fields."""
    a, b = without_hash(a), without_hash(b)
    return a is b or (a.get("spec") == b.get("spec") and _meta(a) == _meta(b))


def _meta(template: Obj) -> Obj:
    return {k: v for k, v in (template.get("metadata") or {}).items() if v}


def pod_spec(spec: Obj, priority_classes: dict[str, Obj], tolerate_seconds: int = 300) -> Obj:
    """A pod's spec from a template's: API defaults, the Priority and the DefaultTolerationSeconds admission plugins.

    `priority_classes` are the PriorityClass objects by name. Fields that are set stay as they are.
    """
    full: Obj = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "serviceAccountName": "default",
        "enableServiceLinks": True,
        **spec,
    }
    _set_priority(full, priority_classes)
    tolerations = list(full.get("tolerations") or ())
    for taint in (NOT_READY, UNREACHABLE):
        if not any(_tolerates_execute(t, taint) for t in tolerations):
            tolerations.append(
                {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": tolerate_seconds}
            )
    full["tolerations"] = tolerations
    return full


_TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


def with_token(spec: Obj, suffix: str) -> Obj:
    """The spec with the projected token volume that the ServiceAccount admission plugin mounts in every container."""
    if spec.get("automountServiceAccountToken") is False:
        return spec
    name = f"kube-api-access-{suffix}"
    mount = {"name": name, "readOnly": True, "mountPath": _TOKEN_PATH}
    field = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [field]}},
    ]
    mounted = {
        group: [
            c
            if any(m.get("mountPath") == _TOKEN_PATH for m in c.get("volumeMounts") or ())
            else {**c, "volumeMounts": [*(c.get("volumeMounts") or ()), mount]}
            for c in spec[group]
        ]
        for group in ("initContainers", "containers")
        if spec.get(group)
    }
    volume = {"name": name, "projected": {"sources": sources, "defaultMode": 420}}
    return {**spec, **mounted, "volumes": [*(spec.get("volumes") or ()), volume]}


def _tolerates_execute(toleration: Obj, taint: str) -> bool:
    return toleration.get("key") in (taint, None, "") and toleration.get("effect") in ("NoExecute", None, "")


def _set_priority(spec: Obj, classes: dict[str, Obj]) -> None:
    name = spec.get("priorityClassName")
    chosen = classes.get(name) if name else None
    if chosen is None and not name:
        chosen = next((c for c in classes.values() if c.get("globalDefault")), None)
        if chosen is not None:
            spec["priorityClassName"] = chosen["metadata"]["name"]
    if "priority" not in spec or chosen is not None:
        spec["priority"] = int(chosen["value"]) if chosen is not None else 0
    spec["preemptionPolicy"] = (chosen or {}).get("preemptionPolicy") or spec.get(
        "preemptionPolicy", "PreemptLowerPriority"
    )


def qos_class(spec: Obj) -> str:
    """Guaranteed, Burstable or BestEffort."""
    requests: dict[str, Any] = {}
    guaranteed = True
    limited = False
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        resources = container.get("resources") or {}
        asked, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for kind in ("cpu", "memory"):
            if kind in asked or kind in limits:
                requests[kind] = True
            if kind in limits:
                limited = True
            if kind not in limits or (kind in asked and asked[kind] != limits[kind]):
                guaranteed = False
    if not requests:
        return "BestEffort"
    return "Guaranteed" if guaranteed and limited else "Burstable"


def owner_reference(obj: Obj, api_version: str, kind: str) -> Obj:
    meta = obj["metadata"]
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def new_pod(
    name: str, namespace: str, template: Obj, spec: Obj, reference: Obj, labels: Obj | None = None, generate: str = ""
) -> Obj:
    """A Pending pod; `spec` (shared with its siblings) comes from `pod_spec`."""
    meta = template.get("metadata") or {}
    metadata: Obj = {
        "name": name,
        "namespace": namespace,
        "labels": labels if labels is not None else meta.get("labels") or {},
        "ownerReferences": [reference],
    }
    if generate:
        metadata["generateName"] = generate
    if meta.get("annotations"):
        metadata["annotations"] = meta["annotations"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": spec,
        "status": {"phase": "Pending", "qosClass": "Burstable"},
    }


def conditions_with(existing: list[Obj] | None, new: Obj, now: str) -> list[Obj]:
    """Conditions with `new` put in by type; its lastTransitionTime is kept while the status stays the same.

    Returns the list given when nothing changes.
    """
    out: list[Obj] = []
    found = False
    for old in existing or ():
        if old.get("type") != new["type"]:
            out.append(old)
            continue
        found = True
        kept = old.get("status") == new["status"]
        merged = {**old, **new, "lastTransitionTime": old.get("lastTransitionTime", now) if kept else now}
        if merged == old:
            return existing or []
        out.append(merged)
    if not found:
        out.append({**new, "lastTransitionTime": now})
    return out
