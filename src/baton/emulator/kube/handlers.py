"""From a request to its answer: routing by path, then one function per verb."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from baton.emulator.kube import clientside, discovery, schema
from baton.emulator.kube.apply import server_side_apply
from baton.emulator.kube.clientside import AGES_BY_CLIENT
from baton.emulator.kube.encode import Rows
from baton.emulator.kube.objects import SCALABLE, Objects, Query
from baton.emulator.kube.patch import apply_patch
from baton.emulator.kube.protobuf import decode
from baton.emulator.kube.registry import BY_PATH, Kind
from baton.emulator.kube.tables import rows, table
from baton.emulator.kube.watching import Watch
from baton.twin.timefmt import rfc3339
from baton.twin.world import ApiError

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    accept: str
    content_type: str
    body: bytes
    user: str
    command: str = ""  # kubectl says which of its commands asks

    def json(self) -> Json:
        """The body as an object. Raises ApiError 400 or 415."""
        if self.content_type == "application/vnd.kubernetes.protobuf":
            return decode(self.body)
        if self.content_type not in ("", "application/json", "application/merge-patch+json") and not (
            self.content_type.endswith("+json")
        ):
            raise ApiError(
                415,
                "UnsupportedMediaType",
                "the body of the request was in an unknown format - accepted media types include: application/json",
            )
        body = self.any_json()
        if not isinstance(body, dict):
            raise ApiError(400, "BadRequest", "the object provided is unrecognized (must be of type object)")
        return body

    def any_json(self) -> Any:
        """The body, whatever it is. Raises ApiError 400 for what is not JSON: NaN and Infinity are not."""
        try:
            body = json.loads(self.body or b"{}", parse_constant=_no_constant)
            if b"\\ud" in self.body.lower():  # half a surrogate pair is no text
                body = json.loads(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"))
            return body
        except (ValueError, RecursionError) as error:
            why = "exceeded max depth" if isinstance(error, RecursionError) else str(error)
            raise ApiError(400, "BadRequest", f"the object provided is unrecognized: {why}") from None

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() in ("1", "true")


def _no_constant(word: str) -> Any:
    raise ValueError(f"invalid character {word[0]!r} looking for beginning of value")


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stream:
    watch: Watch


@dataclass(frozen=True, slots=True)
class Target:
    """What a resource path names."""

    kind: Kind
    namespace: str | None
    name: str = ""
    subresource: str = ""


_RESOURCE = re.compile(
    r"^/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>[^/]+))?)?/?$"
)
_MISSING = "the server could not find the requested resource"


def handle(request: Request, objects: Objects) -> Reply | Stream:
    """Answer one request. Raises ApiError; anything else is a bug."""
    own = _meta(request, objects)
    if own is not None:
        return own
    target = _target(request.path)
    if target.subresource:
        return _subresource(request, objects, target)
    if target.name:
        return _one(request, objects, target)
    return _many(request, objects, target)


def _target(path: str) -> Target:
    namespace_itself = re.match(r"^/api/v1/namespaces/([^/]+)(?:/(status|finalize))?/?$", path)
    if namespace_itself:
        return Target(BY_PATH["", "v1", "namespaces"], None, namespace_itself[1], namespace_itself[2] or "")
    m = _RESOURCE.match(path)
    if not m:
        raise ApiError(404, "NotFound", _MISSING)
    group, version = m["group"] or "", m["core"] or m["version"]
    if group == discovery.EVENTS and m["plural"] == "events":
        kind: Kind | None = discovery.kinds_of(group)[0]
    else:
        kind = BY_PATH.get((group, version, m["plural"]))
    if (
        kind is None
        or (m["namespace"] and not kind.namespaced)
        or (m["name"] and kind.namespaced and not m["namespace"])
    ):
        raise ApiError(404, "NotFound", _MISSING)
    return Target(kind, m["namespace"], m["name"] or "", m["sub"] or "")


# what the server says of itself


def _meta(request: Request, objects: Objects) -> Reply | None:
    path = request.path.rstrip("/") or "/"
    if path in ("/healthz", "/livez", "/readyz"):
        return Reply(200, b"ok", {"content-type": "text/plain"})
    if path == "/version":
        return Reply(200, discovery.version(objects.twin.version, server_version(objects)))
    if path.startswith("/api") and request.method == "GET":
        return _discovery(request, path)
    if path.startswith("/openapi"):
        return _openapi(request, path)
    if re.match(r"^/apis/(authorization|authentication)\.k8s\.io/v1/", path) and request.method == "POST":
        return _review(request, path.rpartition("/")[2])
    return None


def server_version(objects: Objects) -> str:
    """`v1.35.6-eks-...`: the patch the tables know for the cluster's minor."""
    from baton.knowledge.tables import Knowledge

    return f"v{Knowledge.load().patch_version(objects.twin.version)}-eks-baton"


