"""Node group operations: create, describe, list, delete, the two kinds of update."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from baton.logic.rolling import values as v
from baton.twin.clock import Handle
from baton.twin.cloud.asg import LAUNCH_FAILURES, AutoScaling
from baton.twin.cloud.catalogue import LaunchTemplateVersion
from baton.twin.cloud.core import Core, need, page
from baton.twin.cloud.errors import in_use, invalid_parameter, invalid_request
from baton.twin.cloud.nodegroup_rules import (
    AMI_TYPES,
    as_update_config,
    check_sizes,
    find_template,
    refuse_custom_version,
    release_for,
    target_version,
    template_version,
    update_config,
    where,
)
from baton.twin.cloud.records import AsgRecord, ClusterRecord, InstanceRecord, NodegroupRecord
from baton.twin.cloud.roll import Roll
from baton.twin.cloud.updates import Updates, failure

JOIN_ON_CREATE = 1200.0  # seconds until a creation whose nodes do not join is given up (field reports)


class Creation:
    """Waits until as many nodes as desired are Ready, or gives up."""

    def __init__(self, groups: Nodegroups, record: NodegroupRecord, group: AsgRecord) -> None:
        self._groups = groups
        self._record = record
        self._group = group
        self._timer: Handle = groups.core.later(JOIN_ON_CREATE, self._give_up)
        groups.scaling.watch(group.name, self)
        self._look()

    def _look(self) -> None:
        alive = self._groups.scaling.alive(self._group)
        if sum(i.ready_at is not None for i in alive) >= self._group.desired:
            self._timer.cancelled = True
            self._groups.scaling.unwatch(self._group.name, self)
            self._groups.created(self._record)

    def _give_up(self) -> None:
        self._groups.scaling.unwatch(self._group.name, self)
        alive = self._groups.scaling.alive(self._group)
        missing = [i.id for i in alive if i.ready_at is None]
        if len(alive) < self._group.desired:
            reason = next((a["message"] for a in reversed(self._group.activities) if a["status"] == "Failed"), "")
            issue = {"code": LAUNCH_FAILURES, "message": reason, "resourceIds": [self._group.name]}
        else:
            text = "Instances failed to join the kubernetes cluster"
            issue = {"code": "NodeCreationFailure", "message": text, "resourceIds": missing}
        self._groups.creation_failed(self._record, issue)

    def instance_ready(self, instance: InstanceRecord) -> None:
        self._look()

    def instance_leaving(self, instance: InstanceRecord) -> None:
        pass

    def instance_gone(self, instance: InstanceRecord) -> None:
        self._look()

    def desired_changed(self, by: int) -> None:
        self._look()


class Nodegroups:
    def __init__(self, core: Core, updates: Updates, scaling: AutoScaling) -> None:
        self.core = core
        self.updates = updates
        self.scaling = scaling
        self.on_created: list[Callable[[ClusterRecord, str], object]] = []  # (cluster, node role)
        self.rolls: dict[str, Roll] = {}  # group name (ASG) -> the roll under way

    # --- create -----------------------------------------------------------------------------------------------

    def create_nodegroup(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "clusterName", "nodegroupName", "subnets", "nodeRole")
        core, name, at = self.core, params["nodegroupName"], where(params)
        cluster = core.cluster(params["clusterName"])
        existing = cluster.node_groups.get(name)
        if existing is not None:
            if existing.token and existing.token == params.get("clientRequestToken"):
                return {"nodegroup": self.shown(existing)}
            raise in_use(f"NodeGroup already exists with name {name} and cluster name {cluster.name}", **at)
        core.active_cluster(cluster.name)
        if cluster.api["status"] == "UPDATING":
            self.updates.refuse_if_busy(cluster, ("cluster", ""), "CreateNodegroup")
        api, source = self._new_api(cluster, params)
        record = NodegroupRecord(
            api, f"eks-{name}-{core.uuid(f'asg {cluster.name}/{name}')}", params.get("clientRequestToken") or ""
        )
        cluster.node_groups[name] = record
        for fn in self.on_created:
            fn(cluster, params["nodeRole"])
        core.event("node-group.creating", f"{cluster.name}/{name}")
        wait = core.draw(core.settings.timings.node_group_create_gap, f"setup {record.asg}")
        core.later(wait, lambda: self._launch(cluster, record, source))
        return {"nodegroup": self.shown(record)}

    def _new_api(
        self, cluster: ClusterRecord, params: Mapping[str, Any]
    ) -> tuple[dict[str, Any], LaunchTemplateVersion | None]:
        core, at = self.core, where(params)
        source = find_template(core, params["launchTemplate"], at) if params.get("launchTemplate") else None
        if source is not None:
            _refuse_with_template(params, source, at)
        scaling = {"minSize": 1, "maxSize": 2, "desiredSize": 2, **(params.get("scalingConfig") or {})}
        if params.get("scalingConfig") and "desiredSize" not in params["scalingConfig"]:
            scaling["desiredSize"] = max(scaling["minSize"], min(2, scaling["maxSize"]))
        check_sizes(scaling, at)
        for subnet in params["subnets"]:
            if core.catalogue.subnet(subnet) is None:
                raise invalid_parameter(f"The subnet ID '{subnet}' does not exist", **at)
        if not core.catalogue.role_exists(params["nodeRole"]):
            raise invalid_parameter(
                f"The role with name {params['nodeRole'].rpartition('/')[2]} cannot be found.", **at
            )
        custom = source is not None and bool(source.image_id)
        version = str(params.get("version") or cluster.api["version"])
        if not custom and version != cluster.api["version"] and core.facts.version(version) is None:
            raise invalid_parameter("unsupported Kubernetes version", **at)
        ami_type = "CUSTOM" if custom else params.get("amiType") or "AL2023_x86_64_STANDARD"
        if ami_type not in AMI_TYPES:
            raise invalid_parameter(f"AMI type {ami_type} is not supported", **at)
        now = core.now()
        ident = core.uuid(f"node group {cluster.name}")
        api: dict[str, Any] = {
            "nodegroupName": params["nodegroupName"],
            "nodegroupArn": core.arn("nodegroup", f"{cluster.name}/{params['nodegroupName']}/{ident}"),
            "clusterName": cluster.name,
            "version": version,
            "releaseVersion": "",
            "createdAt": now,
            "modifiedAt": now,
            "status": "CREATING",
            "capacityType": params.get("capacityType") or "ON_DEMAND",
            "scalingConfig": scaling,
            "subnets": list(params["subnets"]),
            "amiType": ami_type,
            "nodeRole": params["nodeRole"],
            "labels": dict(params.get("labels") or {}),
            "taints": [dict(t) for t in params.get("taints") or ()],
            "health": {"issues": []},
            "updateConfig": update_config(params.get("updateConfig") or {}, at),
            "tags": dict(params.get("tags") or {}),
        }
        if not (source and source.instance_type):
            api["instanceTypes"] = list(params.get("instanceTypes") or ["t3.medium"])
        if params.get("nodeRepairConfig"):
            api["nodeRepairConfig"] = dict(params["nodeRepairConfig"])
        if source is None:
            api["diskSize"] = params.get("diskSize") or 20
            if params.get("remoteAccess"):
                api["remoteAccess"] = dict(params["remoteAccess"])
        else:
            api["launchTemplate"] = {"id": source.id, "name": source.name, "version": str(source.number)}
        api["releaseVersion"] = (
            source.image_id if custom and source else release_for(core, version, params.get("releaseVersion"), at)
        )
        return api, source

    def _launch(self, cluster: ClusterRecord, record: NodegroupRecord, source: LaunchTemplateVersion | None) -> None:
        if record.api["status"] != "CREATING":
            return
        core, api = self.core, record.api
        scaling = api["scalingConfig"]
        subnets: dict[str, list[str]] = {}
        for subnet_id in api["subnets"]:
            subnet = core.catalogue.subnet(subnet_id)
            if subnet is not None:
                subnets.setdefault(subnet.zone, []).append(subnet_id)
        group = AsgRecord(
            name=record.asg,
            cluster=cluster.name,
            node_group=api["nodegroupName"],
            min_size=scaling["minSize"],
            max_size=scaling["maxSize"],
            desired=scaling["desiredSize"],
            subnets=subnets,
            template_id=f"lt-{core.hex(f'template {record.asg}')}",
            template_name=f"eks-{core.uuid(f'template name {record.asg}')}",
            created_at=core.now(),
            versions=[template_version(core, cluster, api, 1, source)],
        )
        api["resources"] = {"autoScalingGroups": [{"name": group.name}]}
        self.scaling.add(group)
        core.changed("launch-template", group)
        self.scaling.act_soon(group)
        Creation(self, record, group)

    def created(self, record: NodegroupRecord) -> None:
        if record.api["status"] == "CREATING":
            record.api["status"] = "ACTIVE"
            self.core.event("node-group.active", f"{record.api['clusterName']}/{record.api['nodegroupName']}")

    def creation_failed(self, record: NodegroupRecord, issue: dict[str, Any]) -> None:
        if record.api["status"] == "CREATING":
            record.api.update(status="CREATE_FAILED", health={"issues": [issue]})
            self.core.event("node-group.failed", f"{record.api['clusterName']}/{record.api['nodegroupName']}", **issue)

    # --- describe, list, delete -------------------------------------------------------------------------------

    def shown(self, record: NodegroupRecord) -> dict[str, Any]:
        """The node group as the API shows it; desiredSize follows the Auto Scaling group, without a surge."""
        api = dict(record.api)
        group = self.core.asgs.get(record.asg)
        if group is not None and api["status"] != "DELETING":
            roll = self.rolls.get(record.asg)
            desired = group.desired - (roll.raised if roll else 0)
            api["scalingConfig"] = {**api["scalingConfig"], "desiredSize": max(0, desired)}
        return api

    def describe_nodegroup(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "clusterName", "nodegroupName")
        return {"nodegroup": self.shown(self.core.node_group(params["clusterName"], params["nodegroupName"]))}

    def list_nodegroups(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "clusterName")
        return page(sorted(self.core.cluster(params["clusterName"]).node_groups), params, "nodegroups")

    def delete_nodegroup(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "clusterName", "nodegroupName")
        cluster = self.core.cluster(params["clusterName"])
        record = self.core.node_group(cluster.name, params["nodegroupName"])
        name = record.api["nodegroupName"]
        self.updates.refuse_if_busy(cluster, ("nodegroup", name), "DeleteNodegroup")
        if record.api["status"] == "DELETING":
            return {"nodegroup": self.shown(record)}
        record.api["status"] = "DELETING"
        self.core.event("node-group.deleting", f"{cluster.name}/{name}")
        group = self.core.asgs.get(record.asg)

        def gone() -> None:
            cluster.node_groups.pop(name, None)
            self.core.event("node-group.deleted", f"{cluster.name}/{name}")

        if group is None:
            self.core.later(5.0, gone)
        else:
            self.scaling.remove_group(group, gone)
        return {"nodegroup": self.shown(record)}

    # --- version update ---------------------------------------------------------------------------------------

    def update_nodegroup_version(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "clusterName", "nodegroupName")
        core = self.core
        cluster = core.cluster(params["clusterName"])
        record = core.node_group(cluster.name, params["nodegroupName"])
        scope = ("nodegroup", str(record.api["nodegroupName"]))
        if repeat := self.updates.repeated(cluster, scope, params.get("clientRequestToken")):
            return repeat
        self._refuse_unready(cluster, record, "VersionUpdate")
        new, source = self._wanted(cluster, record, params)
        shown: dict[str, Any] = {}
        if record.api["amiType"] != "CUSTOM":
            shown.update(Version=new["version"], ReleaseVersion=new["releaseVersion"])
        if source is not None and params.get("launchTemplate"):
            shown.update(LaunchTemplateName=source.name, LaunchTemplateVersion=source.number)
        update = self.updates.begin(cluster, scope, "VersionUpdate", shown, params.get("clientRequestToken"))
        record.api["status"] = "UPDATING"
        group = core.asgs[record.asg]
        config = as_update_config(record.api)
        switches = core.settings.switches

        def go() -> None:
            number = max(t.number for t in group.versions) + 1
            group.versions.append(template_version(core, cluster, {**record.api, **new}, number, source))
            core.changed("launch-template", group)
            parallelism = config.parallelism(group.desired)
            settings = v.Settings(
                name=scope[1],
                parallelism=parallelism,
                surge=v.surge_size(len(group.subnets), parallelism, config.strategy),
                force=bool(params.get("force")),
                drain_seconds=switches.drain_seconds,
                drain_windows=switches.drain_windows,
                settle_seconds=switches.settle_seconds,
                join_seconds=switches.join_seconds,
                failure_mode=v.FailureMode(switches.failure_mode),
            )
            roll = Roll(core, self.scaling, group, settings, finished)
            self.rolls[group.name] = roll
            roll.start()

        def finished(failed: v.Failure | None) -> None:
            self.rolls.pop(group.name, None)
            record.api["modifiedAt"] = core.now()
            configured = int(record.api["scalingConfig"]["maxSize"])  # a scale-down that was cut short left it raised
            self.scaling.set_sizes(group, maximum=max(group.desired, configured))
            if failed is None:
                record.api.update(new)
                self.updates.end(cluster, update)
            else:
                self.updates.end(cluster, update, failure(failed.code, failed.message, *failed.resource_ids))
            record.api["status"] = "DEGRADED" if record.api["health"]["issues"] else "ACTIVE"

        core.later(core.draw(core.settings.timings.node_group_create_gap, f"setup {group.name}"), go)
        return {"update": dict(update.api)}

    def _wanted(
        self, cluster: ClusterRecord, record: NodegroupRecord, params: Mapping[str, Any]
    ) -> tuple[dict[str, Any], LaunchTemplateVersion | None]:
        """The members of the group that the update changes, and the user's template version to use."""
        core, api, at = self.core, record.api, where(params)
        own = api.get("launchTemplate")
        asked = params.get("launchTemplate")
        if api["amiType"] == "CUSTOM":
            refuse_custom_version(params)
        source = None
        if asked:
            if own is None:
                raise invalid_parameter(
                    "You cannot specify a launch template for a node group created without one.", **at
                )
            source = find_template(core, asked, at)
            if source.id != own["id"]:
                raise invalid_parameter(
                    f"You must use the launch template that the node group was created with: {own['id']}", **at
                )
        elif own is not None:
            source = core.catalogue.launch_template(own["id"], own["version"])
        if source is not None and bool(source.image_id) != (api["amiType"] == "CUSTOM"):
            have = "a custom AMI" if api["amiType"] == "CUSTOM" else "an EKS Optimized AMI"
            verb = "must" if api["amiType"] == "CUSTOM" else "cannot"
            raise invalid_parameter(
                f"You {verb} specify an image id within the launch template, "
                f"since your nodegroup is configured to use {have}.",
                **at,
            )
        new: dict[str, Any] = {}
        if source is not None:
            new["launchTemplate"] = {"id": source.id, "name": source.name, "version": str(source.number)}
        if api["amiType"] == "CUSTOM":
            assert source is not None
            return {**new, "releaseVersion": source.image_id}, source
        version = target_version(core, cluster, api, params)
        keep = asked and not params.get("version") and not params.get("releaseVersion")
        release = api["releaseVersion"] if keep else release_for(core, version, params.get("releaseVersion"), at)
        return {**new, "version": version, "releaseVersion": release}, source

    def _refuse_unready(self, cluster: ClusterRecord, record: NodegroupRecord, kind: str) -> None:
        name = record.api["nodegroupName"]
        self.updates.refuse_if_busy(cluster, ("nodegroup", name), kind)
        if record.api["status"] not in ("ACTIVE", "DEGRADED"):
            raise invalid_request(
                f"Nodegroup {name} is in {record.api['status']} status and cannot be updated",
                clusterName=cluster.name,
                nodegroupName=name,
            )

    # --- configuration update ---------------------------------------------------------------------------------

    def update_nodegroup_config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "clusterName", "nodegroupName")
        core, at = self.core, where(params)
        cluster = core.cluster(params["clusterName"])
        record = core.node_group(cluster.name, params["nodegroupName"])
        scope = ("nodegroup", str(record.api["nodegroupName"]))
        if repeat := self.updates.repeated(cluster, scope, params.get("clientRequestToken")):
            return repeat
        self._refuse_unready(cluster, record, "ConfigUpdate")
        new, shown = _new_config(self.shown(record), params, at)
        if not new:
            raise invalid_request("No changes needed for the node group", **at)
        update = self.updates.begin(cluster, scope, "ConfigUpdate", shown, params.get("clientRequestToken"))
        record.api["status"] = "UPDATING"

        def done() -> None:
            gone = set(record.api["labels"]) - set(new.get("labels", record.api["labels"]))
            record.api.update(new, modifiedAt=core.now())
            record.api["status"] = "DEGRADED" if record.api["health"]["issues"] else "ACTIVE"
            group = core.asgs[record.asg]
            sizes = new.get("scalingConfig")
            if sizes:
                self.scaling.set_sizes(
                    group, minimum=sizes["minSize"], maximum=sizes["maxSize"], desired=sizes["desiredSize"]
                )
            if "labels" in new or "taints" in new:
                self.scaling.relabel(group, gone)
            self.updates.end(cluster, update)

        core.later(core.draw(core.settings.durations.node_group_config, f"config {record.asg}"), done)
        return {"update": dict(update.api)}


