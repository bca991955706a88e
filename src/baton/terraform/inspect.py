"""Find the EKS clusters of a Terraform root and follow every value to the literal that says it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from baton.errors import ReadError
from baton.knowledge.module_inputs import unknown_inputs
from baton.terraform.community import EKS, MANAGED, SELF_MANAGED, Community, by_content, by_source
from baton.terraform.groups import (
    Interface,
    Reader,
    addon_from_resource,
    addons_from_input,
    block_slot,
    group_from_inputs,
    group_from_resource,
)
from baton.terraform.inspection import (
    AddonConfig,
    ClusterConfig,
    GroupConfig,
    Inspection,
    Stranger,
    Traced,
    Unresolved,
    traced,
)
from baton.terraform.loading import Files
from baton.terraform.modules import Call, Module
from baton.terraform.roots import root_module
from baton.terraform.values import NULL, Value, member, object_of

_IF_ON = "its count or for_each depends on a condition that cannot be decided; it is shown as if switched on"
DEPTH = 8  # modules within modules; more is a circle


def inspect(
    root: Path | str,
    *,
    var_files: Sequence[str] = (),
    workspace: str | None = None,
    environ: Mapping[str, str] | None = None,
    overlay: Mapping[str, bytes] | None = None,
) -> Inspection:
    """What a root says about EKS. Nothing is run and nothing is written.

    `var_files` as Terraform's -var-file; `workspace` as `terraform workspace` (default: the selected one); `environ`
    is looked at for TF_VAR_ only; `overlay` maps files (relative to the root) to texts that stand in for them.
    Raises ReadError when there is no Terraform, or a file does not parse (file:line:column and the line).
    """
    path = Path(root)
    if not path.is_dir():
        raise ReadError("there is no such directory", where=str(root), hint="name the Terraform root, -C DIR")
    files = Files(path, overlay)
    settings = {"var_files": tuple(var_files), "workspace": workspace, "environ": dict(environ or {})}
    return _inspect(files, settings)


def again(inspection: Inspection, overlay: Mapping[str, bytes]) -> Inspection:
    """The same root with other texts for some files; what did not change is not parsed again."""
    return _inspect(inspection.files.with_overlay(overlay), inspection.settings)


def _inspect(files: Files, settings: Mapping[str, object]) -> Inspection:
    var_files, environ = settings["var_files"], settings["environ"]
    assert isinstance(var_files, tuple) and isinstance(environ, dict)
    selected = settings["workspace"] or _selected_workspace(files.root)
    workspace = selected or "default"
    module, notes = root_module(files, var_files, str(workspace), environ)
    finder = _Finder(list(notes))
    known = by_content(module.directory)
    if module.remote_source:
        finder.remote_root(module)
    elif known is not None and known.part == EKS:
        finder.copied_root(module, known)
    else:
        finder.walk(module, 0)
    clusters = finder.finish()
    if files.asked_workspace and not selected:
        why = "no workspace is selected here, so `default` is meant: name another with --workspace"
        finder.unresolved.append(Unresolved("terraform.workspace", "", why))
    return Inspection(str(files.root), clusters, tuple(dict.fromkeys(finder.unresolved)), files, settings)


def _selected_workspace(root: Path) -> str:
    try:
        return (root / ".terraform" / "environment").read_text().strip()
    except OSError:
        return ""


@dataclass
class _Loose:
    """A group or add-on that stands by itself; `of` is what its cluster_name comes to."""

    of: Traced
    module: str
    group: GroupConfig | None = None
    addons: tuple[AddonConfig, ...] = ()

    @property
    def what(self) -> str:
        return self.group.address if self.group is not None else ", ".join(a.address for a in self.addons)


@dataclass
class _Finder:
    unresolved: list[Unresolved]
    clusters: list[ClusterConfig] = field(default_factory=list)
    loose: list[_Loose] = field(default_factory=list)
    strangers: list[Stranger] = field(default_factory=list)

    # walking

    def walk(self, module: Module, depth: int) -> None:
        """All resources and module calls of a module, and of those below it."""
        self.unresolved += [Unresolved(name, name, why) for name, why in module.directory.notes]
        if depth > DEPTH:
            self.unresolved.append(Unresolved(module.address, module.directory.path, "modules nest too deep"))
            return
        self._resources(module)
        for name, block in module.directory.modules.items():
            if module.undecided(block):
                self.unresolved.append(Unresolved(module.address_of(f"module.{name}"), str(block.span), _IF_ON))
        for call in module.calls():
            if call.index == "[*]":
                self._note(call.address, call, "its count or for_each cannot be decided; one instance is shown for all")
            if call.community is not None:
                self._eks_module(call, call.community)
            elif call.module is not None:
                self.walk(call.module, depth + 1)
            else:
                self._elsewhere(call)

    def remote_root(self, module: Module) -> None:
        """Terragrunt over a module that is not here: its inputs are all there is."""
        source = module.remote_source
        given = module.inputs.values
        keys = ["kubernetes_version", "cluster_version"]
        if "eks" in source:
            keys += [k for k in given if re.fullmatch(r"(?:eks|k8s)(?:_cluster)?_version", k)]
        version = next((given[k] for k in keys if k in given), None)
        name = next((given[k] for k in ("name", "cluster_name", "eks_name") if k in given), None)
        where = module.directory.files[0].name
        if version is None:
            self.unresolved.append(Unresolved(source, where, "its inputs name no Kubernetes version"))
            return
        pinned = re.search(r"(?:version|ref)=v?([^&]+)", source)
        kind = "module" if by_source(source) else "assumed"
        if kind == "assumed":
            why = (
                f"its source {source} is not here: its inputs are read by their names, what is behind them is not seen"
            )
            self.unresolved.append(Unresolved(source, where, why))
            given = {"cluster_version": version, **given}
        self._from_inputs(dict(given), "", _Called(kind, source, pinned[1] if pinned else ""), name)

    def copied_root(self, module: Module, known: Community) -> None:
        """The root is a copy of the EKS module (Terragrunt over it, or variables files beside it)."""
        given = {n: module.variable(n) for n in _READ if n in module.directory.variables}
        self._from_inputs(given, "", _Called("module", module.directory.path, "", known.line), None)

    def _note(self, what: str, call: Call, why: str) -> None:
        self.unresolved.append(Unresolved(what, str(call.block.span), why))

    # modules with known inputs

    def _eks_module(self, call: Call, known: Community) -> None:
        if _off(call.input("create", "create_eks")):
            return  # there is nothing to upgrade
        if known.part == EKS:
            self._cluster_call(call, "module")
        elif known.part in (MANAGED, SELF_MANAGED):
            self._group_call(call, "managed" if known.part == MANAGED else "self-managed", known)
        elif known.part == "fargate-profile":
            self._note(call.address, call, "a Fargate profile: its pods get the new version when they are recreated")
        elif known.part == "karpenter":
            self._note(call.address, call, "Karpenter: its NodePools and EC2NodeClasses live in the cluster, not here")

    def _elsewhere(self, call: Call) -> None:
        """A module of another repository. One that takes a version and node groups is read like the EKS module."""
        has_version = call.attribute("cluster_version", "kubernetes_version") is not None
        shapes = (
            "eks_managed_node_groups",
            "node_groups",
            "managed_node_groups",
            "cluster_addons",
            "self_managed_node_groups",
        )
        if call.attribute("eks_addons") is not None and call.attribute("cluster_name") is not None:
            self._blueprint_addons(call)
        elif has_version and call.attribute(*shapes) is not None:
            self._cluster_call(call, "assumed")
            self._note(
                call.address,
                call,
                f"its source {call.source} is not here: its inputs are read as those of the EKS module of that name",
            )
        elif has_version and "eks" in call.source and self._only_version(call):
            self._cluster_call(call, "assumed")
            self._note(call.address, call, f"its source {call.source} is not here: only its version input is read")
        elif has_version or call.attribute("cluster_name", "cluster_id", "eks_cluster_name") is not None:
            what = "node groups" if call.attribute(*_NODE_INPUTS) is not None else "node groups or add-ons"
            why = f"its source {call.source} is not here, so {what} of it are not seen: run `terraform init`"
            self._note(call.address, call, why)
            if call.attribute(*_NODE_INPUTS) is not None:
                self.strangers += _versions_given(call)

    def _only_version(self, call: Call) -> bool:
        """A module that makes a cluster, as far as its inputs tell: named, with a version of its own."""
        version = traced(call.input("kubernetes_version", "cluster_version"))
        named = call.attribute("cluster_name", "name", "context") is not None
        named = named and call.attribute(*_NODE_INPUTS, "cluster_id") is None
        return named and version.value is not None and not any("module." in step for step in version.via[1:])

    def _blueprint_addons(self, call: Call) -> None:
        addons = call.input("eks_addons")
        if addons is not None and addons.kind == "object":
            found = addons_from_input(addons, call.address, Interface("cluster_version", True))
            name = traced(call.input("cluster_name"))
            self.loose.append(_Loose(name, _parent(call.address), addons=tuple(_as_this(a) for a in found)))

    def _cluster_call(self, call: Call, kind: str) -> None:
        pinned = call.version.text() if call.version is not None and call.version.kind == "scalar" else ""
        if not pinned:
            ref = re.search(r"[?&]ref=v?([\d.]+)", call.source)
            pinned = ref[1] if ref else ""
        line = call.community.line if call.community is not None else 0
        self._from_inputs(_inputs(call), call.address, _Called(kind, call.source, pinned, line), None)
        cluster = self.clusters[-1]
        notes = list(cluster.notes)
        if call.attribute("depends_on") is not None:
            notes.append(
                "module-level depends_on: any change of what it names replaces IAM attachments and access entries; "
                "pass references instead"
            )
        self.clusters[-1] = replace(cluster, notes=tuple(notes), slot=block_slot(call.block))

    def _from_inputs(self, inputs: Mapping[str, Value], address: str, called: _Called, name: Value | None) -> None:
        interface = called.interface("kubernetes_version" in inputs)
        version = traced(inputs.get("kubernetes_version", inputs.get("cluster_version")))
        addons = self._object(inputs, ("addons", "cluster_addons"), address)
        defaults = inputs.get("eks_managed_node_group_defaults", object_of({}))
        groups: list[GroupConfig] = []
        unseen = Traced()
        for names, sub, group_kind in (
            (("eks_managed_node_groups", "managed_node_groups", "node_groups"), "eks_managed_node_group", "managed"),
            (("self_managed_node_groups",), "self_managed_node_group", "self-managed"),
        ):
            own = defaults if group_kind == "managed" else inputs.get("self_managed_node_group_defaults", object_of({}))
            found = self._object(inputs, names, address)
            hidden = [v for n in names if (v := inputs.get(n)) is not None and v.kind in ("unknown", "ref", "missing")]
            unseen = traced(hidden[0]) if hidden and found is None else unseen
            for key, group in found.items.items() if found is not None else ():
                if _off(member(group, "create")):
                    continue
                sub_address = f'{address}.module.{sub}["{key}"]'.lstrip(".")
                read = group_from_inputs(key, group, own, sub_address, group_kind, interface)
                groups.append(
                    replace(called.sure(read, inputs), notes=(*called.unknown(group, group_kind), *read.notes))
                )
        self._check_traced(version, f"the version of {address or 'the cluster'}")
        for found_group in groups:
            self._check_group(found_group)
        self.clusters.append(
            ClusterConfig(
                address=address or called.source,
                resource=f"{address}.aws_eks_cluster.{called.cluster}[0]".lstrip("."),
                kind=called.kind,
                name=traced(name if name is not None else inputs.get("name", inputs.get("cluster_name"))),
                version=version,
                source=called.source,
                module_version=called.pinned,
                version_key=interface.version_key if called.kind == "module" else "",
                unseen=unseen,
                addons=tuple(addons_from_input(addons, address, interface)) if addons is not None else (),
                node_groups=tuple(groups),
                notes=tuple(
                    f"eks_managed_node_group_defaults: {n}" for n in called.unknown(defaults, "managed-defaults")
                ),
            )
        )

    def _object(self, inputs: Mapping[str, Value], names: Sequence[str], address: str) -> Value | None:
        for name in names:
            value = inputs.get(name)
            if value is None or value.null:
                continue
            if value.kind == "object":
                return value
            if value.kind in ("unknown", "ref", "missing"):
                where = str(value.where or (value.chain[0] if value.chain else ""))
                self.unresolved.append(Unresolved(f"{address}.{name}".lstrip("."), where, value.why_unknown()))
        return None

    def _group_call(self, call: Call, kind: str, known: Community) -> None:
        inputs = {n: v for n in call.inputs.arguments if (v := call.inputs.value(n)) is not None}
        pinned = call.version.text() if call.version is not None and call.version.kind == "scalar" else ""
        interface = _Called("module", call.source, pinned, known.line).interface("kubernetes_version" in inputs)
        whole = object_of(inputs, block_slot(call.block))
        name = inputs.get("name")
        key = name.text() if name is not None and name.kind == "scalar" else call.block.labels[0]
        group = group_from_inputs(key, whole, object_of({}), call.address, kind, interface)
        # The module beside the cluster knows the cluster's version only by what it is given.
        group = replace(group, version_from_cluster=False)
        self._check_group(group)
        self.loose.append(_Loose(traced(inputs.get("cluster_name")), _parent(call.address), group))

    # resources

    def _resources(self, module: Module) -> None:
        for (kind, name), block in module.directory.resources.items():
            if kind == "aws_eks_fargate_profile":
                address = module.address_of(f"{kind}.{name}")
                why = "a Fargate profile: its pods get the new version when they are recreated"
                self.unresolved.append(Unresolved(address, str(block.span), why))
            if kind not in ("aws_eks_cluster", "aws_eks_node_group", "aws_eks_addon"):
                continue
            if module.undecided(block):
                address = module.address_of(f"{kind}.{name}")
                self.unresolved.append(Unresolved(address, str(block.span), _IF_ON))
            for index, scope in module.instances(block):
                address = module.address_of(f"{kind}.{name}{index}")
                if index == "[*]":
                    why = "its count or for_each cannot be decided; one instance is shown for all"
                    self.unresolved.append(Unresolved(address, str(block.span), why))
                reader = Reader(block.body, scope)
                if kind == "aws_eks_cluster":
                    self._cluster_resource(reader, address, module)
                    self.clusters[-1] = replace(self.clusters[-1], slot=block_slot(block))
                    continue
                of = reader.traced("cluster_name")
                if kind == "aws_eks_node_group":
                    group = group_from_resource(block, scope, address, index)
                    self._check_group(group)
                    self.loose.append(_Loose(of, module.address, group))
                else:
                    addon = addon_from_resource(block, scope, address)
                    self._check_traced(addon.version, f"the version of add-on {addon.name}")
                    self.loose.append(_Loose(of, module.address, addons=(addon,)))

    def _cluster_resource(self, reader: Reader, address: str, module: Module) -> None:
        version = reader.traced("version")
        self._check_traced(version, f"the version of {address}")
        self.clusters.append(
            ClusterConfig(address, address, "resource", reader.traced("name"), version, version_key="version")
        )

    # what is not known

    def _check_traced(self, value: Traced, what: str) -> None:
        if value.why:
            self.unresolved.append(Unresolved(what, value.where, value.why))
        elif value.value is not None and not any(p.span and not p.span.foreign for p in value.pieces):
            why = next(
                (p.outside for p in value.pieces if p.outside), "it is written in a module of another repository"
            )
            self.unresolved.append(Unresolved(what, value.where or " -> ".join(value.via), f"{why}: change it there"))

    def _check_group(self, group: GroupConfig) -> None:
        self._check_traced(group.ami.value, f"the AMI of node group {group.name}")
        if group.version.why:
            self._check_traced(group.version, f"the version of node group {group.name}")

    # putting together

    def finish(self) -> tuple[ClusterConfig, ...]:
        """Give the loose groups and add-ons to their clusters."""
        for loose in self.loose:
            at = self._owner(loose)
            if at is None:
                why = "which cluster it belongs to cannot be told from its cluster_name"
                self.unresolved.append(Unresolved(loose.what, " -> ".join(loose.of.via), why))
                continue
            cluster = self.clusters[at]
            groups = cluster.node_groups + ((loose.group,) if loose.group is not None else ())
            self.clusters[at] = replace(cluster, node_groups=groups, addons=cluster.addons + loose.addons)
        return tuple(_with_outside(self._with_strangers(c)) for c in self.clusters)

    def _with_strangers(self, cluster: ClusterConfig) -> ClusterConfig:
        own = {p.span for p in cluster.version.pieces if p.span is not None}
        shared = tuple(s for s in self.strangers if own & {p.span for p in s.value.pieces})
        return replace(cluster, strangers=shared) if shared else cluster

    def _owner(self, loose: _Loose) -> int | None:
        for number, cluster in enumerate(self.clusters):
            own = {cluster.address, cluster.resource}
            if own & set(loose.of.via) or any(_under(step, cluster.address) for step in loose.of.via):
                return number
        same = [n for n, c in enumerate(self.clusters) if loose.of.value is not None and c.name.value == loose.of.value]
        if len(same) == 1:
            return same[0]
        if loose.of.value is not None and any(c.name.value is not None for c in self.clusters):
            return None
        return 0 if len(self.clusters) == 1 else None


@dataclass(frozen=True)
class _Called:
    """What is known of a called module: `line` is its major release where its own files tell it, else 0."""

    kind: str
    source: str
    pinned: str = ""
    line: int = 0

    @property
    def cluster(self) -> str:
        """The name of the module's aws_eks_cluster."""
        return "default" if "cloudposse" in self.source else "this"

    def unknown(self, group: Value, kind: str) -> tuple[str, ...]:
        """What a group's map says that the module does not read; nothing of modules that are not the known one."""
        if self.kind != "module" or group.kind != "object":
            return ()
        keys = [*group.items]
        for parent in ("update_config", "timeouts"):
            inside = member(group, parent)
            keys += [f"{parent}.{key}" for key in inside.items] if inside.kind == "object" else []
        line = self.line or _major(self.pinned)
        return tuple(map(str, unknown_inputs(keys, kind, line, self.pinned)))

    def sure(self, group: GroupConfig, inputs: Mapping[str, Value]) -> GroupConfig:
        """A group of a module that is not at hand, by other inputs than the known one's: what its keys do is a guess,
        so nothing is written into it.
        """
        if group.kind != "managed" or "eks_managed_node_groups" in inputs:
            return group
        if self.kind == "module":  # v17: a group takes its version once, and keeps it
            at = f" ({group.slot.span})" if group.slot is not None else ""
            hint = (
                f"module v17 calls it `version`, in the group's own object{at}: write it there by hand, or move to v18"
            )
            return replace(group, slot=None, unsure=hint, version_from_cluster=False)
        return replace(group, slot=None, unsure=f"run `terraform init`, so that Baton can read {self.source}")

    def interface(self, renamed: bool) -> Interface:
        line = self.line or _major(self.pinned)
        v21 = renamed or line >= 21
        exact = self.line or not self.pinned.strip().startswith((">", "!"))
        return Interface("kubernetes_version" if v21 else "cluster_version", v21, follows=not (line == 18 and exact))


