"""What one rehearsal writes down: stages, updates, phases, refused launches; in small clusters every node's steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from baton.model.events import Event, WatchEvent
from baton.twin.twin import Twin

MOST = 3000  # lines of a timeline
_ALWAYS = frozenset({"update.started", "update.ended", "roll.phase", "instance.refused", "cluster.version"})
_NODES = frozenset({"instance.launched", "node.ready", "node.draining", "instance.terminating", "instance.terminated"})


@dataclass(frozen=True, slots=True)
class Line:
    """`at` in seconds since the rehearsal began."""

    at: float
    kind: str
    subject: str
    text: str = ""


@dataclass
class Log:
    """Also the conductor's observer. With `whole` every event of the twin is kept, pods too, in order."""

    twin: Twin
    whole: bool = False
    nodes: bool = False
    lines: list[Line] = field(default_factory=list)
    omitted: int = 0
    failures: dict[str, str] = field(default_factory=dict)  # node group -> code of the failed update
    spans: dict[str, float] = field(default_factory=dict)  # node group -> seconds of its rolls
    refused: dict[str, int] = field(default_factory=dict)  # what EC2 said -> how often

    def __post_init__(self) -> None:
        self._start = self.twin.clock.now()
        self._began: dict[str, float] = {}
        kinds = None if self.whole else _ALWAYS | _NODES if self.nodes else _ALWAYS
        self.twin.cloud.on_event(self._on_event, kinds)

    # the conductor's observer

    def feed(self, events: Sequence[WatchEvent], now: float) -> Sequence[Event]:
        """Nothing: the twin itself is listened to."""
        return ()

    def unsettled(self) -> Sequence[str]:
        """A rehearsal's tally has its own end."""
        return ()

    def note(self, event: Event) -> None:
        """What the conductor did."""
        self._keep(event, _words(event))

    # the twin

    def _on_event(self, event: Event) -> None:
        kind = event.kind
        if kind == "update.started" and event.data.get("type") == "VersionUpdate":
            self._began[event.subject] = event.at
        elif kind == "update.ended":
            self._ended(event)
        elif kind == "instance.refused":
            message = str(event.data.get("message", ""))
            self.refused[message] = self.refused.get(message, 0) + 1
            if self.refused[message] > 1 and not self.whole:
                return
        self._keep(event, _words(event))

    def _ended(self, event: Event) -> None:
        began = self._began.pop(event.subject, None)
        group = event.subject.rpartition("/")[2]
        if began is not None:
            self.spans[group] = round(self.spans.get(group, 0.0) + event.at - began, 3)
        errors = event.data.get("errors") or ()
        if errors:
            self.failures[group] = str(errors[0])

    def _keep(self, event: Event, text: str) -> None:
        if len(self.lines) >= MOST and not self.whole:
            self.omitted += 1
            return
        self.lines.append(Line(round(event.at - self._start, 3), event.kind, event.subject, text))


def _words(event: Event) -> str:
    data: dict[str, Any] = dict(event.data)
    data.pop("id", None)
    if event.kind == "instance.launched":
        return f"{data.get('node')} in {data.get('zone')}"
    return ", ".join(f"{k} {' '.join(map(str, v)) if isinstance(v, list | tuple) else v}" for k, v in data.items() if v)
