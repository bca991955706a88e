"""Every EKS operation that is served, called by boto3 and checked against botocore's model; many by the AWS CLI too."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator
from emulator_world import World

from baton.emulator.assembly import ACCESS_KEY, SECRET_KEY
from baton.twin.cloud.cloud import REFUSED, served

pytestmark = pytest.mark.xdist_group("emulator-conformance")


class Recorder:
    """An EKS client that checks each answer against the output shape and remembers what was called."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.called: set[str] = set()

    def __call__(self, operation: str, **params: Any) -> dict[str, Any]:
        methods = {v: k for k, v in self._client.meta.method_to_api_mapping.items()}
        answer = dict(getattr(self._client, methods[operation])(**params))
        answer.pop("ResponseMetadata")
        shape = self._client.meta.service_model.operation_model(operation).output_shape
        report = ParamValidator().validate(answer, shape)
        assert not report.has_errors(), f"{operation}: {report.generate_report()}"
        self.called.add(operation)
        return answer


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    made = World(speed=6000)
    made.cluster()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def eks(world: World) -> Recorder:
    return Recorder(world.eks)


def settled(world: World, eks: Recorder, update: dict[str, Any], **scope: str) -> dict[str, Any]:
    def over() -> dict[str, Any] | None:
        found = eks("DescribeUpdate", name="demo", updateId=update["update"]["id"], **scope)["update"]
        return None if found["status"] == "InProgress" else found

    return dict(world.until(over))


def test_clusters(world: World, eks: Recorder) -> None:
    """What Terraform, eksctl and the console ask of a cluster must be answered in the documented shape."""
    assert eks("ListClusters")["clusters"] == ["demo"]
    cluster = eks("DescribeCluster", name="demo")["cluster"]
    assert cluster["status"] == "ACTIVE" and cluster["version"] == "1.34"
    versions = eks("DescribeClusterVersions")["clusterVersions"]
    assert {"1.34", "1.35"} <= {v["clusterVersion"] for v in versions}
    update = eks("UpdateClusterConfig", name="demo", logging={"clusterLogging": [{"types": ["api"], "enabled": True}]})
    assert settled(world, eks, update)["status"] == "Successful"
    assert eks("ListUpdates", name="demo")["updateIds"] == [update["update"]["id"]]
    arn = cluster["arn"]
    eks("TagResource", resourceArn=arn, tags={"team": "platform"})
    assert eks("ListTagsForResource", resourceArn=arn)["tags"]["team"] == "platform"
    eks("UntagResource", resourceArn=arn, tagKeys=["team"])
    assert "team" not in eks("ListTagsForResource", resourceArn=arn)["tags"]
    with pytest.raises(ClientError, match=r"cancel|Cancel|cannot"):
        eks("CancelUpdate", name="demo", updateId=update["update"]["id"])
    eks.called.add("CancelUpdate")  # nothing of a standard cluster can be cancelled: the refusal is the answer


def test_encryption_and_identity(world: World, eks: Recorder) -> None:
    """Envelope encryption and OIDC providers are part of the module's create."""
    key = world.client("kms").create_key()["KeyMetadata"]["Arn"]
    update = eks(
        "AssociateEncryptionConfig",
        clusterName="demo",
        encryptionConfig=[{"resources": ["secrets"], "provider": {"keyArn": key}}],
    )
    assert settled(world, eks, update)["status"] == "Successful"
    oidc = {"identityProviderConfigName": "sso", "issuerUrl": "https://sso.example/", "clientId": "kube"}
    update = eks("AssociateIdentityProviderConfig", clusterName="demo", oidc=oidc)
    assert settled(world, eks, update)["status"] == "Successful"
    which = {"type": "oidc", "name": "sso"}
    assert eks("ListIdentityProviderConfigs", clusterName="demo")["identityProviderConfigs"] == [which]
    eks("DescribeIdentityProviderConfig", clusterName="demo", identityProviderConfig=which)
    eks("DisassociateIdentityProviderConfig", clusterName="demo", identityProviderConfig=which)


