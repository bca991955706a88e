"""How the imitated cloud behaves: durations, switches for what AWS leaves open, faults. Changeable while it runs.

The durations that matter are baton.twin.timings.Timings, shared with the Kubernetes side and printed with their
sources; `Durations` holds the few others, (lowest, highest) seconds drawn uniformly.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from baton.errors import UsageError
from baton.twin.timings import Spread, Timings

Range = tuple[float, float]


@dataclass
class Durations:
    """What baton.twin.timings has no entry for."""

    encryption: Range = (3600.0, 5400.0)  # "more than an hour" in the field
    identity_provider: Range = (300.0, 900.0)
    node_group_config: Range = (5.0, 20.0)
    instance_start: Range = (3.0, 8.0)  # EC2 pending to running
    launch_retry: float = 60.0
    # EKS looks at a roll from time to time rather than at once; with it the twin takes about three minutes a node at
    # max_unavailable 1, as reported (55 nodes in 170 min, 60 nodes in 3-4 h).
    roll_step: Range = (5.0, 30.0)
    eviction_retry: Range = (1.0, 5.0)  # after something changed that may unblock an eviction
    fargate_profile: Range = (60.0, 150.0)
    insights_refresh: Range = (20.0, 60.0)


@dataclass
class Switches:
    """What AWS does not document or documents twice; each default is the better attested reading."""

    default_node_version_is_cluster: bool = True  # UpdateNodegroupVersion without version goes to the cluster's
    enforce_insights: bool = False  # InvalidStateException on blocking insights; switched off by AWS on 2025-03-28
    rollback_unknown_blocks: bool = True  # UNKNOWN rollback insights block unless forced
    failure_mode: str = "rollback"  # or "mixed": what a PodEvictionFailure leaves behind
    drain_windows: int = 1  # 3 gives the about 45 minutes observed before a blocked update failed
    drain_seconds: float = 900.0
    join_seconds: float = 900.0
    settle_seconds: float = 60.0
    cni_addresses: bool = True  # a joined node holds two interfaces' worth of addresses, as the VPC CNI does by default
    auto_upgrade: bool = False  # clusters whose support ends move up by themselves (AWS announces no date)
    addon_wait: float = 900.0  # before an unhealthy add-on is called DEGRADED or its update Failed


@dataclass
class Faults:
    """Things that go wrong on demand. Node groups and add-ons are named; `*` means every one."""

    never_join: set[str] = field(default_factory=set)  # node groups whose new instances never join
    no_capacity: set[str] = field(default_factory=set)  # zones where instance launches fail
    no_free_ips: set[str] = field(default_factory=set)  # subnets that count as full
    control_plane_fails: bool = False  # the next control plane updates fail their health check
    addon_conflict: set[str] = field(default_factory=set)  # add-ons with fields that someone else owns
    addon_unhealthy: set[str] = field(default_factory=set)  # add-ons whose new image cannot be pulled

    def hits(self, which: str, name: str) -> bool:
        names: set[str] = getattr(self, which)
        return name in names or "*" in names


@dataclass
class CloudSettings:
    """`region` and `account` go into ARNs and node names."""

    region: str = "us-east-1"
    account: str = "123456789012"
    caller_arn: str = "arn:aws:iam::123456789012:user/baton"
    timings: Timings = field(default_factory=Timings)
    durations: Durations = field(default_factory=Durations)
    switches: Switches = field(default_factory=Switches)
    faults: Faults = field(default_factory=Faults)

    def change(self, group: str, name: str, value: Any) -> None:
        """Set `faults.never_join`, `switches.drain_windows`, ... while running, from JSON values.

        `timings.node_boot` and the like take one number, or [low, most often, high] seconds.
        Raises UsageError for a name that does not exist or a value that does not fit.
        """
        if group == "timings":
            self.timings = self.timings.with_(**{name: _spread(name, value)})
            return
        holder = getattr(self, group, None) if group in ("durations", "switches", "faults") else None
        if holder is None or name not in {f.name for f in fields(holder)}:
            raise UsageError(f"no setting {group}.{name}", hint="see the emulator's reference for the names")
        setattr(holder, name, _fitted(f"{group}.{name}", getattr(holder, name), value))

    def as_json(self) -> dict[str, Any]:
        """All settings as plain JSON."""
        return {"timings": {f.name: _three(getattr(self.timings, f.name)) for f in fields(self.timings)}} | {
            group: {f.name: _plain(getattr(holder, f.name)) for f in fields(holder)}
            for group, holder in (("durations", self.durations), ("switches", self.switches), ("faults", self.faults))
        }


def _three(spread: Spread) -> list[float]:
    return [spread.low, spread.mode, spread.high]


def _spread(name: str, value: Any) -> Spread:
    numbers = value if isinstance(value, list) else [value] * 3
    if len(numbers) != 3 or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise UsageError(f"timings.{name} cannot be {value!r}", hint="give seconds, or [low, most often, high]")
    low, mode, high = (float(n) for n in numbers)
    return Spread(low, mode, high, "set by hand")


def _plain(value: Any) -> Any:
    if isinstance(value, set):
        return sorted(value)
    return list(value) if isinstance(value, tuple) else value


def _fitted(name: str, old: Any, value: Any) -> Any:
    """`value` in the type of `old`."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(old, bool) and isinstance(value, bool):
        return value
    if isinstance(old, set) and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return set(value)
    if isinstance(old, tuple) and isinstance(value, list) and len(value) == 2 and 0 <= value[0] <= value[1]:
        return (float(value[0]), float(value[1]))
    if isinstance(old, int) and not isinstance(old, bool) and number and value > 0:
        return int(value)
    if isinstance(old, float) and number and value >= 0:
        return float(value)
    if isinstance(old, str) and value in ("rollback", "mixed"):  # failure_mode is the only text
        return value
    raise UsageError(f"{name} cannot be {value!r}", hint=f"it is now {_plain(old)!r}")
