"""`baton rehearse`: the plan and the production conductor on a twin of the cluster, in virtual time, many times."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baton.cli.options import (
    add_cluster_options,
    add_json_option,
    add_offline_options,
    add_staging_options,
    add_target_options,
)
from baton.errors import ReadError, UsageError

if TYPE_CHECKING:
    from baton.model.cluster import Snapshot
    from baton.model.plan import Plan
    from baton.rehearsal.run import Options
    from baton.rehearsal.summary import Prices, Summary
    from baton.twin.cloud.settings import CloudSettings

DESCRIPTION = """\
Rehearse the upgrade before anyone touches production: the very same plan, conducted by the very same conductor, on a
twin of this cluster, in virtual time. Says how long it takes, what is evicted how often, what blocks and what would
unblock it, how low capacity falls, and which settings would be better. Reads only; nothing is changed.
"""
EPILOG = """\
examples:
  baton rehearse --to 1.35 -C infra/              the live cluster of that Terraform
  baton rehearse --to 1.35 --snapshot prod.baton  a cluster as it was recorded; needs no access to it
  baton rehearse --to 1.35 --dump cluster.json    from `kubectl get ... -A -o json`; AWS facts are assumed, and said
  baton rehearse --to 1.35 --runs 50 --seed 7 --json --no-stats > rehearsal.json
  baton rehearse --to 1.35 --html rehearsal.html --node-hour-price m5.large=0.096
  baton rehearse --to 1.35 --calibrate report.json   with the times that an earlier upgrade took

The same seed gives the same figures, on every machine and Python; only what --json shows under `stats` (how fast the
rehearsal itself ran) differs, and --no-stats leaves that out.

exit code 0 every run came to its end, 1 some run halted
"""
_COMPILING = "a cluster of this size: compiling the twin first, once for this version and machine (a minute) ..."


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "rehearse",
        help="how long, what moves, what would block",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", nargs="?", type=Path, metavar="DIR", help="Terraform root, as -C DIR")
    add_target_options(parser, required=False)
    add_staging_options(parser)
    add_cluster_options(parser)
    add_offline_options(parser)
    group = parser.add_argument_group("the rehearsal")
    group.add_argument("--plan", type=Path, metavar="FILE", help="rehearse this plan (from `baton plan -o`)")
    group.add_argument("--runs", type=int, default=5, metavar="N", help="how often, each with its seed (default: 5)")
    group.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of the first run; the next add one (default: 0)"
    )
    group.add_argument("--no-recommend", action="store_true", help="do not look for better settings")
    group.add_argument("--force-drain", action="store_true", help="let EKS delete pods that budgets still protect")
    group.add_argument(
        "--calibrate", type=Path, metavar="REPORT", help="take the times measured by a real run's report"
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the twin, e.g. timings.node_boot=[60,80,150] or switches.drain_windows=3; may be repeated",
    )
    group.add_argument(
        "--node-hour-price",
        action="append",
        default=[],
        metavar="[TYPE=]USD",
        help="what a node costs per hour, for the surge's cost; per instance type when repeated",
    )
    group = parser.add_argument_group("where it runs")
    group.add_argument("--workers", type=int, metavar="N", help="processes (default: as many as pay)")
    group.add_argument("--executor", metavar="ADDRESS", help="a Dask scheduler, dask://HOST:PORT, instead")
    group = parser.add_argument_group("output")
    add_json_option(parser)
    group.add_argument("--no-stats", action="store_true", help="leave out of --json how fast the rehearsal ran")
    group.add_argument("--html", type=Path, metavar="FILE", help="write a page with pictures here")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 every run came to its end, 1 some did not. Raises UsageError, RefusedError and ReadError."""
    from baton.cli import wiring

    if args.root is not None:
        args.dir = args.root
    if args.runs < 1:
        raise UsageError(f"--runs {args.runs}", hint="choose one or more")
    prices, settings = _prices(args.node_hour_price), _settings(args.set)
    if args.html is not None and not args.html.resolve().parent.is_dir():
        raise ReadError("cannot be written: there is no such directory", where=str(args.html), hint="make it first")
    snapshot, plan, said = _subject(args)
    options = _options(args, settings, snapshot, plan, said)
    summary = _rehearse(args, snapshot, plan, options, prices, said)
    if args.html is not None:
        from baton.rehearsal.page import page

        wiring.write_text(args.html, page(summary))
    if args.json:
        json.dump(summary.as_json(stats=not args.no_stats), sys.stdout, indent=2)
        print()
    else:
        from baton.cli.rehearsed import print_summary

        print_summary(summary)
        if args.html is not None:
            print(f"\nwritten to {args.html}")
    return 0 if summary.succeeds else 1


