"""Does the world agree with a stage? Answered from fresh reads of AWS and Kubernetes, not from what was meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from baton.errors import UsageError
from baton.model.cluster import NodeGroup
from baton.model.nodes import IMAGE_LABEL, NODE_GROUP_LABEL, labels, ready
from baton.model.plan import Change, Stage, StageKind
from baton.model.versions import Minor
from baton.ports import AwsReader, KubeReader


@dataclass(frozen=True, slots=True)
class Agreement:
    """`missing` says what is still awaited, one phrase each; nothing missing means the world agrees.

    `settled` is False while EKS still works on something the stage touches, so waiting makes sense.
    """

    missing: tuple[str, ...]
    settled: bool

    @property
    def agreed(self) -> bool:
        return not self.missing


def agreement(stage: Stage, cluster: str, aws: AwsReader, kube: KubeReader) -> Agreement:
    """Compare the world with the end of `stage`. Raises ReadError when the world cannot be read."""
    missing: list[str] = []
    settled = True
    for change in stage.changes:
        if change.kind == "cluster":
            found, calm = _cluster(change, cluster, aws)
        elif change.kind == "addon":
            found, calm = _addon(change, cluster, aws)
        elif stage.kind is StageKind.UPDATE_CONFIG:
            found, calm = _update_config(change, cluster, aws)
        else:
            found, calm = _node_group(change, cluster, aws, kube)
        missing += found
        settled = settled and calm
    return Agreement(tuple(missing), settled)


def _cluster(change: Change, name: str, aws: AwsReader) -> tuple[list[str], bool]:
    cluster = aws.cluster(name)
    if cluster.version != change.to:
        return [f"cluster {name} is at {cluster.version}, not yet {change.to}"], cluster.status == "ACTIVE"
    if cluster.status != "ACTIVE":
        return [f"cluster {name} is {cluster.status}"], False
    return [], True


def _addon(change: Change, cluster: str, aws: AwsReader) -> tuple[list[str], bool]:
    addon = aws.addon(cluster, change.name)
    busy = addon.status in ("UPDATING", "CREATING")
    if addon.version != change.to:
        return [f"add-on {change.name} is at {addon.version}, not yet {change.to}"], not busy
    if addon.status != "ACTIVE":
        return [f"add-on {change.name} is {addon.status}"], not busy
    return [], True


def _update_config(change: Change, cluster: str, aws: AwsReader) -> tuple[list[str], bool]:
    group = aws.node_group(cluster, change.name)
    wanted = {
        k: v for k, v in change.attributes.items() if k in ("max_unavailable", "max_unavailable_percentage") and v
    }
    config = group.update_config
    have = {
        "max_unavailable": str(config.max_unavailable or ""),
        "max_unavailable_percentage": str(config.max_unavailable_percentage or ""),
    }
    missing = [f"{k} of {change.name} is {have[k] or 'unset'}, not yet {v}" for k, v in wanted.items() if have[k] != v]
    return missing, group.status == "ACTIVE"


def _node_group(change: Change, cluster: str, aws: AwsReader, kube: KubeReader) -> tuple[list[str], bool]:
    group = aws.node_group(cluster, change.name)
    if group.status not in ("ACTIVE", "DEGRADED"):
        return [f"node group {change.name} is {group.status}"], False
    missing = [] if group.status == "ACTIVE" else [f"node group {change.name} is DEGRADED"]
    missing += _template(change, group, aws)
    nodes = [n for n in kube.list("nodes") if labels(n).get(NODE_GROUP_LABEL) == change.name]
    missing += _nodes(change, group, nodes)
    return missing, True


def _template(change: Change, group: NodeGroup, aws: AwsReader) -> list[str]:
    image = change.attributes.get("image_id", "")
    if image:
        template = group.launch_template
        found = "" if template is None else aws.launch_template_image(template.id, template.version)
        return [] if found == image else [f"node group {group.name} boots {found or 'no image'}, not yet {image}"]
    wanted = change.attributes.get("version", "")
    if wanted and group.version != wanted:
        return [f"node group {group.name} is at {group.version}, not yet {wanted}"]
    return []


def _nodes(change: Change, group: NodeGroup, nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    missing = []
    wanted = change.attributes.get("kubelet_to", "")
    image = change.attributes.get("image_id", "")
    for node in nodes:
        name = node["metadata"]["name"]
        kubelet = node.get("status", {}).get("nodeInfo", {}).get("kubeletVersion", "")
        if wanted and not same_minor(kubelet, wanted):
            missing.append(f"node {name} runs kubelet {kubelet or '?'}, not {wanted}")
        label = labels(node).get(IMAGE_LABEL, "")
        if image and label and label != image:
            missing.append(f"node {name} still boots {label}")
        if not ready(node):
            missing.append(f"node {name} is not Ready")
        elif node.get("spec", {}).get("unschedulable"):
            missing.append(f"node {name} is cordoned")
    if len(nodes) < group.desired_size:
        missing.append(f"node group {group.name} has {len(nodes)} of {group.desired_size} nodes")
    return missing


def same_minor(version: str, wanted: str) -> bool:
    """Whether two versions name the same Kubernetes minor; False when either cannot be read."""
    try:
        return Minor.parse(version) == Minor.parse(wanted)
    except UsageError:
        return False
