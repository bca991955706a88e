"""The Terraform of each stage of a plan: which bytes change, so that one apply moves just what the stage is about.

The community module updates most add-ons after the node groups and rolls all groups at once, so a single apply keeps
no order. Here the control plane stage holds what would move along (editor.py); later stages release these holds, or
write the new version where the data source would pick another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from baton.errors import ReadError, RefusedError
from baton.model.cluster import AddonRelease
from baton.model.plan import Change, Edit, Plan, Stage, StageKind
from baton.terraform.edit import apply, edited, unified_diff
from baton.terraform.editor import HOLD, Editor, unique
from baton.terraform.inspect import again, inspect
from baton.terraform.inspection import AddonConfig, ClusterConfig, Inspection
from baton.terraform.rewrite import moved, release

# (add-on, most_recent, Kubernetes version) -> what `data "aws_eks_addon_version"` picks, "" when not known.
Picks = Callable[[str, bool, str], str]


def no_picks(name: str, most_recent: bool, version: str) -> str:
    """Nothing is known of what the data source would pick: versions are then written out."""
    return ""


def picks_from(releases: Mapping[str, Sequence[AddonRelease]]) -> Picks:
    """As the provider does it: the first release offered for `most_recent`, else the default of the version."""

    def pick(name: str, most_recent: bool, version: str) -> str:
        fitting = [r for r in releases.get(name, ()) if version in r.compatible]
        if not most_recent:
            fitting = [r for r in fitting if version in r.default_for]
        return fitting[0].version if fitting else ""

    return pick


@dataclass(frozen=True, slots=True)
class StageEdits:
    """What one stage changes in the files, and the resources that its apply is expected to change."""

    edits: tuple[Edit, ...]
    diff: str
    addresses: tuple[str, ...]
    notes: tuple[str, ...] = ()


# --- stages of a plan -----------------------------------------------------------------------------


class Weaver:
    """Walks the stages of a plan on texts in memory and says what each would change.

    `installed` maps add-ons to their versions as the plan begins; `picks` tells what the data source would choose.
    """

    def __init__(
        self, inspection: Inspection, cluster: str | None, installed: Mapping[str, str], picks: Picks = no_picks
    ) -> None:
        self._inspection = inspection
        self._first = inspection.cluster(cluster)  # as it was before anything was held
        self._address = self._first.address
        self._installed = dict(installed)
        self._picks = picks
        self._history: list[tuple[Edit, ...]] = []
        self._held: list[tuple[int, Edit]] = []  # (which batch made it, the hold)
        self._overlay: dict[str, bytes] = {}

    def recall(self, batches: Iterable[Sequence[Edit]]) -> None:
        """Edits that earlier stages made already: their holds can then be released."""
        for batch in batches:
            self._history.append(tuple(batch))
            released = {e.why.removeprefix("release ") for e in batch if e.why.startswith("release ")}
            self._held = [h for h in self._held if h[1].why.removeprefix(HOLD) not in released]
            self._held += [(len(self._history) - 1, e) for e in batch if e.why.startswith(HOLD)]

    def stage(self, stage: Stage) -> StageEdits:
        """The edits of the next stage. Raises RefusedError when the stage cannot be parted from another in the HCL."""
        inspection = self._inspection
        editor = Editor(inspection, self._cluster())
        edits = self._edits(stage, editor)
        before = {e.file: inspection.files.text(e.file) for e in edits}
        after = edited(before, edits)
        self._overlay |= after
        self._history.append(edits)
        self._held += [(len(self._history) - 1, e) for e in edits if e.why.startswith(HOLD)]
        self._installed |= {c.name: c.to for c in stage.changes if c.kind == "addon"}
        self._inspection = again(inspection, after) if after else inspection
        return StageEdits(edits, unified_diff(before, after), addresses(stage, editor.cluster))

    def _cluster(self) -> ClusterConfig:
        return next(c for c in self._inspection.clusters if c.address == self._address)

    def _edits(self, stage: Stage, editor: Editor) -> tuple[Edit, ...]:
        if stage.kind is StageKind.CONTROL_PLANE:
            return editor.control_plane(stage.changes[0].to, self._installed)
        if stage.kind is StageKind.UPDATE_CONFIG:
            paced = tuple(c.name for c in stage.changes)
            return unique(e for c in stage.changes for e in editor.update_config(c.name, c.attributes, paced))
        if stage.kind is StageKind.ADDONS:
            return unique([*self._addon_edits(stage, editor), *self._release_idle(stage, editor)])
        return unique([*(e for c in stage.changes for e in self._group_edits(c, editor))])

    def _addon_edits(self, stage: Stage, editor: Editor) -> list[Edit]:
        found: list[Edit] = []
        for change in stage.changes:
            addon = editor.cluster.addon(change.name)
            hold = self._take(f"{HOLD}add-on {change.name}")
            if hold is not None and addon is not None and self._pick(addon, editor) == change.to:
                taken_back = self._release(hold)
                if taken_back is not None:
                    found.append(taken_back)
                    continue
            found += editor.addon(change.name, change.to)
        return found

    def _release_idle(self, stage: Stage, editor: Editor) -> list[Edit]:
        """Add-ons held for the control plane that have nowhere to go: released when their data source stays put."""
        moving = {c.name for c in stage.changes}
        found: list[Edit] = []
        for addon in editor.cluster.addons:
            key = f"{HOLD}add-on {addon.name}"
            pick = self._pick(addon, editor)
            if addon.name in moving or pick != self._installed.get(addon.name):
                continue
            hold = self._take(key)
            taken_back = self._release(hold) if hold is not None else None
            if taken_back is not None:
                found.append(taken_back)
        return found

    def _pick(self, addon: AddonConfig, editor: Editor) -> str:
        original = self._first.addon(addon.name) or addon
        return self._picks(addon.name, original.most_recent, editor.cluster.version.value or "")

    def _group_edits(self, change: Change, editor: Editor) -> tuple[Edit, ...]:
        attributes = change.attributes
        kubelet = (attributes.get("kubelet_from", change.from_), attributes.get("kubelet_to", change.to))
        image = attributes.get("image_id", "")
        # Holds are filed under the name in the configuration; EKS's own may carry a time stamp behind it.
        name = editor.group(change.name).name
        what = f"the AMI of node group {name}" if image else f"the version of node group {name}"
        hold = self._take(HOLD + what)
        if hold is not None and editor.cluster.version.value == kubelet[1]:
            taken_back = self._release(hold)
            if taken_back is not None:
                return (taken_back,)
        if not image:
            return editor.version(change.name, attributes.get("version", change.to))
        return editor.image(
            change.name, image, attributes.get("image_name", ""), attributes.get("image_pattern", ""), kubelet
        )

    def _take(self, why: str) -> tuple[int, Edit] | None:
        """The hold on a subject, no longer counted as one."""
        for held in self._held:
            if held[1].why == why:
                self._held.remove(held)
                return held
        return None

    def _release(self, held: tuple[int, Edit]) -> Edit | None:
        batch, hold = held
        at = moved(hold, self._history[batch], self._history[batch + 1 :])
        return release(hold, at, self._inspection.files.text)


def addresses(stage: Stage, cluster: ClusterConfig) -> tuple[str, ...]:
    """The resources that the apply of a stage changes in place."""
    found: list[str] = []
    for change in stage.changes:
        if change.kind == "cluster":
            found.append(cluster.resource)
        elif change.kind == "addon":
            addon = cluster.addon(change.name)
            found += [addon.address] if addon is not None else []
        else:
            group = cluster.group(change.name)
            if group is not None and stage.kind is StageKind.NODE_GROUP and group.template:
                found.append(group.template)
            found += [group.address] if group is not None else []
    return tuple(dict.fromkeys(found))


def weave(
    plan: Plan,
    inspection: Inspection,
    *,
    cluster: str | None = None,
    installed: Mapping[str, str] | None = None,
    picks: Picks = no_picks,
) -> Plan:
    """The plan with the edits, diff and addresses of every stage, each on the text that the stages before it leave.

    `installed`: add-on versions now (default: as the plan's facts say). Raises RefusedError, UsageError.
    """
    known = installed if installed is not None else _installed(plan)
    weaver = Weaver(inspection, cluster or plan.cluster, known, picks)
    stages = []
    for stage in plan.stages:
        found = weaver.stage(stage)
        stages.append(replace(stage, edits=found.edits, diff=found.diff, addresses=found.addresses))
    return replace(plan, stages=tuple(stages))


def _installed(plan: Plan) -> dict[str, str]:
    found = {}
    for key, value in plan.facts.items():
        match = re.fullmatch(r"addon/(.+)\.version", key)
        if match:
            found[match[1]] = value
    return found


def pending(texts: Callable[[str], bytes], edits: Sequence[Edit]) -> bool:
    """Whether a stage's edits are still to be made: True when the old bytes stand, False when the new ones do.

    Raises RefusedError when neither do: the file was changed by someone else.
    """
    if not edits:
        return False
    try:
        edited({e.file: texts(e.file) for e in edits}, edits)
    except RefusedError:
        for edit in edits:
            at = moved(edit, edits, ())
            if texts(edit.file)[at : at + len(edit.new.encode())] != edit.new.encode():
                raise
        return False
    return True


# --- at the time of a stage ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ready:
    """A stage whose edits fit the files as they are now."""

    root: Path
    stage: Stage

    def _text(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def write(self) -> str:
        """`written`, or `already` when the edits are in the files."""
        if not self.stage.edits or not pending(self._text, self.stage.edits):
            return "already"
        apply(self.root, self.stage.edits)
        return "written"

    def take_back(self) -> str:
        """`undone`, or `already` when the edits are not in the files."""
        if not self.stage.edits or pending(self._text, self.stage.edits):
            return "already"
        apply(self.root, inverse(self.stage.edits))
        return "undone"


def inverse(edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """The edits that take `edits` back, on the text they leave."""
    return tuple(
        Edit(e.file, at := moved(e, edits, ()), at + len(e.new.encode()), e.new, e.old, e.line, f"undo {e.why}")
        for e in edits
    )


def stage_edits(
    plan: Plan,
    stage: Stage,
    root: Path,
    *,
    var_files: Sequence[str] = (),
    workspace: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Ready:
    """The stage with edits that fit the files now: the planned ones where they still fit, else found anew.

    Raises RefusedError when the files are such that the stage cannot be made, ReadError when they cannot be read.
    """
    if stage.edits:
        try:
            pending(lambda name: _read(root, name), stage.edits)
        except RefusedError:
            pass  # someone edited the files since: look again
        else:
            return Ready(root, stage)
    inspection = inspect(root, var_files=var_files, workspace=workspace, environ=environ)
    cluster = inspection.cluster(plan.cluster)
    weaver = Weaver(inspection, cluster.address, _installed(plan))
    weaver.recall(s.edits for s in plan.stages if s.ordinal < stage.ordinal)
    found = weaver.stage(stage)
    return Ready(root, replace(stage, edits=found.edits, diff=found.diff, addresses=found.addresses))


def _read(root: Path, name: str) -> bytes:
    try:
        return (root / name).read_bytes()
    except OSError as error:
        raise ReadError(f"cannot be read: {error.strerror}", where=name, hint="check the path") from error
