"""Cluster insights, computed from the twin's real state: readiness for the next version, and for going back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from baton.errors import UsageError
from baton.knowledge.skew import minors_between
from baton.model.nodes import info, kubelet, name
from baton.model.versions import Minor
from baton.twin.cloud.core import Core, need, page
from baton.twin.cloud.errors import invalid_request, not_found
from baton.twin.cloud.nodegroup_rules import ROLLBACK_DAYS
from baton.twin.cloud.records import ClusterRecord

UPGRADE, ROLLBACK = "UPGRADE_READINESS", "ROLLBACK_READINESS"
DAY = 86400.0
MAX_LAG = 3
AL2_ENDS_AT = Minor(1, 33)  # the first version without Amazon Linux 2 images
_DOCS = "https://docs.aws.amazon.com/eks/latest/userguide/"


@dataclass
class Verdict:
    """What one check found; `resources` are (kind/name URI or ARN, status, reason)."""

    status: str
    reason: str
    recommendation: str = ""
    resources: list[tuple[str, str, str]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)


Check = tuple[str, str, Minor, Verdict]  # name, description, the version it is about, what was found


class Insights:
    """Refreshed when asked to, and at most every 24 hours by itself, as the service does."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._used: dict[str, dict[tuple[str, str], dict[str, dict[str, Any]]]] = {}

    def api_used(self, cluster: str, group_version: str, kind: str, user_agent: str) -> None:
        """A client asked the API server for this; deprecated uses of the last 30 days become insights."""
        uses = self._used.setdefault(cluster, {}).setdefault((group_version, kind), {})
        row = uses.setdefault(user_agent, {"userAgent": user_agent, "numberOfRequestsLast30Days": 0})
        row["numberOfRequestsLast30Days"] += 1
        row["lastRequestTime"] = self._core.now()

    def blocking(self, cluster: ClusterRecord, category: str) -> list[str]:
        """Names of the insights that block an update; rollbacks may also be held up by UNKNOWN ones (a switch)."""
        self.refresh(cluster)
        bad = {"ERROR"}
        if category == ROLLBACK and self._core.settings.switches.rollback_unknown_blocks:
            bad.add("UNKNOWN")
        found = cluster.insights.values()
        return [i["name"] for i in found if i["category"] == category and i["insightStatus"]["status"] in bad]

    # --- computing --------------------------------------------------------------------------------------------

    def refresh(self, cluster: ClusterRecord) -> None:
        """Compute every insight anew."""
        now, current = self._core.now(), Minor.parse(cluster.api["version"])
        before, cluster.insights = cluster.insights, {}
        self._add(cluster, before, UPGRADE, self._upgrade_checks(cluster, current))
        if cluster.upgraded_at is not None and now - cluster.upgraded_at <= ROLLBACK_DAYS * DAY:
            back = Minor.parse(cluster.upgraded_from)
            self._add(cluster, before, ROLLBACK, self._rollback_checks(cluster, back))
        cluster.insights_refresh["last"] = now

    def _add(
        self,
        cluster: ClusterRecord,
        before: Mapping[str, dict[str, Any]],
        category: str,
        checks: list[Check],
    ) -> None:
        now = self._core.now()
        for title, description, version, verdict in checks:
            ident = self._ident(cluster, category, title)
            status = {"status": verdict.status, "reason": verdict.reason}
            old = before.get(ident)
            same = old is not None and old["insightStatus"]["status"] == verdict.status
            cluster.insights[ident] = {
                "id": ident,
                "name": title,
                "category": category,
                "kubernetesVersion": str(version),
                "lastRefreshTime": now,
                "lastTransitionTime": old["lastTransitionTime"] if same and old else now,
                "description": description,
                "insightStatus": status,
                "recommendation": verdict.recommendation,
                "additionalInfo": {"EKS update cluster documentation": _DOCS + "update-cluster.html"},
                "resources": [
                    {"insightStatus": {"status": s, "reason": why}, "kubernetesResourceUri": uri}
                    for uri, s, why in verdict.resources
                ],
                "categorySpecificSummary": verdict.summary,
            }

    def _ident(self, cluster: ClusterRecord, category: str, title: str) -> str:
        """The same id for the same check of the same cluster, whoever asks first."""
        key = f"{category}/{title}"
        idents: dict[str, str] = cluster.insights_refresh.setdefault("ids", {})
        if key not in idents:
            idents[key] = self._core.uuid(f"insight {cluster.api['createdAt']} {cluster.name}/{key}")
        return idents[key]

    def _upgrade_checks(self, cluster: ClusterRecord, current: Minor) -> list[Check]:
        target = current.plus(1)
        fits = "All installed EKS add-on versions are compatible with next Kubernetes version."
        checks: list[Check] = [
            ("Kubelet version skew", _KUBELET_TEXT, target, self._kubelets(cluster, target)),
            ("kube-proxy version skew", _PROXY_TEXT, target, self._proxy(cluster, target)),
            ("EKS add-on version compatibility", _ADDON_TEXT, target, self._addons(cluster, target, fits)),
            ("Cluster health issues", _HEALTH_TEXT, target, self._health(cluster)),
        ]
        if target <= AL2_ENDS_AT:
            checks.append(("Amazon Linux 2 compatibility", _AL2_TEXT, target, self._al2(cluster, target)))
        for minor in sorted({row.removed for row in self._core.facts.knowledge.apis.values() if row.removed}):
            removed = Minor(1, minor)
            if removed > current:
                title = f"Deprecated APIs removed in Kubernetes v{removed}"
                text = _API_TEXT.format(version=removed)
                checks.append((title, text, removed, self._apis(cluster, removed, removed == target)))
        return checks

    def _rollback_checks(self, cluster: ClusterRecord, back: Minor) -> list[Check]:
        """Names and descriptions are ours: AWS documents what is checked, not how it is called."""
        newer = [n for n in self._nodes(cluster) if (kubelet(n) or back) > back]
        nodes = Verdict("PASSING", f"No node is newer than Kubernetes {back}.")
        if newer:
            nodes = Verdict(
                "ERROR",
                f"{len(newer)} node(s) run a kubelet newer than Kubernetes {back}.",
                f"Update your node groups to {back} before rolling the control plane back.",
                [(f"nodes/{name(n)}", "ERROR", str(info(n).get("kubeletVersion"))) for n in newer],
            )
        proxy = self._proxy_version(cluster)
        proxies = Verdict("PASSING", f"kube-proxy is not newer than Kubernetes {back}.")
        if proxy is not None and proxy > back:
            text = f"kube-proxy {proxy} is newer than Kubernetes {back}."
            proxies = Verdict("ERROR", text, "Downgrade kube-proxy first.")
        fits = "All installed EKS add-on versions are compatible with the previous Kubernetes version."
        addons = self._addons(cluster, back, fits)
        return [
            ("Kubelet version skew for rollback", "Checks that no node is too new to go back.", back, nodes),
            (
                "kube-proxy version skew for rollback",
                "Checks that kube-proxy is not too new to go back.",
                back,
                proxies,
            ),
            ("EKS add-on version compatibility for rollback", "Checks add-ons for going back.", back, addons),
            ("Cluster health issues for rollback", _HEALTH_TEXT, back, self._health(cluster)),
        ]

    # --- the checks -------------------------------------------------------------------------------------------

    def _nodes(self, cluster: ClusterRecord) -> list[Mapping[str, Any]]:
        return list(self._core.kubes[cluster.name].world.items("nodes"))

    def _kubelets(self, cluster: ClusterRecord, target: Minor) -> Verdict:
        nodes = self._nodes(cluster)
        versions = [(n, kubelet(n)) for n in nodes]
        if any(v is None for _, v in versions):
            return Verdict("UNKNOWN", "Unable to determine status of node kubelet versions.", _NODES)
        lags = [(n, minors_between(v, target)) for n, v in versions if v is not None]
        worst = max((lag for _, lag in lags), default=0)
        if worst < MAX_LAG:
            return Verdict("PASSING", "Node kubelet versions match the cluster control plane version.", _NODES)
        status = "ERROR" if worst > MAX_LAG else "WARNING"
        late = [
            (f"nodes/{name(n)}", "ERROR" if lag > MAX_LAG else "WARNING", f"kubelet {info(n).get('kubeletVersion')}")
            for n, lag in lags
            if lag >= MAX_LAG
        ]
        return Verdict(status, f"{len(late)} node(s) would be {worst} minors behind Kubernetes {target}.", _NODES, late)

    def _proxy_version(self, cluster: ClusterRecord) -> Minor | None:
        record = cluster.addons.get("kube-proxy")
        try:
            return None if record is None else Minor.parse(record.api["addonVersion"])
        except UsageError:
            return None

    def _proxy(self, cluster: ClusterRecord, target: Minor) -> Verdict:
        proxy = self._proxy_version(cluster)
        passing = "kube-proxy versions match the cluster control plane version."
        lag = 0 if proxy is None else minors_between(proxy, target)
        if lag < MAX_LAG:
            return Verdict("PASSING", passing, _PROXY)
        return Verdict(
            "ERROR" if lag > MAX_LAG else "WARNING", f"kube-proxy {proxy} would be {lag} minors behind.", _PROXY
        )

    def _addons(self, cluster: ClusterRecord, target: Minor, passing: str) -> Verdict:
        details, bad = [], []
        for addon, record in sorted(cluster.addons.items()):
            fitting = [r.version for r in self._core.facts.addon_releases(addon, str(target))]
            if not fitting or record.api["addonVersion"] in fitting:
                continue
            details.append({"name": addon, "compatibleVersions": fitting})
            bad.append((record.api["addonArn"], "ERROR", f"{addon} {record.api['addonVersion']} does not fit {target}"))
        summary = {"addonCompatibilityDetails": details}
        if not bad:
            return Verdict("PASSING", passing, _ADDONS, [], summary)
        return Verdict(
            "ERROR", f"{len(bad)} add-on(s) are not compatible with Kubernetes {target}.", _ADDONS, bad, summary
        )

    @staticmethod
    def _health(cluster: ClusterRecord) -> Verdict:
        issues = cluster.api["health"]["issues"]
        if not issues:
            return Verdict("PASSING", "No cluster health issues detected.")
        return Verdict("ERROR", "; ".join(i["message"] for i in issues), "Resolve the cluster's health issues.")

    def _al2(self, cluster: ClusterRecord, target: Minor) -> Verdict:
        found = [n for n in self._nodes(cluster) if info(n).get("osImage") == "Amazon Linux 2"]
        if not found:
            return Verdict("PASSING", "No nodes running Amazon Linux 2 detected.")
        status = "ERROR" if target >= AL2_ENDS_AT else "WARNING"
        text = (
            "Migrate all EKS nodes using Amazon Linux 2 AMIs to Bottlerocket or Amazon Linux 2023 AMIs prior to "
            "upgrading to EKS version 1.33."
        )
        rows = [(f"nodes/{name(n)}", status, "Amazon Linux 2") for n in found]
        return Verdict(status, f"{len(found)} node(s) run Amazon Linux 2.", text, rows)

    def _apis(self, cluster: ClusterRecord, removed: Minor, next_one: bool) -> Verdict:
        details, since = [], self._core.now() - 30 * DAY
        for (group_version, kind), uses in sorted(self._used.get(cluster.name, {}).items()):
            row = self._core.facts.knowledge.api(group_version, kind)
            recent = [u for u in uses.values() if u["lastRequestTime"] >= since]
            if row is None or row.removed != removed.minor or not recent:
                continue
            details.append(
                {
                    "usage": f"/apis/{group_version}/{kind.lower()}s",
                    "replacedWith": row.replacement,
                    "stopServingVersion": str(removed),
                    "clientStats": [dict(u) for u in recent],
                }
            )
        summary = {"deprecationDetails": details}
        if not details:
            return Verdict("PASSING", "No deprecated API usage detected within the last 30 days.", _APIS, [], summary)
        status = "ERROR" if next_one else "WARNING"
        return Verdict(status, "Deprecated API usage detected within last 30 days.", _APIS, [], summary)

    # --- operations -------------------------------------------------------------------------------------------

    def _current(self, params: Mapping[str, Any]) -> ClusterRecord:
        need(params, "clusterName")
        cluster = self._core.cluster(params["clusterName"])
        last = cluster.insights_refresh.get("last")
        if cluster.api["status"] != "CREATING" and (last is None or self._core.now() - last >= DAY):
            self.refresh(cluster)
        return cluster

    def list_insights(self, params: Mapping[str, Any]) -> dict[str, Any]:
        cluster = self._current(params)
        wanted = params.get("filter") or {}
        found = [
            i
            for i in cluster.insights.values()
            if i["category"] in (wanted.get("categories") or [i["category"]])
            and i["kubernetesVersion"] in (wanted.get("kubernetesVersions") or [i["kubernetesVersion"]])
            and i["insightStatus"]["status"] in (wanted.get("statuses") or [i["insightStatus"]["status"]])
        ]
        answer = page([i["id"] for i in found], params, "insights")
        answer["insights"] = [
            {k: v for k, v in cluster.insights[ident].items() if k in _SUMMARY} for ident in answer["insights"]
        ]
        return answer

    def describe_insight(self, params: Mapping[str, Any]) -> dict[str, Any]:
        cluster = self._current(params)
        need(params, "id")
        found = cluster.insights.get(params["id"])
        if found is None:
            raise not_found(f"No insight found for id: {params['id']}", clusterName=cluster.name)
        return {"insight": dict(found)}

    def start_insights_refresh(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "clusterName")
        core = self._core
        cluster = core.cluster(params["clusterName"])
        state = cluster.insights_refresh
        if state.get("status") == "IN_PROGRESS":
            raise invalid_request("An insights refresh is already in progress", clusterName=cluster.name)
        state.update(status="IN_PROGRESS", startedAt=core.now(), message="Insights refresh is in progress")
        state.pop("endedAt", None)

        def done() -> None:
            if core.clusters.get(cluster.name) is cluster:
                self.refresh(cluster)
                state.update(status="COMPLETED", endedAt=core.now(), message="Insights refresh completed successfully")

        core.later(core.draw(core.settings.durations.insights_refresh, f"insights {cluster.name}"), done)
        return {"message": state["message"], "status": state["status"]}

    def describe_insights_refresh(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "clusterName")
        cluster = self._core.cluster(params["clusterName"])
        if "status" not in cluster.insights_refresh:
            raise not_found(f"No insights refresh found for cluster: {cluster.name}", clusterName=cluster.name)
        shown = ("message", "status", "startedAt", "endedAt")
        return {k: v for k, v in cluster.insights_refresh.items() if k in shown}


