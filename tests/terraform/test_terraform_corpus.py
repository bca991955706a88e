"""Terraform as it is really written: what is found, traced, edited and refused."""

from __future__ import annotations

import difflib
import shutil
import subprocess
from pathlib import Path

import pytest
from terraform_cases import Case, cases, outcome, plan_for

from baton.errors import BatonError, ReadError
from baton.terraform.edit import apply
from baton.terraform.hcl import parse
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


@pytest.mark.skipif(shutil.which("terraform") is None, reason="needs terraform on PATH")
def test_terraform_fmt_says_the_same_before_and_after(tmp_path: Path) -> None:
    """An edit would fail the formatting check of the user's pipeline, or leave text that Terraform cannot parse."""
    edited = 0
    for case in CASES:
        root = case.lay_out(tmp_path / case.name)
        before = _unformatted(root)
        try:
            inspection = inspect(root)
            plans = [weave(plan_for(c), inspection, cluster=c.address) for c in inspection.clusters[:1]]
        except BatonError:
            continue
        edits = [stage.edits for plan in plans for stage in plan.stages if stage.edits]
        for batch in edits:
            apply(root, batch)
        edited += bool(edits)
        assert _unformatted(root) == before, case.name
    assert edited >= 30


def _unformatted(root: Path) -> tuple[int, list[str]]:
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-recursive", str(root)], capture_output=True, text=True, check=False
    )
    return done.returncode, sorted(done.stdout.split())


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("a = [1,\n  b = }\n", "main.tf:2:7", "this } does not close the [ of line 1"),
        ("a {\n}\n}\nb {\n}\n", "main.tf:3:1", "this } closes nothing"),
        ('a {\n  x = "abc\n}\n', "main.tf:2:7", "this string is not closed on its line"),
        ('a {\n  x = "${var.a"\n  y = 1\n}\n', "main.tf:2:15", "this string is not closed on its line"),
        ("a {\n<<<<<<< HEAD\n  y = 2\n=======\n  y = 3\n>>>>>>> b\n}\n", "main.tf:2:1", "merge conflict"),
        ("a {\n  x = <<EOT\nabc\n}\n", "main.tf:2:7", "this heredoc is not closed"),
        ("a {\n  x = 1\n}\nb {\n  y = 1\n\nc {\n  z = 1\n}\n", "main.tf:4:1", "this block is not closed"),
        ('a {\n  s = "}]" # ]\n  /* ) */\n  ü = [ }\n}\n', "main.tf:4:10", "this } does not close the [ of line 4"),
    ],
)
def test_a_syntax_error_is_shown_where_it_is(text: str, where: str, words: str) -> None:
    """A parser that gives up says line 1; the user would search a file of thousands of lines for one bracket."""
    with pytest.raises(ReadError) as caught:
        parse("main.tf", text.encode())
    assert caught.value.where == where
    assert words in caught.value.message and "^" in caught.value.message
