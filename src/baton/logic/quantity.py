"""Kubernetes resource quantities: the text an API object holds -> exact whole numbers.

The rules are those of apimachinery's resource.Quantity: decimal and binary suffixes, exponents, nothing finer than a
nano unit, and rounding away from zero whenever a coarser unit is asked for. Values are kept in nano units while they
are added up, because rounding every summand would give other sums than the scheduler's.
"""

from __future__ import annotations

import re
from functools import lru_cache

from baton.errors import ReadError

NANO = 1_000_000_000
_MAX = (2**63 - 1) * NANO
_SHAPE = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d+))?\Z", re.ASCII)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


@lru_cache(maxsize=65536)
def parse_nanos(text: str | int | float) -> int:
    """The quantity in nano units, rounded away from zero; capped at the largest int64 of whole units.

    Raises ReadError when the text is no quantity.
    """
    match = _SHAPE.match(str(text))
    if match is None:
        raise ReadError(f"not a resource quantity: {text!r}", hint="write it like 500m, 1.5, 2Gi or 1e3")
    sign, number, suffix, exponent = match.groups()
    whole, _, fraction = number.partition(".")
    digits = int((whole + fraction) or "0")
    scale = -len(fraction) + 9
    if exponent is not None:
        scale += int(exponent)
    elif suffix in _DECIMAL:
        scale += _DECIMAL[suffix]
    elif suffix is not None:
        digits <<= _BINARY[suffix]
    if digits == 0:
        return 0
    if scale > 64:
        value = _MAX
    elif scale >= 0:
        value = digits * 10**scale
    elif scale < -len(str(digits)) - 1:
        value = 1
    else:
        value = -(-digits // 10**-scale)
    value = min(value, _MAX)
    return -value if sign == "-" else value


def round_up(nanos: int, unit: int) -> int:
    """Nano units -> multiples of `unit` nano units, rounded away from zero."""
    return -(-nanos // unit) if nanos >= 0 else nanos // unit


def parse_cpu_millis(text: str | int | float) -> int:
    """CPU in thousandths of a core, rounded up: "1.5" -> 1500, "1u" -> 1. Raises ReadError."""
    return round_up(parse_nanos(text), NANO // 1000)


def parse_whole(text: str | int | float) -> int:
    """Whole units, rounded up: "1500m" -> 2. Raises ReadError."""
    return round_up(parse_nanos(text), NANO)


def parse_bytes(text: str | int | float) -> int:
    """Bytes, rounded up: "1Ki" -> 1024. Raises ReadError."""
    return parse_whole(text)
