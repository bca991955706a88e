"""core/v1 Events: one object per (subject, reason, message), counted up when it happens again, gone after its time."""

from __future__ import annotations

from collections import deque

from baton.twin.controllers.base import Cluster, Obj
from baton.twin.timefmt import rfc3339, rfc3339_micro

_MODERN = frozenset(("default-scheduler",))
_CLUSTER_SCOPED = "default"  # the namespace of events about objects that have none


class EventRecorder:
    """Writes Events into the world; with settings.events off it is simply never installed."""

    def __init__(self, cluster: Cluster) -> None:
        self._world = cluster.world
        self._clock = cluster.clock
        self._ttl = cluster.settings.event_ttl
        self._rng = cluster.rng("events")
        self._names: dict[tuple[str, ...], tuple[str, str]] = {}
        self._expiry: deque[tuple[float, tuple[str, ...]]] = deque()
        self._waiting = False

    def __call__(self, obj: Obj, type_: str, reason: str, message: str, source: str) -> None:
        meta = obj["metadata"]
        now = self._clock.now()
        self._expire(now)
        component, _, host = source.partition(", ")
        key = (obj.get("kind", ""), meta.get("uid", meta["name"]), type_, reason, message, source)
        known = self._names.get(key)
        event = self._world.get("events", *known) if known is not None else None
        stamp = rfc3339(now)
        if known is not None and event is not None:
            self._again(event, stamp)
            return
        namespace = meta.get("namespace") or _CLUSTER_SCOPED
        name = f"{meta['name']}.{self._rng.getrandbits(64):016x}"
        self._names[key] = (namespace, name)
        self._expiry.append((now + self._ttl, key))
        if not self._waiting:
            self._wait()
        where: Obj = {"component": component}
        if host:
            where["host"] = host
        involved: Obj = {"kind": obj.get("kind", ""), "name": meta["name"]}
        for field, value in (
            ("apiVersion", obj.get("apiVersion")),
            ("namespace", meta.get("namespace")),
            ("uid", meta.get("uid")),
            ("resourceVersion", meta.get("resourceVersion")),
        ):
            if value:
                involved[field] = value
        self._world.create(
            "events",
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": name, "namespace": namespace},
                "involvedObject": involved,
                "reason": reason,
                "message": message,
                "type": type_,
                **self._times(component, host, where, stamp),
            },
        )

    def _again(self, event: Obj, stamp: str) -> None:
        if event["lastTimestamp"] is None:
            count = (event.get("series") or {}).get("count", 1) + 1
            series = {"count": count, "lastObservedTime": rfc3339_micro(self._clock.now())}
            self._world.update("events", {**event, "series": series})
        else:
            self._world.update("events", {**event, "count": event.get("count", 1) + 1, "lastTimestamp": stamp})

    def _times(self, component: str, host: str, where: Obj, stamp: str) -> Obj:
        """The scheduler records through events.k8s.io, so its events have an eventTime and neither count nor source."""
        if component in _MODERN:
            return {
                "firstTimestamp": None,
                "lastTimestamp": None,
                "eventTime": rfc3339_micro(self._clock.now()),
                "source": {},
                "reportingComponent": component,
                "reportingInstance": f"{component}-ip-10-0-0-1.ec2.internal",
            }
        return {
            "count": 1,
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "eventTime": None,
            "source": where,
            "reportingComponent": component,
            "reportingInstance": host,
        }

    def _wait(self) -> None:
        """Look again a minute after the oldest is due, so that many go at once."""
        self._waiting = True
        self._clock.call_at(self._expiry[0][0] + 60.0, self._due)

    def _due(self) -> None:
        self._waiting = False
        self._expire(self._clock.now())
        if self._expiry:
            self._wait()

    def _expire(self, now: float) -> None:
        while self._expiry and self._expiry[0][0] <= now:
            _, key = self._expiry.popleft()
            where = self._names.get(key)
            event = self._world.get("events", *where) if where is not None else None
            if where is None:
                continue
            if event is None:
                del self._names[key]
                continue
            last = event["lastTimestamp"] or (event.get("series") or {}).get("lastObservedTime") or event["eventTime"]
            if last > rfc3339(now - self._ttl):  # it happened again: as long again from then
                self._expiry.append((now + self._ttl, key))
                continue
            del self._names[key]
            self._world.remove("events", *where)
