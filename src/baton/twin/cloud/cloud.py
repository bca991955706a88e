"""CloudTwin: the rooms put together, one method per EKS operation behind `eks(operation, params)`."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from baton.model.events import Event
from baton.twin.clock import VirtualClock
from baton.twin.cloud.access import Access, Tags
from baton.twin.cloud.addons import Addons
from baton.twin.cloud.asg import AutoScaling
from baton.twin.cloud.catalogue import CloudCatalogue
from baton.twin.cloud.clusters import Clusters
from baton.twin.cloud.core import Core, KubeFactory, KubeSide
from baton.twin.cloud.errors import AwsError
from baton.twin.cloud.facts import CloudFacts
from baton.twin.cloud.fargate import Fargate
from baton.twin.cloud.identity import ClusterSecurity, PodIdentity
from baton.twin.cloud.insights import Insights
from baton.twin.cloud.nodegroups import Nodegroups
from baton.twin.cloud.records import AsgRecord, InstanceRecord
from baton.twin.cloud.settings import CloudSettings
from baton.twin.cloud.updates import Updates
from baton.twin.cloud.versions import Versions

Operation = Callable[[Mapping[str, Any]], dict[str, Any]]

_ANYWHERE = "EKS Anywhere subscriptions are billing; no cluster of this region is upgraded through them"
_CONNECTED = "connected clusters are registered for viewing only; EKS does not upgrade them"
_CAPABILITY = "EKS Capabilities (Argo CD, ACK, kro run by AWS) are not modelled"
_AUTHORITY = "changing the certificate authority of a cluster is not modelled"
# Operations that are refused on purpose, and why.
REFUSED = {
    **dict.fromkeys(("RegisterCluster", "DeregisterCluster"), _CONNECTED),
    **dict.fromkeys((f"{v}Capability" for v in ("Create", "Delete", "Describe", "Update")), _CAPABILITY),
    "ListCapabilities": _CAPABILITY,
    **dict.fromkeys((f"{v}CertificateAuthority" for v in ("Activate", "Create", "Delete", "Describe")), _AUTHORITY),
    "ListCertificateAuthorities": _AUTHORITY,
    **dict.fromkeys((f"{v}EksAnywhereSubscription" for v in ("Create", "Delete", "Describe", "Update")), _ANYWHERE),
    "ListEksAnywhereSubscriptions": _ANYWHERE,
}
ROOMS = (
    Updates,
    Clusters,
    Versions,
    Nodegroups,
    Addons,
    Access,
    Tags,
    Insights,
    PodIdentity,
    ClusterSecurity,
    Fargate,
)


class CloudTwin:
    """Amazon EKS, Auto Scaling and the instances behind them, on the clock it is handed.

    Answers have the JSON shapes of the EKS API, times as epoch seconds. Refusals are AwsError.
    """

    def __init__(
        self,
        clock: VirtualClock,
        settings: CloudSettings,
        rng: random.Random,
        catalogue: CloudCatalogue,
        facts: CloudFacts,
        kube_factory: KubeFactory,
    ) -> None:
        self.core = Core(clock, settings, rng, catalogue, facts, kube_factory)
        self.scaling = AutoScaling(self.core)
        self.updates = Updates(self.core)
        self.clusters = Clusters(self.core, self.updates, self.scaling)
        self.versions = Versions(self.core, self.updates)
        self.nodegroups = Nodegroups(self.core, self.updates, self.scaling)
        self.addons = Addons(self.core, self.updates)
        self.access = Access(self.core)
        self.tags = Tags(self.core)
        self.insights = Insights(self.core)
        self.versions.blocking = self.insights.blocking
        self.clusters.on_created.append(self.access.bootstrap)
        self.nodegroups.on_created.append(self.access.allow_nodes)
        self.operations = _operations(
            self.updates,
            self.clusters,
            self.versions,
            self.nodegroups,
            self.addons,
            self.access,
            self.tags,
            self.insights,
            PodIdentity(self.core),
            ClusterSecurity(self.core, self.updates),
            Fargate(self.core),
        )

    @property
    def settings(self) -> CloudSettings:
        return self.core.settings

    def eks(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one EKS operation (`DescribeCluster`) on its parsed parameters. Raises AwsError."""
        handler = self.operations.get(operation)
        if handler is None:
            why = REFUSED.get(operation, "it is not modelled")
            raise AwsError("InvalidRequestException", f"The operation {operation} is not served here: {why}")
        if self.settings.switches.auto_upgrade:
            self.versions.end_of_support()
        return handler(params)

    # --- Kubernetes, Auto Scaling, EC2 ------------------------------------------------------------------------

    def kube(self, cluster: str) -> KubeSide:
        """The Kubernetes side of a cluster. Raises AwsError ResourceNotFoundException."""
        return self.core.kube(cluster)

    def asgs(self) -> Sequence[AsgRecord]:
        return list(self.core.asgs.values())

    def asg(self, name: str) -> AsgRecord | None:
        return self.core.asgs.get(name)

    def instances(self, asg: str | None = None) -> Sequence[InstanceRecord]:
        """All instances, or one group's, in launch order; terminated ones are gone from it."""
        return list(self.core.instances.values()) if asg is None else self.core.group_instances(asg)

    def update_asg(
        self, name: str, *, minimum: int | None = None, maximum: int | None = None, desired: int | None = None
    ) -> None:
        """UpdateAutoScalingGroup / SetDesiredCapacity by somebody other than EKS. Raises UsageError."""
        self.scaling.set_sizes(self.core.asgs[name], minimum=minimum, maximum=maximum, desired=desired, outside=True)

    def set_desired(self, name: str, desired: int) -> None:
        self.update_asg(name, desired=desired)

    def terminate_instance(self, instance_id: str, *, decrement: bool = False) -> None:
        """TerminateInstanceInAutoScalingGroup: the terminate hook drains first. Raises UsageError."""
        self.scaling.terminate_instance(instance_id, decrement=decrement)

    def lose_instance(self, instance_id: str) -> None:
        """EC2 TerminateInstances, a spot interruption or a dead machine: gone without a drain."""
        self.scaling.lose_instance(instance_id)

    # --- hooks ------------------------------------------------------------------------------------------------

    def on_change(self, fn: Callable[[str, Any], object]) -> None:
        """`fn(kind, record)`; kinds: instance, asg, asg-deleted, launch-template, cluster-deleted."""
        self.core.on_change(fn)

    def on_event(self, fn: Callable[[Event], object], kinds: Collection[str] | None = None) -> None:
        """`fn(event)` for the timeline; of some kinds only where they are given."""
        self.core.on_event(fn, kinds)

    def connect(self, fn: Callable[[str], tuple[str, str]]) -> None:
        """`fn(cluster name)` gives the endpoint and the base64 CA that DescribeCluster shows."""
        self.core.connection = fn


_VERBS = re.compile(r"(create|describe|list|delete|update|tag|untag|associate|disassociate|cancel|start)_")


def served() -> dict[str, str]:
    """Every operation that is served -> the module that serves it."""
    return {_operation(name): room.__module__ for room in ROOMS for name in dir(room) if _VERBS.match(name)}


def _operation(method: str) -> str:
    """`create_cluster` -> CreateCluster."""
    return "".join(part.capitalize() for part in method.split("_"))


def _operations(*rooms: object) -> dict[str, Operation]:
    """Every public method of the rooms that is named after an operation."""
    return {_operation(name): getattr(room, name) for room in rooms for name in dir(room) if _VERBS.match(name)}
