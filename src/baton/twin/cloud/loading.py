"""A cluster that was read, brought into the cloud as it is: catalogue, records, groups, instances, objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from baton.knowledge.tables import Knowledge, Release
from baton.model.cluster import AutoScalingGroup, KubeObject, NodeGroup, Snapshot
from baton.model.nodes import IMAGE_LABEL, NODE_GROUP_LABEL, ZONE_LABEL, info, labels, name, ready
from baton.twin.cloud.catalogue import ImageInfo, LaunchTemplateVersion, MemoryCatalogue, SubnetInfo
from baton.twin.cloud.cloud import CloudTwin
from baton.twin.cloud.records import (
    AddonRecord,
    AsgRecord,
    ClusterRecord,
    InstanceRecord,
    NodegroupRecord,
    TemplateVersion,
)

TYPE = "node.kubernetes.io/instance-type"


def knowledge_of(snapshot: Snapshot, tables: Knowledge) -> Knowledge:
    """The tables with what was read from AWS put over them: add-on releases by name, versions of the calendar."""
    by_addon: dict[str, list[Any]] = {}
    for release in snapshot.addon_releases:
        by_addon.setdefault(release.name, []).append(release)
    known = {r.version: r for r in tables.releases}
    for row in snapshot.versions:
        if row.source != "live" and row.version in known:
            continue
        before = known.get(row.version)
        known[row.version] = Release(
            row.version,
            before.upstream if before else "",
            row.release_date or (before.released if before else ""),
            row.end_of_standard_support or (before.end_standard if before else ""),
            row.end_of_extended_support or (before.end_extended if before else ""),
            before.platform if before else "",
            before.patch if before else "",
            "live",
        )
    merged = {addon: _merged(read, tables.releases_by_addon.get(addon, ())) for addon, read in by_addon.items()}
    return replace(tables, releases=tuple(known.values()), releases_by_addon={**tables.releases_by_addon, **merged})


def _merged(read: list[Any], table: tuple[Any, ...]) -> tuple[Any, ...]:
    """Releases that were read, then those that only the table knows."""
    seen = {r.version for r in read}
    return (*read, *(r for r in table if r.version not in seen))


def _zones(nodes: Iterable[KubeObject]) -> list[str]:
    """The zones of these nodes, sorted."""
    return sorted({labels(n).get(ZONE_LABEL, "") for n in nodes} - {""})


class Loader:
    """Fills an empty CloudTwin and its MemoryCatalogue from one snapshot. `assumptions` says what had to be made up."""

    def __init__(self, cloud: CloudTwin, catalogue: MemoryCatalogue, snapshot: Snapshot) -> None:
        self._cloud = cloud
        self._core = cloud.core
        self._catalogue = catalogue
        self._snapshot = snapshot
        self.assumptions: list[str] = []
        self._nodes: dict[str, list[KubeObject]] = {}
        for node in snapshot.objects.get("nodes", ()):
            group = labels(node).get(NODE_GROUP_LABEL)
            if group:
                self._nodes.setdefault(group, []).append(node)

    def load(self) -> None:
        snapshot = self._snapshot
        region = snapshot.cluster.arn.split(":")[3] if snapshot.cluster.arn.count(":") > 3 else ""
        if region:
            self._core.settings.region = region
        self._fill_catalogue()
        record = self._cluster()
        groups = [(g, self._group_of(g)) for g in snapshot.node_groups]
        known = {g.name for g in snapshot.node_groups}
        groups += [(self._guessed(group), None) for group in sorted(set(self._nodes) - known)]
        self._objects(record)
        for group, scaling in groups:
            self._add_group(record, group, scaling)
        for update in snapshot.active_updates:
            self.assumptions.append(
                f"update {update.id} ({update.type}) was in progress: the twin takes it as not begun"
            )

    # --- catalogue --------------------------------------------------------------------------------------------

    def _fill_catalogue(self) -> None:
        for subnet in self._snapshot.subnets:
            cidr = subnet.cidr or "10.0.0.0/16"
            self._catalogue.subnets[subnet.id] = SubnetInfo(subnet.id, subnet.zone, "", cidr, subnet.free_ips)
        for image in self._snapshot.images:
            self._catalogue.images[image.id] = ImageInfo(
                image.id, image.name, image.description, image.tags, image.architecture
            )

    def _subnets_for(self, zones: list[str]) -> list[str]:
        """A made-up subnet for each zone that has none."""
        made = []
        for index, zone in enumerate(zones):
            subnet_id = f"subnet-{zone}"
            if subnet_id not in self._catalogue.subnets:
                cidr = f"10.{200 + index % 50}.0.0/16"
                self._catalogue.subnets[subnet_id] = SubnetInfo(subnet_id, zone, "", cidr, 60_000)
            made.append(subnet_id)
        return made

    # --- cluster ----------------------------------------------------------------------------------------------

    def _cluster(self) -> ClusterRecord:
        given, core = self._snapshot.cluster, self._core
        api: dict[str, Any] = {
            "name": given.name,
            "arn": given.arn or core.arn("cluster", given.name),
            "createdAt": given.created_at or self._snapshot.taken_at,
            "version": given.version,
            "roleArn": "",
            "resourcesVpcConfig": {
                "subnetIds": list(given.subnet_ids),
                "securityGroupIds": list(given.security_group_ids),
                "clusterSecurityGroupId": "",
                "vpcId": "",
                "endpointPublicAccess": True,
                "endpointPrivateAccess": True,
                "publicAccessCidrs": ["0.0.0.0/0"],
            },
            "kubernetesNetworkConfig": {"serviceIpv4Cidr": "172.20.0.0/16", "ipFamily": "ipv4"},
            "logging": {"clusterLogging": []},
            "identity": {"oidc": {"issuer": f"https://oidc.eks.{core.settings.region}.amazonaws.com/id/0"}},
            "status": "ACTIVE" if given.status in ("", "UPDATING") else given.status,
            "platformVersion": given.platform_version or core.facts.platform(given.version),
            "tags": dict(given.tags),
            "encryptionConfig": [],
            "health": {"issues": _issues(given.health)},
            "accessConfig": {"bootstrapClusterCreatorAdminPermissions": False, "authenticationMode": "API"},
            "upgradePolicy": {"supportType": given.support_type},
            "deletionProtection": given.deletion_protection,
        }
        if given.auto_mode:
            api["computeConfig"] = {"enabled": True}
        record = ClusterRecord(api)
        if not given.subnet_ids:
            zones = _zones(self._snapshot.objects.get("nodes", ()))
            api["resourcesVpcConfig"]["subnetIds"] = self._subnets_for(zones or ["us-east-1a", "us-east-1b"])
            self.assumptions.append(
                "the cluster's subnets are not known: one with plenty of addresses per zone assumed"
            )
        else:
            self._missing_subnets(list(given.subnet_ids))
        for addon in self._snapshot.addons:
            record.addons[addon.name] = AddonRecord(_addon(record, addon, core.now()))
        core.clusters[given.name] = record
        core.kubes[given.name] = core.kube_factory.cluster(given.name, given.version, core.rng(f"kube {given.name}"))
        return record

    def _missing_subnets(self, subnet_ids: list[str]) -> None:
        zones = _zones(self._snapshot.objects.get("nodes", ())) or ["zone-a"]
        for index, subnet_id in enumerate(subnet_ids):
            if subnet_id not in self._catalogue.subnets:
                zone = zones[index % len(zones)]
                self._catalogue.subnets[subnet_id] = SubnetInfo(subnet_id, zone, "", f"10.{150 + index}.0.0/16", 60_000)
                self.assumptions.append(f"subnet {subnet_id} was not read: zone {zone} and plenty of addresses assumed")

    def _objects(self, record: ClusterRecord) -> None:
        kube = self._core.kubes[record.name]
        for resource, objects in self._snapshot.objects.items():
            if resource in ("events", "leases.coordination.k8s.io"):
                continue
            kube.world.load(resource, _typed(resource, objects))
        kube.start()

    # --- node groups ------------------------------------------------------------------------------------------

    def _group_of(self, group: NodeGroup) -> AutoScalingGroup | None:
        names = set(group.auto_scaling_groups)
        return next((a for a in self._snapshot.auto_scaling_groups if a.name in names), None)

    def _guessed(self, group: str) -> NodeGroup:
        """A node group that is known from the label of its nodes only."""
        nodes = self._nodes[group]
        self.assumptions.append(
            f"node group {group} is known from its nodes' label only: "
            f"sizes {len(nodes)}/{len(nodes)}/{len(nodes)} and max_unavailable 1 assumed"
        )
        return NodeGroup(
            name=group,
            cluster=self._snapshot.cluster.name,
            status="ACTIVE",
            version=self._snapshot.cluster.version,
            ami_type="CUSTOM",
            min_size=len(nodes),
            desired_size=len(nodes),
            max_size=len(nodes),
        )

    def _add_group(self, record: ClusterRecord, group: NodeGroup, scaling: AutoScalingGroup | None) -> None:
        core, nodes = self._core, self._nodes.get(group.name, [])
        zones = _zones(nodes) or ["us-east-1a"]
        self._missing_subnets(list(group.subnet_ids))
        subnet_ids = list(group.subnet_ids) or self._subnets_for(zones)
        subnets: dict[str, list[str]] = {}
        for subnet_id in subnet_ids:
            subnets.setdefault(self._catalogue.subnets[subnet_id].zone, []).append(subnet_id)
        template = self._template(group, nodes)
        versions, numbers = self._versions(record, group, nodes, template)
        asg = AsgRecord(
            name=scaling.name if scaling else f"eks-{group.name}-{core.uuid(f'asg {group.name}')}",
            cluster=record.name,
            node_group=group.name,
            min_size=scaling.min_size if scaling else group.min_size,
            max_size=scaling.max_size if scaling else max(group.max_size, group.desired_size),
            desired=scaling.desired if scaling else group.desired_size,
            subnets=subnets,
            template_id=f"lt-{core.hex(f'template {group.name}')}",
            template_name=f"eks-{core.uuid(f'template name {group.name}')}",
            created_at=core.now(),
            versions=versions,
            current=versions[-1].number,
            suspended=list(scaling.suspended) if scaling else [],
        )
        api = _group_api(record, group, subnet_ids, template, asg, core.now())
        record.node_groups[group.name] = NodegroupRecord(api, asg.name)
        self._cloud.scaling.add(asg)
        for node in nodes:
            self._cloud.scaling.adopt(self._instance(asg, node, numbers[labels(node).get(IMAGE_LABEL, "")]))
        if len(nodes) != asg.desired:
            self.assumptions.append(
                f"node group {group.name} wants {asg.desired} nodes and {len(nodes)} were read: the twin launches or "
                "removes the difference"
            )
            self._cloud.scaling.act_soon(asg)

    def _template(self, group: NodeGroup, nodes: list[KubeObject]) -> LaunchTemplateVersion | None:
        """The user's launch template version the group is at, registered in the catalogue."""
        if group.launch_template is None and not group.custom_ami:
            return None
        ref = group.launch_template
        image = group.image_id or (group.release_version if group.custom_ami else "")
        if not image and group.custom_ami:
            image = Counter(labels(n).get(IMAGE_LABEL, "") for n in nodes).most_common(1)[0][0] if nodes else ""
            image = image or f"ami-of-{group.name}"
        number = int(ref.version) if ref is not None and ref.version.isdigit() else 1
        made = LaunchTemplateVersion(
            ref.id if ref is not None and ref.id else f"lt-of-{group.name}",
            ref.name if ref is not None and ref.name else f"template-of-{group.name}",
            number,
            image if group.custom_ami else "",
            "" if group.instance_types else self._kind(nodes),
        )
        self._catalogue.add_template_version(made)
        if made.image_id and made.image_id not in self._catalogue.images:
            minor = info(nodes[0]).get("kubeletVersion", "") if nodes else group.version
            self._catalogue.images[made.image_id] = ImageInfo(made.image_id, kubernetes_version=str(minor))
        return made

    @staticmethod
    def _kind(nodes: list[KubeObject]) -> str:
        found = Counter(labels(n).get(TYPE, "") for n in nodes).most_common(1)
        return (found[0][0] if found else "") or "m5.large"

    def _versions(
        self,
        record: ClusterRecord,
        group: NodeGroup,
        nodes: list[KubeObject],
        template: LaunchTemplateVersion | None,
    ) -> tuple[list[TemplateVersion], dict[str, int]]:
        """One version of EKS's template per image that the nodes boot, the current one last; image -> its number."""
        current = (template.image_id if template else "") or group.image_id
        images = sorted({labels(n).get(IMAGE_LABEL, "") for n in nodes})
        if not current:
            current = images[-1] if images else ""
        ordered = [i for i in images if i != current] + [current]
        versions = []
        for number, image in enumerate(ordered, 1):
            sample = next((n for n in nodes if labels(n).get(IMAGE_LABEL, "") == image), nodes[0] if nodes else None)
            kubelet = info(sample).get("kubeletVersion", "") if sample else ""
            is_current = image == current
            versions.append(
                TemplateVersion(
                    number=number,
                    image_id=image,
                    instance_type=group.instance_types[0] if group.instance_types else self._kind(nodes),
                    kubelet_version=str(kubelet) or self._core.facts.kubelet(record.api["version"]),
                    release_version=group.release_version if is_current else image,
                    source_id=template.id if template else "",
                    source_name=template.name if template else "",
                    source_version=str(template.number) if template and is_current else "",
                    version=group.version,
                )
            )
        return versions, {v.image_id: v.number for v in versions}

    def _instance(self, asg: AsgRecord, node: KubeObject, number: int) -> InstanceRecord:
        provider = str(node.get("spec", {}).get("providerID", ""))
        ident = provider.rpartition("/")[2] if provider.startswith("aws:///") else f"i-of-{name(node)}"
        zone = labels(node).get(ZONE_LABEL) or next(iter(asg.subnets))
        address = next(
            (a["address"] for a in node.get("status", {}).get("addresses") or () if a.get("type") == "InternalIP"), ""
        )
        subnets = asg.subnets.get(zone) or next(iter(asg.subnets.values()))
        kind = self._catalogue.instance_type(labels(node).get(TYPE, ""))
        held = 2 * kind.addresses if kind is not None and self._core.settings.switches.cni_addresses else 1
        return InstanceRecord(
            id=ident,
            asg=asg.name,
            cluster=asg.cluster,
            node_group=asg.node_group,
            zone=zone,
            subnet_id=subnets[0],
            private_ip=address or name(node),
            node_name=name(node),
            image_id=labels(node).get(IMAGE_LABEL, ""),
            instance_type=labels(node).get(TYPE, "m5.large"),
            template_version=number,
            launched_at=self._snapshot.taken_at,
            lifecycle="InService",
            state="running",
            registered=True,
            ready_at=self._snapshot.taken_at if ready(node) else None,
            addresses=held,
        )


