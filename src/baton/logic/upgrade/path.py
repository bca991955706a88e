"""At which points of the control plane's path a node group rolls: as few times as skew allows, as late as possible."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

from baton.knowledge.skew import kubelet_allowed
from baton.model.versions import Minor


class Roll(NamedTuple):
    """While the control plane is at `control_plane`, nodes move to kubelets of `to` (never newer than it)."""

    control_plane: Minor
    to: Minor


def fewest_rolls(
    kubelet: Minor, points: tuple[Minor, ...], available: Callable[[Minor], bool]
) -> tuple[Roll, ...] | None:
    """The shortest list of rolls that brings nodes from `kubelet` to the last point.

    `points` are the control plane's versions in order, the present one first. `available(v)` tells whether there is an
    image for kubelets of v. Of equally short lists the one with later rolls wins, then the one with newer kubelets, so
    what must be rolled early is rolled to last longest. None when no list exists.
    """
    last = len(points) - 1

    @functools.cache
    def best(at: int, now: Minor) -> tuple[Roll, ...] | None:
        """The best continuation from point `at` with nodes at `now`; a stay is tried before a roll."""
        found = []
        if at == last:
            if now == points[last]:
                return ()
        elif kubelet_allowed(now, points[at + 1]) and (rest := best(at + 1, now)) is not None:
            found.append(rest)
        version = points[at]
        while version > now:
            if available(version) and (rest := _after(at, version)) is not None:
                found.append((Roll(points[at], version), *rest))
            version = version.plus(-1)
        return min(found, key=_preference) if found else None

    def _after(at: int, now: Minor) -> tuple[Roll, ...] | None:
        if at == last:
            return () if now == points[last] else None
        return best(at + 1, now) if kubelet_allowed(now, points[at + 1]) else None

    return best(0, kubelet)


def _preference(rolls: tuple[Roll, ...]) -> tuple[int, tuple[int, ...]]:
    """Fewer first, then later (newer control plane), then newer kubelets."""
    order = [-n for roll in rolls for n in (roll.control_plane.minor, roll.to.minor)]
    return len(rolls), tuple(order)


def every_hop(kubelet: Minor, points: tuple[Minor, ...], available: Callable[[Minor], bool]) -> tuple[Roll, ...] | None:
    """A roll at every version of the control plane; None when an image is missing or skew forbids the way."""
    rolls, now = [], kubelet
    for at, version in enumerate(points):
        if at and not kubelet_allowed(now, version):
            return None
        # Where the control plane is now, nodes roll only when they must, or when there is nowhere further to go.
        due = at > 0 or len(points) == 1 or not kubelet_allowed(now, points[1])
        if due and now < version:
            if not available(version):
                return None
            rolls.append(Roll(version, version))
            now = version
    return tuple(rolls)
