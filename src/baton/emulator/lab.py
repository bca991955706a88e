"""The demo's cluster without Terraform: the same VPC, roles, cluster, add-ons and node group, through the AWS API."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import WaiterError

from baton.errors import UnavailableError

ZONES = ("a", "b", "c")
ADDONS = ("vpc-cni", "kube-proxy", "coredns")


def build(environment: Mapping[str, str], name: str, version: str, *, say: Callable[[str], None]) -> None:
    """Create it all and return once the node group and the add-ons are ACTIVE. Raises UnavailableError."""
    session = boto3.session.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
    )
    _Lab(session, environment["AWS_ENDPOINT_URL"], name, version, say).build()


class _Lab:
    def __init__(self, session: Any, endpoint: str, name: str, version: str, say: Callable[[str], None]) -> None:
        config = Config(retries={"mode": "standard"})
        self._eks = session.client("eks", endpoint_url=endpoint, config=config)
        self._ec2 = session.client("ec2", endpoint_url=endpoint, config=config)
        self._iam = session.client("iam", endpoint_url=endpoint, config=config)
        self._region = session.region_name
        self._name, self._version, self._say = name, version, say

    def build(self) -> None:
        subnets = self._network()
        self._say("VPC with three zones, roles")
        self._eks.create_cluster(
            name=self._name,
            version=self._version,
            roleArn=self._role("cluster", "eks.amazonaws.com"),
            resourcesVpcConfig={"subnetIds": subnets},
            accessConfig={"authenticationMode": "API_AND_CONFIG_MAP"},
        )
        self._wait("cluster_active", name=self._name)
        self._say(f"cluster {self._name} at {self._version}")
        for addon in ADDONS[:2]:
            self._addon(addon)
        self._eks.create_nodegroup(
            clusterName=self._name,
            nodegroupName="main",
            subnets=subnets,
            nodeRole=self._role("main", "ec2.amazonaws.com"),
            launchTemplate={"id": self._template(), "version": "1"},
            scalingConfig={"minSize": 3, "desiredSize": 3, "maxSize": 6},
            updateConfig={"maxUnavailable": 1},
        )
        self._wait("nodegroup_active", clusterName=self._name, nodegroupName="main")
        self._say("node group main, 3 nodes on the golden AMI")
        self._addon(ADDONS[2])
        for addon in ADDONS:
            self._wait("addon_active", clusterName=self._name, addonName=addon)
        self._say("add-ons " + ", ".join(ADDONS))

    def _wait(self, what: str, **which: str) -> None:
        try:
            self._eks.get_waiter(what).wait(**which, WaiterConfig={"Delay": 1, "MaxAttempts": 300})
        except WaiterError as error:
            raise UnavailableError(
                f"{what} did not come: {error}", hint="a faster clock (--speed) shortens the wait"
            ) from error

    def _network(self) -> list[str]:
        vpc = self._ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        return [
            self._ec2.create_subnet(
                VpcId=vpc, CidrBlock=f"10.0.{16 * index}.0/20", AvailabilityZone=f"{self._region}{zone}"
            )["Subnet"]["SubnetId"]
            for index, zone in enumerate(ZONES)
        ]

    def _role(self, what: str, service: str) -> str:
        trust = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
        }
        made = self._iam.create_role(RoleName=f"{self._name}-{what}", AssumeRolePolicyDocument=json.dumps(trust))
        return str(made["Role"]["Arn"])

    def _template(self) -> str:
        images = self._ec2.describe_images(
            Owners=["self"], Filters=[{"Name": "name", "Values": [f"golden-eks-{self._version}-*"]}]
        )["Images"]
        newest = max(images, key=lambda i: str(i["CreationDate"]))
        made = self._ec2.create_launch_template(
            LaunchTemplateName=f"{self._name}-main",
            LaunchTemplateData={"ImageId": newest["ImageId"], "InstanceType": "m6i.large"},
        )
        return str(made["LaunchTemplate"]["LaunchTemplateId"])

    def _addon(self, name: str) -> None:
        self._eks.create_addon(clusterName=self._name, addonName=name)
