"""The control plane's version: update, rollback, and the calendar that DescribeClusterVersions shows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from baton.errors import UsageError
from baton.model.cluster import VersionInfo
from baton.model.versions import Minor
from baton.twin.cloud.clusters import refuse_inactive
from baton.twin.cloud.core import Core, need, page
from baton.twin.cloud.errors import AwsError, invalid_parameter, invalid_request
from baton.twin.cloud.nodegroup_rules import ROLLBACK_DAYS
from baton.twin.cloud.records import ClusterRecord, UpdateRecord
from baton.twin.cloud.updates import CLUSTER, Updates, failure

NEEDED_IPS = 5  # free addresses in the cluster's subnets for the new control plane's interfaces
OLD_SKEW_BELOW = Minor(1, 25)  # kubelets below it may be two minors older, from it on three

Blocking = Callable[[ClusterRecord, str], list[str]]


class Versions:
    """`blocking(cluster, category)` names the insights that stand in the way (set by the insights room)."""

    def __init__(self, core: Core, updates: Updates) -> None:
        self._core = core
        self._updates = updates
        self.blocking: Blocking = lambda cluster, category: []

    def update_cluster_version(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "name", "version")
        core = self._core
        cluster = core.cluster(params["name"])
        token = params.get("clientRequestToken")
        if repeat := self._updates.repeated(cluster, CLUSTER, token):
            return repeat
        wanted = str(params["version"])
        back = self._is_rollback(cluster, wanted)
        kind = "VersionRollback" if back else "VersionUpdate"
        refuse_inactive(cluster, kind, self._updates)
        if back:
            self._check_rollback(cluster, wanted, params)
        else:
            self._check_upgrade(cluster, wanted, params)
        shown = {"Version": wanted, "PlatformVersion": core.facts.platform(wanted)}
        update = self._updates.begin(cluster, CLUSTER, kind, shown, token)
        cluster.api["status"] = "UPDATING"
        wait = core.draw(core.settings.timings.control_plane_update, f"control plane {cluster.name}")
        core.later(wait, lambda: self._ended(cluster, update, wanted))
        return {"update": dict(update.api)}

    def end_of_support(self) -> None:
        """With the switch on: clusters past their support go up one minor, control plane only, as AWS does it."""
        for cluster in self._core.clusters.values():
            info = self._core.facts.version(cluster.api["version"])
            if info is None or cluster.api["status"] != "ACTIVE" or self._updates.running(cluster, CLUSTER):
                continue
            standard = cluster.api["upgradePolicy"]["supportType"] == "STANDARD"
            if info.status == "UNSUPPORTED" or (standard and info.status == "EXTENDED_SUPPORT"):
                wanted = str(Minor.parse(cluster.api["version"]).plus(1))
                if self._core.facts.version(wanted) is not None and not self.lagging(cluster, wanted):
                    self.update_cluster_version({"name": cluster.name, "version": wanted, "force": True})

    # --- rules ------------------------------------------------------------------------------------------------

    def _is_rollback(self, cluster: ClusterRecord, wanted: str) -> bool:
        """Told apart by the number alone; a version that is none is refused here."""
        now = Minor.parse(cluster.api["version"])
        try:
            target = Minor.parse(wanted)
        except UsageError:
            raise invalid_parameter("unsupported Kubernetes version", clusterName=cluster.name) from None
        if str(target) != wanted or self._core.facts.version(wanted) is None:
            raise invalid_parameter("unsupported Kubernetes version", clusterName=cluster.name)
        if target == now.plus(-1):
            return True
        if target != now.plus(1):
            raise _unsupported(cluster, wanted)
        return False

    def _check_upgrade(self, cluster: ClusterRecord, wanted: str, params: Mapping[str, Any]) -> None:
        lagging = self.lagging(cluster, wanted)
        if lagging:
            raise invalid_request(
                f"Nodegroups {', '.join(lagging)} must be updated to match cluster version "
                f"{cluster.api['version']} before updating cluster version",
                clusterName=cluster.name,
            )
        enforce = self._core.settings.switches.enforce_insights
        if enforce and not params.get("force") and self.blocking(cluster, "UPGRADE_READINESS"):
            raise _not_ready(cluster)

    def lagging(self, cluster: ClusterRecord, wanted: str) -> list[str]:
        """Node groups with a kubelet that would be too old for `wanted`."""
        target = Minor.parse(wanted)
        found = []
        for name, record in sorted(cluster.node_groups.items()):
            group = self._core.asgs.get(record.asg)
            members = self._core.group_instances(record.asg)
            numbers = {i.template_version for i in members if not i.leaving}
            versions = {Minor.parse(group.version(n).kubelet_version) for n in numbers} if group else set()
            if any(k < target.plus(-3 if k >= OLD_SKEW_BELOW else -2) for k in versions):
                found.append(name)
        return found

    def _check_rollback(self, cluster: ClusterRecord, wanted: str, params: Mapping[str, Any]) -> None:
        """The documented preconditions, which force does not lift, then the insights, which it does."""
        core = self._core
        if cluster.upgraded_at is None or cluster.upgraded_from != wanted:
            raise _unsupported(cluster, wanted)
        if core.now() - cluster.upgraded_at > ROLLBACK_DAYS * 86400:
            raise invalid_request(
                f"Cluster {cluster.name} can be rolled back to {wanted} only "
                f"within {ROLLBACK_DAYS} days of its upgrade",
                clusterName=cluster.name,
            )
        info = core.facts.version(wanted)
        if info is None or info.status == "UNSUPPORTED":
            raise invalid_parameter("unsupported Kubernetes version", clusterName=cluster.name)
        if info.status == "EXTENDED_SUPPORT" and cluster.api["upgradePolicy"]["supportType"] != "EXTENDED":
            raise invalid_request(
                f"Kubernetes version {wanted} is in extended support; set the upgrade policy to EXTENDED first",
                clusterName=cluster.name,
            )
        minutes = (params.get("rollbackConfig") or {}).get("timeoutMinutes", 720)
        if not 120 <= minutes <= 10080:
            raise invalid_parameter("timeoutMinutes must be between 120 and 10080", clusterName=cluster.name)
        if not params.get("force") and self.blocking(cluster, "ROLLBACK_READINESS"):
            raise _not_ready(cluster)

    # --- the end of an update ---------------------------------------------------------------------------------

    def _ended(self, cluster: ClusterRecord, update: UpdateRecord, wanted: str) -> None:
        """The new API servers are up: checked, and the cluster moves; or EKS puts everything back."""
        core = self._core
        if core.clusters.get(cluster.name) is not cluster:
            return
        cluster.api["status"] = "ACTIVE"
        subnets = cluster.api["resourcesVpcConfig"]["subnetIds"]
        if sum(core.free_ips(s) for s in subnets) < NEEDED_IPS:
            text = "One or more subnets does not have enough free IP addresses for the control plane"
            self._updates.end(cluster, update, failure("IpNotAvailable", text, *subnets))
            return
        if core.settings.faults.control_plane_fails:
            text = "The updated control plane did not pass its health check; the cluster stays on its prior version"
            self._updates.end(cluster, update, failure("Unknown", text, cluster.name))
            return
        before = cluster.api["version"]
        forward = Minor.parse(wanted) > Minor.parse(before)
        cluster.api.update(version=wanted, platformVersion=core.facts.platform(wanted))
        cluster.upgraded_at, cluster.upgraded_from = (core.now(), before) if forward else (None, "")
        core.kubes[cluster.name].set_version(wanted)
        core.event("cluster.version", cluster.name, version=wanted)
        self._updates.end(cluster, update)

    # --- calendar ---------------------------------------------------------------------------------------------

    def describe_cluster_versions(self, params: Mapping[str, Any]) -> dict[str, Any]:
        wanted_status = params.get("versionStatus") or (params.get("status") or "").upper().replace("-", "_")
        if wanted_status not in ("", "UNSUPPORTED", "STANDARD_SUPPORT", "EXTENDED_SUPPORT"):
            raise invalid_parameter(f"versionStatus {wanted_status} is not supported")
        names = params.get("clusterVersions")
        chosen: dict[str, VersionInfo] = {}
        for info in sorted(self._core.facts.versions, key=lambda v: Minor.parse(v.version), reverse=True):
            everything = params.get("includeAll") or wanted_status or names
            if info.status == "UNSUPPORTED" and not everything:
                continue
            if wanted_status and info.status != wanted_status:
                continue
            if (names and info.version not in names) or (params.get("defaultOnly") and not info.default):
                continue
            chosen[info.version] = info
        answer = page(chosen, params, "clusterVersions")
        answer["clusterVersions"] = [self._row(chosen[name]) for name in answer["clusterVersions"]]
        return answer

    def _row(self, info: VersionInfo) -> dict[str, Any]:
        row: dict[str, Any] = {
            "clusterVersion": info.version,
            "clusterType": "eks",
            "defaultPlatformVersion": self._core.facts.platform(info.version),
            "defaultVersion": info.version == self._core.facts.default_version(),
            "status": info.status.lower().replace("_", "-"),
            "versionStatus": info.status,
            "kubernetesPatchVersion": self._core.facts.patch(info.version),
        }
        dates = {
            "releaseDate": info.release_date,
            "endOfStandardSupportDate": info.end_of_standard_support,
            "endOfExtendedSupportDate": info.end_of_extended_support,
        }
        row.update({name: _epoch(text) for name, text in dates.items() if text})
        return row


def _epoch(date: str) -> float:
    return dt.datetime.fromisoformat(date).replace(tzinfo=dt.UTC).timestamp()


def _unsupported(cluster: ClusterRecord, wanted: str) -> AwsError:
    return invalid_parameter(
        f"Unsupported Kubernetes minor version update from {cluster.api['version']} to {wanted}",
        clusterName=cluster.name,
    )


def _not_ready(cluster: ClusterRecord) -> AwsError:
    return AwsError(
        "InvalidStateException",
        "Amazon EKS detected upgrade readiness issues. Call the ListInsights API to view detected upgrade blocking "
        "issues. Pass the force flag when updating to override upgrade readiness errors.",
        clusterName=cluster.name,
    )
