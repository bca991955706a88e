"""Whether a rehearsal prints the same bytes on other Pythons: `python scripts/same_bytes.py python3.12 python3.13 ...`

Each interpreter gets an environment of its own in a temporary folder (pip needs a package index), with and without the
compiled scheduler, and rehearses the same generated snapshots with `--json --no-stats`. Exit 1 when two differ.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLUSTERS = (["--nodes", "30", "--pods", "900", "--seed", "4"], ["--nodes", "12", "--pods", "150", "--seed", "8"])


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    found: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"  # building in the checkout would leave its traces there
        for name in ("src", "pyproject.toml", "README.md"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            source.mkdir(exist_ok=True)
            copy(ROOT / name, source / name)
        for python in sys.argv[1:]:
            for extra in ("", "[fast]"):
                name = f"{python}{extra}"
                found[name] = rehearse(python, extra, source)
                print(name, *found[name].values(), flush=True)
    same = len({tuple(digests.values()) for digests in found.values()}) == 1
    print("the same bytes everywhere" if same else "they differ")
    return 0 if same else 1


def rehearse(python: str, extra: str, source: Path) -> dict[str, str]:
    """Arguments of the generated cluster -> digest of what `baton rehearse` printed."""
    folder = source.parent
    home = folder / f"{Path(python).name}{'-fast' if extra else ''}"
    subprocess.run([python, "-m", "venv", str(home)], check=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, f"{source}{extra}"], check=True)
    baton = str(home / "bin" / "baton")
    digests = {}
    for index, words in enumerate(CLUSTERS):
        snapshot = str(folder / f"cluster-{index}.baton")
        if not Path(snapshot).exists():
            subprocess.run([baton, "snapshot", "generate", *words, "--out", snapshot], check=True, capture_output=True)
        asked = [baton, "rehearse", "--snapshot", snapshot, "--to", "1.35", "--runs", "2", "--json", "--no-stats"]
        done = subprocess.run(asked, capture_output=True, check=False)
        digests[" ".join(words)] = f"{done.returncode}:{hashlib.sha256(done.stdout).hexdigest()[:16]}"
    return digests


if __name__ == "__main__":
    sys.exit(main())
