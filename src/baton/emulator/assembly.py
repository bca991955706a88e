"""One emulator put together: the twin on a paced clock, moto beside it, the two applications, tokens, a kubeconfig."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from baton.emulator.app import AwsApp
from baton.emulator.catalogue import MotoCatalogue
from baton.emulator.certificates import Certificates
from baton.emulator.contract import EksContract
from baton.emulator.faults import FaultPlan
from baton.emulator.kube_front import KubeFront
from baton.emulator.moto_side import ACCOUNT, MotoSide
from baton.emulator.seeds import published, seed_images
from baton.emulator.tokens import Identity, Principal, Tokens
from baton.errors import UsageError
from baton.ports import SystemClock, monotonic
from baton.twin.clock import PacedClock
from baton.twin.cloud.settings import CloudSettings
from baton.twin.kube import KubeTwin
from baton.twin.twin import Twin

ACCESS_KEY = "AKIABATONEMULATOR001"
SECRET_KEY = "of/no/use/anywhere/but/in/this/emulator1"
ADMIN_POLICY = "AmazonEKSClusterAdminPolicy"


@dataclass(frozen=True)
class Options:
    """`port` 0 takes a free one. `speed` is cluster seconds per second of wall time. `start` is cluster time at the
    beginning in epoch seconds (None: now). `faults` and `scenario` have the forms of baton.emulator.faults; `state` is
    the file that keeps the emulator's state across restarts."""

    host: str = "127.0.0.1"
    port: int = 0
    speed: float = 1.0
    seed: int = 0
    region: str = "us-east-1"
    start: float | None = None
    faults: Mapping[str, Any] = field(default_factory=dict)
    scenario: Mapping[str, Any] | None = None
    state: Path | None = None

    def __post_init__(self) -> None:
        if not 0 < self.speed <= 100_000:
            raise UsageError(f"speed {self.speed} is out of range", hint="above 0, at most 100000; 1 is real time")
        if not 0 <= self.port <= 65535:
            raise UsageError(f"port {self.port} is out of range", hint="0 takes a free one")


