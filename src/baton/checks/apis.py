"""APIs that the target no longer serves, or will stop serving, and who still uses them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator

from baton.checks.context import Context, full_name
from baton.checks.registry import Result, bad, check, unknown
from baton.knowledge.tables import ApiRow
from baton.model import nodes
from baton.model.cluster import KubeObject
from baton.model.findings import Severity

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# The API server's own controllers write these with whatever version they were built with.
SYSTEM_MANAGERS = ("kube-controller-manager", "kube-scheduler", "kube-apiserver", "kubelet", "eks")


def versions_used(obj: KubeObject) -> dict[str, str]:
    """API versions that clients wrote an object with -> by whom: field managers and kubectl apply's annotation."""
    meta = obj.get("metadata", {})
    found: dict[str, str] = {}
    for entry in meta.get("managedFields") or ():
        manager = str(entry.get("manager", ""))
        if entry.get("apiVersion") and manager not in SYSTEM_MANAGERS:
            found.setdefault(entry["apiVersion"], manager or "unknown")
    text = (meta.get("annotations") or {}).get(LAST_APPLIED)
    if text:
        try:
            applied = json.loads(text)
        except ValueError:
            applied = {}
        if isinstance(applied, dict) and applied.get("apiVersion"):
            found[str(applied["apiVersion"])] = "kubectl apply"
    return found


def plural(kind: str) -> str:
    """The resource name of a built-in kind: `FlowSchema` -> `flowschemas`, `NetworkPolicy` -> `networkpolicies`."""
    word = kind.lower()
    if word.endswith("y"):
        return word[:-1] + "ies"
    if word == "endpoints":
        return word
    return word + ("es" if word.endswith("s") else "s")


# Kinds that are asked, not stored: nobody keeps objects of them.
ASKED = ("Review", "Eviction", "Scale", "Discovery", "Options", "Event", "Binding", "AuditSink", "JobTemplate")
# Names by which the resources of removed API versions are served today.
READ_FOR_REMOVED = (
    "objects.flowschemas.flowcontrol.apiserver.k8s.io",
    "objects.prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
    "objects.horizontalpodautoscalers.autoscaling",
    "objects.cronjobs.batch",
    "objects.ingresses.networking.k8s.io",
    "objects.networkpolicies.networking.k8s.io",
    "objects.storageclasses.storage.k8s.io",
    "objects.csidrivers.storage.k8s.io",
    "objects.priorityclasses.scheduling.k8s.io",
    "objects.validatingadmissionpolicies.admissionregistration.k8s.io",
    "objects.validatingadmissionpolicybindings.admissionregistration.k8s.io",
)


def stored(row: ApiRow) -> bool:
    """Whether objects of the kind are stored, by a version that is on by default (alpha ones are off on EKS)."""
    return "alpha" not in row.group_version and not row.kind.endswith(ASKED)


def _unread(c: Context) -> list[ApiRow]:
    """Removed API versions, stored and on by default, whose objects are not in the snapshot."""
    read = {r.partition(".")[0] for r in c.snapshot.objects}
    found = c.knowledge.removed_between(c.start, c.end)
    return [r for r in found if stored(r) and plural(r.kind) not in read]


def _uses(c: Context) -> dict[ApiRow, list[tuple[str, str]]]:
    """Deprecated or removed API versions in use -> (object, by whom)."""
    found: dict[ApiRow, list[tuple[str, str]]] = defaultdict(list)
    kinds = {plural(row.kind): row.kind for row in c.knowledge.apis.values()}
    for resource, objects in c.snapshot.objects.items():
        # The items of a list do not repeat their kind.
        listed = kinds.get(resource.partition(".")[0], "")
        for obj in objects:
            kind = str(obj.get("kind", listed))
            for version, by in versions_used(obj).items():
                row = c.knowledge.api(version, kind)
                if row is not None:
                    found[row].append((full_name(obj), by))
    return found


def _told(uses: list[tuple[str, str]]) -> str:
    names = [f"{name} (by {by})" for name, by in uses[:3]]
    return ", ".join(names) + (f" and {len(uses) - 3} more" if len(uses) > 3 else "")


@check(
    "BTN901",
    "No removed API is written any more",
    Severity.BLOCK,
    "nothing is written with an API version that the target lacks",
    also=("pluto", "kubent", "kubepug", "insight Deprecated APIs removed in Kubernetes v1.X"),
    optional=READ_FOR_REMOVED,
)
def removed(c: Context) -> Iterator[Result]:
    """Objects survive: the API server hands them out in every version it still has. Who wrote them with a removed
    version (a manifest, a chart, a controller) fails at the next apply. Baton reads the version each field manager used
    and the one kubectl apply noted. Change the manifest and apply it again before the upgrade."""
    for row, uses in sorted(_uses(c).items(), key=lambda i: (i[0].group_version, i[0].kind)):
        if row.removed is None or row.removed > c.end.minor:
            continue
        instead = f"use {row.replacement}" if row.replacement else "it has no replacement of the same kind"
        gone = f"gone in 1.{row.removed}" + (" already" if row.removed <= c.start.minor else "")
        severity = Severity.MEDIUM if row.removed <= c.start.minor else None
        message = f"{gone}; written by {_told(uses)}"
        yield bad(f"api {row.group_version} {row.kind}", message, instead, severity, objects=[u[0] for u in uses])
    for row in _unread(c):
        message = f"gone in 1.{row.removed}; no {plural(row.kind)} were read, so who writes them is not known"
        yield unknown(f"api {row.group_version} {row.kind}", message, "let Baton list them", Severity.MEDIUM)


@check(
    "BTN902",
    "No deprecated API is written",
    Severity.LOW,
    "nothing that was read is written with a deprecated API version",
    also=("pluto",),
)
def deprecated(c: Context) -> Iterator[Result]:
    """Served at the target still, and to be removed later."""
    for row, uses in sorted(_uses(c).items(), key=lambda i: (i[0].group_version, i[0].kind)):
        if row.deprecated is None or row.deprecated > c.end.minor or (row.removed or 999) <= c.end.minor:
            continue
        end = f", removed in 1.{row.removed}" if row.removed else ""
        message = f"deprecated since 1.{row.deprecated}{end}; written by {_told(uses)}"
        yield bad(f"api {row.group_version} {row.kind}", message, f"use {row.replacement}" if row.replacement else "")


@check(
    "BTN903",
    "Stored versions of custom resources are served",
    Severity.MEDIUM,
    "every stored version of every custom resource is served",
    needs=("objects.customresourcedefinitions.apiextensions.k8s.io",),
    also=("k8s-upgrade-agent",),
)
def stored_versions(c: Context) -> Iterator[Result]:
    """A version in status.storedVersions that the definition no longer serves means objects in etcd that the next
    release of the operator may not read. Rewrite them, then take the version off the list."""
    for crd in c.objects("customresourcedefinitions.apiextensions.k8s.io"):
        served = {v.get("name") for v in crd.get("spec", {}).get("versions") or () if v.get("served")}
        stale = [v for v in (crd.get("status") or {}).get("storedVersions") or () if v not in served]
        if stale:
            message = f"stored in {', '.join(stale)}, which is not served"
            yield bad(f"custom resource {nodes.name(crd)}", message, "rewrite its objects in the served version")
