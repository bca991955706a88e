"""The objects of one cluster: a copy-on-write store of Kubernetes JSON with resource versions, indices and watchers.

Objects handed out are the stored ones: never change one in place. A write takes a new dictionary that shares the
unchanged parts. Watchers are called synchronously and in order, so one seed gives one history.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from baton.ports import Clock
from baton.twin.timefmt import rfc3339

Json = dict[str, Any]
Key = tuple[str, str]
Watcher = Callable[[str, str, Json, Json | None], object]
_UUID4 = 0x4 << 76 | 0x2 << 62  # the version and the variant of a random UUID
_ANY = (1 << 128) - 1 ^ (0xF << 76 | 0x3 << 62)  # its other bits


class ApiError(Exception):
    """An answer that is not success, in the API server's terms; `to_status` is its wire form."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        details: Json | None = None,
        retry_after: int | None = None,
        metadata: Json | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.details = details
        self.retry_after = retry_after
        self.metadata = metadata or {}

    def to_status(self) -> Json:
        """A metav1.Status."""
        body: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.status,
        }
        details = dict(self.details or {})
        if self.retry_after is not None:
            details["retryAfterSeconds"] = self.retry_after
        if details:
            body["details"] = details
        return body


def not_found(resource: str, name: str) -> ApiError:
    """`pods "x" not found`, as upstream words it (group-qualified resource)."""
    plural, _, group = resource.partition(".")
    details = {"name": name, "kind": plural, **({"group": group} if group else {})}
    return ApiError(404, "NotFound", f'{resource} "{name}" not found', details=details)


def already_exists(resource: str, name: str) -> ApiError:
    """`pods "x" already exists`, as upstream words it."""
    plural, _, group = resource.partition(".")
    details = {"name": name, "kind": plural, **({"group": group} if group else {})}
    return ApiError(409, "AlreadyExists", f'{resource} "{name}" already exists', details=details)


class Change(NamedTuple):
    """One entry of the history."""

    rv: int
    type: str
    resource: str
    object: Json
    old: Json | None


class PodTable(Protocol):
    """Pods kept elsewhere, as LeanPods does: what the world asks of it."""

    def find(self, namespace: str, name: str) -> Json | None: ...

    def objects(self, namespace: str | None = None) -> Iterable[Json]: ...

    def count(self) -> int: ...

    def on_node(self, node: str) -> Iterable[Any]: ...

    def owned(self, uid: str) -> Iterable[Json]: ...

    def is_owner(self, uid: str) -> bool: ...

    def load(self, obj: Json) -> Json: ...

    def load_all(self, objects: Iterable[Json]) -> None: ...

    def replace(self, obj: Json) -> Json: ...

    def mark_deleted(self, namespace: str, name: str, grace: int) -> Json: ...

    def take(self, namespace: str, name: str) -> Json: ...


