"""The words of the rolling machine: settings, state, events, commands. All frozen, all plain.

Source of the behaviour: the EKS user guide, "managed node update behavior" (four phases, strategies DEFAULT and
MINIMAL), and field reports for what the guide leaves out; the latter are settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from baton.errors import BatonError, UsageError
from baton.logic.rolling.nodes import Nodes

POD_EVICTION_FAILURE = "PodEvictionFailure"
NODE_CREATION_FAILURE = "NodeCreationFailure"


class UnlistedEventError(BatonError):
    """The transition table does not list this event here. The state is unchanged."""


class Phase(StrEnum):
    SETUP = "setup"
    SCALE_UP = "scale-up"
    CORDON = "cordon"
    UPGRADE = "upgrade"
    SCALE_DOWN = "scale-down"
    ROLLBACK = "rollback"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Step(StrEnum):
    """Where one old node stands within the upgrade phase."""

    WAITING = "waiting"
    DRAINING = "draining"
    FORCING = "forcing"
    SETTLING = "settling"
    TERMINATING = "terminating"


class FailureMode(StrEnum):
    """What is left after a PodEvictionFailure (AWS does not say; both were seen in the field)."""

    ROLLBACK = "rollback"  # every node back on the old template
    MIXED = "mixed"  # the surge removed, replaced nodes stay on the new template


@dataclass(frozen=True, slots=True)
class Settings:
    """How one update runs. Durations in seconds.

    `parallelism` is UpdateConfig.parallelism of the group (1..100); `surge` what surge_size() says; `drain_windows`
    is 1 as documented, 3 gives the about 45 minutes that people observed before a PDB-blocked update failed.
    """

    name: str
    parallelism: int = 1
    surge: int = 0
    force: bool = False
    drain_seconds: float = 900.0
    drain_windows: int = 1
    settle_seconds: float = 60.0
    join_seconds: float = 900.0
    failure_mode: FailureMode = FailureMode.ROLLBACK

    def __post_init__(self) -> None:
        if not 1 <= self.parallelism <= 100:
            raise UsageError(
                f"max_unavailable of {self.parallelism} nodes", where=self.name, hint="it must be between 1 and 100"
            )
        if self.surge < 0 or self.drain_windows < 1:
            raise UsageError(f"surge {self.surge}, drain windows {self.drain_windows}", where=self.name)


def surge_size(zones: int, parallelism: int, strategy: str = "DEFAULT") -> int:
    """Extra nodes of the scale-up phase: max(2 x zones of the group, max_unavailable), none for MINIMAL."""
    if strategy == "MINIMAL":
        return 0
    if strategy != "DEFAULT":
        raise UsageError(f"update strategy {strategy!r}", hint="it is DEFAULT or MINIMAL")
    return max(2 * zones, parallelism)


class Timer(NamedTuple):
    """kind is `join`, `drain` or `settle`; `node` is empty for `join`."""

    kind: str
    node: str = ""


JOIN = Timer("join")
_ENDED = (Phase.SUCCEEDED, Phase.FAILED)
_TIMED = {Step.DRAINING: "drain", Step.FORCING: "drain", Step.SETTLING: "settle"}


class OldNode(NamedTuple):
    """A node on the old launch template version. `windows` counts the drain windows used up."""

    name: str
    zone: str
    step: Step = Step.WAITING
    windows: int = 0

    @property
    def timer(self) -> Timer | None:
        """The timer that runs for it."""
        kind = _TIMED.get(self.step)
        return None if kind is None else Timer(kind, self.name)


@dataclass(frozen=True, slots=True)
class Failure:
    code: str
    message: str
    resource_ids: tuple[str, ...] = ()


class State(NamedTuple):
    """`target` is the size the group shall have when all is over; `raised` what is still added to it for the surge;
    `base` the number of nodes it had at the start (less if somebody shrank it since), from which availability counts.

    `waiting` are the old nodes not yet taken, `flight` those being taken away, `new` the Ready nodes on the new
    template; none of them is ever changed in place. `order` is the random order in which old nodes are taken, `cursor`
    where it stands; `withdrawing` the node a rollback now waits for.
    """

    settings: Settings
    target: int
    base: int
    waiting: Nodes
    flight: Mapping[str, OldNode]
    new: Nodes
    phase: Phase = Phase.SETUP
    raised: int = 0
    order: tuple[str, ...] = ()
    cursor: int = 0
    joining: bool = False  # the wait for nodes to join has a timer running
    failure: Failure | None = None
    withdrawing: str = ""
    surge_removed: bool = False
    lowering: bool = False  # a scale-down step is under way
    spare: int = 0  # replacements that came, in a rollback, before the node they replace was gone

    def moved(self, waiting: Nodes, flight: Mapping[str, OldNode], new: Nodes) -> State:
        """The same with other nodes: what most events change."""
        return State(self.settings, self.target, self.base, waiting, flight, new, *self[6:])

    @property
    def done(self) -> bool:
        return self.phase in _ENDED

    @property
    def old(self) -> tuple[OldNode, ...]:
        """Every node that is still on the old template."""
        return (*(OldNode(name, zone) for name, zone in self.waiting.items()), *self.flight.values())

    def is_old(self, name: str) -> bool:
        return name in self.waiting or name in self.flight

    @property
    def available(self) -> int:
        """Nodes that carry load: old ones not being taken away, and new Ready ones."""
        return len(self.waiting) + len(self.new)

    @property
    def timers(self) -> tuple[Timer, ...]:
        """Those that run, in order."""
        running = [node.timer for node in self.flight.values() if node.timer is not None]
        return tuple(sorted((*running, JOIN) if self.joining else running))


# --- events: what happened -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TemplateReady:
    """The group's launch template has the new version and new instances use it."""


