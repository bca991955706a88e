"""Modules and their names: variables with all their sources, locals, for_each instances, outputs of local modules."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from baton.terraform.community import Community, by_content, by_source
from baton.terraform.evaluate import SPLAT, Step, evaluate, switched_on
from baton.terraform.hcl import Attribute, Block, Span
from baton.terraform.loading import Directory, Files
from baton.terraform.types import convert
from baton.terraform.values import Piece, Ref, Value, missing, scalar, unknown

# Outputs of the EKS module that hand an input on, so that an edit finds the input.
PASSED_ON = {
    "cluster_version": ("cluster_version", "kubernetes_version"),
    "cluster_name": ("cluster_name", "name"),
    "cluster_id": ("cluster_name", "name"),
}
# Attributes of resources that are decided by AWS, or whose name says something else than the argument.
_BY_AWS = frozenset({"id", "arn", "latest_version", "default_version"})


@dataclass(frozen=True)
class Inputs:
    """What a module is given: arguments of a call in the caller's scope, or values."""

    arguments: Mapping[str, Attribute] = field(default_factory=dict)
    scope: ModuleScope | None = None
    values: Mapping[str, Value] = field(default_factory=dict)
    label: str = ""  # `module.eks`, for `via`

    def value(self, name: str) -> Value | None:
        if name in self.arguments and self.scope is not None:
            argument = self.arguments[name]
            found = evaluate(argument.expression, argument.file, self.scope)
            return found.at(argument.span).through(f"{self.label}.{name}" if self.label else name)
        return self.values.get(name)


@dataclass(frozen=True)
class Call:
    """A module call: one instance of a `module` block. `module` is None when its files are not part of this root.

    `community` tells the EKS module; `module` is then a copy of it that is at hand.
    """

    block: Block
    address: str
    index: str
    source: str
    version: Value | None
    inputs: Inputs
    module: Module | None
    community: Community | None = None

    def input(self, *names: str) -> Value | None:
        """The first of these inputs that is given."""
        return next((v for n in names if (v := self.inputs.value(n)) is not None), None)

    def passed_on(self, output: str) -> Value | None:
        """The value of an output, as far as it is an input handed on or the module is at hand."""
        given = None
        if self.module is None or self.community is not None:
            given = self.input(*PASSED_ON.get(output, ()))
        if given is None and self.module is not None:
            given = self.module.output(output)
        return given

    def attribute(self, *names: str) -> Attribute | None:
        return next((self.inputs.arguments[n] for n in names if n in self.inputs.arguments), None)


