"""What the cloud needs to know of EC2 and IAM: subnets, images, launch templates, instance types, roles.

The emulator answers from moto, a rehearsal from the snapshot, tests from a MemoryCatalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SubnetInfo:
    """`free_ips` as EC2 reports it without the twin's own instances."""

    id: str
    zone: str
    vpc_id: str = ""
    cidr: str = "10.0.0.0/16"
    free_ips: int = 4000


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """`kubernetes_version` ("1.35") when whoever registered the image said so, else it is read from name and tags."""

    id: str
    name: str = ""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    architecture: str = "x86_64"
    kubernetes_version: str = ""


@dataclass(frozen=True, slots=True)
class LaunchTemplateVersion:
    """One version of a launch template; fields it does not set are empty."""

    id: str
    name: str
    number: int
    image_id: str = ""
    instance_type: str = ""
    user_data: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InstanceType:
    """`cpu` in vCPUs, `memory` in bytes, `max_pods` as the VPC CNI allows, `addresses` per network interface."""

    name: str
    cpu: int
    memory: int
    max_pods: int
    arch: str = "amd64"
    addresses: int = 10


class CloudCatalogue(Protocol):
    def subnet(self, subnet_id: str) -> SubnetInfo | None: ...

    def image(self, image_id: str) -> ImageInfo | None: ...

    def launch_template(self, id_or_name: str, version: str) -> LaunchTemplateVersion | None:
        """`version` is a number, `$Latest`, `$Default` or "" (the default); None when there is no such version."""
        ...

    def instance_type(self, name: str) -> InstanceType | None: ...

    def role_exists(self, arn: str) -> bool: ...

    def security_group_exists(self, group_id: str) -> bool: ...

    def create_security_group(self, vpc_id: str, name: str) -> str:
        """The id of a new security group that the cluster owns."""
        ...


class MemoryCatalogue:
    """A catalogue of plain dictionaries."""

    def __init__(self) -> None:
        self.subnets: dict[str, SubnetInfo] = {}
        self.images: dict[str, ImageInfo] = {}
        self.templates: dict[str, list[LaunchTemplateVersion]] = {}
        self.default_versions: dict[str, int] = {}
        self.types: dict[str, InstanceType] = {}
        self.security_groups: dict[str, str] = {}

    def add_template_version(self, version: LaunchTemplateVersion, default: bool = True) -> None:
        self.templates.setdefault(version.id, []).append(version)
        if default:
            self.default_versions[version.id] = version.number

    def subnet(self, subnet_id: str) -> SubnetInfo | None:
        return self.subnets.get(subnet_id)

    def image(self, image_id: str) -> ImageInfo | None:
        return self.images.get(image_id)

    def launch_template(self, id_or_name: str, version: str) -> LaunchTemplateVersion | None:
        for template_id, versions in self.templates.items():
            if id_or_name not in (template_id, versions[0].name):
                continue
            if version == "$Latest":
                return versions[-1]
            wanted = str(self.default_versions[template_id]) if version in ("", "$Default") else version
            return next((v for v in versions if str(v.number) == wanted), None)
        return None

    def instance_type(self, name: str) -> InstanceType | None:
        return self.types.get(name) or known_instance_type(name)

    def role_exists(self, arn: str) -> bool:
        return True

    def security_group_exists(self, group_id: str) -> bool:
        return True

    def create_security_group(self, vpc_id: str, name: str) -> str:
        group_id = f"sg-{len(self.security_groups) + 1:017x}"
        self.security_groups[group_id] = name
        return group_id


_GIB = 1024**3
_SIZES = {  # size -> (vCPUs, network interfaces, addresses per interface)
    "large": (2, 3, 10),
    "xlarge": (4, 4, 15),
    "2xlarge": (8, 4, 15),
    "4xlarge": (16, 8, 30),
    "8xlarge": (32, 8, 30),
    "12xlarge": (48, 8, 30),
    "16xlarge": (64, 15, 50),
    "24xlarge": (96, 15, 50),
}
_BURST = {"nano": (2, 0.5, 4), "micro": (2, 1, 4), "small": (2, 2, 11), "medium": (2, 4, 17), "large": (2, 8, 35)}
_MEMORY_PER_CPU = {"c": 2, "m": 4, "r": 8, "t": 4}


@lru_cache(maxsize=256)
def known_instance_type(name: str) -> InstanceType | None:
    """Families c, m, r, t by the regular pattern of their sizes (pods: interfaces x (addresses - 1) + 2)."""
    family, _, size = name.partition(".")
    if not family or family[0] not in _MEMORY_PER_CPU:
        return None
    arch = "arm64" if "g" in family[1:] else "amd64"
    if family[0] == "t" and size in _BURST:
        cpu, memory, pods = _BURST[size]
        return InstanceType(name, cpu, int(memory * _GIB), pods, arch)
    if size not in _SIZES:
        return None
    cpus, interfaces, addresses = _SIZES[size]
    pods, memory = interfaces * (addresses - 1) + 2, cpus * _MEMORY_PER_CPU[family[0]] * _GIB
    return InstanceType(name, cpus, memory, pods, arch, addresses)


@lru_cache(maxsize=256)
def allocatable(kind: InstanceType) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """(capacity, allocatable) quantities as an EKS-optimised AMI reserves them.

    CPU: 6 % of the first core, 1 % of the second, 0.5 % of the next two, 0.25 % beyond; memory: 255 MiB plus 11 MiB
    per pod, and 100 MiB of eviction threshold; about 6 % of the memory never reaches the kernel's count.
    """
    reserved = 60 + (10 if kind.cpu > 1 else 0) + 5 * max(0, min(kind.cpu - 2, 2)) + 2.5 * max(0, kind.cpu - 4)
    seen_kib = int(kind.memory * 0.965) // 1024
    free_kib = seen_kib - (255 + 11 * kind.max_pods + 100) * 1024
    common = {"pods": str(kind.max_pods)}
    capacity = {"cpu": str(kind.cpu), "memory": f"{seen_kib}Ki", "ephemeral-storage": "20959212Ki", **common}
    usable = {
        "cpu": f"{int(kind.cpu * 1000 - reserved)}m",
        "memory": f"{max(free_kib, 0)}Ki",
        "ephemeral-storage": "18242267924",
        **common,
    }
    return capacity, usable
