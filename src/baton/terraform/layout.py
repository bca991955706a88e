"""What Terraform's own parser refuses though the grammar takes it: two arguments on one line, blocks on one line, an
argument set twice, items without a comma. A file that Terraform refuses must not be edited as if it were valid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tree_sitter import Node


@dataclass(frozen=True, slots=True)
class Fault:
    """`at` is a byte offset."""

    at: int
    message: str
    hint: str


def body_fault(body: Node, data: bytes) -> Fault | None:
    """The first of these faults in one body (of a file or block) that the grammar takes, blocks inside it left out."""
    return next(_in_body(body, data), None)


def object_fault(node: Node) -> Fault | None:
    """Entries of an object on one line without a comma between them."""
    before: Node | None = None
    for child in node.children:
        if child.type == "object_elem":
            if before is not None and before.end_point[0] == child.start_point[0]:
                return Fault(child.start_byte, "a comma is missing before this", "or put it on a line of its own")
            before = child
        elif child.type == ",":
            before = None
    return None


def _in_body(body: Node, data: bytes) -> Iterator[Fault]:
    names: set[bytes] = set()
    block = body.parent if body.parent is not None and body.parent.type == "block" else None
    row = _opened(block) if block is not None else -1
    first = True
    for item in body.children:
        if item.type not in ("attribute", "block"):
            continue
        if item.start_point[0] == row and not (first and block is not None and _alone(block, body)):
            yield Fault(item.start_byte, *_ONE_LINE)
        first, row = False, item.end_point[0]
        if item.type == "attribute":
            yield from _in_attribute(item, names, data)
        else:
            yield from _in_header(item)
    if block is not None and not first and block.end_point[0] == row and not _alone(block, body):
        yield Fault(block.end_byte - 1, "this } is on the line of an argument or block", "put it on a line of its own")


_ONE_LINE = ("something else ends or begins on this line", "give each argument and each block a line of its own")


def _opened(block: Node) -> int:
    return next(c.start_point[0] for c in block.children if c.type == "block_start")


def _alone(block: Node, body: Node) -> bool:
    """`name { argument = value }`, the one thing that may stand on one line."""
    items = [c for c in body.children if c.type in ("attribute", "block")]
    return len(items) == 1 and items[0].type == "attribute" and _opened(block) == block.end_point[0]


def _in_attribute(item: Node, names: set[bytes], data: bytes) -> Iterator[Fault]:
    name, expression = item.children[0], item.children[-1]
    key = data[name.start_byte : name.end_byte]
    if key in names:
        hint = "take one of them out: Terraform refuses both"
        yield Fault(name.start_byte, f"{key.decode('utf-8', 'replace')} is set twice in this block", hint)
    names.add(key)
    if expression.start_point[0] != name.start_point[0]:
        yield Fault(name.start_byte, "the value does not begin on this line", "begin it behind the =")


def _in_header(block: Node) -> Iterator[Fault]:
    if _opened(block) != block.start_point[0]:
        yield Fault(block.start_byte, "the { of this block is not on its line", "put it behind the name and the labels")