def _discovery(request: Request, path: str) -> Reply | None:
    wants_all = "g=apidiscovery.k8s.io" in request.accept and "v=v2;" in request.accept + ";"
    if path in ("/api", "/apis"):
        if wants_all:
            return Reply(200, discovery.aggregated(path == "/api"), {"content-type": discovery.AGGREGATED})
        return Reply(200, discovery.legacy_api() if path == "/api" else discovery.legacy_apis())
    if path == "/api/v1":
        return Reply(200, discovery.legacy_resources(""))
    m = re.match(r"^/apis/([^/]+)(?:/([^/]+))?$", path)
    if not m:
        return None
    if m[1] not in discovery.all_groups() or m[2] not in (None, discovery.version_of(m[1])):
        raise ApiError(404, "NotFound", _MISSING)
    return Reply(200, discovery.legacy_resources(m[1]) if m[2] else discovery.legacy_group(m[1]))


def _openapi(request: Request, path: str) -> Reply:
    if path == "/openapi/v2":
        return Reply(200, discovery.OPENAPI_V2, {"content-type": discovery.OPENAPI_V2_TYPE})
    if path == "/openapi/v3":
        return Reply(200, discovery.openapi_index())
    if path == "/openapi/v3/api/v1":
        return Reply(200, discovery.openapi_document(""))
    m = re.match(r"^/openapi/v3/apis/([^/]+)/[^/]+$", path)
    if m and m[1] in discovery.all_groups():
        return Reply(200, discovery.openapi_document(m[1]))
    raise ApiError(404, "NotFound", _MISSING)


def _review(request: Request, what: str) -> Reply:
    """Every accepted user is an administrator here."""
    body = request.json()
    if what == "selfsubjectaccessreviews":
        status: Json = {"allowed": True, "reason": "the emulator lets its users do everything"}
    elif what == "selfsubjectrulesreviews":
        rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
        status = {
            "resourceRules": rules,
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": False,
        }
    elif what == "selfsubjectreviews":
        status = {"userInfo": {"username": request.user, "groups": ["system:masters", "system:authenticated"]}}
    else:
        raise ApiError(404, "NotFound", _MISSING)
    return Reply(201, {**body, "status": status})


# objects


def _query(request: Request, target: Target) -> Query:
    limit = request.query.get("limit", "0")
    return Query(
        target.namespace,
        request.query.get("labelSelector", ""),
        request.query.get("fieldSelector", ""),
        int(limit) if re.fullmatch("[0-9]{1,9}", limit) else 0,
        request.query.get("continue", ""),
        request.query.get("resourceVersion", ""),
        request.query.get("resourceVersionMatch", ""),
    )


def _refuse_verb(target: Target, method: str) -> ApiError:
    what = f"{target.kind.resource}" + (f' "{target.name}"' if target.name else "")
    return ApiError(
        405, "MethodNotAllowed", f"the server does not allow this method on the requested resource: {method} {what}"
    )


def _wants_table(request: Request) -> bool:
    return "as=Table" in request.accept and "g=meta.k8s.io" in request.accept


