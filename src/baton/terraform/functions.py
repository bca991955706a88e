"""Terraform's functions, as far as versions, names and groups need them; all others come to `unknown`."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from baton.terraform.values import (
    NULL,
    ObjectSource,
    Piece,
    Probe,
    Value,
    list_of,
    member,
    object_of,
    scalar,
    text_of,
    unknown,
)

Function = Callable[[Sequence[Value]], Value]


def call(name: str, args: Sequence[Value]) -> Value:
    """The value of `name(args...)`; unknown, saying why, when it is not decidable."""
    if name in LAZY:
        return LAZY[name](args)
    for arg in args:
        if arg.kind in ("missing", "unknown"):
            return arg
    if name in PASSING and args:
        return args[0]
    if name not in STRICT:
        return unknown(f"{name}() is not evaluated{_from_file(name, args)}")
    try:
        return STRICT[name](args)
    except TypeError as error:
        return unknown(f"{name}(): {error}")
    except (IndexError, KeyError, ValueError, re.error):
        return unknown(f"{name}() cannot be decided here")


def _from_file(name: str, args: Sequence[Value]) -> str:
    if name in ("file", "templatefile") and args and args[0].kind == "scalar":
        return f": look in {args[0].text()}"
    return ""


def _via(*values: Value) -> tuple[str, ...]:
    return tuple(dict.fromkeys(step for v in values for step in v.via))


# --- functions that look at missing or unknown arguments ------------------------------------------


def _try(args: Sequence[Value]) -> Value:
    probes: tuple[Probe, ...] = ()
    for arg in args:
        if arg.kind == "missing":
            probes += arg.probes
            continue
        return arg.probed(*probes)
    return unknown("every argument of try() fails", probes=probes)


def _can(args: Sequence[Value]) -> Value:
    if args[0].kind == "unknown":
        return args[0]
    return scalar(args[0].kind != "missing").probed(*args[0].probes)


def _coalesce(args: Sequence[Value]) -> Value:
    probes: tuple[Probe, ...] = ()
    for arg in args:
        if arg.null or (arg.kind == "scalar" and arg.scalar == ""):
            probes += arg.probes
            continue
        return arg.probed(*probes)
    return unknown("every argument of coalesce() is null or empty", probes=probes)


def _lookup(args: Sequence[Value]) -> Value:
    table, key = args[0], args[1]
    if table.kind in ("unknown", "missing"):
        return table
    if key.kind != "scalar":
        return key if key.kind in ("unknown", "missing") else unknown("the key of lookup() is not a text")
    found = member(table, key.text())
    if found.kind == "missing" and len(args) > 2:
        return args[2].probed(*found.probes)
    return found.through(*key.via) if key.via and found.known else found


def _merge(args: Sequence[Value]) -> Value:
    items: dict[str, Value] = {}
    source: ObjectSource | None = None
    for arg in args:
        if arg.null:
            continue
        if arg.kind != "object":
            return arg if arg.kind in ("unknown", "missing") else unknown(f"merge(): {arg.why_unknown()}")
        for key, value in arg.items.items():
            items[key] = replace(value, via=(*arg.via, *value.via)) if arg.via else value
        source = arg.source or source
    return object_of(items, source)


LAZY: dict[str, Function] = {"try": _try, "can": _can, "coalesce": _coalesce, "lookup": _lookup, "merge": _merge}

# The value as it is: conversions that change nothing about provenance.
PASSING = frozenset({"tostring", "tonumber", "tobool", "tomap", "tolist", "toset", "sensitive", "nonsensitive"})


# --- functions of known arguments -----------------------------------------------------------------


def _need(value: Value, kind: str) -> Value:
    if value.kind != kind:
        raise TypeError(value.why_unknown())
    return value


def _pieces(value: Value) -> tuple[Piece, ...]:
    return _need(value, "scalar").pieces


def _format(args: Sequence[Value]) -> Value:
    """`%s`, `%v`, `%d`, `%%` only; the pieces keep where they come from."""
    template = _need(args[0], "scalar")
    if len(template.pieces) != 1:
        raise ValueError("the format is itself put together")
    whole = template.pieces[0]
    pieces: list[Piece] = []
    used, at = 1, 0
    for match in re.finditer(r"%(?:%|[svd]|.)", whole.text):
        pieces.append(_part(whole, at, match.start()))
        if match[0] == "%%":
            pieces.append(replace(_part(whole, match.start(), match.end()), text="%", span=None, outside="an escape"))
        elif match[0] in ("%s", "%v", "%d"):
            pieces.extend(_pieces(args[used]))
            used += 1
        else:
            raise ValueError(match[0])
        at = match.end()
    pieces.append(_part(whole, at, len(whole.text)))
    return text_of(tuple(p for p in pieces if p.text), _via(*args))


def _part(piece: Piece, start: int, end: int) -> Piece:
    """Characters [start, end) of a piece, with their own bytes where the text is written as it reads."""
    span = piece.span
    text = piece.text[start:end]
    if span is None or span.end - span.start != len(piece.text.encode()):
        return replace(piece, text=text, span=None, outside=piece.outside or "part of an escaped text")
    before = len(piece.text[:start].encode())
    at = span.start + before
    return replace(piece, text=text, span=replace(span, start=at, end=at + len(text.encode())))


def _join(args: Sequence[Value]) -> Value:
    pieces: list[Piece] = []
    for number, element in enumerate(_need(args[1], "list").elements):
        if number:
            pieces.extend(_pieces(args[0]))
        pieces.extend(_pieces(element))
    return text_of(tuple(pieces), _via(*args))


def _replace(args: Sequence[Value]) -> Value:
    """Computed: `replace(var.version, ".", "-")` says its parts no more, so an edit belongs to what it is made from."""
    old = args[1].text()
    text = args[0].text()
    if len(old) > 1 and old.startswith("/") and old.endswith("/"):
        return _computed(re.sub(old[1:-1], re.sub(r"\$(\d+)", r"\\\1", args[2].text()), text), args)
    return _computed(text.replace(old, args[2].text()), args)


def _computed(text: str, args: Sequence[Value]) -> Value:
    names = ", ".join(_via(*args)) or "a text"
    return text_of((Piece(text, None, f"it is computed from {names}"),), _via(*args))


def _split(args: Sequence[Value]) -> Value:
    separator, whole = args[0].text(), _need(args[1], "scalar")
    parts = whole.text().split(separator)
    if len(whole.pieces) != 1:
        return list_of(tuple(_computed(p, args) for p in parts))
    found, at = [], 0
    for part in parts:
        found.append(text_of((_part(whole.pieces[0], at, at + len(part)),), whole.via))
        at += len(part) + len(separator)
    return list_of(tuple(found))


def _trimprefix(args: Sequence[Value]) -> Value:
    text, prefix = _need(args[0], "scalar"), args[1].text()
    if not text.text().startswith(prefix) or not prefix:
        return text
    if len(text.pieces) == 1:
        return text_of((_part(text.pieces[0], len(prefix), len(text.text())),), text.via)
    return _computed(text.text().removeprefix(prefix), args)


def _trimsuffix(args: Sequence[Value]) -> Value:
    text, suffix = _need(args[0], "scalar"), args[1].text()
    if not text.text().endswith(suffix) or not suffix:
        return text
    if len(text.pieces) == 1:
        return text_of((_part(text.pieces[0], 0, len(text.text()) - len(suffix)),), text.via)
    return _computed(text.text().removesuffix(suffix), args)


def _case(change: Callable[[str], str]) -> Function:
    def apply(args: Sequence[Value]) -> Value:
        text = _need(args[0], "scalar")
        return text if change(text.text()) == text.text() else _computed(change(text.text()), args)

    return apply


def _concat(args: Sequence[Value]) -> Value:
    return list_of(tuple(e for a in args for e in _need(a, "list").elements), _via(*args))


def _element(args: Sequence[Value]) -> Value:
    elements = _need(args[0], "list").elements
    return elements[int(args[1].text()) % len(elements)]


def _compact(args: Sequence[Value]) -> Value:
    return list_of(tuple(e for e in _need(args[0], "list").elements if not e.null and e.scalar != ""))


def _keys(args: Sequence[Value]) -> Value:
    return list_of(tuple(scalar(k) for k in sorted(_need(args[0], "object").items)))


def _values(args: Sequence[Value]) -> Value:
    items = _need(args[0], "object").items
    return list_of(tuple(items[k] for k in sorted(items)))


def _length(args: Sequence[Value]) -> Value:
    value = args[0]
    size = {"object": len(value.items), "list": len(value.elements), "scalar": len(value.text())}
    return scalar(size[value.kind])


def _contains(args: Sequence[Value]) -> Value:
    return scalar(any(e.scalar == args[1].scalar for e in _need(args[0], "list").elements))


def _flatten(args: Sequence[Value]) -> Value:
    def walk(value: Value) -> list[Value]:
        return [x for e in value.elements for x in walk(e)] if value.kind == "list" else [value]

    return list_of(tuple(walk(_need(args[0], "list"))))


def _zipmap(args: Sequence[Value]) -> Value:
    keys, values = _need(args[0], "list").elements, _need(args[1], "list").elements
    return object_of({k.text(): v for k, v in zip(keys, values, strict=True)})


def _startswith(args: Sequence[Value]) -> Value:
    return scalar(args[0].text().startswith(args[1].text()))


def _endswith(args: Sequence[Value]) -> Value:
    return scalar(args[0].text().endswith(args[1].text()))


def _number(choose: Callable[[list[float]], float]) -> Function:
    def apply(args: Sequence[Value]) -> Value:
        number = choose([float(a.text()) for a in args])
        return scalar(int(number) if number == int(number) else number)

    return apply


STRICT: dict[str, Function] = {
    "format": _format,
    "join": _join,
    "replace": _replace,
    "split": _split,
    "trimprefix": _trimprefix,
    "trimsuffix": _trimsuffix,
    "dirname": lambda args: _computed(posixpath.dirname(_need(args[0], "scalar").text()) or ".", args),
    "basename": lambda args: _computed(posixpath.basename(_need(args[0], "scalar").text()), args),
    "trimspace": _case(str.strip),
    "lower": _case(str.lower),
    "upper": _case(str.upper),
    "title": _case(str.title),
    "concat": _concat,
    "element": _element,
    "compact": _compact,
    "distinct": lambda args: args[0],
    "sort": lambda args: list_of(tuple(sorted(_need(args[0], "list").elements, key=Value.text))),
    "keys": _keys,
    "values": _values,
    "length": _length,
    "contains": _contains,
    "flatten": _flatten,
    "zipmap": _zipmap,
    "startswith": _startswith,
    "endswith": _endswith,
    "min": _number(min),
    "max": _number(max),
    "one": lambda args: _need(args[0], "list").elements[0] if len(args[0].elements) == 1 else NULL,
}
