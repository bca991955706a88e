"""`baton emulator`: the digital twin as an AWS and Kubernetes endpoint on this machine."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

DESCRIPTION = """\
Run Amazon EKS on this machine: the AWS API (EKS from Baton's digital twin; EC2, Auto Scaling, IAM, SSM, STS, KMS and
Logs around it) and the Kubernetes API of every cluster made in it, on a clock that runs --speed times faster.
Terraform, the AWS CLI, boto3 and kubectl work against it unchanged; only environment variables point them here.

Prints one line of JSON once it answers: endpoint, kubeconfig, environment, pid. Ends on Ctrl-C or SIGTERM.
"""

EPILOG = """\
examples:
  baton emulator --speed 60 &            an hour of cluster time a minute
  eval "$(baton emulator env)"           point this shell at it
  aws eks describe-cluster-versions
  baton emulator --fault never_join=main --fault throttle=0.1
  baton emulator --state lab.jsonl       start again later where it stopped

faults while it runs: POST /_baton/faults, for example
  curl -X POST $AWS_ENDPOINT_URL/_baton/faults -d '{"faults": {"no_capacity": ["us-east-1a"]}}'
"""


def add_parser(subparsers: Any) -> None:
    """`baton emulator` and `baton emulator env`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "emulator",
        help="run Amazon EKS on this machine",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=0, metavar="N", help="port of the AWS API (default 0: a free one)")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDR", help="address to listen on (default: loopback)")
    parser.add_argument(
        "--speed", type=float, default=60.0, metavar="X", help="cluster seconds per second (default 60; 1 is real time)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="same seed, same draws (default 0)")
    parser.add_argument("--region", default="us-east-1", metavar="REGION", help="where EKS is (default us-east-1)")
    parser.add_argument("--state", type=Path, metavar="FILE", help="keep the state in FILE across restarts")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="something that goes wrong; may be repeated",
    )
    parser.add_argument("--scenario", type=Path, metavar="FILE", help="faults at set times or events (JSON)")
    parser.set_defaults(run=run)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=False)
    env = commands.add_parser(
        "env",
        help="print the variables that point a shell at a running emulator",
        description='Print shell exports for a running emulator: eval "$(baton emulator env)".',
    )
    env.add_argument("--endpoint", metavar="URL", help="which emulator (default: the one started last)")
    env.add_argument("--json", action="store_true", help="as one JSON object")
    env.set_defaults(run=run_env)


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop. Raises UsageError, ReadError or UnavailableError."""
    from baton.emulator import runtime, server
    from baton.emulator.assembly import Emulator
    from baton.emulator.faults import merged, parse_flag, read_scenario

    options = server.Options(
        host=args.host,
        port=args.port,
        speed=args.speed,
        seed=args.seed,
        region=args.region,
        faults=merged([parse_flag(text) for text in args.fault]),
        scenario=read_scenario(args.scenario) if args.scenario else None,
        state=args.state,
    )
    left: list[Path] = []

    def announce(emulator: Emulator) -> None:
        word = server.announcement(emulator)
        left.append(runtime.announce(word))
        print(json.dumps(word), flush=True)
        if args.host not in ("127.0.0.1", "localhost", "::1"):
            print(f"baton: listening on {args.host}: anyone who reaches it can use it", file=sys.stderr)

    try:
        server.serve(options, announce)
    finally:
        for path in left:
            path.unlink(missing_ok=True)
    return 0


def run_env(args: argparse.Namespace) -> int:
    """Print the exports. Raises UnavailableError when no emulator answers."""
    from baton.emulator import runtime

    variables = runtime.environment(args.endpoint)
    if args.json:
        print(json.dumps(variables, indent=2))
    else:
        for name, value in variables.items():
            print(f"export {name}={shlex.quote(value)}")
    return 0
