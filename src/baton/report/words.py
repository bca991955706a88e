"""Words and figures that several formats share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OUTCOMES = {
    "succeeded": "Done and verified",
    "not-verified": "Done, but not all of it verified",
    "halted": "Halted half-way",
    "refused": "Refused, nothing changed",
}
_MARKS = {"pass": "ok", "fail": "FAIL", "unknown": "unknown", "waived": "waived"}


def headline(tree: Mapping[str, Any]) -> str:
    """`Done and verified: demo 1.34 -> 1.35`."""
    outcome = str(tree.get("outcome"))
    return f"{OUTCOMES.get(outcome, outcome)}: {tree.get('cluster')} {tree.get('from')} -> {tree.get('to')}"


def mark(verdict: Any) -> str:
    return _MARKS.get(str(verdict), str(verdict))


def duration(seconds: float | None) -> str:
    """`45 s`, `12 min`, `1 h 05 min`; a dash for what is not known."""
    if seconds is None:
        return "-"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
