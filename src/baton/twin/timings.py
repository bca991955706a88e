"""How long things take in the twin: seeded distributions, each with where its figures come from, all printable.

Seconds throughout. A drawn value is rounded to milliseconds, so that a timeline reads the same wherever it is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from math import sqrt
from random import Random

from baton.errors import UsageError


@dataclass(frozen=True, slots=True)
class Spread:
    """A triangular distribution over [low, high] seconds with its peak at `mode`; low == high is a constant.

    `source` says where the figures were read; "assumed" marks a guess that docs/flaws.md owns up to.
    """

    low: float
    mode: float
    high: float
    source: str = "assumed"

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.mode <= self.high:
            raise UsageError(
                f"a spread of seconds must rise: {self.low}, {self.mode}, {self.high}",
                hint="give low <= mode <= high, none below zero",
            )

    def draw(self, rng: Random) -> float:
        return self.low if self.low == self.high else self.at(rng.random())

    def at(self, u: float) -> float:
        """The value that a share `u` (0 or more, less than 1) of all draws stays below."""
        if self.low == self.high:
            return self.low
        span = self.high - self.low
        cut = (self.mode - self.low) / span
        if u < cut:
            value = self.low + sqrt(u * span * (self.mode - self.low))
        else:
            value = self.high - sqrt((1.0 - u) * span * (self.high - self.mode))
        return round(value, 3)

    def scaled(self, factor: float) -> Spread:
        """The same shape, `factor` times as long; for calibration from a measured run."""
        return Spread(self.low * factor, self.mode * factor, self.high * factor, self.source)

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.low:g} s"
        return f"{self.low:g}-{self.high:g} s, most often {self.mode:g} s"


def always(seconds: float, source: str = "assumed") -> Spread:
    """A constant."""
    return Spread(seconds, seconds, seconds, source)


_EKS_FIELD = "field reports: 9m55s (eksctl 1.30->1.31, 2025-01), about 10 min (2024-03), 10-15 min (2026-07)"
_BOOT = "field reports: 39 s (AL2), 71 s (Bottlerocket), 30 s of nodeadm (AL2023), node group create 108-119 s"


@dataclass(frozen=True, slots=True)
class Timings:
    """Every duration the twin draws. Names ending in `_gap` are waits between two visible steps."""

    # the cloud
    cluster_create: Spread = Spread(420, 540, 720, "assumed: EKS documents 'several minutes'")
    cluster_delete: Spread = Spread(90, 150, 300)
    control_plane_update: Spread = Spread(480, 600, 900, _EKS_FIELD)
    cluster_config_update: Spread = Spread(60, 120, 300)
    node_group_create_gap: Spread = Spread(
        15, 25, 45, "field report: whole create 108-119 s with the node's boot in it"
    )
    node_group_delete_gap: Spread = Spread(20, 40, 90)
    addon_create: Spread = Spread(10, 25, 60)
    addon_update: Spread = Spread(25, 50, 120, "field report: kube-proxy still updating after 50 s (tf#33385)")
    addon_delete: Spread = Spread(5, 15, 40)
    asg_reaction: Spread = Spread(1, 4, 12, "assumed: Auto Scaling reconciles every few seconds")
    node_boot: Spread = Spread(40, 65, 120, _BOOT)  # launch request to Ready, the register gap included
    instance_terminate: Spread = Spread(20, 45, 90)
    # nodes
    node_ready_gap: Spread = Spread(5, 10, 20, "assumed: CNI pods start before the kubelet reports Ready")
    node_monitor_grace: Spread = Spread(50, 50, 50, "kube-controller-manager default since 1.32 (40 s before)")
    # pods
    pod_start: Spread = Spread(1.0, 3.0, 12.0, "assumed: image pull and container start")
    readiness_phase: Spread = Spread(0.0, 0.5, 1.0, "share of a readiness period until the first passing probe")
    pod_stop: Spread = Spread(0.3, 1.5, 8.0, "assumed: SIGTERM to exit; never past the pod's grace period")
    init_container: Spread = Spread(0.5, 1.5, 6.0)
    volume_attach: Spread = Spread(3.0, 8.0, 25.0, "assumed: EBS detach, attach and mount")
    job_run: Spread = Spread(20, 60, 300)

    def lines(self) -> list[str]:
        """One line per distribution with its source, for reports."""
        return [f"{f.name}: {getattr(self, f.name)} ({getattr(self, f.name).source})" for f in fields(self)]

    def with_(self, **changes: Spread) -> Timings:
        """A copy with some distributions replaced. Raises UsageError for an unknown name."""
        known = {f.name for f in fields(self)}
        for name in changes:
            if name not in known:
                raise UsageError(f"no timing is called {name!r}", hint="one of " + ", ".join(sorted(known)))
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class PodTimes:
    """What is known of one workload: None leaves the general distribution in force.

    `start`: bound to containers started. `ready`: started to Ready. `stop`: SIGTERM to gone (still cut by the grace
    period). `never_ready` makes pods that never pass their readiness probe.
    """

    start: Spread | None = None
    ready: Spread | None = None
    stop: Spread | None = None
    never_ready: bool = False


@dataclass(frozen=True, slots=True)
class TwinSettings:
    """Switches of the twin. The defaults show everything; `for_rehearsal()` leaves out what nobody reads there.

    `workloads` is keyed "namespace/name" of the top workload (the Deployment, not its ReplicaSet) or the bare pod.
    """

    timings: Timings = field(default_factory=Timings)
    workloads: Mapping[str, PodTimes] = field(default_factory=dict)
    events: bool = True  # write core/v1 Events
    detail: bool = True  # conditions and container statuses as a person would read them
    endpoints: bool = True  # keep EndpointSlices
    live_status: bool = True  # write the status of workloads and budgets at every step, not only when asked
    lean: bool = False  # keep pods as records and make their objects when asked for; needs no events, detail, endpoints
    event_ttl: float = 3600.0  # seconds an Event stays, the API server's default
    tolerate_unreachable: float = 300.0  # DefaultTolerationSeconds

    def for_rehearsal(self) -> TwinSettings:
        """The same timings and behaviour, without the objects that only people read."""
        return replace(self, events=False, detail=False, endpoints=False, live_status=False, lean=True)
