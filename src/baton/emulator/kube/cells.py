"""What the tables of all kinds have in common: columns, ages, selectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from baton.twin.timefmt import parse

Json = Mapping[str, Any]
Column = tuple[str, str, int]  # name, type, priority (0 always, 1 with -o wide)
Cells = Callable[[Json, float], list[Any]]


def age(since: str | None, now: float) -> str:
    """`5d3h` style, as duration.HumanDuration."""
    if not since:
        return "<unknown>"
    return human(max(0.0, now - parse(since)))


def human(seconds: float) -> str:
    """duration.HumanDuration."""
    s = int(seconds)
    if s < 120:
        return f"{s}s"
    m = s // 60
    if m < 10:
        return f"{m}m{s % 60}s" if s % 60 else f"{m}m"
    if m < 180:
        return f"{m}m"
    h = s // 3600
    if h < 8:
        return f"{h}h{m % 60}m" if m % 60 else f"{h}h"
    if h < 48:
        return f"{h}h"
    d = h // 24
    if d < 8:
        return f"{d}d{h % 24}h" if h % 24 else f"{d}d"
    if d < 365 * 2:
        return f"{d}d"
    return f"{d // 365}y{d % 365}d" if d % 365 else f"{d // 365}y"


def created(obj: Json, now: float) -> str:
    """The age of an object."""
    return age(obj["metadata"].get("creationTimestamp"), now)


def name_of(obj: Json) -> str:
    """The Name column."""
    return str(obj["metadata"]["name"])


def selector_text(selector: Json | None) -> str:
    """A label selector as metav1.FormatLabelSelector writes it."""
    if not selector:
        return "<none>"
    if "matchLabels" not in selector and "matchExpressions" not in selector:
        return ",".join(f"{k}={v}" for k, v in sorted(selector.items())) or "<none>"
    terms = [f"{k}={v}" for k, v in sorted((selector.get("matchLabels") or {}).items())]
    for e in selector.get("matchExpressions") or ():
        values = f" ({','.join(e.get('values') or ())})"
        terms.append(
            {"Exists": e["key"], "DoesNotExist": "!" + e["key"]}.get(
                e["operator"], f"{e['key']} {e['operator'].lower()}{values}"
            )
        )
    return ",".join(terms) or "<none>"


def plain(obj: Json, now: float) -> list[Any]:
    """Name and age."""
    return [name_of(obj), created(obj, now)]


def columns(text: str) -> list[Column]:
    """`Name Status Age | Wide1 Wide2`: names with underscores for blanks; numbers where the name ends in #."""
    out: list[Column] = []
    for priority, part in enumerate(text.split("|")):
        for word in part.split():
            kind = "integer" if word.endswith("#") else "string"
            out.append((word.rstrip("#").replace("_", " "), kind, priority))
    return out
