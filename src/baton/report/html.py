"""The report as one self-contained HTML page: no request, readable without its script, prints well, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from baton.report.drawing import draw
from baton.report.words import OUTCOMES, duration, mark, plural, summary

MOST_WORKLOADS = 20
_CLASSES = {"pass": "ok", "fail": "no", "unknown": "un", "waived": "un"}
_KINDS = {"control-plane": "control plane", "addon": "add-on", "node-group": "node group"}


def render(tree: Mapping[str, Any]) -> str:
    """The page for a report tree (report.tree.build_report, or a report.json)."""
    title = f"{tree['cluster']} {tree['from']} to {tree['to']}"
    sections = (_verified, _blockers, _path, _groups, _rehearsal, _workloads, _edits, _findings, _notes)
    return "".join(
        [
            "<!doctype html>\n<html lang=en><head><meta charset=utf-8>",
            '<meta name=viewport content="width=device-width,initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(title)}: upgrade report</title><style>{_file('page.css')}</style></head><body><main>",
            _head(tree),
            _cards(tree),
            f'<h2>The run</h2><div class="chart">{draw(tree)}</div>',
            *(section(tree) for section in sections),
            _footer(tree),
            f"</main><script>{_file('page.js')}</script></body></html>\n",
        ]
    )


def _file(name: str) -> str:
    return (resources.files("baton.report") / name).read_text(encoding="utf-8")


def _head(tree: Mapping[str, Any]) -> str:
    outcome = str(tree["outcome"])
    bad = "" if outcome == "succeeded" else " bad"
    when = f"{_when(tree['startedAt'])} to {_when(tree['endedAt'])} UTC" if tree["startedAt"] else "not started"
    engine = {"terraform": "through Terraform", "aws": "through the AWS API"}.get(str(tree["engine"]), "")
    first, *rest = summary(tree)
    reasons = [s["halted"] for s in tree["stages"] if s.get("halted")]
    more = [*rest, *(r.partition("\n")[0] for r in reasons)]
    return (
        f"<h1>{escape(str(tree['cluster']))}: Kubernetes {escape(str(tree['from']))} &rarr; {escape(str(tree['to']))}"
        f'<span class="badge{bad}">{escape(OUTCOMES.get(outcome, outcome))}</span></h1>'
        f'<p class="sub">{escape(when)}, {escape(engine)}</p>'
        f'<div class="lead{bad}"><p>{escape(first)}</p>{"".join(f"<p>{escape(t)}</p>" for t in more)}</div>'
    )


def _when(text: Any) -> str:
    return str(text or "?").replace("T", " ").partition(".")[0]


def _cards(tree: Mapping[str, Any]) -> str:
    work, rehearsal = tree["workloads"], tree["rehearsal"]
    done = sum(s["state"] == "done" for s in tree["stages"])
    cards = [("Took", duration(tree["seconds"]), f"{done} of {plural(len(tree['stages']), 'stage')} done", False)]
    if rehearsal.get("predictedSeconds") is not None:
        actual = rehearsal.get("actualSeconds")
        cards.append(("EKS at work", duration(actual), f"rehearsed {duration(rehearsal['predictedSeconds'])}", False))
    replaced = sum(g["nodesReplaced"] or 0 for g in tree["nodeGroups"])
    cards.append(("Nodes replaced", str(replaced), plural(len(tree["nodeGroups"]), "node group"), False))
    lows = [g for g in tree["nodeGroups"] if g["minReady"] is not None]
    if lows:
        worst = min(lows, key=lambda g: g["minReady"] - (g["desired"] - g["maxUnavailable"]))
        floor = worst["desired"] - worst["maxUnavailable"]
        where = f"{floor} had to stay up" + (f" in {worst['name']}" if len(lows) > 1 else "")
        cards.append(("Lowest ready", f"{worst['minReady']} of {worst['desired']}", where, worst["minReady"] < floor))
    cards.append(("Evictions", str(work["evictions"]), f"{work['repeatEvictions']} hit a pod's replacement", False))
    broken = work["pdbViolations"]
    cards.append(("Budgets broken", str(broken), f"at most {plural(work['maxPending'], 'pod')} pending", broken > 0))
    names = ", ".join(work["lostNames"][:2]) + (" …" if len(work["lostNames"]) > 2 else "")
    cards.append(("Lost", str(work["lost"]), names or "every workload is back", work["lost"] > 0))
    body = "".join(
        f"<div{' class=bad' if bad else ''}><dt>{escape(a)}</dt><dd>{escape(b)}<small>{escape(c)}</small></dd></div>"
        for a, b, c, bad in cards
    )
    return f'<dl class="cards">{body}</dl>'


def _verified(tree: Mapping[str, Any]) -> str:
    if not tree["verified"]:
        return "<h2>Verified</h2><p>Nothing was verified: the run did not get to its end.</p>"
    rows = [(_verdict(v), escape(v["name"]), escape(v["subject"]), escape(v["message"])) for v in tree["verified"]]
    return (
        '<h2>Verified</h2><p class="quiet">By a fresh look at the end, and by what was observed on the way.</p>'
        + _table(("", "what", "subject", "found"), rows)
    )


def _verdict(row: Mapping[str, Any]) -> str:
    return f'<span class="{_CLASSES.get(row["verdict"], "")}">{escape(mark(row["verdict"]))}</span>'


def _blockers(tree: Mapping[str, Any]) -> str:
    if not tree["blockers"]:
        return "<h2>What held it up</h2><p>Nothing did.</p>"
    rows = [
        (
            escape(b["subject"]),
            escape(b["reason"]),
            escape(b["node"] or ""),
            escape(_when(b["since"])[11:]),
            escape(duration(b["seconds"]) if b["until"] else "still there"),
            escape(b["hint"]),
        )
        for b in tree["blockers"]
    ]
    head = ("what", "why", "node", "since", "for", "what clears it")
    return "<h2>What held it up</h2>" + _table(head, rows, whole=(3, 4))


def _path(tree: Mapping[str, Any]) -> str:
    rows = [
        (
            escape(_KINDS.get(p["stage"], p["stage"])),
            escape(p["name"]),
            _code(p["from"]),
            _code(p["to"]),
            escape(_when(p["startedAt"])[11:]),
            escape(duration(p["seconds"])),
        )
        for p in tree["path"]
    ]
    open_stages = [s["name"] for s in tree["stages"] if s["state"] != "done"]
    rest = f"<p>Not done: {escape(', '.join(open_stages))}.</p>" if open_stages else ""
    table = _table(("stage", "what", "from", "to", "started", "took"), rows, numbers=(5,), whole=(0, 1, 4, 5))
    return "<h2>The path</h2>" + (table if rows else "<p>Nothing was changed.</p>") + rest


def _groups(tree: Mapping[str, Any]) -> str:
    rows = [
        (
            escape(g["name"]),
            *(_value(g[k]) for k in ("desired", "maxUnavailable", "minReady", "maxUnavailableObserved", "peakNodes")),
            _value(g["nodesReplaced"]),
            f"{_image(g, 'Before')} &rarr;<br>{_image(g, 'After')}",
            f"{_code(g['kubeletBefore'])} &rarr;<br>{_code(g['kubeletAfter'])}",
        )
        for g in tree["nodeGroups"]
    ]
    head = ("group", "desired", "may be away", "lowest ready", "most away", "peak", "replaced", "AMI", "kubelet")
    return "<h2>Node groups, as observed</h2>" + _table(head, rows, numbers=range(1, 7), whole=(0, 8))


def _image(group: Mapping[str, Any], which: str) -> str:
    name = group.get(f"amiName{which}")
    return (escape(str(name)) + " " if name else "") + _code(group[f"ami{which}"])


def _rehearsal(tree: Mapping[str, Any]) -> str:
    found = tree["rehearsal"]
    if not found.get("stages"):
        return ""
    stages = {s["ordinal"]: s for s in tree["stages"]}
    rows = []
    for row in found["stages"]:
        stage = stages.get(row["ordinal"], {})
        took = stage.get("workSeconds")
        cells = (duration(row["seconds"]), duration(took), _off(row["seconds"], took), duration(stage.get("seconds")))
        rows.append((f"{row['ordinal']}. {escape(row['name'])}", *map(escape, cells)))
    whole, actual = found.get("predictedSeconds"), found.get("actualSeconds")
    last = (duration(whole), duration(actual), _off(whole, actual), duration(found.get("elapsedSeconds")))
    rows.append(("<b>all stages</b>", *(f"<b>{escape(c)}</b>" for c in last)))
    head = ("stage", "rehearsed", "EKS at work", "off by", "whole stage")
    return (
        '<h2>Rehearsed and real</h2><p class="quiet">A rehearsal predicts EKS\'s own work. What comes on top until a '
        "stage has ended is the engine's: planning, judging, polling. Beside an emulator, whose clock runs faster, it "
        "counts many times over.</p>" + _table(head, rows, numbers=(1, 2, 3, 4))
    )


def _off(predicted: float | None, actual: float | None) -> str:
    return "-" if not predicted or actual is None else f"{100 * (actual - predicted) / predicted:+.0f} %"


def _workloads(tree: Mapping[str, Any]) -> str:
    moved = list(tree["workloads"]["evictionsByWorkload"].items())
    parts = []
    if moved:
        rows = [(escape(w), str(n)) for w, n in moved[:MOST_WORKLOADS]]
        parts.append("<h2>Evictions by workload</h2>" + _table(("workload", "evictions"), rows, numbers=(1,)))
        if len(moved) > MOST_WORKLOADS:
            parts.append(f'<p class="quiet">And {len(moved) - MOST_WORKLOADS} more workloads, in report.json.</p>')
    warnings = sorted(tree["warnings"].items(), key=lambda i: (-i[1], i[0]))
    if warnings:
        rows = [(escape(w), str(n)) for w, n in warnings]
        parts.append("<h2>Warning events of the cluster</h2>" + _table(("reason", "times"), rows, numbers=(1,)))
    return "".join(parts)


def _edits(tree: Mapping[str, Any]) -> str:
    shown = [s for s in tree["stages"] if s["diff"]]
    if not shown:
        return ""
    body = "".join(
        f"<details open><summary>{s['ordinal']}. {escape(s['name'])}</summary><pre>{_diff(s['diff'])}</pre></details>"
        for s in shown
    )
    final = tree["terraform"].get("finalPlan")
    last = f"<p>Final <code>terraform plan</code>: {escape(str(final))}</p>" if final else ""
    return "<h2>Terraform edits</h2>" + body + last


def _diff(text: str) -> str:
    lines = []
    for line in text.splitlines():
        head = line.startswith(("+++", "---", "@@"))
        kind = "c" if head else "a" if line.startswith("+") else "d" if line.startswith("-") else ""
        lines.append(f'<span class="{kind}">{escape(line)}</span>' if kind else escape(line))
    return "\n".join(lines)


def _findings(tree: Mapping[str, Any]) -> str:
    if not tree["findings"] and not tree["checksPassed"]:
        return ""
    rows = [
        (escape(f["code"]), escape(f["severity"]), _verdict(f), escape(f["subject"]), escape(f["message"]))
        for f in tree["findings"]
    ]
    passed = f"<p>{plural(tree['checksPassed'], 'check')} passed.</p>" if tree["checksPassed"] else ""
    table = _table(("code", "severity", "", "subject", "message"), rows) if rows else ""
    return "<h2>Checks before the start</h2>" + table + passed


def _notes(tree: Mapping[str, Any]) -> str:
    parts = []
    for title, lines in (("Notes", tree["notes"]), ("Not known", tree["unknown"])):
        if lines:
            parts.append(f"<h2>{title}</h2><ul>" + "".join(f"<li>{escape(n)}</li>" for n in lines) + "</ul>")
    return "".join(parts)


def _footer(tree: Mapping[str, Any]) -> str:
    version = f" {tree['baton']}" if tree.get("baton") else ""
    return (
        f"<footer>Written by Baton{escape(version)}; report schema {escape(str(tree['schema']))}. Times are cluster "
        "time, in UTC.</footer>"
    )


def _code(value: Any) -> str:
    return "?" if value is None else f"<code>{escape(str(value))}</code>"


def _value(value: Any) -> str:
    return "?" if value is None else escape(str(value))


def _table(
    head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = (), whole: Iterable[int] = ()
) -> str:
    """Cells are HTML already. `numbers` are columns set to the right, `whole` those that are not broken into lines."""
    classes = {**dict.fromkeys(whole, "w")}
    for index in numbers:
        classes[index] = "n w" if index in classes else "n"

    def cell(tag: str, index: int, text: str) -> str:
        kind = f' class="{classes[index]}"' if index in classes else ""
        return f"<{tag}{kind}>{text}</{tag}>"

    top = "".join(cell("th", i, escape(h)) for i, h in enumerate(head))
    body = "".join("<tr>" + "".join(cell("td", i, c) for i, c in enumerate(row)) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
