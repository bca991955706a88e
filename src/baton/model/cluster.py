"""What was read of a cluster, as frozen values: a Snapshot.

AWS facts are typed. Kubernetes objects stay the JSON objects an API server hands out (treat as read-only).
Times are seconds since the epoch. What could not be read is an `Unknown`, never an empty list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KubeObject = Mapping[str, Any]

SNAPSHOT_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Unknown:
    """A fact that could not be read, and why. `what` names a Snapshot field or a dotted part of it."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class HealthIssue:
    code: str
    message: str
    resource_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cluster:
    name: str
    version: str  # "1.34"
    status: str  # ACTIVE, UPDATING, ...
    arn: str = ""
    platform_version: str = ""
    endpoint: str = ""
    certificate_authority: str = ""  # base64
    support_type: str = "EXTENDED"  # upgradePolicy.supportType
    subnet_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()
    health: tuple[HealthIssue, ...] = ()
    deletion_protection: bool = False
    auto_mode: bool = False
    created_at: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UpdateConfig:
    """At most one of the two numbers is set; none means EKS's default of one node."""

    max_unavailable: int | None = None
    max_unavailable_percentage: int | None = None
    strategy: str = "DEFAULT"  # or MINIMAL

    def parallelism(self, nodes: int) -> int:
        """How many nodes may be away at once in a group of `nodes`: 1..100.

        A percentage is rounded down but never below one (undocumented by EKS; docs/flaws.md).
        """
        if self.max_unavailable_percentage is not None:
            return max(1, min(100, nodes * self.max_unavailable_percentage // 100))
        return max(1, min(100, self.max_unavailable or 1))


@dataclass(frozen=True, slots=True)
class BlockDevice:
    """A disk that an image or a launch template maps. `size` in GiB, 0 where not told; `kms_key` is an ARN or id, ""
    where AWS does not tell it (images of others) or none is set."""

    name: str  # /dev/xvda
    size: int = 0
    encrypted: bool = False
    kms_key: str = ""


@dataclass(frozen=True, slots=True)
class LaunchTemplateRef:
    id: str
    name: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class NodeGroup:
    name: str
    cluster: str
    status: str
    version: str  # as EKS reports it; of a CUSTOM group only the version it was created at
    release_version: str = ""  # the AMI id for a CUSTOM group
    ami_type: str = "AL2023_x86_64_STANDARD"
    capacity_type: str = "ON_DEMAND"
    instance_types: tuple[str, ...] = ()
    subnet_ids: tuple[str, ...] = ()
    min_size: int = 0
    desired_size: int = 0
    max_size: int = 0
    update_config: UpdateConfig = field(default_factory=UpdateConfig)
    launch_template: LaunchTemplateRef | None = None
    auto_scaling_groups: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()
    health: tuple[HealthIssue, ...] = ()
    arn: str = ""
    image_id: str = ""  # what its launch template version boots, when it could be told
    tags: Mapping[str, str] = field(default_factory=dict)
    user_data: str | None = None  # of its launch template version, decoded; None when it was not read
    disks: tuple[BlockDevice, ...] | None = None  # that its launch template version maps; None when they were not read

    @property
    def custom_ami(self) -> bool:
        return self.ami_type == "CUSTOM"


@dataclass(frozen=True, slots=True)
class Addon:
    name: str
    version: str
    status: str
    health: tuple[HealthIssue, ...] = ()
    configuration: str = ""
    service_account_role: str = ""
    arn: str = ""


@dataclass(frozen=True, slots=True)
class AddonRelease:
    """One version of an add-on and the cluster versions it fits; `default_for` are those it is the default of."""

    name: str
    version: str
    compatible: tuple[str, ...]
    default_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One row of DescribeClusterVersions (or of the dated table). Dates are ISO dates."""

    version: str
    status: str  # STANDARD_SUPPORT | EXTENDED_SUPPORT | UNSUPPORTED
    release_date: str = ""
    end_of_standard_support: str = ""
    end_of_extended_support: str = ""
    default: bool = False
    source: str = "live"  # or "table"


@dataclass(frozen=True, slots=True)
class Image:
    id: str
    name: str
    owner: str = ""
    created_at: str = ""  # ISO
    architecture: str = "x86_64"
    state: str = "available"
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    deprecation_time: str = ""
    root_device_type: str = "ebs"
    virtualization_type: str = "hvm"
    ena: bool = True
    public: bool = False
    root_device: str = ""  # its name, "" where not told
    disks: tuple[BlockDevice, ...] = ()


@dataclass(frozen=True, slots=True)
class Subnet:
    id: str
    zone: str
    free_ips: int
    cidr: str = ""


@dataclass(frozen=True, slots=True)
class Instance:
    id: str
    zone: str
    state: str  # EC2 state name
    image_id: str = ""
    instance_type: str = ""
    lifecycle_state: str = ""  # of its Auto Scaling group
    private_dns: str = ""
    launch_template_version: str = ""


@dataclass(frozen=True, slots=True)
class AutoScalingGroup:
    name: str
    min_size: int
    desired: int
    max_size: int
    zones: tuple[str, ...] = ()
    instances: tuple[Instance, ...] = ()
    suspended: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Insight:
    id: str
    name: str
    category: str
    status: str  # PASSING WARNING ERROR UNKNOWN
    reason: str = ""
    kubernetes_version: str = ""
    description: str = ""
    recommendation: str = ""


@dataclass(frozen=True, slots=True)
class UpdateError:
    code: str
    message: str
    resource_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Update:
    """An EKS update. `created_at` is the service's clock."""

    id: str
    status: str  # InProgress Failed Cancelled Successful
    type: str
    params: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[UpdateError, ...] = ()
    created_at: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything Baton knows of one cluster at one moment.

    `objects` maps a resource in the form `pods`, `nodes`, `deployments.apps`, `poddisruptionbudgets.policy` to its
    objects (JSON as the API server gives it, sorted by namespace and name).
    """

    taken_at: float
    cluster: Cluster
    node_groups: tuple[NodeGroup, ...] = ()
    addons: tuple[Addon, ...] = ()
    addon_releases: tuple[AddonRelease, ...] = ()
    versions: tuple[VersionInfo, ...] = ()
    images: tuple[Image, ...] = ()
    subnets: tuple[Subnet, ...] = ()
    auto_scaling_groups: tuple[AutoScalingGroup, ...] = ()
    insights: tuple[Insight, ...] = ()
    fargate_profiles: tuple[str, ...] = ()
    active_updates: tuple[Update, ...] = ()
    objects: Mapping[str, tuple[KubeObject, ...]] = field(default_factory=dict)
    addon_schemas: Mapping[str, str] = field(default_factory=dict)  # "NAME VERSION" -> JSON schema of its configuration
    parameters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # SSM path -> its values, the newest first
    unknowns: tuple[Unknown, ...] = ()
    schema: int = SNAPSHOT_SCHEMA

    def unknown(self, what: str) -> Unknown | None:
        """The recorded reason why `what` (a field, or `objects.pods`) could not be read, if it could not."""
        return next((u for u in self.unknowns if u.what == what), None)

    def node_group(self, name: str) -> NodeGroup | None:
        return next((g for g in self.node_groups if g.name == name), None)

    def image(self, image_id: str) -> Image | None:
        return next((i for i in self.images if i.id == image_id), None)
