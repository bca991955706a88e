"""One rehearsal: the production conductor on a twin, in virtual time."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "twin"))
from test_twin_adapters import budget, snapshot

from baton.knowledge.tables import Knowledge
from baton.model.target import Target
from baton.planner.plan import make_plan
from baton.rehearsal.run import Run, rehearse_once


def rehearse(seed: int = 1, **changes: object) -> Run:
    taken = snapshot(3, **changes)  # type: ignore[arg-type]
    return rehearse_once(taken, make_plan(taken, Target("1.35"), Knowledge.load()), seed)


def comparable(run: Run) -> dict[str, object]:
    return {k: v for k, v in dataclasses.asdict(run).items() if k != "wall_seconds"}


def test_rehearsal_walks_the_plan_and_keeps_the_nodes_up():
    """Wrong figures here would be promised to a team before their production roll."""
    run = rehearse()
    assert run.outcome == "succeeded"
    assert [s[2] for s in run.stages] == ["control-plane", "addon", "node-group"]
    main = run.groups["main"]
    assert (main.replaced, main.min_ready, main.nodes, main.outcome) == (3, 3, 3, "replaced")
    assert main.peak > 3
    assert 480 <= run.stages[0][3] <= 905
    assert run.lowest["Deployment shop/cart"] == (5, 6)


def test_rehearsal_same_seed_same_figures():
    """A figure that changes from one run to the next cannot be discussed or reproduced."""
    assert comparable(rehearse(7)) == comparable(rehearse(7))
    assert comparable(rehearse(7)) != comparable(rehearse(8))


def test_rehearsal_names_the_budget_that_blocks():
    """The team must learn before the roll which pod and which budget would stall it, and how it would end."""
    run = rehearse(objects={"poddisruptionbudgets.policy": [budget("cart", maxUnavailable=0)]})
    assert run.outcome == "halted"
    assert "PodEvictionFailure" in run.reason
    assert run.groups["main"].outcome == "failed"
    stuck = [b for b in run.blocked if b.workload == "Deployment shop/cart"]
    assert stuck
    assert all("cart" in b.pdb and b.seconds >= 890 for b in stuck)
