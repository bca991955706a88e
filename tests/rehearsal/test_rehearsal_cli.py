"""`baton rehearse` and `baton snapshot` as a person meets them: words, exit codes, files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from baton.cli.main import main
from baton.logic.scheduling.accelerate import Unit
from baton.observe.store import load, save
from baton.rehearsal import run as rehearsal
from baton.rehearsal.generate import generate
from baton.twin.bulk import begin


@pytest.fixture(scope="module")
def smooth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("snapshots") / "smooth.baton"
    save(path, generate(nodes=5, pods=120, seed=4, blocking=0, name="shop"))
    return path


@pytest.fixture(scope="module")
def stuck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("snapshots") / "stuck.baton"
    save(path, generate(nodes=5, pods=120, seed=4, blocking=2, name="shop"))
    return path


def test_rehearse_prints_what_a_person_needs(smooth: Path, capsys: pytest.CaptureFixture[str]):
    """The screen must answer: how long, what moves, how low, what is better."""
    command = ["rehearse", "--to", "1.35", "--snapshot", str(smooth), "--runs", "2", "--workers", "1"]
    code = main([*command, "--node-hour-price", "0.1"])
    out, _ = capsys.readouterr()
    assert code == 0
    assert "shop: 1.34 -> 1.35, rehearsed on a twin (seeds 0 to 1)" in out
    assert "every run reached 1.35" in out
    for title in ("Stages", "Node groups", "What moves", "Other settings, rehearsed too"):
        assert title in out
    assert "USD" in out
    assert "\x1b[" not in out  # no colours in a file
    assert max(map(len, out.splitlines())) <= 130


def test_a_rehearsal_that_compiles_first_says_so(
    smooth: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Half a minute of silence, once for each version, looks like a program that hangs; scripts read stdout only."""
    monkeypatch.setattr(begin, "installed", lambda: True)
    monkeypatch.setattr(Unit, "kept", lambda _: False)
    command = ["rehearse", "--to", "1.35", "--snapshot", str(smooth), "--runs", "1", "--json", "--no-recommend"]
    assert main(command) == 0
    assert "compiling" not in capsys.readouterr().err  # small clusters do without
    monkeypatch.setattr(begin, "FROM_PODS", 100)
    assert begin.compiles_first(9, 100) and not begin.compiles_first(9, 99)
    assert begin.compiles_first(400, 99)
    ahead: list[bool] = []
    monkeypatch.setattr(begin, "compile_ahead", lambda: ahead.append(True))
    monkeypatch.setattr(rehearsal, "move_in_bulk", lambda *_: None)
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "compiling the twin first" in err and ahead == [True]
    assert json.loads(out)["runs"] == 1
    monkeypatch.setattr(Unit, "kept", lambda _: True)
    assert not begin.compiles_first(5_000, 100_000)


def test_rehearse_of_a_blocked_cluster_exits_with_1_and_the_cure(stuck: Path, capsys: pytest.CaptureFixture[str]):
    """A script must see that the upgrade would halt; a person must see why and what to do."""
    code = main(["rehearse", "--to", "1.35", "--snapshot", str(stuck), "--runs", "1", "--workers", "1"])
    out, _ = capsys.readouterr()
    assert code == 1
    assert "did not reach 1.35" in out and "PodEvictionFailure" in out
    assert "never let go" in out and "to unblock: " in out
    assert "Recommended: mend" in out


def test_rehearse_json_is_the_same_twice_without_stats(smooth: Path, capsys: pytest.CaptureFixture[str]):
    """What is committed beside a change request must not differ by the speed of the machine."""
    command = ["rehearse", "--to", "1.35", "--snapshot", str(smooth), "--runs", "2", "--json", "--no-recommend"]
    command.append("--no-stats")
    outs = []
    for _ in range(2):
        assert main(command) == 0
        outs.append(capsys.readouterr().out)
    assert outs[0] == outs[1]
    assert "stats" not in json.loads(outs[0])
    main(command[:-1])
    found = json.loads(capsys.readouterr().out)
    assert found["stats"]["placements"] > 0 and found["recommendations"] == []


