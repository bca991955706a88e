"""With the real Terraform and the real AWS provider: the demo, an apply that is killed, a plan that is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from cli_lab import baton, demo_root, files_of, shell
from test_cli_apply import holds, read_until, updates

from baton.cli import demo
from baton.emulator.server import Running, start_in_thread
from terraform_env import terraform_or_skip

pytestmark = pytest.mark.xdist_group("cli-terraform")


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[None]:
    """Terraform finds its provider in the mirror of this machine."""
    tools = terraform_or_skip()
    kept = dict(os.environ)
    os.environ["TF_CLI_CONFIG_FILE"] = str(tools.cli_config(tmp_path))
    yield
    os.environ.clear()
    os.environ.update(kept)


def test_the_demo(environment: None, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A new user's first command must end with an upgraded cluster, verified, and a Terraform without changes."""
    root = tmp_path / "demo"
    said = baton(capsys, "demo", "--dir", root, "--speed", "300")
    assert said.code == 0, said.out[-3000:] + said.err
    report = json.loads((root / "report.json").read_text())
    holds(report)
    assert report["engine"] == "terraform"
    assert report["terraform"]["finalPlan"] == "no-changes"
    assert report["rehearsal"]["predictedSeconds"] > 0 and report["rehearsal"]["actualSeconds"] > 0
    text = (root / "main.tf").read_text()
    assert 'cluster_version = "1.35"' in text and "golden-eks-1.35-*" in text
    changed = [a for a, b in zip(text.splitlines(), _template().splitlines(), strict=True) if a != b]
    assert len(changed) == 2, changed  # the version and the image filter, nothing else
    assert (root / "report.html").exists() and (root / "timeline.jsonl").exists()


def _template() -> str:
    from importlib import resources

    return (resources.files("baton.cli") / "demo_root" / "main.tf").read_text()


def test_the_demo_spares_what_is_not_its_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A folder that somebody else filled must never be written over by the demo."""
    (tmp_path / "precious.txt").write_text("mine")
    said = baton(capsys, "demo", "--dir", tmp_path)
    assert said.code == 2 and "hint:" in said.err
    assert (tmp_path / "precious.txt").read_text() == "mine"


GROUPS = "  eks_managed_node_groups = {\n"
SECOND = """    second = {
      ami_type       = "CUSTOM"
      ami_id         = data.aws_ami.golden.image_id
      instance_types = ["m6i.large"]
      min_size       = 1
      desired_size   = 1
      max_size       = 3
      update_config  = { max_unavailable = 1 }
    }
"""


@pytest.fixture
def running(environment: None, tmp_path: Path) -> Iterator[Running]:
    """The demo's cluster with a second group on the same image filter, made by Terraform in tmp_path/root."""
    found = start_in_thread(speed=600, seed=3)
    configured = os.environ["TF_CLI_CONFIG_FILE"]
    try:
        with shell({**found.environment, "TF_CLI_CONFIG_FILE": configured}):
            root = demo_root(tmp_path)
            (root / "main.tf").write_text((root / "main.tf").read_text().replace(GROUPS, GROUPS + SECOND))
            demo.initialised(root, "terraform").apply_all()
            demo.start_workloads()
            yield found
    finally:
        found.stop()


def stand_ins(folder: Path, real: str) -> Path:
    """`tofu`, which hands its words to the real Terraform, and a `terraform` that fails; the log of both."""
    folder.mkdir()
    log = folder / "called.log"
    for name, then in (("tofu", f'exec "{real}" "$@"'), ("terraform", "exit 97")):
        script = folder / name
        script.write_text(f'#!/bin/sh\necho {name} "$@" >> "{log}"\n{then}\n')
        script.chmod(0o755)
    return log


def test_refused_and_killed_with_terraform(
    running: Running, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A plan that holds a surprise must change nothing; an apply that is killed must be taken up where it is."""
    root = tmp_path / "root"
    eks = boto3.client("eks")
    before = files_of(root)

    # Somebody has put tags on everything: the gate must refuse, and the edits be taken back.
    version = (root / "versions.tf").read_text()
    (root / "versions.tf").write_text(
        version.replace(
            'region = "us-east-1"', 'region = "us-east-1"\n  default_tags {\n    tags = { Surprise = "yes" }\n  }'
        )
    )
    with_surprise = files_of(root)
    said = baton(capsys, "apply", "--to", "1.35", "-C", root, "--yes")
    assert said.code == 1, said.out + said.err
    assert "refused" in said.err and "hint:" in said.err
    assert files_of(root) == with_surprise
    assert eks.list_updates(name="demo")["updateIds"] == []
    (root / "versions.tf").write_text(version)
    assert files_of(root) == before

    # Killed while Terraform applies the control plane, and once more while the nodes roll.
    # Two groups, one literal: only -target lets the smaller one go first. The word is given once, and on record.
    for words, until in ((["--to", "1.35", "--allow-target"], "terraform apply"), ([], "old node")):
        process = subprocess.Popen(
            [sys.executable, "-m", "baton.cli.main", "apply", *words, "-C", str(root), "--yes"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        printed = read_until(process, until)
        assert until in printed, printed
        process.send_signal(signal.SIGKILL)
        process.wait()
    # The rest under the name of OpenTofu, on a machine where `terraform` is not to be called at all.
    called = stand_ins(tmp_path / "bin", shutil.which("terraform") or "")
    os.environ["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    said = baton(capsys, "apply", "-C", root, "--yes", "--json", "--terraform", "tofu")
    assert said.code == 0, said.out + said.err
    verbs = [line.split()[2] for line in called.read_text().splitlines()]
    assert {line.split()[0] for line in called.read_text().splitlines()} == {"tofu"}
    assert verbs[-2:] == ["plan", "show"] or verbs[-1] == "plan"  # the last look: nothing left to change
    report = json.loads(said.out)
    holds(report, second=1)
    assert report["terraform"]["finalPlan"] == "no-changes"
    target = '-target=module.eks.aws_eks_node_group.this["second"]'
    assert any("stage 3" in n and target in n and "--allow-target allowed" in n for n in report["notes"])
    assert any(n.startswith("the gate on stage 3") and target in n for n in report["notes"])
    assert [p["name"] for p in report["path"] if p["stage"] == "node-group"] == ["second", "main"]
    found = updates(running)
    assert all(len(u) == 1 and u[0].endswith("Successful") for u in found.values()), found
