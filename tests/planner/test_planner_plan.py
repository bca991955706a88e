"""Plans as tables: which stages, in which order, and every refusal."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planner_world import custom_group, golden, node, optimised_group, world

from baton.errors import BatonError, ReadError, RefusedError, UsageError
from baton.knowledge.tables import Knowledge
from baton.model.cluster import AddonRelease, Cluster, Snapshot, Unknown, UpdateConfig, VersionInfo
from baton.model.plan import Plan
from baton.model.target import ImageFilter, Target
from baton.planner.plan import make_plan

KNOWLEDGE = Knowledge.load()
FILTER = {"main": ImageFilter("golden-eks-1.34-*", ("self",))}


def plan(snapshot: Snapshot, version: str = "1.35", **target: object) -> Plan:
    return make_plan(snapshot, Target(version, **target), KNOWLEDGE)  # type: ignore[arg-type]


def names(found: Plan) -> list[str]:
    return [s.name for s in found.stages]


def test_one_hop_with_a_golden_image() -> None:
    """The thin thread: control plane, add-ons, nodes, each once and in that order, with versions from and to."""
    found = make_plan(world(), Target("1.35"), KNOWLEDGE, images=FILTER)
    assert names(found) == ["control plane to 1.35", "add-ons for 1.35", "node group main to 1.35"]
    assert [s.ordinal for s in found.stages] == [1, 2, 3]
    assert all(s.reason for s in found.stages)
    moved = [(c.name, c.from_, c.to) for s in found.stages for c in s.changes]
    assert moved == [
        ("demo", "1.34", "1.35"),
        ("vpc-cni", "v1.21.1-eksbuild.7", "v1.22.4-eksbuild.3"),
        ("kube-proxy", "v1.34.0-eksbuild.2", "v1.35.3-eksbuild.29"),
        ("main", golden("1.34").id, golden("1.35").id),
    ]
    group = found.stages[-1].changes[0].attributes
    assert group["image_pattern"] == "golden-eks-1.35-*"
    assert (group["kubelet_from"], group["kubelet_to"]) == ("1.34", "1.35")
    assert group["launch_template_id"] == "lt-1"


def test_the_image_is_found_without_terraform() -> None:
    """Without a filter from Terraform (`--engine aws`) the golden image of the same kind would not be found."""
    found = plan(world())
    assert found.stages[-1].changes[0].to == golden("1.35").id


def test_nodes_roll_once_over_three_versions() -> None:
    """From 1.31 to 1.34 nodes would be rolled three times although kubelets may lag three minors."""
    group = optimised_group(version="1.31")
    found = plan(world("1.31", groups=[group], addons={}), "1.34")
    assert names(found) == [
        "control plane to 1.32",
        "control plane to 1.33",
        "control plane to 1.34",
        "node group main to 1.34",
    ]
    assert "3 versions" in found.stages[-1].reason
    assert any("3 node group rolls instead of 1" in a for a in found.alternatives)


def test_nodes_roll_twice_where_skew_ends() -> None:
    """Kubelets of 1.30 would be left behind a control plane at 1.34."""
    snapshot = world("1.31", groups=[optimised_group(version="1.30")], addons={})
    assert names(plan(snapshot, "1.35")) == [
        "control plane to 1.32",
        "control plane to 1.33",
        "node group main to 1.33",
        "control plane to 1.34",
        "control plane to 1.35",
        "node group main to 1.35",
    ]


def test_nodes_at_every_hop() -> None:
    """`--nodes-every-hop` would be ignored."""
    snapshot = world("1.32", groups=[optimised_group(version="1.32")], addons={})
    found = plan(snapshot, "1.34", nodes_every_hop=True)
    assert names(found)[1] == "node group main to 1.33"
    assert names(found)[3] == "node group main to 1.34"
    assert any("1 node group roll instead of 2" in a for a in found.alternatives)


def test_vpc_cni_moves_one_minor_at_a_time() -> None:
    """EKS refuses `Updating VPC-CNI can only go up or down 1 minor version at a time`."""
    found = plan(world(addons={"vpc-cni": "v1.20.5-eksbuild.1", "kube-proxy": "v1.34.0-eksbuild.2"}))
    rows = [[(c.name, c.to) for c in s.changes] for s in found.stages if s.kind == "addon"]
    assert rows == [
        [("vpc-cni", "v1.21.1-eksbuild.7")],
        [("vpc-cni", "v1.22.4-eksbuild.3"), ("kube-proxy", "v1.35.3-eksbuild.29")],
    ]
    assert names(found)[1] == "add-ons for 1.35 (step 1 of 2)"


def test_an_addon_that_would_not_fit_moves_before_the_control_plane() -> None:
    """Between the control plane and the add-on stage an incompatible add-on would run."""
    releases = (
        AddonRelease("acme", "v2.0.0-eksbuild.1", ("1.34", "1.35"), ("1.35",)),
        AddonRelease("acme", "v1.0.0-eksbuild.1", ("1.33", "1.34"), ("1.34",)),
    )
    found = plan(world(addons={"acme": "v1.0.0-eksbuild.1"}, addon_releases=releases))
    assert names(found)[:2] == ["add-ons that fit 1.34 and 1.35", "control plane to 1.35"]
    assert found.stages[0].changes[0].to == "v2.0.0-eksbuild.1"


def test_live_releases_win_over_the_tables() -> None:
    """The dated table would choose a version that EKS no longer has."""
    releases = (AddonRelease("vpc-cni", "v1.22.9-eksbuild.9", ("1.34", "1.35"), ("1.35",)),)
    found = plan(world(addons={"vpc-cni": "v1.21.1-eksbuild.7"}, addon_releases=releases))
    assert found.stages[1].changes[0].to == "v1.22.9-eksbuild.9"


@pytest.mark.parametrize(
    ("policy", "pins", "wanted"),
    [
        ("default", {}, "v1.13.2-eksbuild.31"),
        ("newest", {}, "v1.14.6-eksbuild.4"),
        ("pinned", {}, None),  # the installed one fits 1.35 and stays
        ("default", {"coredns": "v1.14.3-eksbuild.16"}, "v1.14.3-eksbuild.16"),
    ],
)
def test_addon_policies(policy: str, pins: dict[str, str], wanted: str | None) -> None:
    """Another version would be installed than the one asked for."""
    found = plan(world(addons={"coredns": "v1.13.2-eksbuild.4"}), addon_policy=policy, addon_pins=pins)
    to = [c.to for s in found.stages if s.kind == "addon" for c in s.changes]
    assert to == ([] if wanted is None else [wanted])


def test_an_addon_newer_than_the_default_is_never_downgraded() -> None:
    """Who runs a newer add-on than EKS's default would be taken back."""
    found = plan(world(addons={"coredns": "v1.14.6-eksbuild.4"}))
    assert all(s.kind != "addon" for s in found.stages)


