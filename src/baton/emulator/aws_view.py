"""Node groups as EC2 and Auto Scaling show them: the twin's records in those shapes, true at every moment."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from baton.twin.cloud.cloud import CloudTwin
from baton.twin.cloud.records import AsgRecord, InstanceRecord

Json = dict[str, Any]

STATE_CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48}
SHOWN_TERMINATED = 3600.0  # seconds that EC2 goes on showing a terminated instance
PROCESSES = (
    "Launch",
    "Terminate",
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "ReplaceUnhealthy",
    "ScheduledActions",
)


class View:
    """What the twin owns of EC2 and Auto Scaling. Keeps what only these APIs know: extra tags, terminated instances."""

    def __init__(self, cloud: CloudTwin) -> None:
        self.cloud = cloud
        self.extra_tags: dict[str, dict[str, str]] = {}  # instance id or group name -> tags set by users
        self._gone: dict[str, tuple[float, Json]] = {}
        cloud.on_change(self._changed)

    def _changed(self, kind: str, record: Any) -> None:
        if kind == "instance" and record.state == "terminated":
            now = self.cloud.core.now()
            shape = {**self.instance(record), "StateTransitionReason": f"User initiated ({_stamp(now)})"}
            for member in ("PrivateIpAddress", "SubnetId", "VpcId"):
                shape.pop(member, None)
            self._gone = {i: (t, s) for i, (t, s) in self._gone.items() if now - t < SHOWN_TERMINATED}
            self._gone[record.id] = (now, shape)

    # --- EC2 --------------------------------------------------------------------------------------------------

    def instances(self) -> dict[str, Json]:
        """Every instance by id, those that went within the last hour included."""
        now = self.cloud.core.now()
        shown = {i.id: self.instance(i) for i in self.cloud.instances()}
        return shown | {i: shape for i, (t, shape) in self._gone.items() if now - t < SHOWN_TERMINATED}

    def instance(self, record: InstanceRecord) -> Json:
        asg = self.cloud.asg(record.asg)
        catalogue = self.cloud.core.catalogue
        subnet = catalogue.subnet(record.subnet_id)
        kind = catalogue.instance_type(record.instance_type)
        return {
            "InstanceId": record.id,
            "ImageId": record.image_id,
            "InstanceType": record.instance_type,
            "State": {"Code": STATE_CODES[record.state], "Name": record.state},
            "PrivateDnsName": record.node_name,
            "PrivateIpAddress": record.private_ip,
            "PublicDnsName": "",
            "SubnetId": record.subnet_id,
            "VpcId": subnet.vpc_id if subnet else "",
            "Placement": {"AvailabilityZone": record.zone, "GroupName": "", "Tenancy": "default"},
            "LaunchTime": when(record.launched_at),
            "Architecture": "arm64" if kind and kind.arch == "arm64" else "x86_64",
            "AmiLaunchIndex": 0,
            "ClientToken": f"fleet-{record.id[2:]}",
            "RootDeviceType": "ebs",
            "RootDeviceName": "/dev/xvda",
            "VirtualizationType": "hvm",
            "Hypervisor": "xen",
            "EbsOptimized": False,
            "EnaSupport": True,
            "SourceDestCheck": True,
            "Monitoring": {"State": "disabled"},
            "IamInstanceProfile": {
                "Arn": f"arn:aws:iam::{self.cloud.settings.account}:instance-profile/"
                f"{asg.template_name if asg else 'eks'}",
                "Id": f"AIPA{record.id[2:].upper():0<17.17}",
            },
            "Tags": [{"Key": k, "Value": v} for k, v in sorted(self._instance_tags(record, asg).items())],
        }

    def _instance_tags(self, record: InstanceRecord, asg: AsgRecord | None) -> dict[str, str]:
        tags = {
            "aws:autoscaling:groupName": record.asg,
            "eks:cluster-name": record.cluster,
            "eks:nodegroup-name": record.node_group,
            f"k8s.io/cluster-autoscaler/{record.cluster}": "owned",
            "k8s.io/cluster-autoscaler/enabled": "true",
            f"kubernetes.io/cluster/{record.cluster}": "owned",
            "aws:ec2launchtemplate:version": str(record.template_version),
        }
        if asg is not None:
            tags["aws:ec2launchtemplate:id"] = asg.template_id
            version = asg.version(record.template_version)
            if version.source_id:
                source = self.cloud.core.catalogue.launch_template(version.source_id, version.source_version)
                tags.update(source.tags if source else {})
        return {**tags, **self.extra_tags.get(record.id, {})}

    def taken_addresses(self, subnet_id: str) -> int:
        return self.cloud.core.ips_taken.get(subnet_id, 0)

    # --- Auto Scaling -----------------------------------------------------------------------------------------

    def groups(self, names: Sequence[str] = ()) -> list[Json]:
        return [self.group(g) for g in self.cloud.asgs() if not names or g.name in names]

    def group(self, group: AsgRecord) -> Json:
        settings = self.cloud.settings
        return {
            "AutoScalingGroupName": group.name,
            "AutoScalingGroupARN": f"arn:aws:autoscaling:{settings.region}:{settings.account}:autoScalingGroup:"
            f"{group.name[-36:]}:autoScalingGroupName/{group.name}",
            "MixedInstancesPolicy": {
                "LaunchTemplate": {
                    "LaunchTemplateSpecification": _template(group, group.current),
                    "Overrides": [{"InstanceType": group.version().instance_type}],
                },
                "InstancesDistribution": {
                    "OnDemandAllocationStrategy": "prioritized",
                    "OnDemandBaseCapacity": 0,
                    "OnDemandPercentageAboveBaseCapacity": 100,
                    "SpotAllocationStrategy": "lowest-price",
                    "SpotInstancePools": 2,
                },
            },
            "MinSize": group.min_size,
            "MaxSize": group.max_size,
            "DesiredCapacity": group.desired,
            "DefaultCooldown": 300,
            "AvailabilityZones": sorted(group.subnets),
            "LoadBalancerNames": [],
            "TargetGroupARNs": [],
            "HealthCheckType": "EC2",
            "HealthCheckGracePeriod": 15,
            "VPCZoneIdentifier": ",".join(s for subnets in group.subnets.values() for s in subnets),
            "TerminationPolicies": ["AllocationStrategy", "OldestLaunchTemplate", "OldestInstance"],
            "NewInstancesProtectedFromScaleIn": False,
            "ServiceLinkedRoleARN": f"arn:aws:iam::{settings.account}:role/aws-service-role/"
            "autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
            "CapacityRebalance": True,
            "CreatedTime": when(group.created_at),
            "Instances": [self.member(i) for i in self.cloud.instances(group.name)],
            "SuspendedProcesses": [
                {"ProcessName": p, "SuspensionReason": "User suspended at the request of a user"}
                for p in sorted(group.suspended)
            ],
            "Tags": self.group_tags(group),
            **({"Status": "Delete in progress"} if group.deleting else {}),
        }

    def group_tags(self, group: AsgRecord) -> list[Json]:
        tags = {
            "eks:cluster-name": group.cluster,
            "eks:nodegroup-name": group.node_group,
            f"k8s.io/cluster-autoscaler/{group.cluster}": "owned",
            "k8s.io/cluster-autoscaler/enabled": "true",
            f"kubernetes.io/cluster/{group.cluster}": "owned",
            **self.extra_tags.get(group.name, {}),
        }
        kind = {"ResourceId": group.name, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": True}
        return [{"Key": k, "Value": v, **kind} for k, v in sorted(tags.items())]

    def member(self, record: InstanceRecord) -> Json:
        """An instance as its group lists it."""
        asg = self.cloud.asg(record.asg)
        return {
            "InstanceId": record.id,
            "InstanceType": record.instance_type,
            "AvailabilityZone": record.zone,
            "LifecycleState": record.lifecycle,
            "HealthStatus": "Healthy",
            "ProtectedFromScaleIn": False,
            **({"LaunchTemplate": _template(asg, record.template_version)} if asg else {}),
        }

    def activities(self, group: AsgRecord) -> list[Json]:
        """Newest first."""
        rows = []
        for number, activity in enumerate(group.activities):
            at, failed = when(activity["at"]), activity["status"] == "Failed"
            rows.append(
                {
                    "ActivityId": f"{number:08x}-{group.name[-27:-13]}-{group.name[-12:]}",
                    "AutoScalingGroupName": group.name,
                    "Description": "Launching a new EC2 instance" if failed else activity["message"],
                    "Cause": f"At {_stamp(activity['at'])} an instance was started in response to a difference "
                    "between desired and actual capacity, increasing the capacity.",
                    "StartTime": at,
                    "EndTime": at,
                    "StatusCode": activity["status"],
                    **({"StatusMessage": activity["message"]} if failed else {}),
                    "Progress": 100,
                }
            )
        return rows[::-1]


def _template(group: AsgRecord, version: int) -> Json:
    return {
        "LaunchTemplateId": group.template_id,
        "LaunchTemplateName": group.template_name,
        "Version": str(version),
    }


def when(seconds: float) -> datetime:
    """Epoch seconds as a time that the serialisers write."""
    return datetime.fromtimestamp(seconds, UTC)


def _stamp(seconds: float) -> str:
    return when(seconds).strftime("%Y-%m-%d %H:%M:%S GMT")


def keeps(shape: Mapping[str, Any], filters: Mapping[str, Iterable[str]]) -> bool:
    """Whether EC2 or Auto Scaling filters let an instance or group through; an unknown filter lets nothing through."""
    return all(_matches(shape, name, list(values)) for name, values in filters.items())


_PLAIN = {
    "instance-id": "InstanceId",
    "image-id": "ImageId",
    "instance-type": "InstanceType",
    "private-dns-name": "PrivateDnsName",
    "private-ip-address": "PrivateIpAddress",
    "network-interface.addresses.private-ip-address": "PrivateIpAddress",
    "subnet-id": "SubnetId",
    "vpc-id": "VpcId",
    "architecture": "Architecture",
    "client-token": "ClientToken",
    "root-device-type": "RootDeviceType",
    "virtualization-type": "VirtualizationType",
    "auto-scaling-group": "AutoScalingGroupName",
}


def _matches(shape: Mapping[str, Any], name: str, wanted: list[str]) -> bool:
    tags = {t["Key"]: t["Value"] for t in shape.get("Tags", ())}
    if name.startswith("tag:"):
        have = [tags[name[4:]]] if name[4:] in tags else []
    elif name == "tag-key":
        have = list(tags)
    elif name == "tag-value":
        have = list(tags.values())
    elif name == "instance-state-name":
        have = [shape["State"]["Name"]]
    elif name == "instance-state-code":
        have = [str(shape["State"]["Code"])]
    elif name == "availability-zone":
        have = [shape["Placement"]["AvailabilityZone"]]
    elif name == "iam-instance-profile.arn":
        have = [shape["IamInstanceProfile"]["Arn"]]
    else:
        have = [str(shape[_PLAIN[name]])] if _PLAIN.get(name) in shape else []
    return any(fnmatch.fnmatchcase(h, w) for h in have for w in wanted)
