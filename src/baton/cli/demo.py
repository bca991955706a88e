"""`baton demo`: the whole upgrade once, on an emulator, with the real Terraform where it can be had."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baton.errors import BatonError, ReadError, UnavailableError, UsageError

if TYPE_CHECKING:
    from baton.conductor.engines.terraform import Terraform
    from baton.emulator.server import Running

CLUSTER, FROM, TO = "demo", "1.34", "1.35"
MARK = ".baton-demo"  # says that the folder is ours to write over

DESCRIPTION = f"""\
Start an emulator of Amazon EKS on this machine, create cluster {CLUSTER} at {FROM} with the real Terraform, start
workloads on it, then check, plan, rehearse and conduct its upgrade to {TO}, verify it, and write the report. Takes
about three minutes; needs no AWS account and touches none. Without Terraform (or its AWS provider) it conducts through
the AWS API instead, and says so.
"""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "demo",
        help="a whole upgrade on an emulator, in three minutes",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--dir", type=Path, default=Path("baton-demo"), metavar="DIR", help="where to write (default: baton-demo)"
    )
    parser.add_argument("--engine", choices=("terraform", "aws"), help="default: terraform where it can be had")
    parser.add_argument("--terraform", default="terraform", metavar="PROGRAM", help="terraform, tofu or a path")
    parser.add_argument(
        "--speed", type=float, default=60.0, metavar="X", help="cluster seconds per second (default: 60)"
    )
    parser.add_argument("--seed", type=int, default=7, metavar="S", help="same seed, same draws (default: 7)")
    parser.add_argument("--keep", action="store_true", help="leave the emulator up at the end, until Ctrl-C")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """The exit code of the upgrade itself. Raises what its steps raise."""
    from baton.emulator.server import start_in_thread

    root = prepared(args.dir)
    title(f"1. An emulator of Amazon EKS, {args.speed:g} times as fast as the real one")
    running = start_in_thread(speed=args.speed, seed=args.seed)
    try:
        say(f"AWS at {running.endpoint}; Kubernetes with KUBECONFIG={running.kubeconfig}")
        say('look along from another shell:  eval "$(baton emulator env)"; kubectl get nodes -w')
        with environment(running), announced(running):
            code = Demo(args, root, running).run()
            if args.keep:
                wait()
            return code
    finally:
        running.stop()


def wait() -> None:
    """Until Ctrl-C."""
    import threading

    say("the emulator stays up; Ctrl-C ends it")
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def title(text: str) -> None:
    print(f"\n== {text}", flush=True)


def say(text: str) -> None:
    print(f"   {text}", flush=True)


def prepared(root: Path) -> Path:
    """An empty folder of ours. Raises UsageError when there is something else at that place."""
    if root.exists() and not (root / MARK).exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(
            f"{root} exists and was not written by `baton demo`",
            hint="choose another place with --dir, or move it away",
        )
    try:
        if root.exists():
            shutil.rmtree(root)
        source = resources.files("baton.cli") / "demo_root"
        with resources.as_file(source) as folder:
            shutil.copytree(folder, root, ignore=shutil.ignore_patterns("__pycache__", "workloads.json"))
        (root / MARK).write_text("written by `baton demo`, which writes over it when it runs again\n")
    except OSError as error:
        raise ReadError(f"cannot be written: {error.strerror}", where=str(root), hint="choose --dir") from error
    return root


@contextlib.contextmanager
def environment(running: Running) -> Iterator[None]:
    """Point this process, and Terraform below it, at the emulator and nowhere else."""
    kept = dict(os.environ)
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(running.environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


@contextlib.contextmanager
def announced(running: Running) -> Iterator[None]:
    """Let `baton emulator env` in another shell find this emulator."""
    from baton.emulator import runtime, server

    path = runtime.announce(server.announcement(running.emulator))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


@dataclass
class Demo:
    """The steps, in order."""

    args: argparse.Namespace
    root: Path
    running: Running

    def run(self) -> int:
        engine = self._create()
        title("3. Workloads: Deployments, a StatefulSet, a DaemonSet, with budgets and a zone spread")
        say(start_workloads())
        to = ["--to", TO, "-C", str(self.root)]
        if engine == "aws":
            to += ["--cluster", CLUSTER]
        title("4. Is anything in the way?")
        if (code := command("check", *to)) != 0:
            return code
        title("5. The plan")
        command("plan", *to, "-o", str(self.root / "plan.json"))
        title("6. The rehearsal: the same plan, the same conductor, on a twin of this cluster, in virtual time")
        command("rehearse", *to, "--runs", "5")
        title("7. Conduct it")
        where = to[2:]
        given = ["--engine", engine, "--terraform", self.args.terraform, "--yes", "--report", str(self.root)]
        return command("apply", "--plan", str(self.root / "plan.json"), *where, *given)

    def _create(self) -> str:
        """Create the cluster; returns the engine to conduct with."""
        terraform, reason = self._terraform()
        if terraform is not None:
            title(f"2. Terraform creates cluster {CLUSTER} at {FROM} (real CLI, real AWS provider)")
            say(f"the root is in {self.root}/; terraform apply ...")
            terraform.apply_all()
            say("created: " + created())
            return "terraform"
        title(f"2. Cluster {CLUSTER} at {FROM}, through the AWS API")
        if reason:
            say(f"{reason}; conducting through the AWS API directly (--engine aws)")
        for path in self.root.glob("*.tf"):
            path.unlink()
        shutil.rmtree(self.root / "modules", ignore_errors=True)
        from baton.emulator.lab import build

        build(self.running.environment, CLUSTER, FROM, say=say)
        return "aws"

    def _terraform(self) -> tuple[Terraform | None, str]:
        """Terraform, initialised in the root; or None and why not. Raises when it was asked for by name."""
        if self.args.engine == "aws":
            return None, ""
        try:
            return initialised(self.root, self.args.terraform), ""
        except BatonError as error:
            if self.args.engine == "terraform":
                raise
            return None, f"Terraform cannot be used here ({error.message.splitlines()[0]})"


def initialised(root: Path, program: str) -> Terraform:
    """`terraform init` in `root`, from a local provider mirror where this machine has one. Raises BatonError."""
    from baton.conductor.engines.terraform import Terraform, find_provider_mirror, write_cli_configuration

    terraform = Terraform(root.resolve(), program)
    terraform.need()
    configured = os.environ.get("TF_CLI_CONFIG_FILE")
    if configured and not Path(configured).exists():
        del os.environ["TF_CLI_CONFIG_FILE"]
        configured = None
    if not configured:
        mirror = find_provider_mirror(os.environ)
        if mirror is not None:
            path = write_cli_configuration(mirror, root.resolve() / ".terraformrc")
            os.environ["TF_CLI_CONFIG_FILE"] = str(path)
    terraform.init()
    return terraform


def created() -> str:
    """What there is, from the API."""
    from baton.gateways.aws import AwsGateway

    aws = AwsGateway()
    cluster = aws.cluster(CLUSTER)
    group = next(iter(aws.node_groups(CLUSTER)))
    addons = ", ".join(f"{a.name} {a.version}" for a in aws.addons(CLUSTER))
    return f"{cluster.name} {cluster.version}, node group {group.name} with {group.desired_size} nodes, {addons}"


def start_workloads(timeout: float = 60.0) -> str:
    """Create the demo's objects and wait until every pod is Running. Raises UnavailableError after `timeout` s."""
    from baton.gateways.aws import AwsGateway
    from baton.gateways.kube import KubeGateway
    from baton.model import nodes
    from baton.ports import SystemClock, monotonic

    aws = AwsGateway()
    cluster = aws.cluster(CLUSTER)
    kube = KubeGateway.from_cluster(
        cluster.endpoint, cluster.certificate_authority, lambda: aws.kubernetes_token(CLUSTER)
    )
    text = (resources.files("baton.cli") / "demo_root" / "workloads.json").read_text()
    try:
        for item in json.loads(text)["items"]:
            kube.create(resource_of(item), item)
        until = monotonic() + timeout
        while True:
            pods = kube.list("pods")
            waiting = [p for p in pods if not nodes.ready(p)]
            if pods and not waiting:
                return f"{len(pods)} pods run on {len(kube.list('nodes'))} nodes"
            if monotonic() > until:
                names = ", ".join(p["metadata"]["name"] for p in waiting[:5])
                raise UnavailableError(f"pods do not start: {names}", hint="try another --seed, or a higher --speed")
            SystemClock().sleep(0.2)
    finally:
        kube.close()


def resource_of(item: dict[str, Any]) -> str:
    """`Deployment` of apps/v1 -> deployments.apps."""
    kind, group = str(item["kind"]).lower(), str(item["apiVersion"]).rpartition("/")[0]
    plural = {"poddisruptionbudget": "poddisruptionbudgets", "priorityclass": "priorityclasses"}.get(kind, kind + "s")
    return f"{plural}.{group}" if group else plural


def command(*words: str) -> int:
    """Run one of Baton's own commands as a user would; its exit code. BatonErrors go to the caller."""
    from baton.cli.main import build_parser

    print("   $ baton " + " ".join(words) + "\n", flush=True)
    args = build_parser().parse_args(words)
    code = int(args.run(args))
    sys.stdout.flush()
    return code
