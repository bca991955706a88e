"""Rules of the real scheduler that recorded cases do not reach, each read in its source (Kubernetes 1.34)."""

from __future__ import annotations

from typing import Any

import pytest
from test_logic_scheduling import COMPILED, Draw

from baton.logic.scheduling import ClusterState, Scheduler
from baton.logic.scheduling.matching import compile_node_terms, node_terms_match
from baton.logic.scheduling.preemption import candidates_to_find

Json = dict[str, Any]
EBS = "ebs.csi.aws.com"


def node(name: str) -> Json:
    labels = {"kubernetes.io/hostname": name}
    return {"metadata": {"name": name, "labels": labels}, "status": {"allocatable": {"cpu": "4", "pods": "10"}}}


def pod(name: str, on: str = "", **spec: Any) -> Json:
    containers = [{"name": "c", "image": "i", **spec.pop("container", {})}]
    where = {"nodeName": on} if on else {}
    meta = {"name": name, "namespace": "default", "uid": name}
    return {"metadata": meta, "spec": {"containers": containers, **where, **spec}, "status": {}}


def claim(name: str, volume: str = "", **spec: Any) -> Json:
    found: Json = {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], **spec},
    }
    if volume:
        found["spec"]["volumeName"] = volume
        found["metadata"]["annotations"] = {"pv.kubernetes.io/bind-completed": "yes"}
    return found


def mount(name: str) -> Json:
    return {"name": name, "persistentVolumeClaim": {"claimName": name}}


def state_of(nodes: list[Json], pods: list[Json], **objects: list[Json]) -> ClusterState:
    state = ClusterState()
    names = {"claims": "persistentvolumeclaims", "volumes": "persistentvolumes", "csi": "csinodes.storage.k8s.io"}
    for kind, found in objects.items():
        for obj in found:
            state.set_object(names[kind], obj)
    for each in nodes:
        state.add_node(each)
    for each in pods:
        state.add_pod(each)
    return state


def test_one_pod_that_leaves_frees_a_port_which_two_hold() -> None:
    """Upstream's used host ports are a set: preemption takes the pod of low priority though another keeps the port."""
    port = {"ports": [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]}
    there = [pod("low", "n1", priority=0, container=port), pod("high", "n1", priority=1000, container=port)]
    found = Scheduler(state_of([node("n1")], there)).preempt(pod("in", priority=100, container=port))
    assert found is not None and found.best == ("n1",)
    assert found.candidates["n1"].names == ("default/low",)


def test_victims_that_tie_go_by_name() -> None:
    """A scheduler reads pods by name: which of two that began together goes must not hang on the order of a dump."""
    ask: Json = {"resources": {"requests": {"cpu": "2"}}}
    there = [pod(name, "n1", priority=0, container=ask) for name in ("p9", "p10")]
    for each in there:
        each["status"]["startTime"] = "2026-01-01T00:00:00Z"
    for pods in (there, there[::-1]):
        found = Scheduler(state_of([node("n1")], pods)).preempt(pod("in", priority=100, container=ask))
        assert found is not None and found.candidates["n1"].names == ("default/p9",)


def test_of_victims_that_tie_those_that_break_a_budget_are_named_first() -> None:
    """Upstream sorts the victims again by priority and start alone; they are evicted in this order."""
    ask: Json = {"resources": {"requests": {"cpu": "2"}}}
    there = [pod(name, "n1", priority=0, container=ask) for name in ("p1", "p2")]
    for each, app in zip(there, "ab", strict=True):
        each["status"]["startTime"] = "2026-01-01T00:00:00Z"
        each["metadata"]["labels"] = {"app": app}
    budget = {"metadata": {"name": "b", "namespace": "default"}, "spec": {"selector": {"matchLabels": {"app": "b"}}}}
    state = state_of([node("n1")], there)
    state.set_object("poddisruptionbudgets.policy", budget)
    whole: Json = {"resources": {"requests": {"cpu": "4"}}}
    found = Scheduler(state).preempt(pod("in", priority=100, container=whole))
    assert found is not None and found.candidates["n1"].names == ("default/p2", "default/p1")


def test_a_tenth_of_the_nodes_that_may_help_is_tried() -> None:
    """GetOffsetAndNumCandidates is handed the nodes left to try, not all: a rehearsal would evict on other nodes."""
    assert [candidates_to_find(n) for n in (5, 100, 999, 3000, 5000)] == [5, 100, 100, 300, 500]
    wide = state_of([node(f"n{i:04}") for i in range(1200)], [])
    for i in range(1200):
        wide.add_pod(pod(f"p{i}", f"n{i:04}", priority=0, container={"resources": {"requests": {"cpu": "4"}}}))
    for i in range(1050):
        wide.update_node({**node(f"n{i:04}"), "spec": {"unschedulable": True}})
    found = Scheduler(wide).preempt(
        pod("in", priority=1, container={"resources": {"requests": {"cpu": "1"}}}), Draw(0.0)
    )
    assert found is not None and len(found.candidates) == 100


