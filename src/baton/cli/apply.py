"""`baton apply`: conduct the upgrade, stage by stage; run it again to continue after an interruption."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baton.cli.options import (
    add_cluster_options,
    add_engine_options,
    add_json_option,
    add_staging_options,
    add_target_options,
    add_waiver_option,
)
from baton.errors import ReadError, RefusedError, UsageError

if TYPE_CHECKING:
    from baton.cli.conducting import Outcome, Runs, Start
    from baton.cli.wiring import Live
    from baton.conductor.engines import Engine
    from baton.model.cluster import Snapshot
    from baton.model.plan import Plan, Stage
    from baton.terraform.expected import GateResult
    from baton.terraform.inspection import Inspection

DESCRIPTION = """\
Conduct the upgrade: check, plan, rehearse, ask, then stage by stage: edit the Terraform in place, `terraform plan`,
judge that plan (anything replaced or destroyed is refused), apply exactly that plan, watch until the world agrees,
record, next stage. At the end everything is verified, and a report written.

Interrupted or halted? Run it again: it continues from the journal (.baton/ in the Terraform root), finds what is under
way at AWS, and starts nothing twice.
"""
EPILOG = """\
examples:
  baton apply --to 1.35 -C infra/
  baton apply --plan upgrade.plan.json -C infra/ --yes
  baton apply -C infra/                   continue what was interrupted
  baton apply --to 1.35 --engine aws      without Terraform, through the AWS API

exit code 0 done and verified, 1 refused or not all verified, 3 could not read, 4 halted half-way
"""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "apply",
        help="conduct the upgrade, or continue it",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_target_options(parser, required=False)
    add_staging_options(parser)
    parser.add_argument("--plan", type=Path, metavar="FILE", help="conduct this plan (from `baton plan -o FILE`)")
    add_cluster_options(parser)
    add_engine_options(parser)
    add_waiver_option(parser)
    group = parser.add_argument_group("how careful")
    group.add_argument("--yes", action="store_true", help="do not ask before the first change")
    group.add_argument("--no-rehearsal", action="store_true", help="conduct without rehearsing first")
    group.add_argument("--force-drain", action="store_true", help="--engine aws: let EKS delete pods budgets protect")
    group.add_argument(
        "--replan", action="store_true", help="give an unfinished run up and plan from the world as it is"
    )
    group.add_argument("--report", type=Path, metavar="DIR", help="write the report here as well")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 done and verified. Raises UsageError, RefusedError, ReadError, HaltedError."""
    from baton.cli import conducting, show, wiring

    if args.to:
        wiring.target(args)
    if args.plan is not None and args.to:
        raise UsageError("--plan and --to are both given", hint="the plan knows where it goes")
    found = wiring.inspection(args, required=args.engine == "terraform")
    live = wiring.live(args, found)
    runs = conducting.Runs(args.dir)
    try:
        with runs.alone():
            start = unfinished(args, runs, live) or fresh(args, runs, live, found)
            if start is None:
                return 0
            outcome = conduct(args, live, runs, start, found)
    finally:
        runs.close()
        live.kube.close()
    if args.json:
        show.print_json(outcome.tree)
    else:
        print(show.report_text(outcome.tree, outcome.files), end="")
    if outcome.error is not None:
        raise outcome.error
    return outcome.exit_code


def unfinished(args: argparse.Namespace, runs: Runs, live: Live) -> Start | None:
    """The run to continue. Raises UsageError when the options ask for another upgrade than the one under way."""
    start = runs.unfinished(live.cluster)
    if start is None:
        return None
    if args.replan:
        runs.journal.finish_run(start.id, "given-up", live.clock.now())
        tell(args, f"run {start.id} is given up; planning from the world as it is")
        return None
    if args.plan is not None or (args.to and args.to != start.plan.to_version):
        raise UsageError(
            f"an upgrade of {live.cluster} to {start.plan.to_version} is under way (run {start.id})",
            where=str(runs.folder),
            hint="run `baton apply` without --to and --plan to continue it, or add --replan to give that run up",
        )
    if start.engine != args.engine:
        raise UsageError(
            f"run {start.id} was begun with --engine {start.engine}",
            where=str(runs.folder),
            hint=f"continue with --engine {start.engine}, or add --replan",
        )
    tell(args, f"continuing run {start.id}: {live.cluster} {start.plan.from_version} -> {start.plan.to_version}")
    return start


def fresh(args: argparse.Namespace, runs: Runs, live: Live, found: Inspection | None) -> Start | None:
    """Read, check, plan, rehearse, ask; None when the answer was no."""
    from baton.cli import check, conducting, show, wiring

    if not args.to and args.plan is None:
        raise UsageError("where to?", hint="add --to VERSION or --plan FILE; there is no unfinished run to continue")
    tell(args, f"reading cluster {live.cluster}")
    snapshot = wiring.read(live, found)
    plan = the_plan(args, snapshot, found)
    check_targets(args, plan)
    args.to = plan.to_version
    findings = check.find(args, snapshot, found)
    blocking = [f for f in findings if f.blocks]
    if blocking:
        print(show.findings_text(blocking, passed=False), file=sys.stderr)
        raise RefusedError(
            f"{len(blocking)} finding" + ("s block" if len(blocking) > 1 else " blocks") + " the upgrade",
            where=f"cluster {live.cluster}",
            hint="mend what is named above, or accept it, on record, with --waive CODE:SUBJECT",
        )
    tell(args, show.summary(findings))
    tell(args, show.plan_text(plan, diffs=args.plan is None))
    rehearsal = None if args.no_rehearsal else rehearse(args, snapshot, plan)
    if not confirmed(args, plan):
        print("nothing was changed")
        return None
    now = live.clock.now()
    start = conducting.Start(conducting.run_id(now), plan, snapshot, args.engine, tuple(findings), rehearsal)
    runs.begin(start, now)
    return start


