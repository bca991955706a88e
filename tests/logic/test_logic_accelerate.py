"""Object code kept of compiled functions: what it rests on, and that it needs nothing to run."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")

FAST = """
from baton.logic.scheduling.accelerate import jit
from numbers_of import ANSWER

@jit
def more(number):
    return ANSWER + number

def entry(number, share):
    return more(number) + int(10 * share)
"""
ASK = """
import sys
from pathlib import Path
from baton.logic.scheduling.accelerate import Unit
sources = (Path("fast_of.py").resolve(), Path("numbers_of.py").resolve())
unit = Unit("fast_of", "int64(int64, float64)", sources)
kept = unit.kept()
print(unit.load()(1, 0.55), kept, "numba" in sys.modules, unit.kept())
"""


def asked(folder: Path, home: Path) -> str:
    """(answer, whether it was compiled before, whether numba was loaded, whether it is now) of a process of its own."""
    env = {**os.environ, "XDG_CACHE_HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", ASK], cwd=folder, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def write(folder: Path, answer: int) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "numbers_of.py").write_text(f"ANSWER = {answer}\n")
    (folder / "fast_of.py").write_text(FAST)


def test_what_was_compiled_is_loaded_without_numba_and_forgotten_with_its_sources(tmp_path: Path):
    """Every rehearsal would wait for numba; after an upgrade of Baton old code would go on with the old constants."""
    code, home = tmp_path / "code", tmp_path / "home"
    write(code, 41)
    assert asked(code, home) == "47 False True True"
    assert asked(code, home) == "47 True False True"
    write(code, 1)
    assert asked(code, home) == "7 False True True"
    assert len(list(code.glob("__pycache__/*.o"))) == 1, "old code is taken away"


def test_code_is_kept_in_the_users_cache_where_the_package_cannot_be_written(tmp_path: Path):
    """With a Baton that root installed, every rehearsal of a large cluster would compile for half a minute first."""
    code, home = tmp_path / "code", tmp_path / "home"
    write(code, 41)
    (code / "__pycache__").write_text("nothing can be kept here")
    assert asked(code, home) == "47 False True True"
    assert asked(code, home) == "47 True False True"
    assert len(list(home.glob("baton/*.o"))) == 1


def test_broken_code_is_compiled_anew(tmp_path: Path):
    """A file cut short by a full disk would end every rehearsal of this machine."""
    code, home = tmp_path / "code", tmp_path / "home"
    write(code, 41)
    asked(code, home)
    (kept,) = code.glob("__pycache__/*.o")
    kept.write_bytes(kept.read_bytes()[:100])
    assert asked(code, home).startswith("47 ")
    assert asked(code, home) == "47 True False True"


def test_code_that_needs_numba_to_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Kept code that allocates or raises would end the process the next time, when numba is not there to help."""
    from baton.logic.scheduling.accelerate import Unit

    (tmp_path / "makes_arrays.py").write_text(
        "import numpy as np\n\ndef entry(number):\n    return np.arange(number)[number // 2] + 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    unit = Unit("makes_arrays", "int64(int64)", (tmp_path / "makes_arrays.py",))
    with pytest.raises(RuntimeError, match=r"compiled code would call .*NRT"):
        unit.load()
    assert not unit.kept()
