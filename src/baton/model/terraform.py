"""What the checks need to know of the Terraform that an upgrade runs through; filled from an inspection of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from baton.model.cluster import UpdateConfig
from baton.model.target import ImageFilter


@dataclass(frozen=True, slots=True)
class TerraformGroup:
    """One managed node group as configured. None means that the configuration does not say or could not be traced.

    `update_timeout` in seconds (`timeouts.update`); `ignores_desired_size`: lifecycle.ignore_changes names it.
    `latest_release`: use_latest_ami_release_version, by setting or by the module's default.
    """

    name: str
    address: str = ""
    image: ImageFilter | None = None
    update_config: UpdateConfig | None = None
    update_timeout: float | None = None
    ignores_desired_size: bool | None = None
    min_size: int | None = None
    force_update: bool = False
    latest_release: bool = False


@dataclass(frozen=True, slots=True)
class TerraformFacts:
    """`addon_pins` maps add-ons to the version written in the configuration; `addons_most_recent` names those that take
    the newest at every apply. `predicted` maps node groups to the rehearsed seconds of their roll."""

    cluster_version: str = ""
    groups: tuple[TerraformGroup, ...] = ()
    addon_pins: Mapping[str, str] = field(default_factory=dict)
    addons_most_recent: tuple[str, ...] = ()
    predicted: Mapping[str, float] = field(default_factory=dict)

    def group(self, name: str) -> TerraformGroup | None:
        return next((g for g in self.groups if g.name == name), None)
