"""Fargate profiles. One changes at a time per cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from baton.twin.cloud.core import Core, need, page
from baton.twin.cloud.errors import in_use, invalid_parameter, invalid_request, not_found
from baton.twin.cloud.records import ClusterRecord


class Fargate:
    def __init__(self, core: Core) -> None:
        self._core = core

    def create_fargate_profile(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "clusterName", "fargateProfileName", "podExecutionRoleArn")
        core, name = self._core, params["fargateProfileName"]
        cluster = core.active_cluster(params["clusterName"])
        at = {"clusterName": cluster.name, "fargateProfileName": name}
        existing = cluster.fargate.get(name)
        if existing is not None:
            raise invalid_request(f"Fargate Profile already exists with name: {name}", **at)
        self._refuse_if_busy(cluster, at)
        if not params.get("selectors"):
            raise invalid_parameter("Fargate Profile must have at least one selector.", **at)
        subnets = list(params.get("subnets") or cluster.api["resourcesVpcConfig"]["subnetIds"])
        for subnet in subnets:
            if core.catalogue.subnet(subnet) is None:
                raise invalid_parameter(f"The subnet ID '{subnet}' does not exist", **at)
        ident = core.uuid(f"fargate {cluster.name}")
        profile: dict[str, Any] = {
            "fargateProfileName": name,
            "fargateProfileArn": core.arn("fargateprofile", f"{cluster.name}/{name}/{ident}"),
            "clusterName": cluster.name,
            "createdAt": core.now(),
            "podExecutionRoleArn": params["podExecutionRoleArn"],
            "subnets": subnets,
            "selectors": [dict(s) for s in params["selectors"]],
            "status": "CREATING",
            "tags": dict(params.get("tags") or {}),
            "health": {"issues": []},
        }
        cluster.fargate[name] = profile
        shown = dict(profile)

        def done() -> None:
            profile["status"] = "ACTIVE"

        core.later(core.draw(core.settings.durations.fargate_profile, f"fargate {cluster.name}"), done)
        return {"fargateProfile": shown}

    @staticmethod
    def _refuse_if_busy(cluster: ClusterRecord, at: Mapping[str, str | None]) -> None:
        busy = [p["fargateProfileName"] for p in cluster.fargate.values() if p["status"] in ("CREATING", "DELETING")]
        if busy:
            raise in_use(
                f"Cannot create or delete a Fargate Profile because cluster {cluster.name} currently has Fargate "
                f"profile {busy[0]} in status {cluster.fargate[busy[0]]['status']}",
                clusterName=at["clusterName"],
            )

    def _find(self, params: Mapping[str, Any]) -> tuple[ClusterRecord, dict[str, Any]]:
        need(params, "clusterName", "fargateProfileName")
        cluster = self._core.cluster(params["clusterName"])
        name = params["fargateProfileName"]
        found = cluster.fargate.get(name)
        if found is None:
            raise not_found(
                f"No Fargate Profile found with name: {name}.", clusterName=cluster.name, fargateProfileName=name
            )
        return cluster, found

    def describe_fargate_profile(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {"fargateProfile": dict(self._find(params)[1])}

    def list_fargate_profiles(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "clusterName")
        return page(sorted(self._core.cluster(params["clusterName"]).fargate), params, "fargateProfileNames")

    def delete_fargate_profile(self, params: Mapping[str, Any]) -> dict[str, Any]:
        cluster, profile = self._find(params)
        name = profile["fargateProfileName"]
        if profile["status"] != "DELETING":
            self._refuse_if_busy(cluster, {"clusterName": cluster.name, "fargateProfileName": name})
            profile["status"] = "DELETING"
            wait = self._core.draw(self._core.settings.durations.fargate_profile, f"fargate {cluster.name}")
            self._core.later(wait, lambda: cluster.fargate.pop(name, None))
        return {"fargateProfile": dict(profile)}
