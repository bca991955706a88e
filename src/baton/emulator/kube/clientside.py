"""Ages that kubectl computes itself, from its own clock, where cluster time runs ahead of it.

`kubectl get` prints the server's columns, so its ages are in cluster time. `kubectl describe` and `kubectl events`
subtract timestamps from the wall clock and print `<invalid>` for what lies in its future. Both name themselves in a
header; the lists of which they print nothing but ages get timestamps moved to the wall clock. Times that are printed
as they are (Start Time, conditions) stay in cluster time.
"""

from __future__ import annotations

from typing import Any

from baton.emulator.kube.objects import Query
from baton.emulator.kube.registry import Kind
from baton.ports import SystemClock
from baton.twin.timefmt import parse, rfc3339, rfc3339_micro

Json = dict[str, Any]
AGES_BY_CLIENT = frozenset(("kubectl describe", "kubectl events"))
_EVENT_TIMES = ("firstTimestamp", "lastTimestamp", "deprecatedFirstTimestamp", "deprecatedLastTimestamp")
_MICRO_TIMES = ("eventTime",)
_NEAR = 2.0  # seconds that nobody sees


def in_wall_time(kind: Kind, query: Query, items: list[Json], now: float) -> list[Json]:
    """Events, and the pods of `describe node`, as old by the wall clock as they are at `now` in cluster time."""
    ahead = now - SystemClock().now()
    if abs(ahead) < _NEAR:
        return items
    if kind.plural == "events":
        return [_event(o, ahead) for o in items]
    if kind.resource == "pods" and "spec.nodeName=" in query.fields:
        return [{**o, "metadata": _created(o["metadata"], ahead)} for o in items]
    return items


def _created(metadata: Json, ahead: float) -> Json:
    return {**metadata, "creationTimestamp": _earlier(metadata["creationTimestamp"], ahead)}


def _earlier(stamp: str, ahead: float) -> str:
    return rfc3339(parse(stamp) - ahead)


def _event(obj: Json, ahead: float) -> Json:
    times: Json = {k: _earlier(obj[k], ahead) for k in _EVENT_TIMES if obj.get(k)}
    times |= {k: rfc3339_micro(parse(obj[k]) - ahead) for k in _MICRO_TIMES if obj.get(k)}
    if obj.get("series"):
        seen = rfc3339_micro(parse(obj["series"]["lastObservedTime"]) - ahead)
        times["series"] = {**obj["series"], "lastObservedTime": seen}
    return {**obj, **times, "metadata": _created(obj["metadata"], ahead)}
