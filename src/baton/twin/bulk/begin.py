"""When pods are moved in bulk."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from baton.twin.bulk.counts import Counts
    from baton.twin.kube import KubeTwin

FROM_PODS = 20_000
"""From so many pods on it pays even where the compiled part has to be compiled first (some 40 s, once)."""
FROM_PODS_COMPILED = 1_000
"""And from so many where numba has kept it since an earlier use."""
AT_LEAST = 500
"""Fewer pods than these are not moved."""


class Beyond(Exception):
    """Bulk pods cannot do this; the message says what. The rehearsal then runs without them."""


@cache
def _accelerated() -> bool:
    return importlib.util.find_spec("numba") is not None


def _was_compiled() -> bool:
    """Whether the compiled part is loaded, or in numba's cache beside its module."""
    here = Path(__file__).parent
    return "baton.twin.bulk.kernel" in sys.modules or any(here.glob("__pycache__/kernel.run-*.nbi"))


def compiles_first(pods: int) -> bool:
    """Whether a rehearsal of so many pods will spend its first half minute or more compiling: on a machine, once."""
    return pods >= FROM_PODS and _accelerated() and not _was_compiled()


def move_in_bulk(kube: KubeTwin, counts: Counts, wish: bool | None) -> None:
    """From the first add-on or drain on, keep pods as rows where that pays; `wish` True always, False never."""
    if wish is False or kube.cluster.lean is None or not _accelerated():
        return
    pods = kube.world.count("pods")
    if wish is None and pods < (FROM_PODS_COMPILED if _was_compiled() else FROM_PODS):
        return
    least = 1 if wish else AT_LEAST

    def begin() -> bool:
        from baton.twin.bulk.bulk import Bulk

        return Bulk.begin(kube, counts, least) is not None

    kube.before_moves = begin
