"""What a variable's type does to its value: optional attributes appear, undeclared keys of objects go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tree_sitter import Node

from baton.terraform.evaluate import Scope, Step, evaluate
from baton.terraform.hcl import HclFile, Span
from baton.terraform.values import NULL, Probe, Value, unknown


def convert(value: Value, node: Node, file: HclFile) -> Value:
    """`value` as the type expression `node` makes it. Only what matters to objects is done; texts stay as they are."""
    name, args = _call(node, file)
    if value.kind == "object" and name == "object" and args:
        return _to_object(value, args[0], file)
    if value.kind == "object" and name == "map" and args:
        return replace(value, items={k: convert(v, args[0], file) for k, v in value.items.items()})
    if value.kind == "list" and name in ("list", "set") and args:
        return replace(value, elements=tuple(convert(e, args[0], file) for e in value.elements))
    return value


def _call(node: Node, file: HclFile) -> tuple[str, list[Node]]:
    inner = next((c for c in node.children if c.is_named and c.type != "comment"), node)
    if inner.type != "function_call":
        return "", []
    arguments = next((c for c in inner.children if c.type == "function_arguments"), None)
    args = [c for c in arguments.children if c.type == "expression"] if arguments is not None else []
    return file.text(inner.children[0]), args


def _to_object(value: Value, declared: Node, file: HclFile) -> Value:
    collection = next((c for c in declared.children if c.type == "collection_value"), None)
    body = collection.children[0] if collection is not None else None
    if body is None or body.type != "object":
        return value
    items: dict[str, Value] = {}
    for element in (c for c in body.children if c.type == "object_elem"):
        key_node, type_node = (c for c in element.children if c.type == "expression")
        key = file.text(key_node).strip('"')
        name, args = _call(type_node, file)
        inner = args[0] if name == "optional" and args else type_node
        given = value.items.get(key)
        if given is None or (given.null and len(args) > 1):
            if name != "optional":
                continue
            default = evaluate(args[1], file, _Nothing()) if len(args) > 1 else NULL
            probes = (Probe(value.source, key),) if value.source is not None else ()
            given = convert(default, inner, file).probed(*probes)
            items[key] = given
        else:
            items[key] = convert(given, inner, file)
    return replace(value, items=items)


class _Nothing:
    """Defaults of optional attributes are constants."""

    def resolve(self, name: str, steps: Sequence[Step], where: Span) -> tuple[Value, int]:
        return unknown(f"{name} may not be used here", where), len(steps)

    def with_names(self, names: Mapping[str, Value]) -> Scope:
        return self

    def function(self, name: str, args: Sequence[Value]) -> Value | None:
        return None
