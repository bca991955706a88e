"""The command line: `baton COMMAND`. Heavy imports wait until a command runs, so `--help` answers at once."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from baton.cli.parser import Parser, parsers
from baton.errors import BatonError, UsageError

EXIT_CODES = """\
exit codes:
  0  done, nothing to object to
  1  findings, or refused: nothing was changed
  2  the command line is wrong
  3  something could not be read (Terraform, AWS, Kubernetes, a file)
  4  an upgrade halted half-way; `baton apply` continues it
"""

EPILOG = (
    """\
a first upgrade, in order:
  baton demo                          see all of it once, on an emulator, in three minutes
  baton inspect infra/                what Baton finds in your Terraform
  baton check --to 1.35 -C infra/     is anything in the way?
  baton plan --to 1.35 -C infra/      the stages, their reasons and Terraform diffs
  baton rehearse --to 1.35 -C infra/  how long, what moves, what would block
  baton apply --to 1.35 -C infra/     conduct it; run it again after an interruption

"""
    + EXIT_CODES
)

# In the order of --help. Each module has add_parser(subparsers) and sets the defaults `module` and `function`.
COMMANDS = (
    "baton.cli.demo",
    "baton.cli.inspect",
    "baton.cli.check",
    "baton.cli.plan",
    "baton.cli.rehearse",
    "baton.cli.apply",
    "baton.cli.watch",
    "baton.cli.report",
    "baton.cli.terraform",
    "baton.cli.explain",
    "baton.cli.snapshot",
    "baton.cli.emulator",
)


def build_parser() -> argparse.ArgumentParser:
    """The whole command tree; generators read it too."""
    parser = Parser(prog="baton", description="Rehearse, then conduct, Amazon EKS upgrades.", epilog=EPILOG)
    parser.add_argument("--version", action=ShowVersion, nargs=0, help="show program's version number and exit")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(name).add_parser(subparsers)
    return parser


class ShowVersion(argparse.Action):
    """Looks the version up when it is asked for: that takes a fifth of the time of `baton --help`."""

    def __call__(self, parser: argparse.ArgumentParser, *given: Any) -> None:
        print(f"baton {version()}")
        parser.exit()


def version() -> str:
    """The installed version."""
    from importlib import metadata

    try:
        return metadata.version("baton-eks")
    except metadata.PackageNotFoundError:  # running from a bare checkout
        return "0 (not installed)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (see --help)."""
    args: argparse.Namespace | None = None
    try:
        args = build_parser().parse_args(argv)
        return int(args.run(args))
    except BatonError as error:
        complain(error, args)
        return error.exit_code
    except KeyboardInterrupt:
        print("baton: interrupted; what was started at AWS goes on there", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader went away (`baton plan | head`); close quietly instead of complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def complain(error: BatonError, args: argparse.Namespace | None = None) -> None:
    """The error on stderr: what, where, and a hint what next."""
    text = error.message if error.where is None else f"{error.where}: {error.message}"
    print(text if text.startswith(("baton ", "baton:")) else f"baton: {text}", file=sys.stderr)
    if error.hint:
        print(f"\nhint: {error.hint}", file=sys.stderr)
    if isinstance(error, UsageError) and error.exit_code:
        where = error.where or ""
        command = where if where == "baton" or where.startswith("baton ") else command_of(args)
        print(f"\nsee `{command} --help`", file=sys.stderr)


def command_of(args: argparse.Namespace | None) -> str:
    """`baton plan`: the command that the arguments belong to."""
    run = getattr(args, "run", None)
    if run is None:
        return "baton"
    return next(p.prog for p in parsers(build_parser()) if p.get_default("run") is run)


if __name__ == "__main__":
    sys.exit(main())
