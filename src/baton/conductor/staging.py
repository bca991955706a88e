"""Between plan and Terraform: facts for the checks, the edits of each stage, and the judgement of its plan."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from baton.conductor.engines.git import committed
from baton.errors import ReadError, RefusedError
from baton.knowledge.tables import Knowledge
from baton.model.cluster import AddonRelease, Snapshot, UpdateConfig
from baton.model.plan import Plan, Stage
from baton.model.target import ImageFilter, Target
from baton.model.terraform import TerraformFacts, TerraformGroup
from baton.planner.plan import make_plan
from baton.terraform.edit import apply, edited
from baton.terraform.expected import GateResult, expectation_of
from baton.terraform.gate import judge
from baton.terraform.inspection import ClusterConfig, GroupConfig, Inspection, Traced
from baton.terraform.locks import LOCK_FILE, Made, locked, versions
from baton.terraform.planfile import how_made
from baton.terraform.stages import inverse, pending, picks_from, weave


def image_owners(inspection: Inspection | None, cluster: str) -> tuple[str, ...]:
    """The AMI owners that the Terraform's data sources name, besides our own account."""
    if inspection is None:
        return ()
    groups = _config(inspection, cluster).node_groups
    owners = {owner for g in groups for owner in g.ami.owners}
    return tuple(sorted(owners - {"self"}))


def image_filters(inspection: Inspection | None, snapshot: Snapshot) -> dict[str, ImageFilter]:
    """Node group (as EKS names it) to how its Terraform finds the image."""
    if inspection is None:
        return {}
    config = _config(inspection, snapshot.cluster.name)
    found = {}
    for group in snapshot.node_groups:
        written = config.group(group.name)
        image = None if written is None else _filter(written)
        if image is not None:
            found[group.name] = image
    return found


def _filter(group: GroupConfig) -> ImageFilter | None:
    ami = group.ami
    if ami.value.value is None or ami.kind not in ("data-aws-ami", "literal"):
        return None
    return ImageFilter(ami.value.value, ami.owners, ami.most_recent, ami.by == "name_regex", dict(ami.also))


def _config(inspection: Inspection, cluster: str) -> ClusterConfig:
    return inspection.cluster(cluster if len(inspection.clusters) > 1 else None)


def shared_images(inspection: Inspection | None, snapshot: Snapshot) -> tuple[tuple[str, ...], ...]:
    """Node groups whose image comes from one and the same literal: they can only move together."""
    if inspection is None:
        return ()
    config = _config(inspection, snapshot.cluster.name)
    own = {p.span for p in config.version.pieces}
    by_literal: dict[tuple[object, ...], list[str]] = {}
    for group in snapshot.node_groups:
        written = config.group(group.name)
        if written is not None and written.ami.kind in ("data-aws-ami", "literal", "ssm"):
            span = written.ami.value.span
        elif written is not None and written.version.set:
            span = written.version.span
        else:
            continue
        # The stage of the control plane gives what shares its literal one of its own.
        if span is not None and span not in own:
            by_literal.setdefault((span.file, span.start, span.end), []).append(group.name)
    return tuple(tuple(names) for names in by_literal.values() if len(names) > 1)


def terraform_facts(inspection: Inspection | None, snapshot: Snapshot) -> TerraformFacts | None:
    """What the checks ask of the Terraform."""
    if inspection is None:
        return None
    config = _config(inspection, snapshot.cluster.name)
    groups = []
    for group in snapshot.node_groups:
        written = config.group(group.name)
        if written is not None:
            groups.append(_group_facts(group.name, written))
    return TerraformFacts(
        cluster_version=config.version.value or "",
        groups=tuple(groups),
        addon_pins={a.name: a.version.value for a in config.addons if a.version.value},
        addons_most_recent=tuple(a.name for a in config.addons if a.most_recent),
    )


def _group_facts(name: str, written: GroupConfig) -> TerraformGroup:
    at_once, share = _number(written.max_unavailable), _number(written.max_unavailable_percentage)
    paced = at_once is not None or share is not None
    return TerraformGroup(
        name=name,
        address=written.address,
        image=_filter(written),
        update_config=UpdateConfig(at_once, share, written.strategy.value or "DEFAULT") if paced else None,
        update_timeout=duration(written.update_timeout.value),
        ignores_desired_size=written.ignores_desired_size,
        min_size=_number(written.min_size),
        force_update=written.force_update.value == "true",
    )


def _number(value: Traced) -> int | None:
    text = value.value
    return int(text) if text is not None and text.lstrip("-").isdigit() else None