def test_update_config_is_a_stage_of_its_own_and_first() -> None:
    """A max_unavailable introduced with the AMI does not govern that roll."""
    found = plan(
        world(groups=[custom_group(update_config=UpdateConfig(max_unavailable_percentage=33))]),
        update_configs={"*": UpdateConfig(max_unavailable=1)},
    )
    assert found.stages[0].kind == "update-config"
    assert found.stages[0].changes[0].attributes == {"max_unavailable": "1", "strategy": "DEFAULT"}
    assert found.stages[0].changes[0].from_ == "max_unavailable_percentage 33"


def test_groups_roll_one_by_one_smallest_first_unless_bound() -> None:
    """All groups would roll at once, or groups sharing one literal be promised apart."""
    groups = [custom_group("big", size=9), custom_group("tiny", size=1), custom_group("mid", size=3)]
    snapshot = world(groups=groups, addons={})
    assert names(plan(snapshot))[1:] == [f"node group {n} to 1.35" for n in ("tiny", "mid", "big")]
    bound = make_plan(snapshot, Target("1.35"), KNOWLEDGE, together=[("big", "tiny")])
    assert names(bound)[1:] == ["node groups tiny, big to 1.35", "node group mid to 1.35"]


def test_a_half_finished_upgrade_is_finished() -> None:
    """After a control plane that moved alone, the same target would be refused although nodes lag."""
    snapshot = world("1.35", addons={"kube-proxy": "v1.34.0-eksbuild.2"})
    assert names(plan(snapshot)) == ["add-ons for 1.35", "node group main to 1.35"]


