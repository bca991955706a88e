"""The report of a run as one tree of plain JSON values; every format is drawn from it alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Protocol

from baton.model.cluster import Snapshot
from baton.model.events import Event
from baton.model.findings import Finding, Verdict
from baton.model.plan import Change, Plan, Stage, StageKind
from baton.model.view import Blocker, Verified, View
from baton.report.series import Series, fold, to_json
from baton.report.shape import SCHEMA

_OBSERVED = ("minReady", "maxUnavailableObserved", "nodesReplaced", "amiAfter", "kubeletBefore", "kubeletAfter")
_OF_PODS = ("pdb", "several-pdbs", "terminating", "unschedulable", "pod-not-ready")


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
    tree: dict[str, Any] = {
        "schema": SCHEMA,
        "baton": _version(),
        "cluster": plan.cluster,
        "from": plan.from_version,
        "to": plan.to_version,
        "engine": engine,
        "outcome": outcome,
        "startedAt": _time(first),
        "endedAt": _time(last),
        "seconds": None if first is None or last is None else round(last - first, 1),
        "path": [row for r in records for row in _path(r)],
        "stages": _stages(plan, records, timeline),
        "nodeGroups": _groups(plan, view, before, after, series),
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
        "notes": [*plan.notes, *_by_hand(plan), *notes],
        "updates": _updates(timeline),
        "unwatched": [
            {"startedAt": _time(start), "endedAt": _time(end), "seconds": round(end - start, 1)}
            for start, end in view.unwatched
        ],
        "unknown": _unknown(before, after, rehearsal, view),
        "series": to_json(series),
    }
    tree["unknown"] += _nulls(tree)
    return tree


def _by_hand(plan: Plan) -> list[str]:
    """What Baton does not do, and somebody or something else has to."""
    return [f"after {stage.name}, not by Baton: {text}" for stage in plan.stages for text in stage.by_hand]


def _version() -> str | None:
    """Of the installed package; None when it runs from a source tree that was never installed."""
    try:
        return metadata.version("baton-eks")
    except metadata.PackageNotFoundError:
        return None


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


def _stages(plan: Plan, records: Sequence[Record], timeline: Sequence[Event]) -> list[dict[str, Any]]:
    done = {r.ordinal: r for r in records}
    return [_stage(stage, done.get(stage.ordinal), timeline) for stage in plan.stages]


def _stage(stage: Stage, record: Record | None, timeline: Sequence[Event]) -> dict[str, Any]:
    """`state`: done, halted, running (begun, and no word of its end) or not done. `workSeconds`: from the begin of the
    first of its EKS updates to the end of the last."""
    begun = ended = None
    state, reason = "not done", None
    if record is not None:
        begun, ended, state = record.started_at, record.ended_at, "done"
    else:
        subject = f"stage {stage.ordinal} {stage.name}"
        begun = next((e.at for e in timeline if e.kind == "stage.started" and e.subject == subject), None)
        halts = [e for e in timeline if e.kind == "stage.halted" and e.subject == subject]
        if begun is not None:
            state, ended = "running", timeline[-1].at
        if halts:
            state, ended, reason = "halted", halts[-1].at, str(halts[-1].data.get("reason") or "")
    work = None
    if record is not None and record.changes:
        work = round(max(c[5] for c in record.changes) - min(c[4] for c in record.changes), 1)
    return {
        "ordinal": stage.ordinal,
        "kind": stage.kind.value,
        "name": stage.name,
        "reason": stage.reason,
        "startedAt": _time(begun),
        "endedAt": _time(ended),
        "seconds": None if begun is None or ended is None else round(ended - begun, 1),
        "workSeconds": work,
        "state": state,
        "halted": reason,
        "resumed": record.resumed if record else False,
        "changes": [{"kind": c.kind, "name": c.name, "from": c.from_, "to": c.to} for c in stage.changes],
        "diff": stage.diff,
    }


def _updates(timeline: Sequence[Event]) -> list[dict[str, Any]]:
    """The EKS updates that were followed, as EKS told them."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for event in timeline:
        if not event.kind.startswith("update."):
            continue
        key = (event.subject, str(event.data.get("id", "")))
        row = found.setdefault(key, {"subject": event.subject, "id": key[1], "type": event.data.get("type")})
        row |= {"status": event.data.get("status"), "errors": event.data.get("errors"), "seenAt": _time(event.at)}
    return list(found.values())


def _groups(plan: Plan, view: View, before: Snapshot, after: Snapshot | None, series: Series) -> list[dict[str, Any]]:
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
                "cpuRequestedPeak": max((r[1] for r in series.usage.get(group.name, ())), default=None),
                "memoryRequestedPeak": max((r[2] for r in series.usage.get(group.name, ())), default=None),
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
        "pod": blocker.subject if blocker.kind in _OF_PODS else None,
        "reason": blocker.reason,
        "since": _time(blocker.since),
        "until": _time(blocker.until),
        "seconds": None if blocker.until is None else round(blocker.until - blocker.since, 1),
        "node": blocker.node or None,
        "pdb": blocker.pdb or None,
        "hint": blocker.hint,
    }


def _unknown(before: Snapshot, after: Snapshot | None, rehearsal: Mapping[str, Any] | None, view: View) -> list[str]:
    found = [f"before: {u.what}: {u.reason}" for u in before.unknowns]
    found += [
        f"from {_time(start)} to {_time(end)} Baton did not run: what came and went then was not seen"
        for start, end in view.unwatched
    ]
    if after is None:
        found.append("the end was not looked at: the run did not get there")
    else:
        found += [f"after: {u.what}: {u.reason}" for u in after.unknowns]
    if rehearsal is None:
        found.append("no rehearsal was held, so there is nothing to compare the duration with")
    return found


def _nulls(tree: Mapping[str, Any]) -> Iterator[str]:
    """Names each figure that is null, so that nobody takes it for a zero."""
    if tree["baton"] is None:
        yield "baton: the version, since it is not installed as a package"
    if tree["seconds"] is None:
        yield "seconds: nothing was begun"
    for stage in tree["stages"]:
        if stage["state"] == "running":
            yield f"stages: how stage {stage['ordinal']} ended"
    for group in tree["nodeGroups"]:
        gaps = [k for k in _OBSERVED if group[k] is None]
        if gaps:
            yield f"nodeGroups: {', '.join(gaps)} of {group['name']}: no node of it was seen"
    if tree["engine"] == "terraform" and tree["terraform"].get("finalPlan") is None:
        yield "terraform: the final plan was not made"
    if tree["rehearsal"].get("predictedSeconds") is not None and tree["rehearsal"].get("actualSeconds") is None:
        yield "rehearsal: actualSeconds, since not every stage was done"
