"""The registry, waivers, the order of findings, explanations."""

from __future__ import annotations

import re

import pytest
from checks_world import snapshot, target

from baton.checks.registry import all_checks, explain, find_check, resources
from baton.checks.run import Waiver, run_checks, unused
from baton.errors import UsageError
from baton.knowledge.tables import Knowledge
from baton.model.findings import Finding, Severity, Verdict

KNOWLEDGE = Knowledge.load()
BLOCKED = {
    "objects": {
        "pods": [{"name": "shop/a", "owner": "ReplicaSet/a", "labels": {"app": "a"}}],
        "poddisruptionbudgets.policy": [{"name": "shop/a", "labels": {"app": "a"}, "spec": {"maxUnavailable": 0}}],
    }
}


def run(given: dict[str, object], *waivers: str) -> tuple[Finding, ...]:
    return run_checks(snapshot(given), target({}), KNOWLEDGE, waivers=[Waiver.parse(w) for w in waivers])


def of(found: tuple[Finding, ...], code: str) -> Finding:
    return next(f for f in found if f.code == code)


def test_every_check_explains_itself() -> None:
    """`baton explain CODE` would print nothing for a check that someone added in a hurry."""
    for entry in all_checks():
        assert re.fullmatch(r"BTN\d{3}", entry.code)
        assert len(entry.explanation) > 40, entry.code
        assert entry.explanation in explain(entry.code)
        assert not entry.title.endswith("."), entry.code


def test_another_tools_code_finds_ours() -> None:
    """Who knows eksup's codes would have to read the whole list."""
    assert find_check("eks008").code == "BTN306"
    assert "known elsewhere as: eksup EKS008" in explain("EKS008")


def test_an_unknown_code_is_refused() -> None:
    """A mistyped code would be taken, and waive nothing."""
    with pytest.raises(UsageError, match="there is no check BTN999"):
        Waiver.parse("BTN999")


def test_a_blocking_finding_blocks_until_it_is_waived() -> None:
    """A waiver would not reach its finding, or reach more than it names."""
    assert of(run(BLOCKED), "BTN501").blocks
    waived = run(BLOCKED, "BTN501:pdb shop/a")
    assert of(waived, "BTN501").verdict is Verdict.WAIVED
    assert of(waived, "BTN501").data["waivedFrom"] == "fail"
    assert not of(waived, "BTN501").blocks
    assert of(run(BLOCKED, "btn501"), "BTN501").verdict is Verdict.WAIVED
    assert of(run(BLOCKED, "BTN501:pdb shop/b"), "BTN501").blocks
    assert of(run(BLOCKED, "BTN503"), "BTN501").blocks


def test_a_waiver_does_not_touch_what_passes() -> None:
    """A waiver left in a pipeline would hide that the check passes now."""
    assert of(run({}, "BTN110"), "BTN110").verdict is Verdict.PASS


def test_unused_waivers_are_told() -> None:
    """Waivers would pile up that nobody needs."""
    waivers = [Waiver.parse("BTN501"), Waiver.parse("BTN110")]
    found = run_checks(snapshot(BLOCKED), target({}), KNOWLEDGE, waivers=waivers)
    assert unused(waivers, found) == (waivers[1],)


@pytest.mark.parametrize(
    "given", [{"absent": ["pods"]}, {"unknowns": [{"what": "objects.pods", "reason": "Forbidden"}]}]
)
def test_what_could_not_be_read_blocks_like_a_failure(given: dict[str, object]) -> None:
    """A missing permission would let a blocked roll pass for a clear one."""
    found = of(run(given), "BTN501")
    assert found.verdict is Verdict.UNKNOWN
    assert found.blocks
    assert "objects.pods" in found.message
    assert of(run(given, "BTN501"), "BTN501").verdict is Verdict.WAIVED


def test_the_worst_come_first() -> None:
    """The finding that blocks would be buried under advice."""
    found = run({**BLOCKED, "cluster": {"status": "UPDATING", "version": "1.33"}})
    order = [Severity.BLOCK, Severity.HIGH, Severity.MEDIUM, Severity.LOW, Severity.INFO]
    open_ = [f for f in found if f.verdict in (Verdict.FAIL, Verdict.UNKNOWN)]
    assert list(found[: len(open_)]) == open_
    assert [order.index(f.severity) for f in open_] == sorted(order.index(f.severity) for f in open_)
    assert found[0].severity is Severity.BLOCK


def test_the_resources_to_read_are_plural_names() -> None:
    """A snapshot would be taken without what the checks need, and every check say unknown."""
    assert {"nodes", "pods", "poddisruptionbudgets.policy", "deployments.apps"} <= set(resources())
    assert all(re.fullmatch(r"[a-z][a-z0-9]+(\.[a-z0-9.]+)?", r) for r in resources())
