"""A rehearsal as one self-contained HTML page: the figures, what blocks, and pictures drawn as SVG. No scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from baton.rehearsal.pictures import legend, lines, pareto, stages
from baton.rehearsal.summary import Summary
from baton.report.words import duration

Json = dict[str, Any]
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2733; --dim: #5b6b7b; --line: #d5dce3; --paper: #ffffff; --soft: #f4f6f8;
  --good: #1a7f4b; --bad: #b3261e; --accent: #2457a6; --c0: #2457a6; --c1: #c2701c; --c2: #1a7f4b; --c3: #8a3fa0;
  --c4: #0f7f8c; --c5: #a63d57; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ee; --dim: #9aa8b5; --line: #36424e; --paper: #151b21;
  --soft: #1d252d; --good: #5bc98c; --bad: #ff8a80; --accent: #8ab4f8; --c0: #8ab4f8; --c1: #f0a75a; --c2: #5bc98c;
  --c3: #d19ae0; --c4: #5fc9d6; --c5: #f08aa5; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto; padding: 2rem;
  max-width: 70rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
.dim, small { color: var(--dim); } .bad { color: var(--bad); } .good { color: var(--good); }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0; }
.card { background: var(--soft); border-radius: .5rem; padding: .7rem 1rem; min-width: 8rem; }
.card b { display: block; font-size: 1.35rem; font-weight: 600; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--dim); }
th, td { padding: .3rem .8rem .3rem 0; vertical-align: top;
  border-bottom: 1px solid var(--line); } .n { text-align: right; white-space: nowrap; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .dim { fill: var(--dim); } svg .grid { stroke: var(--line); } ul { padding-left: 1.2rem; }
""".strip()


def page(summary: Summary) -> str:
    """The page. The same summary gives the same bytes; it holds no wall-clock figure."""
    found = summary.as_json(stats=False)
    title = f"{found['cluster']}: {found['from']} to {found['to']}, rehearsed"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="dim">{found["runs"]} runs on a twin of the cluster, in virtual time, seed {found["seed"]}.</p>',
        _verdict(found),
        _cards(found),
        "<h2>Stages</h2>",
        stages(found["stages"]),
        _groups(found),
        _tracks(summary),
        _recommendations(found),
        _blocked(found),
        _unschedulable(found),
        _lowest(found),
        _lists(found),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n"
        + "\n".join(p for p in parts if p)
        + "\n</body>\n</html>\n"
    )


def _verdict(found: Json) -> str:
    runs, well = found["runs"], found["outcomes"].get("succeeded", 0)
    if well == runs:
        return f'<p class="good">Every run reached {escape(found["to"])}.</p>'
    reasons = "".join(f"<li>{escape(r['reason'])} ({r['runs']} of {runs} runs)</li>" for r in found["reasons"])
    return f'<p class="bad">{runs - well} of {runs} runs did not reach {escape(found["to"])}:</p><ul>{reasons}</ul>'


