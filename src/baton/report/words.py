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


def plural(number: int, what: str) -> str:
    """`1 stage`, `3 stages`."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def summary(tree: Mapping[str, Any]) -> list[str]:
    """The run in a sentence or two, from the tree's figures alone; what is not known is left out."""
    work = tree["workloads"]
    halted = next((s for s in tree["stages"] if s["state"] == "halted"), None)
    done = sum(s["state"] == "done" for s in tree["stages"])
    replaced = [g for g in tree["nodeGroups"] if g["nodesReplaced"]]
    parts = []
    if replaced:
        nodes = sum(g["nodesReplaced"] for g in replaced)
        parts.append(f"{plural(nodes, 'node')} replaced in {plural(len(replaced), 'node group')}")
    lows = [g for g in tree["nodeGroups"] if g["minReady"] is not None]
    short = [g for g in lows if g["minReady"] < g["desired"] - g["maxUnavailable"]]
    if short:
        parts.append("too few nodes ready in " + ", ".join(g["name"] for g in short))
    elif lows:
        parts.append("never more nodes away than allowed")
    if work["pdbViolations"]:
        parts.append(f"{plural(work['pdbViolations'], 'disruption budget')} broken")
    elif work["evictions"]:
        parts.append(f"every disruption budget kept through {plural(work['evictions'], 'eviction')}")
    parts.append(f"{plural(work['lost'], 'pod or workload')} lost" if work["lost"] else "nothing lost")
    first = f"{done} of {plural(len(tree['stages']), 'stage')} done in {duration(tree['seconds'])}"
    sentences = [f"{first}: {', '.join(parts)}."]
    if halted is not None:
        sentences.append(f"Halted in stage {halted['ordinal']} ({halted['name']}).")
    failed = [v for v in tree["verified"] if v["verdict"] != "pass"]
    if failed:
        sentences.append("Does not hold: " + "; ".join(_failure(v) for v in failed))
    return sentences


def _failure(row: Mapping[str, Any]) -> str:
    message = str(row["message"])
    return f"{row['name']} {row['subject']} ({message if len(message) <= 120 else message[:119] + '…'})"
