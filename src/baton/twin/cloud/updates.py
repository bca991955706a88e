"""Updates: begun once per token, refused while another runs, ended with errors or without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from baton.twin.cloud.core import Core, need, page
from baton.twin.cloud.errors import AwsError, in_use, invalid_request, not_found
from baton.twin.cloud.records import ClusterRecord, UpdateRecord

Scope = tuple[str, str]
CLUSTER: Scope = ("cluster", "")


class Updates:
    """Keeps the updates of every cluster and the operations on them."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._cancel: dict[str, Callable[[], bool]] = {}

    def repeated(self, cluster: ClusterRecord, scope: Scope, token: str | None) -> dict[str, Any] | None:
        """The answer that the same token already got, so that a retry starts nothing."""
        if not token:
            return None
        for record in cluster.updates.values():
            if record.token == token and record.scope == scope:
                return {"update": dict(record.api)}
        return None

    def running(self, cluster: ClusterRecord, scope: Scope) -> UpdateRecord | None:
        for record in reversed(cluster.updates.values()):
            if record.scope == scope and record.api["status"] == "InProgress":
                return record
        return None

    def refuse_if_busy(self, cluster: ClusterRecord, scope: Scope, kind: str) -> None:
        """Raises ResourceInUseException with the service's text while an update of the same thing runs."""
        busy = self.running(cluster, scope)
        if busy is None:
            return
        what, name = scope
        subject = {"cluster": f"cluster {cluster.name}", "nodegroup": f"nodegroup {name}", "addon": f"addon {name}"}
        raise in_use(
            f"Cannot {kind} because {subject[what]} currently has update {busy.api['id']} in progress",
            clusterName=cluster.name,
            nodegroupName=name if what == "nodegroup" else None,
            addonName=name if what == "addon" else None,
        )

    def begin(
        self, cluster: ClusterRecord, scope: Scope, kind: str, params: Mapping[str, Any], token: str | None
    ) -> UpdateRecord:
        """A new update InProgress; `params` with value None are left out. Raises ResourceInUseException."""
        self.refuse_if_busy(cluster, scope, kind)
        api = {
            "id": self._core.uuid(f"update {cluster.name}"),
            "status": "InProgress",
            "type": kind,
            "params": [{"type": key, "value": str(value)} for key, value in params.items() if value is not None],
            "createdAt": self._core.now(),
            "errors": [],
        }
        record = UpdateRecord(api, scope, token or "")
        cluster.updates[str(api["id"])] = record
        self._core.event("update.started", _subject(cluster, scope), id=api["id"], type=kind)
        return record

    def end(self, cluster: ClusterRecord, record: UpdateRecord, *errors: Mapping[str, Any], status: str = "") -> None:
        """Successful without errors, else Failed (or `status`)."""
        record.api = {
            **record.api,
            "status": status or ("Failed" if errors else "Successful"),
            "errors": [dict(e) for e in errors],
        }
        self._core.event(
            "update.ended",
            _subject(cluster, record.scope),
            id=record.api["id"],
            type=record.api["type"],
            status=record.api["status"],
            errors=[e["errorCode"] for e in errors],
        )

    def find(self, params: Mapping[str, Any]) -> tuple[ClusterRecord, UpdateRecord]:
        """Node group and add-on updates are only found with the name of their node group or add-on."""
        cluster = self._core.cluster(params["name"])
        scope = self._scope(params)
        record = cluster.updates.get(params["updateId"])
        if record is None or record.scope != scope:
            raise not_found(
                f"No update found for ID: {params['updateId']}",
                clusterName=cluster.name,
                nodegroupName=params.get("nodegroupName"),
                addonName=params.get("addonName"),
            )
        return cluster, record

    def _scope(self, params: Mapping[str, Any]) -> Scope:
        if params.get("nodegroupName"):
            self._core.node_group(params["name"], params["nodegroupName"])
            return ("nodegroup", params["nodegroupName"])
        if params.get("addonName"):
            self._core.addon(params["name"], params["addonName"])
            return ("addon", params["addonName"])
        return CLUSTER

    # --- operations -------------------------------------------------------------------------------------------

    def describe_update(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "name", "updateId")
        return {"update": dict(self.find(params)[1].api)}

    def list_updates(self, params: Mapping[str, Any]) -> dict[str, Any]:
        need(params, "name")
        cluster = self._core.cluster(params["name"])
        scope = self._scope(params)
        ids = [i for i, record in reversed(cluster.updates.items()) if record.scope == scope]
        return page(ids, params, "updateIds")

    def cancellable(self, update_id: str, cancel: Callable[[], bool]) -> None:
        """`cancel()` ends the update, or returns False when it is too late."""
        self._cancel[update_id] = cancel

    def cancel_update(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Only a VersionRollback of an Auto Mode cluster whose nodes are still moving can be cancelled."""
        need(params, "name", "updateId")
        cluster, record = self.find(params)
        if record.api["status"] != "InProgress":
            raise AwsError(
                "InvalidStateException",
                f"Update {record.api['id']} is not in progress and cannot be cancelled",
                clusterName=cluster.name,
            )
        cancel = self._cancel.get(record.api["id"])
        if cancel is None or not cancel():
            raise invalid_request(
                f"Update {record.api['id']} of type {record.api['type']} cannot be cancelled",
                clusterName=cluster.name,
            )
        return {"update": dict(record.api)}


def _subject(cluster: ClusterRecord, scope: Scope) -> str:
    return cluster.name if scope == CLUSTER else f"{cluster.name}/{scope[1]}"


def failure(code: str, message: str, *resource_ids: str) -> dict[str, Any]:
    """One entry of update.errors."""
    return {"errorCode": code, "errorMessage": message, "resourceIds": list(resource_ids)}