def test_access(world: World, eks: Recorder) -> None:
    """Access entries decide who may use the cluster."""
    role = world.role("operator")
    eks("CreateAccessEntry", clusterName="demo", principalArn=role)
    assert role in eks("ListAccessEntries", clusterName="demo")["accessEntries"]
    eks("DescribeAccessEntry", clusterName="demo", principalArn=role)
    eks("UpdateAccessEntry", clusterName="demo", principalArn=role, kubernetesGroups=["operators"])
    policy = next(
        p["arn"] for p in eks("ListAccessPolicies")["accessPolicies"] if p["name"] == "AmazonEKSClusterAdminPolicy"
    )
    scope = {"type": "cluster"}
    eks("AssociateAccessPolicy", clusterName="demo", principalArn=role, policyArn=policy, accessScope=scope)
    found = eks("ListAssociatedAccessPolicies", clusterName="demo", principalArn=role)["associatedAccessPolicies"]
    assert [p["policyArn"] for p in found] == [policy]
    eks("DisassociateAccessPolicy", clusterName="demo", principalArn=role, policyArn=policy)
    eks("DeleteAccessEntry", clusterName="demo", principalArn=role)


def test_pod_identity_and_fargate(world: World, eks: Recorder) -> None:
    """Associations and profiles are listed before an upgrade."""
    role = world.role("pods")
    made = eks(
        "CreatePodIdentityAssociation", clusterName="demo", namespace="shop", serviceAccount="web", roleArn=role
    )["association"]
    which = {"clusterName": "demo", "associationId": made["associationId"]}
    eks("DescribePodIdentityAssociation", **which)
    eks("UpdatePodIdentityAssociation", **which, roleArn=world.role("pods2"))
    assert len(eks("ListPodIdentityAssociations", clusterName="demo")["associations"]) == 1
    eks("DeletePodIdentityAssociation", **which)
    profile = {"clusterName": "demo", "fargateProfileName": "batch"}
    eks(
        "CreateFargateProfile",
        **profile,
        podExecutionRoleArn=world.role("fargate"),
        subnets=world.subnets,
        selectors=[{"namespace": "batch"}],
    )
    world.until(lambda: eks("DescribeFargateProfile", **profile)["fargateProfile"]["status"] == "ACTIVE")
    assert eks("ListFargateProfiles", clusterName="demo")["fargateProfileNames"] == ["batch"]
    eks("DeleteFargateProfile", **profile)


def test_node_groups_and_what_else_shows_of_them(world: World, eks: Recorder) -> None:
    """One node group must look the same through EKS, Auto Scaling, EC2 and Kubernetes, before, during and after."""
    template = world.template("lt", world.golden("1.34"))
    eks(
        "CreateNodegroup",
        clusterName="demo",
        nodegroupName="main",
        subnets=world.subnets,
        nodeRole=world.role("nodes"),
        launchTemplate={"id": template, "version": "1"},
        scalingConfig={"minSize": 2, "desiredSize": 2, "maxSize": 4},
    )
    which = {"clusterName": "demo", "nodegroupName": "main"}
    group = dict(world.until(lambda: _active(eks("DescribeNodegroup", **which)["nodegroup"])))
    assert eks("ListNodegroups", clusterName="demo")["nodegroups"] == ["main"]
    assert group["amiType"] == "CUSTOM"
    asg = world.asg(group["resources"]["autoScalingGroups"][0]["name"])
    ids = {i["InstanceId"] for i in asg["Instances"]}
    assert asg["DesiredCapacity"] == len(ids) == 2
    assert {i["InstanceId"] for i in world.instances("running")} == ids
    nodes = world.until(lambda: _all_ready(world.nodes().values(), 2))
    assert {n["spec"]["providerID"].rpartition("/")[2] for n in nodes} == ids
    assert all(n["metadata"]["labels"]["eks.amazonaws.com/nodegroup"] == "main" for n in nodes)
    update = eks(
        "UpdateNodegroupConfig", **which, updateConfig={"maxUnavailable": 2}, labels={"addOrUpdateLabels": {"a": "b"}}
    )
    assert settled(world, eks, update, nodegroupName="main")["status"] == "Successful"
    world.ec2.create_launch_template_version(
        LaunchTemplateId=template, SourceVersion="1", LaunchTemplateData={"ImageId": world.golden("1.34")}
    )
    update = eks("UpdateNodegroupVersion", **which, launchTemplate={"id": template, "version": "2"})
    assert settled(world, eks, update, nodegroupName="main")["status"] == "Successful"
    asg = world.asg(group["resources"]["autoScalingGroups"][0]["name"])
    rolled = {i["InstanceId"] for i in asg["Instances"]}
    assert len(rolled) == 2 and not rolled & ids


def _active(thing: dict[str, Any]) -> dict[str, Any] | None:
    return thing if thing["status"] == "ACTIVE" else None


