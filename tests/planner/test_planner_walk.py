"""Every intermediate point of every plan obeys skew and compatibility: the plan is walked, step by step."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from planner_world import custom_group, golden, node, optimised_group, world

from baton.errors import BatonError, RefusedError
from baton.knowledge.tables import Knowledge
from baton.model.cluster import AddonRelease, Snapshot, UpdateConfig
from baton.model.plan import Plan, StageKind
from baton.model.target import Target
from baton.planner.plan import make_plan

KNOWLEDGE = Knowledge.load()
OFFERED = range(31, 37)  # in support on the snapshot's day


def minor_of(version: str) -> int:
    return int(version.lstrip("v").split(".")[1])


def number(version: str) -> tuple[int, ...]:
    return tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in version.replace("-", ".").split("."))


class Walk:
    """The cluster as the stages leave it; every rule is looked at after every stage."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.control_plane = minor_of(snapshot.cluster.version)
        self.addons = {a.name: a.version for a in snapshot.addons}
        self.kubelets: dict[str, set[int]] = {}
        for n in snapshot.objects["nodes"]:
            group = n["metadata"]["labels"]["eks.amazonaws.com/nodegroup"]
            self.kubelets.setdefault(group, set()).add(minor_of(n["status"]["nodeInfo"]["kubeletVersion"]))
        self.releases: dict[str, list[AddonRelease]] = {}
        for name in self.addons:
            live = [r for r in snapshot.addon_releases if r.name == name]
            self.releases[name] = live or list(KNOWLEDGE.addon_releases(name))

    def run(self, plan: Plan, policy: str = "default") -> None:
        self.rules("at the start")
        for stage in plan.stages:
            for change in stage.changes:
                if stage.kind is StageKind.CONTROL_PLANE:
                    assert change.from_ == f"1.{self.control_plane}"
                    assert minor_of(change.to) == self.control_plane + 1
                    self.not_left_behind(minor_of(change.to))
                    self.control_plane += 1
                elif stage.kind is StageKind.ADDONS:
                    assert change.from_ == self.addons[change.name]
                    assert number(change.to) > number(change.from_), "an add-on went back"
                    if change.name == "vpc-cni":
                        assert minor_of(change.to) - minor_of(change.from_) <= 1
                    assert self.fits(change.name, change.to, self.control_plane)
                    self.addons[change.name] = change.to
                    if policy != "pinned" and "one minor at a time" not in change.reason:
                        self.beside_nodes(change.name, change.from_, change.to)
                elif stage.kind is StageKind.NODE_GROUP:
                    to = minor_of(change.attributes["kubelet_to"])
                    # While the group rolls, old and new kubelets stand side by side.
                    self.kubelets.setdefault(change.name, set()).add(to)
                    self.rules(f"during {stage.name}")
                    self.kubelets[change.name] = {to}
            self.rules(f"after {stage.name}")

    def fits(self, name: str, version: str, control_plane: int) -> bool:
        return any(r.version == version and f"1.{control_plane}" in r.compatible for r in self.releases[name])

    def beside_nodes(self, name: str, before: str, version: str) -> None:
        """An add-on moves to a version that is not listed for the nodes' kubelets only when none is."""
        needed = {f"1.{self.control_plane}", *(f"1.{min(found)}" for found in self.kubelets.values())}
        if name == "kube-proxy" or any(
            r.version == version and needed <= set(r.compatible) for r in self.releases[name]
        ):
            return
        both = [
            r.version
            for r in self.releases[name]
            if needed <= set(r.compatible) and number(r.version) >= number(before)
        ]
        assert not both, f"{name} {version} could have been {both} beside {needed}"

    def not_left_behind(self, following: int) -> None:
        """An add-on may meet a control plane it does not fit only when no version fits both."""
        for name, version in self.addons.items():
            if name == "kube-proxy" or self.fits(name, version, following):
                continue
            both = [
                r.version
                for r in self.releases[name]
                if {f"1.{self.control_plane}", f"1.{following}"} <= set(r.compatible)
                and number(r.version) > number(version)
            ]
            assert not both, f"{name} {version} could have been {both} before 1.{following}"

    def rules(self, when: str) -> None:
        kubelets = {k for found in self.kubelets.values() for k in found}
        for kubelet in kubelets:
            assert 0 <= self.control_plane - kubelet <= 3, f"kubelet 1.{kubelet} under 1.{self.control_plane} {when}"
        if "kube-proxy" in self.addons:
            proxy = minor_of(self.addons["kube-proxy"])
            assert 0 <= self.control_plane - proxy <= 3, f"kube-proxy 1.{proxy} under 1.{self.control_plane} {when}"
            assert all(abs(proxy - k) <= 3 for k in kubelets), f"kube-proxy 1.{proxy} beside {kubelets} {when}"