# resource -> (apiVersion, kind): the items of a list as the API server answers it carry neither.
_KINDS = {
    "pods": ("v1", "Pod"),
    "nodes": ("v1", "Node"),
    "services": ("v1", "Service"),
    "namespaces": ("v1", "Namespace"),
    "configmaps": ("v1", "ConfigMap"),
    "serviceaccounts": ("v1", "ServiceAccount"),
    "endpoints": ("v1", "Endpoints"),
    "persistentvolumes": ("v1", "PersistentVolume"),
    "persistentvolumeclaims": ("v1", "PersistentVolumeClaim"),
    "replicationcontrollers": ("v1", "ReplicationController"),
    "limitranges": ("v1", "LimitRange"),
    "resourcequotas": ("v1", "ResourceQuota"),
    "deployments.apps": ("apps/v1", "Deployment"),
    "replicasets.apps": ("apps/v1", "ReplicaSet"),
    "statefulsets.apps": ("apps/v1", "StatefulSet"),
    "daemonsets.apps": ("apps/v1", "DaemonSet"),
    "controllerrevisions.apps": ("apps/v1", "ControllerRevision"),
    "jobs.batch": ("batch/v1", "Job"),
    "cronjobs.batch": ("batch/v1", "CronJob"),
    "poddisruptionbudgets.policy": ("policy/v1", "PodDisruptionBudget"),
    "priorityclasses.scheduling.k8s.io": ("scheduling.k8s.io/v1", "PriorityClass"),
    "storageclasses.storage.k8s.io": ("storage.k8s.io/v1", "StorageClass"),
    "csinodes.storage.k8s.io": ("storage.k8s.io/v1", "CSINode"),
    "csidrivers.storage.k8s.io": ("storage.k8s.io/v1", "CSIDriver"),
    "volumeattachments.storage.k8s.io": ("storage.k8s.io/v1", "VolumeAttachment"),
    "endpointslices.discovery.k8s.io": ("discovery.k8s.io/v1", "EndpointSlice"),
    "horizontalpodautoscalers.autoscaling": ("autoscaling/v2", "HorizontalPodAutoscaler"),
}


