"""`baton report`: what happened in a run, as text, HTML, Markdown, JUnit or JSON."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from baton.errors import ReadError

FORMATS = ("text", "html", "md", "junit", "json")


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "report",
        help="what happened: text, HTML, Markdown, JUnit or JSON",
        description="The report of a run of `baton apply`: the last one of the Terraform root, or a report.json.",
        epilog="examples:\n  baton report -C infra/\n  baton report -C infra/ --format html -o report.html\n"
        "  baton report baton-demo/report.json --format md",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="REPORT.JSON", help="default: the last run of -C DIR")
    parser.add_argument("-C", "--dir", type=Path, default=Path("."), metavar="DIR", help="Terraform root (default: .)")
    parser.add_argument("--run", dest="run_name", metavar="ID", help="another run than the last")
    parser.add_argument("--list", action="store_true", help="list the runs")
    parser.add_argument("--format", choices=FORMATS, default="text", help="default: text")
    parser.add_argument("--json", action="store_const", const="json", dest="format", help="same as --format json")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="write there instead of stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Render a report. Raises ReadError when there is none."""
    from baton.cli import wiring

    if args.list:
        for path in _runs(args.dir):
            print(path.parent.name)
        return 0
    path = args.file or _chosen(args)
    text = render(path, args.format)
    if args.out is None:
        sys.stdout.write(text)
    else:
        wiring.write_text(args.out, text)
    return 0


def _runs(root: Path) -> list[Path]:
    from baton.conductor.engines.terraform import WORK

    return sorted((root / WORK / "runs").glob("*/report.json"))


def _chosen(args: argparse.Namespace) -> Path:
    found = _runs(args.dir)
    if args.run_name:
        found = [p for p in found if p.parent.name == args.run_name]
    if not found:
        what = f"no run {args.run_name}" if args.run_name else "no run with a report"
        raise ReadError(what, where=str(args.dir), hint="name the report.json, or the Terraform root with -C DIR")
    return found[-1]


def render(path: Path, kind: str) -> str:
    """The text of a report file in one of FORMATS. Raises ReadError."""
    import json

    from baton.cli import show
    from baton.cli.apply import read_json
    from baton.report.html import render as html
    from baton.report.junit import render as junit
    from baton.report.markdown import render as markdown
    from baton.report.shape import checked

    tree = checked(read_json(path, "`baton apply` writes report.json; is the file whole?"), str(path))
    renderers = {"html": html, "md": markdown, "junit": junit}
    if kind in renderers:
        return renderers[kind](tree)
    return json.dumps(tree, indent=2) + "\n" if kind == "json" else show.report_text(tree, ())