def test_a_claim_of_another_pods_ephemeral_volume_is_named_without_quotes() -> None:
    """Who searches for the message of the real scheduler must find it in the twin's."""
    volumes = [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]
    found = Scheduler(state_of([node("n1")], [], claims=[claim("in-v")])).explain(pod("in", volumes=volumes))
    assert found.infeasible["n1"] == ("PVC default/in-v was not created for pod default/in (pod is not owner)",)


@pytest.mark.parametrize("compiled", COMPILED)
def test_a_volume_does_not_ask_for_the_name_of_its_node(compiled: bool) -> None:
    """Upstream shows the volume a node without a name: matchFields hold everywhere, labels go on counting."""
    terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]
    volume = {"metadata": {"name": "pv"}, "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}}
    state = state_of([node("n1"), node("n2")], [], claims=[claim("data", "pv")], volumes=[volume])
    scheduler = Scheduler(state, compiled=compiled)
    wanted = pod("in", volumes=[mount("data")])
    assert scheduler.explain(wanted).feasible == ("n1", "n2")
    assert scheduler.schedule(wanted, Draw(0.99)).node == "n2"
    terms[0]["matchExpressions"] = [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]
    assert Scheduler(state, compiled=compiled).explain(wanted).feasible == ("n1",)


def test_an_ephemeral_volume_does_not_use_a_claim_for_one_pod_alone() -> None:
    """updatePVCRefCounts counts claims mounted by name only."""
    ephemeral = [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]
    volume = {"metadata": {"name": "pv"}, "spec": {}}
    once = claim("old-v", "pv", accessModes=["ReadWriteOncePod"])
    for users, fits in (
        (pod("old", "n1", volumes=ephemeral), True),
        (pod("old", "n1", volumes=[mount("old-v")]), False),
    ):
        state = state_of([node("n1")], [users], claims=[once], volumes=[volume])
        assert bool(Scheduler(state).explain(pod("in", volumes=[mount("old-v")])).feasible) is fits


@pytest.mark.parametrize("compiled", COMPILED)
def test_in_tree_volumes_count_for_the_driver(compiled: bool) -> None:
    """isCSIMigrationOn no longer asks the CSINode: a node full of old EBS volumes takes no more."""
    volumes: list[Json] = [
        {"metadata": {"name": f"pv{i}"}, "spec": {"awsElasticBlockStore": {"volumeID": f"aws://z1/vol-{i}"}}}
        for i in range(2)
    ]
    claims = [claim(f"c{i}", f"pv{i}") for i in range(2)]
    drivers = [{"name": EBS, "nodeID": "i", "allocatable": {"count": 1}}]
    csi = [{"metadata": {"name": "n1"}, "spec": {"drivers": drivers}}]
    there = [pod("old", "n1", volumes=[mount("c0")])]
    state = state_of([node("n1"), node("n2")], there, claims=claims, volumes=volumes, csi=csi)
    scheduler = Scheduler(state, compiled=compiled)
    wanted = pod("in", volumes=[mount("c1")])
    assert scheduler.explain(wanted).feasible == ("n2",)
    assert scheduler.schedule(wanted, Draw(0.0)).node == "n2"


@pytest.mark.parametrize("compiled", COMPILED)
def test_each_driver_has_its_own_limit(compiled: bool) -> None:
    """A volume that is on the node already does not hide that another driver is full: the twin would overfill it."""
    csi = [
        {"metadata": {"name": "n1"}, "spec": {"drivers": [{"name": EBS, "nodeID": "i", "allocatable": {"count": 1}}]}}
    ]
    names = {"full": EBS, "new": EBS, "shared": "other.example.com"}
    volumes = [
        {"metadata": {"name": f"pv-{name}"}, "spec": {"csi": {"driver": driver, "volumeHandle": name}}}
        for name, driver in names.items()
    ]
    claims = [claim(name, f"pv-{name}") for name in names]
    there = [pod("old", "n1", volumes=[mount("full"), mount("shared")])]
    scheduler = Scheduler(state_of([node("n1")], there, claims=claims, volumes=volumes, csi=csi), compiled=compiled)
    for mounted in (["new", "shared"], ["shared", "new"]):
        wanted = pod("in", volumes=[mount(name) for name in mounted])
        assert scheduler.explain(wanted).infeasible == {"n1": ("node(s) exceed max volume count",)}
        assert scheduler.schedule(wanted, Draw(0.0)).node is None


@pytest.mark.parametrize("compiled", COMPILED)
def test_a_storage_class_that_comes_late_counts(compiled: bool) -> None:
    """Which driver a claim without a volume is for, its class tells: a class read after the pods must not be missed."""
    csi = [
        {"metadata": {"name": "n1"}, "spec": {"drivers": [{"name": EBS, "nodeID": "i", "allocatable": {"count": 1}}]}}
    ]
    claims = [claim(name, storageClassName="gp3") for name in ("one", "two")]
    state = state_of([node("n1")], [pod("old", "n1", volumes=[mount("one")])], claims=claims, csi=csi)
    scheduler = Scheduler(state, compiled=compiled)
    scheduler.schedule(pod("first"), Draw(0.0))
    late = {"metadata": {"name": "gp3"}, "provisioner": EBS, "volumeBindingMode": "WaitForFirstConsumer"}
    state.set_object("storageclasses.storage.k8s.io", late)
    wanted = pod("in", volumes=[mount("two")])
    assert scheduler.explain(wanted).infeasible == {"n1": ("node(s) exceed max volume count",)}
    assert scheduler.schedule(wanted, Draw(0.0)).node is None


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ({"operator": "Gt", "values": ["4"]}, True),
        ({"operator": "Gt", "values": ["-1"]}, False),  # no value that a label could have
        ({"operator": "Gt", "values": ["+4"]}, False),
        ({"operator": "Gt", "values": ["4", "4"]}, False),
        ({"operator": "NotIn", "values": ["a b"]}, False),
        ({"operator": "NotIn", "values": ["x" * 64]}, False),
        ({"operator": "NotIn", "values": ["x" * 63, ""]}, True),
    ],
)
def test_a_term_with_values_that_no_label_can_have_selects_nothing(expression: Json, holds: bool) -> None:
    """labels.NewRequirement refuses them, and the node affinity then holds nowhere."""
    terms = compile_node_terms([{"matchExpressions": [{"key": "size", **expression}]}])
    assert node_terms_match(terms, {"size": "5"}, {}) is holds


