"""Values with their provenance: what an expression comes to, and which bytes of which file say so.

A text is a row of pieces, each with the span of the literal it was written in, so that `"golden-${var.v}-*"` is known
to take its middle from the variable's default. Nothing is guessed: what cannot be decided is `unknown`, with the why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from baton.terraform.hcl import Span

if TYPE_CHECKING:
    from baton.terraform.modules import Module

Scalar = str | bool | int | float | None


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a text. `span` is None when no literal of this root says it; then `outside` tells who does.

    `holder` is the `${...}` of the outermost template that brought this piece in.
    """

    text: str
    span: Span | None = None
    outside: str = ""
    holder: Span | None = None


@dataclass(frozen=True, slots=True)
class ObjectSource:
    """An object literal: where a missing key can be written. `empty` is the literal `{}` in any spacing."""

    span: Span
    empty: bool


@dataclass(frozen=True, slots=True)
class Probe:
    """A key that was looked for in an object literal and is not there: writing it there would set the value."""

    source: ObjectSource
    key: str


@dataclass(frozen=True, slots=True)
class Ref:
    """Something only AWS or another state can say: `mode` is data, resource or module.

    `index` is as Terraform writes it (`["main"]`, `[0]`, `[*]` when unknown); `path` the attributes after it.
    """

    mode: str
    module: Module
    type: str
    name: str
    index: str = ""
    path: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        own = {"data": f"data.{self.type}.{self.name}", "module": f"module.{self.name}"}.get(
            self.mode, f"{self.type}.{self.name}"
        )
        return ".".join([*([self.module.address] if self.module.address else []), own + self.index, *self.path])


@dataclass(frozen=True, slots=True)
class Value:
    """What an expression comes to. `kind` is scalar, object, list, ref, unknown or missing (a key that is not there).

    `via` are the steps from the use to the literal; `chain` the expressions along them, the use first. `probes` are
    keys whose absence made the value what it is.
    """

    kind: str
    scalar: Scalar = None
    pieces: tuple[Piece, ...] = ()
    items: Mapping[str, Value] = field(default_factory=dict)
    elements: tuple[Value, ...] = ()
    source: ObjectSource | None = None
    ref: Ref | None = None
    why: str = ""
    where: Span | None = None
    via: tuple[str, ...] = ()
    probes: tuple[Probe, ...] = ()
    chain: tuple[Span, ...] = ()

    @property
    def known(self) -> bool:
        return self.kind in ("scalar", "object", "list")

    @property
    def null(self) -> bool:
        return self.kind == "scalar" and self.scalar is None

    def text(self) -> str:
        """As Terraform would turn the scalar into a string."""
        return to_text(self.scalar)

    def through(self, *steps: str) -> Value:
        """The same value, reached by further steps."""
        return replace(self, via=(*steps, *self.via))

    def at(self, span: Span) -> Value:
        """The same value, defined by the expression at `span`."""
        return replace(self, chain=(span, *self.chain))

    def probed(self, *probes: Probe) -> Value:
        return replace(self, probes=(*probes, *self.probes)) if probes else self

    def why_unknown(self) -> str:
        if self.kind == "ref" and self.ref is not None:
            return f"it is decided by {self.ref.address}"
        if self.kind in ("object", "list"):
            return f"it is {'an object' if self.kind == 'object' else 'a list'}, not a text"
        return self.why or "it cannot be decided from the configuration"


def to_text(value: Scalar) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value)


def scalar(value: Scalar, *, pieces: tuple[Piece, ...] | None = None, via: tuple[str, ...] = ()) -> Value:
    """A known scalar; without pieces it was computed, and no literal says it."""
    if pieces is None:
        pieces = () if value is None else (Piece(to_text(value), None, "it is computed"),)
    return Value("scalar", scalar=value, pieces=pieces, via=via)


def text_of(pieces: tuple[Piece, ...], via: tuple[str, ...] = (), probes: tuple[Probe, ...] = ()) -> Value:
    """A text put together from pieces."""
    kept = tuple(p for p in pieces if p.text or len(pieces) == 1)
    return Value("scalar", scalar="".join(p.text for p in kept), pieces=kept, via=via, probes=probes)


def unknown(why: str, where: Span | None = None, via: tuple[str, ...] = (), probes: tuple[Probe, ...] = ()) -> Value:
    return Value("unknown", why=why, where=where, via=via, probes=probes)


def missing(why: str, where: Span | None = None, probes: tuple[Probe, ...] = ()) -> Value:
    """Terraform would call it an error unless `try`, `lookup` or an optional attribute catches it."""
    return Value("missing", why=why, where=where, probes=probes)


def list_of(elements: tuple[Value, ...], via: tuple[str, ...] = ()) -> Value:
    return Value("list", elements=elements, via=via)


def object_of(items: Mapping[str, Value], source: ObjectSource | None = None, via: tuple[str, ...] = ()) -> Value:
    return Value("object", items=items, source=source, via=via)


NULL = scalar(None)


def member(value: Value, key: str, where: Span | None = None) -> Value:
    """`value.key` or `value["key"]`."""
    if value.kind == "object":
        if key in value.items:
            found = value.items[key]
            return replace(found, via=(*value.via, *found.via)) if value.via else found
        probes = (Probe(value.source, key),) if value.source is not None else ()
        return missing(f"there is no key {key!r}", where, probes)
    if value.kind == "list":
        if key.isdigit() and int(key) < len(value.elements):
            return value.elements[int(key)]
        return missing(f"there is no element {key}", where)
    if value.kind == "ref" and value.ref is not None:
        return replace(value, ref=replace(value.ref, path=(*value.ref.path, key)))
    if value.null:
        return missing(f"null has no attribute {key!r}", where, value.probes)
    if value.kind == "scalar":
        return missing(f"a text has no attribute {key!r}", where)
    return value