class World:
    """One cluster's objects. `history` bounds the changes kept for watches that start in the past (0: none)."""

    def __init__(self, clock: Clock, rng: random.Random, *, history: int = 100_000) -> None:
        self.clock = clock
        self._rng = rng
        self.rv = 1
        self._objects: dict[str, dict[tuple[str, str], Json]] = {}
        # indices hold keys in order, so that an update writes the object in one place only
        self._by_namespace: dict[str, dict[str, dict[Key, None]]] = {}
        self._pods_on: dict[str, dict[Key, None]] = {}
        self._owned: dict[str, dict[tuple[str, Key], None]] = {}
        self._all: list[Watcher] = []
        self._some: dict[str, list[Watcher]] = {}
        self._fan: dict[str, tuple[Watcher, ...]] = {}  # per resource, who is told
        self._pods: PodTable | None = None
        self._keep = history
        self.history: deque[Change] = deque(maxlen=history or 1)

    # reading

    def get(self, resource: str, namespace: str | None, name: str) -> Json | None:
        if self._pods is not None and resource == "pods":
            return self._pods.find(namespace or "", name)
        found = self._objects.get(resource)
        return None if found is None else found.get((namespace or "", name))

    def items(self, resource: str, namespace: str | None = None) -> Iterable[Json]:
        """The stored objects, in order of creation."""
        if self._pods is not None and resource == "pods":
            return self._pods.objects(namespace)
        if namespace:
            found = self._objects.get(resource, {})
            return [found[key] for key in self._by_namespace.get(resource, {}).get(namespace, ())]
        return self._objects.get(resource, {}).values()

    def count(self, resource: str) -> int:
        if self._pods is not None and resource == "pods":
            return self._pods.count()
        return len(self._objects.get(resource, ()))

    def resources(self) -> Iterator[str]:
        """The resources of which at least one object was stored."""
        if self._pods is not None:
            return iter((*self._objects, "pods"))
        return iter(self._objects)

    def pods_on(self, node: str) -> Iterable[Json]:
        """Pods whose spec.nodeName is `node`, in order of binding."""
        if self._pods is not None:
            return [p.obj for p in self._pods.on_node(node)]
        pods = self._objects.get("pods", {})
        return [pods[key] for key in self._pods_on.get(node, ())]

    def owned_by(self, uid: str) -> Iterable[Json]:
        """Objects whose controller ownerReference is `uid`, in order of creation."""
        found = [self._objects[resource][key] for resource, key in self._owned.get(uid, ())]
        if self._pods is not None:
            found += self._pods.owned(uid)
        return found

    def is_owner(self, uid: str) -> bool:
        """Whether `owned_by` may give anything."""
        return uid in self._owned or (self._pods is not None and self._pods.is_owner(uid))

    @property
    def oldest_rv(self) -> int:
        """Watches may start from this resourceVersion on; older ones get 410 Gone."""
        if not self._keep:
            return self.rv
        return self.history[0].rv - 1 if len(self.history) == self._keep else 0

    def as_of(self, resource: str, rv: int) -> dict[Key, Json]:
        """The objects as they were at a resourceVersion not below `oldest_rv`; by (namespace, name), in no order."""
        past = dict(self._objects.get(resource, {}))
        for change in reversed(self.history):
            if change.rv <= rv:
                break
            if change.resource == resource:
                meta = change.object["metadata"]
                key = (meta.get("namespace") or "", meta["name"])
                if change.old is None:
                    past.pop(key, None)
                else:
                    past[key] = change.old
        return past

    # writing

    def create(self, resource: str, obj: Mapping[str, Any], *, actor: str = "") -> Json:
        """Store a new object, filling in what an API server does. Raises ApiError AlreadyExists."""
        if self._pods is not None and resource == "pods":
            return self._pods.load(dict(obj))
        key, stored = self._made(resource, obj)
        self._add(resource, key, stored)
        self._tell("ADDED", resource, stored, None)
        return stored

    def _made(self, resource: str, obj: Mapping[str, Any]) -> tuple[Key, Json]:
        """What is stored of a new object, and where."""
        given = obj.get("metadata") or {}
        name = given.get("name") or ""
        if not name and given.get("generateName"):
            name = given["generateName"] + self.suffix()
        key = (given.get("namespace") or "", name)
        if key in self._objects.get(resource, ()):
            raise already_exists(resource, name)
        self.rv += 1
        metadata = {
            **given,
            "name": name,
            "uid": given.get("uid") or self.uid(),
            "resourceVersion": str(self.rv),
            "creationTimestamp": given.get("creationTimestamp") or rfc3339(self.clock.now()),
        }
        if "spec" in obj:
            metadata["generation"] = given.get("generation") or 1
        return key, {**obj, "metadata": metadata}

    def load(self, resource: str, objects: Iterable[Json]) -> None:
        """Store objects as they were read from a cluster, before anybody controls it. Raises ApiError AlreadyExists."""
        if self._pods is not None and resource == "pods":
            self._pods.load_all(objects)
            return
        told = self._keep or self._all or self._some.get(resource)
        for obj in objects:
            key, stored = self._made(resource, obj)
            self._add(resource, key, stored)
            if told:
                self._tell("ADDED", resource, stored, None)

    def update(self, resource: str, obj: Mapping[str, Any], *, check_rv: bool = False) -> Json:
        """Replace an object. Raises ApiError NotFound, or Conflict when `check_rv` and its resourceVersion is stale."""
        if self._pods is not None and resource == "pods":
            return self._pods.replace(dict(obj))
        given = obj["metadata"]
        key = (given.get("namespace") or "", given["name"])
        table = self._objects.get(resource)
        old = table.get(key) if table is not None else None
        if old is None or table is None:
            raise not_found(resource, key[1])
        before = old["metadata"]
        if check_rv and given.get("resourceVersion") not in (None, "", before["resourceVersion"]):
            raise ApiError(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on {resource} "{key[1]}": the object has been modified; '
                "please apply your changes to the latest version and try again",
                details={"name": key[1], "kind": resource.partition(".")[0]},
            )
        self.rv += 1
        metadata = {
            **given,
            "uid": before["uid"],
            "creationTimestamp": before["creationTimestamp"],
            "resourceVersion": str(self.rv),
        }
        spec, spec_before = obj.get("spec"), old.get("spec")
        if "generation" in before:
            changed = spec is not spec_before and spec != spec_before
            metadata["generation"] = before["generation"] + (1 if changed else 0)
        stored: Json = {**obj, "metadata": metadata}
        table[key] = stored
        if spec is not spec_before and resource == "pods":
            self._rebind(key, stored, old)
        if given.get("ownerReferences") is not before.get("ownerReferences"):
            self._reown(resource, key, stored, old)
        self._tell("MODIFIED", resource, stored, old)
        return stored

    def mark_deleted(self, resource: str, namespace: str | None, name: str, grace_seconds: int) -> Json:
        """Set deletionTimestamp (now + grace). A second call may only shorten the grace. Raises ApiError NotFound."""
        if self._pods is not None and resource == "pods":
            return self._pods.mark_deleted(namespace or "", name, grace_seconds)
        old = self.get(resource, namespace, name)
        if old is None:
            raise not_found(resource, name)
        metadata = old["metadata"]
        if metadata.get("deletionTimestamp") and grace_seconds >= metadata.get("deletionGracePeriodSeconds", 0):
            return old
        marked = {
            **metadata,
            "deletionTimestamp": rfc3339(self.clock.now() + grace_seconds),
            "deletionGracePeriodSeconds": grace_seconds,
        }
        return self.update(resource, {**old, "metadata": marked})

    def remove(self, resource: str, namespace: str | None, name: str) -> Json:
        """Take an object out. Raises ApiError NotFound."""
        if self._pods is not None and resource == "pods":
            return self._pods.take(namespace or "", name)
        key = (namespace or "", name)
        table = self._objects.get(resource, {})
        old = table.pop(key, None)
        if old is None:
            raise not_found(resource, name)
        self.rv += 1
        gone: Json = {**old, "metadata": {**old["metadata"], "resourceVersion": str(self.rv)}}
        if key[0]:
            del self._by_namespace[resource][key[0]][key]
        self._unindex(resource, key, old)
        self._tell("DELETED", resource, gone, old)
        return gone

    # watching

    def subscribe(self, fn: Watcher, resources: Iterable[str] | None = None) -> Callable[[], None]:
        """Call `fn(type, resource, object, old)` on every change from now on; returns how to stop that."""
        lists = [self._all] if resources is None else [self._some.setdefault(r, []) for r in resources]
        for watchers in lists:
            watchers.append(fn)
        self._fan.clear()

        def stop() -> None:
            for watchers in lists:
                if fn in watchers:  # stopping twice does no harm: a watch may end from either side
                    watchers.remove(fn)
            self._fan.clear()

        return stop

    def keep_pods(self, table: PodTable) -> list[Watcher]:
        """From now on `table` has the pods instead: reads and writes go there. Returns those who watch pods."""
        self._pods = table
        return self._some.setdefault("pods", [])

    # names

    def uid(self) -> str:
        """A UUID4 drawn from the seed."""
        text = (self._rng.getrandbits(128) & _ANY | _UUID4).to_bytes(16, "big").hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def suffix(self, length: int = 5) -> str:
        """A name suffix from the alphabet the API server uses (no vowels, no look-alikes)."""
        n = self._rng.getrandbits(5 * length)
        letters = "bcdfghjklmnpqrstvwxz2456789"
        out = []
        for _ in range(length):
            n, digit = divmod(n, 27)
            out.append(letters[digit])
        return "".join(out)

    # inside

    def _add(self, resource: str, key: Key, new: Json) -> None:
        self._objects.setdefault(resource, {})[key] = new
        if key[0]:
            self._by_namespace.setdefault(resource, {}).setdefault(key[0], {})[key] = None
        if resource == "pods":
            node = new.get("spec", {}).get("nodeName")
            if node:
                self._pods_on.setdefault(node, {})[key] = None
        owner = controller_uid(new)
        if owner:
            self._owned.setdefault(owner, {})[(resource, key)] = None

    def _rebind(self, key: Key, new: Json, old: Json) -> None:
        node, before = new.get("spec", {}).get("nodeName"), old.get("spec", {}).get("nodeName")
        if before and before != node:
            self._pods_on[before].pop(key, None)
        if node:
            self._pods_on.setdefault(node, {})[key] = None

    def _reown(self, resource: str, key: Key, new: Json, old: Json) -> None:
        owner, before = controller_uid(new), controller_uid(old)
        if before and before != owner:
            self._owned[before].pop((resource, key), None)
        if owner:
            self._owned.setdefault(owner, {})[(resource, key)] = None

    def _unindex(self, resource: str, key: Key, old: Json) -> None:
        if resource == "pods":
            node = old.get("spec", {}).get("nodeName")
            if node and node in self._pods_on:
                self._pods_on[node].pop(key, None)
                if not self._pods_on[node]:
                    del self._pods_on[node]
        owner = controller_uid(old)
        if owner and owner in self._owned:
            self._owned[owner].pop((resource, key), None)
            if not self._owned[owner]:
                del self._owned[owner]

    def _tell(self, kind: str, resource: str, obj: Json, old: Json | None) -> None:
        if self._keep:
            self.history.append(Change(self.rv, kind, resource, obj, old))
        fan = self._fan.get(resource)
        if fan is None:
            fan = self._fan[resource] = (*self._some.get(resource, ()), *self._all)
        for fn in fan:
            fn(kind, resource, obj, old)


def controller_uid(obj: Json) -> str | None:
    """The uid of the controller that owns `obj`, None for an object without one."""
    for ref in obj["metadata"].get("ownerReferences") or ():
        if ref.get("controller"):
            uid: str = ref["uid"]
            return uid
    return None
