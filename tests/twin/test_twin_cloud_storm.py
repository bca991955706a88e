"""A roll in bad weather: instances lost, sizes changed, budgets that open and close, capacity that comes and goes."""

from __future__ import annotations

from random import Random

import pytest
from cloud_fakes import Bench


def storm(seed: int) -> tuple[Bench, dict[str, object]]:
    """One update with random disturbances drawn from the seed; returns the bench and the update at its end."""
    rng = Random(seed)
    bench = Bench(seed)
    bench.cluster()
    bench.group(size=rng.randint(1, 6))
    bench.pods(rng.randint(0, 15))
    config: dict[str, object] = {"maxUnavailable": rng.randint(1, 3)}
    if rng.random() < 0.4:
        config["updateStrategy"] = "MINIMAL"
    answer = bench.eks("UpdateNodegroupConfig", clusterName="demo", nodegroupName="main", updateConfig=config)
    bench.update(answer, nodegroupName="main")
    bench.settings.switches.failure_mode = rng.choice(["mixed", "rollback"])
    bench.template("ami-35", 2)
    roll = {"clusterName": "demo", "nodegroupName": "main", "launchTemplate": {"id": "lt-1", "version": "2"}}
    ident = bench.eks("UpdateNodegroupVersion", **roll, force=rng.random() < 0.3)["update"]["id"]
    which = {"name": "demo", "updateId": ident, "nodegroupName": "main"}
    for _ in range(200):
        update: dict[str, object] = bench.eks("DescribeUpdate", **which)["update"]
        if update["status"] != "InProgress":
            return bench, update
        disturb(bench, rng)
        bench.clock.sleep(rng.uniform(5, 240))
    bench.settings.faults.no_capacity.clear()
    bench.kube().unblock()
    bench.clock.sleep(40_000)
    return bench, bench.eks("DescribeUpdate", **which)["update"]


def disturb(bench: Bench, rng: Random) -> None:
    group = bench.cloud.asgs()[0]
    instances = bench.cloud.instances()
    what = rng.random()
    if what < 0.15 and instances:
        bench.cloud.lose_instance(rng.choice(instances).id)
    elif what < 0.25 and instances:
        bench.cloud.terminate_instance(rng.choice(instances).id)
    elif what < 0.35:
        wanted = group.desired + rng.choice([-1, 1])
        if group.min_size <= wanted <= group.max_size:
            bench.cloud.set_desired(group.name, wanted)
    elif what < 0.45:
        bench.kube().blocked = {p["metadata"]["name"] for p in bench.kube().world.items("pods") if rng.random() < 0.3}
    elif what < 0.6:
        bench.kube().unblock()
    elif what < 0.65:
        bench.settings.faults.no_capacity.add(rng.choice(["us-east-1a", "us-east-1b"]))
    elif what < 0.75:
        bench.settings.faults.no_capacity.clear()


@pytest.mark.parametrize("block", range(8))
def test_twin_cloud_storm_always_ends_with_a_whole_group(block: int) -> None:
    """Whatever happens meanwhile, an update must end, and leave as many nodes as the group wants."""
    for seed in range(block * 25, block * 25 + 25):
        bench, update = storm(seed)
        assert update["status"] in ("Successful", "Failed"), seed
        bench.settings.faults.no_capacity.clear()
        bench.kube().unblock()
        bench.clock.sleep(3000)
        group = bench.cloud.asgs()[0]
        instances = bench.cloud.instances()
        assert len(instances) == group.desired, seed
        assert group.max_size == max(group.desired, bench.shown()["scalingConfig"]["maxSize"]), seed
        assert not [n for n in bench.kube().world.items("nodes") if n["spec"].get("unschedulable")], seed
        assert all(i.ready_at is not None and not i.leaving for i in instances), seed
        assert {n["metadata"]["name"] for n in bench.kube().world.items("nodes")} == {i.node_name for i in instances}
        assert not bench.cloud.scaling.drains("demo").active, seed
        if update["status"] == "Successful":
            assert {i.image_id for i in instances} == {"ami-35"}, seed
        assert bench.shown()["status"] == "ACTIVE", seed
