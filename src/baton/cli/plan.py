"""`baton plan`: the stages, their reasons and their Terraform edits."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baton.cli.options import (
    add_cluster_options,
    add_json_option,
    add_offline_options,
    add_staging_options,
    add_target_options,
)

if TYPE_CHECKING:
    from baton.model.cluster import Snapshot
    from baton.model.plan import Plan
    from baton.terraform.inspection import Inspection

DESCRIPTION = """\
Plan the shortest safe path to a version: control plane, add-ons, node groups, each with its reason, and the Terraform
edits of each stage as a diff. Nothing is changed. `-o FILE` keeps the plan; `baton apply --plan FILE` conducts exactly
that, and refuses when the world has moved since.
"""
EPILOG = """\
examples:
  baton plan --to 1.35 -C infra/
  baton plan --to 1.35 -C infra/ -o upgrade.plan.json
  baton plan --to 1.35 --snapshot cluster.json.gz --json
"""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "plan",
        help="the stages, their reasons and Terraform diffs",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_target_options(parser)
    add_staging_options(parser)
    add_cluster_options(parser)
    add_offline_options(parser)
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="write the plan (JSON) here")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print or write the plan. Raises UsageError, RefusedError and ReadError."""
    from baton.cli import show, wiring
    from baton.planner.store import plan_to_json

    wiring.target(args)
    found = wiring.inspection(args, required=False)
    plan = make(args, wiring.snapshot(args, found), found)
    text = json.dumps(plan_to_json(plan), indent=2) + "\n"
    if args.out is not None:
        wiring.write_text(args.out, text)
    if args.json:
        print(text, end="")
    else:
        print(show.plan_text(plan), end="")
        if args.out is not None:
            print(f"\nwritten to {args.out}; conduct it with `baton apply --plan {args.out}`")
    return 0


def make(args: argparse.Namespace, snapshot: Snapshot, found: Inspection | None) -> Plan:
    """The plan for the target that the options name."""
    from baton.cli import wiring
    from baton.conductor import staging
    from baton.knowledge.tables import Knowledge

    return staging.make(
        snapshot, wiring.target(args), Knowledge.load(), found, allow_targets=getattr(args, "allow_target", False)
    )
