"""The twin's view of EC2 and IAM, read from moto: subnets, images, launch templates, security groups, roles.

Also EKS's own copies: launch templates of node groups appear in EC2, the cluster's security group goes with it.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from baton.emulator.moto_side import MotoSide
from baton.twin.cloud.catalogue import (
    ImageInfo,
    InstanceType,
    LaunchTemplateVersion,
    SubnetInfo,
    known_instance_type,
)
from baton.twin.cloud.records import AsgRecord

_GROUP_TEXT = "EKS created security group applied to ENI that is attached to EKS Control Plane master nodes"


class MotoCatalogue:
    """A CloudCatalogue over moto."""

    def __init__(self, moto: MotoSide) -> None:
        self._moto = moto
        self._types: dict[str, InstanceType | None] = {}

    def subnet(self, subnet_id: str) -> SubnetInfo | None:
        with self._moto.entered():
            for zone_subnets in self._moto.ec2().subnets.values():
                subnet = zone_subnets.get(subnet_id)
                if subnet is not None:
                    size = ipaddress.ip_network(subnet.cidr_block).num_addresses - 5
                    return SubnetInfo(subnet_id, subnet.availability_zone, subnet.vpc_id, subnet.cidr_block, size)
        return None

    def image(self, image_id: str) -> ImageInfo | None:
        with self._moto.entered():
            ami = self._moto.ec2().amis.get(image_id)
            if ami is None:
                return None
            tags = {t["key"]: t["value"] for t in ami.get_tags()}
            return ImageInfo(image_id, ami.name or "", ami.description or "", tags, ami.architecture or "x86_64")

    def launch_template(self, id_or_name: str, version: str) -> LaunchTemplateVersion | None:
        with self._moto.entered():
            backend = self._moto.ec2()
            template_id = backend.launch_template_name_to_ids.get(id_or_name, id_or_name)
            template = backend.launch_templates.get(template_id)
            if template is None:
                return None
            wanted = version or "$Default"
            numbers = {str(v.number) for v in template.versions}
            if wanted not in ("$Default", "$Latest") and wanted not in numbers:
                return None
            found = template.get_version(wanted)
            data = found.data
            return LaunchTemplateVersion(
                template.id,
                template.name,
                found.number,
                data.get("ImageId") or "",
                data.get("InstanceType") or "",
                str(data.get("UserData") or ""),
                _instance_tags(data),
            )

    def instance_type(self, name: str) -> InstanceType | None:
        if name not in self._types:
            self._types[name] = known_instance_type(name) or self._from_moto(name)
        return self._types[name]

    def _from_moto(self, name: str) -> InstanceType | None:
        from moto.ec2.models.instance_types import INSTANCE_TYPES

        raw = INSTANCE_TYPES.get(name)
        if raw is None:
            return None
        network = raw.get("NetworkInfo", {})
        pods = network.get("MaximumNetworkInterfaces", 3) * (network.get("Ipv4AddressesPerInterface", 10) - 1) + 2
        arm = "arm64" in raw.get("ProcessorInfo", {}).get("SupportedArchitectures", ())
        memory = raw["MemoryInfo"]["SizeInMiB"] * 1024 * 1024
        return InstanceType(name, raw["VCpuInfo"]["DefaultVCpus"], memory, pods, "arm64" if arm else "amd64")

    def role_exists(self, arn: str) -> bool:
        with self._moto.entered():
            return any(role.arn == arn for role in self._moto.iam().roles.values())

    def security_group_exists(self, group_id: str) -> bool:
        with self._moto.entered():
            return self._moto.ec2().get_security_group_from_id(group_id) is not None

    def create_security_group(self, vpc_id: str, name: str) -> str:
        with self._moto.entered():
            cluster = name.removeprefix("eks-cluster-sg-").rpartition("-")[0]
            tags = {
                "Name": name,
                f"kubernetes.io/cluster/{cluster}": "owned",
                "aws:eks:cluster-name": cluster,
            }
            group = self._moto.ec2().create_security_group(name, _GROUP_TEXT, vpc_id=vpc_id, force=True)
            group.add_tags(tags)
            return str(group.id)

    # --- what EKS puts into EC2 -------------------------------------------------------------------------------

    def changed(self, kind: str, record: Any) -> None:
        """A CloudTwin.on_change listener."""
        if kind == "launch-template":
            self._copy_template(record)
        elif kind == "asg-deleted":
            with self._moto.entered():
                backend = self._moto.ec2()
                backend.launch_templates.pop(record.template_id, None)
                backend.launch_template_name_to_ids.pop(record.template_name, None)
        elif kind == "cluster-deleted":
            self._drop_security_groups(str(record))

    def _copy_template(self, group: AsgRecord) -> None:
        """EKS's own launch template of a node group, with all its versions."""
        from moto.ec2.models.launch_templates import LaunchTemplate

        with self._moto.entered():
            backend = self._moto.ec2()
            template = backend.launch_templates.get(group.template_id)
            for version in group.versions[len(template.versions) if template else 0 :]:
                data = {"ImageId": version.image_id, "InstanceType": version.instance_type}
                tags = {"eks:cluster-name": group.cluster, "eks:nodegroup-name": group.node_group}
                if template is None:
                    template = LaunchTemplate(backend, group.template_name, data, "", {})
                    template.id = group.template_id
                    template.add_tags(tags)
                    template.tags = template.get_tags()
                    backend.launch_templates[template.id] = template
                    backend.launch_template_name_to_ids[template.name] = template.id
                else:
                    template.create_version(data, "")
                template.default_version_number = version.number

    def _drop_security_groups(self, cluster: str) -> None:
        with self._moto.entered():
            backend = self._moto.ec2()
            for groups in backend.groups.values():
                for group_id, group in list(groups.items()):
                    tags = {t["key"]: t["value"] for t in group.get_tags()}
                    if tags.get("aws:eks:cluster-name") == cluster:
                        del groups[group_id]


def _instance_tags(data: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for spec in data.get("TagSpecifications") or ():
        if spec.get("ResourceType") == "instance":
            found.update({t["Key"]: t.get("Value", "") for t in spec.get("Tags", ())})
    return found
