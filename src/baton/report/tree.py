"""The report of a run as one tree of plain JSON values; every format is drawn from it alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from baton.model.cluster import Snapshot
from baton.model.events import Event
from baton.model.findings import Finding, Verdict
from baton.model.plan import Change, Plan, Stage, StageKind
from baton.model.view import Blocker, Verified, View
from baton.report.series import fold, to_json

SCHEMA = 1


class Record(Protocol):
    """How a stage went (conductor.run.StageRecord): changes are (kind, name, from, to, startedAt, endedAt)."""

    @property
    def ordinal(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def started_at(self) -> float: ...
    @property
    def ended_at(self) -> float: ...
    @property
    def changes(self) -> tuple[tuple[str, str, str, str, float, float], ...]: ...
    @property
    def resumed(self) -> bool: ...


def build_report(
    *,
    plan: Plan,
    records: Sequence[Record],
    view: View,
    before: Snapshot,
    after: Snapshot | None,
    engine: str,
    outcome: str,
    findings: Sequence[Finding] = (),
    verified: Sequence[Verified] = (),
    rehearsal: Mapping[str, Any] | None = None,
    terraform: Mapping[str, Any] | None = None,
    timeline: Sequence[Event] = (),
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The tree. `outcome`: succeeded, not-verified, halted, refused. `after` None: nobody could look at the end.

    What is not known is null and named in `unknown`. Times are RFC 3339 in cluster time, durations in seconds.
    """
    series = fold(timeline)
    first = records[0].started_at if records else (series.start or None)
    last = records[-1].ended_at if records else None
    if outcome != "succeeded" and series.end:
        last = series.end
    return {
        "schema": SCHEMA,
        "cluster": plan.cluster,
        "from": plan.from_version,
        "to": plan.to_version,
        "engine": engine,
        "outcome": outcome,
        "startedAt": _time(first),
        "endedAt": _time(last),
        "seconds": None if first is None or last is None else round(last - first, 1),
        "path": [row for r in records for row in _path(r)],
        "stages": _stages(plan, records),
        "nodeGroups": _groups(plan, view, before, after),
        "workloads": {
            "evictions": view.pods.evictions,
            "repeatEvictions": view.pods.repeat,
            "displaced": view.pods.displaced,
            "pdbViolations": view.pods.pdb_violations,
            "maxPending": view.pods.max_pending,
            "longestPendingSeconds": round(view.pods.longest_pending, 1),
            "lost": len(view.pods.lost),
            "lostNames": list(view.pods.lost),
            "evictionsByWorkload": dict(view.evictions_by_workload),
        },
        "terraform": dict(terraform) if terraform is not None else {"finalPlan": None},
        "rehearsal": dict(rehearsal) if rehearsal is not None else {"predictedSeconds": None, "actualSeconds": None},
        "verified": [
            {"name": v.name, "subject": v.subject, "verdict": v.verdict.value, "message": v.message} for v in verified
        ],
        "findings": [_finding(f) for f in findings if f.verdict is not Verdict.PASS],
        "checksPassed": sum(f.verdict is Verdict.PASS for f in findings),
        "blockers": [_blocker(b) for b in (*view.past_blockers, *view.blockers)],
        "warnings": dict(view.warnings),
        "notes": [*plan.notes, *notes],
        "unknown": _unknown(before, after, rehearsal),
        "series": to_json(series),
    }


def _time(at: float | None) -> str | None:
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _path(record: Record) -> list[dict[str, Any]]:
    """The changes of a stage that moved a version or an image; pacing is told under `stages`."""
    if record.kind == StageKind.UPDATE_CONFIG.value:
        return []
    return [
        {
            "stage": record.kind,
            "name": name,
            "from": from_,
            "to": to,
            "startedAt": _time(start),
            "endedAt": _time(end),
            "seconds": round(end - start, 1),
        }
        for _, name, from_, to, start, end in record.changes
    ]


def _stages(plan: Plan, records: Sequence[Record]) -> list[dict[str, Any]]:
    done = {r.ordinal: r for r in records}
    return [_stage(stage, done.get(stage.ordinal)) for stage in plan.stages]


def _stage(stage: Stage, record: Record | None) -> dict[str, Any]:
    return {
        "ordinal": stage.ordinal,
        "kind": stage.kind.value,
        "name": stage.name,
        "reason": stage.reason,
        "startedAt": _time(record.started_at) if record else None,
        "endedAt": _time(record.ended_at) if record else None,
        "seconds": round(record.ended_at - record.started_at, 1) if record else None,
        "state": "done" if record else "not done",
        "resumed": record.resumed if record else False,
        "changes": [{"kind": c.kind, "name": c.name, "from": c.from_, "to": c.to} for c in stage.changes],
        "diff": stage.diff,
    }


def _groups(plan: Plan, view: View, before: Snapshot, after: Snapshot | None) -> list[dict[str, Any]]:
    last: dict[str, Change] = {}
    for stage in plan.stages:
        if stage.kind is StageKind.NODE_GROUP:
            last.update({c.name: c for c in stage.changes})
    images = {i.id: i.name for i in (*before.images, *(after.images if after is not None else ()))}
    found = []
    for group in before.node_groups:
        seen = view.group(group.name)
        config = group.update_config
        found.append(
            {
                "name": group.name,
                "desired": seen.desired if seen else group.desired_size,
                "maxUnavailable": seen.allowed if seen else config.parallelism(group.desired_size),
                "minReady": seen.min_ready if seen else None,
                "minSchedulable": seen.min_schedulable if seen else None,
                "maxUnavailableObserved": seen.max_unavailable_observed if seen else None,
                "maxDraining": seen.max_draining if seen else None,
                "peakNodes": seen.peak_nodes if seen else None,
                "nodesReplaced": seen.replaced if seen else None,
                "amiBefore": (seen.image_before if seen else "") or group.image_id or None,
                "amiAfter": (seen.image_after or None) if seen else None,
                "amiNameBefore": images.get((seen.image_before if seen else "") or group.image_id),
                "amiNameAfter": images.get(seen.image_after) if seen else None,
                "kubeletBefore": (seen.kubelet_before or None) if seen else None,
                "kubeletAfter": (seen.kubelet_after or None) if seen else None,
                "planned": group.name in last,
            }
        )
    return found


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "title": finding.title,
        "severity": finding.severity.value,
        "verdict": finding.verdict.value,
        "subject": finding.subject,
        "message": finding.message,
        "hint": finding.hint,
    }


def _blocker(blocker: Blocker) -> dict[str, Any]:
    return {
        "kind": blocker.kind,
        "subject": blocker.subject,
        "reason": blocker.reason,
        "since": _time(blocker.since),
        "until": _time(blocker.until),
        "seconds": None if blocker.until is None else round(blocker.until - blocker.since, 1),
        "node": blocker.node or None,
        "pdb": blocker.pdb or None,
        "hint": blocker.hint,
    }


def _unknown(before: Snapshot, after: Snapshot | None, rehearsal: Mapping[str, Any] | None) -> list[str]:
    found = [f"before: {u.what}: {u.reason}" for u in before.unknowns]
    if after is None:
        found.append("the end was not looked at: the run did not get there")
    else:
        found += [f"after: {u.what}: {u.reason}" for u in after.unknowns]
    if rehearsal is None:
        found.append("no rehearsal was held, so there is nothing to compare the duration with")
    return found
