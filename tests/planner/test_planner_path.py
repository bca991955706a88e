"""The path of node rolls against an exhaustive search, and its tie-breaks."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baton.logic.upgrade.path import Roll, every_hop, fewest_rolls
from baton.model.versions import Minor


def allowed(kubelet: int, control_plane: int) -> bool:
    """The skew rule, written down once more."""
    return 0 <= control_plane - kubelet <= (3 if kubelet >= 25 else 2)


def every_way(kubelet: int, points: list[int], images: set[int]) -> list[list[tuple[int, int]]]:
    """All lists of rolls (at most one while the control plane is at each point) that are safe and end at the target."""
    choices = [[None, *sorted(v for v in images if v <= p)] for p in points]
    found = []
    for picks in itertools.product(*choices):
        now, rolls, safe = kubelet, [], True
        for point, pick in zip(points, picks, strict=True):
            safe = safe and (point == points[0] or allowed(now, point))
            if pick is not None:
                safe = safe and pick > now
                rolls.append((point, pick))
                now = pick
        if safe and now == points[-1]:
            found.append(rolls)
    return found


@settings(max_examples=300, deadline=None)
@given(st.integers(22, 33), st.integers(0, 4), st.integers(0, 3), st.sets(st.integers(20, 37)))
def test_no_safe_path_has_fewer_rolls(start: int, hops: int, lag: int, images: set[int]) -> None:
    """Nodes would be replaced more often than skew demands, or a way that exists be called impossible."""
    points = list(range(start, start + hops + 1))
    found = fewest_rolls(Minor(1, start - lag), tuple(Minor(1, p) for p in points), lambda v: v.minor in images)
    ways = every_way(start - lag, points, images)
    if found is None:
        assert ways == []
        return
    rolls = [(r.control_plane.minor, r.to.minor) for r in found]
    assert rolls in ways
    assert len(rolls) == min(map(len, ways))
    # Of the shortest, the latest; of those, the newest kubelets.
    assert rolls == max(w for w in ways if len(w) == len(rolls))


M = {n: Minor(1, n) for n in range(20, 40)}


@pytest.mark.parametrize(
    ("kubelet", "points", "images", "rolls"),
    [
        (31, (31, 32, 33, 34), range(40), [(34, 34)]),
        (31, (31, 32, 33, 34, 35), range(40), [(34, 34), (35, 35)]),
        (31, (31, 32, 33, 34, 35), {32, 35}, [(34, 32), (35, 35)]),  # an older image lasts as far
        (31, (34, 35), {34, 35}, [(34, 34), (35, 35)]),  # before the control plane moves at all
        (24, (26, 27), range(40), [(26, 26), (27, 27)]),  # two minors only below 1.25
        (34, (34,), range(40), []),
        (33, (34,), range(40), [(34, 34)]),
    ],
)
def test_paths(kubelet: int, points: tuple[int, ...], images: set[int], rolls: list[tuple[int, int]]) -> None:
    """The rolls of known situations would change unnoticed."""
    found = fewest_rolls(M[kubelet], tuple(M[p] for p in points), lambda v: v.minor in images)
    assert found == tuple(Roll(M[a], M[b]) for a, b in rolls)


def test_impossible_paths() -> None:
    """A path that breaks skew would be taken for want of an image."""
    assert fewest_rolls(M[31], (M[34], M[35]), lambda v: v == M[35]) is None
    assert fewest_rolls(M[34], (M[34], M[35]), lambda v: False) is None
    assert every_hop(M[34], (M[34], M[35], M[36]), lambda v: v != M[35]) is None
    assert every_hop(M[30], (M[34], M[35]), lambda v: False) is None


def test_every_hop_rolls_at_every_hop() -> None:
    """`--nodes-every-hop` would skip a hop."""
    found = every_hop(M[33], (M[34], M[35], M[36]), lambda v: True)
    assert found == (Roll(M[35], M[35]), Roll(M[36], M[36]))
    # A control plane that moved alone before: its nodes follow.
    assert every_hop(M[33], (M[34],), lambda v: True) == (Roll(M[34], M[34]),)
