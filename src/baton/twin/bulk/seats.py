"""Volumes of StatefulSets' pods, compiled: which nodes can have them, and how many are attached."""

from __future__ import annotations

from typing import Any

from baton.logic.scheduling.accelerate import jit
from baton.twin.bulk.layout import (
    A_COUNT,
    A_LIMIT,
    A_MANY,
    SEAT_AT,
    SEAT_DRIVERS,
    SEAT_REACH,
)
from baton.twin.bulk.views import (
    allocatable_of,
    attached_of,
    extra_of,
    seats_of,
    table_of,
)


@jit
def attach(a: Any, seat: int, slot: int, by: int) -> None:
    """Attachments.attach and detach, for volumes that no other pod mounts."""
    at, attached = seats_of(a)[seat, SEAT_AT], attached_of(a)
    for i in range(at, at + seats_of(a)[seat, SEAT_DRIVERS]):
        table_of(a)[attached[i, A_COUNT], slot] += by * attached[i, A_MANY]


@jit
def mark_reachable(a: Any, seat: int) -> bool:
    """FastPath._special for claims that are bound: `extra` says which slots can have the volumes. False without any."""
    reach = seats_of(a)[seat, SEAT_REACH]
    if reach < 0:
        return False
    extra, row = extra_of(a), table_of(a)[reach]
    slots = allocatable_of(a).shape[0]
    for slot in range(slots):
        extra[slot] = row[slot] > 0
    at, attached = seats_of(a)[seat, SEAT_AT], attached_of(a)
    for i in range(at, at + seats_of(a)[seat, SEAT_DRIVERS]):
        there, most, many = table_of(a)[attached[i, A_COUNT]], table_of(a)[attached[i, A_LIMIT]], attached[i, A_MANY]
        for slot in range(slots):
            extra[slot] &= there[slot] + many <= most[slot]
    return True
