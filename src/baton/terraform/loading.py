"""Which files make up a root, parsed once each; an overlay replaces files by texts not yet written."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from baton.errors import ReadError
from baton.terraform.hcl import Attribute, Block, HclFile, NotReadError, overridden, parse, parse_json
from baton.terraform.json_syntax import top


@dataclass
class Directory:
    """The blocks of one module directory by what they are. `path` is relative to the root (`.`)."""

    path: str
    files: tuple[HclFile, ...] = ()
    variables: dict[str, Block] = field(default_factory=dict)
    locals: dict[str, Attribute] = field(default_factory=dict)
    data: dict[tuple[str, str], Block] = field(default_factory=dict)
    resources: dict[tuple[str, str], Block] = field(default_factory=dict)
    modules: dict[str, Block] = field(default_factory=dict)
    outputs: dict[str, Block] = field(default_factory=dict)
    notes: tuple[tuple[str, str], ...] = ()

    def add(self, file: HclFile, *, override: bool = False) -> None:
        """The blocks of a file; those of an override file are merged into what is there, as Terraform does it."""
        body = top(file) if file.name.endswith(".json") else file.body()
        body.attributes()  # tells what Terraform would refuse at the top level
        for block in body.blocks():
            labels = block.labels
            if block.type == "locals":
                self.locals.update(block.body.attributes())
            elif block.type in ("data", "resource") and len(labels) == 2:
                _put(self.data if block.type == "data" else self.resources, (labels[0], labels[1]), block, override)
            elif len(labels) == 1:
                table = {"variable": self.variables, "module": self.modules, "output": self.outputs}.get(block.type)
                if table is not None:
                    _put(table, labels[0], block, override)


Key = TypeVar("Key")


def _put(table: dict[Key, Block], key: Key, block: Block, override: bool) -> None:
    table[key] = overridden(table[key], block) if override and key in table else block


_OVERRIDE = re.compile(r"(?:^|/|_)override\.(?:tf|tofu)(?:\.json)?$")


class Files:
    """Reads and parses files of a root; unchanged files are parsed once, also across overlays."""

    def __init__(self, root: Path, overlay: Mapping[str, bytes] | None = None) -> None:
        self.root = root
        self.overlay = dict(overlay or {})
        self._parsed: dict[str, tuple[bytes, HclFile]] = {}
        self._directories: dict[tuple[str, bool], Directory] = {}
        self._manifest: dict[str, str] | None = None
        self.asked_workspace = False  # whether a value depends on the workspace

    def with_overlay(self, overlay: Mapping[str, bytes]) -> Files:
        """The same files with other texts laid over them; what is parsed already is shared."""
        other = Files(self.root, {**self.overlay, **overlay})
        other._parsed = dict(self._parsed)
        other._manifest = self._manifest
        return other

    def text(self, name: str) -> bytes:
        """The bytes of a file. Raises ReadError."""
        if name in self.overlay:
            return self.overlay[name]
        if name in self._parsed:
            return self._parsed[name][0]
        try:
            return (self.root / name).read_bytes()
        except OSError as error:
            raise ReadError(
                f"cannot be read: {error.strerror}", where=name, hint="check the path and its permissions"
            ) from None

    def file(self, name: str, *, foreign: bool = False) -> HclFile:
        """The parsed file. Raises ReadError for what cannot be read or is no HCL."""
        data = self.text(name)
        known = self._parsed.get(name)
        if known is not None and known[0] == data:
            return known[1]
        parsed = (
            parse_json(name, data, foreign=foreign) if name.endswith(".json") else parse(name, data, foreign=foreign)
        )
        self._parsed[name] = (data, parsed)
        return parsed

    def exists(self, name: str) -> bool:
        return name in self.overlay or (self.root / name).is_file()

    def directory(self, path: str, *, foreign: bool = False) -> Directory | None:
        """The module in a directory; None when there is none. Raises ReadError for files that do not parse."""
        path = posixpath.normpath(path)
        if (path, foreign) not in self._directories:
            found = self._load(path, foreign)
            if found is None:
                return None
            self._directories[path, foreign] = found
        return self._directories[path, foreign]

    def _load(self, path: str, foreign: bool) -> Directory | None:
        names = self.names(path, ".tf", ".tf.json", ".tofu", ".tofu.json")
        if not names:
            return None
        found = Directory(path)
        twins = {n for n in names if re.sub(r"\.tf(\.json)?$", r".tofu\1", n) in names and ".tofu" not in n}
        names = [n for n in names if n not in twins]
        # Override files come last, in their order.
        over = [n for n in names if _OVERRIDE.search(n)]
        files = []
        notes = [
            (n, "OpenTofu reads the .tofu file of this name in its place, and so does Baton") for n in sorted(twins)
        ]
        for name in [*(n for n in names if n not in over), *over]:
            try:
                file = self.file(name, foreign=foreign)
            except NotReadError as error:
                notes.append((name, error.message.splitlines()[0] + ": Baton cannot see what this file sets"))
                continue
            found.add(file, override=name in over)
            files.append(file)
        found.files, found.notes = tuple(files), tuple(notes)
        return found

    def names(self, path: str, *suffixes: str) -> list[str]:
        """Files of a directory by suffix, sorted, relative to the root."""
        folder = self.root / path
        if not folder.is_dir():
            return []
        names = [p.name for p in folder.iterdir() if p.name.endswith(suffixes) and not p.name.startswith(".")]
        return [posixpath.normpath(posixpath.join(path, n)) for n in sorted(names)]

    def installed(self, key: str) -> str | None:
        """Where `terraform init` put the module called at `key` (`eks`, `platform.eks`); None when not installed."""
        if self._manifest is None:
            self._manifest = self._read_manifest()
        return self._manifest.get(key)

    def _read_manifest(self) -> dict[str, str]:
        path = self.root / ".terraform" / "modules" / "modules.json"
        try:
            entries = json.loads(path.read_text())["Modules"]
            return {str(e["Key"]): str(e["Dir"]) for e in entries}
        except (OSError, ValueError, KeyError, TypeError):
            return {}  # not initialised: then only what is written here is known
