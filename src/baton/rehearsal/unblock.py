"""Why an eviction was refused and what would let it through: pure, from the budget's own numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SEVERAL, NEVER, SINGLE, SYNC, UNHEALTHY, PENDING, ZONES, SLOW = (
    "several-budgets",
    "allows-none",
    "single-replica",
    "sync-failed",
    "unhealthy",
    "no-room",
    "volume-against-spread",
    "pacing",
)

_SPREAD = "didn't match pod topology spread constraints"
_VOLUME = ("didn't match PersistentVolume's node affinity", "had volume node affinity conflict")


@dataclass(frozen=True, slots=True)
class BudgetFacts:
    """A budget as it stood when it refused: `expected` pods, `desired` of them healthy, `healthy` of them there."""

    name: str
    spec: Any
    expected: int
    desired: int
    healthy: int
    denied: str = ""


@dataclass(frozen=True, slots=True)
class Cause:
    """`code` is one of the names above; `advice` is one sentence in the imperative."""

    code: str
    advice: str


def rule(spec: Any) -> str:
    """`maxUnavailable 1`, as written in the budget."""
    for key in ("maxUnavailable", "minAvailable"):
        if spec.get(key) is not None:
            return f"{key} {spec[key]}"
    return "no rule"


def cause_of(budgets: Sequence[BudgetFacts], *, pending: str = "", cleared: bool = True) -> Cause:
    """`pending`: why a replacement pod of the same workload found no node, "" when none waits."""
    if len(budgets) > 1:
        names = " and ".join(b.name for b in budgets)
        return Cause(SEVERAL, f"leave one of the budgets {names}: the eviction API refuses pods that several select")
    if not budgets:
        return Cause(SLOW, "look at the pod: no budget covers it any more")
    budget = budgets[0]
    if budget.expected and budget.desired >= budget.expected:
        return _never(budget)
    if budget.denied == "SyncFailed":
        return Cause(SYNC, f"mend budget {budget.name}: its pods' controller cannot be found, so it allows nothing")
    if pending and _SPREAD in pending and any(words in pending for words in _VOLUME):
        return Cause(
            ZONES,
            "its replacement's volume lies in a zone that topologySpreadConstraints with DoNotSchedule forbid while "
            f"other replicas are away: let {budget.name} give up one pod at a time, set podManagementPolicy: Parallel, "
            f"or spread with ScheduleAnyway ({pending})",
        )
    if pending:
        return Cause(PENDING, f"make room for the replacements: {pending}")
    if not cleared and budget.healthy < budget.desired:
        missing = budget.desired - budget.healthy
        return Cause(
            UNHEALTHY,
            f"bring up {missing} pod{'s' if missing > 1 else ''} that {budget.name} counts as not ready, or set "
            "unhealthyPodEvictionPolicy: AlwaysAllow",
        )
    allowed = max(1, budget.expected - budget.desired)
    return Cause(
        SLOW,
        f"let {budget.name} give up more than {allowed} of {budget.expected} pods at once (now {rule(budget.spec)}), "
        "start its pods faster, or drain fewer nodes at once",
    )


def _never(budget: BudgetFacts) -> Cause:
    if budget.expected == 1:
        return Cause(
            SINGLE,
            f"run a second replica, or let {budget.name} ({rule(budget.spec)}) give up its only one: set "
            "maxUnavailable: 1",
        )
    return Cause(
        NEVER,
        f"let {budget.name} ({rule(budget.spec)}) give up one pod: set maxUnavailable: 1"
        + (f", or run {budget.desired + 1} replicas" if isinstance(budget.spec.get("minAvailable"), int) else ""),
    )