def duration(text: str | None) -> float | None:
    """Terraform's `90m`, `1h30m`, in seconds; None for what is none."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text or "")
    if not parts:
        return None
    return sum(float(n) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[u] for n, u in parts)


class TerraformStaging:
    """The engine's Staging over one Terraform root. The plan's stages carry their edits (terraform.stages.weave)."""

    def __init__(self, root: Path, on_gate: Callable[[Stage, GateResult], None] = lambda stage, result: None) -> None:
        self._root = root
        self._on_gate = on_gate

    def before(self, plan: Plan, stage: Stage) -> Mapping[str, str]:
        """SHA-256 of the files that the stage's edits will change; {} when they stand already, or do not fit."""
        try:
            if not pending(self._text, stage.edits):
                return {}
            return {name: _digest(self._text(name)) for name in sorted({e.file for e in stage.edits})}
        except (ReadError, RefusedError):
            return {}  # `edit` says what is wrong

    def edit(self, plan: Plan, stage: Stage, before: Mapping[str, str]) -> Callable[[], None]:
        """Make the stage's edits unless they stand already. Raises RefusedError when the files have changed since the
        plan was made. Edits that stand are taken back only when the journal's `before` says that they were not there
        when Baton first came to this stage: somebody else's are left.
        """
        if pending(self._text, stage.edits):
            undo = apply(self._root, stage.edits)
            return lambda: undo()
        if not stage.edits or not before:
            return lambda: None
        return lambda: self._take_back(stage, before)

    def _take_back(self, stage: Stage, before: Mapping[str, str]) -> None:
        """Raises RefusedError, nothing touched, when the files have been changed by somebody besides."""
        back = inverse(stage.edits)
        texts = edited({e.file: self._text(e.file) for e in back}, back)
        for name, data in texts.items():
            if _digest(data) != before.get(name):
                raise RefusedError(
                    "the file was changed by somebody else after Baton edited it",
                    where=name,
                    hint="take the edits back by hand, for example with `git checkout`",
                )
        apply(self._root, back)

    def _text(self, name: str) -> bytes:
        try:
            return (self._root / name).read_bytes()
        except OSError as error:
            raise ReadError(f"cannot be read: {error.strerror}", where=str(self._root / name)) from error

    def judge(self, plan: Plan, stage: Stage, plan_json: Mapping[str, Any], plan_file: Path) -> Sequence[str]:
        """The gate's reasons to refuse, () when every change was expected."""
        result = judge(plan_json, expectation_of(stage, plan), made_of(self._root, plan_file))
        self._on_gate(stage, result)
        return result.reasons


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def made_of(root: Path, plan_file: Path | None, base: str = "HEAD") -> Made:
    """How a plan was made: what its file says, else what lies in the root; and the providers of commit `base`."""
    made = Made() if plan_file is None else how_made(plan_file)
    now = locked(_text_of(root / LOCK_FILE)) if made.providers is None else made.providers
    return replace(made, providers=now, committed=locked(committed(root, LOCK_FILE, base)))


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None


def _written_notes(inspection: Inspection, snapshot: Snapshot) -> list[str]:
    """What the configuration says that does something else than it seems to, where it concerns this upgrade."""
    config = _config(inspection, snapshot.cluster.name)
    groups = [g for g in config.node_groups if any(g.matches(n.name) or g.key == n.name for n in snapshot.node_groups)]
    notes = [*config.notes, *(f"node group {g.name}: {note}" for g in groups for note in g.notes)]
    return [*notes, *_left_alone(inspection, config)]


def _left_alone(inspection: Inspection, config: ClusterConfig) -> Iterator[str]:
    """What the Terraform has beside managed node groups."""
    for group in config.node_groups:
        if group.kind == "self-managed":
            image = f", image {group.ami.value.value}" if group.ami.value.value else ""
            yield (
                f"self-managed node group {group.name} is in this Terraform ({group.address}{image}): Baton leaves it "
                "alone; move it by hand after the managed ones"
            )
    for other in inspection.unresolved:
        if other.why.startswith(("Karpenter", "a Fargate profile")):
            yield f"{other.what} is in this Terraform ({other.where}): {other.why}"


def make(
    snapshot: Snapshot,
    target: Target,
    knowledge: Knowledge,
    inspection: Inspection | None,
    *,
    allow_targets: bool = False,
    pin_addons: bool = False,
) -> Plan:
    """The plan, with the Terraform edits of each stage where there is Terraform.

    `allow_targets`: what the Terraform itself cannot part, node groups that share one literal among them, is parted by
    `-target`. `pin_addons`: the chosen versions stay written.

    Raises UsageError, RefusedError or ReadError, as the planner and the editor do.
    """
    bound = shared_images(inspection, snapshot)
    plan = make_plan(
        snapshot,
        target,
        knowledge,
        images=image_filters(inspection, snapshot),
        together=() if allow_targets else bound,
    )
    if inspection is None:
        return plan
    if bound and not allow_targets:
        groups = "; ".join(", ".join(names) for names in bound)
        text = f"one literal each for node groups {groups}, so they roll at the same time: --allow-target parts them"
        plan = replace(plan, alternatives=(*plan.alternatives, text))
    lock = locked(_text_of(Path(inspection.root) / LOCK_FILE))
    plan = replace(plan, providers=versions(lock), notes=(*plan.notes, *_written_notes(inspection, snapshot)))
    releases: dict[str, list[AddonRelease]] = {}
    for release in snapshot.addon_releases:
        releases.setdefault(release.name, []).append(release)
    config = _config(inspection, snapshot.cluster.name)
    return weave(
        plan,
        inspection,
        cluster=config.address,
        installed={a.name: a.version for a in snapshot.addons},
        picks=picks_from(releases),
        targets=allow_targets,
        pin=pin_addons,
    )