def _refuse_with_template(
    params: Mapping[str, Any], source: LaunchTemplateVersion, at: Mapping[str, str | None]
) -> None:
    """What may not be in the request beside a launch template."""
    if params.get("diskSize"):
        raise invalid_parameter("Disk size must be specified within the launch template.", **at)
    if params.get("remoteAccess"):
        raise invalid_parameter("Remote access configuration cannot be specified with a launch template.", **at)
    if source.instance_type and params.get("instanceTypes"):
        raise invalid_parameter("Instance types cannot be specified in both the launch template and the request.", **at)
    if not source.image_id:
        return
    if params.get("version"):
        raise invalid_parameter(
            "You cannot specify a kubernetes version to use when specifying an image id "
            "to use within the launch template.",
            **at,
        )
    if params.get("amiType") not in (None, "CUSTOM"):
        raise invalid_parameter(
            "You cannot specify an AMI Type other than CUSTOM, when specifying an image id in your launch template",
            **at,
        )
    if params.get("releaseVersion"):
        raise invalid_parameter("You cannot specify the field releaseVersion when using custom AMIs.", **at)


def _new_config(
    api: Mapping[str, Any], params: Mapping[str, Any], at: Mapping[str, str | None]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(members that change, update params)."""
    new: dict[str, Any] = {}
    shown: dict[str, Any] = {}
    if params.get("scalingConfig"):
        given = {k: n for k, n in params["scalingConfig"].items() if n is not None}
        new["scalingConfig"] = {**api["scalingConfig"], **given}
        check_sizes(new["scalingConfig"], at)
        names = {"minSize": "MinSize", "maxSize": "MaxSize", "desiredSize": "DesiredSize"}
        shown.update({names[k]: n for k, n in given.items()})
    if params.get("updateConfig"):
        new["updateConfig"] = update_config(params["updateConfig"], at)
        if "updateStrategy" in api["updateConfig"] and "updateStrategy" not in new["updateConfig"]:
            new["updateConfig"]["updateStrategy"] = api["updateConfig"]["updateStrategy"]
        names = {
            "maxUnavailable": "MaxUnavailable",
            "maxUnavailablePercentage": "MaxUnavailablePercentage",
            "updateStrategy": "UpdateStrategy",
        }
        shown.update({names[k]: n for k, n in new["updateConfig"].items()})
    if params.get("labels"):
        add, remove = params["labels"].get("addOrUpdateLabels") or {}, params["labels"].get("removeLabels") or []
        new["labels"] = {k: n for k, n in {**api["labels"], **add}.items() if k not in remove}
        shown.update(LabelsToAdd=_compact(add) or None, LabelsToRemove=_compact(remove) or None)
    if params.get("taints"):
        add, remove = params["taints"].get("addOrUpdateTaints") or [], params["taints"].get("removeTaints") or []
        replaced = {(t["key"], t["effect"]) for t in (*add, *remove)}
        new["taints"] = [t for t in api["taints"] if (t["key"], t["effect"]) not in replaced] + [dict(t) for t in add]
        shown.update(TaintsToAdd=_compact(add) or None, TaintsToRemove=_compact(remove) or None)
    if params.get("nodeRepairConfig"):
        new["nodeRepairConfig"] = dict(params["nodeRepairConfig"])
        shown["NodeRepairConfig"] = _compact(params["nodeRepairConfig"])
    return new, shown


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True) if value else ""
