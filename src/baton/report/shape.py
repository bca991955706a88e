"""The shape of report.json, written down once: what a reader may rely on, and how a file of something else is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from baton.errors import ReadError

SCHEMA = 1
TEXT, NUMBER, FLAG = "text", "number", "flag"
_TYPES: Mapping[str, tuple[type, ...]] = {TEXT: (str,), NUMBER: (int, float), FLAG: (bool,)}

# A dict lists the keys that must be there; `?` after a type: or null; a list of one: any number of that; `*`: any keys.
CHANGE = {"kind": TEXT, "name": TEXT, "from": TEXT, "to": TEXT}
SHAPE: Mapping[str, Any] = {
    "schema": NUMBER,
    "baton": TEXT + "?",
    "cluster": TEXT,
    "from": TEXT,
    "to": TEXT,
    "engine": TEXT,
    "outcome": TEXT,
    "startedAt": TEXT + "?",
    "endedAt": TEXT + "?",
    "seconds": NUMBER + "?",
    "path": [
        {"stage": TEXT, "name": TEXT, "from": TEXT, "to": TEXT, "startedAt": TEXT, "endedAt": TEXT, "seconds": NUMBER}
    ],
    "stages": [
        {
            "ordinal": NUMBER,
            "kind": TEXT,
            "name": TEXT,
            "reason": TEXT,
            "startedAt": TEXT + "?",
            "endedAt": TEXT + "?",
            "seconds": NUMBER + "?",
            "workSeconds": NUMBER + "?",
            "state": TEXT,
            "halted": TEXT + "?",
            "resumed": FLAG,
            "changes": [CHANGE],
            "diff": TEXT,
        }
    ],
    "nodeGroups": [
        {
            "name": TEXT,
            "desired": NUMBER,
            "maxUnavailable": NUMBER,
            "minReady": NUMBER + "?",
            "minSchedulable": NUMBER + "?",
            "maxUnavailableObserved": NUMBER + "?",
            "maxDraining": NUMBER + "?",
            "peakNodes": NUMBER + "?",
            "nodesReplaced": NUMBER + "?",
            "amiBefore": TEXT + "?",
            "amiAfter": TEXT + "?",
            "amiNameBefore": TEXT + "?",
            "amiNameAfter": TEXT + "?",
            "kubeletBefore": TEXT + "?",
            "kubeletAfter": TEXT + "?",
            "cpuRequestedPeak": NUMBER + "?",
            "memoryRequestedPeak": NUMBER + "?",
            "planned": FLAG,
        }
    ],
    "workloads": {
        "evictions": NUMBER,
        "repeatEvictions": NUMBER,
        "displaced": NUMBER,
        "pdbViolations": NUMBER,
        "maxPending": NUMBER,
        "longestPendingSeconds": NUMBER,
        "lost": NUMBER,
        "lostNames": [TEXT],
        "evictionsByWorkload": {"*": NUMBER},
    },
    "terraform": {"finalPlan": TEXT + "?"},
    "rehearsal": {"predictedSeconds": NUMBER + "?", "actualSeconds": NUMBER + "?"},
    "verified": [{"name": TEXT, "subject": TEXT, "verdict": TEXT, "message": TEXT}],
    "findings": [
        {
            "code": TEXT,
            "title": TEXT,
            "severity": TEXT,
            "verdict": TEXT,
            "subject": TEXT,
            "message": TEXT,
            "hint": TEXT,
        }
    ],
    "checksPassed": NUMBER,
    "blockers": [
        {
            "kind": TEXT,
            "subject": TEXT,
            "pod": TEXT + "?",
            "reason": TEXT,
            "since": TEXT,
            "until": TEXT + "?",
            "seconds": NUMBER + "?",
            "node": TEXT + "?",
            "pdb": TEXT + "?",
            "hint": TEXT,
        }
    ],
    "warnings": {"*": NUMBER},
    "notes": [TEXT],
    "updates": [
        {
            "subject": TEXT,
            "id": TEXT,
            "type": TEXT + "?",
            "status": TEXT + "?",
            "errors": TEXT + "?",
            "seenAt": TEXT,
        }
    ],
    "unwatched": [{"startedAt": TEXT, "endedAt": TEXT, "seconds": NUMBER}],
    "unknown": [TEXT],
    "series": {
        "start": NUMBER,
        "seconds": NUMBER,
        "nodes": [
            {
                "name": TEXT,
                "group": TEXT,
                "generation": TEXT,
                "zone": TEXT,
                "image": TEXT,
                "kubelet": TEXT,
                "spans": [(TEXT, NUMBER, NUMBER)],
            }
        ],
        "groups": {"*": [(NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER)]},
        "pods": [(NUMBER, NUMBER, NUMBER, NUMBER)],
        "usage": {"*": [(NUMBER, NUMBER, NUMBER, NUMBER + "?")]},
        "evictions": [(NUMBER, TEXT, FLAG)],
    },
}


def checked(tree: Any, where: str) -> dict[str, Any]:
    """`tree`, when it is a report. Raises ReadError that names the first thing that is missing or odd."""
    if not isinstance(tree, dict) or tree.get("schema") != SCHEMA:
        raise ReadError("is not a report of a run", where=where, hint="`baton apply` writes report.json")
    fault = fault_in(tree)
    if fault:
        raise ReadError(
            f"is not a whole report: {fault}",
            where=where,
            hint="`baton apply` writes report.json; was it edited by hand?",
        )
    return tree


def fault_in(value: Any, shape: Any = SHAPE, path: str = "") -> str:
    """The first place where `value` is not of `shape`, as `stages[2].name is missing`; empty where there is none."""
    if isinstance(shape, str):
        kinds = _TYPES[shape.rstrip("?")]
        fits = (shape.endswith("?") and value is None) or (
            isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
        )
        return "" if fits else f"{path} is not a {shape.rstrip('?')}"
    if isinstance(shape, Mapping):
        return _fault_in_keys(value, shape, path)
    if not isinstance(value, list):
        return f"{path} is not a list"
    if isinstance(shape, tuple):
        if len(value) != len(shape):
            return f"{path} has {len(value)} values, not {len(shape)}"
        return next((f for i, s in enumerate(shape) if (f := fault_in(value[i], s, f"{path}[{i}]"))), "")
    return next((f for i, v in enumerate(value) if (f := fault_in(v, shape[0], f"{path}[{i}]"))), "")


def _fault_in_keys(value: Any, shape: Mapping[str, Any], path: str) -> str:
    if not isinstance(value, dict):
        return f"{path or 'it'} is not an object"
    dot = f"{path}." if path else ""
    if "*" in shape:
        return next((f for k, v in value.items() if (f := fault_in(v, shape["*"], f"{dot}{k}"))), "")
    for key, inner in shape.items():
        if key not in value:
            return f"{dot}{key} is missing"
        fault = fault_in(value[key], inner, f"{dot}{key}")
        if fault:
            return fault
    return ""
