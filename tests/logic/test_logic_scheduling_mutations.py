"""Recorded cases changed at random: the slow, the plain and the compiled scheduler must go on agreeing."""

from __future__ import annotations

import copy
import random
from collections import Counter
from typing import Any

import pytest
from scheduling_golden import load
from test_logic_scheduling import COMPILED, Draw, cases

from baton.logic.scheduling import Scheduler
from baton.logic.scheduling.cycle import Cycle
from baton.logic.scheduling.matching import ByLabel

Json = dict[str, Any]
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def _taint(case: Json, rng: random.Random) -> None:
    node = rng.choice(case["nodes"])
    taint = {"key": rng.choice("abc"), "value": rng.choice("xy"), "effect": rng.choice(EFFECTS)}
    node.setdefault("spec", {}).setdefault("taints", []).append(taint)


def _tolerate(case: Json, rng: random.Random) -> None:
    toleration: Json = {"key": rng.choice("abc"), "operator": rng.choice(("Exists", "Equal"))}
    if toleration["operator"] == "Equal":
        toleration["value"] = rng.choice("xy")
    if rng.random() < 0.5:
        toleration["effect"] = rng.choice(EFFECTS)
    case["pod"]["spec"].setdefault("tolerations", []).append(toleration)


def _cordon(case: Json, rng: random.Random) -> None:
    rng.choice(case["nodes"]).setdefault("spec", {})["unschedulable"] = True


def _move(case: Json, rng: random.Random) -> None:
    """Another zone for a node, or none."""
    labels = rng.choice(case["nodes"])["metadata"].setdefault("labels", {})
    if rng.random() < 0.3:
        labels.pop("topology.kubernetes.io/zone", None)
    else:
        labels["topology.kubernetes.io/zone"] = rng.choice(("z1", "z2", "z3", "z4"))


def _shrink(case: Json, rng: random.Random) -> None:
    allocatable = rng.choice(case["nodes"])["status"]["allocatable"]
    allocatable[rng.choice(("cpu", "memory"))] = rng.choice(("0", "1", "1500m", "2Gi", "7777777"))


def _leave(case: Json, rng: random.Random) -> None:
    if len(case["nodes"]) > 1:
        gone = case["nodes"].pop(rng.randrange(len(case["nodes"])))["metadata"]["name"]
        case["pods"] = [p for p in case["pods"] if p["spec"].get("nodeName") != gone]


def _crowd(case: Json, rng: random.Random) -> None:
    """More pods like the one to place, some on their way out."""
    for number in range(rng.randint(1, 4)):
        pod = copy.deepcopy(case["pod"])
        pod["metadata"] |= {"name": f"crowd-{rng.getrandbits(40):x}-{number}"}
        pod["metadata"].pop("uid", None)
        if rng.random() < 0.2:
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        pod["spec"]["nodeName"] = rng.choice(case["nodes"])["metadata"]["name"]
        pod["spec"].pop("volumes", None)
        case["pods"].append(pod)


def _swap_rules(case: Json, rng: random.Random) -> None:
    """Affinity, spreading or a selector of another case's pod."""
    others = [c for family in cases().values() for c in family]
    spec = rng.choice(others)["pod"]["spec"]
    for key in ("affinity", "topologySpreadConstraints", "nodeSelector", "tolerations"):
        if key in spec and rng.random() < 0.7:
            case["pod"]["spec"][key] = copy.deepcopy(spec[key])


def _ask(case: Json, rng: random.Random) -> None:
    container = case["pod"]["spec"]["containers"][0]
    requests = container.setdefault("resources", {}).setdefault("requests", {})
    requests[rng.choice(("cpu", "memory", "ephemeral-storage"))] = rng.choice(("0", "1", "350m", "1Gi", "123456789"))


MUTATIONS = (_taint, _tolerate, _cordon, _move, _shrink, _leave, _crowd, _swap_rules, _ask)


def mutated(family: str, seed: int) -> Json:
    """A case of the family with one to six changes."""
    rng = random.Random(f"{family}/{seed}")
    case: Json = copy.deepcopy(rng.choice(cases()[family]))
    for _ in range(rng.randint(1, 6)):
        rng.choice(MUTATIONS)(case, rng)
    return case


