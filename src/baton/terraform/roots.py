"""The root module with the values its variables get: defaults, TF_VAR_, tfvars, -var-file; Terragrunt inputs."""

from __future__ import annotations

import os
import os.path
import posixpath
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from baton.errors import ReadError
from baton.terraform.evaluate import evaluate
from baton.terraform.hcl import HclFile
from baton.terraform.inspection import Unresolved
from baton.terraform.loading import Directory, Files
from baton.terraform.modules import Inputs, Module, ModuleScope
from baton.terraform.terragrunt import TERRAGRUNT, read_unit
from baton.terraform.values import Piece, Value, scalar, unknown

ENCRYPTED = b"\x00GITCRYPT"


def root_module(
    files: Files, var_files: Iterable[str], workspace: str, environ: Mapping[str, str]
) -> tuple[Module, list[Unresolved]]:
    """The module at the root with its inputs. Raises ReadError when there is none, or a file is unreadable."""
    directory = files.directory(".")
    if files.exists(TERRAGRUNT) and (directory is None or _names_source(files, workspace)):
        return _terragrunt(files, workspace)
    if directory is None:
        raise ReadError(
            "there is no Terraform here",
            where=str(files.root),
            hint="name the directory that holds the root module (its .tf files)",
        )
    given = read_unit(files, workspace).inputs if files.exists(TERRAGRUNT) else {}
    values, notes = _variable_values(files, directory, given, var_files, environ)
    return Module(files, directory, Inputs(values=values), workspace=workspace), notes


def _variable_values(
    files: Files,
    directory: Directory,
    given: Mapping[str, Value],
    var_files: Iterable[str],
    environ: Mapping[str, str],
) -> tuple[dict[str, Value], list[Unresolved]]:
    """In Terraform's order, later wins: TF_VAR_ (and Terragrunt's inputs, which are that), terraform.tfvars(.json),
    *.auto.tfvars(.json), -var-file.
    """
    values: dict[str, Value] = {}
    notes: list[Unresolved] = []
    for name in directory.variables:
        text = environ.get(f"TF_VAR_{name}")
        if text is not None:
            outside = f"it is set in the environment: TF_VAR_{name}"
            piece = Piece(text, None, outside)
            values[name] = scalar(text, pieces=(piece,), via=(f"TF_VAR_{name}",))
    values.update(given)
    for name in _automatic(files):
        if files.text(name).startswith(ENCRYPTED):
            why = f"{name} is encrypted and may set it: unlock it first (git-crypt unlock)"
            values.update({n: unknown(why, b.span, (f"var.{n}",)) for n, b in directory.variables.items()})
            notes.append(Unresolved(name, name, "it is encrypted: what it sets is not known until `git-crypt unlock`"))
            continue
        values.update(_from_file(files.file(name), name))
    chosen = list(var_files)
    for given_name in chosen:
        if given_name == os.devnull:
            continue
        name = _relative(files.root, given_name)
        if not files.exists(name):
            raise ReadError("there is no such variables file", where=given_name, hint="give the path as for Terraform")
        values.update(_from_file(files.file(name), name))
    empty = [n for n, b in directory.variables.items() if n not in values and b.attribute("default") is None]
    others = [] if chosen else [n for n in _others(files) if n not in _automatic(files)]
    found, more = _not_chosen(files, directory, others, empty)
    values.update(found)
    notes += more
    hint = f"; pass one of them with --var-file: {', '.join(others)}" if others else ""
    for name in empty:
        where = str(directory.variables[name].span)
        notes.append(Unresolved(f"var.{name}", where, f"no default, and no file here gives it a value{hint}"))
    return values, notes


