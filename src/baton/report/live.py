"""Progress while it happens: a panel that is redrawn on a terminal, lines of note elsewhere (a log, a pipe, CI)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from baton.model.plan import Plan, Stage, StageKind
from baton.model.view import Blocker, GroupView, NodeView, View
from baton.report.words import duration, plural

HEARTBEAT = 120.0  # cluster seconds to the next line when nothing of note happens; doubled each time, up to
SLOWEST = 960.0
MOST_NAMES = 3  # of nodes to which the same happened at once; more are counted
PHASES = {
    "looking": "looking at the world first",
    "running": "at work",
    "agreed": "the world agrees",
    "failed": "failed",
    "settling": "letting the pods that moved last become Ready",
}
_LEAVING = ("cordoned", "draining", "drained")
_SIGNS = {"ready": "●", "not-ready": "○", "cordoned": "◐", "draining": "◑", "drained": "◌"}
_AT_WORK = ("odifying", "EKS update", "already in flight")  # how engines say that EKS has begun


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


# --- what both say


def rolled(view: View, stage: Stage | None) -> list[GroupView]:
    """The groups that this stage rolls; without a stage all node groups."""
    if stage is None:
        return [g for g in view.groups if g.managed]
    if stage.kind is not StageKind.NODE_GROUP:
        return []
    names = {c.name for c in stage.changes}
    return [g for g in view.groups if g.name in names]


def phase_of(stage: Stage | None, group: GroupView | None, nodes: Sequence[NodeView] = ()) -> str:
    """Where a roll is, told from the nodes: EKS does not say. `nodes` are all that are seen."""
    if stage is None or stage.kind is not StageKind.NODE_GROUP or group is None:
        return ""
    if group.old and not group.new:
        return ""  # not begun, or EKS is launching the first new ones
    leaving = {n.generation for n in nodes if n.group == group.name and n.state in _LEAVING}
    if group.old and leaving == {"new"}:
        return "rolling back: EKS drains the new nodes, the old ones stay"
    if group.old and not group.cordoned and not group.draining:
        return "waiting for new nodes to be Ready"
    if group.old:
        return "draining old nodes"
    if group.nodes > group.desired:
        return "scaling down to the desired size"
    return "settling"


def counts(group: GroupView) -> str:
    """`2 old, 4 new, 6 ready of 3 desired`."""
    parts = [f"{group.old} old", f"{group.new} new", f"{group.ready} ready of {group.desired} desired"]
    if group.draining:
        parts.append(f"{group.draining} draining")
    return ", ".join(parts)


def causes(blockers: Sequence[Blocker]) -> list[tuple[str, str, str]]:
    """(what is blocked, why, what clears it), things that are blocked by the same together."""
    found: dict[tuple[str, str], list[str]] = {}
    for blocker in blockers:
        found.setdefault((blocker.reason, blocker.hint), []).append(blocker.subject)
    return [(_some(subjects), reason, hint) for (reason, hint), subjects in found.items()]


def clock(seconds: float) -> str:
    """`7:05`, `1:02:03` of cluster time."""
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Estimate:
    """What is left by the rehearsal: the later stages, and what is left of this one since EKS began on it.

    `predicted`: seconds per stage, by ordinal. Says nothing without a rehearsal. A roll that has taken longer than it
    did in the rehearsal is judged by its own pace.
    """

    def __init__(self, predicted: Mapping[int, float] | None) -> None:
        self._predicted = dict(predicted or {})
        self._at_work: dict[int, float] = {}

    @property
    def total(self) -> float:
        return sum(self._predicted.values())

    def left(self, view: View, stage: Stage | None, phase: str, waiting_for: Sequence[str]) -> float | None:
        """Seconds; never less than nothing, and None where nobody can tell."""
        if stage is None or stage.ordinal not in self._predicted or phase == "failed":
            return None
        own = self._predicted[stage.ordinal]
        if any(word in w for w in waiting_for if "launch_template" not in w for word in _AT_WORK):
            self._at_work.setdefault(stage.ordinal, view.at)
        begun = self._at_work.get(stage.ordinal)
        later = sum(s for o, s in self._predicted.items() if o > stage.ordinal)
        if phase == "agreed":
            return later
        if begun is None:
            return later + own
        took = view.at - begun
        return later + max(own - took, _by_pace(rolled(view, stage), took) if took > own else 0.0, 0.0)


def _by_pace(groups: Sequence[GroupView], took: float) -> float:
    """What the old nodes that are left will take at the pace so far."""
    old, gone = sum(g.old for g in groups), sum(g.replaced for g in groups)
    return took / gone * old if gone else 0.0


class _Progress:
    """What both displays keep in mind: when the run and the stage began."""

    def __init__(self, console: Console, plan: Plan | None, predicted: Mapping[int, float] | None) -> None:
        self._console = console
        self._stages = len(plan.stages) if plan is not None else 0
        self._estimate = Estimate(predicted)
        self._began: float | None = None
        self._stage: Stage | None = None
        self._stage_at = 0.0

    def say(self, text: str) -> None:
        """A line of its own."""
        self._console.print(text, markup=False)

    def _elapsed(self, now: float) -> float:
        if self._began is None:
            self._began = now
        return now - self._began

    def _turn(self, stage: Stage | None, now: float) -> tuple[Stage | None, float] | None:
        """When `stage` is another than before: the one before, and how long it took."""
        if stage is None or (self._stage is not None and stage.ordinal == self._stage.ordinal):
            return None
        before = (self._stage, now - self._stage_at)
        self._stage, self._stage_at = stage, now
        return before

    def _title(self, stage: Stage | None) -> str:
        return "watching" if stage is None else f"stage {stage.ordinal} of {self._stages}: {stage.name}"


# --- lines


class Lines(_Progress):
    """A line for each thing of note, never one per look."""

    def __init__(self, console: Console, plan: Plan | None, predicted: Mapping[int, float] | None) -> None:
        super().__init__(console, plan, predicted)
        self._last = float("-inf")
        self._patience = HEARTBEAT
        self._shown: object = None
        self._nodes: dict[str, NodeView] | None = None
        self._blocked: dict[str, Blocker] = {}

    def update(self, view: View, now: float, stage: Stage | None, phase: str, waiting_for: Sequence[str] = ()) -> None:
        """Take in how things stand; print what has changed."""
        self._elapsed(now)
        turned = self._turn(stage, now)
        if turned is not None:
            before, took = turned
            if before is not None:
                self._line(now, f"stage {before.ordinal} done in {duration(took)}")
            self._line(now, self._title(stage))
        self._tell_nodes(view, now)
        self._tell_blockers(view, now)
        groups = rolled(view, stage)
        about = tuple(sorted(self._blocked)), tuple(_kind(w) for w in waiting_for)
        state = (phase, about, tuple(phase_of(stage, g, view.nodes) for g in groups))
        if phase != "looking" and (state != self._shown or now - self._last >= self._patience):
            self._patience = HEARTBEAT if state != self._shown else min(2 * self._patience, SLOWEST)
            self._shown = state
            self._line(now, self._status(view, groups, stage, phase, waiting_for))

    def _status(
        self, view: View, groups: Sequence[GroupView], stage: Stage | None, phase: str, waiting_for: Sequence[str]
    ) -> str:
        parts = [waiting_for[0] if phase == "running" and waiting_for else PHASES.get(phase, phase)]
        for group in groups:
            words = phase_of(stage, group, view.nodes)
            parts.append(f"{group.name}: {words + ', ' if words else ''}{counts(group)}")
        pods = view.pods
        if pods.evictions or pods.pending:
            parts.append(f"{plural(pods.evictions, 'pod')} evicted, {pods.pending} pending")
        if view.blockers:
            parts.append("blocked by " + _some(b.pdb or b.subject for b in view.blockers))
        left = self._estimate.left(view, stage, phase, waiting_for)
        if left:
            parts.append(f"about {duration(left)} of EKS's work left")
        return "; ".join(p for p in parts if p)

    def _tell_nodes(self, view: View, now: float) -> None:
        """What happened to nodes since the last look, what happened to many at once in one line."""
        seen = {n.name: n for n in view.nodes}
        before, self._nodes = self._nodes, seen
        if before is None:
            return
        happened: dict[tuple[str, str], list[str]] = {}
        for name, node in seen.items():
            what = _happened(before.get(name), node)
            if what:
                happened.setdefault((node.generation, what), []).append(_tale(node))
        for name in sorted(before.keys() - seen.keys()):
            happened.setdefault((before[name].generation, "gone"), []).append(name)
        for (generation, what), names in happened.items():
            nodes = f"{generation} node" if len(names) == 1 else f"{len(names)} {generation} nodes"
            self._line(now, f"  {nodes} {what}: {_some(names)}")

    def _tell_blockers(self, view: View, now: float) -> None:
        found = {f"{b.kind} {b.subject}": b for b in view.blockers}
        fresh = [found[key] for key in sorted(found.keys() - self._blocked.keys())]
        for subjects, reason, hint in causes(fresh):
            clear = f" To clear it: {hint}" if hint else ""
            self._line(now, f"  BLOCKED {subjects}: {reason}.{clear}")
        gone = [self._blocked[key] for key in sorted(self._blocked.keys() - found.keys())]
        for subjects, reason, _ in causes(gone):
            since = min(b.since for b in gone if b.reason == reason)
            self._line(now, f"  no longer blocked: {subjects} (after {duration(now - since)})")
        self._blocked = found

    def _line(self, now: float, text: str) -> None:
        self._last = now
        self._console.print(f"[{clock(self._elapsed(now))}] {text}", markup=False)


def _kind(waiting: str) -> str:
    """What an engine says without what changes with every look (Terraform counts the seconds)."""
    return re.sub(r"\d+m?\d*s\b", "", waiting.split(" [")[0].replace("Still m", "M").replace("Still c", "C"))


def _happened(before: NodeView | None, node: NodeView) -> str:
    if before is None:
        return "joined"
    if before.state == node.state:
        return ""
    if node.state == "ready":
        return "Ready" if before.state == "not-ready" else "taking pods again"
    return {"draining": "draining", "not-ready": "not Ready any more"}.get(node.state, "")


def _tale(node: NodeView) -> str:
    more = f", {plural(node.left, 'pod')} to move" if node.state == "draining" and node.left else ""
    zone = f" ({node.zone}{more})" if node.zone else ""
    return node.name + zone


def _some(names: Iterable[str]) -> str:
    every = list(dict.fromkeys(names))
    shown = ", ".join(every[:MOST_NAMES])
    return shown if len(every) <= MOST_NAMES else f"{shown} and {len(every) - MOST_NAMES} more"


# --- a terminal


class Terminal(_Progress):
    """A panel that shows the present moment, below the lines of what is done."""

    def __init__(self, console: Console, live: Live, plan: Plan | None, predicted: Mapping[int, float] | None) -> None:
        super().__init__(console, plan, predicted)
        self._live = live

    def update(self, view: View, now: float, stage: Stage | None, phase: str, waiting_for: Sequence[str] = ()) -> None:
        """Redraw."""
        self._elapsed(now)
        turned = self._turn(stage, now)
        if turned is not None and turned[0] is not None:
            self.say(f"[{clock(self._elapsed(now))}] done: {turned[0].name} ({duration(turned[1])})")
        self._live.update(self.panel(view, now, stage, phase, waiting_for))

    def panel(self, view: View, now: float, stage: Stage | None, phase: str, waiting_for: Sequence[str]) -> Group:
        """What is shown of one moment."""
        left = self._estimate.left(view, stage, phase, waiting_for)
        rows = [self._head(now, stage, left)]
        total = self._estimate.total
        if total and left is not None:
            rows.append(_bar(1 - left / total))
        names = [g.name for g in view.groups if g.managed]
        width = min(max((len(n) for n in names), default=0), 24)
        groups = rolled(view, stage) or [g for g in view.groups if g.managed]
        rows += [_group_row(group, phase_of(stage, group, view.nodes), width) for group in groups]
        rows.append(_nodes_row(view.nodes))
        pods = view.pods
        rows.append(_row("pods", f"{pods.evictions} evicted ({pods.repeat} again), {pods.pending} pending, "
                                 f"{pods.starting} starting"))  # fmt: skip
        found = causes(view.blockers)
        for subjects, reason, hint in found[:3]:
            rows += [_row("blocked", subjects, "bold red"), _row("", reason, "red")]
            if hint:
                rows.append(_row("", f"clears when: {hint}", "red"))
        if len(found) > 3:
            rows.append(_row("", f"and {len(found) - 3} more", "red"))
        awaited = [w for w in waiting_for if w] or [PHASES.get(phase, phase)]
        rows += [_row("now" if i == 0 else "", w, "dim") for i, w in enumerate(awaited[:3])]
        return Group(*rows)

    def _head(self, now: float, stage: Stage | None, left: float | None) -> Text:
        text = Text(self._title(stage), style="bold", no_wrap=True, overflow="ellipsis")
        text.append(f"   {clock(self._elapsed(now))} elapsed", style="dim")
        if left:
            text.append(f", about {duration(left)} of EKS's work left", style="dim")
        return text


def _bar(share: float, width: int = 60) -> Text:
    done = round(min(max(share, 0.0), 1.0) * width)
    return Text("  " + "━" * done, style="green").append("─" * (width - done), style="bright_black")


def _row(name: str, text: str, style: str = "") -> Text:
    return Text(f"  {name:<8} {text}", style=style, no_wrap=True, overflow="ellipsis")


def _group_row(group: GroupView, phase: str, width: int) -> Text:
    """Name, phase, counts; in red when fewer nodes are ready than must be."""
    floor = max(group.desired - group.allowed, 0)
    text = Text(f"  {group.name:<{max(width, 8)}} ", no_wrap=True, overflow="ellipsis")
    if phase:
        text.append(phase + "  ", style="cyan")
    text.append(counts(group))
    style = "bold red" if group.min_ready < floor else "dim"
    text.append(f"; lowest so far {group.min_ready} ready, {floor} must stay", style=style)
    return text


def _nodes_row(nodes: Sequence[NodeView]) -> Text:
    """A sign per node: filled is Ready; old ones come first, new ones are blue."""
    text = Text("  nodes    ", no_wrap=True, overflow="ellipsis")
    order = sorted(nodes, key=lambda n: n.generation == "new")
    for node in order[:80]:
        text.append(_SIGNS.get(node.state, "?"), style="bright_blue" if node.generation == "new" else "")
    if len(nodes) > 80:
        text.append(f" and {len(nodes) - 80} more", style="dim")
    if nodes:
        text.append("   ● ready ◐ cordoned ◑ draining ◌ drained ○ not Ready", style="dim")
        text.append(", new in blue", style="bright_blue")
    return text
