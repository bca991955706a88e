"""The direct engine: each stage through the AWS API, with idempotent tokens. Also what a rehearsal drives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from baton.conductor.engines import Progress, StageRun
from baton.errors import BatonError, HaltedError
from baton.model.cluster import Update
from baton.model.plan import Change, Plan, Stage, StageKind
from baton.ports import AwsReader, AwsWriter


class Aws(AwsReader, AwsWriter, Protocol):
    """Both halves of the AWS port."""


class AwsEngine:
    """Carries out stages with UpdateClusterVersion, UpdateAddon, UpdateNodegroupVersion and UpdateNodegroupConfig.

    `token` draws client request tokens: random in production, seeded in a rehearsal. The token is journalled before
    the call, so a resumed run sends the same one and is given the same update. `force_drain` lets EKS delete pods
    that a budget still protects after its drain limit; readiness findings of the control plane are never overridden.
    """

    name = "aws"

    def __init__(self, aws: Aws, token: Callable[[], str], *, force_drain: bool = False) -> None:
        self._aws = aws
        self._token = token
        self._force_drain = force_drain

    def intent(self, plan: Plan, stage: Stage) -> Mapping[str, Any]:
        return {"tokens": {f"{c.kind}/{c.name}": self._token() for c in stage.changes}}

    def begin(self, plan: Plan, stage: Stage, intent: Mapping[str, Any]) -> StageRun:
        return _AwsRun(self, self._aws, plan.cluster, stage, intent["tokens"])

    def final_check(self, plan: Plan) -> str:
        return "not-applicable"

    def start(self, cluster: str, stage: Stage, change: Change, token: str) -> Update | None:
        """Start one change; None when the world is there already."""
        aws = self._aws
        if change.kind == "cluster":
            if aws.cluster(cluster).version == change.to:
                return None
            return aws.update_cluster_version(cluster, change.to, token=token)
        if change.kind == "addon":
            if aws.addon(cluster, change.name).version == change.to:
                return None
            return aws.update_addon(
                cluster,
                change.name,
                change.to,
                token=token,
                resolve_conflicts=change.attributes.get("resolve_conflicts") or None,
            )
        if stage.kind is StageKind.UPDATE_CONFIG:
            attributes = change.attributes
            return aws.update_node_group_config(
                cluster,
                change.name,
                token=token,
                max_unavailable=_int(attributes.get("max_unavailable")),
                max_unavailable_percentage=_int(attributes.get("max_unavailable_percentage")),
            )
        return self._start_node_group(cluster, change, token)

    def _start_node_group(self, cluster: str, change: Change, token: str) -> Update | None:
        aws = self._aws
        group = aws.node_group(cluster, change.name)
        image = change.attributes.get("image_id", "")
        if not image:
            if group.version == change.attributes.get("version", change.to):
                return None
            to = change.attributes.get("version", change.to)
            return aws.update_node_group_version(cluster, change.name, token=token, version=to, force=self._force_drain)
        if group.launch_template is None:
            raise HaltedError(
                f"node group {change.name} has no launch template, so its AMI cannot be changed in place",
                where=f"cluster {cluster}",
                hint="give it one in the Terraform; EKS cannot add a launch template to an existing group",
            )
        template = group.launch_template
        if aws.launch_template_image(template.id, template.version) == image:
            return None
        number = aws.new_launch_template_version(template.id, template.version, image, token=token)
        return aws.update_node_group_version(
            cluster, change.name, token=token, launch_template=(template.id, number), force=self._force_drain
        )


def _int(text: str | None) -> int | None:
    return None if not text else int(text)


class _AwsRun:
    """The updates of one stage: all changes are started together, each is followed to its end."""

    def __init__(
        self, engine: AwsEngine, aws: AwsReader, cluster: str, stage: Stage, tokens: Mapping[str, str]
    ) -> None:
        self._aws = aws
        self._cluster = cluster
        self._running: dict[str, tuple[Change, str]] = {}
        self._ids: dict[str, str] = {}
        for change in stage.changes:
            key = f"{change.kind}/{change.name}"
            update = engine.start(cluster, stage, change, tokens[key])
            if update is not None:
                self._running[key] = (change, update.id)
                self._ids["cluster" if change.kind == "cluster" else key] = update.id

    def poll(self) -> Progress:
        for key, (change, update_id) in list(self._running.items()):
            update = self._aws.update(
                self._cluster,
                update_id,
                node_group=change.name if change.kind == "node-group" else None,
                addon=change.name if change.kind == "addon" else None,
            )
            if update.status == "InProgress":
                continue
            if update.status != "Successful":
                return Progress("failed", describe_failure(key, update), self._ids)
            del self._running[key]
        if self._running:
            return Progress("running", "EKS updates " + ", ".join(sorted(self._running)), self._ids)
        return Progress("succeeded", "", self._ids)

    def stop(self) -> None:
        """Nothing runs here; EKS goes on by itself."""


def describe_failure(key: str, update: Update) -> str:
    """One sentence of what EKS says of a failed update."""
    errors = "; ".join(
        f"{e.code}: {e.message}" + (f" ({', '.join(e.resource_ids)})" if e.resource_ids else "") for e in update.errors
    )
    return f"the update {update.id} of {key} ended {update.status}: {errors or 'EKS gave no reason'}"


__all__ = ["Aws", "AwsEngine", "BatonError", "describe_failure"]