def _not_chosen(
    files: Files, directory: Directory, others: Iterable[str], empty: Iterable[str]
) -> tuple[dict[str, Value], list[Unresolved]]:
    """Variables files that Terraform reads only when told to: what they set, as values, and what is to be said.

    When one of them sets a variable that has no value otherwise, the root is used with one of them: then what they set
    is not known until one is chosen, and a default is not what counts.
    """
    notes: list[Unresolved] = []
    holders: dict[str, list[str]] = {}
    for other in others:
        try:
            sets = [n for n in _from_file(files.file(other), other) if n in directory.variables]
        except ReadError as error:
            notes.append(Unresolved(other, error.where or other, "it does not parse"))
            continue
        if set(sets) & set(empty):
            for name in sets:
                holders.setdefault(name, []).append(other)
        elif sets:
            shown = ", ".join(sets[:6]) + (f" and {len(sets) - 6} more" if len(sets) > 6 else "")
            why = f"Terraform reads it only with -var-file, so Baton does only with --var-file; it sets {shown}"
            notes.append(Unresolved(other, other, why))
    values = {}
    for name in holders:
        none = "" if name in set(empty) else f" ({os.devnull} when none is used)"
        why = f"{', '.join(holders[name])} sets it: choose one with --var-file{none}"
        values[name] = unknown(why, directory.variables[name].span, (f"var.{name}",))
    return values, notes


def _automatic(files: Files) -> list[str]:
    names = [n for n in ("terraform.tfvars", "terraform.tfvars.json") if files.exists(n)]
    return names + files.names(".", ".auto.tfvars", ".auto.tfvars.json")


def _others(files: Files) -> list[str]:
    found = []
    for folder in (".", "env", "envs", "environments", "vars", "tfvars", "config"):
        found += files.names(folder, ".tfvars")
        if folder != "." and (files.root / folder).is_dir():
            for sub in sorted(p.name for p in (files.root / folder).iterdir() if p.is_dir()):
                found += files.names(posixpath.join(folder, sub), ".tfvars")
    return found


def _relative(root: Path, name: str) -> str:
    """A -var-file is relative to the root when it is there, else to the working directory."""
    path = Path(name)
    if not path.is_absolute() and (root / path).is_file():
        return posixpath.normpath(path.as_posix())
    return Path(os.path.relpath(path.absolute(), root.absolute())).as_posix()


def _from_file(file: HclFile, name: str) -> dict[str, Value]:
    scope = ModuleScope(Module(_NO_FILES, Directory("."), Inputs()))
    if name.endswith(".json"):
        whole = evaluate(file.body().attributes()["values"].expression, file, scope)
        return {k: v.through(name) for k, v in whole.items.items()}
    found = file.body().attributes()
    return {n: evaluate(a.expression, file, scope).at(a.span).through(name) for n, a in found.items()}


_NO_FILES = Files(Path("."))


# --- Terragrunt -----------------------------------------------------------------------------------


def _names_source(files: Files, workspace: str) -> bool:
    return bool(read_unit(files, workspace).source)


def _terragrunt(files: Files, workspace: str) -> tuple[Module, list[Unresolved]]:
    """terragrunt.hcl over a local module, or over a registry module taken as a module call of its own."""
    unit = read_unit(files, workspace)
    source, values = unit.source, unit.inputs
    local = source if source.startswith((".", "/")) else ""
    directory = files.directory(_single(os.path.relpath(files.root / local, files.root))) if local else None
    if directory is not None:
        return Module(files, directory, Inputs(values=values), workspace=workspace), unit.notes
    if not source:
        raise ReadError(
            "terragrunt.hcl names no source, nor does what it includes",
            where=TERRAGRUNT,
            hint="run Baton in the folder of a unit, not of what units include",
        )
    # A module of a registry or repository: its inputs are what can be read and changed here.
    shell = Directory(".", (unit.file,))
    module = Module(files, shell, Inputs(values=values), workspace=workspace)
    module.remote_source = source
    return module, unit.notes


def _single(path: str) -> str:
    """Terragrunt's `dir//sub` is the module at dir/sub."""
    return re.sub(r"(?<!:)//", "/", Path(path).as_posix())
