"""Where an upgrade should go, and by which policies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from baton.model.cluster import UpdateConfig

ADDON_POLICIES = ("default", "newest", "pinned")


def matches(pattern: str, text: str) -> bool:
    """Whether a text fits a pattern with EC2's wildcards, `*` and `?`."""
    return re.fullmatch("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern), text) is not None


@dataclass(frozen=True, slots=True)
class ImageFilter:
    """How a node group's Terraform finds its image: the name filter of `data "aws_ami"` (`*` and `?` as EC2 takes them;
    a regular expression when `regex`, as its name_regex), or an exact name or id.

    `most_recent` False means that several matches are an error, as they are for Terraform. `also` are the data source's
    other filters (`tag:Channel`, `architecture`, ...) with their values, any of which will do.
    """

    name: str
    owners: tuple[str, ...] = ()
    most_recent: bool = True
    regex: bool = False
    also: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def matches(self, name: str, pattern: str | None = None) -> bool:
        """Whether an image of this name passes the filter (or another `pattern` of the same kind)."""
        text = self.name if pattern is None else pattern
        if not self.regex:
            return matches(text, name)
        try:
            return re.search(text, name) is not None
        except re.error:
            return False


@dataclass(frozen=True, slots=True)
class Target:
    """`version` is a Kubernetes minor (`1.35`).

    `addon_policy`: `default` (EKS's default of the version), `newest`, or `pinned` (as `addon_pins` says, else as
    installed while that fits); none goes below what is installed. `images` maps a node group, or `*`, to the image id
    or name to move to. `update_configs` maps a node group, or `*`, to the pacing that must be in force before it rolls.
    `parallel_groups`: how many node groups may roll at the same time, in one stage.
    """

    version: str
    nodes_every_hop: bool = False
    addon_policy: str = "default"
    addon_pins: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    update_configs: Mapping[str, UpdateConfig] = field(default_factory=dict)
    parallel_groups: int = 1

    def update_config(self, group: str) -> UpdateConfig | None:
        return self.update_configs.get(group, self.update_configs.get("*"))

    def image(self, group: str) -> str:
        return self.images.get(group, self.images.get("*", ""))
