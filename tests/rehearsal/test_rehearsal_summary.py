"""Many runs as one summary: percentiles, bytes, and what blocks with what would unblock it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest

from baton.errors import UnavailableError, UsageError
from baton.knowledge.tables import Knowledge
from baton.model.cluster import Snapshot
from baton.model.plan import Plan
from baton.model.target import Target
from baton.planner.plan import make_plan
from baton.rehearsal.generate import generate
from baton.rehearsal.page import page
from baton.rehearsal.rehearse import rehearse
from baton.rehearsal.summary import Prices, Summary, percentile
from baton.rehearsal.unblock import BudgetFacts, cause_of


def planned(snapshot: Snapshot) -> Plan:
    return make_plan(snapshot, Target("1.35"), Knowledge.load())


def text(summary: Summary) -> str:
    return json.dumps(summary.as_json(stats=False))


@pytest.fixture(scope="module")
def cluster() -> Snapshot:
    return generate(nodes=5, pods=120, seed=4, blocking=0)


@pytest.fixture(scope="module")
def summary(cluster: Snapshot) -> Summary:
    return rehearse(cluster, planned(cluster), seed=3, runs=3, workers=1, prices=Prices(0.5))


@pytest.fixture(scope="module")
def halted() -> Summary:
    made = generate(nodes=5, pods=120, seed=4, blocking=2)
    return rehearse(made, planned(made), seed=3, runs=2, workers=1)


@pytest.mark.parametrize(
    ("values", "share", "wanted"),
    [([], 50, 0), ([7], 90, 7), ([1, 2, 3, 4], 50, 2), (range(1, 11), 90, 9), ([3, 1, 2], 50, 2), ([1, 2], 90, 2)],
)
def test_summary_percentiles_are_values_that_occurred(values: Any, share: int, wanted: float):
    """A p90 that no run had cannot be looked up in any run."""
    assert percentile(values, share) == wanted


def test_summary_json_holds_what_is_promised(summary: Summary):
    """Scripts read these keys; a missing one breaks somebody's pipeline."""
    found = summary.as_json()
    assert found["seed"] == 3 and found["runs"] == 3
    assert found["durationSeconds"]["p50"] <= found["durationSeconds"]["p90"]
    assert [s["kind"] for s in found["stages"]] == ["control-plane", "addon", "node-group", "node-group"]
    for group in found["nodeGroups"]:
        assert group["outcome"] == "replaced"
        assert group["nodesReplaced"] == group["desired"]
        assert group["minReady"] >= 1
    assert found["evictions"] >= found["repeatEvictions"]
    assert found["blocked"] == [] or all(b["unblock"] for b in found["blocked"])
    assert found["unschedulable"] == []
    assert set(found["stats"]) >= {"placements", "placementsPerSecond", "events", "wallSeconds", "peakRssMiB"}
    assert found["surge"]["nodeHours"]["p50"] > 0
    assert found["surge"]["costUsd"]["p50"] == pytest.approx(found["surge"]["nodeHours"]["p50"] * 0.5, abs=0.01)
    assert found["timeline"][0]["kind"] == "stage.started"
    assert any(line["kind"] == "node.draining" for line in found["timeline"])
    json.dumps(found)


def test_summary_without_a_price_says_so(halted: Summary):
    """A made-up cost would be believed."""
    assert halted.as_json()["surge"]["costUsd"] is None
    assert halted.as_json()["surge"]["priceKnown"] is False


def test_summary_same_seed_same_bytes_in_other_processes(cluster: Snapshot, summary: Summary):
    """Figures in a change request must be reproducible by whoever reviews it, on however many cores."""
    spread = rehearse(cluster, planned(cluster), seed=3, runs=3, workers=2, prices=Prices(0.5))
    assert text(spread) == text(summary)
    assert page(spread) == page(summary)
    script = (
        "import json\nfrom test_rehearsal_summary import *\n"
        "c = generate(nodes=5, pods=120, seed=4, blocking=0)\n"
        "s = rehearse(c, planned(c), seed=3, runs=3, workers=1, prices=Prices(0.5))\n"
        "print(text(s))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "77", "PYTHONPATH": "tests/rehearsal:src"},
    )
    assert done.stdout.strip() == text(summary)


def test_summary_other_seed_other_figures(cluster: Snapshot, summary: Summary):
    """If the seed had no effect, p90 would only repeat p50."""
    assert text(rehearse(cluster, planned(cluster), seed=9, runs=3, workers=1)) != text(summary)


def test_summary_of_a_halt_tells_group_code_and_cure(halted: Summary):
    """The team must learn which group would fail, how EKS would call it, and what to change."""
    found = halted.as_json()
    assert not halted.succeeds
    assert found["outcomes"] == {"halted": 2}
    assert all("PodEvictionFailure" in r["reason"] for r in found["reasons"])
    failed = [g for g in found["nodeGroups"] if g["outcome"] == "failed"]
    assert [g["name"] for g in failed] == ["apps-a"]
    assert failed[0]["failures"] == {"PodEvictionFailure": 2}
    stuck = [b for b in found["blocked"] if not b["cleared"]]
    assert stuck
    assert all(b["node"] and b["pdb"] and b["seconds"] >= 890 and b["sinceSeconds"] > 0 for b in stuck)
    assert {b["cause"] for b in stuck} <= {"allows-none", "single-replica"}
    assert found["stages"][-1]["durationSeconds"] is None


