"""What is counted of bulk pods, and of whom it is a part."""

from __future__ import annotations

from collections.abc import (
    Sequence,
)
from typing import (
    Any,
    NamedTuple,
    Protocol,
)

from baton.twin.controllers.base import (
    Group,
    Key,
    Pod,
)


class GroupTotals(NamedTuple):
    """What was counted of one ReplicaSet. `lowest` ready pods, None when they were never counted; `first` its place
    among those that missed a replica, -1 when it never did."""

    group: Group
    evicted: int
    lowest: int | None
    wanted: int
    first: int
    missing: int
    since: float


class Totals(NamedTuple):
    """What was counted of bulk pods. `longest` in seconds."""

    placements: int
    evictions: int
    repeated: int
    forced: int
    waited: int
    longest: float
    groups: list[GroupTotals]


class Counts(Protocol):
    """What the tally counts of other pods, which bulk pods add to."""

    away: int
    max_away: int
    depth: float
    max_pending: int
    tracks: Any

    @property
    def pending(self) -> int: ...

    @property
    def fresh(self) -> set[Key]: ...

    @property
    def missed(self) -> int: ...

    def track(self, name: str, at: float, value: int) -> None: ...

    def left(self, pod: Pod) -> None: ...

    def take_owners(self, bulk: Any, groups: Sequence[Group]) -> list[tuple[Group, Any]]: ...
