"""What the nodes of one group, launch template version and zone have in common, worked out once for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from baton.twin.cloud.catalogue import ImageInfo, allocatable
from baton.twin.cloud.core import Core
from baton.twin.cloud.facts import os_image
from baton.twin.cloud.records import InstanceRecord, TemplateVersion

_EFFECTS = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute", "PREFER_NO_SCHEDULE": "PreferNoSchedule"}


class _Kind(NamedTuple):
    """What nodes of one group, template version, zone, image and instance type have in common."""

    source: tuple[Any, Any]  # what the node group is configured with: labels and taints, by identity
    version: TemplateVersion
    labels: dict[str, Any]  # all but the host name
    taints: tuple[dict[str, str], ...]
    allocatable: Mapping[str, str]
    capacity: Mapping[str, str]
    os_image: str


class Kinds:
    """Describes instances as nodes."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._known: dict[tuple[str, int, str, str, str], _Kind] = {}

    def spec(self, instance: InstanceRecord) -> Any:
        """What it brings when its kubelet registers."""
        kind = self._kind(instance)
        return self._core.kube_factory.node_spec(
            name=instance.node_name,
            instance_id=instance.id,
            zone=instance.zone,
            region=self._core.settings.region,
            instance_type=instance.instance_type,
            image_id=instance.image_id,
            kubelet_version=kind.version.kubelet_version,
            labels=kind.labels,
            taints=kind.taints,
            allocatable=kind.allocatable,
            capacity=kind.capacity,
            os_image=kind.os_image,
            provider_id=f"aws:///{instance.zone}/{instance.id}",
            internal_ip=instance.private_ip,
        )

    def _kind(self, instance: InstanceRecord) -> _Kind:
        """What its node has in common with others: worked out again when the node group is configured anew."""
        api = self._core.node_group(instance.cluster, instance.node_group).api
        version, zone = instance.template_version, instance.zone
        key = (instance.asg, version, zone, instance.image_id, instance.instance_type)
        found = self._known.get(key)
        if found is None or found.source[0] is not api.get("labels") or found.source[1] is not api.get("taints"):
            found = self._known[key] = self._read_kind(instance, api)
        return found

    def _read_kind(self, instance: InstanceRecord, api: dict[str, Any]) -> _Kind:
        core = self._core
        version = core.asgs[instance.asg].version(instance.template_version)
        kind = core.catalogue.instance_type(instance.instance_type) or core.catalogue.instance_type("m5.large")
        assert kind is not None
        capacity, usable = allocatable(kind)
        image = core.catalogue.image(instance.image_id) or ImageInfo(instance.image_id)
        source = version.source_id
        labels = {
            **(api.get("labels") or {}),
            "eks.amazonaws.com/nodegroup": instance.node_group,
            "eks.amazonaws.com/nodegroup-image": instance.image_id,
            "eks.amazonaws.com/capacityType": api.get("capacityType", "ON_DEMAND"),
            **({"eks.amazonaws.com/sourceLaunchTemplateId": source} if source else {}),
            **({"eks.amazonaws.com/sourceLaunchTemplateVersion": version.source_version} if source else {}),
            "kubernetes.io/arch": kind.arch,
            "kubernetes.io/os": "linux",
            "node.kubernetes.io/instance-type": instance.instance_type,
            "topology.kubernetes.io/region": core.settings.region,
            "topology.kubernetes.io/zone": instance.zone,
        }
        taints = tuple(
            {"key": t["key"], "effect": _EFFECTS[t["effect"]], **({"value": t["value"]} if t.get("value") else {})}
            for t in api.get("taints") or ()
        )
        system = os_image(image.name, str(api.get("amiType", "")))
        return _Kind((api.get("labels"), api.get("taints")), version, labels, taints, usable, capacity, system)