def the_plan(args: argparse.Namespace, snapshot: Snapshot, found: Inspection | None) -> Plan:
    """Made now, or taken from --plan when the world is still as that plan knew it."""
    from baton.cli import plan as planning
    from baton.planner.store import moved, plan_from_json

    if args.plan is None:
        return planning.make(args, snapshot, found)
    kept = plan_from_json(read_json(args.plan), str(args.plan))
    if kept.cluster != snapshot.cluster.name:
        raise UsageError(
            f"the plan is for cluster {kept.cluster}, this is {snapshot.cluster.name}",
            where=str(args.plan),
            hint="point at the other cluster with --cluster or -C",
        )
    differences = moved(kept, snapshot)
    if differences:
        raise RefusedError(
            "the world has moved since the plan was made:\n  " + "\n  ".join(differences),
            where=str(args.plan),
            hint="make the plan again with `baton plan`, look at it, and apply that",
        )
    return kept


def check_targets(args: argparse.Namespace, plan: Plan) -> None:
    """Raises RefusedError, before anything has changed, when stages need -target and nobody has accepted that."""
    targeted = [s for s in plan.stages if s.targets]
    if targeted and args.engine == "terraform" and not args.allow_target:
        raise RefusedError(
            f"stage {', '.join(str(s.ordinal) for s in targeted)} of the plan is parted from others only by -target",
            where=", ".join(targeted[0].targets),
            hint="pass --allow-target to accept that, on record; or part them in the Terraform",
        )


def read_json(path: Path, hint: str = "was it written by `baton plan -o`?") -> Any:
    """Raises ReadError."""
    import json

    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise ReadError(f"cannot be read: {error.strerror}", where=str(path), hint="check the path") from error
    except ValueError as error:
        raise ReadError(f"is not JSON: {error}", where=str(path), hint=hint) from error


def rehearse(args: argparse.Namespace, snapshot: Snapshot, plan: Plan) -> dict[str, Any]:
    """Raises RefusedError when the rehearsal does not get through: production would not either."""
    from baton.cli import conducting, show

    found = conducting.predict(snapshot, plan)
    if found["outcome"] != "succeeded":
        raise RefusedError(
            f"the rehearsal {found['outcome']}: {found['reason']}",
            where=f"cluster {plan.cluster}",
            hint="`baton rehearse` shows what blocks and what would be better; --no-rehearsal conducts all the same",
        )
    tell(args, show.prediction_text(found))
    return found


def confirmed(args: argparse.Namespace, plan: Plan) -> bool:
    """Ask on a terminal. Raises UsageError where nobody can be asked and --yes is not given."""
    if args.yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked here", hint="add --yes to conduct without a question")
    answer = input(f"Conduct these {len(plan.stages)} stages on {plan.cluster}? Type the target version to go on: ")
    return answer.strip() == plan.to_version


def conduct(args: argparse.Namespace, live: Live, runs: Runs, start: Start, found: Inspection | None) -> Outcome:
    """Run the conductor with a live display."""
    from baton.cli import conducting
    from baton.report.live import live_view

    rehearsed = [] if start.rehearsal is None else start.rehearsal["stages"]
    predicted = {int(s["ordinal"]): float(s["seconds"]) for s in rehearsed}
    with live_view(start.plan, predicted=predicted, stream=sys.stderr if args.json else sys.stdout) as display:

        def on_gate(stage: Stage, result: GateResult) -> None:
            for line in result.remarks:
                upgrade.remark(stage, line)

        upgrade = conducting.Conducting(
            live=live,
            runs=runs,
            start=start,
            engine=the_engine(args, live, start, on_gate),
            display=display,
            owners=conducting.owners_of(found, live.cluster),
            out=args.report,
        )
        return upgrade.run()


def the_engine(
    args: argparse.Namespace, live: Live, start: Start, on_gate: Callable[[Stage, GateResult], None]
) -> Engine:
    """Terraform in the root, or the AWS API."""
    from baton.ports import new_token

    if args.engine == "aws":
        from baton.conductor.engines.aws import AwsEngine

        return AwsEngine(live.aws, new_token, force_drain=args.force_drain)
    from baton.conductor.engines.terraform import Terraform, TerraformEngine
    from baton.conductor.staging import TerraformStaging

    terraform = Terraform(args.dir.resolve(), args.terraform, var_files=tuple(args.var_file))
    allowed = args.allow_target or start.resumed  # a run is not begun without the word
    return TerraformEngine(terraform, TerraformStaging(args.dir, on_gate), targets_allowed=allowed)


def tell(args: argparse.Namespace, text: str) -> None:
    """For people; with --json on stderr, so that stdout holds one document."""
    print(text, file=sys.stderr if args.json else sys.stdout, flush=True)
