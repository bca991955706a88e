"""Label and field selectors, in the grammar of the API."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from baton.twin.world import ApiError

Json = Mapping[str, Any]
Test = Callable[[Json], bool]

_SET = re.compile(r"^\s*([\w./-]+)\s+(in|notin)\s*\(([^)]*)\)\s*$")
_EQUAL = re.compile(r"^\s*([\w./-]+)\s*(==|=|!=)\s*([\w./-]*)\s*$")
_EXISTS = re.compile(r"^\s*(!?)\s*([\w./-]+)\s*$")


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def label_selector(text: str) -> Test:
    """`a=b,c!=d,e in (f,g),h notin (i),j,!k`. Raises ApiError 400."""
    tests = [_label_term(term) for term in re.split(r",(?![^(]*\))", text) if term.strip()]

    def matches(obj: Json) -> bool:
        labels = obj["metadata"].get("labels") or {}
        return all(t(labels) for t in tests)

    return matches


def _label_term(term: str) -> Test:
    if m := _SET.match(term):
        key, inside = m[1], m[2] == "in"
        values = {v.strip() for v in m[3].split(",")}
        return lambda labels: (labels.get(key) in values) if inside else labels.get(key) not in values
    if m := _EQUAL.match(term):
        key, value = m[1], m[3]
        if m[2] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if m := _EXISTS.match(term):
        key, absent = m[2], bool(m[1])
        return lambda labels: (key not in labels) if absent else key in labels
    raise bad_request(f"unable to parse requirement: {term.strip()!r} is not a label selector")


# Fields that are derived rather than read off the object's JSON, or whose absence has a meaning.
_DEFAULTS = {"spec.unschedulable": "false", "status.phase": "", "spec.nodeName": ""}


# Which fields a kind can be selected by, besides its name and namespace.
_FIELDS: dict[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "services": ("spec.clusterIP", "spec.type"),
    "replicasets.apps": ("status.replicas",),
    "replicationcontrollers": ("status.replicas",),
    "jobs.batch": ("status.successful",),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
}
_ALL = ("metadata.name", "metadata.namespace")


def _known_field(resource: str, path: str) -> str:
    """The field as it is found in a stored object. Raises ApiError 400 for one that cannot be selected by."""
    resource = "events" if resource.startswith("events") else resource
    if path in _ALL or path in _FIELDS.get(resource, ()):
        return {"source": "source.component", "status.successful": "status.succeeded"}.get(path, path)
    regarding = path.replace("regarding.", "involvedObject.")
    if resource == "events" and regarding in _FIELDS["events"]:
        return regarding
    if resource in _FIELDS:
        raise bad_request(f"field label not supported: {path}")
    only = 'only "metadata.name", "metadata.namespace"'
    raise bad_request(f'"{path}" is not a known field selector: {only}')


def field_selector(text: str, resource: str) -> Test:
    """`spec.nodeName=x,status.phase!=Running`. Raises ApiError 400."""
    tests: list[tuple[str, bool, str]] = []
    for term in filter(None, (t.strip() for t in text.split(","))):
        m = re.match(r"^([\w.\[\]'-]+)(==|=|!=)(.*)$", term, re.DOTALL)
        if not m:
            raise bad_request(f"invalid selector: {text!r}; can't understand {term!r}")
        tests.append((_known_field(resource, m[1]), m[2] != "!=", m[3]))

    def matches(obj: Json) -> bool:
        return all((_field(obj, path) == value) is equal for path, equal, value in tests)

    return matches


def _field(obj: Json, path: str) -> str:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None:
        return _DEFAULTS.get(path, "")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
