"""The rolling machine's mapping of nodes against plain dictionaries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from baton.logic.rolling.nodes import Nodes

NAMES = st.sampled_from([f"n{i}" for i in range(6)])
MOVES = st.lists(st.tuples(st.integers(0, 30), st.booleans(), NAMES, st.sampled_from("abc")), max_size=40)


@given(MOVES)
def test_logic_rolling_nodes_every_version_stays_what_it_was(moves: list[tuple[int, bool, str, str]]) -> None:
    """A state that changes behind somebody's back would drain a node twice or never."""
    made: list[tuple[Nodes, dict[str, str]]] = [(Nodes([("n0", "a")]), {"n0": "a"})]
    for which, add, name, zone in moves:
        nodes, plain = made[which % len(made)]
        if not add:
            made.append((nodes.minus(name), {n: z for n, z in plain.items() if n != name}))
        elif name not in plain:
            made.append((nodes.plus(name, zone), {**plain, name: zone}))
    for nodes, plain in made:
        assert (list(nodes.items()), len(nodes)) == (list(plain.items()), len(plain))
        assert nodes.zones == set(plain.values())
        assert [n in nodes for n in (*plain, "x")] == [*(True for _ in plain), False]
