"""Terraform's JSON syntax (`*.tf.json`) as the bodies, blocks and attributes of hcl.py.

A JSON object is an object of HCL too, and its strings are templates in both, so the same grammar reads them. What this
does not read is told with its place: an expression with escaped quotes inside a string.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from tree_sitter import Node

from baton.errors import ReadError
from baton.terraform.hcl import Attribute, Block, Body, HclFile, Span

# Block type -> number of labels, which are nested keys in JSON.
_LABELS = {
    "resource": 2,
    "data": 2,
    "module": 1,
    "variable": 1,
    "output": 1,
    "provider": 1,
    "locals": 0,
    "terraform": 0,
}


def top(file: HclFile) -> Body:
    """The blocks of a configuration file in JSON. Raises ReadError when it is no object."""
    expression = file.body().attributes()["values"].expression
    found = _object(expression)
    if found is None:
        raise ReadError("a JSON configuration is an object of blocks", where=file.name, hint="begin it with {")
    return _JsonFile(file, found)


class _JsonFile(Body):
    """The top level: block types, labels, then bodies."""

    def attributes(self) -> dict[str, Attribute]:
        return {}

    def blocks(self, *types: str) -> list[Block]:
        found: list[Block] = []
        assert self.node is not None
        for kind, value in _entries(self.file, self.node):
            if kind in _LABELS and (not types or kind in types):
                for labels, body in _labelled(self.file, value, _LABELS[kind]):
                    found.append(_JsonBlock(kind, labels, body, self.file))
        return found


class _JsonBody(Body):
    """An object whose keys are arguments or nested blocks; which of them, only the reader knows."""

    def attributes(self) -> dict[str, Attribute]:
        assert self.node is not None
        return {k: Attribute(k, v, v, self.file) for k, v in _entries(self.file, self.node)}

    def blocks(self, *types: str) -> list[Block]:
        found: list[Block] = []
        assert self.node is not None
        for kind, value in _entries(self.file, self.node):
            if types and kind not in types:
                continue
            depth = 1 if kind == "dynamic" else 0
            found += [_JsonBlock(kind, labels, body, self.file) for labels, body in _labelled(self.file, value, depth)]
        return found


class _JsonBlock(Block):
    """`node` is the object."""

    @property
    def body(self) -> Body:
        if not self._body:
            self._body.append(_JsonBody(self.file, self.node))
        return self._body[0]

    @property
    def braces(self) -> tuple[Span, bool]:
        return self.file.span(self.node), not any(c.type == "object_elem" for c in self.node.children)


def _labelled(file: HclFile, value: Node, depth: int) -> Iterator[tuple[tuple[str, ...], Node]]:
    """(labels, object) of each block below an expression; a list of objects is one block each."""
    for item in _objects(value):
        if not depth:
            yield (), item
            continue
        for label, inner in _entries(file, item):
            for labels, body in _labelled(file, inner, depth - 1):
                yield (label, *labels), body


def _objects(value: Node) -> list[Node]:
    found = _object(value)
    if found is not None:
        return [found]
    inner = _collection(value)
    if inner is None:
        return []
    return [o for c in inner.children if c.type == "expression" and (o := _object(c)) is not None]


def _object(value: Node) -> Node | None:
    inner = _collection(value)
    return inner if inner is not None and inner.type == "object" else None


def _collection(value: Node) -> Node | None:
    whole = next((c for c in value.children if c.is_named), None)
    return whole.children[0] if whole is not None and whole.type == "collection_value" else None


def _entries(file: HclFile, node: Node) -> Iterator[tuple[str, Node]]:
    """Keys and values of an object; `//` is a comment."""
    for element in (c for c in node.children if c.type == "object_elem"):
        key, value = (c for c in element.children if c.type == "expression")
        name = json.loads(file.text(key)) if file.text(key).startswith('"') else file.text(key)
        if name != "//":
            yield name, value
