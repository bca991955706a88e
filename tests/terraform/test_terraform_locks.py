"""Provider upgrades that sneak in: the lock file against the plan, the commit, and what a plan file carries."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from baton.cli.main import main
from baton.conductor.engines.terraform import Terraform
from baton.conductor.staging import made_of
from baton.model.plan import StageKind
from baton.terraform.expected import Expectation
from baton.terraform.gate import judge
from baton.terraform.locks import LOCK_FILE, Locked, Made, locked, provider_findings, versions
from baton.terraform.planfile import how_made
from terraform_env import terraform_or_skip

CASE = Path(__file__).parent.parent / "cases" / "gate" / "version.json"
AWS, TIME = "registry.terraform.io/hashicorp/aws", "registry.terraform.io/hashicorp/time"
LOCK = """\
# This file is maintained automatically by "terraform init".

provider "registry.terraform.io/hashicorp/aws" {{
  version     = "{version}"
  constraints = ">= 5.40.0"
  hashes = [
    "h1:{hash}",
    "zh:0123",
  ]
}}
"""


def lock(version: str = "5.100.0", digest: str = "aaaa") -> str:
    return LOCK.format(version=version, hash=digest)


def found(recorded: dict[str, str], now: str | None, committed: str | None = None) -> list[tuple[str, str]]:
    made = Made(providers=locked(now), committed=locked(committed))
    return [(f.code, f.severity) for f in provider_findings(recorded, made)]


def test_a_lock_file_is_read() -> None:
    """A version that is not found could not be compared, and every upgrade would pass."""
    assert locked(lock()) == {AWS: Locked("5.100.0", frozenset({"h1:aaaa", "zh:0123"}))}
    assert locked(None) is None and locked("") == {} and versions(None) == {}


@pytest.mark.parametrize(
    ("recorded", "now", "committed", "expected"),
    [
        ({AWS: "5.100.0"}, lock(), lock(), []),
        ({AWS: "5.100.0"}, lock(), None, []),
        ({}, lock(), None, []),
        ({AWS: "5.100.0"}, None, None, []),
        ({AWS: "5.100.0"}, lock("6.2.0"), None, [("provider-changed", "refuse")]),
        ({AWS: "5.100.0"}, lock("6.2.0"), lock(), [("provider-changed", "refuse")]),
        ({}, lock("6.2.0"), lock(), [("provider-changed", "refuse")]),
        ({AWS: "6.2.0"}, lock("6.2.0"), lock(), [("provider-not-committed", "warning")]),
        ({AWS: "5.100.0"}, lock(digest="bbbb").replace("zh:0123", "zh:9"), lock(), [("provider-checksums", "refuse")]),
        ({AWS: "5.100.0"}, lock(digest="bbbb"), lock(), []),  # another platform's checksum was added
        ({AWS: "5.100.0", TIME: "0.9.1"}, lock(), None, [("provider-removed", "warning")]),
        ({TIME: "0.9.1"}, lock(), None, [("provider-added", "warning"), ("provider-removed", "warning")]),
    ],
)
def test_what_has_changed_is_named(
    recorded: dict[str, str], now: str | None, committed: str | None, expected: list[tuple[str, str]]
) -> None:
    """A new provider changes defaults and state for reasons that have nothing to do with the stage."""
    assert found(recorded, now, committed) == expected


def test_the_gate_refuses_a_provider_that_came_since_the_plan() -> None:
    """All changes look right, and yet another program made them."""
    plan = json.loads(CASE.read_text())
    expected = Expectation(StageKind.CONTROL_PLANE, "demo", providers={AWS: "5.100.0"})
    assert judge(plan, expected, Made(providers=locked(lock()))).allowed
    result = judge(plan, expected, Made(providers=locked(lock("6.2.0"))))
    assert not result.allowed
    assert "5.100.0 when the upgrade was planned, 6.2.0 in this plan" in "\n".join(result.reasons)


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.com"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], capture_output=True, check=True)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_command_compares_with_the_commit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`init -upgrade` on the way, or in the same pull request, must be seen without a plan file of Baton's."""
    (tmp_path / LOCK_FILE).write_text(lock())
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "start")
    words = ["gate", str(CASE), "--stage", "control-plane", "-C", str(tmp_path)]
    assert main(words) == 0
    (tmp_path / LOCK_FILE).write_text(lock("6.2.0"))
    assert main(words) == 1
    assert "provider hashicorp/aws: version 5.100.0 is committed, 6.2.0 is in this plan" in capsys.readouterr().out
    git(tmp_path, "commit", "--quiet", "-am", "upgrade")
    assert main(words) == 0
    assert main([*words, "--base", "HEAD~1"]) == 1


def test_a_plan_file_says_its_targets_and_providers(tmp_path: Path) -> None:
    """Without it a stage planned with other targets, or by another provider, would pass unseen."""
    tools = terraform_or_skip()
    (tmp_path / "main.tf").write_text(
        'terraform {\n  required_providers {\n    aws = { source = "hashicorp/aws" }\n  }\n}\n'
        'resource "terraform_data" "a" {}\nresource "terraform_data" "b" {\n  for_each = toset(["x"])\n}\n'
    )
    environment = {"TF_CLI_CONFIG_FILE": str(tools.cli_config(tmp_path))}
    terraform = Terraform(tmp_path, tools.binary, environment)
    terraform.init()
    targets = ("terraform_data.a", 'terraform_data.b["x"]')
    assert terraform.plan(tmp_path / "some.tfplan", targets)
    made = how_made(tmp_path / "some.tfplan")
    assert made.targets == targets
    assert made.providers is not None and set(made.providers) == {AWS}
    assert terraform.plan(tmp_path / "all.tfplan")
    assert how_made(tmp_path / "all.tfplan").targets == ()
    os.remove(tmp_path / LOCK_FILE)
    assert made_of(tmp_path, tmp_path / "all.tfplan").providers == made.providers


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x03\x04 no archive", b"\x00" * 40])
def test_other_files_say_nothing(tmp_path: Path, data: bytes) -> None:
    """An encrypted plan of OpenTofu is no archive: unknown is not "no targets"."""
    path = tmp_path / "plan"
    path.write_bytes(data)
    assert how_made(path) == Made()
    assert how_made(tmp_path / "absent") == Made()


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"\x2a\x7f", b"\x2b"])
def test_a_broken_plan_inside_an_archive_says_nothing(tmp_path: Path, body: bytes) -> None:
    """A file cut short must not be taken for a plan without targets."""
    with zipfile.ZipFile(tmp_path / "plan", "w") as archive:
        archive.writestr("tfplan", body)
    assert how_made(tmp_path / "plan").targets is None
