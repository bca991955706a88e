"""StatefulSets moved in bulk against the same sets moved pod by pod: ordinals, claims, limits, zones, budgets."""

from __future__ import annotations

import dataclasses
import importlib.util
import random
from collections.abc import Callable
from typing import Any

import pytest
from bulk_lab import Hand
from test_twin_bulk import crowded, story

from baton.model.cluster import Snapshot
from baton.rehearsal.generate import generate
from baton.twin.bulk.begin import Beyond
from baton.twin.bulk.layout import SEAT_CLASS
from baton.twin.controllers import nodes

pytestmark = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")

Json = dict[str, Any]
ZONE, GROUP = "topology.kubernetes.io/zone", "eks.amazonaws.com/nodegroup"
SINCE = "2026-11-05T05:01:15Z"
BUDGETS: tuple[Json | None, ...] = (None, {"maxUnavailable": 1}, {"minAvailable": "60%"}, {"maxUnavailable": 0})
RULES: tuple[Json, ...] = (
    {},
    {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule"}]},
    {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "ScheduleAnyway"}]},
    {"affinity": {"podAntiAffinity": {}}},
)


class Sets:
    """Adds StatefulSets of all kinds to a snapshot."""

    def __init__(self, made: Snapshot, seed: int) -> None:
        self.rng = random.Random(seed)
        self.nodes = list(made.objects["nodes"])
        self.classes = {c["metadata"]["name"]: c["value"] for c in made.objects["priorityclasses.scheduling.k8s.io"]}
        self.made = made
        self.added: dict[str, list[Json]] = {}

    def _add(self, resource: str, api: str, kind: str, name: str, **rest: Any) -> Json:
        meta = {"name": name, "uid": f"{kind}-{name}", **rest.pop("metadata", {})}
        obj = {"apiVersion": api, "kind": kind, "metadata": meta, **rest}
        self.added.setdefault(resource, []).append(obj)
        return obj

    def add(self, name: str, *, replicas: int, ordered: bool, claims: int, memory: str, budget: Json | None,
            priority: str, rules: Json, driver: str, first: int, probe: int) -> None:  # fmt: skip
        """One set, its pods on nodes by chance."""
        labels = {"app": name}
        if "affinity" in rules:
            term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": labels}}
            rules = {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}
        if "topologySpreadConstraints" in rules:
            spread = {**rules["topologySpreadConstraints"][0], "labelSelector": {"matchLabels": labels}}
            rules = {"topologySpreadConstraints": [spread]}
        container: Json = {"name": "c", "image": f"{name}:1", "resources": {"requests": {"memory": memory}}}
        if probe:
            container["readinessProbe"] = {"initialDelaySeconds": probe, "periodSeconds": 5}
        spec: Json = {"containers": [container], "volumes": [{"name": "tmp", "emptyDir": {}}], **rules}
        if priority:
            spec["priorityClassName"] = priority
        names = [f"data{n}" for n in range(claims)]
        revision = f"{name}-1234567890"
        status = {"replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
                  "currentRevision": revision, "updateRevision": revision, "observedGeneration": 1}  # fmt: skip
        asked = {"accessModes": ["ReadWriteOnce"], "storageClassName": "gp3"}
        self._add("statefulsets.apps", "apps/v1", "StatefulSet", name, status=status, spec={
            "replicas": replicas, "serviceName": name, "selector": {"matchLabels": labels},
            "podManagementPolicy": "OrderedReady" if ordered else "Parallel",
            "template": {"metadata": {"labels": labels}, "spec": spec},
            "volumeClaimTemplates": [{"metadata": {"name": n}, "spec": asked} for n in names],
            **({"ordinals": {"start": first}} if first else {}),
        }, metadata={"namespace": "default", "generation": 1})  # fmt: skip
        if budget is not None:
            rule = {"selector": {"matchLabels": labels}, **budget}
            self._add("poddisruptionbudgets.policy", "policy/v1", "PodDisruptionBudget", name, spec=rule, status={},
                      metadata={"namespace": "default", "generation": 1})  # fmt: skip
        places = self.rng.sample(self.nodes, min(replicas, len(self.nodes)))
        for at in range(replicas):
            self._pod(name, first + at, spec, labels, revision, names, driver, places[at % len(places)])

    def _pod(self, of: str, ordinal: int, spec: Json, labels: Json, revision: str, claims: list[str], driver: str,
             node: Any) -> None:  # fmt: skip
        name, where = f"{of}-{ordinal}", {"namespace": "default"}
        zone = node["metadata"]["labels"][ZONE]
        volumes = [v for v in spec["volumes"] if v["name"] not in claims]
        for claim in claims:
            volumes.append({"name": claim, "persistentVolumeClaim": {"claimName": f"{claim}-{name}"}})
            self._volume(f"{claim}-{name}", driver, zone)
        labels = {**labels, "controller-revision-hash": revision, "statefulset.kubernetes.io/pod-name": name,
                  "apps.kubernetes.io/pod-index": str(ordinal)}  # fmt: skip
        owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": of, "uid": f"StatefulSet-{of}",
                 "controller": True}  # fmt: skip
        priority = self.classes.get(spec.get("priorityClassName", ""), 0)
        whole = {**spec, "volumes": volumes, "hostname": name, "subdomain": of, "priority": priority,
                 "nodeName": node["metadata"]["name"]}  # fmt: skip
        conditions = [{"type": t, "status": "True", "lastTransitionTime": SINCE} for t in ("PodScheduled", "Ready")]
        self._add("pods", "v1", "Pod", name, spec=whole,
                  metadata={**where, "labels": labels, "ownerReferences": [owner]},
                  status={"phase": "Running", "startTime": SINCE, "conditions": conditions})  # fmt: skip

    def _volume(self, claim: str, driver: str, zone: str) -> None:
        shared = {"accessModes": ["ReadWriteOnce"], "storageClassName": "gp3"}
        notes = {"namespace": "default", "annotations": {"pv.kubernetes.io/bind-completed": "yes"}}
        self._add("persistentvolumeclaims", "v1", "PersistentVolumeClaim", claim, metadata=notes,
                  spec={**shared, "volumeName": f"pv-{claim}"}, status={"phase": "Bound"})  # fmt: skip
        spec: Json = {**shared, "persistentVolumeReclaimPolicy": "Delete"}
        if driver:
            spec["csi"] = {"driver": driver, "volumeHandle": f"vol-{claim}"}
        labels: Json = {}
        if self.rng.random() < 0.7:
            term = {"matchExpressions": [{"key": ZONE, "operator": "In", "values": [zone]}]}
            spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [term]}}
        else:
            labels = {"labels": {ZONE: zone}}  # as volumes of old have it
        self._add("persistentvolumes", "v1", "PersistentVolume", f"pv-{claim}", spec=spec, metadata=labels,
                  status={"phase": "Bound"})  # fmt: skip

    def some(self, many: int, memory: tuple[str, ...]) -> None:
        """Sets of every kind."""
        rng = self.rng
        priorities = ["", "", *(n for n, value in self.classes.items() if value < 10**9)]
        for number in range(many):
            self.add(
                f"set{number}",
                replicas=rng.randint(1, 6),
                ordered=rng.random() < 0.5,
                claims=rng.choice([0, 1, 1, 2, 3]),
                memory=rng.choice(memory),
                budget=rng.choice(BUDGETS),
                priority=rng.choice(priorities),
                rules=rng.choice(RULES),
                driver=rng.choice(["ebs.csi.aws.com", "ebs.csi.aws.com", "other.csi", ""]),
                first=rng.choice([0, 0, 3]),
                probe=rng.choice([0, 5]),
            )

    def snapshot(self) -> Snapshot:
        """The cluster with the sets."""
        objects = {r: tuple(o) for r, o in self.made.objects.items()}
        for resource, more in self.added.items():
            objects[resource] = (*objects.get(resource, ()), *more)
        return dataclasses.replace(self.made, objects=objects)


