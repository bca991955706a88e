"""Rows of nodes and their order, kept one change at a time, against the same made anew."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from baton.logic.scheduling.matching import HOSTNAME, ZONE
from baton.logic.scheduling.plan import Planner, _Builder
from baton.logic.scheduling.podclass import ClassCache
from baton.logic.scheduling.rows import NodeOrder
from baton.logic.scheduling.state import ClusterState

NODES = st.tuples(
    st.integers(0, 7), st.sampled_from(["a", "b", "c", None]), st.booleans(), st.sampled_from(["", "dedicated", "x"])
)
CHANGES = st.lists(st.one_of(NODES, st.integers(0, 7)), max_size=40)


def node(number: int, zone: str | None, cordoned: bool, taint: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"unschedulable": True} if cordoned else {}
    if taint:
        spec["taints"] = [{"key": taint, "effect": "NoSchedule"}]
    labels = {ZONE: zone} if zone else {}
    status = {"allocatable": {"cpu": "4", "pods": "10"}}
    return {"metadata": {"name": f"n{number}", "labels": labels}, "spec": spec, "status": status}


def pod(key: str) -> dict[str, Any]:
    spec = {"containers": [{"name": "c"}], "tolerations": [{"key": key, "operator": "Exists"}]}
    return {"metadata": {"name": "p", "namespace": "x", "labels": {"for": key}}, "spec": spec}


@given(CHANGES, st.integers(1, 4))
def test_logic_scheduling_rows_follow_nodes(changes: list[Any], every: int) -> None:
    """A row or an order that lags behind puts pods on nodes that are gone, cordoned or tainted."""
    state = ClusterState()
    planner = Planner(state)
    classes = [ClassCache().of(pod(key))[0] for key in ("dedicated", "x")]
    zones: dict[str, list[int]] = {}
    zone_of: dict[int, str] = {}
    for step, change in enumerate(changes):
        number = change if isinstance(change, int) else change[0]
        before = state.nodes.get(f"n{number}")
        if isinstance(change, int):
            state.remove_node(f"n{number}")
        else:
            state.add_node(node(*change))
        slot = state.nodes.get(f"n{number}", before)
        if slot is not None:
            zone = f":{change[1]}" if not isinstance(change, int) and change[1] else ""
            _place(zones, zone_of, slot, None if isinstance(change, int) else zone)
        turns = [s for turn in zip_longest(*zones.values()) for s in turn if s is not None]
        assert planner.index.order.get().tolist() == turns
        if step % every == 0:
            _compare(planner, state, classes[: 1 + step % 2])
    _compare(planner, state, classes)
    assert sorted(NodeOrder(state).get().tolist()) == sorted(state.nodes.values())


def _place(zones: dict[str, list[int]], zone_of: dict[int, str], slot: int, zone: str | None) -> None:
    """Slots per zone in the order they came; a zone without any is forgotten."""
    old = zone_of.pop(slot, None)
    if old is not None and old != zone:
        zones[old].remove(slot)
        if not zones[old]:
            del zones[old]
    if zone is not None:
        zone_of[slot] = zone
        if old != zone:
            zones.setdefault(zone, []).append(slot)


def _compare(planner: Planner, state: ClusterState, classes: list[Any]) -> None:
    rows = [row for cls in classes for row in (*planner.taint_rows(cls), planner.admitted_row(cls), planner.open_row)]
    rows.append(planner.labels_row("in a", lambda labels: labels.get(ZONE) == "a", [ZONE]))
    domain = planner.index.rows.domain(ZONE)
    for row in (*rows, domain):
        planner.index.rows.sync(row)
    data = planner.index.table.data
    for row in rows:
        expected = [0 if info is None else row.value(info) for info in state.infos]
        assert data[row.row, : len(expected)].tolist() == expected
    zones = [-1 if info is None else domain.ids.get(info.labels.get(ZONE, ""), -1) for info in state.infos]
    assert data[domain.row, : len(zones)].tolist() == zones


SPREAD = st.tuples(
    st.sampled_from([HOSTNAME, ZONE]), st.integers(1, 3), st.sampled_from(["DoNotSchedule", "ScheduleAnyway"]),
    st.booleans(),
)  # fmt: skip
APPS = st.tuples(
    st.sampled_from(["a", "b", "c"]), st.lists(SPREAD, max_size=3), st.sampled_from([None, "a", "b"]),
    st.sampled_from(["", "dedicated"]), st.integers(1, 900), st.integers(0, 2),
)  # fmt: skip


@given(st.lists(APPS, min_size=1, max_size=12))
def test_logic_scheduling_plans_of_a_kind_share_rows(apps: list[Any]) -> None:
    """A plan made after one before it would count other pods than its own, or ask for what the first asks for."""
    state = ClusterState()
    state.set_object("services", {"metadata": {"name": "s", "namespace": "x"}, "spec": {"selector": {"app": "a"}}})
    for number in range(3):
        state.add_node(node(number, "abc"[number], cordoned=number == 1, taint="dedicated" if number else ""))
    planner, classes = Planner(state), ClassCache()
    for app, constraints, zone, key, cpu, images in apps:
        made = pod(key) if key else pod("x")
        made["metadata"]["labels"] = {"app": app}
        made["spec"]["containers"] = [{"name": "c", "image": f"i{n}"} for n in range(images)]
        made["spec"]["containers"].append({"name": "d", "resources": {"requests": {"cpu": f"{cpu}m"}}})
        if zone:
            made["spec"]["nodeSelector"] = {ZONE: zone}
        made["spec"]["topologySpreadConstraints"] = [
            {
                "topologyKey": topology, "maxSkew": skew, "whenUnsatisfiable": action,
                "labelSelector": {"matchLabels": {"app": app if own else "z"}},
            }
            for topology, skew, action, own in constraints
        ]  # fmt: skip
        cls = classes.of(made)[0]
        plan = planner.plan(cls)
        alone = _Builder(planner, cls)._whole()
        planner._refresh(alone)
        assert plan.array.tolist() == alone.array.tolist()
        assert [row.row for row in plan.node_rows] == [row.row for row in alone.node_rows]
        assert (plan.lines, plan.width, plan.taints, plan.affinity) == (
            alone.lines, alone.width, alone.taints, alone.affinity
        )  # fmt: skip
