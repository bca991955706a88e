"""Every check against its cases: facts in, findings out."""

from __future__ import annotations

from typing import Any

import pytest
from checks_world import load_cases, snapshot, target, terraform

from baton.checks.context import Context
from baton.checks.registry import all_checks, find_check
from baton.checks.run import applies, run_checks, run_one
from baton.knowledge.tables import Knowledge
from baton.model.findings import Finding, Verdict

KNOWLEDGE = Knowledge.load()
CASES = load_cases()


def findings(case: dict[str, Any], code: str) -> list[Finding]:
    """The findings of one check in a case; none when the check does not apply."""
    context = Context(
        snapshot(case.get("given", {})), target(case.get("target", {})), KNOWLEDGE, terraform(case.get("terraform"))
    )
    entry = find_check(code)
    return run_one(entry, context) if applies(entry, context) else []


@pytest.mark.parametrize(("name", "case"), CASES, ids=[name for name, _ in CASES])
def test_case(name: str, case: dict[str, Any]) -> None:
    """A check would stay silent about what its case describes, or cry wolf."""
    found = findings(case, name.partition("/")[0])
    expected = case["expect"]
    shown = "\n".join(f"{f.verdict.value} {f.severity.value} {f.subject}: {f.message}" for f in found)
    assert len(found) == len(expected), shown
    for wanted, got in zip(expected, sorted(found, key=lambda f: (f.verdict != Verdict.FAIL, f.subject)), strict=True):
        assert got.verdict.value == wanted["verdict"], shown
        assert got.subject == wanted.get("subject", got.subject), shown
        assert wanted.get("says", "") in got.message, shown
        assert got.severity.value == wanted.get("severity", find_check(got.code).severity.value), shown


def _verdicts(code: str) -> set[str]:
    return {e["verdict"] for name, case in CASES if name.startswith(f"{code}/") for e in case["expect"]}


@pytest.mark.parametrize("code", [c.code for c in all_checks()])
def test_every_check_has_cases_that_pass_and_fail(code: str) -> None:
    """A check that can never fail, or never pass, would go unnoticed."""
    assert {"pass", "fail"} <= _verdicts(code), f"{code} needs a passing and a failing case"


def test_a_healthy_cluster_has_nothing_against_it() -> None:
    """The first run on a healthy cluster would end in false alarms."""
    found = run_checks(snapshot({}), target({}), KNOWLEDGE)
    assert [f"{f.code} {f.subject}: {f.message}" for f in found if f.verdict is not Verdict.PASS] == []
    assert len(found) >= len([c for c in all_checks() if "terraform" not in c.needs]) - 3
