"""Terragrunt's configuration, as far as it decides inputs: includes, locals, `read_terragrunt_config`, paths.

What only Terragrunt can know (outputs of dependencies, commands, the environment) is unknown, with the why. All paths
are relative to the folder of the unit, which is the root that was asked for.
"""

from __future__ import annotations

import os.path
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from baton.errors import ReadError
from baton.terraform.evaluate import Step, evaluate
from baton.terraform.hcl import Block, HclFile, Span
from baton.terraform.inspection import Unresolved
from baton.terraform.loading import Directory, Files
from baton.terraform.modules import Inputs, Module, ModuleScope
from baton.terraform.values import Value, member, missing, object_of, scalar, unknown

TERRAGRUNT = "terragrunt.hcl"
UP = 12  # folders above the unit that are searched
DEPTH = 6  # configurations that read one another


@dataclass
class Unit:
    """What a unit comes to: its source ("" when it names none) and its inputs, those of its includes merged in."""

    file: HclFile
    source: str = ""
    inputs: dict[str, Value] = field(default_factory=dict)
    notes: list[Unresolved] = field(default_factory=list)


def read_unit(files: Files, workspace: str) -> Unit:
    """The unit in the root. Raises ReadError for files that do not parse."""
    config = _Config(files, TERRAGRUNT, ".", workspace)
    unit = Unit(config.file)
    for name, block in config.includes.items():
        parent = config.included(name)
        if isinstance(parent, Value):
            why = f"what it includes is not known: {parent.why_unknown()}"
            unit.notes.append(Unresolved(f"include {name}".strip(), str(block.span), why))
            continue
        strategy = _text(config, block, "merge_strategy")
        if strategy != "no_merge":
            unit.inputs = _merged(unit.inputs, parent.given(), deep=strategy == "deep")
            unit.source = parent.source() or unit.source
    unit.source = config.source() or unit.source
    deep = any(_text(config, b, "merge_strategy") == "deep" for b in config.includes.values())
    unit.inputs = _merged(unit.inputs, config.given(), deep=deep)
    for block in config.file.body().blocks("dependency"):
        why = "outputs of Terragrunt dependencies are not known"
        unit.notes.append(Unresolved(f"dependency {' '.join(block.labels)}", str(block.span), why))
    return unit


def _merged(below: Mapping[str, Value], above: Mapping[str, Value], *, deep: bool) -> dict[str, Value]:
    found = dict(below)
    for key, value in above.items():
        old = found.get(key)
        if deep and old is not None and old.kind == value.kind == "object":
            value = object_of(_merged(old.items, value.items, deep=True), value.source, value.via)
        found[key] = value
    return found


def _text(config: _Config, block: Block, name: str) -> str:
    attribute = block.attribute(name)
    value = evaluate(attribute.expression, attribute.file, config.scope()) if attribute is not None else None
    return value.text() if value is not None and value.kind == "scalar" else ""


class _Config(Module):
    """One configuration file, read for the unit in folder `place`."""

    def __init__(self, files: Files, name: str, place: str, workspace: str, depth: int = 0) -> None:
        file = files.file(name)
        own = Directory(posixpath.dirname(name) or ".", (file,))
        own.add(file)
        super().__init__(files, own, Inputs(), workspace=workspace)
        self.file = file
        self.name = name
        self.place = place
        self.depth = depth
        self.includes = {" ".join(b.labels): b for b in file.body().blocks("include")}
        self._parents: dict[str, _Config | Value] = {}

    def scope(self) -> ModuleScope:
        return _Scope(self)

    def source(self) -> str:
        block = next(iter(self.file.body().blocks("terraform")), None)
        return _text(self, block, "source") if block is not None else ""

    def given(self) -> dict[str, Value]:
        inputs = self.file.body().attributes().get("inputs")
        found = evaluate(inputs.expression, self.file, self.scope()) if inputs is not None else None
        return {k: v.through(f"{self.name} inputs") for k, v in found.items.items()} if found is not None else {}

    def included(self, name: str) -> _Config | Value:
        """The configuration that an include block names; a value that says why not."""
        if name not in self._parents:
            attribute = self.includes[name].attribute("path")
            path = (
                evaluate(attribute.expression, self.file, self.scope()) if attribute is not None else unknown("no path")
            )
            self._parents[name] = self.other(path, self.place)
        return self._parents[name]

    def other(self, path: Value, place: str | None) -> _Config | Value:
        """The configuration at a path, read for `place` (None: for the folder that it is in)."""
        if path.kind != "scalar":
            return path
        name = posixpath.normpath(posixpath.join(self.place, path.text()))
        if not self.files.exists(name) or self.depth >= DEPTH:
            return unknown(f"there is no {name}", path.where)
        try:
            where = place if place is not None else posixpath.dirname(name) or "."
            return _Config(self.files, name, where, self.workspace, self.depth + 1)
        except ReadError as error:
            return unknown(f"{name} does not parse: {error.message.splitlines()[0]}", path.where)


