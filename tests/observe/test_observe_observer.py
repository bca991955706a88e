"""The observer: what a report says must be what the watch showed, counted once, and after an interruption too."""

from __future__ import annotations

from typing import Any

from baton.model.cluster import NodeGroup, UpdateConfig
from baton.model.events import Event, WatchEvent
from baton.observe.observer import Observer

T0 = 1_800_000_000.0
OLD, NEW = "ami-0old", "ami-0new"


def group(desired: int = 3) -> NodeGroup:
    return NodeGroup(
        cluster="demo",
        name="main",
        status="ACTIVE",
        version="1.34",
        release_version="",
        ami_type="CUSTOM",
        desired_size=desired,
        min_size=desired,
        max_size=desired * 2,
        update_config=UpdateConfig(1),
    )


def node(
    name: str, image: str = OLD, *, ready: bool = True, cordoned: bool = False, created: float = T0
) -> dict[str, Any]:
    from datetime import UTC, datetime

    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "creationTimestamp": datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "labels": {
                "eks.amazonaws.com/nodegroup": "main",
                "eks.amazonaws.com/nodegroup-image": image,
                "topology.kubernetes.io/zone": "us-east-1a",
            },
        },
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {
            "allocatable": {"cpu": "2", "memory": "8Gi"},
            "nodeInfo": {"kubeletVersion": "v1.34.2" if image == OLD else "v1.35.0"},
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def pod(name: str, on: str, *, ready: bool = True, leaving: bool = False, evicted: bool = True) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "name": name,
        "namespace": "shop",
        "uid": f"uid-{name}",
        "labels": {"app": "web"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": "web-1", "uid": "rs-1", "controller": True}],
    }
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    if leaving:
        meta["deletionTimestamp"] = "2027-01-15T08:00:30Z"
        meta["deletionGracePeriodSeconds"] = 30
        if evicted:
            conditions.append({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"})
    return {
        "metadata": meta,
        "spec": {"nodeName": on, "containers": [{"resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}]},
        "status": {"phase": "Running", "conditions": conditions},
    }


def budget(healthy: int, desired: int) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "shop", "uid": "pdb-1"},
        "spec": {"minAvailable": desired, "selector": {"matchLabels": {"app": "web"}}},
        "status": {"currentHealthy": healthy, "desiredHealthy": desired, "disruptionsAllowed": healthy - desired},
    }


def added(resource: str, *objects: dict[str, Any]) -> list[WatchEvent]:
    return [WatchEvent("ADDED", resource, o) for o in objects]


def changed(resource: str, obj: dict[str, Any], at: float = 0.0) -> WatchEvent:
    return WatchEvent("MODIFIED", resource, obj, at)


def gone(resource: str, obj: dict[str, Any], at: float = 0.0) -> WatchEvent:
    return WatchEvent("DELETED", resource, obj, at)


def watching(*more: WatchEvent) -> Observer:
    observer = Observer([group()])
    observer.feed([*added("nodes", node("a"), node("b"), node("c")), *more], T0)
    return observer


def test_a_roll_of_one_node_is_counted() -> None:
    """Nodes replaced, the lowest number ready and the most away are what a user signs off."""
    observer = watching()
    observer.node_groups([group()], T0 + 1)
    observer.note(Event(T0 + 2, "update.inprogress", "node-group/main", "aws", {}))
    observer.feed(added("nodes", node("d", NEW, ready=False, created=T0 + 10)), T0 + 10)
    observer.feed([changed("nodes", node("d", NEW, created=T0 + 10))], T0 + 40)
    observer.feed([changed("nodes", node("a", cordoned=True))], T0 + 50)
    observer.feed([gone("nodes", node("a", cordoned=True))], T0 + 90)
    found = observer.view(T0 + 100).group("main")
    assert found is not None
    assert (found.replaced, found.min_ready, found.peak_nodes, found.max_unavailable_observed) == (1, 3, 4, 0)
    assert (found.old, found.new, found.image_before) == (2, 1, OLD)
    kinds = [e.kind for e in observer.timeline if e.kind.startswith("node.")]
    assert kinds == ["node.seen"] * 3 + ["node.added", "node.ready", "node.cordoned", "node.removed", "node.replaced"]


def test_a_node_that_is_lost_lowers_the_minimum() -> None:
    """A dip below N-1 that nobody planned must show, however short."""
    observer = watching()
    observer.feed(
        [changed("nodes", node("a", ready=False), T0 + 5), changed("nodes", node("b", ready=False), T0 + 6)], T0 + 20
    )
    observer.feed([changed("nodes", node("a")), changed("nodes", node("b"))], T0 + 30)
    found = observer.view(T0 + 40).group("main")
    assert found is not None and (found.min_ready, found.ready, found.max_unavailable_observed) == (1, 3, 2)


def test_an_answer_of_aws_before_the_first_look_counts_no_nodes() -> None:
    """Zero nodes before the watch has listed any is no dip: it would fail every run."""
    observer = Observer([group()])
    observer.node_groups([group()], T0)
    observer.feed(added("nodes", node("a"), node("b"), node("c")), T0 + 1)
    found = observer.view(T0 + 2).group("main")
    assert found is not None and found.min_ready == 3
    resumed = Observer([group()])
    resumed.resume(observer.timeline)
    resumed.feed(added("nodes", node("a"), node("b"), node("c")), T0 + 5)
    found = resumed.view(T0 + 6).group("main")
    assert found is not None and found.min_ready == 3


def test_evictions_are_counted_once_and_repeats_are_told() -> None:
    """A pod that is moved twice is what users feel most."""
    observer = watching(*added("pods", pod("web-1", "a"), pod("web-2", "b")))
    observer.feed([changed("nodes", node("a", cordoned=True))], T0 + 1)
    observer.feed([changed("pods", pod("web-1", "a", leaving=True))], T0 + 2)
    observer.feed([changed("pods", pod("web-1", "a", leaving=True, ready=False))], T0 + 3)
    observer.feed([gone("pods", pod("web-1", "a", leaving=True, ready=False))], T0 + 10)
    observer.feed(added("pods", pod("web-3", "b")), T0 + 11)
    assert observer.view(T0 + 12).pods.evictions == 1
    assert observer.view(T0 + 12).pods.repeat == 0
    observer.feed([changed("nodes", node("b", cordoned=True))], T0 + 20)
    observer.feed([changed("pods", pod("web-3", "b", leaving=True))], T0 + 21)
    observer.feed([gone("pods", pod("web-3", "b", leaving=True))], T0 + 30)
    pods = observer.view(T0 + 31).pods
    assert (pods.evictions, pods.repeat) == (2, 1)


def test_a_budget_that_holds_a_drain_is_named() -> None:
    """The answer to `what is it waiting for` is the pod, its budget, its node and what would clear it."""
    observer = watching(
        *added("poddisruptionbudgets.policy", budget(2, 2)), *added("pods", pod("web-1", "a"), pod("web-2", "b"))
    )
    observer.feed([changed("nodes", node("a", cordoned=True))], T0 + 10)
    for second in range(20, 200, 20):
        observer.feed([], T0 + second)
    blockers = [b for b in observer.view(T0 + 200).blockers if b.kind == "pdb"]
    assert [(b.subject, b.pdb, b.node) for b in blockers] == [("shop/web-1", "shop/web", "a")]
    assert "replicas" in blockers[0].hint
    observer.feed([*added("pods", pod("web-3", "c")), changed("poddisruptionbudgets.policy", budget(3, 2))], T0 + 210)
    observer.feed([], T0 + 240)
    view = observer.view(T0 + 240)
    assert not [b for b in view.blockers if b.kind == "pdb"]
    assert any(b.kind == "pdb" and b.until is not None for b in view.past_blockers)


def test_what_went_while_nobody_watched_is_told() -> None:
    """After a kill the report must count the nodes that were replaced meanwhile, and say that nobody watched."""
    first = watching()
    again = Observer([group()])
    again.resume(first.timeline)
    again.feed(added("nodes", node("c"), node("d", NEW, created=T0 + 100), node("e", NEW, created=T0 + 200)), T0 + 600)
    found = again.view(T0 + 601).group("main")
    assert found is not None
    assert (found.replaced, found.old, found.new, found.image_before) == (2, 1, 2, OLD)
    assert again.view(T0 + 601).unwatched == ((T0, T0 + 600),)
    removed = [e for e in again.timeline if e.kind == "node.removed"]
    assert [e.subject for e in removed] == ["a", "b"] and all(e.data["unwatched"] for e in removed)


def test_the_same_events_give_the_same_timeline() -> None:
    """A report that differs from run to run over the same facts proves nothing."""

    def run() -> list[Event]:
        observer = watching(*added("pods", pod("web-1", "a")))
        observer.feed(
            [changed("nodes", node("a", cordoned=True)), changed("pods", pod("web-1", "a", leaving=True))], T0 + 5
        )
        observer.feed([gone("pods", pod("web-1", "a", leaving=True)), gone("nodes", node("a"))], T0 + 50)
        return observer.timeline

    assert run() == run()
