"""Server-side Tables: the columns kubectl prints, as the API server computes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from baton.twin.timefmt import parse

Json = Mapping[str, Any]
Column = tuple[str, str, int]  # name, type, priority (0 always, 1 with -o wide)
Cells = Callable[[Json, float], list[Any]]


def age(since: str | None, now: float) -> str:
    """`5d3h` style, as duration.HumanDuration."""
    if not since:
        return "<unknown>"
    return human(max(0.0, now - parse(since)))


def human(seconds: float) -> str:
    s = int(seconds)
    if s < 120:
        return f"{s}s"
    m = s // 60
    if m < 10:
        return f"{m}m{s % 60}s" if s % 60 else f"{m}m"
    if m < 180:
        return f"{m}m"
    h = s // 3600
    if h < 8:
        return f"{h}h{m % 60}m" if m % 60 else f"{h}h"
    if h < 48:
        return f"{h}h"
    d = h // 24
    if d < 8:
        return f"{d}d{h % 24}h" if h % 24 else f"{d}d"
    if d < 365 * 2:
        return f"{d}d"
    return f"{d // 365}y{d % 365}d" if d % 365 else f"{d // 365}y"


def _created(obj: Json, now: float) -> str:
    return age(obj["metadata"].get("creationTimestamp"), now)


def _name(obj: Json) -> str:
    return str(obj["metadata"]["name"])


def _node(obj: Json, now: float) -> list[Any]:
    status, spec = obj.get("status") or {}, obj.get("spec") or {}
    ready = next((c for c in status.get("conditions") or () if c["type"] == "Ready"), None)
    words = ["Unknown" if ready is None else "Ready" if ready["status"] == "True" else "NotReady"]
    if spec.get("unschedulable"):
        words.append("SchedulingDisabled")
    labels = obj["metadata"].get("labels") or {}
    prefix = "node-role.kubernetes.io/"
    roles = sorted(k.removeprefix(prefix) for k in labels if k.startswith(prefix))
    info = status.get("nodeInfo") or {}
    addresses = {a["type"]: a["address"] for a in status.get("addresses") or ()}
    return [
        _name(obj),
        ",".join(words),
        ",".join(roles) or "<none>",
        _created(obj, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", "<none>"),
        addresses.get("ExternalIP", "<none>"),
        info.get("osImage", "<unknown>"),
        info.get("kernelVersion", "<unknown>"),
        info.get("containerRuntimeVersion", "<unknown>"),
    ]


def _pod(obj: Json, now: float) -> list[Any]:
    status, spec = obj.get("status") or {}, obj.get("spec") or {}
    statuses = status.get("containerStatuses") or ()
    ready = sum(1 for c in statuses if c.get("ready"))
    restarts = sum(c.get("restartCount", 0) for c in statuses)
    reason = status.get("reason") or status.get("phase", "Unknown")
    for container in statuses:
        waiting = (container.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason"):
            reason = waiting["reason"]
    if reason == "Succeeded":
        reason = "Completed"
    if obj["metadata"].get("deletionTimestamp"):
        reason = "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return [
        _name(obj),
        f"{ready}/{len(spec.get('containers') or ())}",
        reason,
        str(restarts),
        _created(obj, now),
        status.get("podIP") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        "<none>",
    ]


def _deployment(obj: Json, now: float) -> list[Any]:
    status, spec = obj.get("status") or {}, obj["spec"]
    return [
        _name(obj),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        _created(obj, now),
        *_template(spec),
    ]


def _template(spec: Json) -> list[str]:
    containers = (spec.get("template") or {}).get("spec", {}).get("containers") or ()
    return [
        ",".join(c.get("name", "") for c in containers),
        ",".join(c.get("image", "") for c in containers),
        selector_text(spec.get("selector")),
    ]


def selector_text(selector: Json | None) -> str:
    """A label selector as metav1.FormatLabelSelector writes it."""
    if not selector:
        return "<none>"
    if "matchLabels" not in selector and "matchExpressions" not in selector:
        return ",".join(f"{k}={v}" for k, v in sorted(selector.items())) or "<none>"
    terms = [f"{k}={v}" for k, v in sorted((selector.get("matchLabels") or {}).items())]
    for e in selector.get("matchExpressions") or ():
        values = f" ({','.join(e.get('values') or ())})"
        terms.append(
            {"Exists": e["key"], "DoesNotExist": "!" + e["key"]}.get(
                e["operator"], f"{e['key']} {e['operator'].lower()}{values}"
            )
        )
    return ",".join(terms) or "<none>"


def _replicaset(obj: Json, now: float) -> list[Any]:
    status, spec = obj.get("status") or {}, obj["spec"]
    return [
        _name(obj),
        spec.get("replicas", 1),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        _created(obj, now),
        *_template(spec),
    ]


def _statefulset(obj: Json, now: float) -> list[Any]:
    status, spec = obj.get("status") or {}, obj["spec"]
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}"
    return [_name(obj), ready, _created(obj, now), *_template(spec)[:2]]


def _daemonset(obj: Json, now: float) -> list[Any]:
    status, spec = obj.get("status") or {}, obj["spec"]
    node_selector = (spec["template"].get("spec") or {}).get("nodeSelector") or {}
    return [
        _name(obj),
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        ",".join(f"{k}={v}" for k, v in sorted(node_selector.items())) or "<none>",
        _created(obj, now),
        *_template(spec),
    ]


def _job(obj: Json, now: float) -> list[Any]:
    status, spec = obj.get("status") or {}, obj["spec"]
    conditions = {c["type"] for c in status.get("conditions") or () if c["status"] == "True"}
    word = "Complete" if "Complete" in conditions else "Failed" if "Failed" in conditions else "Running"
    start, end = status.get("startTime"), status.get("completionTime")
    took = human(parse(end) - parse(start)) if start and end else age(start, now) if start else ""
    return [
        _name(obj),
        word,
        f"{status.get('succeeded', 0)}/{spec.get('completions', 1)}",
        took,
        _created(obj, now),
        *_template(spec),
    ]


def _pdb(obj: Json, now: float) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    return [
        _name(obj),
        str(spec.get("minAvailable", "N/A")),
        str(spec.get("maxUnavailable", "N/A")),
        status.get("disruptionsAllowed", 0),
        _created(obj, now),
    ]


def _event(obj: Json, now: float) -> list[Any]:
    last = obj.get("lastTimestamp") or obj.get("eventTime") or obj["metadata"].get("creationTimestamp")
    first = obj.get("firstTimestamp") or last
    subject = obj.get("involvedObject") or {}
    source = obj.get("source") or {}
    component = source.get("component") or obj.get("reportingComponent") or ""
    return [
        age(last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{subject.get('kind', '').lower()}/{subject.get('name', '')}",
        subject.get("fieldPath", ""),
        ", ".join(v for v in (component, source.get("host")) if v),
        (obj.get("message") or "").strip(),
        age(first, now),
        obj.get("count", 1),
        _name(obj),
    ]


def _service(obj: Json, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    ports = ",".join(f"{p.get('port')}/{p.get('protocol', 'TCP')}" for p in spec.get("ports") or ())
    return [
        _name(obj),
        spec.get("type", "ClusterIP"),
        spec.get("clusterIP") or "<none>",
        "<none>",
        ports or "<none>",
        _created(obj, now),
        selector_text(spec.get("selector")),
    ]


def _namespace(obj: Json, now: float) -> list[Any]:
    return [_name(obj), (obj.get("status") or {}).get("phase", "Active"), _created(obj, now)]


def _plain(obj: Json, now: float) -> list[Any]:
    return [_name(obj), _created(obj, now)]


def _columns(text: str) -> list[Column]:
    """`Name Status Age | Wide1 Wide2`: names with underscores for blanks; numbers where the name ends in #."""
    out: list[Column] = []
    for priority, part in enumerate(text.split("|")):
        for word in part.split():
            kind = "integer" if word.endswith("#") else "string"
            out.append((word.rstrip("#").replace("_", " "), kind, priority))
    return out


