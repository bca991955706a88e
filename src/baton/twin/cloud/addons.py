"""Add-on operations, and the catalogue of add-on versions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from baton.model.cluster import AddonRelease
from baton.model.versions import AddonVersion
from baton.twin.cloud.core import Core, need, page
from baton.twin.cloud.errors import in_use, invalid_parameter, not_found
from baton.twin.cloud.records import AddonRecord, ClusterRecord, UpdateRecord
from baton.twin.cloud.updates import Updates, failure

LOOK_EVERY = 5.0  # seconds between looks at an add-on that is being rolled out
REQUIRES_IAM = frozenset({"vpc-cni", "aws-ebs-csi-driver", "aws-efs-csi-driver", "amazon-cloudwatch-observability"})
_CONFLICT = (
    "Conflicts found when trying to apply. Will not continue due to resolve conflicts mode. "
    'Conflicts: {kind} {workload} - .spec.template.spec.containers[name="{workload}"].env'
)
_WORKLOADS = {"vpc-cni": ("DaemonSet.apps", "aws-node"), "kube-proxy": ("DaemonSet.apps", "kube-proxy")}


class Addons:
    def __init__(self, core: Core, updates: Updates) -> None:
        self._core = core
        self._updates = updates

    # --- catalogue --------------------------------------------------------------------------------------------

    def describe_addon_versions(self, params: Mapping[str, Any]) -> dict[str, Any]:
        core = self._core
        wanted, minor = params.get("addonName"), params.get("kubernetesVersion")
        if minor and core.facts.version(minor) is None:
            raise invalid_parameter("unsupported Kubernetes version")
        if wanted and core.facts.addon_info(wanted) is None:
            raise not_found(f"Addon {wanted} not found", addonName=wanted)
        infos: dict[str, dict[str, Any]] = {}
        for name in [wanted] if wanted else core.facts.addon_names:
            info = self._info(name, minor)
            if (
                info["addonVersions"]
                and info["type"] in (params.get("types") or [info["type"]])
                and info["publisher"] in (params.get("publishers") or [info["publisher"]])
                and info["owner"] in (params.get("owners") or [info["owner"]])
            ):
                infos[name] = info
        answer = page(infos, params, "addons")
        answer["addons"] = [infos[name] for name in answer["addons"]]
        return answer

    def _info(self, name: str, minor: str | None) -> dict[str, Any]:
        known = self._core.facts.addon_info(name)
        assert known is not None
        releases = self._core.facts.addon_releases(name, minor)
        return {
            "addonName": name,
            "type": known.type,
            "addonVersions": [_release(r, minor, name in REQUIRES_IAM) for r in releases],
            "publisher": "eks",
            "owner": "aws",
            "defaultNamespace": known.namespace,
        }

    def describe_addon_configuration(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "addonName", "addonVersion")
        name, version = params["addonName"], params["addonVersion"]
        if self._core.facts.addon(name, version) is None:
            raise not_found(f"Addon {name} with version {version} not found", addonName=name)
        answer: dict[str, Any] = {
            "addonName": name,
            "addonVersion": version,
            "configurationSchema": json.dumps(_SCHEMA),
        }
        if name in REQUIRES_IAM:
            account = {"vpc-cni": "aws-node", "aws-ebs-csi-driver": "ebs-csi-controller-sa"}.get(name, name)
            policy = f"arn:aws:iam::aws:policy/{_POLICIES.get(name, 'CloudWatchAgentServerPolicy')}"
            answer["podIdentityConfiguration"] = [{"serviceAccount": account, "recommendedManagedPolicies": [policy]}]
        return answer

    def _check_version(self, cluster: ClusterRecord, name: str, version: str | None) -> str:
        """The version to install; refuses names and versions that do not exist or do not fit the cluster."""
        facts, minor = self._core.facts, str(cluster.api["version"])
        at = {"clusterName": cluster.name, "addonName": name}
        if facts.addon_info(name) is None:
            raise invalid_parameter("Addon specified is not supported", **at)
        if not version:
            chosen = facts.default_addon_version(name, minor)
            if chosen is None:
                raise invalid_parameter("Addon specified is not supported", **at)
            return chosen
        release = facts.addon(name, version)
        if release is None or minor not in release.compatible:
            raise invalid_parameter("Addon version specified is not supported", **at)
        return version

    # --- create, describe, list, delete -----------------------------------------------------------------------

    def create_addon(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "clusterName", "addonName")
        core, name = self._core, params["addonName"]
        cluster = core.cluster(params["clusterName"])
        at = {"clusterName": cluster.name, "addonName": name}
        existing = cluster.addons.get(name)
        if existing is not None:
            if existing.token and existing.token == params.get("clientRequestToken"):
                return {"addon": _shown(existing)}
            raise in_use("Addon already exists.", **at)
        core.active_cluster(cluster.name)
        if params.get("resolveConflicts") == "PRESERVE":
            raise invalid_parameter(
                "Resolve conflicts option preserve is not supported for operation CreateAddon", **at
            )
        version = self._check_version(cluster, name, params.get("addonVersion"))
        _check_configuration(params.get("configurationValues"), at)
        now = core.now()
        api: dict[str, Any] = {
            "addonName": name,
            "clusterName": cluster.name,
            "status": "CREATING",
            "addonVersion": version,
            "health": {"issues": []},
            "addonArn": core.arn("addon", f"{cluster.name}/{name}/{core.uuid(f'addon {cluster.name}')}"),
            "createdAt": now,
            "modifiedAt": now,
            "tags": dict(params.get("tags") or {}),
            "publisher": "eks",
            "owner": "aws",
        }
        for optional in ("serviceAccountRoleArn", "configurationValues"):
            if params.get(optional):
                api[optional] = params[optional]
        api["podIdentityAssociations"] = self._associations(cluster, params.get("podIdentityAssociations"))
        record = AddonRecord(api, params.get("clientRequestToken") or "")
        cluster.addons[name] = record
        core.event("addon.creating", f"{cluster.name}/{name}", version=version)
        wait = core.draw(core.settings.timings.addon_create, f"addon {cluster.name}/{name}")
        if core.settings.faults.hits("addon_conflict", name) and params.get("resolveConflicts") != "OVERWRITE":
            core.later(wait, lambda: self._ended(record, "CREATE_FAILED", _conflict(name)))
        else:
            self._roll_out(cluster, record, version)
            core.later(wait, lambda: self._await(cluster, record, core.now(), lambda i: self._created(record, i)))
        return {"addon": _shown(record)}

    def _created(self, record: AddonRecord, issue: dict[str, Any] | None) -> None:
        self._ended(record, "ACTIVE" if issue is None else "DEGRADED", issue)

    def _ended(self, record: AddonRecord, status: str, issue: dict[str, Any] | None = None) -> None:
        if record.api["status"] in ("CREATING", "UPDATING"):
            record.api.update(status=status, modifiedAt=self._core.now())
            record.api["health"] = {"issues": [issue] if issue else []}
            subject = f"{record.api['clusterName']}/{record.api['addonName']}"
            self._core.event("addon.status", subject, status=status, version=record.api["addonVersion"])

    def _roll_out(self, cluster: ClusterRecord, record: AddonRecord, version: str) -> None:
        name = record.api["addonName"]
        healthy = not self._core.settings.faults.hits("addon_unhealthy", name)
        self._core.kubes[cluster.name].apply_addon(name, version, image_ok=healthy)

    def _await(
        self,
        cluster: ClusterRecord,
        record: AddonRecord,
        since: float,
        ended: Callable[[dict[str, Any] | None], object],
    ) -> None:
        """Look until the add-on's pods are healthy, or until EKS's patience ends; `ended(issue)`."""
        core, name = self._core, str(record.api["addonName"])
        if cluster.addons.get(name) is not record or cluster.name not in core.kubes:
            return
        if core.kubes[cluster.name].addon_healthy(name):
            ended(None)
        elif core.now() - since >= core.settings.switches.addon_wait:
            text = "The add-on is unhealthy because it doesn't have the desired number of replicas."
            ended({"code": "InsufficientNumberOfReplicas", "message": text, "resourceIds": [name]})
        else:
            core.later(LOOK_EVERY, lambda: self._await(cluster, record, since, ended))

    def describe_addon(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "clusterName", "addonName")
        record = self._core.addon(params["clusterName"], params["addonName"])
        self._recovered(record)
        return {"addon": _shown(record)}

    def _recovered(self, record: AddonRecord) -> None:
        """An add-on that lacked replicas is ACTIVE again once it has them; looked at when somebody asks."""
        api = record.api
        if api["status"] == "DEGRADED" and api["health"]["issues"][:1]:
            lacking = api["health"]["issues"][0]["code"] == "InsufficientNumberOfReplicas"
            if lacking and self._core.kubes[api["clusterName"]].addon_healthy(api["addonName"]):
                api.update(status="ACTIVE", health={"issues": []})

    def list_addons(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "clusterName")
        return page(sorted(self._core.cluster(params["clusterName"]).addons), params, "addons")

    def delete_addon(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "clusterName", "addonName")
        cluster = self._core.cluster(params["clusterName"])
        record = self._core.addon(cluster.name, params["addonName"])
        name = str(record.api["addonName"])
        self._updates.refuse_if_busy(cluster, ("addon", name), "DeleteAddon")
        record.api["status"] = "DELETING"
        shown = _shown(record)

        def gone() -> None:
            if cluster.addons.get(name) is record:
                del cluster.addons[name]
                for association in record.api["podIdentityAssociations"]:
                    cluster.pod_identities.pop(association.rpartition("/")[2], None)
                if not params.get("preserve") and cluster.name in self._core.kubes:
                    self._core.kubes[cluster.name].remove_addon(name)
                self._core.event("addon.deleted", f"{cluster.name}/{name}")

        wait = self._core.draw(self._core.settings.timings.addon_delete, f"addon delete {cluster.name}")
        self._core.later(wait, gone)
        return {"addon": shown}

    # --- update -----------------------------------------------------------------------------------------------

    def update_addon(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "clusterName", "addonName")
        core = self._core
        cluster = core.cluster(params["clusterName"])
        record = core.addon(cluster.name, params["addonName"])
        name = str(record.api["addonName"])
        scope, at = ("addon", name), {"clusterName": cluster.name, "addonName": name}
        token = params.get("clientRequestToken")
        if repeat := self._updates.repeated(cluster, scope, token):
            return repeat
        self._updates.refuse_if_busy(cluster, scope, "AddonUpdate")
        if record.api["status"] in ("CREATING", "DELETING"):
            raise in_use(f"Addon {name} cannot be updated as it is currently in {record.api['status']} state", **at)
        version = params.get("addonVersion")
        if version:
            self._check_version(cluster, name, version)
            self._check_step(name, record.api["addonVersion"], version, at)
        _check_configuration(params.get("configurationValues"), at)
        if params.get("resolveConflicts") not in (None, "NONE", "OVERWRITE", "PRESERVE"):
            raise invalid_parameter(f"Resolve conflicts option {params['resolveConflicts']} is not supported", **at)
        associations = params.get("podIdentityAssociations")
        shown = {
            "AddonVersion": version,
            "ServiceAccountRoleArn": params.get("serviceAccountRoleArn"),
            "ResolveConflicts": params.get("resolveConflicts"),
            "ConfigurationValues": params.get("configurationValues"),
            "PodIdentityAssociations": None if associations is None else json.dumps(associations),
        }
        update = self._updates.begin(cluster, scope, "AddonUpdate", shown, token)
        record.api["status"] = "UPDATING"
        wait = core.draw(core.settings.timings.addon_update, f"addon update {cluster.name}/{name}")
        conflict = core.settings.faults.hits("addon_conflict", name) or record.conflicts
        if conflict and params.get("resolveConflicts") not in ("OVERWRITE", "PRESERVE"):
            core.later(wait, lambda: self._updated(cluster, record, update, {}, _conflict(name)))
            return {"update": dict(update.api)}
        if version:
            self._roll_out(cluster, record, version)
        if params.get("resolveConflicts") == "OVERWRITE":
            record.conflicts = False
        new: dict[str, Any] = {"addonVersion": version} if version else {}
        for optional in ("serviceAccountRoleArn", "configurationValues"):
            if params.get(optional) is not None:
                new[optional] = params[optional]
        if associations is not None:
            new["podIdentityAssociations"] = self._associations(cluster, associations)
        core.later(
            wait,
            lambda: self._await(
                cluster, record, core.now(), lambda issue: self._updated(cluster, record, update, new, issue)
            ),
        )
        return {"update": dict(update.api)}

    def _updated(
        self,
        cluster: ClusterRecord,
        record: AddonRecord,
        update: UpdateRecord,
        new: Mapping[str, Any],
        issue: dict[str, Any] | None,
    ) -> None:
        if issue is None:
            record.api.update(new)
            self._ended(record, "ACTIVE")
            self._updates.end(cluster, update)
            return
        conflict = issue["code"] == "ConfigurationConflict"
        if not conflict:  # the new version is out, its pods are not well
            record.api.update(new)
        self._ended(record, "UPDATE_FAILED" if conflict else "DEGRADED", issue)
        self._updates.end(cluster, update, failure(issue["code"], issue["message"], *issue["resourceIds"]))

    def _check_step(self, name: str, now: str, wanted: str, at: Mapping[str, str | None]) -> None:
        known = self._core.facts.addon_info(name)
        if known is None or not known.one_minor_at_a_time:
            return
        before, after = AddonVersion.parse(now).minor, AddonVersion.parse(wanted).minor
        if before[0] == after[0] and abs(before[1] - after[1]) > 1:
            raise invalid_parameter("Updating VPC-CNI can only go up or down 1 minor version at a time", **at)

    def _associations(self, cluster: ClusterRecord, wanted: list[Mapping[str, Any]] | None) -> list[str]:
        """ARNs of the pod identity associations that belong to an add-on."""
        arns = []
        for association in wanted or ():
            ident = f"a-{self._core.hex(f'association {cluster.name}')}"
            arn = self._core.arn("podidentityassociation", f"{cluster.name}/{ident}")
            cluster.pod_identities[ident] = {
                "clusterName": cluster.name,
                "namespace": "kube-system",
                "serviceAccount": association["serviceAccount"],
                "roleArn": association["roleArn"],
                "associationArn": arn,
                "associationId": ident,
                "tags": {},
                "createdAt": self._core.now(),
                "modifiedAt": self._core.now(),
                "disableSessionTags": False,
            }
            arns.append(arn)
        return arns


def _shown(record: AddonRecord) -> dict[str, Any]:
    api = dict(record.api)
    if not api["podIdentityAssociations"]:
        api.pop("podIdentityAssociations")
    return api


def _release(release: AddonRelease, minor: str | None, iam: bool) -> dict[str, Any]:
    versions = [m for m in release.compatible if minor is None or m == minor]
    return {
        "addonVersion": release.version,
        "architecture": ["amd64", "arm64"],
        "computeTypes": ["ec2"],
        "compatibilities": [
            {"clusterVersion": m, "platformVersions": ["*"], "defaultVersion": m in release.default_for}
            for m in versions
        ],
        "requiresConfiguration": False,
        "requiresIamPermissions": iam,
    }


def _check_configuration(text: str | None, at: Mapping[str, str | None]) -> None:
    """configurationValues is JSON or YAML; only what cannot be either is refused."""
    if text and text.lstrip()[:1] in "{[":
        try:
            json.loads(text)
        except ValueError:
            raise invalid_parameter("ConfigurationValue is not in valid JSON or YAML format", **at) from None


def _conflict(name: str) -> dict[str, Any]:
    kind, workload = _WORKLOADS.get(name, ("Deployment.apps", name))
    text = _CONFLICT.format(kind=kind, workload=workload)
    return {"code": "ConfigurationConflict", "message": text, "resourceIds": [name]}


_POLICIES = {
    "vpc-cni": "AmazonEKS_CNI_Policy",
    "aws-ebs-csi-driver": "service-role/AmazonEBSCSIDriverPolicy",
    "aws-efs-csi-driver": "service-role/AmazonEFSCSIDriverPolicy",
}
_SCHEMA = {
    "$schema": "http://json-schema.org/draft-06/schema#",
    "type": "object",
    "properties": {
        "nodeSelector": {"type": "object"},
        "resources": {"type": "object"},
        "tolerations": {"type": "array", "items": {"type": "object"}},
    },
}
