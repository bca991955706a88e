"""Every answer of the cloud against the contract: the EKS model that botocore ships."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from cloud_fakes import ROLE, Bench

from baton.twin.cloud.access import ADMIN

MODEL = botocore.session.get_session().get_service_model("eks")
NOT_SERVED = {
    # certificate authorities, capabilities, subscriptions and registered clusters have no part in an upgrade
    *(n for n in MODEL.operation_names if "CertificateAuthorit" in n or "Capabilit" in n or "EksAnywhere" in n),
    "RegisterCluster",
    "DeregisterCluster",
}


class Checked(Bench):
    """A bench whose every request and answer is held against the model."""

    seen: set[str]

    def eks(self, operation: str, **params: Any) -> dict[str, Any]:
        model = MODEL.operation_model(operation)
        validator = ParamValidator()
        assert validator.validate(params, model.input_shape).generate_report() == ""
        answer = super().eks(operation, **params)
        assert validator.validate(answer, model.output_shape).generate_report() == ""
        _check_enums(answer, model.output_shape, operation)
        self.__dict__.setdefault("seen", set()).add(operation)
        return answer


def _check_enums(value: Any, shape: Any, where: str) -> None:
    """Enumerations hold only values that the model knows."""
    if shape is None or value is None:
        return
    if shape.type_name == "structure":
        for key, member in value.items():
            _check_enums(member, shape.members[key], f"{where}.{key}")
    elif shape.type_name == "list":
        for member in value:
            _check_enums(member, shape.member, where)
    elif shape.type_name == "string" and getattr(shape, "enum", None):
        assert value in shape.enum, f"{where}: {value}"


@pytest.fixture(scope="module")
def bench() -> Checked:
    made = Checked()
    made.cluster()
    made.group()
    return made


def test_twin_cloud_shapes_every_upgrade_operation_is_served(bench: Checked) -> None:
    """An operation that fell out of the table would be a 400 to Terraform in the middle of an apply."""
    assert set(MODEL.operation_names) - NOT_SERVED == set(bench.cloud.operations)


def test_twin_cloud_shapes_clusters_and_updates(bench: Checked) -> None:
    """Answers outside the model crash SDK clients; the AWS provider panicked on an update that was missing."""
    cluster = bench.eks("DescribeCluster", name="demo")["cluster"]
    vpc = cluster["resourcesVpcConfig"]
    assert vpc["clusterSecurityGroupId"].startswith("sg-")
    assert vpc["vpcId"] == "vpc-1"
    assert cluster["identity"]["oidc"]["issuer"].startswith("https://oidc.eks.us-east-1.amazonaws.com/id/")
    for change in (
        {"logging": {"clusterLogging": [{"types": ["api", "audit"], "enabled": True}]}},
        {"resourcesVpcConfig": {"endpointPrivateAccess": True, "publicAccessCidrs": ["10.0.0.0/8"]}},
        {"resourcesVpcConfig": {"subnetIds": ["subnet-0", "subnet-1"]}},
        {"accessConfig": {"authenticationMode": "API"}},
        {"upgradePolicy": {"supportType": "STANDARD"}},
        {"deletionProtection": True},
        {"deletionProtection": False},
        {"zonalShiftConfig": {"enabled": True}},
    ):
        update = bench.update(bench.eks("UpdateClusterConfig", name="demo", **change))
        assert update["status"] == "Successful"
    after = bench.eks("DescribeCluster", name="demo")["cluster"]
    assert after["logging"]["clusterLogging"][0] == {"types": ["api", "audit"], "enabled": True}
    assert after["resourcesVpcConfig"]["subnetIds"] == ["subnet-0", "subnet-1"]
    assert after["accessConfig"] == {"authenticationMode": "API"}
    assert len(bench.eks("ListUpdates", name="demo")["updateIds"]) == 8
    first = bench.eks("ListUpdates", name="demo", maxResults=3)
    assert len(first["updateIds"]) == 3
    assert len(bench.eks("ListUpdates", name="demo", nextToken=first["nextToken"])["updateIds"]) == 5
    assert bench.eks("ListClusters")["clusters"] == ["demo"]


def test_twin_cloud_shapes_node_groups(bench: Checked) -> None:
    """A clean second Terraform plan needs exactly these members, and none that were never asked for."""
    shown = bench.shown()
    assert shown["amiType"] == "CUSTOM"
    assert shown["releaseVersion"] == "ami-34"
    assert shown["launchTemplate"] == {"id": "lt-1", "name": "name-of-lt-1", "version": "1"}
    assert shown["updateConfig"] == {"maxUnavailable": 1}
    assert "remoteAccess" not in shown
    assert "diskSize" not in shown
    assert shown["resources"]["autoScalingGroups"] == [{"name": bench.cloud.asgs()[0].name}]
    change = {
        "labels": {"addOrUpdateLabels": {"team": "shop"}},
        "taints": {"addOrUpdateTaints": [{"key": "only", "value": "shop", "effect": "NO_SCHEDULE"}]},
        "scalingConfig": {"minSize": 2, "maxSize": 8, "desiredSize": 4},
        "updateConfig": {"maxUnavailablePercentage": 50, "updateStrategy": "MINIMAL"},
        "nodeRepairConfig": {"enabled": True},
    }
    answer = bench.eks("UpdateNodegroupConfig", clusterName="demo", nodegroupName="main", **change)
    assert bench.update(answer, nodegroupName="main")["type"] == "ConfigUpdate"
    bench.clock.sleep(300)
    shown = bench.shown()
    assert shown["scalingConfig"] == {"minSize": 2, "maxSize": 8, "desiredSize": 4}
    assert shown["updateConfig"] == {"maxUnavailablePercentage": 50, "updateStrategy": "MINIMAL"}
    nodes = list(bench.kube().world.items("nodes"))
    assert len(nodes) == 4
    assert {n["metadata"]["labels"]["team"] for n in nodes} == {"shop"}
    assert all(n["spec"]["taints"] == [{"key": "only", "value": "shop", "effect": "NoSchedule"}] for n in nodes)
    undo = {"labels": {"removeLabels": ["team"]}, "taints": {"removeTaints": change["taints"]["addOrUpdateTaints"]}}  # type: ignore[index]
    answer = bench.eks("UpdateNodegroupConfig", clusterName="demo", nodegroupName="main", **undo)
    bench.update(answer, nodegroupName="main")
    assert not any("team" in n["metadata"]["labels"] for n in bench.kube().world.items("nodes"))
    assert bench.eks("ListNodegroups", clusterName="demo")["nodegroups"] == ["main"]


def test_twin_cloud_shapes_addons(bench: Checked) -> None:
    """Add-on versions, configuration, create, update, describe, delete, as the provider and eksctl call them."""
    info = bench.eks("DescribeAddonVersions", addonName="coredns", kubernetesVersion="1.34")["addons"][0]
    versions = [v["addonVersion"] for v in info["addonVersions"]]
    assert sum(v["compatibilities"][0]["defaultVersion"] for v in info["addonVersions"]) == 1
    assert bench.eks("DescribeAddonVersions", types=["storage"])["addons"]
    bench.eks("DescribeAddonConfiguration", addonName="vpc-cni", addonVersion=_newest(bench, "vpc-cni"))
    bench.eks("CreateAddon", clusterName="demo", addonName="coredns", addonVersion=versions[-1], tags={"a": "b"})
    bench.until(
        lambda: bench.eks("DescribeAddon", clusterName="demo", addonName="coredns")["addon"]["status"] == "ACTIVE"
    )
    answer = bench.eks(
        "UpdateAddon",
        clusterName="demo",
        addonName="coredns",
        addonVersion=versions[0],
        resolveConflicts="PRESERVE",
        configurationValues="{}",
        podIdentityAssociations=[{"serviceAccount": "coredns", "roleArn": ROLE}],
    )
    assert bench.update(answer, addonName="coredns")["status"] == "Successful"
    addon = bench.eks("DescribeAddon", clusterName="demo", addonName="coredns")["addon"]
    assert (addon["addonVersion"], addon["status"]) == (versions[0], "ACTIVE")
    assert bench.kube().addons["coredns"] == versions[0]
    assert bench.eks("ListAddons", clusterName="demo")["addons"] == ["coredns"]
    bench.eks("DeleteAddon", clusterName="demo", addonName="coredns", preserve=True)
    bench.clock.sleep(60)
    assert bench.eks("ListAddons", clusterName="demo")["addons"] == []
    assert "coredns" in bench.kube().addons


def _newest(bench: Checked, addon: str) -> str:
    info = bench.eks("DescribeAddonVersions", addonName=addon)["addons"][0]
    version: str = info["addonVersions"][0]["addonVersion"]
    return version


def test_twin_cloud_shapes_access_tags_identity(bench: Checked) -> None:
    """The module's access entries, tags and identities must read back as they were written."""
    one = {"clusterName": "demo", "principalArn": "arn:aws:iam::123456789012:role/Admin"}
    entry = bench.eks("CreateAccessEntry", **one, kubernetesGroups=["ops"], tags={"x": "y"})["accessEntry"]
    assert entry["username"] == "arn:aws:sts::123456789012:assumed-role/Admin/{{SessionName}}"
    scope = {"type": "namespace", "namespaces": ["shop"]}
    bench.eks("AssociateAccessPolicy", **one, policyArn=ADMIN, accessScope=scope)
    (held,) = bench.eks("ListAssociatedAccessPolicies", **one)["associatedAccessPolicies"]
    assert held["accessScope"] == scope
    assert bench.eks("UpdateAccessEntry", **one, kubernetesGroups=[])["accessEntry"]["kubernetesGroups"] == []
    bench.eks("DescribeAccessEntry", **one)
    assert bench.eks("ListAccessEntries", clusterName="demo", associatedPolicyArn=ADMIN)["accessEntries"] == [
        "arn:aws:iam::123456789012:role/Admin",
        "arn:aws:iam::123456789012:user/baton",
    ]
    assert ROLE in bench.eks("ListAccessEntries", clusterName="demo")["accessEntries"]
    bench.eks("DisassociateAccessPolicy", **one, policyArn=ADMIN)
    bench.eks("DeleteAccessEntry", **one)
    assert len(bench.eks("ListAccessPolicies")["accessPolicies"]) > 10
    arn = bench.shown()["nodegroupArn"]
    bench.eks("TagResource", resourceArn=arn, tags={"team": "shop", "gone": "soon"})
    bench.eks("UntagResource", resourceArn=arn, tagKeys=["gone"])
    assert bench.eks("ListTagsForResource", resourceArn=arn)["tags"] == {"team": "shop"}
    made = bench.eks(
        "CreatePodIdentityAssociation", clusterName="demo", namespace="shop", serviceAccount="cart", roleArn=ROLE
    )["association"]
    who = {"clusterName": "demo", "associationId": made["associationId"]}
    bench.eks("UpdatePodIdentityAssociation", **who, roleArn=ROLE + "2")
    assert bench.eks("DescribePodIdentityAssociation", **who)["association"]["roleArn"] == ROLE + "2"
    assert len(bench.eks("ListPodIdentityAssociations", clusterName="demo", namespace="shop")["associations"]) == 1
    bench.eks("DeletePodIdentityAssociation", **who)


