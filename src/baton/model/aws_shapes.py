"""AWS API JSON (from boto3 or the twin) to model values. Pure; unknown fields are ignored, missing ones are empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from baton.model.cluster import (
    Addon,
    AddonRelease,
    AutoScalingGroup,
    BlockDevice,
    Cluster,
    HealthIssue,
    Image,
    Insight,
    Instance,
    LaunchTemplateRef,
    NodeGroup,
    Subnet,
    Update,
    UpdateConfig,
    UpdateError,
    VersionInfo,
)

Json = Mapping[str, Any]


def seconds(value: Any) -> float | None:
    """A time as boto3 (datetime), the wire (epoch number) or EC2 (ISO text) gives it, in epoch seconds."""
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, int | float):
        return float(value)
    return datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp()


def date_text(value: Any) -> str:
    """An ISO date (`2026-12-02`), "" when there is none."""
    if isinstance(value, datetime):
        return value.date().isoformat()
    at = seconds(value)
    return "" if at is None else datetime.fromtimestamp(at, UTC).date().isoformat()


def tags_of(pairs: Sequence[Json] | None) -> dict[str, str]:
    """EC2's [{Key, Value}] as a mapping."""
    return {p["Key"]: p.get("Value", "") for p in pairs or ()}


def _health(body: Json) -> tuple[HealthIssue, ...]:
    issues = (body.get("health") or {}).get("issues") or ()
    return tuple(
        HealthIssue(i.get("code", ""), i.get("message", ""), tuple(i.get("resourceIds") or ())) for i in issues
    )


def cluster_from_api(body: Json) -> Cluster:
    """The `cluster` of DescribeCluster."""
    vpc = body.get("resourcesVpcConfig") or {}
    groups = [*(vpc.get("securityGroupIds") or ()), vpc.get("clusterSecurityGroupId") or ""]
    return Cluster(
        name=body["name"],
        version=body.get("version", ""),
        status=body.get("status", ""),
        arn=body.get("arn", ""),
        platform_version=body.get("platformVersion") or "",
        endpoint=body.get("endpoint") or "",
        certificate_authority=(body.get("certificateAuthority") or {}).get("data") or "",
        support_type=(body.get("upgradePolicy") or {}).get("supportType", "EXTENDED"),
        subnet_ids=tuple(vpc.get("subnetIds") or ()),
        security_group_ids=tuple(g for g in groups if g),
        health=_health(body),
        deletion_protection=bool(body.get("deletionProtection")),
        auto_mode=bool((body.get("computeConfig") or {}).get("enabled")),
        created_at=seconds(body.get("createdAt")),
        tags=dict(body.get("tags") or {}),
    )


def update_config_from_api(body: Json | None) -> UpdateConfig:
    config = body or {}
    return UpdateConfig(
        max_unavailable=config.get("maxUnavailable"),
        max_unavailable_percentage=config.get("maxUnavailablePercentage"),
        strategy=config.get("updateStrategy") or "DEFAULT",
    )


def node_group_from_api(body: Json) -> NodeGroup:
    """The `nodegroup` of DescribeNodegroup."""
    scaling = body.get("scalingConfig") or {}
    template = body.get("launchTemplate")
    asgs = (body.get("resources") or {}).get("autoScalingGroups") or ()
    return NodeGroup(
        name=body["nodegroupName"],
        cluster=body.get("clusterName", ""),
        status=body.get("status", ""),
        version=body.get("version") or "",
        release_version=body.get("releaseVersion") or "",
        ami_type=body.get("amiType") or "",
        capacity_type=body.get("capacityType") or "ON_DEMAND",
        instance_types=tuple(body.get("instanceTypes") or ()),
        subnet_ids=tuple(body.get("subnets") or ()),
        min_size=scaling.get("minSize", 0),
        desired_size=scaling.get("desiredSize", 0),
        max_size=scaling.get("maxSize", 0),
        update_config=update_config_from_api(body.get("updateConfig")),
        launch_template=None
        if not template
        else LaunchTemplateRef(template.get("id", ""), template.get("name", ""), str(template.get("version", ""))),
        auto_scaling_groups=tuple(a["name"] for a in asgs),
        labels=dict(body.get("labels") or {}),
        taints=tuple(dict(t) for t in body.get("taints") or ()),
        health=_health(body),
        arn=body.get("nodegroupArn", ""),
        tags=dict(body.get("tags") or {}),
    )


def addon_from_api(body: Json) -> Addon:
    """The `addon` of DescribeAddon."""
    return Addon(
        name=body["addonName"],
        version=body.get("addonVersion", ""),
        status=body.get("status", ""),
        health=_health(body),
        configuration=body.get("configurationValues") or "",
        service_account_role=body.get("serviceAccountRoleArn") or "",
        arn=body.get("addonArn", ""),
    )


