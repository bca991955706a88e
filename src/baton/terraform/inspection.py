"""What was found in a Terraform root: clusters, add-ons, node groups, each value with the literal that says it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from baton.errors import UsageError
from baton.terraform.hcl import Span
from baton.terraform.loading import Files
from baton.terraform.values import ObjectSource, Piece, Probe, Value


@dataclass(frozen=True, slots=True)
class Traced:
    """A value followed to its literal. `value` None: not set (`why` empty), or not known (`why` tells).

    `pieces` are the parts of the text with their bytes, `chain` the expressions on the way, the use first.
    """

    value: str | None = None
    pieces: tuple[Piece, ...] = ()
    via: tuple[str, ...] = ()
    chain: tuple[Span, ...] = ()
    why: str = ""
    where: str = ""
    probes: tuple[Probe, ...] = ()
    ref: str = ""  # what decides it, when the configuration does not: the address with its attribute

    @property
    def set(self) -> bool:
        return self.value is not None or bool(self.why)

    @property
    def span(self) -> Span | None:
        """The literal; of a text in pieces the last one that a person would edit."""
        own = [p.span for p in self.pieces if p.span is not None]
        return own[-1] if own else (self.chain[-1] if self.chain else None)

    def to_json(self) -> dict[str, Any]:
        span = self.span
        found: dict[str, Any] = {
            "value": self.value,
            "file": span.file if span else None,
            "line": span.line if span else None,
            "via": list(self.via),
        }
        if self.why:
            found["why"] = self.why
        return found


def traced(value: Value | None) -> Traced:
    """The trace of an evaluated expression; None and null are `not set`."""
    if value is None:
        return Traced()
    via = tuple(dict.fromkeys(value.via))
    fails = value.kind == "missing" and value.chain and not value.probes  # Terraform would call it an error
    if value.null or (value.kind == "missing" and not fails):
        return Traced(probes=value.probes, via=via, chain=value.chain)
    if value.kind == "scalar":
        return Traced(value.text(), value.pieces, via, value.chain, probes=value.probes)
    where = str(value.where) if value.where else (str(value.chain[-1]) if value.chain else "")
    ref = value.ref.address if value.kind == "ref" and value.ref is not None else ""
    return Traced(None, (), via, value.chain, value.why_unknown(), where, value.probes, ref)


@dataclass(frozen=True, slots=True)
class Ami:
    """How nodes find their image. `kind`: data-aws-ami, ssm, literal, eks-optimised, unknown.

    `value` is the name filter (or exact name), the parameter path, or the image id. `address` names the data source.
    """

    kind: str
    value: Traced = Traced()
    address: str = ""
    owners: tuple[str, ...] = ()
    most_recent: bool = False
    by: str = ""  # name, name_regex: what the data source filters by
    also: tuple[tuple[str, tuple[str, ...]], ...] = ()  # its other filters, as far as their values are known


@dataclass(frozen=True, slots=True)
class AddonConfig:
    """One add-on. `follows`: its version comes from `data "aws_eks_addon_version"` and moves with the control plane."""

    name: str
    address: str
    version: Traced
    follows: bool
    most_recent: bool = False
    slot: ObjectSource | None = None  # where addon_version can be written
    slot_key: str = "addon_version"

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "address": self.address,
            "version": self.version.value,
            "follows": self.follows,
            "mostRecent": self.most_recent,
            **{k: v for k, v in self.version.to_json().items() if k != "value"},
        }


# What Terraform puts behind a prefix (id.PrefixedUniqueId): date, time and 1/10000 s, then a counter in hexadecimal.
_UNIQUE = re.compile(r"\d{18}[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """One node group. `name` is EKS's name, or its beginning when `prefixed` (the module adds a time stamp)."""

    name: str
    key: str
    address: str
    kind: str  # managed, self-managed, fargate
    ami: Ami
    template: str = ""  # address of its launch template
    prefixed: bool = False
    ami_type: Traced = Traced()
    version: Traced = Traced()
    release_version: Traced = Traced()
    version_key: str = "cluster_version"
    version_from_cluster: bool = False
    max_unavailable: Traced = Traced()
    max_unavailable_percentage: Traced = Traced()
    strategy: Traced = Traced()
    update_slot: ObjectSource | None = None  # inside update_config
    min_size: Traced = Traced()
    desired_size: Traced = Traced()
    max_size: Traced = Traced()
    force_update: Traced = Traced()
    update_timeout: Traced = Traced()
    ignores_desired_size: bool | None = None
    slot: ObjectSource | None = None  # the group's own object or block
    unsure: str = ""  # why nothing can be written into it, as a hint
    notes: tuple[str, ...] = ()

    def matches(self, name: str) -> bool:
        """Whether EKS's node group `name` is this one."""
        if name == self.name:
            return True
        if not self.prefixed or not name.startswith(self.name):
            return False
        return _UNIQUE.fullmatch(name.removeprefix(self.name).lstrip("-")) is not None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "namePrefix": self.prefixed,
            "key": self.key,
            "address": self.address,
            "kind": self.kind,
            "ami": {
                "kind": self.ami.kind,
                **self.ami.value.to_json(),
                "dataSource": self.ami.address or None,
                "owners": list(self.ami.owners),
                "mostRecent": self.ami.most_recent,
            },
            "amiType": self.ami_type.value,
            "version": self.version.to_json() if self.version.set else None,
            "releaseVersion": self.release_version.value,
            "updateConfig": {
                "maxUnavailable": _number(self.max_unavailable),
                "maxUnavailablePercentage": _number(self.max_unavailable_percentage),
                "updateStrategy": self.strategy.value,
            },
            "scaling": {
                "min": _number(self.min_size),
                "desired": _number(self.desired_size),
                "max": _number(self.max_size),
            },
            "forceUpdate": self.force_update.value == "true",
            "launchTemplate": self.template or None,
            "notes": list(self.notes),
        }