def test_rehearse_writes_a_page(smooth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The page is what goes into the review."""
    page = tmp_path / "r.html"
    command = ["rehearse", "--to", "1.35", "--snapshot", str(smooth), "--runs", "1", "--workers", "1"]
    code = main([*command, "--html", str(page)])
    assert code == 0
    assert f"written to {page}" in capsys.readouterr().out
    assert page.read_text().count("<svg") == 4


def test_rehearse_takes_a_plan_file(smooth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The plan that was reviewed must be the one that is rehearsed, and one of another cluster must not."""
    plan = tmp_path / "plan.json"
    assert main(["plan", "--to", "1.35", "--snapshot", str(smooth), "-o", str(plan)]) == 0
    capsys.readouterr()
    base = ["rehearse", "--plan", str(plan), "--runs", "1", "--no-recommend", "--json"]
    assert main([*base, "--snapshot", str(smooth)]) == 0
    assert json.loads(capsys.readouterr().out)["to"] == "1.35"
    other = tmp_path / "other.baton"
    save(other, generate(nodes=5, pods=120, seed=4, blocking=0, name="other"))
    assert main([*base, "--snapshot", str(other)]) == 2
    assert "the plan is for cluster shop" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (["--runs", "0"], 2, "--runs 0"),
        (["--node-hour-price", "cheap"], 2, "not a price"),
        (["--node-hour-price", "-1"], 2, "not a price"),
        (["--set", "timings.node_bot=3"], 2, "node_bot"),
        (["--set", "nonsense"], 2, "not a setting"),
        (["--executor", "nowhere"], 2, "not an executor's address"),
        (["--workers", "0"], 2, "0 workers"),
        (["--plan", "absent.json"], 3, "absent.json"),
        (["--calibrate", "absent.json"], 3, "absent.json"),
        (["--html", "/absent/r.html", "--no-recommend", "--runs", "1"], 3, "cannot be written"),
    ],
)
def test_rehearse_refuses_in_a_sentence(
    smooth: Path, capsys: pytest.CaptureFixture[str], more: list[str], code: int, says: str
):
    """A wrong word on the command line must be named, with what to write instead."""
    assert main(["rehearse", "--to", "1.35", "--snapshot", str(smooth), *more]) == code
    err = capsys.readouterr().err
    assert says in err
    assert "hint: " in err or code == 3
    assert "Traceback" not in err


def test_rehearse_needs_a_target(smooth: Path, capsys: pytest.CaptureFixture[str]):
    """Without a target there is nothing to rehearse."""
    assert main(["rehearse", "--snapshot", str(smooth)]) == 2
    assert "where to?" in capsys.readouterr().err


def test_rehearse_settings_change_the_twin(smooth: Path, capsys: pytest.CaptureFixture[str]):
    """Who knows the boot time of their own image must be able to say so."""
    base = ["rehearse", "--to", "1.35", "--snapshot", str(smooth), "--runs", "1", "--no-recommend", "--json"]
    main(base)
    usual = json.loads(capsys.readouterr().out)
    main([*base, "--set", "timings.node_boot=[600,600,600]", "--set", "timings.control_plane_update=100"])
    slow = json.loads(capsys.readouterr().out)
    assert slow["stages"][0]["durationSeconds"]["p50"] < usual["stages"][0]["durationSeconds"]["p50"]
    assert slow["stages"][-1]["durationSeconds"]["p50"] > usual["stages"][-1]["durationSeconds"]["p50"] + 400
    assert any("node_boot: 600 s (set by hand)" in line for line in slow["timings"])


def report(**changes: Any) -> dict[str, Any]:
    """A report as `baton apply` writes it, of a run that was slower than the twin assumes."""
    return {
        "schema": 1,
        "cluster": "shop",
        "startedAt": "2026-11-01T09:00:00.000Z",
        "outcome": "succeeded",
        "path": [
            {"stage": "control-plane", "name": "shop", "seconds": 1300.0},
            {"stage": "addon", "name": "vpc-cni", "seconds": 200.0},
            {"stage": "addon", "name": "coredns", "seconds": 240.0},
            {"stage": "node-group", "name": "apps-a", "seconds": 3000.0},
            {"stage": "node-group", "name": "gone", "seconds": 3000.0},
        ],
        "stages": [],
        "nodeGroups": [{"name": "apps-a", "desired": 4}],
        "series": {"lanes": [{"name": "n", "spans": [["joining", 10.0, 43.0], ["ready", 43.0, 99.0]]}]},
        **changes,
    }


