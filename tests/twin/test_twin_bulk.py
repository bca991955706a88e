"""Pods moved as rows of arrays by compiled functions against pods moved one by one: one story, told twice."""

from __future__ import annotations

import dataclasses
import importlib.util
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baton.knowledge.tables import Knowledge
from baton.model.cluster import Snapshot
from baton.model.target import Target
from baton.planner.plan import make_plan
from baton.rehearsal.generate import generate
from baton.rehearsal.run import Options, rehearse_once
from baton.twin.bulk.begin import Beyond
from baton.twin.bulk.pods import Draws, codes_of, letters
from baton.twin.timings import TwinSettings
from baton.twin.twin import Twin

compiled = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")


def story(snapshot: Snapshot, seed: int, *, bulk: bool, force: bool) -> dict[str, Any]:
    """All that a rehearsal tells but what it cost to compute."""
    major, minor = snapshot.cluster.version.split(".")
    plan = make_plan(snapshot, Target(f"{major}.{int(minor) + 1}"), Knowledge.load())
    run = rehearse_once(snapshot, plan, seed, options=Options(force_drain=force, detail=True, bulk=bulk))
    told = dataclasses.asdict(run)
    for cost in ("wall_seconds", "peak_rss_mib", "events"):
        del told[cost]
    return told


@compiled
@pytest.mark.parametrize(
    ("nodes", "pods", "seed", "blocking", "force"),
    [
        (6, 90, 1, None, False),
        (12, 150, 8, 2, False),
        (20, 500, 3, None, False),
        (30, 900, 4, 3, True),
        (30, 1500, 1, None, True),
        (40, 1200, 9, 0, False),
    ],
)
def test_bulk_rehearsals_tell_the_same_story(
    nodes: int, pods: int, seed: int, blocking: int | None, force: bool, moved: list[Any]
):
    """With numba installed a user would be told another upgrade than without: other times, evictions, blocks."""
    made = generate(nodes=nodes, pods=pods, seed=seed, **({} if blocking is None else {"blocking": blocking}))
    one_by_one = story(made, seed + 1, bulk=False, force=force)
    in_bulk = story(made, seed + 1, bulk=True, force=force)
    assert one_by_one == in_bulk
    assert moved[0].count() > pods / 3
    assert in_bulk["placements"] > 0


def crowded(seed: int) -> Snapshot:
    """A cluster in which workloads of several priorities ask for more memory than a roll leaves free."""
    made = generate(nodes=12, pods=260, seed=seed)
    rng = random.Random(seed)
    classes = {c["metadata"]["name"]: c["value"] for c in made.objects["priorityclasses.scheduling.k8s.io"]}
    names = ["", "", *(n for n, value in classes.items() if value < 10**9)]
    chosen: dict[str, str] = {}

    def changed(spec: dict[str, Any], name: str) -> dict[str, Any]:
        containers = []
        for container in spec["containers"]:
            requests = dict((container.get("resources") or {}).get("requests") or {})
            memory = requests.get("memory", "64Mi")
            if memory.endswith("Mi"):
                requests["memory"] = f"{2 * int(memory[:-2])}Mi"
            containers.append({**container, "resources": {**(container.get("resources") or {}), "requests": requests}})
        rest = {k: v for k, v in spec.items() if k not in ("priority", "priorityClassName")}
        return {**rest, "containers": containers, **({"priorityClassName": name} if name else {})}

    for replicaset in made.objects["replicasets.apps"]:
        template = replicaset["spec"]["template"]
        name = chosen[replicaset["metadata"]["uid"]] = rng.choice(names)
        template["spec"] = changed(template["spec"], name)
    for pod in made.objects["pods"]:
        owner = (pod["metadata"].get("ownerReferences") or [{}])[0].get("uid", "")
        if owner in chosen:
            name = chosen[owner]
            pod["spec"] = {**changed(pod["spec"], name), "priority": classes.get(name, 0)}
    return made


@compiled
@pytest.mark.parametrize("seed", [3, 5])
def test_bulk_pods_wait_and_preempt_as_others_do(seed: int, moved: list[Any]):
    """Where room runs out, pods of a workload would wait for, or be preempted from, other nodes than told."""
    made = crowded(seed)
    told = story(made, 2, bulk=False, force=True)
    assert told == story(made, 2, bulk=True, force=True)
    assert told["waited"] > 0
    assert moved


@compiled
@pytest.mark.parametrize("seed", [3, 6])
def test_lists_of_the_nodes_that_have_pods_change_nothing(seed: int, moved: list[Any], monkeypatch: pytest.MonkeyPatch):
    """In a large cluster pods would be spread by figures that miss a node, or count one that is gone."""
    monkeypatch.setattr("baton.twin.bulk.rows.LISTED_FROM_SLOTS", 1)
    for made in (crowded(seed), generate(nodes=30, pods=900, seed=seed)):
        assert story(made, 2, bulk=False, force=True) == story(made, 2, bulk=True, force=True)
    assert len(moved) == 2 and len(moved[-1].a.few)


