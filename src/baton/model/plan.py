"""A plan: ordered stages, each with its changes, its Terraform edits and its reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

PLAN_SCHEMA = 1


class StageKind(StrEnum):
    UPDATE_CONFIG = "update-config"  # update_config before the roll it must govern
    CONTROL_PLANE = "control-plane"
    ADDONS = "addon"
    NODE_GROUP = "node-group"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that moves: kind `cluster`, `addon`, `node-group`; `from_`/`to` are versions or AMI ids.

    `attributes` carries what engines need: for a node group `image_id`, `image_name`, `kubelet_from`, `kubelet_to`,
    `launch_template_id`; for an add-on `resolve_conflicts`.
    """

    kind: str
    name: str
    from_: str
    to: str
    reason: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace bytes [start, end) of `file` (relative to the Terraform root), which now read `old`, by `new`.

    `line` is 1-based. An insertion has start == end and old == "".
    """

    file: str
    start: int
    end: int
    old: str
    new: str
    line: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step that is applied, watched to its end and recorded before the next begins.

    `addresses` are Terraform resource addresses expected to change in place; `targets` (normally empty) are `-target`s.
    `by_hand` says what others have to do, or do by themselves, once the stage is done: what Baton does not move.
    """

    ordinal: int
    kind: StageKind
    name: str
    changes: tuple[Change, ...]
    reason: str
    edits: tuple[Edit, ...] = ()
    diff: str = ""
    addresses: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VersionSupport:
    """How EKS supports a version on one day. `status` is standard, extended or unsupported; dates are ISO dates, ""
    where not known. `forced_from`: from that day on EKS upgrades the control plane by itself. `per_month`: what the
    control plane costs, in USD. `source` is live or table."""

    version: str
    status: str
    standard_until: str
    extended_until: str
    forced_from: str
    per_month: float
    source: str


@dataclass(frozen=True, slots=True)
class Support:
    """Support of the version in use and of the target on the day the plan was made (`on`); `saves_per_month` in USD."""

    on: str
    now: VersionSupport | None
    after: VersionSupport | None
    saves_per_month: float


@dataclass(frozen=True, slots=True)
class Plan:
    """`facts` are what the plan stands on, flat and readable (`cluster.version` -> `1.34`); `facts_digest` is their
    digest, so that a changed world is noticed and can be told. `providers` are the Terraform providers that were locked
    when it was made, source address -> version; empty without Terraform or without a lock file."""

    cluster: str
    from_version: str
    to_version: str
    stages: tuple[Stage, ...]
    notes: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()
    facts_digest: str = ""
    made_at: float = 0.0
    schema: int = PLAN_SCHEMA
    facts: Mapping[str, str] = field(default_factory=dict)
    providers: Mapping[str, str] = field(default_factory=dict)
    support: Support | None = None
