"""Recommendations: each was rehearsed, tells what it costs, and the front holds what nothing beats."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from baton.knowledge.tables import Knowledge
from baton.model.cluster import Snapshot
from baton.model.target import Target
from baton.planner.plan import make_plan
from baton.rehearsal import variants as v
from baton.rehearsal.generate import generate
from baton.rehearsal.page import page
from baton.rehearsal.recommend import MOST, front, recommend
from baton.rehearsal.rehearse import rehearse
from baton.rehearsal.summary import Summary

PDBS = "poddisruptionbudgets.policy"


def advised(snapshot: Snapshot, runs: int = 1) -> Summary:
    plan = make_plan(snapshot, Target("1.35"), Knowledge.load())
    return recommend(snapshot, rehearse(snapshot, plan, seed=1, runs=runs, workers=1), workers=1)


@pytest.fixture(scope="module")
def smooth() -> Summary:
    return advised(generate(nodes=6, pods=150, seed=4, blocking=0))


@pytest.fixture(scope="module")
def stuck() -> Summary:
    return advised(generate(nodes=5, pods=120, seed=4, blocking=4))


def subject(snapshot: Snapshot) -> v.Subject:
    return v.Subject(snapshot, make_plan(snapshot, Target("1.35"), Knowledge.load()))


def test_recommend_front_holds_what_nothing_beats():
    """A recommendation that another one beats in both respects is bad advice."""
    assert front([(1, 9), (2, 5), (3, 5), (4, 1), (2, 5), (9, 9)]) == [True, True, False, True, False, False]
    assert front([]) == []
    assert front([(1.0, 1.0)]) == [True]


def test_recommend_rows_tell_savings_and_costs(smooth: Summary):
    """Whoever speeds a roll up must see what it costs before they do."""
    rows = smooth.as_json()["recommendations"]
    assert rows[0]["change"] == "as planned" and rows[0]["savesSeconds"] == 0
    assert 3 <= len(rows) <= MOST + 1
    for row in rows[1:]:
        assert row["how"] and row["settings"]
        assert row["evictions"] > 0 and row["minReady"]
        if row["outcome"] == "succeeded":
            assert row["savesSeconds"] == pytest.approx(
                rows[0]["durationSeconds"]["p50"] - row["durationSeconds"]["p50"]
            )
    points = [(r["durationSeconds"]["p50"], r["disruption"]) for r in rows if r["onFront"]]
    assert points
    for row in rows:
        if row["outcome"] == "succeeded" and not row["onFront"] and not row["forcedEvictions"]:
            own = (row["durationSeconds"]["p50"], row["disruption"])
            assert any(p[0] <= own[0] and p[1] <= own[1] for p in points)
    assert sum(r["recommended"] for r in rows) <= 1
    side_by_side = next(r for r in rows if r["settings"].get("together"))
    assert side_by_side["savesSeconds"] > 300


def test_recommend_repairs_what_halts(stuck: Summary):
    """A plan that cannot end needs a way that does, which was tried, not guessed."""
    rows = stuck.as_json()["recommendations"]
    assert rows[0]["outcome"] == "halted"
    best = next(r for r in rows if r["recommended"])
    assert best["outcome"] == "succeeded" and best["forcedEvictions"] == 0
    assert any("budget" in line for line in best["how"])
    forced = next(r for r in rows if r["settings"].get("force"))
    assert forced["outcome"] == "succeeded" and forced["forcedEvictions"] > 0 and not forced["onFront"]
    assert "polyline" in page(stuck)


def test_recommend_is_the_same_every_time(smooth: Summary):
    """Advice that changes between two calls cannot be discussed."""
    again = advised(generate(nodes=6, pods=150, seed=4, blocking=0))
    assert json.dumps(again.as_json(stats=False)) == json.dumps(smooth.as_json(stats=False))


def test_recommend_finds_addresses_that_are_short():
    """Nodes that cannot be launched for lack of addresses must lead to the subnet, not to the pace."""
    made = generate(nodes=4, pods=80, seed=1, blocking=0)
    first, *others = made.subnets
    for tight in (
        (dataclasses.replace(first, free_ips=0), *others),  # no new node in one zone: NodeCreationFailure
        tuple(dataclasses.replace(s, free_ips=1) for s in made.subnets),  # none for the control plane: IpNotAvailable
    ):
        rows = advised(dataclasses.replace(made, subnets=tight)).as_json()["recommendations"]
        assert rows[0]["outcome"] == "halted"
        best = next(r for r in rows if r["recommended"])
        assert best["outcome"] == "succeeded"
        assert "freeIps" in best["settings"]


def test_recommend_variants_change_only_what_they_say():
    """A variant that changes more than its row tells would be applied wrongly."""
    made = generate(nodes=6, pods=150, seed=4, blocking=4)
    given = subject(made)
    paced = v.paced(given, ["apps-a"], lambda now, nodes: now * 2, "faster")
    assert paced is not None
    old, new = made.node_group("apps-a"), paced.snapshot.node_group("apps-a")
    assert old is not None and new is not None
    assert new.update_config.parallelism(9) == 2 * old.update_config.parallelism(old.desired_size)
    assert paced.snapshot.objects is made.objects and paced.plan is given.plan
    assert v.paced(given, ["apps-a"], lambda now, nodes: now, "same") is None
    side = v.together(given)
    assert side is not None
    assert [s.ordinal for s in side.plan.stages] == list(range(1, len(side.plan.stages) + 1))
    changed = [c.name for s in side.plan.stages for c in s.changes]
    assert changed == [c.name for s in given.plan.stages for c in s.changes]
    turned = v.reversed_order(given)
    assert turned is not None
    assert [s.name for s in turned.plan.stages[-2:]] == [s.name for s in given.plan.stages[-2:]][::-1]
    assert v.mended(given, ()) is None and v.roomier(given, (), 64) is None and v.loosened(given, ()) is None


def test_recommend_mends_budgets_and_replicas():
    """The proposed budget must be the one that was rehearsed."""
    made = generate(nodes=6, pods=150, seed=4, blocking=4)
    budgets: Any = made.objects[PDBS]
    bad = next(b for b in budgets if b["spec"].get("maxUnavailable") == 0)
    key = (bad["metadata"]["namespace"], bad["metadata"]["name"])
    mended = v.mended(subject(made), [(*key, "allows-none")])
    assert mended is not None
    after: Any = next(b for b in mended.snapshot.objects[PDBS] if b["metadata"]["name"] == key[1])
    assert after["spec"]["maxUnavailable"] == 1 and after["spec"]["selector"] == bad["spec"]["selector"]
    gone = v.mended(subject(made), [(*key, "several-budgets")])
    assert gone is not None
    assert key[1] not in [b["metadata"]["name"] for b in gone.snapshot.objects[PDBS]]
    deployment: Any = made.objects["deployments.apps"][0]
    name = f"{deployment['metadata']['namespace']}/{deployment['metadata']['name']}"
    more = v.replicated(subject(made), [f"Deployment {name}"])
    assert more is not None
    scaled: Any = more.snapshot.objects["deployments.apps"][0]
    assert scaled["spec"]["replicas"] == deployment["spec"]["replicas"] + 1
