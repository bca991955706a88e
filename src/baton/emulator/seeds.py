"""What an account has before anybody works in it: golden AMIs of one's own, EKS-optimised AMIs and their parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime

from baton.emulator.moto_side import ACCOUNT, AMAZON, MotoSide
from baton.knowledge.tables import Knowledge, day

DAY = 86400.0
# Built by an imaginary image pipeline: name, Kubernetes minor, days before the emulator's start.
GOLDEN = (
    ("golden-eks-1.34-v20260903", "1.34", 81),
    ("golden-eks-1.34-v20261015", "1.34", 39),
    ("golden-eks-1.35-v20261101", "1.35", 22),
)
# amazon-eks-node-<family> -> directory of the SSM parameters
FAMILIES = {
    "al2023-x86_64-standard": ("amazon-linux-2023/x86_64/standard", "x86_64"),
    "al2023-arm64-standard": ("amazon-linux-2023/arm64/standard", "arm64"),
    "al2023-x86_64-nvidia": ("amazon-linux-2023/x86_64/nvidia", "x86_64"),
}


def image_id(owner: str, name: str) -> str:
    """Depends on owner and name alone, so that it is the same in every run."""
    return "ami-0" + hashlib.sha256(f"{owner}/{name}".encode()).hexdigest()[:16]


def seed_images(moto: MotoSide, knowledge: Knowledge, now: float) -> None:
    """Golden AMIs for 1.34 and 1.35, and per Kubernetes minor the newest AL2023 images of AWS."""
    from baton.emulator.aws_ec2 import add_image

    backend = moto.ec2()
    for name, minor, age in GOLDEN:
        patch = knowledge.patch_version(minor)
        add_image(
            backend,
            image_id(ACCOUNT, name),
            name,
            created=now - age * DAY,
            description=f"Golden image for EKS {minor} (AL2023, kubelet {patch})",
            tags={"Name": name, "KubernetesVersion": minor, "KubeletVersion": f"v{patch}", "Pipeline": "golden-images"},
        )
    for info in knowledge.versions(day(now)):
        patch = knowledge.patch_version(info.version)
        for family, (_, arch) in FAMILIES.items():
            name = optimised_name(knowledge, family, info.version)
            add_image(
                backend,
                image_id(AMAZON, name),
                name,
                created=datetime.strptime(knowledge.image_release_date, "%Y%m%d").replace(tzinfo=UTC).timestamp(),
                owner=AMAZON,
                architecture=arch,
                description=f"EKS-optimized Kubernetes node based on Amazon Linux 2023, (k8s: {patch})",
            )


def optimised_name(knowledge: Knowledge, family: str, minor: str) -> str:
    return f"amazon-eks-node-{family}-{minor}-v{knowledge.image_release_date}"


def published(knowledge: Knowledge, now: Callable[[], float]) -> dict[str, tuple[str, float]]:
    """The public SSM parameters of the recommended node images: name -> (value, time of change)."""
    date = knowledge.image_release_date
    at = datetime.strptime(date, "%Y%m%d").replace(tzinfo=UTC).timestamp()
    found: dict[str, tuple[str, float]] = {}
    for info in knowledge.versions(day(now())):
        patch = knowledge.patch_version(info.version)
        for family, (folder, _) in FAMILIES.items():
            root = f"/aws/service/eks/optimized-ami/{info.version}/{folder}/recommended"
            name = optimised_name(knowledge, family, info.version)
            found[f"{root}/image_id"] = (image_id(AMAZON, name), at)
            found[f"{root}/image_name"] = (name, at)
            found[f"{root}/release_version"] = (f"{patch}-{date}", at)
    return found
