"""Kubernetes and add-on versions as ordered values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

from baton.errors import UsageError


@dataclass(frozen=True, slots=True, order=True)
class Minor:
    """A Kubernetes minor version, `1.35`."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Minor:
        """`1.35`, `v1.35`, `v1.35.6-eks-1a2b3c4`, `1.35.6-20260714` -> Minor(1, 35). Raises UsageError otherwise."""
        m = re.match(r"v?(\d+)\.(\d+)(?:[.+-]|$)", text.strip())
        if not m:
            raise UsageError(f"{text!r} is not a Kubernetes version", hint="write it as MAJOR.MINOR, for example 1.35")
        return cls(int(m[1]), int(m[2]))

    def plus(self, minors: int) -> Minor:
        """The version `minors` later (or earlier, when negative)."""
        return Minor(self.major, self.minor + minors)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


@total_ordering
@dataclass(frozen=True, slots=True)
class AddonVersion:
    """An EKS add-on version, `v1.12.3-eksbuild.1`; ordered by its numbers."""

    text: str
    numbers: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> AddonVersion:
        """Raises UsageError when there is no number in `text`."""
        numbers = tuple(int(n) for n in re.findall(r"\d+", text))
        if not numbers:
            raise UsageError(f"{text!r} is not an add-on version", hint="for example v1.12.3-eksbuild.1")
        return cls(text, numbers)

    @property
    def minor(self) -> tuple[int, int]:
        """(major, minor) of the add-on itself."""
        return (self.numbers[0], self.numbers[1] if len(self.numbers) > 1 else 0)

    def __lt__(self, other: AddonVersion) -> bool:
        return self.numbers < other.numbers

    def __str__(self) -> str:
        return self.text
