"""What a rehearsal leaves behind in its process."""

from __future__ import annotations

import gc

import pytest

from baton.knowledge.tables import Knowledge
from baton.logic.scheduling.accelerate import installed
from baton.logic.scheduling.infos import PodInfo
from baton.model.target import Target
from baton.planner.plan import make_plan
from baton.rehearsal.generate import generate
from baton.rehearsal.run import Options, rehearse_once
from baton.twin.controllers.base import Controller, Group, Pod
from baton.twin.world import World


def kept() -> int:
    """How many parts of twins are there, reachable or not."""
    gc.unfreeze()
    parts = (Pod, PodInfo, Group, Controller, World)
    return sum(issubclass(type(o), parts) for o in gc.get_objects())


@pytest.mark.parametrize("bulk", [False, pytest.param(True, marks=pytest.mark.skipif(not installed(), reason="numba"))])
def test_a_twin_is_gone_when_the_next_rehearsal_begins(bulk: bool):
    """A hundred rehearsals in one process would need the memory of a hundred clusters."""
    made = generate(nodes=12, pods=200, seed=8)
    plan = make_plan(made, Target("1.35"), Knowledge.load())
    gc.collect()
    gc.disable()
    try:
        runs, counts = [], []
        for _ in range(3):
            runs.append(rehearse_once(made, plan, 3, options=Options(bulk=bulk)))
            counts.append(kept())
    finally:
        gc.enable()
    assert counts[0] > 100
    assert counts[1] <= counts[0]
    assert counts[2] <= counts[0]
    assert len({(run.seconds, run.placements) for run in runs}) == 1
