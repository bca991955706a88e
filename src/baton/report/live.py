"""Progress while it happens: a panel that is redrawn on a terminal, lines of note elsewhere (a log, a pipe, CI)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from baton.model.plan import Plan, Stage, StageKind
from baton.model.view import GroupView, NodeView, View
from baton.report.words import duration

HEARTBEAT = 120.0  # cluster seconds between lines when nothing of note happens
PHASES = {
    "looking": "looking at the world first",
    "running": "at work",
    "agreed": "the world agrees",
    "failed": "failed",
}
_SIGNS = {"ready": "●", "not-ready": "○", "cordoned": "◐", "draining": "◑", "drained": "◌"}


@contextmanager
def live_view(
    plan: Plan | None, *, predicted: Mapping[int, float] | None, stream: TextIO
) -> Iterator[Terminal | Lines]:
    """What shows progress on `stream`. `predicted`: seconds of cluster time per stage, if there was a rehearsal."""
    console = Console(file=stream, highlight=False, soft_wrap=not stream.isatty())
    if not stream.isatty():
        yield Lines(console, plan, predicted)
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield Terminal(console, live, plan, predicted)


def phase_of(stage: Stage | None, group: GroupView | None) -> str:
    """Where a roll is, told from the nodes: EKS does not say."""
    if stage is None or stage.kind is not StageKind.NODE_GROUP or group is None:
        return ""
    if group.old and not group.new:
        return ""  # not begun, or EKS is launching the first new ones
    if group.old and not group.cordoned and not group.draining:
        return "waiting for new nodes to be Ready"
    if group.old:
        return "draining old nodes"
    if group.nodes > group.desired:
        return "scaling down to the desired size"
    return "settling"


def waits(view: View, waiting_for: Sequence[str]) -> list[str]:
    """What is awaited: first what blocks, then what the engine says."""
    found = [f"{b.subject}: {b.reason}" + (f" (clears when: {b.hint})" if b.hint else "") for b in view.blockers]
    return found + [w for w in waiting_for if w]


class Estimate:
    """What is left by the rehearsal: the later stages, and what is left of this one since EKS began on it.

    `predicted`: seconds per stage, by ordinal. Says nothing without a rehearsal.
    """

    def __init__(self, predicted: Mapping[int, float] | None) -> None:
        self._predicted = dict(predicted or {})
        self._at_work: dict[int, float] = {}

    @property
    def total(self) -> float:
        return sum(self._predicted.values())

    def left(self, stage: Stage | None, now: float, waiting_for: Sequence[str]) -> float | None:
        """Seconds; never less than nothing."""
        if stage is None or stage.ordinal not in self._predicted:
            return None
        own = self._predicted[stage.ordinal]
        if any("odifying" in w or "EKS update" in w or "already in flight" in w for w in waiting_for):
            self._at_work.setdefault(stage.ordinal, now)
        begun = self._at_work.get(stage.ordinal)
        later = sum(s for o, s in self._predicted.items() if o > stage.ordinal)
        return later + (own if begun is None else max(own - (now - begun), 0.0))


class Lines:
    """A line for each thing of note, never one per look."""

    def __init__(self, console: Console, plan: Plan | None, predicted: Mapping[int, float] | None) -> None:
        self._console = console
        self._plan = plan
        self._estimate = Estimate(predicted)
        self._began: float | None = None
        self._last = float("-inf")
        self._stage: int | None = None
        self._shown: object = None
        self._nodes: dict[str, NodeView] = {}
        self._blocked: set[str] = set()
        self._waits: list[str] = []

    def update(self, view: View, now: float, stage: Stage | None, phase: str, waiting_for: Sequence[str] = ()) -> None:
        """Take in how things stand; print what has changed."""
        if self._began is None:
            self._began = now
        if stage is not None and stage.ordinal != self._stage:
            self._stage = stage.ordinal
            total = len(self._plan.stages) if self._plan is not None else 0
            self._line(now, f"stage {stage.ordinal} of {total}: {stage.name}")
        self._tell_nodes(view, now)
        self._tell_blockers(view, now)
        awaited = waits(view, waiting_for)
        kind = [w.split(" [id=")[0].partition(":")[0] if "module." in w else w for w in awaited]
        state = (phase, tuple(kind), tuple((g.name, phase_of(stage, g)) for g in view.groups))
        if state != self._shown or now - self._last >= HEARTBEAT:
            self._shown = state
            self._line(now, self._status(view, stage, phase, awaited))

    def _status(self, view: View, stage: Stage | None, phase: str, awaited: Sequence[str]) -> str:
        parts = [] if awaited and phase == "running" else [PHASES.get(phase, phase)]
        for group in view.groups:
            words = phase_of(stage, group)
            if group.managed and (words or stage is None):
                parts.append(f"{group.name}: {words + ', ' if words else ''}{counts(group)}")
        pods = view.pods
        if pods.evictions or pods.pending:
            parts.append(f"{pods.evictions} pods evicted, {pods.pending} pending")
        if awaited:
            parts.append("waiting for " + awaited[0])
        left = self._estimate.left(stage, view.at, awaited)
        if left:
            parts.append(f"about {duration(left)} of EKS's work left")
        return "; ".join(p for p in parts if p)

    def _tell_nodes(self, view: View, now: float) -> None:
        seen = {n.name: n for n in view.nodes}
        first = not self._nodes
        for name, node in seen.items():
            before = self._nodes.get(name)
            if first or (before is not None and before.state == node.state):
                continue
            if node.state in ("ready", "draining") or before is None:
                what = "joined" if before is None else {"ready": "is Ready"}.get(node.state, f"is {node.state}")
                pods = "1 pod" if node.left == 1 else f"{node.left} pods"
                more = f", {pods} to move" if node.state == "draining" and node.left else ""
                self._line(now, f"  {node.generation} node {name} ({node.zone}) {what}{more}")
        for name in self._nodes.keys() - seen.keys():
            self._line(now, f"  {self._nodes[name].generation} node {name} is gone")
        self._nodes = seen

    def _tell_blockers(self, view: View, now: float) -> None:
        found = {f"{b.kind} {b.subject}": b for b in view.blockers}
        for key in found.keys() - self._blocked:
            blocker = found[key]
            hint = f" To clear it: {blocker.hint}" if blocker.hint else ""
            self._line(now, f"  BLOCKED {blocker.subject}: {blocker.reason}.{hint}")
        for key in self._blocked - found.keys():
            self._line(now, f"  no longer blocked: {key}")
        self._blocked = set(found)

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def _line(self, now: float, text: str) -> None:
        self._last = now
        since = now - (self._began if self._began is not None else now)
        self._console.print(f"[{clock(since)}] {text}", markup=False)


class Terminal:
    """A panel that shows the present moment."""

    def __init__(self, console: Console, live: Live, plan: Plan | None, predicted: Mapping[int, float] | None) -> None:
        self._console, self._live = console, live
        self._plan, self._estimate = plan, Estimate(predicted)
        self._began: float | None = None
        self._stage: Stage | None = None
        self._stage_at = 0.0

    def update(self, view: View, now: float, stage: Stage | None, phase: str, waiting_for: Sequence[str] = ()) -> None:
        """Redraw."""
        if self._began is None:
            self._began = now
        if stage is not None and (self._stage is None or stage.ordinal != self._stage.ordinal):
            if self._stage is not None:
                self._console.print(f"[{clock(now - self._began)}] done: {self._stage.name} "
                                    f"({duration(now - self._stage_at)})", markup=False)  # fmt: skip
            self._stage, self._stage_at = stage, now
        self._live.update(self._panel(view, now, stage, phase, waiting_for))

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def _panel(self, view: View, now: float, stage: Stage | None, phase: str, waiting_for: Sequence[str]) -> Group:
        began = self._began if self._began is not None else now
        elapsed = now - began
        rows: list[Text | ProgressBar] = [self._head(now, stage, elapsed, waiting_for)]
        total, left = self._estimate.total, self._estimate.left(stage, now, waiting_for)
        if total and left is not None:
            rows.append(ProgressBar(total=total, completed=total - left, width=60))
        for group in view.groups:
            if group.managed:
                rows.append(_group_row(group, phase_of(stage, group)))
        rows.append(_nodes_row(view.nodes))
        pods = view.pods
        rows.append(
            Text(f"  pods     {pods.evictions} evicted ({pods.repeat} again), {pods.pending} pending, "
                 f"{pods.starting} starting")
        )  # fmt: skip
        awaited = waits(view, waiting_for)
        style = "bold red" if view.blockers else "dim"
        rows.append(
            Text(
                "  waiting  " + (awaited[0] if awaited else PHASES.get(phase, phase)), style=style, overflow="ellipsis"
            )
        )
        rows += [Text("           " + w, style=style, overflow="ellipsis") for w in awaited[1:4]]
        return Group(*rows)

    def _head(self, now: float, stage: Stage | None, elapsed: float, waiting_for: Sequence[str]) -> Text:
        total = len(self._plan.stages) if self._plan is not None else 0
        title = f"stage {stage.ordinal} of {total}: {stage.name}" if stage is not None else "watching"
        text = Text(title, style="bold")
        text.append(f"   {clock(elapsed)} elapsed", style="dim")
        left = self._estimate.left(stage, now, waiting_for)
        if left:
            text.append(f", about {duration(left)} of EKS's work left", style="dim")
        return text


def counts(group: GroupView) -> str:
    """`2 old, 4 new, 6 ready of 3 desired`."""
    parts = [f"{group.old} old", f"{group.new} new", f"{group.ready} ready of {group.desired} desired"]
    if group.draining:
        parts.append(f"{group.draining} draining")
    return ", ".join(parts)


def _group_row(group: GroupView, phase: str) -> Text:
    floor = max(group.desired - group.allowed, 0)
    text = Text(f"  {group.name:<8} {counts(group)}; lowest so far {group.min_ready} ready, {floor} must stay")
    if phase:
        text.append(f"   {phase}", style="cyan")
    return text


def _nodes_row(nodes: Sequence[NodeView]) -> Text:
    """A sign per node: filled is Ready; new ones are blue."""
    text = Text("  nodes    ")
    for node in nodes[:120]:
        text.append(_SIGNS.get(node.state, "?"), style="blue" if node.generation == "new" else "white")
    if len(nodes) > 120:
        text.append(f" and {len(nodes) - 120} more", style="dim")
    return text


def clock(seconds: float) -> str:
    """`7:05`, `1:02:03` of cluster time."""
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