def _list(request: Request, objects: Objects, target: Target) -> Reply:
    kind = target.kind
    query = _query(request, target)
    found, metadata = objects.list(kind, query)
    now = objects.twin.clock.now()
    if request.command in AGES_BY_CLIENT:
        found = clientside.in_wall_time(kind, query, [objects.shown(kind, o) for o in found], now)
    if _wants_table(request):
        include = request.query.get("includeObject", "Metadata")
        if include == "Object" or kind.group == discovery.EVENTS:
            found = [objects.shown(kind, o) for o in found]
        return Reply(200, rows(kind.resource, found, now, metadata, include))
    if "as=PartialObjectMetadataList" in request.accept:
        head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
        return Reply(200, Rows(head, "items", found, lambda o: {"metadata": o["metadata"]}))

    def bare(obj: Json) -> Json:
        return {k: v for k, v in objects.shown(kind, obj).items() if k not in ("kind", "apiVersion")}

    head = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata}
    return Reply(200, Rows(head, "items", found, bare))


def _many(request: Request, objects: Objects, target: Target) -> Reply | Stream:
    kind = target.kind
    if request.method == "GET":
        if request.flag("watch"):
            return _watch(request, objects, target)
        return _list(request, objects, target)
    if request.method == "POST" and "create" in kind.verbs:
        dry = "dryRun" in request.query
        if kind.namespaced and not target.namespace:
            raise _refuse_verb(target, "POST")
        body, warnings = _whole(request, kind)
        created = objects.create(_core_event(kind), target.namespace, body, dry=dry)
        return Reply(201, created, warnings)
    if request.method == "DELETE" and "deletecollection" in kind.verbs:
        items, metadata = objects.list(kind, _query(request, target))
        for item in items:
            meta = item["metadata"]
            objects.delete(_core_event(kind), meta.get("namespace"), meta["name"], _delete_options(request))
        left = [objects.shown(kind, o) for o in items]
        return Reply(
            200, {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata, "items": left}
        )
    raise _refuse_verb(target, request.method)


def _core_event(kind: Kind) -> Kind:
    return BY_PATH["", "v1", "events"] if kind.group == discovery.EVENTS else kind


def _check_type(kind: Kind, body: Json) -> None:
    given = (body.get("apiVersion"), body.get("kind"))
    if given[0] not in (None, kind.api_version) or given[1] not in (None, kind.kind):
        raise ApiError(
            400,
            "BadRequest",
            f"{given[1]} in version {json.dumps(given[0])} cannot be handled as a {kind.kind}: "
            f"the API version in the data ({given[0]}) does not match the expected API version ({kind.api_version})",
        )


def _accept(request: Request, resource: str, body: Json, *, patch: Any = None) -> tuple[Json, dict[str, str]]:
    """The object as the decoder leaves it, and the warnings as a header; ApiError for wrong types and, if asked to be
    strict, for fields that do not exist. `patch` is what made the object, None for a whole one."""
    mode = request.query.get("fieldValidation") or "Warn"
    if mode not in ("Ignore", "Strict", "Warn"):
        values = 'supported values: "Ignore", "Strict", "Warn"'
        raise ApiError(422, "Invalid", f' "" is invalid: fieldValidation: Unsupported value: "{mode}": {values}')
    try:
        fresh, unknown = schema.conform(resource, body)
        if unknown and mode == "Strict":
            raise schema.strict_error(body, unknown)
    except ApiError as error:
        if patch is None:
            raise
        why = error.message.partition(": ")[2]
        text = json.dumps(json.dumps(patch, separators=(",", ":")))
        raise ApiError(422, "Invalid", f' "" is invalid: patch: Invalid value: {text}: {why}') from None
    if not unknown or mode == "Ignore":
        return fresh, {}
    quoted = (path.encode("ascii", "backslashreplace").decode() for path in unknown[:20])
    return fresh, {"warning": ", ".join(f'299 - "unknown field \\"{path}\\""' for path in quoted)}