def with_sets(made: Snapshot, seed: int, many: int = 10, memory: tuple[str, ...] = ("64Mi", "512Mi")) -> Snapshot:
    sets = Sets(made, seed)
    sets.some(many, memory)
    return sets.snapshot()


def limited(monkeypatch: pytest.MonkeyPatch, volumes: int) -> None:
    """Nodes that come can attach so many volumes."""
    csi_node: Callable[..., Any] = nodes._csi_node
    monkeypatch.setattr(nodes, "_csi_node", lambda spec, node: csi_node(spec._replace(volume_limit=volumes), node))


@pytest.mark.parametrize(("seed", "force"), [(1, False), (2, True), (3, True), (4, True)])
def test_statefulsets_in_bulk_tell_the_same_story(seed: int, force: bool, moved: list[Any]):
    """With numba a user would be told other times, places and blocks for databases than without."""
    made = with_sets(generate(nodes=10, pods=150, seed=seed), seed)
    told = story(made, seed, bulk=False, force=force)
    assert told == story(made, seed, bulk=True, force=force)
    assert len(moved) == 1 and len(moved[0].statefulsets) >= 6
    assert any(len(seat.claims) > 1 for seat in moved[0].seats)


def test_pods_that_a_service_tells_apart_are_moved_as_others(moved: list[Any]):
    """Brokers that each have a Service of their own would be spread as one, or be moved pod by pod."""
    sets = Sets(generate(nodes=8, pods=110, seed=5), 5)
    sets.some(10, ("64Mi", "512Mi"))
    for at in range(2):
        selector = {"statefulset.kubernetes.io/pod-name": f"set1-{at}"}
        sets._add("services", "v1", "Service", f"b{at}", metadata={"namespace": "default"}, spec={"selector": selector})
    made = sets.snapshot()
    told = story(made, 5, bulk=False, force=True)
    assert told == story(made, 5, bulk=True, force=True)
    bulk = moved[0]
    assert len(bulk.statefulsets) == 10 and not bulk.state.classes.volatile
    assert len({int(row[SEAT_CLASS]) for row in bulk.a.seats}) > 10


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_attach_limits_hold_for_bulk_pods(seed: int, moved: list[Any], monkeypatch: pytest.MonkeyPatch):
    """Pods would be told to start on nodes that cannot attach their volumes, or to wait for nodes that can."""
    limited(monkeypatch, 3)
    made = with_sets(generate(nodes=9, pods=110, seed=seed), seed, 14)
    told = story(made, seed, bulk=False, force=True)
    assert told["waited"] > 0
    assert told == story(made, seed, bulk=True, force=True)
    assert len(moved) == 1 and moved[0].statefulsets


