"""The edits that one stage of an upgrade needs, on the texts of one inspection.

The control plane moves alone only when what would follow it is held: add-ons whose version a data source picks, images
and node group versions made from the same literal, groups that take the cluster's version by themselves.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from baton.errors import RefusedError
from baton.knowledge.ami import retarget_pattern
from baton.model.plan import Edit
from baton.model.versions import Minor
from baton.terraform.hcl import Span
from baton.terraform.inspection import AddonConfig, ClusterConfig, GroupConfig, Inspection, Traced, uses
from baton.terraform.rewrite import hold_expression, hold_value, insert_key, replace_null, set_value
from baton.terraform.values import ObjectSource

HOLD = "hold: "
TARGET_HINT = "or let Baton plan this stage with -target, told and on record: --allow-target"


class Editor:
    """Edits for one cluster on the texts of one inspection. Every method returns edits and changes nothing.

    `loose` are the subjects, (`addon` or `node-group`, name), that no edit keeps from moving along, and why.
    """

    def __init__(self, inspection: Inspection, cluster: ClusterConfig) -> None:
        self.inspection = inspection
        self.cluster = cluster
        self.texts = inspection.files.text
        self.loose: dict[tuple[str, str], RefusedError] = {}

    # control plane

    def control_plane(self, to: str, installed: Mapping[str, str], now: str = "") -> tuple[Edit, ...]:
        """Move the cluster's version, hold all that would follow it.

        `installed` maps add-ons to versions now; `now` is the cluster's, for a root that does not write it yet.
        """
        moving = self._move_version(to)
        spans = [p.span for p in self.cluster.version.pieces if p.span and any(_same(p.span, e) for e in moving)]
        holds = [*self._hold_shared(spans), *self._hold_groups(now), *self._hold_addons(installed)]
        return self._without_clashes(holds, moving) if moving else ()

    def _without_clashes(self, holds: Sequence[Edit], moving: Sequence[Edit]) -> tuple[Edit, ...]:
        """Of holds that would change the same text none is made: a module called twice is one text."""
        clashing = _clashing(unique([*holds, *moving]))
        for hold in (h for h in holds if h in clashing):
            self.loose.setdefault(
                subject_of(hold.why),
                RefusedError(
                    f"{hold.why.removeprefix(HOLD)} cannot be held apart: another edit of this stage would change the "
                    "same text",
                    where=f"{hold.file}:{hold.line}",
                    hint="one literal cannot take two values: give each its own, or move them together",
                ),
            )
        return unique([*(h for h in holds if h not in clashing), *moving])

    def _move_version(self, to: str) -> tuple[Edit, ...]:
        """Where nobody writes a version (EKS took its newest at creation), it is written at the call or resource."""
        cluster = self.cluster
        what = f"the version of cluster {cluster.name.value or cluster.address}"
        if cluster.version.set:
            return set_value(cluster.version, to, what, self.texts)
        slot = cluster.slot if cluster.version_key else None
        return (self._insert(cluster.version, slot, cluster.version_key, f'"{to}"', f"{what} to {to}"),)

    def _insert(self, trace: Traced, slot: ObjectSource | None, key: str, value: str, why: str) -> Edit:
        """Write what nobody writes: in `slot`, or where something looks for it elsewhere; never a second time."""
        if not trace.chain and slot is not None:
            return insert_key(slot, key, value, why, self.texts)
        if trace.probes:
            return insert_key(trace.probes[0].source, trace.probes[0].key, value, why, self.texts)
        found = replace_null(trace, value, why, self.texts)
        if found is not None:
            return found
        raise RefusedError(
            f"{key or 'the version'} is set by an expression that comes to nothing here ({why})",
            where=str(trace.chain[0]) if trace.chain else self.cluster.address,
            hint=f"write {key or 'the version'} = {value} there by hand",
        )

    def _hold_shared(self, moving: Sequence[Span]) -> list[Edit]:
        """Values made from the literal that is about to change: held within this cluster, refused beyond it."""
        elsewhere = set(self.cluster.version.chain)
        leading = Counter(s for _, _, trace in uses(self.inspection) for s in set(trace.chain))
        shared = {s for s, number in leading.items() if number > 1}
        found: list[Edit] = []
        for stranger in self.cluster.strangers:
            if any(p.span in moving for p in stranger.value.pieces):
                raise RefusedError(
                    f"{stranger.name} of {stranger.address} is the same literal, and what that module makes of it "
                    "cannot be seen: nodes of it would roll together with the control plane",
                    where=str(moving[0]),
                    hint=f"run `terraform init`, so that Baton can read it, or write {stranger.name} of "
                    f"{stranger.address} as a literal of its own",
                )
        for address, what, trace in uses(self.inspection):
            if trace is self.cluster.version or not any(p.span in moving for p in trace.pieces):
                continue
            if address != self.cluster.address:
                raise RefusedError(
                    f"the same literal is {what} at {address}: both would move at once",
                    where=str(moving[0]),
                    hint="give each cluster its own version (a variable or a map entry), then upgrade one at a time",
                )
            try:
                found += hold_value(trace, moving, elsewhere, what, self.texts, shared)
            except RefusedError as error:
                self.loose[subject_of(what)] = error
        return found

    def _hold_groups(self, now: str) -> list[Edit]:
        """Node groups on EKS-optimised images that take the cluster's version by themselves."""
        found = []
        if self.cluster.unseen.why:
            self.loose["node-group", "(not told)"] = RefusedError(
                f"the node groups of {self.cluster.address} cannot be told: {self.cluster.unseen.why}; those on EKS's "
                "own images would roll together with the control plane",
                where=self.cluster.unseen.where or self.cluster.address,
                hint="write their keys and versions so that they can be decided in this root",
            )
        version = self.cluster.version.value or now
        for group in self.cluster.node_groups:
            if version and group.ami.kind == "eks-optimised" and self._says_cluster_version(group.version):
                found.append(
                    hold_expression(group.version, version, f"the version of node group {group.name}", self.texts)
                )
            if not group.version_from_cluster or not version:
                continue
            if group.slot is None:
                self.loose["node-group", group.name] = RefusedError(
                    f"node group {group.name} would roll together with the control plane, and its own "
                    f"{group.version_key} cannot be written",
                    where=group.address,
                    hint=group.unsure or f"write the group as an object in this root, with its own {group.version_key}",
                )
                continue
            why = f"{HOLD}the version of node group {group.name}"
            found.append(self._insert(group.version, group.slot, group.version_key, f'"{version}"', why))
        return found

    def _says_cluster_version(self, trace: Traced) -> bool:
        """The running cluster's version is read where the configuration itself writes none."""
        own = (self.cluster.address, self.cluster.resource)
        return trace.ref in {f"{a}.{k}" for a in own for k in ("version", "cluster_version", "kubernetes_version")}

    def _hold_addons(self, installed: Mapping[str, str]) -> list[Edit]:
        found = []
        for addon in self.cluster.addons:
            if not addon.follows or addon.name not in installed:
                continue
            try:
                found.append(self._pin(addon, installed[addon.name], f"{HOLD}add-on {addon.name}"))
            except RefusedError as error:
                self.loose["addon", addon.name] = error
        return found

    def _pin(self, addon: AddonConfig, version: str, why: str) -> Edit:
        """Write an add-on's version where it now follows a data source."""
        expression = next((s for s in addon.version.chain if not s.foreign), None)
        same = [a for a in self.cluster.addons if a.slot is not None and a.slot == addon.slot]
        if addon.slot is not None and (len(same) == 1 or expression is None):
            return insert_key(addon.slot, addon.slot_key, f'"{version}"', why, self.texts)
        if expression is None:
            raise RefusedError(
                f"add-on {addon.name} would move with the control plane, and its version cannot be written here",
                where=addon.address,
                hint="give the add-on an addon_version in this root",
            )
        old = self.texts(expression.file)[expression.start : expression.end].decode()
        return Edit(expression.file, expression.start, expression.end, old, f'"{version}"', expression.line, why)

    # add-ons

    def addon(self, name: str, to: str) -> tuple[Edit, ...]:
        """Write the version of one add-on."""
        addon = self.cluster.addon(name)
        if addon is None:
            raise RefusedError(
                f"add-on {name} is not in this Terraform",
                where=self.cluster.address,
                hint="it was made outside of it: update it with --engine aws, or import it",
            )
        what = f"the version of add-on {name}"
        if addon.follows or (not addon.version.set and addon.slot is not None):
            return (self._pin(addon, to, f"{what} to {to}"),)
        return set_value(addon.version, to, what, self.texts)

    # node groups

    def group(self, name: str) -> GroupConfig:
        """The configuration of EKS's node group `name`. Raises RefusedError."""
        found = self.cluster.group(name)
        if found is None:
            raise RefusedError(
                f"node group {name} is not in this Terraform",
                where=self.cluster.address,
                hint=f"groups here: {', '.join(g.name for g in self.cluster.node_groups) or 'none'}",
            )
        return found

    def image(
        self, name: str, image_id: str, image_name: str, pattern: str, kubelet: tuple[str, str]
    ) -> tuple[Edit, ...]:
        """Move a group to an image. `kubelet` is (from, to), for paths and filters that say a version."""
        group = self.group(name)
        what = f"the AMI of node group {name}"
        ami = group.ami
        if ami.kind == "literal":
            return set_value(ami.value, image_id, what, self.texts)
        if ami.kind in ("data-aws-ami", "ssm") and ami.value.value is None:
            return set_value(ami.value, image_name, what, self.texts)  # refuses, saying why
        if ami.kind == "data-aws-ami":
            return set_value(ami.value, self._filter(group, image_id, image_name, pattern, kubelet), what, self.texts)
        if ami.kind == "ssm":
            return set_value(ami.value, _retargeted_path(group, kubelet), what, self.texts)
        return set_value(
            replace(ami.value, value=None, why=ami.value.why or "the group names no image of its own"),
            image_id,
            what,
            self.texts,
        )

    def _filter(
        self, group: GroupConfig, image_id: str, image_name: str, pattern: str, kubelet: tuple[str, str]
    ) -> str:
        """The filter value that finds the image."""
        old = group.ami.value.value or ""
        if old.startswith("ami-"):
            return image_id
        retargeted = retarget_pattern(old, Minor.parse(kubelet[0]), Minor.parse(kubelet[1]))
        if group.ami.by == "name_regex":
            if retargeted != old and (not image_name or re.search(retargeted, image_name)):
                return retargeted
            return "^" + re.escape(image_name).replace("\\-", "-") + "$"
        if pattern:
            return pattern
        if retargeted != old and (not image_name or fnmatchcase(image_name, retargeted)):
            return retargeted
        if not image_name:
            raise RefusedError(
                f"the filter {old!r} says no version, and the image has no name to write instead",
                where=str(group.ami.value.span or group.ami.address),
                hint="name the image: --ami GROUP=NAME",
            )
        return image_name

    def check_release(self, group: GroupConfig, to: str) -> None:
        """Refuses a group that pins a release of another version."""
        release = group.release_version
        if release.value is None or release.value.startswith(to + "."):
            return
        raise RefusedError(
            f"node group {group.name} pins release {release.value}, which is no {to} image",
            where=str(release.span or group.address),
            hint="remove the pinned release version, or set it to a release for the new version",
        )

    def version(self, name: str, to: str) -> tuple[Edit, ...]:
        """Move a group on EKS's own images to a version."""
        group = self.group(name)
        what = f"the version of node group {name}"
        self.check_release(group, to)
        if group.version.set:
            return set_value(group.version, to, what, self.texts)
        if group.version_from_cluster and self.cluster.version.value == to:
            return ()
        if group.slot is None and not group.version.chain:
            hint = group.unsure or "write the group in this root"
            raise RefusedError(f"{what} cannot be written here", where=group.address, hint=hint)
        return (self._insert(group.version, group.slot, group.version_key, f'"{to}"', f"{what} to {to}"),)

    # pacing

    def update_config(self, name: str, wanted: Mapping[str, str], also: Sequence[str] = ()) -> tuple[Edit, ...]:
        """`wanted`: max_unavailable or max_unavailable_percentage, perhaps strategy; `also`: groups paced with it."""
        group = self.group(name)
        what = f"update_config of node group {name}"
        keys = {k: wanted[k] for k in ("max_unavailable", "max_unavailable_percentage") if wanted.get(k)}
        now = {"max_unavailable": group.max_unavailable, "max_unavailable_percentage": group.max_unavailable_percentage}
        edits: list[Edit] = []
        for key, value in keys.items():
            other = now[_other(key)]
            if now[key].set:
                self._alone(now[key], what, also)
                edits += set_value(now[key], value, what, self.texts)
            elif other.set:
                self._alone(other, what, also)
                edits += self._renamed(other, _other(key), key, value, what)
            else:
                edits.append(self._new_update_config(group, now[key], key, value, what))
        strategy = wanted.get("strategy", "")
        if group.strategy.set and strategy:
            edits += set_value(group.strategy, strategy, what, self.texts)
        return tuple(edits)

    def _alone(self, trace: Traced, what: str, also: Sequence[str]) -> None:
        """Refuses when the literal paces groups besides this one and `also`."""
        spans = {p.span for p in trace.pieces if p.span}
        for address, other, used in uses(self.inspection):
            if used is trace or any(other.endswith(f"node group {n}") for n in also):
                continue
            if "max_unavailable" in other and spans & {p.span for p in used.pieces}:
                raise RefusedError(
                    f"{what} is written in one literal with {other} at {address}",
                    where=str(trace.span),
                    hint="ask for the same pacing for all of these groups, or give this group its own update_config",
                )

    def _renamed(self, trace: Traced, old: str, new: str, value: str, what: str) -> tuple[Edit, ...]:
        """`max_unavailable_percentage = 33` becomes `max_unavailable = 1`: one cannot stand beside the other."""
        expression = trace.chain[0] if trace.chain else None
        written = trace.span
        if expression is None or written is None or expression.foreign or not _inside(written, expression):
            raise RefusedError(
                f"{what} sets {old} by way of something else, so it cannot be turned into {new}",
                where=str(written or trace.where),
                hint=f"ask for {old} instead, or write {new} = {value} by hand",
            )
        data = self.texts(expression.file)
        line_start = data.rfind(b"\n", 0, expression.start) + 1
        match = re.search(rf"\b{old}(\s*[=:]\s*)$", data[line_start : expression.start].decode())
        if match is None:
            raise RefusedError(
                f"{what} sets {old} in a way that cannot be turned into {new}",
                where=str(expression),
                hint=f"write {new} = {value} by hand",
            )
        start = line_start + len(data[line_start : expression.start].decode()[: match.start()].encode())
        before = data[start : expression.end].decode()
        spaces = match[1] if "\n" in before else _padded(match[1], old, new)
        return (Edit(expression.file, start, expression.end, before, f"{new}{spaces}{value}", expression.line, what),)

    def _new_update_config(self, group: GroupConfig, now: Traced, key: str, value: str, what: str) -> Edit:
        if group.update_slot is not None or now.chain:
            return self._insert(now, group.update_slot, key, value, what)
        if group.slot is None:
            hint = group.unsure or "write the group in this root"
            raise RefusedError(f"{what} cannot be written here", where=group.address, hint=hint)
        if group.version_key == "version":  # a resource: update_config is a block
            return insert_key(group.slot, "update_config", f"{{\n  {key} = {value}\n}}", what, self.texts, block=True)
        return insert_key(group.slot, "update_config", f"{{ {key} = {value} }}", what, self.texts)


