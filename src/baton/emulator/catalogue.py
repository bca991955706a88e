"""The twin's view of EC2 and IAM, read from moto: subnets, images, launch templates, security groups, roles."""

from __future__ import annotations

import ipaddress

from baton.emulator.moto_side import ACCOUNT, MotoSide
from baton.twin.cloud.catalogue import (
    ImageInfo,
    InstanceType,
    LaunchTemplateVersion,
    SubnetInfo,
    known_instance_type,
)


class MotoCatalogue:
    """A CloudCatalogue over moto. `kubernetes_versions` holds what a registration said of an image's kubelet."""

    def __init__(self, moto: MotoSide) -> None:
        self._moto = moto
        self.kubernetes_versions: dict[str, str] = {}

    def subnet(self, subnet_id: str) -> SubnetInfo | None:
        for zone_subnets in self._moto.ec2().subnets.values():
            subnet = zone_subnets.get(subnet_id)
            if subnet is not None:
                network = ipaddress.ip_network(subnet.cidr_block)
                return SubnetInfo(
                    subnet_id, subnet.availability_zone, subnet.vpc_id, subnet.cidr_block, network.num_addresses - 5
                )
        return None

    def image(self, image_id: str) -> ImageInfo | None:
        ami = self._moto.ec2().amis.get(image_id)
        if ami is None:
            return None
        tags = {t["key"]: t["value"] for t in ami.get_tags()}
        return ImageInfo(
            image_id,
            ami.name or "",
            ami.description or "",
            tags,
            ami.architecture or "x86_64",
            self.kubernetes_versions.get(image_id, ""),
        )

    def launch_template(self, id_or_name: str, version: str) -> LaunchTemplateVersion | None:
        backend = self._moto.ec2()
        template_id = backend.launch_template_name_to_ids.get(id_or_name, id_or_name)
        template = backend.launch_templates.get(template_id)
        if template is None:
            return None
        wanted = {"": "$Default"}.get(version, version)
        if wanted not in ("$Default", "$Latest") and not (
            wanted.isdigit() and 1 <= int(wanted) <= len(template.versions)
        ):
            return None
        found = template.get_version(wanted)
        return LaunchTemplateVersion(
            template.id,
            template.name,
            found.number,
            found.data.get("ImageId") or "",
            found.data.get("InstanceType") or "",
            str(found.data.get("UserData") or ""),
            dict(found.instance_tags),
        )

    def instance_type(self, name: str) -> InstanceType | None:
        return known_instance_type(name)

    def role_exists(self, arn: str) -> bool:
        from moto.iam.models import iam_backends

        return any(role.arn == arn for role in iam_backends[ACCOUNT]["aws"].roles.values())

    def security_group_exists(self, group_id: str) -> bool:
        return self._moto.ec2().get_security_group_from_id(group_id) is not None

    def create_security_group(self, vpc_id: str, name: str) -> str:
        text = "EKS created security group applied to ENI that is attached to EKS Control Plane master nodes"
        group = self._moto.ec2().create_security_group(name, text, vpc_id=vpc_id)
        return str(group.id)