def test_twin_cloud_shapes_security_fargate_insights(bench: Checked) -> None:
    """The rest of the served operations: shapes, and that they end."""
    key = [{"resources": ["secrets"], "provider": {"keyArn": "arn:aws:kms:us-east-1:123456789012:key/1"}}]
    bench.update(bench.eks("AssociateEncryptionConfig", clusterName="demo", encryptionConfig=key))
    assert bench.eks("DescribeCluster", name="demo")["cluster"]["encryptionConfig"] == key
    oidc = {"identityProviderConfigName": "corp", "issuerUrl": "https://id.example.com", "clientId": "eks"}
    bench.update(bench.eks("AssociateIdentityProviderConfig", clusterName="demo", oidc=oidc))
    which = {"clusterName": "demo", "identityProviderConfig": {"type": "oidc", "name": "corp"}}
    assert bench.eks("DescribeIdentityProviderConfig", **which)["identityProviderConfig"]["oidc"]["status"] == "ACTIVE"
    assert bench.eks("ListIdentityProviderConfigs", clusterName="demo")["identityProviderConfigs"]
    bench.update(bench.eks("DisassociateIdentityProviderConfig", **which))
    profile = {"clusterName": "demo", "fargateProfileName": "web"}
    bench.eks("CreateFargateProfile", **profile, podExecutionRoleArn=ROLE, selectors=[{"namespace": "web"}])
    bench.until(lambda: bench.eks("DescribeFargateProfile", **profile)["fargateProfile"]["status"] == "ACTIVE")
    assert bench.eks("ListFargateProfiles", clusterName="demo")["fargateProfileNames"] == ["web"]
    bench.eks("DeleteFargateProfile", **profile)
    bench.clock.sleep(300)
    assert bench.eks("ListFargateProfiles", clusterName="demo")["fargateProfileNames"] == []
    insights = bench.eks("ListInsights", clusterName="demo", filter={"categories": ["UPGRADE_READINESS"]})["insights"]
    kubelets = next(i for i in insights if i["name"] == "Kubelet version skew")
    assert kubelets["insightStatus"]["status"] == "PASSING"
    bench.eks("DescribeInsight", clusterName="demo", id=kubelets["id"])
    assert bench.eks("StartInsightsRefresh", clusterName="demo")["status"] == "IN_PROGRESS"
    bench.clock.sleep(120)
    assert bench.eks("DescribeInsightsRefresh", clusterName="demo")["status"] == "COMPLETED"
    rows = bench.eks("DescribeClusterVersions")["clusterVersions"]
    assert [r["clusterVersion"] for r in rows][:2] == ["1.36", "1.35"]
    assert bench.eks("DescribeClusterVersions", defaultOnly=True)["clusterVersions"][0]["defaultVersion"]
    old = bench.eks("DescribeClusterVersions", versionStatus="UNSUPPORTED")["clusterVersions"]
    assert {r["status"] for r in old} == {"unsupported"}