def _cards(found: Json) -> str:
    risks, surge = found["risks"], found["surge"]
    took = found["durationSeconds"]
    cost = surge["costUsd"]
    whole = set(found["outcomes"]) == {"succeeded"}
    cards = [
        (duration(took["p50"]), f"p50; p90 {duration(took['p90'])}" + ("" if whole else ", till it halts")),
        (f"{risks['evictions']['p50']:,}", f"evictions, {risks['repeatEvictions']['p50']:,} of them repeat"),
        (f"{risks['replicasAwayAtOnce']['p90']:,}", "replicas away at once (p90)"),
        (f"{surge['nodeHours']['p50']:.1f}", "node-hours of surge" + (f", {cost['p50']:.2f} USD" if cost else "")),
        (f"{risks['podsLost']['p90']:,}", "pods lost (p90)"),
    ]
    return '<div class="cards">' + "".join(f'<div class="card"><b>{a}</b>{b}</div>' for a, b in cards) + "</div>"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]], numbers: frozenset[int] = frozenset()) -> str:
    def cell(tag: str, index: int, value: Any) -> str:
        kind = ' class="n"' if index in numbers else ""
        return f"<{tag}{kind}>{escape(str(value))}</{tag}>"

    top = "".join(cell("th", i, h) for i, h in enumerate(head))
    body = "".join("<tr>" + "".join(cell("td", i, c) for i, c in enumerate(row)) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _groups(found: Json) -> str:
    rows = []
    for g in found["nodeGroups"]:
        took = g["durationSeconds"]
        rows.append(
            (
                g["name"],
                g["desired"],
                g["nodesReplaced"],
                g["minReady"],
                g["peakNodes"],
                duration(took["p50"]) if took else "-",
                f"{g['surgeNodeHours']['p50']:.1f}",
                g["outcome"] + (f" ({', '.join(g['failures'])})" if g["failures"] else ""),
            )
        )
    head = ("node group", "nodes", "replaced", "fewest ready", "most nodes", "p50", "surge node-hours", "outcome")
    return "<h2>Node groups</h2>" + _table(head, rows, frozenset({1, 2, 3, 4, 5, 6}))


def _tracks(summary: Summary) -> str:
    tracks: Mapping[str, Sequence[tuple[float, int]]] = summary.first.tracks
    ready = {k.partition("/")[2]: t for k, t in sorted(tracks.items()) if k.startswith("ready/")}
    parts = []
    end = summary.first.seconds
    if ready:
        initial = {n: g.desired for n, g in summary.first.groups.items()}
        parts.append(f"<h2>Ready nodes in the run with seed {summary.first.seed}</h2>")
        parts += [legend(list(ready)), lines(ready, initial, end)]
    if tracks.get("away"):
        parts.append("<h2>Replicas that are missing, over all workloads</h2>")
        parts.append(lines({"away": tracks["away"]}, {"away": 0}, end, lowest=False))
    return "\n".join(parts)


def _recommendations(found: Json) -> str:
    rows = found["recommendations"]
    if not rows:
        return ""
    table = []
    for number, r in enumerate(rows):
        saves = r["savesSeconds"]
        told = "-" if saves is None else ("-" if saves < 0 else "") + duration(abs(saves))
        table.append(
            (
                f"{number}{' *' if r['onFront'] else ''}",
                r["change"],
                duration(r["durationSeconds"]["p50"]),
                told,
                f"{r['disruption']:.1f}",
                f"{r['evictions']:,}",
                f"{r['minReadyPercent']} %",
                f"{r['surgeNodeHours']:.1f}",
                r["outcome"] + (f", {r['forcedEvictions']} by force" if r["forcedEvictions"] else ""),
            )
        )
    head = ("", "change", "p50", "saves", "disruption", "evictions", "fewest ready", "surge node-hours", "outcome")
    best = next((r for r in rows if r["recommended"]), None)
    told = ""
    if best is not None:
        how = "".join(f"<li>{escape(line)}</li>" for line in best["how"])
        told = f'<p class="good">Recommended: {escape(best["change"])}. {escape(best["why"])}</p><ul>{how}</ul>'
    return (
        "<h2>Other settings, rehearsed too</h2>"
        "<p><small>Disruption: replica-minutes missed, weighted by the part of the workload that was away at the same "
        "time. * on the front: none is both quicker and gentler."
        + (f" Saved against: {escape(rows[0]['against'])}." if rows[0]["against"] else "")
        + "</small></p>"
        + told
        + pareto(rows)
        + _table(head, table, frozenset({2, 3, 4, 5, 6, 7}))
    )


def _blocked(found: Json) -> str:
    rows = found["blocked"]
    if not rows:
        return ""
    table = [
        (r["pod"], r["pdb"], r["node"], duration(r["sinceSeconds"]), duration(r["seconds"]),
         "then let go" if r["cleared"] else "never let go", r["unblock"])
        for r in rows[:50]
    ]  # fmt: skip
    head = ("pod", "budget", "node", "since", "for", "", "what would unblock it")
    more = f"<p class='dim'>and {len(rows) - 50} more</p>" if len(rows) > 50 else ""
    return "<h2>Blocked for a minute or more</h2>" + _table(head, table, frozenset({3, 4})) + more


def _unschedulable(found: Json) -> str:
    rows = [(r["pod"], duration(r["seconds"]), r["reason"]) for r in found["unschedulable"][:50]]
    text = "" if not rows else "<h2>Pods without a node at the end</h2>" + _table(("pod", "waiting", "why"), rows)
    full = [f"<li>{escape(r['subnet'])} ({escape(r['zone'])})</li>" for r in found["fullSubnets"]]
    return text + (f"<h2>Subnets that run out of addresses</h2><ul>{''.join(full)}</ul>" if full else "")


def _lowest(found: Json) -> str:
    rows = [(r["workload"], r["ready"], r["wanted"]) for r in found["lowestReady"] if r["wanted"] > 1][:25]
    if not rows:
        return ""
    return "<h2>Lowest ready replicas</h2>" + _table(("workload", "ready", "of"), rows, frozenset({1, 2}))


def _lists(found: Json) -> str:
    parts = []
    for title, key in (("Assumed", "assumptions"), ("Not known", "unknown"), ("Times that were drawn from", "timings")):
        if found[key]:
            items = "".join(f"<li>{escape(line)}</li>" for line in found[key])
            parts.append(f"<h2>{title}</h2><ul>{items}</ul>")
    return "".join(parts)
