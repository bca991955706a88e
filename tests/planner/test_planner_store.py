"""The plan as a file, and whether the world has moved since."""

from __future__ import annotations

import contextlib
import functools
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planner_world import custom_group, golden, node, world

from baton.errors import ReadError
from baton.knowledge.tables import Knowledge
from baton.model.cluster import Addon, Cluster, UpdateConfig
from baton.model.plan import Edit, Plan
from baton.model.target import ImageFilter, Target
from baton.planner.plan import make_plan
from baton.planner.store import moved, plan_from_json, plan_to_json

KNOWLEDGE = Knowledge.load()


@functools.cache
def plan() -> Plan:
    return make_plan(world(), Target("1.35", update_configs={"*": UpdateConfig(max_unavailable=2)}), KNOWLEDGE)


def test_a_plan_survives_its_file() -> None:
    """`baton apply` would conduct another plan than the one that was reviewed."""
    first = plan()
    edit = Edit("main.tf", 10, 14, "1.34", "1.35", 3, "the control plane")
    full = replace(
        first,
        stages=(replace(first.stages[0], edits=(edit,), diff="-1.34\n+1.35\n", addresses=("a.b",), by_hand=("c",)),),
    )
    assert plan_from_json(json.loads(json.dumps(plan_to_json(first)))) == first
    assert plan_from_json(json.loads(json.dumps(plan_to_json(full)))) == full


BROKEN = [
    ([], "a plan is a JSON object"),
    ({"schema": 2}, "the plan has schema 2, this Baton reads 1"),
    ({"schema": 1}, "the plan is not complete: 'cluster'"),
    ({"cluster": 7}, "cluster is 7, not a text"),
    ({"stages": {}}, "stages is {}, not a list"),
    ({"stages": [{"ordinal": 1, "kind": "reboot"}]}, "'reboot' is not a valid StageKind"),
    ({"facts": {"cluster.version": "1.33"}}, "the plan's facts do not match their digest"),
    ({"madeAt": "soon"}, "could not convert string to float"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_plan_file_is_refused(change: Any, message: str) -> None:
    """A truncated, older or edited plan file would be conducted, or end in a traceback."""
    data = {**plan_to_json(plan()), **change} if change and "schema" not in change else change
    with pytest.raises(ReadError, match=message.replace("{", "\\{")) as caught:
        plan_from_json(data, "plan.json")
    assert caught.value.where == "plan.json"
    assert caught.value.hint


def test_nothing_has_moved() -> None:
    """A plan would be refused although the world is as it was."""
    assert moved(plan(), world()) == ()
    assert moved(plan(), world(groups=[custom_group(size=4)])) == ()  # an autoscaler's business


MOVED = [
    ({"cluster": Cluster("demo", "1.36", "ACTIVE")}, ("cluster.version was 1.34, is 1.36",)),
    (
        {
            "addons": (
                Addon("vpc-cni", "v1.20.5-eksbuild.1", "ACTIVE"),
                Addon("kube-proxy", "v1.34.0-eksbuild.2", "ACTIVE"),
            )
        },
        ("addon/vpc-cni.version was v1.21.1-eksbuild.7, is v1.20.5-eksbuild.1",),
    ),
    (
        {"addons": (Addon("vpc-cni", "v1.21.1-eksbuild.7", "ACTIVE"),)},
        ("addon/kube-proxy.version was v1.34.0-eksbuild.2, is gone",),
    ),
    (
        {"node_groups": (custom_group(), custom_group("new", size=0))},
        (
            "node-group/new.ami_type was not there, is CUSTOM",
            f"node-group/new.image was not there, is {golden('1.34').id}",
            "node-group/new.pacing was not there, is max_unavailable 1",
        ),
    ),
    (
        {"node_groups": (custom_group(image=golden("1.34", "20261120")),)},
        (f"node-group/main.image was {golden('1.34').id}, is {golden('1.34', '20261120').id}",),
    ),
    (
        {"node_groups": (custom_group(update_config=UpdateConfig(max_unavailable=3)),)},
        ("node-group/main.pacing was max_unavailable 1, is max_unavailable 3",),
    ),
]


@pytest.mark.parametrize(("change", "lines"), MOVED, ids=range(len(MOVED)))
def test_what_moved_is_told(change: dict[str, Any], lines: tuple[str, ...]) -> None:
    """A plan made for another world would be conducted, or refused without saying why."""
    assert moved(plan(), replace(world(), **change)) == lines


def test_what_the_plan_itself_brought_about_is_no_difference() -> None:
    """`baton apply` after an interruption would refuse its own half-done work."""
    made = plan()
    addons = (Addon("vpc-cni", "v1.22.4-eksbuild.3", "ACTIVE"), Addon("kube-proxy", "v1.35.3-eksbuild.29", "ACTIVE"))
    half = replace(
        world(nodes=[node("a"), node("b", kubelet="1.35")]),
        cluster=Cluster("demo", "1.35", "ACTIVE"),
        addons=addons,
        node_groups=(custom_group(image=golden("1.35"), update_config=UpdateConfig(max_unavailable=2)),),
    )
    assert moved(made, half) == ()
    odd = replace(half, objects={"nodes": (node("a"), node("b", kubelet="1.33"))})
    assert moved(made, odd) == ("node-group/main.kubelets was 1.34, is 1.33, 1.34",)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_plan_file_ends_in_a_traceback(data: st.DataObject) -> None:
    """A file that only looks like a plan would crash instead of being refused."""
    made: Any = plan_to_json(plan())
    junk = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    )
    place = made
    for _ in range(data.draw(st.integers(0, 4))):
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys)) if keys else None
        if key is None or not isinstance(place[key], dict | list):
            break
        place = place[key]
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    if keys:
        place[data.draw(st.sampled_from(keys))] = data.draw(junk)
    with contextlib.suppress(ReadError):
        assert isinstance(plan_from_json(made), Plan)


