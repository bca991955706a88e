"""What generators seeded with these texts say first: Mersenne Twisters, several side by side.

Seeding one takes some 1,250 steps, each of which needs the one before; the same step of eight seeds is one instruction
of the processor. Nothing here is loaded unless numba is installed.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from baton.logic.scheduling.accelerate import jit
from baton.logic.scheduling.addressed import at
from baton.twin.chance.layout import MIDDLE, SIDE_BY_SIDE, STATE, WORDS

_LOW, _HIGH, _TWIST = 0x7FFFFFFF, 0x80000000, 0x9908B0DF


@jit
def _mixed(before: Any) -> Any:
    return before ^ (before >> np.uint32(30))


@jit
def _seed(states: Any, keys: Any, length: int) -> None:
    """init_by_array of CPython's _randommodule.c; `keys` are numbers of `length` words, the lowest first."""
    one, other = np.uint32(1664525), np.uint32(1566083941)
    i, j = 1, 0
    for _ in range(max(STATE, length)):
        for lane in range(SIDE_BY_SIDE):
            mixed = np.uint32(_mixed(states[i - 1, lane]) * one)
            states[i, lane] = (states[i, lane] ^ mixed) + keys[j, lane] + np.uint32(j)
        i, j = i + 1, j + 1
        if i == STATE:
            for lane in range(SIDE_BY_SIDE):
                states[0, lane] = states[STATE - 1, lane]
            i = 1
        if j == length:
            j = 0
    for _ in range(STATE - 1):
        for lane in range(SIDE_BY_SIDE):
            mixed = np.uint32(_mixed(states[i - 1, lane]) * other)
            states[i, lane] = (states[i, lane] ^ mixed) - np.uint32(i)
        i += 1
        if i == STATE:
            for lane in range(SIDE_BY_SIDE):
                states[0, lane] = states[STATE - 1, lane]
            i = 1
    for lane in range(SIDE_BY_SIDE):
        states[0, lane] = np.uint32(_HIGH)


@jit
def _say(states: Any, said: Any) -> None:
    """genrand_uint32, the first few times."""
    for n in range(WORDS):
        for lane in range(SIDE_BY_SIDE):
            y = (states[n, lane] & np.uint32(_HIGH)) | (states[n + 1, lane] & np.uint32(_LOW))
            twist = np.uint32(_TWIST) if y & np.uint32(1) else np.uint32(0)
            y = states[n + MIDDLE, lane] ^ (y >> np.uint32(1)) ^ twist
            y ^= y >> np.uint32(11)
            y ^= np.uint32(y << np.uint32(7)) & np.uint32(0x9D2C5680)
            y ^= np.uint32(y << np.uint32(15)) & np.uint32(0xEFC60000)
            y ^= y >> np.uint32(18)
            said[lane, n] = y


def entry(fresh: int, states: int, texts: int, keys: int, length: int, said: int) -> Any:
    """Addresses of a state as init_genrand leaves it, of room for states, of `length` words of each text, of room for
    them, and of what is said: see layout."""
    start = numba.carray(at(fresh), (STATE,), np.uint32)
    room = numba.carray(at(states), (STATE, SIDE_BY_SIDE), np.uint32)
    given = numba.carray(at(texts), (SIDE_BY_SIDE, length), np.uint32)
    turned = numba.carray(at(keys), (length, SIDE_BY_SIDE), np.uint32)
    for n in range(STATE):
        for lane in range(SIDE_BY_SIDE):
            room[n, lane] = start[n]
    for j in range(length):
        for lane in range(SIDE_BY_SIDE):
            turned[j, lane] = given[lane, j]
    _seed(room, turned, length)
    _say(room, numba.carray(at(said), (SIDE_BY_SIDE, WORDS), np.uint32))
    return 0