@compiled
def test_the_nodes_that_have_pods_are_listed_while_they_are_few():
    """A counter of many pods whose list was cut short would leave nodes out of spreading."""
    from baton.logic.scheduling.compiled_counts import holders_of
    from baton.logic.scheduling.native import MANY

    table, few = np.zeros((3, 300), dtype=np.int32), np.zeros((3, 8), dtype=np.int32)
    table[1, [5, 64, 299]] = 2
    table[2, :8] = 1
    assert [holders_of(table, few, row) for row in range(3)] == [0, 3, -1]
    assert few[1, :4].tolist() == [4, 5, 64, 299]
    assert few[2, 0] == MANY
    assert holders_of(table, np.zeros((0, 8), dtype=np.int32), 1) == -1


@compiled
def test_bulk_pods_look_as_others_do():
    """Whoever lists pods of a rehearsed twin would read other nodes, phases or owners."""
    from baton.rehearsal.tally import Tally
    from baton.twin.bulk.begin import move_in_bulk

    made = generate(nodes=9, pods=200, seed=2, blocking=0)
    name = made.cluster.name
    shown: list[dict[Any, Any]] = []
    on_nodes: list[list[Any]] = []
    for bulk in (False, True):
        twin = Twin.from_snapshot(made, 3, kube_settings=TwinSettings().for_rehearsal())
        kube = twin.kube(name)
        tally = Tally(twin, name)
        tally.attach()
        move_in_bulk(kube, tally, bulk)
        twin.clock.sleep(5)
        drains = twin.cloud.scaling.drains(name)
        for node in sorted(n["metadata"]["name"] for n in made.objects["nodes"])[:2]:
            kube.cordon(node)
            drains.start(node, lambda: None)
            twin.clock.sleep(40)
        assert (kube.bulk is not None) is bulk
        kube.apply_addon("kube-proxy", "v1.35.0-eksbuild.9")  # a DaemonSet rolls from node to node
        twin.clock.sleep(900)
        assert kube.addon_healthy("kube-proxy")
        assert not bulk or ("kube-system", "kube-proxy") in kube.bulk.daemons
        shown.append({(o["metadata"]["namespace"], o["metadata"]["name"]): o for o in kube.world.items("pods")})
        on_nodes.append(
            [[p["metadata"]["name"] for p in kube.world.pods_on(n)] for n in sorted(kube.scheduling.state.nodes)]
        )
        assert kube.world.count("pods") == len(shown[-1])
        some = next(o for o in shown[-1].values() if o["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet")
        assert kube.world.get("pods", some["metadata"]["namespace"], some["metadata"]["name"]) == some
        owned = {o["metadata"]["name"] for o in kube.world.owned_by(some["metadata"]["ownerReferences"][0]["uid"])}
        assert some["metadata"]["name"] in owned
    assert on_nodes[0] == on_nodes[1]
    assert shown[0] == shown[1]


@compiled
def test_what_bulk_cannot_do_is_done_without(monkeypatch: pytest.MonkeyPatch):
    """A cluster with something unusual in it would end in an error, or in half a rehearsal."""
    from baton.twin.bulk.rows import Rows

    made = generate(nodes=8, pods=150, seed=4)
    expected = story(made, 1, bulk=False, force=False)
    plans = Rows._plan
    asked = []

    def third(self: Any, number: int) -> None:
        asked.append(number)
        if len(asked) == 3:
            raise Beyond("something unusual")
        plans(self, number)

    monkeypatch.setattr(Rows, "_plan", third)
    assert story(made, 1, bulk=True, force=False) == expected
    assert len(asked) == 3


@compiled
def test_add_ons_are_not_moved_in_bulk(moved: list[Any]):
    """Add-ons that roll during the upgrade would skip the rules that are theirs."""
    made = generate(nodes=12, pods=300, seed=6, blocking=0)
    story(made, 1, bulk=True, force=False)
    bulk = moved[0]
    assert all(group.kind == "DaemonSet" for group in bulk.groups if group.namespace == "kube-system")
    assert any(group.kind == "DaemonSet" for group in bulk.groups)
    for budget in bulk.budgets:  # one that also selects other pods would be counted twice
        assert not budget.pods


@given(st.integers(0, 27**5 - 1))
def test_names_of_bulk_pods_are_those_a_controller_would_give(code: int):
    """The pods that a report names would have other names with numba than without."""
    assert codes_of([letters(code)]) == [code]
    assert len(letters(code)) == 5


def test_other_names_have_no_number():
    """A pod named by hand would be taken for one named by its controller."""
    assert codes_of(["1a2b3", "abcde", "bcdf", "", "bcdfg", "bcdfé"]).tolist() == [
        -1,
        -1,
        -1,
        -1,
        1 * 27**3 + 2 * 27**2 + 3 * 27 + 4,
        -1,
    ]


def test_draws_kept_ahead_are_the_generators_own():
    """The same seed would give another rehearsal as soon as pods are moved in bulk."""
    plain, kept = random.Random(5), random.Random(5)
    scalars = np.zeros(1, dtype=np.int64)
    draws = Draws(kept, scalars, 0, 8)
    for turn in range(60):
        if turn % 7 == 3:
            assert draws.randrange(1000) == plain.randrange(1000)
        else:
            assert draws.random() == plain.random()
        if turn % 11 == 5:
            draws.fill()


@compiled
@settings(deadline=None)  # the first example compiles
@given(st.floats(0.0, 100_000.0) | st.integers(0, 10**7).map(lambda n: (n + 0.5) / 1000))
def test_compiled_rounding_is_pythons(value: float):
    """A time that lies between two milliseconds would be told differently with numba."""
    from baton.twin.bulk.queues import rounded

    assert rounded(value) == round(value, 3)
