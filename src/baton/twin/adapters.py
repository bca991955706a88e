"""The ports over a twin: what a rehearsal hands the conductor in place of AWS and Kubernetes.

Refusals become the errors that the gateways raise for the same answers, so a conductor cannot tell the difference.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from baton.errors import BatonError, ReadError, RefusedError, UnavailableError
from baton.model import aws_shapes as shapes
from baton.model.cluster import (
    Addon,
    AddonRelease,
    AutoScalingGroup,
    Cluster,
    Image,
    Insight,
    Instance,
    NodeGroup,
    Subnet,
    Update,
    VersionInfo,
)
from baton.model.events import WatchEvent
from baton.twin.cloud.catalogue import LaunchTemplateVersion, MemoryCatalogue
from baton.twin.cloud.errors import AwsError
from baton.twin.cloud.records import InstanceRecord
from baton.twin.twin import Twin


def translate(error: AwsError, where: str) -> BatonError:
    """An EKS refusal as the gateways report it."""
    text = f"{error.code}: {error.message}"
    if error.status >= 500 or error.status == 429:
        return UnavailableError(text, where=where, hint="AWS is busy; the same command may succeed in a minute")
    if error.code == "ResourceNotFoundException":
        return ReadError(text, where=where, hint="check the name, the region and the account")
    return RefusedError(text, where=where)


class TwinAws:
    """AwsReader and AwsWriter over a twin. `images` are the AMIs that can be looked up (a snapshot's, usually)."""

    def __init__(self, twin: Twin, images: Sequence[Image] = ()) -> None:
        self._twin = twin
        self._images = {i.id: i for i in images}
        self._template_tokens: dict[str, str] = {}

    def _ask(self, operation: str, **params: Any) -> dict[str, Any]:
        given = {k: v for k, v in params.items() if v is not None}
        try:
            return self._twin.cloud.eks(operation, given)
        except AwsError as error:
            raise translate(error, f"eks:{operation}") from error

    def _all(self, operation: str, key: str, **params: Any) -> list[Any]:
        """Every page."""
        found: list[Any] = []
        token: str | None = None
        while True:
            answer = self._ask(operation, **params, nextToken=token)
            found += answer[key]
            token = answer.get("nextToken")
            if token is None:
                return found

    # --- reading ----------------------------------------------------------------------------------------------

    def cluster(self, name: str) -> Cluster:
        return shapes.cluster_from_api(self._ask("DescribeCluster", name=name)["cluster"])

    def clusters(self) -> Sequence[str]:
        return self._all("ListClusters", "clusters")

    def cluster_versions(self) -> Sequence[VersionInfo]:
        rows = self._all("DescribeClusterVersions", "clusterVersions", includeAll=True)
        return [shapes.version_info_from_api(r) for r in rows]

    def node_groups(self, cluster: str) -> Sequence[NodeGroup]:
        return [self.node_group(cluster, n) for n in self._all("ListNodegroups", "nodegroups", clusterName=cluster)]

    def node_group(self, cluster: str, name: str) -> NodeGroup:
        answer = self._ask("DescribeNodegroup", clusterName=cluster, nodegroupName=name)
        return shapes.node_group_from_api(answer["nodegroup"])

    def addons(self, cluster: str) -> Sequence[Addon]:
        return [self.addon(cluster, n) for n in self._all("ListAddons", "addons", clusterName=cluster)]

    def addon(self, cluster: str, name: str) -> Addon:
        return shapes.addon_from_api(self._ask("DescribeAddon", clusterName=cluster, addonName=name)["addon"])

    def addon_releases(self, name: str, kubernetes_version: str | None = None) -> Sequence[AddonRelease]:
        rows = self._all("DescribeAddonVersions", "addons", addonName=name, kubernetesVersion=kubernetes_version)
        return [release for row in rows for release in shapes.addon_releases_from_api(row)]

    def update(
        self, cluster: str, update_id: str, *, node_group: str | None = None, addon: str | None = None
    ) -> Update:
        answer = self._ask(
            "DescribeUpdate", name=cluster, updateId=update_id, nodegroupName=node_group, addonName=addon
        )
        return shapes.update_from_api(answer["update"])

    def updates(self, cluster: str, *, node_group: str | None = None, addon: str | None = None) -> Sequence[str]:
        return self._all("ListUpdates", "updateIds", name=cluster, nodegroupName=node_group, addonName=addon)

    def insights(self, cluster: str) -> Sequence[Insight]:
        return [shapes.insight_from_api(r) for r in self._all("ListInsights", "insights", clusterName=cluster)]

    def fargate_profiles(self, cluster: str) -> Sequence[str]:
        return self._all("ListFargateProfiles", "fargateProfileNames", clusterName=cluster)

    def images(
        self,
        *,
        ids: Sequence[str] = (),
        owners: Sequence[str] = (),
        filters: Mapping[str, Sequence[str]] | None = None,
    ) -> Sequence[Image]:
        """Filters `name`, `architecture`, `state`, `image-id` and `tag:KEY`, with EC2's wildcards; others match all."""
        found = []
        for image in self._images.values():
            if (ids and image.id not in ids) or (owners and not {image.owner, "self", "amazon"} & set(owners)):
                continue
            if all(_matches(image, name, patterns) for name, patterns in (filters or {}).items()):
                found.append(image)
        return found

    def subnets(self, ids: Sequence[str]) -> Sequence[Subnet]:
        found = []
        for subnet_id in ids:
            info = self._twin.catalogue.subnet(subnet_id)
            if info is None:
                raise ReadError(f"The subnet ID '{subnet_id}' does not exist", where="ec2:DescribeSubnets")
            found.append(Subnet(info.id, info.zone, max(0, self._twin.cloud.core.free_ips(info.id)), info.cidr))
        return found

    def auto_scaling_groups(self, names: Sequence[str]) -> Sequence[AutoScalingGroup]:
        groups = [g for g in self._twin.cloud.asgs() if g.name in names]
        return [
            AutoScalingGroup(
                group.name,
                group.min_size,
                group.desired,
                group.max_size,
                tuple(sorted(group.subnets)),
                tuple(_instance(i) for i in self._twin.cloud.instances(group.name)),
                tuple(group.suspended),
            )
            for group in groups
        ]

    def instances(self, ids: Sequence[str]) -> Sequence[Instance]:
        return [_instance(i) for i in self._twin.cloud.instances() if i.id in ids]

    def launch_template_image(self, template_id: str, version: str) -> str:
        return self._template(template_id, version).image_id

    def launch_template_user_data(self, template_id: str, version: str) -> str:
        return self._template(template_id, version).user_data

    def _template(self, template_id: str, version: str) -> LaunchTemplateVersion:
        found = self._twin.catalogue.launch_template(template_id, version)
        if found is None:
            raise ReadError(
                f"launch template {template_id} has no version {version or '$Default'}",
                where="ec2:DescribeLaunchTemplateVersions",
            )
        return found

    # --- writing ----------------------------------------------------------------------------------------------

    def update_cluster_version(self, cluster: str, version: str, *, token: str, force: bool = False) -> Update:
        answer = self._ask("UpdateClusterVersion", name=cluster, version=version, clientRequestToken=token, force=force)
        return shapes.update_from_api(answer["update"])

    def update_addon(
        self, cluster: str, addon: str, version: str, *, token: str, resolve_conflicts: str | None = None
    ) -> Update:
        answer = self._ask(
            "UpdateAddon",
            clusterName=cluster,
            addonName=addon,
            addonVersion=version,
            clientRequestToken=token,
            resolveConflicts=resolve_conflicts,
        )
        return shapes.update_from_api(answer["update"])

    def update_node_group_version(
        self,
        cluster: str,
        node_group: str,
        *,
        token: str,
        launch_template: tuple[str, str] | None = None,
        version: str | None = None,
        release_version: str | None = None,
        force: bool = False,
    ) -> Update:
        template = None if launch_template is None else {"id": launch_template[0], "version": launch_template[1]}
        answer = self._ask(
            "UpdateNodegroupVersion",
            clusterName=cluster,
            nodegroupName=node_group,
            clientRequestToken=token,
            launchTemplate=template,
            version=version,
            releaseVersion=release_version,
            force=force,
        )
        return shapes.update_from_api(answer["update"])

    def update_node_group_config(
        self,
        cluster: str,
        node_group: str,
        *,
        token: str,
        max_unavailable: int | None = None,
        max_unavailable_percentage: int | None = None,
    ) -> Update:
        config = {"maxUnavailable": max_unavailable, "maxUnavailablePercentage": max_unavailable_percentage}
        answer = self._ask(
            "UpdateNodegroupConfig",
            clusterName=cluster,
            nodegroupName=node_group,
            clientRequestToken=token,
            updateConfig={k: v for k, v in config.items() if v is not None},
        )
        return shapes.update_from_api(answer["update"])

    def new_launch_template_version(self, template_id: str, source_version: str, image_id: str, *, token: str) -> str:
        if token in self._template_tokens:
            return self._template_tokens[token]
        catalogue = self._twin.catalogue
        if not isinstance(catalogue, MemoryCatalogue):
            raise RefusedError("launch templates of this twin are kept elsewhere", where=template_id)
        source = self._template(template_id, source_version)
        number = max(v.number for v in catalogue.templates[source.id]) + 1
        made = LaunchTemplateVersion(
            source.id, source.name, number, image_id, source.instance_type, source.user_data, source.tags
        )
        catalogue.add_template_version(made)
        self._template_tokens[token] = str(number)
        return str(number)


def _instance(record: InstanceRecord) -> Instance:
    return Instance(
        record.id,
        record.zone,
        record.state,
        record.image_id,
        record.instance_type,
        record.lifecycle,
        record.node_name,
        str(record.template_version),
    )


def _matches(image: Image, name: str, patterns: Sequence[str]) -> bool:
    values = {"name": image.name, "architecture": image.architecture, "state": image.state, "image-id": image.id}
    if name.startswith("tag:"):
        value = image.tags.get(name[4:])
        return value is not None and any(fnmatchcase(value, p) for p in patterns)
    return name not in values or any(fnmatchcase(values[name], p) for p in patterns)


class TwinKube:
    """KubeReader over one cluster of a twin. Objects are the twin's own: read only."""

    def __init__(self, twin: Twin, cluster: str) -> None:
        try:
            self._kube = twin.kube(cluster)
        except AwsError as error:
            raise translate(error, f"cluster {cluster}") from error
        self._clock = twin.clock

    def server_version(self) -> str:
        return f"v{self._kube.version}"

    def list(self, resource: str) -> Sequence[Mapping[str, Any]]:
        """Sorted by namespace and name, as an API server lists."""
        if resource not in ("nodes", "leases.coordination.k8s.io"):  # kubelets write their own
            self._kube.refresh_status()
        if resource == "leases.coordination.k8s.io":
            return self._kube.leases()
        items = self._kube.world.items(resource)
        return sorted(items, key=lambda o: (o["metadata"].get("namespace", ""), o["metadata"]["name"]))

    def watch(self, resources: Sequence[str]) -> TwinWatch:
        return TwinWatch(self, resources)

    def node_metrics(self) -> Mapping[str, Mapping[str, float]]:
        """Nothing: the twin knows requests, not usage."""
        return {}


class TwinWatch:
    """What exists first, then every change in order, each with the time it happened."""

    def __init__(self, reader: TwinKube, resources: Sequence[str]) -> None:
        self._clock = reader._clock
        self._queue: deque[WatchEvent] = deque()
        for resource in resources:
            self._queue.extend(WatchEvent("ADDED", resource, o, self._clock.now()) for o in reader.list(resource))
        self._stop = reader._kube.world.subscribe(self._seen, resources)

    def _seen(self, kind: str, resource: str, obj: dict[str, Any], old: dict[str, Any] | None) -> None:
        self._queue.append(WatchEvent(kind, resource, obj, self._clock.now()))

    def poll(self) -> Sequence[WatchEvent]:
        arrived, self._queue = tuple(self._queue), deque()
        return arrived

    def close(self) -> None:
        self._stop()