# Inputs of the EKS module whose defaults count when a copy of it is at hand and its caller sets nothing.
_READ = (
    "kubernetes_version",
    "cluster_version",
    "name",
    "cluster_name",
    "addons",
    "cluster_addons",
    "eks_managed_node_groups",
    "eks_managed_node_group_defaults",
    "self_managed_node_groups",
    "self_managed_node_group_defaults",
)


_NODE_INPUTS = ("instance_types", "instance_type", "ami_type", "ami_id", "desired_size", "min_size", "max_size")


def _with_outside(cluster: ClusterConfig) -> ClusterConfig:
    """Names the files outside of the root that an upgrade may write to: other roots may read them too."""
    traces = [cluster.version, *(a.version for a in cluster.addons), *(g.ami.value for g in cluster.node_groups)]
    spans = [p.span for t in traces for p in t.pieces if p.span is not None]
    spans += [g.slot.span for g in cluster.node_groups if g.slot is not None]
    files = sorted({s.file for s in spans if s.file.startswith("../") and not s.foreign})
    notes = [f"{file} is outside of this root: other roots that read it move with it" for file in files]
    return replace(cluster, notes=(*cluster.notes, *notes)) if notes else cluster


def _versions_given(call: Call) -> list[Stranger]:
    found = []
    for name in call.inputs.arguments:
        value = call.inputs.value(name) if "version" in name and name != "version" else None
        if value is not None:
            found += [Stranger(call.address, name, traced(v)) for v in (value.elements or (value,))]
    return found


def _inputs(call: Call) -> dict[str, Value]:
    """What the module is given; where a copy of it is at hand, its own defaults besides."""
    found = {n: v for n in call.inputs.arguments if (v := call.inputs.value(n)) is not None}
    module = call.module
    if module is None:
        return found
    for name in _READ:
        if found.get(name, NULL).null and name in module.directory.variables:
            default = module.variable(name)
            if default.known and not default.null:
                found[name] = default
    return found


def _off(create: Value | None) -> bool:
    """`create = false`."""
    return create is not None and create.kind == "scalar" and create.text() == "false"


def _under(step: str, address: str) -> bool:
    """`module.eks` holds `module.eks.cluster_name`."""
    return bool(address) and (step == address or step.startswith(address + "."))


def _parent(address: str) -> str:
    return address.rpartition(".module.")[0]


def _as_this(addon: AddonConfig) -> AddonConfig:
    return replace(addon, address=addon.address.replace(".before_compute[", ".this["))


def _major(version: str) -> int:
    found = re.search(r"\d+", version)
    return int(found[0]) if found else 0
