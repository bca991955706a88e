"""`baton stage`: the edits of one stage shown, written, taken back, or committed on a branch."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from terraform_cases import cases, plan_for

from baton.cli.main import main
from baton.planner.store import plan_to_json
from baton.terraform.inspect import inspect
from baton.terraform.stages import weave

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A Git checkout with the module's plainest configuration, and plan.json beside it."""
    folder = tmp_path / "infra"
    case = next(c for c in cases() if c.name == "module-v20-literal-ami")
    case.lay_out(folder)
    found = inspect(folder)
    plan = weave(plan_for(found.cluster()), found)
    (tmp_path / "plan.json").write_text(json.dumps(plan_to_json(plan)))
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "config", "user.email", "somebody@example.com")
    git(folder, "config", "user.name", "Somebody")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "start")
    return folder


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True).stdout


def stage(root: Path, number: int, *more: str) -> int:
    return main(["stage", str(number), "--plan", str(root.parent / "plan.json"), "-C", str(root), *more])


def test_showing_writes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A look at a stage must not touch the working tree."""
    assert stage(root, 1) == 0
    assert '+  cluster_version = "1.35"' in capsys.readouterr().out
    assert git(root, "status", "--porcelain") == ""


def test_written_and_taken_back(root: Path) -> None:
    """--write makes the stage's edits; --undo gives the very same bytes back."""
    before = (root / "main.tf").read_bytes()
    assert stage(root, 1, "--write") == 0
    assert (root / "main.tf").read_bytes() != before
    assert stage(root, 1, "--write", "--undo") == 0
    assert (root / "main.tf").read_bytes() == before


def test_a_commit_on_a_branch_holds_the_stage_alone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The pull request must show the stage's lines and nothing that lay around."""
    (root / "notes.txt").write_text("mine\n")
    git(root, "add", "notes.txt")
    assert stage(root, 1, "--git", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["commit"].startswith("baton/demo-1.35-stage-1 ")
    assert git(root, "rev-parse", "--abbrev-ref", "HEAD").strip() == "baton/demo-1.35-stage-1"
    assert (
        git(root, "show", "--name-only", "--format=%s").split("\n")[0].startswith("Upgrade EKS cluster demo, stage 1")
    )
    assert git(root, "show", "--name-only", "--format=").split() == ["main.tf"]
    assert "A  notes.txt" in git(root, "status", "--porcelain")


def test_refusals_leave_branch_and_files_alone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A dirty file, or a branch that exists, must not be mixed into the upgrade."""
    text = (root / "main.tf").read_text()
    (root / "main.tf").write_text(text + "# half-done\n")
    assert stage(root, 1, "--git") == 1
    assert "not committed" in capsys.readouterr().err
    assert (root / "main.tf").read_text() == text + "# half-done\n"
    (root / "main.tf").write_text(text)
    git(root, "branch", "baton/demo-1.35-stage-1")
    assert stage(root, 1, "--git") == 1
    assert git(root, "rev-parse", "--abbrev-ref", "HEAD").strip() == "main"
    assert git(root, "status", "--porcelain") == ""


def test_outside_of_a_checkout(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without Git behind the directory --git is a wrong option, told as such."""
    shutil.rmtree(root / ".git")
    assert stage(root, 1, "--git") == 2
    assert "hint:" in capsys.readouterr().err