REFUSALS = [
    (world(), "1.40", UsageError, "EKS does not offer Kubernetes 1.40", "1.36"),
    (world(), "banana", UsageError, "'banana' is not a Kubernetes version", "MAJOR.MINOR"),
    (world(), "1.33", UsageError, "1.33 is older than the cluster's 1.34", "within 7 days"),
    (world(), "1.31", UsageError, "1.31 is older than the cluster's 1.34", "never takes a control plane back"),
    (
        world(addons={"kube-proxy": "v1.34.6-eksbuild.18"}),
        "1.34",
        UsageError,
        "cluster demo is at 1.34 already, and so are its add-ons and nodes",
        "--to",
    ),
    (
        world(images=[golden("1.34")]),
        "1.35",
        RefusedError,
        "no image like golden-eks-1.34-v20261101",
        "KubernetesVersion=1.35",
    ),
    (
        world("1.28", groups=[], addons={}),
        "1.31",
        UsageError,
        "EKS no longer supports Kubernetes 1.29 since 2026-03-23",
        "it supports",
    ),
    (
        world(groups=[optimised_group(ami_type="AL2_x86_64", version="1.32")], version="1.32", addons={}),
        "1.33",
        RefusedError,
        "AWS makes no Amazon Linux 2 image for Kubernetes 1.33",
        "AL2023",
    ),
    (
        world(groups=[custom_group(update_config=UpdateConfig(max_unavailable=0))]),
        "1.35",
        UsageError,
        "max_unavailable is 0, but EKS takes 1 to 100",
        "one node at a time",
    ),
    (
        world(groups=[custom_group(update_config=UpdateConfig(max_unavailable=101))]),
        "1.35",
        UsageError,
        "max_unavailable is 101",
        "100",
    ),
    (
        world(nodes=[node("old-1", "", "1.31")]),
        "1.35",
        RefusedError,
        r"node old-1 \(self-managed\) runs kubelet 1.31, which may not run under a control plane at 1.35",
        "1.32 or newer",
    ),
    (
        world(nodes=[node("n", kubelet="1.35")]),
        "1.35",
        RefusedError,
        "node n of node group main runs kubelet 1.35, newer than the control plane's 1.34",
        "first",
    ),
    (
        world(unknowns=(Unknown("node_groups", "AccessDenied"),)),
        "1.35",
        ReadError,
        "no plan can be made without the node groups: AccessDenied",
        "read access",
    ),
    (
        world(nodes=[], groups=[custom_group(image=golden("1.34"))], images=[]),
        "1.35",
        ReadError,
        "the kubelet version of node group main is not known",
        "KubernetesVersion",
    ),
]


@pytest.mark.parametrize(("snapshot", "to", "kind", "message", "hint"), REFUSALS, ids=range(len(REFUSALS)))
def test_refusals_say_what_and_what_next(
    snapshot: Snapshot, to: str, kind: type[BatonError], message: str, hint: str
) -> None:
    """A target that cannot be reached safely would be planned, or refused without a way out."""
    with pytest.raises(kind, match=message) as caught:
        plan(snapshot, to)
    assert hint in (caught.value.hint or "")


