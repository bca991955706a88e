"""The Terraform of each stage of a plan: which bytes change, so that one apply moves just what the stage is about.

The community module updates most add-ons after the node groups and rolls all groups at once, so a single apply keeps
no order. Here the control plane stage holds what would move along (editor.py); later stages release these holds, or
write the new version where the data source would pick another. What no edit can hold is left out of an apply by
`-target`, but only when the user has allowed that; until its own stage has come every other stage is targeted too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from baton.errors import ReadError, RefusedError
from baton.model.cluster import AddonRelease
from baton.model.plan import Change, Edit, Plan, Stage, StageKind
from baton.model.target import ImageFilter
from baton.terraform.edit import apply, edited, shared_files, unified_diff
from baton.terraform.editor import HOLD, TARGET_HINT, Editor, subject_of, unique
from baton.terraform.inspect import again, inspect
from baton.terraform.inspection import AddonConfig, ClusterConfig, GroupConfig, Inspection, uses
from baton.terraform.rewrite import moved, release
from baton.terraform.unmoved import changed

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
    """What one stage changes in the files, and the resources that its apply is expected to change.

    `targets` is empty, or the addresses to give as `-target`, for the sake of what `left_out` names.
    """

    edits: tuple[Edit, ...]
    diff: str
    addresses: tuple[str, ...]
    targets: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


# --- stages of a plan -----------------------------------------------------------------------------


Subject = tuple[str, str]  # (`addon` or `node-group`, its name in the configuration)


class Weaver:
    """Walks the stages of a plan on texts in memory and says what each would change.

    `installed` maps add-ons to their versions as the plan begins; `picks` tells what the data source would choose.
    `targets`: stages that no edit parts may be parted by `-target`. `pin`: add-on versions are written, also where a
    data source would pick the same.
    """

    def __init__(
        self,
        inspection: Inspection,
        cluster: str | None,
        installed: Mapping[str, str],
        picks: Picks = no_picks,
        *,
        targets: bool = False,
        pin: bool = False,
    ) -> None:
        self._inspection = inspection
        self._first = inspection.cluster(cluster)  # as it was before anything was held
        self._address = self._first.address
        self._installed = dict(installed)
        self._picks = picks
        self._history: list[tuple[Edit, ...]] = []
        self._held: list[tuple[int, Edit]] = []  # (which batch made it, the hold)
        self._overlay: dict[str, bytes] = {}
        self._targets = targets
        self._pin = pin
        self._recalled = False
        self._loose: dict[Subject, None] = {}  # what an apply without -target would move besides; in order

    def recall(self, batches: Iterable[Sequence[Edit]]) -> None:
        """Edits that earlier stages made already: their holds can then be released."""
        self._recalled = True
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
        own = _subjects(stage, editor)
        self._loose |= dict.fromkeys(self._moved_along(stage, editor, edits, own))
        left_out = tuple(s for s in self._loose if s not in own)
        targets = self._targets_of(stage, editor.cluster, left_out)
        self._loose = dict.fromkeys(left_out)
        before = {e.file: inspection.files.text(e.file) for e in edits}
        after = edited(before, edits)
        self._overlay |= after
        self._history.append(edits)
        self._held += [(len(self._history) - 1, e) for e in edits if e.why.startswith(HOLD)]
        self._installed |= {c.name: c.to for c in stage.changes if c.kind == "addon"}
        self._inspection = again(inspection, after) if after else inspection
        self._refuse_strays(stage, inspection, own | set(left_out))
        self._refuse_unreached(stage)
        shown = tuple(f"{'add-on' if kind == 'addon' else 'node group'} {name}" for kind, name in left_out)
        return StageEdits(edits, unified_diff(before, after), addresses(stage, editor.cluster), targets, shown)

    def _moved_along(self, stage: Stage, editor: Editor, edits: Sequence[Edit], own: set[Subject]) -> Iterable[Subject]:
        """What the stage would move besides its own subjects. Raises RefusedError when -target is not allowed."""
        if stage.kind is StageKind.CONTROL_PLANE:
            for subject, why in editor.loose.items():
                if not self._targets:
                    raise RefusedError(why.message, where=why.where, hint=f"{why.hint}; {TARGET_HINT}")
                yield subject
        elif stage.kind is StageKind.NODE_GROUP:
            spans = {(e.file, e.start, e.end) for e in edits if e.old}
            for address, what, trace in uses(self._inspection):
                at = next(
                    (p.span for p in trace.pieces if p.span and (p.span.file, p.span.start, p.span.end) in spans), None
                )
                if at is None or trace is editor.cluster.version or "max_unavailable" in what:
                    continue
                if address == editor.cluster.address and subject_of(what) in own:
                    continue
                if address == editor.cluster.address and self._targets:
                    yield subject_of(what)
                elif address != editor.cluster.address or _managed(editor.cluster, subject_of(what)):
                    beyond = address != editor.cluster.address
                    raise RefusedError(
                        f"the same literal is {what} at {address}: both would move at once",
                        where=str(at),
                        hint="give each cluster its own value"
                        if beyond
                        else f"move them in one stage, or give each its own value; {TARGET_HINT}",
                    )

    def _refuse_strays(self, stage: Stage, before: Inspection, moving: set[Subject]) -> None:
        """Refuses edits after which anything reads otherwise that the stage is not about, nor leaves out by -target."""
        if stage.kind is StageKind.CONTROL_PLANE:
            moving = moving | {("cluster", "")}
        elif stage.kind is StageKind.UPDATE_CONFIG:
            moving = {("pace", name) for _, name in moving}
        for stray in changed(before, self._inspection):
            if stray.cluster != self._address or stray.subject not in moving:
                raise stray.refused()

    def _refuse_unreached(self, stage: Stage) -> None:
        """Refuses a node group stage whose edits leave a group on another version than it is about."""
        cluster = self._cluster()
        for change in stage.changes if stage.kind is StageKind.NODE_GROUP else ():
            group = cluster.group(change.name)
            to = change.attributes.get("version", "")
            if group is None or not to or group.ami.kind != "eks-optimised":
                continue
            now = group.version.value or (cluster.version.value if group.version_from_cluster else None)
            if now is not None and now != to:
                raise RefusedError(
                    f"node group {group.name} would stay at {now}: one text sets its version and that of others",
                    where=str(group.version.span or group.address),
                    hint="give each group its own version",
                )

    def _targets_of(self, stage: Stage, cluster: ClusterConfig, left_out: Sequence[Subject]) -> tuple[str, ...]:
        """The addresses to target, () when nothing is left out. Raises RefusedError when targets would not part it."""
        if not left_out:
            return ()
        # A target takes along every instance of what it depends on, unless that is targeted too: name the template.
        found = addresses(stage, cluster, templates=True)
        late = [a for a in found if ".aws_eks_addon.this[" in a]
        groups = [name for kind, name in left_out if kind == "node-group"]
        if late and groups and cluster.kind in ("module", "assumed"):
            raise RefusedError(
                f"in the module {late[0]} waits for all node groups, so even -target would roll {', '.join(groups)} "
                "with it",
                where=cluster.address,
                hint="write the group as an object in this root, with its own version, or set before_compute = true "
                "for the add-on (by itself, before the upgrade)",
            )
        return found

    def _cluster(self) -> ClusterConfig:
        return next(c for c in self._inspection.clusters if c.address == self._address)

    def _edits(self, stage: Stage, editor: Editor) -> tuple[Edit, ...]:
        if stage.kind is StageKind.CONTROL_PLANE:
            change = stage.changes[0]
            return editor.control_plane(change.to, self._installed, change.from_)
        if stage.kind is StageKind.UPDATE_CONFIG:
            paced = tuple(c.name for c in stage.changes)
            return unique(e for c in stage.changes for e in editor.update_config(c.name, c.attributes, paced))
        if stage.kind is StageKind.ADDONS:
            return unique([*self._addon_edits(stage, editor), *self._release_idle(stage, editor)])
        found = unique([*(e for c in stage.changes for e in self._group_edits(c, editor))])
        # Groups that share a text were held by one edit: taking it back moves them all.
        freed = [e for e in found if e.why.startswith("release ")]
        return tuple(e for e in found if e in freed or not any(_overlap(e, f) for f in freed))

    def _addon_edits(self, stage: Stage, editor: Editor) -> list[Edit]:
        found: list[Edit] = []
        for change in stage.changes:
            addon = editor.cluster.addon(change.name)
            hold = self._take(f"{HOLD}add-on {change.name}")
            if hold is not None and addon is not None and not self._pin and self._pick(addon, editor) == change.to:
                taken_back = self._release(hold)
                if taken_back is not None:
                    found.append(taken_back)
                    continue
            try:
                found += editor.addon(change.name, change.to)
            except RefusedError:
                # One that was left out by -target follows its data source in its own stage.
                follows = self._targets and addon is not None and addon.follows
                if not follows or addon is None or self._pick(addon, editor) not in ("", change.to):
                    raise
        return found

    def _release_idle(self, stage: Stage, editor: Editor) -> list[Edit]:
        """Add-ons held for the control plane that have nowhere to go: released when their data source stays put."""
        moving = {c.name for c in stage.changes}
        found: list[Edit] = []
        for addon in () if self._pin else editor.cluster.addons:
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
        group = editor.group(change.name)
        name = group.name
        what = f"the AMI of node group {name}" if image else f"the version of node group {name}"
        if not image:
            editor.check_release(group, kubelet[1])
        hold = self._take(HOLD + what)
        if hold is not None and editor.cluster.version.value == kubelet[1]:
            taken_back = self._release(hold)
            if taken_back is not None:
                return (taken_back,)
        moved_before = ("node-group", name) in self._loose or (self._targets and self._recalled)
        if image and moved_before and _finds(group, image, attributes.get("image_name", ""), kubelet[1]):
            return ()  # by the stage of a group that shares the literal
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


def _overlap(edit: Edit, other: Edit) -> bool:
    return edit.file == other.file and edit.start < other.end and other.start < edit.end


def _subjects(stage: Stage, editor: Editor) -> set[Subject]:
    """What the stage is about, by the names of the configuration."""
    found: set[Subject] = set()
    for change in stage.changes:
        if change.kind == "node-group":
            group = editor.cluster.group(change.name)
            found.add((change.kind, group.name if group is not None else change.name))
        elif change.kind == "addon":
            found.add((change.kind, change.name))
    return found


def _finds(group: GroupConfig, image_id: str, image_name: str, version: str) -> bool:
    """Whether the group's image, as written now, is this one already."""
    ami, written = group.ami, group.ami.value.value or ""
    if ami.kind == "literal" or written.startswith("ami-"):
        return written == image_id
    if ami.kind == "data-aws-ami":
        return bool(image_name) and ImageFilter(written, regex=ami.by == "name_regex").matches(image_name)
    return ami.kind == "ssm" and re.search(rf"(?<![\d.]){re.escape(version)}(?![\d])", written) is not None


