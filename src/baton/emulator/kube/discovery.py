"""What the API serves, in the forms clients ask for: aggregated and legacy discovery, /version, OpenAPI v3."""

from __future__ import annotations

from typing import Any

from baton.emulator.kube.registry import GROUPS, KINDS, Kind
from baton.emulator.kube.schema import open_api

Json = dict[str, Any]
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def version(minor: str, git_version: str) -> Json:
    """GET /version of an EKS API server."""
    major, _, small = minor.partition(".")
    return {
        "major": major,
        "minor": small,
        "gitVersion": git_version,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "",
        "goVersion": "",
        "compiler": "gc",
        "platform": "linux/amd64",
    }


def _of(group: str) -> list[Kind]:
    return [k for k in KINDS if k.group == group]


def _resource(kind: Kind) -> Json:
    response = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    body: Json = {
        "resource": kind.plural,
        "responseKind": response,
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short:
        body["shortNames"] = list(kind.short)
    if kind.categories:
        body["categories"] = list(kind.categories)
    if kind.subresources:
        body["subresources"] = [
            {
                "subresource": s,
                "responseKind": {"group": "", "version": "", "kind": _sub_kind(kind, s)},
                "verbs": _sub_verbs(s),
            }
            for s in kind.subresources
        ]
    return body


def _sub_kind(kind: Kind, subresource: str) -> str:
    return {"scale": "Scale", "eviction": "Eviction", "binding": "Binding"}.get(subresource, kind.kind)


def _sub_verbs(subresource: str) -> list[str]:
    return {"eviction": ["create"], "binding": ["create"], "log": ["get"]}.get(subresource, ["get", "patch", "update"])


def _review(group: str) -> list[Json]:
    if group == "authorization.k8s.io":
        names = ["SelfSubjectAccessReview", "SelfSubjectRulesReview"]
    elif group == "authentication.k8s.io":
        names = ["SelfSubjectReview"]
    else:
        return []
    return [
        {
            "resource": n.lower() + "s",
            "responseKind": {"group": group, "version": "v1", "kind": n},
            "scope": "Cluster",
            "singularResource": n.lower(),
            "verbs": ["create"],
        }
        for n in names
    ]


REVIEW_GROUPS = ("authentication.k8s.io", "authorization.k8s.io")
EVENTS = "events.k8s.io"


def _events_kind() -> Kind:
    return Kind(EVENTS, "v1", "Event", "events", True, ("ev",))


def all_groups() -> list[str]:
    return sorted({*GROUPS, *REVIEW_GROUPS, EVENTS})


def kinds_of(group: str) -> list[Kind]:
    return [_events_kind()] if group == EVENTS else _of(group)


def version_of(group: str) -> str:
    kinds = kinds_of(group)
    return kinds[0].version if kinds else "v1"


def aggregated(core: bool) -> Json:
    """GET /api or /apis with the aggregated media type."""
    items = []
    for group in [""] if core else all_groups():
        resources = [_resource(k) for k in kinds_of(group)] + _review(group)
        metadata: Json = {"creationTimestamp": None}
        if group:
            metadata["name"] = group
        items.append(
            {
                "metadata": metadata,
                "versions": [{"version": version_of(group), "resources": resources, "freshness": "Current"}],
            }
        )
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def legacy_api() -> Json:
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def _group(name: str) -> Json:
    entry = {"groupVersion": f"{name}/{version_of(name)}", "version": version_of(name)}
    return {"name": name, "versions": [entry], "preferredVersion": entry}


def legacy_apis() -> Json:
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(g) for g in all_groups()]}


def legacy_group(name: str) -> Json:
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name)}


def legacy_resources(group: str) -> Json:
    resources: list[Json] = []
    for kind in kinds_of(group):
        body: Json = {
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": list(kind.verbs),
        }
        if kind.short:
            body["shortNames"] = list(kind.short)
        if kind.categories:
            body["categories"] = list(kind.categories)
        resources.append(body)
        for s in kind.subresources:
            extra: Json = {"group": "policy", "version": "v1"} if s == "eviction" else {}
            resources.append(
                {
                    "name": f"{kind.plural}/{s}",
                    "singularName": "",
                    "namespaced": kind.namespaced,
                    "kind": _sub_kind(kind, s),
                    "verbs": _sub_verbs(s),
                    **extra,
                }
            )
    for review in _review(group):
        resources.append(
            {
                "name": review["resource"],
                "singularName": review["singularResource"],
                "namespaced": False,
                "kind": review["responseKind"]["kind"],
                "verbs": ["create"],
            }
        )
    group_version = f"{group}/{version_of(group)}" if group else "v1"
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}


# kubectl validates a List through OpenAPI v2, which it reads as protobuf only: an openapi_v2.Document with swagger (1),
# info (2: title, version) and no definitions, so nothing is checked by the client and everything by the server.
OPENAPI_V2_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
OPENAPI_V2 = b"\x0a\x032.0" + b"\x12\x0e" + b"\x0a\x0aKubernetes" + b"\x12\x00" + b"\x42\x00"


def openapi_index() -> Json:
    """GET /openapi/v3; clients put the server's own path before the URLs."""
    paths = ["api/v1", *(f"apis/{g}/{version_of(g)}" for g in all_groups())]
    return {"paths": {p: {"serverRelativeURL": f"/openapi/v3/{p}?hash=1"} for p in paths}}


def openapi_document(group: str) -> Json:
    """GET /openapi/v3/...: field names and types of the group's kinds, without descriptions, and where they are."""
    paths: Json = {}
    schemas: Json = {}
    base = f"/apis/{group}/{version_of(group)}" if group else "/api/v1"
    prefix = "io.k8s.api."
    for kind in kinds_of(group):
        gvk = {"group": kind.group, "kind": kind.kind, "version": kind.version}
        found = open_api(kind.resource, prefix)
        if found is None:
            name = prefix + kind.kind
            schemas[name] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        else:
            schemas.update({k: v for k, v in found[0].items() if k not in schemas})
            name = found[1]
        schemas[name] = {**schemas[name], "x-kubernetes-group-version-kind": [gvk]}
        where = f"{base}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{base}/{kind.plural}"
        operation = {
            "x-kubernetes-group-version-kind": gvk,
            "parameters": [
                {"name": n, "in": "query", "schema": {"type": "string"}}
                for n in ("dryRun", "fieldManager", "fieldValidation")
            ],
            "responses": {
                "200": {
                    "description": "OK",
                    "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}},
                }
            },
        }
        paths[where] = {"post": {**operation, "x-kubernetes-action": "post"}}
        paths[where + "/{name}"] = {
            "patch": {**operation, "x-kubernetes-action": "patch"},
            "put": {**operation, "x-kubernetes-action": "put"},
        }
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "emulated"},
        "paths": paths,
        "components": {"schemas": schemas},
    }
