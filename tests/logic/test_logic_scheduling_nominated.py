"""Room that preemption made is kept for the pod it was made for, as RunFilterPluginsWithNominatedPods keeps it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from test_logic_scheduling import COMPILED
from test_logic_scheduling_rules import Json, node, pod, state_of

from baton.logic.scheduling import ClusterState, Scheduler
from baton.logic.scheduling.dump import Dump

HALF: Json = {"resources": {"requests": {"cpu": "2"}}}
MOST: Json = {"resources": {"requests": {"cpu": "3"}}}


def nominated(name: str, to: str, **spec: Any) -> Json:
    made = pod(name, **spec)
    made["status"] = {"phase": "Pending", "nominatedNodeName": to}
    return made


def two_nodes(*pods: Json) -> ClusterState:
    return state_of([node("n1"), node("n2")], list(pods))


@pytest.mark.parametrize("compiled", COMPILED)
@pytest.mark.parametrize(("priority", "goes_to"), [(0, {"n2"}), (100, {"n2"}), (101, {"n1", "n2"})])
def test_room_is_kept_from_pods_of_no_higher_priority(priority: int, goes_to: set[str], compiled: bool) -> None:
    """The rehearsal would give the room away and preempt again: evictions that no real roll makes."""
    state = two_nodes(nominated("vip", "n1", priority=100, container=MOST))
    asking = pod("in", priority=priority, container=HALF)
    assert set(Scheduler(state).explain(asking).feasible) == goes_to
    scheduler = Scheduler(state, compiled=compiled)
    chosen = {scheduler.schedule(asking, random.Random(seed)).node for seed in range(30)}
    assert chosen == goes_to


@pytest.mark.parametrize("compiled", COMPILED)
def test_the_reason_is_what_will_be_there(compiled: bool) -> None:
    """`why is my pod pending?` would be answered with a node that looks empty."""
    state = state_of([node("n1")], [nominated("vip", "n1", priority=100, container=MOST)])
    asking = pod("in", container=HALF)
    assert Scheduler(state).explain(asking).infeasible == {"n1": ("Insufficient cpu",)}
    assert Scheduler(state, compiled=compiled).schedule(asking, random.Random(1)).reasons == {"Insufficient cpu": 1}


def test_the_pod_itself_takes_its_room() -> None:
    """A nominated pod that kept the node from itself would wait for ever."""
    vip = nominated("vip", "n1", priority=100, container=MOST)
    state = state_of([node("n1")], [vip])
    assert Scheduler(state).schedule(vip, random.Random(1)).node == "n1"


def test_rules_about_other_pods_count_nominated_ones() -> None:
    """A pod that must not share a node with the nominated one would be placed beside it."""
    apart = {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"labelSelector": {"matchLabels": {"app": "vip"}}, "topologyKey": "kubernetes.io/hostname"}
            ]
        }
    }
    vip = nominated("vip", "n1", priority=100)
    vip["metadata"]["labels"] = {"app": "vip"}
    assert Scheduler(two_nodes(vip)).explain(pod("in", affinity=apart)).feasible == ("n2",)


def test_the_next_to_preempt_makes_room_beside_it() -> None:
    """Two pods that preempt one after the other would share the room of one, and one of them preempt anew."""
    there = [pod(f"low-{i}", "n1", priority=0, container={"resources": {"requests": {"cpu": "1"}}}) for i in range(4)]
    vip = nominated("vip", "n1", priority=100, container=HALF)
    asking = pod("in", priority=100, container={"resources": {"requests": {"cpu": "1"}}})
    alone = Scheduler(state_of([node("n1")], there)).preempt(asking)
    beside = Scheduler(state_of([node("n1")], [*there, vip])).preempt(asking)
    assert alone is not None and len(alone.candidates["n1"].names) == 1
    assert beside is not None and len(beside.candidates["n1"].names) == 3


def test_room_is_given_up_with_the_nomination() -> None:
    """A pod that found another node, or was deleted, would keep others from a node for ever."""
    vip = nominated("vip", "n1", priority=100, container=MOST)
    for last in ({**vip, "spec": {**vip["spec"], "nodeName": "n2"}}, {**vip, "status": {"phase": "Pending"}}):
        state = two_nodes(vip)
        state.add_pod(last)
        assert "n1" in Scheduler(state).explain(pod("in", container=HALF)).feasible
    state = two_nodes(vip)
    state.remove_pod(vip)
    assert "n1" in Scheduler(state).explain(pod("in", container=HALF)).feasible


def test_a_dump_tells_of_nominated_pods() -> None:
    """explain-pod would name a node that the cluster's scheduler keeps for another pod."""
    vip = nominated("vip", "n1", priority=100, container=MOST)
    kinds = [{"kind": "Node", **node("n1")}, {"kind": "Node", **node("n2")}, {"kind": "Pod", **vip}]
    assert Scheduler(Dump(kinds).state).explain(pod("in", container=HALF)).feasible == ("n2",)
