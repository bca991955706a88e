"""Puts the real wiring together: AWS and Kubernetes gateways, the clock, files given instead of a live cluster."""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baton.errors import ReadError, UnavailableError, UsageError
from baton.ports import SystemClock

if TYPE_CHECKING:
    from baton.gateways.aws import AwsGateway
    from baton.gateways.kube import KubeGateway
    from baton.model.cluster import Snapshot
    from baton.model.target import Target
    from baton.terraform.inspection import Inspection


@dataclass(frozen=True)
class Live:
    """A live cluster, reached. `asked`: ids of images to read besides those of known owners."""

    aws: AwsGateway
    kube: KubeGateway
    clock: SystemClock
    cluster: str
    asked: tuple[str, ...] = ()


def clock() -> SystemClock:
    """Wall time; beside an emulator (BATON_CLOCK) its cluster time, which may run faster."""
    url = os.environ.get("BATON_CLOCK")
    if not url:
        return SystemClock()
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            body: dict[str, Any] = json.load(answer)
        return SystemClock(float(body["speed"]), float(body["now"]))
    except (OSError, ValueError, KeyError) as error:
        raise UnavailableError(
            f"the emulator's clock does not answer: {error}",
            where=url,
            hint="is the emulator still up? Start one with `baton emulator`, or unset BATON_CLOCK for real AWS",
        ) from error


def live(args: argparse.Namespace, inspection: Inspection | None = None) -> Live:
    """Reach the cluster that the options, the Terraform or the region name."""
    from baton.gateways.aws import AwsGateway
    from baton.gateways.kube import KubeGateway

    at = clock()
    aws = AwsGateway(region=args.region, profile=args.profile)
    name = args.cluster or _configured_name(inspection) or _only_cluster(aws)
    found = aws.cluster(name)
    if args.kubeconfig or args.context:
        kube = KubeGateway.from_kubeconfig(args.kubeconfig, args.context)
    else:
        kube = KubeGateway.from_cluster(found.endpoint, found.certificate_authority, lambda: aws.kubernetes_token(name))
    kube.now = at.now
    return Live(aws, kube, at, name, _asked(args))


def _asked(args: argparse.Namespace) -> tuple[str, ...]:
    """Ids of the images that --ami names, and those of a kept plan: whose they are may be told nowhere else."""
    ids = [text.rpartition("=")[2] for text in getattr(args, "ami", ())]
    if isinstance(path := getattr(args, "plan", None), Path):
        try:
            plan = json.loads(path.read_text())
            ids += [c["attributes"].get("image_id", "") for s in plan["stages"] for c in s["changes"]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass  # whoever reads the plan says what is wrong with it
    return tuple(i for i in dict.fromkeys(ids) if isinstance(i, str) and i.startswith("ami-"))


def _configured_name(inspection: Inspection | None) -> str | None:
    return None if inspection is None else inspection.cluster().name.value


def _only_cluster(aws: AwsGateway) -> str:
    names = list(aws.clusters())
    if len(names) == 1:
        return names[0]
    raise UsageError(
        f"there are {len(names)} clusters in this region" + (": " + ", ".join(sorted(names)) if names else ""),
        hint="name one with --cluster, or point at its Terraform with -C DIR",
    )


def inspection(args: argparse.Namespace, *, required: bool) -> Inspection | None:
    """The Terraform of -C DIR. Without `required`, None where that directory holds no Terraform.

    Raises UsageError when there is no EKS cluster in it, or several and none is named.
    """
    from baton.terraform.inspect import inspect

    root: Path = args.dir
    named = root != Path(".")
    if not root.is_dir():
        raise ReadError("there is no such directory", where=str(root), hint="name the Terraform root with -C DIR")
    if not required and not any(any(root.glob(kind)) for kind in ("*.tf", "*.tf.json", "*.tofu", "terragrunt.hcl")):
        if named and getattr(args, "engine", None) != "aws":
            print(f"baton: there is no Terraform in {root}: going without it", file=sys.stderr)
        return None
    found = inspect(root, var_files=args.var_file, environ=dict(os.environ))
    if required or named:  # a directory that was named is meant to hold the cluster
        found.cluster(args.cluster)
    return found if found.clusters else None


def snapshot(args: argparse.Namespace, found: Inspection | None) -> Snapshot:
    """From --snapshot or --dump, else read from the live cluster."""
    from baton.observe.store import load, load_dump

    if getattr(args, "snapshot", None) and getattr(args, "dump", None):
        raise UsageError("--snapshot and --dump are both given", hint="choose one")
    if getattr(args, "snapshot", None):
        return load(args.snapshot)
    if getattr(args, "dump", None):
        dumped = load_dump(args.dump)
        # Versions and their support are judged by a day: a dump without a single time in it is taken to be of today.
        return dumped if dumped.taken_at else replace(dumped, taken_at=clock().now())
    return read(live(args, found), found)


def read(reached: Live, found: Inspection | None) -> Snapshot:
    """Everything Baton needs to know of a live cluster, the checks' questions included."""
    from baton.checks.registry import resources
    from baton.conductor.staging import image_owners
    from baton.observe.snapshot import read_snapshot

    owners = image_owners(found, reached.cluster)
    return read_snapshot(
        reached.aws,
        reached.kube,
        reached.cluster,
        reached.clock,
        owners=owners,
        resources=resources(),
        images=reached.asked,
        details=reached.aws,
    )


def target(args: argparse.Namespace) -> Target:
    """What the options of `add_target_options` ask for. Raises UsageError."""
    from baton.model.cluster import UpdateConfig
    from baton.model.target import Target
    from baton.model.versions import Minor

    def pacing(text: str) -> UpdateConfig:
        number = text.removesuffix("%")
        if not number.isdigit():
            raise UsageError(f"--max-unavailable {text}", hint="a number of nodes, or a percentage: 2, 20% or main=1")
        return UpdateConfig(None, int(number)) if text.endswith("%") else UpdateConfig(int(number))

    parallel = getattr(args, "parallel_groups", 1)
    if parallel < 1:
        raise UsageError(f"--parallel-groups {parallel}", hint="choose one or more")
    paced = _by_name("--max-unavailable", args.max_unavailable)
    return Target(
        str(Minor.parse(args.to)),
        nodes_every_hop=args.nodes_every_hop,
        addon_policy=args.addon_policy,
        addon_pins=_by_name("--addon", args.addon, everyone=False),
        images=_by_name("--ami", args.ami),
        update_configs={name: pacing(text) for name, text in paced.items()},
        parallel_groups=parallel,
    )


def _by_name(option: str, given: Sequence[str], *, everyone: bool = True) -> dict[str, str]:
    """`NAME=VALUE` options as a mapping; with `everyone` a bare VALUE is filed under `*`. Raises UsageError."""
    found: dict[str, str] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign and everyone:
            name, value = "*", text
        if not name or not value:
            hint = f"write {option} {'[GROUP=]VALUE' if everyone else 'NAME=VERSION, e.g. coredns=v1.13.2-eksbuild.4'}"
            raise UsageError(f"{option} {text or repr(text)}", hint=hint)
        if found.get(name, value) != value:
            who = "every node group" if name == "*" else name
            raise UsageError(f"{option} names {found[name]} and {value} for {who}", hint="choose one")
        found[name] = value
    return found


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.write_text(text)
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise ReadError(f"cannot be written: {error.strerror}", where=str(path), hint="choose another place") from error
