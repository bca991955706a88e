"""Whole plans against a search through every way there is, written without the planner's code."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from planner_world import custom_group, golden, node, world
from test_planner_path import every_way

from baton.errors import BatonError, NothingToDoError
from baton.knowledge.tables import Knowledge
from baton.model.plan import StageKind
from baton.model.target import Target
from baton.planner.plan import make_plan

KNOWLEDGE = Knowledge.load()


@st.composite
def small_cases(draw: st.DrawFn) -> tuple[int, int, dict[str, int], set[int]]:
    """(control plane, target, kubelet of each group, minors that images exist for)."""
    start = draw(st.integers(31, 36))
    end = draw(st.integers(start, min(36, start + 4)))
    names = ["a", "b", "c"][: draw(st.integers(1, 3))]
    kubelets = {name: start - draw(st.integers(0, 3)) for name in names}
    images = set(range(start - 2, end + 1)) if draw(st.booleans()) else draw(st.sets(st.integers(29, end)))
    return start, end, kubelets, images


@settings(max_examples=200, deadline=None)
@given(small_cases())
def test_no_other_way_rolls_fewer_nodes(case: tuple[int, int, dict[str, int], set[int]]) -> None:
    """A plan would replace nodes once more than it must, or refuse although there is a way."""
    start, end, kubelets, images = case
    groups = [custom_group(n, golden(f"1.{k}", "20261001"), 1, version=f"1.{k}") for n, k in kubelets.items()]
    nodes = [node(f"{n}-0", n, f"1.{k}") for n, k in kubelets.items()]
    pool = [golden(f"1.{m}") for m in sorted(images)] + [golden(f"1.{k}", "20261001") for k in set(kubelets.values())]
    has = images | set(kubelets.values())  # the image in use serves as well
    ways = {n: every_way(k, list(range(start, end + 1)), has) for n, k in kubelets.items()}
    try:
        plan = make_plan(world(f"1.{start}", groups, {}, pool, nodes), Target(f"1.{end}"), KNOWLEDGE)
    except NothingToDoError:
        assert start == end and all(k == end for k in kubelets.values())
        return
    except BatonError as error:
        assert any(not found for found in ways.values()), f"refused although there are ways: {error}"
        return
    for name, found in ways.items():
        rolls = [c for s in plan.stages if s.kind is StageKind.NODE_GROUP for c in s.changes if c.name == name]
        assert found, "a way where there is none"
        assert len(rolls) == min(map(len, found))
