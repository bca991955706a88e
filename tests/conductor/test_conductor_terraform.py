"""The Terraform engine with a stand-in for the program: what is called, what is taken back, what is left."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conductor_world import FakeWorld, Notes

from baton.conductor.engines.terraform import Terraform, TerraformEngine
from baton.conductor.journal import SqliteJournal
from baton.conductor.run import Conductor
from baton.conductor.staging import TerraformStaging
from baton.errors import BatonError, HaltedError, RefusedError
from baton.model.plan import Change, Plan, Stage, StageKind
from baton.terraform.inspect import inspect
from baton.terraform.stages import weave

MAIN = """\
resource "aws_eks_cluster" "this" {
  name    = "demo"
  version = "1.34" # of the platform team
}
"""
ADDRESS = "aws_eks_cluster.this"
# What it is asked is kept in words.log; it plans what plan.json says, and fails to apply while fail-apply is there.
STAND_IN = """\
#!{python}
import pathlib, shutil, sys
here = pathlib.Path({folder!r})
with (here / "words.log").open("a") as log:
    log.write(" ".join([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]) + chr(10))
verb = sys.argv[2]
if verb == "plan":
    out = next(w for w in sys.argv if w.startswith("-out=")).removeprefix("-out=")
    pathlib.Path(out).write_text("a plan")
    sys.exit(2)
if verb == "show":
    print((here / "plan.json").read_text())
if verb == "apply":
    sys.exit(1 if (here / "fail-apply").exists() else 0)
"""


class Killed(BaseException):
    """Stands for kill -9 at a crash point."""


class Lab:
    """A root with one cluster, a plan of one stage, and a stand-in for Terraform."""

    def __init__(self, folder: Path, program: str = "terraform") -> None:
        self.folder = folder
        self.root = folder / "root"
        self.root.mkdir()
        (self.root / "main.tf").write_text(MAIN)
        self.program = folder / program
        self.program.write_text(STAND_IN.format(python=sys.executable, folder=str(folder)))
        self.program.chmod(0o755)
        change = Change("cluster", "demo", "1.34", "1.35")
        plan = Plan("demo", "1.34", "1.35", (Stage(1, StageKind.CONTROL_PLANE, "control plane", (change,), "first"),))
        self.plan = weave(plan, inspect(self.root))
        self.will_plan("update")

    def will_plan(self, *actions: str, **more: Any) -> None:
        """The next plan changes the cluster's version with these actions."""
        sides = {"before": {"name": "demo", "version": "1.34"}, "after": {"name": "demo", "version": "1.35"}}
        change = {"actions": list(actions), **sides, "after_unknown": {}}
        entry = {"address": ADDRESS, "type": "aws_eks_cluster", "mode": "managed", "change": change}
        document = {"format_version": "1.2", "terraform_version": "1.11.4", "resource_changes": [entry], **more}
        (self.folder / "plan.json").write_text(json.dumps(document))

    def run(self, crash_at: str = "", *, allow_targets: bool = False) -> None:
        """One run of Baton on the lab's journal."""

        def crash(point: str) -> None:
            if point == crash_at:
                raise Killed

        world = FakeWorld()
        journal = SqliteJournal(self.folder / "journal.db")
        terraform = Terraform(self.root, str(self.program))
        engine = TerraformEngine(terraform, TerraformStaging(self.root), targets_allowed=allow_targets)
        try:
            Conductor(
                aws=world,
                kube=world,
                clock=world.clock,
                journal=journal,
                engine=engine,
                observer=Notes(),
                crash=crash,
            ).run("r", self.plan)
        finally:
            journal.close()

    @property
    def text(self) -> str:
        return (self.root / "main.tf").read_text()

    @property
    def words(self) -> list[str]:
        return (self.folder / "words.log").read_text().splitlines()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def killed_then_refused(lab: Lab) -> BatonError:
    """A run that dies once its edits stand, and one that meets a surprise; returns what the second says."""
    with pytest.raises(Killed):
        lab.run("stage-1:acted")
    assert '"1.35"' in lab.text
    lab.will_plan("delete", "create")
    with pytest.raises(RefusedError) as refused:
        lab.run()
    return refused.value


