"""Pods counted per node and per domain, compiled; where they are few, from the list of nodes that have any."""

from __future__ import annotations

from typing import Any

from baton.logic.scheduling.accelerate import jit
from baton.logic.scheduling.native import MANY, UNKNOWN

_BLOCK = 64
_FEW = 4


@jit
def counts(table: Any, slot: int, keys: Any, affinity: int, taints: int) -> bool:
    """Whether a node counts for a constraint: every key present, and the inclusion policies content."""
    if affinity >= 0 and table[affinity, slot] <= 0:
        return False
    if taints >= 0 and table[taints, slot] <= 0:
        return False
    for key in keys:  # noqa: SIM110
        if table[key, slot] < 0:
            return False
    return True


@jit
def holders_of(table: Any, few: Any, row: int) -> int:
    """How many slots have pods of the row, listed in `few` after that figure; -1 where they are not listed."""
    if few.shape[0] == 0:
        return -1
    if few[row, 0] == UNKNOWN:
        few[row, 0] = _list_holders(table[row], few[row])
    return int(few[row, 0]) - 1 if few[row, 0] > 0 else -1


@jit
def _none_in(pods: Any, block: int) -> bool:
    """Whether a whole block of nodes holds none, as most do: it is passed over in one step."""
    if block + _BLOCK > pods.shape[0]:
        return False
    some = pods[block]
    for i in range(1, _BLOCK):
        some |= pods[block + i]
    return bool(some == 0)


@jit
def _list_holders(pods: Any, listed: Any) -> int:
    """One more than the slots that have pods, into `listed`; MANY where they are too many for it."""
    count = 0
    total = pods.shape[0]
    for block in range(0, total, _BLOCK):
        if _none_in(pods, block):
            continue
        for slot in range(block, min(block + _BLOCK, total)):
            if pods[slot] != 0:
                count += 1
                if count == listed.shape[0]:
                    return MANY
                listed[count] = slot
    return count + 1


@jit
def _sum_few(pods: Any, domains: Any, wanted: Any, tolerated: Any, sums: Any) -> None:
    """Pods per domain of up to four, without a jump: which nodes hold pods cannot be foreseen."""
    in_0 = in_1 = in_2 = in_3 = 0
    for slot in range(pods.shape[0]):
        d = domains[slot]
        here = pods[slot] * ((wanted[slot] > 0) & (tolerated[slot] > 0))
        in_0 += here * (d == 0)
        in_1 += here * (d == 1)
        in_2 += here * (d == 2)
        in_3 += here * (d == 3)
    found = (in_0, in_1, in_2, in_3)
    for d in range(min(_FEW, sums.shape[0])):
        sums[d] = found[d]


@jit
def sum_domains(table: Any, few: Any, width: int, counter: int, domain: int, keys: Any, affinity: int, taints: int, sums: Any) -> None:  # fmt: skip  # noqa: E501
    """Pods per domain, over the nodes that count."""
    pods, domains = table[counter], table[domain]
    listed = holders_of(table, few, counter)
    if listed >= 0:
        for d in range(width):
            sums[d] = 0
        for i in range(1, listed + 1):
            slot = few[counter, i]
            d = domains[slot]
            if d >= 0 and counts(table, slot, keys, affinity, taints):
                sums[d] += pods[slot]
        return
    if keys.shape[0] == 0 and width <= _FEW:
        wanted = table[affinity] if affinity >= 0 else pods
        tolerated = table[taints] if taints >= 0 else pods
        _sum_few(pods, domains, wanted, tolerated, sums[:width])
        return
    for d in range(width):
        sums[d] = 0
    total = pods.shape[0]
    for block in range(0, total, _BLOCK):
        if _none_in(pods, block):
            continue
        for slot in range(block, min(block + _BLOCK, total)):
            if pods[slot] != 0:
                d = domains[slot]
                if d >= 0 and counts(table, slot, keys, affinity, taints):
                    sums[d] += pods[slot]
