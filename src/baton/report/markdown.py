"""The report as Markdown: for a pull request, a ticket, a change record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from baton.report.words import duration, headline, mark


def render(tree: Mapping[str, Any]) -> str:
    """A page of headings and tables; values are escaped."""
    lines = [f"# {_text(headline(tree))}", ""]
    if tree.get("startedAt"):
        lines += [f"{tree['startedAt']} to {tree['endedAt']}, engine {tree['engine']}.", ""]
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
                g["minReady"],
                g["nodesReplaced"],
                f"{g['amiBefore']} -> {g['amiAfter']}",
                f"{g['kubeletBefore']} -> {g['kubeletAfter']}",
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
    lines += _table(
        ("", "what", "subject", "found"),
        [(mark(v["verdict"]), v["name"], v["subject"], v["message"]) for v in tree["verified"]],
    )
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
    if tree["unknown"]:
        lines += ["## Not known", "", *(f"- {_text(u)}" for u in tree["unknown"]), ""]
    return "\n".join(lines).rstrip() + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    body = ["| " + " | ".join(_text(c) for c in row) + " |" for row in rows]
    return ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head), *body, ""]


def _text(value: Any) -> str:
    """What Markdown and HTML would take for markup is escaped."""
    text = "" if value is None else str(value)
    for sign, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("\n", " "), ("`", "\\`")):
        text = text.replace(sign, safe)
    return text.replace("-&gt;", "->")
