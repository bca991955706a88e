"""Pod specs, selectors and claims under other names: only the fields that decide where a pod goes and how it stops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from baton.rehearsal.names import Names

Json = dict[str, Any]
_POD = (
    "priority",
    "preemptionPolicy",
    "terminationGracePeriodSeconds",
    "restartPolicy",
    "hostNetwork",
    "overhead",
    "os",
    "activeDeadlineSeconds",
)
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_PROBE = ("initialDelaySeconds", "periodSeconds", "failureThreshold", "successThreshold", "timeoutSeconds")


def _only(old: Mapping[str, Any], *keys: str) -> Json:
    return {k: old[k] for k in keys if k in old}


class Specs:
    """Rewrites the parts of objects that hold references to others."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._templates: dict[str, str] = {}

    # --- claims

    def claim_template(self, old: str) -> str:
        return self._templates.setdefault(old, f"vol-{len(self._templates) + 1}")

    def claim(self, namespace: str | None, old: str) -> str:
        """`data-cart-0`, which a StatefulSet made from a template and a pod's name, is made from both new names."""
        names = self._names
        for template in sorted(self._templates, key=len, reverse=True):
            if old.startswith(template + "-"):
                owner, _, ordinal = old[len(template) + 1 :].rpartition("-")
                if owner and ordinal.isdigit():
                    return f"{self._templates[template]}-{names.named(namespace, owner)}-{ordinal}"
        return names.named(namespace, "claim/" + old)

    def claim_spec(self, spec: Mapping[str, Any]) -> Json:
        made = _only(spec, "accessModes", "volumeMode")
        asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
        if asked:
            made["resources"] = {"requests": {"storage": asked}}
        if spec.get("storageClassName"):
            made["storageClassName"] = self._names.named(None, str(spec["storageClassName"]))
        return made

    # --- selectors

    def selector(self, old: Mapping[str, Any]) -> Json:
        made: Json = {}
        if old.get("matchLabels"):
            made["matchLabels"] = self._names.labels(old["matchLabels"])
        if old.get("matchExpressions"):
            made["matchExpressions"] = [self._expression(e) for e in old["matchExpressions"]]
        return made

    def _expression(self, old: Mapping[str, Any]) -> Json:
        names, key = self._names, str(old.get("key", ""))
        made: Json = {"key": key if key == "metadata.name" else names.key(key), "operator": old.get("operator")}
        if old.get("values") is not None:
            made["values"] = [names.value(key, str(v)) for v in old["values"]]
        return made

    def node_terms(self, old: Mapping[str, Any]) -> Json:
        return {"nodeSelectorTerms": [self._term(t) for t in old.get("nodeSelectorTerms") or ()]}

    def _term(self, old: Mapping[str, Any]) -> Json:
        return {
            key: [self._expression(e) for e in old[key]] for key in ("matchExpressions", "matchFields") if old.get(key)
        }

    # --- pods

    def pod(self, namespace: str | None, old: Mapping[str, Any]) -> Json:
        """A pod's or a template's spec."""
        names = self._names
        made = _only(old, *_POD)
        for key in ("containers", "initContainers"):
            if old.get(key):
                made[key] = [self._container(n, c) for n, c in enumerate(old[key], 1)]
        if old.get("nodeName"):
            made["nodeName"] = names.node(str(old["nodeName"]))
        if old.get("nodeSelector"):
            made["nodeSelector"] = names.labels(old["nodeSelector"])
        if old.get("priorityClassName"):
            made["priorityClassName"] = names.named(None, str(old["priorityClassName"]))
        if old.get("tolerations"):
            made["tolerations"] = [self._toleration(t) for t in old["tolerations"]]
        if old.get("affinity"):
            made["affinity"] = self._affinity(old["affinity"])
        if old.get("topologySpreadConstraints"):
            made["topologySpreadConstraints"] = [self._spread(c) for c in old["topologySpreadConstraints"]]
        if old.get("volumes"):
            made["volumes"] = [self._volume(namespace, n, v) for n, v in enumerate(old["volumes"], 1)]
        if old.get("schedulingGates"):
            made["schedulingGates"] = [{"name": f"gate-{n}"} for n, _ in enumerate(old["schedulingGates"], 1)]
        scheduler = old.get("schedulerName", "default-scheduler")
        if scheduler != "default-scheduler":
            made["schedulerName"] = names._new("scheduler", str(scheduler), "scheduler-{:d}")
        return made

    def _container(self, number: int, old: Mapping[str, Any]) -> Json:
        """EKS add-ons' containers keep their names, by which an update finds them."""
        names, image = self._names, str(old.get("image", ""))
        kept = names.container_image(image) == image
        made: Json = {"name": old.get("name") if kept else f"c-{number}", "image": names.container_image(image)}
        resources = old.get("resources") or {}
        if resources:
            made["resources"] = {
                part: {names.key(k): v for k, v in resources[part].items()}
                for part in ("requests", "limits")
                if resources.get(part)
            }
        if old.get("ports"):
            made["ports"] = [_only(p, "containerPort", "hostPort", "protocol") for p in old["ports"]]
        for probe in ("readinessProbe", "startupProbe"):
            if old.get(probe):
                made[probe] = _only(old[probe], *_PROBE)
        sleep = (((old.get("lifecycle") or {}).get("preStop") or {}).get("sleep") or {}).get("seconds")
        if sleep:
            made["lifecycle"] = {"preStop": {"sleep": {"seconds": sleep}}}
        return {**made, **_only(old, "restartPolicy")}

    def _toleration(self, old: Mapping[str, Any]) -> Json:
        made = _only(old, "operator", "effect", "tolerationSeconds")
        key = str(old.get("key") or "")
        if key:
            made["key"] = self._names.key(key)
        if old.get("value"):
            made["value"] = self._names.value(key, str(old["value"]))
        return made

    def _spread(self, old: Mapping[str, Any]) -> Json:
        made = _only(old, "maxSkew", "whenUnsatisfiable", "minDomains", "nodeAffinityPolicy", "nodeTaintsPolicy")
        made["topologyKey"] = self._names.key(str(old.get("topologyKey", "")))
        if old.get("labelSelector") is not None:
            made["labelSelector"] = self.selector(old["labelSelector"])
        if old.get("matchLabelKeys"):
            made["matchLabelKeys"] = [self._names.key(k) for k in old["matchLabelKeys"]]
        return made

    def _affinity(self, old: Mapping[str, Any]) -> Json:
        required, preferred = _REQUIRED, _PREFERRED
        made: Json = {}
        node = old.get("nodeAffinity") or {}
        if node:
            made["nodeAffinity"] = {}
            if node.get(required):
                made["nodeAffinity"][required] = self.node_terms(node[required])
            if node.get(preferred):
                made["nodeAffinity"][preferred] = [
                    {"weight": p.get("weight"), "preference": self._term(p.get("preference") or {})}
                    for p in node[preferred]
                ]
        for kind in ("podAffinity", "podAntiAffinity"):
            part = old.get(kind) or {}
            if not part:
                continue
            made[kind] = {}
            if part.get(required):
                made[kind][required] = [self._pod_term(t) for t in part[required]]
            if part.get(preferred):
                made[kind][preferred] = [
                    {"weight": p.get("weight"), "podAffinityTerm": self._pod_term(p.get("podAffinityTerm") or {})}
                    for p in part[preferred]
                ]
        return made

    def _pod_term(self, old: Mapping[str, Any]) -> Json:
        names = self._names
        made: Json = {"topologyKey": names.key(str(old.get("topologyKey", "")))}
        for key in ("labelSelector", "namespaceSelector"):
            if old.get(key) is not None:
                made[key] = self.selector(old[key])
        if old.get("namespaces"):
            made["namespaces"] = [names.namespace(n) for n in old["namespaces"]]
        for key in ("matchLabelKeys", "mismatchLabelKeys"):
            if old.get(key):
                made[key] = [names.key(k) for k in old[key]]
        return made

    def _volume(self, namespace: str | None, number: int, old: Mapping[str, Any]) -> Json:
        made: Json = {"name": f"v-{number}"}
        claim = (old.get("persistentVolumeClaim") or {}).get("claimName")
        if claim:
            made["name"] = next((new for name, new in self._templates.items() if name == old.get("name")), made["name"])
            made["persistentVolumeClaim"] = {"claimName": self.claim(namespace, str(claim))}
        elif isinstance(old.get("ephemeral"), Mapping):
            template = (old["ephemeral"] or {}).get("volumeClaimTemplate") or {}
            made["ephemeral"] = {"volumeClaimTemplate": {"spec": self.claim_spec(template.get("spec") or {})}}
        elif isinstance(old.get("awsElasticBlockStore"), Mapping):
            made["awsElasticBlockStore"] = {
                "volumeID": self._names.ids(str(old["awsElasticBlockStore"].get("volumeID")))
            }
        elif "emptyDir" in old:
            made["emptyDir"] = {}
        elif isinstance(old.get("csi"), Mapping):
            made["csi"] = {"driver": old["csi"].get("driver", "")}
        return made