def addon_releases_from_api(body: Json) -> tuple[AddonRelease, ...]:
    """One entry of DescribeAddonVersions' `addons`, newest first as answered."""
    releases = []
    for version in body.get("addonVersions") or ():
        fits = version.get("compatibilities") or ()
        releases.append(
            AddonRelease(
                name=body["addonName"],
                version=version["addonVersion"],
                compatible=tuple(c["clusterVersion"] for c in fits),
                default_for=tuple(c["clusterVersion"] for c in fits if c.get("defaultVersion")),
            )
        )
    return tuple(releases)


def update_from_api(body: Json) -> Update:
    """The `update` of DescribeUpdate and of every update call."""
    return Update(
        id=body["id"],
        status=body.get("status", ""),
        type=body.get("type", ""),
        params={p["type"]: p.get("value", "") for p in body.get("params") or ()},
        errors=tuple(
            UpdateError(e.get("errorCode", ""), e.get("errorMessage", ""), tuple(e.get("resourceIds") or ()))
            for e in body.get("errors") or ()
        ),
        created_at=seconds(body.get("createdAt")),
    )


def version_info_from_api(body: Json) -> VersionInfo:
    """One entry of DescribeClusterVersions."""
    status = body.get("versionStatus") or str(body.get("status", "")).upper().replace("-", "_")
    return VersionInfo(
        version=body["clusterVersion"],
        status=status,
        release_date=date_text(body.get("releaseDate")),
        end_of_standard_support=date_text(body.get("endOfStandardSupportDate")),
        end_of_extended_support=date_text(body.get("endOfExtendedSupportDate")),
        default=bool(body.get("defaultVersion")),
        source="live",
    )


def insight_from_api(body: Json) -> Insight:
    """One entry of ListInsights, or the `insight` of DescribeInsight."""
    status = body.get("insightStatus") or {}
    return Insight(
        id=body["id"],
        name=body.get("name", ""),
        category=body.get("category", ""),
        status=status.get("status", "UNKNOWN"),
        reason=status.get("reason", ""),
        kubernetes_version=body.get("kubernetesVersion") or "",
        description=body.get("description", ""),
        recommendation=body.get("recommendation", ""),
    )


def disks_from_api(mappings: Sequence[Json] | None) -> tuple[BlockDevice, ...]:
    """The EBS disks among BlockDeviceMappings, of an image or a launch template."""
    found = []
    for mapping in mappings or ():
        ebs = mapping.get("Ebs")
        if ebs is not None:
            size, key = int(ebs.get("VolumeSize") or 0), str(ebs.get("KmsKeyId") or "")
            found.append(BlockDevice(str(mapping.get("DeviceName", "")), size, bool(ebs.get("Encrypted")), key))
    return tuple(found)


def image_from_api(body: Json) -> Image:
    """One entry of DescribeImages."""
    return Image(
        id=body["ImageId"],
        name=body.get("Name", ""),
        owner=body.get("OwnerId", ""),
        created_at=str(body.get("CreationDate", "")),
        architecture=body.get("Architecture", "x86_64"),
        state=body.get("State", "available"),
        description=body.get("Description", "") or "",
        tags=tags_of(body.get("Tags")),
        deprecation_time=str(body.get("DeprecationTime", "") or ""),
        root_device_type=body.get("RootDeviceType", "ebs"),
        virtualization_type=body.get("VirtualizationType", "hvm"),
        ena=bool(body.get("EnaSupport")),  # AWS leaves it out where it is not supported
        public=bool(body.get("Public")),
        root_device=body.get("RootDeviceName", "") or "",
        disks=disks_from_api(body.get("BlockDeviceMappings")),
    )


def subnet_from_api(body: Json) -> Subnet:
    """One entry of DescribeSubnets."""
    return Subnet(
        body["SubnetId"], body["AvailabilityZone"], int(body["AvailableIpAddressCount"]), body.get("CidrBlock", "")
    )


def asg_from_api(body: Json) -> AutoScalingGroup:
    """One entry of DescribeAutoScalingGroups."""
    return AutoScalingGroup(
        name=body["AutoScalingGroupName"],
        min_size=body.get("MinSize", 0),
        desired=body.get("DesiredCapacity", 0),
        max_size=body.get("MaxSize", 0),
        zones=tuple(body.get("AvailabilityZones") or ()),
        instances=tuple(
            Instance(
                id=i["InstanceId"],
                zone=i.get("AvailabilityZone", ""),
                state="",
                instance_type=i.get("InstanceType", ""),
                lifecycle_state=i.get("LifecycleState", ""),
                launch_template_version=str((i.get("LaunchTemplate") or {}).get("Version", "")),
            )
            for i in body.get("Instances") or ()
        ),
        suspended=tuple(p.get("ProcessName", "") for p in body.get("SuspendedProcesses") or ()),
    )


def instance_from_api(body: Json) -> Instance:
    """One instance of DescribeInstances."""
    return Instance(
        id=body["InstanceId"],
        zone=(body.get("Placement") or {}).get("AvailabilityZone", ""),
        state=(body.get("State") or {}).get("Name", ""),
        image_id=body.get("ImageId", ""),
        instance_type=body.get("InstanceType", ""),
        private_dns=body.get("PrivateDnsName", ""),
        launch_template_version=tags_of(body.get("Tags")).get("aws:ec2launchtemplate:version", ""),
    )
