"""What EKS refuses about node groups, and which image, kubelet and sizes a request comes down to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from baton.errors import UsageError
from baton.model.cluster import UpdateConfig
from baton.model.versions import Minor
from baton.twin.cloud.catalogue import ImageInfo, LaunchTemplateVersion
from baton.twin.cloud.core import Core
from baton.twin.cloud.errors import invalid_parameter
from baton.twin.cloud.facts import kubelet_of
from baton.twin.cloud.records import ClusterRecord, TemplateVersion

ROLLBACK_DAYS = 7
AMI_TYPES = frozenset(
    ["AL2_x86_64", "AL2_x86_64_GPU", "AL2_ARM_64", "CUSTOM"]
    + [f"BOTTLEROCKET_ARM_64{flavour}" for flavour in ("", "_FIPS", "_NVIDIA", "_NVIDIA_FIPS")]
    + [f"BOTTLEROCKET_x86_64{flavour}" for flavour in ("", "_FIPS", "_NVIDIA", "_NVIDIA_FIPS")]
    + [f"WINDOWS_{kind}_{year}_x86_64" for kind in ("CORE", "FULL") for year in (2019, 2022, 2025)]
    + ["AL2023_x86_64_STANDARD", "AL2023_ARM_64_STANDARD", "AL2023_x86_64_NEURON"]
    + ["AL2023_x86_64_NVIDIA", "AL2023_ARM_64_NVIDIA"]
)  # fmt: skip


def where(params: Mapping[str, Any]) -> dict[str, str | None]:
    """The error body members of a node group request."""
    return {"clusterName": params["clusterName"], "nodegroupName": params["nodegroupName"]}


def find_template(core: Core, ref: Mapping[str, Any], at: Mapping[str, str | None]) -> LaunchTemplateVersion:
    """The version a launchTemplate member means; its `version` may be a number, $Latest, $Default or missing."""
    if bool(ref.get("id")) == bool(ref.get("name")):
        raise invalid_parameter("Either provide launch template ID or launch template name in the request.", **at)
    key = ref.get("id") or ref["name"]
    wanted = str(ref.get("version") or "")
    found = core.catalogue.launch_template(key, wanted)
    if found is None:
        if core.catalogue.launch_template(key, "") is None:
            raise invalid_parameter(f"The specified launch template {key} does not exist.", **at)
        raise invalid_parameter(f"Could not find the specified version {wanted} for the launch template {key}.", **at)
    return found


def check_sizes(scaling: Mapping[str, Any], at: Mapping[str, str | None]) -> None:
    low, wanted, high = (int(scaling[k]) for k in ("minSize", "desiredSize", "maxSize"))
    if low < 0 or high < 1:
        raise invalid_parameter("minSize must be at least 0 and maxSize at least 1", **at)
    if low > high:
        raise invalid_parameter(f"Minimum capacity {low} can't be greater than maximum size {high}", **at)
    if low > wanted:
        raise invalid_parameter(f"Minimum capacity {low} can't be greater than desired size {wanted}", **at)
    if wanted > high:
        raise invalid_parameter(f"Desired capacity {wanted} can't be greater than max size {high}", **at)


def update_config(given: Mapping[str, Any], at: Mapping[str, str | None]) -> dict[str, Any]:
    """A checked updateConfig; maxUnavailable 1 when neither number is given."""
    number, percent = given.get("maxUnavailable"), given.get("maxUnavailablePercentage")
    if number is not None and percent is not None:
        raise invalid_parameter("Cannot specify both maxUnavailable and maxUnavailablePercentage.", **at)
    for name, value in (("maxUnavailable", number), ("maxUnavailablePercentage", percent)):
        if value is not None and not 1 <= value <= 100:
            raise invalid_parameter(f"{name} must be between 1 and 100", **at)
    strategy = given.get("updateStrategy")
    if strategy not in (None, "DEFAULT", "MINIMAL"):
        raise invalid_parameter(f"updateStrategy {strategy} is not one of DEFAULT, MINIMAL", **at)
    chosen: dict[str, Any] = {"maxUnavailablePercentage": percent} if percent is not None else {}
    if percent is None:
        chosen["maxUnavailable"] = 1 if number is None else number
    return chosen if strategy is None else {**chosen, "updateStrategy": strategy}


def as_update_config(api: Mapping[str, Any]) -> UpdateConfig:
    given = api.get("updateConfig") or {}
    return UpdateConfig(
        given.get("maxUnavailable"), given.get("maxUnavailablePercentage"), given.get("updateStrategy") or "DEFAULT"
    )


def refuse_custom_version(params: Mapping[str, Any]) -> None:
    """An update of a CUSTOM group moves only through its launch template."""
    at = where(params)
    if params.get("version"):
        raise invalid_parameter("You cannot specify the field kubernetesVersion when using custom AMIs.", **at)
    if params.get("releaseVersion"):
        raise invalid_parameter("You cannot specify the field releaseVersion when using custom AMIs.", **at)
    if not params.get("launchTemplate"):
        raise invalid_parameter("Launch template details can't be null for Custom ami type node group", **at)


def target_version(core: Core, cluster: ClusterRecord, api: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """The Kubernetes version an update of a group on EKS-optimised AMIs goes to; refuses all others."""
    own, current = str(api["version"]), str(cluster.api["version"])
    wanted = params.get("version")
    if not wanted:
        if params.get("releaseVersion") or params.get("launchTemplate"):
            return own
        return current if core.settings.switches.default_node_version_is_cluster else own
    allowed = {own, current}
    if cluster.upgraded_at is not None and core.now() - cluster.upgraded_at <= ROLLBACK_DAYS * 86400:
        allowed.add(cluster.upgraded_from)  # nodes go back before the control plane does
    if str(wanted) not in allowed:
        raise invalid_parameter(
            f"Nodegroup Kubernetes version should be equal to Cluster kubernetes version {current} "
            f"or NodeGroup kubernetes version {own}",
            **where(params),
        )
    return str(wanted)


def release_for(core: Core, version: str, wanted: str | None, at: Mapping[str, str | None]) -> str:
    """The AMI release of a Kubernetes version: the newest, or the one asked for when it fits."""
    if not wanted:
        return core.facts.release_version(version)
    try:
        fits = str(Minor.parse(wanted)) == version
    except UsageError:
        fits = False
    if not fits:
        raise invalid_parameter(
            f"Requested release version {wanted} is not valid for kubernetes version {version}.", **at
        )
    return wanted


def template_version(
    core: Core,
    cluster: ClusterRecord,
    api: Mapping[str, Any],
    number: int,
    source: LaunchTemplateVersion | None,
) -> TemplateVersion:
    """The version of EKS's own template that follows from the group's `api` and the user's template version."""
    kinds = api.get("instanceTypes") or ["t3.medium"]
    version = str(api["version"])
    common: dict[str, Any] = {
        "number": number,
        "instance_type": (source.instance_type if source else "") or kinds[0],
        "source_id": source.id if source else "",
        "source_name": source.name if source else "",
        "source_version": str(source.number) if source else "",
    }
    if source is not None and source.image_id:
        image = core.catalogue.image(source.image_id) or ImageInfo(source.image_id)
        minor = core.facts.image_minor(image) or str(cluster.api["version"])
        return TemplateVersion(
            image_id=source.image_id,
            kubelet_version=core.facts.kubelet(minor),
            release_version=source.image_id,
            version=minor,
            **common,
        )
    release = str(api["releaseVersion"])
    seed = f"{api['amiType']} {release}"
    return TemplateVersion(
        image_id=f"ami-{_stable_hex(seed)}",
        kubelet_version=kubelet_of(*(release.split("-", 1) if "-" in release else (release, ""))),
        release_version=release,
        version=version,
        **common,
    )


def _stable_hex(text: str) -> str:
    """17 hexadecimal digits that depend on the text only (FNV-1a)."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"0{value:016x}"
