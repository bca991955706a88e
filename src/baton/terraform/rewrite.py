"""Edits for one traced value: set it, hold it where it is, write a missing key; formatted as `terraform fmt` wants."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable

from baton.errors import RefusedError
from baton.model.plan import Edit
from baton.terraform.hcl import Span
from baton.terraform.inspection import Traced
from baton.terraform.values import ObjectSource, Piece

Texts = Callable[[str], bytes]


def set_value(trace: Traced, new: str, what: str, texts: Texts) -> tuple[Edit, ...]:
    """Edits that make the traced text `new`: () when it is already. `what` names the value for messages.

    Raises RefusedError when no literal of this root says it, or when the change crosses several literals.
    """
    if trace.value == new:
        return ()
    found = replace_null(trace, f'"{new}"', f"{what} to {new}", texts)
    if found is not None:
        return (found,)
    if trace.value is None:
        raise _not_here(trace, what)
    piece, text = _piece_to_change(trace, new, what)
    span = piece.span
    if span is None or span.foreign:
        raise _not_here(trace, what, piece)
    data = texts(span.file)
    old = data[span.start : span.end].decode()
    return (Edit(span.file, span.start, span.end, old, _written(data, span, text), span.line, f"{what} to {new}"),)


def replace_null(trace: Traced, value: str, why: str, texts: Texts) -> Edit | None:
    """Write `value` (HCL text) for the `null` that makes the trace come to nothing; None when no `null` does."""
    null = trace.chain[-1] if trace.chain and not trace.set else None
    if null is None or null.foreign or texts(null.file)[null.start : null.end] != b"null":
        return None
    return Edit(null.file, null.start, null.end, "null", value, null.line, why)


def _piece_to_change(trace: Traced, new: str, what: str) -> tuple[Piece, str]:
    """The one piece that must read otherwise, and how."""
    old = trace.value or ""
    if len(trace.pieces) == 1:
        return trace.pieces[0], new
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    at = 0
    for piece in trace.pieces:
        stop = at + len(piece.text)
        if at <= start and len(old) - end <= stop and (start < stop or stop == len(old)):
            return piece, new[at : len(new) - (len(old) - stop)]
        at = stop
    spans = ", ".join(str(p.span) for p in trace.pieces if p.span)
    raise RefusedError(
        f"{what} is put together from several literals ({spans}), and no single one makes it {new!r}",
        where=str(trace.pieces[0].span or trace.where),
        hint="write it as one text, or change it by hand",
    )


def _written(data: bytes, span: Span, text: str) -> str:
    """The text as it stands in HCL. A bare number that would lose its last zero (1.30) gets quotes."""
    bare = re.fullmatch(rb"-?\d+(?:\.\d+)?|true|false|null", data[span.start : span.end]) is not None
    inside = span.start > 0 and data[span.start - 1 : span.start] == b'"'
    escaped = text.replace("\\", "\\\\").replace('"', '\\"') if inside else text
    if bare and not inside and (not re.fullmatch(r"-?\d+(?:\.\d*[1-9])?", text)):
        return f'"{text}"'
    return escaped


def _not_here(trace: Traced, what: str, piece: Piece | None = None) -> RefusedError:
    if piece is not None and piece.span is not None:
        return RefusedError(
            f"{what} is written in a module of another repository",
            where=str(piece.span),
            hint="change it there, or make it an input of the module",
        )
    why = trace.why or (piece.outside if piece is not None else "") or "it is not written in this root"
    steps = " -> ".join(trace.via)
    return RefusedError(
        f"{what} cannot be changed here: {why}" + (f" (by way of {steps})" if steps else ""),
        where=trace.where or (str(trace.chain[0]) if trace.chain else None),
        hint="change it where it is decided, or write the value in this root",
    )


def hold_value(
    trace: Traced,
    moving: Iterable[Span],
    elsewhere: set[Span],
    what: str,
    texts: Texts,
    shared: Collection[Span] = (),
) -> tuple[Edit, ...]:
    """Edits that keep a text as it is although the literals `moving` are about to change.

    `elsewhere` are expressions that also lead to the value that must move: they are not touched. `shared` lead to
    other values besides: they are taken only when no expression of the value's own is there.
    """
    spans = set(moving)
    affected = [p for p in trace.pieces if p.span in spans]
    found: dict[Span, Edit] = {}
    for piece in affected:
        if piece.holder is not None and not piece.holder.foreign:
            text = "".join(p.text for p in trace.pieces if p.holder == piece.holder)
            found[piece.holder] = _replacing(piece.holder, text, what, texts)
            continue
        chain = [s for s in trace.chain if s not in elsewhere and s not in spans and _whole(s, texts)]
        expression = _expression([s for s in chain if s not in shared]) or _expression(chain)
        if expression is None:
            raise RefusedError(
                f"{what} and the cluster's version are one literal, and nothing lies between them to hold one of them",
                where=str(piece.span),
                hint="give each its own literal, so that the control plane can move before the nodes",
            )
        _refuse_escapes(expression, what, texts)
        found[expression] = _replacing(expression, f'"{trace.value}"', what, texts)
    return tuple(found.values())


def _refuse_escapes(span: Span, what: str, texts: Texts) -> None:
    """In JSON only an expression that is one reference can be held: part of one would need its quotes escaped."""
    text = texts(span.file)[span.start : span.end]
    if span.file.endswith(".json") and b"${" in text and not re.fullmatch(rb'"\$\{[\w.\[\]]+\}"', text):
        raise RefusedError(
            f"{what} comes from an expression in JSON of which only a part follows the cluster",
            where=str(span),
            hint="give it a value of its own there, so that the control plane can move before the nodes",
        )


def _whole(span: Span, texts: Texts) -> bool:
    """Whether another text can stand there: in JSON not for a part of a string, whose quotes would need escapes."""
    return not span.file.endswith(".json") or texts(span.file)[span.start : span.start + 1] in (b'"', b"n")


def hold_expression(trace: Traced, value: str, what: str, texts: Texts) -> Edit:
    """Write `value` where the configuration now reads what runs."""
    expression = _expression([s for s in trace.chain if _whole(s, texts)])
    if expression is None:
        raise RefusedError(
            f"{what} follows {trace.ref}, and cannot be written here",
            where=trace.where,
            hint="give it a version of its own in this root",
        )
    return _replacing(expression, f'"{value}"', what, texts)


def _expression(chain: Iterable[Span]) -> Span | None:
    """Of the expressions that lead to a value the first of this root; of `c ? null : var.v` the `var.v`."""
    found: Span | None = None
    for span in chain:
        if found is None and not span.foreign:
            found = span
        elif found is not None:
            inside = span.file == found.file and found.start <= span.start and span.end <= found.end
            if not inside:
                break
            found = span
    return found


def _replacing(span: Span, text: str, what: str, texts: Texts) -> Edit:
    old = texts(span.file)[span.start : span.end].decode()
    return Edit(span.file, span.start, span.end, old, text, span.line, f"hold: {what}")


# --- writing what is not there -------------------------------------------------------------------------------------


def insert_key(slot: ObjectSource, key: str, value: str, why: str, texts: Texts, *, block: bool = False) -> Edit:
    """Write `key = value` (HCL text; a nested block when `block`) into an object or block, as its first entry."""
    span = slot.span
    if span.foreign:
        raise RefusedError(f"{key} would have to be written in a module of another repository", where=str(span))
    data = texts(span.file)
    if span.file.endswith(".json"):
        return _into_json(span, data, key, value, why)
    inner = data[span.start + 1 : span.end - 1]
    newline = "\r\n" if b"\r\n" in data else "\n"
    entry = f"{key} {value}" if block else f"{key} = {value}"
    if slot.empty and b"\n" not in inner and not block:
        return Edit(
            span.file, span.start, span.end, data[span.start : span.end].decode(), f"{{ {entry} }}", span.line, why
        )
    if b"\n" not in inner:
        return _into_line(span, data, entry, why)
    line_end = data.index(b"\n", span.start) + 1
    same_line = data[span.start + 1 : line_end].strip()
    if same_line and not same_line.startswith((b"#", b"//", b"/*")):
        at = span.start + 1
        return Edit(span.file, at, at, "", f" {entry},", span.line, why)
    first, line_end = line_end, _after_head(data, line_end, span.end)
    following = data[line_end : span.end].decode("utf-8", "replace").splitlines()
    indent = _indent(following, data, span)
    width, gap = _alignment(following, len(key))
    padded = f"{key}{' ' * (width - len(key))} = {value}" if width and not block else entry
    text = indent + padded.replace("\n", newline + indent) + newline + (newline if gap or (block and following) else "")
    if gap and line_end > first and data[first:line_end].split(b"\n")[-2].strip():
        # `source` is aligned with what follows: parting them would misalign it, so the new entry goes last.
        line_end, text = data.rindex(b"\n", 0, span.end) + 1, newline + text.rstrip("\r\n") + newline
    return Edit(span.file, line_end, line_end, "", text, data.count(b"\n", 0, line_end) + 1, why)


def _into_json(span: Span, data: bytes, key: str, value: str, why: str) -> Edit:
    """`"key": value` as the first entry of an object; a block is an object there."""
    inner = data[span.start + 1 : span.end - 1]
    text = f'"{key}": ' + re.sub(r"(\w+) =", r'"\1":', " ".join(value.split()))
    comma = "," if inner.strip() else ""
    if b"\n" not in inner:
        if not comma:
            old = data[span.start : span.end].decode()
            return Edit(span.file, span.start, span.end, old, f"{{ {text} }}", span.line, why)
        return Edit(span.file, span.start + 1, span.start + 1, "", f" {text}{comma}", span.line, why)
    line_end = data.index(b"\n", span.start) + 1
    newline = "\r\n" if b"\r\n" in data else "\n"
    following = data[line_end : span.end].decode("utf-8", "replace").splitlines()
    entry = _indent(following, data, span) + text + comma + newline
    return Edit(span.file, line_end, line_end, "", entry, span.line + 1, why)


_HEAD = re.compile(
    rb"(?:[ \t]*(?:source|version)[ \t]*=[ \t]*\"[^\"\n]*\"[ \t]*\r?\n"
    rb"|[ \t]*(?:for_each|count|provider)[ \t]*=[ \t]*[\w.\[\]\"*]+[ \t]*\r?\n)+([ \t]*\r?\n)?"
)


def _after_head(data: bytes, start: int, end: int) -> int:
    """`source` and `version` of a module call, `for_each` and `count` stay first."""
    head = _HEAD.match(data, start, end)
    if head is None or not data[head.end() : end - 1].strip():
        return start
    if b"source" in head[0] or (head[1] and not re.search(rb"^[ \t]*version\b", head[0], re.M)):
        return head.end()
    return start


def _into_line(span: Span, data: bytes, entry: str, why: str) -> Edit:
    """`{ a = 1 }` becomes `{ a = 1, key = value }`."""
    inner = data[span.start + 1 : span.end - 1]
    kept = len(inner.rstrip())
    at = span.start + 1 + kept
    separator = "" if inner.rstrip().endswith(b",") else ","
    return Edit(span.file, at, at, "", f"{separator} {entry}", span.line, why)


def _indent(following: list[str], data: bytes, span: Span) -> str:
    for line in following[:-1]:
        if line.strip():
            return line[: len(line) - len(line.lstrip())]
    start = data.rfind(b"\n", 0, span.end) + 1
    closing = data[start : span.end].decode("utf-8", "replace")
    return closing[: len(closing) - len(closing.lstrip())] + "  "


_ENTRY = re.compile(r'^\s*("[^"]*"|[\w-]+)(\s*)=(?!=)\s*(.*)$')


def _alignment(following: list[str], length: int) -> tuple[int, bool]:
    """(width of the key column, whether a blank line must part the new entry from the next ones)."""
    width = 0
    for line in following:
        match = _ENTRY.match(line)
        if match is None or not _balanced(match[3]):
            break
        width = max(width, len(match[1]))
    if not width:
        return 0, False
    return (width, False) if length <= width else (0, True)


def _balanced(text: str) -> bool:
    """Whether a value ends on its line."""
    plain = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
    plain = re.sub(r"(#|//).*", "", plain)
    return all(plain.count(a) == plain.count(b) for a, b in ("()", "[]", "{}")) and "<<" not in plain


# --- taking back -----------------------------------------------------------------------------------------------------


def release(hold: Edit, at: int, texts: Texts) -> Edit | None:
    """The edit that takes a hold back. `at` is where its text should be now; None when it is not there any more."""
    data = texts(hold.file)
    new = hold.new.encode()
    position = at if data[at : at + len(new)] == new else _nearest(data, new, at)
    if position is None:
        return None
    line = data.count(b"\n", 0, position) + 1
    why = "release " + hold.why.removeprefix("hold: ")
    return Edit(hold.file, position, position + len(new), hold.new, hold.old, line, why)


def _nearest(data: bytes, text: bytes, at: int) -> int | None:
    found = [m.start() for m in re.finditer(re.escape(text), data)]
    return min(found, key=lambda p: abs(p - at)) if len(text) > 8 and found else None


def moved(hold: Edit, same: Iterable[Edit], later: Iterable[Iterable[Edit]]) -> int:
    """Where the text of an edit begins after the edits made together with it and those made since."""
    position = hold.start + sum(_growth(e) for e in same if e.file == hold.file and e.start < hold.start)
    for batch in later:
        position += sum(_growth(e) for e in batch if e.file == hold.file and e.start < position)
    return position


def _growth(edit: Edit) -> int:
    return len(edit.new.encode()) - len(edit.old.encode())
