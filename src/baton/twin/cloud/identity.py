"""Pod identity associations, OIDC identity providers, secrets encryption."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from baton.twin.cloud.clusters import refuse_inactive
from baton.twin.cloud.core import Core, need, page
from baton.twin.cloud.errors import in_use, invalid_parameter, invalid_request, not_found
from baton.twin.cloud.records import ClusterRecord
from baton.twin.cloud.updates import CLUSTER, Updates

_SHORT = ("clusterName", "namespace", "serviceAccount", "associationArn", "associationId", "ownerArn")


class PodIdentity:
    def __init__(self, core: Core) -> None:
        self._core = core

    def create_pod_identity_association(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "clusterName", "namespace", "serviceAccount", "roleArn")
        core = self._core
        cluster = core.active_cluster(params["clusterName"])
        for held in cluster.pod_identities.values():
            if (held["namespace"], held["serviceAccount"]) == (params["namespace"], params["serviceAccount"]):
                raise in_use(
                    f"Association already exists: {held['associationId']}",
                    clusterName=cluster.name,
                )
        if ":role/" not in params["roleArn"]:
            raise invalid_parameter("Role provided in the request is not valid", clusterName=cluster.name)
        ident = f"a-{core.hex(f'association {cluster.name}')}"
        association: dict[str, Any] = {
            "clusterName": cluster.name,
            "namespace": params["namespace"],
            "serviceAccount": params["serviceAccount"],
            "roleArn": params["roleArn"],
            "associationArn": core.arn("podidentityassociation", f"{cluster.name}/{ident}"),
            "associationId": ident,
            "tags": dict(params.get("tags") or {}),
            "createdAt": core.now(),
            "modifiedAt": core.now(),
            "disableSessionTags": bool(params.get("disableSessionTags")),
        }
        for optional in ("targetRoleArn", "policy"):
            if params.get(optional):
                association[optional] = params[optional]
        cluster.pod_identities[ident] = association
        return {"association": dict(association)}

    def _find(self, params: Mapping[str, Any]) -> tuple[ClusterRecord, dict[str, Any]]:
        need(params, "clusterName", "associationId")
        cluster = self._core.cluster(params["clusterName"])
        found = cluster.pod_identities.get(params["associationId"])
        if found is None:
            raise not_found(f"No association found for id: {params['associationId']}", clusterName=cluster.name)
        return cluster, found

    def describe_pod_identity_association(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {"association": dict(self._find(params)[1])}

    def update_pod_identity_association(self, params: Mapping[str, Any]) -> dict[str, Any]:
        _, found = self._find(params)
        for name in ("roleArn", "targetRoleArn", "policy", "disableSessionTags"):
            if params.get(name) is not None:
                found[name] = params[name]
        found["modifiedAt"] = self._core.now()
        return {"association": dict(found)}

    def delete_pod_identity_association(self, params: Mapping[str, Any]) -> dict[str, Any]:
        cluster, found = self._find(params)
        return {"association": dict(cluster.pod_identities.pop(found["associationId"]))}

    def list_pod_identity_associations(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "clusterName")
        cluster = self._core.cluster(params["clusterName"])
        ids = [
            ident
            for ident, held in cluster.pod_identities.items()
            if held["namespace"] == (params.get("namespace") or held["namespace"])
            and held["serviceAccount"] == (params.get("serviceAccount") or held["serviceAccount"])
        ]
        answer = page(ids, params, "associations")
        answer["associations"] = [
            {k: v for k, v in cluster.pod_identities[i].items() if k in _SHORT} for i in answer["associations"]
        ]
        return answer


class ClusterSecurity:
    """Identity providers and encryption: both change the cluster through an update of their own type."""

    def __init__(self, core: Core, updates: Updates) -> None:
        self._core = core
        self._updates = updates

    def associate_encryption_config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Encryption cannot be taken back, and is given once."""
        need(params, "clusterName", "encryptionConfig")
        core, kind = self._core, "AssociateEncryptionConfig"
        cluster = core.cluster(params["clusterName"])
        if repeat := self._updates.repeated(cluster, CLUSTER, params.get("clientRequestToken")):
            return repeat
        if cluster.api["encryptionConfig"]:
            raise invalid_parameter(
                "Encryption config is already associated with the cluster", clusterName=cluster.name
            )
        refuse_inactive(cluster, kind, self._updates)
        config = [dict(e) for e in params["encryptionConfig"]]
        shown = {"EncryptionConfig": json.dumps(config, separators=(",", ":"))}
        update = self._updates.begin(cluster, CLUSTER, kind, shown, params.get("clientRequestToken"))
        cluster.api["status"] = "UPDATING"

        def done() -> None:
            cluster.api.update(status="ACTIVE", encryptionConfig=config)
            self._updates.end(cluster, update)

        core.later(core.draw(core.settings.durations.encryption, f"encryption {cluster.name}"), done)
        return {"update": dict(update.api)}

    def associate_identity_provider_config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "clusterName", "oidc")
        core, kind = self._core, "AssociateIdentityProviderConfig"
        cluster, oidc = core.cluster(params["clusterName"]), params["oidc"]
        need(oidc, "identityProviderConfigName", "issuerUrl", "clientId")
        if repeat := self._updates.repeated(cluster, CLUSTER, params.get("clientRequestToken")):
            return {**repeat, "tags": dict(params.get("tags") or {})}
        if cluster.identity_providers:
            raise invalid_request("Cluster already has an identity provider associated", clusterName=cluster.name)
        refuse_inactive(cluster, kind, self._updates)
        name = oidc["identityProviderConfigName"]
        config = {
            **{k: v for k, v in oidc.items() if v is not None},
            "identityProviderConfigArn": core.arn(
                "identityproviderconfig", f"{cluster.name}/oidc/{name}/{core.uuid(f'idp {cluster.name}')}"
            ),
            "clusterName": cluster.name,
            "tags": dict(params.get("tags") or {}),
            "status": "CREATING",
        }
        shown = {"IdentityProviderConfig": json.dumps([{"type": "oidc", "name": name}], separators=(",", ":"))}
        update = self._updates.begin(cluster, CLUSTER, kind, shown, params.get("clientRequestToken"))
        cluster.identity_providers[name] = config

        def done() -> None:
            config["status"] = "ACTIVE"
            self._updates.end(cluster, update)

        core.later(core.draw(core.settings.durations.identity_provider, f"idp {cluster.name}"), done)
        return {"update": dict(update.api), "tags": dict(config["tags"])}

    def disassociate_identity_provider_config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        core, kind = self._core, "DisassociateIdentityProviderConfig"
        if repeat := self._repeat(params):
            return repeat
        cluster, config = self._find(params)
        refuse_inactive(cluster, kind, self._updates)
        name = config["identityProviderConfigName"]
        shown = {"IdentityProviderConfig": json.dumps([{"type": "oidc", "name": name}], separators=(",", ":"))}
        update = self._updates.begin(cluster, CLUSTER, kind, shown, params.get("clientRequestToken"))
        config["status"] = "DELETING"

        def done() -> None:
            cluster.identity_providers.pop(name, None)
            self._updates.end(cluster, update)

        core.later(core.draw(core.settings.durations.identity_provider, f"idp {cluster.name}"), done)
        return {"update": dict(update.api)}

    def _repeat(self, params: Mapping[str, Any]) -> dict[str, Any] | None:
        need(params, "clusterName", "identityProviderConfig")
        cluster = self._core.cluster(params["clusterName"])
        return self._updates.repeated(cluster, CLUSTER, params.get("clientRequestToken"))

    def _find(self, params: Mapping[str, Any]) -> tuple[ClusterRecord, dict[str, Any]]:
        need(params, "clusterName", "identityProviderConfig")
        cluster = self._core.cluster(params["clusterName"])
        found = cluster.identity_providers.get(params["identityProviderConfig"].get("name", ""))
        if found is None:
            raise not_found("Identity provider config is not associated with cluster", clusterName=cluster.name)
        return cluster, found

    def describe_identity_provider_config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {"identityProviderConfig": {"oidc": dict(self._find(params)[1])}}

    def list_identity_provider_configs(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "clusterName")
        answer = page(self._core.cluster(params["clusterName"]).identity_providers, params, "identityProviderConfigs")
        answer["identityProviderConfigs"] = [{"type": "oidc", "name": n} for n in answer["identityProviderConfigs"]]
        return answer