IMAGE_REFUSALS = [
    ("golden-eks-1.34-*", True, [], "no image matches golden-eks-1.35-\\*", "near it are: golden-eks-1.34"),
    (
        "golden-eks-1.34-*",
        False,
        [golden("1.35"), golden("1.35", "20261110")],
        "2 images match golden-eks-1.35",
        "most_recent",
    ),
    (
        "golden-*",
        True,
        [golden("1.35", "20261001")],
        "takes the newest image, golden-eks-1.34-v20261101",
        "golden-eks-1.35-v20261001",
    ),
    (
        "golden-eks-1.34-*",
        True,
        [golden("1.35", tags={"KubernetesVersion": "1.33"})],
        "is for Kubernetes 1.33 .told by its tag KubernetesVersion., but nodes should move to 1.35",
        "choose an image for 1.35",
    ),
    ("golden-eks-1.34-*", True, [golden("1.35", state="pending")], "no image matches", "build"),
    ("golden-eks-1.34-*", True, [golden("1.35", architecture="arm64")], "built for arm64", "x86_64"),
]


@pytest.mark.parametrize(
    ("pattern", "recent", "extra", "message", "hint"), IMAGE_REFUSALS, ids=range(len(IMAGE_REFUSALS))
)
def test_image_refusals(pattern: str, recent: bool, extra: list[object], message: str, hint: str) -> None:
    """Nodes would be moved to an image that is wrong, ambiguous or not there."""
    snapshot = world(images=[golden("1.34"), *extra])  # type: ignore[list-item]
    with pytest.raises(RefusedError, match=message) as caught:
        make_plan(snapshot, Target("1.35"), KNOWLEDGE, images={"main": ImageFilter(pattern, ("self",), recent)})
    assert hint in (caught.value.hint or "")


def test_the_newest_of_several_images_is_taken_and_told() -> None:
    """`most_recent = true` would choose another image than the plan shows."""
    late = golden("1.35", "20261110")
    snapshot = world(images=[golden("1.34"), late, golden("1.35")])
    found = make_plan(snapshot, Target("1.35"), KNOWLEDGE, images=FILTER)
    assert found.stages[-1].changes[0].to == late.id
    assert found.stages[-1].changes[0].reason == "matches golden-eks-1.35-*, the newest of 2"


def test_an_image_asked_for_by_name_or_id() -> None:
    """`--ami` would be ignored, or a mistyped one pass."""
    snapshot = world()
    by_id = plan(snapshot, images={"main": golden("1.35").id})
    assert by_id.stages[-1].changes[0].to == golden("1.35").id
    with pytest.raises(RefusedError, match="no image matches ami-nothing"):
        plan(snapshot, images={"*": "ami-nothing"})
    with pytest.raises(UsageError, match="there is no node group mian"):
        plan(snapshot, images={"mian": "ami-1"})


def test_support_cost_and_dates_are_noted() -> None:
    """What extended support costs, and the next forced upgrade, would have to be looked up by hand."""
    found = plan(world("1.33", groups=[], addons={}), "1.35")
    text = "\n".join(found.notes)
    assert "1.33 is in extended support (by the dated table), at $438 a month, until 2027-07-29" in text
    assert "1.35 is in standard support until 2027-03-27, 124 days from now" in text
    assert "leaving extended support saves $365 a month" in text


def test_a_mixed_group_counts_from_its_oldest_kubelet() -> None:
    """A half-rolled group would be planned as if all its nodes were new."""
    nodes = [node("a", kubelet="1.31"), node("b", kubelet="1.34")]
    with_old = world("1.34", groups=[optimised_group(version="1.31")], nodes=nodes, addons={})
    assert names(plan(with_old, "1.35"))[0] == "node group main to 1.34"
    assert any("half-rolled: 1 at 1.31, 1 at 1.34" in n for n in plan(with_old, "1.35").notes)


def test_the_digest_follows_facts_and_not_sizes() -> None:
    """A plan would be refused because an autoscaler added a node, or accepted although a version moved."""
    first = plan(world())
    scaled = world(groups=[custom_group(size=5)])
    assert plan(scaled).facts_digest == first.facts_digest
    other = world(addons={"vpc-cni": "v1.21.1-eksbuild.3", "kube-proxy": "v1.34.0-eksbuild.2"})
    assert plan(other).facts_digest != first.facts_digest
    assert plan(replace(world(), taken_at=world().taken_at + 60)).facts_digest == first.facts_digest