def check(family: str, seed: int) -> bool:
    """Every wiring of the scheduler says the same of one mutated case; whether the pod fitted."""
    case = mutated(family, seed)
    place = (family, seed)
    told = Scheduler(load(case)).explain(case["pod"])
    assert set(told.feasible) | set(told.infeasible) == {n["metadata"]["name"] for n in case["nodes"]}, place
    assert not set(told.feasible) & set(told.infeasible), place
    assert all(told.infeasible.values()), place
    reasons = dict(Counter(r for each in told.infeasible.values() for r in each))
    chosen = []
    for compiled in COMPILED:
        scheduler = Scheduler(load(case), compiled=compiled)
        decisions = [scheduler.schedule(case["pod"], Draw(step / 5)) for step in range(5)]
        chosen.append([d.node for d in decisions])
        for decision in decisions:
            if told.feasible:
                assert decision.node in told.best, place
                assert told.totals[decision.node] == max(told.totals.values()), place
            else:
                assert decision.node is None, place
                assert decision.reasons == reasons, place
    assert all(nodes == chosen[0] for nodes in chosen), place
    return bool(told.feasible)


@pytest.mark.parametrize("family", sorted(cases()))
def test_changed_cases_are_judged_alike(family: str) -> None:
    """Clusters unlike the recorded ones must not send the rehearsal where the explained verdict would not."""
    fitted = [check(family, seed) for seed in range(25)]
    assert any(fitted) or family == "unschedulable"


@pytest.mark.parametrize("family", ["preempt", "unschedulable", "resources"])
def test_victims_of_changed_cases_make_room(family: str) -> None:
    """Preemption may only name pods of lower priority, and the pod must fit the node once they are gone."""
    for seed in range(30):
        case = mutated(family, seed)
        found = Scheduler(load(case)).preempt(case["pod"])
        if found is None or not found.best:
            continue
        mine = case["pod"]["spec"].get("priority") or 0
        assert case["pod"]["spec"].get("preemptionPolicy") != "Never", (family, seed)
        for node in found.best:
            victims = {(p["metadata"]["namespace"], p["metadata"]["name"]) for p in found.candidates[node].pods}
            assert victims, (family, seed)
            assert all((p["spec"].get("priority") or 0) < mine for p in found.candidates[node].pods), (family, seed)
            left = [p for p in case["pods"] if (p["metadata"]["namespace"], p["metadata"]["name"]) not in victims]
            after = Scheduler(load({**case, "pods": left})).explain(case["pod"])
            assert node in after.feasible, (family, seed, node)


@pytest.mark.parametrize("family", sorted(cases()))
def test_preempting_in_a_rehearsal_finds_what_asking_every_node_finds(family: str) -> None:
    """A rehearsal leaves nodes out that no preemption opens and reads counts from the fast path: were one of them read
    wrong, it would evict other pods than `explain-pod` and the real scheduler name."""
    for seed in range(12):
        case = mutated(family, seed)
        full = Scheduler(load(case)).preempt(case["pod"])
        quick = Scheduler(load(case)).preempt(case["pod"], random.Random(seed))
        assert quick == full, (family, seed)


@pytest.mark.parametrize("family", ["preempt", "unschedulable", "resources"])
def test_victims_by_room_are_those_that_every_plugin_would_find(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Preemption in a rehearsal would delete other pods than the real scheduler where only room is short."""
    wanted = [Scheduler(load(case)).preempt(case["pod"]) for case in (mutated(family, seed) for seed in range(30))]
    monkeypatch.setattr(Cycle, "asks_for_room_only", False)
    for seed, expected in enumerate(wanted):
        case = mutated(family, seed)
        assert Scheduler(load(case)).preempt(case["pod"]) == expected, (family, seed)


def test_things_are_found_by_the_labels_they_want() -> None:
    """A Service or budget that is overlooked spreads pods otherwise than the cluster does, or lets an eviction pass."""
    rng = random.Random(7)
    for _ in range(300):
        wanted = [{k: rng.choice("xyz") for k in rng.sample("abcd", rng.randint(0, 3))} for _ in range(8)]
        labels = {k: rng.choice("xyz") for k in rng.sample("abcd", rng.randint(0, 4))}
        found = ByLabel((each, i) for i, each in enumerate(wanted)).candidates(labels)
        selecting = [i for i, each in enumerate(wanted) if each.items() <= labels.items()]
        assert [i for i in found if i in selecting] == selecting
        assert len(found) == len(set(found))
