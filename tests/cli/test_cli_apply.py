"""`baton apply` over HTTP: a whole upgrade, and one that is killed again and again on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from cli_lab import baton, lab

from baton.emulator.server import Running

pytestmark = pytest.mark.xdist_group("cli-apply")
AWS = ["--engine", "aws", "--cluster", "demo"]


@pytest.fixture
def running() -> Iterator[Running]:
    with lab(speed=600) as found:
        yield found


@pytest.fixture
def slower() -> Iterator[Running]:
    """Slow enough that an update is still under way when the next process has started."""
    with lab(speed=120) as found:
        yield found


def updates(running: Running) -> dict[str, list[str]]:
    """Every update that the cluster, its add-ons and its node groups ever had, by subject."""
    eks = boto3.client("eks")

    def types(**scope: str) -> list[str]:
        ids = eks.list_updates(name="demo", **scope)["updateIds"]
        found = [eks.describe_update(name="demo", updateId=i, **scope)["update"] for i in ids]
        return [f"{u['type']} {u['status']}" for u in found]

    addons = eks.list_addons(clusterName="demo")["addons"]
    return {
        "cluster": types(),
        **{g: types(nodegroupName=g) for g in eks.list_nodegroups(clusterName="demo")["nodegroups"]},
        **{a: types(addonName=a) for a in addons},
    }


def holds(report: dict[str, Any], **sizes: int) -> None:
    """What every finished run must show; `sizes` of the groups that have other than three nodes."""
    assert report["schema"] == 1
    assert report["outcome"] == "succeeded", [v for v in report["verified"] if v["verdict"] != "pass"]
    stages = [p["stage"] for p in report["path"]]
    assert stages == sorted(stages, key=["control-plane", "addon", "node-group"].index)
    assert {"control-plane", "addon", "node-group"} <= set(stages)
    for group in report["nodeGroups"]:
        assert group["minReady"] >= group["desired"] - group["maxUnavailable"]
        assert group["nodesReplaced"] == group["desired"] == sizes.get(group["name"], 3)
        assert group["kubeletBefore"].startswith("v1.34") and group["kubeletAfter"].startswith("v1.35")
        assert group["amiBefore"] != group["amiAfter"]
    assert report["workloads"]["pdbViolations"] == 0
    assert report["workloads"]["lost"] == 0
    assert report["workloads"]["evictions"] > 0


def calibrated(capsys: pytest.CaptureFixture[str], before: Path, path: Path, report: dict[str, Any]) -> None:
    """The cluster as it was, rehearsed with the times of the run that followed, takes about as long as that run did."""
    said = baton(capsys, "rehearse", "--snapshot", before, "--to", "1.35", "--calibrate", path, "--runs", "3", "--json")
    assert said.code == 0, said.err
    rehearsed = json.loads(said.out)
    assert sum(a.startswith("calibrated: ") for a in rehearsed["assumptions"]) >= 3, rehearsed["assumptions"]
    measured = sum(p["seconds"] for p in report["path"] if p["stage"] == "node-group")
    predicted = sum(s["durationSeconds"]["p50"] for s in rehearsed["stages"] if s["kind"] == "node-group")
    assert 0.8 < predicted / measured < 1.25, (predicted, measured)


def test_a_whole_upgrade(running: Running, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The upgrade must end verified, with one update per subject, and a second apply must find nothing to do."""
    before = tmp_path / "before.baton"
    assert baton(capsys, "snapshot", "--cluster", "demo", "--out", before).code == 0
    said = baton(capsys, "apply", "--to", "1.35", *AWS, "--yes", "-C", tmp_path, "--json", "--report", tmp_path / "out")
    assert said.code == 0, said.err
    report = json.loads(said.out)
    holds(report)
    calibrated(capsys, before, tmp_path / "out" / "report.json", report)
    assert report == json.loads((tmp_path / "out" / "report.json").read_text())
    assert "<svg" in (tmp_path / "out" / "report.html").read_text()
    lines = (tmp_path / "out" / "timeline.jsonl").read_text().splitlines()
    assert {json.loads(line)["kind"] for line in lines} >= {"node.ready", "pod.evicted", "stage.ended"}
    predicted, actual = report["rehearsal"]["predictedSeconds"], report["rehearsal"]["actualSeconds"]
    assert 0.5 < actual / predicted < 2, (predicted, actual)
    found = updates(running)
    assert all(len(u) == 1 and u[0].endswith("Successful") for u in found.values()), found
    again = baton(capsys, "apply", "--to", "1.35", *AWS, "--yes", "-C", tmp_path)
    assert again.code == 0 and "nothing to do" in again.err
    text = baton(capsys, "report", "-C", tmp_path).out
    assert "Done and verified: demo 1.34 -> 1.35" in text
    assert baton(capsys, "report", "-C", tmp_path, "--format", "junit").out.count("<testcase") >= 6


