"""Tables of the kinds that an upgrade touches less."""

from __future__ import annotations

from typing import Any

from baton.emulator.kube.cells import Cells, Column, Json, columns, created, name_of, selector_text

_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def _storage_class(obj: Json, now: float) -> list[Any]:
    default = (obj["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
    return [
        name_of(obj) + (" (default)" if default else ""),
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy", "Delete"),
        obj.get("volumeBindingMode", "Immediate"),
        bool(obj.get("allowVolumeExpansion")),
        created(obj, now),
    ]


def _priority_class(obj: Json, now: float) -> list[Any]:
    policy = obj.get("preemptionPolicy", "PreemptLowerPriority")
    return [name_of(obj), obj.get("value", 0), bool(obj.get("globalDefault")), created(obj, now), policy]


def _lease(obj: Json, now: float) -> list[Any]:
    return [name_of(obj), (obj.get("spec") or {}).get("holderIdentity", ""), created(obj, now)]


def _service_account(obj: Json, now: float) -> list[Any]:
    return [name_of(obj), len(obj.get("secrets") or ()), created(obj, now)]


def _config_map(obj: Json, now: float) -> list[Any]:
    return [name_of(obj), len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), created(obj, now)]


def _secret(obj: Json, now: float) -> list[Any]:
    return [name_of(obj), obj.get("type", "Opaque"), len(obj.get("data") or ()), created(obj, now)]


def _some(values: list[str], most: int = 3) -> str:
    more = f" + {len(values) - most} more..." if len(values) > most else ""
    return ",".join(values[:most]) + more or "<none>"


def _endpoints(obj: Json, now: float) -> list[Any]:
    found = [
        f"{a.get('ip')}:{p.get('port')}"
        for s in obj.get("subsets") or ()
        for p in s.get("ports") or ()
        for a in s.get("addresses") or ()
    ]
    return [name_of(obj), _some(found), created(obj, now)]


def _slice(obj: Json, now: float) -> list[Any]:
    ports = [str(p.get("port", "*")) for p in obj.get("ports") or ()]
    addresses = [a for e in obj.get("endpoints") or () for a in e.get("addresses") or ()]
    kind = obj.get("addressType", "IPv4")
    return [name_of(obj), kind, _some(ports) if ports else "<unset>", _some(addresses) if addresses else "<unset>",
            created(obj, now)]  # fmt: skip


def _modes(spec: Json) -> str:
    return ",".join(_MODES.get(m, m) for m in spec.get("accessModes") or ())


def _volume(obj: Json, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    claim = spec.get("claimRef") or {}
    return [
        name_of(obj),
        (spec.get("capacity") or {}).get("storage", ""),
        _modes(spec),
        spec.get("persistentVolumeReclaimPolicy", "Retain"),
        "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", ""),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or "<unset>",
        status.get("reason", ""),
        created(obj, now),
        spec.get("volumeMode", "Filesystem"),
    ]


def _claim(obj: Json, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    bound = bool(spec.get("volumeName"))
    return [
        name_of(obj),
        "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", "Pending"),
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "") if bound else "",
        _modes(spec) if bound else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or "<unset>",
        created(obj, now),
        spec.get("volumeMode", "Filesystem"),
    ]


def _csi_node(obj: Json, now: float) -> list[Any]:
    return [name_of(obj), len((obj.get("spec") or {}).get("drivers") or ()), created(obj, now)]


def _api_service(obj: Json, now: float) -> list[Any]:
    service = (obj.get("spec") or {}).get("service")
    conditions = {c.get("type"): c for c in (obj.get("status") or {}).get("conditions") or ()}
    available = conditions.get("Available") or {}
    word = available.get("status", "Unknown")
    if word != "True" and available.get("reason"):
        word += f" ({available['reason']})"
    where = f"{service.get('namespace')}/{service.get('name')}" if service else "Local"
    return [name_of(obj), where, word, created(obj, now)]


def _created_at(obj: Json, now: float) -> list[Any]:
    return [name_of(obj), obj["metadata"].get("creationTimestamp", "")]


def _revision(obj: Json, now: float) -> list[Any]:
    owner = next((o for o in obj["metadata"].get("ownerReferences") or () if o.get("controller")), None)
    group = (owner or {}).get("apiVersion", "").rpartition("/")[0]
    controller = f"{owner['kind'].lower()}.{group}/{owner['name']}" if owner else "<none>"
    return [name_of(obj), controller, obj.get("revision", 0), created(obj, now)]


