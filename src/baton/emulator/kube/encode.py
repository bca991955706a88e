"""Answers as bytes: fast, and long lists piece by piece so that the event loop breathes between the pieces."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

Json = dict[str, Any]
PIECE = 500  # items per piece, half a megabyte of pods
_ENCODER = msgspec.json.Encoder()


def encode(body: Any) -> bytes:
    """Compact JSON."""
    try:
        return _ENCODER.encode(body)
    except (UnicodeEncodeError, TypeError, RecursionError):  # half a surrogate pair in a path, say
        return json.dumps(body, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Rows:
    """A list to be: `head` is the object without its `field`, `render` makes an item of each of `items`."""

    head: Mapping[str, Any]
    field: str
    items: Sequence[Any]
    render: Callable[[Any], Any]

    def pieces(self) -> Iterator[bytes]:
        """The JSON text, in order. Items are rendered when their turn comes; they must not change meanwhile."""
        opening = encode(dict(self.head))[:-1]
        opening += (b"," if self.head else b"") + encode(self.field) + b":["
        for start in range(0, len(self.items), PIECE):
            part = encode([self.render(i) for i in self.items[start : start + PIECE]])[1:-1]
            yield opening + part
            opening = b","
        yield (opening if not self.items else b"") + b"]}"


class EventCache:
    """Encoded watch events, shared by watchers of the same kind in the same form. Objects are never changed in place,
    so an event is known by its object's identity."""

    def __init__(self, size: int = 2048) -> None:
        self._size = size
        self._kept: OrderedDict[tuple[int, str, str], tuple[Any, bytes]] = OrderedDict()

    def get(self, obj: Json, form: tuple[str, str], make: Callable[[], bytes]) -> bytes:
        """The line for `obj`; `form` is (event type, kind of rendering)."""
        key = (id(obj), *form)
        found = self._kept.get(key)
        if found is not None and found[0] is obj:
            return found[1]
        line = make()
        self._kept[key] = (obj, line)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return line
