"""Generators by name and count, each seeded anew: what they say first is worked out ahead where that is compiled."""

from __future__ import annotations

from hashlib import sha512
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from baton.logic.scheduling.accelerate import Unit
from baton.twin.chance.layout import SIDE_BY_SIDE, STATE, WORDS

FROM_DRAWS = 100
"""After so many draws the compiled form is loaded (some 0.03 s), where an earlier use left it compiled."""
_HERE = Path(__file__).parent
UNIT = Unit(
    "baton.twin.chance.seeding",
    "int64(int64, int64, int64, int64, int64, int64)",
    (_HERE / "seeding.py", _HERE / "layout.py", _HERE.parents[1] / "logic" / "scheduling" / "addressed.py"),
)
_MOST = 32 * WORDS  # bits that are worked out ahead
_LONGEST = 200  # characters of a name; longer ones are left to Python
_WORDS = 256  # of a text and its digest, at most


class Chance:
    """Says the same for the same seed, name and count of draws under that name, whatever else is drawn."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._counts: dict[str, int] = {}  # of the draws made, and of those made ahead
        self._ahead: dict[str, list[list[int]]] = {}  # words of the next draws under a name, the first of them last
        self._dice = Random()  # seeded anew for each draw
        self._reseed = super(Random, self._dice).seed  # with a number
        self._seeder: Seeder | None = None
        self._draws = 0

    def generator(self, what: str) -> Random:
        """A generator for the next draw about `what`."""
        ahead = self._ahead.get(what)
        if ahead:
            ahead.pop()
            return Random(self._text(what, self._counts[what] - len(ahead) - 1))
        return Random(self._next(what))

    def share(self, what: str) -> float:
        """What `random()` of that generator says: 0 or more, less than 1."""
        ahead = self._ahead.get(what)
        words = ahead.pop() if ahead else self._look_ahead(what)
        if words is None:
            return self._rolled(what).random()
        return ((words[0] >> 5) * 67108864.0 + (words[1] >> 6)) / 9007199254740992.0

    def bits(self, what: str, many: int) -> int:
        """What `getrandbits(many)` of that generator says."""
        if many > _MOST:
            return self.generator(what).getrandbits(many)
        ahead = self._ahead.get(what)
        words = ahead.pop() if ahead else self._look_ahead(what)
        if words is None:
            return self._rolled(what).getrandbits(many)
        number = shift = 0
        for word in words:
            left = many - shift
            if left <= 0:
                break
            number |= (word >> (32 - left) if left < 32 else word) << shift
            shift += 32
        return number

    def _text(self, what: str, count: int) -> str:
        """What the generator is seeded with."""
        return f"{self._seed}/{what}/{count}"

    def _next(self, what: str) -> str:
        count = self._counts.get(what, 0)
        self._counts[what] = count + 1
        return self._text(what, count)

    def _rolled(self, what: str) -> Random:
        """The generator, to be used up before the next is asked for."""
        self._reseed(int.from_bytes(_number(self._next(what)), "big"))
        self._draws += 1
        if self._draws == FROM_DRAWS and UNIT.kept():
            self._seeder = Seeder()
        return self._dice

    def _look_ahead(self, what: str) -> list[int] | None:
        """What the generator says first, worked out with the next few: for names that were drawn under before."""
        count = self._counts.get(what, 0)
        if self._seeder is None or not count or len(what) > _LONGEST:
            return None
        text = f"{self._seed}/{what}/"
        ahead = self._seeder.say([_number(f"{text}{n}") for n in range(count, count + SIDE_BY_SIDE)])
        ahead.reverse()
        self._counts[what] = count + len(ahead)
        self._ahead[what] = ahead
        return ahead.pop()


def _number(text: str) -> bytes:
    """The number that Random.seed makes of a text, the highest byte first."""
    given = text.encode()
    return given + sha512(given).digest()


class Seeder:
    """Calls the compiled form. Loads it when it is made."""

    def __init__(self) -> None:
        self._seed = UNIT.load()
        self._arrays = (_fresh_state(), _room(STATE), _room(_WORDS), _room(_WORDS), _room(WORDS))
        self._addresses = [a.__array_interface__["data"][0] for a in self._arrays]
        self._texts = self._arrays[2].view(np.uint8).data.cast("B")
        self._said = self._arrays[4].reshape(SIDE_BY_SIDE, WORDS)

    def say(self, numbers: list[bytes]) -> list[list[int]]:
        """The first words of generators seeded with these, SIDE_BY_SIDE, the highest byte first; of as many as take
        the same number of words as the first."""
        length = (len(numbers[0]) + 3) // 4
        width = 4 * length
        written = b"".join([number[::-1].ljust(width, b"\0") for number in numbers if len(number) <= width])
        self._texts[: len(written)] = written
        fresh, states, texts, keys, said = self._addresses
        self._seed(fresh, states, texts, keys, length, said)
        answers: list[list[int]] = self._said[: len(written) // width].tolist()
        return answers


def _room(rows: int) -> Any:
    return np.zeros(rows * SIDE_BY_SIDE, dtype=np.uint32)


def _fresh_state() -> Any:
    """A generator's state before it is seeded with an array: init_genrand of CPython's _randommodule.c."""
    words = [19650218]
    while len(words) < STATE:
        words.append((1812433253 * (words[-1] ^ words[-1] >> 30) + len(words)) & 0xFFFFFFFF)
    return np.array(words, dtype=np.uint32)
