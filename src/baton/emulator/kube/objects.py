"""Reading and writing the objects of one cluster by the rules of the API, without HTTP."""

from __future__ import annotations

import base64
import binascii
import bisect
import itertools
import json
import re
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from baton.emulator.kube import metrics
from baton.emulator.kube.defaults import prepare, prepare_update
from baton.emulator.kube.registry import Kind
from baton.emulator.kube.selectors import field_selector, label_selector
from baton.twin.controllers.labelkeys import merge_label_keys
from baton.twin.kube import KubeTwin
from baton.twin.world import ApiError, World, not_found

Json = dict[str, Any]
Rows = list[Json]
SCALABLE = ("deployments.apps", "replicasets.apps", "statefulsets.apps", "replicationcontrollers")


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters of a list, watch or delete."""

    namespace: str | None
    labels: str = ""
    fields: str = ""
    limit: int = 0
    token: str = ""
    version: str = ""
    match: str = ""  # resourceVersionMatch

    def test(self, resource: str) -> Callable[[Mapping[str, Any]], bool]:
        labels = label_selector(self.labels) if self.labels else None
        fields = field_selector(self.fields, resource) if self.fields else None

        def matches(obj: Mapping[str, Any]) -> bool:
            return (labels is None or labels(obj)) and (fields is None or fields(obj))

        return matches


class Objects:
    """One cluster's objects. Raises ApiError."""

    def __init__(self, twin: KubeTwin) -> None:
        self.twin = twin
        self.world = twin.world

    # reading

    def shown(self, kind: Kind, obj: Json) -> Json:
        """An object as it is read: with its kind, and what is derived at reading."""
        if kind.resource == "nodes":
            obj = self.twin.with_heartbeat(obj)
        if kind.group == "events.k8s.io":
            obj = _modern_event(obj)
        if obj.get("kind") == kind.kind and obj.get("apiVersion") == kind.api_version:
            return obj
        return {"kind": kind.kind, "apiVersion": kind.api_version, **{k: v for k, v in obj.items() if k not in _TYPE}}

    def _source(self, kind: Kind, namespace: str | None) -> Iterable[Json]:
        if kind.group == "metrics.k8s.io":
            now = self.twin.clock.now()
            if kind.plural == "nodes":
                return metrics.node_metrics(self.world, now)
            return metrics.pod_metrics(self.world, now, namespace)
        if kind.resource == "leases.coordination.k8s.io" and namespace in (None, "", "kube-node-lease"):
            return [*self.world.items(kind.resource, namespace), *self.twin.leases()]
        return self.world.items("events" if kind.group == "events.k8s.io" else kind.resource, namespace)

    def get(self, kind: Kind, namespace: str | None, name: str) -> Json:
        self.twin.refresh_status()
        if kind.group in ("metrics.k8s.io", "coordination.k8s.io"):
            found = next((o for o in self._source(kind, namespace) if o["metadata"]["name"] == name), None)
        else:
            resource = "events" if kind.group == "events.k8s.io" else kind.resource
            found = self.world.get(resource, namespace, name)
        if found is None:
            raise not_found(kind.resource, name)
        return self.shown(kind, found)

    def list(self, kind: Kind, query: Query) -> tuple[Rows, Json]:
        """Stored objects (see `shown`) by namespace and name, and the list's metadata (resourceVersion, continue,
        remainingItemCount)."""
        self.twin.refresh_status()
        test = query.test(kind.resource) if query.labels or query.fields else None
        start, rv = self._moment(query)
        items = self._sorted(kind, query, rv)
        at = 0 if start is None else bisect.bisect_right(items, start, key=_order)
        metadata: Json = {"resourceVersion": str(rv)}
        if not query.limit:
            return [o for o in items[at:] if test(o)] if test else items[at:], metadata
        page: Rows = []
        left = len(items) - at
        for obj in itertools.islice(items, at, None) if test else items[at : at + query.limit + 1]:
            if test is not None and not test(obj):
                continue
            if len(page) == query.limit:
                metadata["continue"] = _write_token(_order(page[-1]), rv)
                if test is None:
                    metadata["remainingItemCount"] = left - query.limit
                break
            page.append(obj)
        return page, metadata

    def _moment(self, query: Query) -> tuple[tuple[str, str] | None, int]:
        """Where a list begins and of which resourceVersion it is. Raises ApiError 400, 410, 422 or 504."""
        now = self.world.rv
        if query.token:
            start, rv = _read_token(query.token)
            if rv > 0 and rv < self.world.oldest_rv:
                raise ApiError(410, "Expired", _EXPIRED, metadata={"continue": _write_token(start, -1)})
            return start, now if rv <= 0 or rv > now else rv
        if query.match and not query.version:
            raise _bad_match("resourceVersionMatch is forbidden unless resourceVersion is provided")
        if query.match not in ("", "Exact", "NotOlderThan"):
            raise _bad_match(f'Unsupported value: "{query.match}": supported values: "Exact", "NotOlderThan", ""')
        if query.version in ("", "0"):
            return None, now
        wanted = read_version(query.version)
        if wanted > now:
            raise too_large(wanted, now)
        if query.match == "Exact":
            if wanted < self.world.oldest_rv:
                raise ApiError(410, "Expired", f"The resourceVersion for the provided list is too old: {wanted}")
            return None, wanted
        return None, now

    def _sorted(self, kind: Kind, query: Query, rv: int) -> Rows:
        """All objects of a place in order, as they were at `rv`; pages of one list share the sorting."""
        resource = "events" if kind.group == "events.k8s.io" else kind.resource
        if kind.group == "metrics.k8s.io" or resource == "leases.coordination.k8s.io":
            return sorted(self._source(kind, query.namespace), key=_order)
        bound = _NODE.search(query.fields) if resource == "pods" and rv == self.world.rv else None
        if bound:
            mine = (p for p in self.world.pods_on(bound[1]) if query.namespace in (None, p["metadata"]["namespace"]))
            return sorted(mine, key=_order)
        key = (resource, query.namespace or "", rv)
        kept = _SORTED.setdefault(self.world, OrderedDict())
        found = kept.get(key)
        if found is None:
            if rv == self.world.rv:
                found = sorted(self.world.items(resource, query.namespace), key=_order)
            else:
                past = self.world.as_of(resource, rv)
                found = [past[k] for k in sorted(past) if not query.namespace or k[0] == query.namespace]
            if query.limit and len(found) > query.limit:
                kept[key] = found
                while len(kept) > 8:
                    kept.popitem(last=False)
        return found

    # writing

    def create(self, kind: Kind, namespace: str | None, body: Json, *, dry: bool = False) -> Json:
        metadata = dict(body.get("metadata") or {})
        if kind.namespaced:
            if metadata.get("namespace") not in (None, "", namespace):
                raise ApiError(
                    400,
                    "BadRequest",
                    "the namespace of the provided object does not match the namespace sent on the request",
                )
            metadata["namespace"] = namespace
            place = self.world.get("namespaces", None, namespace or "")
            if place is None:
                raise not_found("namespaces", namespace or "")
            if (place.get("status") or {}).get("phase") == "Terminating":
                message = (
                    f'{kind.resource} "{metadata.get("name", "")}" is forbidden: unable to create new content in '
                    f"namespace {namespace} because it is being terminated"
                )
                raise ApiError(403, "Forbidden", message)
        for field in ("uid", "resourceVersion", "creationTimestamp", "generation", "selfLink", "deletionTimestamp"):
            metadata.pop(field, None)
        if kind.resource == "services":
            body = self._with_address(body, namespace or "")
        obj = prepare(kind, {**body, "metadata": metadata, "kind": kind.kind, "apiVersion": kind.api_version})
        if kind.resource == "pods":
            spec = self.twin.maker.admitted(obj["spec"], f"{zlib.crc32(repr(obj['spec']).encode()):08x}")
            obj = {**obj, "spec": merge_label_keys(spec, metadata.get("labels") or {})}
        if dry:
            return self.shown(kind, obj)
        return self.shown(kind, self.world.create(kind.resource, obj))

    def _with_address(self, body: Json, namespace: str) -> Json:
        """A service with a cluster address of its own, the same for the same names."""
        spec = body.get("spec") or {}
        if spec.get("clusterIP") or spec.get("type") == "ExternalName":
            return body
        taken = {(s.get("spec") or {}).get("clusterIP") for s in self.world.items("services")}
        start = zlib.crc32(f"{namespace}/{(body.get('metadata') or {}).get('name', '')}".encode())
        for step in range(60_000):
            high, low = divmod((start + step) % 60_000, 250)
            address = f"172.20.{high + 1}.{low + 1}"
            if address not in taken:
                return {**body, "spec": {**spec, "clusterIP": address, "clusterIPs": [address]}}
        raise ApiError(500, "InternalError", "failed to allocate a serviceIP: range is full")

    def replace(
        self, kind: Kind, namespace: str | None, name: str, body: Json, *, status: bool = False, dry: bool = False
    ) -> Json:
        """PUT of an object or of its status."""
        old = self.world.get(kind.resource, namespace, name)
        if old is None:
            raise not_found(kind.resource, name)
        given = body.get("metadata") or {}
        if given.get("name") not in (None, name):
            raise ApiError(
                400,
                "BadRequest",
                f"the name of the object ({given.get('name')}) does not match the name on the URL ({name})",
            )
        fresh: Json
        if status:
            fresh = {**old, "status": body.get("status") or {}}
            fresh["metadata"] = {**old["metadata"], "resourceVersion": given.get("resourceVersion", "")}
        else:
            kept = (
                "uid",
                "creationTimestamp",
                "generation",
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
                "namespace",
            )
            free = {k: v for k, v in given.items() if k not in kept}
            metadata = {**free, "name": name, **{k: old["metadata"][k] for k in kept if k in old["metadata"]}}
            fresh = {**body, "metadata": metadata, "kind": kind.kind, "apiVersion": kind.api_version}
            if "status" in kind.subresources and "status" in old:
                fresh["status"] = old["status"]
            fresh = prepare_update(kind, old, fresh)
        if dry:
            return self.shown(kind, fresh)
        stored = self.world.update(kind.resource, fresh, check_rv=True)
        if stored["metadata"].get("deletionTimestamp") and not stored["metadata"].get("finalizers") and not status:
            self.twin.delete(kind.resource, namespace, name)
        return self.shown(kind, stored)

    def delete(self, kind: Kind, namespace: str | None, name: str, options: Json) -> Json | None:
        """What is left of the object (terminating), None when it is gone."""
        old = self.world.get(kind.resource, namespace, name)
        if old is None:
            raise not_found(kind.resource, name)
        wanted = options.get("preconditions") or {}
        for field, label in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            have = old["metadata"][field]
            if wanted.get(field) not in (None, have):
                why = f"{label} in precondition: {wanted[field]}, {label} in object meta: {have}"
                message = f'Operation cannot be fulfilled on {kind.resource} "{name}": Precondition failed: {why}'
                raise ApiError(409, "Conflict", message, details={"name": name, "kind": kind.plural})
        if options.get("dryRun"):
            return self.shown(kind, old)
        left = self.twin.delete(
            kind.resource,
            namespace,
            name,
            grace=options.get("gracePeriodSeconds"),
            propagation=options.get("propagationPolicy") or "",
        )
        return None if left is None else self.shown(kind, left)

    # subresources

    def scale(self, kind: Kind, namespace: str | None, name: str) -> Json:
        obj = self.get(kind, namespace, name)
        selector = (obj["spec"].get("selector") or {}).get("matchLabels") or {}
        meta = obj["metadata"]
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": {k: meta[k] for k in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")},
            "spec": {"replicas": obj["spec"].get("replicas", 1)},
            "status": {
                "replicas": (obj.get("status") or {}).get("replicas", 0),
                "selector": ",".join(f"{k}={v}" for k, v in selector.items()),
            },
        }

    def set_scale(self, kind: Kind, namespace: str | None, name: str, body: Json, *, dry: bool = False) -> Json:
        replicas = (body.get("spec") or {}).get("replicas", 0)
        if replicas < 0:
            why = "must be greater than or equal to 0"
            raise ApiError(
                422,
                "Invalid",
                f'Scale.autoscaling "{name}" is invalid: spec.replicas: Invalid value: {replicas}: {why}',
            )
        old = self.world.get(kind.resource, namespace, name)
        if old is None:
            raise not_found(kind.resource, name)
        given = (body.get("metadata") or {}).get("resourceVersion", "")
        metadata = {**old["metadata"], "resourceVersion": given}
        fresh = {**old, "metadata": metadata, "spec": {**old["spec"], "replicas": replicas}}
        if dry:
            return {**self.scale(kind, namespace, name), "spec": {"replicas": replicas}}
        self.world.update(kind.resource, fresh, check_rv=True)
        return self.scale(kind, namespace, name)

    def evict(self, namespace: str, name: str, body: Json, *, dry: bool = False) -> tuple[int, Json]:
        named = (body.get("metadata") or {}).get("name")
        if named not in (None, name):
            raise ApiError(400, "BadRequest", "name in URL does not match name in Eviction object")
        options = body.get("deleteOptions") or {}
        answer = self.twin.evict(
            namespace, name, grace=options.get("gracePeriodSeconds"), dry_run=dry or bool(options.get("dryRun"))
        )
        if answer.verdict == "gone":
            raise not_found("pods", name)
        return answer.status, answer.to_status()


