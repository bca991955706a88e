"""`baton explain-pod`, one pod of a dump and batches of cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from baton.cli.main import main

NODE = {
    "kind": "Node",
    "metadata": {"name": "n1"},
    "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
}


def pod(name: str, **requests: str) -> dict[str, Any]:
    containers = [{"name": "main", "resources": {"requests": requests}}]
    return {"kind": "Pod", "metadata": {"name": name, "namespace": "shop"}, "spec": {"containers": containers}}


def test_one_bad_case_does_not_end_a_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Thousands of cases would be lost to one request with a slip in its unit."""
    dump = {"kind": "List", "items": [NODE]}
    cases = [
        {"id": "huge", "dump": dump, "pod": pod("a", cpu="1E")},
        {"id": "none", "dump": dump},
        {"id": "well", "dump": dump, "pod": pod("b", cpu="1")},
        {"id": "vast", "dump": {"kind": "List", "items": [NODE, pod("c", memory="900E")]}, "pod": pod("d")},
    ]
    file = tmp_path / "cases.jsonl"
    file.write_text("".join(json.dumps(case) + "\n" for case in cases))
    assert main(["explain-pod", "--batch", str(file)]) == 1
    out, err = capsys.readouterr()
    answers = {a["id"]: a for a in map(json.loads, out.splitlines())}
    assert "line 1: cpu of 1000000000000000000: more than can be counted" in answers["huge"]["error"]
    assert "no pod" in answers["none"]["error"]
    assert answers["well"]["feasible"] == ["n1"] and answers["well"]["best"] == ["n1"]
    assert answers["vast"]["feasible"] == ["n1"]  # a pod without a node holds nothing
    assert "2 lines of" in err


def test_a_request_beyond_counting_is_told_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """`cpu: 1E` for `cpu: 1` would end in a traceback about C integers."""
    file = tmp_path / "dump.json"
    file.write_text(json.dumps({"kind": "List", "items": [NODE, pod("a", cpu="1E")]}))
    assert main(["explain-pod", "shop/a", "--dump", str(file)]) == 3
    out, err = capsys.readouterr()
    assert not out
    assert f"{file}, pod shop/a: cpu of 1000000000000000000: more than can be counted" in err
    assert "hint: is the unit meant?" in err
