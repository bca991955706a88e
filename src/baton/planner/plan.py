"""The plan: control plane, then add-ons, then node groups, at every minor version on the way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from baton.errors import NothingToDoError, ReadError, RefusedError, UsageError
from baton.knowledge.skew import hops, kubelet_allowed, newest_control_plane, oldest_kubelet
from baton.knowledge.tables import Knowledge, day
from baton.logic.upgrade.addons import AddonPlanner, check_policy
from baton.logic.upgrade.images import ImageFinder, current_image_id, kubelet_of, recommended
from baton.logic.upgrade.path import Roll, every_hop, fewest_rolls
from baton.logic.upgrade.support import check_target, support_of, versions
from baton.model import nodes
from baton.model.cluster import NodeGroup, Snapshot, UpdateConfig
from baton.model.plan import Change, Plan, Stage, StageKind
from baton.model.target import ImageFilter, Target
from baton.model.versions import Minor
from baton.planner.alternatives import alternatives
from baton.planner.notes import notes_of
from baton.planner.others import by_hand, check_others, kubelets_of, others
from baton.planner.store import digest, facts_of_snapshot


def make_plan(
    snapshot: Snapshot,
    target: Target,
    knowledge: Knowledge,
    *,
    images: Mapping[str, ImageFilter] | None = None,
    together: Sequence[Sequence[str]] = (),
) -> Plan:
    """The shortest safe path from the snapshot to the target, with the reason of every stage.

    `images` maps node groups to how their Terraform finds its AMI. `together` lists node groups that can only be moved
    at once (they share one literal). Edits, diffs and addresses of the stages are left empty. Today is
    `snapshot.taken_at`.

    Raises UsageError (a target that cannot be meant), RefusedError (no safe path) or ReadError (a needed fact missing).
    """
    _need(snapshot, "cluster", "node_groups", "addons")
    today = day(snapshot.taken_at)
    offered = versions(snapshot, knowledge, today)
    start, end = Minor.parse(snapshot.cluster.version), Minor.parse(target.version)
    check_target(end, start, offered, today)
    check_policy(target, snapshot.addons)
    _check_pacing(snapshot, target)
    target = _normalised(target, end)
    seen = nodes.kubelets(snapshot)

    def maker_for(wanted: Target) -> _Maker:
        finder = ImageFinder(snapshot, wanted, images or {})
        return _Maker(snapshot, wanted, knowledge, finder, tuple(map(tuple, together)), seen)

    maker = maker_for(target)
    stages = maker.stages(start, end)
    if not stages:
        raise NothingToDoError(
            f"nothing to do: cluster {snapshot.cluster.name} is at {end} already, and so are its add-ons and nodes",
            hint="name a newer version with --to",
        )
    facts = facts_of_snapshot(snapshot)
    support = support_of(snapshot, start, end, offered, knowledge, today)
    return Plan(
        cluster=snapshot.cluster.name,
        from_version=str(start),
        to_version=str(end),
        stages=tuple(stages),
        notes=(*notes_of(snapshot, support, knowledge, maker.addons, stages), *maker.notes),
        alternatives=tuple(alternatives(target, stages, lambda other: maker_for(other).stages(start, end))),
        facts_digest=digest(facts),
        made_at=snapshot.taken_at,
        facts=facts,
        support=support,
    )


def _need(snapshot: Snapshot, *what: str) -> None:
    for name in what:
        unknown = snapshot.unknown(name)
        if unknown is not None:
            raise ReadError(
                f"no plan can be made without the {name.replace('_', ' ')}: {unknown.reason}",
                where=f"cluster {snapshot.cluster.name}",
                hint="give Baton read access to them and run again",
            )


def _normalised(target: Target, end: Minor) -> Target:
    """`v1.35` and `1.35.2` mean 1.35."""
    return replace(target, version=str(end))


def _check_pacing(snapshot: Snapshot, target: Target) -> None:
    known = {g.name for g in snapshot.node_groups}
    for name, config in target.update_configs.items():
        if name != "*" and name not in known:
            raise UsageError(
                f"there is no node group {name}", hint=f"node groups: {', '.join(sorted(known)) or 'none'}"
            )
        check_update_config(config, "--max-unavailable" if name == "*" else f"node group {name}")
    for name in target.images:
        if name != "*" and name not in known:
            raise UsageError(
                f"there is no node group {name}", hint=f"node groups: {', '.join(sorted(known)) or 'none'}"
            )
        group = snapshot.node_group(name)
        if group is not None and not group.custom_ami:
            raise UsageError(
                f"node group {name} boots EKS's own images ({group.ami_type}): it cannot be given one by --ami",
                hint="EKS takes an image of yours in a new node group only, with a launch template that names it",
            )
    for group in snapshot.node_groups:
        check_update_config(group.update_config, f"node group {group.name}")


def check_update_config(config: UpdateConfig, where: str) -> None:
    """Raises UsageError for what EKS refuses: numbers outside 1..100, both at once, an unknown strategy."""
    both = config.max_unavailable is not None and config.max_unavailable_percentage is not None
    if both:
        raise UsageError(
            "max_unavailable and max_unavailable_percentage are both set", where=where, hint="keep one of the two"
        )
    for name, value in (
        ("max_unavailable", config.max_unavailable),
        ("max_unavailable_percentage", config.max_unavailable_percentage),
    ):
        if value is not None and not 1 <= value <= 100:
            raise UsageError(
                f"{name} is {value}, but EKS takes 1 to 100",
                where=where,
                hint="1 replaces one node at a time; EKS never replaces more than 100 at once",
            )
    if config.strategy not in ("DEFAULT", "MINIMAL"):
        raise UsageError(f"unknown update strategy {config.strategy!r}", where=where, hint="DEFAULT or MINIMAL")


@dataclass
class _Maker:
    """Assembles the stages."""

    snapshot: Snapshot
    target: Target
    knowledge: Knowledge
    finder: ImageFinder
    together: tuple[tuple[str, ...], ...]
    seen: Mapping[str, Sequence[Minor]]  # the kubelets of each group's nodes
    addons: AddonPlanner = field(init=False)
    notes: list[str] = field(default_factory=list)  # what was found on the way
    _stages: list[Stage] = field(default_factory=list)
    _images: dict[str, str] = field(default_factory=dict)  # what each group boots at the point reached

    def __post_init__(self) -> None:
        self.addons = AddonPlanner(self.snapshot, self.target, self.knowledge)

    def stages(self, start: Minor, end: Minor) -> list[Stage]:
        """All stages, numbered from 1."""
        points = (start, *hops(start, end))
        outside = others(self.snapshot)
        check_others(self.snapshot, outside, points)
        rolls = self._all_rolls(points, self.target.nodes_every_hop)
        self._update_configs(rolls)
        installed = {a.name: a.version for a in self.snapshot.addons}
        kubelets = {g.name: kubelet_of(self.snapshot, g, self.seen)[0] for g in self.snapshot.node_groups}
        beside = kubelets_of(outside)
        for number, version in enumerate(points):
            if number:
                self._control_plane(version, points[number - 1], end)
            before = frozenset(kubelets.values()) | beside
            if number or start == end:
                for row, changes in enumerate(rows := self.addons.stages(installed, version, before)):
                    self._addon_stage(version, changes, row, len(rows))
            self._node_groups(version, rolls, kubelets, points)
            if version == end and (after := frozenset(kubelets.values()) | beside) != before:
                for changes in self.addons.stages(installed, version, after):
                    self._late_stage(version, changes)
            if version != end:
                self._bridge(installed, version, points[number + 1])
        return by_hand(self.snapshot, outside, self._stages, points)

    def _bridge(self, installed: dict[str, str], version: Minor, following: Minor) -> None:
        """What must move before the control plane leaves `version`; what cannot is noted."""
        for changes in self.addons.before(installed, version, following):
            self._bridge_stage(version, following, changes)
        for name, at in installed.items():
            if self.addons.fits(name, at, following) is False:
                self.notes.append(
                    f"add-on {name} {at} is not listed for Kubernetes {following}, and no version for both {version} "
                    f"and {following}: it runs unsupported from the control plane's stage to its own"
                )

    def _add(self, kind: StageKind, name: str, changes: Sequence[Change], reason: str) -> None:
        self._stages.append(Stage(len(self._stages) + 1, kind, name, tuple(changes), reason))

    def _update_configs(self, rolls: Mapping[str, tuple[Roll, ...]]) -> None:
        changes = []
        for group in self.snapshot.node_groups:
            wanted = self.target.update_config(group.name)
            if wanted is None or wanted == group.update_config or not rolls[group.name]:
                continue
            attributes = {
                "max_unavailable": _text(wanted.max_unavailable),
                "max_unavailable_percentage": _text(wanted.max_unavailable_percentage),
                "strategy": wanted.strategy,
            }
            changes.append(
                Change(
                    "node-group",
                    group.name,
                    pacing(group.update_config),
                    pacing(wanted),
                    "",
                    {k: v for k, v in attributes.items() if v},
                )
            )
        if changes:
            self._add(
                StageKind.UPDATE_CONFIG,
                "pacing of " + ", ".join(c.name for c in changes),
                changes,
                "EKS changes the nodes of a group before its update_config when both come at once, so the new pacing "
                "must be in force before the roll that it should govern; no node is replaced here",
            )

    def _control_plane(self, version: Minor, previous: Minor, end: Minor) -> None:
        reason = "the control plane goes first: kubelets and kube-proxy may be older than it, never newer"
        if version != end:
            reason += f"; EKS moves one minor at a time, so {end} is reached by way of {version}"
        change = Change("cluster", self.snapshot.cluster.name, str(previous), str(version), "one minor")
        self._add(StageKind.CONTROL_PLANE, f"control plane to {version}", [change], reason)

    def _addon_stage(self, version: Minor, changes: Sequence[Change], row: int, rows: int) -> None:
        part = f" (step {row + 1} of {rows})" if rows > 1 else ""
        self._add(
            StageKind.ADDONS,
            f"add-ons for {version}{part}",
            changes,
            f"add-ons follow the control plane and come before the nodes, so that new nodes join with network and DNS "
            f"that are made for {version}",
        )

    def _late_stage(self, version: Minor, changes: Sequence[Change]) -> None:
        self._add(
            StageKind.ADDONS,
            f"add-ons for nodes at {version}",
            changes,
            f"while nodes lagged, these add-ons stayed at versions that fit them too; now the nodes are at {version}",
        )

    def _bridge_stage(self, version: Minor, following: Minor, changes: Sequence[Change]) -> None:
        names = ", ".join(c.name for c in changes)
        self._add(
            StageKind.ADDONS,
            f"add-ons that fit {version} and {following}",
            changes,
            f"the installed {names} would not fit Kubernetes {following}; these versions fit both, so the control "
            "plane can move under them",
        )

    # node groups

    def _all_rolls(self, points: tuple[Minor, ...], all_hops: bool) -> dict[str, tuple[Roll, ...]]:
        """The rolls of each group; groups that share a literal have the same ones."""
        found: dict[str, tuple[Roll, ...]] = {}
        for group in self.snapshot.node_groups:
            if group.name in found:
                continue
            bound = next((set(t) for t in self.together if group.name in t), {group.name})
            members = [g for g in self.snapshot.node_groups if g.name in bound]
            rolls = self._rolls(members, points, all_hops)
            found |= {g.name: rolls for g in members}
        return found

    def _rolls(self, members: Sequence[NodeGroup], points: tuple[Minor, ...], all_hops: bool) -> tuple[Roll, ...]:
        """The rolls of groups that move together: counted from their oldest kubelet, never below their newest."""
        oldest: dict[str, Minor] = {}
        newest = points[0].plus(-99)
        for group in members:
            oldest[group.name], _ = kubelet_of(self.snapshot, group, self.seen)
            newest = max(newest, self._newest(group, points[0], oldest[group.name]))

        def available(version: Minor) -> bool:
            return version >= newest and all(self._why_not(g, oldest[g.name], version) is None for g in members)

        start = min(oldest.values())
        found = (every_hop if all_hops else fewest_rolls)(start, points, available)
        if found is None:
            slowest = min(members, key=lambda g: oldest[g.name])
            stuck = next((g for g in members if self._why_not(g, oldest[g.name], points[-1]) is not None), slowest)
            raise self._no_way(stuck, oldest[stuck.name], points)
        return found

    def _newest(self, group: NodeGroup, control_plane: Minor, oldest: Minor) -> Minor:
        """The newest kubelet of a group. Raises RefusedError when it is newer than the control plane."""
        newest = max(self.seen.get(group.name, ()), default=oldest)
        if newest > control_plane:
            ahead = (n for n in nodes.of_group(self.snapshot, group.name) if nodes.kubelet(n) == newest)
            who = next((f"node {nodes.name(n)} of " for n in ahead), "")
            raise RefusedError(
                f"{who}node group {group.name} runs kubelet {newest}, newer than the control plane's {control_plane}",
                where=f"node group {group.name}",
                hint="put it back on an image for the control plane's version first",
            )
        return newest

    def _why_not(self, group: NodeGroup, kubelet: Minor, version: Minor) -> RefusedError | ReadError | None:
        """Why nodes of the group cannot be brought to a version; None when they can."""
        if not group.custom_ami:
            kind = self.knowledge.ami_type(group.ami_type)
            if kind is not None and not self.knowledge.family_fits(kind.family, version):
                family = self.knowledge.families[kind.family]
                return RefusedError(
                    f"AWS makes no {family.title} image for Kubernetes {version}: {family.last} was the last",
                    where=f"node group {group.name} ({group.ami_type})",
                    hint="move its workloads to a new node group on AL2023 or Bottlerocket first; the AMI type of a "
                    "group cannot be changed in place",
                )
            return None
        try:
            self.finder.find(group, kubelet, version)
        except (RefusedError, ReadError) as error:
            return error
        return None

    def _no_way(self, group: NodeGroup, kubelet: Minor, points: tuple[Minor, ...]) -> RefusedError | ReadError:
        end = points[-1]
        why = self._why_not(group, kubelet, end)
        if why is not None:
            return why
        needed = [p for p in points[1:] if not kubelet_allowed(kubelet, p)]
        if not needed or self.target.nodes_every_hop:
            missing = [str(p) for p in points if p > kubelet and self._why_not(group, kubelet, p) is not None]
            return RefusedError(
                f"node group {group.name} cannot roll at every hop: no image for {', '.join(missing)}",
                where=f"node group {group.name}",
                hint="leave out --nodes-every-hop to roll as seldom as skew allows, or build the missing image",
            )
        between = [kubelet.plus(n) for n in range(1, needed[0].minor - kubelet.minor)]
        return RefusedError(
            f"nodes of group {group.name} run kubelet {kubelet}, which may not run under a control plane newer than "
            f"{newest_control_plane(kubelet)}, and no image brings them further on the way to {end}",
            where=f"node group {group.name}",
            hint=f"build an image for one of {', '.join(map(str, between))} (from {oldest_kubelet(needed[0])} on it "
            f"lasts to {needed[0]})",
        )

    def _node_groups(
        self,
        version: Minor,
        rolls: Mapping[str, tuple[Roll, ...]],
        kubelets: dict[str, Minor],
        points: tuple[Minor, ...],
    ) -> None:
        due = {g.name: g for g in self.snapshot.node_groups if any(r.control_plane == version for r in rolls[g.name])}
        for names in self._batches(due):
            changes = []
            for name in names:
                roll = next(r for r in rolls[name] if r.control_plane == version)
                change = self._group_change(due[name], kubelets[name], roll.to)
                if change.from_ != change.to:  # one of a bound set may be there already
                    changes.append(change)
                kubelets[name] = roll.to
            if not changes:
                continue
            names = [c.name for c in changes]
            groups = f"node group{'s' if len(names) > 1 else ''} {', '.join(names)}"
            title = f"{groups} to {changes[0].attributes['kubelet_to']}"
            self._add(StageKind.NODE_GROUP, title, changes, self._roll_reason(names, version, points, len(due)))

    def _batches(self, due: Mapping[str, NodeGroup]) -> list[list[str]]:
        """Groups that must move together, else one by one; the smallest first, so trouble shows where it is cheap."""
        left = sorted(due, key=lambda n: (due[n].desired_size, n))
        batches = []
        while left:
            first = left[0]
            bound = next((set(t) for t in self.together if first in t), {first})
            batches.append([n for n in left if n in bound])
            left = [n for n in left if n not in bound]
        return side_by_side(batches, self.target.parallel_groups)

    def _roll_reason(self, names: Sequence[str], version: Minor, points: tuple[Minor, ...], due: int) -> str:
        if self.target.nodes_every_hop and len(points) > 2:
            reason = "nodes roll at every hop, as asked"
        elif version == points[-1]:
            reason = "nodes last, once the control plane and the add-ons are there"
            if len(points) > 2:
                reason += f"; kubelets may lag, so one roll does for {len(points) - 1} versions"
        else:
            reason = f"their kubelets may not lag further than {version}: they roll before the control plane moves on"
        pace = "; ".join(self._pace(name) for name in names)
        if due > 1:
            reason += "; " + self._why_together(names)
        return f"{reason}; {pace}"

    def _why_together(self, names: Sequence[str]) -> str:
        if len(names) == 1:
            return "the smallest group goes first"
        if any(set(names) <= set(bound) for bound in self.together):
            return "these groups share one literal"
        return "these groups roll at the same time, as asked: each keeps its own pace, and nothing waits between them"

    def _pace(self, name: str) -> str:
        group = self.snapshot.node_group(name)
        assert group is not None  # names come from the snapshot
        config = self.target.update_config(name) or group.update_config
        at_once = config.parallelism(group.desired_size)
        some = f"{group.desired_size} node{'' if group.desired_size == 1 else 's'}"
        return f"{name}: {some}, at most {at_once} away at a time"

    def _optimised(self, group: NodeGroup, to: Minor) -> str:
        """Which of EKS's own images the group will boot, as far as SSM told."""
        kind = self.knowledge.ami_type(group.ami_type)
        told = None if kind is None else recommended(self.snapshot, (kind.family, kind.architecture, kind.variant), to)
        if told is None or not told.image_id:
            return f"EKS-optimised image for {to}"
        release = f", release {told.release}" if told.release else ""
        return f"EKS-optimised image for {to}: now {told.image_id}{release}; a newer one once AWS publishes it"

    def _group_change(self, group: NodeGroup, kubelet: Minor, to: Minor) -> Change:
        attributes = {"kubelet_from": str(kubelet), "kubelet_to": str(to)}
        if not group.custom_ami:
            attributes["version"] = str(to)
            attributes["ami_type"] = group.ami_type
            return Change("node-group", group.name, str(kubelet), str(to), self._optimised(group, to), attributes)
        chosen = self.finder.find(group, kubelet, to)
        before = self._images.get(group.name) or current_image_id(self.snapshot, group)
        self._images[group.name] = chosen.image.id
        attributes |= {"image_id": chosen.image.id, "image_name": chosen.image.name, "image_pattern": chosen.pattern}
        if chosen.also:
            attributes["image_filters"] = json.dumps({k: list(v) for k, v in sorted(chosen.also.items())})
        if group.launch_template is not None:
            attributes["launch_template_id"] = group.launch_template.id
        return Change("node-group", group.name, before, chosen.image.id, chosen.reason, attributes)


def side_by_side(batches: Sequence[Sequence[str]], most: int) -> list[list[str]]:
    """Batches that follow each other put into one while they hold at most `most` node groups together."""
    found: list[list[str]] = []
    for batch in batches:
        if found and len(found[-1]) + len(batch) <= most:
            found[-1] += batch
        else:
            found.append(list(batch))
    return found


def pacing(config: UpdateConfig) -> str:
    """`max_unavailable 1`, `max_unavailable_percentage 33`, with the strategy when it is not the default."""
    if config.max_unavailable_percentage is not None:
        text = f"max_unavailable_percentage {config.max_unavailable_percentage}"
    else:
        text = f"max_unavailable {config.max_unavailable or 1}"
    return text if config.strategy == "DEFAULT" else f"{text}, {config.strategy}"


def _text(number: int | None) -> str:
    return "" if number is None else str(number)
