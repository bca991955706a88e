"""Dumps that lack things: a clear error, or a recorded unknown; never a wrong answer without a word."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from baton.cli.main import main
from baton.model.cluster import Snapshot
from baton.observe.store import load, save
from baton.rehearsal.generate import generate

Json = dict[str, Any]


@pytest.fixture(scope="module")
def whole() -> list[Json]:
    made = generate(nodes=4, pods=90, seed=4, blocking=0)
    return [dict(o) for objects in made.objects.values() for o in objects]


def rehearse(tmp_path: Path, items: Any, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, Json, str]:
    path = tmp_path / "dump.json"
    document = items if isinstance(items, str) else json.dumps({"kind": "List", "apiVersion": "v1", "items": items})
    path.write_text(document)
    code = main(["rehearse", "--to", "1.35", "--dump", str(path), "--runs", "1", "--no-recommend", "--json", *more])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else {}, err


def without(items: list[Json], *kinds: str) -> list[Json]:
    return [o for o in items if o["kind"] not in kinds]


def test_dump_of_everything_says_what_it_assumes(tmp_path: Path, whole: list[Json], capsys: Any):
    """A dump knows no AWS: the reader must be told what was made up in its place."""
    code, found, _ = rehearse(tmp_path, whole, capsys)
    assert code == 0
    said = " ".join(found["assumptions"])
    assert "max_unavailable 1" in said and "add-ons" in said and "subnets" in said
    assert {g["name"]: g["outcome"] for g in found["nodeGroups"]} == {"apps-a": "replaced", "apps-b": "replaced"}


@pytest.mark.parametrize("kinds", [("ReplicaSet", "Deployment"), ("DaemonSet",), ("Service", "Namespace")])
def test_dump_without_controllers_does_not_lose_their_pods(
    tmp_path: Path, whole: list[Json], capsys: Any, kinds: tuple[str, ...]
):
    """Pods whose ReplicaSet was not asked for would otherwise count as lost, and capacity would look free."""
    code, found, _ = rehearse(tmp_path, without(whole, *kinds), capsys)
    assert code == 0
    _, full, _ = rehearse(tmp_path, whole, capsys)
    assert found["lost"] == full["lost"]
    assert abs(found["evictions"] - full["evictions"]) <= full["evictions"] * 0.3
    for kind in kinds:
        assert any(kind.lower() in line for line in found["unknown"])


def test_dump_without_budgets_warns(tmp_path: Path, whole: list[Json], capsys: Any):
    """A rehearsal without budgets is too rosy, so it must say that it had none."""
    code, found, _ = rehearse(tmp_path, without(whole, "PodDisruptionBudget"), capsys)
    assert code == 0
    assert any("as if there were none" in line for line in found["assumptions"])


@pytest.mark.parametrize(
    ("kinds", "says"),
    [(("Node",), "there are no nodes"), (("Pod",), "without the pods")],
)
def test_dump_without_nodes_or_pods_is_refused(
    tmp_path: Path, whole: list[Json], capsys: Any, kinds: tuple[str, ...], says: str
):
    """Nothing can be said of a cluster without nodes or pods, and nothing must be."""
    code, _, err = rehearse(tmp_path, without(whole, *kinds), capsys)
    assert code == 3
    assert says in err and "Traceback" not in err


def test_dump_with_pods_on_unknown_nodes_records_them(tmp_path: Path, whole: list[Json], capsys: Any):
    """Pods of nodes that were filtered out would take no room anywhere."""
    items = copy.deepcopy(whole)
    gone = next(o for o in items if o["kind"] == "Node")["metadata"]["name"]
    code, found, _ = rehearse(tmp_path, [o for o in items if o["metadata"]["name"] != gone], capsys)
    assert code in (0, 1)
    assert any(gone in line for line in found["unknown"])


def test_dump_with_half_objects_and_unknown_fields(tmp_path: Path, whole: list[Json], capsys: Any):
    """Half objects are left out and counted; fields of a newer Kubernetes are no reason to stop."""
    items = copy.deepcopy(whole)
    items += [
        {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "half", "namespace": "default"}},
        {"kind": "Pod", "apiVersion": "v1", "metadata": {}},
        {"kind": "Wombat", "apiVersion": "zoo/v9", "metadata": {"name": "w"}, "spec": {}},
        {"apiVersion": "v1", "metadata": {"name": "nameless-kind"}},
    ]
    for item in items[:40]:
        item["newerField"] = {"anything": [1, 2, {"deep": None}]}
        if isinstance(item.get("spec"), dict):
            item["spec"]["newerField"] = "yes"
    code, found, _ = rehearse(tmp_path, items, capsys)
    assert code == 0
    unknown = " ".join(found["unknown"])
    assert "2 without a name or a spec" in unknown and "Wombat" in unknown


def test_dump_with_objects_twice_takes_them_once(tmp_path: Path, whole: list[Json], capsys: Any):
    """Two lists put together hold pods twice; counting them twice would fill the cluster."""
    pods = [o for o in whole if o["kind"] == "Pod"]
    code, found, _ = rehearse(tmp_path, [*whole, *pods], capsys)
    assert code == 0
    assert any(line.startswith(f"{len(pods)} pods came twice") for line in found["assumptions"])
    assert found["evictions"] == rehearse(tmp_path, whole, capsys)[1]["evictions"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1, 2",
        "null",
        "[]",
        '{"kind": "List", "items": 7}',
        '{"kind": "List", "items": [7, null, "x"]}',
        '{"kind": "Pod"}',
        "\x00\x01\x02",
        '{"kind": "List", "items": [{"kind": "Node", "metadata": {"name": 3}, "spec": {}}]}',
    ],
)
def test_dump_that_is_none_is_refused_in_a_sentence(tmp_path: Path, capsys: Any, text: str):
    """Whatever file is given, the answer is one sentence and exit code 3, never a traceback."""
    code, _, err = rehearse(tmp_path, text, capsys)
    assert code == 3
    assert err.startswith("baton: ") and "Traceback" not in err


@pytest.mark.parametrize(
    "damage",
    [
        lambda o: o["spec"].update(containers="none"),
        lambda o: o["spec"].update(containers=[{"name": "c", "resources": {"requests": {"cpu": "lots"}}}]),
        lambda o: o["spec"].update(nodeName=7),
        lambda o: o["spec"].update(affinity={"podAffinity": []}),
        lambda o: o["spec"].update(tolerations=[None]),
        lambda o: o["metadata"].update(labels=["a"]),
        lambda o: o["metadata"].update(ownerReferences=[{"kind": "ReplicaSet"}]),
        lambda o: o.update(status={"conditions": [{"type": "Ready"}, {}]}),
        lambda o: o.update(status=None),
    ],
)
def test_dump_with_a_malformed_pod_ends_in_words(tmp_path: Path, whole: list[Json], capsys: Any, damage: Any):
    """One broken object among thousands must be named or ridden out, without a traceback."""
    items = copy.deepcopy(whole)
    damage(next(o for o in items if o["kind"] == "Pod" and o["metadata"]["namespace"].startswith("team")))
    code, _, err = rehearse(tmp_path, items, capsys)
    assert code in (0, 1, 3)
    assert "Traceback" not in err
    if code == 3:
        assert err.startswith("baton: ") and "hint" in err


def test_a_snapshot_is_read_as_it_was_written_and_its_templates_once(tmp_path: Path):
    """A cluster of 150,000 pods would need half a gigabyte more, or come back as another one."""
    made = generate(nodes=12, pods=150, seed=8)
    file = tmp_path / "cluster.baton"
    save(file, made)
    read = load(file)
    document = msgspec.json.decode(gzip.decompress(file.read_bytes()))
    assert read == msgspec.convert(document["snapshot"], Snapshot)
    pods = read.objects["pods"]
    containers = {id(p["spec"]["containers"]): p["spec"]["containers"] for p in pods}
    assert len(containers) < len(pods) / 2
    assert len({msgspec.json.encode(c) for c in containers.values()}) == len(containers)


@pytest.mark.parametrize("change", [{"spec": None}, {"metadata": [], "spec": {}}, {"spec": "gone"}])
def test_half_pods_of_a_snapshot_are_read_for_others_to_tell(tmp_path: Path, change: dict[str, Any]):
    """An object cut short would be told as a file that is no JSON, without its name."""
    file = tmp_path / "cluster.baton"
    save(file, generate(nodes=12, pods=150, seed=8))
    document = msgspec.json.decode(gzip.decompress(file.read_bytes()))
    document["snapshot"]["objects"]["pods"][3].update(change)
    file.write_bytes(msgspec.json.encode(document))
    assert load(file).objects["pods"][3] == document["snapshot"]["objects"]["pods"][3]
