"""Nodes by name, as a frozen mapping whose successors cost the same however many nodes there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import inf


class _Table:
    """What a line of Nodes shares: per name (zone, the first version it is in, the first it is in no more)."""

    __slots__ = ("newest", "spans")

    def __init__(self, nodes: Iterable[tuple[str, str]]) -> None:
        self.newest = 0
        self.spans: dict[str, tuple[str, int, float]] = {name: (zone, 0, inf) for name, zone in nodes}


class Nodes(Mapping[str, str]):
    """Name -> zone, in the order they came. Never changes: `plus` and `minus` give another.

    A group has thousands of nodes and each event moves one, so that copying would make an update quadratic. Instead
    all that were made one of another share a table that only grows; each sees its own version of it. Whoever goes on
    from one that is not the newest, or takes a name again, gets a copy.
    """

    __slots__ = ("_len", "_table", "_version", "_zones")

    def __init__(self, nodes: Iterable[tuple[str, str]] = ()) -> None:
        self._table = _Table(nodes)
        self._version = 0
        self._len = len(self._table.spans)
        self._zones: frozenset[str] | None = None

    def plus(self, name: str, zone: str) -> Nodes:
        """These and one that is not in yet."""
        table = self._table
        if not self._len or table.newest != self._version or name in table.spans:
            return Nodes((*self.items(), (name, zone)))
        table.spans[name] = (zone, self._version + 1, inf)
        return self._next(1)

    def minus(self, name: str) -> Nodes:
        """These without one; the same when it is not in."""
        table, version = self._table, self._version
        span = table.spans.get(name)
        if span is None or not span[1] <= version < span[2]:
            return self
        if table.newest != version:
            return Nodes(item for item in self.items() if item[0] != name)
        table.spans[name] = (span[0], span[1], version + 1)
        return self._next(-1)

    def _next(self, more: int) -> Nodes:
        made = Nodes.__new__(Nodes)
        made._table = table = self._table
        table.newest = made._version = self._version + 1
        made._len = self._len + more
        made._zones = None
        return made

    @property
    def zones(self) -> frozenset[str]:
        """The zones that have a node."""
        if self._zones is None:
            self._zones = frozenset(self.values())
        return self._zones

    def __getitem__(self, name: str) -> str:
        zone, since, until = self._table.spans[name]
        if not since <= self._version < until:
            raise KeyError(name)
        return zone

    def __contains__(self, name: object) -> bool:
        span = self._table.spans.get(name)  # type: ignore[call-overload]
        return span is not None and span[1] <= self._version < span[2]

    def __iter__(self) -> Iterator[str]:
        version = self._version
        return (name for name, (_, since, until) in self._table.spans.items() if since <= version < until)

    def __len__(self) -> int:
        return self._len

    def __repr__(self) -> str:
        return f"Nodes({dict(self)})"
