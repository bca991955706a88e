"""Expressions to values. Names are looked up through a Scope; what cannot be decided is `unknown`, never a guess."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from tree_sitter import Node

from baton.terraform import functions
from baton.terraform.hcl import HclFile, Span, fault_error
from baton.terraform.layout import Fault, object_fault
from baton.terraform.values import (
    NULL,
    ObjectSource,
    Piece,
    Value,
    list_of,
    member,
    object_of,
    scalar,
    text_of,
    to_text,
    unknown,
)


class Scope(Protocol):
    """Where names are looked up."""

    def resolve(self, name: str, steps: Sequence[Step], where: Span) -> tuple[Value, int]:
        """The value of `name` followed by `steps`, and how many of the steps were used up."""
        ...

    def with_names(self, names: Mapping[str, Value]) -> Scope:
        """The scope inside a `for`."""
        ...

    def function(self, name: str, args: Sequence[Value]) -> Value | None:
        """A function that exists here only; None for all others."""
        ...


# A step after a name: an attribute or index by its text, a Value that is not a text, or "*" for a splat.
Step = str | Value
SPLAT = "*"


def evaluate(node: Node, file: HclFile, scope: Scope) -> Value:
    """The value of an expression node."""
    return _chain(
        [c for c in node.children if c.type != "comment"] if node.type == "expression" else [node], file, scope
    )


def _chain(nodes: Sequence[Node], file: HclFile, scope: Scope) -> Value:
    """A primary followed by `.name`, `[index]` and splats."""
    if nodes[0].type == "(":
        close = next(i for i, n in enumerate(nodes) if n.type == ")")
        value, rest = _chain(nodes[1:close], file, scope), nodes[close + 1 :]
    elif nodes[0].type == "variable_expr":
        steps = [_step(n, file, scope) for n in nodes[1:]]
        name = file.text(nodes[0])
        value, used = scope.resolve(name, steps, _spanning(nodes, file))
        return _follow(value, steps[used:], _spanning(nodes, file))
    else:
        value, rest = _primary(nodes[0], file, scope), nodes[1:]
    return _follow(value, [_step(n, file, scope) for n in rest], _spanning(nodes, file))


def _spanning(nodes: Sequence[Node], file: HclFile) -> Span:
    return replace(file.span(nodes[0]), end=file.span(nodes[-1]).end)


def _step(node: Node, file: HclFile, scope: Scope) -> Step:
    if node.type == "get_attr":
        return file.text(node.named_children[-1])
    if node.type == "index":
        inner = node.children[0]
        if inner.type == "legacy_index":
            return file.text(inner).lstrip(".")
        index = evaluate(next(c for c in inner.children if c.type == "expression"), file, scope)
        return index.text() if index.kind == "scalar" else index
    return SPLAT if node.type == "splat" else unknown(f"{node.type} is not understood", file.span(node))


def _follow(value: Value, steps: Sequence[Step], where: Span) -> Value:
    for number, step in enumerate(steps):
        if isinstance(step, Value):
            return step if step.kind in ("unknown", "missing") else unknown("the index is not known", where)
        if step == SPLAT:
            return _splat(value, steps[number + 1 :], where)
        value = member(value, step, where)
    return value


def _splat(value: Value, steps: Sequence[Step], where: Span) -> Value:
    if value.kind == "list":
        return list_of(tuple(_follow(e, steps, where) for e in value.elements))
    if value.kind in ("unknown", "missing", "ref"):
        return value
    return list_of(()) if value.null else list_of((_follow(value, steps, where),))


def _primary(node: Node, file: HclFile, scope: Scope) -> Value:
    handler = _PRIMARIES.get(node.type)
    if handler is None:
        return unknown(f"{node.type} is not understood", file.span(node))
    return handler(node, file, scope)


def _literal(node: Node, file: HclFile, scope: Scope) -> Value:
    child = node.children[0] if node.type == "literal_value" else node
    if child.type == "string_lit":
        return _quoted(child, file, scope)
    text = file.text(child)
    if child.type == "null_lit":
        return NULL
    piece = (Piece(text, file.span(child)),)
    if child.type == "bool_lit":
        return scalar(text == "true", pieces=piece)
    number = float(text)
    return scalar(int(number) if number.is_integer() else number, pieces=piece)


def _template(node: Node, file: HclFile, scope: Scope) -> Value:
    return _quoted(node.children[0], file, scope)


_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\r": "\r", '\\"': '"', "\\\\": "\\", "$${": "${", "%%{": "%{"}


def _quoted(node: Node, file: HclFile, scope: Scope) -> Value:
    """A quoted or heredoc template. Bytes between interpolations are taken from the file: the grammar drops blanks."""
    start, end, heredoc = _inside(node, file)
    if not heredoc and node.start_point[0] != node.end_point[0] and _line_ends(node, file, start, end):
        hint = 'end it with " on its line, or write a heredoc'
        raise fault_error(file, Fault(node.start_byte, "this string is not closed on its line", hint))
    pieces: list[Piece] = []
    via: list[str] = []
    trouble: Value | None = None
    whole = [c for c in node.children if c.type == "template_interpolation"]
    for part in node.children:
        if part.type == "template_directive":
            return unknown("a template with %{ } directives is not evaluated", file.span(node))
        if part.type != "template_interpolation":
            continue
        pieces += _text(file, start, part.start_byte)
        start = part.end_byte
        expression = next((c for c in part.children if c.type == "expression"), None)
        value = NULL if expression is None else evaluate(expression, file, scope)
        if len(whole) == 1 and not heredoc and _alone(node, part):
            return value  # "${x}" is x itself
        if value.kind != "scalar":
            trouble = trouble or unknown(value.why_unknown(), file.span(part), value.via)
            continue
        via += value.via
        pieces += [replace(p, holder=file.span(part)) for p in value.pieces]
    pieces += _text(file, start, end)
    if trouble is not None:
        return trouble
    if not pieces:
        pieces = [Piece("", file.bytes_at(start, end))]
    return text_of(tuple(pieces), tuple(dict.fromkeys(via)))


def _line_ends(node: Node, file: HclFile, start: int, end: int) -> bool:
    """A line ends between the quotes, outside of `${ }`."""
    for part in [c for c in node.children if c.type in ("template_interpolation", "template_directive")]:
        if b"\n" in file.data[start : part.start_byte]:
            return True
        start = part.end_byte
    return b"\n" in file.data[start:end]


def _alone(node: Node, part: Node) -> bool:
    """The interpolation is all there is between the quotes."""
    return part.start_byte == node.children[0].end_byte and part.end_byte == node.children[-1].start_byte


def _inside(node: Node, file: HclFile) -> tuple[int, int, bool]:
    if node.type == "heredoc_template":
        opening = next(c for c in node.children if c.type == "heredoc_identifier")
        start = file.data.index(b"\n", opening.end_byte) + 1
        closing = node.children[-1].start_byte
        return start, file.data.rindex(b"\n", 0, closing) + 1, True
    return node.children[0].end_byte, node.children[-1].start_byte, False


def _text(file: HclFile, start: int, end: int) -> list[Piece]:
    if start >= end:
        return []
    raw = file.data[start:end].decode("utf-8", "replace")
    text = re.sub(r'\\[ntr"\\]|\$\$\{|%%\{', lambda m: _ESCAPES[m[0]], raw)
    return [Piece(text, file.bytes_at(start, end))]


def _collection(node: Node, file: HclFile, scope: Scope) -> Value:
    inner = node.children[0]
    if inner.type == "tuple":
        return list_of(tuple(evaluate(c, file, scope) for c in inner.children if c.type == "expression"))
    fault = object_fault(inner)
    if fault is not None:
        raise fault_error(file, fault)
    items: dict[str, Value] = {}
    for element in (c for c in inner.children if c.type == "object_elem"):
        key_node, value_node = (c for c in element.children if c.type == "expression")
        key = _key(key_node, file, scope)
        if key is None:
            return unknown(f"the key {file.text(key_node)} cannot be decided", file.span(key_node))
        items[key] = evaluate(value_node, file, scope).at(file.span(value_node))
    empty = not any(c.type in ("object_elem", "comment") for c in inner.children)
    return object_of(items, ObjectSource(file.span(inner), empty))


def _key(node: Node, file: HclFile, scope: Scope) -> str | None:
    """A bare word is its own name; anything else is evaluated."""
    parts = [c for c in node.children if c.type != "comment"]
    if len(parts) == 1 and parts[0].type == "variable_expr":
        return file.text(parts[0])
    value = evaluate(node, file, scope)
    return value.text() if value.kind == "scalar" else None


def _call(node: Node, file: HclFile, scope: Scope) -> Value:
    name = file.text(node.children[0])
    holder = next((c for c in node.children if c.type == "function_arguments"), None)
    args: list[Value] = []
    for child in holder.children if holder is not None else ():
        if child.type == "expression":
            value = evaluate(child, file, scope)
            chosen = name in functions.LAZY and value.kind == "scalar" and not value.null
            args.append(value.at(file.span(child)) if chosen else value)
        elif child.type == "ellipsis" and args:
            spread = args.pop()
            if spread.kind != "list":
                return unknown(f"the arguments of {name}() are not known: {spread.why_unknown()}", file.span(node))
            args.extend(spread.elements)
    found = scope.function(name, args) or functions.call(name, args)
    return found if found.where or found.kind != "unknown" else replace(found, where=file.span(node))


def _conditional(node: Node, file: HclFile, scope: Scope) -> Value:
    condition, yes, no = (c for c in node.children if c.type == "expression")
    found = evaluate(condition, file, scope)
    if found.kind == "scalar":
        side = yes if found.text() == "true" else no
        chosen = evaluate(side, file, scope).probed(*found.probes)
        return chosen.at(file.span(side)) if chosen.kind == "scalar" and not chosen.null else chosen
    return unknown(
        f"which side of the condition counts is not known: {found.why_unknown()}", file.span(node), found.via
    )


_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": operator.mod,
}


def _operation(node: Node, file: HclFile, scope: Scope) -> Value:
    inner = node.children[0]
    parts = [c for c in inner.children if c.type != "comment"]
    if inner.type == "unary_operation":
        value = _chain(parts[1:], file, scope)
        if value.kind != "scalar":
            return value
        if file.text(parts[0]) == "!":
            return scalar(value.text() != "true")
        return scalar(-float(value.text()))
    signs = {"==", "!=", "&&", "||", *_COMPARE, *_ARITHMETIC}
    at = next(i for i, c in enumerate(parts) if not c.is_named and c.type in signs)
    sign = parts[at].type
    left = _chain(parts[:at], file, scope)
    right = _chain(parts[at + 1 :], file, scope)
    try:
        return _binary(sign, left, right, file.span(node))
    except (ValueError, ZeroDivisionError):
        return unknown(f"{sign} of these cannot be decided", file.span(node))


def _binary(sign: str, left: Value, right: Value, where: Span) -> Value:
    if sign in ("&&", "||"):
        decides = "false" if sign == "&&" else "true"
        for side in (left, right):
            if side.kind == "scalar" and side.text() == decides:
                return scalar(decides == "true")
    for side, other in ((left, right), (right, left)):
        if side.kind != "scalar":
            if sign in ("==", "!=") and ((side.known and other.null) or (_never_empty(side) and _nothing(other))):
                return scalar(sign == "!=")
            return side if side.kind in ("unknown", "missing") else unknown(side.why_unknown(), where)
    if sign in ("==", "!="):
        same = left.scalar == right.scalar or (
            left.scalar is not None and right.scalar is not None and to_text(left.scalar) == to_text(right.scalar)
        )
        return scalar(same == (sign == "==")).probed(*left.probes, *right.probes)
    if sign in ("&&", "||"):
        return scalar(sign == "&&")
    a, b = float(left.text()), float(right.text())
    if sign in _COMPARE:
        return scalar(_COMPARE[sign](a, b))
    return scalar(_ARITHMETIC[sign](a, b))


def _never_empty(value: Value) -> bool:
    """An id, arn or name that AWS gives a resource, or that a data source found."""
    ref = value.ref if value.kind == "ref" else None
    return ref is not None and ref.mode in ("resource", "data") and ref.path[-1:] in _GIVEN


_GIVEN = (("id",), ("arn",), ("name",), ("image_id",))


def switched_on(node: Node, file: HclFile, scope: Scope) -> Value | None:
    """Of `condition ? x : nothing` the x, when the condition cannot be decided; None for anything else.

    For count and for_each: what a module would make if it is switched on at all.
    """
    parts = [c for c in node.children if c.type not in ("comment", "(", ")")] if node.type == "expression" else [node]
    if len(parts) != 1:
        return None
    if parts[0].type == "expression":
        return switched_on(parts[0], file, scope)
    if parts[0].type == "function_call" and file.text(parts[0].children[0]) in functions.PASSING:
        holder = next((c for c in parts[0].children if c.type == "function_arguments"), None)
        inner = [c for c in holder.children if c.type == "expression"] if holder is not None else []
        return switched_on(inner[0], file, scope) if len(inner) == 1 else None
    if parts[0].type != "conditional":
        return None
    _, yes, no = (evaluate(c, file, scope) for c in parts[0].children if c.type == "expression")
    for one, other in ((yes, no), (no, yes)):
        if one.known and not _nothing(one) and _nothing(other):
            return one
    return None


def _nothing(value: Value) -> bool:
    if value.kind == "scalar":
        return value.null or value.text() in ("0", "")
    return value.known and not value.items and not value.elements


def _for(node: Node, file: HclFile, scope: Scope) -> Value:
    inner = node.children[0]
    intro = next(c for c in inner.children if c.type == "for_intro")
    names = [file.text(c) for c in intro.children if c.type == "identifier"]
    source = evaluate(next(c for c in intro.children if c.type == "expression"), file, scope)
    if source.kind not in ("object", "list"):
        return source if source.kind in ("unknown", "missing") else unknown(source.why_unknown(), file.span(intro))
    pairs = _pairs(source)
    condition = next((c for c in inner.children if c.type == "for_cond"), None)
    results = [c for c in inner.children if c.type == "expression"]
    found: list[tuple[Value, Value]] = []
    for key, value in pairs:
        bound = {names[-1]: value, names[0]: key} if len(names) == 2 else {names[0]: value}
        inside = scope.with_names(bound)
        if condition is not None:
            test = evaluate(next(c for c in condition.children if c.type == "expression"), file, inside)
            if test.kind != "scalar":
                return unknown(f"the condition of this `for` is not known: {test.why_unknown()}", file.span(condition))
            if test.text() != "true":
                continue
        key_value = evaluate(results[0], file, inside) if len(results) == 2 else NULL
        found.append((key_value, evaluate(results[-1], file, inside)))
    if inner.type == "for_tuple_expr":
        return list_of(tuple(v for _, v in found))
    return _for_object(inner, found, file)


def _pairs(source: Value) -> list[tuple[Value, Value]]:
    if source.kind == "object":
        return [(scalar(k), source.items[k]) for k in sorted(source.items)]
    return [(scalar(n), e) for n, e in enumerate(source.elements)]


def _for_object(inner: Node, found: Sequence[tuple[Value, Value]], file: HclFile) -> Value:
    grouped = any(c.type == "ellipsis" for c in inner.children)
    items: dict[str, Value] = {}
    for key, value in found:
        if key.kind != "scalar":
            return unknown(f"a key of this `for` is not known: {key.why_unknown()}", file.span(inner))
        if grouped:
            before = items.get(key.text(), list_of(()))
            items[key.text()] = list_of((*before.elements, value))
        else:
            items[key.text()] = value
    return object_of(items)


_PRIMARIES: dict[str, Callable[[Node, HclFile, Scope], Value]] = {
    "literal_value": _literal,
    "numeric_lit": _literal,
    "bool_lit": _literal,
    "null_lit": _literal,
    "string_lit": _quoted,
    "template_expr": _template,
    "collection_value": _collection,
    "function_call": _call,
    "conditional": _conditional,
    "operation": _operation,
    "for_expr": _for,
    "expression": evaluate,
}
