"""The drawing of a run: stages, blockers, nodes, ready nodes, pods and utilisation over time, as inline SVG."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from baton.report.canvas import WIDTH, Canvas, short
from baton.report.words import duration

ROW = 24
MOST_LANES = 260  # of one group; beyond that nodes are drawn as areas, not one by one
MOST_BLOCKERS = 14
STATES = (
    ("old", "old, ready"),
    ("new", "new, ready"),
    ("joining", "joining"),
    ("not-ready", "not Ready"),
    ("cordoned", "cordoned, waiting for its turn"),
    ("draining", "draining"),
    ("drained", "drained, going"),
)


def draw(tree: Mapping[str, Any]) -> str:
    """The SVG elements. A run without a timeline gives a sentence instead."""
    series = tree["series"]
    if not series["seconds"]:
        return '<p class="quiet">Nothing was observed, so there is nothing to draw.</p>'
    whole = float(series["seconds"])
    groups = sorted((g for g in tree["nodeGroups"] if _drawn(g, series)), key=lambda g: _turn(series, g["name"]))
    windows = {g["name"]: _window(series, g["name"], whole) for g in groups}
    run = Canvas(whole)
    _stages(run, tree, float(series["start"]))
    _blockers(run, tree, float(series["start"]))
    _unwatched(run, tree, float(series["start"]))
    _mark(run, windows, whole)
    run.axis()
    sheets = [run.svg("Stages over the whole run", "run"), legend() if groups else ""]
    for group in groups:
        first, last = windows[group["name"]]
        sheet = Canvas(last, first)
        _group(sheet, group, series)
        if len(groups) == 1:
            _pods(sheet, series)
        sheet.axis()
        sheets.append(sheet.svg(f"Nodes of {group['name']} while they came and went", str(group["name"])))
    if len(groups) != 1:
        pods = Canvas(whole)
        _pods(pods, series)
        if pods.sections:
            pods.axis()
            sheets.append(pods.svg("Pods over the whole run", "pods"))
    return "".join(sheets) + _readings(series)


def _drawn(group: Mapping[str, Any], series: Mapping[str, Any]) -> bool:
    """A group is drawn when it was rolled, or when nodes of it came or went all the same."""
    lanes = [n for n in series["nodes"] if n["group"] == group["name"] and n["spans"]]
    return bool(lanes) and (bool(group["planned"]) or any(len(n["spans"]) > 1 for n in lanes))


def legend() -> str:
    """The states of a node, with their colours."""
    items = "".join(f'<span><i class="k {key}"></i>{escape(text)}</span>' for key, text in STATES)
    return f'<p class="legend">{items}</p>'


def _readings(series: Mapping[str, Any]) -> str:
    """What the page's script reads out under the pointer; data, not code."""
    kept = {
        "groups": {name: [r[:6] for r in _sampled(rows)] for name, rows in series["groups"].items()},
        "pods": [r[:3] for r in _sampled(series["pods"])],
    }
    text = json.dumps(kept, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="readings">{text}</script>'


def _sampled(rows: Sequence[Sequence[float]], most: int = 3000) -> Sequence[Sequence[float]]:
    """The last row of each slice of time, where there are more rows than a pointer can tell apart."""
    if len(rows) <= most:
        return rows
    slice_ = (rows[-1][0] - rows[0][0]) / most or 1.0
    return list({int((r[0] - rows[0][0]) / slice_): r for r in rows}.values())


# --- the whole run


def _seconds(text: str | None, start: float) -> float | None:
    if not text:
        return None
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() - start


def _stages(canvas: Canvas, tree: Mapping[str, Any], start: float) -> None:
    rehearsed = {int(s["ordinal"]): float(s["seconds"]) for s in tree["rehearsal"].get("stages") or ()}
    keys = [("stage", "stage"), ("work", "EKS at work")]
    if rehearsed:
        keys.append(("rehearsed", "as rehearsed"))
    if any(s["state"] == "halted" for s in tree["stages"]):
        keys.append(("halted", "halted"))
    canvas.title("The whole run, stage by stage", keys)
    top = canvas.y
    for index, stage in enumerate(tree["stages"]):
        y = top + ROW * index
        canvas.label(y + 14, f"{stage['ordinal']}. {short(stage['name'], 27)}")
        begun, ended = _seconds(stage["startedAt"], start), _seconds(stage["endedAt"], start)
        if begun is None or ended is None:
            continue
        kind = "halted" if stage["state"] == "halted" else "stage"
        canvas.bar(kind, begun, ended, y, 18, f"{stage['name']}: {stage['state']}, {duration(stage['seconds'])}")
        at_work: list[float] = []
        for row in (r for r in tree["path"] if _of_stage(r, stage)):
            a, b = _seconds(row["startedAt"], start), _seconds(row["endedAt"], start)
            if a is not None and b is not None:
                at_work.append(a)
                tip = f"{row['name']} {row['from']} -> {row['to']}: {duration(row['seconds'])}"
                canvas.bar("work", a, b, y + 4, 8, tip)
        if stage["ordinal"] in rehearsed:
            took, began = rehearsed[stage["ordinal"]], min(at_work, default=begun)
            canvas.bar("rehearsed", began, began + took, y + 14, 3, f"rehearsed: {duration(took)}")
        _beside(canvas, begun, ended, y + 13, duration(stage["seconds"]))
    canvas.section(top, top + ROW * len(tree["stages"]))


def _beside(canvas: Canvas, begun: float, ended: float, y: float, words: str) -> None:
    """How long it took, where there is room: right of the bar, else left of it."""
    right, left = canvas.x(ended), canvas.x(begun)
    if right < WIDTH - 90:
        canvas.text("l", right + 6, y, words)
    elif left > 280:
        canvas.text("l", left - 6, y, words, "end")


def _of_stage(row: Mapping[str, Any], stage: Mapping[str, Any]) -> bool:
    named = any(c["name"] == row["name"] and c["to"] == row["to"] for c in stage["changes"])
    return bool(stage["kind"] == row["stage"]) and named


def _blockers(canvas: Canvas, tree: Mapping[str, Any], start: float) -> None:
    """A row for each thing that held the roll up, the longest first."""
    rows = sorted(tree["blockers"], key=lambda b: (-(b["seconds"] or float("inf")), b["since"], b["subject"]))
    if not rows:
        return
    canvas.title("What held it up", [("blocked", "blocked")])
    top = canvas.y
    for index, row in enumerate(rows[:MOST_BLOCKERS]):
        y = top + 18 * index
        canvas.label(y + 11, short(str(row["subject"]).rpartition("/")[2], 28))
        since, until = _seconds(row["since"], start), _seconds(row["until"], start)
        tip = f"{row['subject']}: {row['reason']}" + (f". Clears when: {row['hint']}" if row["hint"] else "")
        canvas.bar("blocked", since or 0.0, canvas.seconds if until is None else until, y + 1, 12, tip)
    bottom = top + 18 * min(len(rows), MOST_BLOCKERS)
    if len(rows) > MOST_BLOCKERS:
        canvas.label(bottom + 11, f"and {len(rows) - MOST_BLOCKERS} more")
        bottom += 16
    canvas.section(top, bottom)


def _window(series: Mapping[str, Any], group: str, whole: float) -> tuple[float, float]:
    """From when nodes of a group came and went to when they rested, with some air; all where that is most of it."""
    lanes = [n["spans"] for n in series["nodes"] if n["group"] == group and n["spans"]]
    turns = [b for spans in lanes for _, _, b in spans if b < whole]
    turns += [n["spans"][0][1] for n in series["nodes"] if n["group"] == group and n["spans"] and _came(n)]
    if not turns:
        return 0.0, whole
    air = max(60.0, 0.04 * (max(turns) - min(turns)))
    first, last = max(0.0, min(turns) - air), min(whole, max(turns) + air)
    return (0.0, whole) if last - first > 0.7 * whole else (first, last)


def _unwatched(canvas: Canvas, tree: Mapping[str, Any], start: float) -> None:
    """Bands over the whole run where nobody looked: nothing that is drawn there was seen."""
    top, bottom = canvas.sections[0][0], canvas.sections[-1][1]
    for gap in tree.get("unwatched") or ():
        a, b = _seconds(gap["startedAt"], start), _seconds(gap["endedAt"], start)
        if a is not None and b is not None:
            tip = f"Baton did not run for {duration(gap['seconds'])}"
            canvas.bar("unwatched", a, b, top - 3, round(bottom - top + 3, 1), tip)
            canvas.text("l", canvas.x(b) + 4, bottom - 4, "not watched")


def _mark(canvas: Canvas, windows: Mapping[str, tuple[float, float]], whole: float) -> None:
    """Show on the whole run which parts are drawn below."""
    top, bottom = canvas.sections[0][0], canvas.sections[-1][1]
    for group, (first, last) in windows.items():
        if (first, last) != (0.0, whole):
            left, right = canvas.x(first), canvas.x(last)
            canvas.parts.insert(
                0,
                f'<rect class="window" x="{left}" y="{top - 3:.1f}" width="{right - left:.1f}" '
                f'height="{bottom - top + 3:.1f}"><title>{escape(group)}, drawn below</title></rect>',
            )


# --- the nodes


def _turn(series: Mapping[str, Any], group: str) -> tuple[float, str]:
    """When the first node of a group came or went: groups are drawn in that order."""
    lanes = [n for n in series["nodes"] if n["group"] == group and n["spans"]]
    turns = [float(n["spans"][0][1 if _came(n) else 2]) for n in lanes]
    return (min(turns, default=0.0), group)


def _came(lane: Mapping[str, Any]) -> bool:
    """Whether the node came during the run. One that was Ready at the first look at it was never seen joining."""
    return bool(lane["spans"][0][0] == "joining" or lane["generation"] == "new")


def _group(canvas: Canvas, group: Mapping[str, Any], series: Mapping[str, Any]) -> None:
    """Its lanes, its ready nodes, its utilisation, on top of each other."""
    name = group["name"]
    lanes = [n for n in series["nodes"] if n["group"] == name and n["spans"]]
    if lanes:
        _lanes(canvas, name, lanes)
    rows = series["groups"].get(name)
    if rows:
        _ready(canvas, group, rows)
    usage = series["usage"].get(name)
    if usage and len(usage) > 1:
        _usage(canvas, name, usage)


def _lanes(canvas: Canvas, group: str, lanes: Sequence[Mapping[str, Any]]) -> None:
    gone = sum(1 for n in lanes if n["spans"][-1][2] < canvas.seconds)
    canvas.title(f"Nodes of {group}: {len(lanes)} in all, {gone} gone by the end")
    if len(lanes) > MOST_LANES:
        _areas(canvas, lanes)
        return
    height = min(15.0, max(2.2, round(420 / len(lanes), 1)))
    gap = 3.0 if height > 8 else 0.6
    top = y = canvas.y
    for lane in sorted(lanes, key=_lane_order):
        if height > 8:
            zone = f" {lane['zone'][-1:]}" if lane["zone"] else ""
            canvas.label(y + height - 4, short(str(lane["name"]).split(".")[0], 22) + zone)
        for state, start, end in lane["spans"]:
            kind = str(lane["generation"] or "old") if state == "ready" else state
            tip = f"{lane['name']} ({lane['zone']}, {lane['kubelet']}): {state} for {duration(end - start)}"
            canvas.bar(kind, start, end, y, height, tip)
        y += height + gap
    canvas.section(top, y)


def _lane_order(lane: Mapping[str, Any]) -> tuple[bool, float, float, str]:
    """Those that were there first, by when they went; then the others, by when they came."""
    spans = lane["spans"]
    came, went, fresh = float(spans[0][1]), float(spans[-1][2]), _came(lane)
    return (fresh, came, went, lane["name"]) if fresh else (fresh, went, came, lane["name"])


def _areas(canvas: Canvas, lanes: Sequence[Mapping[str, Any]]) -> None:
    """How many nodes are in each state, stacked, over time."""
    height, top = 180.0, canvas.y
    rows = _tallies(lanes)
    most = float(max(sum(c.values()) for _, c in rows) or 1)
    below = [0] * len(rows)
    for key, text in STATES:
        above = [b + c.get(key, 0) for b, (_, c) in zip(below, rows, strict=True)]
        if above != below:
            over = canvas.stairs([(r[0], v) for r, v in zip(rows, above, strict=True)], top, height, most)
            under = canvas.stairs([(r[0], v) for r, v in zip(rows, below, strict=True)], top, height, most)
            path = " ".join([*over, *reversed(under)])
            canvas.parts.append(f'<polygon class="{key}" points="{path}"><title>{escape(text)}</title></polygon>')
        below = above
    canvas.scale(top, height, most)
    canvas.section(top, top + height)


def _tallies(lanes: Sequence[Mapping[str, Any]]) -> list[tuple[float, dict[str, int]]]:
    changes: list[tuple[float, str, int]] = []
    for lane in lanes:
        for state, start, end in lane["spans"]:
            kind = str(lane["generation"] or "old") if state == "ready" else state
            changes += [(start, kind, 1), (end, kind, -1)]
    counts = dict.fromkeys((key for key, _ in STATES), 0)
    rows: list[tuple[float, dict[str, int]]] = []
    for at, kind, by in sorted(changes):
        counts[kind] = counts.get(kind, 0) + by
        if rows and rows[-1][0] == at:
            rows[-1] = (at, dict(counts))
        else:
            rows.append((at, dict(counts)))
    return rows


def _ready(canvas: Canvas, group: Mapping[str, Any], rows: Sequence[Sequence[float]]) -> None:
    desired = int(group["desired"])
    floor = max(desired - int(group["maxUnavailable"]), 0)
    lowest = "?" if group["minReady"] is None else group["minReady"]
    canvas.title(
        f"Ready nodes of {group['name']}: never fewer than {lowest} of {desired}",
        [("ready", "ready"), ("all", "all"), ("floor", "must stay up")],
    )
    top, height = canvas.y, 84.0
    most = float(max([*(r[1] for r in rows), desired, 1]))
    most += most % 2
    canvas.scale(top, height, most)
    canvas.area("ready-area", [(r[0], r[2]) for r in rows], top, height, most)
    canvas.line("all", [(r[0], r[1]) for r in rows], top, height, most)
    canvas.line("ready", [(r[0], r[2]) for r in rows], top, height, most)
    canvas.level("floor", floor, top, height, most, f"must stay up: {floor}")
    canvas.section(top, top + height)


def _usage(canvas: Canvas, name: str, rows: Sequence[Sequence[Any]]) -> None:
    keys = [("cpu", "CPU"), ("memory", "memory")]
    if any(r[3] is not None for r in rows):
        keys.append(("used", "CPU really used"))
    canvas.title(f"Requested of what {name} can give", keys)
    top, height = canvas.y, 64.0
    most = 100.0 * max([1.0, *(max(r[1], r[2]) for r in rows)])
    canvas.scale(top, height, most if most <= 100 else float(-(-most // 20) * 20), " %")
    most = most if most <= 100 else float(-(-most // 20) * 20)
    for column, (kind, _) in enumerate(keys, start=1):
        points = [(r[0], 100.0 * r[column]) for r in rows if r[column] is not None]
        if points:
            canvas.line(kind, points, top, height, most)
    canvas.section(top, top + height)


# --- the pods


def _pods(canvas: Canvas, series: Mapping[str, Any]) -> None:
    rows = series["pods"]
    if not rows:
        return
    shown = [r for r in rows if canvas.first <= r[0] <= canvas.seconds] or rows[-1:]
    most = float(max(max(r[1] + r[2] for r in shown), 2))
    most += most % 2
    keys = [("pending", "pending: no node yet"), ("starting", "starting")]
    if series["evictions"]:
        keys += [("tick", "evicted"), ("tick again", "evicted again")]
    canvas.title("Pods on their way", keys)
    top, height = canvas.y, 64.0
    canvas.scale(top, height, most)
    canvas.area("starting", [(r[0], min(r[1] + r[2], most)) for r in rows], top, height, most)
    canvas.area("pending", [(r[0], min(r[1], most)) for r in rows], top, height, most)
    for at, workload, repeat in _thin([e for e in series["evictions"] if canvas.first <= e[0] <= canvas.seconds]):
        x = canvas.x(at)
        canvas.parts.append(
            f'<line class="tick{" again" if repeat else ""}" x1="{x}" x2="{x}" y1="{top + height + 2}" '
            f'y2="{top + height + 9}"><title>{escape(str(workload))} evicted{" again" if repeat else ""}</title></line>'
        )
    canvas.section(top, top + height, 14.0)


def _thin(rows: Sequence[Any], most: int = 600) -> Iterable[Any]:
    """At most so many: a tick beside a tick shows nothing more."""
    step = max(1, -(-len(rows) // most))
    return rows[::step]
