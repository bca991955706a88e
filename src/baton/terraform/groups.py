"""Node groups, add-ons and images as configurations write them, by module inputs or by resources."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from baton.terraform.evaluate import evaluate
from baton.terraform.hcl import Block, Body, Span
from baton.terraform.inspection import AddonConfig, Ami, GroupConfig, Traced, traced
from baton.terraform.modules import ModuleScope
from baton.terraform.values import NULL, ObjectSource, Probe, Ref, Value, member, missing


def block_slot(block: Block) -> ObjectSource:
    """The braces of a block as a place where an attribute can be written."""
    span, empty = block.braces
    return ObjectSource(span, empty)


class Reader:
    """Attributes of one block in one scope, traced."""

    def __init__(self, body: Body, scope: ModuleScope) -> None:
        self.attributes = body.attributes()
        self.body = body
        self.scope = scope

    def value(self, name: str) -> Value:
        found = self.attributes.get(name)
        if found is None:
            return missing(f"{name} is not set")
        return evaluate(found.expression, found.file, self.scope).at(found.span)

    def traced(self, name: str) -> Traced:
        return traced(self.value(name))

    def nested(self, name: str) -> Reader | None:
        """The first block `name`; of a `dynamic` one its content is read with what it iterates over."""
        for block in self.body.blocks(name):
            return Reader(block.body, self.scope)
        for block in self.body.blocks("dynamic"):
            if block.labels == (name,):
                return _dynamic(block, name, self.scope)
        return None


def _dynamic(block: Block, name: str, scope: ModuleScope) -> Reader | None:
    attributes = block.body.attributes()
    content = block.block("content")
    each = attributes.get("for_each")
    if content is None or each is None:
        return None
    value = evaluate(each.expression, each.file, scope)
    first = next(iter([*value.items.values(), *value.elements]), None) if value.known else None
    if first is None:
        return None if value.known else Reader(content.body, scope)
    iterator = attributes.get("iterator")
    label = iterator.file.text(iterator.expression) if iterator is not None else name
    return Reader(content.body, scope.with_names({label: Value("object", items={"value": first, "key": NULL})}))


# --- images ---------------------------------------------------------------------------------------


def image_of(value: Value) -> Ami:
    """What an `ami_id` or `image_id` leads to. Null, missing and empty: none, so EKS's own image."""
    if value.null or value.kind == "missing" or (value.kind == "scalar" and value.scalar == ""):
        return Ami("eks-optimised", Traced(probes=value.probes))
    if value.kind == "scalar":
        return Ami("ssm" if value.text().startswith("resolve:ssm:") else "literal", traced(value))
    if value.kind == "ref" and value.ref is not None and value.ref.mode == "data":
        found = _from_data(value, value.ref)
        if found is not None:
            return found
    return Ami("unknown", traced(value))


def _from_data(value: Value, ref: Ref) -> Ami | None:
    block = ref.module.directory.data.get((ref.type, ref.name))
    scope = ref.module.instance(block, ref.index) if block is not None else None
    if block is None or scope is None:
        return None
    reader = Reader(block.body, scope)
    address = Ref("data", ref.module, ref.type, ref.name, ref.index).address
    if ref.type in ("aws_ami", "aws_ami_ids"):
        return _aws_ami(value, reader, address)
    if ref.type == "aws_ssm_parameter":
        found = reader.value("name")
        return Ami("ssm", traced(replace(found, via=(*value.via, *found.via))), address)
    return None


def _aws_ami(value: Value, reader: Reader, address: str) -> Ami:
    by, found = "name", reader.value("name_regex")
    if found.kind == "missing":
        found = _name_filter(reader)
    else:
        by = "name_regex"
    owners = reader.value("owners")
    recent = reader.value("most_recent")
    trace = traced(replace(found, via=(*value.via, *found.via)))
    if found.kind == "missing":
        trace = Traced(why="the data source filters by no name", where=address, via=value.via)
    return Ami(
        "data-aws-ami",
        trace,
        address,
        tuple(e.text() for e in owners.elements if e.kind == "scalar") if owners.kind == "list" else (),
        recent.kind == "scalar" and recent.text() == "true",
        by,
        tuple(_other_filters(reader, by)),
    )