class Emulator:
    """Needs an event loop to be served in (baton.emulator.server). Raises UsageError for faults that do not fit."""

    def __init__(self, options: Options, certificates: Certificates, folder: Path) -> None:
        self.options = options
        self.certificates = certificates
        self.kubeconfig = folder / "kubeconfig"
        self.admin_token = f"baton-{random.Random(f'admin {options.seed}').getrandbits(160):040x}"
        self._wall = SystemClock()
        now = self._wall.now() if options.start is None else options.start
        self.clock = PacedClock(now, options.speed, monotonic)
        self.moto = MotoSide(options.region, options.seed)
        self.catalogue = MotoCatalogue(self.moto)
        settings = CloudSettings(region=options.region, account=ACCOUNT)
        self.twin = Twin(options.seed, clock=self.clock, settings=settings, catalogue=self.catalogue)
        self.faults = FaultPlan(self.twin.cloud, self.clock, random.Random(f"faults {options.seed}"))
        self.moto.seed = lambda: seed_images(self.moto, self.twin.knowledge, now)
        self._add_responders()
        self.aws = AwsApp(self.twin.cloud, self.clock, self.moto, EksContract(), self.faults)
        self.aws.environment = self.environment
        self.tokens = Tokens(self.admin_token, self._principal, self._entry, self._wall.now)
        self.kube = KubeFront(_kube_app(self.kube_twin, self.tokens), self.clock, self.faults)
        self.aws_port = 0
        self.kube_port = 0
        cloud = self.twin.cloud
        cloud.on_change(self.catalogue.changed)
        cloud.on_change(lambda kind, record: self.write_kubeconfig() if kind == "cluster-deleted" else None)
        cloud.clusters.on_created.append(lambda record, params: self.write_kubeconfig(record.name))
        cloud.connect(lambda name: (self.kube_endpoint(name), certificates.authority))

    def begin(self) -> None:
        """Put the faults of the options in force and let time run; once, after whatever state there was is back."""
        self.clock.rebase()
        self.faults.apply(self.options.faults)
        if self.options.scenario is not None:
            self.faults.play(self.options.scenario)

    def _add_responders(self) -> None:
        """Subclasses of moto's services, imported when first needed: moto takes a second."""
        from baton.emulator.aws_view import View

        view = View(self.twin.cloud)
        tokens: dict[str, dict[str, Any]] = {}

        def ec2() -> Any:
            from baton.emulator.aws_ec2 import Ec2

            return Ec2(view, tokens)

        def autoscaling() -> Any:
            from baton.emulator.aws_autoscaling import Autoscaling

            return Autoscaling(view)

        def sts() -> Any:
            from baton.emulator.aws_small import Sts

            return Sts((ACCESS_KEY, self.twin.settings.caller_arn))

        def ssm() -> Any:
            from baton.emulator.aws_small import Ssm

            return Ssm(lambda: published(self.twin.knowledge, self.clock.now))

        self.moto.responders.update(ec2=ec2, autoscaling=autoscaling, sts=sts, ssm=ssm)

    # --- who is who -------------------------------------------------------------------------------------------

    def _principal(self, key: str) -> Principal | None:
        """The owner of an access key: the emulator's user, a user or an assumed role of moto's IAM."""
        if key == ACCESS_KEY:
            return Principal(self.twin.settings.caller_arn, SECRET_KEY)
        with self.moto.entered():
            role = self.moto.sts().get_assumed_role_from_access_key(key)
            if role is not None:
                return Principal(role.arn, role.secret_access_key)
            held = self.moto.iam().access_keys.get(key)
            user = self.moto.iam().get_user_from_access_key_id(key) if held is not None else None
            return Principal(user.arn, held.secret_access_key) if user is not None else None

    def _entry(self, cluster: str, arn: str) -> Identity | None:
        """The Kubernetes user that a cluster makes of a principal, by its access entries."""
        record = self.twin.cloud.core.clusters.get(cluster)
        if record is None:
            return None
        access = record.api["accessConfig"]
        creator = arn == self.twin.settings.caller_arn and access["bootstrapClusterCreatorAdminPermissions"]
        if creator and access["authenticationMode"] == "CONFIG_MAP":
            return Identity("kubernetes-admin", ("system:masters", "system:authenticated"), arn)
        principal, session = _role_of(arn)
        entry = record.access.get(principal)
        if entry is None or access["authenticationMode"] == "CONFIG_MAP":
            return None
        held = record.policies.get(principal, {})
        policies = tuple(
            p.rpartition("/")[2] for p, made in sorted(held.items()) if made["accessScope"]["type"] == "cluster"
        )
        groups = [*entry.get("kubernetesGroups", ()), "system:authenticated"]
        if ADMIN_POLICY in policies:
            groups.append("system:masters")
        name = str(entry.get("username") or arn).replace("{{SessionName}}", session)
        return Identity(name, tuple(groups), arn, policies)

    # --- where it is ------------------------------------------------------------------------------------------

    def kube_twin(self, cluster: str) -> KubeTwin | None:
        """The Kubernetes side of a cluster that has an endpoint by now."""
        record = self.twin.cloud.core.clusters.get(cluster)
        if record is None or record.api["status"] == "CREATING":
            return None
        return self.twin.kube(cluster)

    def bound(self, aws_port: int, kube_port: int) -> None:
        """The ports are known: clusters can be told their endpoint, the kubeconfig can be written."""
        self.aws_port, self.kube_port = aws_port, kube_port
        names = list(self.twin.cloud.core.clusters)
        self.write_kubeconfig(names[-1] if names else "")

    @property
    def endpoint(self) -> str:
        return f"http://{_bracketed(self.options.host)}:{self.aws_port}"

    def kube_endpoint(self, cluster: str) -> str:
        return f"https://{_bracketed(self.options.host)}:{self.kube_port}/clusters/{cluster}"

    def environment(self) -> dict[str, str]:
        """What a shell needs for every AWS and Kubernetes tool to come here."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": self.options.region,
            "AWS_DEFAULT_REGION": self.options.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "KUBECONFIG": str(self.kubeconfig),
            "BATON_CLOCK": f"{self.endpoint}/_baton/clock",
        }

    def write_kubeconfig(self, newest: str = "") -> None:
        """One context per cluster; the newest is the current one. JSON is YAML, so no YAML writer is needed."""
        if not self.kube_port:
            return
        names = list(self.twin.cloud.core.clusters)
        user = {"name": "baton-emulator", "user": {"token": self.admin_token}}
        body = {
            "apiVersion": "v1",
            "kind": "Config",
            "preferences": {},
            "clusters": [{"name": n, "cluster": self._connection(n)} for n in names],
            "users": [user],
            "contexts": [{"name": n, "context": {"cluster": n, "user": user["name"]}} for n in names],
            "current-context": newest or (names[-1] if names else ""),
        }
        fresh = self.kubeconfig.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(body, indent=1) + "\n")
        fresh.replace(self.kubeconfig)

    def _connection(self, cluster: str) -> dict[str, str]:
        authority = self.certificates.authority
        return {"server": self.kube_endpoint(cluster), "certificate-authority-data": authority}


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _role_of(arn: str) -> tuple[str, str]:
    """(principal that access entries name, session name): an assumed role stands for its role."""
    parts = arn.split(":")
    if len(parts) == 6 and parts[2] == "sts" and parts[5].startswith("assumed-role/"):
        _, role, session = parts[5].split("/", 2)
        return f"arn:{parts[1]}:iam::{parts[4]}:role/{role}", session
    return arn, ""


def _kube_app(resolve: Any, tokens: Tokens) -> Any:
    from baton.emulator.kube.app import kube_app

    return kube_app(resolve, tokens)