def test_a_newer_image_is_a_moved_world() -> None:
    """Terraform's filter would take the image built since, and nodes move to one that nobody reviewed."""
    kept = make_plan(world(), Target("1.35", images={"main": "golden-eks-1.35-*"}), KNOWLEDGE)
    newer = world(images=[golden("1.34"), golden("1.35"), golden("1.35", "20261115")])
    assert moved(kept, newer) == (
        "golden-eks-1.35-* of node group main found golden-eks-1.35-v20261101, finds golden-eks-1.35-v20261115 now",
    )
    building = replace(golden("1.35", "20261115"), state="pending")
    assert moved(kept, world(images=[golden("1.34"), golden("1.35"), building])) == ()


def test_an_image_that_is_gone_is_a_moved_world() -> None:
    """Nodes would be drained for an image that can no longer be launched."""
    kept = plan()
    gone = "image golden-eks-1.35-v20261101 (ami-1351101) of node group main was available, is gone"
    assert moved(kept, world(images=[golden("1.34")])) == (gone,)
    failed = replace(golden("1.35"), state="deregistered")
    assert moved(kept, world(images=[golden("1.34"), failed]))[0].endswith("is deregistered")


def test_a_group_that_has_moved_needs_its_image_no_more() -> None:
    """A plan half carried out would be refused because a newer image was built meanwhile."""
    kept = make_plan(world(), Target("1.35", images={"main": "golden-eks-1.35-*"}), KNOWLEDGE)
    after = world(
        "1.35",
        [custom_group(image=golden("1.35"), version="1.35")],
        images=[golden("1.35"), golden("1.35", "20261115")],
    )
    assert not [line for line in moved(kept, after) if "finds" in line]


def test_a_newer_image_that_the_filters_leave_out_is_no_move() -> None:
    """A build of another channel would stop a plan that it does not concern."""
    stable = replace(golden("1.35"), tags={"Channel": "stable", "KubernetesVersion": "1.35"})
    filters = {"main": ImageFilter("golden-eks-1.34-*", ("self",), also={"tag:Channel": ("stable",)})}
    kept = make_plan(world(images=[golden("1.34"), stable]), Target("1.35"), KNOWLEDGE, images=filters)
    beta = replace(golden("1.35", "20261115"), tags={"Channel": "beta"})
    assert moved(kept, world(images=[golden("1.34"), stable, beta])) == ()
    newer = replace(beta, tags={"Channel": "stable"})
    assert "finds golden-eks-1.35-v20261115 now" in moved(kept, world(images=[golden("1.34"), stable, newer]))[0]