def _subject(args: argparse.Namespace) -> tuple[Snapshot, Plan, list[str]]:
    """What is rehearsed: the cluster, the plan, and what had to be assumed."""
    from baton.cli import wiring
    from baton.conductor.staging import make
    from baton.knowledge.tables import Knowledge
    from baton.planner.store import moved
    from baton.rehearsal.assumed import complete

    given = None if args.plan is None else _plan(args.plan)
    if given is None and not args.to:
        raise UsageError("where to?", hint="add --to VERSION, for example --to 1.35, or --plan FILE")
    if given is None:
        wiring.target(args)
    offline = args.snapshot is not None or args.dump is not None
    found = wiring.inspection(args, required=False) if not offline or args.dir != Path(".") else None
    snapshot = wiring.snapshot(args, found)
    snapshot, said = complete(snapshot, given.to_version if given is not None else str(wiring.target(args).version))
    plan = given if given is not None else make(snapshot, wiring.target(args), Knowledge.load(), found)
    if given is not None and given.cluster != snapshot.cluster.name:
        raise UsageError(
            f"the plan is for cluster {given.cluster}, and this is {snapshot.cluster.name}",
            where=str(args.plan),
            hint="give the snapshot that the plan was made from",
        )
    notes = [f"since the plan was made: {line}" for line in moved(plan, snapshot)] if given is not None else []
    return snapshot, plan, [*said, *notes]


def _plan(path: Path) -> Plan:
    from baton.planner.store import plan_from_json

    try:
        return plan_from_json(json.loads(path.read_bytes()), str(path))
    except OSError as error:
        raise ReadError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except ValueError as error:
        raise ReadError(f"it is not JSON: {error}", where=str(path), hint="make one with `baton plan -o`") from error


def _settings(given: Sequence[str]) -> CloudSettings:
    from baton.twin.cloud.settings import CloudSettings

    settings = CloudSettings()
    for text in given:
        name, found, value = text.partition("=")
        group, dot, field = name.partition(".")
        if not found or not dot:
            raise UsageError(f"not a setting: {text!r}", hint="write it GROUP.NAME=VALUE, e.g. timings.node_boot=90")
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = value
        settings.change(group, field, parsed)
    return settings


def _prices(given: Sequence[str]) -> Prices:
    from baton.rehearsal.summary import Prices

    default, by_type = None, {}
    for text in given:
        kind, _, number = text.rpartition("=")
        try:
            price = float(number)
        except ValueError:
            price = -1.0
        if not 0 <= price < 1e6:
            raise UsageError(f"not a price: {text!r}", hint="write USD per hour, e.g. 0.096 or m5.large=0.096")
        if kind:
            by_type[kind] = price
        else:
            default = price
    return Prices(default, by_type)


def _options(
    args: argparse.Namespace, settings: CloudSettings, snapshot: Snapshot, plan: Plan, said: list[str]
) -> Options:
    from baton.rehearsal.run import Options

    options = Options(settings=settings, force_drain=args.force_drain)
    if args.calibrate is not None:
        from baton.rehearsal.calibrate import calibrate, read_report

        options, lines = calibrate(options, read_report(args.calibrate), snapshot, plan)
        said += lines
    return options


def _rehearse(
    args: argparse.Namespace, snapshot: Snapshot, plan: Plan, options: Options, prices: Prices, said: Sequence[str]
) -> Summary:
    from baton.rehearsal.recommend import recommend
    from baton.rehearsal.rehearse import rehearse
    from baton.twin.bulk.begin import compile_ahead, compiles_first

    def tell(what: str, total: int) -> Any:
        def done(count: int) -> None:
            if sys.stderr.isatty():
                print(f"\r{what} {count} of {total}\x1b[K", end="", file=sys.stderr, flush=True)

        return done

    if options.bulk is not False and compiles_first(
        *(len(snapshot.objects.get(kind, ())) for kind in ("nodes", "pods"))
    ):
        print(_COMPILING, file=sys.stderr, flush=True)
        compile_ahead()
    tell("rehearsal", args.runs)(0)
    summary = rehearse(
        snapshot,
        plan,
        seed=args.seed,
        runs=args.runs,
        options=options,
        workers=args.workers,
        executor=args.executor,
        prices=prices,
        assumptions=said,
        progress=tell("rehearsal", args.runs),
    )
    if not args.no_recommend:
        summary = recommend(snapshot, summary, options=options, workers=args.workers, executor=args.executor, tell=tell)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    return summary
