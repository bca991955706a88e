"""Finds the real Terraform and the real AWS provider on this machine, and runs them offline.

The provider comes from a filesystem mirror: TF_PLUGIN_MIRROR or AWS_PROVIDER_MIRROR names one, else the usual places
and then the top of the file system are searched for `registry.terraform.io/hashicorp/aws`.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ADDRESS = Path("registry.terraform.io", "hashicorp", "aws")
DEPTH = 4  # folders below / that are searched
SKIPPED = frozenset(("proc", "sys", "dev", "run", "boot", "lost+found", "node_modules", ".git", ".terraform", "tmp"))


@dataclass(frozen=True)
class TerraformTools:
    """`binary` is the CLI, `mirror` a filesystem mirror that holds hashicorp/aws."""

    binary: str
    mirror: Path

    def cli_config(self, folder: Path) -> Path:
        """A CLI configuration file in `folder` that installs providers from the mirror and asks nobody else."""
        path = folder / "terraform.rc"
        path.write_text(
            "disable_checkpoint = true\n"
            "provider_installation {\n"
            "  filesystem_mirror {\n"
            f"    path    = {json.dumps(str(self.mirror))}\n"
            '    include = ["registry.terraform.io/*/*"]\n'
            "  }\n"
            "}\n"
        )
        return path


@functools.cache
def terraform_tools() -> TerraformTools | None:
    """What was found, None when the CLI or the provider is missing."""
    binary = shutil.which("terraform")
    mirror = find_mirror()
    return TerraformTools(binary, mirror) if binary and mirror else None


def terraform_or_skip() -> TerraformTools:
    """The tools, or a skipped test; with BATON_CI=1 their absence is a failure, so that CI cannot pass without them."""
    found = terraform_tools()
    if found is None:
        reason = "needs terraform on PATH and a provider mirror with hashicorp/aws (TF_PLUGIN_MIRROR)"
        if os.environ.get("BATON_CI") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def find_mirror() -> Path | None:
    """A folder that holds `registry.terraform.io/hashicorp/aws`."""
    named = [os.environ[n] for n in ("TF_PLUGIN_MIRROR", "AWS_PROVIDER_MIRROR") if os.environ.get(n)]
    home = Path.home()
    usual = [
        home / ".terraform.d" / "plugins",
        home / ".local/share/terraform/plugins",
        Path("/usr/local/share/terraform/plugins"),
        Path("/usr/share/terraform/plugins"),
    ]
    for place in [*map(Path, named), *usual]:
        if (place / ADDRESS).is_dir():
            return place
    return _search(Path("/"), DEPTH)


def _search(folder: Path, depth: int) -> Path | None:
    try:
        inside = sorted(e.path for e in os.scandir(folder) if e.is_dir(follow_symlinks=False) and e.name not in SKIPPED)
    except OSError:
        return None
    if (folder / ADDRESS).is_dir():
        return folder
    if depth:
        for path in inside:
            found = _search(Path(path), depth - 1)
            if found is not None:
                return found
    return None


class Terraform:
    """Terraform in one root. `environment` points the provider at the emulator and nowhere else."""

    def __init__(self, tools: TerraformTools, root: Path, environment: dict[str, str]) -> None:
        self.root = root
        self.binary = tools.binary
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "TF_"))}
        self.environment = {
            **kept,
            **environment,
            "TF_CLI_CONFIG_FILE": str(tools.cli_config(root)),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
        }

    def run(
        self, *arguments: str, ok: tuple[int, ...] = (0,), timeout: float = 300.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; an exit code outside `ok` fails the test with what Terraform printed."""
        done = subprocess.run(
            [self.binary, *arguments, "-no-color"] if arguments[0] != "version" else [self.binary, "version"],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode not in ok:
            pytest.fail(f"terraform {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def init(self) -> None:
        self.run("init", "-input=false")

    def apply(self, **variables: str) -> str:
        """Apply with variables; what it printed."""
        return self.run("apply", "-auto-approve", "-input=false", *_flags(variables)).stdout

    def plan(self, **variables: str) -> dict[str, tuple[str, ...]]:
        """Address -> actions of everything that a plan would change; {} is "No changes"."""
        self.run("plan", "-input=false", "-detailed-exitcode", "-out=test.tfplan", *_flags(variables), ok=(0, 2))
        shown: dict[str, Any] = json.loads(self.run("show", "-json", "test.tfplan").stdout)
        return {
            change["address"]: tuple(change["change"]["actions"])
            for change in shown.get("resource_changes", ())
            if change["change"]["actions"] not in (["no-op"], ["read"])
        }

    def destroy(self, **variables: str) -> str:
        return self.run("destroy", "-auto-approve", "-input=false", *_flags(variables)).stdout

    def output(self, name: str) -> Any:
        return json.loads(self.run("output", "-json", name).stdout)


def _flags(variables: dict[str, str]) -> list[str]:
    return [f"-var={name}={value}" for name, value in variables.items()]
