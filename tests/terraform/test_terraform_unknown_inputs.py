"""Keys of a node group's map that the module drops: found in configurations, told by `baton inspect`."""

from __future__ import annotations

from pathlib import Path

import pytest

from baton.cli.main import main
from baton.terraform.inspect import inspect

MAIN = """\
module "eks" {{
  source          = "{source}"
  version         = "{version}"
  cluster_name    = "demo"
  cluster_version = "1.34"
  {defaults}
  eks_managed_node_groups = {{
    main = {{
      node_group_name = "workers"
      ami             = "ami-0aaaaaaaaaaaaaaaa"
      updateConfig    = {{ max_unavailable = 1 }}
      update_config   = {{ maxUnavailable = 1 }}
      min_size        = 1
    }}
  }}
}}
"""
OURS = "terraform-aws-modules/eks/aws"


def root(folder: Path, source: str = OURS, version: str = "20.8.4", defaults: str = "") -> Path:
    (folder / "main.tf").write_text(MAIN.format(source=source, version=version, defaults=defaults))
    return folder


def test_each_is_told_with_what_was_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever writes updateConfig believes that nodes go one by one, and a third of them goes at once."""
    assert main(["inspect", str(root(tmp_path))]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for key, meant in (
        ("node_group_name", "name"),
        ("ami", "ami_id"),
        ("updateConfig", "update_config"),
        ("update_config.maxUnavailable", "max_unavailable"),
    ):
        assert f"{key} is no input of the module and is silently ignored; the input is {meant}" in out
    assert "min_size is no input" not in out


def test_defaults_are_read_too(tmp_path: Path) -> None:
    """A key in the defaults does nothing for every group at once."""
    defaults = "eks_managed_node_group_defaults = { instance_type = [] }"
    notes = inspect(root(tmp_path, defaults=defaults)).clusters[0].notes
    assert any("instance_type is no input" in n and "instance_types" in n for n in notes)


def test_other_modules_have_inputs_of_their_own(tmp_path: Path) -> None:
    """A wrapper may well take node_group_name: nothing can be said of a module that is not the known one."""
    found = inspect(root(tmp_path, source="git::https://example.com/our-eks.git", version=""))
    assert all("silently" not in n for c in found.clusters for g in c.node_groups for n in g.notes)
