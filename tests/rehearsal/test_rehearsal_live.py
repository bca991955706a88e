"""A live cluster (an emulated one, over HTTP): read into a file, shown, rehearsed, anonymised."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from baton.cli.main import main
from baton.emulator.lab import build
from baton.emulator.server import start_in_thread
from baton.observe.store import load


def test_live_cluster_is_read_and_rehearsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The way a user takes: snapshot the live cluster, rehearse it, hand the anonymised file to somebody."""
    running = start_in_thread(speed=5000, seed=3, start=1_795_000_000.0)
    try:
        build(running.environment, "demo", "1.34", say=lambda text: None)
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        file, hidden = tmp_path / "demo.baton", tmp_path / "hidden.baton"
        assert main(["snapshot", "-o", str(file)]) == 0
        assert "cluster demo at 1.34, 3 nodes" in capsys.readouterr().err
        live = ["rehearse", "--to", "1.35", "--runs", "1", "--no-recommend", "--json", "--no-stats"]
        assert main(live) == 0
        found = json.loads(capsys.readouterr().out)
    finally:
        running.stop()
    assert main([*live, "--snapshot", str(file)]) == 0
    offline = json.loads(capsys.readouterr().out)
    assert main(["snapshot", "--from", str(file), "--anonymise", "-o", str(hidden)]) == 0
    capsys.readouterr()
    assert main([*live, "--snapshot", str(hidden)]) == 0
    unnamed = json.loads(capsys.readouterr().out)
    for tree in (found, offline, unnamed):
        assert [s["kind"] for s in tree["stages"]] == ["control-plane", "addon", "node-group"]
        assert [(g["nodesReplaced"], g["minReady"], g["outcome"]) for g in tree["nodeGroups"]] == [(3, 3, "replaced")]
    text = json.dumps([dict(n) for n in load(hidden).objects["nodes"]])
    assert "demo" not in text and not any(n["metadata"]["name"] in text for n in load(file).objects["nodes"])
