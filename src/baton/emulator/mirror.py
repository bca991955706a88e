"""Node groups as EC2 and Auto Scaling show them: answered from the twin, so they are true at every moment.

Requests about other instances and groups go on to moto.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from baton.emulator.answers import autoscaling_answer, ec2_answer, query_error
from baton.emulator.contract import iso
from baton.emulator.moto_side import ACCOUNT, Answer, Ask
from baton.errors import UsageError
from baton.twin.cloud.cloud import CloudTwin
from baton.twin.cloud.records import AsgRecord, InstanceRecord

Form = Mapping[str, str]


def members(form: Form, prefix: str) -> list[str]:
    """The values of `Prefix.1`, `Prefix.member.1`, ... in order."""
    found = []
    for style in (f"{prefix}.", f"{prefix}.member."):
        number = 1
        while (value := form.get(f"{style}{number}")) is not None:
            found.append(value)
            number += 1
    return found


def filters(form: Form) -> dict[str, list[str]]:
    """EC2's Filter.N.Name / Filter.N.Value.M (and Auto Scaling's Filters.member.N...)."""
    found: dict[str, list[str]] = {}
    for style in ("Filter.{}.", "Filters.member.{}."):
        number = 1
        while (name := form.get(style.format(number) + "Name")) is not None:
            at = style.format(number)
            found[name] = members(form, at + "Value") + members(form, at + "Values")
            number += 1
    return found


class Mirror:
    """Answers for what the twin owns; `answer` gives None for what it does not."""

    def __init__(self, cloud: CloudTwin) -> None:
        self._cloud = cloud
        self._handlers: dict[tuple[str, str], Callable[[Form], Answer | None]] = {
            ("ec2", "DescribeInstances"): self._describe_instances,
            ("ec2", "TerminateInstances"): self._terminate_instances,
            ("ec2", "GetInstanceUefiData"): self._uefi,
            ("autoscaling", "DescribeAutoScalingGroups"): self._describe_groups,
            ("autoscaling", "DescribeAutoScalingInstances"): self._describe_group_instances,
            ("autoscaling", "DescribeScalingActivities"): self._activities,
            ("autoscaling", "SetDesiredCapacity"): self._set_desired,
            ("autoscaling", "UpdateAutoScalingGroup"): self._update_group,
            ("autoscaling", "TerminateInstanceInAutoScalingGroup"): self._terminate_in_group,
            ("autoscaling", "SuspendProcesses"): lambda form: self._processes(form, suspend=True),
            ("autoscaling", "ResumeProcesses"): lambda form: self._processes(form, suspend=False),
        }

    def answer(self, ask: Ask) -> Answer | None:
        form = ask.form
        handler = self._handlers.get((ask.service, form.get("Action", "")))
        return None if handler is None else handler(form)

    # EC2

    def _describe_instances(self, form: Form) -> Answer | None:
        ids = members(form, "InstanceId")
        known = {i.id: i for i in self._cloud.instances()}
        if ids and not any(i in known for i in ids):
            return None
        chosen = [known[i] for i in ids if i in known] if ids else list(known.values())
        if not ids and not chosen:
            return None
        shown = [self._instance(i) for i in chosen]
        wanted = filters(form)
        shown = [s for s in shown if all(_matches(s, name, values) for name, values in wanted.items())]
        reservations = [
            {"ReservationId": "r-" + s["InstanceId"][2:], "OwnerId": ACCOUNT, "Groups": [], "Instances": [s]}
            for s in shown
        ]
        return ec2_answer("DescribeInstances", {"Reservations": reservations})

    def _instance(self, record: InstanceRecord) -> dict[str, Any]:
        asg = self._cloud.asg(record.asg)
        subnet = self._cloud.core.catalogue.subnet(record.subnet_id)
        template = (asg.template_id, asg.template_name) if asg is not None else ("", "")
        tags = {
            "aws:autoscaling:groupName": record.asg,
            "aws:ec2launchtemplate:id": template[0],
            "aws:ec2launchtemplate:version": str(record.template_version),
            "eks:cluster-name": record.cluster,
            "eks:nodegroup-name": record.node_group,
            f"kubernetes.io/cluster/{record.cluster}": "owned",
            "Name": record.node_group,
        }
        codes = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
        return {
            "InstanceId": record.id,
            "ImageId": record.image_id,
            "InstanceType": record.instance_type,
            "State": {"Code": codes.get(record.state, 16), "Name": record.state},
            "PrivateDnsName": record.node_name,
            "PrivateIpAddress": record.private_ip,
            "SubnetId": record.subnet_id,
            "VpcId": subnet.vpc_id if subnet is not None else "",
            "Placement": {"AvailabilityZone": record.zone, "Tenancy": "default"},
            "LaunchTime": iso(record.launched_at),
            "Architecture": "x86_64",
            "RootDeviceType": "ebs",
            "RootDeviceName": "/dev/xvda",
            "VirtualizationType": "hvm",
            "Hypervisor": "nitro",
            "EnaSupport": True,
            "Monitoring": {"State": "disabled"},
            "Tags": [{"Key": k, "Value": v} for k, v in tags.items()],
        }

    def _terminate_instances(self, form: Form) -> Answer | None:
        known = {i.id: i for i in self._cloud.instances()}
        ids = members(form, "InstanceId")
        if not any(i in known for i in ids):
            return None
        changes = []
        for instance_id in ids:
            if instance_id in known:
                before = known[instance_id].state
                self._cloud.lose_instance(instance_id)
                changes.append(
                    {
                        "InstanceId": instance_id,
                        "PreviousState": {"Code": 16, "Name": before},
                        "CurrentState": {"Code": 32, "Name": "shutting-down"},
                    }
                )
        return ec2_answer("TerminateInstances", {"TerminatingInstances": changes})

    @staticmethod
    def _uefi(form: Form) -> Answer:
        """data "aws_ami" asks for this of every image; EC2 refuses for an image id, and the provider lets it pass."""
        what = form.get("InstanceId", "")
        return query_error("InvalidInstanceID.Malformed", f'Invalid id: "{what}"', ec2=True)

    # Auto Scaling

    def _groups(self, names: Iterable[str]) -> list[AsgRecord]:
        wanted = list(names)
        return [g for g in self._cloud.asgs() if not wanted or g.name in wanted]

    def _describe_groups(self, form: Form) -> Answer | None:
        names = members(form, "AutoScalingGroupNames")
        groups = self._groups(names)
        if not groups:
            return None
        shown = [self._group(g) for g in groups]
        wanted = filters(form)
        shown = [s for s in shown if all(_matches(s, name, values) for name, values in wanted.items())]
        return autoscaling_answer("DescribeAutoScalingGroups", {"AutoScalingGroups": shown})

    def _group(self, group: AsgRecord) -> dict[str, Any]:
        template = {
            "LaunchTemplateId": group.template_id,
            "LaunchTemplateName": group.template_name,
            "Version": str(group.current),
        }
        tags = {
            "eks:cluster-name": group.cluster,
            "eks:nodegroup-name": group.node_group,
            f"k8s.io/cluster-autoscaler/{group.cluster}": "owned",
            "k8s.io/cluster-autoscaler/enabled": "true",
            f"kubernetes.io/cluster/{group.cluster}": "owned",
        }
        return {
            "AutoScalingGroupName": group.name,
            "AutoScalingGroupARN": f"arn:aws:autoscaling:{self._cloud.settings.region}:{ACCOUNT}:autoScalingGroup:"
            f"{group.name[-36:]}:autoScalingGroupName/{group.name}",
            "LaunchTemplate": template,
            "MinSize": group.min_size,
            "MaxSize": group.max_size,
            "DesiredCapacity": group.desired,
            "DefaultCooldown": 300,
            "AvailabilityZones": sorted(group.subnets),
            "HealthCheckType": "EC2",
            "HealthCheckGracePeriod": 15,
            "VPCZoneIdentifier": ",".join(s for subnets in group.subnets.values() for s in subnets),
            "TerminationPolicies": ["AllocationStrategy", "OldestLaunchTemplate", "OldestInstance"],
            "NewInstancesProtectedFromScaleIn": False,
            "ServiceLinkedRoleARN": f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/autoscaling.amazonaws.com/"
            "AWSServiceRoleForAutoScaling",
            "CreatedTime": iso(group.created_at),
            "Instances": [self._member(i) for i in self._cloud.instances(group.name)],
            "SuspendedProcesses": [
                {"ProcessName": p, "SuspensionReason": "User suspended"} for p in sorted(group.suspended)
            ],
            "Tags": [
                {
                    "Key": k,
                    "Value": v,
                    "ResourceId": group.name,
                    "ResourceType": "auto-scaling-group",
                    "PropagateAtLaunch": True,
                }
                for k, v in tags.items()
            ],
            "EnabledMetrics": [],
            "LoadBalancerNames": [],
            "TargetGroupARNs": [],
        }

    def _member(self, record: InstanceRecord) -> dict[str, Any]:
        asg = self._cloud.asg(record.asg)
        return {
            "InstanceId": record.id,
            "InstanceType": record.instance_type,
            "AvailabilityZone": record.zone,
            "LifecycleState": record.lifecycle,
            "HealthStatus": "Healthy",
            "ProtectedFromScaleIn": False,
            "LaunchTemplate": {
                "LaunchTemplateId": asg.template_id if asg else "",
                "LaunchTemplateName": asg.template_name if asg else "",
                "Version": str(record.template_version),
            },
        }

    def _describe_group_instances(self, form: Form) -> Answer | None:
        ids = members(form, "InstanceIds")
        chosen = [i for i in self._cloud.instances() if not ids or i.id in ids]
        if not chosen:
            return None
        rows = [{**self._member(i), "AutoScalingGroupName": i.asg, "HealthStatus": "HEALTHY"} for i in chosen]
        return autoscaling_answer("DescribeAutoScalingInstances", {"AutoScalingInstances": rows})

    def _activities(self, form: Form) -> Answer | None:
        group = self._cloud.asg(form.get("AutoScalingGroupName", ""))
        if group is None:
            return None
        rows = [
            {
                "ActivityId": f"{n:08d}-0000-4000-8000-000000000000",
                "AutoScalingGroupName": group.name,
                "Description": a["message"] if a["status"] != "Failed" else "Launching a new EC2 instance",
                "Cause": f"At {iso(a['at']).isoformat()} an instance was started in response to a difference between "
                "desired and actual capacity.",
                "StartTime": iso(a["at"]),
                "EndTime": iso(a["at"]),
                "StatusCode": a["status"],
                "StatusMessage": a["message"] if a["status"] == "Failed" else "",
                "Progress": 100,
            }
            for n, a in enumerate(group.activities)
        ]
        return autoscaling_answer("DescribeScalingActivities", {"Activities": rows[::-1]})

    def _changing(self, act: Callable[[], None], operation: str) -> Answer:
        try:
            act()
        except UsageError as error:
            return query_error("ValidationError", error.message, ec2=False)
        return autoscaling_answer(operation, {})

    def _set_desired(self, form: Form) -> Answer | None:
        name = form.get("AutoScalingGroupName", "")
        if self._cloud.asg(name) is None:
            return None
        return self._changing(lambda: self._cloud.set_desired(name, int(form["DesiredCapacity"])), "SetDesiredCapacity")

    def _update_group(self, form: Form) -> Answer | None:
        name = form.get("AutoScalingGroupName", "")
        if self._cloud.asg(name) is None:
            return None

        def number(key: str) -> int | None:
            return int(form[key]) if key in form else None

        return self._changing(
            lambda: self._cloud.update_asg(
                name, minimum=number("MinSize"), maximum=number("MaxSize"), desired=number("DesiredCapacity")
            ),
            "UpdateAutoScalingGroup",
        )

    def _terminate_in_group(self, form: Form) -> Answer | None:
        instance_id = form.get("InstanceId", "")
        record = next((i for i in self._cloud.instances() if i.id == instance_id), None)
        if record is None:
            return None
        decrement = form.get("ShouldDecrementDesiredCapacity", "false").lower() == "true"
        try:
            self._cloud.terminate_instance(instance_id, decrement=decrement)
        except UsageError as error:
            return query_error("ValidationError", error.message, ec2=False)
        now = iso(self._cloud.core.now())
        activity = {
            "ActivityId": f"{instance_id[2:10]}-0000-4000-8000-000000000000",
            "AutoScalingGroupName": record.asg,
            "Description": f"Terminating EC2 instance: {instance_id}",
            "Cause": f"At {now.isoformat()} instance {instance_id} was taken out of service by a user request.",
            "StartTime": now,
            "StatusCode": "InProgress",
            "Progress": 0,
        }
        return autoscaling_answer("TerminateInstanceInAutoScalingGroup", {"Activity": activity})

    def _processes(self, form: Form, *, suspend: bool) -> Answer | None:
        group = self._cloud.asg(form.get("AutoScalingGroupName", ""))
        if group is None:
            return None
        named = members(form, "ScalingProcesses") or list(_PROCESSES)
        kept = [p for p in group.suspended if p not in named]
        group.suspended = kept + named if suspend else kept
        if not suspend:
            self._cloud.scaling.act_soon(group)
        return autoscaling_answer("SuspendProcesses" if suspend else "ResumeProcesses", {})


_PROCESSES = (
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


def _matches(shown: Mapping[str, Any], name: str, values: list[str]) -> bool:
    """One filter on one thing as shown; a filter that is not known here hides nothing."""
    if name.startswith("tag:"):
        have = [t["Value"] for t in shown["Tags"] if t["Key"] == name[4:]]
    elif name == "tag-key":
        have = [t["Key"] for t in shown["Tags"]]
    else:
        found = {
            "instance-id": shown.get("InstanceId"),
            "instance-state-name": (shown.get("State") or {}).get("Name"),
            "private-dns-name": shown.get("PrivateDnsName"),
            "private-ip-address": shown.get("PrivateIpAddress"),
            "image-id": shown.get("ImageId"),
            "instance-type": shown.get("InstanceType"),
            "availability-zone": (shown.get("Placement") or {}).get("AvailabilityZone"),
            "subnet-id": shown.get("SubnetId"),
            "vpc-id": shown.get("VpcId"),
        }
        if name not in found:
            return True
        have = [str(found[name])]
    return any(fnmatch.fnmatchcase(h, v) for h in have for v in values)
