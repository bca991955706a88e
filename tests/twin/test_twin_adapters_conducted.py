"""The production conductor over the twin's ports: what a rehearsal is."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import pytest
from test_twin_adapters import budget, snapshot

from baton.conductor.engines.aws import AwsEngine
from baton.conductor.run import Conductor
from baton.errors import HaltedError
from baton.model.events import Event, WatchEvent
from baton.model.plan import Change, Plan, Stage, StageKind
from baton.twin.adapters import TwinAws, TwinKube
from baton.twin.twin import Twin


class Memory:
    """A journal that forgets with the test."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, int, str], Mapping[str, Any]] = {}
        self.results: dict[tuple[str, int, str], Mapping[str, Any]] = {}

    def intend(self, run: str, ordinal: int, name: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        return self.kept.setdefault((run, ordinal, name), payload)

    def outcome(self, run: str, ordinal: int, name: str, result: Mapping[str, Any]) -> None:
        self.results[(run, ordinal, name)] = result

    def result(self, run: str, ordinal: int, name: str) -> Mapping[str, Any] | None:
        return self.results.get((run, ordinal, name))


class Notes:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[Event] = []

    def feed(self, events: Sequence[WatchEvent], now: float) -> Sequence[Event]:
        return ()

    def unsettled(self) -> Sequence[str]:
        return ()

    def note(self, event: Event) -> None:
        self.notes.append(event)


def plan_for(twin: Twin) -> Plan:
    coredns = twin.cloud.core.facts.default_addon_version("coredns", "1.35")
    assert coredns is not None
    node = {"image_id": "ami-35", "image_name": "golden", "kubelet_from": "1.34", "kubelet_to": "1.35"}
    stages = (
        Stage(1, StageKind.CONTROL_PLANE, "control plane", (Change("cluster", "demo", "1.34", "1.35"),), "first"),
        Stage(2, StageKind.ADDONS, "add-ons", (Change("addon", "coredns", "v1.12.4-eksbuild.1", coredns),), "then"),
        Stage(3, StageKind.NODE_GROUP, "main", (Change("node-group", "main", "ami-34", "ami-35", "", node),), "last"),
    )
    return Plan("demo", "1.34", "1.35", stages)


def conducted(twin: Twin) -> tuple[Conductor, Plan]:
    aws = TwinAws(twin, snapshot().images)
    tokens = Random(1)
    engine = AwsEngine(aws, lambda: f"{tokens.getrandbits(64):016x}")
    return Conductor(aws, TwinKube(twin, "demo"), twin.clock, Memory(), engine, Notes()), plan_for(twin)


def test_twin_adapters_conducted_whole_plan() -> None:
    """The very conductor that will run in production must get through the plan on the twin, in order."""
    twin = Twin.from_snapshot(snapshot(), seed=3)
    conductor, plan = conducted(twin)
    records = conductor.run("run-1", plan)
    assert [r.kind for r in records] == ["control-plane", "addon", "node-group"]
    assert all(a.ended_at <= b.started_at for a, b in itertools.pairwise(records))
    nodes = conductor.kube.list("nodes")
    assert {n["status"]["nodeInfo"]["kubeletVersion"][:5] for n in nodes} == {"v1.35"}
    assert 480 <= records[0].ended_at - records[0].started_at <= 1000


def test_twin_adapters_conducted_same_seed_same_times() -> None:
    """Predictions of one seed must be the same number twice."""
    runs = []
    for _ in range(2):
        conductor, plan = conducted(Twin.from_snapshot(snapshot(), seed=9))
        runs.append(conductor.run("run-1", plan))
    assert runs[0] == runs[1]


def test_twin_adapters_conducted_halts_on_a_blocking_budget() -> None:
    """A rehearsal must end with the reason that production would end with, not hang."""
    objects = {"poddisruptionbudgets.policy": [budget("cart", maxUnavailable=0)]}
    conductor, plan = conducted(Twin.from_snapshot(snapshot(objects=objects), seed=3))
    with pytest.raises(HaltedError, match="PodEvictionFailure"):
        conductor.run("run-1", plan)
