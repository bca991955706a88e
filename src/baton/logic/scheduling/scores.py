"""Scores of the default profile: 0-100 per plugin after normalisation, times the plugin's weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from baton.logic.scheduling import interpod, matching, spread
from baton.logic.scheduling.infos import NodeInfo, PodInfo
from baton.logic.scheduling.podclass import PodClass
from baton.logic.scheduling.requests import reports_resources, sum_requests, to_resources
from baton.logic.scheduling.state import CPU, MEMORY, NONZERO_CPU, NONZERO_MEMORY, ClusterState

MEBIBYTE = 1024 * 1024
IMAGE_FLOOR, IMAGE_CEILING = 23 * MEBIBYTE, 1000 * MEBIBYTE
WEIGHTS = {
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "NodeResourcesFit": 1,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "NodeResourcesBalancedAllocation": 1,
    "ImageLocality": 1,
}

Scorer = Callable[[ClusterState, PodInfo, Sequence[NodeInfo]], "list[int] | None"]


def scale(raw: Sequence[int], *, reverse: bool) -> list[int]:
    """Stretch to 0-100 by the highest score."""
    highest = max(raw, default=0)
    if highest == 0:
        return [100 if reverse else score for score in raw]
    return [100 - 100 * score // highest if reverse else 100 * score // highest for score in raw]


def taint_scores(state: ClusterState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int] | None:
    """Fewer untolerated PreferNoSchedule taints, more points."""
    return scale([matching.count_untolerated_prefer(n.taints, pod.cls.tolerations) for n in nodes], reverse=True)


def preferred_weight(cls: PodClass, node: NodeInfo) -> int:
    """Sum of the weights of the preferred node affinity terms that select the node."""
    fields = {"metadata.name": node.name}
    return sum(w for w, term in cls.preferred_nodes if matching.node_terms_match((term,), node.labels, fields))


def node_affinity_scores(state: ClusterState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int] | None:
    """Preferred node affinity."""
    if not pod.cls.has_preferred_nodes:
        return None
    return scale([preferred_weight(pod.cls, node) for node in nodes], reverse=False)


def least_allocated(cpu: tuple[int, int], memory: tuple[int, int]) -> int:
    """Mean of the free shares, from (requested, allocatable) of cpu and memory; resources a node lacks are left out."""
    total = weights = 0
    for requested, capacity in (cpu, memory):
        if capacity == 0:
            continue
        weights += 1
        if requested <= capacity:
            total += (capacity - requested) * 100 // capacity
    return total // weights if weights else 0


def balanced(cpu: tuple[int, int], memory: tuple[int, int]) -> int:
    """How alike the used shares of cpu and memory are, from (requested, allocatable)."""
    shares = [min(1.0, requested / capacity) for requested, capacity in (cpu, memory) if capacity != 0]
    deviation = abs((shares[0] - shares[1]) / 2) if len(shares) == 2 else 0.0
    return int((1 - deviation) * 100.0)


def asked(pod: PodInfo) -> tuple[int, int, int, int]:
    """(cpu, memory) as requested, then with defaults; a waiting pod's status may report a resize."""
    status = pod.pod.get("status")
    if status and reports_resources(status):
        spec = pod.pod["spec"]
        plain = to_resources(sum_requests(spec, status))
        return plain.cpu, plain.memory, *pod.cls.scoring
    return pod.cls.fit.cpu, pod.cls.fit.memory, *pod.cls.scoring


def fit_scores(state: ClusterState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int] | None:
    """Least allocated, counting defaults for containers that ask nothing."""
    _, _, cpu, memory = asked(pod)
    result = []
    for node in nodes:
        used = state.used[node.slot]
        taken = int(used[NONZERO_CPU]) + cpu, int(used[NONZERO_MEMORY]) + memory
        result.append(least_allocated((taken[0], node.allocatable.cpu), (taken[1], node.allocatable.memory)))
    return result


def balanced_scores(state: ClusterState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int] | None:
    """Balanced allocation; a pod that asks for neither cpu nor memory is not scored."""
    cpu, memory, _, _ = asked(pod)
    if cpu == 0 and memory == 0:
        return None
    result = []
    for node in nodes:
        used = state.used[node.slot]
        taken = int(used[CPU]) + cpu, int(used[MEMORY]) + memory
        result.append(balanced((taken[0], node.allocatable.cpu), (taken[1], node.allocatable.memory)))
    return result


def image_sum(state: ClusterState, images: Sequence[str], node: NodeInfo) -> int:
    """Sizes of the pod's images that the node holds, each scaled by the share of nodes that hold it."""
    total = 0
    for image in images:
        holders = state.image_nodes.get(image)
        if holders is not None and node.slot in holders:
            total += int(state.image_sizes[image] * (len(holders) / len(state.nodes)))
    return total


def image_points(total: int, containers: int) -> int:
    """A sum of scaled image sizes -> 0-100."""
    ceiling = IMAGE_CEILING * containers
    return 100 * (min(max(total, IMAGE_FLOOR), ceiling) - IMAGE_FLOOR) // (ceiling - IMAGE_FLOOR)


def image_scores(state: ClusterState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int] | None:
    """Images already on the node."""
    images = pod.cls.images
    return [image_points(image_sum(state, images, node), len(images)) if images else 0 for node in nodes]


SCORERS: tuple[tuple[str, Scorer], ...] = (
    ("TaintToleration", taint_scores),
    ("NodeAffinity", node_affinity_scores),
    ("NodeResourcesFit", fit_scores),
    ("PodTopologySpread", spread.spread_scores),
    ("InterPodAffinity", interpod.affinity_scores),
    ("NodeResourcesBalancedAllocation", balanced_scores),
    ("ImageLocality", image_scores),
)


def score(state: ClusterState, pod: PodInfo, feasible: Sequence[NodeInfo]) -> dict[str, list[int]]:
    """Plugin -> weighted scores in the order of `feasible`; plugins with nothing to say are left out."""
    result = {}
    for name, scorer in SCORERS:
        points = scorer(state, pod, feasible)
        if points is not None:
            result[name] = [WEIGHTS[name] * p for p in points]
    return result