def test_twin_cloud_shapes_control_plane_roll_and_removal(bench: Checked) -> None:
    """The upgrade itself and the way out, then the count of what was exercised."""
    update = bench.update(bench.eks("UpdateClusterVersion", name="demo", version="1.35"))
    assert [p["type"] for p in update["params"]] == ["Version", "PlatformVersion"]
    bench.template("ami-35", 2)
    template = {"id": "lt-1", "version": "2"}
    answer = bench.eks("UpdateNodegroupVersion", clusterName="demo", nodegroupName="main", launchTemplate=template)
    assert bench.update(answer, nodegroupName="main")["params"] == [
        {"type": "LaunchTemplateName", "value": "name-of-lt-1"},
        {"type": "LaunchTemplateVersion", "value": "2"},
    ]
    bench.eks("StartInsightsRefresh", clusterName="demo")
    bench.clock.sleep(120)
    rollback = bench.eks("ListInsights", clusterName="demo", filter={"categories": ["ROLLBACK_READINESS"]})
    assert {i["insightStatus"]["status"] for i in rollback["insights"]} == {"PASSING", "ERROR"}, "the nodes are too new"
    bench.eks("DeleteNodegroup", clusterName="demo", nodegroupName="main")
    bench.until(lambda: not bench.eks("ListNodegroups", clusterName="demo")["nodegroups"])
    assert not list(bench.kube().world.items("nodes"))
    bench.eks("DeleteCluster", name="demo")
    bench.until(lambda: not bench.eks("ListClusters")["clusters"])
    missing = set(bench.cloud.operations) - bench.seen
    assert missing <= {"CancelUpdate"}, "each served operation is exercised above; CancelUpdate has its own test"
