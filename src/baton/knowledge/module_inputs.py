"""What the community EKS module reads of a node group's map, by release line: data/eks_module.json.

Its maps are of type any up to v20, and of an object type with optional attributes from v21 on: both drop keys that
they do not know without a word, so a misspelt one does nothing.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class UnknownInput:
    """A key that does nothing. `known` is the input that was probably meant, `since` the release that brought it."""

    key: str
    known: str = ""
    since: str = ""

    def __str__(self) -> str:
        text = f"{self.key} is no input of the module and is silently ignored"
        if self.since:
            return f"{self.key} does nothing yet: the module knows it from {self.since} on"
        return f"{text}; the input is {self.known}" if self.known else text


@cache
def _tables() -> Mapping[str, Any]:
    found: dict[str, Any] = json.loads((resources.files("baton.knowledge") / "data" / "eks_module.json").read_text())
    return found


def unknown_inputs(keys: Iterable[str], kind: str, line: int, pinned: str = "") -> tuple[UnknownInput, ...]:
    """The keys that the module does not read of a group of this kind (managed, self-managed, managed-defaults).

    `line` is the major release, 0 when it is not known: then only what no release reads is told. `pinned` is the
    version constraint; an exact one tells inputs that came later. Keys of nested objects are given as `parent.key`.
    """
    tables = _tables()
    lines = tables["lines"]
    chosen = [lines[str(line)]] if str(line) in lines else ([] if line else list(lines.values()))
    known: set[str] = set()
    later: dict[str, str] = {}
    for entry in chosen:
        inputs = entry.get(kind, {"inputs": (), "since": {}})
        known |= {*inputs["inputs"], *inputs["since"]}
        known |= {f"{parent}.{key}" for parent, inside in entry["nested"].items() for key in inside}
        later |= {**inputs["since"], **entry["nested_since"]}
    if not known:
        return ()
    exact = re.fullmatch(r"=?\s*v?(\d+\.\d+\.\d+)", pinned.strip())
    found = []
    for key in keys:
        parent = key.rpartition(".")[0]
        if parent and not any(k.startswith(parent + ".") for k in known):
            continue
        if key not in known:
            found.append(UnknownInput(key, _meant(key, known, tables["renamed"])))
        elif exact and line and key in later and _number(exact[1]) < _number(later[key]):
            found.append(UnknownInput(key, key, later[key]))
    return tuple(found)


def _meant(key: str, known: set[str], renamed: Mapping[str, str]) -> str:
    """The known input of the same parent that comes nearest, "" when none is near."""
    parent, _, own = key.rpartition(".")
    snake = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", own).lower().replace("-", "_")
    beside = {k.rpartition(".")[2] for k in known if k.rpartition(".")[0] == parent}
    for name in (snake, renamed.get(snake, "")):
        if name in beside:
            return name
    near = difflib.get_close_matches(snake, sorted(beside), 1, 0.85)
    return near[0] if near else ""


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
