"""Figures that both sides of `seeding` know."""

SIDE_BY_SIDE = 8  # generators seeded at once
WORDS = 4  # of 32 bits, that each says
STATE, MIDDLE = 624, 397  # of a Mersenne Twister