def test_groups_that_share_a_literal_roll_at_the_same_points() -> None:
    """Editing the shared AMI filter for the older group would move the newer one unplanned, or back."""
    groups = [optimised_group("old", "1.31", 1), optimised_group("new", "1.33", 5)]
    snapshot = world("1.33", groups=groups, addons={})
    apart = names(plan(snapshot))
    assert apart == [
        "control plane to 1.34",
        "node group old to 1.34",
        "control plane to 1.35",
        "node group old to 1.35",
        "node group new to 1.35",
    ]
    bound = names(make_plan(snapshot, Target("1.35"), KNOWLEDGE, together=[("old", "new")]))
    assert bound == [
        "control plane to 1.34",
        "node groups old, new to 1.34",
        "control plane to 1.35",
        "node groups old, new to 1.35",
    ]


def test_of_bound_groups_the_one_that_is_there_stays_out() -> None:
    """After an interruption between two groups that share a literal, the finished one would be awaited again."""
    groups = [custom_group("done", golden("1.35"), version="1.35"), custom_group("left")]
    snapshot = world("1.35", groups=groups, addons={})
    found = make_plan(snapshot, Target("1.35"), KNOWLEDGE, together=[("done", "left")])
    assert names(found) == ["node group left to 1.35"]


def test_no_image_is_given_to_a_group_on_eks_own() -> None:
    """The image asked for would be ignored, or EKS refuse it half-way through the upgrade."""
    with pytest.raises(UsageError, match="node group main boots EKS's own images"):
        plan(world(groups=[optimised_group()]), images={"main": "ami-1"})
    assert names(plan(world(groups=[optimised_group()]), images={"*": "ami-1"}))[-1] == "node group main to 1.35"


def test_support_is_told_in_figures_too() -> None:
    """Dashboards would have to read dates and dollars out of sentences."""
    found = plan(world("1.31", groups=[], addons={}), "1.34").support
    assert found is not None and found.now is not None and found.after is not None
    assert found.on == "2026-11-23"
    assert (found.now.status, found.now.per_month, found.now.forced_from) == ("extended", 438.0, "2026-11-26")
    assert (found.after.status, found.after.standard_until, found.after.forced_from) == (
        "standard",
        "2026-12-02",
        "2027-12-02",
    )
    assert found.saves_per_month == 365.0


@pytest.mark.parametrize(
    ("version", "to", "policy", "text"),
    [
        (
            "1.34",
            "1.35",
            "EXTENDED",
            "the upgrade spares $365 a month from 2026-12-02 on, when extended support of 1.34",
        ),
        ("1.34", "1.35", "STANDARD", "from then on EKS upgrades it by itself (upgrade policy STANDARD)"),
        ("1.32", "1.33", "EXTENDED", "1.33 is in extended support too: the surcharge of $365 a month goes on"),
        ("1.32", "1.33", "STANDARD", "1.32 is past standard support (by the dated table), upgrade policy STANDARD"),
    ],
)
def test_what_the_upgrade_saves(version: str, to: str, policy: str, text: str) -> None:
    """An upgrade from one extended version to another would be sold as a saving, or one in time as none."""
    snapshot = world(version, groups=[], addons={}, cluster=Cluster("demo", version, "ACTIVE", support_type=policy))
    assert any(text in note for note in plan(snapshot, to).notes)


def test_live_support_wins_and_what_it_leaves_out_is_over() -> None:
    """The dated table would be believed beside DescribeClusterVersions' own answer."""
    live = (
        VersionInfo("1.34", "STANDARD_SUPPORT", "", "2027-01-15", "2028-01-15"),
        VersionInfo("1.35", "STANDARD_SUPPORT", "", "2027-05-15", "2028-05-15"),
    )
    found = plan(world(groups=[], addons={}, versions=live)).support
    assert found is not None and found.now is not None
    assert (found.now.standard_until, found.now.source) == ("2027-01-15", "live")
    with pytest.raises(UsageError, match=r"EKS no longer supports Kubernetes 1\.36"):
        plan(world(groups=[], addons={}, versions=live), "1.36")


