"""A twin with the times of a real run: what a report measured takes the place of the general distributions.

Durations of updates are taken as they were. How long a node group took depends on its pods as well, so for it the twin
rolls the group once and its own waits (boot, EKS's looks at the roll, termination) are stretched until the times agree.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from baton.errors import ReadError
from baton.model.cluster import Snapshot
from baton.model.plan import Plan, StageKind
from baton.rehearsal.rehearse import with_history
from baton.rehearsal.run import Options, rehearse_once
from baton.twin.cloud.settings import CloudSettings
from baton.twin.timings import Spread

Json = Mapping[str, Any]
ROUNDS = 2  # rehearsals to find the stretch
LEAST, MOST = 0.2, 5.0


def read_report(path: Path) -> Json:
    """A report.json of `baton apply`. Raises ReadError for anything else."""
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise ReadError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except ValueError as error:
        raise ReadError(f"it is not JSON: {error}", where=str(path)) from error
    if not isinstance(found, dict) or not isinstance(found.get("path"), list) or "stages" not in found:
        raise ReadError(
            "it is no report of an upgrade", where=str(path), hint="give the report.json that `baton apply` wrote"
        )
    return found


def calibrate(options: Options, report: Json, snapshot: Snapshot, plan: Plan) -> tuple[Options, list[str]]:
    """Options with the report's times, and a line about each time that was taken over.

    Raises ReadError when the report measured nothing that can be used.
    """
    settings = copy.deepcopy(options.settings) or CloudSettings()
    said = _direct(settings, report)
    options = replace(options, settings=settings)
    options, stretched = _stretched(options, report, snapshot, plan)
    said += stretched
    if not said:
        raise ReadError(
            "the report measured no stage to its end",
            where=f"report of {report.get('cluster')}",
            hint="give the report of an upgrade that got further",
        )
    return options, said


def measured(report: Json, kind: str) -> list[tuple[str, float]]:
    """(name, seconds) of every change of a kind (control-plane, addon, node-group) that came to its end."""
    found = []
    for row in report["path"]:
        seconds = row.get("seconds") if isinstance(row, dict) else None
        if isinstance(seconds, int | float) and seconds > 0 and row.get("stage") == kind:
            found.append((str(row.get("name")), float(seconds)))
    return found


def spread_of(values: Sequence[float], source: str) -> Spread:
    """From the shortest to the longest, most often the middle one."""
    ordered = sorted(values)
    return Spread(ordered[0], ordered[len(ordered) // 2], ordered[-1], source)


def _direct(settings: CloudSettings, report: Json) -> list[str]:
    source = f"measured: report of {report.get('cluster')}, {str(report.get('startedAt') or 'undated')[:10]}"
    said = []
    taken = {
        "control_plane_update": [s for _, s in measured(report, StageKind.CONTROL_PLANE.value)],
        "addon_update": [s for _, s in measured(report, StageKind.ADDONS.value)],
        "node_ready_gap": _joining(report),
    }
    for name, values in taken.items():
        if values:
            spread = spread_of(values, source)
            settings.timings = settings.timings.with_(**{name: spread})
            said.append(f"calibrated: {name.replace('_', ' ')} {spread} ({len(values)} measured)")
    return said


def _joining(report: Json) -> list[float]:
    """Seconds from a node's registration to Ready, as the report's lanes show them."""
    found = []
    series = report.get("series")
    for lane in (series.get("lanes") or ()) if isinstance(series, dict) else ():
        for span in lane.get("spans") or ():
            if len(span) == 3 and span[0] == "joining" and span[2] > span[1]:
                found.append(round(float(span[2]) - float(span[1]), 3))
    return found


def _stretched(options: Options, report: Json, snapshot: Snapshot, plan: Plan) -> tuple[Options, list[str]]:
    known = {g.name: g.desired_size for g in snapshot.node_groups}
    sizes = {str(g.get("name")): g.get("desired") for g in report.get("nodeGroups") or () if isinstance(g, dict)}
    rolled = {n: s for n, s in measured(report, StageKind.NODE_GROUP.value) if n in known}
    same = {n: s for n, s in rolled.items() if sizes.get(n) in (None, known[n])}
    skipped = sorted(set(rolled) - set(same))
    said = [f"not calibrated: node group {n} had another size then" for n in skipped]
    if not same:
        return options, said
    factor = 1.0
    for _ in range(ROUNDS):
        run = rehearse_once(snapshot, plan, 0, options=with_history(_with(options, factor), snapshot))
        pairs = [(seconds, run.spans[n]) for n, seconds in same.items() if run.spans.get(n) and n not in run.failures]
        if not pairs:
            return options, said
        factor = max(LEAST, min(MOST, factor * sum(a for a, _ in pairs) / sum(p for _, p in pairs)))
    names = ", ".join(f"{n} {s:.0f} s" for n, s in sorted(same.items()))
    said.append(f"calibrated: rolls take {factor:.2f} times as long as assumed otherwise (measured: {names})")
    return _with(options, factor), said


def _with(options: Options, factor: float) -> Options:
    settings = copy.deepcopy(options.settings) or CloudSettings()
    timings = settings.timings
    settings.timings = timings.with_(
        node_boot=timings.node_boot.scaled(factor), instance_terminate=timings.instance_terminate.scaled(factor)
    )
    low, high = settings.durations.roll_step
    settings.durations.roll_step = (low * factor, high * factor)
    settings.switches.settle_seconds *= factor
    return replace(options, settings=settings)
