"""Several node groups in one stage: asked for, or bound by one literal."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from planner_world import optimised_group, world

from baton.cli.main import main
from baton.knowledge.tables import Knowledge
from baton.model.plan import Plan, StageKind
from baton.model.target import Target
from baton.planner.plan import make_plan

SNAPSHOT = world("1.34", groups=[optimised_group(n, size=s) for n, s in (("c", 9), ("a", 1), ("b", 4))], addons={})


def plan(parallel: int, together: Sequence[Sequence[str]] = ()) -> Plan:
    return make_plan(SNAPSHOT, Target("1.35", parallel_groups=parallel), Knowledge.load(), together=together)


def batches(found: Plan) -> list[list[str]]:
    return [[c.name for c in s.changes] for s in found.stages if s.kind is StageKind.NODE_GROUP]


@pytest.mark.parametrize(
    ("parallel", "together", "expected"),
    [
        (1, (), [["a"], ["b"], ["c"]]),
        (2, (), [["a", "b"], ["c"]]),
        (3, (), [["a", "b", "c"]]),
        (50, (), [["a", "b", "c"]]),
        (1, (("a", "c"),), [["a", "c"], ["b"]]),
        (2, (("a", "c"),), [["a", "c"], ["b"]]),
        (3, (("a", "c"),), [["a", "c", "b"]]),
    ],
)
def test_groups_of_a_stage(parallel: int, together: Sequence[Sequence[str]], expected: list[list[str]]) -> None:
    """More groups at once than asked for takes away more capacity than anybody agreed to."""
    assert batches(plan(parallel, together)) == expected


def test_the_reason_says_why_they_roll_at_the_same_time() -> None:
    """A reviewer must see whether it was asked for or cannot be helped."""
    assert "as asked" in plan(2).stages[1].reason
    assert "share one literal" in plan(1, (("a", "c"),)).stages[1].reason
    assert "smallest group goes first" in plan(1).stages[1].reason


def test_side_by_side_is_named_as_another_way() -> None:
    """Whoever has a short window would not know that it can be had."""
    assert any("--parallel-groups 3" in line for line in plan(1).alternatives)
    assert not any("--parallel-groups" in line for line in plan(3).alternatives)


def test_no_groups_at_once_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Zero would make a plan without node groups."""
    assert main(["plan", "--to", "1.35", "--parallel-groups", "0"]) == 2
    assert "--parallel-groups 0" in capsys.readouterr().err
