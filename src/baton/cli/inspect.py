"""`baton inspect`: what Baton finds in a Terraform root."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "inspect",
        help="show the EKS clusters in a Terraform root and where each value is written",
        description="Find the EKS clusters of a Terraform root, their add-ons and node groups, and follow each version "
        "and image to the literal that says it. Reads files only: runs nothing, asks nobody, changes nothing.",
        epilog="exit code 1 when there is no EKS cluster, 3 when a file does not parse",
    )
    parser.add_argument(
        "dir", nargs="?", type=Path, default=Path("."), metavar="DIR", help="Terraform root (default: here)"
    )
    parser.add_argument(
        "--var-file", action="append", default=[], metavar="FILE", help="as Terraform's -var-file; may be repeated"
    )
    parser.add_argument("--workspace", metavar="NAME", help="Terraform workspace (default: the selected one)")
    parser.add_argument("--json", action="store_true", help="machine-readable JSON on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0, or 1 when nothing was found. Raises ReadError."""
    from baton.cli import show
    from baton.terraform.inspect import inspect
    from baton.terraform.texts import describe

    found = inspect(args.dir, var_files=args.var_file, workspace=args.workspace, environ=os.environ)
    if args.json:
        json.dump(found.to_json(), sys.stdout, indent=2)
        print()
    else:
        print(show.narrowed(describe(found)), end="")
    return 0 if found.clusters else 1
