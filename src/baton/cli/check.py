"""`baton check`: is anything in the way of the upgrade?"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from baton.cli.options import (
    add_cluster_options,
    add_json_option,
    add_offline_options,
    add_target_options,
    add_waiver_option,
)
from baton.errors import UsageError

if TYPE_CHECKING:
    from baton.model.cluster import Snapshot
    from baton.model.findings import Finding
    from baton.terraform.inspection import Inspection

DESCRIPTION = """\
Read the Terraform and the cluster (nothing is changed), and say what would stop or hurt the upgrade: versions that do
not fit each other, budgets that allow no disruption, images, add-ons, addresses, pacing and more. Findings of
severity `block` stop `baton apply`; what could not be read counts like a failure.
"""
EPILOG = """\
examples:
  baton check --to 1.35 -C infra/
  baton check --to 1.35 --dump cluster.json      without AWS: from `kubectl get ... -o json`
  baton check --explain BTN501                   what a check asks, why, and what mends it
  baton check --to 1.35 --waive 'BTN604:pod shop/cart-0'

exit code 0 nothing blocks, 1 something blocks
"""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "check",
        help="is anything in the way?",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_target_options(parser, required=False)
    add_cluster_options(parser)
    add_offline_options(parser)
    add_waiver_option(parser)
    parser.add_argument(
        "--explain", metavar="CODE", help="explain one check (codes of other tools are found too), or list `all`"
    )
    parser.add_argument("--all", action="store_true", help="list the checks that passed as well")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 nothing blocks, 1 something does. Raises UsageError and ReadError."""
    from baton.checks.registry import explain
    from baton.checks.run import Waiver
    from baton.cli import show, wiring

    if args.explain:
        print(explain(args.explain), end="")
        return 0
    if not args.to:
        raise UsageError("where to?", hint="add --to VERSION, for example --to 1.35")
    wiring.target(args)
    waivers = [Waiver.parse(text) for text in args.waive]
    found = wiring.inspection(args, required=False)
    snapshot = wiring.snapshot(args, found)
    findings = find(args, snapshot, found)
    blocks = any(f.blocks for f in findings)
    if args.json:
        show.print_json(
            {
                "schema": 1,
                "cluster": snapshot.cluster.name,
                "from": snapshot.cluster.version,
                "to": args.to,
                "blocks": blocks,
                "findings": findings,
            }
        )
    else:
        for waiver, text in zip(waivers, args.waive, strict=True):
            if not any(waiver.accepted(f) for f in findings):
                print(f"baton: --waive {text} accepts nothing here", file=sys.stderr)
        print(show.findings_text(findings, passed=args.all))
    return 1 if blocks else 0


def find(args: argparse.Namespace, snapshot: Snapshot, found: Inspection | None) -> tuple[Finding, ...]:
    """Every finding for the target that the options name."""
    from baton.checks.run import Waiver, run_checks
    from baton.cli import wiring
    from baton.conductor.staging import image_filters, terraform_facts
    from baton.knowledge.tables import Knowledge

    return run_checks(
        snapshot,
        wiring.target(args),
        Knowledge.load(),
        terraform=terraform_facts(found, snapshot),
        images=image_filters(found, snapshot),
        waivers=[Waiver.parse(text) for text in args.waive],
    )
