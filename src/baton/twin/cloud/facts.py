"""What the cloud serves as AWS's own catalogue: versions, platform versions, add-on releases, EKS images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from baton.knowledge.ami import parse_image
from baton.knowledge.tables import UNSUPPORTED, AddonInfo, Knowledge, day
from baton.model.cluster import AddonRelease, VersionInfo
from baton.model.versions import Minor
from baton.twin.cloud.catalogue import ImageInfo


@dataclass
class CloudFacts:
    """The dated tables as of cluster time `now()`."""

    knowledge: Knowledge
    now: Callable[[], float]

    @property
    def versions(self) -> Sequence[VersionInfo]:
        return self.knowledge.versions(day(self.now()))

    def version(self, minor: str) -> VersionInfo | None:
        return self.knowledge.version(minor, day(self.now()))

    def default_version(self) -> str:
        """What CreateCluster gives who names none: the marked default while it is supported, else the newest."""
        supported = [v for v in self.versions if v.status != UNSUPPORTED]
        marked = next((v.version for v in supported if v.default), None)
        newest = max((Minor.parse(v.version) for v in supported), default=None)
        return marked or (str(newest) if newest else self.knowledge.default_version)

    def platform(self, minor: str) -> str:
        return self.knowledge.platform_version(minor)

    def patch(self, minor: str) -> str:
        return self.knowledge.patch_version(minor)

    def kubelet(self, minor: str) -> str:
        """The kubelet version string of an EKS build, `v1.35.6-eks-3a7e1bc`-like; the hash stands for the date."""
        return kubelet_of(self.patch(minor), self.knowledge.image_release_date)

    def release_version(self, minor: str) -> str:
        """Of the newest EKS-optimised AMI: patch and date."""
        return f"{self.patch(minor)}-{self.knowledge.image_release_date}"

    # --- add-ons ----------------------------------------------------------------------------------------------

    @property
    def addon_names(self) -> Sequence[str]:
        return sorted(self.knowledge.releases_by_addon)

    def addon_info(self, name: str) -> AddonInfo | None:
        return self.knowledge.addon(name)

    def addon_releases(self, name: str, minor: str | None = None) -> Sequence[AddonRelease]:
        """Newest first."""
        return self.knowledge.addon_releases(name, minor)

    def addon(self, name: str, version: str) -> AddonRelease | None:
        return next((r for r in self.addon_releases(name) if r.version == version), None)

    def default_addon_version(self, name: str, minor: str) -> str | None:
        """The default of a cluster version, the newest compatible one when none is marked; None when none fits."""
        fitting = self.addon_releases(name, minor)
        marked = next((r for r in fitting if minor in r.default_for), None)
        return (marked or fitting[0]).version if fitting else None

    # --- images -----------------------------------------------------------------------------------------------

    def image_minor(self, image: ImageInfo) -> str:
        """The Kubernetes minor a node AMI boots: as registered, by tag, by name, by description; "" when unknown."""
        if image.kubernetes_version:
            return str(Minor.parse(image.kubernetes_version))
        told = parse_image(image.name, image.description, image.tags).kubernetes
        return "" if told is None else str(told)


def kubelet_of(patch: str, date: str) -> str:
    """`1.35.6`, `20260714` -> `v1.35.6-eks-1351b22`: seven digits that depend on the date, as a commit would."""
    return f"v{patch}-eks-{int(date) % 0xFFFFFFF:07x}" if date.isdigit() else f"v{patch}-eks-0000000"


def os_image(image_name: str, ami_type: str) -> str:
    """What the node reports as its operating system."""
    text = f"{image_name} {ami_type}".lower()
    if "bottlerocket" in text:
        return "Bottlerocket OS 1.49.0 (aws-k8s)"
    if "windows" in text:
        return "Windows Server 2022 Datacenter"
    return "Amazon Linux 2" if "al2_" in text or "linux_2_" in text else "Amazon Linux 2023.8.20260706"