def _padded(sign: str, old: str, new: str) -> str:
    """The spaces before `=` that keep it in its column when the new name is shorter; one space when it is longer."""
    before = len(sign) - len(sign.lstrip())
    wanted = before + len(old) - len(new) if before > 1 else 1
    return " " * max(1, wanted) + sign.lstrip()


def _other(key: str) -> str:
    return "max_unavailable" if key.endswith("percentage") else "max_unavailable_percentage"


def _inside(inner: Span, outer: Span) -> bool:
    return inner.file == outer.file and outer.start <= inner.start and inner.end <= outer.end


def _same(span: Span, edit: Edit) -> bool:
    return (span.file, span.start, span.end) == (edit.file, edit.start, edit.end)


def subject_of(what: str) -> tuple[str, str]:
    """`the AMI of node group main` -> (`node-group`, `main`)."""
    found = re.search(r"(add-on|node group) (.+)$", what)
    assert found is not None  # the editor's own words
    return ("addon" if found[1] == "add-on" else "node-group", found[2])


def _clashing(edits: Sequence[Edit]) -> set[Edit]:
    """Edits that touch the text of another one."""
    found: set[Edit] = set()
    for edit in edits:
        for other in edits:
            if other is edit or other.file != edit.file:
                continue
            same = (edit.start, edit.end) == (other.start, other.end)
            if same and edit.new == other.new:
                continue
            if same or (edit.start < other.end and other.start < edit.end):
                found |= {edit, other}
    return found


