"""Chance by name: what is worked out ahead is what a generator of its own would say."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from baton.logic.scheduling.accelerate import installed
from baton.twin.chance import named
from baton.twin.chance.named import Chance

SEED = 0x9A5C01E8F00D1234


@pytest.fixture(params=["plain", "ahead"])
def chance(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chance]:
    """One that looks ahead from its second draw on, and one that never does."""
    if request.param == "ahead":
        if not installed():
            pytest.skip("numba is not installed")
        named.UNIT.load()
    monkeypatch.setattr(named, "FROM_DRAWS", 1 if request.param == "ahead" else -1)
    made = Chance(SEED)
    yield made
    assert (made._seeder is not None) == (request.param == "ahead")


def plain(what: str, count: int) -> Random:
    return Random(f"{SEED}/{what}/{count}")


@pytest.mark.parametrize("what", ["a", "roll step blue", "x" * 57, "y" * 300, "Zürich"])
def test_every_draw_is_the_first_of_a_generator_of_its_own(chance: Chance, what: str) -> None:
    """With numba a rehearsal would tell another story than without, and than the emulator."""
    for count in range(120):  # past 9 and 99, where the texts grow
        match count % 5:
            case 0:
                assert chance.bits(what, 68) == plain(what, count).getrandbits(68)
            case 1:
                assert chance.bits(what, 128) == plain(what, count).getrandbits(128)
            case 2 if count % 3 == 0:
                assert chance.generator(what).getrandbits(900) == plain(what, count).getrandbits(900)
            case 3 if count % 7 == 0:
                assert chance.bits(what, 160) == plain(what, count).getrandbits(160)
            case _:
                assert chance.share(what) == plain(what, count).random()


def test_names_do_not_shift_one_another(chance: Chance) -> None:
    """A node more in one group would change how long the nodes of another take."""
    drawn = [(name, chance.share(name)) for n in range(40) for name in ("one", "two", "three")[: 1 + n % 3]]
    for name in ("one", "two", "three"):
        told = [share for other, share in drawn if other == name]
        assert told == [plain(name, n).random() for n in range(len(told))]