def test_that_aws_did_not_tell_its_versions_is_told() -> None:
    """Dates of the table would pass for AWS's own."""
    found = plan(world(unknowns=(Unknown("versions", "AccessDeniedException: no"),)))
    assert found.notes[0].startswith(
        "EKS did not tell its versions (AccessDeniedException: no): support is by the table"
    )


def test_addons_wait_for_nodes_that_they_would_not_fit() -> None:
    """CoreDNS for 1.34 would run beside kubelets of 1.31 although a version is listed for both."""
    snapshot = world("1.31", groups=[optimised_group(version="1.31")], addons={"coredns": "v1.11.4-eksbuild.24"})
    found = plan(snapshot, "1.34")
    assert [(s.name, [c.to for c in s.changes]) for s in found.stages if s.kind == "addon"] == [
        ("add-ons for 1.33", ["v1.12.4-eksbuild.6"]),
        ("add-ons for nodes at 1.34", ["v1.13.2-eksbuild.4"]),
    ]
    assert found.stages[-2].kind == "node-group"


def test_an_addon_without_a_version_for_both_is_told() -> None:
    """Between two stages an add-on would run unsupported, and nobody know."""
    releases = (
        AddonRelease("acme", "v2.0.0-eksbuild.1", ("1.35",), ("1.35",)),
        AddonRelease("acme", "v1.0.0-eksbuild.1", ("1.34",), ("1.34",)),
    )
    found = plan(world(addons={"acme": "v1.0.0-eksbuild.1"}, addon_releases=releases))
    assert any(
        "acme v1.0.0-eksbuild.1 is not listed for Kubernetes 1.35, and no version for both" in n for n in found.notes
    )
    assert "no version is listed for the nodes' 1.34 as well" in found.stages[1].changes[0].reason


def test_other_ways_say_what_they_cost() -> None:
    """An alternative could not be weighed against the plan."""
    found = plan(
        world("1.32", groups=[optimised_group(version="1.32")], addons={"coredns": "v1.12.4-eksbuild.6"}), "1.34"
    )
    assert found.alternatives == (
        "nodes at every hop (--nodes-every-hop): 2 node group rolls instead of 1",
        "the newest add-ons that fit (--addon-policy newest): as many node group rolls and add-on updates; at the end "
        "coredns v1.14.6-eksbuild.4",
        "add-ons as they are while they fit (--addon-policy pinned): 0 add-on updates instead of 1; at the end coredns "
        "as it is",
    )


def test_another_operating_system_is_told() -> None:
    """A golden image on AL2023 after one on AL2 would boot with user data that it does not understand."""
    old = golden("1.34", name="golden-al2-eks-1.34-v20261101")
    new = golden("1.35", name="golden-al2023-eks-1.35-v20261101")
    found = plan(world(groups=[custom_group(image=old)], images=[old, new]), images={"main": new.id})
    assert any(
        note.startswith("node group main goes from Amazon Linux 2 to Amazon Linux 2023: its user data must be nodeadm")
        for note in found.notes
    )
    assert not any("goes from" in note for note in plan(world()).notes)


def test_a_plan_of_a_large_cluster_is_quick() -> None:
    """Nodes would be looked through once more for each group, and a plan of 5,000 nodes take seconds."""
    looked: list[str] = []

    class Nodes(tuple):  # type: ignore[type-arg]
        def __iter__(self) -> object:  # type: ignore[override]
            looked.append("all")
            return super().__iter__()

    few = world(groups=[custom_group(f"g{n}", size=1) for n in range(2)], addons={})
    many = world(groups=[custom_group(f"g{n}", size=1) for n in range(20)], addons={})
    counts = []
    for snapshot in (few, many):
        looked.clear()
        plan(replace(snapshot, objects={"nodes": Nodes(snapshot.objects["nodes"])}))
        counts.append(len(looked))
    assert counts[0] == counts[1]
