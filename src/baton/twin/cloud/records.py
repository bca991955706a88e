"""What the cloud remembers: plain records. `api` members are the JSON that the EKS API shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class TemplateVersion:
    """A version of EKS's own launch template of one node group."""

    number: int
    image_id: str
    instance_type: str
    kubelet_version: str  # "v1.35.6-eks-..."
    release_version: str
    source_id: str = ""  # the user's launch template, "" when there is none
    source_name: str = ""
    source_version: str = ""
    version: str = ""  # Kubernetes minor


LEAVING = frozenset(("Terminating", "Terminating:Wait", "Terminating:Proceed", "Terminated"))


@dataclass(slots=True)
class InstanceRecord:
    """`lifecycle` is the Auto Scaling state, `state` the EC2 one; `ready_at` is when its node turned Ready."""

    id: str
    asg: str
    cluster: str
    node_group: str
    zone: str
    subnet_id: str
    private_ip: str
    node_name: str
    image_id: str
    instance_type: str
    template_version: int
    launched_at: float
    lifecycle: str = "Pending"
    state: str = "pending"
    registered: bool = False
    ready_at: float | None = None
    addresses: int = 1  # private addresses it holds in its subnet

    @property
    def leaving(self) -> bool:
        return self.lifecycle in LEAVING


@dataclass
class AsgRecord:
    """An Auto Scaling group. `template` is EKS's own launch template (id, name); `subnets` maps zone to subnet."""

    name: str
    cluster: str
    node_group: str
    min_size: int
    max_size: int
    desired: int
    subnets: dict[str, list[str]]
    template_id: str
    template_name: str
    created_at: float
    versions: list[TemplateVersion] = field(default_factory=list)
    current: int = 1  # the version new instances are launched with
    suspended: list[str] = field(default_factory=list)
    activities: list[dict[str, Any]] = field(default_factory=list)
    deleting: bool = False
    retry_pending: bool = False
    failing: str = ""  # why no instance could be launched last time

    def version(self, number: int | None = None) -> TemplateVersion:
        wanted = self.current if number is None else number
        return next(v for v in self.versions if v.number == wanted)


@dataclass
class UpdateRecord:
    """One EKS update; `scope` is ("cluster", ""), ("nodegroup", name) or ("addon", name)."""

    api: dict[str, Any]
    scope: tuple[str, str]
    token: str = ""


@dataclass
class NodegroupRecord:
    api: dict[str, Any]
    asg: str
    token: str = ""


@dataclass
class AddonRecord:
    api: dict[str, Any]
    token: str = ""
    conflicts: bool = False  # fields that someone else owns


@dataclass
class ClusterRecord:
    """`upgraded_at` and `upgraded_from` are what a version rollback asks for."""

    api: dict[str, Any]
    token: str = ""
    node_groups: dict[str, NodegroupRecord] = field(default_factory=dict)
    addons: dict[str, AddonRecord] = field(default_factory=dict)
    updates: dict[str, UpdateRecord] = field(default_factory=dict)
    access: dict[str, dict[str, Any]] = field(default_factory=dict)
    policies: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    fargate: dict[str, dict[str, Any]] = field(default_factory=dict)
    pod_identities: dict[str, dict[str, Any]] = field(default_factory=dict)
    identity_providers: dict[str, dict[str, Any]] = field(default_factory=dict)
    insights: dict[str, dict[str, Any]] = field(default_factory=dict)
    insights_refresh: dict[str, Any] = field(default_factory=dict)
    upgraded_at: float | None = None
    upgraded_from: str = ""

    @property
    def name(self) -> str:
        return str(self.api["name"])
