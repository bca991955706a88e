"""`baton plan`: the stages, their reasons and their Terraform edits."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baton.cli.options import (
    add_cluster_options,
    add_json_option,
    add_offline_options,
    add_staging_options,
    add_target_options,
)
from baton.errors import BatonError

if TYPE_CHECKING:
    from baton.model.cluster import Snapshot
    from baton.model.plan import Plan
    from baton.model.target import Target
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
  baton plan --to 1.35 --dump cluster.json        from kubectl alone: what AWS knows is assumed, and said
  baton plan --to 1.35 -C infra/ --rehearse       how long, beside the other ways
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
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="rehearse the plan and each other way once, and say how long they take",
    )
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="write the plan (JSON) here")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print or write the plan. Raises UsageError, RefusedError and ReadError."""
    from baton.cli import show, wiring
    from baton.planner.store import plan_to_json

    wiring.target(args)
    found = wiring.inspection(args, required=False)
    snapshot, assumed = taken(args, wiring.snapshot(args, found))
    plan = make(args, snapshot, found)
    plan = replace(plan, notes=(*(f"assumed: {text}" for text in assumed), *plan.notes))
    if args.rehearse:
        plan = rehearsed(args, snapshot, found, plan)
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


def taken(args: argparse.Namespace, snapshot: Snapshot) -> tuple[Snapshot, tuple[str, ...]]:
    """The snapshot, and what is assumed of it: a kubectl dump says nothing of what AWS knows."""
    if args.dump is None:
        return snapshot, ()
    from baton.cli import wiring
    from baton.rehearsal.assumed import complete

    return complete(snapshot, str(wiring.target(args).version))


def make(args: argparse.Namespace, snapshot: Snapshot, found: Inspection | None, target: Target | None = None) -> Plan:
    """The plan for `target`, by default the one that the options name."""
    from baton.cli import wiring
    from baton.conductor import staging
    from baton.knowledge.tables import Knowledge

    wanted = wiring.target(args) if target is None else target
    allowed = getattr(args, "allow_target", False)
    pin = getattr(args, "pin_addons", False)
    return staging.make(snapshot, wanted, Knowledge.load(), found, allow_targets=allowed, pin_addons=pin)


def rehearsed(args: argparse.Namespace, snapshot: Snapshot, found: Inspection | None, plan: Plan) -> Plan:
    """The plan with the rehearsed duration of itself (a note) and of each other way."""
    from baton.cli import wiring
    from baton.planner.alternatives import other_targets

    lines = list(plan.alternatives)
    for what, option, target in other_targets(wiring.target(args), plan.stages):
        for at, line in enumerate(lines):
            if line.startswith(f"{what} ({option}):") and "not possible" not in line:
                lines[at] = f"{line}; {_lasting(partial(make, args, snapshot, found, target), snapshot)}"
    mine = f"the plan as it is, {_lasting(lambda: plan, snapshot)}"
    return replace(plan, notes=(mine, *plan.notes), alternatives=tuple(lines))


def _lasting(way: Callable[[], Plan], snapshot: Snapshot) -> str:
    """`rehearsed in 1 h 05 min` of cluster time, or why it was not."""
    from baton.cli import conducting
    from baton.report.words import duration

    try:
        found = conducting.predict(snapshot, way())
    except BatonError as error:
        return f"not rehearsed: {error.message}"
    if found["outcome"] != "succeeded":
        return f"its rehearsal {found['outcome']}: {found['reason']}"
    return f"rehearsed in {duration(found['predictedSeconds'])} of cluster time"
