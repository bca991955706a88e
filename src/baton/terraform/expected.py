"""What a stage may do to a Terraform root, and what the gate says of a change of a plan. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from baton.model.plan import Plan, Stage, StageKind

REFUSE, WARN, EXPECTED, NOISE = "refuse", "warning", "expected", "noise"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a stage is about. `addresses` are the resources to change; `addons` add-on -> version; `images` the image
    ids, `versions` the group versions a node group stage leads to. Empty means any.

    `targets` are the -targets that the stage is planned with; `trailing` when an earlier stage had some, so that what
    these left out may come along now. `providers` were locked when the upgrade was planned.
    """

    kind: StageKind
    cluster: str
    version: str = ""
    addresses: tuple[str, ...] = ()
    addons: Mapping[str, str] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    trailing: bool = False
    providers: Mapping[str, str] = field(default_factory=dict)


def expectation_of(stage: Stage, plan: Plan) -> Expectation:
    """What the Terraform plan of this stage may do."""
    images = {c.attributes.get("image_id", "") for c in stage.changes if c.kind == "node-group"} - {""}
    versions = {c.attributes.get("version", "") for c in stage.changes if c.kind == "node-group"} - {""}
    return Expectation(
        stage.kind,
        plan.cluster,
        next((c.to for c in stage.changes if c.kind == "cluster"), ""),
        stage.addresses,
        {c.name: c.to for c in stage.changes if c.kind == "addon"},
        tuple(sorted(images)),
        tuple(sorted(versions)),
        stage.targets,
        any(s.targets for s in plan.stages if s.ordinal < stage.ordinal),
        plan.providers,
    )


@dataclass(frozen=True, slots=True)
class GateFinding:
    """One change of the plan as the gate sees it. `severity`: refuse, warning, expected, noise."""

    code: str
    severity: str
    address: str
    action: str
    message: str
    attribute: str = ""
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.address}: " if self.address else ""
        return f"{where}{self.message}" + (f" (hint: {self.hint})" if self.hint else "")


@dataclass(frozen=True, slots=True)
class GateResult:
    """`allowed` when nothing is refused."""

    findings: tuple[GateFinding, ...]
    terraform_version: str = ""

    @property
    def allowed(self) -> bool:
        return not any(f.severity == REFUSE for f in self.findings)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is refused, one line each; () when it is not."""
        return tuple(str(f) for f in self.findings if f.severity == REFUSE)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should hear of though it is allowed: warnings, and that the plan was targeted."""
        return tuple(str(f) for f in self.findings if f.severity == WARN or f.code == "targeted")


# In-place changes that a stage is about: resource type -> attributes.
OWN: dict[StageKind, dict[str, frozenset[str]]] = {
    StageKind.CONTROL_PLANE: {"aws_eks_cluster": frozenset({"version", "platform_version"})},
    StageKind.ADDONS: {"aws_eks_addon": frozenset({"addon_version", "modified_at"})},
    StageKind.UPDATE_CONFIG: {"aws_eks_node_group": frozenset({"update_config"})},
    StageKind.NODE_GROUP: {
        "aws_launch_template": frozenset({"image_id", "default_version", "latest_version"}),
        "aws_eks_node_group": frozenset({"launch_template", "version", "release_version"}),
    },
}
