"""A rehearsal as text: tables for a terminal, plain columns for a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from baton.report.words import duration, plural

if TYPE_CHECKING:
    from baton.rehearsal.summary import Summary

_LEFT = frozenset({"stage", "node group", "outcome", "what", "workload", "budget", "pod", "why", "change", "note"})
WIDTH = 118


def print_summary(summary: Summary) -> None:
    """Everything a person should know, the most important first."""
    console = Console(highlight=False, soft_wrap=False, width=None if sys.stdout.isatty() else WIDTH)
    found = summary.as_json(timeline=False)
    _headline(console, found)
    _stages(console, found)
    _groups(console, found)
    _risks(console, found)
    _blocked(console, found)
    _unschedulable(console, found)
    _lowest(console, found)
    _recommendations(console, found)
    _notes(console, found)
    stats = found["stats"]
    runs = "1 run" if found["runs"] == 1 else f"{found['runs']} runs"
    console.print(
        f"\n{runs}, {stats['placements']:,} placements ({stats['placementsPerSecond']:,} a second), "
        f"{stats['events']:,} events in {stats['wallSeconds']:.1f} s; at most {stats['peakRssMiB']:.0f} MiB",
        style="dim",
    )


def _table(console: Console, title: str, *columns: str) -> Table:
    console.print()
    console.print(Text(title, style="bold"))
    frame = box.SIMPLE_HEAD if console.is_terminal else None
    table = Table(box=frame, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for column in columns:
        left = column in _LEFT
        table.add_column(column, justify="left" if left else "right", no_wrap=not left, overflow="fold")
    return table


def _row(table: Table, *cells: object) -> None:
    table.add_row(*(c if isinstance(c, Text) else Text(str(c)) for c in cells))


def _took(entry: Any) -> tuple[str, str]:
    return ("-", "-") if entry is None else (duration(entry["p50"]), duration(entry["p90"]))


def _headline(console: Console, found: dict[str, Any]) -> None:
    runs, well = found["runs"], found["outcomes"].get("succeeded", 0)
    seeds = f"seed {found['seed']}" if runs == 1 else f"seeds {found['seed']} to {found['seed'] + runs - 1}"
    console.print(Text(f"{found['cluster']}: {found['from']} -> {found['to']}, rehearsed on a twin ({seeds})", "bold"))
    console.print()
    if well == runs:
        p50, p90 = _took(found["durationSeconds"])
        console.print(f"  every run reached {found['to']}: {p50} half of the time, {p90} or less nine times in ten")
        return
    halted = "the run" if runs == 1 else f"{runs - well} of {runs} runs"
    console.print(Text(f"  {halted} did not reach {found['to']}:", "bold red"))
    for entry in found["reasons"][:3]:
        console.print(Text(f"    {entry['reason']}" + (f"  ({plural(entry['runs'], 'run')})" if runs > 1 else "")))
    if len(found["reasons"]) > 3:
        console.print(f"    and {len(found['reasons']) - 3} more ways; --json lists them")


def _stages(console: Console, found: dict[str, Any]) -> None:
    table = _table(console, "Stages", "", "stage", "p50", "p90")
    for stage in found["stages"]:
        p50, p90 = _took(stage["durationSeconds"])
        reached = "" if stage["finishedRuns"] == found["runs"] else f"  done in {stage['finishedRuns']} runs"
        _row(table, f"{stage['ordinal']}.", stage["name"] + reached, p50, p90)
    console.print(table)


def _groups(console: Console, found: dict[str, Any]) -> None:
    table = _table(
        console, "Node groups", "node group", "nodes", "replaced", "fewest ready", "most", "surge node-h", "outcome"
    )
    for group in found["nodeGroups"]:
        outcome = group["outcome"]
        if len(group["outcomes"]) > 1:
            outcome = ", ".join(f"{n} x {o}" for o, n in group["outcomes"].items())
        if group["failures"]:
            outcome += " (" + ", ".join(group["failures"]) + ")"
        hours = group["surgeNodeHours"]["p50"]
        styled = Text(outcome, style="red" if group["outcome"] == "failed" else "")
        _row(
            table,
            group["name"],
            group["desired"],
            group["nodesReplaced"],
            group["minReady"],
            group["peakNodes"],
            f"{hours:.1f}",
            styled,
        )
    console.print(table)


def _risks(console: Console, found: dict[str, Any]) -> None:
    table = _table(console, "What moves", "what", "p50", "p90", "note")
    risks, surge = found["risks"], found["surge"]
    for key, what, note in (
        ("evictions", "evictions", ""),
        ("repeatEvictions", "of them repeat", "pods moved onto a node that was drained later"),
        ("forcedEvictions", "past a budget, by force", ""),
        ("podsLost", "pods lost", "nobody makes them again: " + ", ".join(x["pod"] for x in found["lost"][:3])),
        ("replicasAwayAtOnce", "replicas away at once", ""),
        ("workloadsWithoutReplicas", "workloads down to no replica", "for a moment at least"),
        ("maxPending", "pods pending at once", ""),
    ):
        spread = risks[key]
        if spread["p90"] or key == "evictions":
            _row(table, what, f"{spread['p50']:,}", f"{spread['p90']:,}", note)
    longest = risks["longestPendingSeconds"]
    if longest["p90"] >= 1:
        _row(table, "longest a pod was pending", duration(longest["p50"]), duration(longest["p90"]), "")
    cost = surge["costUsd"]
    note = f"about {cost['p50']:.2f} to {cost['p90']:.2f} USD" if cost else "--node-hour-price USD tells the cost"
    hours = surge["nodeHours"]
    _row(table, "node-hours of surge", f"{hours['p50']:.1f}", f"{hours['p90']:.1f}", note)
    console.print(table)


def _blocked(console: Console, found: dict[str, Any]) -> None:
    rows = found["blocked"]
    if not rows:
        return
    console.print()
    console.print(Text("Blocked for a minute or more", style="bold"))
    for row in rows[:10]:
        ended = "then let go" if row["cleared"] else "never let go"
        console.print(
            Text(
                f"  {row['pod']} by {row['pdb']}: {duration(row['seconds'])}, {ended}"
                + (f", in {row['runs']} of {found['runs']} runs" if found["runs"] > 1 else ""),
                style="" if row["cleared"] else "red",
            )
        )
        console.print(Text(f"      on {row['node']}, from {duration(row['sinceSeconds'])} into the upgrade"))
        console.print(Text(f"      to unblock: {row['unblock']}"))
    if len(rows) > 10:
        console.print(f"  and {len(rows) - 10} more; --json lists them")


def _unschedulable(console: Console, found: dict[str, Any]) -> None:
    rows = found["unschedulable"]
    if rows:
        table = _table(console, "Pods without a node at the end", "pod", "waiting", "why")
        for row in rows[:8]:
            _row(table, row["pod"], duration(row["seconds"]), row["reason"])
        console.print(table)
        if len(rows) > 8:
            console.print(f"and {len(rows) - 8} more; --json lists them")
    for row in found["fullSubnets"]:
        console.print(Text(f"Subnet {row['subnet']} ({row['zone']}) runs out of addresses", style="red"))


def _lowest(console: Console, found: dict[str, Any]) -> None:
    rows = [r for r in found["lowestReady"] if r["wanted"] > 1 and r["ready"] * 2 <= r["wanted"]]
    if not rows:
        return
    table = _table(console, "Workloads that fall to half or less", "workload", "ready", "of")
    for row in rows[:8]:
        _row(table, row["workload"], row["ready"], row["wanted"])
    console.print(table)
    if len(rows) > 8:
        console.print(f"and {len(rows) - 8} more; --json lists them")


def _recommendations(console: Console, found: dict[str, Any]) -> None:
    rows = found["recommendations"]
    if not rows:
        return
    table = _table(
        console,
        "Other settings, rehearsed too (* none is both quicker and gentler)",
        "",
        "change",
        "p50",
        "saves",
        "disruption",
        "fewest ready",
        "outcome",
    )
    for row in rows:
        saves = row["savesSeconds"]
        told = "-" if saves is None else ("-" if saves < 0 else "") + duration(abs(saves))
        _row(
            table,
            "*" if row["onFront"] else "",
            row["change"],
            duration(row["durationSeconds"]["p50"]),
            told,
            f"{row['disruption']:.1f}",
            f"{row['minReadyPercent']} %",
            row["outcome"] + (f", {row['forcedEvictions']} by force" if row["forcedEvictions"] else ""),
        )
    console.print(table)
    best = next((r for r in rows if r.get("recommended")), None)
    if best is not None:
        console.print(Text(f"Recommended: {best['change']}. {best['why']}", style="green"))
        for line in best["how"]:
            console.print(Text(f"    {line}"))


def _notes(console: Console, found: dict[str, Any]) -> None:
    for title, lines in (("Assumed", found["assumptions"]), ("Not known", found["unknown"])):
        _bullets(console, title, lines)
    measured = [line for line in found["timings"] if "measured" in line or line.startswith("readiness of")]
    _bullets(console, "Times", measured)


def _bullets(console: Console, title: str, lines: Sequence[str]) -> None:
    if not lines:
        return
    console.print()
    console.print(Text(title, style="bold"))
    for line in lines[:12]:
        console.print(Text(f"  - {line}"))
    if len(lines) > 12:
        console.print(f"  and {len(lines) - 12} more; --json lists them")