_TYPE = ("kind", "apiVersion")


_SORTED: WeakKeyDictionary[World, OrderedDict[tuple[str, str, int], Rows]] = WeakKeyDictionary()
_NODE = re.compile(r"(?:^|,)spec\.nodeName==?([^,!=]+)")
_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


def read_version(text: str) -> int:
    """A resourceVersion as a number. Raises ApiError 400."""
    if not re.fullmatch(r"[0-9]{1,19}", text):
        raise ApiError(400, "BadRequest", f'resourceVersion: Invalid value: "{text}": must be a number')
    return int(text)


def too_large(wanted: int, now: int) -> ApiError:
    message = f"Too large resource version: {wanted}, current: {now}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    return ApiError(504, "Timeout", message, details={"causes": causes}, retry_after=1)


def _bad_match(why: str) -> ApiError:
    return ApiError(422, "Invalid", f'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: {why}')


def _order(obj: Mapping[str, Any]) -> tuple[str, str]:
    return obj["metadata"].get("namespace") or "", obj["metadata"]["name"]


def _write_token(after: tuple[str, str], rv: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([*after, rv]).encode()).decode()


def _read_token(token: str) -> tuple[tuple[str, str], int]:
    try:
        namespace, name, rv = json.loads(base64.urlsafe_b64decode(token))
        return (str(namespace), str(name)), int(rv)
    except (binascii.Error, ValueError, TypeError):
        raise ApiError(400, "BadRequest", "continue key is not valid") from None


def _modern_event(obj: Json) -> Json:
    """A core Event as events.k8s.io/v1 shows it."""
    source = obj.get("source") or {}
    return {
        "metadata": obj["metadata"],
        "eventTime": obj.get("eventTime"),
        "reportingController": obj.get("reportingComponent") or source.get("component", ""),
        "reportingInstance": obj.get("reportingInstance") or source.get("host", ""),
        "action": obj.get("action", ""),
        "reason": obj.get("reason", ""),
        "regarding": obj.get("involvedObject") or {},
        "note": obj.get("message", ""),
        "type": obj.get("type", "Normal"),
        "deprecatedSource": source,
        "deprecatedFirstTimestamp": obj.get("firstTimestamp"),
        "deprecatedLastTimestamp": obj.get("lastTimestamp"),
        "deprecatedCount": obj.get("count", 1),
    }