@pytest.mark.parametrize("seed", [3, 15])
def test_statefulsets_in_bulk_wait_and_preempt_as_others_do(seed: int, moved: list[Any]):
    """Where room runs out, other databases would be preempted, or wait, than told."""
    made = with_sets(crowded(seed), seed, 16, ("1Gi", "3Gi"))
    told = story(made, seed, bulk=False, force=True)
    assert told == story(made, seed, bulk=True, force=True)
    assert told["waited"] > 0
    assert len(moved) == 1 and moved[0].statefulsets


class Story(Hand):
    """One cluster, and a hand that deletes pods, drains, adds and takes away nodes as chance says."""

    def delete_pod(self) -> None:
        pods = self.pods_of("StatefulSet")
        self.kube.delete("pods", *self.rng.choice(pods), grace=self.rng.choice([None, 0, 3]))

    def drain(self) -> None:
        node = self.a_node()
        self.kube.cordon(node)
        self.drains.start(node, lambda: None)

    def let_in(self) -> None:
        self.kube.cordon(self.a_node(), False)

    def come_and_go(self) -> None:
        if self.kube.world.count("nodes") > 5 and self.rng.random() < 0.5:
            self.kube.remove_node(self.a_node())
            return
        like = self.kube.world.get("nodes", None, self.a_node())
        self.new += 1
        name = f"ip-10-9-9-{self.new}.ec2.internal"
        zone = like["metadata"]["labels"][ZONE]
        room, limit = like["status"]["allocatable"], self.rng.choice([2, 25])
        taints = self.rng.choice([(), (), ({"key": "spot", "effect": "NoExecute"},)])
        instance = (f"i-{self.new:017x}", zone, zone[:-1], "m5.large", "ami-1", "v1.35.0")
        self.kube.boot_node(nodes.NodeSpec(name, *instance, {}, taints, room, volume_limit=limit))

    def go_on(self) -> None:
        small = [
            self.rng.choice([self.delete_pod, self.delete_pod, self.let_in]) for _ in range(self.rng.choice([1, 2, 5]))
        ]
        for act in self.rng.choice([small, small, [self.drain], [self.come_and_go]]):
            act()
        self.twin.clock.sleep(self.rng.choice([0.25, 0.5, 3.0, 12.0, 40.0]))

    def told(self) -> Json:
        self.kube.statefulsets.refresh()
        self.kube.disruption.refresh()
        world = self.kube.world
        kinds = ("statefulsets.apps", "poddisruptionbudgets.policy")
        statuses = {k: {o["metadata"]["name"]: o.get("status") for o in world.items(k)} for k in kinds}
        return {"now": self.twin.clock.now(), "pods": self.pods(), "statuses": statuses}


@pytest.mark.parametrize("seed", [1, 2, 3, 7, 9])
def test_statefulsets_in_bulk_do_what_others_do(seed: int):
    """A database's pods would be made out of order, under other names or twice, and its status would be another."""
    made = with_sets(generate(nodes=9, pods=120, seed=seed, blocking=0), seed, 12)
    plain, bulk = Story(made, seed, False), Story(made, seed, True)
    assert len(bulk.kube.bulk.statefulsets) == 12
    for _ in range(40):
        plain.go_on()
        bulk.go_on()
        assert plain.told() == bulk.told()
    for one in (plain, bulk):
        one.twin.clock.sleep(900)
        one.tally.finish({}, {})
    assert plain.told() == bulk.told()
    for counted in ("lowest", "placements", "by_workload", "waited", "repeat", "depth"):
        assert getattr(plain.tally, counted) == getattr(bulk.tally, counted)