_SUMMARY = (
    "id",
    "name",
    "category",
    "kubernetesVersion",
    "lastRefreshTime",
    "lastTransitionTime",
    "description",
    "insightStatus",
)
_KUBELET_TEXT = (
    "Checks for kubelet versions of worker nodes in the cluster to see if upgrade would cause noncompliance "
    "with supported Kubernetes kubelet version skew policy."
)
_PROXY_TEXT = (
    "Checks version of kube-proxy in cluster to see if upgrade would cause noncompliance with supported "
    "Kubernetes kube-proxy version skew policy."
)
_ADDON_TEXT = (
    "Checks version of installed EKS add-ons to ensure they are compatible with the next version of Kubernetes."
)
_HEALTH_TEXT = (
    "Checks for any cluster health issues that prevent successful upgrade to the next Kubernetes version on EKS."
)
_AL2_TEXT = (
    "Checks if any nodes in the cluster are running Amazon Linux 2. Support for AL2 AMIs ended on November 26, 2025. "
    "Additionally, Amazon EKS will not release Amazon Linux 2 AMIs for Kubernetes version 1.33 and higher"
)
_API_TEXT = (
    "Checks for usage of deprecated APIs that are scheduled for removal in Kubernetes v{version}. Upgrading your "
    "cluster before migrating to the updated APIs supported by v{version} could cause application impact."
)
_NODES = "Upgrade your worker nodes to match the Kubernetes version of your cluster control plane."
_PROXY = "Upgrade kube-proxy to match the Kubernetes version of your cluster control plane."
_ADDONS = "Update installed EKS add-ons to a version compatible with the next Kubernetes version before upgrading."
_APIS = "Update manifests and API clients to use newer Kubernetes APIs if applicable before upgrading."