def test_rehearse_calibrated_takes_the_measured_times(smooth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """After one real run the next prediction must be nearer to it than the general one was."""
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report()))
    base = ["rehearse", "--to", "1.35", "--snapshot", str(smooth), "--runs", "1", "--no-recommend", "--json"]
    main(base)
    usual = json.loads(capsys.readouterr().out)
    assert main([*base, "--calibrate", str(path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert abs(found["stages"][0]["durationSeconds"]["p50"] - 1300) <= 15

    def rolled(tree: dict[str, Any]) -> float:
        return float(next(g for g in tree["nodeGroups"] if g["name"] == "apps-a")["durationSeconds"]["p50"])

    assert abs(rolled(found) - 3000) < abs(rolled(usual) - 3000) * 0.3
    said = " ".join(found["assumptions"])
    assert "control plane update 1300 s" in said and "node ready gap 33 s" in said and "rolls take" in said


@pytest.mark.parametrize(
    ("document", "code", "says"),
    [
        ("{}", 3, "no report of an upgrade"),
        ("[1]", 3, "no report of an upgrade"),
        ("{", 3, "not JSON"),
        (json.dumps(report(path=[], series=None, nodeGroups=[])), 3, "measured no stage"),
        (json.dumps(report(path=[7, {"stage": "addon"}, {"stage": "control-plane", "seconds": 900}])), 0, ""),
        (json.dumps(report(nodeGroups=[{"name": "apps-a", "desired": 400}])), 0, ""),
    ],
)
def test_rehearse_calibrate_bad_reports(
    smooth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], document: str, code: int, says: str
):
    """A file that is no report must not quietly calibrate nothing."""
    path = tmp_path / "report.json"
    path.write_text(document)
    command = ["rehearse", "--to", "1.35", "--snapshot", str(smooth), "--runs", "1", "--no-recommend"]
    assert main([*command, "--calibrate", str(path)]) == code
    assert says in capsys.readouterr().err


def test_snapshot_generate_show_and_anonymise(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The three ways to a snapshot file without a cluster."""
    path, hidden = tmp_path / "s.baton", tmp_path / "h.baton"
    assert main(["snapshot", "generate", "--nodes", "4", "--pods", "90", "--seed", "7", "-o", str(path)]) == 0
    assert re.search(r"4 nodes, 90 pods \(\d+ kB\)", capsys.readouterr().err)
    again = tmp_path / "again.baton"
    main(["snapshot", "generate", "--nodes", "4", "--pods", "90", "--seed", "7", "-o", str(again)])
    assert again.read_bytes() == path.read_bytes()
    capsys.readouterr()
    assert main(["snapshot", "show", str(path)]) == 0
    out = capsys.readouterr().out
    assert "cluster synthetic at 1.34, 4 nodes, 90 pods" in out and "90  pods" in out
    assert main(["snapshot", "show", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["objects"]["pods"] == 90
    assert main(["snapshot", "--from", str(path), "--anonymise", "-o", str(hidden)]) == 0
    assert "team-0" not in json.dumps([dict(p) for p in load(hidden).objects["pods"]])


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (["snapshot"], 2, "where to?"),
        (["snapshot", "generate", "--nodes", "5", "--pods", "3", "-o", "x"], 2, "too few"),
        (["snapshot", "show", "absent"], 3, "no such file"),
        (["snapshot", "--from", "absent", "-o", "x"], 3, "no such file"),
    ],
)
def test_snapshot_refuses_in_a_sentence(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    code: int,
    says: str,
):
    """Wrong words and absent files are named."""
    monkeypatch.chdir(tmp_path)
    assert main(command) == code
    err = capsys.readouterr().err
    assert says in err and "Traceback" not in err