@dataclass(frozen=True, slots=True)
class SetupFailed:
    code: str
    message: str
    resource_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeReady:
    """A node that was not there before is Ready and carries the group's labels."""

    node: str
    zone: str


@dataclass(frozen=True, slots=True)
class NodeLost:
    """A node went away and nobody here asked for it (spot interruption, a person, a zone rebalance)."""

    node: str


@dataclass(frozen=True, slots=True)
class Cordoned:
    """Every old node is cordoned and labelled. `order` is a random permutation of the old nodes."""

    order: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drained:
    """No pod that a drain must move is left on the node."""

    node: str


@dataclass(frozen=True, slots=True)
class Timeout:
    """A timer that StartTimer asked for has run out."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class Terminated:
    """The instance that Terminate or Withdraw asked for is gone."""

    node: str


@dataclass(frozen=True, slots=True)
class ScaledDown:
    """One LowerSizes step is complete: `node` is gone ("" when an instance that had not joined went)."""

    node: str


@dataclass(frozen=True, slots=True)
class SurgeRemoved:
    """RemoveSurge is complete; `gone` are the nodes it took."""

    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DesiredChanged:
    """Somebody else (Cluster Autoscaler, a person) changed the group's desired size by `by`."""

    by: int


Event = (
    TemplateReady
    | SetupFailed
    | NodeReady
    | NodeLost
    | Cordoned
    | Drained
    | Timeout
    | Terminated
    | ScaledDown
    | SurgeRemoved
    | DesiredChanged
)


# --- commands: what to do --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RaiseSizes:
    """Add `by` to the maximum and the desired size."""

    by: int


@dataclass(frozen=True, slots=True)
class Cordon:
    """Cordon these nodes and label them node.kubernetes.io/exclude-from-external-load-balancers=true; then Cordoned.

    None of them under strategy MINIMAL, where the pods of the first node need the other old ones.
    """

    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CordonOne:
    """The same for a node that is about to be drained under strategy MINIMAL."""

    node: str


@dataclass(frozen=True, slots=True)
class Uncordon:
    """Undo Cordon."""

    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StartDrain:
    """Evict the node's pods through the eviction API until Drained can be told; also retries what failed before."""

    node: str


@dataclass(frozen=True, slots=True)
class StopDrain:
    node: str


@dataclass(frozen=True, slots=True)
class ForceDrain:
    """Delete what is left on the node, past any disruption budget. Only ever asked for with `force`."""

    node: str


@dataclass(frozen=True, slots=True)
class Terminate:
    """Terminate a drained node's instance through its group, which launches another in its place."""

    node: str


@dataclass(frozen=True, slots=True)
class LowerSizes:
    """Take one from the maximum and the desired size; the group picks the instance."""


@dataclass(frozen=True, slots=True)
class RemoveSurge:
    """Take `by` from both sizes, first instances that never joined, then those on the new template."""

    by: int


@dataclass(frozen=True, slots=True)
class RestoreTemplate:
    """New instances use the old launch template version again; those that have not joined are replaced."""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Terminate a new node the way a scale-in does (evictions for up to 15 minutes, then it goes); replace it."""

    node: str


@dataclass(frozen=True, slots=True)
class StartTimer:
    timer: Timer
    seconds: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    timer: Timer


@dataclass(frozen=True, slots=True)
class Finish:
    """The update is over; `failure` is None when it succeeded."""

    failure: Failure | None = None


Command = (
    RaiseSizes
    | Cordon
    | CordonOne
    | Uncordon
    | StartDrain
    | StopDrain
    | ForceDrain
    | Terminate
    | LowerSizes
    | RemoveSurge
    | RestoreTemplate
    | Withdraw
    | StartTimer
    | CancelTimer
    | Finish
)
