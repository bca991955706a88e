"""Terraform as it is really written: what is found, traced, edited and refused."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
from terraform_cases import Case, cases, outcome, plan_for

from baton.errors import BatonError
from baton.terraform.edit import apply
from baton.terraform.inspect import inspect
from baton.terraform.stages import inverse, weave

CASES = cases()


def test_the_corpus_is_there() -> None:
    """A corpus that cannot be found would let every test below pass."""
    assert len(CASES) >= 60


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_found_traced_edited_or_refused(case: Case, tmp_path: Path) -> None:
    """A value traced to the wrong literal is an edit in the wrong place; a guess is a wrong upgrade."""
    found = outcome(case.lay_out(tmp_path))
    assert found == case.expect, "\n" + "".join(
        difflib.unified_diff(case.expect.splitlines(True), found.splitlines(True), "expected", "found")
    )


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_an_edit_touches_its_bytes_and_can_be_taken_back(case: Case, tmp_path: Path) -> None:
    """Reformatting, lost comments or a file that cannot be restored would make every diff a review of everything."""
    root = case.lay_out(tmp_path)
    try:
        inspection = inspect(root)
        plans = [weave(plan_for(c), inspection, cluster=c.address) for c in inspection.clusters[:1]]
    except BatonError:
        assert {n: (root / n).read_bytes() for n in case.files} == case.files
        return
    for plan in plans:
        for stage in plan.stages:
            before = {n: (root / n).read_bytes() for n in case.files}
            apply(root, stage.edits)
            after = {n: (root / n).read_bytes() for n in case.files}
            changed = {e.file for e in stage.edits}
            for name, text in before.items():
                if name not in changed:
                    assert after[name] == text
                else:
                    grown = sum(len(e.new.encode()) - (e.end - e.start) for e in stage.edits if e.file == name)
                    assert len(after[name]) == len(text) + grown
                    assert after[name].count(b"\r") == text.count(b"\r")
            back = apply(root, inverse(stage.edits))
            assert {n: (root / n).read_bytes() for n in case.files} == before
            back()
            assert {n: (root / n).read_bytes() for n in case.files} == after