def test_fields_are_asked_for_one_value() -> None:
    """nodeSelectorRequirementsAsFieldSelector takes In and NotIn with one value; any other term selects no node."""
    fields = [({"operator": "In", "values": ["n1"]}, True), ({"operator": "In", "values": ["n1", "n2"]}, False)]
    fields += [({"operator": "Exists"}, False), ({"operator": "NotIn", "values": ["n2"]}, True)]
    for expression, holds in fields:
        terms = compile_node_terms([{"matchFields": [{"key": "metadata.name", **expression}]}])
        assert node_terms_match(terms, {}, {"metadata.name": "n1"}) is holds, expression


def test_a_budget_that_selects_other_pods_now_is_heeded() -> None:
    """Which budgets select a class is kept: preemption would break one that was changed, came or went since."""

    def low(name: str, on: str) -> Json:
        made = pod(name, on, priority=0, container={"resources": {"requests": {"cpu": "4"}}})
        return {**made, "metadata": {**made["metadata"], "labels": {"app": name}}}

    def budget(app: str) -> Json:
        spec = {"selector": {"matchLabels": {"app": app}}}
        return {"metadata": {"name": "b", "namespace": "default"}, "spec": spec, "status": {"disruptionsAllowed": 0}}

    budgets = "poddisruptionbudgets.policy"
    state = state_of([node("n1"), node("n2")], [low("one", "n1"), low("two", "n2")])
    scheduler = Scheduler(state)
    wanted = pod("in", priority=1, container={"resources": {"requests": {"cpu": "1"}}})

    def best() -> tuple[str, ...]:
        found = scheduler.preempt(wanted)
        assert found is not None
        return found.best

    assert best() == ("n1", "n2")
    state.set_object(budgets, budget("one"))
    assert best() == ("n2",)
    state.set_object(budgets, budget("two"))
    assert best() == ("n1",)
    state.set_object(budgets, {**budget("two"), "status": {"disruptionsAllowed": 1}})
    assert best() == ("n1", "n2")
    state.set_object(budgets, budget("two"))
    state.remove_object(budgets, "default", "b")
    assert best() == ("n1", "n2")


@pytest.mark.parametrize("compiled", COMPILED)
def test_a_claim_is_read_again_when_it_or_its_volume_changes(compiled: bool) -> None:
    """What a bound claim needs is kept: a pod would be sent to the zone that its volume was in before."""

    def volume(zone: str) -> Json:
        term = {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}
        spec = {
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
            "csi": {"driver": EBS, "volumeHandle": "v"},
        }
        return {"metadata": {"name": "v"}, "spec": spec}

    nodes = [node("n1"), node("n2")]
    for each, zone in zip(nodes, "ab", strict=True):
        each["metadata"]["labels"]["zone"] = zone
    state = state_of(nodes, [], claims=[claim("c", "v")], volumes=[volume("a")])
    scheduler = Scheduler(state, compiled=compiled)
    wanted = pod("in", volumes=[mount("c")])
    assert scheduler.schedule(wanted, Draw(0.0)).node == "n1"
    state.set_object("persistentvolumes", volume("b"))
    assert scheduler.schedule(wanted, Draw(0.0)).node == "n2"
    lost = {**claim("c", "v"), "status": {"phase": "Lost"}}
    state.set_object("persistentvolumeclaims", lost)
    assert scheduler.schedule(wanted, Draw(0.0)).prefilter is not None
    state.remove_object("persistentvolumes", "", "v")
    state.set_object("persistentvolumeclaims", claim("c", "v"))
    assert scheduler.schedule(wanted, Draw(0.0)).node is None