@st.composite
def situations(draw: st.DrawFn) -> tuple[Snapshot, Target, set[int]]:
    start = draw(st.integers(30, 36))
    end = draw(st.integers(max(start, 31), 36))
    images = draw(st.sets(st.integers(28, 36)).map(lambda s: s | {end})) if draw(st.booleans()) else set(range(28, 37))
    groups, nodes = [], []
    for index in range(draw(st.integers(0, 3))):
        kubelets = draw(st.lists(st.integers(start - 3, start), min_size=1, max_size=3))
        size = draw(st.integers(1, 9))
        if draw(st.booleans()):
            groups.append(custom_group(f"g{index}", golden(f"1.{min(kubelets)}"), size, version=f"1.{min(kubelets)}"))
        else:
            groups.append(optimised_group(f"g{index}", f"1.{min(kubelets)}", size))
        nodes += [node(f"g{index}-{n}", f"g{index}", f"1.{k}") for n, k in enumerate(kubelets)]
    addons: dict[str, str] = {}
    for name in draw(st.sets(st.sampled_from(["vpc-cni", "kube-proxy", "coredns", "aws-ebs-csi-driver"]))):
        fitting = [r.version for r in KNOWLEDGE.addon_releases(name, f"1.{start}")]
        if fitting:
            addons[name] = draw(st.sampled_from(fitting))
    pool = [golden(f"1.{m}") for m in sorted(images | {min(minor_of(g.version), 36) for g in groups})]
    snapshot = world(f"1.{start}", groups, addons, pool, nodes)
    fields: dict[str, Any] = {
        "nodes_every_hop": draw(st.booleans()),
        "addon_policy": draw(st.sampled_from(["default", "newest", "pinned"])),
    }
    if draw(st.booleans()):
        fields["update_configs"] = {"*": UpdateConfig(max_unavailable=draw(st.integers(1, 4)))}
    return snapshot, Target(f"1.{end}", **fields), images


@settings(max_examples=250, deadline=None)
@given(situations())
def test_every_point_of_every_plan_is_safe(situation: tuple[Snapshot, Target, set[int]]) -> None:
    """On the way a kubelet or kube-proxy would be out of skew, an add-on go back, skip a minor or not fit."""
    snapshot, target, _ = situation
    walk = Walk(snapshot)
    try:
        plan = make_plan(snapshot, target, KNOWLEDGE)
    except BatonError as error:
        assert error.hint or error.where, error.message
        return
    walk.run(plan, target.addon_policy)
    end = minor_of(target.version)
    assert walk.control_plane == end
    assert all(found == {end} for found in walk.kubelets.values())
    assert [s.ordinal for s in plan.stages] == list(range(1, len(plan.stages) + 1))


@settings(max_examples=150, deadline=None)
@given(situations())
def test_a_refusal_for_want_of_a_way_is_right(situation: tuple[Snapshot, Target, set[int]]) -> None:
    """With an image for every version and no odd add-on there is always a way: a refusal would be a wrong one."""
    snapshot, target, images = situation
    if images != set(range(28, 37)) or snapshot.addons:
        return
    try:
        make_plan(snapshot, target, KNOWLEDGE)
    except RefusedError as error:
        raise AssertionError(error.message) from error
    except BatonError:
        return  # not offered, or nothing to do
