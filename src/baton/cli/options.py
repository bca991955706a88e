"""Options that several commands share, and their checks."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """Which cluster, and how to reach it."""
    group = parser.add_argument_group("which cluster")
    group.add_argument("--cluster", metavar="NAME", help="default: the only one in the Terraform, or region")
    group.add_argument("-C", "--dir", type=Path, default=Path("."), metavar="DIR", help="Terraform root (default: .)")
    group.add_argument(
        "--var-file", action="append", default=[], metavar="FILE", help="as Terraform's -var-file; may be repeated"
    )
    group.add_argument("--region", metavar="REGION", help="AWS region (default: from the shell or profile)")
    group.add_argument("--profile", metavar="NAME", help="AWS profile")
    group.add_argument("--kubeconfig", metavar="FILE", help="default: credentials from EKS")
    group.add_argument("--context", metavar="NAME", help="kubeconfig context")


def add_offline_options(parser: argparse.ArgumentParser) -> None:
    """A recorded cluster instead of a live one."""
    group = parser.add_argument_group("a recorded cluster instead of a live one")
    group.add_argument("--snapshot", type=Path, metavar="FILE", help="a file made by `baton snapshot`")
    group.add_argument("--dump", type=Path, metavar="FILE", help="a `kubectl get ... -A -o json` dump")


def add_target_options(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Where to go."""
    group = parser.add_argument_group("where to")
    group.add_argument("--to", required=required, metavar="VERSION", help="Kubernetes version to upgrade to, e.g. 1.35")
    group.add_argument(
        "--addon-policy",
        choices=("default", "newest", "pinned"),
        default="default",
        help="which add-on versions to choose: EKS's default version (default), the newest that fits, or pinned: what "
        "is installed, or --addon says, as long as it fits; never below what is installed",
    )
    group.add_argument(
        "--addon",
        action="append",
        default=[],
        metavar="NAME=VERSION",
        help="take this version of an add-on at the end, even a lower one; may be repeated",
    )
    group.add_argument(
        "--ami",
        action="append",
        default=[],
        metavar="[GROUP=]IMAGE",
        help="id or name (* and ? as in EC2 filters) of the image that a node group with its own AMI moves to; without "
        "GROUP for all of them; may be repeated",
    )
    group.add_argument(
        "--max-unavailable",
        action="append",
        default=[],
        metavar="[GROUP=]N|N%",
        help="pacing to put in force before a node group rolls, as a stage of its own; without GROUP for all of them; "
        "may be repeated",
    )
    group.add_argument(
        "--nodes-every-hop",
        action="store_true",
        help="roll nodes at every minor version, not only where skew demands it",
    )


def add_staging_options(parser: argparse.ArgumentParser) -> None:
    """How the way is cut into stages."""
    group = parser.add_argument_group("which stages")
    group.add_argument(
        "--parallel-groups",
        type=int,
        default=1,
        metavar="N",
        help="roll up to N node groups at the same time, in one stage (default: 1, one after the other)",
    )
    group.add_argument(
        "--allow-target",
        action="store_true",
        help="where the Terraform itself cannot part two stages, part them by -target, on record",
    )
    group.add_argument(
        "--pin-addons",
        action="store_true",
        help="leave the chosen add-on versions written in the Terraform, where a data source would pick them",
    )


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """How to act."""
    group = parser.add_argument_group("how to act")
    group.add_argument(
        "--engine",
        choices=("terraform", "aws"),
        default="terraform",
        help="through Terraform (default), or through the AWS API directly",
    )
    group.add_argument("--terraform", default="terraform", metavar="PROGRAM", help="terraform, tofu or a path")


def add_json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="machine-readable JSON on stdout")


def add_waiver_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--waive",
        action="append",
        default=[],
        metavar="CODE[:SUBJECT]",
        help="accept a finding by its code (and subject); recorded in the report; may be repeated",
    )