@dataclass(frozen=True)
class _Scope(ModuleScope):
    """Names and functions that Terragrunt adds."""

    def resolve(self, name: str, steps: Sequence[Step], where: Span) -> tuple[Value, int]:
        """See evaluate.Scope."""
        config = self.module
        assert isinstance(config, _Config)
        if name == "dependency" and name not in self.names:
            return unknown(f"it is an output of dependency {steps[0] if steps else ''}", where), len(steps)
        if name != "include" or name in self.names:
            return super().resolve(name, steps, where)
        label = str(steps[0]) if steps and str(steps[0]) in config.includes else ""
        used = 1 if label else 0
        if label not in config.includes or len(steps) < used + 2:
            return unknown("what it includes is not known", where), len(steps)
        parent = config.included(label)
        if isinstance(parent, Value):
            return parent, len(steps)
        kind, key = str(steps[used]), str(steps[used + 1])
        if kind == "locals":
            return parent.local(key).through(f"{parent.name} local.{key}"), used + 2
        if kind == "inputs":
            return member(object_of(parent.given()), key, where), used + 2
        return unknown(f"include.{label}.{kind} is not known", where), len(steps)

    def function(self, name: str, args: Sequence[Value]) -> Value | None:
        """Terragrunt's own functions; None for those of Terraform."""
        config = self.module
        assert isinstance(config, _Config)
        if name in ("get_terragrunt_dir", "get_original_terragrunt_dir", "get_working_dir"):
            return scalar(config.place)
        if name == "get_parent_terragrunt_dir":
            return scalar(posixpath.dirname(config.name) or ".")
        if name == "get_repo_root":
            found = _above(config, ".git", 0)
            return scalar(posixpath.dirname(found) or ".") if found else unknown("the repository's root is not known")
        if name == "find_in_parent_folders":
            return _find(config, args)
        if name == "read_terragrunt_config" and args:
            return _read(config, args)
        if name in ("get_env", "run_cmd", "sops_decrypt_file"):
            what = args[0].text() if args and args[0].kind == "scalar" else ""
            return unknown(f"{name}({what}) is known to Terragrunt alone")
        return None


def _find(config: _Config, args: Sequence[Value]) -> Value:
    names = [args[0].text()] if args and args[0].kind == "scalar" else [TERRAGRUNT, "root.hcl"]
    for name in names:
        found = _above(config, name, 1)
        if found:
            root = config.files.root.absolute()
            return scalar(Path(os.path.relpath(root / found, root / config.place)).as_posix())
    return args[1] if len(args) > 1 else missing(f"no folder above holds {' or '.join(names)}")


def _above(config: _Config, name: str, start: int) -> str:
    """`../../name` of the nearest folder above the unit that holds it; "" when none does."""
    for up in range(start, UP):
        path = posixpath.normpath(posixpath.join(config.place, *[".."] * up, name))
        if os.path.exists(config.files.root / path):
            return path
    return ""


def _read(config: _Config, args: Sequence[Value]) -> Value:
    found = config.other(args[0], None)
    if isinstance(found, Value):
        return args[1] if len(args) > 1 else found
    local = {n: found.local(n).through(f"{found.name} local.{n}") for n in found.directory.locals}
    return object_of({"locals": object_of(local), "inputs": object_of(found.given())})
