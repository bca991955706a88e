"""The report as one self-contained HTML page: no script, no request, prints well, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from baton.report.drawing import draw, legend
from baton.report.words import OUTCOMES, duration, mark

STYLE = """
:root{--bg:#fff;--fg:#1c2430;--quiet:#5b6675;--rule:#dde2e9;--card:#f5f7fa;--good:#0a7a4b;--bad:#b3261e;--warn:#8a5a00;
--old:#9aa5b4;--new:#0072b2;--joining:#9fd0ee;--cordoned:#f0c05a;--draining:#d55e00;--drained:#e9b999;--not:#7b1e3a;
--stage:#cfe0ee;--work:#2b6ca3;--add:#0a7a4b;--del:#b3261e}
@media (prefers-color-scheme:dark){:root{--bg:#12161c;--fg:#e3e8ee;--quiet:#98a4b3;--rule:#2b333e;--card:#1a2029;
--good:#4cc38a;--bad:#ff8a80;--warn:#f0c05a;--old:#6c7786;--new:#3b9edb;--joining:#2a5a7a;--cordoned:#c99a2e;
--draining:#ee7d2b;--drained:#7a4a2c;--not:#c2557a;--stage:#24384a;--work:#5aa9e0;--add:#4cc38a;--del:#ff8a80}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 24px 60px}
h1{font-size:25px;margin:0 0 2px;letter-spacing:-.01em}
h2{font-size:17px;margin:38px 0 10px;padding-top:14px;border-top:1px solid var(--rule)}
.quiet,.sub{color:var(--quiet)}.sub{margin:0 0 20px}
.badge{display:inline-block;padding:2px 11px;border-radius:99px;font-size:13px;font-weight:600;color:#fff;
background:var(--good);vertical-align:4px;margin-left:10px}
.badge.bad{background:var(--bad)}@media (prefers-color-scheme:dark){.badge{color:#10151b}}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(142px,1fr));gap:12px;margin:0}
.cards div{background:var(--card);border-radius:10px;padding:12px 15px}
.cards dt{color:var(--quiet);font-size:12.5px}.cards dd{margin:0;font-size:20px;font-weight:600;line-height:1.3}
.cards small{display:block;color:var(--quiet);font-size:12.5px;font-weight:400}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14px}
th{text-align:left;color:var(--quiet);font-weight:500;font-size:12.5px}
th,td{padding:6px 14px 6px 0;border-bottom:1px solid var(--rule);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}td code{font-size:12.5px;overflow-wrap:anywhere}
.ok{color:var(--good);font-weight:600}.no{color:var(--bad);font-weight:600}.un{color:var(--warn);font-weight:600}
svg.run{display:block;width:100%;height:auto;font:11.5px system-ui,sans-serif}
svg .h{fill:var(--fg);font-weight:600;font-size:12.5px}svg .l{fill:var(--quiet)}svg .f{fill:var(--bad);font-size:11px}
svg .window{fill:var(--card)}svg .grid{stroke:var(--rule);stroke-width:1}
svg .stage{fill:var(--stage);rx:4px}svg .work{fill:var(--work);rx:3px}
.old{fill:var(--old)}.new{fill:var(--new)}.joining{fill:var(--joining)}.cordoned{fill:var(--cordoned)}
.draining{fill:var(--draining)}.drained{fill:var(--drained)}.not-ready{fill:var(--not)}
svg polyline{fill:none;stroke-width:1.8;stroke:var(--new)}svg polyline.all{stroke:var(--old);stroke-width:1.2}
svg .floor{stroke:var(--bad);stroke-width:1.4;stroke-dasharray:6 4}
svg polygon.starting{fill:var(--joining)}svg polygon.pending{fill:var(--draining)}
svg .tick{stroke:var(--quiet);stroke-width:1}svg .tick.again{stroke:var(--draining)}
svg polyline.cpu{stroke:var(--new)}svg polyline.memory{stroke:var(--draining);stroke-dasharray:6 3}
svg polyline.used{stroke:var(--quiet);stroke-dasharray:2 3}
.legend{display:flex;flex-wrap:wrap;gap:5px 20px;color:var(--quiet);font-size:13px;margin:8px 0 0}
.legend i{display:inline-block;width:13px;height:13px;border-radius:3px;margin-right:6px;vertical-align:-2px}
i.old{background:var(--old)}i.new{background:var(--new)}i.joining{background:var(--joining)}
i.cordoned{background:var(--cordoned)}i.draining{background:var(--draining)}i.drained{background:var(--drained)}
i.not-ready{background:var(--not)}
pre{background:var(--card);border-radius:8px;padding:12px 14px;overflow-x:auto;font-size:12.5px;line-height:1.45}
pre .a{color:var(--add)}pre .d{color:var(--del)}details summary{cursor:pointer;padding:5px 0}
ul{padding-left:20px}footer{margin-top:44px;color:var(--quiet);font-size:13px}
@media print{main{max-width:none;padding:0}h2{break-after:avoid}tr,svg{break-inside:avoid}details{display:block}}
"""
_CLASSES = {"pass": "ok", "fail": "no", "unknown": "un", "waived": "un"}


def render(tree: Mapping[str, Any]) -> str:
    """The page for a report tree (report.tree.build_report, or a report.json)."""
    title = f"{tree['cluster']} {tree['from']} to {tree['to']}"
    parts = [
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width,initial-scale=1">',
        f"<title>{escape(title)}: upgrade report</title><style>{STYLE}</style></head><body><main>",
        _head(tree),
        _cards(tree),
        "<h2>The run</h2>",
        f'<div class="scroll">{draw(tree)}</div>',
        legend(),
        _verified(tree),
        _path(tree),
        _groups(tree),
        _rehearsal(tree),
        _blockers(tree),
        _workloads(tree),
        _edits(tree),
        _findings(tree),
        _notes(tree),
        f"<footer>Written by Baton. Report schema {escape(str(tree['schema']))}; times in cluster time, UTC.</footer>",
        "</main></body></html>\n",
    ]
    return "".join(parts)


def _head(tree: Mapping[str, Any]) -> str:
    outcome = str(tree["outcome"])
    good = "" if outcome == "succeeded" else " bad"
    when = f"{_when(tree['startedAt'])} to {_when(tree['endedAt'])}" if tree["startedAt"] else "not started"
    engine = {"terraform": "through Terraform", "aws": "through the AWS API"}.get(str(tree["engine"]), "")
    return (
        f"<h1>{escape(str(tree['cluster']))}: Kubernetes {escape(str(tree['from']))} &rarr; {escape(str(tree['to']))}"
        f'<span class="badge{good}">{escape(OUTCOMES.get(outcome, outcome))}</span></h1>'
        f'<p class="sub">{escape(when)}, {escape(engine)}</p>'
    )


def _when(text: Any) -> str:
    return str(text or "?").replace("T", " ").partition(".")[0]


def _cards(tree: Mapping[str, Any]) -> str:
    work, rehearsal = tree["workloads"], tree["rehearsal"]
    cards = [("Took", duration(tree["seconds"]), _count(len(tree["stages"]), "stage"))]
    if rehearsal.get("predictedSeconds") is not None:
        actual = rehearsal.get("actualSeconds")
        cards.append(("EKS at work", duration(actual), f"rehearsed {duration(rehearsal['predictedSeconds'])}"))
    replaced = sum(g["nodesReplaced"] or 0 for g in tree["nodeGroups"])
    cards.append(("Nodes replaced", str(replaced), _count(len(tree["nodeGroups"]), "node group")))
    lows = [g for g in tree["nodeGroups"] if g["minReady"] is not None]
    if lows:
        worst = min(lows, key=lambda g: g["minReady"] - (g["desired"] - g["maxUnavailable"]))
        floor = worst["desired"] - worst["maxUnavailable"]
        cards.append(("Lowest ready", f"{worst['minReady']} of {worst['desired']}", f"{floor} had to stay up"))
    cards.append(("Evictions", str(work["evictions"]), f"{work['repeatEvictions']} of them repeat"))
    cards.append(("Budgets broken", str(work["pdbViolations"]), f"at most {work['maxPending']} pods pending"))
    cards.append(("Pods lost", str(work["lost"]), ", ".join(work["lostNames"][:2]) or "every workload is back"))
    body = "".join(
        f"<div><dt>{escape(a)}</dt><dd>{escape(b)}<small>{escape(c)}</small></dd></div>" for a, b, c in cards
    )
    return f'<dl class="cards">{body}</dl>'


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _verified(tree: Mapping[str, Any]) -> str:
    rows = [
        (f'<span class="{_CLASSES.get(v["verdict"], "")}">{escape(mark(v["verdict"]))}</span>',
         escape(v["name"]), escape(v["subject"]), escape(v["message"]))
        for v in tree["verified"]
    ]  # fmt: skip
    if not rows:
        return "<h2>Verified</h2><p>Nothing was verified: the run did not get to its end.</p>"
    return "<h2>Verified, from a fresh look and from what was observed</h2>" + _table(
        ("", "what", "subject", "found"), rows
    )


def _path(tree: Mapping[str, Any]) -> str:
    rows = [
        (escape(p["stage"]), escape(p["name"]), _code(p["from"]), _code(p["to"]), escape(_when(p["startedAt"])),
         escape(duration(p["seconds"])))
        for p in tree["path"]
    ]  # fmt: skip
    open_stages = [s["name"] for s in tree["stages"] if s["state"] != "done"]
    rest = f"<p>Not done: {escape(', '.join(open_stages))}</p>" if open_stages else ""
    return "<h2>The path</h2>" + _table(("stage", "what", "from", "to", "started", "took"), rows) + rest


def _groups(tree: Mapping[str, Any]) -> str:
    rows = [
        (
            escape(g["name"]),
            _value(g["desired"]),
            _value(g["maxUnavailable"]),
            _value(g["minReady"]),
            _value(g["maxUnavailableObserved"]),
            _value(g["peakNodes"]),
            _value(g["nodesReplaced"]),
            f"{_image(g, 'Before')} &rarr; {_image(g, 'After')}",
            f"{_code(g['kubeletBefore'])} &rarr; {_code(g['kubeletAfter'])}",
        )
        for g in tree["nodeGroups"]
    ]
    head = ("group", "desired", "may be away", "lowest ready", "most away", "peak", "replaced", "AMI", "kubelet")
    return "<h2>Node groups, as observed</h2>" + _table(head, rows, numbers=range(1, 7))


def _image(group: Mapping[str, Any], which: str) -> str:
    name = group.get(f"amiName{which}")
    return (escape(str(name)) + " " if name else "") + _code(group[f"ami{which}"])


def _rehearsal(tree: Mapping[str, Any]) -> str:
    found = tree["rehearsal"]
    if not found.get("stages"):
        return ""
    took: dict[int, float] = {}
    for stage in tree["stages"]:
        spans = [p for p in tree["path"] if p["stage"] == stage["kind"] and _named(p, stage)]
        if spans:
            took[stage["ordinal"]] = _union(spans)
    rows = [
        (escape(s["name"]), escape(duration(s["seconds"])), escape(duration(took.get(s["ordinal"]))))
        for s in found["stages"]
    ]
    total = (
        f"<b>{escape(duration(found['predictedSeconds']))}</b>",
        f"<b>{escape(duration(found.get('actualSeconds')))}</b>",
    )
    rows.append(("<b>all stages</b>", *total))
    more = ""
    if found.get("elapsedSeconds") is not None:
        more = (
            f'<p class="quiet">Elapsed in all: {escape(duration(found["elapsedSeconds"]))}. What comes on top of '
            "EKS's own work is the engine's: planning, judging, polling. Beside an emulator, whose clock runs faster, "
            "it counts many times over.</p>"
        )
    table = _table(("stage", "rehearsed", "EKS at work"), rows, numbers=(1, 2))
    return "<h2>Rehearsed and real</h2>" + table + more


def _named(row: Mapping[str, Any], stage: Mapping[str, Any]) -> bool:
    return any(c["name"] == row["name"] and c["to"] == row["to"] for c in stage["changes"])


def _union(rows: Sequence[Mapping[str, Any]]) -> float:
    from datetime import datetime

    times = [datetime.fromisoformat(str(r[k]).replace("Z", "+00:00")) for r in rows for k in ("startedAt", "endedAt")]
    return (max(times) - min(times)).total_seconds()


def _blockers(tree: Mapping[str, Any]) -> str:
    if not tree["blockers"]:
        return "<h2>What held it up</h2><p>Nothing did.</p>"
    rows = [
        (escape(b["subject"]), escape(b["reason"]), escape(b["node"] or ""), escape(_when(b["since"])),
         escape(duration(b["seconds"]) if b["until"] else "still there"), escape(b["hint"]))
        for b in tree["blockers"]
    ]  # fmt: skip
    head = ("what", "why", "node", "since", "for", "what clears it")
    return "<h2>What held it up</h2>" + _table(head, rows)


def _workloads(tree: Mapping[str, Any]) -> str:
    moved = list(tree["workloads"]["evictionsByWorkload"].items())
    warnings = list(tree["warnings"].items())
    parts = []
    if moved:
        rows = [(escape(w), str(n)) for w, n in moved[:25]]
        parts.append("<h2>Evictions by workload</h2>" + _table(("workload", "evictions"), rows, numbers=(1,)))
        if len(moved) > 25:
            parts.append(f'<p class="quiet">and {len(moved) - 25} more workloads, in report.json</p>')
    if warnings:
        rows = [(escape(w), str(n)) for w, n in sorted(warnings, key=lambda i: -i[1])]
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
        kind = "a" if line.startswith("+") else "d" if line.startswith("-") else ""
        lines.append(f'<span class="{kind}">{escape(line)}</span>' if kind else escape(line))
    return "\n".join(lines)


def _findings(tree: Mapping[str, Any]) -> str:
    rows = [
        (escape(f["code"]), escape(f["severity"]),
         f'<span class="{_CLASSES.get(f["verdict"], "")}">{escape(mark(f["verdict"]))}</span>',
         escape(f["subject"]), escape(f["message"]))
        for f in tree["findings"]
    ]  # fmt: skip
    passed = f"<p>{tree['checksPassed']} checks passed.</p>" if tree["checksPassed"] else ""
    table = _table(("code", "severity", "", "subject", "message"), rows) if rows else ""
    return "<h2>Checks before the start</h2>" + table + passed


def _notes(tree: Mapping[str, Any]) -> str:
    parts = []
    for title, lines in (("Notes", tree["notes"]), ("Not known", tree["unknown"])):
        if lines:
            parts.append(f"<h2>{title}</h2><ul>" + "".join(f"<li>{escape(n)}</li>" for n in lines) + "</ul>")
    return "".join(parts)


def _code(value: Any) -> str:
    return "?" if value is None else f"<code>{escape(str(value))}</code>"


def _value(value: Any) -> str:
    return "?" if value is None else escape(str(value))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """Cells are HTML already."""
    right = set(numbers)

    def cell(tag: str, index: int, text: str) -> str:
        return f"<{tag}{' class=n' if index in right else ''}>{text}</{tag}>"

    top = "".join(cell("th", i, escape(h)) for i, h in enumerate(head))
    body = "".join("<tr>" + "".join(cell("td", i, c) for i, c in enumerate(row)) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
