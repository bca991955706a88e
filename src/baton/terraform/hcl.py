"""HCL with byte positions: files, blocks, attributes. Nothing here evaluates anything (values.py does).

The grammar is tree-sitter's; a file that does not parse raises ReadError with line, column and the line itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import tree_sitter
import tree_sitter_hcl
from tree_sitter import Node

from baton.errors import ReadError
from baton.terraform.layout import Fault, body_fault
from baton.terraform.syntax import first_problem, last_open


@cache
def _parser() -> tree_sitter.Parser:
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_hcl.language()))


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes [start, end) of `file` (relative to the Terraform root); `line` is 1-based.

    `foreign` marks text that Baton must not edit: it belongs to a module of another repository.
    """

    file: str
    start: int
    end: int
    line: int
    foreign: bool = False

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, eq=False)
class HclFile:
    """One parsed file. `name` is relative to the Terraform root, with forward slashes.

    `shift` bytes were put before the text to make it parse (JSON); spans are those of the file itself.
    """

    name: str
    data: bytes
    root: Node
    foreign: bool = False
    shift: int = 0

    def text(self, node: Node) -> str:
        return self.data[node.start_byte : node.end_byte].decode("utf-8", "replace")

    def span(self, node: Node) -> Span:
        start, end = node.start_byte - self.shift, node.end_byte - self.shift
        return Span(self.name, start, end, node.start_point[0] + 1, self.foreign)

    def bytes_at(self, start: int, end: int) -> Span:
        """The span of node offsets that belong to no single node."""
        line = self.data.count(b"\n", 0, start) + 1
        return Span(self.name, start - self.shift, end - self.shift, line, self.foreign)

    def body(self) -> Body:
        """The top level."""
        return Body(self, next((c for c in self.root.children if c.type == "body"), None))


@dataclass(frozen=True, slots=True, eq=False)
class Attribute:
    """`name = expression`."""

    name: str
    node: Node
    expression: Node
    file: HclFile

    @property
    def span(self) -> Span:
        """Of the expression."""
        return self.file.span(self.expression)


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """Attributes and blocks between a pair of braces, or of a whole file."""

    file: HclFile
    node: Node | None
    _read: dict[str, Attribute] = field(default_factory=dict)

    def attributes(self) -> dict[str, Attribute]:
        """By name. Raises ReadError for what the grammar takes and Terraform refuses (see layout.py)."""
        if not self._read and self.node is not None:
            fault = body_fault(self.node, self.file.data)
            if fault is not None:
                raise fault_error(self.file, fault)
            for child in self._children("attribute"):
                name = self.file.text(child.named_children[0])
                expression = child.named_children[-1]
                self._read[name] = Attribute(name, child, expression, self.file)
        return self._read

    def blocks(self, *types: str) -> list[Block]:
        """Of the types named, or all; `dynamic "x"` blocks count as type `dynamic`."""
        found = []
        for child in self._children("block"):
            kind = self.file.text(child.children[0])
            if not types or kind in types:
                found.append(Block(kind, tuple(_labels(self.file, child)), child, self.file))
        return found

    def _children(self, kind: str) -> Iterator[Node]:
        if self.node is not None:
            yield from (c for c in self.node.children if c.type == kind)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """`type "label" "label" { ... }`."""

    type: str
    labels: tuple[str, ...]
    node: Node
    file: HclFile
    _body: list[Body] = field(default_factory=list)

    @property
    def body(self) -> Body:
        if not self._body:
            self._body.append(Body(self.file, next((c for c in self.node.children if c.type == "body"), None)))
        return self._body[0]

    @property
    def span(self) -> Span:
        return self.file.span(self.node)

    def attribute(self, name: str) -> Attribute | None:
        return self.body.attributes().get(name)

    def block(self, *types: str) -> Block | None:
        """The first nested block of one of these types."""
        return next(iter(self.body.blocks(*types)), None)

    @property
    def braces(self) -> tuple[Span, bool]:
        """From `{` to `}`, and whether there is nothing between them."""
        opening = self.file.span(next(c for c in self.node.children if c.type == "block_start"))
        closing = self.file.span(next(c for c in reversed(self.node.children) if c.type == "block_end"))
        inside = next((c for c in self.node.children if c.type == "body"), None)
        empty = inside is None or not any(c.is_named for c in inside.children)
        return Span(opening.file, opening.start, closing.end, opening.line, opening.foreign), empty


