"""What Baton does not roll: recognised, put in its place in the plan, and told."""

from __future__ import annotations

from typing import Any

import pytest
from planner_world import node, optimised_group, world

from baton.errors import RefusedError
from baton.knowledge.tables import Knowledge
from baton.model.cluster import Cluster, Snapshot
from baton.model.plan import Plan
from baton.model.target import Target
from baton.planner.plan import make_plan

KNOWLEDGE = Knowledge.load()


def cluster(version: str, *extra: dict[str, Any], objects: dict[str, Any] | None = None, **fields: Any) -> Snapshot:
    """A cluster with one node group, and `extra` nodes outside of it."""
    group = optimised_group(version=version, size=1)
    own = [node("main-0", "main", version)]
    return world(version, [group], {}, nodes=[*own, *extra], objects=objects, **fields)


def plan(snapshot: Snapshot, to: str) -> Plan:
    return make_plan(snapshot, Target(to), KNOWLEDGE)


def by_hand(found: Plan) -> dict[str, tuple[str, ...]]:
    return {s.name: s.by_hand for s in found.stages if s.by_hand}


def workload(kind: str, name: str, image: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {"namespace": "kube-system", "name": name},
        "spec": {"template": {"spec": {"containers": [{"image": image}]}}},
    }


def test_self_managed_nodes_are_rolled_by_hand_at_the_end() -> None:
    """Nodes of an Auto Scaling group of one's own would be forgotten."""
    found = by_hand(plan(cluster("1.33", node("own-1", "", "1.33"), node("own-2", "", "1.33")), "1.35"))
    assert list(found) == ["node group main to 1.35"]
    assert found["node group main to 1.35"][0].startswith(
        "roll the 2 nodes outside managed node groups: an image for 1.35"
    )


def test_fargate_pods_are_restarted_at_the_end() -> None:
    """Pods on Fargate keep their kubelet until somebody restarts their workloads, and which ones would not be known."""
    fargate = node("fargate-1", "", "1.34", **{"eks.amazonaws.com/compute-type": "fargate"})
    pod = {
        "metadata": {
            "namespace": "shop",
            "name": "cart-7d9f-x",
            "ownerReferences": [{"kind": "ReplicaSet", "name": "cart-7d9f", "controller": True}],
        },
        "spec": {"nodeName": "fargate-1"},
    }
    found = plan(cluster("1.34", fargate, objects={"pods": [pod]}, fargate_profiles=("shop",)), "1.35")
    assert by_hand(found)["node group main to 1.35"] == (
        "restart the workloads on Fargate (shop/cart): pods keep an older kubelet until they are replaced",
    )
    assert any("Fargate profiles (shop)" in n for n in found.notes)


@pytest.mark.parametrize(
    ("terms", "text"),
    [
        (None, "where its EC2NodeClass follows the cluster's version (alias @latest), else once you point it at"),
        ([{"alias": "al2023@latest"}], "are replaced by Karpenter from here on, by drift"),
        ([{"alias": "al2023@v20261101"}], "stay: its EC2NodeClass names fixed images; point it at one for 1.35"),
        ([{"tags": {"team": "x"}}], "stay: its EC2NodeClass names fixed images"),
    ],
)
def test_karpenter_nodes_follow_the_control_plane(terms: Any, text: str) -> None:
    """Karpenter's own roll would come as a surprise in the midst of the upgrade, or be waited for in vain."""
    objects: dict[str, Any] = {}
    if terms is not None:
        reference = {"nodeClassRef": {"name": "std"}}
        objects["nodepools.karpenter.sh"] = [
            {"metadata": {"name": "spot"}, "spec": {"template": {"spec": reference}}},
        ]
        objects["ec2nodeclasses.karpenter.k8s.aws"] = [
            {"metadata": {"name": "std"}, "spec": {"amiSelectorTerms": terms}},
        ]
    spot = node("spot-1", "", "1.34", **{"karpenter.sh/nodepool": "spot"})
    found = by_hand(plan(cluster("1.34", spot, objects=objects), "1.35"))
    assert list(found) == ["control plane to 1.35"]
    assert text in found["control plane to 1.35"][0]


