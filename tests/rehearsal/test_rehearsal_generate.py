"""Synthetic clusters: what they hold, that they fit, and that they are the same everywhere."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from typing import Any

import msgspec
import pytest

from baton.errors import UsageError
from baton.knowledge.tables import Knowledge
from baton.logic.quantity import parse_nanos
from baton.model.cluster import Snapshot
from baton.model.target import Target
from baton.planner.plan import make_plan
from baton.rehearsal.generate import generate
from baton.rehearsal.run import rehearse_once


def digest(snapshot: Snapshot) -> str:
    return hashlib.sha256(msgspec.json.encode(snapshot)).hexdigest()


def requests(pod: Any) -> tuple[int, int]:
    cpu = memory = 0
    for container in pod["spec"]["containers"]:
        asked = container["resources"]["requests"]
        cpu += parse_nanos(asked.get("cpu", "0"))
        memory += parse_nanos(asked.get("memory", "0"))
    return cpu, memory


@pytest.mark.parametrize(("nodes", "pods"), [(1, 12), (5, 100), (40, 1200), (200, 6000)])
def test_generate_gives_exactly_the_numbers_asked_for(nodes: int, pods: int):
    """A benchmark of 150,000 pods must have 150,000 pods."""
    made = generate(nodes=nodes, pods=pods, seed=3)
    assert len(made.objects["nodes"]) == nodes
    assert len(made.objects["pods"]) == pods
    assert sum(g.desired_size for g in made.node_groups) == nodes
    names = Counter((p["metadata"]["namespace"], p["metadata"]["name"]) for p in made.objects["pods"])
    assert max(names.values()) == 1
    uids = Counter(o["metadata"]["uid"] for objects in made.objects.values() for o in objects)
    assert max(uids.values()) == 1


def test_generate_overfills_no_node():
    """A cluster that could not exist would roll in a way that no cluster does."""
    made = generate(nodes=60, pods=2400, seed=5)
    used: dict[str, list[int]] = {}
    for pod in made.objects["pods"]:
        cpu, memory = requests(pod)
        entry = used.setdefault(pod["spec"]["nodeName"], [0, 0, 0])
        entry[0] += cpu
        entry[1] += memory
        entry[2] += 1
    for node in made.objects["nodes"]:
        room = node["status"]["allocatable"]
        cpu, memory, count = used[node["metadata"]["name"]]
        assert cpu <= parse_nanos(room["cpu"])
        assert memory <= parse_nanos(room["memory"])
        assert count <= int(room["pods"])


def test_generate_has_every_trait():
    """A rehearsal of a cluster without budgets, volumes or spreads would prove nothing."""
    made = generate(nodes=300, pods=9000, seed=7)
    specs = [d["spec"]["template"]["spec"] for d in made.objects["deployments.apps"]]
    spreads = [c["whenUnsatisfiable"] for s in specs for c in s.get("topologySpreadConstraints") or ()]
    assert {"DoNotSchedule", "ScheduleAnyway"} <= set(spreads)
    assert any("podAntiAffinity" in (s.get("affinity") or {}) for s in specs)
    assert any(s["terminationGracePeriodSeconds"] >= 300 for s in specs)
    assert any((s["containers"][0].get("readinessProbe") or {}).get("initialDelaySeconds", 0) >= 45 for s in specs)
    budgets = [b["spec"] for b in made.objects["poddisruptionbudgets.policy"]]
    assert any(b.get("maxUnavailable") == 0 for b in budgets)
    assert any(isinstance(b.get("maxUnavailable"), str) for b in budgets)
    assert any(isinstance(b.get("minAvailable"), int) and b["minAvailable"] > 1 for b in budgets)
    assert made.objects["persistentvolumes"]
    assert made.objects["jobs.batch"]
    assert len(made.objects["daemonsets.apps"]) == 4
    assert any("ownerReferences" not in p["metadata"] for p in made.objects["pods"])
    sizes = sorted(d["spec"]["replicas"] for d in made.objects["deployments.apps"])
    assert sizes[len(sizes) // 2] <= 6 < 100 < sizes[-1]
    assert len({g.name for g in made.node_groups}) == 5


def test_generate_is_the_same_in_another_process():
    """A seed in a bug report must give the same cluster to whoever reads it."""
    here = digest(generate(nodes=30, pods=900, seed=11))
    script = (
        "import hashlib, msgspec\nfrom baton.rehearsal.generate import generate\n"
        "print(hashlib.sha256(msgspec.json.encode(generate(nodes=30, pods=900, seed=11))).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "5"}
    )
    assert done.stdout.strip() == here
    assert digest(generate(nodes=30, pods=900, seed=12)) != here


@pytest.mark.parametrize("changes", [{"nodes": 0}, {"pods": 10}, {"zones": 9}, {"version": "1.99"}, {"pods": 99_999}])
def test_generate_refuses_what_cannot_be(changes: dict[str, Any]):
    """Nonsense numbers must be named, not turned into an odd cluster."""
    with pytest.raises(UsageError):
        generate(**{"nodes": 5, "pods": 100, **changes})


def test_generate_without_blocking_budgets_rolls_to_its_end():
    """The benchmark's roll must be a whole one."""
    made = generate(nodes=16, pods=480, seed=2, blocking=0)
    run = rehearse_once(made, make_plan(made, Target("1.35"), Knowledge.load()), 1)
    assert run.outcome == "succeeded", run.reason
    assert sum(g.replaced for g in run.groups.values()) == 16
    assert run.unschedulable == ()
    assert run.assumptions == ()


def test_generate_with_blocking_budgets_halts_in_the_largest_group():
    """Budgets that block must show, after the smaller groups have."""
    made = generate(nodes=16, pods=480, seed=2, blocking=4)
    run = rehearse_once(made, make_plan(made, Target("1.35"), Knowledge.load()), 1)
    assert run.outcome == "halted"
    assert run.groups["apps-a"].outcome == "failed"
    assert run.groups["apps-b"].outcome == "replaced"
