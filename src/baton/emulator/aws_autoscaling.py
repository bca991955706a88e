"""Auto Scaling: the twin's groups first, moto's for the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.autoscaling.exceptions import AutoscalingClientError
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult

from baton.emulator.aws_view import PROCESSES, View, keeps, when
from baton.errors import UsageError
from baton.twin.cloud.records import AsgRecord

Json = dict[str, Any]


class Autoscaling(AutoScalingResponse):  # type: ignore[misc]
    def __init__(self, view: View) -> None:
        super().__init__()
        self._view = view

    def _group(self) -> AsgRecord | None:
        """The twin's group that the request names."""
        return self._view.cloud.asg(self._get_param("AutoScalingGroupName") or "")

    def _names(self) -> list[str]:
        return list(self._get_param("AutoScalingGroupNames", []))

    # --- reading ----------------------------------------------------------------------------------------------

    def describe_auto_scaling_groups(self) -> ActionResult:
        names = self._names()
        filters = {f["Name"]: f.get("Values", []) for f in self._get_param("Filters", [])}
        mine = [g for g in self._view.groups(names) if keeps(g, filters)]
        known = {g.name for g in self._view.cloud.asgs()}
        rest = [n for n in names if n not in known]
        theirs: list[Any] = []
        if rest or not names:
            theirs = self.autoscaling_backend.describe_auto_scaling_groups(rest, filters=self._get_param("Filters", []))
        every: list[Any] = [*mine, *theirs]
        keys = [g["AutoScalingGroupName"] if isinstance(g, dict) else g.name for g in every]
        token = self._get_param("NextToken")
        if token is not None and token not in keys:
            raise AutoscalingClientError("InvalidNextToken", "The token is invalid")
        start = keys.index(token) + 1 if token else 0
        size = self._get_int_param("MaxRecords", 50)
        more = keys[start + size - 1] if len(every) > start + size else None
        return ActionResult({"AutoScalingGroups": every[start : start + size], "NextToken": more})

    def describe_auto_scaling_instances(self) -> ActionResult:
        asked = list(self._get_param("InstanceIds", []))
        mine = [i for i in self._view.cloud.instances() if not asked or i.id in asked]
        rows: list[Any] = [
            {**self._view.member(i), "AutoScalingGroupName": i.asg, "HealthStatus": "HEALTHY"} for i in mine
        ]
        rest = [i for i in asked if i not in {m.id for m in mine}]
        if rest or not asked:
            rows += self.autoscaling_backend.describe_auto_scaling_instances(instance_ids=rest)
        return ActionResult({"AutoScalingInstances": rows})

    def describe_scaling_activities(self) -> Any:
        group = self._group()
        if group is None:
            return super().describe_scaling_activities()
        return ActionResult({"Activities": self._view.activities(group)})

    def describe_tags(self) -> ActionResult:
        filters = {f["Name"]: f.get("Values", []) for f in self._get_param("Filters", [])}
        mine = [t for g in self._view.cloud.asgs() for t in self._view.group_tags(g)]
        members = {"auto-scaling-group": "ResourceId", "key": "Key", "value": "Value"}
        for name, values in filters.items():
            if name in members:
                mine = [t for t in mine if t[members[name]] in values]
        theirs = self.autoscaling_backend.describe_tags(filters=self._get_param("Filters", []))
        return ActionResult({"Tags": mine + list(theirs), "NextToken": None})

    # --- changing ---------------------------------------------------------------------------------------------

    def set_desired_capacity(self) -> Any:
        group = self._group()
        if group is None:
            return super().set_desired_capacity()
        wanted = self._get_int_param("DesiredCapacity")
        _change(lambda: self._view.cloud.set_desired(group.name, wanted))
        return EmptyResult()

    def update_auto_scaling_group(self) -> Any:
        group = self._group()
        if group is None:
            return super().update_auto_scaling_group()
        low, high = self._get_int_param("MinSize"), self._get_int_param("MaxSize")
        wanted = self._get_int_param("DesiredCapacity")
        if wanted is None:  # sizes given alone pull the desired capacity along
            wanted = max(group.min_size if low is None else low, group.desired)
            wanted = min(group.max_size if high is None else high, wanted)
        _change(lambda: self._view.cloud.update_asg(group.name, minimum=low, maximum=high, desired=wanted))
        return EmptyResult()

    def terminate_instance_in_auto_scaling_group(self) -> Any:
        instance_id = self._get_param("InstanceId")
        record = next((i for i in self._view.cloud.instances() if i.id == instance_id), None)
        if record is None:
            return super().terminate_instance_in_auto_scaling_group()
        decrement = bool(self._get_bool_param("ShouldDecrementDesiredCapacity", False))
        _change(lambda: self._view.cloud.terminate_instance(instance_id, decrement=decrement))
        now = self._view.cloud.core.now()
        activity = {
            "ActivityId": f"{instance_id[2:10]}-{instance_id[10:14]}-4000-8000-{int(now):012x}",
            "AutoScalingGroupName": record.asg,
            "Description": f"Terminating EC2 instance: {instance_id}",
            "Cause": f"At {when(now):%Y-%m-%dT%H:%M:%SZ} instance {instance_id} was taken out of service in response "
            "to a user request.",
            "StartTime": when(now),
            "StatusCode": "InProgress",
            "Progress": 0,
        }
        return ActionResult({"Activity": activity})

    def suspend_processes(self) -> Any:
        group = self._group()
        if group is None:
            return super().suspend_processes()
        named = list(self._get_param("ScalingProcesses", [])) or list(PROCESSES)
        group.suspended = sorted({*group.suspended, *named})
        return EmptyResult()

    def resume_processes(self) -> Any:
        group = self._group()
        if group is None:
            return super().resume_processes()
        named = list(self._get_param("ScalingProcesses", [])) or list(PROCESSES)
        group.suspended = [p for p in group.suspended if p not in named]
        self._view.cloud.scaling.act_soon(group)
        return EmptyResult()

    def create_or_update_tags(self) -> Any:
        rest = []
        for tag in self._get_param("Tags", []):
            if self._view.cloud.asg(tag.get("ResourceId", "")) is None:
                rest.append(tag)
            else:
                self._view.extra_tags.setdefault(tag["ResourceId"], {})[tag["Key"]] = tag.get("Value", "")
        if rest:
            self.autoscaling_backend.create_or_update_tags(rest)
        return EmptyResult()

    def delete_tags(self) -> Any:
        rest = []
        for tag in self._get_params().get("Tags", []):
            if self._view.cloud.asg(tag.get("ResourceId", "")) is None:
                rest.append(tag)
            else:
                self._view.extra_tags.get(tag["ResourceId"], {}).pop(tag["Key"], None)
        if rest:
            self.autoscaling_backend.delete_tags(rest)
        return EmptyResult()


def _change(act: Callable[[], None]) -> None:
    try:
        act()
    except UsageError as error:
        raise AutoscalingClientError("ValidationError", error.message) from error