class Overridden(Body):
    """A body with another laid over it, as Terraform merges override files: arguments one by one, nested blocks by
    their type. Each argument keeps the file that it is written in.
    """

    def __init__(self, base: Body, over: Body) -> None:
        super().__init__(base.file, base.node)
        object.__setattr__(self, "layers", (base, over))

    layers: tuple[Body, Body]

    def attributes(self) -> dict[str, Attribute]:
        base, over = self.layers
        return {**base.attributes(), **over.attributes()}

    def blocks(self, *types: str) -> list[Block]:
        base, over = self.layers
        above = over.blocks(*types)
        replaced = {_produced(b) for b in above}
        return [b for b in base.blocks(*types) if _produced(b) not in replaced] + above


def _produced(block: Block) -> str:
    """The type of nested block that a block, or the `dynamic` one that generates it, stands for."""
    return block.labels[0] if block.type == "dynamic" and block.labels else block.type


def overridden(base: Block, over: Block) -> Block:
    """The block with the contents of an override file laid over it."""
    return type(base)(base.type, base.labels, base.node, base.file, [Overridden(base.body, over.body)])


def _labels(file: HclFile, block: Node) -> Iterator[str]:
    for child in block.children[1:]:
        if child.type == "string_lit":
            yield file.text(child)[1:-1]
        elif child.type == "identifier":
            yield file.text(child)
        else:
            return


def parse(name: str, data: bytes, *, foreign: bool = False) -> HclFile:
    """Parse one file. Raises ReadError with file:line:column, the line, and a hint when it is not HCL."""
    if b"\x00" in data:
        raise ReadError("is not a text file", where=name, hint="HCL is UTF-8 text; move the file out of the root")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ReadError(
            "is not UTF-8", where=f"{name}:{line}", hint="save the file as UTF-8; Terraform accepts nothing else"
        ) from error
    root = _parser().parse(data).root_node
    if root.has_error:
        raise _syntax_error(name, data, root)
    return HclFile(name, data, root, foreign)


JSON_PREFIX = b"values="


