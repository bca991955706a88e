"""What budgets do with bulk pods that come, change and go, compiled."""

from __future__ import annotations

from typing import Any

from baton.logic.scheduling.accelerate import jit
from baton.twin.bulk.layout import (
    B_ALLOWED,
    B_COUNTED,
    B_DESIRED,
    B_DIRTY,
    B_EXPECTED,
    B_FROM_SCALE,
    B_HEALTHY,
    B_KIND,
    B_NAMESPACE,
    B_PODS,
    B_SCALE,
    B_STALE,
    B_VALUE,
    B_WAITED,
    BUDGET_NEWS,
    CLAIMED,
    COUNTED,
    E_BUDGET,
    E_PODS,
    E_SCALE,
    F_NOW,
    G_BUDGET_AT,
    G_BUDGETS,
    MAX_NUMBER,
    MAX_SHARE,
    MIN_NUMBER,
    MIN_SHARE,
    P_FLAGS,
    READY,
    TERMINATING,
)
from baton.twin.bulk.queues import (
    enqueue_budget,
    note,
)
from baton.twin.bulk.views import (
    budget_times_of,
    budgets_of,
    entries_of,
    group_budgets_of,
    groups_of,
    namespaces_of,
    pods_of,
    seconds_of,
)


@jit
def budgets_join(a: Any, group: int) -> None:
    """Budget.join for a pod that is not ready yet."""
    at = groups_of(a)[group, G_BUDGET_AT]
    for i in range(at, at + groups_of(a)[group, G_BUDGETS]):
        entry = group_budgets_of(a)[i]
        budget = entries_of(a)[entry, E_BUDGET]
        budgets_of(a)[budget, B_PODS] += 1
        news = budgets_of(a)[budget, B_FROM_SCALE] == 0
        if entries_of(a)[entry, E_PODS] == 0:
            budgets_of(a)[budget, B_SCALE] += entries_of(a)[entry, E_SCALE]
            news = True
        entries_of(a)[entry, E_PODS] += 1
        if news:
            enqueue_budget(a, budget)


@jit
def budgets_leave(a: Any, pod: int, group: int) -> None:
    """Budget.leave."""
    flags = pods_of(a)[pod, P_FLAGS]
    at = groups_of(a)[group, G_BUDGET_AT]
    for i in range(at, at + groups_of(a)[group, G_BUDGETS]):
        entry = group_budgets_of(a)[i]
        budget = entries_of(a)[entry, E_BUDGET]
        budgets_of(a)[budget, B_PODS] -= 1
        news = budgets_of(a)[budget, B_FROM_SCALE] == 0 or (flags & (COUNTED | CLAIMED)) != 0
        if flags & COUNTED:
            budgets_of(a)[budget, B_COUNTED] -= 1
        entries_of(a)[entry, E_PODS] -= 1
        if entries_of(a)[entry, E_PODS] == 0:
            budgets_of(a)[budget, B_SCALE] -= entries_of(a)[entry, E_SCALE]
            news = True
        if news:
            enqueue_budget(a, budget)
    pods_of(a)[pod, P_FLAGS] = flags & ~(COUNTED | CLAIMED)


@jit
def budgets_recount(a: Any, pod: int, group: int) -> None:
    """Budget.recount. Only a pod with one budget is ever claimed."""
    count = groups_of(a)[group, G_BUDGETS]
    if count == 0:
        return
    flags = pods_of(a)[pod, P_FLAGS]
    popped = (flags & TERMINATING) != 0 and (flags & CLAIMED) != 0
    if popped:
        flags &= ~CLAIMED
    healthy = (flags & READY) != 0 and (flags & (TERMINATING | CLAIMED)) == 0
    counted = (flags & COUNTED) != 0
    at = groups_of(a)[group, G_BUDGET_AT]
    for i in range(at, at + count):
        budget = entries_of(a)[group_budgets_of(a)[i], E_BUDGET]
        if healthy != counted:
            budgets_of(a)[budget, B_COUNTED] += 1 if healthy else -1
        if popped or healthy != counted:
            enqueue_budget(a, budget)
    pods_of(a)[pod, P_FLAGS] = flags | COUNTED if healthy else flags & ~COUNTED


@jit
def share_of(value: int, total: int) -> int:
    """A percentage of `total`, rounded up (eviction.scaled_up)."""
    return -(-value * total // 100)


@jit
def count_budget(a: Any, budget: int) -> None:
    """DisruptionController.sync for a budget whose scale is known."""
    b = budgets_of(a)[budget]
    kind, value, scale = b[B_KIND], b[B_VALUE], b[B_SCALE]
    expected = desired = 0
    if kind == MAX_NUMBER:
        expected, desired = scale, max(0, scale - value)
    elif kind == MAX_SHARE:
        expected, desired = scale, max(0, scale - share_of(value, scale))
    elif kind == MIN_NUMBER:
        expected, desired = b[B_PODS], value
    elif kind == MIN_SHARE:
        expected, desired = scale, share_of(value, scale)
    healthy = b[B_COUNTED]
    allowed = max(0, healthy - desired) if expected > 0 else 0
    more = allowed > b[B_ALLOWED] or healthy > b[B_HEALTHY] or desired < b[B_DESIRED] or b[B_STALE] != 0
    b[B_EXPECTED], b[B_DESIRED], b[B_HEALTHY], b[B_ALLOWED], b[B_STALE], b[B_DIRTY] = (
        expected, desired, healthy, allowed, 0, 1,
    )  # fmt: skip
    if more:
        budget_times_of(a)[budget] = seconds_of(a)[F_NOW]
        if b[B_WAITED] != 0 or namespaces_of(a)[b[B_NAMESPACE]] != 0:
            note(a, BUDGET_NEWS, budget, 0)
