"""`baton watch`: see a roll as it happens, whoever conducts it."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

from baton.cli.options import add_cluster_options, add_json_option

if TYPE_CHECKING:
    from baton.cli.wiring import Live
    from baton.model.view import View
    from baton.observe.observer import Observer

DESCRIPTION = """\
Watch nodes, pods, budgets and updates of a cluster live: who is old, new, draining, what waits and for what. Reads
only; it does not matter who started the roll (Baton, Terraform by hand, the console). Ends on Ctrl-C, after --for, or
with --until-calm once no update is under way.
"""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "watch",
        help="see a roll as it happens, whoever conducts it",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_cluster_options(parser)
    parser.add_argument("--for", dest="seconds", type=float, metavar="SECONDS", help="stop after this (cluster time)")
    parser.add_argument("--until-calm", action="store_true", help="stop once no update is in progress")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Follow the cluster. Raises UsageError and ReadError."""
    from baton.cli import conducting, wiring
    from baton.conductor.run import WATCHED
    from baton.observe.observer import Observer
    from baton.report.live import live_view

    found = wiring.inspection(args, required=False)
    live = wiring.live(args, found)
    printer = _print_event if args.json else (lambda event: None)
    observer = Observer(live.aws.node_groups(live.cluster), on_event=printer)
    began, pause = live.clock.now(), conducting.pace(live.clock.speed).poll_seconds
    watch = live.kube.watch(WATCHED)
    asked = float("-inf")
    calm = False
    try:
        with live_view(None, predicted=None, stream=sys.stderr if args.json else sys.stdout) as display:
            while True:
                now = live.clock.now()
                observer.feed(watch.poll(), now)
                if now - asked >= conducting.ASK_SECONDS:
                    asked = now
                    calm = _ask(live, observer, now)
                if not args.json:
                    view = observer.view(now)
                    display.update(view, now, None, "watching", _waiting(view))
                if _over(args, now - began, calm):
                    return 0
                live.clock.sleep(pause)
    except KeyboardInterrupt:
        return 0
    finally:
        watch.close()
        live.kube.close()


def _over(args: argparse.Namespace, seconds: float, calm: bool) -> bool:
    return (args.seconds is not None and seconds >= args.seconds) or (args.until_calm and calm)


def _ask(live: Live, observer: Observer, now: float) -> bool:
    """Whether AWS says that nothing is being updated."""
    from baton.errors import ReadError

    with contextlib.suppress(ReadError):
        groups = live.aws.node_groups(live.cluster)
        observer.node_groups(groups, now)
        cluster = live.aws.cluster(live.cluster)
        return cluster.status == "ACTIVE" and all(g.status != "UPDATING" for g in groups)
    return False


def _waiting(view: View) -> tuple[str, ...]:
    return tuple(f"{b.subject}: {b.reason}" for b in view.blockers)


def _print_event(event: Any) -> None:
    print(json.dumps(dataclasses.asdict(event), sort_keys=True), flush=True)
