"""Pods kept as records (rehearsals) against pods kept as objects (the emulator): one story, told twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from baton.knowledge.tables import Knowledge
from baton.model.cluster import Snapshot
from baton.model.target import Target
from baton.planner.plan import make_plan
from baton.rehearsal.generate import generate
from baton.rehearsal.run import Options, Run, rehearse_once
from baton.twin.adapters import TwinKube
from baton.twin.timings import TwinSettings
from baton.twin.twin import Twin

STYLES = ["records", "objects", "everything"]


def settings(style: str) -> TwinSettings:
    """Pods as records, as objects without what only people read, or with all of it."""
    if style == "records":
        return TwinSettings().for_rehearsal()
    return dataclasses.replace(TwinSettings().for_rehearsal(), lean=False) if style == "objects" else TwinSettings()


@contextmanager
def rehearsing(monkeypatch: pytest.MonkeyPatch, style: str) -> Iterator[None]:
    chosen = settings(style)
    with monkeypatch.context() as patch:
        patch.setattr(TwinSettings, "for_rehearsal", lambda self: chosen)
        yield


def story(run: Run) -> dict[str, Any]:
    """All that a run tells but what it cost to compute."""
    told = dataclasses.asdict(run)
    for cost in ("wall_seconds", "peak_rss_mib", "events"):
        del told[cost]
    return told


@pytest.mark.parametrize(
    ("nodes", "pods", "seed", "blocking", "force"),
    [(6, 90, 1, None, False), (12, 150, 8, 2, False), (12, 240, 5, 0, False), (18, 400, 4, 3, True)],
)
def test_lean_rehearsals_tell_the_same_story(
    nodes: int, pods: int, seed: int, blocking: int | None, force: bool, monkeypatch: pytest.MonkeyPatch
):
    """A rehearsal that differs from the emulator by its way of keeping pods would rehearse another cluster."""
    made = generate(nodes=nodes, pods=pods, seed=seed, **({} if blocking is None else {"blocking": blocking}))
    major, minor = made.cluster.version.split(".")
    plan = make_plan(made, Target(f"{major}.{int(minor) + 1}"), Knowledge.load())
    told = []
    for style in STYLES:
        with rehearsing(monkeypatch, style):
            told.append(story(rehearse_once(made, plan, seed, options=Options(force_drain=force, whole=True))))
    assert told[0]["placements"] > 0
    assert told[0] == told[1]
    assert told[0] == told[2]


def rolled(made: Snapshot, style: str, seed: int = 3) -> tuple[Twin, list[tuple[str, str]]]:
    """A twin in which three nodes were drained and taken away, and who came and went meanwhile as a watch saw it."""
    twin = Twin.from_snapshot(made, seed, kube_settings=settings(style))
    kube = twin.kube(made.cluster.name)
    watch = TwinKube(twin, made.cluster.name).watch(["pods"])
    watch.poll()
    seen = []
    for node in sorted(n["metadata"]["name"] for n in made.objects["nodes"])[:3]:
        kube.cordon(node)
        for namespace, name in kube.drain_keys(node):
            kube.evict(namespace, name)
        twin.clock.sleep(90)
        kube.remove_node(node)
        twin.clock.sleep(90)
        seen += [(e.type, e.object["metadata"]["name"]) for e in watch.poll() if e.type != "MODIFIED"]
    watch.close()
    return twin, seen


def shown(obj: Any) -> tuple[Any, ...]:
    """What a reader of the twin relies on in a pod."""
    meta, spec, status = obj["metadata"], obj["spec"], obj["status"]
    ready = [c["status"] for c in status.get("conditions") or () if c["type"] == "Ready"]
    owners = [(o["kind"], o["name"]) for o in meta.get("ownerReferences") or ()]
    rest = {k: v for k, v in spec.items() if k not in ("nodeName", "volumes")}
    return (
        meta.get("labels"), owners, spec.get("nodeName"), rest, status["phase"], ready[:1] or ["False"],
        "deletionTimestamp" in meta,
    )  # fmt: skip


def test_lean_objects_are_what_an_api_server_would_show():
    """A check, a snapshot or explain-pod over a rehearsed twin would read something else than over a real cluster."""
    made = generate(nodes=9, pods=160, seed=2, blocking=0)
    (lean, lean_seen), (full, full_seen) = (rolled(made, style) for style in ("records", "objects"))
    assert lean_seen == full_seen
    assert lean_seen
    worlds = [twin.kube(made.cluster.name).world for twin in (lean, full)]
    pods = [{(o["metadata"]["namespace"], o["metadata"]["name"]): o for o in w.items("pods")} for w in worlds]
    assert pods[0].keys() == pods[1].keys()
    for key, obj in pods[0].items():
        assert shown(obj) == shown(pods[1][key]), key
    assert worlds[0].count("pods") == worlds[1].count("pods")
    for node in worlds[0].items("nodes"):
        names = [[p["metadata"]["name"] for p in w.pods_on(node["metadata"]["name"])] for w in worlds]
        assert sorted(names[0]) == sorted(names[1])


def test_lean_pods_follow_what_is_written_from_outside():
    """Somebody who writes a pod to a rehearsed twin would be ignored, and the counts would be wrong."""
    made = generate(nodes=5, pods=60, seed=4, blocking=0)
    twin = Twin.from_snapshot(made, 1, kube_settings=settings("records"))
    kube = twin.kube(made.cluster.name)
    pod = next(p for p in kube.pods.by_key.values() if p.ready and p.owner is not None and p.owner.kind == "ReplicaSet")
    before, owner = pod.owner.ready, pod.owner
    unready = {**pod.obj["status"], "conditions": [{"type": "Ready", "status": "False"}]}
    kube.world.update("pods", {**pod.obj, "status": unready})
    assert not pod.ready
    assert owner.ready == before - 1
    assert kube.world.get("pods", pod.namespace, pod.name)["status"] == unready
    kube.world.remove("pods", pod.namespace, pod.name)
    assert kube.world.get("pods", pod.namespace, pod.name) is None
    twin.clock.sleep(60)
    assert owner.active == owner.desired