_TEMPLATE = "| Containers Images Selector"
TABLES: dict[str, tuple[list[Column], Cells]] = {
    "nodes": (
        _columns("Name Status Roles Age Version | Internal-IP External-IP OS-Image Kernel-Version Container-Runtime"),
        _node,
    ),
    "pods": (_columns("Name Ready Status Restarts Age | IP Node Nominated_Node Readiness_Gates"), _pod),
    "deployments.apps": (_columns(f"Name Ready Up-to-date# Available# Age {_TEMPLATE}"), _deployment),
    "replicasets.apps": (_columns(f"Name Desired# Current# Ready# Age {_TEMPLATE}"), _replicaset),
    "statefulsets.apps": (_columns("Name Ready Age | Containers Images"), _statefulset),
    "daemonsets.apps": (
        _columns(f"Name Desired# Current# Ready# Up-to-date# Available# Node_Selector Age {_TEMPLATE}"),
        _daemonset,
    ),
    "jobs.batch": (_columns(f"Name Status Completions Duration Age {_TEMPLATE}"), _job),
    "poddisruptionbudgets.policy": (
        _columns("Name Min_Available Max_Unavailable Allowed_Disruptions# Age"),
        _pdb,
    ),
    "events": (
        _columns("Last_Seen Type Reason Object | Subobject Source"),
        _event,
    ),
    "services": (_columns("Name Type Cluster-IP External-IP Port(s) Age | Selector"), _service),
    "namespaces": (_columns("Name Status Age"), _namespace),
}
# Message stands behind Object without -o wide; First Seen, Count and Name only with it.
TABLES["events"][0].extend(
    [("Message", "string", 0), ("First Seen", "string", 1), ("Count", "integer", 1), ("Name", "string", 1)]
)
DEFAULT: tuple[list[Column], Cells] = (_columns("Name Age"), _plain)


def table(
    resource: str, objects: Sequence[Json], now: float, metadata: Json, include: str = "Metadata"
) -> dict[str, Any]:
    """A meta.k8s.io/v1 Table. `include` is None, Metadata or Object."""
    columns, cells = TABLES.get(resource, DEFAULT)
    rows = []
    for obj in objects:
        row: dict[str, Any] = {"cells": cells(obj, now)}
        if include == "Object":
            row["object"] = obj
        elif include == "Metadata":
            row["object"] = {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": obj["metadata"],
            }
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": dict(metadata),
        "columnDefinitions": [
            {"name": n, "type": t, "format": "name" if n == "Name" else "", "description": n, "priority": p}
            for n, t, p in columns
        ],
        "rows": rows,
    }
