"""The report tree: what scripts, dashboards and every format read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from report_lab import conduct, saved, small, stuck

from baton.cli.report import render
from baton.errors import ReadError
from baton.model.cluster import Unknown
from baton.model.findings import Finding, Severity, Verdict
from baton.report.shape import SHAPE, checked, fault_in


def test_report_tree_has_what_is_promised() -> None:
    """A missing key would break every script that reads report.json."""
    tree = small().tree()
    assert (tree["schema"], tree["engine"], tree["outcome"]) == (1, "aws", "succeeded")
    assert [p["stage"] for p in tree["path"]] == ["control-plane"] + ["addon"] * 4 + ["node-group"]
    for row in tree["path"]:
        assert set(row) >= {"stage", "name", "from", "to", "startedAt", "endedAt"}
        assert row["startedAt"] <= row["endedAt"]
    group = tree["nodeGroups"][0]
    assert group["nodesReplaced"] == group["desired"] == 3
    assert group["minReady"] >= group["desired"] - group["maxUnavailable"]
    assert (group["amiBefore"], group["amiAfter"]) == ("ami-00000000000000134", "ami-00000000000000135")
    assert group["kubeletBefore"].startswith("v1.34") and group["kubeletAfter"].startswith("v1.35")
    assert (tree["workloads"]["pdbViolations"], tree["workloads"]["lost"]) == (0, 0)
    assert tree["terraform"] == {"finalPlan": None}


def test_report_tree_is_plain_json() -> None:
    """A value that JSON cannot hold (NaN, a tuple) would make the file differ from what was reported."""
    for run in (small(), stuck()):
        tree = run.tree()
        assert json.loads(json.dumps(tree, allow_nan=False)) == tree


def test_report_tree_same_run_same_bytes() -> None:
    """A report that changes from one writing to the next cannot be compared or kept under version control."""
    again = conduct(3, 30)
    assert json.dumps(again.tree()) == json.dumps(small().tree())


def test_report_tree_counts_what_the_timeline_holds() -> None:
    """A figure that the timeline does not bear out would be an invention."""
    run = small()
    tree, kinds = run.tree(), [e.kind for e in run.observer.timeline]
    assert tree["workloads"]["evictions"] == kinds.count("pod.evicted") == len(tree["series"]["evictions"])
    assert sum(g["nodesReplaced"] for g in tree["nodeGroups"]) == kinds.count("node.replaced")
    lowest = min(row[2] for row in tree["series"]["groups"]["apps-a"])
    assert tree["nodeGroups"][0]["minReady"] == lowest
    assert len(tree["series"]["nodes"]) == kinds.count("node.seen") + kinds.count("node.added")


def test_report_tree_tells_where_a_run_halted() -> None:
    """After a halt people must see which stage, since when and why, not just a missing row."""
    tree = stuck().tree()
    assert tree["outcome"] == "halted"
    last = tree["stages"][-1]
    assert (last["state"], last["kind"]) == ("halted", "node-group")
    assert "PodEvictionFailure" in last["halted"]
    assert last["startedAt"] < last["endedAt"] == tree["endedAt"]
    assert all(p["name"] != "apps-a" for p in tree["path"])
    assert [u["subject"] for u in tree["updates"]][-1] == "node-group/apps-a"


def test_report_tree_names_what_blocked() -> None:
    """To mend it a team needs the pod, its budget, the node, from when to when, and what would clear it."""
    blockers = [b for b in stuck().tree()["blockers"] if b["kind"] == "pdb"]
    assert blockers
    for blocker in blockers:
        assert blocker["pod"] and blocker["pdb"] and blocker["node"] and blocker["hint"]
        assert blocker["since"] < blocker["until"]
        assert blocker["seconds"] > 600


def test_report_tree_says_what_it_does_not_know() -> None:
    """A null without a reason would be taken for a zero."""
    run = small()
    tree = run.tree(
        after=None,
        verified=(),
        outcome="halted",
        engine="terraform",
        before=replace(run.before, unknowns=(Unknown("images", "AccessDenied"),)),
        rehearsal={"predictedSeconds": 900.0, "actualSeconds": None},
    )
    told = "\n".join(tree["unknown"])
    for part in ("before: images: AccessDenied", "the end was not looked at", "final plan", "actualSeconds"):
        assert part in told


def test_report_tree_does_not_invent_an_unwatched_group() -> None:
    """A group of which no node was ever seen has no lowest number of ready nodes."""
    run = small()
    tree = run.tree(view=replace(run.view, groups=()), timeline=())
    group = tree["nodeGroups"][0]
    assert group["minReady"] is None and group["nodesReplaced"] is None
    assert any("apps-a" in u and "minReady" in u for u in tree["unknown"])


def test_report_tree_counts_passed_checks_and_keeps_the_others() -> None:
    """Forty passed checks must not hide the one that was waived."""
    passed = Finding("BTN001", "skew", Severity.BLOCK, Verdict.PASS, "cluster", "fits")
    waived = Finding("BTN030", "budget", Severity.HIGH, Verdict.WAIVED, "pdb shop/cart", "allows nothing", "raise it")
    tree = small().tree(findings=[passed, waived])
    assert tree["checksPassed"] == 1
    assert [(f["code"], f["verdict"], f["hint"]) for f in tree["findings"]] == [("BTN030", "waived", "raise it")]


def test_report_shape_is_that_of_every_report() -> None:
    """A key that is written but not promised, or promised but not written, would surprise who reads the file."""
    run = small()
    refused = run.tree(records=(), timeline=(), after=None, verified=(), outcome="refused")
    for tree in (run.tree(), stuck().tree(), refused):
        assert fault_in(tree) == ""
        assert set(tree) == set(SHAPE)
        for key in ("stages", "nodeGroups", "blockers", "updates"):
            assert all(set(row) == set(SHAPE[key][0]) for row in tree[key])


def broken(**changes: Any) -> dict[str, Any]:
    tree = json.loads(json.dumps(small().tree()))
    return {k: v for k, v in {**tree, **changes}.items() if v != "gone"}


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ([], "is not a report"),
        ({"schema": 2}, "is not a report"),
        ({"schema": 1}, "is missing"),
        (broken(workloads="gone"), "workloads is missing"),
        (broken(cluster=3), "cluster is not a text"),
        (broken(stages=[{}]), "stages[0].ordinal is missing"),
        (broken(seconds=True), "seconds is not a number"),
        (broken(warnings={"Odd": "x"}), "warnings.Odd is not a number"),
        (broken(series=[]), "series is not an object"),
    ],
)
def test_report_shape_names_what_is_wrong(tree: Any, words: str) -> None:
    """A file edited by hand or of another tool must be told by name, not end in a traceback."""
    with pytest.raises(ReadError) as caught:
        checked(tree, "report.json")
    assert words in caught.value.message


@pytest.mark.parametrize("kind", ["text", "html", "md", "junit", "json"])
def test_report_command_renders_every_format(kind: str, tmp_path: Path) -> None:
    """`baton report` must do for a finished and for a halted run what it says, and refuse half a file."""
    for run in (small(), stuck()):
        assert "synthetic" in render(saved(tmp_path, run.tree()), kind)
    with pytest.raises(ReadError, match="stages is missing"):
        render(saved(tmp_path, broken(stages="gone")), kind)


def test_report_tree_keeps_what_is_left_to_others() -> None:
    """Fargate pods that must be restarted by hand would be forgotten once the upgrade is through."""
    run = small()
    first, *rest = run.plan.stages
    plan = replace(run.plan, stages=(replace(first, by_hand=("restart the workloads on Fargate",)), *rest))
    tree = run.tree(plan=plan)
    assert f"after {first.name}, not by Baton: restart the workloads on Fargate" in tree["notes"]
