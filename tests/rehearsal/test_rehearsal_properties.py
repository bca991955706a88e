"""What must hold in every rehearsal of every cluster: pods are neither lost nor doubled, budgets hold, rolls end."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baton.knowledge.tables import Knowledge
from baton.logic.eviction import scaled_up, selector_matches
from baton.model.cluster import Snapshot
from baton.model.events import Event
from baton.model.target import Target
from baton.planner.plan import make_plan
from baton.rehearsal import run as room
from baton.rehearsal.generate import generate
from baton.rehearsal.run import Options, Run, rehearse_once
from baton.rehearsal.tally import Tally

Json = dict[str, Any]
LONGEST = 5 * 86_400.0  # cluster seconds


class Witness(Tally):
    """Looks at the twin at every eviction, and at its end."""

    last: Witness

    def attach(self) -> None:
        super().attach()
        Witness.last = self
        self.broken: list[str] = []
        self.pods_before = Counter(_owner(p.obj) for p in self._kube.pods.by_key.values() if not p.finished)
        self.twin.cloud.on_event(self._check)

    def _check(self, event: Event) -> None:
        """After a voluntary eviction of a healthy pod, every budget over it still has the healthy pods it demands."""
        if event.kind != "pod.evicted" or event.data.get("forced"):
            return
        _, namespace, name = event.subject.split("/", 2)
        pod = self._kube.pods.by_key.get((namespace, name))
        if pod is None:
            return
        for budget in self._kube.world.items("poddisruptionbudgets.policy", namespace):
            if not selector_matches(budget["spec"].get("selector"), pod.labels):
                continue
            mine = [
                p
                for p in self._kube.pods.by_key.values()
                if p.namespace == namespace and selector_matches(budget["spec"].get("selector"), p.labels)
            ]
            healthy = sum(p.ready and not p.terminating for p in mine)
            wanted = self._demand(budget["spec"], mine)
            if pod.ready and healthy < wanted:
                self.broken.append(f"{event.at} {event.subject}: {healthy} of {wanted}")

    def _demand(self, spec: Json, pods: list[Any]) -> int:
        scale = 0
        for uid in {p.owner.uid for p in pods if p.owner is not None}:
            group = next(p.owner for p in pods if p.owner is not None and p.owner.uid == uid)
            resource = "replicasets.apps" if group.kind == "ReplicaSet" else "statefulsets.apps"
            owner = self._kube.world.get(resource, group.namespace, group.name)
            scale += (owner or {"spec": {}})["spec"].get("replicas", 0)
        if spec.get("maxUnavailable") is not None:
            return max(0, scale - int(scaled_up(spec["maxUnavailable"], scale)))
        least = spec.get("minAvailable", 0)
        return least if isinstance(least, int) else int(scaled_up(least, scale))


def _owner(pod: Json) -> str:
    for reference in pod["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return f"{reference['kind']} {pod['metadata']['namespace']}/{reference['name']}"
    return f"Pod {pod['metadata']['namespace']}/{pod['metadata']['name']}"


def roll(snapshot: Snapshot, seed: int, options: Options | None = None) -> tuple[Run, Witness]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "Tally", Witness)
        run = rehearse_once(
            snapshot, make_plan(snapshot, Target("1.35"), Knowledge.load()), seed, options=options or Options()
        )
    return run, Witness.last


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    nodes=st.integers(1, 9),
    density=st.integers(16, 40),
    blocking=st.integers(0, 3),
    zones=st.integers(1, 3),
    seed=st.integers(0, 1000),
    force=st.booleans(),
)
def test_property_pods_budgets_and_ends(nodes: int, density: int, blocking: int, zones: int, seed: int, force: bool):
    """Whatever the cluster: no pod vanishes or doubles, no budget breaks by a voluntary eviction, the roll ends."""
    snapshot = generate(nodes=nodes, pods=nodes * density, seed=seed, zones=zones, blocking=blocking)
    run, witness = roll(snapshot, seed, Options(force_drain=force))
    assert witness.broken == []
    assert run.outcome in ("succeeded", "halted")
    assert run.seconds < LONGEST
    assert run.forced == 0 or force
    if not blocking:
        assert run.outcome == "succeeded" or "PodEvictionFailure" in run.reason

    kube = witness._kube
    for group in {p.owner for p in kube.pods.by_key.values() if p.owner is not None}:
        if group.kind in ("ReplicaSet", "StatefulSet"):
            assert group.active == group.desired, group.name
    bare = {k for k in witness.pods_before if k.startswith("Pod ")}
    left = {_owner(p.obj) for p in kube.pods.by_key.values()}
    assert {f"Pod {name}" for name in run.lost} == bare - left
    names = Counter((p.namespace, p.name) for p in kube.pods.by_key.values())
    assert max(names.values()) == 1
    for pod in kube.pods.by_key.values():
        assert not pod.node or kube.world.get("nodes", None, pod.node) is not None


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 50), force=st.booleans())
def test_property_same_seed_same_history(seed: int, force: bool):
    """Every event of a run, not only its sums, must come again with the same seed."""
    snapshot = generate(nodes=3, pods=70, seed=seed, blocking=seed % 2)
    plan = make_plan(snapshot, Target("1.35"), Knowledge.load())
    options = Options(whole=True, force_drain=force)
    one, other = (rehearse_once(snapshot, plan, seed, options=options) for _ in range(2))
    assert one.lines == other.lines
    assert one.groups == other.groups and one.blocked == other.blocked


def test_property_ready_nodes_never_fall_below_what_the_pace_allows():
    """The one promise of update_config: never more nodes away than max_unavailable."""
    snapshot = generate(nodes=18, pods=400, seed=3, blocking=0)
    run, _ = roll(snapshot, 5)
    for group in snapshot.node_groups:
        allowed = group.update_config.parallelism(group.desired_size)
        assert run.groups[group.name].min_ready >= group.desired_size - allowed