def _whole(request: Request, kind: Kind) -> tuple[Json, dict[str, str]]:
    """The body of a POST or PUT."""
    body = request.json()
    _check_type(kind, body)
    return _accept(request, _core_event(kind).resource, {"apiVersion": kind.api_version, "kind": kind.kind, **body})


def _delete_options(request: Request) -> Json:
    options = _accept(request, "deleteoptions", request.json())[0] if request.body else {}
    for name in ("gracePeriodSeconds", "propagationPolicy", "dryRun"):
        if name in request.query:
            value = request.query[name]
            whole = name == "gracePeriodSeconds" and re.fullmatch("[0-9]{1,9}", value)
            options[name] = int(value) if whole else value
    policy = options.get("propagationPolicy") or "Background"
    if policy not in ("Background", "Foreground", "Orphan"):
        message = 'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: '
        supported = '"Background", "Foreground", "Orphan", "nil"'
        raise ApiError(422, "Invalid", f"{message}{json.dumps(policy)}: supported values: {supported}")
    return options


def _one(request: Request, objects: Objects, target: Target) -> Reply:
    kind, namespace, name = target.kind, target.namespace, target.name
    if request.method == "GET":
        obj = objects.get(kind, namespace, name)
        if _wants_table(request):
            metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            include = request.query.get("includeObject", "Metadata")
            return Reply(200, table(kind.resource, [obj], objects.twin.clock.now(), metadata, include))
        if "as=PartialObjectMetadata;" in request.accept + ";":
            head = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
            return Reply(200, {**head, "metadata": obj["metadata"]})
        return Reply(200, obj)
    if "update" not in kind.verbs:
        raise _refuse_verb(target, request.method)
    kind = _core_event(kind)
    dry = "dryRun" in request.query
    if request.method == "PUT":
        body, warnings = _whole(request, target.kind)
        return Reply(200, objects.replace(kind, namespace, name, body, dry=dry), warnings)
    if request.method == "PATCH":
        return _patch(request, objects, target, dry)
    if request.method == "DELETE":
        options = _delete_options(request)
        uid = objects.get(kind, namespace, name)["metadata"].get("uid", "")
        left = objects.delete(kind, namespace, name, options)
        if left is not None:
            return Reply(200, left)
        details = {"name": name, **({"group": kind.group} if kind.group else {}), "kind": kind.plural, "uid": uid}
        return Reply(
            200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        )
    raise _refuse_verb(target, request.method)


