"""A managed node group rolled on the clock: order, sizes, failures, what is left behind."""

from __future__ import annotations

import pytest
from cloud_fakes import ZONES, Bench


def rolled(bench: Bench, **more: object) -> dict[str, object]:
    """Start the roll of `main` to the 1.35 image and let it end."""
    bench.template("ami-35", 2)
    answer = bench.eks(
        "UpdateNodegroupVersion",
        clusterName="demo",
        nodegroupName="main",
        launchTemplate={"id": "lt-1", "version": "2"},
        **more,
    )
    return bench.update(answer, nodegroupName="main")


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.cluster()
    made.group()
    made.pods(9)
    return made


def test_twin_cloud_roll_replaces_every_node_and_restores_the_sizes(bench: Bench) -> None:
    """After an update all nodes must boot the new image, spread over the zones, at the old sizes."""
    before = {i.id for i in bench.cloud.instances()}
    update = rolled(bench)
    assert (update["status"], update["errors"]) == ("Successful", [])
    after = bench.cloud.instances()
    assert {i.image_id for i in after} == {"ami-35"}
    assert not before & {i.id for i in after}
    assert sorted(i.zone for i in after) == sorted(ZONES)
    group = bench.cloud.asgs()[0]
    assert (group.min_size, group.desired, group.max_size) == (3, 3, 6)
    kubelets = {n["status"]["nodeInfo"]["kubeletVersion"][:5] for n in bench.kube().world.items("nodes")}
    assert kubelets == {"v1.35"}
    shown = bench.shown()
    assert (shown["launchTemplate"]["version"], shown["releaseVersion"], shown["status"]) == ("2", "ami-35", "ACTIVE")
    assert len(list(bench.kube().world.items("pods"))) == 9


def test_twin_cloud_roll_never_has_fewer_ready_nodes_than_desired_less_one(bench: Bench) -> None:
    """The promise of max_unavailable 1, measured from the nodes and not from what the roll meant to do."""
    ready = {n["metadata"]["name"] for n in bench.kube().world.items("nodes")}
    lowest, most = len(ready), len(ready)

    def follow(kind: str, subject: str) -> None:
        nonlocal lowest, most
        ready.add(subject) if kind == "node.ready" else ready.discard(subject)
        lowest, most = min(lowest, len(ready)), max(most, len(ready))

    def seen(event: object) -> None:
        kind, node = event.kind, event.data.get("node", event.subject)  # type: ignore[attr-defined]
        if kind in ("node.ready", "node.draining", "instance.terminating"):
            follow(kind, node if kind != "node.draining" else event.subject)  # type: ignore[attr-defined]

    bench.cloud.on_event(seen)
    rolled(bench)
    assert lowest >= 2
    assert most == 9, "three nodes and a surge of twice the zones"


def test_twin_cloud_roll_same_seed_same_timeline() -> None:
    """Two runs of one seed that differed would make rehearsals worthless."""
    logs = []
    for _ in range(2):
        bench = Bench(seed=11)
        bench.cluster()
        bench.group()
        bench.pods(6)
        rolled(bench)
        logs.append(bench.log)
    assert logs[0] == logs[1]
    other = Bench(seed=12)
    other.cluster()
    assert other.log != logs[0][: len(other.log)]


def test_twin_cloud_roll_in_order(bench: Bench) -> None:
    """Surge first, then drain, settle, terminate node by node, then scale down: any other order loses capacity."""
    bench.log.clear()
    rolled(bench)
    phases = [s for _, k, s in bench.log if k == "roll.phase"]
    assert len(phases) == 5
    kinds = [k for _, k, _ in bench.log]
    assert kinds.index("node.draining") > [i for i, k in enumerate(kinds) if k == "node.ready"][2]
    drains = [i for i, k in enumerate(kinds) if k == "node.draining"]
    gone = [i for i, k in enumerate(kinds) if k == "instance.terminated"]
    assert drains[0] < gone[0] < drains[1] < gone[1] < drains[2]
    assert len(gone) == 3 + 6


def test_twin_cloud_roll_blocked_eviction_waits_for_the_budget(bench: Bench) -> None:
    """A blocked pod must be evicted soon after its budget allows it, and nothing may poll meanwhile."""
    bench.kube().blocked = {f"web-{i}" for i in range(9)}
    bench.template("ami-35", 2)
    template = {"id": "lt-1", "version": "2"}
    answer = bench.eks("UpdateNodegroupVersion", clusterName="demo", nodegroupName="main", launchTemplate=template)
    bench.until(lambda: any(k == "pod.blocked" for _, k, _ in bench.log))
    before = bench.clock.processed
    bench.clock.sleep(300)
    assert bench.clock.processed - before < 20
    bench.kube().unblock()
    assert bench.update(answer, nodegroupName="main")["status"] == "Successful"