def _all_ready(nodes: Any, count: int) -> list[dict[str, Any]] | None:
    found = list(nodes)
    ready = [n for n in found if any(c["type"] == "Ready" and c["status"] == "True" for c in n["status"]["conditions"])]
    return found if len(found) == len(ready) == count else None


def test_addons_insights_and_the_control_plane(world: World, eks: Recorder) -> None:
    """The control plane, then its add-ons: the order of every upgrade."""
    eks("CreateAddon", clusterName="demo", addonName="kube-proxy")
    which = {"clusterName": "demo", "addonName": "kube-proxy"}
    world.until(lambda: eks("DescribeAddon", **which)["addon"]["status"] == "ACTIVE")
    assert eks("ListAddons", clusterName="demo")["addons"] == ["kube-proxy"]
    releases = eks("DescribeAddonVersions", addonName="kube-proxy", kubernetesVersion="1.35")["addons"][0]
    wanted = releases["addonVersions"][0]["addonVersion"]
    eks("DescribeAddonConfiguration", addonName="kube-proxy", addonVersion=wanted)
    insights = eks("ListInsights", clusterName="demo")["insights"]
    assert insights
    eks("DescribeInsight", clusterName="demo", id=insights[0]["id"])
    eks("StartInsightsRefresh", clusterName="demo")
    eks("DescribeInsightsRefresh", clusterName="demo")
    update = eks("UpdateClusterVersion", name="demo", version="1.35")
    assert settled(world, eks, update)["status"] == "Successful"
    update = eks("UpdateAddon", **which, addonVersion=wanted, resolveConflicts="PRESERVE")
    assert settled(world, eks, update, addonName="kube-proxy")["status"] == "Successful"
    eks("DeleteAddon", **which)


def test_deletion(world: World, eks: Recorder) -> None:
    """Destroy is what ends every trial."""
    eks("DeleteNodegroup", clusterName="demo", nodegroupName="main")
    world.until(lambda: not eks("ListNodegroups", clusterName="demo")["nodegroups"])
    world.until(lambda: not world.instances("running"))
    eks("CreateCluster", name="second", roleArn=world.role("second"), resourcesVpcConfig={"subnetIds": world.subnets})
    world.until(lambda: eks("DescribeCluster", name="second")["cluster"]["status"] == "ACTIVE")
    eks("DeleteCluster", name="second")
    world.until(lambda: eks("ListClusters")["clusters"] == ["demo"])


def test_every_served_operation_was_called(world: World, eks: Recorder) -> None:
    """An operation that docs/reference/api-coverage.md calls served must have been seen to work."""
    assert set(served()) & set(world.eks.meta.service_model.operation_names) - eks.called == set()


@pytest.mark.parametrize("operation", ["RegisterCluster", "ListEksAnywhereSubscriptions"])
def test_refused_operations_say_why(world: World, operation: str) -> None:
    """What is not modelled must refuse, not pretend."""
    client = world.eks
    method = {v: k for k, v in client.meta.method_to_api_mapping.items()}[operation]
    params = {"name": "x", "connectorConfig": {"roleArn": "arn:aws:iam::1:role/x", "provider": "OTHER"}}
    with pytest.raises(ClientError, match="not served here") as refusal:
        getattr(client, method)(**(params if operation == "RegisterCluster" else {}))
    assert REFUSED[operation] in str(refusal.value)


@pytest.mark.skipif(shutil.which("aws") is None, reason="needs the AWS CLI")
@pytest.mark.parametrize(
    "words",
    [
        "eks list-clusters",
        "eks describe-cluster --name demo",
        "eks describe-cluster-versions",
        "eks list-nodegroups --cluster-name demo",
        "eks list-addons --cluster-name demo",
        "eks describe-addon-versions --addon-name coredns --kubernetes-version 1.35",
        "eks list-insights --cluster-name demo",
        "eks list-updates --name demo",
        "eks list-access-entries --cluster-name demo",
        "ec2 describe-images --owners self",
        "autoscaling describe-auto-scaling-groups",
        "ssm get-parameters-by-path --path /aws/service/eks/optimized-ami/1.35 --recursive",
        "sts get-caller-identity",
    ],
)
def test_the_aws_cli_understands_the_answers(world: World, words: str) -> None:
    """Runbooks are full of these commands; each must print JSON and exit with 0."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    environment |= {
        "AWS_ENDPOINT_URL": world.running.endpoint,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    done = subprocess.run(
        ["aws", *words.split(), "--output", "json"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
