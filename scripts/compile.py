"""Compile ahead what large rehearsals use, where numba is installed: once for a version and a machine, a minute."""

from __future__ import annotations

import sys
import time

from baton.logic.scheduling.accelerate import installed
from baton.twin.bulk.begin import compile_ahead, compiled


def main() -> int:
    if not installed():
        print("numba is not installed (pip install 'baton-eks[fast]'): nothing to compile")
    elif not compiled():
        began = time.perf_counter()
        print("compiling what large rehearsals use, once for this version and machine ...", flush=True)
        compile_ahead()
        print(f"done in {time.perf_counter() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