def start(tmp_path: Path) -> subprocess.Popen[str]:
    """`baton apply` as a process of its own."""
    words = ["apply", *AWS, "--yes", "-C", str(tmp_path)]
    if not (tmp_path / ".baton" / "journal.db").exists():
        words += ["--to", "1.35"]
    return subprocess.Popen(
        [sys.executable, "-m", "baton.cli.main", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def read_until(process: subprocess.Popen[str], *words: str) -> str:
    """What it printed up to the first line with one of `words`, or to its end."""
    assert process.stdout is not None
    printed = ""
    for line in process.stdout:
        printed += line
        if any(word in line for word in words):
            break
    return printed


def test_killed_in_every_stage(slower: Running, tmp_path: Path) -> None:
    """A laptop that dies must not start a second update, lose the record, or leave the upgrade half-way for good."""
    # On a busy machine EKS may be further than the last process saw: the later words stand for that.
    moments = (
        ("stage 1 of",),
        ("EKS updates cluster/demo", "in flight", "stage 2 of"),
        ("stage 2 of", "stage 3 of"),
        ("stage 3 of", "old node"),
        ("old node", "the world agrees"),
    )
    for words in moments:
        process = start(tmp_path)
        printed = read_until(process, *words)
        assert any(word in printed for word in words), printed
        process.send_signal(signal.SIGKILL)
        process.wait()
    process = start(tmp_path)
    printed = read_until(process, "never to be seen")
    assert process.wait() == 0, printed
    assert "continuing run" in printed
    found = updates(slower)
    assert all(len(u) == 1 and u[0].endswith("Successful") for u in found.values()), found
    reports = list((tmp_path / ".baton" / "runs").glob("*/report.json"))
    assert len(reports) == 1
    holds(json.loads(reports[0].read_text()))


def test_two_at_once(slower: Running, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Two people who apply from the same directory must not both conduct."""
    process = start(tmp_path)
    try:
        assert "stage 1 of" in read_until(process, "stage 1 of")
        said = baton(capsys, "apply", *AWS, "--yes", "-C", tmp_path)
        assert said.code == 1
        assert "another `baton apply`" in said.err
    finally:
        process.kill()
        process.wait()
    other = baton(capsys, "apply", "--to", "1.36", *AWS, "--yes", "-C", tmp_path)
    assert other.code == 2
    assert "under way" in other.err


def test_groups_side_by_side(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """--parallel-groups must roll the groups of a stage at the same time, each at its own pace, in one stage."""
    with lab(speed=1200, workloads=False):
        second_group()
        words = ["--to", "1.35", "--cluster", "demo", "-C", tmp_path, "--parallel-groups", "2"]
        plan = json.loads(baton(capsys, "plan", *words, "--json").out)
        assert [[c["name"] for c in s["changes"]] for s in plan["stages"] if s["kind"] == "node-group"] == [
            ["second", "main"]
        ]
        said = baton(capsys, "apply", *words, "--engine", "aws", "--yes", "--json")
        assert said.code == 0, said.err
        report = json.loads(said.out)
        assert report["outcome"] == "succeeded"
        rolls = {p["name"]: p for p in report["path"] if p["stage"] == "node-group"}
        assert set(rolls) == {"main", "second"}
        begun = max(p["startedAt"] for p in rolls.values())
        assert all(p["endedAt"] > begun for p in rolls.values()), rolls
        for group in report["nodeGroups"]:
            assert group["nodesReplaced"] == group["desired"]
            assert group["minReady"] >= group["desired"] - group["maxUnavailable"]
        assert len({s["ordinal"] for s in report["rehearsal"]["stages"] if "second" in s["name"]}) == 1


def second_group() -> None:
    """Another node group beside main, of two nodes, with a template of its own."""
    eks, ec2 = boto3.client("eks"), boto3.client("ec2")
    main = eks.describe_nodegroup(clusterName="demo", nodegroupName="main")["nodegroup"]
    which = {"LaunchTemplateId": main["launchTemplate"]["id"], "Versions": ["1"]}
    data = ec2.describe_launch_template_versions(**which)["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    image = {"ImageId": data["ImageId"], "InstanceType": data["InstanceType"]}
    template = ec2.create_launch_template(LaunchTemplateName="second", LaunchTemplateData=image)["LaunchTemplate"]
    eks.create_nodegroup(
        clusterName="demo",
        nodegroupName="second",
        subnets=main["subnets"],
        nodeRole=main["nodeRole"],
        launchTemplate={"id": template["LaunchTemplateId"], "version": "1"},
        scalingConfig={"minSize": 1, "desiredSize": 2, "maxSize": 4},
        updateConfig={"maxUnavailable": 1},
    )
    waiter = eks.get_waiter("nodegroup_active")
    waiter.wait(clusterName="demo", nodegroupName="second", WaiterConfig={"Delay": 1, "MaxAttempts": 300})