class Module:
    """One module instance: a directory with inputs. `address` is "" for the root, else `module.a.module.b["k"]`."""

    def __init__(
        self, files: Files, directory: Directory, inputs: Inputs, address: str = "", key: str = "", workspace: str = ""
    ) -> None:
        self.files = files
        self.directory = directory
        self.inputs = inputs
        self.address = address
        self.key = key  # in the manifest of installed modules
        self.workspace = workspace
        self.remote_source = ""  # Terragrunt over a module of a registry: this root is that module
        self._values: dict[str, Value] = {}
        self._open: list[str] = []
        self._calls: dict[str, list[Call]] = {}

    def scope(self) -> ModuleScope:
        return ModuleScope(self)

    def address_of(self, rest: str) -> str:
        return f"{self.address}.{rest}" if self.address else rest

    # names

    def variable(self, name: str) -> Value:
        return self._once(f"var.{name}", lambda: self._variable(name))

    def _variable(self, name: str) -> Value:
        block = self.directory.variables.get(name)
        if block is None:
            return unknown(f"variable {name} is not declared", None)
        attributes = block.body.attributes()
        value = self.inputs.value(name)
        default = attributes.get("default")
        nullable = attributes.get("nullable")
        if (
            value is not None
            and value.null
            and nullable is not None
            and nullable.file.text(nullable.expression) == "false"
        ):
            value = None
        if value is None and default is not None:
            value = evaluate(default.expression, default.file, self.scope()).at(default.span)
        if value is None:
            return unknown(f"variable {name} has no value in this root", block.span)
        if "type" in attributes:
            value = convert(value, attributes["type"].expression, attributes["type"].file)
        return value.through(self.address_of(f"var.{name}"))

    def local(self, name: str) -> Value:
        return self._once(f"local.{name}", lambda: self._local(name))

    def _local(self, name: str) -> Value:
        attribute = self.directory.locals.get(name)
        if attribute is None:
            return missing(f"local {name} is not declared")
        value = evaluate(attribute.expression, attribute.file, self.scope())
        return value.at(attribute.span).through(self.address_of(f"local.{name}"))

    def _once(self, name: str, make: object) -> Value:
        if name in self._values:
            return self._values[name]
        if name in self._open:
            circle = " -> ".join([*self._open[self._open.index(name) :], name])
            attribute = self.directory.locals.get(name.removeprefix("local."))
            return unknown(f"it refers to itself: {circle}", attribute.span if attribute else None)
        self._open.append(name)
        try:
            assert callable(make)
            value: Value = make()
        finally:
            self._open.pop()
        self._values[name] = value
        return value

    # blocks with for_each or count

    def instances(self, block: Block, scope: ModuleScope | None = None) -> list[tuple[str, ModuleScope]]:
        """(index, scope) of each instance of a block; index `[*]` when for_each or count cannot be decided."""
        scope = scope or self.scope()
        attributes = block.body.attributes()
        each, count = attributes.get("for_each"), attributes.get("count")
        if each is not None:
            return self._for_each(self._decided(each, scope), scope)
        if count is None:
            return [("", scope)]
        number = self._decided(count, scope)
        if number.kind != "scalar" or not number.text().isdigit():
            return [("[*]", replace(scope, count=unknown(f"count is not known: {number.why_unknown()}", count.span)))]
        return [(f"[{n}]", replace(scope, count=scalar(n))) for n in range(int(number.text()))]

    def _decided(self, attribute: Attribute, scope: ModuleScope) -> Value:
        found = evaluate(attribute.expression, attribute.file, scope)
        if found.kind != "unknown":
            return found
        return switched_on(attribute.expression, attribute.file, scope) or found

    def undecided(self, block: Block) -> bool:
        """Whether only a condition that cannot be decided says if the block counts: it is shown as if it does."""
        each = block.attribute("for_each") or block.attribute("count")
        if each is None:
            return False
        found = evaluate(each.expression, each.file, self.scope())
        return found.kind == "unknown" and switched_on(each.expression, each.file, self.scope()) is not None

    def _for_each(self, value: Value, scope: ModuleScope) -> list[tuple[str, ModuleScope]]:
        if value.kind == "object":
            pairs = [(k, replace(v, via=(*value.via, *v.via))) for k, v in value.items.items()]
        elif value.kind == "list" and all(e.kind == "scalar" for e in value.elements):
            pairs = [(e.text(), e) for e in value.elements]
        else:
            why = unknown(f"for_each is not known: {value.why_unknown()}", value.where, value.via)
            return [("[*]", replace(scope, each_key=why, each_value=why))]
        return [(f'["{k}"]', replace(scope, each_key=scalar(k), each_value=v)) for k, v in pairs]

    def instance(self, block: Block, index: str) -> ModuleScope | None:
        """The scope of one instance; any single one for `[*]`."""
        found = self.instances(block)
        for own, scope in found:
            if own == index or (index == "[*]" and len(found) == 1) or own == "[*]":
                return scope
        return None

    # module calls

    def calls(self) -> Iterator[Call]:
        for name in self.directory.modules:
            yield from self.call(name)

    def call(self, name: str) -> list[Call]:
        """All instances of one module block."""
        if name not in self._calls:
            block = self.directory.modules[name]
            if f"module.{name}" in self._open:
                return []
            self._open.append(f"module.{name}")
            try:
                self._calls[name] = [self._call(name, block, i, s) for i, s in self.instances(block)]
            finally:
                self._open.pop()
        return self._calls[name]

    def _call(self, name: str, block: Block, index: str, scope: ModuleScope) -> Call:
        attributes = block.body.attributes()
        source = attributes.get("source")
        found = evaluate(source.expression, source.file, scope) if source is not None else unknown("no source")
        text = found.text() if found.kind == "scalar" else ""
        address = self.address_of(f"module.{name}{index}")
        inputs = Inputs(attributes, scope, label=address)
        version = attributes.get("version")
        pinned = evaluate(version.expression, version.file, scope).at(version.span) if version is not None else None
        local = text.startswith(("./", "../"))
        known = None if local else by_source(text)
        if known is not None:  # its inputs are known; its inside is not read
            return Call(block, address, index, text, pinned, inputs, None, known)
        module = self._called(name, text, inputs, address)
        known = by_content(module.directory) if module is not None else None
        return Call(block, address, index, text, pinned, inputs, module, known)

    def _called(self, name: str, source: str, inputs: Inputs, address: str) -> Module | None:
        key = f"{self.key}.{name}" if self.key else name
        local = source.startswith(("./", "../"))
        path = posixpath.join(self.directory.path, source) if local else self.files.installed(key)
        if path is None:
            return None
        foreign = not local or any(f.foreign for f in self.directory.files)
        directory = self.files.directory(path, foreign=foreign)
        if directory is None:
            return None
        return Module(self.files, directory, inputs, address, key, self.workspace)

    def output(self, name: str) -> Value:
        """An output of this module."""
        block = self.directory.outputs.get(name)
        attribute = block.attribute("value") if block is not None else None
        if attribute is None:
            return missing(f"there is no output {name}")
        return self._once(
            f"output.{name}", lambda: evaluate(attribute.expression, attribute.file, self.scope()).at(attribute.span)
        )