def test_a_refusal_takes_back_what_a_killed_run_edited(lab: Lab) -> None:
    """Half an upgrade would stay in the files, and the next `terraform apply` by hand would carry it out."""
    error = killed_then_refused(lab)
    assert "replaced" in error.message
    assert lab.text == MAIN


def test_edits_of_somebody_else_are_left_and_told(lab: Lab) -> None:
    """Taking back around another person's change could leave a file that neither of them wrote."""
    with pytest.raises(Killed):
        lab.run("stage-1:acted")
    changed = lab.text + '\nlocals { mine = "new" }\n'
    (lab.root / "main.tf").write_text(changed)
    lab.will_plan("delete", "create")
    with pytest.raises(RefusedError, match=r"left in place: main\.tf: the file was changed by somebody else"):
        lab.run()
    assert lab.text == changed


def test_edits_that_stood_before_are_nobody_of_batons(lab: Lab) -> None:
    """A team that merged the stage's edits itself would find them reverted in its checkout."""
    written = MAIN.replace('"1.34"', '"1.35"')
    (lab.root / "main.tf").write_text(written)
    lab.will_plan("delete", "create")
    with pytest.raises(RefusedError):
        lab.run()
    assert lab.text == written


def test_edits_stay_once_an_apply_was_started(lab: Lab) -> None:
    """The state may be half-way there: the old text would plan a downgrade."""
    (lab.folder / "fail-apply").touch()
    with pytest.raises(HaltedError):
        lab.run()
    lab.will_plan("delete", "create")
    with pytest.raises(RefusedError):
        lab.run()
    assert '"1.35"' in lab.text


def test_a_plan_that_fails_takes_the_edits_back(lab: Lab) -> None:
    """A provider that cannot be reached must not leave the version moved in the files."""
    lab.program.write_text(f"#!{sys.executable}\nimport sys\nprint('Error: no credentials')\nsys.exit(1)\n")
    with pytest.raises(BatonError, match="no credentials"):
        lab.run()
    assert lab.text == MAIN


def test_targets_need_the_word_and_are_used(lab: Lab) -> None:
    """-target without being told would be a habit; told, plan and apply must have exactly these."""
    lab.plan = replace(lab.plan, stages=tuple(replace(s, targets=(ADDRESS,)) for s in lab.plan.stages))
    lab.will_plan("update", complete=False)
    with pytest.raises(RefusedError, match="-target") as refused:
        lab.run()
    assert "--allow-target" in (refused.value.hint or "")
    assert lab.text == MAIN and not (lab.folder / "words.log").exists()
    with pytest.raises(HaltedError, match="does not agree"):  # the fake world does not follow this Terraform
        lab.run(allow_targets=True)
    planned = next(w for w in lab.words if " plan " in w)
    assert planned.endswith(f"-target={ADDRESS}")
    assert any(" apply " in w for w in lab.words)
    journal = SqliteJournal(lab.folder / "journal.db")
    assert journal.steps("r")[0][2]["engine"]["targets"] == [ADDRESS]
    journal.close()


def test_a_targeted_plan_without_a_targeted_stage_is_refused(lab: Lab) -> None:
    """TF_CLI_ARGS_plan=-target=... in somebody's shell would hide what else would change."""
    lab.will_plan("update", complete=False)
    with pytest.raises(RefusedError, match="without -target"):
        lab.run()
    assert lab.text == MAIN


def test_the_program_that_is_named_is_the_one_that_runs(tmp_path: Path) -> None:
    """With --terraform tofu on a machine that has both, the state would be written by the wrong one."""
    lab = Lab(tmp_path, "tofu")
    with pytest.raises(HaltedError, match="does not agree"):
        lab.run()
    verbs = [w.split()[2] for w in lab.words]
    assert verbs == ["plan", "show", "apply"]
    assert all(w.startswith("tofu -chdir=") for w in lab.words)
