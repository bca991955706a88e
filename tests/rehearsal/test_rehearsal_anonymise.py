"""Anonymised snapshots: nobody's names are left, and the cluster rolls as before."""

from __future__ import annotations

import dataclasses
from collections import Counter
from statistics import mean
from typing import Any

import msgspec
import pytest

from baton.knowledge.tables import Knowledge
from baton.logic.eviction import selector_matches
from baton.model.cluster import Snapshot
from baton.model.target import Target
from baton.planner.plan import make_plan
from baton.rehearsal.anonymise import anonymise
from baton.rehearsal.generate import generate
from baton.rehearsal.run import Run, rehearse_once


@pytest.fixture(scope="module")
def cluster() -> Snapshot:
    return generate(nodes=16, pods=480, seed=2, blocking=2, name="acme-production")


@pytest.fixture(scope="module")
def hidden(cluster: Snapshot) -> Snapshot:
    return anonymise(cluster)


def roll(snapshot: Snapshot, seed: int = 1) -> Run:
    return rehearse_once(snapshot, make_plan(snapshot, Target("1.35"), Knowledge.load()), seed)


def covered(snapshot: Snapshot) -> list[int]:
    """How many pods each budget selects."""
    pods = snapshot.objects["pods"]
    return [
        sum(
            p["metadata"]["namespace"] == b["metadata"]["namespace"]
            and selector_matches(b["spec"]["selector"], p["metadata"].get("labels") or {})
            for p in pods
        )
        for b in snapshot.objects["poddisruptionbudgets.policy"]
    ]


def test_anonymise_leaves_no_name(cluster: Snapshot, hidden: Snapshot):
    """A company that hands out a snapshot must not hand out what it runs."""
    text = msgspec.json.encode(hidden).decode()
    secrets = {"acme-production", "team-01", "registry.example.com/team", "apps-a", "tooling", "golden"}
    for resource, objects in cluster.objects.items():
        if resource in ("daemonsets.apps", "priorityclasses.scheduling.k8s.io", "storageclasses.storage.k8s.io"):
            continue
        secrets |= {
            o["metadata"]["name"]
            for o in objects
            if o["metadata"].get("namespace", "team") not in ("kube-system", "default")
            and o["metadata"]["name"] not in ("kube-system", "default")
        }
    secrets |= {str(n["spec"]["providerID"]).rpartition("/")[2] for n in cluster.objects["nodes"]}
    secrets |= {o["metadata"]["uid"] for objects in cluster.objects.values() for o in objects}
    assert [s for s in sorted(secrets) if f'"{s}"' in text] == []
    assert "acme" not in text


def test_anonymise_keeps_what_budgets_and_services_select(cluster: Snapshot, hidden: Snapshot):
    """A budget that covered three pods and now covers none would make the rehearsal lie."""
    assert covered(hidden) == covered(cluster)
    on = [sorted(Counter(p["spec"]["nodeName"] for p in s.objects["pods"]).values()) for s in (hidden, cluster)]
    assert on[0] == on[1]
    uids = {o["metadata"]["uid"] for objects in hidden.objects.values() for o in objects}
    for pod in hidden.objects["pods"]:
        for owner in pod["metadata"].get("ownerReferences") or ():
            assert owner["uid"] in uids


def test_anonymise_rehearses_the_same(cluster: Snapshot, hidden: Snapshot):
    """The one purpose of an anonymised snapshot is that somebody else sees the same roll."""
    before, after = roll(cluster), roll(hidden)
    assert after.outcome == before.outcome == "halted"
    assert [s[2] for s in after.stages] == [s[2] for s in before.stages]
    assert [(g.desired, g.outcome) for _, g in sorted(after.groups.items())] == [
        (g.desired, g.outcome) for _, g in sorted(before.groups.items())
    ]
    assert sorted(code for *_, code in after.stuck) == sorted(code for *_, code in before.stuck)
    assert abs(after.seconds - before.seconds) < before.seconds * 0.15
    # chance goes by names too: what a halted roll evicted till then differs more than its length
    evicted = [mean(roll(s, seed).evictions for seed in range(1, 7)) for s in (cluster, hidden)]
    assert abs(evicted[1] - evicted[0]) < evicted[0] * 0.15, evicted
    assert after.unschedulable == before.unschedulable == ()
    assert after.assumptions == before.assumptions


def test_anonymise_rolls_to_the_end_where_the_original_does():
    """Volumes, revisions and claims must still belong together, or StatefulSets would not come back."""
    made = generate(nodes=15, pods=450, seed=9, blocking=0)
    run = roll(anonymise(made))
    assert run.outcome == "succeeded", run.reason
    assert run.unschedulable == ()
    assert sum(g.replaced for g in run.groups.values()) == 15


def test_anonymise_is_the_same_every_time(cluster: Snapshot, hidden: Snapshot):
    """Two anonymised copies of one snapshot must be comparable."""
    assert msgspec.json.encode(anonymise(cluster)) == msgspec.json.encode(hidden)


def test_anonymise_hides_custom_labels_taints_and_accounts(cluster: Snapshot):
    """Company domains in label keys, account numbers and host names are names too."""
    pod: Any = cluster.objects["pods"][0]
    meta = {**pod["metadata"], "labels": {**pod["metadata"]["labels"], "acme.internal/cost-centre": "payroll"}}
    spec = {
        **pod["spec"],
        "nodeSelector": {"acme.internal/pool": "payroll"},
        "tolerations": [{"key": "acme.internal/only", "operator": "Equal", "value": "payroll", "effect": "NoSchedule"}],
        "schedulerName": "acme-scheduler",
        "containers": [{"name": "payroll", "image": "payroll.acme.io/app:1", "env": [{"name": "A", "value": "acme"}]}],
        "hostname": "payroll",
    }
    cluster_facts = dataclasses.replace(
        cluster.cluster,
        arn="arn:aws:eks:us-east-1:987654321098:cluster/acme-production",
        endpoint="https://acme.eks.amazonaws.com",
        tags={"owner": "acme"},
    )
    changed = dataclasses.replace(
        cluster, cluster=cluster_facts, objects={**cluster.objects, "pods": ({**pod, "metadata": meta, "spec": spec},)}
    )
    text = msgspec.json.encode(anonymise(changed)).decode()
    for word in ("acme", "payroll", "987654321098"):
        assert word not in text
    made: Any = anonymise(changed).objects["pods"][0]
    selected = made["spec"]["nodeSelector"]
    assert next(iter(selected.values())) in made["metadata"]["labels"].values()
