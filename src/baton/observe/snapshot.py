"""Reading a cluster into a Snapshot through the ports: whatever cannot be read is recorded with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from baton.errors import BatonError, NotServedError, ReadError
from baton.model.cluster import (
    BlockDevice,
    Cluster,
    Image,
    KubeObject,
    LaunchTemplateRef,
    NodeGroup,
    Snapshot,
    Unknown,
    Update,
)
from baton.observe.details import addon_schemas, parameters
from baton.observe.redact import redact
from baton.ports import AwsDetails, AwsReader, Clock, KubeReader

# What the rehearsal needs of a cluster. The checks ask for more: pass their list as well.
RESOURCES = (
    "csidrivers.storage.k8s.io",
    "csinodes.storage.k8s.io",
    "daemonsets.apps",
    "deployments.apps",
    "horizontalpodautoscalers.autoscaling",
    "jobs.batch",
    "namespaces",
    "nodes",
    "persistentvolumeclaims",
    "persistentvolumes",
    "poddisruptionbudgets.policy",
    "pods",
    "priorityclasses.scheduling.k8s.io",
    "replicasets.apps",
    "services",
    "statefulsets.apps",
    "storageclasses.storage.k8s.io",
)
NEVER = frozenset({"secrets", "configmaps", "events", "leases.coordination.k8s.io"})
# Owners with very many images: only those that boot EKS nodes are asked for.
PUBLIC = {
    "amazon": ("amazon-eks-node-*", "bottlerocket-aws-k8s-*"),
    "602401143452": ("amazon-eks-node-*",),
    "aws-marketplace": ("*eks*",),
    "099720109477": ("ubuntu-eks/*",),
}
T = TypeVar("T")


def read_snapshot(
    aws: AwsReader,
    kube: KubeReader | None,
    cluster: str,
    clock: Clock,
    *,
    owners: Iterable[str] = (),
    resources: Iterable[str] = (),
    images: Iterable[str] = (),
    details: AwsDetails | None = None,
    progress: Callable[[str], None] = lambda what: None,
) -> Snapshot:
    """The cluster as it is. `resources` are read beside RESOURCES; images are those in use, all of the account's own
    (`self`) and of `owners`, as far as they may boot EKS nodes, and those with the ids `images`. `details` is asked for
    what only a live reading needs (observe.details).

    Raises ReadError (or UnavailableError) only when the cluster itself cannot be read; every other gap is an Unknown.
    `kube` None records the Kubernetes side as unknown. `progress` hears what is read next.
    """
    reader = _Reader(aws, kube, cluster, progress)
    reader.details, reader.wanted = details, sorted(set(images))
    described = aws.cluster(cluster)
    facts = reader.aws_facts(described, sorted({"self", *owners}))
    if details is not None:
        facts = reader.more(facts, details)
    objects = reader.objects(sorted({*RESOURCES, *resources} - NEVER))
    return replace(facts, taken_at=clock.now(), objects=objects, unknowns=tuple(reader.unknowns))


class _Reader:
    def __init__(self, aws: AwsReader, kube: KubeReader | None, cluster: str, progress: Callable[[str], None]) -> None:
        self._aws = aws
        self._kube = kube
        self._cluster = cluster
        self._progress = progress
        self.unknowns: list[Unknown] = []
        self.details: AwsDetails | None = None
        self.wanted: Sequence[str] = ()

    def _try(self, what: str, read: Callable[[], T], otherwise: T) -> T:
        self._progress(what)
        try:
            return read()
        except BatonError as error:
            self._missing(what, error)
            return otherwise

    def _all(self, what: str, read: Callable[[], Sequence[T]]) -> tuple[T, ...]:
        empty: Sequence[T] = ()
        return tuple(self._try(what, read, empty))

    def _missing(self, what: str, error: BatonError) -> None:
        reason = error.message if error.where is None else f"{error.where}: {error.message}"
        self.unknowns.append(Unknown(what, reason))

    # --- AWS

    def aws_facts(self, cluster: Cluster, owners: Sequence[str]) -> Snapshot:
        aws, name = self._aws, self._cluster
        groups = tuple(self._with_template(g) for g in self._all("node_groups", lambda: aws.node_groups(name)))
        addons = self._all("addons", lambda: aws.addons(name))
        releases = self._all("addon_releases", lambda: [r for a in addons for r in aws.addon_releases(a.name)])
        subnet_ids = sorted({*cluster.subnet_ids, *(s for g in groups for s in g.subnet_ids)})
        asg_names = [a for g in groups for a in g.auto_scaling_groups]
        return Snapshot(
            taken_at=0.0,
            cluster=cluster,
            node_groups=groups,
            addons=addons,
            addon_releases=releases,
            versions=self._all("versions", aws.cluster_versions),
            images=self._images(groups, owners),
            subnets=self._all("subnets", lambda: aws.subnets(subnet_ids)) if subnet_ids else (),
            auto_scaling_groups=self._all("auto_scaling_groups", lambda: aws.auto_scaling_groups(asg_names))
            if asg_names
            else (),
            insights=self._all("insights", lambda: aws.insights(name)),
            fargate_profiles=self._all("fargate_profiles", lambda: aws.fargate_profiles(name)),
            active_updates=self._all("active_updates", lambda: self._updates(cluster, groups)),
        )

    def _with_template(self, group: NodeGroup) -> NodeGroup:
        """The group with what its launch template version says of image and user data."""
        template = group.launch_template
        if template is None or not template.id:
            return replace(group, image_id=group.release_version if group.custom_ami else group.image_id)
        prefix = f"node_groups.{group.name}"
        aws, none = self._aws, ""
        image = self._try(f"{prefix}.image_id", lambda: aws.launch_template_image(template.id, template.version), none)
        unread: str | None = None
        user_data = self._try(
            f"{prefix}.user_data", lambda: aws.launch_template_user_data(template.id, template.version), unread
        )
        return replace(group, image_id=image, user_data=user_data, disks=self._disks(group, template))

    def _disks(self, group: NodeGroup, template: LaunchTemplateRef) -> tuple[BlockDevice, ...] | None:
        if self.details is None:
            return None
        details, unread = self.details, len(self.unknowns)
        read = partial(details.launch_template_disks, template.id, template.version)
        found = self._all(f"node_groups.{group.name}.disks", read)
        return None if len(self.unknowns) > unread else tuple(replace(d, kms_key="") for d in found)

    def more(self, facts: Snapshot, details: AwsDetails) -> Snapshot:
        """The snapshot with what only a live reading asks for."""
        self._progress("configuration schemas")
        schemas = addon_schemas(details, facts, self._missing)
        self._progress("published images")
        return replace(facts, addon_schemas=schemas, parameters=parameters(details, facts, self._missing))

    def _updates(self, cluster: Cluster, groups: Sequence[NodeGroup]) -> list[Update]:
        """Updates in progress. EKS keeps a long history: only what says that it is updating is looked through."""
        aws, found = self._aws, []
        if cluster.status == "UPDATING":
            found += [aws.update(cluster.name, i) for i in aws.updates(cluster.name)]
        for group in groups:
            if group.status == "UPDATING":
                ids = aws.updates(cluster.name, node_group=group.name)
                found += [aws.update(cluster.name, i, node_group=group.name) for i in ids]
        return [u for u in found if u.status == "InProgress"]

    def _images(self, groups: Sequence[NodeGroup], owners: Sequence[str]) -> tuple[Image, ...]:
        """Images in use, and what the owners have that a node could boot next."""
        aws = self._aws
        found: dict[str, Image] = {}
        for image_id in sorted({*self.wanted, *(g.image_id for g in groups if g.image_id)}):
            current = self._all(f"images.{image_id}", partial(aws.images, ids=[image_id]))
            found.update({i.id: i for i in current})
        families = {(re.sub(r"\d[\d.]*", "*", i.name), i.owner) for i in found.values()}
        asked = [((owner,), PUBLIC.get(owner, ())) for owner in owners]
        asked += [((owner,), (pattern,)) for pattern, owner in sorted(families) if owner and owner not in owners]
        for who, patterns in asked:
            filters = {"name": patterns} if patterns else None
            more = self._all(f"images.{who[0]}", partial(aws.images, owners=who, filters=filters))
            found.update({i.id: i for i in more})
        return tuple(found[i] for i in sorted(found))

    # --- Kubernetes

    def objects(self, resources: Sequence[str]) -> dict[str, tuple[KubeObject, ...]]:
        found: dict[str, tuple[KubeObject, ...]] = {}
        if self._kube is None:
            self.unknowns.append(Unknown("objects", "the Kubernetes API was not asked"))
            return found
        for resource in resources:
            self._progress(resource)
            try:
                listed = self._kube.list(resource)
            except NotServedError:
                found[resource] = ()
            except ReadError as error:
                self._missing(f"objects.{resource}", error)
            else:
                found[resource] = tuple(redact(o) for o in sorted(listed, key=_place))
        return found


def _place(obj: KubeObject) -> tuple[str, str]:
    meta = obj["metadata"]
    return (meta.get("namespace", ""), meta["name"])