def changed(obj: Any, **spec: Any) -> Json:
    return {**obj, "spec": {**obj["spec"], **spec}}


def of_set(story: Story, name: str) -> Any:
    return story.kube.world.get("statefulsets.apps", "default", name)


def test_statefulsets_that_change_are_rehearsed_without():
    """Pods of a set that was scaled, or is gone, would stay as they were."""
    for change in (
        lambda s: s.kube.world.update("statefulsets.apps", changed(of_set(s, "set1"), replicas=9)),
        lambda s: s.kube.delete("statefulsets.apps", "default", "set1"),
    ):
        story = Story(with_sets(generate(nodes=6, pods=90, seed=1, blocking=0), 1), 1, True)
        assert ("default", "set1") in story.kube.bulk.statefulsets
        with pytest.raises(Beyond):
            change(story)


def test_claims_and_volumes_that_change_are_rehearsed_without():
    """Pods would go where their volume was before, or be told to share one with a pod that came since."""
    made = with_sets(generate(nodes=6, pods=90, seed=1, blocking=0), 1)
    claim = made.objects["persistentvolumeclaims"][0]
    name, volume = claim["metadata"]["name"], claim["spec"]["volumeName"]
    stranger = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "backup", "namespace": "default", "uid": "b"}}
    stranger["spec"] = {"containers": [], "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": name}}]}
    for change in (
        lambda w: w.update("persistentvolumeclaims", changed(w.get("persistentvolumeclaims", "default", name))),
        lambda w: w.remove("persistentvolumes", None, volume),
        lambda w: w.create("pods", stranger),
    ):
        story = Story(made, 1, True)
        with pytest.raises(Beyond):
            change(story.kube.world)
            story.twin.clock.sleep(1)


def test_statefulsets_out_of_the_ordinary_are_moved_pod_by_pod():
    """Two pods that share a volume would be counted as two volumes; an update under way would stop."""
    made = with_sets(generate(nodes=6, pods=90, seed=1, blocking=0), 1)
    ordinary = Story(made, 1, True).kube.bulk.statefulsets
    with_claims = [s for s in made.objects["statefulsets.apps"] if s["spec"]["volumeClaimTemplates"]]
    shared, old, waits, unbound, *rest = (s["metadata"]["name"] for s in with_claims)
    objects = {r: list(o) for r, o in made.objects.items()}

    def replace(resource: str, belongs: Callable[[Any], bool], new: Callable[[Any], Any]) -> None:
        found = [i for i, o in enumerate(objects[resource]) if belongs(o)]
        objects[resource][found[0]] = new(objects[resource][found[0]])

    def of(name: str) -> Callable[[Any], bool]:
        return lambda o: o["metadata"]["name"].startswith(f"{name}-")

    def relabelled(pod: Any) -> Json:
        labels = {**pod["metadata"]["labels"], "controller-revision-hash": "old"}
        return {**pod, "metadata": {**pod["metadata"], "labels": labels}}

    claim = next(c for c in objects["persistentvolumeclaims"] if f"-{shared}-" in c["metadata"]["name"])
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}]
    replace("pods", lambda o: o["metadata"]["namespace"] == "default" and of(rest[0])(o),
            lambda o: changed(o, volumes=[*o["spec"]["volumes"], *volumes]))  # fmt: skip
    replace("pods", of(old), relabelled)
    replace("statefulsets.apps", lambda o: o["metadata"]["name"] == old,
            lambda o: changed(o, updateStrategy={"type": "OnDelete"}))  # fmt: skip
    nowhere = {"nodeName": "", "nodeSelector": {"no": "where"}}
    replace("pods", of(waits), lambda o: {**changed(o, **nowhere), "status": {"phase": "Pending"}})
    replace("persistentvolumeclaims", lambda o: f"-{unbound}-" in o["metadata"]["name"],
            lambda o: {**o, "metadata": {**o["metadata"], "annotations": {}}})  # fmt: skip
    less = dataclasses.replace(made, objects={r: tuple(o) for r, o in objects.items()})
    left = Story(less, 1, True).kube.bulk.statefulsets
    assert {name for _, name in set(ordinary) - set(left)} == {shared, old, waits, unbound, rest[0]}
    assert story(less, 1, bulk=False, force=True) == story(less, 1, bulk=True, force=True)