@dataclass(frozen=True)
class ModuleScope:
    """Names as seen from one place in a module."""

    module: Module
    each_key: Value | None = None
    each_value: Value | None = None
    count: Value | None = None
    names: Mapping[str, Value] = field(default_factory=dict)

    def with_names(self, names: Mapping[str, Value]) -> ModuleScope:
        return replace(self, names={**self.names, **names})

    def function(self, name: str, args: Sequence[Value]) -> Value | None:
        """See evaluate.Scope: Terraform has no function of one place only."""
        return None

    def resolve(self, name: str, steps: Sequence[Step], where: Span) -> tuple[Value, int]:
        """See evaluate.Scope."""
        if name in self.names:
            return self.names[name], 0
        if name in ("var", "local", "each", "count", "path", "terraform"):
            first = steps[0] if steps and isinstance(steps[0], str) else None
            if first is None:
                return unknown(f"{name} alone is no value", where), len(steps)
            return self._simple(name, first, where), 1
        if name == "data":
            return self._object("data", steps, where)
        if name == "module":
            return self._module(steps, where)
        return self._object("resource", (name, *steps), where, 1)

    def _simple(self, name: str, first: str, where: Span) -> Value:
        if name == "var":
            return self.module.variable(first)
        if name == "local":
            return self.module.local(first)
        if name == "terraform" and first == "workspace":
            self.module.files.asked_workspace = True
            piece = Piece(self.module.workspace, None, "it is the name of the Terraform workspace")
            return scalar(self.module.workspace, pieces=(piece,), via=("terraform.workspace",))
        if name == "path":
            cwd = self.module.files.root.absolute().as_posix()  # where Terraform is run, as a rule
            return scalar({"module": self.module.directory.path, "cwd": cwd}.get(first, "."))
        known = {("each", "key"): self.each_key, ("each", "value"): self.each_value, ("count", "index"): self.count}
        return known.get((name, first)) or unknown(f"{name}.{first} has no value here", where)

    def _object(self, mode: str, steps: Sequence[Step], where: Span, before: int = 0) -> tuple[Value, int]:
        """`aws_x.name[index].attribute...` or `data.aws_x.name...`; `before` steps were the name itself."""
        if len(steps) < 2 or not isinstance(steps[0], str) or not isinstance(steps[1], str):
            return unknown(f"{steps[0] if steps else mode} is no value Baton knows", where), len(steps) - before
        kind, name = steps[0], steps[1]
        table = self.module.directory.data if mode == "data" else self.module.directory.resources
        block = table.get((kind, name))
        if block is None:
            address = f"{'data.' if mode == 'data' else ''}{kind}.{name}"
            return unknown(f"{address} is not declared in this module", where), len(steps) - before
        index, used = _index(block, steps, 2)
        ref = Ref(mode, self.module, kind, name, index)
        attribute = steps[used] if used < len(steps) else None
        if mode == "resource" and isinstance(attribute, str):
            found = self._attribute(block, ref, attribute)
            if found is not None:
                return found, used + 1 - before
        return Value("ref", ref=ref, where=where, via=(ref.address,)), used - before

    def _attribute(self, block: Block, ref: Ref, name: str) -> Value | None:
        """What a resource's own argument says; None when only AWS can tell."""
        if ref.type == "aws_eks_cluster" and name == "id":
            name = "name"
        if name in _BY_AWS or (ref.type, name) == ("aws_launch_template", "name"):
            return None  # of a launch template the template itself is wanted, not what it is called
        attribute = block.attribute(name)
        if attribute is None:
            return None
        scope = self.module.instance(block, ref.index)
        if scope is None:
            return missing(f"{ref.address} has no such instance", attribute.span)
        key = f"{ref.address}.{name}"
        found = self.module._once(
            key, lambda: evaluate(attribute.expression, attribute.file, scope).at(attribute.span).through(ref.address)
        )
        if found.null and ref.type.startswith("aws_eks_") and "version" in name:
            return None  # left to EKS: what it says is the version that runs
        return found

    def _module(self, steps: Sequence[Step], where: Span) -> tuple[Value, int]:
        if not steps or not isinstance(steps[0], str) or steps[0] not in self.module.directory.modules:
            return unknown(f"module {steps[0] if steps else ''} is not declared", where), len(steps)
        name = steps[0]
        block = self.module.directory.modules[name]
        index, used = _index(block, steps, 1)
        ref = Ref("module", self.module, "", name, index)
        if used >= len(steps) or not isinstance(steps[used], str):
            return Value("ref", ref=ref, where=where, via=(ref.address,)), used
        output = str(steps[used])
        call = next((c for c in self.module.call(name) if c.index in (index, "[*]") or index == "[*]"), None)
        given = call.passed_on(output) if call is not None else None
        if call is not None and given is not None:
            return given.through(f"{call.address}.{output}", call.address), used + 1
        return Value("ref", ref=ref, where=where, via=(ref.address,)), used


def _index(block: Block, steps: Sequence[Step], used: int) -> tuple[str, int]:
    """The index after a name, where the block has for_each or count."""
    attributes = block.body.attributes()
    if "for_each" not in attributes and "count" not in attributes:
        return "", used
    if used >= len(steps):
        return "[*]", used
    step = steps[used]
    if isinstance(step, Value) or step == SPLAT:
        return "[*]", used + 1
    if "count" in attributes:
        return f"[{step}]" if step.isdigit() else "[*]", used + 1
    return f'["{step}"]', used + 1
