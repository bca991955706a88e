"""`baton gate` and `baton stage`: for teams whose apply runs in Atlantis, Terraform Cloud, Spacelift or a pipeline."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baton.errors import ReadError, RefusedError, UsageError

if TYPE_CHECKING:
    from baton.model.plan import Plan, Stage
    from baton.terraform.expected import Expectation


def add_parser(subparsers: Any) -> None:
    """Register both commands."""
    _add_gate(subparsers)
    _add_stage(subparsers)


def _add_gate(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "gate",
        help="judge a Terraform plan: only what the stage is about, nothing replaced or destroyed",
        description="Judge `terraform show -json tfplan > plan.json`. Every change must belong to the stage; what is "
        "replaced, destroyed or created is refused with its address and the attribute that forces it.",
        epilog="exit code 0 allowed, 1 refused, 3 not the JSON of a plan",
    )
    parser.add_argument(
        "plan_json",
        metavar="PLAN",
        help="output of `terraform show -json`, - for stdin, or the file of `terraform plan -out`",
    )
    parser.add_argument(
        "-C", "--dir", type=Path, default=Path("."), metavar="DIR", help="root of a plan file (default: here)"
    )
    parser.add_argument("--terraform", default="terraform", metavar="PROGRAM", help="terraform, tofu or a path")
    parser.add_argument(
        "--stage",
        required=True,
        metavar="N|KIND",
        help="number of a stage of --plan, or control-plane, addon, node-group, update-config",
    )
    parser.add_argument("--plan", type=Path, metavar="FILE", help="a plan made by `baton plan --json`")
    parser.add_argument(
        "--base",
        metavar="COMMIT",
        default="HEAD",
        help="compare .terraform.lock.hcl in DIR with this commit's, to notice provider upgrades (default: HEAD)",
    )
    parser.add_argument("--cluster", metavar="NAME", default="", help="cluster name, where no --plan names it")
    parser.add_argument("--format", choices=("text", "markdown", "json", "sarif"), default="text", help="default: text")
    parser.add_argument("--json", action="store_const", const="json", dest="format", help="same as --format json")
    parser.set_defaults(run=run_gate)


def _add_stage(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "stage",
        help="show or make the Terraform edits of one stage of a plan",
        description="The Terraform edits of one stage, with a commit message and the text of a pull request. Shows "
        "them; changes files only with --write, and then all of the stage or nothing.",
    )
    parser.add_argument("stage", metavar="N", help="number of the stage")
    parser.add_argument("--plan", type=Path, required=True, metavar="FILE", help="a plan made by `baton plan --json`")
    parser.add_argument(
        "-C", "--dir", type=Path, default=Path("."), metavar="DIR", help="Terraform root (default: here)"
    )
    parser.add_argument("--var-file", action="append", default=[], metavar="FILE", help="as Terraform's -var-file")
    parser.add_argument("--write", action="store_true", help="make the edits")
    parser.add_argument("--undo", action="store_true", help="with --write: take the edits of the stage back")
    parser.add_argument("--git", action="store_true", help="make the edits as one commit on a branch of its own")
    parser.add_argument("--message", type=Path, metavar="FILE", help="write the commit message here")
    parser.add_argument("--pull-request", type=Path, metavar="FILE", help="write the text of a pull request here")
    parser.add_argument("--json", action="store_true", help="machine-readable JSON on stdout")
    parser.set_defaults(run=run_stage)


def run_gate(args: argparse.Namespace) -> int:
    """0 allowed, 1 refused. Raises ReadError, UsageError."""
    from baton.conductor.staging import made_of
    from baton.terraform.gate import judge
    from baton.terraform.verdicts import render

    expectation = _expectation(args)
    made = made_of(args.dir, Path(args.plan_json) if _binary(args.plan_json) else None, args.base)
    document = _plan_json(args)
    try:
        result = judge(document, expectation, made)
    except ReadError as error:  # the gate knows no files
        raise ReadError(error.message, where=error.where or args.plan_json, hint=error.hint) from error
    print(render(result, expectation, args.plan_json, args.format), end="")
    return 0 if result.allowed else 1


def _plan_json(args: argparse.Namespace) -> Any:
    """The JSON given, or that of a plan file (a ZIP archive) by `terraform show -json`."""
    if _binary(args.plan_json):
        from baton.conductor.engines.terraform import Terraform

        return Terraform(args.dir, args.terraform).show(Path(args.plan_json).absolute())
    return _load(args.plan_json)


def _binary(name: str) -> bool:
    """Whether this is the file of `plan -out`; what cannot be read is none, and told by _load."""
    if name == "-":
        return False
    try:
        with Path(name).open("rb") as file:
            return file.read(2) == b"PK"
    except OSError:
        return False


def _expectation(args: argparse.Namespace) -> Expectation:
    from baton.model.plan import StageKind
    from baton.terraform.expected import Expectation, expectation_of

    if args.stage.isdigit():
        if args.plan is None:
            raise UsageError(
                "--stage N needs the plan that has the stage",
                hint="add --plan FILE, or name a kind: --stage node-group",
            )
        plan = _plan(args.plan)
        return expectation_of(_stage(plan, args.stage), plan)
    kinds = [k.value for k in StageKind]
    if args.stage not in kinds:
        raise UsageError(f"{args.stage!r} is no stage", hint=f"a number, or one of {', '.join(kinds)}")
    cluster = args.cluster or (_plan(args.plan).cluster if args.plan is not None else "")
    providers = _plan(args.plan).providers if args.plan is not None else {}
    return Expectation(StageKind(args.stage), cluster, providers=providers)


def _plan(path: Path) -> Plan:
    from baton.planner.store import plan_from_json

    return plan_from_json(_load(str(path), "make one with `baton plan -o FILE`"), str(path))


def _stage(plan: Plan, number: str) -> Stage:
    found = next((s for s in plan.stages if str(s.ordinal) == number), None)
    if found is None:
        listed = ", ".join(f"{s.ordinal} {s.name}" for s in plan.stages)
        raise UsageError(f"the plan has no stage {number}", hint=f"stages: {listed}")
    return found


def _load(name: str, hint: str = "use the output of `terraform show -json FILE`") -> Any:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text()
    except OSError as error:
        raise ReadError(f"cannot be read: {error.strerror}", where=name, hint="check the path") from error
    except UnicodeDecodeError as error:
        raise ReadError("is a binary file, not JSON", where=name, hint=hint) from error
    try:
        return json.loads(text)
    except ValueError as error:
        raise ReadError(f"is not JSON: {error}", where=name, hint=hint) from error


def run_stage(args: argparse.Namespace) -> int:
    """Show, write or take back the edits of a stage. Raises RefusedError when the files are not as planned."""
    from baton.cli import wiring
    from baton.terraform.stages import stage_edits
    from baton.terraform.texts import commit_message, pull_request

    plan = _plan(args.plan)
    stage = _stage(plan, args.stage)
    found = stage_edits(plan, stage, args.dir, var_files=args.var_file, environ=os.environ)
    state, made = "shown", ""
    if args.git:
        if args.undo:
            raise UsageError("--git and --undo do not go together", hint="take a commit back with `git revert`")
        made = _committed(args, plan, stage, found)
        state = "written"
    elif args.write:
        state = found.take_back() if args.undo else found.write()
    texts = {"message": commit_message(plan, stage), "pullRequest": pull_request(plan, stage)}
    for path, text in ((args.message, texts["message"]), (args.pull_request, texts["pullRequest"])):
        if path is not None:
            wiring.write_text(path, text)
    if args.json:
        files = sorted({e.file for e in found.stage.edits})
        print(
            json.dumps(
                {
                    "stage": stage.ordinal,
                    "state": state,
                    "files": files,
                    "diff": found.stage.diff,
                    "commit": made,
                    "targets": list(found.stage.targets),
                    **texts,
                },
                indent=2,
            )
        )
        return 0
    print(found.stage.diff, end="")
    if stage.targets:
        print("plan and apply this stage with " + " ".join(f"'-target={t}'" for t in stage.targets), file=sys.stderr)
    print({"shown": _hint(args), "written": "", "already": "the edits are in the files already", "undone": ""}[state],
          file=sys.stderr)  # fmt: skip
    if made:
        print(f"committed as {made}", file=sys.stderr)
    elif state == "written":
        print(texts["message"], file=sys.stderr)
    return 0


def _committed(args: argparse.Namespace, plan: Plan, stage: Stage, found: Any) -> str:
    """`BRANCH COMMIT` of the stage's edits."""
    from baton.conductor.engines.git import branch_name, commit
    from baton.terraform.texts import commit_message

    files = sorted({e.file for e in found.stage.edits})
    if not files:
        raise RefusedError("the stage edits no file, so there is nothing to commit", where=f"stage {stage.ordinal}")
    branch = branch_name(plan.cluster, plan.to_version, stage.ordinal)
    return f"{branch} {commit(args.dir, files, commit_message(plan, stage), branch, found.write)}"


def _hint(args: argparse.Namespace) -> str:
    return f"\nnothing was written; add --write to make these edits in {args.dir}"
