"""An emulator with boto3 clients, and the few things that most of its tests need in an account."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Callable
from typing import Any
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

import boto3
from botocore.config import Config

from baton.emulator.assembly import ACCESS_KEY, SECRET_KEY
from baton.emulator.server import Running, start_in_thread

ASSUME = json.dumps({"Version": "2012-10-17", "Statement": []})


class World:
    """`running` is the emulator; clients have no retries, so that a test sees every answer."""

    def __init__(self, **options: Any) -> None:
        self.running: Running = start_in_thread(**{"speed": 3000, "seed": 7, **options})
        self.subnets: list[str] = []
        self._clients: dict[str, Any] = {}

    def client(self, service: str, **more: Any) -> Any:
        key = f"{service} {sorted(more.items())}"
        if key not in self._clients:
            self._clients[key] = boto3.session.Session().client(
                service,
                endpoint_url=self.running.endpoint,
                config=Config(retries={"total_max_attempts": 1}),
                **{
                    "region_name": "us-east-1",
                    "aws_access_key_id": ACCESS_KEY,
                    "aws_secret_access_key": SECRET_KEY,
                    **more,
                },
            )
        return self._clients[key]

    @property
    def eks(self) -> Any:
        return self.client("eks")

    @property
    def ec2(self) -> Any:
        return self.client("ec2")

    @property
    def scaling(self) -> Any:
        return self.client("autoscaling")

    def until(self, what: Callable[[], Any], seconds: float = 30.0) -> Any:
        """The first true answer of `what()`, asked again and again for at most `seconds` of real time."""
        end = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.02)
        return found

    # --- an account -------------------------------------------------------------------------------------------

    def role(self, name: str) -> str:
        return str(self.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=ASSUME)["Role"]["Arn"])

    def network(self) -> list[str]:
        vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnets = [
            self.ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{i}.0/24", AvailabilityZone=f"us-east-1{zone}")[
                "Subnet"
            ]["SubnetId"]
            for i, zone in enumerate("abc")
        ]
        return self.subnets

    def golden(self, minor: str) -> str:
        found = self.ec2.describe_images(
            Owners=["self"], Filters=[{"Name": "name", "Values": [f"golden-eks-{minor}-*"]}]
        )["Images"]
        return str(max(found, key=lambda i: i["CreationDate"])["ImageId"])

    def template(self, name: str, image: str) -> str:
        made = self.ec2.create_launch_template(
            LaunchTemplateName=name, LaunchTemplateData={"ImageId": image, "InstanceType": "m5.large"}
        )
        return str(made["LaunchTemplate"]["LaunchTemplateId"])

    def cluster(self, name: str = "demo", version: str = "1.34") -> dict[str, Any]:
        """An ACTIVE cluster."""
        if not self.subnets:
            self.network()
        self.eks.create_cluster(
            name=name,
            version=version,
            roleArn=self.role(f"{name}-cluster"),
            resourcesVpcConfig={"subnetIds": self.subnets},
            accessConfig={"authenticationMode": "API_AND_CONFIG_MAP"},
        )
        return dict(self.until(lambda: self._active(self.eks.describe_cluster(name=name)["cluster"])))

    @staticmethod
    def _active(thing: dict[str, Any]) -> dict[str, Any] | None:
        return thing if thing["status"] == "ACTIVE" else None

    def group(self, name: str = "main", cluster: str = "demo", size: int = 3, **more: Any) -> dict[str, Any]:
        """A node group that has come to rest."""
        self.eks.create_nodegroup(
            clusterName=cluster,
            nodegroupName=name,
            subnets=self.subnets,
            nodeRole=self.role(f"{cluster}-{name}"),
            scalingConfig={"minSize": min(size, 1), "desiredSize": size, "maxSize": size + 3},
            **more,
        )
        return dict(self.until(lambda: _at_rest(self.node_group(name, cluster))))

    def node_group(self, name: str = "main", cluster: str = "demo") -> dict[str, Any]:
        return dict(self.eks.describe_nodegroup(clusterName=cluster, nodegroupName=name)["nodegroup"])

    def update(self, answer: dict[str, Any], cluster: str = "demo", **scope: str) -> dict[str, Any]:
        """The update of `answer` once it is over."""
        ident = answer["update"]["id"]

        def over() -> dict[str, Any] | None:
            found = self.eks.describe_update(name=cluster, updateId=ident, **scope)["update"]
            return None if found["status"] == "InProgress" else dict(found)

        return dict(self.until(over))

    def asg(self, name: str) -> dict[str, Any]:
        return dict(self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0])

    def instances(self, *states: str) -> list[dict[str, Any]]:
        filters = [{"Name": "instance-state-name", "Values": list(states)}] if states else []
        found = self.ec2.describe_instances(Filters=filters)["Reservations"]
        return [i for r in found for i in r["Instances"]]

    def faults(self, change: dict[str, Any]) -> None:
        """What POST /_baton/faults does."""
        self.running.call(lambda: self.running.emulator.faults.apply(change))

    # --- Kubernetes -------------------------------------------------------------------------------------------

    def kube(self, path: str, cluster: str = "demo", token: str | None = None) -> dict[str, Any]:
        """GET of the cluster's API. Raises urllib's HTTPError."""
        config = json.loads(self.running.kubeconfig.read_text())
        where = next(c["cluster"] for c in config["clusters"] if c["name"] == cluster)
        bearer = token if token is not None else config["users"][0]["user"]["token"]
        context = ssl.create_default_context(cadata=base64.b64decode(where["certificate-authority-data"]).decode())
        opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
        request = Request(where["server"] + path, headers={"Authorization": f"Bearer {bearer}"})
        with opener.open(request, timeout=10) as answer:
            return dict(json.loads(answer.read()))

    def nodes(self, cluster: str = "demo") -> dict[str, dict[str, Any]]:
        return {n["metadata"]["name"]: n for n in self.kube("/api/v1/nodes", cluster)["items"]}

    def stop(self) -> None:
        self.running.stop()


def _at_rest(group: dict[str, Any]) -> dict[str, Any] | None:
    return group if group["status"] in ("ACTIVE", "CREATE_FAILED", "DEGRADED") else None
