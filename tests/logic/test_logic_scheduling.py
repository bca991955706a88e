"""The scheduler against the real kube-scheduler 1.34.1's verdicts, and its fast path against its own slow one."""

from __future__ import annotations

import gzip
import importlib.util
import json
import random
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from scheduling_golden import load

from baton.logic.scheduling import Scheduler
from baton.logic.scheduling.dump import flatten

CASES = Path(__file__).parent.parent / "cases" / "scheduling" / "golden-1.34.1-sample.jsonl.gz"
COMPILED = [False, *([True] if importlib.util.find_spec("numba") else [])]


@cache
def cases() -> dict[str, list[dict[str, Any]]]:
    """Family -> cases: twelve of each, recorded from the upstream code (see the README of the golden data)."""
    found: dict[str, list[dict[str, Any]]] = {}
    with gzip.open(CASES, "rt") as lines:
        for line in lines:
            case = json.loads(line)
            found.setdefault(case["family"], []).append(case)
    return found


class Draw(random.Random):
    """A source of randomness that always says the same."""

    def __init__(self, value: float) -> None:
        super().__init__(0)
        self._value = value

    def random(self) -> float:
        return self._value


def test_there_are_cases() -> None:
    """An empty file of cases would let every comparison below pass."""
    assert len(cases()) >= 12 and sum(map(len, cases().values())) >= 150


@pytest.mark.parametrize("family", sorted(cases()))
def test_verdicts_are_the_real_schedulers(family: str) -> None:
    """A wrong filter or score sends pods elsewhere in the rehearsal than in production."""
    for case in cases()[family]:
        expected = case["expected"]
        found = Scheduler(load(case)).explain(case["pod"])
        assert list(found.feasible) == expected["feasible"], case["id"]
        assert {n: list(r) for n, r in found.infeasible.items()} == expected["infeasible"], case["id"]
        assert found.rejected_by == expected["rejected_by"], case["id"]
        assert list(found.unresolvable) == expected["unresolvable"], case["id"]
        scores = {n: {p: v for p, v in s.items() if v} for n, s in found.scores.items()}
        assert scores == {n: {p: v for p, v in s.items() if v} for n, s in expected["scores"].items()}, case["id"]
        assert found.totals == expected["totals"], case["id"]


@pytest.mark.parametrize("family", sorted(f for f in cases() if f == "preempt"))
def test_preemption_is_the_real_schedulers(family: str) -> None:
    """Wrong victims in the rehearsal would hide who loses pods when a node drains."""
    for case in cases()[family]:
        expected = case["expected"].get("preemption")
        found = Scheduler(load(case)).preempt(case["pod"])
        if expected is None:
            assert found is None or case["expected"]["feasible"], case["id"]
            continue
        assert found is not None, case["id"]
        assert sorted(found.best) == sorted(expected.get("best") or []), case["id"]


@pytest.mark.parametrize("compiled", COMPILED)
@pytest.mark.parametrize("family", sorted(cases()))
def test_the_fast_path_decides_as_the_slow_one_explains(family: str, compiled: bool) -> None:
    """The fast path may never place a pod where the explained verdict would not; nor miss one of the best nodes."""
    for case in cases()[family]:
        scheduler = Scheduler(load(case), compiled=compiled)
        told = scheduler.explain(case["pod"])
        seen = set()
        for step in range(7):
            decision = scheduler.schedule(case["pod"], Draw(step / 7))
            if told.feasible:
                assert decision.node in told.best, case["id"]
                assert decision.feasible == len(told.feasible), case["id"]
                seen.add(decision.node)
            else:
                reasons = Counter(r for each in told.infeasible.values() for r in each)
                assert decision.node is None, case["id"]
                assert decision.reasons == dict(reasons), case["id"]
        if told.feasible and len(told.best) <= 7:
            assert seen == set(told.best), case["id"]


@pytest.mark.skipif(len(COMPILED) < 2, reason="numba is not installed")
def test_compiled_and_plain_fill_a_cluster_alike() -> None:
    """With and without the accelerator a seed must give the same rehearsal, byte for byte."""
    for case in cases()["mixed"]:
        placed = []
        for compiled in (False, True):
            state = load(case)
            scheduler = Scheduler(state, compiled=compiled)
            rng = random.Random(case["id"])
            order = []
            for number in range(12):
                pod = {**case["pod"], "metadata": {**case["pod"]["metadata"], "name": f"copy-{number}"}}
                decision = scheduler.schedule(pod, rng)
                order.append((decision.node, sorted(decision.reasons.items())))
                if decision.node is not None:
                    state.add_pod({**pod, "spec": {**pod["spec"], "nodeName": decision.node}})
            placed.append(order)
        assert placed[0] == placed[1], case["id"]


def test_dumps_are_flattened() -> None:
    """A List within a List, as several kubectl answers give, must not lose objects."""
    pod = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}}
    nested = {"kind": "List", "items": [{"kind": "PodList", "items": [pod]}, pod]}
    assert len(list(flatten([nested]))) == 2
