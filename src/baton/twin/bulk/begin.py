"""When pods are moved in bulk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from baton.logic.scheduling import native
from baton.logic.scheduling.accelerate import Unit, installed
from baton.logic.scheduling.fastpath import COMPILE_FROM_NODES

if TYPE_CHECKING:
    from baton.twin.bulk.counts import Counts
    from baton.twin.kube import KubeTwin

FROM_PODS = 20_000
"""From so many pods on it pays even where the compiled part has to be compiled first (some 40 s, once)."""
FROM_PODS_COMPILED = 300
"""And from so many where an earlier use left it compiled."""
AT_LEAST = 100
"""Fewer pods than these are not moved."""


class Beyond(Exception):
    """Bulk pods cannot do this; the message says what. The rehearsal then runs without them."""


_HERE = Path(__file__).parent
_NAMES = ("kernel", "daemons", "life", "accounts", "budgets", "seats", "spots", "queues", "views", "layout")
UNIT = Unit(
    "baton.twin.bulk.kernel",
    "int64(int64, int64, int64, int64, int64, int64, float64, float64)",
    (*(_HERE / f"{name}.py" for name in _NAMES), *native.SOURCES),
)
"""Everything compiled: kernel.entry."""


def compiled() -> bool:
    """Whether nothing is left to compile."""
    return UNIT.kept() and native.UNIT.kept()


def compile_ahead() -> None:
    """Compile what is not yet, so that no run (and no process of several) has to: on a machine, once."""
    native.UNIT.load()
    UNIT.load()


def compiles_first(nodes: int, pods: int) -> bool:
    """Whether a rehearsal of so many nodes and pods will spend its first half minute or more compiling."""
    large = pods >= FROM_PODS or nodes >= COMPILE_FROM_NODES
    return large and installed() and not compiled()


def move_in_bulk(kube: KubeTwin, counts: Counts, wish: bool | None) -> None:
    """From the first add-on or drain on, keep pods as rows where that pays; `wish` True always, False never."""
    if wish is False or kube.cluster.lean is None or not installed():
        return
    pods = kube.world.count("pods")
    if wish is None and pods < (FROM_PODS_COMPILED if UNIT.kept() else FROM_PODS):
        return
    least = 1 if wish else AT_LEAST

    def begin() -> bool:
        from baton.twin.bulk.bulk import Bulk

        return Bulk.begin(kube, counts, least) is not None

    kube.before_moves = begin
