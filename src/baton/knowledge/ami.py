"""What a node image is, told from its name, tags and description: family, Kubernetes minor, architecture.

Name patterns of the images that AWS publishes as eksctl resolves them; for images of your own, whatever says `1.35`
beyond doubt. Nothing is guessed: two candidates that disagree give no version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from baton.errors import UsageError
from baton.model.versions import Minor


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """`told_by` says how the Kubernetes version was told: `tag KEY`, `name`, `description`, or "" when it was not.

    `family` is al2, al2023, bottlerocket, windows, ubuntu or custom; `architecture` x86_64, arm64 or "".
    `disagreement` is set when the sources contradict each other (the first of tag, name, description still wins) or
    when one of them names several versions.
    """

    family: str
    kubernetes: Minor | None
    architecture: str
    told_by: str
    optimised: bool = False
    disagreement: str = ""


# Names that AWS and Canonical publish under; group 1 is the Kubernetes minor.
_PUBLISHED = (
    ("al2023", re.compile(r"^amazon-eks-node-al2023-(?:x86_64|arm64)-(?:[a-z0-9-]+)-(1\.\d+)-v\d{8}")),
    ("al2", re.compile(r"^amazon-eks-(?:gpu-|arm64-)?node-(1\.\d+)-v\d{8}")),
    ("bottlerocket", re.compile(r"^bottlerocket-aws-k8s-(1\.\d+)-")),
    ("windows", re.compile(r"^Windows_Server-\d{4}-English-(?:Core|Full)-EKS_Optimized-(1\.\d+)-", re.I)),
    ("ubuntu", re.compile(r"ubuntu-eks(?:-pro)?/k8s_(1\.\d+)/")),
)

_FAMILIES = (
    ("bottlerocket", re.compile(r"bottlerocket", re.I)),
    ("windows", re.compile(r"windows", re.I)),
    ("al2023", re.compile(r"al2023|amazon[-_ ]?linux[-_ ]?2023|amzn2023", re.I)),
    ("al2", re.compile(r"(?<![a-z0-9])al2(?![a-z0-9])|amazon[-_ ]?linux[-_ ]?2(?!\d)|amzn2(?!\d)", re.I)),
    ("ubuntu", re.compile(r"ubuntu", re.I)),
)

_TAGS = ("kubernetesversion", "k8sversion", "eksversion", "kubeletversion", "kubernetes", "k8s", "kubelet")
_NEAR = re.compile(r"(?:eks|k8s|kubernetes|kube|kubelet)[-_. :/=]{0,3}v?(1[.]\d{2})(?:\.\d+)?(?![\d.]*\d)", re.I)
_NEAR_DASHED = re.compile(r"(?:eks|k8s|kubernetes|kube|kubelet)[-_ :/=]{0,2}v?1[-_](\d{2})(?![\d])", re.I)
_NEAR_COMPACT = re.compile(r"(?:eks|k8s)[-_]?v?1(\d{2})(?![\d])", re.I)
_ANYWHERE = re.compile(r"(?<![\d.])v?(1\.\d{2})(?:\.\d{1,2})?(?![\d]|\.\d)", re.I)
_LIKELY = range(14, 60)  # minors a bare "1.NN" may mean; 1.2 is some other version


def parse_image(name: str, description: str = "", tags: Mapping[str, str] | None = None) -> ImageFacts:
    """Read what the image says of itself. Pure; never raises."""
    tags = tags or {}
    for family, pattern in _PUBLISHED:
        if found := pattern.search(name):
            return ImageFacts(family, Minor.parse(found[1]), _architecture(name), "name", optimised=True)
    told: list[tuple[str, Minor]] = []
    vague: list[str] = []
    for source, versions in (_by_tags(tags), ("name", _versions(name)), ("description", _versions(description))):
        if len(versions) == 1:
            told.append((source, versions[0]))
        elif versions:
            vague.append(f"its {source} names {' and '.join(map(str, versions))}")
    family = _family(" ".join((name, description, *_system_tags(tags))))
    architecture = _architecture(f"{name} {description}")
    if not told:
        return ImageFacts(family, None, architecture, "", disagreement="; ".join(vague))
    source, version = told[0]
    others = [f"its {s} says {v}" for s, v in told[1:] if v != version]
    note = "; ".join([f"its {source} says {version}", *others]) if others else ""
    return ImageFacts(family, version, architecture, source, disagreement=note)


def _by_tags(tags: Mapping[str, str]) -> tuple[str, list[Minor]]:
    for wanted in _TAGS:
        for key in sorted(tags):
            if re.sub(r"[^a-z0-9]", "", key.lower()).endswith(wanted):
                try:
                    return f"tag {key}", [Minor.parse(tags[key])]
                except UsageError:
                    continue
    return "tag", []


def _system_tags(tags: Mapping[str, str]) -> list[str]:
    return [
        v for k, v in sorted(tags.items()) if k.lower() in ("os", "os_version", "operatingsystem", "platform", "base")
    ]


def _versions(text: str) -> list[Minor]:
    """The distinct Kubernetes minors a text names: those beside `eks`, `k8s` or `kubernetes` win over bare ones."""
    for pattern in (_NEAR, _NEAR_DASHED, _NEAR_COMPACT, _ANYWHERE):
        found = {m if "." in m else f"1.{m}" for m in pattern.findall(text)}
        likely = sorted(v for v in map(Minor.parse, found) if v.minor in _LIKELY)
        if likely:
            return likely
    return []


def _family(text: str) -> str:
    return next((family for family, pattern in _FAMILIES if pattern.search(text)), "custom")


def _architecture(text: str) -> str:
    if re.search(r"arm64|aarch64|graviton", text, re.I):
        return "arm64"
    return "x86_64" if re.search(r"x86[-_]64|amd64", text, re.I) else ""


def kind_of_name(name: str, architecture: str) -> tuple[str, str, str]:
    """(family, architecture, variant) of a published image, by its name."""
    family = parse_image(name).family
    if family == "windows":
        found = re.search(r"Windows_Server-(\d{4})-English-(Core|Full)-", name, re.I)
        return family, architecture, f"{found[2].lower()}-{found[1]}" if found else ""
    variant = re.search(r"(?<=[-_])(nvidia-fips|nvidia|neuron|fips)(?=[-_])", name)
    if family == "al2" and "-gpu-" in name:
        return family, architecture, "nvidia"
    return family, architecture, variant[1] if variant else ""


def published_name(family: str, minor: str, architecture: str = "x86_64", variant: str = "") -> str:
    """The name filter (EC2 wildcards) under which AWS publishes EKS images of a family. Raises UsageError.

    `variant` as in the AMI type table: "", nvidia, neuron, fips, nvidia-fips, core-2022, ...
    """
    if family == "al2023":
        return f"amazon-eks-node-al2023-{architecture}-{variant or 'standard'}-{minor}-v*"
    if family == "al2":
        kind = "gpu-" if variant else "arm64-" if architecture == "arm64" else ""
        return f"amazon-eks-{kind}node-{minor}-v*"
    if family == "bottlerocket":
        machine = "aarch64" if architecture == "arm64" else "x86_64"
        return f"bottlerocket-aws-k8s-{minor}{'-' + variant if variant else ''}-{machine}-v*"
    if family == "windows":
        edition, _, year = (variant or "core-2022").partition("-")
        return f"Windows_Server-{year}-English-{edition.capitalize()}-EKS_Optimized-{minor}-*"
    if family == "ubuntu":
        machine = "arm64" if architecture == "arm64" else "amd64"
        return f"ubuntu-eks/k8s_{minor}/images/*{machine}*"
    raise UsageError(
        f"no images of family {family!r} are published for EKS", hint="al2023, bottlerocket, windows, ubuntu"
    )


def ssm_parameter(family: str, minor: str, architecture: str = "x86_64", variant: str = "") -> str:
    """The public SSM parameter with the id of the recommended image. Raises UsageError for a family without one."""
    if family == "al2023":
        kind = variant or "standard"
        return f"/aws/service/eks/optimized-ami/{minor}/amazon-linux-2023/{architecture}/{kind}/recommended/image_id"
    if family == "al2":
        kind = "-gpu" if variant else "-arm64" if architecture == "arm64" else ""
        return f"/aws/service/eks/optimized-ami/{minor}/amazon-linux-2{kind}/recommended/image_id"
    if family == "bottlerocket":
        kind = f"-{variant}" if variant else ""
        return f"/aws/service/bottlerocket/aws-k8s-{minor}{kind}/{architecture}/latest/image_id"
    if family == "windows":
        edition, _, year = (variant or "core-2022").partition("-")
        name = f"Windows_Server-{year}-English-{edition.capitalize()}-EKS_Optimized-{minor}"
        return f"/aws/service/ami-windows-latest/{name}/image_id"
    raise UsageError(f"AWS publishes no SSM parameter for images of family {family!r}")


def retarget_pattern(pattern: str, old: Minor, new: Minor) -> str:
    """A name or filter with every mention of `old` (1.34, 1-34, 1_34) turned into `new`; unchanged when it has none."""
    return re.sub(
        rf"(?<![\d.]){old.major}(\\?[._-]){old.minor}(?![\d])", lambda m: f"{new.major}{m[1]}{new.minor}", pattern
    )
