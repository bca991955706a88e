"""The report as Markdown: for a pull request, a ticket, a change record."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from baton.report.words import duration, headline, mark, summary


def render(tree: Mapping[str, Any]) -> str:
    """A page of headings and tables; values are escaped."""
    lines = [f"# {_text(headline(tree))}", ""]
    if tree.get("startedAt"):
        lines += [f"{tree['startedAt']} to {tree['endedAt']}, engine {_text(tree['engine'])}.", ""]
    lines += [*(_text(sentence) for sentence in summary(tree)), ""]
    lines += [line for s in tree["stages"] if s["halted"] for line in ("> " + _text(s["halted"]), "")]
    lines += _rehearsed(tree)
    lines += ["## Path", ""]
    rows = [(p["stage"], p["name"], p["from"], p["to"], duration(p["seconds"])) for p in tree["path"]]
    lines += _table(("stage", "what", "from", "to", "took"), rows)
    open_stages = [s["name"] for s in tree["stages"] if s["state"] != "done"]
    if open_stages:
        lines += ["Not done: " + ", ".join(_text(s) for s in open_stages), ""]
    lines += ["## Node groups", ""]
    lines += _table(
        ("group", "desired", "may be away", "lowest ready", "replaced", "AMI", "kubelet"),
        [
            (
                g["name"],
                g["desired"],
                g["maxUnavailable"],
                _known(g["minReady"]),
                _known(g["nodesReplaced"]),
                f"{_known(g['amiBefore'])} -> {_known(g['amiAfter'])}",
                f"{_known(g['kubeletBefore'])} -> {_known(g['kubeletAfter'])}",
            )
            for g in tree["nodeGroups"]
        ],
    )
    work = tree["workloads"]
    lines += [
        "## Workloads",
        "",
        f"{work['evictions']} evictions, {work['repeatEvictions']} of them repeat; {work['pdbViolations']} budgets "
        f"broken; at most {work['maxPending']} pods pending; {work['lost']} lost.",
        "",
        "## Verified",
        "",
    ]
    if tree["verified"]:
        lines += _table(
            ("", "what", "subject", "found"),
            [(mark(v["verdict"]), v["name"], v["subject"], v["message"]) for v in tree["verified"]],
        )
    else:
        lines += ["Nothing was verified: the run did not get to its end.", ""]
    if tree["blockers"]:
        lines += ["## What held it up", ""]
        lines += _table(
            ("what", "reason", "since", "for", "what clears it"),
            [(b["subject"], b["reason"], b["since"], duration(b["seconds"]), b["hint"]) for b in tree["blockers"]],
        )
    if tree["findings"]:
        lines += ["## Findings of the checks", ""]
        lines += _table(
            ("code", "severity", "verdict", "subject", "message"),
            [(f["code"], f["severity"], f["verdict"], f["subject"], f["message"]) for f in tree["findings"]],
        )
    lines += _edits(tree)
    for title, told in (("Notes", tree["notes"]), ("Not known", tree["unknown"])):
        if told:
            lines += [f"## {title}", "", *(f"- {_text(line)}" for line in told), ""]
    return "\n".join(lines).rstrip() + "\n"


def _rehearsed(tree: Mapping[str, Any]) -> list[str]:
    found = tree["rehearsal"]
    if found.get("predictedSeconds") is None:
        return []
    predicted, actual = duration(found["predictedSeconds"]), duration(found.get("actualSeconds"))
    return [f"Rehearsed: {predicted} of EKS's work; took: {actual}.", ""]


def _edits(tree: Mapping[str, Any]) -> list[str]:
    """Each stage's diff in a fence that nothing in it can close."""
    lines: list[str] = []
    for stage in tree["stages"]:
        if stage["diff"]:
            fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", stage["diff"]))])
            head = f"{stage['ordinal']}. {_text(stage['name'])}"
            lines += [head, "", fence + "diff", *stage["diff"].splitlines(), fence, ""]
    final = tree["terraform"].get("finalPlan")
    if final:
        lines += [f"Final `terraform plan`: {_text(final)}.", ""]
    return ["## Terraform edits", "", *lines] if lines else []


def _known(value: Any) -> Any:
    return "?" if value is None else value


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    body = ["| " + " | ".join(_text(c) for c in row) + " |" for row in rows]
    return ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head), *body, ""]


def _text(value: Any) -> str:
    """What Markdown and HTML would take for markup is escaped."""
    text = "" if value is None else " ".join(str(value).split())
    for sign, safe in (("\\", "\\\\"), ("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, safe)
    for sign in "|`*[]":
        text = text.replace(sign, "\\" + sign)
    return text.replace("-&gt;", "->")
