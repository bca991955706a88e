"""What a bulk pod holds on its node, counted in the scheduler's figures, compiled."""

from __future__ import annotations

from typing import Any

from baton.logic.scheduling.accelerate import jit
from baton.logic.scheduling.native import MANY
from baton.twin.bulk.layout import (
    C_ALL,
    C_LIVE,
    C_ROWS,
    P_CLASS,
    P_FLAGS,
    P_SEAT,
    TERMINATING,
)
from baton.twin.bulk.seats import (
    attach,
)
from baton.twin.bulk.views import (
    classes_of,
    few_of,
    pods_of,
    requests_of,
    rows_of,
    table_of,
    used_of,
)


@jit
def count_at(a: Any, row: int, slot: int, by: int) -> None:
    """Count one pod more or less in a row of the table, and whether the slot is one of those that have any."""
    table, few = table_of(a), few_of(a)
    table[row, slot] += by
    if few.shape[0] == 0 or few[row, 0] <= 0:
        return
    listed = few[row, 0] - 1
    if by > 0 and table[row, slot] == 1:
        if listed + 1 == few.shape[1]:
            few[row, 0] = MANY
            return
        few[row, listed + 1] = slot
        few[row, 0] += 1
    elif by < 0 and table[row, slot] == 0:
        for i in range(1, listed + 1):
            if few[row, i] == slot:
                few[row, i] = few[row, listed]
                few[row, 0] -= 1
                return


@jit
def account(a: Any, pod: int, slot: int, by: int) -> None:
    """ClusterState._put_on and _take_off, Index.pod_added and pod_removed."""
    cls = pods_of(a)[pod, P_CLASS]
    for i in range(6):
        used_of(a)[slot, i] += by * requests_of(a)[cls, i]
    at, live = classes_of(a)[cls, C_ROWS], classes_of(a)[cls, C_LIVE]
    for i in range(at + live, at + live + classes_of(a)[cls, C_ALL]):
        count_at(a, rows_of(a)[i], slot, by)
    if pods_of(a)[pod, P_FLAGS] & TERMINATING == 0:
        for i in range(at, at + live):
            count_at(a, rows_of(a)[i], slot, by)
    seat = pods_of(a)[pod, P_SEAT]
    if seat >= 0:
        attach(a, seat, slot, by)
