"""SVG pictures of a rehearsal: stages on a line of time, values over time, duration against disruption."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

Json = dict[str, Any]
WIDTH, LEFT, RIGHT = 1000, 200, 30
BUCKETS = 240


def _clock(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02d} h"


def _step(most: float, ticks: int, steps: Sequence[float]) -> float:
    return next((s for s in steps if most / s <= ticks), steps[-1])


def _open(height: int, label: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">'


def _time_axis(end: float, x: Callable[[float], float], top: int, bottom: int) -> list[str]:
    step = _step(end, 8, (300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400, 259200))
    parts, at = [], 0.0
    while at <= end:
        parts.append(f'<line class="grid" x1="{x(at):.1f}" y1="{top}" x2="{x(at):.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="dim" x="{x(at):.1f}" y="{bottom + 15}" text-anchor="middle">{_clock(at)}</text>')
        at += step
    return parts


def stages(rows: Sequence[Json]) -> str:
    """A bar per stage, one after the other: solid to its p50, pale to its p90."""
    known = [r for r in rows if r["durationSeconds"]]
    end: float = max(1.0, sum(r["durationSeconds"]["p50"] for r in known) + max(
        (r["durationSeconds"]["p90"] - r["durationSeconds"]["p50"] for r in known), default=0.0))  # fmt: skip
    height = 28 * len(rows) + 30

    def x(at: float) -> float:
        return LEFT + 60 + at / end * (WIDTH - LEFT - 60 - RIGHT)

    parts = [_open(height, "the stages on a line of time"), *_time_axis(end, x, 0, 28 * len(rows))]
    at = 0.0
    for index, row in enumerate(rows):
        y = 28 * index
        name = row["name"] if len(row["name"]) <= 36 else row["name"][:35] + "…"
        parts.append(f'<text x="0" y="{y + 18}">{escape(name)}</text>')
        took = row["durationSeconds"]
        if took is None:
            parts.append(f'<text class="dim" x="{min(x(at) + 4, WIDTH - 80):.1f}" y="{y + 18}">not reached</text>')
            continue
        for share, opacity in ((took["p90"], 0.3), (took["p50"], 1)):
            width = max(1.0, x(at + share) - x(at))
            parts.append(
                f'<rect x="{x(at):.1f}" y="{y + 5}" width="{width:.1f}" height="18" rx="3" '
                f'style="fill:var(--accent)" opacity="{opacity}"/>'
            )
        at += took["p50"]
    return "".join(parts) + "</svg>"


def legend(names: Sequence[str]) -> str:
    """Which colour is whose."""
    return "<p>" + " ".join(
        f'<span style="color:var(--c{i % 6})">&#9632;</span> {escape(name)}&nbsp;' for i, name in enumerate(names)
    ) + "</p>"  # fmt: skip


def thinned(
    track: Sequence[tuple[float, int]], first: int, end: float, *, lowest: bool = True
) -> list[tuple[float, int]]:
    """At most BUCKETS points, each the lowest (or highest) value of its stretch of time."""
    pick = min if lowest else max
    width = end / BUCKETS if end else 1.0
    found: list[tuple[float, int]] = []
    value, index = first, 0
    for bucket in range(BUCKETS):
        limit, extreme = (bucket + 1) * width, value
        while index < len(track) and track[index][0] < limit:
            value = track[index][1]
            extreme = pick(extreme, value)
            index += 1
        found.append((bucket * width, extreme))
    return found


def lines(
    tracks: Mapping[str, Sequence[tuple[float, int]]], first: Mapping[str, int], end: float, *, lowest: bool = True
) -> str:
    """Values over time, a colour each; where time is dense the lowest (or highest) value is drawn."""
    height, top, bottom, left = 240, 10, 210, 50
    drawn = {n: thinned(t, first.get(n, 0), end, lowest=lowest) for n, t in tracks.items()}
    most: float = max((v for points in drawn.values() for _, v in points), default=1) or 1

    def x(at: float) -> float:
        return left + at / (end or 1) * (WIDTH - left - RIGHT)

    def y(value: float) -> float:
        return bottom - value / most * (bottom - top)

    parts = [_open(height, "values over time"), *_time_axis(end, x, top, bottom)]
    step = _step(most, 5, [m * 10**e for e in range(7) for m in (1, 2, 5)])
    tick = 0.0
    while tick <= most:
        parts.append(f'<line class="grid" x1="{left}" y1="{y(tick):.1f}" x2="{WIDTH - RIGHT}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text class="dim" x="{left - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.0f}</text>')
        tick += step
    for index, points in enumerate(drawn.values()):
        path = [f"M{x(points[0][0]):.1f} {y(points[0][1]):.1f}"]
        path += [f"H{x(at):.1f}V{y(value):.1f}" for at, value in points[1:]]
        path.append(f"H{x(end):.1f}")
        parts.append(f'<path d="{"".join(path)}" fill="none" stroke-width="2" style="stroke:var(--c{index % 6})"/>')
    return "".join(parts) + "</svg>"


def pareto(rows: Sequence[Json]) -> str:
    """Duration to the right, disruption upwards; the front is a line, variants that halt are left out."""
    points = [r for r in rows if r["outcome"] == "succeeded"]
    if len(points) < 2:
        return ""
    height, top, bottom, left = 360, 20, 310, 70
    times = [r["durationSeconds"]["p50"] for r in points]
    costs = [r["disruption"] for r in points]
    low: float = min(times) * 0.95
    high: float = max(times) * 1.05
    most: float = max(costs) * 1.1 or 1.0
    least: float = min(costs) * 0.9

    def x(at: float) -> float:
        return left + (at - low) / (high - low) * (WIDTH - left - 180)

    def y(value: float) -> float:
        return bottom - (value - least) / (most - least) * (bottom - top)

    parts = [_open(height, "duration against disruption")]
    parts.append(f'<line class="grid" x1="{left}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}"/>')
    parts.append(f'<line class="grid" x1="{left}" y1="{top}" x2="{left}" y2="{bottom}"/>')
    step = _step(high - low, 7, (60, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400))
    at = -(-low // step) * step
    while at <= high:
        parts.append(f'<text class="dim" x="{x(at):.1f}" y="{bottom + 18}" text-anchor="middle">{_clock(at)}</text>')
        at += step
    parts.append(f'<text class="dim" x="{WIDTH - 180}" y="{bottom + 38}" text-anchor="end">duration (p50)</text>')
    parts.append(f'<text class="dim" x="{left - 60}" y="{top - 6}">disruption, replica-minutes</text>')
    for share in (0, 0.25, 0.5, 0.75, 1.0):
        value = least + (most - least) * share
        parts.append(f'<text class="dim" x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.0f}</text>')
    front = sorted((r for r in points if r["onFront"]), key=lambda r: r["durationSeconds"]["p50"])
    path = " ".join(f"{x(r['durationSeconds']['p50']):.1f},{y(r['disruption']):.1f}" for r in front)
    parts.append(f'<polyline points="{path}" fill="none" stroke-width="1.5" style="stroke:var(--good)"/>')
    for number, r in enumerate(rows):
        if r["outcome"] == "succeeded":
            parts += _point(number, r, x(r["durationSeconds"]["p50"]), y(r["disruption"]))
    return "".join(parts) + "</svg>"


def _point(number: int, row: Json, x: float, y: float) -> list[str]:
    """A dot with its row's number; those on the front, the plan as it is and what is recommended by name."""
    colour = "good" if row["onFront"] else "bad" if row["forcedEvictions"] else "dim"
    title = f"{row['change']}: {row['durationSeconds']['p50']:.0f} s, disruption {row['disruption']:.1f}"
    label, weight = str(number), ""
    if row["recommended"] or row["change"] == "as planned":
        label, weight = f"{number} {row['change'].rpartition('; ')[2]}", ' font-weight="600"'
    return [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" style="fill:var(--{colour})"><title>{escape(title)}</title></circle>',
        f'<text x="{x + 8:.1f}" y="{y - 6:.1f}"{weight}>{escape(label)}</text>',
    ]
