"""Pods of a snapshot read template by template, against pods read one by one."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from baton.errors import ReadError
from baton.knowledge.tables import Knowledge
from baton.model.cluster import Snapshot
from baton.model.target import Target
from baton.planner.plan import make_plan
from baton.rehearsal.generate import generate
from baton.rehearsal.run import rehearse_once
from baton.twin.controllers.reading import Reader
from baton.twin.kube import KubeTwin
from baton.twin.timings import TwinSettings
from baton.twin.twin import Twin


def uneven() -> Snapshot:
    """A cluster as it was read from a file: no two pods share a dictionary, and some differ from their siblings."""
    made = generate(nodes=20, pods=600, seed=4)
    pods = [copy.deepcopy(dict(p)) for p in made.objects["pods"]]
    for number, pod in enumerate(pods):
        meta, spec, status = pod["metadata"], pod["spec"], pod["status"]
        with_token(pod, f"{number:05d}")
        kind = number % 23
        if kind == 3:
            pod["status"] = {"phase": "Pending"}
        elif kind == 5:
            del spec["nodeName"]
            pod["status"] = {"phase": "Pending"}
        elif kind == 7:
            meta["deletionTimestamp"], meta["deletionGracePeriodSeconds"] = meta["creationTimestamp"], 30
        elif kind == 9:
            name = spec["containers"][0].get("name", "")
            status["containerStatuses"] = [{"name": name, "resources": {"requests": {"cpu": "3"}}}]
        elif kind == 11:
            status["conditions"] = [{"type": "Ready", "status": "False"}]
        elif kind == 13:
            meta["labels"] = {**meta["labels"], "canary": "yes"}
        elif kind == 15:
            spec["terminationGracePeriodSeconds"] = 7
        elif kind == 17:
            pod["status"] = {**status, "phase": "Succeeded"}
        elif kind == 19:
            spec["nodeName"] = "gone"
    return replace(made, objects={**made.objects, "pods": tuple(pods)})


def with_token(pod: dict[str, Any], suffix: str) -> None:
    """What the admission of service accounts adds to every pod."""
    name, spec = f"kube-api-access-{suffix}", pod["spec"]
    spec["volumes"] = [*(spec.get("volumes") or ()), {"name": name, "projected": {}}]
    for container in spec["containers"]:
        container["volumeMounts"] = [{"name": name, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]


def brought_up(snapshot: Snapshot) -> KubeTwin:
    twin = Twin.from_snapshot(snapshot, 3, kube_settings=TwinSettings().for_rehearsal())
    return twin.kube(snapshot.cluster.name)


def known(kube: KubeTwin) -> dict[str, Any]:
    """All that the twin has noted of its pods, in order."""
    pods, state = kube.pods, kube.scheduling.state
    classes: dict[Any, int] = {}
    return {
        "pods": [
            (p.key, p.phase, p.ready, p.terminating, p.node, p.labels, [b.key for b in p.budgets], p.grace, p.obj)
            for p in pods.by_key.values()
        ],
        "on nodes": [(n, list(there)) for n, there in pods.by_node.items()],
        "by namespace": [(n, list(there)) for n, there in pods.by_namespace.items()],
        "groups": [(g.key, g.kind, list(g.pods), g.active, g.ready) for g in pods.groups.values()],
        "budgets": [
            (key, list(b.pods), sorted(b.counted), b.controllers) for key, b in kube.disruption.budgets.items()
        ],
        "counted": [
            (key, i.slot, classes.setdefault(i.cls, len(classes)), i.request, i.pin, i.claims, i.terminating)
            for key, i in state.pods.items()
        ],
        "per node": [list(there) for there in state.pods_at],
        "with rules": list(state.pods_with_affinity),
        "used": state.used.tolist(),
        "versions": state.versions,
        "priorities": dict(kube.scheduling._priorities),
        "work": [(type(controller).__name__, key) for controller, key in kube.cluster.queue._work],
        "clock": sorted(entry[:3] for entry in kube.clock._heap),
        "waiting": sorted(entry[:3] for entry in kube.scheduling._heap),
    }


@pytest.mark.parametrize("snapshot", [uneven(), generate(nodes=12, pods=300, seed=6)], ids=["uneven", "generated"])
def test_pods_read_together_are_those_read_one_by_one(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch):
    """A pod that differs from its siblings would be rehearsed as one of them."""
    together = known(brought_up(snapshot))
    read = Reader.read

    def one_by_one(self: Reader, objects: Any) -> None:
        for obj in objects:
            read(Reader(self._pods, self._state), (obj,))

    monkeypatch.setattr(Reader, "read", one_by_one)
    alone = known(brought_up(snapshot))
    for what, found in alone.items():
        assert together[what] == found, what


def test_the_name_of_a_token_makes_no_class():
    """Every pod of a real cluster would be a template of its own: a large rehearsal would not end."""
    kube = brought_up(uneven())
    group = max((g for g in kube.pods.groups.values() if g.kind == "ReplicaSet"), key=lambda g: len(g.pods))
    plain = [p for p in group.pods.values() if "canary" not in p.labels and p.node]
    assert len(plain) > 5
    assert len({kube.cluster.lean.info(p).cls for p in plain}) == 1


def test_a_pod_that_is_there_twice_is_told():
    """A broken snapshot would be rehearsed with one pod less."""
    made = generate(nodes=3, pods=40, seed=1)
    pods = made.objects["pods"]
    twice = replace(made, objects={**made.objects, "pods": (*pods, pods[-1])})
    major, minor = made.cluster.version.split(".")
    plan = make_plan(made, Target(f"{major}.{int(minor) + 1}"), Knowledge.load())
    with pytest.raises(ReadError, match="already exists"):
        rehearse_once(twice, plan, 1)


def test_one_stands_for_pods_that_nobody_asked_for():
    """Loading a large cluster would make a record of every pod before the first that is looked at; or, where one still
    stood for others, all of them would be found on one node."""
    made = generate(nodes=12, pods=300, seed=6)
    kube = brought_up(made)
    lean = kube.cluster.lean
    several = {one: (list(one.keys), list(one.bases)) for one in lean.standing()}
    one = max(several, key=lambda one: len(one.keys))
    keys, bases = several[one]
    assert len(keys) > 5
    assert kube.pods.at(("team", "nobody")) is None
    assert one in lean.standing()
    pod = kube.pods.at(keys[3])
    assert (pod.key, pod.obj, pod.node) == (keys[3], bases[3], bases[3]["spec"]["nodeName"])
    assert one not in lean.standing()
    assert len(lean.standing()) == len(several) - 1
    assert one.owner.alike.keys() == {name for _, name in keys}
    assert {p.key: p.obj for p in one.owner.pods.values()} == dict(zip(keys, bases, strict=True))
    on_nodes = [(p.node, p.key) for p in kube.pods.by_key.values() if p.node]
    assert lean.standing() == []
    assert sorted(on_nodes) == sorted((n, key) for n, there in kube.pods.by_node.items() for key in there)
    state = kube.scheduling.state
    assert sorted(on_nodes) == sorted((state.node(i.slot).name, key) for key, i in state.pods.items())


def test_pods_that_one_stands_for_count_where_they_are():
    """A pod that must not be near others would be put beside them."""
    plain, asked = (brought_up(generate(nodes=12, pods=300, seed=6)) for _ in range(2))
    asked.cluster.lean.part_all()
    tables = [kube.scheduling.scheduler.fast.planner.index.table.data for kube in (plain, asked)]
    assert plain.cluster.lean.standing()
    assert tables[0].tolist() == tables[1].tolist()
    assert tables[0].any()
    plain.cluster.lean.part_all()
    for cls in {i.cls for i in plain.scheduling.state.pods.values()}:
        there = {key: info for key, info in plain.scheduling.state.pods.items() if info.cls is cls}
        assert cls.index.pods == there
