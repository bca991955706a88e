"""Server-side Tables: the columns kubectl prints, as the API server computes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from baton.emulator.kube.cells import Cells, Column, Json, age, columns, created, human, name_of, plain, selector_text
from baton.emulator.kube.encode import Rows
from baton.emulator.kube.tables_more import MORE
from baton.twin.timefmt import parse


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
        name_of(obj),
        ",".join(words),
        ",".join(roles) or "<none>",
        created(obj, now),
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
        terminated = (container.get("state") or {}).get("terminated")
        if terminated:
            reason = terminated.get("reason") or f"ExitCode:{terminated.get('exitCode', 0)}"
    if obj["metadata"].get("deletionTimestamp") and status.get("phase") not in ("Succeeded", "Failed"):
        reason = "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return [
        name_of(obj),
        f"{ready}/{len(spec.get('containers') or ())}",
        reason,
        str(restarts),
        created(obj, now),
        status.get("podIP") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        "<none>",
    ]


def _deployment(obj: Json, now: float) -> list[Any]:
    status, spec = obj.get("status") or {}, obj["spec"]
    return [
        name_of(obj),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        created(obj, now),
        *_template(spec),
    ]


def _template(spec: Json) -> list[str]:
    containers = (spec.get("template") or {}).get("spec", {}).get("containers") or ()
    return [
        ",".join(c.get("name", "") for c in containers),
        ",".join(c.get("image", "") for c in containers),
        selector_text(spec.get("selector")),
    ]


def _replicaset(obj: Json, now: float) -> list[Any]:
    status, spec = obj.get("status") or {}, obj["spec"]
    return [
        name_of(obj),
        spec.get("replicas", 1),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        created(obj, now),
        *_template(spec),
    ]


def _statefulset(obj: Json, now: float) -> list[Any]:
    status, spec = obj.get("status") or {}, obj["spec"]
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}"
    return [name_of(obj), ready, created(obj, now), *_template(spec)[:2]]


def _daemonset(obj: Json, now: float) -> list[Any]:
    status, spec = obj.get("status") or {}, obj["spec"]
    node_selector = (spec["template"].get("spec") or {}).get("nodeSelector") or {}
    return [
        name_of(obj),
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        ",".join(f"{k}={v}" for k, v in sorted(node_selector.items())) or "<none>",
        created(obj, now),
        *_template(spec),
    ]


def _job(obj: Json, now: float) -> list[Any]:
    status, spec = obj.get("status") or {}, obj["spec"]
    conditions = {c["type"] for c in status.get("conditions") or () if c["status"] == "True"}
    word = "Complete" if "Complete" in conditions else "Failed" if "Failed" in conditions else "Running"
    start, end = status.get("startTime"), status.get("completionTime")
    took = human(parse(end) - parse(start)) if start and end else age(start, now) if start else ""
    return [
        name_of(obj),
        word,
        f"{status.get('succeeded', 0)}/{spec.get('completions', 1)}",
        took,
        created(obj, now),
        *_template(spec),
    ]


def _pdb(obj: Json, now: float) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    return [
        name_of(obj),
        str(spec.get("minAvailable", "N/A")),
        str(spec.get("maxUnavailable", "N/A")),
        status.get("disruptionsAllowed", 0),
        created(obj, now),
    ]


def _event(obj: Json, now: float) -> list[Any]:
    series = obj.get("series") or {}
    last = series.get("lastObservedTime") or obj.get("lastTimestamp") or obj.get("eventTime")
    last = last or obj["metadata"].get("creationTimestamp")
    first = obj.get("firstTimestamp") or obj.get("eventTime") or last
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
        series.get("count") or obj.get("count") or 1,
        name_of(obj),
    ]


def _service(obj: Json, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    ports = ",".join(f"{p.get('port')}/{p.get('protocol', 'TCP')}" for p in spec.get("ports") or ())
    return [
        name_of(obj),
        spec.get("type", "ClusterIP"),
        spec.get("clusterIP") or "<none>",
        "<none>",
        ports or "<none>",
        created(obj, now),
        selector_text(spec.get("selector")),
    ]


def _namespace(obj: Json, now: float) -> list[Any]:
    return [name_of(obj), (obj.get("status") or {}).get("phase", "Active"), created(obj, now)]


_TEMPLATE = "| Containers Images Selector"
TABLES: dict[str, tuple[list[Column], Cells]] = {
    "nodes": (
        columns("Name Status Roles Age Version | Internal-IP External-IP OS-Image Kernel-Version Container-Runtime"),
        _node,
    ),
    "pods": (columns("Name Ready Status Restarts Age | IP Node Nominated_Node Readiness_Gates"), _pod),
    "deployments.apps": (columns(f"Name Ready Up-to-date# Available# Age {_TEMPLATE}"), _deployment),
    "replicasets.apps": (columns(f"Name Desired# Current# Ready# Age {_TEMPLATE}"), _replicaset),
    "statefulsets.apps": (columns("Name Ready Age | Containers Images"), _statefulset),
    "daemonsets.apps": (
        columns(f"Name Desired# Current# Ready# Up-to-date# Available# Node_Selector Age {_TEMPLATE}"),
        _daemonset,
    ),
    "jobs.batch": (columns(f"Name Status Completions Duration Age {_TEMPLATE}"), _job),
    "poddisruptionbudgets.policy": (
        columns("Name Min_Available Max_Unavailable Allowed_Disruptions# Age"),
        _pdb,
    ),
    "events": (
        columns("Last_Seen Type Reason Object | Subobject Source"),
        _event,
    ),
    "services": (columns("Name Type Cluster-IP External-IP Port(s) Age | Selector"), _service),
    "namespaces": (columns("Name Status Age"), _namespace),
}
# Message stands behind Object without -o wide; First Seen, Count and Name only with it.
TABLES["events"][0].extend(
    [("Message", "string", 0), ("First Seen", "string", 1), ("Count", "integer", 1), ("Name", "string", 1)]
)
TABLES |= MORE
DEFAULT: tuple[list[Column], Cells] = (columns("Name Age"), plain)


def rows(
    resource: str,
    objects: Sequence[Json],
    now: float,
    metadata: Json,
    include: str = "Metadata",
    *,
    header: bool = True,
) -> Rows:
    """A meta.k8s.io/v1 Table, its rows to be made when they are sent. `include` is None, Metadata or Object; with
    `header` False the columns are left out, as in all but the first event of a watch."""
    columns, cells = TABLES.get(resource, DEFAULT)

    def render(obj: Json) -> Any:
        row: dict[str, Any] = {"cells": cells(obj, now)}
        if include == "Object":
            row["object"] = obj
        elif include == "Metadata":
            row["object"] = {**_PARTIAL, "metadata": obj["metadata"]}
        return row

    definitions = [
        {"name": n, "type": t, "format": "name" if n == "Name" else "", "description": n, "priority": p}
        for n, t, p in columns
    ]
    head = {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": dict(metadata),
        "columnDefinitions": definitions if header else None,
    }
    return Rows(head, "rows", objects, render)


_PARTIAL = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}


def table(
    resource: str,
    objects: Sequence[Json],
    now: float,
    metadata: Json,
    include: str = "Metadata",
    *,
    header: bool = True,
) -> dict[str, Any]:
    """The same at once."""
    made = rows(resource, objects, now, metadata, include, header=header)
    return {**made.head, "rows": [made.render(o) for o in made.items]}
