"""Watches: from a resourceVersion in the kept history, then live; bookmarks; 410 Gone when the history is too short."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

from baton.emulator.kube.encode import EventCache, encode
from baton.emulator.kube.objects import Objects, Query, read_version, too_large
from baton.emulator.kube.registry import Kind
from baton.ports import monotonic
from baton.twin.world import ApiError

Json = dict[str, Any]
BOOKMARK_EVERY = 30.0  # seconds of wall time
MOST_WAITING = 20_000  # events that wait for one slow client
_POLL = 1.0
_CACHE = EventCache()


class Watch:
    """One client's watch. Iterate `events()` for encoded lines."""

    def __init__(
        self,
        objects: Objects,
        kind: Kind,
        query: Query,
        *,
        version: str,
        timeout: float,
        bookmarks: bool,
        initial: bool,
        render: Callable[[Json, bool], Json],
        shared: str = "",
    ) -> None:
        self._objects = objects
        self._kind = kind
        self._namespace = query.namespace
        self._test = query.test(kind.resource)
        self._bookmarks = bookmarks
        self._initial = initial
        self._render = render
        self._shared = shared  # watchers of the same name see the same bytes
        self._timeout = timeout
        self._first = True
        self._queue: asyncio.Queue[tuple[str, Json, Json | None]] = asyncio.Queue()
        self._resource = "events" if kind.group == "events.k8s.io" else kind.resource
        self._expired: ApiError | None = None
        self._backlog = self._past(version, query)
        self._unsubscribe: Callable[[], None] | None = objects.world.subscribe(self._happened, [self._resource])

    def _happened(self, kind: str, resource: str, obj: Json, old: Json | None) -> None:
        """A client that reads too slowly is cut off, as upstream does; it goes on from its last version."""
        if self._queue.qsize() >= MOST_WAITING:
            self.close()
        else:
            self._queue.put_nowait((kind, obj, old))

    def _past(self, version: str, query: Query) -> list[tuple[str, Json, Json | None]]:
        world = self._objects.world
        if version in ("", "0"):
            items, _ = self._objects.list(self._kind, Query(query.namespace, query.labels, query.fields))
            return [("ADDED", o, None) for o in items]
        since = read_version(version)
        if since < world.oldest_rv:
            self._expired = ApiError(410, "Expired", f"too old resource version: {since} ({world.oldest_rv})")
            return []
        if since > world.rv:
            raise too_large(since, world.rv)
        newer = itertools.takewhile(lambda c: c.rv > since, reversed(world.history))
        return [(c.type, c.object, c.old) for c in newer if c.resource == self._resource][::-1]

    async def events(self) -> AsyncIterator[bytes]:
        """Lines of JSON until the timeout. The subscription ends with the iteration."""
        end = monotonic() + self._timeout
        marked = monotonic()
        try:
            if self._expired is not None:  # told as an event: the watch itself was granted
                yield encode({"type": "ERROR", "object": self._expired.to_status()}) + b"\n"
                return
            for event in self._backlog:
                line = self._line(*event)
                if line:
                    yield line
            self._backlog = []
            if self._initial:
                yield self._bookmark({"k8s.io/initial-events-end": "true"})
            while (left := end - monotonic()) > 0:
                try:
                    event = await asyncio.wait_for(self._queue.get(), min(left, _POLL))
                except TimeoutError:
                    if self._bookmarks and monotonic() - marked > BOOKMARK_EVERY:
                        marked = monotonic()
                        yield self._bookmark({})
                    continue
                lines = [self._line(*event)]
                while not self._queue.empty():
                    lines.append(self._line(*self._queue.get_nowait()))
                joined = b"".join(lines)
                if joined:
                    yield joined
                if self._unsubscribe is None:
                    return
        finally:
            self.close()

    def close(self) -> None:
        """Hear of nothing more; a second call does nothing."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def _line(self, kind: str, obj: Json, old: Json | None) -> bytes:
        if self._namespace and obj["metadata"].get("namespace") != self._namespace:
            return b""
        now, before = self._test(obj), old is not None and self._test(old)
        if kind == "MODIFIED":
            if now and not before:
                kind = "ADDED"
            elif before and not now and old is not None:
                kind = "DELETED"  # as it last matched, at the version of the change
                version = obj["metadata"]["resourceVersion"]
                obj = {**old, "metadata": {**old["metadata"], "resourceVersion": version}}
            elif not now:
                return b""
        elif not (now or (kind == "DELETED" and before)):
            return b""
        if self._shared and kind != "DELETED":
            return _CACHE.get(obj, (kind, self._shared), lambda: self._encoded(kind, obj))
        return self._encoded(kind, obj)

    def _encoded(self, kind: str, obj: Json) -> bytes:
        body = self._render(self._objects.shown(self._kind, obj), self._first)
        self._first = False
        return encode({"type": kind, "object": body}) + b"\n"

    def _bookmark(self, annotations: Json) -> bytes:
        metadata: Json = {"resourceVersion": str(self._objects.world.rv), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        body = {"kind": self._kind.kind, "apiVersion": self._kind.api_version, "metadata": metadata}
        return encode({"type": "BOOKMARK", "object": body}) + b"\n"