def parse_json(name: str, data: bytes, *, foreign: bool = False) -> HclFile:
    """A file in JSON, read as the object expression that it is in HCL too.

    Raises ReadError with file:line:column and the line: what JSON calls an error, or an expression inside a string
    whose quotes are escaped, which this does not read.
    """
    try:
        json.loads(data)
    except UnicodeDecodeError:
        raise ReadError("is not UTF-8", where=name, hint="save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise _json_error(ReadError, name, data, f"this is not valid JSON: {error.msg}", error.pos) from None
    whole = JSON_PREFIX + data
    root = _parser().parse(whole).root_node
    if not root.has_error:
        return HclFile(name, whole, root, foreign, shift=len(JSON_PREFIX))
    at = data.find(b"${")
    while at >= 0 and not re.match(rb'\$\{[^"}]*\\', data[at:]):
        at = data.find(b"${", at + 1)
    message = "an expression with escaped quotes in JSON is not read"
    raise _json_error(NotReadError, name, data, message, len(data[: max(at, 0)].decode()))


def _json_error(kind: type[ReadError], name: str, data: bytes, message: str, at: int) -> ReadError:
    """`at` counts characters."""
    offset = len(data.decode()[:at].encode())
    row, column = data.count(b"\n", 0, offset), offset - (data.rfind(b"\n", 0, offset) + 1)
    shown, caret = _excerpt(data, row, column)
    return kind(f"{message}\n  {shown}\n  {caret}", where=f"{name}:{row + 1}:{column + 1}", hint=_JSON_HINT)


class NotReadError(ReadError):
    """Terraform reads the file, Baton does not."""


_JSON_HINT = "check it with a JSON parser; a value that Baton shall change is best written as a plain string"


def read(root: Path, name: str, *, foreign: bool = False) -> HclFile:
    """Read and parse `root/name`. Raises ReadError."""
    try:
        data = (root / name).read_bytes()
    except OSError as error:
        raise ReadError(
            f"cannot be read: {error.strerror}", where=name, hint="check the path and permissions"
        ) from None
    return parse(name, data, foreign=foreign)


def fault_error(file: HclFile, fault: Fault) -> ReadError:
    row, column = file.data.count(b"\n", 0, fault.at), fault.at - (file.data.rfind(b"\n", 0, fault.at) + 1)
    line, caret = _excerpt(file.data, row, column)
    where = f"{file.name}:{row + 1}:{column + 1}"
    return ReadError(f"{fault.message}\n  {line}\n  {caret}", where=where, hint=fault.hint)


def _syntax_error(name: str, data: bytes, root: Node) -> ReadError:
    row, column, message, hint = _place(data, root)
    line, caret = _excerpt(data, row, column)
    return ReadError(f"{message}\n  {line}\n  {caret}", where=f"{name}:{row + 1}:{column + 1}", hint=hint)


WIDTH = 120  # characters of a line that are shown


def _excerpt(data: bytes, row: int, column: int) -> tuple[str, str]:
    """The line, or the part of a long one around `column` (in bytes), and a caret below it."""
    lines = data.split(b"\n")
    raw = lines[row] if row < len(lines) else b""
    line, at = raw.decode("utf-8", "replace").rstrip("\r"), len(raw[:column].decode("utf-8", "replace"))
    if len(line) <= WIDTH:
        return line, " " * at + "^"
    start = max(0, min(at - WIDTH // 2, len(line) - WIDTH + 6))
    head, tail = ("..." if start else ""), ("..." if start + WIDTH - 6 < len(line) else "")
    return head + line[start : start + WIDTH - 6] + tail, " " * (len(head) + at - start) + "^"


def _place(data: bytes, root: Node) -> tuple[int, int, str, str]:
    """(row, column in bytes, message, hint) of the place that a person would look at.

    Quotes, brackets and merge conflicts that cannot be right come first: they make a parser call the whole file wrong.
    """
    text = data.decode()
    node, message, hint = _first_error(root)
    found = first_problem(text)
    if found is None and node.type == "ERROR" and node.start_point[0] != node.end_point[0]:
        found = last_open(text)
    if found is None:
        return node.start_point[0], node.start_point[1], message, hint
    at = len(text[: found.offset].encode())
    return data.count(b"\n", 0, at), at - (data.rfind(b"\n", 0, at) + 1), found.message, found.hint


def _first_error(root: Node) -> tuple[Node, str, str]:
    """An unclosed block is told by where it opens."""
    found = next(_errors(root), root)
    if found.is_missing:
        parent = found.parent if found.parent is not None else root
        if parent.type == "block_end" and parent.parent is not None:
            parent = parent.parent
        what = {"block": "this block", "object": "this object", "tuple": "this list"}.get(parent.type)
        if what:
            return parent, f"{what} is not closed", "count the braces and brackets from here on"
        return found, f"something is missing here: {found.type}", "run `terraform fmt` on the file, it points there too"
    return found, "this is not valid HCL", "run `terraform fmt` on the file, it points there too"


def _errors(node: Node) -> Iterator[Node]:
    if node.type == "ERROR" or node.is_missing:
        yield node
        return
    if node.has_error:
        for child in node.children:
            yield from _errors(child)