def test_twin_cloud_roll_pdb_blocked_update_fails_and_rolls_back(bench: Bench) -> None:
    """A PDB that never allows must end as EKS ends it: text, node name, old nodes back in service."""
    bench.kube().blocked = {f"web-{i}" for i in range(9)}
    nodes = {i.node_name for i in bench.cloud.instances()}
    update = rolled(bench)
    assert update["status"] == "Failed"
    (error,) = update["errors"]  # type: ignore[misc]
    assert error["errorCode"] == "PodEvictionFailure"
    assert error["errorMessage"] == "Reached max retries while trying to evict pods from nodes in node group main"
    assert set(error["resourceIds"]) <= nodes
    shown = bench.shown()
    assert (shown["status"], shown["launchTemplate"]["version"], shown["releaseVersion"]) == ("ACTIVE", "1", "ami-34")
    assert {i.node_name for i in bench.cloud.instances()} == nodes
    assert not [n for n in bench.kube().world.items("nodes") if n["spec"].get("unschedulable")]
    group = bench.cloud.asgs()[0]
    assert (group.desired, group.max_size) == (3, 6)


def test_twin_cloud_roll_force_goes_through(bench: Bench) -> None:
    """force must delete what a budget holds back, but only after the 15 minutes."""
    bench.kube().blocked = {"web-0"}
    started = bench.clock.now()
    assert rolled(bench, force=True)["status"] == "Successful"
    forced = [t for t, k, s in bench.log if k == "pod.evicted" and s.endswith("web-0")]
    assert forced[0] + 1_795_000_000.0 - started > 900


def test_twin_cloud_roll_mixed_mode_then_resumes(bench: Bench) -> None:
    """In mode mixed the replaced nodes stay; the same update again must only replace the others."""
    bench.settings.change("switches", "failure_mode", "mixed")
    victim = sorted(i.node_name for i in bench.cloud.instances())[0]
    held = {p["metadata"]["name"] for p in bench.kube().world.pods_on(victim)}
    bench.kube().blocked = held
    first = rolled(bench)
    images = [i.image_id for i in bench.cloud.instances()]
    assert first["status"] == "Failed"
    assert "ami-34" in images
    assert len(images) == 3
    new_before = {i.id for i in bench.cloud.instances() if i.image_id == "ami-35"}
    bench.kube().unblock()
    template = {"id": "lt-1", "version": "2"}
    answer = bench.eks("UpdateNodegroupVersion", clusterName="demo", nodegroupName="main", launchTemplate=template)
    launched = len([1 for _, k, _ in bench.log if k == "instance.launched"])
    assert bench.update(answer, nodegroupName="main")["status"] == "Successful"
    launched = len([1 for _, k, _ in bench.log if k == "instance.launched"]) - launched
    assert launched == images.count("ami-34") + 6
    assert new_before  # at least one had been replaced, in one seed out of the orders tried here


def test_twin_cloud_roll_nodes_that_never_join_fail_after_15_minutes(bench: Bench) -> None:
    """Broken user data must end as NodeCreationFailure, with the surge gone and the old nodes untouched."""
    bench.settings.change("faults", "never_join", ["main"])
    nodes = {i.node_name for i in bench.cloud.instances()}
    started = bench.clock.now()
    update = rolled(bench)
    assert update["errors"][0]["errorCode"] == "NodeCreationFailure"  # type: ignore[index]
    assert 900 <= bench.clock.now() - started <= 1100
    bench.clock.sleep(300)
    assert {i.node_name for i in bench.cloud.instances()} == nodes
    assert not [k for _, k, _ in bench.log if k == "pod.evicted"]


def test_twin_cloud_roll_zone_without_capacity_fails(bench: Bench) -> None:
    """Without a new node in every old node's zone EKS does not go on; the activity says why."""
    bench.settings.change("faults", "no_capacity", ["us-east-1b"])
    update = rolled(bench)
    assert update["errors"][0]["errorCode"] == "NodeCreationFailure"  # type: ignore[index]
    messages = [a["message"] for a in bench.cloud.asgs()[0].activities if a["status"] == "Failed"]
    assert "sufficient m5.large capacity in the Availability Zone you requested (us-east-1b)" in messages[0]


def test_twin_cloud_roll_minimal_adds_no_node(bench: Bench) -> None:
    """MINIMAL must stay within the configured size, or it would break quotas it was chosen for."""
    answer = bench.eks(
        "UpdateNodegroupConfig", clusterName="demo", nodegroupName="main", updateConfig={"updateStrategy": "MINIMAL"}
    )
    bench.update(answer, nodegroupName="main")
    most = 0

    def seen(event: object) -> None:
        nonlocal most
        most = max(most, len([i for i in bench.cloud.instances() if not i.leaving]))

    bench.cloud.on_event(seen)
    assert rolled(bench)["status"] == "Successful"
    assert most <= 3


def test_twin_cloud_roll_survives_an_instance_lost_midway(bench: Bench) -> None:
    """A spot interruption during the update must be replaced and must not stop the update."""
    bench.template("ami-35", 2)
    template = {"id": "lt-1", "version": "2"}
    answer = bench.eks("UpdateNodegroupVersion", clusterName="demo", nodegroupName="main", launchTemplate=template)
    bench.until(lambda: any(k == "node.draining" for _, k, _ in bench.log))
    old = [i for i in bench.cloud.instances() if i.image_id == "ami-34"]
    bench.cloud.lose_instance(old[-1].id)
    new = [i for i in bench.cloud.instances() if i.image_id == "ami-35" and i.ready_at is not None]
    bench.cloud.lose_instance(new[0].id)
    assert bench.update(answer, nodegroupName="main")["status"] == "Successful"
    bench.clock.sleep(300)
    assert [i.image_id for i in bench.cloud.instances()] == ["ami-35"] * 3