def _managed(cluster: ClusterConfig, subject: Subject) -> bool:
    """Whether the subject is a managed node group, which a change of its image or version rolls."""
    return any(g.name == subject[1] and g.kind == "managed" for g in cluster.node_groups)


def addresses(stage: Stage, cluster: ClusterConfig, *, templates: bool = False) -> tuple[str, ...]:
    """The resources that the apply of a stage changes in place; with `templates` also those of its groups that stay."""
    found: list[str] = []
    for change in stage.changes:
        if change.kind == "cluster":
            found.append(cluster.resource)
        elif change.kind == "addon":
            addon = cluster.addon(change.name)
            found += [addon.address] if addon is not None else []
        else:
            group = cluster.group(change.name)
            # A template without an image stays as it is: EKS takes its own image, by the group's version.
            imaged = group is not None and group.ami.kind != "eks-optimised"
            if group is not None and stage.kind is StageKind.NODE_GROUP and group.template and (imaged or templates):
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
    targets: bool = False,
    pin: bool = False,
) -> Plan:
    """The plan with the edits, diff and addresses of every stage, each on the text that the stages before it leave.

    `installed`: add-on versions now (default: as the plan's facts say). `targets`: stages that nothing else parts get
    `-target`s. `pin`: add-on versions are written out. Raises RefusedError, UsageError.
    """
    known = installed if installed is not None else _installed(plan)
    weaver = Weaver(inspection, cluster or plan.cluster, known, picks, targets=targets, pin=pin)
    stages = []
    for stage in plan.stages:
        found = weaver.stage(stage)
        reason = stage.reason + (f"; -target leaves out {', '.join(found.left_out)}" if found.targets else "")
        stages.append(
            replace(
                stage,
                reason=reason,
                edits=found.edits,
                diff=found.diff,
                addresses=found.addresses,
                targets=found.targets,
            )
        )
    shared = shared_files(e for s in stages for e in s.edits)
    return replace(plan, stages=tuple(stages), notes=(*plan.notes, *([shared] if shared else [])))


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
    whys = [e.why for s in plan.stages for e in s.edits]
    pin = not any(w.startswith("release add-on") for w in whys) and any(w.startswith(HOLD + "add-on") for w in whys)
    targets = any(s.targets for s in plan.stages)
    weaver = Weaver(inspection, cluster.address, _installed(plan), targets=targets, pin=pin)
    weaver.recall(s.edits for s in plan.stages if s.ordinal < stage.ordinal)
    found = weaver.stage(stage)
    return Ready(root, replace(stage, edits=found.edits, diff=found.diff, addresses=found.addresses))


def _read(root: Path, name: str) -> bytes:
    try:
        return (root / name).read_bytes()
    except OSError as error:
        raise ReadError(f"cannot be read: {error.strerror}", where=name, hint="check the path") from error
