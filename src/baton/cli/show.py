"""Findings, plans and rehearsals as text for a terminal, and as JSON."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from baton.report.words import duration, headline

if TYPE_CHECKING:
    from baton.model.findings import Finding
    from baton.model.plan import Change, Plan, Stage

MOST, LEAST = 110, 60  # columns of running text: longer lines are hard to read, shorter ones fall apart
_MARKS = {"pass": "ok", "fail": "FAIL", "unknown": "????", "waived": "waived"}


def to_json(value: Any) -> Any:
    """Frozen values as plain JSON; keys in camelCase, as in every file Baton writes."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {camel(f.name): to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(v) for v in value]
    return value


def camel(name: str) -> str:
    head, *rest = name.rstrip("_").split("_")
    return head + "".join(part.capitalize() for part in rest)


def print_json(value: Any) -> None:
    """One document on stdout."""
    json.dump(to_json(value), sys.stdout, indent=2, sort_keys=False)
    sys.stdout.write("\n")


def width() -> int:
    """How wide text is set: the terminal's columns (or COLUMNS) within reason; the most where there is no terminal."""
    return max(LEAST, min(MOST, shutil.get_terminal_size((MOST, 24)).columns))


def wrapped(text: str, indent: str = "", first: str | None = None) -> str:
    return textwrap.fill(
        text,
        width(),
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_on_hyphens=False,  # names of add-ons and images stay whole
        break_long_words=False,
    )


def narrowed(text: str) -> str:
    """Lines that are too wide go on below, further in; all others stay as they are."""
    lines = []
    for line in text.splitlines():
        further = " " * (len(line) - len(line.lstrip()) + 4)
        lines.append(line if len(line) <= width() else wrapped(line, further, ""))
    return "\n".join(lines) + "\n"


def findings_text(findings: Sequence[Finding], *, passed: bool = True) -> str:
    """The worst first; what passed in one line each, at the end."""
    lines = []
    open_ones = [f for f in findings if f.verdict.value != "pass"]
    for finding in open_ones:
        lines.append(
            f"{_MARKS[finding.verdict.value]:>6}  {finding.severity.value:<6}  {finding.code}  {finding.subject}"
        )
        lines.append(wrapped(finding.message, " " * 16))
        if finding.hint:
            lines.append(wrapped(finding.hint, " " * 22, " " * 16 + "hint: "))
    if passed:
        for finding in findings:
            if finding.verdict.value == "pass":
                told = f"{finding.title}: {finding.message}"
                lines.append(wrapped(told, " " * 24, f"{_MARKS['pass']:>6}          {finding.code}  "))
    lines.append("")
    lines.append(summary(findings))
    return "\n".join(lines)


def summary(findings: Sequence[Finding]) -> str:
    """`41 passed, 3 to look at, 1 blocks`."""
    blocking = sum(f.blocks for f in findings)
    passed = sum(f.verdict.value == "pass" for f in findings)
    waived = sum(f.verdict.value == "waived" for f in findings)
    rest = len(findings) - passed - blocking - waived
    parts = [f"{passed} passed", f"{rest} to look at"]
    if waived:
        parts.append(f"{waived} waived")
    parts.append(f"{blocking} block" + ("s" if blocking == 1 else "") if blocking else "nothing blocks")
    return ", ".join(parts)


def plan_text(plan: Plan, *, diffs: bool = True) -> str:
    """Stages in order, each with its changes and its reason; with `diffs` also the Terraform diffs and the notes."""
    lines = [f"Cluster {plan.cluster}: {plan.from_version} -> {plan.to_version}, {len(plan.stages)} stages", ""]
    for stage in plan.stages:
        lines.append(f"{stage.ordinal}. {stage.name}")
        for change in stage.changes:
            lines += _moves(change)
        lines += _reasons(stage)
        for text in stage.by_hand:
            lines.append(wrapped(text, "     ", "     then, not by Baton: "))
        for diff_line in stage.diff.splitlines() if diffs else ():
            lines.append("     | " + diff_line)
        if stage.targets:
            lines.append("     with " + " ".join(f"-target={t}" for t in stage.targets))
        lines.append("")
    if diffs:
        lines += _bullets("Notes", plan.notes)
        lines += _bullets("Other ways", plan.alternatives)
    return "\n".join(lines).rstrip() + "\n"