def _hpa(obj: Json, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    target = spec.get("scaleTargetRef") or {}
    return [
        name_of(obj),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        "<unknown>",
        str(spec.get("minReplicas", 1)),
        spec.get("maxReplicas", 0),
        status.get("currentReplicas", 0),
        created(obj, now),
    ]


def _ingress(obj: Json, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    hosts = [r["host"] for r in spec.get("rules") or () if r.get("host")]
    ports = "80, 443" if spec.get("tls") else "80"
    name = spec.get("ingressClassName") or "<none>"
    return [name_of(obj), name, _some(hosts) if hosts else "*", "", ports, created(obj, now)]


def _policy(obj: Json, now: float) -> list[Any]:
    return [name_of(obj), selector_text((obj.get("spec") or {}).get("podSelector")), created(obj, now)]


def _cron_job(obj: Json, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        name_of(obj),
        spec.get("schedule", ""),
        spec.get("timeZone") or "<none>",
        str(bool(spec.get("suspend"))),
        len(status.get("active") or ()),
        "<none>",
        created(obj, now),
    ]


def _attachment(obj: Json, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    volume = (spec.get("source") or {}).get("persistentVolumeName", "")
    attached = bool((obj.get("status") or {}).get("attached"))
    return [name_of(obj), spec.get("attacher", ""), volume, spec.get("nodeName", ""), attached, created(obj, now)]


def _webhooks(obj: Json, now: float) -> list[Any]:
    return [name_of(obj), len(obj.get("webhooks") or ()), created(obj, now)]


_CREATED = (columns("Name Created_At"), _created_at)
MORE: dict[str, tuple[list[Column], Cells]] = {
    "storageclasses.storage.k8s.io": (
        columns("Name Provisioner ReclaimPolicy VolumeBindingMode AllowVolumeExpansion Age"),
        _storage_class,
    ),
    "priorityclasses.scheduling.k8s.io": (
        columns("Name Value# Global-Default Age PreemptionPolicy"),
        _priority_class,
    ),
    "leases.coordination.k8s.io": (columns("Name Holder Age"), _lease),
    "serviceaccounts": (columns("Name Secrets# Age"), _service_account),
    "configmaps": (columns("Name Data# Age"), _config_map),
    "secrets": (columns("Name Type Data# Age"), _secret),
    "endpoints": (columns("Name Endpoints Age"), _endpoints),
    "endpointslices.discovery.k8s.io": (columns("Name AddressType Ports Endpoints Age"), _slice),
    "persistentvolumes": (
        columns(
            "Name Capacity Access_Modes Reclaim_Policy Status Claim StorageClass VolumeAttributesClass Reason Age "
            "| VolumeMode"
        ),
        _volume,
    ),
    "persistentvolumeclaims": (
        columns("Name Status Volume Capacity Access_Modes StorageClass VolumeAttributesClass Age | VolumeMode"),
        _claim,
    ),
    "csinodes.storage.k8s.io": (columns("Name Drivers# Age"), _csi_node),
    "apiservices.apiregistration.k8s.io": (columns("Name Service Available Age"), _api_service),
    "customresourcedefinitions.apiextensions.k8s.io": _CREATED,
    "clusterroles.rbac.authorization.k8s.io": _CREATED,
    "roles.rbac.authorization.k8s.io": _CREATED,
    "controllerrevisions.apps": (columns("Name Controller Revision# Age"), _revision),
    "horizontalpodautoscalers.autoscaling": (columns("Name Reference Targets MinPods MaxPods# Replicas# Age"), _hpa),
    "ingresses.networking.k8s.io": (columns("Name Class Hosts Address Ports Age"), _ingress),
    "networkpolicies.networking.k8s.io": (columns("Name Pod-Selector Age"), _policy),
    "cronjobs.batch": (columns("Name Schedule Timezone Suspend Active# Last_Schedule Age"), _cron_job),
    "volumeattachments.storage.k8s.io": (columns("Name Attacher PV Node Attached Age"), _attachment),
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": (columns("Name Webhooks# Age"), _webhooks),
    "validatingwebhookconfigurations.admissionregistration.k8s.io": (columns("Name Webhooks# Age"), _webhooks),
}