def _number(value: Traced) -> int | None:
    return int(value.value) if value.value is not None and value.value.isdigit() else None


@dataclass(frozen=True, slots=True)
class Stranger:
    """An input of a module that is not at hand and seems to hold nodes, made from the version of the cluster."""

    address: str
    name: str
    value: Traced


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """One cluster. `kind` module (the EKS module), assumed (a module elsewhere that takes its inputs), resource."""

    address: str
    resource: str  # address of the aws_eks_cluster itself
    kind: str
    name: Traced
    version: Traced
    source: str = ""
    module_version: str = ""
    addons: tuple[AddonConfig, ...] = ()
    node_groups: tuple[GroupConfig, ...] = ()
    slot: ObjectSource | None = None
    version_key: str = ""  # the argument of `slot` that sets the version
    strangers: tuple[Stranger, ...] = ()
    unseen: Traced = Traced()  # node groups that are given but cannot be told: `why`, and where
    notes: tuple[str, ...] = ()

    def group(self, name: str) -> GroupConfig | None:
        """By EKS's name, else by key."""
        exact = [g for g in self.node_groups if g.name == name and not g.prefixed]
        return next(iter([*exact, *(g for g in self.node_groups if g.matches(name) or g.key == name)]), None)

    def addon(self, name: str) -> AddonConfig | None:
        return next((a for a in self.addons if a.name == name), None)

    def to_json(self) -> dict[str, Any]:
        return {
            "address": self.address,
            "kind": self.kind,
            "source": self.source or None,
            "moduleVersion": self.module_version or None,
            "name": self.name.value,
            "version": self.version.to_json(),
            "addons": [a.to_json() for a in self.addons],
            "nodeGroups": [g.to_json() for g in self.node_groups],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Unresolved:
    """What could not be found out, where one would look, and why."""

    what: str
    where: str
    why: str

    def to_json(self) -> dict[str, str]:
        return {"what": self.what, "where": self.where, "why": self.why}


@dataclass(frozen=True, slots=True)
class Inspection:
    """All of a root. `files` keeps the texts that were read, so that edits can be tried on them."""

    root: str
    clusters: tuple[ClusterConfig, ...]
    unresolved: tuple[Unresolved, ...]
    files: Files
    settings: Mapping[str, Any] = field(default_factory=dict)

    def cluster(self, name: str | None = None) -> ClusterConfig:
        """By address or EKS name; without one the only cluster. Raises UsageError when there is no such or no one."""
        found = [c for c in self.clusters if name in (None, c.address, c.name.value)]
        if not found and name is not None:
            # A name that is put together elsewhere cannot be compared; the only cluster of the root is meant then.
            found = [c for c in self.clusters if c.name.value is None] if len(self.clusters) == 1 else []
        if len(found) == 1:
            return found[0]
        listed = ", ".join(f"{c.address} ({c.name.value or 'name not known'})" for c in self.clusters)
        if not self.clusters:
            raise UsageError(
                "there is no EKS cluster in this Terraform",
                where=self.root,
                hint="name the directory of the root module with -C DIR; `baton inspect DIR` shows what it finds",
            )
        if name is None or found:
            raise UsageError(
                f"there are {len(found)} clusters here: {listed}",
                where=self.root,
                hint="choose one with --cluster NAME",
            )
        raise UsageError(f"there is no cluster {name} here", where=self.root, hint=f"clusters: {listed}")

    def to_json(self) -> dict[str, Any]:
        return {
            "root": self.root,
            "clusters": [c.to_json() for c in self.clusters],
            "unresolved": [u.to_json() for u in self.unresolved],
        }


def uses(inspection: Inspection) -> Iterator[tuple[str, str, Traced]]:
    """(cluster address, what, trace) of every value that Baton may edit, to see what an edit would move besides."""
    for cluster in inspection.clusters:
        yield cluster.address, "the version of the cluster", cluster.version
        for addon in cluster.addons:
            yield cluster.address, f"the version of add-on {addon.name}", addon.version
        for group in cluster.node_groups:
            yield cluster.address, f"the AMI of node group {group.name}", group.ami.value
            if group.ami.kind not in ("data-aws-ami", "ssm", "literal"):  # beside an AMI the version says nothing
                yield cluster.address, f"the version of node group {group.name}", group.version
            yield cluster.address, f"max_unavailable of node group {group.name}", group.max_unavailable
            yield (
                cluster.address,
                f"max_unavailable_percentage of node group {group.name}",
                group.max_unavailable_percentage,
            )
