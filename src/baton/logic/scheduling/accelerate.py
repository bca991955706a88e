"""Compiling functions with numba, and keeping what came of it only as long as no source that it rests on changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiler(sources: Iterable[Path]) -> Callable[[_Function], _Function]:
    """A decorator that compiles a function at its first call and keeps the result beside its file.

    numba looks at a function's own file alone to tell whether what it kept is still good; constants and functions of
    other files are part of the result too, so the contents of all `sources` decide instead. Where numba does not let
    itself be told, nothing is kept.
    """
    digest = sha256()
    for path in sources:
        digest.update(path.read_bytes())
    stamp = digest.hexdigest()
    options: dict[str, Any] = {"nogil": True, "boundscheck": False, "error_model": "numpy"}

    def compile_it(function: _Function) -> _Function:
        compiled: Any = numba.njit(cache=True, **options)(function)
        try:
            kept = compiled._cache._cache_file
            kept._source_stamp = (kept._source_stamp, stamp)
        except AttributeError:
            compiled = numba.njit(**options)(function)
        made: _Function = compiled
        return made

    return compile_it
