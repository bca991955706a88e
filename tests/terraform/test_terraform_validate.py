"""The real `terraform validate` over the corpus, before and after the edits (all cases: terraform_validate.py)."""

from __future__ import annotations

from pathlib import Path

from terraform_cases import cases
from terraform_validate import complaints, yard

from terraform_env import terraform_or_skip

CHOSEN = (
    "group-null-version",
    "json-syntax",
    "module-v21",
    "override-file",
    "resources-for-each-groups",
    "resources-lookup-version",
    "resources-plain",
    "switched-by-unknown",
    "vendored-module-v20",
    "version-not-written",
    "version-null-default",
    "wrapper-shared-condition",
)


def test_terraform_validates_before_and_after_each_stage(tmp_path: Path) -> None:
    """An edit would write an argument that is there already or that the module does not have: every plan would fail."""
    made, terraform = yard(tmp_path, [c for c in cases() if c.name in CHOSEN], terraform_or_skip())
    assert sorted(made.stages) == sorted(CHOSEN)
    assert made.edit(0) == len(CHOSEN)
    assert complaints(tmp_path, terraform) == frozenset()
    assert made.edit(1) + made.edit(2) > 5
    # The same run sees an input that the module does not have, so that it would see one that an edit invents.
    call = tmp_path / "cases" / "group-null-version" / "main.tf"
    call.write_text(call.read_text().replace("  cluster_name ", '  kubernetes_version = "1.35"\n  cluster_name ', 1))
    said = {(name, text.partition(":")[0]) for name, text in complaints(tmp_path, terraform)}
    assert said == {("group-null-version", "Unsupported argument")}
