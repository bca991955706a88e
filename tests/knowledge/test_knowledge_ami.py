"""What an image's name, tags and description say."""

from __future__ import annotations

import pytest

from baton.errors import UsageError
from baton.knowledge.ami import kind_of_name, parse_image, published_name, retarget_pattern, ssm_parameter
from baton.model.versions import Minor

PUBLISHED = [
    ("amazon-eks-node-al2023-x86_64-standard-1.35-v20260714", "al2023", "1.35", "x86_64"),
    ("amazon-eks-node-al2023-arm64-nvidia-1.34-v20260714", "al2023", "1.34", "arm64"),
    ("amazon-eks-node-al2023-x86_64-nvidia-560-1.31-v20241024", "al2023", "1.31", "x86_64"),
    ("amazon-eks-node-1.29-v20240415", "al2", "1.29", ""),
    ("amazon-eks-gpu-node-1.30-v20240703", "al2", "1.30", ""),
    ("amazon-eks-arm64-node-1.30-v20240703", "al2", "1.30", "arm64"),
    ("bottlerocket-aws-k8s-1.30-x86_64-v1.20.4-b6163b2a", "bottlerocket", "1.30", "x86_64"),
    ("bottlerocket-aws-k8s-1.33-nvidia-aarch64-v1.40.0-aaaaaaaa", "bottlerocket", "1.33", "arm64"),
    ("Windows_Server-2022-English-Core-EKS_Optimized-1.30-2024.07.10", "windows", "1.30", ""),
    ("ubuntu-eks/k8s_1.30/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20240611", "ubuntu", "1.30", "x86_64"),
]


@pytest.mark.parametrize(("name", "family", "minor", "architecture"), PUBLISHED)
def test_published_names(name: str, family: str, minor: str, architecture: str) -> None:
    """The kubelet version of an EKS-optimised image would be unknown or wrong."""
    found = parse_image(name)
    assert (found.family, str(found.kubernetes), found.architecture) == (family, minor, architecture)
    assert found.optimised
    assert found.told_by == "name"


OWN = [
    ("golden-eks-1.34-v20261015", "custom", "1.34"),
    ("amazon-eks-al2023-node-1.35-v20260801", "al2023", "1.35"),
    ("acme-al2023-k8s-1-35-x86_64-2026-10-01", "al2023", "1.35"),
    ("acme_eks135_arm64_20261001", "custom", "1.35"),
    ("node-kubernetes-v1.34.9-build-1.22", "custom", "1.34"),  # beside the word wins over a bare number
    ("golden_image_amazon_linux_2_vEKS_3.0.10_2023-07-28_09-31-11", "al2", None),
    ("base-1.2.3", "custom", None),
    ("hardened-2026.10.1", "custom", None),
    ("app-10.1.35", "custom", None),
]


@pytest.mark.parametrize(("name", "family", "minor"), OWN)
def test_names_of_your_own(name: str, family: str, minor: str | None) -> None:
    """A golden image would be taken for the wrong Kubernetes version, or one be made up where none is told."""
    found = parse_image(name)
    assert found.family == family
    assert (None if found.kubernetes is None else str(found.kubernetes)) == minor


def test_tags_win_and_a_contradiction_is_told() -> None:
    """A wrongly tagged image would pass for what its tag says without a word."""
    found = parse_image("golden-eks-1.34-v20261015", tags={"KubernetesVersion": "1.35"})
    assert found.kubernetes == Minor(1, 35)
    assert found.told_by == "tag KubernetesVersion"
    assert found.disagreement == "its tag KubernetesVersion says 1.35; its name says 1.34"


def test_the_description_is_read_last() -> None:
    """An image built by the AMI repository, renamed, would lose its version."""
    found = parse_image(
        "golden-7", "EKS-optimized Kubernetes node based on Amazon Linux 2023, (k8s: 1.30.14, containerd: 1.7.*)"
    )
    assert found.kubernetes == Minor(1, 30)
    assert found.family == "al2023"
    assert found.told_by == "description"


def test_several_versions_in_one_name_give_none() -> None:
    """A guess between two versions would be shown as a fact."""
    found = parse_image("golden-1.34-to-1.35")
    assert found.kubernetes is None
    assert found.disagreement == "its name names 1.34 and 1.35"


@pytest.mark.parametrize(
    ("family", "architecture", "variant"),
    [
        ("al2023", "x86_64", ""),
        ("al2023", "arm64", "nvidia"),
        ("al2", "arm64", ""),
        ("bottlerocket", "arm64", "nvidia"),
        ("windows", "x86_64", "full-2019"),
    ],
)
def test_the_published_filter_finds_what_the_parser_reads(family: str, architecture: str, variant: str) -> None:
    """The filter of the catalogue and the parser would drift apart."""
    name = published_name(family, "1.31", architecture, variant).replace("*", "20260714")
    found = parse_image(name)
    assert (found.family, found.kubernetes, found.optimised) == (family, Minor(1, 31), True)
    assert "1.31" in ssm_parameter(family, "1.31", architecture, variant)


def test_no_filter_for_an_unknown_family() -> None:
    """A misspelt family would search for an image that cannot exist."""
    with pytest.raises(UsageError, match="no images of family 'gentoo'"):
        published_name("gentoo", "1.31")


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("golden-eks-1.34-*", "golden-eks-1.35-*"),
        ("acme-k8s-1-34-x86_64-*", "acme-k8s-1-35-x86_64-*"),
        ("golden-11.34-1.341-*", "golden-11.34-1.341-*"),
        ("golden-*", "golden-*"),
    ],
)
def test_retarget_pattern_changes_only_the_version(pattern: str, wanted: str) -> None:
    """An AMI filter would be edited in the wrong place."""
    assert retarget_pattern(pattern, Minor(1, 34), Minor(1, 35)) == wanted


@pytest.mark.parametrize(
    ("name", "architecture", "kind"),
    [
        ("amazon-eks-node-al2023-x86_64-standard-1.35-v20260714", "x86_64", ("al2023", "x86_64", "")),
        ("amazon-eks-node-al2023-arm64-nvidia-1.35-v20260714", "arm64", ("al2023", "arm64", "nvidia")),
        ("amazon-eks-node-al2023-x86_64-neuron-1.34-v20260714", "x86_64", ("al2023", "x86_64", "neuron")),
        (
            "bottlerocket-aws-k8s-1.35-nvidia-fips-x86_64-v1.20.4-b6163b2a",
            "x86_64",
            ("bottlerocket", "x86_64", "nvidia-fips"),
        ),
        ("amazon-eks-gpu-node-1.30-v20240703", "x86_64", ("al2", "x86_64", "nvidia")),
        ("amazon-eks-arm64-node-1.30-v20240703", "arm64", ("al2", "arm64", "")),
        (
            "Windows_Server-2019-English-Full-EKS_Optimized-1.35-2026.07.14",
            "x86_64",
            ("windows", "x86_64", "full-2019"),
        ),
        ("bottlerocket-aws-k8s-1.35-aarch64-v1.20.4-b6163b2a", "arm64", ("bottlerocket", "arm64", "")),
    ],
)
def test_the_kind_of_a_published_image(name: str, architecture: str, kind: tuple[str, str, str]) -> None:
    """A GPU group on AWS's own image would be moved to the recommended one without drivers."""
    assert kind_of_name(name, architecture) == kind
    assert ssm_parameter(kind[0], "1.36", kind[1], kind[2]).endswith("/image_id")