def unique(edits: Iterable[Edit]) -> tuple[Edit, ...]:
    """Edits that say the same at the same place once."""
    return tuple({(e.file, e.start, e.end, e.new): e for e in edits}.values())


def _retargeted_path(group: GroupConfig, kubelet: tuple[str, str]) -> str:
    old = group.ami.value.value or ""
    new = retarget_pattern(old, Minor.parse(kubelet[0]), Minor.parse(kubelet[1]))
    if new == old:  # a path may name another version than the nodes run: the only one in it is meant
        named = re.findall(r"(?<![\d.])1\.\d\d(?![\d.])", old)
        new = old.replace(named[0], kubelet[1]) if len(named) == 1 else old
    if new == old:
        raise RefusedError(
            f"the parameter {old} says no Kubernetes version: whoever writes it decides the image",
            where=str(group.ami.value.span or group.address),
            hint="change the value of the parameter when its stage comes, or read one with the version in its path",
        )
    return new


def together(cluster: ClusterConfig) -> tuple[tuple[str, ...], ...]:
    """Node groups whose images come from one literal, so that they can only move at once."""
    sets: list[tuple[set[Span], list[str]]] = []
    for group in cluster.node_groups:
        spans = {p.span for p in (group.ami.value.pieces or group.version.pieces) if p.span is not None}
        if not spans and group.ami.kind == "eks-optimised" and group.slot is not None and not group.version.chain:
            spans = {group.slot.span}  # instances of one resource: what is written there moves all of them
        if group.kind != "managed" or not spans:
            continue
        joined = [s for s in sets if s[0] & spans]
        names = [n for s in joined for n in s[1]] + [group.name]
        sets = [s for s in sets if s not in joined]
        sets.append((spans.union(*(s[0] for s in joined)), names))
    return tuple(tuple(names) for _, names in sets if len(names) > 1)
