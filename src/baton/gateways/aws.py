"""AWS through boto3: the AwsReader and AwsWriter ports. Every botocore error leaves here as one of Baton's."""

from __future__ import annotations

import base64
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from baton.errors import BatonError, ReadError, RefusedError, UnavailableError, UsageError
from baton.model import aws_shapes as shapes
from baton.model.cluster import (
    Addon,
    AddonRelease,
    AutoScalingGroup,
    BlockDevice,
    Cluster,
    Image,
    Insight,
    Instance,
    NodeGroup,
    Subnet,
    Update,
    VersionInfo,
)

_THROTTLED = {"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException", "SlowDown"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnrecognizedClientException"}
_MISSING = {"ResourceNotFoundException", "NoSuchEntity"}
_SERVER = {"ServerException", "ServiceUnavailableException", "InternalFailure", "InternalError", "ServiceUnavailable"}


def translate(error: Exception, where: str) -> BatonError:
    """A botocore error in Baton's terms, with what to do next."""
    if isinstance(error, ClientError):
        return _client_error(error, where)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return ReadError(
            "no AWS credentials were found",
            where=where,
            hint="set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for the emulator: "
            'eval "$(baton emulator env)"',
        )
    if isinstance(error, NoRegionError):
        return UsageError("no AWS region is set", where=where, hint="pass --region or set AWS_REGION")
    if isinstance(error, ProfileNotFound):
        return UsageError(str(error), hint="`aws configure list-profiles` shows what there is")
    if isinstance(error, EndpointConnectionError | HTTPClientError):
        return UnavailableError(
            f"AWS did not answer: {error}",
            where=where,
            hint="check the network and AWS_ENDPOINT_URL; is the emulator up? `baton emulator` starts one",
        )
    return ReadError(f"AWS could not be asked: {error}", where=where)


def _client_error(error: ClientError, where: str) -> BatonError:
    body = error.response.get("Error", {})
    code, message = body.get("Code", ""), body.get("Message", "") or str(error)
    text = f"{code}: {message}"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    if code in _EXPIRED:
        return ReadError(text, where=where, hint="the credentials have expired: log in again and repeat the command")
    if code in _DENIED:
        return ReadError(text, where=where, hint=f"allow {where.partition(' ')[0]} for this identity")
    if code in _THROTTLED or code in _SERVER or status >= 500:
        return UnavailableError(text, where=where, hint="AWS is busy; the same command may succeed in a minute")
    if code in _MISSING:
        return ReadError(text, where=where, hint="check the name, the region and the account")
    return RefusedError(text, where=where)


@contextmanager
def _calling(where: str) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise translate(error, where) from error


class AwsGateway:
    """AWS in one region. Endpoints come from the shell (AWS_ENDPOINT_URL) as for every AWS tool.

    Raises ReadError, UnavailableError, RefusedError (a write AWS refused) or UsageError (no region, no profile).
    """

    def __init__(self, *, region: str | None = None, profile: str | None = None) -> None:
        config = Config(retries={"mode": "standard", "max_attempts": 5}, connect_timeout=5, read_timeout=30)
        with _calling("AWS configuration"):
            # boto3 knows AWS_DEFAULT_REGION only; Terraform and the other SDKs read AWS_REGION first.
            self.session = boto3.Session(region_name=region or os.environ.get("AWS_REGION"), profile_name=profile)
            self._eks = self.session.client("eks", config=config)
            self._ec2 = self.session.client("ec2", config=config)
            self._asg = self.session.client("autoscaling", config=config)
        self._config = config

    @functools.cached_property
    def _ssm(self) -> Any:
        return self.session.client("ssm", config=self._config)

    # reading

    def _all(self, call: Callable[..., Mapping[str, Any]], key: str, where: str, **params: Any) -> list[Any]:
        found: list[Any] = []
        token: str | None = None
        with _calling(where):
            while True:
                more = {"nextToken": token} if token else {}
                answer = call(**params, **more)
                found += answer.get(key, [])
                token = answer.get("nextToken")
                if not token:
                    return found

    def cluster(self, name: str) -> Cluster:
        with _calling(f"eks:DescribeCluster {name}"):
            return shapes.cluster_from_api(self._eks.describe_cluster(name=name)["cluster"])

    def clusters(self) -> Sequence[str]:
        return self._all(self._eks.list_clusters, "clusters", "eks:ListClusters")

    def cluster_versions(self) -> Sequence[VersionInfo]:
        rows = self._all(
            self._eks.describe_cluster_versions, "clusterVersions", "eks:DescribeClusterVersions", includeAll=True
        )
        return [shapes.version_info_from_api(r) for r in rows]

    def node_groups(self, cluster: str) -> Sequence[NodeGroup]:
        names = self._all(self._eks.list_nodegroups, "nodegroups", f"eks:ListNodegroups {cluster}", clusterName=cluster)
        return [self.node_group(cluster, n) for n in names]

    def node_group(self, cluster: str, name: str) -> NodeGroup:
        with _calling(f"eks:DescribeNodegroup {cluster}/{name}"):
            body = self._eks.describe_nodegroup(clusterName=cluster, nodegroupName=name)["nodegroup"]
        return shapes.node_group_from_api(body)

    def addons(self, cluster: str) -> Sequence[Addon]:
        names = self._all(self._eks.list_addons, "addons", f"eks:ListAddons {cluster}", clusterName=cluster)
        return [self.addon(cluster, n) for n in names]

    def addon(self, cluster: str, name: str) -> Addon:
        with _calling(f"eks:DescribeAddon {cluster}/{name}"):
            return shapes.addon_from_api(self._eks.describe_addon(clusterName=cluster, addonName=name)["addon"])

    def addon_releases(self, name: str, kubernetes_version: str | None = None) -> Sequence[AddonRelease]:
        params = {"addonName": name} | ({"kubernetesVersion": kubernetes_version} if kubernetes_version else {})
        rows = self._all(self._eks.describe_addon_versions, "addons", f"eks:DescribeAddonVersions {name}", **params)
        return [release for row in rows for release in shapes.addon_releases_from_api(row)]

    def update(
        self, cluster: str, update_id: str, *, node_group: str | None = None, addon: str | None = None
    ) -> Update:
        with _calling(f"eks:DescribeUpdate {cluster}/{update_id}"):
            answer = self._eks.describe_update(name=cluster, updateId=update_id, **_scope(node_group, addon))
        return shapes.update_from_api(answer["update"])

    def updates(self, cluster: str, *, node_group: str | None = None, addon: str | None = None) -> Sequence[str]:
        return self._all(
            self._eks.list_updates,
            "updateIds",
            f"eks:ListUpdates {cluster}",
            name=cluster,
            **_scope(node_group, addon),
        )

    def insights(self, cluster: str) -> Sequence[Insight]:
        rows = self._all(self._eks.list_insights, "insights", f"eks:ListInsights {cluster}", clusterName=cluster)
        return [shapes.insight_from_api(r) for r in rows]

    def fargate_profiles(self, cluster: str) -> Sequence[str]:
        where = f"eks:ListFargateProfiles {cluster}"
        return self._all(self._eks.list_fargate_profiles, "fargateProfileNames", where, clusterName=cluster)

    def images(
        self,
        *,
        ids: Sequence[str] = (),
        owners: Sequence[str] = (),
        filters: Mapping[str, Sequence[str]] | None = None,
    ) -> Sequence[Image]:
        params: dict[str, Any] = {"IncludeDeprecated": True}
        if ids:
            params["ImageIds"] = list(ids)
        if owners:
            params["Owners"] = list(owners)
        if filters:
            params["Filters"] = [{"Name": k, "Values": list(v)} for k, v in filters.items()]
        with _calling("ec2:DescribeImages"):
            pages = self._ec2.get_paginator("describe_images").paginate(**params)
            return [shapes.image_from_api(i) for page in pages for i in page["Images"]]

    def subnets(self, ids: Sequence[str]) -> Sequence[Subnet]:
        with _calling("ec2:DescribeSubnets"):
            pages = self._ec2.get_paginator("describe_subnets").paginate(SubnetIds=list(ids))
            return [shapes.subnet_from_api(s) for page in pages for s in page["Subnets"]]

    def auto_scaling_groups(self, names: Sequence[str]) -> Sequence[AutoScalingGroup]:
        with _calling("autoscaling:DescribeAutoScalingGroups"):
            pages = self._asg.get_paginator("describe_auto_scaling_groups").paginate(AutoScalingGroupNames=list(names))
            return [shapes.asg_from_api(g) for page in pages for g in page["AutoScalingGroups"]]

    def instances(self, ids: Sequence[str]) -> Sequence[Instance]:
        if not ids:
            return []
        with _calling("ec2:DescribeInstances"):
            pages = self._ec2.get_paginator("describe_instances").paginate(InstanceIds=list(ids))
            return [shapes.instance_from_api(i) for page in pages for r in page["Reservations"] for i in r["Instances"]]

    def launch_template_image(self, template_id: str, version: str) -> str:
        return str(self._template_data(template_id, version).get("ImageId", ""))

    def launch_template_user_data(self, template_id: str, version: str) -> str:
        text = str(self._template_data(template_id, version).get("UserData", ""))
        try:
            return base64.b64decode(text).decode(errors="replace")
        except ValueError as error:
            raise ReadError(f"its user data is not base64: {error}", where=f"launch template {template_id}") from error

    def _template_data(self, template_id: str, version: str) -> Mapping[str, Any]:
        with _calling(f"ec2:DescribeLaunchTemplateVersions {template_id}"):
            answer = self._ec2.describe_launch_template_versions(
                LaunchTemplateId=template_id, Versions=[version or "$Default"]
            )
        versions = answer["LaunchTemplateVersions"]
        return versions[0]["LaunchTemplateData"] if versions else {}

    def launch_template_disks(self, template_id: str, version: str) -> Sequence[BlockDevice]:
        return shapes.disks_from_api(self._template_data(template_id, version).get("BlockDeviceMappings"))

    def addon_schema(self, name: str, version: str) -> str:
        with _calling(f"eks:DescribeAddonConfiguration {name} {version}"):
            answer = self._eks.describe_addon_configuration(addonName=name, addonVersion=version)
        return str(answer.get("configurationSchema", ""))

    def parameter(self, path: str) -> str:
        with _calling(f"ssm:GetParameter {path}"):
            try:
                return str(self._ssm.get_parameter(Name=path)["Parameter"]["Value"])
            except self._ssm.exceptions.ParameterNotFound:
                return ""

    def parameter_history(self, path: str) -> Sequence[str]:
        with _calling(f"ssm:GetParameterHistory {path}"):
            try:
                pages = self._ssm.get_paginator("get_parameter_history").paginate(Name=path)
                rows = [row for page in pages for row in page["Parameters"]]
            except self._ssm.exceptions.ParameterNotFound:
                return []
        return [str(r["Value"]) for r in sorted(rows, key=lambda r: -int(r.get("Version", 0)))]

    # writing

    def update_cluster_version(self, cluster: str, version: str, *, token: str, force: bool = False) -> Update:
        more = {"force": True} if force else {}
        with _calling(f"eks:UpdateClusterVersion {cluster}"):
            answer = self._eks.update_cluster_version(name=cluster, version=version, clientRequestToken=token, **more)
        return shapes.update_from_api(answer["update"])

    def update_addon(
        self, cluster: str, addon: str, version: str, *, token: str, resolve_conflicts: str | None = None
    ) -> Update:
        more = {"resolveConflicts": resolve_conflicts} if resolve_conflicts else {}
        with _calling(f"eks:UpdateAddon {cluster}/{addon}"):
            answer = self._eks.update_addon(
                clusterName=cluster, addonName=addon, addonVersion=version, clientRequestToken=token, **more
            )
        return shapes.update_from_api(answer["update"])

    def update_node_group_version(
        self,
        cluster: str,
        node_group: str,
        *,
        token: str,
        launch_template: tuple[str, str] | None = None,
        version: str | None = None,
        release_version: str | None = None,
        force: bool = False,
    ) -> Update:
        params: dict[str, Any] = {"clusterName": cluster, "nodegroupName": node_group, "clientRequestToken": token}
        if launch_template is not None:
            params["launchTemplate"] = {"id": launch_template[0], "version": launch_template[1]}
        if version:
            params["version"] = version
        if release_version:
            params["releaseVersion"] = release_version
        if force:
            params["force"] = True
        with _calling(f"eks:UpdateNodegroupVersion {cluster}/{node_group}"):
            return shapes.update_from_api(self._eks.update_nodegroup_version(**params)["update"])

    def update_node_group_config(
        self,
        cluster: str,
        node_group: str,
        *,
        token: str,
        max_unavailable: int | None = None,
        max_unavailable_percentage: int | None = None,
    ) -> Update:
        config = (
            {"maxUnavailablePercentage": max_unavailable_percentage}
            if max_unavailable_percentage is not None
            else {"maxUnavailable": max_unavailable or 1}
        )
        with _calling(f"eks:UpdateNodegroupConfig {cluster}/{node_group}"):
            answer = self._eks.update_nodegroup_config(
                clusterName=cluster, nodegroupName=node_group, updateConfig=config, clientRequestToken=token
            )
        return shapes.update_from_api(answer["update"])

    def new_launch_template_version(self, template_id: str, source_version: str, image_id: str, *, token: str) -> str:
        with _calling(f"ec2:CreateLaunchTemplateVersion {template_id}"):
            answer = self._ec2.create_launch_template_version(
                LaunchTemplateId=template_id,
                SourceVersion=source_version,
                LaunchTemplateData={"ImageId": image_id},
                ClientToken=token,
            )
            number = str(answer["LaunchTemplateVersion"]["VersionNumber"])
            self._ec2.modify_launch_template(LaunchTemplateId=template_id, DefaultVersion=number)
        return number

    # credentials for the Kubernetes API

    def kubernetes_token(self, cluster: str) -> str:
        """What `aws eks get-token` makes: a presigned STS GetCallerIdentity that names the cluster, for 60 seconds."""
        with _calling("sts:GetCallerIdentity"):
            client = self.session.client("sts", config=self._config)

            def name_cluster(request: Any, **_: Any) -> None:
                request.headers["x-k8s-aws-id"] = cluster

            client.meta.events.register("before-sign.sts.GetCallerIdentity", name_cluster)
            url = client.generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod="GET")
        return "k8s-aws-v1." + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


def _scope(node_group: str | None, addon: str | None) -> dict[str, str]:
    if node_group:
        return {"nodegroupName": node_group}
    return {"addonName": addon} if addon else {}
