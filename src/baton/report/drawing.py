"""The drawing of a run: stages, nodes, ready nodes, pods and utilisation over one time axis, as one inline SVG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from typing import Any

from baton.report.words import duration

WIDTH, LEFT, RIGHT = 1120, 196, 18
LANE, GAP = 15, 3
MOST_LANES = 60  # beyond that nodes are drawn as areas, not one by one
STATES = (
    ("old", "old, ready"),
    ("new", "new, ready"),
    ("joining", "joining"),
    ("not-ready", "not Ready"),
    ("cordoned", "cordoned"),
    ("draining", "draining"),
    ("drained", "drained, going"),
)
_STEPS = (10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


@dataclass
class Canvas:
    """`y` is where the next section begins; `x` turns seconds since the start of the run into a place.

    Shown are the seconds from `first` to `seconds`.
    """

    seconds: float
    first: float = 0.0
    y: float = 8.0
    parts: list[str] = field(default_factory=list)
    sections: list[tuple[float, float]] = field(default_factory=list)

    def x(self, at: float) -> float:
        span = self.seconds - self.first
        share = min(max((at - self.first) / span, 0.0), 1.0) if span > 0 else 0.0
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def title(self, text: str) -> None:
        self.y += 20
        self.parts.append(f'<text class="h" x="8" y="{self.y}">{escape(text)}</text>')
        self.y += 9

    def label(self, y: float, text: str, *, right: bool = True) -> None:
        anchor = f'x="{LEFT - 8}" text-anchor="end"' if right else 'x="8"'
        self.parts.append(f'<text class="l" {anchor} y="{y:.1f}">{escape(text)}</text>')

    def bar(self, kind: str, start: float, end: float, y: float, height: float, tip: str) -> None:
        """Nothing where it lies outside of what is shown."""
        if end < self.first or start > self.seconds:
            return
        left, right = self.x(start), self.x(end)
        self.parts.append(
            f'<rect class="{kind}" x="{left}" y="{y:.1f}" width="{max(right - left, 1.2):.1f}" height="{height}">'
            f"<title>{escape(tip)}</title></rect>"
        )


def draw(tree: Mapping[str, Any]) -> str:
    """The SVG element. A run without a timeline gives a sentence instead."""
    series = tree["series"]
    if not series["seconds"]:
        return '<p class="quiet">Nothing was observed, so there is nothing to draw.</p>'
    whole = float(series["seconds"])
    first, last = _window(series, whole)
    stages = Canvas(whole)
    _stages(stages, tree, float(series["start"]))
    if (first, last) != (0.0, whole):
        _mark(stages, first, last)
    _axis(stages)
    canvas = Canvas(last, first)
    for group in tree["nodeGroups"]:
        name = group["name"]
        lanes = [n for n in series["nodes"] if n["group"] == name and _shown(n, first, last)]
        if lanes:
            _lanes(canvas, name, lanes)
    for group in tree["nodeGroups"]:
        rows = series["groups"].get(group["name"])
        if rows:
            _ready(canvas, group, rows)
    _pods(canvas, series)
    _usage(canvas, series)
    _axis(canvas)
    return _svg(stages, "Stages over the whole run") + _svg(
        canvas, "Nodes, ready nodes, pods and utilisation while nodes came and went"
    )


def _svg(canvas: Canvas, what: str) -> str:
    body = "".join(canvas.parts)
    return f'<svg class="run" viewBox="0 0 {WIDTH} {canvas.y:.0f}" role="img" aria-label="{escape(what)}">{body}</svg>'


def _shown(lane: Mapping[str, Any], first: float, last: float) -> bool:
    return any(end >= first and start <= last for _, start, end in lane["spans"])


def _window(series: Mapping[str, Any], whole: float) -> tuple[float, float]:
    """From when nodes came and went to when they rested, with some air; the whole run where that is most of it."""
    turns = [b for n in series["nodes"] for _, _, b in n["spans"] if b < whole]
    turns += [n["spans"][0][1] for n in series["nodes"] if n["spans"] and n["spans"][0][0] == "joining"]
    if not turns:
        return 0.0, whole
    air = max(60.0, 0.04 * (max(turns) - min(turns)))
    first, last = max(0.0, min(turns) - air), min(whole, max(turns) + air)
    return (0.0, whole) if last - first > 0.7 * whole else (first, last)


def _mark(canvas: Canvas, first: float, last: float) -> None:
    """Show on the whole run which part is drawn below."""
    top, bottom = canvas.sections[-1]
    left, right = canvas.x(first), canvas.x(last)
    canvas.parts.insert(
        0,
        f'<rect class="window" x="{left}" y="{top - 3:.1f}" width="{right - left:.1f}" height="{bottom - top + 3:.1f}">'
        "<title>drawn below</title></rect>",
    )


def legend() -> str:
    """The states of a node, with their colours."""
    items = "".join(f'<span><i class="k {key}"></i>{escape(text)}</span>' for key, text in STATES)
    return f'<p class="legend">{items}</p>'


def _seconds(text: str | None, start: float) -> float | None:
    if not text:
        return None
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() - start


def _stages(canvas: Canvas, tree: Mapping[str, Any], start: float) -> None:
    canvas.title("The whole run: stages, and in them the time EKS was at work")
    for stage in tree["stages"]:
        begun, ended = _seconds(stage["startedAt"], start), _seconds(stage["endedAt"], start)
        y = canvas.y
        canvas.label(y + 13, f"{stage['ordinal']}. {_short(stage['name'], 27)}")
        if begun is not None and ended is not None:
            canvas.bar("stage", begun, ended, y, 18, f"{stage['name']}: {duration(stage['seconds'])}")
        canvas.y += 22
    done = [s for s in tree["stages"] if s["startedAt"]]
    top = canvas.y - 22 * len(tree["stages"])
    for row in tree["path"]:
        begun, ended = _seconds(row["startedAt"], start), _seconds(row["endedAt"], start)
        where = _stage_of(row, done, tree["stages"])
        if begun is not None and ended is not None and where is not None:
            tip = f"{row['name']} {row['from']} -> {row['to']}: {duration(row['seconds'])}"
            canvas.bar("work", begun, ended, top + 22 * where + 5, 8, tip)
    canvas.sections.append((top, canvas.y))


def _stage_of(row: Mapping[str, Any], done: Sequence[Mapping[str, Any]], every: Sequence[Any]) -> int | None:
    for stage in done:
        named = any(c["name"] == row["name"] and c["to"] == row["to"] for c in stage["changes"])
        if stage["kind"] == row["stage"] and named:
            return int(every.index(stage))
    return None


def _lanes(canvas: Canvas, group: str, lanes: Sequence[Mapping[str, Any]]) -> None:
    canvas.title(f"Nodes of {group}: {len(lanes)} in all")
    if len(lanes) > MOST_LANES:
        _areas(canvas, lanes)
        return
    top = canvas.y
    for lane in lanes:
        y = canvas.y
        canvas.label(y + LANE - 4, f"{_short(str(lane['name']).split('.')[0], 22)} {lane['zone'][-1:]}")
        for state, start, end in lane["spans"]:
            kind = lane["generation"] if state == "ready" else state
            tip = f"{lane['name']} ({lane['zone']}, {lane['kubelet']}): {state} for {duration(end - start)}"
            canvas.bar(str(kind) or "old", start, end, y, LANE, tip)
        canvas.y += LANE + GAP
    canvas.sections.append((top, canvas.y))


def _areas(canvas: Canvas, lanes: Sequence[Mapping[str, Any]]) -> None:
    """How many nodes are in each state, stacked, over time."""
    height = 180.0
    top = canvas.y
    changes: list[tuple[float, str, int]] = []
    for lane in lanes:
        for state, start, end in lane["spans"]:
            kind = str(lane["generation"] or "old") if state == "ready" else state
            changes += [(start, kind, 1), (end, kind, -1)]
    changes.sort()
    counts = dict.fromkeys((key for key, _ in STATES), 0)
    rows: list[tuple[float, dict[str, int]]] = []
    for at, kind, by in changes:
        counts[kind] = counts.get(kind, 0) + by
        if rows and rows[-1][0] == at:
            rows[-1] = (at, dict(counts))
        else:
            rows.append((at, dict(counts)))
    most = max(sum(c.values()) for _, c in rows) or 1
    below = [0] * len(rows)
    for key, text in STATES:
        above = [b + c.get(key, 0) for b, (_, c) in zip(below, rows, strict=True)]
        if above != below:
            points = _stairs(canvas, [(r[0], v) for r, v in zip(rows, above, strict=True)], top, height, most)
            back = _stairs(canvas, [(r[0], v) for r, v in zip(rows, below, strict=True)], top, height, most)
            path = " ".join([*points, *reversed(back)])
            canvas.parts.append(f'<polygon class="{key}" points="{path}"><title>{escape(text)}</title></polygon>')
        below = above
    _scale(canvas, top, height, most)
    canvas.y += height + 6
    canvas.sections.append((top, top + height))


def _stairs(canvas: Canvas, rows: Sequence[tuple[float, float]], top: float, height: float, most: float) -> list[str]:
    """Points of a step line; the last value holds to the right edge."""
    points: list[str] = []
    for at, value in rows:
        y = top + height - height * value / most
        if points:
            points.append(f"{canvas.x(at)},{points[-1].partition(',')[2]}")
        points.append(f"{canvas.x(at)},{y:.1f}")  # what lies outside is drawn onto the edge
    if points:
        points.append(f"{canvas.x(canvas.seconds)},{points[-1].partition(',')[2]}")
    return points


def _scale(canvas: Canvas, top: float, height: float, most: float, unit: str = "") -> None:
    for share in (0, 0.5, 1):
        value = most * share
        if value == int(value):
            y = top + height - height * share
            canvas.label(y + 4, f"{int(value)}{unit}")
            canvas.parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')


def _ready(canvas: Canvas, group: Mapping[str, Any], rows: Sequence[Sequence[float]]) -> None:
    floor = int(group["desired"]) - int(group["maxUnavailable"])
    lowest = group["minReady"]
    canvas.title(
        f"Ready nodes of {group['name']}: never fewer than {lowest}; {floor} of {group['desired']} must stay up"
    )
    top, height = canvas.y, 84.0
    most = float(max([*(r[1] for r in rows), int(group["desired"]), 1]))
    most += most % 2
    _scale(canvas, top, height, most)
    for column, kind in ((1, "all"), (2, "line")):
        points = " ".join(_stairs(canvas, [(r[0], r[column]) for r in rows], top, height, most))
        canvas.parts.append(f'<polyline class="{kind}" points="{points}"/>')
    y = top + height - height * floor / most
    canvas.parts.append(
        f'<line class="floor" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}">'
        f"<title>desired less max_unavailable: {floor}</title></line>"
        f'<text class="f" x="{WIDTH - RIGHT - 4}" text-anchor="end" y="{y + 12:.1f}">must stay up: {floor}</text>'
    )
    canvas.y += height + 6
    canvas.sections.append((top, top + height))


def _pods(canvas: Canvas, series: Mapping[str, Any]) -> None:
    rows = series["pods"]
    if not rows:
        return
    most = float(max(max(r[1] + r[2] for r in rows), 2))
    most += most % 2
    canvas.title("Pods without a node (pending), and those not yet running (starting); a tick for each eviction")
    top, height = canvas.y, 64.0
    _scale(canvas, top, height, most)
    for values, kind in (([r[1] + r[2] for r in rows], "starting"), ([r[1] for r in rows], "pending")):
        points = _stairs(canvas, [(r[0], v) for r, v in zip(rows, values, strict=True)], top, height, most)
        left, right = canvas.x(rows[0][0]), canvas.x(canvas.seconds)
        base = f"{right},{top + height:.1f} {left},{top + height:.1f}"
        canvas.parts.append(f'<polygon class="{kind}" points="{" ".join(points)} {base}"/>')
    for at, workload, repeat in _thin([e for e in series["evictions"] if canvas.first <= e[0] <= canvas.seconds]):
        x = canvas.x(at)
        kind = "evicted again" if repeat else "evicted"
        canvas.parts.append(
            f'<line class="tick{" again" if repeat else ""}" x1="{x}" x2="{x}" y1="{top + height}" '
            f'y2="{top + height + 7}"><title>{escape(str(workload))} {kind}</title></line>'
        )
    canvas.y += height + 14
    canvas.sections.append((top, top + height))


def _thin(rows: Sequence[Any], most: int = 600) -> Iterable[Any]:
    """At most so many: a tick beside a tick shows nothing more."""
    step = max(1, -(-len(rows) // most))
    return rows[::step]


def _usage(canvas: Canvas, series: Mapping[str, Any]) -> None:
    for name, rows in series["usage"].items():
        if len(rows) < 2:
            continue
        used = ", CPU used (dotted)" if any(r[3] is not None for r in rows) else ""
        canvas.title(f"Utilisation of {name}: CPU requested, memory requested (dashed){used}, of allocatable")
        top, height = canvas.y, 64.0
        most = 100.0 * max(1.0, *(max(r[1], r[2]) for r in rows))
        _scale(canvas, top, height, 100.0 if most <= 100 else most, " %")
        for column, kind in ((1, "cpu"), (2, "memory"), (3, "used")):
            points = [(r[0], 100.0 * r[column]) for r in rows if r[column] is not None]
            if points:
                line = " ".join(_stairs(canvas, points, top, height, most))
                canvas.parts.append(f'<polyline class="{kind}" points="{line}"/>')
        canvas.y += height + 6
        canvas.sections.append((top, top + height))


def _axis(canvas: Canvas) -> None:
    """Lines through every section, and the minutes since the start below."""
    step = next((s for s in _STEPS if (canvas.seconds - canvas.first) / s <= 10), _STEPS[-1])
    canvas.y += 16
    lines: list[str] = []
    at = float(-(-canvas.first // step) * step)
    while at <= canvas.seconds:
        x = canvas.x(at)
        for top, bottom in canvas.sections:
            lines.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{top:.1f}" y2="{bottom:.1f}"/>')
        canvas.parts.append(f'<text class="l" text-anchor="middle" x="{x}" y="{canvas.y}">{_clock(at, step)}</text>')
        at += step
    canvas.parts[:0] = lines
    canvas.y += 10


def _clock(at: float, step: float) -> str:
    minutes, seconds = divmod(round(at), 60)
    if step < 60:
        return f"{minutes}:{seconds:02d}"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60}:{minutes % 60:02d} h"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