def _patch(request: Request, objects: Objects, target: Target, dry: bool, *, status: bool = False) -> Reply:
    kind, namespace, name = target.kind, target.namespace, target.name
    kind = _core_event(kind)
    patch = request.any_json()
    applying = request.content_type == "application/apply-patch+yaml"
    if applying and not request.query.get("fieldManager"):
        raise ApiError(400, "BadRequest", 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value')
    if applying:
        return _apply(request, objects, target, patch, dry, status=status)
    old = objects.get(kind, namespace, name)
    fresh = apply_patch(request.content_type, old, patch, service=kind.plural == "services")
    fresh, warnings = _accept(request, kind.resource, fresh, patch=patch)
    _check_type(kind, fresh)
    return Reply(200, objects.replace(kind, namespace, name, fresh, status=status, dry=dry), warnings)


def _apply(request: Request, objects: Objects, target: Target, patch: Any, dry: bool, *, status: bool) -> Reply:
    """Server-side apply; it creates what is not there."""
    kind, namespace, name = _core_event(target.kind), target.namespace, target.name
    if not isinstance(patch, dict):
        raise ApiError(400, "BadRequest", "the configuration to apply is not an object")
    _check_type(kind, patch)
    config, warnings = _accept(request, kind.resource, patch)
    given = config.get("metadata") or {}
    if given.get("managedFields"):
        raise ApiError(400, "BadRequest", "metadata.managedFields must be nil")
    if given.get("name") not in (None, name):
        message = f"the name of the object ({given['name']}) does not match the name on the URL ({name})"
        raise ApiError(400, "BadRequest", message)
    try:
        old = objects.get(kind, namespace, name)
    except ApiError:
        if status:
            raise
        old = {}
    fresh = server_side_apply(
        old,
        config,
        request.query["fieldManager"],
        rfc3339(objects.twin.clock.now()),
        force=request.flag("force"),
        service=kind.plural == "services",
    )
    if not old:
        body = {**fresh, "metadata": {**fresh["metadata"], "name": name}}
        return Reply(201, objects.create(kind, namespace, body, dry=dry), warnings)
    if fresh == old:
        return Reply(200, old, warnings)  # nothing to write: the version stays
    return Reply(200, objects.replace(kind, namespace, name, fresh, status=status, dry=dry), warnings)


def _watch(request: Request, objects: Objects, target: Target) -> Stream:
    kind = target.kind
    if kind.group == "metrics.k8s.io":
        raise _refuse_verb(target, "WATCH")
    as_table = _wants_table(request)
    include = request.query.get("includeObject", "Metadata")

    def render(obj: Json, first: bool) -> Json:
        if not as_table:
            return obj
        version = {"resourceVersion": obj["metadata"]["resourceVersion"]}
        return table(kind.resource, [obj], objects.twin.clock.now(), version, include, header=first)

    timeout = request.query.get("timeoutSeconds", "")
    initial = request.flag("sendInitialEvents")
    version = "" if initial else request.query.get("resourceVersion", "")
    return Stream(
        Watch(
            objects,
            kind,
            _query(request, target),
            version=version,
            timeout=float(timeout) if re.fullmatch("0*[1-9][0-9]{0,6}", timeout) else 1800.0,
            bookmarks=request.flag("allowWatchBookmarks"),
            initial=initial,
            render=render,
            shared="" if as_table or kind.resource == "nodes" else kind.resource,
        )
    )


def _subresource(request: Request, objects: Objects, target: Target) -> Reply:
    kind, namespace, name, sub = target.kind, target.namespace, target.name, target.subresource
    if sub == "status" and "status" in kind.subresources:
        if request.method == "GET":
            return Reply(200, objects.get(kind, namespace, name))
        if request.method == "PUT":
            body, warnings = _whole(request, kind)
            dry = "dryRun" in request.query
            return Reply(200, objects.replace(kind, namespace, name, body, status=True, dry=dry), warnings)
        if request.method == "PATCH":
            return _patch(request, objects, target, "dryRun" in request.query, status=True)
    if sub == "scale" and kind.resource in SCALABLE:
        if request.method == "GET":
            return Reply(200, objects.scale(kind, namespace, name))
        if request.method == "PUT":
            body, warnings = _accept(request, "scale", request.json())
            return Reply(200, objects.set_scale(kind, namespace, name, body, dry="dryRun" in request.query), warnings)
        if request.method == "PATCH":
            patch = request.any_json()
            fresh = apply_patch(request.content_type, objects.scale(kind, namespace, name), patch)
            fresh, warnings = _accept(request, "scale", fresh, patch=patch)
            return Reply(200, objects.set_scale(kind, namespace, name, fresh, dry="dryRun" in request.query), warnings)
    if kind.resource == "pods":
        if sub == "eviction" and request.method == "POST":
            wanted, _ = _accept(request, "eviction", request.json())
            status, body = objects.evict(namespace or "", name, wanted, dry="dryRun" in request.query)
            retry = (body.get("details") or {}).get("retryAfterSeconds")
            return Reply(status, body, {} if retry is None else {"retry-after": str(retry)})
        if sub in ("log", "exec", "attach", "portforward"):
            objects.get(kind, namespace, name)
            raise ApiError(400, "BadRequest", f"the emulator runs no containers, so pods/{sub} has nothing to show")
    raise ApiError(404, "NotFound", _MISSING)
