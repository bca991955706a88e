"""Protocols for just the calls Baton uses, and the system's own clock and tokens.

Everything above is handed one of these: the real wiring (gateways), the twin, or the emulator behind the gateways.
This is the only module that reads the wall clock, sleeps or draws unseeded randomness.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from baton.model.cluster import (
    Addon,
    AddonRelease,
    AutoScalingGroup,
    BlockDevice,
    Cluster,
    Image,
    Insight,
    Instance,
    NodeGroup,
    Subnet,
    Update,
    VersionInfo,
)
from baton.model.events import WatchEvent


class Clock(Protocol):
    """Cluster time. `now` is seconds since the epoch; `sleep` returns once that much cluster time has passed."""

    def now(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The wall clock. `speed` > 1 follows an emulator whose time runs that much faster from `origin` on."""

    def __init__(self, speed: float = 1.0, origin: float | None = None) -> None:
        self.speed = self._speed = speed
        self._start = time.monotonic()
        self._origin = time.time() if origin is None else origin

    def now(self) -> float:
        return self._origin + (time.monotonic() - self._start) * self._speed

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds) / self._speed)


def new_token() -> str:
    """A fresh client request token (UUID4 text)."""
    return str(uuid.uuid4())


def monotonic() -> float:
    """Seconds of real time, for measuring durations of work only."""
    return time.perf_counter()


class AwsReader(Protocol):
    """Read-only AWS calls. All raise errors.ReadError / UnavailableError; a missing thing is ReadError."""

    def cluster(self, name: str) -> Cluster: ...

    def clusters(self) -> Sequence[str]: ...

    def cluster_versions(self) -> Sequence[VersionInfo]: ...

    def node_groups(self, cluster: str) -> Sequence[NodeGroup]: ...

    def node_group(self, cluster: str, name: str) -> NodeGroup: ...

    def addons(self, cluster: str) -> Sequence[Addon]: ...

    def addon(self, cluster: str, name: str) -> Addon: ...

    def addon_releases(self, name: str, kubernetes_version: str | None = None) -> Sequence[AddonRelease]: ...

    def update(
        self, cluster: str, update_id: str, *, node_group: str | None = None, addon: str | None = None
    ) -> Update: ...

    def updates(self, cluster: str, *, node_group: str | None = None, addon: str | None = None) -> Sequence[str]: ...

    def insights(self, cluster: str) -> Sequence[Insight]: ...

    def fargate_profiles(self, cluster: str) -> Sequence[str]: ...

    def images(
        self,
        *,
        ids: Sequence[str] = (),
        owners: Sequence[str] = (),
        filters: Mapping[str, Sequence[str]] | None = None,
    ) -> Sequence[Image]: ...

    def subnets(self, ids: Sequence[str]) -> Sequence[Subnet]: ...

    def auto_scaling_groups(self, names: Sequence[str]) -> Sequence[AutoScalingGroup]: ...

    def instances(self, ids: Sequence[str]) -> Sequence[Instance]: ...

    def launch_template_image(self, template_id: str, version: str) -> str:
        """The image id of a launch template version, "" when the template names none."""
        ...

    def launch_template_user_data(self, template_id: str, version: str) -> str:
        """The decoded user data of a launch template version, "" when it has none."""
        ...


class AwsDetails(Protocol):
    """Facts that only a live reading asks for. Raise errors.ReadError / UnavailableError."""

    def addon_schema(self, name: str, version: str) -> str:
        """The JSON schema of an add-on version's configuration values."""
        ...

    def parameter(self, path: str) -> str:
        """The value of a public SSM parameter, "" when there is none."""
        ...

    def parameter_history(self, path: str) -> Sequence[str]:
        """Its values, the newest first; empty when there is none."""
        ...

    def launch_template_disks(self, template_id: str, version: str) -> Sequence[BlockDevice]: ...


class AwsWriter(Protocol):
    """The calls that change something. `token` makes each idempotent: the same token returns the same Update."""

    def update_cluster_version(self, cluster: str, version: str, *, token: str, force: bool = False) -> Update: ...

    def update_addon(
        self, cluster: str, addon: str, version: str, *, token: str, resolve_conflicts: str | None = None
    ) -> Update: ...

    def update_node_group_version(
        self,
        cluster: str,
        node_group: str,
        *,
        token: str,
        launch_template: tuple[str, str] | None = None,
        version: str | None = None,
        release_version: str | None = None,
        force: bool = False,
    ) -> Update:
        """`launch_template` is (id, version)."""
        ...

    def update_node_group_config(
        self,
        cluster: str,
        node_group: str,
        *,
        token: str,
        max_unavailable: int | None = None,
        max_unavailable_percentage: int | None = None,
    ) -> Update: ...

    def new_launch_template_version(self, template_id: str, source_version: str, image_id: str, *, token: str) -> str:
        """A copy of `source_version` that boots `image_id`, made the default; returns its number.

        Same token, same number."""
        ...


class KubeWatch(Protocol):
    """A running watch over several resources; a list first, so the first poll yields ADDED for all that exists."""

    def poll(self) -> Sequence[WatchEvent]:
        """What has arrived since the last poll, in order; never blocks. Reconnects by itself."""
        ...

    def close(self) -> None: ...


class KubeReader(Protocol):
    """Read-only Kubernetes calls. Resources are `pods`, `deployments.apps`, ...; raises errors.ReadError."""

    def server_version(self) -> str: ...

    def list(self, resource: str) -> Sequence[Mapping[str, Any]]: ...

    def watch(self, resources: Sequence[str]) -> KubeWatch: ...

    def node_metrics(self) -> Mapping[str, Mapping[str, float]]:
        """Node name -> {"cpu": cores, "memory": bytes}; empty where metrics.k8s.io is not served."""
        ...


class Journal(Protocol):
    """What was meant and what came of it, durable before the act."""

    def intend(self, run: str, ordinal: int, name: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Record the intent, or return the payload recorded earlier under the same key (so tokens are reused)."""
        ...

    def outcome(self, run: str, ordinal: int, name: str, result: Mapping[str, Any]) -> None: ...

    def result(self, run: str, ordinal: int, name: str) -> Mapping[str, Any] | None: ...
