"""A sheet with one time axis: bars, stairs, scales, all as SVG elements. Knows nothing of clusters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, LEFT, RIGHT = 1120, 196, 18
_STEPS = (10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
_HATCH = (
    '<defs><pattern id="{id}" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="5" height="5" class="hatch-back"/><rect width="2" height="5" class="hatch-line"/></pattern></defs>'
)
HATCHED = "going"  # the class of bars drawn with stripes: told apart without colour


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

    def title(self, text: str, keys: Iterable[tuple[str, str]] = ()) -> None:
        """A heading, and at its right the (class, words) of the lines below."""
        self.y += 24
        self.parts.append(f'<text class="h" x="8" y="{self.y}">{escape(text)}</text>')
        words = "".join(
            f'<tspan class="key {kind}" dx="14">{"╌" if kind == "floor" else "▬"}</tspan>'
            f'<tspan dx="4">{escape(text)}</tspan>'
            for kind, text in keys
        )
        if words:
            self.parts.append(f'<text class="l" text-anchor="end" x="{WIDTH - RIGHT}" y="{self.y}">{words}</text>')
        self.y += 9

    def label(self, y: float, text: str) -> None:
        """In the margin, right-aligned."""
        self.parts.append(f'<text class="l" x="{LEFT - 8}" text-anchor="end" y="{y:.1f}">{escape(text)}</text>')

    def text(self, kind: str, x: float, y: float, words: str, anchor: str = "start") -> None:
        self.parts.append(f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>')

    def bar(self, kind: str, start: float, end: float, y: float, height: float, tip: str) -> None:
        """Nothing where it lies outside of what is shown."""
        if end < self.first or start > self.seconds:
            return
        left, right = self.x(start), self.x(end)
        self.parts.append(
            f'<rect class="{escape(kind)}" x="{left}" y="{y:.1f}" width="{max(right - left, 1.2):.1f}" '
            f'height="{height:g}">'
            f"<title>{escape(tip)}</title></rect>"
        )

    def stairs(self, rows: Sequence[tuple[float, float]], top: float, height: float, most: float) -> list[str]:
        """Points of a step line; the last value holds to the right edge. What lies outside is drawn onto the edge."""
        points: list[str] = []
        for at, value in thin([(self.x(at), value) for at, value in rows]):
            y = top + height - height * value / most
            if points:
                points.append(f"{at},{points[-1].partition(',')[2]}")
            points.append(f"{at},{y:.1f}")
        if points:
            points.append(f"{self.x(self.seconds)},{points[-1].partition(',')[2]}")
        return points

    def line(self, kind: str, rows: Sequence[tuple[float, float]], top: float, height: float, most: float) -> None:
        points = " ".join(self.stairs(rows, top, height, most))
        self.parts.append(f'<polyline class="{kind}" points="{points}"/>')

    def area(self, kind: str, rows: Sequence[tuple[float, float]], top: float, height: float, most: float) -> None:
        """From the values down to the ground."""
        points = self.stairs(rows, top, height, most)
        if points:
            left, right, ground = points[0].partition(",")[0], self.x(self.seconds), f"{top + height:.1f}"
            body = " ".join([*points, f"{right},{ground}", f"{left},{ground}"])
            self.parts.append(f'<polygon class="{kind}" points="{body}"/>')

    def level(self, kind: str, value: float, top: float, height: float, most: float, words: str) -> None:
        """A horizontal line through the section, with words at its right end."""
        y = top + height - height * value / most
        self.parts.append(f'<line class="{kind}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        under = y + 12 if y + 12 <= top + height else y - 4
        self.text(f"{kind}-text", WIDTH - RIGHT - 4, under, words, "end")

    def scale(self, top: float, height: float, most: float, unit: str = "") -> None:
        """The ground, the half and the top, where they are whole numbers."""
        for share in (0, 0.5, 1):
            value = most * share
            if value == int(value):
                y = top + height - height * share
                self.label(y + 4, f"{int(value)}{unit}")
                self.parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')

    def section(self, top: float, bottom: float, air: float = 6.0) -> None:
        """What was drawn between the two belongs together: the lines of the axis go through it."""
        self.sections.append((top, bottom))
        self.y = bottom + air

    def axis(self) -> None:
        """Lines through every section so far, and the time since the start of the run below."""
        step = next((s for s in _STEPS if (self.seconds - self.first) / s <= 10), _STEPS[-1])
        self.y += 10
        lines: list[str] = []
        at = float(-(-self.first // step) * step)
        while at <= self.seconds:
            x = self.x(at)
            lines += [
                f'<line class="grid" x1="{x}" x2="{x}" y1="{top:.1f}" y2="{bottom:.1f}"/>'
                for top, bottom in self.sections
            ]
            self.text("l", x, self.y, _clock(at, step), "middle")
            at += step
        self.parts[:0] = lines
        self.sections.clear()
        self.y += 10

    def svg(self, what: str, name: str) -> str:
        """The element; `what` says it to those who cannot see it."""
        body = "".join(self.parts)
        hatch = _HATCH.format(id=HATCHED)
        return (
            f'<svg class="run" viewBox="0 0 {WIDTH} {self.y:.0f}" role="img" aria-label="{escape(what)}" '
            f'data-name="{escape(name)}" data-first="{self.first:g}" data-last="{self.seconds:g}" '
            f'data-left="{LEFT}" data-right="{WIDTH - RIGHT}">{hatch}{body}</svg>'
        )


def thin(rows: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Where many values fall on one point of the width, the highest, the lowest and the last: peaks stay visible."""
    if len(rows) <= 1500:
        return rows
    kept: list[tuple[float, float]] = []
    index = 0
    while index < len(rows):
        end = index
        while end < len(rows) and int(rows[end][0]) == int(rows[index][0]):
            end += 1
        values = [v for _, v in rows[index:end]]
        place = rows[index][0]
        kept += [(place, v) for v in dict.fromkeys((max(values), min(values), values[-1]))]
        if kept[-1][1] != values[-1]:
            kept.append((place, values[-1]))
        index = end
    return kept


def _clock(at: float, step: float) -> str:
    minutes, seconds = divmod(round(at), 60)
    if step < 60:
        return f"{minutes}:{seconds:02d}"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60}:{minutes % 60:02d} h"


def short(text: str, most: int) -> str:
    """With an ellipsis where it is longer than `most`."""
    return text if len(text) <= most else text[: most - 1] + "…"
