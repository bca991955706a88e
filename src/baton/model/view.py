"""What was observed of a roll, as values: how things stand (`View`), and whether the end is as it should be.

Times are cluster time in seconds since the epoch; CPU in cores, memory in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from baton.model.findings import Verdict


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node. `generation` is `new` when it is of the latest kind seen in its group, else `old`.

    `state`: ready, not-ready, cordoned, draining (pods are leaving), drained (none left that must). `left` counts the
    pods that a drain must still move.
    """

    name: str
    group: str
    generation: str
    state: str
    since: float
    zone: str = ""
    image: str = ""
    kubelet: str = ""
    left: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Requested and allocatable, and what was really used where metrics are served (None where not)."""

    cpu_requested: float = 0.0
    cpu_allocatable: float = 0.0
    memory_requested: float = 0.0
    memory_allocatable: float = 0.0
    cpu_used: float | None = None
    memory_used: float | None = None


@dataclass(frozen=True, slots=True)
class GroupView:
    """A node group (or what else replaces nodes, as `model.nodes.owner` names it).

    `desired` is what the group should have while nothing rolls. A node is ready when its Ready condition is True and it
    is not deleted; schedulable when it is ready and not cordoned. `max_unavailable_observed` is the largest
    `desired - ready` seen; `max_draining` the most nodes emptied at the same time.
    """

    name: str
    desired: int
    allowed: int
    nodes: int
    ready: int
    schedulable: int
    old: int
    new: int
    cordoned: int
    draining: int
    min_ready: int
    min_schedulable: int
    max_unavailable_observed: int
    max_draining: int
    peak_nodes: int
    replaced: int
    image_before: str = ""
    image_after: str = ""
    kubelet_before: str = ""
    kubelet_after: str = ""
    usage: Usage = field(default_factory=Usage)
    managed: bool = True


@dataclass(frozen=True, slots=True)
class PodsView:
    """`pending` pods have no node yet, `starting` ones have and do not run yet.

    `evictions` were voluntary; `displaced` pods went with their node; `repeat` evictions hit a workload's replacement
    pod once more. `lost` names bare pods that are gone and, with what is missing, workloads that did not come back.
    """

    total: int = 0
    pending: int = 0
    starting: int = 0
    unschedulable: int = 0
    max_pending: int = 0
    max_starting: int = 0
    longest_pending: float = 0.0
    evictions: int = 0
    repeat: int = 0
    displaced: int = 0
    pdb_violations: int = 0
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Blocker:
    """Something that holds the roll up. `kind`: pdb, several-pdbs, terminating, unschedulable, node-not-ready,
    pod-not-ready, update, health. `until` is None while it lasts; `hint` says what would clear it."""

    kind: str
    subject: str
    reason: str
    since: float
    until: float | None = None
    node: str = ""
    pdb: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """How things stand at `at`. `warnings` counts the cluster's Warning events by reason since observation began.

    `unwatched`: from when to when Baton did not run, between the parts of one run; what came and went then is not told.
    """

    at: float
    groups: tuple[GroupView, ...] = ()
    nodes: tuple[NodeView, ...] = ()
    pods: PodsView = field(default_factory=PodsView)
    blockers: tuple[Blocker, ...] = ()
    past_blockers: tuple[Blocker, ...] = ()
    warnings: Mapping[str, int] = field(default_factory=dict)
    evictions_by_workload: Mapping[str, int] = field(default_factory=dict)
    unwatched: tuple[tuple[float, float], ...] = ()

    def group(self, name: str) -> GroupView | None:
        return next((g for g in self.groups if g.name == name), None)


@dataclass(frozen=True, slots=True)
class Verified:
    """One thing that must hold after an upgrade, and whether it does; `unknown` never counts as a pass."""

    name: str
    subject: str
    verdict: Verdict
    message: str
