"""`baton emulator` as a process: how it starts, what it says, how it ends, and what it keeps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import boto3
import pytest
from botocore.config import Config
from emulator_world import ASSUME, World

from baton.emulator.server import Options, Session
from baton.errors import BatonError

OPEN = build_opener(ProxyHandler({}))


class Emulator:
    """`baton emulator` with arguments; `said` is the line it prints once it answers."""

    def __init__(self, home: Path, *arguments: str) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "BATON_", "KUBECONFIG"))}
        self.environment = {**kept, "XDG_RUNTIME_DIR": str(home), "TMPDIR": str(home), "HOME": str(home)}
        self._words = [sys.executable, "-m", "baton.cli.main", "emulator"]
        self.process = subprocess.Popen(
            [*self._words, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.end(signal.SIGKILL)
        self.said: dict[str, Any] = json.loads(line)

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """(exit code, standard error) after the signal."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors

    def get(self, path: str) -> Any:
        with OPEN.open(self.said["endpoint"] + path, timeout=10) as answer:
            return json.loads(answer.read())

    def client(self, service: str) -> Any:
        return boto3.session.Session().client(
            service,
            endpoint_url=self.said["endpoint"],
            region_name="us-east-1",
            aws_access_key_id=self.said["environment"]["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.said["environment"]["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"total_max_attempts": 1}),
        )

    def env(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._words, "env", *arguments], env=self.environment, capture_output=True, text=True, timeout=60
        )


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Any]:
    """Starts emulators; what still runs after the test is killed."""
    made: list[Emulator] = []

    def start(*arguments: str) -> Emulator:
        made.append(Emulator(tmp_path, *arguments))
        return made[-1]

    yield start
    for each in made:
        if each.process.poll() is None:
            each.end(signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_starts_on_loopback_and_ends_cleanly(started: Any, tmp_path: Path, number: signal.Signals) -> None:
    """Pipelines start it in the background and end it by signal; nothing of it may stay behind."""
    emulator = started("--speed", "600")
    assert emulator.said["endpoint"].startswith("http://127.0.0.1:")
    assert emulator.said["pid"] == emulator.process.pid
    assert emulator.get("/_baton/health") == {"status": "ok"}
    assert emulator.get("/_baton/clock")["speed"] == 600
    assert Path(emulator.said["kubeconfig"]).exists()
    code, errors = emulator.end(number)
    assert (code, "Traceback" in errors) == (0, False), errors
    assert not Path(emulator.said["kubeconfig"]).exists()
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
    with pytest.raises(URLError):
        emulator.get("/_baton/health")


def test_env_points_a_shell_at_it(started: Any) -> None:
    """`eval "$(baton emulator env)"` is the only setup that tools need; without an emulator it says what to do."""
    emulator = started()
    shown = emulator.env("--json")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout) == emulator.said["environment"]
    exports = emulator.env().stdout.splitlines()
    assert f"export AWS_ENDPOINT_URL={emulator.said['endpoint']}" in exports
    emulator.end(signal.SIGTERM)
    gone = emulator.env()
    assert gone.returncode == 3
    assert "hint:" in gone.stderr and "Traceback" not in gone.stderr


def test_says_so_when_others_can_reach_it(started: Any) -> None:
    """Whoever lets it listen beyond loopback must be told that it lets everybody in."""
    code, errors = started("--host", "0.0.0.0").end(signal.SIGTERM)
    assert code == 0
    assert "anyone who reaches it can use it" in errors
    assert "anyone" not in started().end(signal.SIGTERM)[1]


def test_taken_port_is_told(started: Any) -> None:
    """A second emulator on the same port ends with a sentence, not with a traceback."""
    port = started().said["endpoint"].rpartition(":")[2]
    with pytest.raises(BatonError, match="cannot listen"):
        Session(Options(port=int(port)))


def test_state_outlives_the_process(started: Any, tmp_path: Path) -> None:
    """A laboratory stopped in the evening, even by kill -9, is there in the morning, at the same address."""
    words = ("--speed", "3000", "--seed", "3", "--state", str(tmp_path / "lab.jsonl"))
    first = started(*words)
    ec2, iam = first.client("ec2"), first.client("iam")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    zones = {"10.0.1.0/24": "us-east-1a", "10.0.2.0/24": "us-east-1b"}
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=c, AvailabilityZone=z)["Subnet"]["SubnetId"] for c, z in zones.items()
    ]
    role = iam.create_role(RoleName="demo", AssumeRolePolicyDocument=ASSUME)["Role"]["Arn"]
    first.client("eks").create_cluster(
        name="demo", version="1.34", roleArn=role, resourcesVpcConfig={"subnetIds": subnets}
    )
    seen = first.client("eks").describe_cluster(name="demo")["cluster"]
    first.end(signal.SIGKILL)

    second = started(*words)
    assert second.said["endpoint"] == first.said["endpoint"]
    again = second.client("eks").describe_cluster(name="demo")["cluster"]
    for member in ("arn", "createdAt", "version", "resourcesVpcConfig"):
        assert again[member] == seen[member], member
    assert [s["SubnetId"] for s in second.client("ec2").describe_subnets(SubnetIds=subnets)["Subnets"]] == subnets
    before = second.get("/_baton/clock")["now"]
    assert second.end(signal.SIGTERM)[0] == 0

    third = started(*words)
    assert third.get("/_baton/clock")["now"] >= before
    assert third.client("eks").list_clusters()["clusters"] == ["demo"]
    assert third.client("iam").get_role(RoleName="demo")["Role"]["Arn"] == role


def test_same_seed_same_account() -> None:
    """Two runs of one seed must not differ in a single id, or a recorded run cannot be compared with the next."""

    def run(seed: int) -> list[str]:
        world = World(speed=1, seed=seed)
        try:
            role = world.role("demo")
            made = world.eks.create_cluster(
                name="demo", version="1.34", roleArn=role, resourcesVpcConfig={"subnetIds": world.network()}
            )
            groups = [g["GroupId"] for g in world.ec2.describe_security_groups()["SecurityGroups"]]
            return [*world.subnets, *sorted(groups), made["cluster"]["arn"], world.golden("1.35")]
        finally:
            world.stop()

    first = run(11)
    assert run(11) == first
    assert run(12)[:3] != first[:3]


@pytest.mark.parametrize("content", ["{", "[]\n", '{"version": 99}\n', '{"at": 1}\n', "\x00\x01"])
def test_a_file_that_is_no_state(tmp_path: Path, content: str) -> None:
    """A wrong file named by mistake is refused by name, and is not overwritten."""
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(BatonError) as caught:
        Session(Options(state=path))
    assert str(path) in str(caught.value.where)
    assert path.read_text() == content
