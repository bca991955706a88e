"""An emulator with one cluster, the real kubectl and the AWS CLI pointed at it: shared by the tests of this folder."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest

from baton.emulator.server import Running, start_in_thread

QUICK = 3000.0  # cluster seconds per second while the cluster is made
ASSUME = json.dumps({"Version": "2012-10-17", "Statement": []})


def tool(name: str) -> str:
    """Where a command is; its absence skips the test, and fails it with BATON_CI=1."""
    found = find(name)
    if found is None:
        reason = f"needs {name} on PATH"
        if os.environ.get("BATON_CI") == "1" and name == "kubectl":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@functools.cache
def find(name: str) -> str | None:
    """The command, from beside this Python or PATH, if it runs."""
    beside = Path(sys.executable).with_name(name)
    for path in (str(beside) if beside.exists() else None, shutil.which(name)):
        flags = ["version", "--client"] if name == "kubectl" else ["--version"]
        if path and subprocess.run([path, *flags], capture_output=True, check=False, timeout=60).returncode == 0:
            return path
    return None


class Served:
    """Cluster demo at 1.34 with node group main of three; `pace` sets how fast cluster time runs."""

    def __init__(self, folder: Path, *, size: int = 3, seed: int = 7, image: str = "") -> None:
        self.folder = folder
        self.running: Running = start_in_thread(speed=QUICK, seed=seed)
        self._made = 0
        self.eks = self.client("eks")
        subnets = self._subnets()
        self.eks.create_cluster(
            name="demo",
            version="1.34",
            roleArn=self.role("demo-cluster"),
            resourcesVpcConfig={"subnetIds": subnets},
            accessConfig={"authenticationMode": "API_AND_CONFIG_MAP"},
        )
        self.until(lambda: self.eks.describe_cluster(name="demo")["cluster"]["status"] == "ACTIVE")
        self.eks.create_nodegroup(
            clusterName="demo",
            nodegroupName="main",
            subnets=subnets,
            nodeRole=self.role("demo-main"),
            scalingConfig={"minSize": 1, "desiredSize": size, "maxSize": size + 3},
        )
        self.until(lambda: self.node_group()["status"] == "ACTIVE")

    def client(self, service: str) -> Any:
        env = self.running.environment
        return boto3.session.Session().client(
            service,
            endpoint_url=self.running.endpoint,
            region_name=env["AWS_REGION"],
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        )

    def _subnets(self) -> list[str]:
        ec2 = self.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        return [
            ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{i}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"][
                "SubnetId"
            ]
            for i, zone in enumerate("abc")
        ]

    def role(self, name: str) -> str:
        return str(self.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=ASSUME)["Role"]["Arn"])

    def node_group(self) -> dict[str, Any]:
        return dict(self.eks.describe_nodegroup(clusterName="demo", nodegroupName="main")["nodegroup"])

    def until(self, what: Callable[[], Any], seconds: float = 30.0) -> Any:
        """The first true answer of `what()`, asked again for at most `seconds` of real time."""
        end = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.02)
        return found

    def pace(self, speed: float) -> None:
        """From now on cluster time runs `speed` times as fast as the wall's."""
        clock = self.running.emulator.clock

        def change() -> None:
            clock.rebase()
            clock.speed = speed

        self.running.call(change)

    def wait(self, seconds: float) -> None:
        """Let cluster time jump ahead."""
        clock = self.running.emulator.clock

        def jump() -> None:
            clock.sleep(seconds)
            clock.rebase()

        self.running.call(jump)

    # --- commands

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "KUBE"))}
        return {**kept, **self.running.environment, "HOME": str(self.folder)}

    def run(
        self, *words: str, stdin: str = "", env: Mapping[str, str] | None = None, timeout: float = 60
    ) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        done = subprocess.run(
            words,
            input=stdin,
            env={**self.environment, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def kubectl(self, *words: str, stdin: str = "", ok: int | None = 0, **more: Any) -> str:
        """stdout of kubectl, or stderr behind it when another exit code than 0 was asked for."""
        code, out, error = self.run(tool("kubectl"), *words, stdin=stdin, **more)
        assert ok is None or code == ok, f"kubectl {' '.join(words)} ended with {code}\n{out}\n{error}"
        return out if ok == 0 else out + error

    def apply(self, *objects: dict[str, Any], namespace: str = "default") -> str:
        body = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        return self.kubectl("apply", "-n", namespace, "-f", "-", stdin=body)

    def fresh_namespace(self) -> str:
        """A namespace of one test's own."""
        self._made += 1
        name = f"test-{self._made}"
        self.kubectl("create", "namespace", name)
        return name

    def stop(self) -> None:
        self.running.stop()


def deployment(name: str, replicas: int = 3, **template: Any) -> dict[str, Any]:
    container = {"name": name, "image": f"{name}:1", "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container], **template}},
        },
    }


def budget(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, **spec},
    }
