"""Arrays behind addresses, for compiled functions: how they are given arrays by who runs them without numba."""

from __future__ import annotations

from typing import Any

from numba.core import cgutils, types
from numba.extending import intrinsic


@intrinsic  # type: ignore[untyped-decorator]
def at(context: Any, address: Any) -> Any:
    """A number as a pointer, for numba.carray."""

    def generate(_: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), generate
