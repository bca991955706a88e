"""The timeline folded into what a chart needs: a lane of states per node, counts over time. Times are cluster time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from baton.model.events import Event

# Event kind -> the state a node is in from then on.
_STATES = {
    "node.added": "joining",
    "node.ready": "ready",
    "node.not-ready": "not-ready",
    "node.cordoned": "cordoned",
    "node.uncordoned": "ready",
    "node.draining": "draining",
    "node.drained": "drained",
}


@dataclass
class Lane:
    """One node: `spans` are [state, from, to], in order, without gaps."""

    name: str
    group: str
    generation: str
    zone: str
    image: str
    kubelet: str
    spans: list[tuple[str, float, float]] = field(default_factory=list)
    state: str = ""
    since: float = 0.0

    def turn(self, state: str, at: float) -> None:
        """Enter a state; the one before ends."""
        if self.state and at > self.since:
            self.spans.append((self.state, self.since, at))
        self.state, self.since = state, at


@dataclass
class Series:
    """`groups`: name -> rows (at, nodes, ready, schedulable, old, new); `pods`: (at, pending, starting, leaving);
    `usage`: name -> rows (at, cpu share requested, memory share requested, cpu share used or None);
    `evictions`: (at, workload, repeat)."""

    start: float
    end: float
    lanes: list[Lane] = field(default_factory=list)
    groups: dict[str, list[tuple[float, int, int, int, int, int]]] = field(default_factory=dict)
    pods: list[tuple[float, int, int, int]] = field(default_factory=list)
    usage: dict[str, list[tuple[float, float, float, float | None]]] = field(default_factory=dict)
    evictions: list[tuple[float, str, bool]] = field(default_factory=list)


def fold(timeline: Sequence[Event]) -> Series:
    """Series of a timeline; an empty one gives empty series."""
    if not timeline:
        return Series(0.0, 0.0)
    series = Series(min(e.at for e in timeline), max(e.at for e in timeline))
    lanes: dict[str, Lane] = {}
    watched = False
    for event in timeline:
        watched = watched or event.kind == "observation.started"
        if event.kind.startswith("node."):
            _node(series, lanes, event)
        elif event.kind == "group.counts" and (watched or event.data.get("nodes")):
            _counts(series, event)
        elif event.kind == "pods.counts":
            data = event.data
            row = (event.at, _int(data, "pending"), _int(data, "starting"), _int(data, "leaving"))
            series.pods.append(row)
        elif event.kind == "usage":
            _usage(series, event)
        elif event.kind == "pod.evicted":
            workload = str(event.data.get("workload") or event.subject)
            series.evictions.append((event.at, workload, bool(event.data.get("repeat"))))
    for lane in lanes.values():
        lane.turn("", series.end)
    series.lanes.sort(key=_order)
    return series


def _order(lane: Lane) -> tuple[str, float, str]:
    return (lane.group, lane.spans[0][1] if lane.spans else 0.0, lane.name)


def _node(series: Series, lanes: dict[str, Lane], event: Event) -> None:
    name, data = event.subject, event.data
    if event.kind in ("node.seen", "node.added"):
        if name in lanes and event.kind == "node.seen":  # a resumed run sees again what it knew
            lanes[name].turn(_first(data), event.at)
            return
        lane = Lane(
            name,
            str(data.get("group", "")),
            str(data.get("generation", "")),
            str(data.get("zone", "")),
            str(data.get("image", "")),
            str(data.get("kubelet", "")),
        )
        lanes[name] = lane
        series.lanes.append(lane)
        lane.turn(_STATES.get(event.kind) or _first(data), event.at)
        return
    known = lanes.get(name)
    if known is None:
        return
    if event.kind == "node.removed":
        known.turn("", event.at)
        del lanes[name]
    elif event.kind == "node.changed":
        known.kubelet = str(data.get("kubelet") or known.kubelet)
        known.image = str(data.get("image") or known.image)
    elif event.kind in _STATES and not (event.kind == "node.ready" and known.state in ("cordoned", "draining")):
        known.turn(_STATES[event.kind], event.at)


def _first(data: Mapping[str, Any]) -> str:
    """The state of a node that was there already."""
    return "not-ready" if not data.get("ready", True) else "cordoned" if data.get("cordoned") else "ready"


def _counts(series: Series, event: Event) -> None:
    data = event.data
    row = (event.at, *(_int(data, k) for k in ("nodes", "ready", "schedulable", "old", "new")))
    series.groups.setdefault(event.subject, []).append(row)  # type: ignore[arg-type]


def _usage(series: Series, event: Event) -> None:
    data = event.data
    cpu = _share(data.get("cpuRequested"), data.get("cpuAllocatable"))
    memory = _share(data.get("memoryRequested"), data.get("memoryAllocatable"))
    used = _share(data["cpuUsed"], data.get("cpuAllocatable")) if data.get("cpuUsed") is not None else None
    series.usage.setdefault(event.subject, []).append((event.at, cpu, memory, used))


def _share(part: Any, whole: Any) -> float:
    return round(float(part or 0) / float(whole), 4) if whole else 0.0


def _int(data: Any, key: str) -> int:
    return int(data.get(key) or 0)


def to_json(series: Series) -> dict[str, Any]:
    """As the report keeps it: times relative to `start`, in seconds with a tenth."""

    def at(time: float) -> float:
        return round(time - series.start, 1)

    return {
        "start": round(series.start, 1),
        "seconds": at(series.end),
        "nodes": [
            {
                "name": lane.name,
                "group": lane.group,
                "generation": lane.generation,
                "zone": lane.zone,
                "image": lane.image,
                "kubelet": lane.kubelet,
                "spans": [[state, at(a), at(b)] for state, a, b in lane.spans],
            }
            for lane in series.lanes
        ],
        "groups": {name: [[at(r[0]), *r[1:]] for r in rows] for name, rows in sorted(series.groups.items())},
        "pods": [[at(r[0]), *r[1:]] for r in series.pods],
        "usage": {name: [[at(r[0]), *r[1:]] for r in rows] for name, rows in sorted(series.usage.items())},
        "evictions": [[at(a), workload, repeat] for a, workload, repeat in series.evictions],
    }
