"""Cluster operations: create, describe, list, delete, configuration; what a cluster looks like to the API."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from baton.twin.cloud.asg import AutoScaling
from baton.twin.cloud.core import Core, need, page
from baton.twin.cloud.errors import in_use, invalid_parameter, invalid_request
from baton.twin.cloud.records import ClusterRecord
from baton.twin.cloud.updates import CLUSTER, Updates

LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")
SELF_MANAGED = ("vpc-cni", "kube-proxy", "coredns")


class Clusters:
    def __init__(self, core: Core, updates: Updates, scaling: AutoScaling) -> None:
        self._core = core
        self._updates = updates
        self._scaling = scaling
        self.on_created: list[Callable[[ClusterRecord, Mapping[str, Any]], object]] = []

    # --- create -----------------------------------------------------------------------------------------------

    def create_cluster(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "name", "roleArn", "resourcesVpcConfig")
        core, name = self._core, params["name"]
        existing = core.clusters.get(name)
        if existing is not None:
            if existing.token and existing.token == params.get("clientRequestToken"):
                return {"cluster": self.shown(existing)}
            raise in_use(f"Cluster already exists with name: {name}", clusterName=name)
        api = self._new_api(params)
        record = ClusterRecord(api, params.get("clientRequestToken") or "")
        core.clusters[name] = record
        core.kubes[name] = core.kube_factory.cluster(name, api["version"], core.rng(f"kube {name}"))
        core.event("cluster.creating", name, version=api["version"])
        for fn in self.on_created:
            fn(record, params)
        bootstrap = params.get("bootstrapSelfManagedAddons")

        def ready() -> None:
            if api["status"] != "CREATING":
                return
            kube = core.kubes[name]
            kube.bootstrap()
            kube.start()
            if bootstrap is None or bootstrap:
                for addon in SELF_MANAGED:
                    version = core.facts.default_addon_version(addon, api["version"])
                    if version:
                        kube.apply_addon(addon, version)
            api["status"] = "ACTIVE"
            core.event("cluster.active", name)

        core.later(core.draw(core.settings.timings.cluster_create, f"create {name}"), ready)
        return {"cluster": self.shown(record)}

    def _new_api(self, params: Mapping[str, Any]) -> dict[str, Any]:
        core, name = self._core, params["name"]
        version = str(params.get("version") or core.facts.default_version())
        known = core.facts.version(version)
        if known is None or known.status == "UNSUPPORTED":
            raise invalid_parameter("unsupported Kubernetes version", clusterName=name)
        network = params["resourcesVpcConfig"]
        vpc = self._check_subnets(name, network.get("subnetIds") or [])
        if not core.catalogue.role_exists(params["roleArn"]):
            role = params["roleArn"].rpartition("/")[2]
            raise invalid_parameter(f"The role with name {role} cannot be found.", clusterName=name)
        ident = core.hex(f"cluster id {name}", 32).upper()
        given_net = params.get("kubernetesNetworkConfig") or {}
        family = given_net.get("ipFamily") or "ipv4"
        service = {"serviceIpv4Cidr": given_net.get("serviceIpv4Cidr") or "172.20.0.0/16"}
        access = params.get("accessConfig") or {}
        api: dict[str, Any] = {
            "name": name,
            "arn": core.arn("cluster", name),
            "createdAt": core.now(),
            "version": version,
            "roleArn": params["roleArn"],
            "resourcesVpcConfig": {
                "subnetIds": list(network.get("subnetIds") or []),
                "securityGroupIds": list(network.get("securityGroupIds") or []),
                "clusterSecurityGroupId": core.catalogue.create_security_group(
                    vpc, f"eks-cluster-sg-{name}-{ident[:8]}"
                ),
                "vpcId": vpc,
                "endpointPublicAccess": _given(network, "endpointPublicAccess", True),
                "endpointPrivateAccess": _given(network, "endpointPrivateAccess", False),
                "publicAccessCidrs": list(network.get("publicAccessCidrs") or ["0.0.0.0/0"]),
            },
            "kubernetesNetworkConfig": {
                **(service if family == "ipv4" else {"serviceIpv6Cidr": "fd00:ec2::/108"}),
                "ipFamily": family,
                "elasticLoadBalancing": {"enabled": bool((given_net.get("elasticLoadBalancing") or {}).get("enabled"))},
            },
            "logging": {"clusterLogging": _logging([], params.get("logging"))},
            "identity": {"oidc": {"issuer": f"https://oidc.eks.{core.settings.region}.amazonaws.com/id/{ident}"}},
            "status": "CREATING",
            "platformVersion": core.facts.platform(version),
            "tags": dict(params.get("tags") or {}),
            "encryptionConfig": [dict(e) for e in params.get("encryptionConfig") or ()],
            "health": {"issues": []},
            "accessConfig": {
                "bootstrapClusterCreatorAdminPermissions": _given(
                    access, "bootstrapClusterCreatorAdminPermissions", True
                ),
                "authenticationMode": access.get("authenticationMode") or "CONFIG_MAP",
            },
            "upgradePolicy": {"supportType": (params.get("upgradePolicy") or {}).get("supportType") or "EXTENDED"},
            "deletionProtection": bool(params.get("deletionProtection")),
        }
        for optional in ("zonalShiftConfig", "remoteNetworkConfig", "computeConfig", "storageConfig"):
            if params.get(optional):
                api[optional] = dict(params[optional])
        if params.get("controlPlaneScalingConfig"):
            api["controlPlaneScalingConfig"] = dict(params["controlPlaneScalingConfig"])
        return api

    def _check_subnets(self, name: str, subnet_ids: list[str]) -> str:
        """The VPC of the subnets; they must exist and lie in at least two zones."""
        zones: set[str] = set()
        vpc = ""
        for subnet_id in subnet_ids:
            subnet = self._core.catalogue.subnet(subnet_id)
            if subnet is None:
                raise invalid_parameter(f"The subnet ID '{subnet_id}' does not exist", clusterName=name)
            zones.add(subnet.zone)
            vpc = subnet.vpc_id
        if len(zones) < 2:
            raise invalid_parameter("Subnets specified must be in at least two different AZs", clusterName=name)
        return vpc

    # --- describe, list, delete -------------------------------------------------------------------------------

    def shown(self, record: ClusterRecord) -> dict[str, Any]:
        """As the API shows it: the endpoint and the CA once the cluster has been created."""
        api = dict(record.api)
        if not api["encryptionConfig"]:
            del api["encryptionConfig"]
        if api["status"] == "CREATING":
            api["certificateAuthority"] = {}
            return api
        api["accessConfig"] = {"authenticationMode": api["accessConfig"]["authenticationMode"]}
        endpoint, authority = self._core.connection(record.name) if self._core.connection else _nowhere(record)
        api["endpoint"] = endpoint
        api["certificateAuthority"] = {"data": authority}
        return api

    def describe_cluster(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "name")
        return {"cluster": self.shown(self._core.cluster(params["name"]))}

    def list_clusters(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return page(sorted(self._core.clusters), params, "clusters")

    def delete_cluster(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "name")
        record = self._core.cluster(params["name"])
        name = record.name
        if record.api["deletionProtection"]:
            raise invalid_request(
                f"Cluster {name} cannot be deleted because deletion protection is enabled", clusterName=name
            )
        if record.node_groups:
            raise in_use("Cluster has nodegroups attached", clusterName=name)
        if record.fargate:
            raise in_use("Cluster has Fargate profiles attached", clusterName=name)
        self._updates.refuse_if_busy(record, CLUSTER, "DeleteCluster")
        if record.api["status"] != "DELETING":
            record.api["status"] = "DELETING"
            self._core.event("cluster.deleting", name)
            wait = self._core.draw(self._core.settings.timings.cluster_delete, f"delete {name}")
            self._core.later(wait, lambda: self._gone(name))
        return {"cluster": self.shown(record)}

    def _gone(self, name: str) -> None:
        self._core.clusters.pop(name, None)
        self._core.kubes.pop(name, None)
        self._scaling.forget_cluster(name)
        self._core.changed("cluster-deleted", name)
        self._core.event("cluster.deleted", name)

    # --- configuration ----------------------------------------------------------------------------------------

    def update_cluster_config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """One kind of change per call, as the service wants it."""
        need(params, "name")
        core = self._core
        record = core.cluster(params["name"])
        token = params.get("clientRequestToken")
        if repeat := self._updates.repeated(record, CLUSTER, token):
            return repeat
        kind, shown, new = self._wanted(record, params)
        refuse_inactive(record, kind, self._updates)
        update = self._updates.begin(record, CLUSTER, kind, shown, token)
        record.api["status"] = "UPDATING"

        def done() -> None:
            record.api.update(new)
            record.api["status"] = "ACTIVE"
            self._updates.end(record, update)

        core.later(core.draw(core.settings.timings.cluster_config_update, f"config {record.name}"), done)
        return {"update": dict(update.api)}

    def _wanted(self, record: ClusterRecord, params: Mapping[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """(update type, update params, members that change)."""
        found = [(name, params[name]) for name in _KINDS if params.get(name) is not None]
        if "computeConfig" in dict(found):  # Auto Mode comes as three members at once
            found = [("computeConfig", params["computeConfig"])]
        if len(found) != 1:
            text = "Only one type of update can be allowed." if found else "No changes needed to the cluster."
            raise invalid_parameter(text, clusterName=record.name)
        name, value = found[0]
        kind, shown_as = _KINDS[name]
        if name == "resourcesVpcConfig":
            return self._vpc_change(record, value)
        if name == "logging":
            logging = _logging(record.api["logging"]["clusterLogging"], value)
            if logging == record.api["logging"]["clusterLogging"]:
                raise invalid_parameter("No changes needed for the logging config provided", clusterName=record.name)
            return kind, {shown_as: _json(value)}, {name: {"clusterLogging": logging}}
        if name == "accessConfig":
            return self._access_change(record, value)
        if name == "deletionProtection":
            return kind, {shown_as: str(bool(value)).lower()}, {name: bool(value)}
        if name == "upgradePolicy":
            self._check_support(record, value["supportType"])
        if name == "computeConfig":
            more = {k: params[k] for k in ("storageConfig", "kubernetesNetworkConfig") if params.get(k)}
            network = {**record.api["kubernetesNetworkConfig"], **more.pop("kubernetesNetworkConfig", {})}
            return kind, {shown_as: _json(value)}, {name: value, **more, "kubernetesNetworkConfig": network}
        return kind, {shown_as: _json(value)}, {name: {**record.api.get(name, {}), **value}}

    def _vpc_change(
        self, record: ClusterRecord, value: Mapping[str, Any]
    ) -> tuple[str, dict[str, Any], dict[str, Any]]:
        now = record.api["resourcesVpcConfig"]
        given = {k: n for k, n in value.items() if n is not None}
        if all(now.get(k) == n for k, n in given.items()):
            raise invalid_parameter(
                "Cluster is already at the desired configuration with "
                f"endpointPrivateAccess: {str(now['endpointPrivateAccess']).lower()} , "
                f"endpointPublicAccess: {str(now['endpointPublicAccess']).lower()}, "
                f"and Public Endpoint Restrictions: {now['publicAccessCidrs']}",
                clusterName=record.name,
            )
        names = {
            "endpointPublicAccess": "EndpointPublicAccess",
            "endpointPrivateAccess": "EndpointPrivateAccess",
            "publicAccessCidrs": "PublicAccessCidrs",
            "subnetIds": "Subnets",
            "securityGroupIds": "SecurityGroups",
        }
        if "subnetIds" in given:
            self._check_subnets(record.name, given["subnetIds"])
        kind = "VpcConfigUpdate" if {"subnetIds", "securityGroupIds"} & set(given) else "EndpointAccessUpdate"
        shown = {names[k]: n if isinstance(n, str) else _json(n) for k, n in given.items() if k in names}
        return kind, shown, {"resourcesVpcConfig": {**now, **given}}

    def _access_change(
        self, record: ClusterRecord, value: Mapping[str, Any]
    ) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """Authentication modes only go forward: CONFIG_MAP, API_AND_CONFIG_MAP, API."""
        order = ["CONFIG_MAP", "API_AND_CONFIG_MAP", "API"]
        now, wanted = record.api["accessConfig"]["authenticationMode"], value["authenticationMode"]
        if order.index(wanted) <= order.index(now):
            raise invalid_parameter(
                f"Unsupported authentication mode update from {now} to {wanted}", clusterName=record.name
            )
        access = {**record.api["accessConfig"], "authenticationMode": wanted}
        return "AccessConfigUpdate", {"AuthenticationMode": wanted}, {"accessConfig": access}

    def _check_support(self, record: ClusterRecord, wanted: str) -> None:
        """Extended support cannot be given up once it has begun."""
        if wanted not in ("STANDARD", "EXTENDED"):
            raise invalid_parameter(f"supportType {wanted} is not one of STANDARD, EXTENDED", clusterName=record.name)
        info = self._core.facts.version(record.api["version"])
        if wanted == "STANDARD" and info is not None and info.status == "EXTENDED_SUPPORT":
            raise invalid_request(
                "You cannot disable extended support once it starts. "
                "Upgrade the cluster to a version in standard support.",
                clusterName=record.name,
            )


def refuse_inactive(record: ClusterRecord, kind: str, updates: Updates) -> None:
    """An update needs an ACTIVE cluster without another update in progress."""
    updates.refuse_if_busy(record, CLUSTER, kind)
    if record.api["status"] != "ACTIVE":
        raise invalid_request(f"Cluster '{record.name}' is not in ACTIVE status", clusterName=record.name)


# request member -> (update type, update param)
_KINDS = {
    "resourcesVpcConfig": ("VpcConfigUpdate", ""),
    "logging": ("LoggingUpdate", "ClusterLogging"),
    "accessConfig": ("AccessConfigUpdate", "AuthenticationMode"),
    "upgradePolicy": ("UpgradePolicyUpdate", "UpgradePolicy"),
    "zonalShiftConfig": ("ZonalShiftConfigUpdate", "ZonalShiftConfig"),
    "computeConfig": ("AutoModeUpdate", "ComputeConfig"),
    "kubernetesNetworkConfig": ("AutoModeUpdate", "KubernetesNetworkConfig"),
    "storageConfig": ("AutoModeUpdate", "StorageConfig"),
    "remoteNetworkConfig": ("RemoteNetworkConfigUpdate", "RemoteNetworkConfig"),
    "deletionProtection": ("DeletionProtectionUpdate", "DeletionProtection"),
    "controlPlaneScalingConfig": ("ControlPlaneScalingConfigUpdate", "UpdatedTier"),
    "kubeApiServerConfig": ("ControlPlaneComponentConfigUpdate", "KubeApiServerConfig"),
    "kubeSchedulerConfig": ("ControlPlaneComponentConfigUpdate", "KubeSchedulerConfig"),
    "kubeControllerManagerConfig": ("ControlPlaneComponentConfigUpdate", "KubeControllerManagerConfig"),
}


def _given(holder: Mapping[str, Any], name: str, default: bool) -> bool:
    value = holder.get(name)
    return default if value is None else bool(value)


def _logging(now: list[dict[str, Any]], change: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """clusterLogging as the API shows it: enabled types, then disabled ones, each in their fixed order."""
    enabled = {t for setup in now if setup["enabled"] for t in setup["types"]}
    for setup in (change or {}).get("clusterLogging") or ():
        types = set(setup.get("types") or ())
        enabled = enabled | types if setup.get("enabled") else enabled - types
    parts = [(True, [t for t in LOG_TYPES if t in enabled]), (False, [t for t in LOG_TYPES if t not in enabled])]
    return [{"types": types, "enabled": on} for on, types in parts if types]


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _nowhere(record: ClusterRecord) -> tuple[str, str]:
    """The endpoint of a cluster that is not served over HTTP."""
    region = record.api["arn"].split(":")[3]
    ident = record.api["identity"]["oidc"]["issuer"].rpartition("/")[2]
    return f"https://{ident}.gr7.{region}.eks.amazonaws.com", ""