def _typed(resource: str, objects: Iterable[KubeObject]) -> Iterable[KubeObject]:
    known = _KINDS.get(resource)
    if known is None:
        return objects
    return (o if "kind" in o else {"apiVersion": known[0], "kind": known[1], **o} for o in objects)


def _issues(health: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [{"code": h.code, "message": h.message, "resourceIds": list(h.resource_ids)} for h in health]


def _addon(record: ClusterRecord, addon: Any, now: float) -> dict[str, Any]:
    api: dict[str, Any] = {
        "addonName": addon.name,
        "clusterName": record.name,
        "status": addon.status,
        "addonVersion": addon.version,
        "health": {"issues": _issues(addon.health)},
        "addonArn": addon.arn,
        "createdAt": now,
        "modifiedAt": now,
        "tags": {},
        "publisher": "eks",
        "owner": "aws",
        "podIdentityAssociations": [],
    }
    if addon.configuration:
        api["configurationValues"] = addon.configuration
    if addon.service_account_role:
        api["serviceAccountRoleArn"] = addon.service_account_role
    return api


def _group_api(
    record: ClusterRecord,
    group: NodeGroup,
    subnet_ids: list[str],
    template: LaunchTemplateVersion | None,
    asg: AsgRecord,
    now: float,
) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if group.update_config.max_unavailable_percentage is not None:
        config["maxUnavailablePercentage"] = group.update_config.max_unavailable_percentage
    else:
        config["maxUnavailable"] = group.update_config.max_unavailable or 1
    if group.update_config.strategy != "DEFAULT":
        config["updateStrategy"] = group.update_config.strategy
    scaling: Mapping[str, int] = {"minSize": asg.min_size, "maxSize": asg.max_size, "desiredSize": asg.desired}
    api: dict[str, Any] = {
        "nodegroupName": group.name,
        "nodegroupArn": group.arn,
        "clusterName": record.name,
        "version": group.version,
        "releaseVersion": group.release_version or (template.image_id if template else ""),
        "createdAt": now,
        "modifiedAt": now,
        "status": "ACTIVE" if group.status in ("", "UPDATING") else group.status,
        "capacityType": group.capacity_type,
        "scalingConfig": dict(scaling),
        "subnets": subnet_ids,
        "amiType": group.ami_type,
        "nodeRole": "",
        "labels": dict(group.labels),
        "taints": [dict(t) for t in group.taints],
        "health": {"issues": _issues(group.health)},
        "updateConfig": config,
        "tags": dict(group.tags),
        "instanceTypes": list(group.instance_types) or [asg.versions[-1].instance_type],
        "resources": {"autoScalingGroups": [{"name": asg.name}]},
    }
    if template is not None:
        api["launchTemplate"] = {"id": template.id, "name": template.name, "version": str(template.number)}
    return api
