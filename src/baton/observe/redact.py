"""What of a Kubernetes object is kept: everything that decides where pods can run, nothing that may hold a secret.

Environment values, commands and their arguments, annotations, the bodies of ConfigMaps and Secrets and what containers
said when they ended never reach a snapshot. Names, labels, selectors, requests, volumes' references and conditions do;
of managed fields who wrote with which API version, of user data how it starts the kubelet.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from baton.model.cluster import KubeObject

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# Annotations that decide something; their values are written by controllers, not by people.
KEPT_ANNOTATIONS = frozenset(
    {
        "kubernetes.io/config.mirror",
        "deployment.kubernetes.io/revision",
        "deployment.kubernetes.io/desired-replicas",
        "controller.kubernetes.io/pod-deletion-cost",
        "cluster-autoscaler.kubernetes.io/safe-to-evict",
        "karpenter.sh/do-not-disrupt",
        "storageclass.kubernetes.io/is-default-class",
        "volume.kubernetes.io/selected-node",
        "volume.kubernetes.io/storage-provisioner",
        "pv.kubernetes.io/provisioned-by",
        "pv.kubernetes.io/bind-completed",
        "cluster-autoscaler.kubernetes.io/scale-down-disabled",
        "eks.amazonaws.com/role-arn",
    }
)
APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
# Whose arguments decide something for an upgrade (kube-proxy's mode) and hold nothing of the user's.
KEPT_ARGUMENTS = frozenset({("kube-system", "kube-proxy")})
_CONTAINER_DROPS = frozenset(
    {"env", "envFrom", "args", "command", "terminationMessagePath", "terminationMessagePolicy"}
)
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_ACTIONS = ("exec", "httpGet", "tcpSocket", "grpc")


def redact(obj: KubeObject) -> dict[str, Any]:
    """A copy without what may be secret. The input is not changed."""
    kept = {k: v for k, v in obj.items() if k not in ("data", "stringData", "binaryData")}
    kept["metadata"] = _metadata(obj.get("metadata") or {})
    spec = obj.get("spec")
    if isinstance(spec, Mapping):
        meta = obj.get("metadata") or {}
        arguments = (meta.get("namespace"), meta.get("name")) in KEPT_ARGUMENTS
        kept["spec"] = _spec(spec, arguments=arguments)
    status = obj.get("status")
    if isinstance(status, Mapping):
        kept["status"] = _status(status)
    return kept


def _metadata(meta: Mapping[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in meta.items() if k not in ("managedFields", "annotations", "selfLink")}
    given = meta.get("annotations") or {}
    annotations = {k: v for k, v in given.items() if k in KEPT_ANNOTATIONS or k.startswith(APPARMOR)}
    versions = applied_version(meta)
    if versions:
        annotations[LAST_APPLIED] = versions
    if annotations:
        kept["annotations"] = annotations
    if meta.get("managedFields"):
        kept["managedFields"] = [_manager(entry) for entry in meta["managedFields"]]
    return kept


def _manager(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Who wrote with which API version, and whether it was the spec; not which fields."""
    kept = {k: entry[k] for k in ("manager", "operation", "apiVersion", "subresource") if k in entry}
    if "f:spec" in (entry.get("fieldsV1") or {}):
        kept["fieldsV1"] = {"f:spec": {}}
    return kept


def applied_version(meta: Mapping[str, Any]) -> str:
    """Of the last applied configuration only apiVersion and kind, as JSON: enough to find removed APIs."""
    text = (meta.get("annotations") or {}).get(LAST_APPLIED)
    if not text:
        return ""
    try:
        body = json.loads(text)
        return json.dumps({"apiVersion": str(body["apiVersion"]), "kind": str(body["kind"])}, sort_keys=True)
    except (ValueError, KeyError, TypeError):
        return ""


def _spec(spec: Mapping[str, Any], *, arguments: bool = False) -> dict[str, Any]:
    kept = dict(spec)
    for key in ("containers", "initContainers", "ephemeralContainers"):
        if isinstance(kept.get(key), list):
            kept[key] = [_container(c, arguments) for c in kept[key]]
    if isinstance(kept.get("volumes"), list):
        kept["volumes"] = [_volume(v) for v in kept["volumes"]]
    for key in ("template", "jobTemplate"):
        inner = kept.get(key)
        if isinstance(inner, Mapping):
            kept[key] = _template(inner, arguments)
    return kept


