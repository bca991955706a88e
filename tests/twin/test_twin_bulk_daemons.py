"""DaemonSets moved in bulk against the same sets moved pod by pod, whatever happens to their templates and nodes."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from bulk_lab import Hand

from baton.rehearsal.generate import generate
from baton.twin.bulk.begin import Beyond
from baton.twin.controllers.nodes import NodeSpec

pytestmark = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")

NAMES = ("aws-node", "kube-proxy", "ebs-csi-node", "log-collector")
STRATEGIES: tuple[dict[str, Any], ...] = (
    {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "30%"}},
    {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
    {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}},
    {"type": "RollingUpdate"},
    {"type": "OnDelete"},
)
TOLERATIONS: tuple[list[dict[str, Any]], ...] = (
    [{"operator": "Exists"}],
    [{"operator": "Exists"}, {"key": "spot", "operator": "Exists", "tolerationSeconds": 20}],
    [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
    [],
)


class Story(Hand):
    """One cluster, and a hand that changes it as chance says."""

    def change_set(self) -> None:
        rng, world, name = self.rng, self.kube.world, self.rng.choice(NAMES)
        obj = next(o for o in world.items("daemonsets.apps") if o["metadata"]["name"] == name)
        spec, template = obj["spec"], obj["spec"]["template"]
        inner = dict(template["spec"])
        what = rng.randrange(4)
        if what == 0:
            containers = [{**c, "image": f"{c['image'].split(':')[0]}:{rng.randrange(4)}"} for c in inner["containers"]]
            inner["containers"] = containers
        elif what == 1:
            inner["tolerations"] = rng.choice(TOLERATIONS)
        elif what == 2:
            inner["nodeSelector"] = rng.choice([{}, {"colour": "red"}])
        else:
            spec = {**spec, "updateStrategy": rng.choice(STRATEGIES)}
        world.update("daemonsets.apps", {**obj, "spec": {**spec, "template": {**template, "spec": inner}}})

    def change_node(self) -> None:
        rng, world = self.rng, self.kube.world
        node = world.get("nodes", None, self.a_node())
        what = rng.randrange(3)
        if what == 0:
            self.kube.cordon(node["metadata"]["name"], rng.random() < 0.5, {"colour": rng.choice(["red", None])})
            return
        taints = [t for t in node["spec"].get("taints") or () if t["key"] not in ("spot", "dedicated")]
        if rng.random() < 0.6:
            effect = rng.choice(["NoSchedule", "NoExecute"])
            taints.append({"key": rng.choice(["spot", "dedicated"]), "effect": effect})
        world.update("nodes", {**node, "spec": {**node["spec"], "taints": taints}})

    def come_and_go(self) -> None:
        if self.kube.world.count("nodes") > 1 and self.rng.random() < 0.5:
            self.kube.remove_node(self.a_node())
            return
        like = self.kube.world.get("nodes", None, self.a_node())
        self.new += 1
        name = f"ip-10-9-9-{self.new}.ec2.internal"
        zone = like["metadata"]["labels"]["topology.kubernetes.io/zone"]
        taints = self.rng.choice([(), ({"key": "spot", "effect": "NoExecute"},)])
        room = like["status"]["allocatable"]
        spec = NodeSpec(name, f"i-{self.new:017x}", zone, zone[:-1], "m5.large", "ami-1", "v1.35.0", {}, taints, room)
        self.kube.boot_node(spec)

    def delete_pod(self) -> None:
        pods = self.pods_of("DaemonSet")
        if pods:
            self.kube.delete("pods", *self.rng.choice(pods))

    def go_on(self) -> None:
        acts = (self.change_set, self.change_node, self.come_and_go, self.delete_pod)
        for act in self.rng.choices(acts, weights=[3, 3, 2, 2], k=self.rng.choice([1, 1, 2, 3])):
            act()
        self.twin.clock.sleep(self.rng.choice([0.0, 0.5, 3.0, 12.0, 40.0]))

    def told(self) -> dict[str, Any]:
        self.kube.refresh_status()
        world = self.kube.world
        sets = {o["metadata"]["name"]: o.get("status") for o in world.items("daemonsets.apps")}
        return {"now": self.twin.clock.now(), "pods": self.pods(), "sets": sets}


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 5, 89, 112])
def test_daemonsets_in_bulk_do_what_others_do(seed: int):
    """A rolling DaemonSet would skip nodes, take more of them at once, or keep pods where it should not run."""
    made = generate(nodes=9, pods=120, seed=seed, blocking=0)
    plain, bulk = Story(made, seed, False), Story(made, seed, True)
    assert len(bulk.kube.bulk.daemons) == len(NAMES)
    for _ in range(40):
        plain.go_on()
        bulk.go_on()
        assert plain.told() == bulk.told()
    for story in (plain, bulk):
        story.twin.clock.sleep(600)
        story.tally.finish({}, {})
    assert plain.told() == bulk.told()
    assert plain.tally.lowest == bulk.tally.lowest
    assert plain.tally.placements == bulk.tally.placements


def test_a_daemonset_that_is_deleted_is_rehearsed_without():
    """Pods of a set that is gone would stay, or be made again."""
    story = Story(generate(nodes=6, pods=90, seed=1, blocking=0), 1, True)
    with pytest.raises(Beyond):
        story.kube.delete("daemonsets.apps", "kube-system", "kube-proxy")
        story.twin.clock.sleep(1)


def test_images_that_cannot_be_pulled_are_rehearsed_without():
    """Pods of an add-on whose image is missing would become ready."""
    story = Story(generate(nodes=6, pods=90, seed=1, blocking=0), 1, True)
    with pytest.raises(Beyond):
        story.kube.apply_addon("kube-proxy", "v1.35.0-eksbuild.9", image_ok=False)
