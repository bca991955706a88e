"""Room that is kept for nominated pods, those that preemption made it for: where it keeps others from a node.

A node must do for a pod as it is, and as it will be once the pods of no lower priority that are nominated to it have
come (RunFilterPluginsWithNominatedPods); Cycle.judge says both for one node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from baton.logic.scheduling import volumes
from baton.logic.scheduling.cycle import Cycle, rivals_of
from baton.logic.scheduling.filters import Figures, Status, View
from baton.logic.scheduling.infos import PodInfo
from baton.logic.scheduling.state import CPU, EPHEMERAL, MEMORY, PODS, ClusterState


class KeptRoom:
    """The slots that nominated pods close to another."""

    def __init__(self, state: ClusterState, figures: Figures) -> None:
        self.state = state
        self.figures = figures

    def closed(self, info: PodInfo) -> list[int]:
        """The slots that the pod is kept from by pods nominated there."""
        asks_for_room = _asks_for_room_only(info)
        kept = []
        cycle: Cycle | None = None
        for slot, rivals in self._contested(info):
            if asks_for_room and all(map(_takes_room_only, rivals)):
                if not self._room_beside(info, slot, rivals):
                    kept.append(slot)
                continue
            cycle = cycle or Cycle(self.state, info, self.figures)
            if cycle.turned_down is None and cycle.judge_with_rivals(View(self.state, self.state.node(slot))):
                kept.append(slot)
        return kept

    def _contested(self, info: PodInfo) -> Iterator[tuple[int, list[PodInfo]]]:
        """The slots where room is kept from the pod, and for whom."""
        for name in self.state.nominees:
            slot, rivals = self.state.nodes.get(name), rivals_of(self.state, info, name)
            if slot is not None and rivals:
                yield slot, rivals

    def _room_beside(self, info: PodInfo, slot: int, rivals: Sequence[PodInfo]) -> bool:
        """NodeResourcesFit once they have come."""
        used, have, asked = self.state.used[slot].tolist(), self.state.allocatable[slot].tolist(), info.cls.fit
        for rival in rivals:
            takes = rival.request.resources
            used[CPU] += takes.cpu
            used[MEMORY] += takes.memory
            used[EPHEMERAL] += takes.ephemeral
        return (
            used[PODS] + len(rivals) < have[PODS]
            and (asked.cpu <= 0 or asked.cpu <= have[CPU] - used[CPU])
            and (asked.memory <= 0 or asked.memory <= have[MEMORY] - used[MEMORY])
            and (asked.ephemeral <= 0 or asked.ephemeral <= have[EPHEMERAL] - used[EPHEMERAL])
        )

    def why(self, info: PodInfo) -> dict[int, Status]:
        """What first objects to the pod in each of these slots, and where else room is kept."""
        found = {}
        cycle: Cycle | None = None
        for slot, _ in self._contested(info):
            cycle = cycle or Cycle(self.state, info, self.figures)
            status = None if cycle.turned_down else cycle.judge_with_rivals(View(self.state, self.state.node(slot)))
            if status is not None:
                found[slot] = status
        return found


def _asks_for_room_only(info: PodInfo) -> bool:
    """Whether of what comes to a node nothing but its cpu, memory, ephemeral storage and number matter to the pod."""
    return _takes_room_only(info) and not info.cls.hard_spread and not info.cls.fit.scalars


def _takes_room_only(info: PodInfo) -> bool:
    """Whether nothing but those of the pod matter to others that come."""
    cls = info.cls
    return not (cls.ports or cls.has_affinity or info.claims or any(map(volumes.inline_disk, info.volumes_asked)))
