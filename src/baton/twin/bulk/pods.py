"""Bulk pods for those who ask for one: handles that read the arrays, and buffers of chance."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from baton.twin.bulk.layout import (
    BLOCKED,
    GONE,
    LETTERS,
    P_FLAGS,
    P_GROUP,
    P_NODE,
    P_PIN,
    READY,
    RUNNING,
    TERMINATING,
)
from baton.twin.controllers.base import Group, Key, Obj, Pod

if TYPE_CHECKING:
    from baton.twin.bulk.look import Look


_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_DIGITS = np.full(128, -1, dtype=np.int64)
_DIGITS[np.frombuffer(_LETTERS.encode("ascii"), dtype=np.uint8)] = np.arange(LETTERS)
_PLACES = LETTERS ** np.arange(4, -1, -1)


def letters(code: int) -> str:
    """The five letters of a name's number, as Cluster.name_for_pod writes them."""
    high, low = divmod(code, LETTERS * LETTERS)
    digits = (high // (LETTERS * LETTERS), high // LETTERS % LETTERS, high % LETTERS, low // LETTERS, low % LETTERS)
    return "".join(_LETTERS[d] for d in digits)


def codes_of(tails: Sequence[str]) -> Any:
    """The numbers of names' last five letters, -1 where a name ends otherwise."""
    texts = [t if len(t) == 5 and t.isascii() else "-----" for t in tails]
    digits = _DIGITS[np.frombuffer("".join(texts).encode("ascii"), dtype=np.uint8)].reshape(len(texts), 5)
    codes = digits @ _PLACES
    codes[(digits < 0).any(axis=1)] = -1
    return codes


class BulkPod(Pod):
    """One bulk pod, as the rest of the twin knows pods. It reads; `Bulk` writes."""

    __slots__ = ("_began", "_bulk", "_key", "_labels", "id")

    def __init__(self, bulk: Look, number: int) -> None:
        self._bulk = bulk
        self.id = number
        self._key: Key | None = None
        self._labels: Any = None
        self._began = ""

    def _flag(self, bit: int) -> bool:
        return bool(self._bulk.a.pods[self.id, P_FLAGS] & bit)

    @property
    def key(self) -> Key:  # type: ignore[override]
        if self._key is None:
            self._key = self._bulk.key_of(self.id)
        return self._key

    @property
    def namespace(self) -> str:  # type: ignore[override]
        return self.key[0]

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.key[1]

    @property
    def labels(self) -> Any:  # type: ignore[override]
        if self._labels is None:
            self._labels = self._bulk.labels_of(self.id)
        return self._labels

    @property
    def spec(self) -> Obj:  # type: ignore[override]
        return self._bulk.shape_of(self.id).spec

    @property
    def node(self) -> str:  # type: ignore[override]
        node = int(self._bulk.a.pods[self.id, P_NODE])
        return "" if node < 0 else self._bulk.node_names[node]

    @property
    def phase(self) -> str:  # type: ignore[override]
        return "Running" if self._flag(RUNNING) else "Pending"

    @property
    def ready(self) -> bool:  # type: ignore[override]
        return self._flag(READY)

    @property
    def terminating(self) -> bool:  # type: ignore[override]
        return self._flag(TERMINATING)

    @property
    def gone(self) -> bool:  # type: ignore[override]
        return self._flag(GONE)

    @property
    def refused(self) -> bool:
        """Whether a drain was refused it, and has not been told otherwise."""
        return self._flag(BLOCKED)

    @property
    def owner(self) -> Group:  # type: ignore[override]
        return self._bulk.groups[int(self._bulk.a.pods[self.id, P_GROUP])]

    @property
    def budgets(self) -> tuple[Any, ...]:  # type: ignore[override]
        return self._bulk.budgets_of(int(self._bulk.a.pods[self.id, P_GROUP]))

    @property
    def scheduling(self) -> Any:
        return self._bulk.waiters.get(self.id)

    @scheduling.setter
    def scheduling(self, waiter: Any) -> None:
        if waiter is None:
            self._bulk.waiters.pop(self.id, None)
        else:
            self._bulk.waiters[self.id] = waiter

    @property
    def obj(self) -> Obj:
        return self._bulk.record(self.id).obj

    @property
    def uid(self) -> str:
        return self._bulk.record(self.id).uid

    @property
    def start_time(self) -> str:
        """status.startTime, "" before it started."""
        if not self._began:
            self._began = self._bulk.start_time(self.id)
        return self._began

    @property
    def grace(self) -> int:
        return int(self._bulk.shape_of(self.id).grace)

    @property
    def pinned(self) -> str:
        pin = int(self._bulk.a.pods[self.id, P_PIN])
        return "" if pin < 0 else self._bulk.node_names[pin]

    def ready_since(self, default: float) -> float:
        return self._bulk.record(self.id).ready_since(default)


class Draws:
    """The numbers that a generator's random() gives, kept ahead in an array that compiled code draws from too.

    `scalars[at]` is how many of `values` are used up.
    """

    def __init__(self, rng: Random, scalars: Any, at: int, size: int) -> None:
        self._rng = rng  # in the state before the first of `values`, and before `_passed` numbers that are used up
        self._passed = 0
        self._scalars = scalars
        self._at = at
        self._ahead = Random()  # in the state after the last of them
        self._ahead.setstate(rng.getstate())
        self.size = size
        self.values = np.zeros(0)
        self.fill()

    def fill(self) -> Any:
        """Numbers for `size` draws at least. Returns the array, which may be a new one."""
        used = self._scalars[self._at]
        self._passed += used
        left = self.values[used:]
        draw = self._ahead.random
        more = [draw() for _ in range(self.size + self.size // 2 - len(left))]
        self.values = np.concatenate((left, np.array(more, dtype=np.float64)))
        self._scalars[self._at] = 0
        return self.values

    def random(self) -> float:
        """As Random.random."""
        used = self._scalars[self._at]
        if used == len(self.values):
            self.fill()
            used = 0
        self._scalars[self._at] = used + 1
        return float(self.values[used])

    def randrange(self, stop: int) -> int:
        """As Random.randrange: what is kept ahead is drawn again after it."""
        rng = self._rng
        for _ in range(self._passed + self._scalars[self._at]):
            rng.random()
        found = rng.randrange(stop)
        self._ahead.setstate(rng.getstate())
        self._passed = 0
        self.values = np.zeros(0)
        self._scalars[self._at] = 0
        self.fill()
        return found