def _reasons(stage: Stage) -> list[str]:
    """The reason of the stage and of each of its changes."""
    from baton.terraform.editor import HOLD

    lines = [wrapped(stage.reason, "     ", "     why: ")]
    if any(edit.why.startswith(HOLD) for edit in stage.edits):
        lines.append(
            wrapped("what is written out here is held where it is until its own stage comes", "     ", "     ")
        )
    lines += [
        wrapped(f"{change.name}: {change.reason}", "          ", "          ")
        for change in stage.changes
        if change.reason and change.kind != "cluster"
    ]
    return lines


def _subject(kind: str, name: str) -> str:
    return {"cluster": "cluster", "addon": "add-on", "node-group": "node group"}.get(kind, kind) + " " + name


def _moves(change: Change) -> list[str]:
    """What moves from where to where; an image by its name and kubelets, too."""
    attributes, before = change.attributes, " " * 5
    lines = [f"{before}{_subject(change.kind, change.name):<28} {change.from_} -> {change.to}"]
    if attributes.get("image_name"):
        kubelets = f"kubelet {attributes.get('kubelet_from')} -> {attributes.get('kubelet_to')}"
        lines.append(wrapped(f"{attributes['image_name']}, {kubelets}", before + " " * 29, before + " " * 29))
    return lines


def _bullets(title: str, lines: Iterable[str]) -> list[str]:
    found = [wrapped(line, "    ", "  - ") for line in lines]
    return [title + ":", *found, ""] if found else []


def prediction_text(found: Mapping[str, Any]) -> str:
    """What one rehearsal says, in a few lines."""
    lines = [f"Rehearsed on a twin of this cluster: {duration(found['predictedSeconds'])} of cluster time"]
    lines += [f"  {s['ordinal']}. {s['name']:<34} {duration(s['seconds']):>9}" for s in found["stages"]]
    for name, group in found["groups"].items():
        lines.append(
            f"  node group {name}: {group['replaced']} nodes replaced, never fewer than {group['minReady']} ready"
        )
    lines.append(f"  {found['evictions']} evictions, {found['repeatEvictions']} of them repeat; "
                 f"at most {found['maxPending']} pods pending at once")  # fmt: skip
    waits = [b for b in found["blocked"] if b["seconds"] >= 60]
    for blocked in waits[:5]:
        lines.append(f"  blocked: {blocked['pod']} by {blocked['pdb']} for {duration(blocked['seconds'])}")
    return "\n".join(lines) + "\n"


def report_text(tree: Mapping[str, Any], files: Iterable[Any]) -> str:
    """The report in a screenful: outcome, stages, node groups, workloads, what was verified."""
    lines = ["", headline(tree), ""]
    for step in tree.get("path") or ():
        took = duration(step["seconds"])
        lines.append(f"  {step['stage']:<14} {step['name']:<24} {step['from']} -> {step['to']:<24} {took}")
    for group in tree.get("nodeGroups") or ():
        lines.append(
            f"  node group {group['name']}: {group['nodesReplaced']} nodes replaced, {group['minReady']} of "
            f"{group['desired']} ready at the lowest (at most {group['maxUnavailable']} may be away)"
        )
    work = tree.get("workloads") or {}
    lines.append(
        f"  workloads: {work.get('evictions')} evictions ({work.get('repeatEvictions')} repeat), "
        f"{work.get('pdbViolations')} budgets broken, at most {work.get('maxPending')} pods pending, "
        f"{work.get('lost')} lost"
    )
    rehearsal = tree.get("rehearsal") or {}
    if rehearsal.get("predictedSeconds") is not None:
        actual = rehearsal.get("actualSeconds")
        lines.append(
            f"  rehearsed {duration(rehearsal['predictedSeconds'])}, took "
            + ("?" if actual is None else duration(actual))
            + " of cluster time"
        )
    lines += _verified_lines(tree.get("verified") or ())
    written = [str(f) for f in files]
    if written:
        lines += ["", *(f"  {name}" for name in written)]
    return "\n".join(lines) + "\n"


def _verified_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    marks = {"pass": "ok", "fail": "FAIL", "unknown": "????"}
    return [""] + [
        f"  {marks.get(str(r.get('verdict')), '?'):>4}  {r.get('name')} {r.get('subject')}: {r.get('message')}"
        for r in rows
    ]
