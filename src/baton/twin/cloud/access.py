"""Access entries, access policies and tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from baton.twin.cloud.core import Core, need, page
from baton.twin.cloud.errors import AwsError, in_use, invalid_parameter, invalid_request, not_found
from baton.twin.cloud.records import ClusterRecord

POLICY_NAMES = (
    "AmazonAIOpsAssistantPolicy",
    "AmazonEKSAdminPolicy",
    "AmazonEKSAdminViewPolicy",
    "AmazonEKSAutoNodePolicy",
    "AmazonEKSBlockStorageClusterPolicy",
    "AmazonEKSBlockStoragePolicy",
    "AmazonEKSClusterAdminPolicy",
    "AmazonEKSClusterInsightsPolicy",
    "AmazonEKSComputeClusterPolicy",
    "AmazonEKSComputePolicy",
    "AmazonEKSEditPolicy",
    "AmazonEKSHybridPolicy",
    "AmazonEKSLoadBalancingClusterPolicy",
    "AmazonEKSLoadBalancingPolicy",
    "AmazonEKSNetworkingClusterPolicy",
    "AmazonEKSNetworkingPolicy",
    "AmazonEKSViewPolicy",
)
POLICIES = {f"arn:aws:eks::aws:cluster-access-policy/{name}": name for name in POLICY_NAMES}
ADMIN = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
NODE_TYPES = ("EC2_LINUX", "EC2_WINDOWS", "FARGATE_LINUX", "HYBRID_LINUX", "EC2", "HYPERPOD_LINUX")


class Access:
    def __init__(self, core: Core) -> None:
        self._core = core

    def bootstrap(self, cluster: ClusterRecord, params: Mapping[str, Any]) -> None:
        """The creator of a cluster administers it, unless that was declined."""
        access = cluster.api["accessConfig"]
        if access["bootstrapClusterCreatorAdminPermissions"] and access["authenticationMode"] != "CONFIG_MAP":
            creator = self._core.settings.caller_arn
            self._add(cluster, {"principalArn": creator})
            self._associate(cluster, creator, ADMIN, {"type": "cluster", "namespaces": []})

    def allow_nodes(self, cluster: ClusterRecord, role: str, kind: str = "EC2_LINUX") -> None:
        """EKS gives node roles an entry of their own when the cluster uses entries at all."""
        if cluster.api["accessConfig"]["authenticationMode"] != "CONFIG_MAP" and role not in cluster.access:
            self._add(cluster, {"principalArn": role, "type": kind})

    # --- entries ----------------------------------------------------------------------------------------------

    def create_access_entry(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "clusterName", "principalArn")
        cluster = self._core.cluster(params["clusterName"])
        self._refuse_config_map(cluster)
        arn = params["principalArn"]
        if arn in cluster.access:
            raise in_use(
                "The specified access entry resource is already in use on this cluster.", clusterName=cluster.name
            )
        if not arn.startswith("arn:") or ":iam::" not in arn:
            raise invalid_parameter("The principalArn parameter format is not valid", clusterName=cluster.name)
        kind = params.get("type") or "STANDARD"
        if kind not in ("STANDARD", *NODE_TYPES):
            raise invalid_parameter(f"The access entry type {kind} is not valid", clusterName=cluster.name)
        if kind != "STANDARD" and (params.get("kubernetesGroups") or params.get("username")):
            raise invalid_parameter(
                f"You can't specify kubernetesGroups or username for type {kind}", clusterName=cluster.name
            )
        return {"accessEntry": dict(self._add(cluster, params))}

    def _add(self, cluster: ClusterRecord, params: Mapping[str, Any]) -> dict[str, Any]:
        core, arn = self._core, str(params["principalArn"])
        kind = params.get("type") or "STANDARD"
        what, name = arn.split(":")[5].split("/", 1) if "/" in arn else ("root", "root")
        account = arn.split(":")[4]
        groups, user = list(params.get("kubernetesGroups") or ()), params.get("username")
        if kind != "STANDARD":
            groups, user = ["system:nodes"], "system:node:{{EC2PrivateDNSName}}"
        elif not user:
            session = "/{{SessionName}}" if what == "role" else ""
            user = arn if what != "role" else f"arn:aws:sts::{account}:assumed-role/{name.rpartition('/')[2]}{session}"
        now = core.now()
        entry = {
            "clusterName": cluster.name,
            "principalArn": arn,
            "kubernetesGroups": groups,
            "accessEntryArn": core.arn(
                "access-entry", f"{cluster.name}/{what}/{account}/{name}/{core.uuid(f'access {cluster.name}')}"
            ),
            "createdAt": now,
            "modifiedAt": now,
            "tags": dict(params.get("tags") or {}),
            "username": user,
            "type": kind,
        }
        cluster.access[arn] = entry
        cluster.policies[arn] = {}
        return entry

    def _entry(self, params: Mapping[str, Any]) -> tuple[ClusterRecord, dict[str, Any]]:
        need(params, "clusterName", "principalArn")
        cluster = self._core.cluster(params["clusterName"])
        entry = cluster.access.get(params["principalArn"])
        if entry is None:
            raise not_found(
                f"The specified principalArn could not be found. You can view your available access entries "
                f"with 'list-access-entries'. PrincipalArn: {params['principalArn']}",
                clusterName=cluster.name,
            )
        return cluster, entry

    @staticmethod
    def _refuse_config_map(cluster: ClusterRecord) -> None:
        if cluster.api["accessConfig"]["authenticationMode"] == "CONFIG_MAP":
            raise invalid_request(
                "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] "
                "to perform this operation.",
                clusterName=cluster.name,
            )

    def describe_access_entry(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {"accessEntry": dict(self._entry(params)[1])}

    def update_access_entry(self, params: Mapping[str, Any]) -> dict[str, Any]:
        _, entry = self._entry(params)
        if params.get("kubernetesGroups") is not None:
            entry["kubernetesGroups"] = list(params["kubernetesGroups"])
        if params.get("username"):
            entry["username"] = params["username"]
        entry["modifiedAt"] = self._core.now()
        return {"accessEntry": dict(entry)}

    def delete_access_entry(self, params: Mapping[str, Any]) -> dict[str, Any]:
        cluster, entry = self._entry(params)
        del cluster.access[entry["principalArn"]], cluster.policies[entry["principalArn"]]
        return {}

    def list_access_entries(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "clusterName")
        cluster = self._core.cluster(params["clusterName"])
        self._refuse_config_map(cluster)
        policy = params.get("associatedPolicyArn")
        arns = [a for a in sorted(cluster.access) if not policy or policy in cluster.policies[a]]
        return page(arns, params, "accessEntries")

    # --- policies ---------------------------------------------------------------------------------------------

    def associate_access_policy(self, params: Mapping[str, Any]) -> dict[str, Any]:
        cluster, entry = self._entry(params)
        need(params, "policyArn", "accessScope")
        if params["policyArn"] not in POLICIES:
            raise invalid_parameter("The policyArn parameter is not valid.", clusterName=cluster.name)
        if entry["type"] != "STANDARD":
            raise invalid_request(
                f"Access policies can't be associated with an entry of type {entry['type']}", clusterName=cluster.name
            )
        scope = params["accessScope"]
        if scope.get("type") not in ("cluster", "namespace") or (
            scope["type"] == "namespace" and not scope.get("namespaces")
        ):
            raise invalid_parameter("The accessScope parameter is not valid.", clusterName=cluster.name)
        made = self._associate(cluster, entry["principalArn"], params["policyArn"], scope)
        return {
            "clusterName": cluster.name,
            "principalArn": entry["principalArn"],
            "associatedAccessPolicy": dict(made),
        }

    def _associate(
        self, cluster: ClusterRecord, principal: str, policy: str, scope: Mapping[str, Any]
    ) -> dict[str, Any]:
        now = self._core.now()
        before = cluster.policies[principal].get(policy)
        made = {
            "policyArn": policy,
            "accessScope": {"type": scope["type"], "namespaces": list(scope.get("namespaces") or ())},
            "associatedAt": before["associatedAt"] if before else now,
            "modifiedAt": now,
        }
        cluster.policies[principal][policy] = made
        return made

    def disassociate_access_policy(self, params: Mapping[str, Any]) -> dict[str, Any]:
        cluster, entry = self._entry(params)
        need(params, "policyArn")
        if cluster.policies[entry["principalArn"]].pop(params["policyArn"], None) is None:
            raise not_found("The specified policyArn is not associated.", clusterName=cluster.name)
        return {}

    def list_associated_access_policies(self, params: Mapping[str, Any]) -> dict[str, Any]:
        cluster, entry = self._entry(params)
        held = cluster.policies[entry["principalArn"]]
        answer = page(sorted(held), params, "associatedAccessPolicies")
        answer["associatedAccessPolicies"] = [dict(held[a]) for a in answer["associatedAccessPolicies"]]
        return {"clusterName": cluster.name, "principalArn": entry["principalArn"], **answer}

    def list_access_policies(self, params: Mapping[str, Any]) -> dict[str, Any]:
        answer = page(sorted(POLICIES), params, "accessPolicies")
        answer["accessPolicies"] = [{"name": POLICIES[a], "arn": a} for a in answer["accessPolicies"]]
        return answer


class Tags:
    """Tags of whatever has an ARN; allowed while an update is in progress."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def _find(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "resourceArn")
        arn = params["resourceArn"]
        if not arn.startswith("arn:aws") or ":eks:" not in arn:
            raise AwsError("BadRequestException", "Invalid resource ARN")
        for cluster in self._core.clusters.values():
            for holder, key in _holders(cluster):
                if holder[key] == arn:
                    return holder
        raise AwsError("NotFoundException", f"Resource not found for ARN: {arn}")

    def list_tags_for_resource(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {"tags": dict(self._find(params)["tags"])}

    def tag_resource(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "tags")
        holder = self._find(params)
        tags = {**holder["tags"], **params["tags"]}
        if len(tags) > 50:
            raise AwsError("BadRequestException", "A resource can have at most 50 tags")
        holder["tags"] = tags
        return {}

    def untag_resource(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "tagKeys")
        holder = self._find(params)
        holder["tags"] = {k: v for k, v in holder["tags"].items() if k not in params["tagKeys"]}
        return {}


def _holders(cluster: ClusterRecord) -> list[tuple[dict[str, Any], str]]:
    """Everything of a cluster that has tags, with the member that holds its ARN."""
    parts: list[tuple[dict[str, Any], str]] = [(cluster.api, "arn")]
    parts += [(g.api, "nodegroupArn") for g in cluster.node_groups.values()]
    parts += [(a.api, "addonArn") for a in cluster.addons.values()]
    parts += [(e, "accessEntryArn") for e in cluster.access.values()]
    parts += [(f, "fargateProfileArn") for f in cluster.fargate.values()]
    parts += [(p, "associationArn") for p in cluster.pod_identities.values()]
    parts += [(i, "identityProviderConfigArn") for i in cluster.identity_providers.values()]
    return parts


Operation = Callable[[Mapping[str, Any]], dict[str, Any]]