def _template(template: Mapping[str, Any], arguments: bool) -> dict[str, Any]:
    kept = dict(template)
    if isinstance(kept.get("metadata"), Mapping):
        kept["metadata"] = _metadata(kept["metadata"])
    if isinstance(kept.get("spec"), Mapping):
        kept["spec"] = _spec(kept["spec"], arguments=arguments)
    return kept


def _container(container: Mapping[str, Any], arguments: bool) -> dict[str, Any]:
    kept = {k: v for k, v in container.items() if k not in _CONTAINER_DROPS}
    if arguments:
        kept |= {k: container[k] for k in ("command", "args") if k in container}
    for probe in _PROBES:
        if isinstance(kept.get(probe), Mapping):
            kept[probe] = {k: v for k, v in kept[probe].items() if k not in _ACTIONS}
    lifecycle = kept.pop("lifecycle", None)
    if isinstance(lifecycle, Mapping) and isinstance(lifecycle.get("preStop"), Mapping):
        seconds = _sleeps(lifecycle["preStop"])
        kept["lifecycle"] = {"preStop": {"sleep": {"seconds": seconds}} if seconds else {}}
    return kept


def _sleeps(hook: Mapping[str, Any]) -> float:
    """Seconds that a preStop hook sleeps; the rest of its command is not kept."""
    if isinstance(hook.get("sleep"), Mapping):
        return float(hook["sleep"].get("seconds") or 0)
    words = " ".join(str(w) for w in (hook.get("exec") or {}).get("command") or ()).split()
    for word, following in pairwise(words):
        if word == "sleep" and following.rstrip("s").replace(".", "", 1).isdigit():
            return float(following.rstrip("s"))
    return 0.0


def _volume(volume: Mapping[str, Any]) -> dict[str, Any]:
    """References stay (they bind a pod to a zone); whatever else a volume source says goes."""
    kept: dict[str, Any] = {"name": volume.get("name", "")}
    for key, value in volume.items():
        if key in ("persistentVolumeClaim", "emptyDir", "hostPath", "awsElasticBlockStore", "ephemeral"):
            kept[key] = value
        elif key == "csi":
            kept[key] = {"driver": (value or {}).get("driver", "")}
        elif key != "name":
            kept[key] = {}
    return kept


def _status(status: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(status)
    for key in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        if isinstance(kept.get(key), list):
            kept[key] = [_container_status(s) for s in kept[key]]
    return kept


def _container_status(status: Mapping[str, Any]) -> dict[str, Any]:
    """Without the last words of containers, which are often a piece of log."""
    kept = dict(status)
    for key in ("state", "lastState"):
        state: Mapping[str, Any] = kept.get(key) or {}
        ended = state.get("terminated")
        if isinstance(ended, Mapping):
            kept[key] = {**state, "terminated": {k: v for k, v in ended.items() if k != "message"}}
    return kept


_STARTS = (r"node\.eks\.aws/", r"/etc/eks/bootstrap\.sh", r"\[settings[.\]]", r"Start-EKSBootstrap")
_NODEADM_KEYS = ("name", "apiServerEndpoint", "certificateAuthority", "cidr")


def redact_user_data(text: str | None) -> str | None:
    """How a node's user data starts the kubelet: its format's marks, flags and label keys, one a line, no values."""
    if text is None:
        return None
    lines = [match.group(0) for pattern in _STARTS if (match := re.search(pattern, text))]
    lines += [f"{key}:" for key in _NODEADM_KEYS if re.search(rf"\b{key}\s*:", text)]
    lines += sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)))
    for given in re.findall(r"--node-labels[= ]([^\s\"'\]]+)", text):
        keys = [pair.partition("=")[0] for pair in given.split(",")]
        lines.append("--node-labels=" + ",".join(f"{key}=" for key in keys))
    return "\n".join(lines)


def redact_configuration(text: str) -> str:
    """An add-on's configuration values without anything below `env`; "" when they are no JSON object."""
    try:
        values = json.loads(text) if text else {}
    except ValueError:
        return ""
    return json.dumps(_without_env(values), sort_keys=True) if isinstance(values, dict) and values else ""


def _without_env(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_env(v) for k, v in value.items() if "env" not in k.lower() and "secret" not in k.lower()}
    return [_without_env(v) for v in value] if isinstance(value, list) else value