def _other_filters(reader: Reader, by: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The filters of `data "aws_ami"` besides the one that is edited, where their values are known."""
    for block in reader.body.blocks("filter"):
        inner = Reader(block.body, reader.scope)
        name, values = inner.value("name"), inner.value("values")
        if name.kind != "scalar" or (by == "name" and name.text() in ("name", "image-id")) or values.kind != "list":
            continue
        if values.elements and all(e.kind == "scalar" for e in values.elements):
            yield name.text(), tuple(e.text() for e in values.elements)


def _name_filter(reader: Reader) -> Value:
    """The first value of the filter whose name is `name` (or `image-id`)."""
    for block in reader.body.blocks("filter"):
        inner = Reader(block.body, reader.scope)
        name = inner.value("name")
        if name.kind == "scalar" and name.text() in ("name", "image-id"):
            values = inner.value("values")
            if values.kind != "list":
                return values
            if len(values.elements) != 1:
                return Value("unknown", why=f"the filter lists {len(values.elements)} names", where=block.span)
            # The expression of the one element is what an edit would replace as a whole.
            return replace(values.elements[0], chain=(*_element_spans(inner), *values.elements[0].chain))
    return missing("there is no filter by name")


def _element_spans(reader: Reader) -> tuple[Span, ...]:
    attribute = reader.attributes["values"]
    nodes = attribute.expression.named_children
    if len(nodes) == 1 and nodes[0].type == "collection_value":
        elements = [c for c in nodes[0].children[0].children if c.type == "expression"]
        return tuple(attribute.file.span(e) for e in elements)
    return (attribute.span,)


# --- by module inputs -----------------------------------------------------------------------------

Getter = Callable[[str], Value]


@dataclass(frozen=True)
class Interface:
    """How a module is spoken to: v21 renamed inputs; `follows`: add-ons without a version follow a data source."""

    version_key: str
    most_recent: bool
    follows: bool = True


def group_from_inputs(
    key: str, group: Value, defaults: Value, address: str, kind: str, interface: Interface
) -> GroupConfig:
    """A node group of `eks_managed_node_groups` (or inputs of the stand-alone module). `address` is its module's."""

    def get(name: str) -> Value:
        found = member(group, name)
        if found.kind == "missing" and defaults.kind == "object" and name in defaults.items:
            return member(defaults, name).probed(*found.probes)
        return found

    ami = image_of(get("ami_id"))
    template, own = get("launch_template_id"), ""
    if template.kind != "ref":
        template = get("launch_template_name")  # v18, beside create_launch_template = false
    if template.kind == "ref" and ami.kind == "eks-optimised":
        ami = image_of(template_image(template))
        if template.ref is not None and template.ref.type == "aws_launch_template":
            own = replace(template.ref, path=()).address
    name = get("name")
    update = get("update_config")
    return GroupConfig(
        name=name.text() if name.kind == "scalar" and not name.null else key,
        key=key,
        address=f"{address}.{'aws_eks_node_group' if kind == 'managed' else 'aws_autoscaling_group'}.this[0]",
        kind=kind,
        ami=ami,
        template=own or f"{address}.aws_launch_template.this[0]",
        prefixed=not _is(get("use_name_prefix"), "false"),
        ami_type=traced(get("ami_type")),
        version=traced(get(interface.version_key)),
        release_version=traced(get("ami_release_version")),
        version_key=interface.version_key,
        version_from_cluster=ami.kind == "eks-optimised" and not traced(get(interface.version_key)).set,
        max_unavailable=traced(member(update, "max_unavailable")),
        max_unavailable_percentage=traced(member(update, "max_unavailable_percentage")),
        strategy=traced(member(update, "update_strategy")),
        update_slot=update.source,
        min_size=traced(get("min_size")),
        desired_size=traced(get("desired_size")),
        max_size=traced(get("max_size")),
        force_update=traced(get("force_update_version")),
        update_timeout=traced(member(get("timeouts"), "update")),
        ignores_desired_size=True,
        slot=group.source,
        notes=_input_notes(get, ami, interface),
    )


def _is(value: Value, text: str) -> bool:
    return value.kind == "scalar" and not value.null and value.text() == text


def _input_notes(get: Getter, ami: Ami, interface: Interface) -> tuple[str, ...]:
    """Inputs that do something else than they seem to (shared facts of the module, v18 to v21)."""
    notes = []
    custom = ami.kind not in ("eks-optimised",)
    latest = get("use_latest_ami_release_version")
    if interface.most_recent and latest.kind == "missing" and not custom:
        notes.append("use_latest_ami_release_version is on by default: a newly published AMI rolls nodes on any apply")
    on = _is(latest, "true") or (interface.most_recent and latest.kind == "missing")
    if on and custom and _is(get("ami_type"), "CUSTOM"):
        notes.append("set use_latest_ami_release_version = false: with ami_type CUSTOM its look-up fails")
    elif _is(latest, "true") and not custom:
        notes.append("use_latest_ami_release_version = true: a newly published AMI rolls nodes on any apply")
    if _is(get("update_launch_template_default_version"), "false"):
        notes.append(
            "update_launch_template_default_version = false: a new AMI makes a template version that no node uses"
        )
    if custom and (get(interface.version_key).known or get("ami_release_version").known):
        notes.append(f"{interface.version_key} and ami_release_version of a group do nothing while ami_id is set")
    return tuple(notes)


def addons_from_input(addons: Value, address: str, interface: Interface) -> list[AddonConfig]:
    """The add-ons of `cluster_addons` / `addons`."""
    found = []
    for key, addon in addons.items.items():
        name = member(addon, "name")
        version = member(addon, "addon_version")
        recent = member(addon, "most_recent")
        early = _is(member(addon, "before_compute"), "true")
        found.append(
            AddonConfig(
                name=name.text() if name.kind == "scalar" and not name.null else key,
                address=f'{address}.aws_eks_addon.{"before_compute" if early else "this"}["{key}"]'.lstrip("."),
                version=traced(version),
                follows=interface.follows and (version.kind == "missing" or version.null),
                most_recent=recent.text() == "true"
                if recent.kind == "scalar" and not recent.null
                else interface.most_recent,
                slot=addon.source,
            )
        )
    return found


# --- by resources ---------------------------------------------------------------------------------


def template_image(value: Value) -> Value:
    """The image_id of the launch template that a reference leads to."""
    ref = value.ref
    if ref is None or ref.type != "aws_launch_template":
        return value if value.kind != "ref" else Value("unknown", why=f"the launch template is {value.why_unknown()}")
    block = ref.module.directory.resources.get((ref.type, ref.name))
    scope = ref.module.instance(block, ref.index) if block is not None else None
    if block is None or scope is None:
        return Value("unknown", why=f"{ref.address} has no such instance")
    found = Reader(block.body, scope).value("image_id")
    return found.through(ref.address) if found.kind != "missing" else found


def group_from_resource(block: Block, scope: ModuleScope, address: str, index: str) -> GroupConfig:
    """An aws_eks_node_group resource."""
    reader = Reader(block.body, scope)
    name, prefix = reader.value("node_group_name"), reader.value("node_group_name_prefix")
    ami, template = _template_of(reader)
    version = reader.value("version")
    update = reader.nested("update_config")
    scaling = reader.nested("scaling_config")
    timeouts = reader.nested("timeouts")
    update_block = block.block("update_config")
    key = index.strip('[]"') or _last_key(address) or block.labels[1]

    def of(inner: Reader | None, attribute: str) -> Traced:
        return inner.traced(attribute) if inner is not None else Traced()

    def pace(attribute: str) -> Traced:
        if update is None and _is_dynamic(block, "update_config"):
            return Traced(why="the dynamic block update_config has no entry for it", where=str(block.span))
        return of(update, attribute)

    shown = name if name.kind == "scalar" else prefix
    return GroupConfig(
        name=shown.text() if shown.kind == "scalar" and not shown.null else key,
        key=key,
        address=address,
        kind="managed",
        ami=ami,
        template=template,
        prefixed=name.kind != "scalar" and prefix.kind == "scalar",
        ami_type=reader.traced("ami_type"),
        version=traced(version),
        release_version=reader.traced("release_version"),
        version_key="version",
        max_unavailable=pace("max_unavailable"),
        max_unavailable_percentage=pace("max_unavailable_percentage"),
        strategy=of(update, "update_strategy"),
        update_slot=block_slot(update_block) if update_block is not None else None,
        min_size=of(scaling, "min_size"),
        desired_size=of(scaling, "desired_size"),
        max_size=of(scaling, "max_size"),
        force_update=reader.traced("force_update_version"),
        update_timeout=of(timeouts, "update"),
        ignores_desired_size=_ignores(block),
        slot=block_slot(block),
    )


def _last_key(address: str) -> str:
    """`web` of `module.groups["web"].aws_eks_node_group.this`: what tells instances of one text apart."""
    found = re.findall(r'\["([^"]*)"\]', address)
    return found[-1] if found else ""


def _is_dynamic(block: Block, name: str) -> bool:
    return any(b.labels == (name,) for b in block.body.blocks("dynamic"))


def _template_of(reader: Reader) -> tuple[Ami, str]:
    """The image and the address of the launch template that a node group names."""
    inner = reader.nested("launch_template")
    if inner is None:
        return Ami("eks-optimised"), ""
    named = inner.value("id") if "id" in inner.attributes else inner.value("name")
    if named.kind != "ref" or named.ref is None:
        return Ami("unknown", replace(traced(named), value=None, why="the launch template is not in this root")), ""
    image = image_of(template_image(named))
    return image, replace(named.ref, path=()).address


def _ignores(block: Block) -> bool:
    """lifecycle.ignore_changes names the desired size (or everything)."""
    lifecycle = block.block("lifecycle")
    ignored = lifecycle.attribute("ignore_changes") if lifecycle is not None else None
    if ignored is None:
        return False
    text = ignored.file.text(ignored.expression)
    return "desired_size" in text or text.strip() == "all" or "scaling_config" in text


def addon_from_resource(block: Block, scope: ModuleScope, address: str) -> AddonConfig:
    """An aws_eks_addon resource."""
    reader = Reader(block.body, scope)
    name = reader.value("addon_name")
    version = reader.value("addon_version")
    follows = version.kind == "ref" and version.ref is not None and version.ref.type == "aws_eks_addon_version"
    recent = False
    if follows and version.ref is not None:
        source = version.ref.module.directory.data[version.ref.type, version.ref.name]
        inside = version.ref.module.instance(source, version.ref.index)
        recent = inside is not None and _is(Reader(source.body, inside).value("most_recent"), "true")
    trace = traced(version)
    return AddonConfig(
        name=name.text() if name.kind == "scalar" and not name.null else address,
        address=address,
        version=replace(trace, why="", where="") if follows else trace,
        follows=follows,
        most_recent=recent,
        slot=_probe_slot(trace.probes, block, version),
        slot_key=_probe_key(trace.probes) or "addon_version",
    )


def _probe_slot(probes: tuple[Probe, ...], block: Block, value: Value) -> ObjectSource | None:
    """Where the version can be written: in the object that a wrapper looked into, else in the resource itself."""
    if probes:
        return probes[0].source
    return block_slot(block) if value.kind == "missing" else None


def _probe_key(probes: tuple[Probe, ...]) -> str:
    return probes[0].key if probes else ""