def test_summary_tells_lost_pods_and_full_subnets(cluster: Snapshot):
    """A pod that nobody makes again, and a subnet without addresses, must be known before the roll."""
    bare = {
        "metadata": {"name": "by-hand", "namespace": "default", "uid": "u-by-hand"},
        "spec": {
            "nodeName": cluster.objects["nodes"][0]["metadata"]["name"],
            "containers": [{"name": "c", "image": "i"}],
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    objects = {**cluster.objects, "pods": (*cluster.objects["pods"], bare)}
    first, *others = cluster.subnets
    tight = (dataclasses.replace(first, free_ips=0), *others)
    lost = rehearse(dataclasses.replace(cluster, objects=objects), planned(cluster), runs=1).as_json()
    assert "default/by-hand" in [x["pod"] for x in lost["lost"]]
    full = rehearse(dataclasses.replace(cluster, subnets=tight), planned(cluster), runs=1).as_json()
    assert [s["subnet"] for s in full["fullSubnets"]] == [first.id]
    failed = [g for g in full["nodeGroups"] if g["failures"]]
    assert [g["failures"] for g in failed] == [{"NodeCreationFailure": 1}]


@pytest.mark.parametrize("address", ["localhost:8786", "dask://", "ray://head:1", "http://x:1"])
def test_summary_refuses_executors_it_does_not_know(cluster: Snapshot, address: str):
    """A mistyped address must be named, not waited for."""
    with pytest.raises(UsageError, match="not an executor's address"):
        rehearse(cluster, planned(cluster), runs=2, executor=address)


def test_summary_says_when_no_scheduler_answers(cluster: Snapshot, monkeypatch: pytest.MonkeyPatch):
    """A cluster of machines that is down must not look like a rehearsal that hangs; nor must a missing library."""
    pytest.importorskip("distributed")
    import distributed

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("Timed out trying to connect")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(UnavailableError, match="no Dask scheduler answers"):
        rehearse(cluster, planned(cluster), runs=2, executor="dask://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match="not installed"):
        rehearse(cluster, planned(cluster), runs=2, executor="dask://127.0.0.1:1")


def test_summary_over_a_dask_cluster_is_the_same(cluster: Snapshot, summary: Summary):
    """Spreading runs over machines must change how long one waits, and nothing else."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, protocol="tcp", host="127.0.0.1"
    ) as local:
        address = local.scheduler_address.replace("tcp://", "dask://")
        spread = rehearse(cluster, planned(cluster), seed=3, runs=3, executor=address, prices=Prices(0.5))
    assert text(spread) == text(summary)


@pytest.mark.parametrize(
    ("budgets", "pending", "cleared", "code", "says"),
    [
        ([("a", {}, 3, 3, 3), ("b", {"minAvailable": 1}, 3, 1, 3)], "", False, "several-budgets", "a and b"),
        ([("a", {"maxUnavailable": 0}, 3, 3, 3)], "", False, "allows-none", "maxUnavailable: 1"),
        ([("a", {"minAvailable": 3}, 3, 3, 3)], "", False, "allows-none", "run 4 replicas"),
        ([("a", {"minAvailable": 1}, 1, 1, 1)], "", False, "single-replica", "second replica"),
        ([("a", {"maxUnavailable": 1}, 3, 2, 1)], "", False, "unhealthy", "AlwaysAllow"),
        ([("a", {"maxUnavailable": 1}, 3, 2, 1)], "0/3 nodes", False, "no-room", "0/3 nodes"),
        (
            [("a", {"maxUnavailable": "50%"}, 4, 2, 2)],
            "0/9 nodes are available: 3 node(s) didn't match pod topology spread constraints, 6 node(s) didn't match "
            "PersistentVolume's node affinity.",
            False,
            "volume-against-spread",
            "podManagementPolicy: Parallel",
        ),
        ([("a", {"maxUnavailable": 1}, 30, 29, 29)], "", True, "pacing", "more than 1 of 30"),
    ],
)  # fmt: skip
def test_summary_advice_fits_the_cause(
    budgets: list[tuple[str, Any, int, int, int]], pending: str, cleared: bool, code: str, says: str
):
    """Advice that does not fit sends people to the wrong file in the middle of the night."""
    cause = cause_of([BudgetFacts(*b) for b in budgets], pending=pending, cleared=cleared)
    assert cause.code == code
    assert says in cause.advice


def test_summary_names_autoscalers_and_what_the_twin_does_about_them(cluster: Snapshot):
    """Karpenter and autoscalers move nodes too; a figure that leaves them out must say so."""
    pod = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    deployment = {
        "metadata": {"name": "cluster-autoscaler-aws", "namespace": "kube-system"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": pod},
    }
    node: Any = cluster.objects["nodes"][0]
    labels = {"karpenter.sh/nodepool": "spot", "kubernetes.io/hostname": "k"}
    extra = {**node, "metadata": {"name": "k", "uid": "node-k", "labels": labels}}
    objects = {
        **cluster.objects,
        "deployments.apps": (*cluster.objects["deployments.apps"], deployment),
        "nodes": (*cluster.objects["nodes"], extra),
        "horizontalpodautoscalers.autoscaling": ({"metadata": {"name": "h", "namespace": "default"}, "spec": {}},),
    }
    changed = dataclasses.replace(cluster, objects=objects)
    said = " ".join(rehearse(changed, planned(cluster), runs=1).as_json()["assumptions"])
    assert "Cluster Autoscaler runs here" in said
    assert "Karpenter runs here, with 1 nodes" in said
    assert "1 HorizontalPodAutoscalers" in said
    assert rehearse(cluster, planned(cluster), runs=1).as_json()["assumptions"] == []


def test_summary_page_is_whole_and_calls_nobody(halted: Summary):
    """The page goes by mail and is opened without a network."""
    made = page(halted)
    assert made.startswith("<!doctype html>") and made.rstrip().endswith("</html>")
    assert "<script" not in made and "http" not in made.replace("http-equiv", "")
    assert made.count("<svg") >= 2 and "PodEvictionFailure" in made