def test_karpenter_rolls_at_every_version_unless_pinned() -> None:
    """A pool that follows @latest is replaced three times on a way of three versions, unless somebody knows."""
    objects = {
        "nodepools.karpenter.sh": [
            {"metadata": {"name": "spot"}, "spec": {"template": {"spec": {"nodeClassRef": {"name": "std"}}}}}
        ],
        "ec2nodeclasses.karpenter.k8s.aws": [
            {"metadata": {"name": "std"}, "spec": {"amiSelectorTerms": [{"alias": "al2023@latest"}]}}
        ],
    }
    spot = node("spot-1", "", "1.33", **{"karpenter.sh/nodepool": "spot"})
    found = plan(cluster("1.33", spot, objects=objects), "1.35")
    assert list(by_hand(found)) == ["control plane to 1.34", "control plane to 1.35"]
    assert any("its nodes are replaced at each of the 2 versions" in n for n in found.notes)


def test_auto_mode_follows_each_control_plane_stage() -> None:
    """Auto Mode's own roll starts with the control plane, not after Baton's last stage."""
    auto = Cluster("demo", "1.33", "ACTIVE", auto_mode=True)
    found = by_hand(plan(cluster("1.33", cluster=auto), "1.35"))
    assert list(found) == ["control plane to 1.34", "control plane to 1.35"]
    assert all("EKS replaces its Auto Mode nodes by itself" in text for texts in found.values() for text in texts)


def test_hybrid_nodes_are_for_nodeadm() -> None:
    """Hybrid nodes would be left behind without a word on how they are upgraded."""
    rack = node("rack-1", "", "1.34", **{"eks.amazonaws.com/compute-type": "hybrid"})
    found = by_hand(plan(cluster("1.34", rack), "1.35"))
    assert found["node group main to 1.35"][0].startswith("upgrade the 1 node that is hybrid: `nodeadm upgrade 1.35`")


def test_self_managed_core_addons_are_placed() -> None:
    """kube-proxy of one's own would fall out of skew half-way; CoreDNS and the CNI be forgotten."""
    objects = {
        "daemonsets.apps": [
            workload("DaemonSet", "kube-proxy", "eks/kube-proxy:v1.30.3-minimal-eksbuild.5"),
            workload("DaemonSet", "aws-node", "amazon-k8s-cni:v1.19.0"),
        ],
        "deployments.apps": [workload("Deployment", "coredns", "eks/coredns:v1.11.4")],
    }
    found = by_hand(plan(cluster("1.31", objects=objects), "1.34"))
    assert found["control plane to 1.33"] == (
        "update self-managed kube-proxy (1.30) to 1.33 now: 1.34 does not take it any more",
    )
    assert [t.split(" (")[0] for t in found["node group main to 1.34"]] == [
        "update self-managed vpc-cni",
        "update self-managed kube-proxy",
        "update self-managed coredns",
    ]


@pytest.mark.parametrize(
    ("labels", "kubelet", "to", "hint"),
    [
        ({}, "1.31", "1.35", "upgrade in two parts: --to 1.34 first; then Baton rolls managed node groups only: bring"),
        ({}, "1.30", "1.34", "bring it to 1.31 or newer"),
        ({"karpenter.sh/nodepool": "spot"}, "1.30", "1.34", "let Karpenter replace it by a node at 1.31 or newer"),
        ({"eks.amazonaws.com/compute-type": "fargate"}, "1.30", "1.34", "restart its pod"),
        ({"eks.amazonaws.com/compute-type": "hybrid"}, "1.30", "1.34", "bring it to 1.31 or newer with nodeadm"),
    ],
)
def test_nodes_that_would_not_outlast_the_path(labels: dict[str, str], kubelet: str, to: str, hint: str) -> None:
    """The control plane would leave nodes behind that nobody rolls; or the way out named be none."""
    version = "1.31" if to == "1.35" else "1.32"
    with pytest.raises(
        RefusedError, match=f"runs kubelet {kubelet}, which may not run under a control plane"
    ) as caught:
        plan(cluster(version, node("odd-1", "", kubelet, **labels)), to)
    assert hint in (caught.value.hint or "")
