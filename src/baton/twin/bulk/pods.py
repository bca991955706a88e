"""Bulk pods for those who ask for one: handles that read the arrays, and buffers of chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

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


class Seat(NamedTuple):
    """An ordinal of a StatefulSet."""

    group: int
    name: str
    """Of its pod."""
    ordinal: int
    claims: tuple[str, ...]


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

    `scalars[at]` is how many of `values` are used up; `told` hears of another array.
    """

    told: Callable[[Any], object] | None = None

    def __init__(self, rng: Random, scalars: Any, at: int, size: int) -> None:
        self._rng = rng  # stands before the first of `values`
        self._scalars = scalars
        self._at = at
        self._ahead = Random()
        self.size = size
        self.values = _NONE
        self._restart()

    def _restart(self) -> None:
        """From where the generator stands."""
        self._ahead.setstate(self._rng.getstate())
        self.values = _NONE
        self._scalars[self._at] = 0
        self.fill()

    def _pass(self, many: int) -> None:
        """Leave so many numbers behind."""
        self._rng.getrandbits(2 * _WORD * many)

    def fill(self) -> None:
        """Numbers for `size` draws at least, in another array."""
        used = self._scalars[self._at]
        self._pass(used)
        left = self.values[used:]
        self.values = np.concatenate((left, randoms(self._ahead, 2 * self.size - len(left))))
        self._scalars[self._at] = 0
        if self.told is not None:
            self.told(self.values)

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
        self._pass(self._scalars[self._at])
        found = self._rng.randrange(stop)
        self._restart()
        return found


_NONE = np.zeros(0)
_WORD = 32  # bits of the Mersenne Twister's numbers, of which random() takes two


def randoms(rng: Random, many: int) -> Any:
    """What so many calls of random() give, as an array: getrandbits hands out the same words, the first as the lowest
    bits, and these are put together as Random.random does (27 bits of one word, 26 of the next)."""
    words = np.frombuffer(rng.getrandbits(2 * _WORD * many).to_bytes(8 * many, "little"), dtype="<u4").reshape(-1, 2)
    return ((words[:, 0] >> 5) * 67108864.0 + (words[:, 1] >> 6)) * (1.0 / 9007199254740992.0)
